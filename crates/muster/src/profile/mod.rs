//! A process of a test that is watched: what the agent starts this program for where a run has profilers.
//!
//! ```text
//! agent ─► this ─┬─► the process: held at a pipe, then it becomes what the test says, with the same number
//!                └─► profilers of that number; they are stopped when it has ended, and leave their files
//! ```
//!
//! It ends as the process ends, by the same code or signal, and never waits for a profiler beyond the attempt's time.
//! Where the process is on a device, so are the profilers: [`on_device`].

pub(crate) mod on_device;
mod plot;
mod programs;
mod sampler;

use crate::local::signals::Signals;
use anyhow::Context as _;
use muster_agent::tasks::{PROFILE_COMMAND, PROFILE_STEP, PROFILE_TOLD, ProfileStep, Profiler};
use muster_core::outcome::ExitCode;
use programs::{Program, Started};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use sampler::Sampler;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long profilers may take to leave their files.
const STOP_MAX: Duration = Duration::from_secs(10);
/// So long before the end of the attempt's time this ends, whatever profilers do.
const SPARE: Duration = Duration::from_millis(500);

/// Does what the environment says with the process behind.
///
/// # Errors
/// It was not started by an agent.
pub(crate) fn run() -> Result<ExitCode, anyhow::Error> {
    let text =
        std::env::var(PROFILE_STEP).with_context(|| format!("{PROFILE_STEP} does not say what to do"))?;
    let step: ProfileStep =
        serde_json::from_str(&text).with_context(|| format!("{PROFILE_STEP} is no step"))?;
    let argv: Vec<OsString> = std::env::args_os().skip(2).collect();
    match step {
        ProfileStep::Hold { gate } => {
            // It is opened for writing when the profilers are there.
            drop(fs::read(&gate));
            Err(become_it(&argv))
        }
        ProfileStep::Watch { profilers, dir, step, deadline_millis } => {
            let mut tell = Tell::within(Path::new(&dir));
            let dir = PathBuf::from(dir).join(step);
            match watch(&profilers, &dir, deadline_millis, &argv, &mut tell) {
                Ok(status) => end_as(status),
                Err(error) => {
                    tell.line(&format!("it was not watched: {error:#}"));
                    Err(become_it(&argv))
                }
            }
        }
    }
}

/// The process takes this one's place.
fn become_it(argv: &[OsString]) -> anyhow::Error {
    let Some((program, args)) = argv.split_first() else { return anyhow::anyhow!("no program is named") };
    let error = Command::new(program).args(args).env_remove(PROFILE_STEP).exec();
    anyhow::Error::new(error).context(format!("cannot start `{}`", program.display()))
}

/// Where profilers tell what went wrong.
struct Tell(PathBuf);

impl Tell {
    /// In this directory of what profilers leave.
    fn within(dir: &Path) -> Self {
        Self(dir.join(PROFILE_TOLD))
    }
}

impl Tell {
    fn line(&mut self, text: &str) {
        let _made = self.0.parent().map(fs::create_dir_all);
        if let Ok(mut file) = File::options().create(true).append(true).open(&self.0) {
            // There is nobody else to tell.
            let _told = writeln!(file, "profiler: {text}");
        }
    }
}

/// A profiler at work.
enum Watching {
    Sampler(Sampler),
    Program(Started),
}

/// Has the process watched, from its first to its last moment.
fn watch(
    profilers: &[Profiler],
    dir: &Path,
    deadline_millis: Option<u64>,
    argv: &[OsString],
    tell: &mut Tell,
) -> Result<ExitStatus, anyhow::Error> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    // Signals are for the process, which has them from the same hand; this waits for its end.
    let _signals = Signals::any()?;
    let gate = dir.join(".gate");
    rustix::fs::mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .with_context(|| format!("cannot make `{}`", gate.display()))?;
    let hold = ProfileStep::Hold { gate: gate.to_string_lossy().into_owned() };
    let mut child = Command::new("/proc/self/exe")
        .arg(PROFILE_COMMAND)
        .args(argv)
        .env(PROFILE_STEP, serde_json::to_string(&hold)?)
        .spawn()
        .context("cannot start another process")?;
    let mut all = Vec::new();
    for profiler in profilers {
        match start(profiler, child.id(), dir) {
            Ok(watching) => all.push((profiler.name.clone(), watching)),
            Err(error) => tell.line(&format!("`{}` did not watch it: {error:#}", profiler.name)),
        }
    }
    for (_, watching) in &mut all {
        if let Watching::Program(started) = watching {
            started.wait_until_ready();
        }
    }
    let own: Vec<u32> = all.iter().filter_map(|(_, w)| w.pid()).collect();
    for (_, watching) in &all {
        if let Watching::Sampler(sampler) = watching {
            sampler.leave_out(&own);
        }
    }
    open_gate(&gate, &mut child)?;
    let status = child.wait().context("cannot wait for the process")?;
    let _gone = fs::remove_file(&gate);
    let until = SystemTime::now() + STOP_MAX;
    let deadline = deadline_millis.map(|millis| UNIX_EPOCH + Duration::from_millis(millis) - SPARE);
    let until = deadline.map_or(until, |deadline| deadline.min(until));
    for (_, watching) in &all {
        if let Watching::Program(started) = watching {
            started.ask_to_end();
        }
    }
    for (name, watching) in all {
        let ended = match watching {
            Watching::Sampler(sampler) => sampler.end(),
            Watching::Program(started) => started.end(until),
        };
        if let Err(error) = ended {
            tell.line(&format!("`{name}` did not do its work: {error:#}"));
        }
    }
    Ok(status)
}

fn start(profiler: &Profiler, pid: u32, dir: &Path) -> Result<Watching, anyhow::Error> {
    if profiler.name == "proc-sampler" {
        return Ok(Watching::Sampler(Sampler::start(pid, dir)?));
    }
    Ok(Watching::Program(Program::of(profiler, pid, dir)?.start(dir)?))
}

impl Watching {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Sampler(_) => None,
            Self::Program(started) => Some(started.pid()),
        }
    }
}

/// Lets the process go on. It has ended already where somebody has killed it.
fn open_gate(gate: &Path, child: &mut Child) -> Result<(), anyhow::Error> {
    loop {
        match rustix::fs::open(gate, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::NXIO) if child.try_wait()?.is_none() => std::thread::sleep(Duration::from_millis(1)),
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(anyhow::Error::new(error).context("the process cannot be let go"));
            }
        }
    }
}

/// Ends as the process did.
fn end_as(status: ExitStatus) -> Result<ExitCode, anyhow::Error> {
    if let Some(signal) = status.signal() {
        // The process has left its core, if it was to leave one.
        let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
        let _unlimited = rustix::process::setrlimit(rustix::process::Resource::Core, none);
        let _untaken = signal_hook::low_level::emulate_default_handler(signal);
        std::process::exit(128 + signal);
    }
    std::process::exit(status.code().unwrap_or(255))
}
