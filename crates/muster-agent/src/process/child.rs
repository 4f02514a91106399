//! The agent process as the shell sees it: started, spoken with, and never left behind.

use super::wire::{FrameError, Wire};
use super::{FromAgent, Setup, ToAgent};
use crate::exec;
use muster_core::exchange::{Exchange, Orders};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long an agent may take to kill everything after its connection has ended.
// Limit: killing needs milliseconds; what sleeps uninterruptibly is not waited for longer than this.
const END_MAX: Duration = Duration::from_secs(30);

/// Why an agent process cannot be spoken with.
#[derive(Debug, Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("the agent process `{}` cannot be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It said that it cannot do its work.
    #[error("the agent process has failed: {0}")]
    Failed(String),
    /// It said something that cannot be understood.
    #[error("the agent process cannot be understood: {0}")]
    Wire(#[from] FrameError),
}

/// A running agent process. Dropping it ends it, with everything it runs.
#[derive(Debug)]
pub struct AgentProcess {
    child: Child,
    /// `None` once it was ended.
    wire: Option<Wire>,
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
        let mut wire = Wire::new(ours).map_err(start)?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        wire.send("a setup", &ToAgent::Setup(setup))?;
        Ok(Self { child, wire: Some(wire) })
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The connection, to be polled: for reading always, for writing where
    /// [`wants_write`](Self::wants_write) says so. `None` once it was ended.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.wire.as_ref().map(Wire::fd)
    }

    /// Whether orders wait to be sent: poll for writing, then [`flush`](Self::flush).
    pub fn wants_write(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::wants_write)
    }

    /// What the agent has said since the last call; does not wait. Of several, each is the whole truth of
    /// its moment, so only the results of the earlier ones matter, and the last repeats them.
    ///
    /// # Errors
    /// The agent says it has failed, or what it says cannot be understood.
    pub fn receive(&mut self) -> Result<Vec<Exchange>, ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(Vec::new()) };
        wire.fill()?;
        let mut exchanges = Vec::new();
        loop {
            match wire.next("an exchange") {
                Ok(Some(FromAgent::Exchange(exchange))) => exchanges.push(exchange),
                Ok(Some(FromAgent::Failed(why))) => return Err(ChildError::Failed(why)),
                // The end in the middle of a word is an end like any other.
                Ok(None) | Err(FrameError::Cut) => return Ok(exchanges),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether the agent has ended the connection: it is dead or dying.
    pub fn has_ended(&self) -> bool {
        self.wire.as_ref().is_none_or(Wire::has_ended)
    }

    /// Sends orders, or keeps them until they can be sent; does not wait.
    ///
    /// # Errors
    /// They are too long to be sent, or the socket fails. An agent that has ended is no error here.
    pub fn send(&mut self, orders: Orders) -> Result<(), ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        Ok(wire.send("orders", &ToAgent::Orders(orders))?)
    }

    /// Makes the agent say what it has; does not wait.
    ///
    /// # Errors
    /// As for [`AgentProcess::send`].
    pub fn ask(&mut self) -> Result<(), ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        Ok(wire.send("a question", &ToAgent::Speak)?)
    }

    /// Sends what waits to be sent; does not wait.
    ///
    /// # Errors
    /// The socket fails.
    pub fn flush(&mut self) -> Result<(), ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        Ok(wire.flush()?)
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
        drop(self.wire.take());
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
        if self.wire.is_some() {
            let _status = self.end();
        }
    }
}
