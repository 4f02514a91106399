//! What runs of an area on this machine share although each has a lab of its own: places of groups, tokens, tests that
//! run once at a time, and jobs at once where they are limited over all runs.
//!
//! Each place is a file under `.muster/places` that whoever has the place holds a lock on, so a process that dies
//! gives back what it had, and nobody has to guess. Who waits for places of a kind holds the lock on its turn: the
//! next place that becomes free is for them, and others do not use again what they have given back.
//!
//! ```text
//! .muster/places/group-disk/turn    who waits for the next place
//! .muster/places/group-disk/0 …     the places
//! .muster/places/bell               written to when a place becomes free
//! ```
//!
//! Waiting costs nothing: the system tells when the bell is rung. A process that was killed rings none, so who waits
//! also looks now and then.

use crate::error::Complaint;
use muster_core::lab::{Counted, Lab, Places};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who waits looks again after this, whether the bell was rung or not.
// Limit: so long may pass until the places of a process that was killed are used.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Places of a kind that are counted.
// Limit: each is a file, and finding a free one is work for each.
const PLACES_MAX: u32 = 4_096;

/// What an attempt takes: of each kind so many, of so many.
type Taken = BTreeMap<Counted, (u32, u32)>;

/// The places that a run has.
#[derive(Debug)]
pub(crate) struct SharedPlaces {
    dir: PathBuf,
    held: BTreeMap<Counted, Vec<Place>>,
    /// Of what the next place that becomes free is this run's.
    turns: BTreeMap<Counted, File>,
    /// Got just now, and not used yet.
    fresh: bool,
    waits: bool,
    bell: OwnedFd,
}

/// A place, for as long as its lock is held.
#[derive(Debug)]
struct Place {
    number: u32,
    _lock: File,
}

impl SharedPlaces {
    /// None yet, of the area whose records are in this directory.
    ///
    /// # Errors
    /// They cannot be shared there.
    pub(crate) fn new(records: &Path) -> Result<Self, anyhow::Error> {
        let dir = records.join("places");
        let bell = fs::create_dir_all(&dir).and_then(|()| listen(&dir)).map_err(|e| failed(&dir, e))?;
        Ok(Self { dir, held: BTreeMap::new(), turns: BTreeMap::new(), fresh: false, waits: false, bell })
    }

    /// What the lab may use in its next turn. Where others wait, what becomes free in it is not used again.
    ///
    /// # Errors
    /// The locks cannot be asked for.
    pub(crate) fn granted(&self) -> Result<Places, anyhow::Error> {
        let mut granted = Places::new();
        for (what, places) in &self.held {
            let held = u32::try_from(places.len()).unwrap_or(u32::MAX);
            let yields = !self.fresh && self.others_wait(what).map_err(|e| failed(&self.dir, e))?;
            granted.insert(what.clone(), held - u32::from(yields));
        }
        Ok(granted)
    }

    /// Gives back what the lab does not use any more and asks for what it wants; whether something was got.
    ///
    /// # Errors
    /// The locks cannot be asked for.
    pub(crate) fn settle(&mut self, lab: &Lab) -> Result<bool, anyhow::Error> {
        let used = lab.places_used();
        let mut rings = false;
        for (what, places) in &mut self.held {
            let used = used.get(what).map_or(0, |n| *n as usize);
            rings |= places.len() > used;
            places.truncate(used);
        }
        self.held.retain(|_, places| !places.is_empty());
        let wanted = lab.places_wanted();
        let kinds: BTreeSet<&Counted> = wanted.iter().flat_map(BTreeMap::keys).collect();
        let turns = self.turns.len();
        self.turns.retain(|what, _| kinds.contains(what));
        rings |= self.turns.len() < turns;
        self.fresh = false;
        for taken in &wanted {
            self.fresh |= self.take(taken).map_err(|e| failed(&self.dir, e))?;
        }
        self.waits = !wanted.is_empty() && !self.fresh;
        if rings {
            self.ring();
        }
        Ok(self.fresh)
    }

    /// Takes all that an attempt needs, or nothing but the turn of what was lacking.
    fn take(&mut self, wanted: &Taken) -> io::Result<bool> {
        let mut got: Vec<(Counted, Vec<Place>)> = Vec::new();
        for (what, (n, max)) in wanted {
            let lacking = match self.places(what, *n, *max)? {
                Some(places) => {
                    got.push((what.clone(), places));
                    continue;
                }
                None => what,
            };
            // Who waits for one kind does not keep others from what it has not.
            self.turns.retain(|turn, _| turn == lacking || !wanted.contains_key(turn));
            return Ok(false);
        }
        self.turns.retain(|turn, _| !wanted.contains_key(turn));
        for (what, places) in got {
            self.held.entry(what).or_default().extend(places);
        }
        Ok(true)
    }

    /// So many more places of a kind, once it is this run's turn.
    fn places(&mut self, what: &Counted, n: u32, max: u32) -> io::Result<Option<Vec<Place>>> {
        let dir = self.dir_of(what);
        if !self.turns.contains_key(what) {
            fs::create_dir_all(&dir)?;
            match try_lock(&dir.join("turn"))? {
                Some(turn) => drop(self.turns.insert(what.clone(), turn)),
                None => return Ok(None),
            }
        }
        let own = self.held.get(what).map_or(&[][..], Vec::as_slice);
        let mut places = Vec::new();
        for number in (0..max.min(PLACES_MAX)).filter(|number| !own.iter().any(|p| p.number == *number)) {
            if places.len() == n as usize {
                break;
            }
            let lock = try_lock(&dir.join(number.to_string()))?;
            places.extend(lock.map(|lock| Place { number, _lock: lock }));
        }
        Ok((places.len() == n as usize).then_some(places))
    }

    fn others_wait(&self, what: &Counted) -> io::Result<bool> {
        if self.turns.contains_key(what) {
            return Ok(false);
        }
        Ok(try_lock(&self.dir_of(what).join("turn"))?.is_none())
    }

    fn dir_of(&self, what: &Counted) -> PathBuf {
        let (kind, name) = match what {
            Counted::Group(name) => ("group", name.as_str()),
            Counted::Token(name) => ("token", name.as_str()),
            Counted::Alone(test) => ("alone", test.as_str()),
            Counted::Jobs => ("jobs", ""),
        };
        let mut file = format!("{kind}-");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                file.push(char::from(byte));
            } else {
                // Writing into a string does not fail.
                let _ = write!(file, "%{byte:02x}");
            }
        }
        self.dir.join(file)
    }

    /// Rings when a place may have become free.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// How long to wait at most; `None`: as long as nothing else happens.
    pub(crate) fn look_in(&self) -> Option<Duration> {
        self.waits.then_some(LOOK_EVERY)
    }

    /// The bell was heard.
    pub(crate) fn heard(&self) {
        let mut events = [0u8; 4096];
        while rustix::io::read(&self.bell, &mut events).is_ok_and(|n| n > 0) {}
    }

    fn ring(&self) {
        // Who does not hear it looks by itself.
        drop(OpenOptions::new().append(true).open(self.dir.join("bell")));
    }
}

impl Drop for SharedPlaces {
    fn drop(&mut self) {
        self.held.clear();
        self.turns.clear();
        self.ring();
    }
}

fn listen(dir: &Path) -> io::Result<OwnedFd> {
    let path = dir.join("bell");
    drop(OpenOptions::new().append(true).create(true).open(&path)?);
    let bell = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&bell, &path, WatchFlags::CLOSE_WRITE)?;
    Ok(bell)
}

/// The lock on this file, unless somebody has it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

fn failed(dir: &Path, error: io::Error) -> anyhow::Error {
    Complaint::lab(format!("what runs share cannot be counted in `{}`", dir.display())).because(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Counted {
        Counted::Token(name.to_owned())
    }

    fn want(all: &[(&str, u32, u32)]) -> Taken {
        all.iter().map(|(name, n, max)| (kind(name), (*n, *max))).collect()
    }

    fn give_back(run: &mut SharedPlaces) {
        run.held.clear();
        run.ring();
    }

    #[test]
    fn places_are_counted_over_all_runs_and_come_back_with_whoever_had_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut a = SharedPlaces::new(dir.path()).unwrap();
        let mut b = SharedPlaces::new(dir.path()).unwrap();
        assert!(a.take(&want(&[("mat lab", 2, 3)])).unwrap());
        assert!(!b.take(&want(&[("mat lab", 2, 3)])).unwrap(), "one is left");
        assert!(b.others_wait(&kind("mat lab")).is_ok_and(|waits| !waits), "it is its own turn");
        assert!(a.others_wait(&kind("mat lab")).unwrap(), "somebody waits");
        assert_eq!(a.granted().unwrap()[&kind("mat lab")], 1, "what becomes free is for them");
        drop(a);
        assert!(b.take(&want(&[("mat lab", 2, 3)])).unwrap());
        assert_eq!(b.granted().unwrap()[&kind("mat lab")], 2);
    }

    #[test]
    fn who_waits_is_next_and_the_bell_tells_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut a = SharedPlaces::new(dir.path()).unwrap();
        let mut b = SharedPlaces::new(dir.path()).unwrap();
        let one = want(&[("t", 1, 1)]);
        assert!(a.take(&one).unwrap());
        assert!(!b.take(&one).unwrap());
        b.heard();
        give_back(&mut a);
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(b.bell(), rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, None).unwrap(), 1);
        assert!(!a.take(&one).unwrap(), "it is not its turn");
        assert!(b.take(&one).unwrap());
    }

    #[test]
    fn who_lacks_one_kind_keeps_nothing_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs: Vec<_> = (0..3).map(|_| SharedPlaces::new(dir.path()).unwrap()).collect();
        assert!(runs[0].take(&want(&[("b", 1, 1)])).unwrap());
        assert!(!runs[1].take(&want(&[("a", 1, 1), ("b", 1, 1)])).unwrap());
        assert!(runs[1].held.is_empty());
        assert!(runs[2].take(&want(&[("a", 1, 1)])).unwrap(), "`a` is free for who needs it alone");
        assert!(runs[0].others_wait(&kind("b")).unwrap());
    }
}
