//! One step of an attempt on a device: what the agent starts this program for where a test runs there.
//!
//! Says on the report pipe (descriptor 3) how it ended. What the device's program prints is passed on as it
//! comes; what Muster itself has to say goes to standard error.

use crate::device_list;
use crate::far::Reached;
use crate::local::signals::Signals;
use crate::profile::on_device;
use crate::terminal::text::plural;
use anyhow::Context as _;
use muster_agent::tasks::{
    BEFORE_END, DEVICE_STEP, DeviceEnd, DevicePart, DeviceStep, HeldOpen, MEASURES, Packages, Watched,
};
use muster_core::definition::Push;
use muster_core::inputs::Needed;
use muster_core::outcome::ExitCode;
use muster_core::output::Stream;
use muster_device::{Command, Device, DeviceAddress, DeviceError, Exit, Files, Job, Moved, Until};
use muster_package::own::{Delivered, DevicePlace, Far as _, Place};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Where the report goes.
const REPORT_FD: i32 = 3;

/// How long a device may take to answer at all.
// Limit: a virtual machine boots in it.
const PROBE: Duration = Duration::from_secs(600);

/// How long it may take to tidy up.
const REMOVE: Duration = Duration::from_secs(60);

/// Does the step that the environment names.
///
/// # Errors
/// There is none, or nobody to report to: it was not started by an agent.
pub(crate) fn run() -> Result<ExitCode, anyhow::Error> {
    let mut report = report_pipe().context("this is for agents, who listen on descriptor 3")?;
    let text =
        std::env::var(DEVICE_STEP).with_context(|| format!("{DEVICE_STEP} does not say what to do"))?;
    #[expect(unsafe_code, reason = "where this host is the device, what runs there would inherit it")]
    // SAFETY: no other thread has been started yet.
    unsafe {
        std::env::remove_var(DEVICE_STEP);
    }
    let step: DeviceStep =
        serde_json::from_str(&text).with_context(|| format!("{DEVICE_STEP} is no step"))?;
    let end = perform(&step, &mut report).unwrap_or_else(|error| DeviceEnd::Failed(format!("{error:#}")));
    if let DeviceEnd::Failed(why) = &end {
        drop(writeln!(io::stderr(), "{why}"));
    }
    let mut told = vec![BEFORE_END];
    serde_json::to_writer(&mut told, &end)?;
    report.write_all(&told).context("the agent does not listen any more")?;
    Ok(ExitCode::Passed)
}

fn report_pipe() -> Option<File> {
    // The shell that starts this by hand has nothing there.
    rustix::io::fcntl_getfd(borrowed()).ok()?;
    #[expect(unsafe_code, reason = "a descriptor that was inherited has no owner yet")]
    // SAFETY: the agent gives its children a pipe there, nothing else in this program knows of it, and it was
    // just seen to be open.
    let fd = unsafe { OwnedFd::from_raw_fd(REPORT_FD) };
    Some(fd.into())
}

fn borrowed() -> std::os::fd::BorrowedFd<'static> {
    #[expect(unsafe_code, reason = "to ask whether a descriptor is open it must be named")]
    // SAFETY: it is used for one question, whose answer may be that it is not open.
    unsafe {
        std::os::fd::BorrowedFd::borrow_raw(REPORT_FD)
    }
}

/// The device that a step is done on.
fn open_device(step: &DeviceStep) -> Result<Box<dyn Device>, anyhow::Error> {
    let DeviceStep { address, held, dir: _, part } = step;
    let address: DeviceAddress = address.parse()?;
    Ok(match held {
        Some(HeldOpen { socket, job }) => {
            let goes_on = !matches!(part, DevicePart::Open { .. });
            address.open_at(Path::new(socket), &Job { id: job.clone(), goes_on })
        }
        None => address.open().with_context(|| format!("cannot use `{address}`"))?,
    })
}

fn perform(step: &DeviceStep, report: &mut File) -> Result<DeviceEnd, anyhow::Error> {
    let DeviceStep { dir, part, .. } = step;
    let device = open_device(step)?;
    let cancel = Signals::cancelling()?;
    // How long it may take in all is the agent's business, which ends this process.
    let until = Until::within(Duration::MAX).or(&cancel);
    // Later steps see by themselves whether it still answers.
    if let DevicePart::Open { .. } = part {
        device.probe(&until.at_most(PROBE))?;
    }
    let files = device.files()?;
    let dir = if dir.starts_with('/') {
        dir.clone()
    } else {
        format!("{}/{dir}", files.test_root(&until)?.trim_end_matches('/'))
    };
    let far = Reached { device: &*device, until: &until };
    match part {
        DevicePart::Open { push, packages } => {
            open(files, &dir, push, &until)?;
            install(&far, &dir, packages)?;
        }
        DevicePart::Run { argv, env, dir: within, packages, report: reports, watched } => {
            let mut env = [&env[..], &variables(&far, &dir, &packages.needed)?].concat();
            let mut argv = match watched {
                Some(Watched::OnDevice { profilers, dir: told, step }) => {
                    on_device::argv(&far, &dir, (profilers, told, step), argv)
                }
                Some(Watched::OnHost(_)) | None => argv.clone(),
            };
            let place = there(&dir, REPORT);
            if *reports {
                argv = reporting(&place, &argv);
            }
            if let Some(Watched::OnHost(step)) = watched {
                let (words, variable) = step.words(&argv);
                argv = words;
                env.push(variable);
            }
            if !reports {
                return run_there(&*device, &dir, &argv, &env, within, &until);
            }
            // Another conversation: this one runs the program.
            let reader = open_device(step)?;
            return follow(&*reader, &place, report, &until, || {
                run_there(&*device, &dir, &argv, &env, within, &until)
            });
        }
        DevicePart::List { patterns, dir: within, executable } => {
            let list = device_list::files(files, &there(&dir, within), patterns, *executable, &until)?;
            let mut out = io::stdout().lock();
            list.iter().try_for_each(|path| writeln!(out, "{path}"))?;
            out.flush()?;
        }
        DevicePart::Close { pull, into, measures, packages, profile } => {
            if let Some(profile) = profile {
                on_device::bring_back(&far, &dir, Path::new(profile));
            }
            close(files, &dir, pull, Path::new(into), Path::new(measures), &until)?;
            if !packages.needed.is_empty() {
                DevicePlace::let_go(&far, holder(&dir))?;
            }
        }
    }
    Ok(DeviceEnd::Code(0))
}

/// Makes the directory anew and brings what is pushed.
fn open(files: &dyn Files, dir: &str, push: &[Push], until: &Until) -> Result<(), anyhow::Error> {
    remove_if_there(files, dir, until)?;
    files.make_dir(dir, until)?;
    for Push { from, to } in push {
        let to = there(dir, to);
        let moved = files.push_path(Path::new(from), &to, until)?;
        say("brought", from, &to, moved);
    }
    Ok(())
}

/// Where a test finds its packages by name, in the attempt's directory.
const SHOWN: &str = ".muster-packages";

/// Who uses packages: the attempt, by its directory. The next one there has the same name, so that what one that
/// was cut off has used is not kept for ever.
fn holder(dir: &str) -> &str {
    dir.rsplit('/').next().unwrap_or(dir)
}

/// Installs the packages of the run on the device, as far as it lacks them, and tells what was moved.
fn install(far: &Reached<'_>, dir: &str, packages: &Packages) -> Result<(), anyhow::Error> {
    let Some(first) = packages.needed.first() else { return Ok(()) };
    let run_dir = Path::new(&packages.run_dir);
    let (host, _) = Place::behind(&run_dir.join(first.dir()))?;
    let place = DevicePlace::open(far, &host)?;
    let wanted: Vec<_> = packages.needed.iter().map(|needed| needed.digest).collect();
    for delivered in place.install(&wanted)? {
        drop(writeln!(io::stderr(), "{}", told(&delivered)));
    }
    place.hold(holder(dir), &wanted)?;
    // A name for each, as tests of the host have it.
    let lines = "cd \"$1\" || exit 9; shift
        while [ \"$#\" -gt 1 ]; do mkdir -p \"${1%/*}\" && ln -s \"$2\" \"$1\" || exit 1; shift 2; done";
    let shown: Vec<[String; 2]> = packages
        .needed
        .iter()
        .map(|n| [format!("{SHOWN}/{}/{}", n.kind, n.name), place.tree(n.digest)])
        .collect();
    let words: Vec<&str> = ["sh", "-c", lines, "sh", dir]
        .into_iter()
        .chain(shown.iter().flatten().map(String::as_str))
        .collect();
    let said = far.run(&words).map_err(anyhow::Error::from_boxed)?;
    if said.code != 0 {
        let why = String::from_utf8_lossy(&said.err).trim().to_owned();
        drop(writeln!(
            io::stderr(),
            "`$MUSTER_PACKAGES` cannot be filled, the other variables can be used: {why}"
        ));
    }
    Ok(())
}

/// Says of how many files only parts were brought.
pub(crate) fn in_part(files: usize) -> String {
    if files == 0 { String::new() } else { format!(", {files} in part") }
}

/// What was done for a package, in a line.
pub(crate) fn told(delivered: &Delivered) -> String {
    let Delivered {
        package,
        files,
        files_taken,
        files_brought,
        files_patched,
        bytes_brought,
        bytes_sent,
        damage,
        evicted,
        ..
    } = delivered;
    let mended = if damage.is_empty() { "" } else { "mended, " };
    let moved = match (files_brought, files_taken) {
        (0, 0) => format!("unchanged, {}", plural(*files as u64, "file", "files")),
        _ => format!(
            "{} of {files} brought ({bytes_brought} bytes{}), {files_taken} were there",
            plural(*files_brought as u64, "file", "files"),
            in_part(*files_patched)
        ),
    };
    let room = if evicted.is_empty() {
        String::new()
    } else {
        let titles: Vec<String> = evicted.iter().map(muster_package::own::Published::title).collect();
        format!("; {} taken away to make room", titles.join(", "))
    };
    format!("{} {}: {mended}{moved}, {bytes_sent} bytes sent{room}", package.title(), package.digest)
}

/// How a test finds its packages.
fn variables(
    far: &Reached<'_>,
    dir: &str,
    needed: &[Needed],
) -> Result<Vec<(String, String)>, anyhow::Error> {
    if needed.is_empty() {
        return Ok(Vec::new());
    }
    let root = far.root().map_err(anyhow::Error::from_boxed)?;
    let mut all = vec![("MUSTER_PACKAGES".to_owned(), format!("{dir}/{SHOWN}"))];
    all.extend(needed.iter().map(|n| (n.variable(), DevicePlace::tree_in(&root, n.digest))));
    Ok(all)
}

/// Runs the program in the attempt's directory.
fn run_there(
    device: &dyn Device,
    dir: &str,
    argv: &[String],
    env: &[(String, String)],
    within: &str,
    until: &Until,
) -> Result<DeviceEnd, anyhow::Error> {
    let mut command = Command::new(argv.iter().cloned());
    command.env = env.to_vec();
    command.env.push(("MUSTER_WORK_DIR".to_owned(), dir.to_owned()));
    command.env.push(("MUSTER_MEASURES".to_owned(), there(dir, MEASURES)));
    let place = there(dir, within);
    if place != dir {
        device.files()?.make_dir(&place, until)?;
    }
    command.dir = Some(place);
    let exit = match device.exec()?.run(&command, &mut pass_on, until) {
        // Nobody reads what it prints: the agent has gone, and so does this.
        Err(DeviceError::Output { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Exit::Code(0)
        }
        other => other?,
    };
    Ok(match exit {
        Exit::Code(code) => DeviceEnd::Code(code),
        Exit::Signal(signal) => DeviceEnd::Signal(signal),
        Exit::TimeLimit => DeviceEnd::Failed("the device ended it for a time that nobody had set".to_owned()),
    })
}

/// What a framework on the device reports, in the attempt's directory there.
const REPORT: &str = ".muster-report";

/// How often is looked for more of it.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);

/// The same program with descriptor 3 on a file: a device passes no descriptors on.
fn reporting(place: &str, argv: &[String]) -> Vec<String> {
    let script = "exec 3>\"$0\" && exec \"$@\"";
    let mut all: Vec<String> = ["sh", "-c", script, place].map(str::to_owned).to_vec();
    all.extend(argv.iter().cloned());
    all
}

/// Passes on what a file on the device grows by, while something is done and once more after it: what a program had
/// reported when it was ended is worth as much as what it reports at its end.
fn follow<T>(
    device: &dyn Device,
    place: &str,
    report: &mut File,
    until: &Until,
    run: impl FnOnce() -> Result<T, anyhow::Error>,
) -> Result<T, anyhow::Error> {
    let (ends, ended) = mpsc::channel::<()>();
    let growing = &mut *report;
    let (done, at) = std::thread::scope(|scope| {
        let follower = scope.spawn(move || {
            let mut at = 0;
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(FOLLOW_EVERY) {
                // It need not be there yet; what is wrong with the device is seen by who runs the program.
                at += device.files().and_then(|f| f.pull(place, at, growing, until)).unwrap_or(0);
            }
            at
        });
        let done = run();
        drop(ends);
        (done, follower.join().expect("it does not panic"))
    });
    if done.is_ok() {
        device.files()?.pull(place, at, report, until)?;
    }
    done
}

/// Brings back what is pulled and there, and the measured values; removes the directory.
fn close(
    files: &dyn Files,
    dir: &str,
    pull: &[String],
    into: &Path,
    measured: &Path,
    until: &Until,
) -> Result<(), anyhow::Error> {
    for path in pull {
        let from = there(dir, path);
        if files.stat(&from, until)?.is_none() {
            drop(writeln!(io::stderr(), "`{from}` is not there, and was not brought back"));
            continue;
        }
        // A path within the directory keeps its place; of others only the last part does.
        let name = match path.strip_prefix('/') {
            Some(path) => path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("root"),
            None => path,
        };
        let to = into.join(name);
        if let Some(above) = to.parent() {
            std::fs::create_dir_all(above).with_context(|| format!("cannot make `{}`", above.display()))?;
        }
        let moved = files.pull_path(&from, &to, until)?;
        say("brought back", &from, &to.to_string_lossy(), moved);
    }
    let measures = there(dir, MEASURES);
    if files.stat(&measures, until)?.is_some() {
        // Steps of the host and of other devices may have measured as well.
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let mut all = OpenOptions::new().create(true).append(true).custom_flags(no_link).open(measured)?;
        // Whoever wrote last may have left the line open; an empty one says nothing.
        if all.metadata()?.len() > 0 {
            all.write_all(b"\n")?;
        }
        files.pull(&measures, 0, &mut all, until)?;
    }
    // The next attempt there would do so too.
    if let Err(error) = remove_if_there(files, dir, &until.at_most(REMOVE)) {
        drop(writeln!(io::stderr(), "{error:#}"));
    }
    Ok(())
}

fn remove_if_there(files: &dyn Files, dir: &str, until: &Until) -> Result<(), DeviceError> {
    match files.remove(dir, until) {
        Err(DeviceError::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// A path on the device: within the attempt's directory, unless it is absolute.
fn there(dir: &str, path: &str) -> String {
    match path {
        "" | "." => dir.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{dir}/{path}"),
    }
}

fn say(what: &str, from: &str, to: &str, moved: Moved) {
    let Moved { files, bytes, left_out, .. } = moved;
    let left_out =
        if left_out > 0 { format!(", {left_out} left out: links and the like") } else { String::new() };
    let plural = if files == 1 { "" } else { "s" };
    drop(writeln!(io::stderr(), "{what} `{from}` to `{to}`: {files} file{plural}, {bytes} bytes{left_out}"));
}

/// Passes output on as it comes.
fn pass_on(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr | Stream::Muster => io::stderr().lock().write_all(bytes),
    }
}
