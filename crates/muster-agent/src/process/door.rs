//! Where a keeper of attempts is spoken to: a socket in the agent's directory.
//!
//! One conversation at a time, the newest wins. Who comes says which version it is of, and is told what is
//! kept ([`Greeting`]); whether it goes on from there is the visitor's business. Nonsense ends a
//! conversation and nothing else.

use super::wire::{Language, Wire};
use super::{FromAgent, Greeting, Life, ToAgent};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a keeper that has nothing waits for somebody to come.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long one that has results does.
// Limit: disk and memory of a host whose agent was given up.
const RESULTS_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a keeper that nobody speaks with looks whether anybody still can.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Those who came and have not said who they are; more push the first of them out.
// Limit: descriptors.
const NEWCOMERS_MAX: usize = 16;

/// The directory in the agent's own that is the keeper's.
pub(super) const DIR: &str = "keeper";
const SOCKET: &str = "socket";

/// The socket, and who speaks through it.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// Inode of the socket's file: whether what is at `path` is still ours.
    inode: u64,
    /// Came, and have not said who they are.
    newcomers: Vec<Wire>,
    visitor: Option<Wire>,
    alone_since: Instant,
    /// Held for as long as the process lives: there is one keeper to a directory.
    _lock: File,
}

/// The directory of an agent's keeper, made if it is not there, and entered by nobody else.
pub(super) fn dir(state_dir: &Path) -> io::Result<PathBuf> {
    let dir = state_dir.join(DIR);
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => {}
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    Ok(dir)
}

/// Calls `with` the name of the socket, short enough for the system however long the directory's is.
pub(super) fn socket_in<T>(dir: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let dir: OwnedFd = rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    with(&PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd())))
}

impl Door {
    /// Opens the door, once an earlier keeper of the directory has ended.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = dir(state_dir)?;
        let lock = File::options().append(true).create(true).mode(0o600).open(dir.join("lock"))?;
        lock.lock()?;
        let path = dir.join(SOCKET);
        // Left by one that was killed.
        let _left = fs::remove_file(&path);
        let listener = socket_in(&dir, |socket| UnixListener::bind(socket))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let inode = fs::metadata(&path)?.ino();
        let alone_since = Instant::now();
        Ok(Self { listener, path, inode, newcomers: Vec::new(), visitor: None, alone_since, _lock: lock })
    }

    /// Whether there is somebody to speak to, and all that was said is out.
    pub(super) fn is_free(&self) -> bool {
        self.visitor.as_ref().is_some_and(|v| !v.wants_write())
    }

    /// The next word, if one has come. `life`: what a newcomer is told.
    pub(super) fn next(&mut self, life: impl Fn() -> Option<Life>) -> Option<ToAgent> {
        for mut wire in std::mem::take(&mut self.newcomers) {
            match wire.next::<Greeting>("a greeting") {
                Ok(Some(_)) => {
                    if wire.send("a greeting", &Greeting::ours(life())).is_ok() {
                        self.visitor = Some(wire);
                    }
                }
                Ok(None) if !wire.has_ended() => self.newcomers.push(wire),
                Ok(None) | Err(_) => {}
            }
        }
        let visitor = self.visitor.as_mut()?;
        match visitor.next("orders") {
            Ok(Some(word)) => return Some(word),
            Ok(None) if !visitor.has_ended() => {}
            // It has gone, or says what nobody understands.
            Ok(None) | Err(_) => self.hang_up(),
        }
        None
    }

    /// Says this to the visitor; where that fails there is none any more.
    pub(super) fn say(&mut self, what: &'static str, word: &FromAgent) {
        if self.visitor.as_mut().is_some_and(|v| v.send(what, word).is_err()) {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        self.visitor = None;
        self.alone_since = Instant::now();
    }

    /// When to look round although nothing happens; `None` while somebody is there.
    pub(super) fn look_in(&self) -> Option<Duration> {
        self.visitor.is_none().then_some(LOOK_EVERY)
    }

    /// Whether nobody will come any more. `kept`: something runs; `results`: some wait.
    pub(super) fn is_forsaken(&self, kept: bool, results: bool) -> bool {
        if self.visitor.is_some() {
            return false;
        }
        if fs::symlink_metadata(&self.path).map_or(true, |m| m.ino() != self.inode) {
            return true;
        }
        let alone = self.alone_since.elapsed();
        !kept && alone >= if results { RESULTS_MAX } else { IDLE_MAX }
    }

    pub(super) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
        for wire in self.newcomers.iter().chain(&self.visitor) {
            let flags = if wire.wants_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            fds.push(PollFd::from_borrowed_fd(wire.fd(), flags));
        }
        fds
    }

    /// Takes in all that has come, and sends what goes.
    pub(super) fn attend(&mut self) {
        // Refused and gone ones are nobody's loss: they come again.
        while let Ok((stream, _)) = self.listener.accept() {
            let own = rustix::process::geteuid();
            if rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| peer.uid == own) {
                self.newcomers.extend(Wire::new(stream.into(), Language::Cbor));
            }
        }
        self.newcomers.drain(..self.newcomers.len().saturating_sub(NEWCOMERS_MAX));
        self.newcomers.retain_mut(|wire| wire.fill().is_ok());
        if self.visitor.as_mut().is_some_and(|wire| wire.flush().and_then(|()| wire.fill()).is_err()) {
            self.hang_up();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            // The next one removes it otherwise.
            let _left = fs::remove_file(&self.path);
        }
    }
}
