//! Profilers that are programs: `iostat`, `perf`, `strace`, and those of packages.
//!
//! A package of kind `profiler` has a program `profile`. It is started with the number of a process and a directory
//! for its files, prints a line when it watches, and is sent SIGINT when the process has ended.

use anyhow::{Context as _, bail};
use muster_agent::tasks::{Profiler, ProfilerPlace};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// How long a profiler may take until it watches; then the process goes on without.
const READY_MAX: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// What the host's disks do, second by second: `iostat` of sysstat, into the file `$1`.
pub(super) const IOSTAT: &str = "command -v iostat >/dev/null || {
        echo 'there is no program `iostat`; on Debian it is in the package `sysstat`' >&2; exit 127
    }
    echo watching
    exec iostat -dxkt 1 > \"$1\"";

/// A profiler that can be started.
pub(super) struct Program {
    command: Command,
    name: String,
    /// It watches when there is something in this file.
    ready: PathBuf,
    /// It watches so long after that.
    settle: Duration,
    hint: &'static str,
}

/// A profiler that was started.
pub(super) struct Started {
    child: Child,
    ready: PathBuf,
    settle: Duration,
    said: PathBuf,
}

impl Program {
    /// What is to be started so that it watches a process.
    pub(super) fn of(profiler: &Profiler, pid: u32, dir: &Path) -> Result<Self, anyhow::Error> {
        let pid = pid.to_string();
        let (said, printed) = (dir.join(said(&profiler.name, "err")), dir.join(said(&profiler.name, "out")));
        let (words, ready, settle, hint): (Vec<String>, _, _, _) =
            match (profiler.name.as_str(), &profiler.place) {
                ("iostat", ProfilerPlace::BuiltIn) => {
                    let words = ["sh", "-c", IOSTAT, "sh", &dir.join("iostat.txt").display().to_string()];
                    (words.map(str::to_owned).into(), printed, Duration::ZERO, "")
                }
                ("perf", ProfilerPlace::BuiltIn) => {
                    let data = dir.join("perf.data");
                    let words = [
                        "perf",
                        "record",
                        "-q",
                        "-g",
                        "-F",
                        "99",
                        "-o",
                        &data.display().to_string(),
                        "-p",
                        &pid,
                    ];
                    (
                        words.map(str::to_owned).into(),
                        data,
                        Duration::from_millis(50),
                        "on Debian it is in the package `linux-perf`",
                    )
                }
                ("strace", ProfilerPlace::BuiltIn) => {
                    let file = dir.join("strace.txt").display().to_string();
                    let words = ["strace", "-f", "-c", "-o", &file, "-p", &pid];
                    (
                        words.map(str::to_owned).into(),
                        said,
                        Duration::ZERO,
                        "on Debian it is in the package `strace`",
                    )
                }
                (name, ProfilerPlace::Dir(package)) => {
                    let program = format!("{package}/profile");
                    if !Path::new(&program).is_file() {
                        bail!("its package has no program `profile`");
                    }
                    let dir = dir.join(name.trim_start_matches("profiler:"));
                    fs::create_dir_all(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
                    (
                        vec![program, pid, dir.display().to_string()],
                        printed,
                        Duration::ZERO,
                        "it is in its package",
                    )
                }
                (_, ProfilerPlace::BuiltIn) => bail!("there is none of this name"),
                (_, ProfilerPlace::OnDevice(_) | ProfilerPlace::Nowhere) => {
                    bail!("its package is none of those that the run was given")
                }
            };
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        Ok(Self { command, name: profiler.name.clone(), ready, settle, hint })
    }

    pub(super) fn start(mut self, dir: &Path) -> Result<Started, anyhow::Error> {
        let said = dir.join(said(&self.name, "err"));
        let printed = dir.join(self::said(&self.name, "out"));
        let file =
            |path: &Path| File::create(path).with_context(|| format!("cannot make `{}`", path.display()));
        self.command.stdin(Stdio::null()).stdout(file(&printed)?).stderr(file(&said)?);
        self.command.env_remove(muster_agent::tasks::PROFILE_STEP);
        let child = self.command.spawn().map_err(|error| {
            let program = self.command.get_program().display().to_string();
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    anyhow::anyhow!("there is no program `{program}` on this host; {}", self.hint)
                }
                _ => anyhow::Error::new(error).context(format!("cannot start `{program}`")),
            }
        })?;
        Ok(Started { child, ready: self.ready, settle: self.settle, said })
    }
}

/// The file of what it prints.
fn said(name: &str, what: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!(".{}.{what}", name.chars().map(plain).collect::<String>())
}

impl Started {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        let is_ready = || fs::metadata(&self.ready).is_ok_and(|m| m.len() > 0);
        while !is_ready() && begun.elapsed() < READY_MAX && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK);
        }
        std::thread::sleep(self.settle);
    }

    pub(super) fn ask_to_end(&self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It has ended where it cannot be told.
            let _ended = kill_process(pid, Signal::INT);
        }
    }

    /// Waits for it, until this moment.
    pub(super) fn end(mut self, until: SystemTime) -> Result<(), anyhow::Error> {
        loop {
            match self.child.try_wait()? {
                Some(status) => {
                    use std::os::unix::process::ExitStatusExt as _;
                    // Ended by what it was sent, as many end.
                    if status.success() || status.signal() == Some(2) || status.code() == Some(130) {
                        let _gone = fs::remove_file(&self.said)
                            .and_then(|()| fs::remove_file(self.said.with_extension("out")));
                        return Ok(());
                    }
                    let text = fs::read(&self.said).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
                    bail!("{} ({status})", last.trim());
                }
                None if SystemTime::now() >= until => {
                    self.child.kill()?;
                    self.child.wait()?;
                    bail!("it was not done in time, and what it left may not be whole");
                }
                None => std::thread::sleep(LOOK),
            }
        }
    }
}
