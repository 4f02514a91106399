//! Runs a program on this host and kills all of it when it must end.
//!
//! This is how a *device* runs a program. Tests are run by the executor of `muster-agent`, which measures
//! and records them; it in turn may be the one that asks a device.
//!
//! A program leads a process group of its own and carries a variable ([`MARK`]) in its environment, by
//! which what it started is found even after it has left the group. What has thrown away the variable and
//! left the group escapes; a device that must not have that is a virtual machine.

use crate::device::{Command, Exit, Sink};
use crate::error::DeviceError;
use crate::host::processes;
use crate::until::{Ended, Until};
use muster_core::output::Stream;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{self, ErrorKind};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The variable by which the descendants of a program are known.
pub(crate) const MARK: &str = "MUSTER_DEVICE_COMMAND";

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a program could not be run to its end. In every case nothing of it is left running.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The deadline of the call, not the program's time limit.
    Deadline,
    Cancelled,
    /// Whoever asked has gone: the other end of the watched socket was closed.
    AskerGone,
    /// The directory it was to work in is not there.
    NoDir(String),
    /// There is no such user, or this process may not become it.
    User(String),
    /// The sink took no more.
    Sink(io::Error),
    Io(io::Error),
}

impl RunError {
    /// The same as an error of the device that was asked to run it.
    pub(crate) fn of(self, device: &str, command: &Command, until: &Until) -> DeviceError {
        let doing = format!("running `{}`", command.args.first().map_or("", String::as_str));
        let ended = |ended| DeviceError::ended(device, &doing, ended, until);
        let device = device.to_owned();
        match self {
            Self::Deadline => ended(Ended::Deadline),
            Self::Cancelled => ended(Ended::Cancelled),
            Self::NoDir(path) => DeviceError::NotFound { device, path },
            Self::User(said) => DeviceError::Refused { device, doing, said },
            Self::Sink(source) => DeviceError::Output { device, source },
            Self::Io(source) if source.kind() == ErrorKind::InvalidInput => {
                DeviceError::Senseless { what: source.to_string() }
            }
            Self::Io(source) => ended(Ended::Io(source)),
            Self::AskerGone => unreachable!("nobody else asks for it"),
        }
    }
}

impl From<Ended> for RunError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Deadline => Self::Deadline,
            Ended::Cancelled => Self::Cancelled,
            Ended::Io(e) => Self::Io(e),
        }
    }
}

impl From<Errno> for RunError {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

/// Runs it to its end. `asker` is a socket whose closing by the other side means that nobody wants to know
/// any more.
pub(crate) fn run(
    command: &Command,
    sink: &mut dyn Sink,
    until: &Until,
    asker: Option<BorrowedFd<'_>>,
) -> Result<Exit, RunError> {
    let (program, args) = split(command)?;
    let mut start = std::process::Command::new(program);
    start.args(args).envs(command.env.iter().map(|(k, v)| (k, v)));
    if let Some(dir) = &command.dir {
        // Told apart here: a missing program gives the same error.
        if !std::path::Path::new(dir).is_dir() {
            return Err(RunError::NoDir(dir.clone()));
        }
        start.current_dir(dir);
    }
    if let Some(user) = &command.user {
        become_user(&mut start, user).map_err(RunError::User)?;
    }
    run_as(&mut start, &mark(), command, sink, until, asker)
}

/// The program of a command, and its arguments.
pub(crate) fn split(command: &Command) -> Result<(&String, &[String]), RunError> {
    let none = || RunError::Io(io::Error::new(ErrorKind::InvalidInput, "no program was named"));
    command.args.split_first().ok_or_else(none)
}

/// Runs what is ready to be started to its end; of the command, only input and time limit are used. What it
/// starts is found by the mark, which whoever made it ready passes on where the environment is not.
pub(crate) fn run_as(
    start: &mut std::process::Command,
    mark: &str,
    command: &Command,
    sink: &mut dyn Sink,
    until: &Until,
    asker: Option<BorrowedFd<'_>>,
) -> Result<Exit, RunError> {
    start.env(MARK, mark).process_group(0);
    let stdin = if command.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
    start.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = match spawn(start) {
        Ok(child) => child,
        Err(e) => return not_started(&start.get_program().to_string_lossy(), &e, sink),
    };
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a child has a number above zero");
    let mut running = Running { child, pid, mark: mark.to_owned(), ended: false };
    let limit = command.time_limit.map(|limit| until.at_most(limit));
    let limited = limit.as_ref().is_some_and(|limit| limit.left() < until.left());
    match running.attend(&command.stdin, sink, limit.as_ref().unwrap_or(until), asker) {
        Err(RunError::Deadline) if limited => Ok(Exit::TimeLimit),
        other => other,
    }
}

/// Starts it. While another thread is between `fork` and `execve`, that child has a copy of every descriptor
/// this process writes through, so that a program that was just pushed may be busy for a moment.
fn spawn(start: &mut std::process::Command) -> io::Result<Child> {
    // Limit: a moment is not longer than this.
    for _ in 0..50 {
        match start.spawn() {
            Err(e) if e.kind() == ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
    start.spawn()
}

/// As a shell has it: 127 for what is not there, 126 for what cannot be run.
fn not_started(program: &str, error: &io::Error, sink: &mut dyn Sink) -> Result<Exit, RunError> {
    let (code, why) = match error.kind() {
        ErrorKind::NotFound => (127, "there is no such program".to_owned()),
        ErrorKind::PermissionDenied => (126, "it may not be run".to_owned()),
        _ if matches!(Errno::from_io_error(error), Some(Errno::NOEXEC)) => {
            (126, "it is no program for this machine".to_owned())
        }
        _ if matches!(Errno::from_io_error(error), Some(Errno::TOOBIG | Errno::INVAL)) => {
            (126, error.to_string())
        }
        ErrorKind::InvalidInput => (126, error.to_string()),
        _ => return Err(RunError::Io(io::Error::new(error.kind(), error.to_string()))),
    };
    sink.take(Stream::Muster, format!("{program}: {why}\n").as_bytes()).map_err(RunError::Sink)?;
    Ok(Exit::Code(code))
}

/// A name no other command of this host has.
pub(crate) fn mark() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("{}.{nanos}.{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

fn become_user(start: &mut std::process::Command, name: &str) -> Result<(), String> {
    let user = processes::user(name).ok_or_else(|| format!("there is no user `{name}`"))?;
    let me = rustix::process::geteuid();
    if me.as_raw() == user.uid {
        return Ok(());
    }
    if !me.is_root() {
        let me = processes::user_name(me.as_raw());
        return Err(format!("`{me}` may not become `{name}`; only root may"));
    }
    start.uid(user.uid).gid(user.gid).env("HOME", &user.home).env("USER", name).env("LOGNAME", name);
    Ok(())
}

/// A program that has been started. Dropped before its end, it is killed.
struct Running {
    child: Child,
    pid: Pid,
    mark: String,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
            // It is a child, and it has been killed: this ends.
            drop(self.child.wait());
        }
    }
}

impl Running {
    fn attend(
        &mut self,
        stdin: &[u8],
        sink: &mut dyn Sink,
        until: &Until,
        asker: Option<BorrowedFd<'_>>,
    ) -> Result<Exit, RunError> {
        let pidfd = pidfd_open(self.pid, PidfdFlags::empty())?;
        let mut out = self.child.stdout.take().map(OwnedFd::from);
        let mut err = self.child.stderr.take().map(OwnedFd::from);
        let mut input = self.child.stdin.take().map(OwnedFd::from);
        let mut rest = stdin;
        for fd in [&out, &err, &input].into_iter().flatten() {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let watched = [
                (Some(pidfd.as_fd()), PollFlags::IN),
                (out.as_ref().map(OwnedFd::as_fd), PollFlags::IN),
                (err.as_ref().map(OwnedFd::as_fd), PollFlags::IN),
                (input.as_ref().map(OwnedFd::as_fd), PollFlags::OUT),
                (asker, PollFlags::RDHUP),
            ];
            let there =
                watched.iter().filter_map(|(fd, flags)| Some(PollFd::from_borrowed_fd((*fd)?, *flags)));
            let mut fds: Vec<PollFd<'_>> = there.collect();
            until.poll(&mut fds)?;
            let mut polled = fds.iter();
            let ready = watched
                .map(|(fd, _)| fd.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty()));
            let [ended, out_ready, err_ready, input_ready, gone] = ready;
            if gone && !ended {
                return Err(RunError::AskerGone);
            }
            if input_ready && feed(input.as_ref(), &mut rest) {
                input = None;
            }
            if out_ready || ended {
                pump(&mut out, Stream::Stdout, &mut buffer, sink, ended, until)?;
            }
            if err_ready || ended {
                pump(&mut err, Stream::Stderr, &mut buffer, sink, ended, until)?;
            }
            if ended {
                let status = self.child.wait().map_err(RunError::Io)?;
                self.ended = true;
                return Ok(match (status.code(), status.signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, signal) => Exit::Signal(signal.unwrap_or(0)),
                });
            }
        }
    }

    /// Kills the program, its group, and everything that carries its mark.
    fn kill(&self) {
        // It is not reaped yet, so its number and that of its group are still its own.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let begun = Instant::now();
        // Limit: rounds, each for what the killed have started meanwhile.
        for _ in 0..100 {
            let killed = processes::kill_marked(MARK, &self.mark, self.pid);
            if killed == 0 || begun.elapsed() > Duration::from_secs(10) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Gives it what it wants to read; `true` once there is no more or it wants no more.
fn feed(input: Option<&OwnedFd>, rest: &mut &[u8]) -> bool {
    let Some(input) = input else { return true };
    loop {
        if rest.is_empty() {
            return true;
        }
        match rustix::io::write(input, rest) {
            Ok(n) => *rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            // It has closed its standard input, which is its right.
            Err(_) => return true,
        }
    }
}

/// Passes on what is in a pipe. At the program's end that is all it has written: a pipe that others still
/// have open is not waited for.
fn pump(
    pipe: &mut Option<OwnedFd>,
    stream: Stream,
    buffer: &mut [u8],
    sink: &mut dyn Sink,
    all: bool,
    until: &Until,
) -> Result<(), RunError> {
    let Some(fd) = pipe else { return Ok(()) };
    // Limit: at the end no more than a pipe holds, or what is left running could keep this here.
    let mut left = rustix::pipe::fcntl_getpipe_size(&*fd).unwrap_or(1 << 20);
    loop {
        match rustix::io::read(&*fd, &mut *buffer) {
            Ok(0) => {
                *pipe = None;
                return Ok(());
            }
            Ok(n) => {
                sink.take(stream, &buffer[..n]).map_err(RunError::Sink)?;
                left = left.saturating_sub(n);
                if !all || left == 0 {
                    return Ok(());
                }
                until.check()?;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}
