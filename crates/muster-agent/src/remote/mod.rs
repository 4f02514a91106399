//! An agent of a lab elsewhere: between the [keeper of its attempts](crate::process::Keeper) and a server.
//!
//! ```text
//! keeper ── Exchange ──► Relay ──► sender threads: the exchange ──── HTTP ──► server
//!        ◄─ Orders ─────   │   ◄───────────────────────────────────────────
//!                          ├─ bring thread: outputs and artifacts ── HTTP ──►
//!                          ├─ follow thread: what is being printed ─ HTTP ──►
//!                          └─ fetch threads: packed area ─► unpacked, by run
//! ```
//!
//! What runs does not notice whether the server is there, nor whether this process is: results wait with the
//! keeper, which repeats them, and stops everything when the lease is about to end unheard. A keeper that
//! dies is replaced, under a new session, which is the server's proof that what it ran is gone.

mod added;
mod bring;
mod follow;
mod lend;
mod pulse;
mod relay;
mod self_check;
mod sender;
mod source;
mod store;

use crate::Clock;
use crate::exec::kill_abandoned;
use crate::process::{ChildError, Found, Keeper, Life, Setup};
use crate::remove::Remover;
use bring::{Load, What};
use follow::Followed;
use lend::Lending;
use muster_api::{Client, ClientError};
use muster_core::digest::Digest;
use muster_core::exchange::{DeviceOffer, Labels};
use muster_core::id::{AgentId, RunId, SessionId};
use muster_package::own::Lease;
use pulse::BEAT_MAX;
pub use pulse::Pulse;
use relay::Relay;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
pub use self_check::SelfCheck;
use sender::{Senders, Sent};
use source::Packages;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
pub use store::lab_store;
use thiserror::Error;

/// A keeper that lived shorter than this is not replaced before it would have been this old.
const LIFE_MIN: Duration = Duration::from_secs(1);
/// Why nothing new is taken while devices are added or removed.
const CHANGING: &str = "its devices are about to change";
/// How often the server is told that the agent is there while results wait for their outputs.
const STILL_THERE: Duration = Duration::from_secs(2);

/// How an agent is set up.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Who it is; kept over its restarts.
    pub agent: AgentId,
    /// The host's name.
    pub host: String,
    /// Its devices.
    pub devices: Vec<DeviceOffer>,
    /// Where it keeps what it fetches. It is this agent's alone.
    pub state_dir: PathBuf,
    /// Labels of devices that the server adds to these.
    pub labels: Labels,
    /// Where it gives others what it has installed, if it does.
    pub share: Option<SocketAddr>,
    /// What it minds of its host.
    pub self_check: SelfCheck,
    /// The certificates by which web servers are known that packages are fetched from; `None`: the system's.
    pub fetch_ca: Option<PathBuf>,
    /// Beats as long as the agent goes on.
    pub pulse: Pulse,
    /// The program that calls [`keep`](crate::process::keep) with the directory that is given to it behind
    /// these arguments.
    pub keeper: (PathBuf, Vec<OsString>),
}

/// How an agent is told to end: when one of these can be read.
#[derive(Clone, Copy, Debug)]
pub struct Stops<'a> {
    /// With everything it runs.
    pub end: BorrowedFd<'a>,
    /// Leaving alone what runs: the next agent goes on with it, or it ends before its lease does.
    pub leave: BorrowedFd<'a>,
}

/// What the agent has to say to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The server answers (again).
    Connected,
    /// It does not, and why.
    Lost(String),
    /// An earlier agent left a keeper with so many units and results, which is spoken with now. Whether
    /// another takes its place when it has nothing any more.
    TakenOver(usize, usize, bool),
    /// What an earlier agent left cannot be spoken with, why, and was killed.
    Stranger(String),
    /// The keeper is gone with all it ran, and why; another takes its place.
    KeeperLost(String),
    /// This agent ends and leaves the keeper alone, since something runs.
    Left,
    /// A run's area was unpacked, or why it could not be.
    Fetched(RunId, Result<(), String>),
    /// A package was installed, and so many bytes of it came from these.
    Installed(String, Vec<(String, u64)>),
    /// Its devices are others from now on, as many as this.
    Devices(usize),
    /// What is wrong with this host; nothing new is taken until that is nothing.
    Trouble(Vec<String>),
}

/// Why an agent ended.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// Its keeper cannot be started.
    #[error(transparent)]
    Keeper(#[from] ChildError),
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
    /// The server said who it is.
    About(Result<(), ClientError>),
    Sent(Sent),
    /// What is at this place in a run's directory is with the server, or will never be.
    Brought(RunId, String, What),
    Fetched(RunId, Digest, Result<Vec<Lease>, String>),
    Installed(String, Vec<(String, u64)>),
    /// The host was looked at, and this is wrong with it.
    Looked(Vec<String>),
    /// The devices that were added to this host at the server.
    Added(Vec<DeviceOffer>),
}

/// Tells the main thread.
#[derive(Clone)]
struct Mail {
    done: Sender<Done>,
    bell: Arc<OwnedFd>,
}

impl Mail {
    /// Whether somebody listens: nobody does only when the agent has ended.
    fn send(&self, done: Done) -> bool {
        let listens = self.done.send(done).is_ok();
        // Fails only where the counter is full, and then it is awake.
        let _rung = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        listens
    }
}

/// How a conversation with a keeper ended.
enum Over {
    /// This agent is to end with everything it runs.
    End,
    /// This agent is to end.
    Leave,
    /// The keeper has nothing any more, and another is to take its place.
    Drained,
    /// The keeper is gone, or has to go.
    Lost(String),
}

/// Runs an agent until it is told to end, or it cannot go on. `tell` is told what people may want to know.
///
/// # Errors
/// [`RemoteError`]. What ran has been killed.
pub fn run(
    config: &RemoteConfig,
    client: &Client,
    stops: Stops<'_>,
    tell: &mut dyn FnMut(Notice),
) -> Result<(), RemoteError> {
    let runs = config.state_dir.join("runs");
    let (done, inbox) = channel();
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
    let mail = Mail { done, bell: Arc::new(bell) };
    let mut config = config.clone();
    let own = std::mem::take(&mut config.devices);
    config.devices = config.with_added(&own, added::remembered(&config.state_dir));
    let found = find(&config, tell)?;
    let remover = Remover::default();
    remover.remove_left(&config.state_dir);
    if found.is_none() {
        // What an earlier life left is of no use: its units were given to others. It may be much, or closed by the
        // tests that made it, and nothing waits for its end.
        config.state(|| remover.remove(&runs))?;
    }
    config.state(|| std::fs::create_dir_all(&runs))?;
    let bring = bring::start(client.clone(), mail.clone())?;
    let follow = follow::start(client.clone())?;
    ask_who_is_there(client, &mail)?;
    self_check::watch(&config, client.clone(), mail.clone())?;
    let packages = config.state_dir.join("packages");
    let lending = Lending::start(client.clone(), config.agent, config.share, &packages)?;
    let mut agent = Agent {
        client,
        stops,
        relay: Relay::new(runs),
        packages: Packages { dir: packages, fetch_ca: config.fetch_ca.clone(), lending },
        leases: Vec::new(),
        bring,
        follow,
        mail,
        inbox,
        connected: None,
        trouble: Vec::new(),
        own,
        others: None,
        pulse: config.pulse.clone(),
        tell,
    };
    let mut had_one = found.is_some();
    let mut kept = found;
    loop {
        let born = Instant::now();
        let (mut keeper, session, drains, outdated) = match kept.take() {
            Some((keeper, life)) => {
                let drains = life.devices != config.devices;
                let outdated = drains || keeper.version != env!("CARGO_PKG_VERSION");
                (agent.tell)(Notice::TakenOver(life.units.len(), life.results, outdated));
                agent.relay.begin(&life.units, drains);
                (keeper, life.session, drains, outdated)
            }
            None => match start(&config) {
                Ok((keeper, session)) => {
                    had_one = true;
                    agent.relay.begin(&[], false);
                    (keeper, session, false, false)
                }
                // It was possible before: the host is out of something, and that may pass.
                Err(error) if had_one => {
                    (agent.tell)(Notice::KeeperLost(error.to_string()));
                    if agent.rests(LIFE_MIN) {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        let over = agent.speak(&config, &mut keeper, session, drains || outdated);
        if let Some(devices) = agent.others.take() {
            (agent.tell)(Notice::Devices(devices.len()));
            config.devices = devices;
        }
        // Nothing it was given runs any more, so the lab need not wait for the lease to end.
        let goodbye = || drop(client.say_goodbye(config.agent, session));
        match over {
            Ok(Over::End) => {
                keeper.end();
                goodbye();
                return Ok(());
            }
            Ok(Over::Leave) => return Ok(()),
            Ok(Over::Drained) => {
                keeper.end();
                goodbye();
            }
            Ok(Over::Lost(why)) => {
                keeper.kill_rest();
                (agent.tell)(Notice::KeeperLost(why));
                let pause = LIFE_MIN.saturating_sub(born.elapsed());
                if !pause.is_zero() && agent.rests(pause) {
                    goodbye();
                    return Ok(());
                }
            }
            Err(error) => {
                keeper.end();
                return Err(error);
            }
        }
    }
}

/// The keeper that an earlier agent left, if it can be gone on with.
fn find(config: &RemoteConfig, tell: &mut dyn FnMut(Notice)) -> Result<Option<(Keeper, Life)>, RemoteError> {
    match Keeper::find(&config.state_dir)? {
        // Where one was killed with its agent, what fled from its tests may run on.
        Found::Nobody => drop(kill_abandoned()),
        Found::Stranger(keeper, why) => {
            keeper.kill_rest();
            tell(Notice::Stranger(why));
        }
        Found::Keeper(keeper, life) => {
            let idle = life.units.is_empty() && life.results == 0;
            let same = life.devices == config.devices && keeper.version == env!("CARGO_PKG_VERSION");
            if life.agent == config.agent && (same || !idle) {
                return Ok(Some((keeper, life)));
            }
            keeper.end();
        }
    }
    Ok(None)
}

/// Starts a keeper, under a new session.
fn start(config: &RemoteConfig) -> Result<(Keeper, SessionId), RemoteError> {
    let RemoteConfig {
        agent,
        host,
        devices,
        labels: _,
        state_dir,
        self_check: _,
        fetch_ca: _,
        share: _,
        pulse: _,
        keeper: (program, args),
    } = config;
    let mut session = SessionId(0);
    config.state(|| {
        session = next_session(state_dir)?;
        Ok(())
    })?;
    let setup = Setup {
        agent: *agent,
        session,
        host: host.clone(),
        devices: devices.clone(),
        threads: None,
        cgroups: true,
        area_dir: state_dir.to_string_lossy().into_owned(),
        minds_lease: true,
    };
    Ok((Keeper::start(program, args, state_dir, setup)?, session))
}

/// A session that is newer than all before, also where the clock was set back.
fn next_session(state_dir: &Path) -> io::Result<SessionId> {
    let path = state_dir.join("session");
    let last = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let next = Clock::start().now().0.max(last.unwrap_or(0) + 1);
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{next}").and_then(|()| file.sync_all())?;
    std::fs::rename(new, path)?;
    Ok(SessionId(next))
}

/// Asks on a thread of its own: what runs is looked after meanwhile.
fn ask_who_is_there(client: &Client, mail: &Mail) -> io::Result<()> {
    let (client, mail) = (client.clone(), mail.clone());
    let work = move || mail.send(Done::About(client.about().map(drop)));
    std::thread::Builder::new().name("about".into()).spawn(work).map(drop)
}

impl RemoteConfig {
    /// These devices of its own, and those that were added at the server, which have the labels of all.
    fn with_added(&self, own: &[DeviceOffer], added: Vec<DeviceOffer>) -> Vec<DeviceOffer> {
        let mut all = own.to_vec();
        for DeviceOffer { name, labels } in added {
            // What is said on the host itself is nearer to the truth.
            if !all.iter().any(|o| o.name == name) {
                let mut with = self.labels.clone();
                with.extend(labels);
                all.push(DeviceOffer { name, labels: with });
            }
        }
        all
    }

    /// Does something with the agent's directory.
    fn state(&self, doing: impl FnOnce() -> io::Result<()>) -> Result<(), RemoteError> {
        doing().map_err(|source| RemoteError::State { dir: self.state_dir.clone(), source })
    }
}

/// An agent, whichever keeper it speaks with.
struct Agent<'a> {
    client: &'a Client,
    stops: Stops<'a>,
    relay: Relay,
    /// Where packages are installed, for all runs.
    packages: Packages,
    /// What keeps those that runs use.
    leases: Vec<(RunId, Vec<Lease>)>,
    bring: Sender<Load>,
    follow: Sender<Vec<Followed>>,
    mail: Mail,
    inbox: Receiver<Done>,
    /// Whether the server answers; `None` before that is known.
    connected: Option<bool>,
    /// What is wrong with the host.
    trouble: Vec<String>,
    /// The devices it was set up with.
    own: Vec<DeviceOffer>,
    /// The devices it is to have in place of those it has, as soon as nothing runs.
    others: Option<Vec<DeviceOffer>>,
    pulse: Pulse,
    tell: &'a mut dyn FnMut(Notice),
}

impl Agent<'_> {
    /// Between a keeper and the server, until that is over. `replace`: another keeper is to take its place as
    /// soon as it has nothing.
    fn speak(
        &mut self,
        config: &RemoteConfig,
        keeper: &mut Keeper,
        session: SessionId,
        mut replace: bool,
    ) -> Result<Over, RemoteError> {
        let mut senders = Senders::new(self.client.clone(), self.mail.clone());
        // The keeper ends what it runs before the lease does; one that hangs cannot, so it is ended.
        let (mut heard, mut asked, mut silence_max) = (Instant::now(), false, None::<Duration>);
        let (mut is_idle, mut passed) = (false, 0);
        if let Err(e) = keeper.link.ask() {
            return Ok(Over::Lost(e.to_string()));
        }
        loop {
            let patience = silence_max.map(|max| heard + if asked { max } else { max / 2 });
            let still_there = (self.relay.withholds() && !asked).then(|| heard + STILL_THERE);
            let next = senders.next_try().into_iter().chain(patience).chain(still_there).min();
            let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
            match self.wait(keeper, wait)? {
                Some(Over::Leave) if is_idle => return Ok(Over::End),
                Some(Over::Leave) => {
                    (self.tell)(Notice::Left);
                    return Ok(Over::Leave);
                }
                Some(over) => return Ok(over),
                None => {}
            }
            let said = match keeper.link.flush().and_then(|()| keeper.link.receive()) {
                Ok(said) => said,
                Err(e) => return Ok(Over::Lost(e.to_string())),
            };
            for exchange in said {
                (heard, asked) = (Instant::now(), false);
                is_idle = exchange.holding.is_empty() && exchange.finished.is_empty();
                if is_idle && replace && exchange.heard >= passed {
                    return Ok(Over::Drained);
                }
                let (mut exchange, loads) = self.relay.outward(exchange);
                exchange.trouble.clone_from(&self.trouble);
                exchange.trouble.extend(self.others.as_ref().map(|_| CHANGING.to_owned()));
                for load in loads {
                    // The thread lives as long as this end of the channel.
                    let _given = self.bring.send(load);
                }
                senders.send(exchange);
            }
            if keeper.link.has_ended() {
                if keeper.is_dead() {
                    return Ok(Over::Lost("it ended unexpectedly".to_owned()));
                }
                return Ok(Over::Lost("it ended the conversation".to_owned()));
            }
            // Looked at after what it said meanwhile was read: this process may have been held up itself.
            if let Some(max) = silence_max
                && heard.elapsed() >= max
                && asked
            {
                return Ok(Over::Lost(format!("it said nothing for {} s", max.as_secs())));
            }
            // One that is well may have nothing to say while it waits for an answer.
            let overdue = silence_max.is_some_and(|max| heard.elapsed() >= max / 2);
            let silent = self.relay.withholds() && heard.elapsed() >= STILL_THERE;
            let mut ask = (overdue || silent) && !asked;
            asked |= ask;
            for done in self.inbox.try_iter().collect::<Vec<_>>() {
                match done {
                    Done::About(Ok(())) => self.connected(Ok(())),
                    Done::About(Err(e)) if e.may_pass() => self.connected(Err(&e)),
                    Done::About(Err(e)) => return Err(RemoteError::Refused(e)),
                    Done::Fetched(run, area, result) => {
                        // What a run was given stays as long as its directory does.
                        self.leases.retain(|(run, _)| self.relay.run_dir(*run).exists());
                        let result = result.map(|leases| self.leases.push((run, leases)));
                        (self.tell)(Notice::Fetched(run, result.clone()));
                        self.relay.fetched(run, area, result);
                        ask = true;
                    }
                    Done::Installed(package, from) => (self.tell)(Notice::Installed(package, from)),
                    Done::Added(added) => {
                        let devices = config.with_added(&self.own, added);
                        if devices != config.devices {
                            self.others = Some(devices);
                            replace = true;
                            ask = true;
                        }
                    }
                    Done::Looked(trouble) => {
                        (self.tell)(Notice::Trouble(trouble.clone()));
                        self.trouble = trouble;
                        ask = true;
                    }
                    Done::Brought(run, place, what) => {
                        self.relay.brought(run, place, what);
                        ask = true;
                    }
                    // An answer to a keeper that is gone.
                    Done::Sent(sent) if sent.session != session => {}
                    Done::Sent(sent) => {
                        match &sent.answer {
                            Ok(heard) => {
                                // The thread lives as long as this end of the channel.
                                let _told = self.follow.send(self.relay.followed(&heard.wanted));
                                self.connected(Ok(()));
                            }
                            // It was heard, and the answer lost on its way.
                            Err(e) if e.code() == Some("stale-exchange") => ask = true,
                            Err(e) if e.code() == Some("agent-replaced") => {
                                return Err(RemoteError::Replaced);
                            }
                            Err(e) if !e.may_pass() => {}
                            Err(e) => self.connected(Err(e)),
                        }
                        let Some(orders) = senders.receive(sent).map_err(RemoteError::Refused)? else {
                            continue;
                        };
                        silence_max = (!orders.lease.is_zero()).then(|| orders.lease * 9 / 10);
                        let (orders, wanted) = self.relay.inward(orders);
                        for (run, wanted) in wanted {
                            let dirs = (self.relay.run_dir(run), self.packages.clone());
                            source::fetch(self.client.clone(), run, wanted, dirs, self.mail.clone());
                        }
                        passed = orders.seq;
                        if let Err(e) = keeper.link.send(orders) {
                            return Ok(Over::Lost(e.to_string()));
                        }
                    }
                }
            }
            if ask && let Err(e) = keeper.link.ask() {
                return Ok(Over::Lost(e.to_string()));
            }
            senders.retry();
        }
    }

    /// The server answers, or why it does not; told when that changes.
    fn connected(&mut self, now: Result<(), &ClientError>) {
        if self.connected.replace(now.is_ok()) != Some(now.is_ok()) {
            (self.tell)(match now {
                Ok(()) => Notice::Connected,
                Err(e) => Notice::Lost(e.to_string()),
            });
        }
    }

    /// Waits for the keeper, a thread, or the time to try again; how this agent is to end, if it is.
    fn wait(&self, keeper: &Keeper, wait: Option<Duration>) -> Result<Option<Over>, RemoteError> {
        let Some(socket) = keeper.link.fd() else { return Ok(None) };
        let wanted = if keeper.link.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        self.poll(&mut [PollFd::from_borrowed_fd(socket, wanted)], wait)
    }

    /// Waits for so long, and whether this agent was told to end meanwhile.
    fn rests(&self, long: Duration) -> bool {
        let end = Instant::now() + long;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.poll(&mut [], Some(left)) {
                Ok(None) if left.is_zero() => return false,
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }

    fn poll(&self, more: &mut [PollFd<'_>], wait: Option<Duration>) -> Result<Option<Over>, RemoteError> {
        let others = [self.mail.bell.as_fd(), self.stops.end, self.stops.leave];
        let mut fds: Vec<PollFd<'_>> =
            others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        fds.extend(more.iter().cloned());
        let wait = wait.map_or(BEAT_MAX, |w| w.min(BEAT_MAX));
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        self.pulse.beat();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(RemoteError::Start(e.into())),
        }
        let [bell, end, leave] = [0, 1, 2].map(|at: usize| !fds[at].revents().is_empty());
        if bell {
            let mut count = [0u8; 8];
            // Nothing there: it was woken by something else too.
            let _count = rustix::io::read(&self.mail.bell, &mut count);
        }
        Ok(if end { Some(Over::End) } else { leave.then_some(Over::Leave) })
    }
}
