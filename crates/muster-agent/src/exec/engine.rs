//! The engine as its host sees it: slots on threads, and what can be asked of them.

use super::cgroup;
use super::orphans::{self, Finder};
use super::task::Task;
use super::worker::Seat;
use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Where the engine's work comes from.
pub trait Source: Send + Sync {
    /// The next task of a slot that has become free, or `None` to let it idle until it is woken. Called on
    /// an engine thread, which meanwhile reads no output: it must not block.
    fn take(&self, slot: u32) -> Option<Box<dyn Task>>;
}

/// How an engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Tasks at once; slots are numbered from 0.
    pub slots: u32,
    /// Threads the slots are spread over, at most one each; `None`: as many as cores.
    pub threads: Option<u32>,
    /// Whether control groups are used.
    pub cgroups: Cgroups,
}

/// Whether each slot has a control group. Without, descendants are found as adopted children, which misses
/// none; with one, a daemon that dropped both session and environment is ended with its test even while
/// others run, and what forks faster than it can be found is killed at a stroke. Entering it costs a test
/// some 25 µs, half of what starting the smallest program costs, so it is not the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// Where the machine allows.
    Auto,
    /// Never.
    #[default]
    Off,
}

/// How a task's process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// TERM to its group, KILL after its grace.
    Grace,
    /// KILL at once.
    Kill,
}

/// Runs tasks on slots until it is shut down, which dropping it does too.
pub struct Engine {
    inboxes: Vec<Arc<Inbox>>,
    slots: u32,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    description: String,
}

/// What all threads of an engine share.
pub(super) struct Shared {
    pub(super) source: Arc<dyn Source>,
    /// Nothing is started any more.
    pub(super) closing: AtomicBool,
    pub(super) finder: Finder,
    /// Threads that still have something to run or to kill.
    busy: Mutex<usize>,
    done: Condvar,
    /// Dropped last: the slots' groups are inside.
    root: Option<cgroup::Root>,
}

/// What reaches an engine thread from others.
pub(super) struct Inbox {
    pub(super) wake: OwnedFd,
    /// `wake` has been written to and the thread has not looked since.
    signalled: AtomicBool,
    stops: Mutex<Vec<StopOrder>>,
}

/// A stop on its way to a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopOrder {
    pub(super) slot: u32,
    pub(super) task: u64,
    pub(super) how: Stop,
}

impl EngineConfig {
    /// An engine of this many slots, otherwise as usual.
    pub fn new(slots: u32) -> Self {
        Self { slots, threads: None, cgroups: Cgroups::default() }
    }
}

impl Engine {
    /// Starts the threads, which begin to take tasks at once, and makes this process a child subreaper.
    ///
    /// # Errors
    /// The system has no descriptors or threads left.
    pub fn new(config: EngineConfig, source: Arc<dyn Source>) -> io::Result<Self> {
        orphans::become_subreaper()?;
        orphans::engine_name();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = config.threads.map_or(cores, |n| n as usize).clamp(1, config.slots.max(1) as usize);
        let root = match config.cgroups {
            Cgroups::Auto => cgroup::Root::make(),
            Cgroups::Off => None,
        };
        let finder = Finder::open();
        let description = describe(root.as_ref(), &finder, config, threads);
        let shared = Arc::new(Shared {
            source,
            closing: AtomicBool::new(false),
            finder,
            busy: Mutex::new(0),
            done: Condvar::new(),
            root,
        });
        let mut seats = Vec::new();
        for thread in 0..threads {
            let inbox = Arc::new(Inbox::new()?);
            let numbers = (0..config.slots).filter(|slot| *slot as usize % threads == thread);
            let slots = numbers.map(|n| (n, shared.root.as_ref().and_then(|root| root.slot(n)))).collect();
            seats.push((Arc::clone(&inbox), Seat::new(Arc::clone(&shared), inbox, slots)?));
        }
        // From here on an error must not leave threads behind: `engine` is dropped, and ends them.
        let mut engine =
            Self { inboxes: Vec::new(), slots: config.slots, shared, threads: Mutex::default(), description };
        for (number, (inbox, seat)) in seats.into_iter().enumerate() {
            *engine.shared.busy() += 1;
            let shared = Arc::clone(&engine.shared);
            let body = move || {
                let _guard = AbortOnPanic;
                seat.run();
                *shared.busy() -= 1;
                shared.done.notify_all();
            };
            match std::thread::Builder::new().name(format!("exec-{number}")).spawn(body) {
                Ok(thread) => {
                    engine.inboxes.push(inbox);
                    engine.threads().push(thread);
                }
                Err(error) => {
                    *engine.shared.busy() -= 1;
                    return Err(error);
                }
            }
        }
        Ok(engine)
    }

    /// Lets a slot that found no task look again.
    pub fn wake(&self, slot: u32) {
        if let Some(inbox) = self.inbox_of(slot) {
            inbox.signal();
        }
    }

    /// Lets every slot that found no task look again.
    pub fn wake_all(&self) {
        for inbox in &self.inboxes {
            inbox.signal();
        }
    }

    /// Ends the process that the task of this [`id`](Task::id) has running on a slot, so that the task is
    /// told [`Status::Stopped`](super::Status::Stopped); what follows is the task's decision. Changes
    /// nothing if the slot has moved on to another task, or if the process ended by itself before.
    /// A second stop may turn grace into kill.
    pub fn stop(&self, slot: u32, task: u64, how: Stop) {
        if let Some(inbox) = self.inbox_of(slot) {
            inbox.stops.lock().unwrap_or_else(PoisonError::into_inner).push(StopOrder { slot, task, how });
            inbox.signal();
        }
    }

    /// Kills every running process with all its descendants and starts nothing more; each task is told that
    /// its process was stopped. Returns once nothing is left, or after some ten seconds with what sleeps
    /// uninterruptibly; whether nothing is left. May be called from any thread but the engine's, more than
    /// once.
    pub fn kill_everything(&self) -> bool {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.wake_all();
        let deadline = Instant::now() + super::DYING_MAX * 2;
        let mut busy = self.shared.busy();
        while *busy > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            busy = self.shared.done.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// [`kill_everything`](Self::kill_everything), then ends the threads.
    pub fn shutdown(&self) {
        if self.kill_everything() {
            for thread in std::mem::take(&mut *self.threads()) {
                // A thread that panicked has aborted the process.
                drop(thread.join());
            }
        }
    }

    /// What the machine allows and the engine uses, in a few words for `doctor` and logs.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// How many tasks it runs at once.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    fn inbox_of(&self, slot: u32) -> Option<&Arc<Inbox>> {
        if slot >= self.slots {
            return None;
        }
        self.inboxes.get(slot as usize % self.inboxes.len().max(1))
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    fn busy(&self) -> MutexGuard<'_, usize> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn new() -> io::Result<Self> {
        Ok(Self {
            wake: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            signalled: AtomicBool::new(false),
            stops: Mutex::default(),
        })
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // Fails only if the counter is full, and then the thread is being woken anyway.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// On the thread that was woken, before it looks for what there is to do.
    pub(super) fn receive(&self) -> Vec<StopOrder> {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.wake, &mut count);
        self.signalled.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.stops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A bug on an engine thread must not leave its slots hanging for ever: the process ends, and the kernel
/// kills what it has started.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn describe(root: Option<&cgroup::Root>, finder: &Finder, config: EngineConfig, threads: usize) -> String {
    let groups = match (root, config.cgroups) {
        (Some(root), _) => format!("a control group per slot in {}", root.dir().display()),
        (None, Cgroups::Auto) => "no control groups: none is writable here".to_owned(),
        (None, Cgroups::Off) => "no control groups: not asked for".to_owned(),
    };
    let orphans = match finder {
        Finder::Children(_) => "leftovers found by the list of adopted children",
        Finder::Scan => "leftovers found by looking at every process, as this kernel lists no children",
    };
    format!("{} slots on {threads} threads; {groups}; {orphans}", config.slots)
}
