//! Records in an SQLite database beside the area, with long outputs in one segment file per run.
//!
//! ```text
//! .muster/
//! ├── .gitignore        *
//! ├── muster.db         write-ahead log, synced at every commit
//! ├── removals.lock     held while files of removed runs get out of the way
//! ├── cold/             runs that are over, a compressed file each
//! └── runs/NUMBER/
//!     ├── lock          held by the process that executes the run
//!     ├── output.seg    outputs longer than a row should hold
//!     └── …             what the executor puts there
//! ```
//!
//! One writer at a time, among all processes; readers see the last commit and wait for nobody. What a
//! writer remembers between commits is in `live`, and is never needed for what it says to be durable.

mod care;
mod cold;
mod commit;
mod error;
mod events;
mod history;
mod items;
mod live;
mod open;
mod output;
mod plan_blob;
mod read;
mod relocate;
mod remove;
mod rows;
#[cfg(test)]
mod scale_tests;
mod sent;
#[cfg(test)]
mod tests;

use crate::error::StoreError;
use crate::segment::io_error;
use crate::store::Store;
use crate::types::{
    Durations, FailedItem, Fault, Happened, HistoryEntry, HotLimits, ItemFilter, LabKey, LateEvidence,
    ListedItem, MovedRun, Removal, Removed, RunFilter, RunName,
};
use error::reading;
pub use events::RunEvents;
use live::Cache;
use muster_core::attempt::Output;
use muster_core::change::{Change, RunSnapshot, Snapshot};
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use read::{Reader, find_rid};
pub use relocate::{RunExtent, RunStamp};
use rusqlite::{Connection, OptionalExtension as _, config::DbConfig, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for another writer. A commit takes milliseconds; a minute of them is a stuck machine.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
const RUNS: &str = "runs";

/// A write-ahead log up to this long is left for the next opening to read, instead of being written back
/// when the last handle closes: that would cost syncs at the end of every short run.
const LEFT_LOG_BYTES_MAX: u64 = 512 << 10;

/// A lab's handle on the records in a directory.
pub struct Sqlite {
    conn: Connection,
    root: PathBuf,
    db: PathBuf,
    lab: LabKey,
    is_writer: bool,
    cache: Cache,
    buf: Vec<u8>,
}

fn run_dir(root: &Path, number: u32) -> PathBuf {
    root.join(RUNS).join(number.to_string())
}

impl Sqlite {
    /// Opens the records in this directory, by convention `.muster` beside the area's file; makes it
    /// where there is none yet.
    ///
    /// # Errors
    /// [`StoreError::TooNew`], [`StoreError::Damaged`], or what the system says.
    pub fn open(root: &Path, lab: LabKey) -> Result<Self, StoreError> {
        Ok(Self::new(open::open(root)?, root, lab, true))
    }

    /// Opens existing records for reading. Verbs that change anything fail with
    /// [`StoreError::ReadOnly`].
    ///
    /// # Errors
    /// [`StoreError::NoStore`] where there are none, and as [`open`](Self::open).
    pub fn open_to_read(root: &Path) -> Result<Self, StoreError> {
        Ok(Self::new(open::open_to_read(root)?, root, LabKey(0), false))
    }

    fn new(conn: Connection, root: &Path, lab: LabKey, is_writer: bool) -> Self {
        let (root, db) = (root.to_owned(), root.join(open::FILE));
        Self { conn, root, db, lab, is_writer, cache: Cache::default(), buf: Vec::new() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn reader(&self) -> Reader<'_> {
        Reader { conn: &self.conn, db: &self.db }
    }

    fn writable(&self) -> Result<(), StoreError> {
        match self.is_writer {
            true => Ok(()),
            false => Err(StoreError::ReadOnly { path: self.root.clone() }),
        }
    }

    fn number(&self, run: RunId) -> Result<u32, StoreError> {
        let found = find_rid(&self.conn, &self.db, run)?;
        Ok(found.ok_or(StoreError::UnknownRun { run })?.1)
    }

    /// Reads that take several statements see one state of the records.
    fn reading<T>(&self, mut read: impl FnMut(Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut once = || {
            let tx = self.conn.unchecked_transaction().map_err(reading(&self.db))?;
            let read = read(Reader { conn: &tx, db: &self.db });
            tx.finish().map_err(reading(&self.db))?;
            read
        };
        match once() {
            // A run came back from the cold tier between the look at where it is and the look into it.
            Err(StoreError::Damaged { path, .. }) if cold::is_gone(&path) => once(),
            other => other,
        }
    }

    /// The same for one run, wherever its records are.
    fn reading_run<T>(
        &self,
        run: RunId,
        mut read: impl FnMut(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.reading(|r| r.at(run, &mut read))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let mut wal = self.db.clone().into_os_string();
        wal.push("-wal");
        let short = std::fs::metadata(wal).is_ok_and(|m| m.len() <= LEFT_LOG_BYTES_MAX);
        if short {
            // Only ever a matter of speed.
            drop(self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true));
        }
    }
}

impl Store for Sqlite {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.writable()?;
        if changes.is_empty() {
            return Ok(());
        }
        self.write(changes)
    }

    fn load_snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.reading(|r| r.snapshot(self.lab))
    }

    fn load_run_snapshot(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        self.reading_run(run, |r| r.snapshot_of(r.run(run)?))
    }

    fn adopt_run(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        self.writable()?;
        self.adopt(run)
    }

    fn reserve_number(&mut self, area: &str) -> Result<u32, StoreError> {
        self.writable()?;
        let runs = self.root.join(RUNS);
        std::fs::create_dir_all(&runs).map_err(io_error("make", &runs))?;
        // That of a run which is in another area now stays its own.
        let gone: Option<u32> = self
            .conn
            .query_row("SELECT max(number) FROM moved WHERE area = ?1", [area], |r| r.get(0))
            .map_err(reading(&self.db))?;
        let mut number = self.find_last_number(area)?.max(gone).unwrap_or(0);
        // Making a directory is the one thing only one process can do first. It need not last: a number
        // that is lost was not used.
        loop {
            number += 1;
            let dir = run_dir(&self.root, number);
            // What a person knows by this number is not to become another run.
            if self.was_removed(number)? {
                continue;
            }
            match std::fs::create_dir(&dir) {
                Ok(()) => return Ok(number),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(io_error("make", &dir)(e)),
            }
        }
    }

    fn find_last_number(&mut self, area: &str) -> Result<Option<u32>, StoreError> {
        self.conn
            .prepare_cached("SELECT max(number) FROM runs WHERE area = ?1")
            .and_then(|mut s| s.query_row([area], |r| r.get(0)).optional())
            .map(Option::flatten)
            .map_err(reading(&self.db))
    }

    fn delete_lab(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        self.forget()
    }

    fn list_runs(&mut self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
        let RunFilter { area, called, before, limit } = filter;
        let before = before.map_or([0xff; 17].to_vec(), |b| rows::run_id_bytes(b).to_vec());
        if let Some(called) = called {
            // Those of one name are few, so that they are looked for by it, whatever else is asked.
            let which = "WHERE (name = ?1 AND ?1 <> '' OR name = '' AND number = ?2)
                         AND (?3 IS NULL OR +area = ?3) AND +id < ?4 ORDER BY +id DESC LIMIT ?5";
            let number = RunFilter::number(called);
            return self.reader().heads(which, params![called, number, area, before, limit]);
        }
        match area {
            Some(area) => self
                .reader()
                .heads("WHERE area = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3", params![area, before, limit]),
            None => self.reader().heads("WHERE id < ?1 ORDER BY id DESC LIMIT ?2", params![before, limit]),
        }
    }

    fn find_run(&mut self, area: &str, name: RunName<'_>) -> Result<Option<RunView>, StoreError> {
        let reader = self.reader();
        let mut found = match name {
            RunName::Latest => reader.heads("WHERE area = ?1 ORDER BY id DESC LIMIT 1", params![area]),
            RunName::Number(number) => reader.heads("WHERE area = ?1 AND number = ?2", params![area, number]),
            RunName::Name(name) => {
                // Those of one name are few.
                reader.heads(
                    "INDEXED BY runs_by_name WHERE name = ?2 AND area = ?1 ORDER BY id DESC LIMIT 1",
                    params![area, name],
                )
            }
        }?;
        Ok(found.pop())
    }

    fn load_run(&mut self, run: RunId, filter: ItemFilter<'_>) -> Result<RunView, StoreError> {
        self.reading_run(run, |r| r.view(run, filter))
    }

    fn list_failures(&mut self, run: RunId) -> Result<Vec<FailedItem>, StoreError> {
        self.reading_run(run, |r| r.failures(run))
    }

    fn list_items(
        &mut self,
        run: RunId,
        filter: ItemFilter<'_>,
        from: ItemIx,
        limit: u32,
    ) -> Result<Vec<ListedItem>, StoreError> {
        self.reading_run(run, |r| r.listed(run, filter, from, limit))
    }

    fn list_attempts(&mut self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError> {
        self.reading_run(run, |r| r.attempts(run, item))
    }

    fn list_history(
        &mut self,
        area: &str,
        test: &str,
        item: Option<&str>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        self.reading(|r| r.history(area, test, item, before, limit))
    }

    fn list_durations(&mut self, area: &str, target: &[(String, String)]) -> Result<Durations, StoreError> {
        self.reading(|r| r.durations(area, target))
    }

    fn list_happened(&mut self, lab: LabKey, after: u64, limit: u32) -> Result<Vec<Happened>, StoreError> {
        self.reading(|r| r.happened(lab, after, limit))
    }

    fn find_last_happened(&mut self, lab: LabKey) -> Result<u64, StoreError> {
        self.reading(|r| r.last_happened(lab))
    }

    fn list_late_evidence(&mut self, run: RunId) -> Result<Vec<LateEvidence>, StoreError> {
        self.reading_run(run, |r| r.late(run))
    }

    fn read_output(&mut self, run: RunId, output: &Output) -> Result<Vec<u8>, StoreError> {
        output::read(&self.root, self.number(run)?, output)
    }

    fn read_output_range(
        &mut self,
        run: RunId,
        output: &Output,
        from: u64,
        len: u64,
    ) -> Result<Vec<u8>, StoreError> {
        output::read_range(&self.root, self.number(run)?, output, from, len)
    }

    fn run_dir(&self, number: u32) -> Option<PathBuf> {
        Some(run_dir(&self.root, number))
    }

    fn remove_run(&mut self, run: RunId, removal: &Removal) -> Result<(), StoreError> {
        self.writable()?;
        self.remove(run, removal)
    }

    fn finish_removals(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        self.finish()
    }

    fn find_removed(&mut self, area: &str, number: u32) -> Result<Option<Removed>, StoreError> {
        self.removed(area, number)
    }

    fn reduce_run(&mut self, run: RunId) -> Result<u64, StoreError> {
        self.writable()?;
        self.reduce(run)
    }

    fn restore_run(&mut self, run: RunId) -> Result<(), StoreError> {
        self.writable()?;
        self.restore(run)
    }

    fn list_due(&mut self, area: &str, limits: &HotLimits, limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.due(area, limits, limit)
    }

    fn list_cold(&mut self) -> Result<Vec<(RunId, u64)>, StoreError> {
        self.cold()
    }

    fn find_moved(&mut self, area: &str, name: RunName<'_>) -> Result<Option<MovedRun>, StoreError> {
        self.moved(area, name)
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        self.writable()?;
        self.tidy()
    }

    fn check(&mut self) -> Result<Vec<Fault>, StoreError> {
        self.find_faults()
    }
}
