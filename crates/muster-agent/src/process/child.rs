//! The agent process as the shell sees it: started, spoken with, and never left behind.

use super::link::{ChildError, Link};
use super::wire::{Language, Wire};
use super::{Setup, ToAgent};
use crate::exec;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long an agent may take to kill everything after its connection has ended.
// Limit: killing needs milliseconds; what sleeps uninterruptibly is not waited for longer than this.
const END_MAX: Duration = Duration::from_secs(30);

/// A running agent process. Dropping it ends it, with everything it runs.
#[derive(Debug)]
pub struct AgentProcess {
    child: Child,
    /// To speak with it.
    pub link: Link,
}

impl AgentProcess {
    /// Starts an agent: `program` with `args`, which must call [`run`](super::run) with the connection on
    /// standard input. It gets a process group of its own, so that the terminal's Ctrl-C reaches only the
    /// shell. From now on this process adopts orphans, so that [`AgentProcess::kill_rest`] finds what an
    /// agent that was killed has left.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn<S: AsRef<OsStr>>(program: &Path, args: &[S], setup: Setup) -> Result<Self, ChildError> {
        let start = |source| ChildError::Start { program: program.to_owned(), source };
        exec::become_subreaper().map_err(start)?;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|e| start(e.into()))?;
        let mut link = Link::new(Wire::new(ours, Language::Postcard).map_err(start)?);
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        link.say("a setup", &ToAgent::Setup(setup))?;
        Ok(Self { child, link })
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends the connection and waits for the agent to kill everything and end; one that does not is killed.
    ///
    /// # Errors
    /// The system does not tell how it ended.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.link.hang_up();
        let deadline = Instant::now() + END_MAX;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                self.child.kill()?;
                return self.child.wait();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Kills the agent at once: for one that does not listen. What it ran is then to be killed with
    /// [`AgentProcess::kill_rest`].
    ///
    /// # Errors
    /// The system does not let it.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// Ends the agent, then kills **every child of this process** and all their descendants: what an agent
    /// that was killed left behind. Only for a process that has no other children. How many there were.
    ///
    /// # Errors
    /// As for [`AgentProcess::end`].
    pub fn kill_rest(&mut self) -> io::Result<u32> {
        self.end()?;
        Ok(exec::kill_descendants())
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // A process that is gone already has been waited for.
        if self.link.fd().is_some() {
            let _status = self.end();
        }
    }
}
