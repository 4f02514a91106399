//! Megatest areas on this machine: where they are, and the world they are read in.

use super::area::{Area, Purpose, cores, facts, hostname};
use super::signals;
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use crate::terminal::text::visible;
use muster_core::id::RunId;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_formats::area::{Layer, LoadContext};
use muster_formats::megatest::{
    self, AreaContext, Looking, MAIN_FILE, MegatestArea, NotRun, Outline, Printed, ShownSection, World,
};
use muster_store::{RunFilter, Store, StoreError};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time a command may take that a file's value is made of.
// Limit: Megatest has none, and hangs; what takes longer is a test and no value.
const COMMAND_SECS_MAX: u64 = 60;
/// Most bytes it may print.
const PRINTED_BYTES_MAX: u64 = 8 << 20;
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What belongs to a Megatest area beyond what any area has.
#[derive(Clone, Debug)]
pub(crate) struct Megatest {
    /// Run before the first test of a run.
    pub(crate) before: Option<String>,
    /// Run after the last.
    pub(crate) after: Option<String>,
    /// What `megatest.config` says.
    pub(crate) main: Vec<ShownSection>,
    /// What runconfigs say, for the target.
    pub(crate) runconfigs: Vec<ShownSection>,
}

/// Whether this directory is a Megatest area, and not one of Muster's own.
pub(crate) fn is_area(dir: &Path) -> bool {
    dir.join(MAIN_FILE).is_file()
}

/// The program that the tests' steps are run by, where it is for an area: Muster under another name.
pub(crate) fn program(dir: &Path) -> PathBuf {
    dir.join(RECORDS).join("bin").join("megatest")
}

/// Puts `megatest` and `mtutil` where the tests of an area find them.
///
/// # Errors
/// They cannot be made.
pub(crate) fn place_programs(dir: &Path) -> Result<(), anyhow::Error> {
    let own = std::env::current_exe()?;
    let program = program(dir);
    let bin = program.parent().expect("it is in a directory");
    let place = || -> io::Result<()> {
        fs::create_dir_all(bin)?;
        for name in ["megatest", "mtutil"] {
            let link = bin.join(name);
            if fs::read_link(&link).is_ok_and(|to| to == own) {
                continue;
            }
            // Another run may look for it just now, so it is never away.
            let new = bin.join(format!(".{name}-{}", std::process::id()));
            drop(fs::remove_file(&new));
            std::os::unix::fs::symlink(&own, &new)?;
            fs::rename(&new, &link)?;
        }
        Ok(())
    };
    place().map_err(|e| Complaint::lab(format!("`{}` cannot be made", bin.display())).because(e).into())
}

/// What a run's directories are called, below its target.
pub(crate) fn dir_name(run: &RunView) -> String {
    if run.name.is_empty() { format!("run-{}", run.number) } else { run.name.clone() }
}

/// A run that has these directories, and that it is not which is meant: the newest.
///
/// # Errors
/// The records cannot be read.
fn other_run(
    store: &mut dyn Store,
    name: &str,
    target: &[(String, String)],
    meant: Option<RunId>,
) -> Result<Option<RunView>, StoreError> {
    let so = RunFilter { called: Some(name.to_owned()), limit: u32::MAX, ..RunFilter::default() };
    // Directories are called after the values alone.
    let values = |target: &[(String, String)]| target.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let target = values(target);
    let mut runs = store.list_runs(&so)?.into_iter();
    Ok(runs.find(|run| Some(run.id) != meant && values(&run.target) == target))
}

/// Whether another run has the same directories: what is in them is not this one's alone.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn has_others(store: &mut dyn Store, run: &RunView) -> Result<bool, StoreError> {
    Ok(other_run(store, &dir_name(run), &run.target, Some(run.id))?.is_some())
}

/// Refuses a new run with the directories of another.
///
/// # Errors
/// There is a run of this name and target.
pub(crate) fn must_be_new(
    store: &mut dyn Store,
    name: &str,
    target: &[(String, String)],
    program: &str,
) -> Result<(), anyhow::Error> {
    let Some(RunView { number, .. }) = other_run(store, name, target, None)? else { return Ok(()) };
    Err(Complaint::usage(format!("the run `{name}` of this target is there, as number {number}"))
        .hint(format!(
            "`{program} resume {number}`, `{program} rerun {number}` and `megatest -run` go on with it; \
             `--name` gives a new one another name"
        ))
        .into())
}

/// Loads the Megatest area in this directory.
///
/// # Errors
/// Its configuration is wrong; what is wrong has been told then.
pub(crate) fn load(
    context: &Context,
    dir: PathBuf,
    target: Option<&str>,
    layers: &[Layer<'_>],
    purpose: Purpose<'_>,
) -> Result<Area, anyhow::Error> {
    let MegatestArea { loaded, pre_hook, post_hook, files, main, runconfigs, .. } =
        read(context, &dir, target, layers, purpose)?;
    match purpose {
        Purpose::Look => {}
        Purpose::Run { .. } | Purpose::Lab { .. } => place_programs(&dir)?,
    }
    let megatest = Megatest { before: pre_hook, after: post_hook, main, runconfigs };
    Ok(Area { dir, loaded, configuration: files, megatest: Some(megatest) })
}

/// Reads the Megatest area in this directory, and tells what is wrong with it.
///
/// # Errors
/// It cannot be used.
pub(crate) fn read(
    context: &Context,
    dir: &Path,
    target: Option<&str>,
    layers: &[Layer<'_>],
    purpose: Purpose<'_>,
) -> Result<MegatestArea, anyhow::Error> {
    let target: Vec<String> = target.map(|t| t.split('/').map(str::to_owned).collect()).unwrap_or_default();
    let process_env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let area_name = name_of_dir(dir);
    let files = |_: &str| Err(io::Error::from(io::ErrorKind::Unsupported));
    let load_context = LoadContext {
        area_name: &area_name,
        target: &target,
        process_env: &process_env,
        facts: &facts(),
        files: &files,
    };
    let (machine, looking) = (Machine, Looking(&Machine));
    let (world, run_name): (&dyn World, Option<&str>) = match purpose {
        Purpose::Look => (&looking, None),
        Purpose::Run { name } | Purpose::Lab { name } => (&machine, name),
    };
    // It is a part of paths.
    let is_wrong = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '#' | ',');
    if let Some(name) = run_name.filter(|n| matches!(*n, "" | "." | "..") || n.contains(is_wrong)) {
        return Err(Complaint::usage(format!("`{}` cannot be the name of a run", visible(name)))
            .hint("a name is no `.` or `..`, and has no blanks and none of `/`, `#` and `,`")
            .into());
    }
    let text = dir.to_str().ok_or_else(|| Complaint::usage("the area's path is not UTF-8"))?;
    let program = program(dir).to_string_lossy().into_owned();
    let places = match purpose {
        Purpose::Look | Purpose::Run { .. } => Some(cores()),
        Purpose::Lab { .. } => None,
    };
    let area_context =
        AreaContext { load: &load_context, layers, dir: text, run_name, program: &program, places, world };
    match megatest::load(&area_context) {
        Ok(area) => {
            super::area::tell(context, &area.loaded.warnings);
            super::zone::check(&area.loaded.area)?;
            Ok(area)
        }
        Err(errors) => {
            super::area::tell(context, &errors);
            Err(Complaint::said(ExitCode::Usage).into())
        }
    }
}

/// What an area is called that does not say it.
fn name_of_dir(dir: &Path) -> String {
    dir.file_name().map_or_else(|| "area".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// What the area in this directory is called; `None` where its main file cannot be read.
pub(crate) fn name(dir: &Path) -> Option<String> {
    let env = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    megatest::area_name(dir.to_str()?, &name_of_dir(dir), &env.collect(), &Machine).ok()
}

/// What an area has whatever the target.
///
/// # Errors
/// Its main file cannot be read.
pub(crate) fn outline(dir: &Path) -> Result<Outline, anyhow::Error> {
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    megatest::outline(&dir.to_string_lossy(), &env, &Machine).map_err(|e| {
        Complaint::usage(format!("`{MAIN_FILE}` of `{}` cannot be read", dir.display())).because(e).into()
    })
}

/// What `megatest.config` of a directory says by itself, whatever the target.
///
/// # Errors
/// It cannot be read.
pub(crate) fn main_sections(dir: &Path) -> io::Result<Vec<ShownSection>> {
    megatest::main_sections(&dir.to_string_lossy(), &BTreeMap::new(), &Machine)
}

/// The targets that the runconfigs of an area name.
pub(crate) fn targets(dir: &Path) -> Vec<String> {
    let env = BTreeMap::new();
    megatest::targets(&dir.to_string_lossy(), &env, &Machine).unwrap_or_default()
}

/// This machine, where commands are run.
#[derive(Debug)]
pub(crate) struct Machine;

impl World for Machine {
    fn text(&self, path: &str) -> io::Result<String> {
        // A pipe that nobody writes to would be waited for.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("flags are small");
        let file = fs::File::options().read(true).custom_flags(flags).open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !kind.is_file() && !kind.is_char_device() {
            return Err(io::Error::other("it is a pipe or the like, and no file"));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        // Old areas have comments in other encodings; what is not UTF-8 is shown as such.
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| entry.map(|e| e.file_name().into_string()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().filter_map(Result::ok).collect())
    }

    fn shell(&self, line: &str, dir: &str, env: &BTreeMap<String, String>) -> Result<Printed, NotRun> {
        let deadline = Instant::now() + Duration::from_secs(COMMAND_SECS_MAX);
        run_shell(line, dir, env, deadline).map_err(NotRun::Failed)
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn cores(&self) -> u32 {
        cores()
    }

    fn host_name(&self) -> String {
        hostname()
    }
}

/// Runs a line by the shell, and kills it with all it started when its time is over.
fn run_shell(
    line: &str,
    dir: &str,
    env: &BTreeMap<String, String>,
    deadline: Instant,
) -> Result<Printed, String> {
    // Before there is a child: it is in a group of its own, so that Ctrl-C does not come to it.
    let held = signals::hold_back().map_err(|e| e.to_string())?;
    let output = tempfile::tempfile().map_err(|e| e.to_string())?;
    let mut reader = output.try_clone().map_err(|e| e.to_string())?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir(dir)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut pause = Duration::from_micros(200);
    let status = loop {
        if held.is_any() {
            kill_group(&child);
            drop(child.wait());
            held.let_go();
        }
        let size = reader.metadata().map_or(0, |m| m.len());
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) if size <= PRINTED_BYTES_MAX => break status,
            ended => {
                let late = Instant::now() > deadline;
                if late || size > PRINTED_BYTES_MAX {
                    if ended.is_none() {
                        kill_group(&child);
                        drop(child.wait());
                    }
                    return Err(match late {
                        true => format!("it took longer than {COMMAND_SECS_MAX} seconds"),
                        false => format!("it printed more than {PRINTED_BYTES_MAX} bytes"),
                    });
                }
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut reader).and_then(|()| reader.read_to_end(&mut bytes)).map_err(|e| e.to_string())?;
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Printed { status, text: String::from_utf8_lossy(&bytes).into_owned() })
}

fn kill_group(child: &std::process::Child) {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended just now.
        rustix::process::kill_process_group(id, rustix::process::Signal::KILL).ok();
    }
}

/// Runs a hook of a run, with this environment over the process's own.
///
/// # Errors
/// It cannot be started, or ends with another code than 0.
pub(crate) fn run_hook(
    what: &str,
    line: &str,
    dir: &Path,
    env: &[(String, String)],
) -> Result<(), anyhow::Error> {
    let said = |why: String| Complaint::lab(format!("the {what} `{line}` {why}"));
    let status = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir(dir)
        .envs(env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|e| said("cannot be started".to_owned()).because(e))?;
    if status.success() { Ok(()) } else { Err(said(format!("failed ({status})")).into()) }
}
