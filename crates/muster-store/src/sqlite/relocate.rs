//! Runs that go to another area's records, and what says where they went.
//!
//! ```text
//! export_run ─► a file of the cold tier ─► import_run, committed there ─► leave_for, committed here
//! ```
//!
//! A process that dies in between leaves the run here, or here and there under one id: to move it again ends it.

use super::cold::{self, BESIDE, Key, OF_RUNS, copy, pack, path, unpack};
use super::error::{reading, writing};
use super::read::{Reader, find_rid};
use super::rows::{self, decode_named, encode_named};
use super::{Sqlite, run_dir};
use crate::error::StoreError;
use crate::lock::RunLock;
use crate::types::{MovedRun, RunName, RunPlace};
use muster_core::change::RunSpec;
use muster_core::id::RunId;
use muster_core::outcome::Counts;
use muster_core::time::Time;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params, params_from_iter};
use std::path::Path;

/// What tells whether anything of a run was changed since.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStamp(cold::Stamp);

/// How much is recorded of a run: the same in two places, unless it was worked on in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunExtent {
    ended: Option<Time>,
    counts: Counts,
    items: u32,
    /// Rows by table.
    rows: Vec<i64>,
}

impl Sqlite {
    /// A run as it is now, for [`leave_for`](Self::leave_for).
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], or what the system says.
    pub fn stamp_run(&self, run: RunId) -> Result<RunStamp, StoreError> {
        self.reading(|r| {
            let (rid, _) = r.head(run)?;
            cold::stamp(r.conn, r.db, rid).map(RunStamp)
        })
    }

    /// How much is recorded of a run, wherever its records are.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], or what the system says.
    pub fn measure_run(&self, run: RunId) -> Result<RunExtent, StoreError> {
        self.reading_run(run, |r| {
            let (rid, head) = r.head(run)?;
            let (_, rows) = cold::stamp(r.conn, r.db, rid)?;
            Ok(RunExtent { ended: head.ended, counts: head.counts, items: head.items, rows })
        })
    }

    /// The file of the database.
    pub fn file(&self) -> &Path {
        &self.db
    }

    /// Writes all that is recorded of a run that is over into a file, durably. Its outputs in files are not in
    /// it. Says how long the file is.
    ///
    /// # Errors
    /// [`StoreError::NotOver`], [`StoreError::UnknownRun`], or what the system says.
    pub fn export_run(&mut self, run: RunId, to: &Path) -> Result<u64, StoreError> {
        let mut made = self.image(run)?.0;
        pack(&mut made, to)
    }

    /// Takes in a run that another store wrote into a file, as a run of this area with this number: into the cold
    /// tier. The number is a reserved one. A run without a name is called after its former number, as the directories
    /// of its tests are.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] where the run is here already; [`StoreError::Damaged`] where the file is none.
    pub fn import_run(&mut self, from: &Path, place: &RunPlace) -> Result<RunId, StoreError> {
        self.writable()?;
        let RunPlace { dir, area, number } = place;
        let mut made = unpack(from)?;
        let read = reading(from);
        let (old, id, former, name): (i64, Vec<u8>, u32, String) = made
            .query_row("SELECT rid, id, number, name FROM runs", [], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
            })
            .map_err(&read)?;
        let name = if name.is_empty() { format!("run-{former}") } else { name };
        let run = rows::run_id(from, &id)?;
        if find_rid(&self.conn, &self.db, run)?.is_some() {
            return Err(StoreError::Contradiction { run, what: "it is here already".to_owned() });
        }
        let spec: Vec<u8> = made.query_row("SELECT spec FROM plans", [], |r| r.get(0)).map_err(&read)?;
        let mut spec: RunSpec = decode_named(from, "a run's spec", &spec)?;
        spec.area.clone_from(area);
        spec.name.clone_from(&name);
        spec.area_dir = dir.to_string_lossy().into_owned();
        let mut body = Vec::new();
        encode_named(&mut body, "a run's spec", &spec)?;
        let write = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&write)?;
        made.execute("UPDATE plans SET spec = ?1", [&body]).map_err(&read)?;
        made.execute(
            "UPDATE runs SET area = ?1, number = ?2, name = ?3, cold = NULL",
            params![area, number, name],
        )
        .map_err(&read)?;
        let new = insert_head(&made, &tx, from, &self.db)?;
        renumber(&made, old, new).map_err(&read)?;
        for (table, key) in BESIDE.into_iter().filter(|(table, _)| *table != "runs") {
            copy(&made, from, &tx, table, key.condition(new))?;
        }
        let file = path(&self.db, *number, new);
        let bytes = pack(&mut made, &file)?;
        tx.execute("UPDATE runs SET cold = ?2 WHERE rid = ?1", params![new, bytes.cast_signed()])
            .map_err(&write)?;
        // It may have been moved away from here before.
        tx.execute("DELETE FROM moved WHERE id = ?1", [&id]).map_err(&write)?;
        tx.commit().map_err(&write)?;
        Ok(run)
    }

    /// Forgets a run that is somewhere else now, but for where, if it is as it was before it was written there.
    /// Its directory stays.
    ///
    /// # Errors
    /// [`StoreError::NotOver`], [`StoreError::UnknownRun`], [`StoreError::Locked`], [`StoreError::RunAlive`]
    /// where it was changed meanwhile; the run is as it was then.
    pub fn leave_for(
        &mut self,
        run: RunId,
        place: &RunPlace,
        at: Time,
        before: &RunStamp,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let RunPlace { dir, area, number } = place;
        let err = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        let reader = Reader { conn: &tx, db: &self.db };
        let (rid, head) = reader.head(run)?;
        if head.ended.is_none() {
            return Err(StoreError::NotOver { run });
        }
        reader.must_be_open(run)?;
        if cold::stamp(&tx, &self.db, rid)? != before.0 {
            return Err(StoreError::RunAlive { run, pid: None });
        }
        let file = cold::find(&tx, &self.db, run)?.map(|place| place.path(&self.db));
        for (table, key) in OF_RUNS.into_iter().chain(BESIDE) {
            let (condition, bounds) = key.condition(rid);
            tx.execute(&format!("DELETE FROM {table} WHERE {condition}"), bounds).map_err(&err)?;
        }
        tx.execute(
            "INSERT OR REPLACE INTO moved (id, area, number, name, at, to_dir, to_area, to_number)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                rows::run_id_bytes(run),
                head.area,
                head.number,
                head.name,
                at.0.cast_signed(),
                dir.to_string_lossy(),
                area,
                number
            ],
        )
        .map_err(&err)?;
        tx.commit().map_err(&err)?;
        cold::remove(file);
        self.cache.runs.remove(&run);
        Ok(())
    }

    /// The runs of an area that are in others now, the newest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn list_moved(&mut self, area: &str) -> Result<Vec<MovedRun>, StoreError> {
        let get = reading(&self.db);
        let mut found = self
            .conn
            .prepare_cached(&format!("SELECT {MOVED} FROM moved WHERE area = ?1 ORDER BY id DESC"))
            .map_err(&get)?;
        let list = found.query_map([area], moved).map_err(&get)?;
        list.map(|row| row.map_err(&get)?.run(&self.db)).collect()
    }

    pub(super) fn moved(&self, area: &str, name: RunName<'_>) -> Result<Option<MovedRun>, StoreError> {
        let get = reading(&self.db);
        let found = match name {
            RunName::Latest => self.conn.query_row(
                &format!("SELECT {MOVED} FROM moved WHERE area = ?1 ORDER BY id DESC LIMIT 1"),
                [area],
                moved,
            ),
            RunName::Number(number) => self.conn.query_row(
                &format!("SELECT {MOVED} FROM moved WHERE area = ?1 AND number = ?2"),
                params![area, number],
                moved,
            ),
            RunName::Name(name) => self.conn.query_row(
                &format!("SELECT {MOVED} FROM moved WHERE area = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1"),
                params![area, name],
                moved,
            ),
        };
        found.optional().map_err(&get)?.map(|row| row.run(&self.db)).transpose()
    }

    /// Holds a run that is over, so that nobody goes on with it meanwhile.
    ///
    /// # Errors
    /// Somebody does, or a person has locked it.
    pub fn hold_run(&self, run: RunId) -> Result<RunLock, StoreError> {
        let number = self.number(run)?;
        self.reading(|r| r.must_be_open(run))?;
        cold::lock(&run_dir(&self.root, number), run)
    }
}

const MOVED: &str = "id, number, name, at, to_dir, to_area, to_number";

/// A row of `moved`.
struct MovedRow {
    id: Vec<u8>,
    number: u32,
    name: String,
    at: i64,
    place: RunPlace,
}

fn moved(row: &Row<'_>) -> rusqlite::Result<MovedRow> {
    let dir: String = row.get(4)?;
    let place = RunPlace { dir: dir.into(), area: row.get(5)?, number: row.get(6)? };
    Ok(MovedRow { id: row.get(0)?, number: row.get(1)?, name: row.get(2)?, at: row.get(3)?, place })
}

impl MovedRow {
    fn run(self, db: &Path) -> Result<MovedRun, StoreError> {
        let Self { id, number, name, at, place } = self;
        Ok(MovedRun { run: rows::run_id(db, &id)?, number, name, at: rows::time(at), place })
    }
}

/// Copies the run's own row, which gets a number of its own.
fn insert_head(from: &Connection, to: &Connection, from_path: &Path, db: &Path) -> Result<i64, StoreError> {
    let columns = cold::columns(from, "runs").map_err(reading(from_path))?;
    let columns: Vec<String> = columns.into_iter().filter(|name| name != "rid").collect();
    let names = columns.join(", ");
    let values: Vec<Value> = from
        .query_row(&format!("SELECT {names} FROM runs"), [], |r| {
            (0..columns.len()).map(|at| r.get(at)).collect()
        })
        .map_err(reading(from_path))?;
    let marks = vec!["?"; columns.len()].join(", ");
    to.execute(&format!("INSERT INTO runs ({names}) VALUES ({marks})"), params_from_iter(values))
        .map_err(writing(db))?;
    Ok(to.last_insert_rowid())
}

/// The rows of a run under another number.
fn renumber(conn: &Connection, old: i64, new: i64) -> rusqlite::Result<()> {
    let whole = conn.unchecked_transaction()?;
    for (table, key) in OF_RUNS.into_iter().chain(BESIDE) {
        match key {
            Key::Span => whole.execute(&format!("UPDATE {table} SET id = id + ?1"), [(new - old) << 32])?,
            Key::Rid => whole.execute(&format!("UPDATE {table} SET rid = ?1"), [new])?,
        };
    }
    whole.execute("UPDATE records SET bad = ?1 WHERE bad IS NOT NULL", [new])?;
    whole.commit()
}
