//! What a test's process leaves behind, found and killed.
//!
//! This process is a child subreaper: a descendant whose parent has ended becomes a child of this
//! process's main thread, while the processes the engine started are children of their engine threads.
//! So the main thread's list of children holds orphans only, is empty in the usual case, and reading it
//! is the whole check (1 µs). Whoever hosts an engine must therefore start no process from its main
//! thread that it wants to keep.
//!
//! An orphan is the engine's by right, so its id cannot be used again before it is reaped, and that is done
//! here only, under one lock. Whose it was is told, in this order, by its session (it did not call
//! `setsid`), by the variable [`MARK`] in its environment, by its control group; failing all, by
//! elimination: it may be of any process that ran when it was first seen, and dies when the last of those
//! has ended.

use super::sys::{self, Death};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open, pidfd_send_signal,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The variable by which descendants of a process are known, beside those of its specification. Its value
/// is `PID.START.SPACE.N`: the engine's process, when that started (clock ticks since boot), the inode of
/// its process id namespace, and a number.
pub const MARK: &str = "MUSTER_PROCESS";

/// How often nothing may tell whose an orphan is before it is left to elimination.
const LOOKS: u8 = 6;

/// The number that tells a started process from all others of this engine process.
pub(super) type Mark = u64;

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    running: BTreeMap::new(),
    orphans: BTreeMap::new(),
    killed: BTreeMap::new(),
    last: 0,
});

struct Registry {
    /// What all engines of this process have running, with its session; 0 while it is being started.
    running: BTreeMap<Mark, i32>,
    /// Orphans that have been seen and not yet been reaped.
    orphans: BTreeMap<i32, Orphan>,
    /// Orphans that were killed and reaped, by whose they were, until that one's end has been told.
    killed: BTreeMap<Mark, u32>,
    last: Mark,
}

struct Orphan {
    owner: Owner,
    /// It was sent KILL, as a leftover of this one.
    shot: Option<Mark>,
}

enum Owner {
    Known(Mark),
    /// Nothing tells yet: a process has no environment for a moment while it executes a program.
    Unknown {
        looks: u8,
    },
    OneOf(BTreeSet<Mark>),
}

/// Whose leftovers to end.
pub(super) struct Ended {
    pub(super) mark: Mark,
    /// Its group and session.
    pub(super) session: i32,
    /// Path of its control group, as `/proc/PID/cgroup` gives it.
    pub(super) group: Option<String>,
}

/// What a sweep came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// Nothing of the ended process is left; so many processes of it were killed.
    Clean { killed: u32 },
    /// Something was dying, or has died and may have left orphans of its own: sweep again.
    Again,
}

/// How orphans are found.
#[derive(Debug)]
pub(super) enum Finder {
    /// The list of children of the main thread, kept open.
    Children(OwnedFd),
    /// The kernel has no such list: every process is looked at.
    Scan,
}

fn registry() -> MutexGuard<'static, Registry> {
    // Each change is complete within one statement, so a panic elsewhere cannot have left half of one.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process is about to be started; its mark.
pub(super) fn begin() -> Mark {
    let mut registry = registry();
    registry.last += 1;
    let mark = registry.last;
    registry.running.insert(mark, 0);
    mark
}

/// It has been started and leads this session.
pub(super) fn started(mark: Mark, session: i32) {
    registry().running.insert(mark, session);
}

/// It has ended, or never started.
pub(super) fn end(mark: Mark) {
    let mut registry = registry();
    registry.running.remove(&mark);
    registry.killed.remove(&mark);
}

impl Finder {
    /// Opens the list of this process's main thread.
    pub(super) fn open() -> Self {
        let pid = std::process::id();
        let path = format!("/proc/self/task/{pid}/children");
        match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Self::Children(fd),
            Err(_) => Self::Scan,
        }
    }

    /// Whether there is any orphan, of whichever process; may say so without need.
    pub(super) fn any(&self) -> bool {
        match self {
            Self::Children(fd) => {
                let mut first = [0u8; 8];
                !matches!(rustix::io::pread(fd, &mut first, 0), Ok(0))
            }
            Self::Scan => true,
        }
    }

    /// Orphans, and children of this thread that the engine has not started: a descendant may make its
    /// child our own (`CLONE_PARENT`).
    fn list(&self, leaders: &[i32]) -> Vec<i32> {
        match self {
            Self::Children(fd) => {
                let mut list = read_list(fd).unwrap_or_default();
                let own = std::fs::read("/proc/thread-self/children").unwrap_or_default();
                list.extend(parse_list(&own).into_iter().filter(|pid| !leaders.contains(pid)));
                list
            }
            Self::Scan => children_by_scan(),
        }
    }

    /// Kills what is left of `ended` and reaps every orphan that is dead, of whichever process. `leaders`
    /// are the processes this thread has running.
    pub(super) fn sweep(&self, ended: &Ended, leaders: &[i32]) -> Swept {
        let mut registry = registry();
        let mut again = false;
        for number in self.list(leaders) {
            let Some(pid) = Pid::from_raw(number) else { continue };
            let Registry { running, orphans, .. } = &mut *registry;
            // Without the list of orphans, a child may as well be a process the engine runs.
            if matches!(self, Self::Scan) && owner(number, running, ended) != Some(ended.mark) {
                continue;
            }
            let orphan =
                orphans.entry(number).or_insert(Orphan { owner: Owner::Unknown { looks: 0 }, shot: None });
            if let Owner::Unknown { looks } = orphan.owner {
                orphan.owner = match owner(number, running, ended) {
                    Some(mark) => Owner::Known(mark),
                    None if running.keys().all(|mark| *mark == ended.mark) => Owner::Known(ended.mark),
                    None if looks < LOOKS => Owner::Unknown { looks: looks + 1 },
                    None => Owner::OneOf(running.keys().copied().collect()),
                };
            }
            // Whom the kill is held against. What is known by elimination only is held against nobody.
            let (doomed, culprit) = match &mut orphan.owner {
                Owner::Known(mark) if *mark == ended.mark => (true, Some(ended.mark)),
                Owner::Known(mark) => (!running.contains_key(mark), None),
                Owner::Unknown { .. } => {
                    again = true;
                    (false, None)
                }
                Owner::OneOf(candidates) => {
                    candidates.retain(|mark| *mark != ended.mark && running.contains_key(mark));
                    (candidates.is_empty(), None)
                }
            };
            match sys::reap_if_dead(pid) {
                Ok(None) if doomed => {
                    kill(pid);
                    orphan.shot = orphan.shot.or(culprit);
                    again = true;
                }
                Ok(None) => {}
                Ok(Some(death)) => {
                    if death == Death::Signal(libc::SIGKILL) {
                        // The kill of the whole group was faster than this list.
                        orphan.shot = orphan.shot.or(culprit);
                    }
                    registry.forget(number);
                    again = true;
                }
                Err(_) => registry.forget(number),
            }
        }
        if again {
            return Swept::Again;
        }
        Swept::Clean { killed: registry.killed.get(&ended.mark).copied().unwrap_or(0) }
    }

    /// Reaps dead orphans while their processes run on, so that they do not pile up.
    pub(super) fn reap_dead(&self) {
        let Self::Children(fd) = self else { return };
        let mut registry = registry();
        for number in read_list(fd).unwrap_or_default() {
            if let Some(pid) = Pid::from_raw(number)
                && matches!(sys::reap_if_dead(pid), Ok(Some(_)))
            {
                registry.forget(number);
            }
        }
    }
}

impl Registry {
    /// An orphan has been reaped.
    fn forget(&mut self, pid: i32) {
        if let Some(Orphan { shot: Some(mark), .. }) = self.orphans.remove(&pid) {
            *self.killed.entry(mark).or_default() += 1;
        }
    }
}

/// Kills an unreaped child, and its group if it leads one.
fn kill(pid: Pid) {
    // It may have ended meanwhile; and where it may not be signalled, the next sweep sees it again.
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = kill_process(pid, Signal::KILL);
}

fn owner(pid: i32, running: &BTreeMap<Mark, i32>, ended: &Ended) -> Option<Mark> {
    let session = stat(pid)?.session;
    if session == ended.session {
        return Some(ended.mark);
    }
    if let Some((mark, _)) = running.iter().find(|(_, of)| **of == session && session != 0) {
        return Some(*mark);
    }
    if let Some(mark) = mark_of(pid) {
        let (engine, number) = mark.rsplit_once('.')?;
        return (engine == engine_name()).then(|| number.parse().ok()).flatten();
    }
    let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let ours = ended.group.as_deref()?;
    group.lines().any(|line| line.strip_prefix("0::") == Some(ours)).then_some(ended.mark)
}

/// The value of [`MARK`] for a process that helps an engine and is none of its tasks'. What it leaves behind is
/// killed when it is found, and it is itself once this process has been killed. It is to be started by a thread
/// that starts nothing else, and to adopt its own orphans.
pub fn helper_mark() -> String {
    // No task's number is zero.
    format!("{}.0", engine_name())
}

/// `PID.START.SPACE` of this process.
pub(super) fn engine_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let pid = std::process::id().cast_signed();
        format!("{pid}.{}.{}", stat(pid).map_or(0, |s| s.started), namespace())
    })
}

/// The inode of this process's process id namespace: numbers of others mean other processes.
fn namespace() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

/// The value of [`MARK`] in the environment a process was started with.
fn mark_of(pid: i32) -> Option<String> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environ
        .split(|b| *b == 0)
        .find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

struct Stat {
    /// It is dead, and its parent has not looked yet, which some never do.
    dead: bool,
    parent: i32,
    session: i32,
    started: u64,
}

/// `/proc/PID/stat`, see proc_pid_stat(5).
fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let after = text.iter().rposition(|b| *b == b')')?;
    let text = std::str::from_utf8(&text[after + 1..]).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { dead, parent, session, started })
}

fn read_list(fd: &OwnedFd) -> io::Result<Vec<i32>> {
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::io::pread(fd, &mut buffer, text.len() as u64)? {
            0 => return Ok(parse_list(&text)),
            n => text.extend_from_slice(&buffer[..n]),
        }
    }
}

fn parse_list(text: &[u8]) -> Vec<i32> {
    let numbers = text.split(|b| *b == b' ').filter_map(|n| std::str::from_utf8(n).ok());
    numbers.filter_map(|n| n.trim().parse().ok()).collect()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn children_by_scan() -> Vec<i32> {
    let me = std::process::id().cast_signed();
    processes().filter(|pid| stat(*pid).is_some_and(|s| s.parent == me)).collect()
}

/// Children of any thread of this process.
fn all_children() -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists: io::Result<Vec<_>> =
        tasks.flatten().map(|task| std::fs::read(task.path().join("children"))).collect();
    match lists {
        Ok(lists) => lists.iter().flat_map(|list| parse_list(list)).collect(),
        // A thread has just ended, or the kernel has no such lists.
        Err(_) => children_by_scan(),
    }
}

/// Makes this process the parent of every descendant whose own parent ends. [`Engine::new`] does so; the
/// process that starts the engine's calls it too, to be able to [`kill_descendants`] after the engine's
/// process has been killed.
///
/// [`Engine::new`]: super::Engine::new
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Kills every child of this process, then the orphans that makes, until none is left; the number of
/// processes reaped. For a process that is about to end, or that has no children but those of an engine
/// process that was killed: it takes the exit status of every child away from whoever waits for it.
/// Gives up after ten seconds, with children in uninterruptible sleep left.
pub fn kill_descendants() -> u32 {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let mut reaped = 0;
    let start = std::time::Instant::now();
    while start.elapsed() < super::DYING_MAX {
        for pid in all_children().into_iter().filter_map(Pid::from_raw) {
            kill(pid);
        }
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(Some(_)) => reaped += 1,
                Ok(None) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return reaped,
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    reaped
}

/// Kills what tests of engine processes that no longer exist have left running, wherever it is now; the
/// number of processes killed. This is for the next run after every Muster process of a run was killed at
/// once. Looks at every process of the system (some 10 µs each); those of other users cannot be read, and
/// those marked in another process id namespace (a container's) are left alone.
pub fn kill_abandoned() -> u32 {
    let mut killed = BTreeSet::new();
    // Limit: rounds, each for what the killed have started meanwhile, and for those that are still dying: what
    // they hold is not free before.
    for _ in 0..100 {
        let mut found = false;
        for number in processes().filter(|pid| is_abandoned(*pid)) {
            let Some(pid) = Pid::from_raw(number) else { continue };
            // A pidfd, and only then the decision, so that the signal cannot hit a later user of the number.
            let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            found = true;
            if is_abandoned(number) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
                killed.insert(number);
            }
        }
        if !found {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

fn is_abandoned(pid: i32) -> bool {
    let Some(mark) = mark_of(pid) else { return false };
    let numbers: Vec<u64> = mark.split('.').filter_map(|n| n.parse().ok()).collect();
    let [engine, started, space, _] = numbers[..] else { return false };
    let engine = i32::try_from(engine).ok().and_then(stat);
    space == namespace() && engine.is_none_or(|s| s.dead || s.started != started)
}
