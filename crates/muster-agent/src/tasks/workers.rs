//! The workers of this agent: a process for each device that is not the host itself, which has it open from the
//! first step that needs it until nobody has for a while.
//!
//! ```text
//! Job ── reach ──► the thread here ── starts ──► worker (muster __device-worker ADDRESS)
//!     ── ended ──►        │                        ▲ socket, for the steps' processes
//!                         └── control: jobs that have ended, whether it is well; its end is the worker's
//! ```
//!
//! The socket is made here and given to the worker, so that a step that connects is never too early. All are
//! started by one thread that starts nothing else: what a task's thread starts is taken for the task's.
//!
//! A worker ends with this process, also where that is killed: its control does. What a worker that is killed
//! leaves behind is found by the mark it was started with.

use crate::exec::{MARK, helper_mark};
use muster_core::id::UnitId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The hidden command of this very program that has a device open: behind it the address, on standard input the
/// socket it listens at, on standard output its control.
pub const WORKER_COMMAND: &str = "__device-worker";

/// How long a worker waits for another job. A device that people take for themselves is let go by then.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long one may take to let its device go; then it is killed.
const END_MAX: Duration = Duration::from_secs(20);

/// How long one may take to say that it is well, which it is asked before each step. One that hangs is killed.
// Limit: it may be letting a device go that was for another job.
const WELL_MAX: Duration = Duration::from_secs(10);

/// What it is asked, on its control, and what it answers: no job is called so.
const ARE_YOU_WELL: &str = "?";

/// A moment that does not come.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// The workers of an agent.
pub(super) struct Workers {
    dir: PathBuf,
    /// The thread that starts them, once there was one to start.
    thread: Mutex<Option<Sender<Ask>>>,
}

enum Ask {
    Reach { slot: u32, address: String, job: UnitId, answer: Sender<io::Result<()>> },
    Ended { slot: u32, job: UnitId },
    LetGo { slot: u32, done: Sender<()> },
    Finish { wait: Duration, done: Sender<()> },
}

impl Workers {
    /// None yet. `dir`: for their sockets, entered by nobody else.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), thread: Mutex::default() }
    }

    /// The socket of the one that has this device open for a job, which is started if there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn reach(&self, slot: u32, address: &str, job: UnitId) -> Result<String, String> {
        let failed = |e: io::Error| format!("what holds `{address}` open cannot be started: {e}");
        let path = self.dir.join(name(slot));
        let Some(socket) = path.to_str() else {
            return Err(format!(
                "what holds `{address}` open cannot be named: {} is no text",
                path.display()
            ));
        };
        let (answer, answered) = mpsc::channel();
        let ask = Ask::Reach { slot, address: address.to_owned(), job, answer };
        self.thread().map_err(failed)?.send(ask).map_err(|_| failed(gone()))?;
        answered.recv().unwrap_or_else(|_| Err(gone())).map_err(failed)?;
        Ok(socket.to_owned())
    }

    /// A command of the host is about to use this device by its address: if one has it open for no job, that one lets
    /// it go. Some devices can be open once only.
    pub(super) fn let_go(&self, slot: u32) {
        let (done, gone) = mpsc::channel();
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            // It has ended only where there are no workers any more.
            let _asked = thread.send(Ask::LetGo { slot, done });
        } else {
            return;
        }
        // Its end is what is waited for.
        let _gone = gone.recv();
    }

    /// A job has ended, whether it used the device or not.
    pub(super) fn job_ended(&self, slot: u32, job: UnitId) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            // It has ended only where there are no workers any more.
            let _told = thread.send(Ask::Ended { slot, job });
        }
    }

    /// Ends all of them. Those that are not done by then are killed.
    pub(super) fn finish(&self, wait: Duration) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (done, ended) = mpsc::channel();
        if thread.send(Ask::Finish { wait, done }).is_ok() {
            // Its end is what is waited for.
            let _ended = ended.recv();
        }
    }

    fn thread(&self) -> io::Result<Sender<Ask>> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = &*thread {
            return Ok(thread.clone());
        }
        let ((asks, asked), dir) = (mpsc::channel(), self.dir.clone());
        thread::Builder::new().name("workers".to_owned()).spawn(move || attend(&dir, &asked))?;
        Ok(thread.insert(asks).clone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the agent is ending")
}

/// The name of a device's socket.
fn name(slot: u32) -> String {
    format!("device-{slot}")
}

/// A worker that runs.
struct Running {
    child: Child,
    control: UnixStream,
    address: String,
    used: Used,
}

enum Used {
    By(UnitId),
    /// By nobody since.
    Not(Instant),
}

fn attend(dir: &Path, asked: &Receiver<Ask>) {
    let mut workers: HashMap<u32, Running> = HashMap::new();
    let mut ending: HashMap<u32, Child> = HashMap::new();
    loop {
        let idle = workers.values().filter_map(|w| match w.used {
            Used::By(_) => None,
            Used::Not(since) => Some(IDLE_MAX.saturating_sub(since.elapsed())),
        });
        match asked.recv_timeout(idle.min().unwrap_or(NEVER)) {
            Ok(Ask::Reach { slot, address, job, answer }) => {
                let reached = reach(dir, &mut workers, &mut ending, slot, &address, job);
                // Who asked is a task that waits.
                let _told = answer.send(reached);
            }
            Ok(Ask::Ended { slot, job }) => {
                let worker = workers.get_mut(&slot);
                if let Some(worker) = worker.filter(|w| matches!(w.used, Used::By(by) if by == job)) {
                    worker.used = Used::Not(Instant::now());
                    // One that has ended needs not be told.
                    let _told = worker.control.write_all(format!("{}\n", job.0).as_bytes());
                }
            }
            Ok(Ask::LetGo { slot, done }) => {
                let idle = matches!(workers.get(&slot), Some(Running { used: Used::Not(_), .. }));
                let idle = if idle { workers.remove(&slot).map(|worker| worker.child) } else { None };
                if let Some(child) = idle.or_else(|| ending.remove(&slot)) {
                    end(dir, slot, child, END_MAX);
                }
                drop(done);
            }
            Ok(Ask::Finish { wait, done }) => {
                ending.extend(workers.drain().map(|(slot, worker)| (slot, worker.child)));
                let until = Instant::now() + wait;
                for (slot, child) in ending.drain() {
                    end(dir, slot, child, until.saturating_duration_since(Instant::now()));
                }
                drop(done);
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody will ask any more, and this process is about to end.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let idle = |w: &Running| matches!(w.used, Used::Not(since) if since.elapsed() >= IDLE_MAX);
        let over: Vec<u32> = workers.iter().filter(|(_, w)| idle(w)).map(|(slot, _)| *slot).collect();
        for slot in over {
            // Its control ends with it here; the child takes the time it needs.
            ending.extend(workers.remove(&slot).map(|worker| (slot, worker.child)));
        }
        ending.retain(|_, child| matches!(child.try_wait(), Ok(None)));
    }
}

fn reach(
    dir: &Path,
    workers: &mut HashMap<u32, Running>,
    ending: &mut HashMap<u32, Child>,
    slot: u32,
    address: &str,
    job: UnitId,
) -> io::Result<()> {
    let mut patience = END_MAX;
    if let Some(worker) = workers.get_mut(&slot) {
        if worker.address == address && worker.child.try_wait()?.is_none() {
            if is_well(&mut worker.control) {
                worker.used = Used::By(job);
                return Ok(());
            }
            // It hangs, and would not hear that it is to end.
            patience = Duration::ZERO;
        }
        ending.extend(workers.remove(&slot).map(|worker| (slot, worker.child)));
    }
    // A device is open once.
    if let Some(child) = ending.remove(&slot) {
        end(dir, slot, child, patience);
    }
    workers.insert(slot, start(dir, slot, address, job)?);
    Ok(())
}

/// Whether a worker answers. One that has just ended does not, and is replaced as well.
fn is_well(control: &mut UnixStream) -> bool {
    let mut said = [0; 64];
    // What it has said too late for an earlier question.
    while control.read(&mut said).is_ok_and(|n| n > 0) {}
    if control.write_all(format!("{ARE_YOU_WELL}\n").as_bytes()).is_err() {
        return false;
    }
    let until = Instant::now() + WELL_MAX;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&*control, PollFlags::IN)], Some(&wait)) {
            Ok(0) => return false,
            Ok(_) => return control.read(&mut said).is_ok_and(|n| n > 0),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn start(dir: &Path, slot: u32, address: &str, job: UnitId) -> io::Result<Running> {
    let socket = dir.join(name(slot));
    // Left by one that was killed.
    let _left = fs::remove_file(&socket);
    // Limit: the path of a socket has room for 108 bytes.
    let within: OwnedFd = rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{}", within.as_raw_fd(), name(slot)))?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    let (control, theirs) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe")
        .args([WORKER_COMMAND, address])
        .env(MARK, helper_mark())
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .process_group(0)
        .spawn()?;
    // A worker that does not read must not hold this thread up.
    control.set_nonblocking(true)?;
    Ok(Running { child, control, address: address.to_owned(), used: Used::By(job) })
}

/// Waits for the end of one whose control has ended.
fn end(dir: &Path, slot: u32, mut child: Child, wait: Duration) {
    let until = Instant::now() + wait;
    let mut pause = Duration::from_micros(200);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            // It may have ended meanwhile.
            drop(child.kill());
            drop(child.wait());
            break;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    // The next one makes its own.
    drop(fs::remove_file(dir.join(name(slot))));
}
