//! A keeper of attempts as the agent sees it: found or started, spoken with, left alone or ended.
//!
//! It is nobody's child: the agent may be killed, restarted or replaced by another version, and the keeper
//! and what it runs go on. Where systemd has started the agent, the keeper gets a scope of its own, so that a
//! restart of the service does not reach it.

use super::door;
use super::link::{ChildError, Link};
use super::wire::{Language, Wire};
use super::{Greeting, Life, Setup, ToAgent};
use crate::exec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a keeper may take to say who it is. One that does not is stopped or hangs.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// How long a keeper may take to come up.
const START_MAX: Duration = Duration::from_secs(20);
/// How long it may take to kill what it runs when it is told to end.
// Limit: killing needs milliseconds; what sleeps uninterruptibly is not waited for longer than this.
const END_MAX: Duration = Duration::from_secs(30);

/// What was found in an agent's directory.
#[derive(Debug)]
pub enum Found {
    /// A keeper that can be spoken with, and what it has.
    Keeper(Keeper, Life),
    /// One that says it is of a version that cannot be, or that says nothing. It goes on until it is killed.
    Stranger(Keeper, String),
    /// None.
    Nobody,
}

/// A running keeper. Dropping it leaves it alone.
#[derive(Debug)]
pub struct Keeper {
    /// To speak with it.
    pub link: Link,
    /// The version of its program.
    pub version: String,
    pid: Pid,
    process: OwnedFd,
    /// Where this process has started it.
    child: Option<Child>,
}

impl Keeper {
    /// Looks for the keeper of this directory.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn find(state_dir: &Path) -> Result<Found, ChildError> {
        let failed = |source| ChildError::Start { program: state_dir.to_owned(), source };
        let dir = door::dir(state_dir).map_err(failed)?;
        let stream = match door::socket_in(&dir, |socket| UnixStream::connect(socket)) {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(Found::Nobody);
            }
            Err(e) => return Err(failed(e)),
        };
        let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(|e| failed(e.into()))?;
        let Ok(process) = pidfd_open(peer.pid, PidfdFlags::empty()) else { return Ok(Found::Nobody) };
        let mut wire = Wire::new(stream.into(), Language::Cbor).map_err(failed)?;
        wire.send("a greeting", &Greeting::ours(None))?;
        let greeting = hear_greeting(&mut wire);
        let keeper = |version| Keeper { link: Link::new(wire), version, pid: peer.pid, process, child: None };
        Ok(match greeting {
            Ok(greeting) if !greeting.is_understood() => {
                let why = format!("it is of version {}, which this one cannot speak with", greeting.version);
                Found::Stranger(keeper(greeting.version), why)
            }
            Ok(Greeting { version, life: Some(life), .. }) => Found::Keeper(keeper(version), life),
            Ok(Greeting { version, life: None, .. }) => {
                Found::Stranger(keeper(version), "it was never set up".to_owned())
            }
            // It ended while it was asked.
            Err(None) => Found::Nobody,
            Err(Some(why)) => Found::Stranger(keeper(String::new()), why),
        })
    }

    /// Starts a keeper: `program` with `args` and the directory behind them, which must call
    /// [`keep`](super::keep). There must be none.
    ///
    /// # Errors
    /// It cannot be started, or says why it cannot go on.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        state_dir: &Path,
        setup: Setup,
    ) -> Result<Self, ChildError> {
        let failed = |source| ChildError::Start { program: program.to_owned(), source };
        // What a keeper that is killed leaves behind comes to this process, if it has started that.
        exec::become_subreaper().map_err(failed)?;
        let dir = door::dir(state_dir).map_err(failed)?;
        let mut child = spawn(program, args, state_dir, &dir).map_err(failed)?;
        let start = Instant::now();
        loop {
            match Self::find(state_dir)? {
                Found::Stranger(mut keeper, _) if keeper.pid.as_raw_pid() as u32 == child.id() => {
                    keeper.child = Some(child);
                    keeper.link.say("a setup", &ToAgent::Setup(setup))?;
                    return Ok(keeper);
                }
                // Started by an agent that was killed before it could say more. The new one waits for its end.
                Found::Keeper(keeper, _) | Found::Stranger(keeper, _) => {
                    let _killed = pidfd_send_signal(&keeper.process, Signal::KILL);
                }
                Found::Nobody => {}
            }
            if let Some(status) = child.try_wait().map_err(failed)? {
                let said = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                return Err(ChildError::Failed(format!("it ended at once with {status}: {}", said.trim())));
            }
            if start.elapsed() >= START_MAX {
                child.kill().map_err(failed)?;
                let _ended = child.wait();
                return Err(ChildError::Failed("it does not come up".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether its process has ended.
    pub fn is_dead(&self) -> bool {
        has_ended(&self.process, Duration::ZERO)
    }

    /// Tells it to kill what it runs and to end, and waits for that; one that does not is killed, and then
    /// what it ran is.
    pub fn end(mut self) {
        // One that has gone cannot be told, and need not be.
        let _told = self.link.say("the end", &ToAgent::End).and_then(|()| self.link.flush());
        let _ended = has_ended(&self.process, END_MAX);
        self.kill_rest();
    }

    /// Kills it at once, if it still lives, and all it has left running.
    pub fn kill_rest(mut self) {
        self.link.hang_up();
        // It may be dead.
        let _killed = pidfd_send_signal(&self.process, Signal::KILL);
        let _ended = has_ended(&self.process, END_MAX);
        if let Some(mut child) = self.child.take() {
            let _status = child.wait();
            // The agent has no other children: these are what its own keeper's tests have left.
            exec::kill_descendants();
        }
        exec::kill_abandoned();
    }
}

fn hear_greeting(wire: &mut Wire) -> Result<Greeting, Option<String>> {
    let deadline = Instant::now() + GREETING_MAX;
    loop {
        match wire.next::<Greeting>("a greeting") {
            Ok(Some(greeting)) => return Ok(greeting),
            Ok(None) if wire.has_ended() => return Err(None),
            Ok(None) => {}
            Err(e) => return Err(Some(e.to_string())),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Some(format!("it said nothing for {} s", GREETING_MAX.as_secs())));
        }
        wait_for(wire.fd(), left);
        wire.fill().map_err(|e| Some(e.to_string()))?;
    }
}

/// Whether a process has ended within so long.
fn has_ended(process: &OwnedFd, long: Duration) -> bool {
    let deadline = Instant::now() + long;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if wait_for(process.as_fd(), left) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

fn wait_for(fd: std::os::fd::BorrowedFd<'_>, long: Duration) -> bool {
    let timeout = Timespec { tv_sec: long.as_secs() as i64, tv_nsec: long.subsec_nanos().into() };
    matches!(poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)), Ok(1..))
}

/// Starts the program, in a scope of its own where this one is a service.
fn spawn<S: AsRef<OsStr>>(program: &Path, args: &[S], state_dir: &Path, dir: &Path) -> io::Result<Child> {
    let run = |command: &mut Command| -> io::Result<Child> {
        // What it says when it fails; whoever has started the agent does not wait for the keeper's end.
        let log = File::create(dir.join("log"))?;
        command.args(args).arg(state_dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    };
    if std::env::var_os("INVOCATION_ID").is_some() {
        let mut scope = Command::new("systemd-run");
        scope.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes"]);
        scope.args(["--property=TimeoutStopSec=30", "--description=Muster: running tests"]);
        if !rustix::process::geteuid().is_root() {
            scope.arg("--user");
        }
        scope.arg("--").arg(program);
        // It becomes the program when there is a scope; else it ends.
        if let Ok(mut child) = run(&mut scope) {
            let start = Instant::now();
            while start.elapsed() < START_MAX {
                if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                    break;
                }
                if has_become(&child, program) {
                    return Ok(child);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
    run(&mut Command::new(program))
}

/// Whether a child has executed this program.
fn has_become(child: &Child, program: &Path) -> bool {
    let runs = std::fs::read_link(format!("/proc/{}/exe", child.id()));
    runs.is_ok_and(|runs| program.canonicalize().is_ok_and(|program| program == runs))
}
