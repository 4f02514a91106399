//! What running attempts print, as far as somebody wants to see it: agents are asked for it while somebody looks, and
//! bring it in pieces. It is a copy; the record has all of it when an attempt has ended.

use muster_core::id::{AgentId, UnitId};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after somebody looked an agent is still asked.
const WANTED: Duration = Duration::from_secs(10);
/// How long after that what it brought is kept.
const KEPT: Duration = Duration::from_secs(60);
/// Longest output of one process that is shown while it grows.
// Limit: disk. What is behind it is seen when the attempt has ended.
const PART_BYTES_MAX: u64 = 1 << 30;
/// Bytes read at once.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;

/// Copies of outputs that grow.
#[derive(Debug)]
pub(crate) struct Live {
    dir: PathBuf,
    units: Mutex<BTreeMap<UnitId, Looked>>,
}

#[derive(Debug)]
struct Looked {
    agent: AgentId,
    /// Somebody looked last.
    at: Instant,
}

/// Where a piece cannot be added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// So many bytes are here: the next piece begins there.
    Have(u64),
    /// Nobody wants it any more, or it is too long.
    Unwanted,
}

impl Live {
    /// In this directory, which is emptied: whoever looks asks for all of it again.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, units: Mutex::default() })
    }

    /// Somebody looks at what this unit of this agent prints.
    pub(crate) fn want(&self, unit: UnitId, agent: AgentId) {
        let mut units = self.units();
        units.insert(unit, Looked { agent, at: Instant::now() });
        let old: Vec<UnitId> =
            units.iter().filter(|(_, u)| u.at.elapsed() > KEPT).map(|(unit, _)| *unit).collect();
        for unit in old {
            units.remove(&unit);
            // What cannot be removed goes when the server starts again.
            let _left = fs::remove_dir_all(self.unit_dir(unit));
        }
    }

    /// The units of this agent that somebody looks at.
    pub(crate) fn wanted_of(&self, agent: AgentId) -> Vec<UnitId> {
        let units = self.units();
        let wanted = units.iter().filter(|(_, u)| u.agent == agent && u.at.elapsed() <= WANTED);
        wanted.map(|(unit, _)| *unit).collect()
    }

    /// Adds a piece of what the unit's process of this number prints.
    ///
    /// # Errors
    /// The disk; or, inside, that the piece is not the next one.
    pub(crate) fn add(
        &self,
        unit: UnitId,
        part: u16,
        from: u64,
        bytes: &[u8],
    ) -> io::Result<Result<(), Misfit>> {
        // Held while it is written, so that two pieces of one output are never mixed.
        let units = self.units();
        if !units.contains_key(&unit) {
            return Ok(Err(Misfit::Unwanted));
        }
        let path = self.part(unit, part);
        fs::create_dir_all(path.parent().expect("parts are in a directory"))?;
        let mut file = File::options().append(true).create(true).open(&path)?;
        let have = file.metadata()?.len();
        if have != from {
            return Ok(Err(Misfit::Have(have)));
        }
        if have + bytes.len() as u64 > PART_BYTES_MAX {
            return Ok(Err(Misfit::Unwanted));
        }
        if let Err(e) = file.write_all(bytes) {
            // What is half there would be taken for whole.
            file.set_len(have)?;
            return Err(e);
        }
        drop(units);
        Ok(Ok(()))
    }

    /// What is here of an output from this byte on, and whether the process behind it has printed something.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn read(&self, unit: UnitId, part: u16, from: u64) -> io::Result<(Vec<u8>, bool)> {
        let next = part.checked_add(1).is_some_and(|next| self.part(unit, next).exists());
        let mut bytes = Vec::new();
        match File::open(self.part(unit, part)) {
            Ok(file) => {
                bytes.resize(PIECE_BYTES_MAX, 0);
                let n = file.read_at(&mut bytes, from)?;
                bytes.truncate(n);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok((bytes, next))
    }

    fn unit_dir(&self, unit: UnitId) -> PathBuf {
        self.dir.join(unit.0.to_string())
    }

    fn part(&self, unit: UnitId, part: u16) -> PathBuf {
        self.unit_dir(unit).join(part.to_string())
    }

    fn units(&self) -> MutexGuard<'_, BTreeMap<UnitId, Looked>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the copies are.
    pub(crate) fn dir_of(data_dir: &Path) -> PathBuf {
        data_dir.join("live")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: UnitId = UnitId(7);
    const AGENT: AgentId = AgentId(3);

    #[test]
    fn pieces_are_added_in_order_without_gap_or_double_and_only_while_somebody_looks() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::open(dir.path().join("live")).unwrap();
        assert_eq!(live.add(UNIT, 0, 0, b"one").unwrap(), Err(Misfit::Unwanted));
        live.want(UNIT, AGENT);
        assert_eq!((live.wanted_of(AGENT), live.wanted_of(AgentId(4))), (vec![UNIT], vec![]));
        assert_eq!(live.add(UNIT, 0, 0, b"one").unwrap(), Ok(()));
        assert_eq!(live.add(UNIT, 0, 0, b"one").unwrap(), Err(Misfit::Have(3)), "told twice");
        assert_eq!(live.add(UNIT, 0, 9, b"x").unwrap(), Err(Misfit::Have(3)), "something is missing");
        assert_eq!(live.add(UNIT, 0, 3, b"two").unwrap(), Ok(()));
        assert_eq!(live.read(UNIT, 0, 2).unwrap(), (b"etwo".to_vec(), false));
        assert_eq!(live.read(UNIT, 0, 60).unwrap(), (vec![], false));
        live.add(UNIT, 1, 0, b"next").unwrap().unwrap();
        assert_eq!(live.read(UNIT, 0, 6).unwrap(), (vec![], true));
        assert_eq!(live.read(UNIT, 5, 0).unwrap(), (vec![], false));
        let again = Live::open(dir.path().join("live")).unwrap();
        again.want(UNIT, AGENT);
        assert_eq!(again.add(UNIT, 0, 6, b"x").unwrap(), Err(Misfit::Have(0)), "a restart forgets");
    }
}
