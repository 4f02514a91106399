//! Inside the agent process: one thread speaks with the shell (or, as a keeper, with whoever comes), the
//! engine's threads run the tasks, and the ledger between them knows what is to be done.
//!
//! The ledger is locked for moments only. An engine thread that learns something wakes the speaking thread
//! if, and only if, that would otherwise sleep past the moment the ledger wants to speak.

use super::door::Door;
use super::gauges::Dial;
use super::wire::{FrameError, Language, Wire};
use super::{FromAgent, Life, Setup, ToAgent};
use crate::clock::Clock;
use crate::exec::{Cgroups, Engine, EngineConfig, Source, Stop, Task};
use crate::ledger::{Effect, Ledger, Speak};
use crate::tasks::{Ears, Env, Host};
use muster_core::exchange::AttemptEnd;
use muster_core::id::{AttemptRef, UnitId};
use muster_core::time::Time;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long an agent that ends may take to remove what tests left in their working directories.
const TIDY_MAX: Duration = Duration::from_secs(5);

/// How long a keeper waits to be set up.
// Limit: who started it has died.
const SETUP_MAX: Duration = Duration::from_secs(60);

/// A moment that does not come.
const NEVER: Time = Time(u64::MAX);

/// Why an agent ended otherwise than by the end of its connection.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The shell said something that cannot be understood.
    #[error("the agent cannot understand the shell: {0}")]
    Wire(#[from] FrameError),
    /// The first thing said was not how to set up.
    #[error("the agent was given orders before it was set up")]
    NotSetUp,
    /// It was set up twice.
    #[error("the agent was set up a second time")]
    SetUpTwice,
    /// The system has no descriptors or threads left.
    #[error("the agent cannot start: {0}")]
    Start(#[from] io::Error),
}

/// The connection that [`AgentProcess`](super::AgentProcess) gives its child, which is standard input.
///
/// # Errors
/// Standard input is not there.
pub fn socket_from_stdin() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

/// Runs an agent on a connection to its shell until that ends, then kills everything it started. `env`:
/// what tests inherit. To be called on the process's main thread, before any other is started.
///
/// The signals by which a terminal or a service manager asks a process to end are ignored: the shell
/// decides, and the agent ends with it.
///
/// # Errors
/// What is not a shell's end: nonsense on the connection, or a system without resources.
pub fn run(socket: OwnedFd, env: Env) -> Result<(), AgentError> {
    ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE]);
    let mut line = Line::Shell(Wire::new(socket, Language::Postcard)?);
    live(&mut line, env, None, None)
}

/// Keeps attempts: runs an agent that is spoken to through a socket in `state_dir`, and that goes on while
/// nobody speaks to it. It ends when it is told to, when `stop` can be read, when nobody can reach it any
/// more, or when it has nothing and nobody came for a minute; then it kills everything it started. `env`:
/// what tests inherit. To be called on the process's main thread, before any other is started.
///
/// # Errors
/// The socket cannot be made, or the system has no resources.
pub fn keep(state_dir: &Path, env: Env, stop: BorrowedFd<'_>) -> Result<(), AgentError> {
    // A terminal that is closed, and a session that ends, are not to reach it. Fails where it is so already.
    let _leads = rustix::process::setsid();
    ignore_signals(&[libc::SIGINT, libc::SIGHUP, libc::SIGPIPE]);
    let mut line = Line::Door(Box::new(Door::open(state_dir)?));
    let own_dir = super::door::dir(state_dir)?;
    live(&mut line, env, Some(stop), Some(&own_dir))
}

fn live(
    line: &mut Line,
    env: Env,
    stop: Option<BorrowedFd<'_>>,
    own_dir: Option<&Path>,
) -> Result<(), AgentError> {
    let Some(setup) = hear_setup(line)? else { return Ok(()) };
    match Agent::start(setup, env, own_dir) {
        Ok((agent, engine, dial)) => {
            let result = agent.speak(line, &engine, dial, stop);
            engine.kill_everything();
            if let Some(host) = agent.host.get() {
                host.finish(TIDY_MAX);
            }
            result
        }
        Err(error) => {
            // The shell learns why, if it still listens.
            let _sent = line.say("a failure", &FromAgent::Failed(error.to_string()));
            Err(AgentError::Start(error))
        }
    }
}

/// Over what an agent is spoken with.
enum Line {
    /// A shell that it ends with.
    Shell(Wire),
    /// Whoever comes.
    Door(Box<Door>),
}

impl Line {
    /// The next word, if one has come. `life`: what whoever comes is told.
    fn next(&mut self, life: impl Fn() -> Option<Life>) -> Result<Option<ToAgent>, AgentError> {
        match self {
            Self::Shell(wire) => Ok(wire.next("orders")?),
            Self::Door(door) => Ok(door.next(life)),
        }
    }

    /// Whether nobody will say anything any more. `kept`: something runs; `results`: some wait.
    fn is_over(&self, kept: bool, results: bool) -> bool {
        match self {
            Self::Shell(wire) => wire.has_ended(),
            Self::Door(door) => door.is_forsaken(kept, results),
        }
    }

    /// Whether there is somebody to speak to, and all that was said is out: another word meanwhile would
    /// only be longer.
    fn is_free(&self) -> bool {
        match self {
            Self::Shell(wire) => !wire.wants_write(),
            Self::Door(door) => door.is_free(),
        }
    }

    fn say(&mut self, what: &'static str, word: &FromAgent) -> Result<(), AgentError> {
        match self {
            Self::Shell(wire) => wire.send(what, word)?,
            Self::Door(door) => door.say(what, word),
        }
        Ok(())
    }

    /// Waits for somebody, for one of these, or for so long, and takes in what was said.
    fn wait(&mut self, others: &[BorrowedFd<'_>], long: Duration) -> Result<(), AgentError> {
        let long = match self {
            Self::Shell(_) => long,
            Self::Door(door) => door.look_in().map_or(long, |look| look.min(long)),
        };
        let timeout =
            Timespec { tv_sec: long.as_secs().min(3600) as i64, tv_nsec: long.subsec_nanos().into() };
        let mut fds = match self {
            Self::Shell(wire) => {
                let wanted = if wire.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
                vec![PollFd::from_borrowed_fd(wire.fd(), wanted)]
            }
            Self::Door(door) => door.poll_fds(),
        };
        fds.extend(others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let ready = match poll(&mut fds, Some(&timeout)) {
            Ok(_) => fds[0].revents(),
            Err(Errno::INTR) => return Ok(()),
            Err(e) => return Err(AgentError::Start(e.into())),
        };
        match self {
            Self::Shell(wire) => {
                if ready.intersects(PollFlags::OUT) {
                    wire.flush()?;
                }
                if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                    wire.fill()?;
                }
            }
            Self::Door(door) => door.attend(),
        }
        Ok(())
    }
}

fn ignore_signals(signals: &[libc::c_int]) {
    for &signal in signals {
        #[expect(unsafe_code, reason = "there is no safe way to ignore a signal; no handler is installed")]
        // SAFETY: a disposition is set to SIG_IGN, which runs no code of ours.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

fn carry_out(effects: Vec<Effect>, engine: &Engine) {
    for effect in effects {
        match effect {
            Effect::Wake { device } => engine.wake(device),
            Effect::Stop { unit, device, kill } => {
                engine.stop(device, unit.0, if kill { Stop::Kill } else { Stop::Grace });
            }
        }
    }
}

/// Waits for the first word. `None`: nobody will say it.
fn hear_setup(line: &mut Line) -> Result<Option<Setup>, AgentError> {
    let start = Instant::now();
    loop {
        match line.next(|| None)? {
            Some(ToAgent::Setup(setup)) => return Ok(Some(setup)),
            Some(ToAgent::End) => return Ok(None),
            Some(ToAgent::Orders(_) | ToAgent::Speak) => return Err(AgentError::NotSetUp),
            None if line.is_over(false, false) || start.elapsed() >= SETUP_MAX => return Ok(None),
            None => line.wait(&[], SETUP_MAX)?,
        }
    }
}

/// Whether something can be read.
fn can_be_read(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}

/// What the threads of an agent share.
struct Agent {
    clock: Clock,
    minds_lease: bool,
    /// Set right after the agent, which its host holds as its ears.
    host: OnceLock<Arc<Host>>,
    state: Mutex<State>,
    /// Wakes the speaking thread.
    wake: OwnedFd,
}

struct State {
    ledger: Ledger,
    /// When units that share a process are to be stopped, by device.
    deadlines: Vec<Option<(UnitId, Time)>>,
    /// Until when the speaking thread sleeps; zero while it is awake or has been woken.
    sleeps_until: Time,
}

impl Agent {
    fn start(setup: Setup, env: Env, own_dir: Option<&Path>) -> io::Result<(Arc<Self>, Engine, Dial)> {
        let Setup { agent, session, host, devices, threads, cgroups, area_dir, minds_lease } = setup;
        let slots = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        let agent = Arc::new(Self {
            clock: Clock::start(),
            minds_lease,
            host: OnceLock::new(),
            state: Mutex::new(State {
                ledger: Ledger::new(agent, session, host, devices.clone()),
                deadlines: vec![None; devices.len()],
                sleeps_until: Time(0),
            }),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let host = Host::new(Arc::clone(&agent) as Arc<dyn Ears>, agent.clock, devices, env, own_dir);
        // The engine asks for work only after this.
        agent.host.get_or_init(|| Arc::new(host));
        let cgroups = if cgroups { Cgroups::Auto } else { Cgroups::Off };
        let source = Arc::clone(&agent) as Arc<dyn Source>;
        let engine = Engine::new(EngineConfig { slots, threads, cgroups }, source)?;
        Ok((agent, engine, Dial::new(area_dir)))
    }

    /// Speaks with the shell, or whoever comes, until that is over.
    fn speak(
        &self,
        line: &mut Line,
        engine: &Engine,
        mut dial: Dial,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<(), AgentError> {
        let others: Vec<BorrowedFd<'_>> = std::iter::once(self.wake.as_fd()).chain(stop).collect();
        loop {
            while let Some(word) = line.next(|| Some(self.lock().ledger.life()))? {
                let now = self.clock.now();
                let effects = match word {
                    ToAgent::Orders(orders) => self.lock().ledger.receive_orders(now, orders),
                    ToAgent::Speak => {
                        self.lock().ledger.speak_soon(now);
                        Vec::new()
                    }
                    ToAgent::End => return Ok(()),
                    ToAgent::Setup(_) => return Err(AgentError::SetUpTwice),
                };
                carry_out(effects, engine);
            }
            let now = self.clock.now();
            let mut state = self.lock();
            let (units, _, results) = state.ledger.load();
            if line.is_over(units > 0, results > 0) || stop.is_some_and(can_be_read) {
                return Ok(());
            }
            for (slot, unit) in state.over(now) {
                engine.stop(slot, unit.0, Stop::Grace);
            }
            let must_hear_by = state.ledger.must_hear_by().filter(|_| self.minds_lease);
            if must_hear_by.is_some_and(|by| now >= by) {
                // The lab gives it all to others soon, if it has not done so.
                carry_out(state.ledger.stop_all(false), engine);
            }
            let mut until = state.next_deadline().min(must_hear_by.filter(|by| now < *by).unwrap_or(NEVER));
            if line.is_free() {
                match state.ledger.wants_to_speak(now) {
                    Speak::Now => {
                        let exchange = state.ledger.exchange(now, dial.read());
                        drop(state);
                        line.say("an exchange", &FromAgent::Exchange(exchange))?;
                        continue;
                    }
                    Speak::At(at) => until = until.min(at),
                }
            }
            state.sleeps_until = until;
            drop(state);
            line.wait(&others, until.since(now))?;
            let mut count = [0u8; 8];
            // Nothing there: it was woken by something else.
            let _count = rustix::io::read(&self.wake, &mut count);
            self.lock().sleeps_until = Time(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known and wakes the speaking thread if it would sleep too long.
    fn learn<T>(&self, change: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let value = change(&mut state, now);
        let at = match state.ledger.wants_to_speak(now) {
            Speak::Now => now,
            Speak::At(at) => at,
        };
        if at.min(state.next_deadline()) < state.sleeps_until {
            state.sleeps_until = Time(0);
            drop(state);
            // Fails only where the counter is full, and then it is awake.
            let _woken = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
        value
    }
}

impl State {
    fn next_deadline(&self) -> Time {
        self.deadlines.iter().flatten().map(|(_, at)| *at).min().unwrap_or(NEVER)
    }

    /// Units whose deadline has passed, each once.
    fn over(&mut self, now: Time) -> Vec<(u32, UnitId)> {
        let mut over = Vec::new();
        for (place, slot) in self.deadlines.iter_mut().zip(0..) {
            if let Some((unit, _)) = place.take_if(|(_, at)| *at <= now) {
                over.push((slot, unit));
            }
        }
        over
    }
}

impl Source for Agent {
    fn take(&self, slot: u32) -> Option<Box<dyn Task>> {
        let taken = self.learn(|state, now| state.ledger.take(now, slot))?;
        Some(self.host.get()?.task(slot, taken))
    }
}

impl Ears for Agent {
    fn started(&self, unit: UnitId, attempt: AttemptRef) {
        self.learn(|state, now| state.ledger.receive_started(now, unit, attempt));
    }

    fn finished(&self, unit: UnitId, attempt: AttemptRef, end: AttemptEnd) {
        self.learn(|state, now| state.ledger.receive_finished(now, unit, attempt, end));
    }

    fn unit_ended(&self, unit: UnitId, last: Option<(AttemptRef, AttemptEnd)>) {
        self.learn(|state, now| {
            if let Some((attempt, end)) = last {
                state.ledger.receive_finished(now, unit, attempt, end);
            }
            for place in &mut state.deadlines {
                place.take_if(|(of, _)| *of == unit);
            }
            state.ledger.receive_unit_ended(now, unit);
        });
    }

    fn set_deadline(&self, slot: u32, unit: UnitId, deadline: Option<Time>) {
        self.learn(|state, _| {
            if let Some(place) = state.deadlines.get_mut(slot as usize) {
                *place = deadline.map(|at| (unit, at));
            }
        });
    }
}
