//! An agent of a lab elsewhere: between the [agent process](crate::process) and a server.
//!
//! ```text
//! agent process ── Exchange ──► Relay ──► sender thread: outputs, exchange ── HTTP ──► server
//!               ◄─ Orders ─────   │   ◄──────────────────────────────────────────────
//!                                 └─ fetch thread: packed area ─► unpacked, by run
//! ```
//!
//! What runs does not notice whether the server is there: results wait with the agent process, which
//! repeats them, and stops everything when the lease is about to end unheard.

mod relay;
mod sender;
mod source;

use crate::process::{AgentProcess, ChildError, Setup};
use muster_api::{Client, ClientError};
use muster_core::exchange::DeviceOffer;
use muster_core::id::{AgentId, RunId, SessionId};
use relay::Relay;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use sender::{Senders, Sent};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How an agent is set up.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Who it is; kept over its restarts.
    pub agent: AgentId,
    /// Which life of it; grows.
    pub session: SessionId,
    /// The host's name.
    pub host: String,
    /// Its devices.
    pub devices: Vec<DeviceOffer>,
    /// Where it keeps what it fetches. It is this agent's alone.
    pub state_dir: PathBuf,
}

/// What the agent has to say to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The server answers (again).
    Connected,
    /// It does not, and why.
    Lost(String),
    /// A run's area was unpacked, or why it could not be.
    Fetched(RunId, Result<(), String>),
}

/// Why an agent ended.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// Its process.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// Its process ended.
    #[error("the agent process ended unexpectedly")]
    ChildEnded,
    /// Its process lives and says nothing: what it runs would go on beyond the lease.
    #[error("the agent process said nothing for {} s, and was killed with all it ran", .0.as_secs())]
    ChildSilent(Duration),
    /// The server will not have it.
    #[error("the server refuses this agent: {0}")]
    Refused(ClientError),
    /// Somebody else is it.
    #[error("another agent with the same identity speaks to the server")]
    Replaced,
    /// Its state directory.
    #[error("`{}` cannot be used: {source}", dir.display())]
    State {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system has no descriptors or threads left.
    #[error("the agent cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Something a thread of the agent has done.
enum Done {
    Sent(Sent),
    Fetched(RunId, Result<(), String>),
}

/// Tells the main thread.
#[derive(Clone)]
struct Mail {
    done: Sender<Done>,
    bell: Arc<OwnedFd>,
}

impl Mail {
    fn send(&self, done: Done) {
        // Nobody listens only when the agent ends.
        let _ended = self.done.send(done);
        // Fails only where the counter is full, and then it is awake.
        let _rung = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// Runs an agent until `stop` can be read, or it cannot go on. `program` with `args` is the agent process.
/// `tell` is told what people may want to know.
///
/// # Errors
/// [`RemoteError`]. What ran has been killed.
pub fn run<S: AsRef<OsStr>>(
    config: &RemoteConfig,
    client: &Client,
    program: &Path,
    args: &[S],
    stop: BorrowedFd<'_>,
    tell: &mut dyn FnMut(Notice),
) -> Result<(), RemoteError> {
    let RemoteConfig { agent, session, host, devices, state_dir } = config;
    let state = |source| RemoteError::State { dir: state_dir.clone(), source };
    let runs = state_dir.join("runs");
    // What an earlier life left is of no use: its units were given to others.
    if runs.exists() {
        std::fs::remove_dir_all(&runs).map_err(state)?;
    }
    std::fs::create_dir_all(&runs).map_err(state)?;
    let setup = Setup {
        agent: *agent,
        session: *session,
        host: host.clone(),
        devices: devices.clone(),
        threads: None,
        cgroups: true,
        area_dir: state_dir.to_string_lossy().into_owned(),
        minds_lease: true,
    };
    let mut child = AgentProcess::spawn(program, args, setup)?;
    let (done, inbox) = channel();
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
    let bell = Arc::new(bell);
    let mail = Mail { done, bell: Arc::clone(&bell) };
    let mut senders = Senders::new(client.clone(), mail.clone());
    let mut relay = Relay::new(runs);
    let ended = go_on(&mut child, &mut senders, &mut relay, &inbox, &bell, stop, tell, &mail, client);
    let killed = child.kill_rest();
    if ended.is_ok() && killed.is_ok() {
        // Nothing runs any more, so the lab need not wait for the lease to end.
        let _unheard = client.say_goodbye(*agent, *session);
    }
    ended
}

#[expect(
    clippy::too_many_arguments,
    reason = "the loop of `run`, apart so that what it started is ended once"
)]
fn go_on(
    child: &mut AgentProcess,
    senders: &mut Senders,
    relay: &mut Relay,
    inbox: &Receiver<Done>,
    bell: &OwnedFd,
    stop: BorrowedFd<'_>,
    tell: &mut dyn FnMut(Notice),
    mail: &Mail,
    client: &Client,
) -> Result<(), RemoteError> {
    let mut connected = match client.about() {
        Ok(_) => {
            tell(Notice::Connected);
            true
        }
        // It may come up later.
        Err(e) if e.may_pass() => {
            tell(Notice::Lost(e.to_string()));
            false
        }
        Err(e) => return Err(RemoteError::Refused(e)),
    };
    // The agent process ends what it runs before the lease does; one that hangs cannot, so it is ended.
    let (mut heard, mut asked, mut silence_max) = (Instant::now(), false, None::<Duration>);
    loop {
        let patience = silence_max.map(|max| heard + if asked { max } else { max / 2 });
        let next = senders.next_try().into_iter().chain(patience).min();
        let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
        if wait_for(child, bell, stop, wait)? {
            return Ok(());
        }
        child.flush()?;
        for exchange in child.receive()? {
            (heard, asked) = (Instant::now(), false);
            let (exchange, outputs) = relay.outward(exchange);
            senders.send(exchange, outputs);
        }
        if child.has_ended() {
            return Err(RemoteError::ChildEnded);
        }
        // Looked at after what it said meanwhile was read: this process may have been held up itself.
        if let Some(max) = silence_max {
            if heard.elapsed() >= max && asked {
                child.kill()?;
                return Err(RemoteError::ChildSilent(max));
            }
            // One that is well may have nothing to say while it waits for an answer.
            if heard.elapsed() >= max / 2 && !asked {
                asked = true;
                child.ask()?;
            }
        }
        for done in inbox.try_iter() {
            match done {
                Done::Fetched(run, result) => {
                    tell(Notice::Fetched(run, result.clone()));
                    relay.fetched(run, result);
                    child.ask()?;
                }
                Done::Sent(sent) => {
                    match &sent.answer {
                        Ok(_) => {
                            if !std::mem::replace(&mut connected, true) {
                                tell(Notice::Connected);
                            }
                        }
                        // It was heard, and the answer lost on its way.
                        Err(e) if e.code() == Some("stale-exchange") => child.ask()?,
                        Err(e) if e.code() == Some("agent-replaced") => return Err(RemoteError::Replaced),
                        Err(e) if !e.may_pass() => {}
                        Err(e) => {
                            if std::mem::replace(&mut connected, false) {
                                tell(Notice::Lost(e.to_string()));
                            }
                        }
                    }
                    match senders.receive(sent) {
                        Ok(Some(orders)) => {
                            silence_max = (!orders.lease.is_zero()).then(|| orders.lease * 9 / 10);
                            let (orders, wanted) = relay.inward(orders);
                            for (run, source) in wanted {
                                source::fetch(client.clone(), run, source, relay.area_dir(run), mail.clone());
                            }
                            child.send(orders)?;
                        }
                        Ok(None) => {}
                        Err(e) => return Err(RemoteError::Refused(e)),
                    }
                }
            }
        }
        senders.retry();
    }
}

/// Waits for the agent process, a thread, or the time to try again; whether the agent is to stop.
fn wait_for(
    child: &AgentProcess,
    bell: &OwnedFd,
    stop: BorrowedFd<'_>,
    wait: Option<Duration>,
) -> Result<bool, RemoteError> {
    let Some(socket) = child.fd() else { return Err(RemoteError::ChildEnded) };
    let mut wanted = PollFlags::IN;
    if child.wants_write() {
        wanted |= PollFlags::OUT;
    }
    let mut fds =
        [PollFd::new(&socket, wanted), PollFd::new(bell, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
    let timeout = wait.map(|w| Timespec { tv_sec: w.as_secs() as i64, tv_nsec: w.subsec_nanos().into() });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(RemoteError::Start(e.into())),
    }
    if !fds[1].revents().is_empty() {
        let mut count = [0u8; 8];
        // Nothing there: it was woken by something else too.
        let _count = rustix::io::read(bell, &mut count);
    }
    Ok(!fds[2].revents().is_empty())
}
