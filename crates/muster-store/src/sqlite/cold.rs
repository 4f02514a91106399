//! The cold tier: what is recorded of a run that is over, in a compressed file of its own.
//!
//! ```text
//! .muster/cold/NUMBER-ROW.db.zst     a database of the same tables that holds this one run, compressed
//! ```
//!
//! So a run is read in the same way wherever it is, an older file is brought up to date by the same
//! migrations (in memory), and a person can look into one with `zstd -d` and `sqlite3`. A run's own row, with
//! its counts, stays in the common database, so that to list runs opens none of these files.
//!
//! The row says where a run's records are, and is changed by the transaction that takes them away or puts
//! them back. The file is durable before that and removed after it; one that no row speaks of is rubbish.
//! Outputs in the run's directory stay where they are.

use super::error::{reading, writing};
use super::live::keys;
use super::read::Reader;
use super::{Sqlite, open, rows, run_dir};
use crate::error::StoreError;
use crate::lock::{LockError, RunLock};
use crate::segment::io_error;
use crate::types::HotLimits;
use muster_core::id::RunId;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const DIR: &str = "cold";
const ENDING: &str = ".db.zst";
/// Level of compression: half the time of the levels above it, for a twentieth more of bytes.
const LEVEL: i32 = 6;
const TODO: &str = "put a copy of it back, or delete the run";

/// How a table's rows of a run are found.
#[derive(Clone, Copy)]
pub(super) enum Key {
    /// By keys that begin with the run's row number.
    Span,
    /// By a column with that number.
    Rid,
}

/// Every table that holds what is recorded of runs, but for their own rows.
pub(super) const OF_RUNS: [(&str, Key); 7] = [
    ("records", Key::Span),
    ("expansions", Key::Span),
    ("found_again", Key::Span),
    ("late", Key::Rid),
    ("moves", Key::Rid),
    ("notes", Key::Rid),
    ("plans", Key::Rid),
];

/// Every table whose rows of a run stay in the common database, since people list and change them without opening
/// the run. Whoever reads a run from its file is given them as they are now.
pub(super) const BESIDE: [(&str, Key); 1] = [("runs", Key::Rid)];

impl Key {
    /// The condition, with the bounds for `?1` and `?2`.
    pub(super) fn condition(self, rid: i64) -> (&'static str, [i64; 2]) {
        match self {
            Self::Span => ("id BETWEEN ?1 AND ?2", keys(rid).into()),
            Self::Rid => ("rid BETWEEN ?1 AND ?2", [rid, rid]),
        }
    }
}

/// A run's place in the cold tier.
pub(super) struct Place {
    rid: i64,
    number: u32,
    bytes: i64,
}

impl Place {
    pub(super) fn path(&self, db: &Path) -> PathBuf {
        path(db, self.number, self.rid)
    }
}

pub(super) fn path(db: &Path, number: u32, rid: i64) -> PathBuf {
    db.with_file_name(DIR).join(format!("{number}-{rid}{ENDING}"))
}

/// Whether something was looked for in the cold tier that is not there: it may have been brought back since.
pub(super) fn is_gone(path: &Path) -> bool {
    path.to_str().is_some_and(|p| p.ends_with(ENDING)) && !path.exists()
}

/// Where a run's file is; `None` where its records are in the common database, or there is no such run.
pub(super) fn find(conn: &Connection, db: &Path, run: RunId) -> Result<Option<Place>, StoreError> {
    conn.prepare_cached("SELECT rid, number, cold FROM runs WHERE id = ?1 AND cold IS NOT NULL")
        .and_then(|mut s| {
            s.query_row([rows::run_id_bytes(run)], |r| {
                Ok(Place { rid: r.get(0)?, number: r.get(1)?, bytes: r.get(2)? })
            })
            .optional()
        })
        .map_err(reading(db))
}

impl Reader<'_> {
    /// Reads a run wherever its records are.
    pub(super) fn at<T>(
        &self,
        run: RunId,
        read: impl FnOnce(Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(place) = find(self.conn, self.db, run)? else { return read(*self) };
        let path = place.path(self.db);
        let conn = unpack(&path)?;
        // They may have changed since.
        for (table, key) in BESIDE {
            conn.execute(&format!("DELETE FROM {table}"), []).map_err(reading(&path))?;
            copy(self.conn, self.db, &conn, table, key.condition(place.rid))?;
        }
        read(Reader { conn: &conn, db: &path })
    }
}

impl Sqlite {
    pub(super) fn reduce(&mut self, run: RunId) -> Result<u64, StoreError> {
        if let Some(place) = find(&self.conn, &self.db, run)? {
            return Ok(place.bytes.unsigned_abs());
        }
        let number = self.number(run)?;
        let _lock = lock(&run_dir(&self.root, number), run)?;
        let (mut made, rid, before) = self.image(run)?;
        let path = path(&self.db, number, rid);
        let bytes = pack(&mut made, &path)?;
        let err = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        if stamp(&tx, &self.db, rid)? != before {
            return Err(StoreError::RunAlive { run, pid: None });
        }
        for (table, key) in OF_RUNS {
            let (condition, bounds) = key.condition(rid);
            tx.execute(&format!("DELETE FROM {table} WHERE {condition}"), bounds).map_err(&err)?;
        }
        tx.execute("UPDATE runs SET cold = ?2 WHERE rid = ?1", params![rid, bytes.cast_signed()])
            .map_err(&err)?;
        tx.commit().map_err(&err)?;
        self.cache.runs.remove(&run);
        Ok(bytes)
    }

    /// All that is recorded of a run that is over, in a database of its own; its row number, and what tells
    /// whether it was changed since.
    pub(super) fn image(&self, run: RunId) -> Result<(Connection, i64, Stamp), StoreError> {
        let made = open::in_memory().map_err(reading(&self.db))?;
        let (rid, before) = self.reading_run(run, |from| {
            let (rid, head) = from.head(run)?;
            if head.ended.is_none() {
                return Err(StoreError::NotOver { run });
            }
            let err = reading(from.db);
            let whole = made.unchecked_transaction().map_err(&err)?;
            for (table, key) in OF_RUNS.into_iter().chain(BESIDE) {
                whole.execute(&format!("DELETE FROM {table}"), []).map_err(&err)?;
                copy(from.conn, from.db, &whole, table, key.condition(rid))?;
            }
            whole.commit().map_err(&err)?;
            Ok((rid, stamp(from.conn, from.db, rid)?))
        })?;
        Ok((made, rid, before))
    }

    pub(super) fn restore(&mut self, run: RunId) -> Result<(), StoreError> {
        self.number(run)?;
        let err = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        let left = bring_back(&tx, &self.db, run)?;
        tx.commit().map_err(&err)?;
        remove(left);
        Ok(())
    }

    pub(super) fn due(&self, area: &str, limits: &HotLimits, limit: u32) -> Result<Vec<RunId>, StoreError> {
        let HotLimits { runs, ended_before, items } = limits;
        let get = reading(&self.db);
        // By the index of runs that could go, so it does not matter how many have gone.
        let mut found = self
            .conn
            .prepare_cached(
                "SELECT id FROM
                    (SELECT id, sum(items) OVER (ORDER BY id) AS together FROM
                        (SELECT id, ended, items, row_number() OVER (ORDER BY id DESC) AS nth
                         FROM runs WHERE area = ?1 AND cold IS NULL AND state <> 0)
                     WHERE (nth > ?2 OR ended < ?3) AND items <= ?5)
                 WHERE together <= ?5 ORDER BY id LIMIT ?4",
            )
            .map_err(&get)?;
        let (most, before) = (runs.map_or(i64::MAX, i64::from), ended_before.map(|t| t.0.cast_signed()));
        let together = items.unwrap_or(u32::MAX);
        let mut list = found.query(params![area, most, before, limit, together]).map_err(&get)?;
        let mut due = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let id = row.get_ref(0).map_err(&get)?.as_blob().map_err(|e| get(e.into()))?;
            due.push(rows::run_id(&self.db, id)?);
        }
        Ok(due)
    }

    /// The areas that have runs here.
    ///
    /// # Errors
    /// What the system says.
    pub fn list_areas(&self) -> Result<Vec<String>, StoreError> {
        let get = reading(&self.db);
        let mut found =
            self.conn.prepare_cached("SELECT DISTINCT area FROM runs ORDER BY area").map_err(&get)?;
        let list = found.query_map([], |row| row.get(0)).map_err(&get)?;
        list.collect::<Result<_, _>>().map_err(&get)
    }

    pub(super) fn cold(&self) -> Result<Vec<(RunId, u64)>, StoreError> {
        let get = reading(&self.db);
        let mut found = self
            .conn
            .prepare_cached("SELECT id, cold FROM runs WHERE cold IS NOT NULL ORDER BY id")
            .map_err(&get)?;
        let mut list = found.query([]).map_err(&get)?;
        let mut all = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let id = row.get_ref(0).map_err(&get)?.as_blob().map_err(|e| get(e.into()))?;
            all.push((rows::run_id(&self.db, id)?, row.get::<_, i64>(1).map_err(&get)?.unsigned_abs()));
        }
        Ok(all)
    }

    /// Files that no row speaks of: a process died between writing one and saying so, or after it brought its
    /// run back.
    pub(super) fn remove_stray_files(&self) -> Result<(), StoreError> {
        let dir = self.db.with_file_name(DIR);
        let Ok(list) = fs::read_dir(&dir) else { return Ok(()) };
        for entry in list {
            let file = entry.map_err(io_error("list", &dir))?.path();
            let Some(name) = file.file_name().and_then(|n| n.to_str()) else { continue };
            let Some(of) = name.strip_suffix(".new").unwrap_or(name).strip_suffix(ENDING) else { continue };
            let Some((Ok(number), Ok(rid))) = of.split_once('-').map(|(n, r)| (n.parse(), r.parse::<i64>()))
            else {
                continue;
            };
            // Somebody who puts a run there has it locked.
            let Ok(_lock) = RunLock::acquire(&run_dir(&self.root, number)) else { continue };
            let is_known: bool = self
                .conn
                .query_row(
                    "SELECT EXISTS (SELECT 1 FROM runs WHERE rid = ?1 AND number = ?2 AND cold IS NOT NULL)",
                    params![rid, number],
                    |r| r.get(0),
                )
                .map_err(reading(&self.db))?;
            if !is_known || name.ends_with(".new") {
                fs::remove_file(&file).map_err(io_error("remove", &file))?;
            }
        }
        Ok(())
    }
}

/// Puts a run's records back into the common database, within a transaction. What is returned is to be removed
/// after it.
pub(super) fn bring_back(tx: &Connection, db: &Path, run: RunId) -> Result<Option<PathBuf>, StoreError> {
    let Some(place) = find(tx, db, run)? else { return Ok(None) };
    let path = place.path(db);
    let conn = unpack(&path)?;
    for (table, key) in OF_RUNS {
        copy(&conn, &path, tx, table, key.condition(place.rid))?;
    }
    tx.execute("UPDATE runs SET cold = NULL WHERE rid = ?1", [place.rid]).map_err(writing(db))?;
    Ok(Some(path))
}

/// Removes a file that no row speaks of any more.
pub(super) fn remove(file: Option<PathBuf>) {
    if let Some(file) = file {
        // Otherwise the next `compact` does.
        drop(fs::remove_file(file));
    }
}

/// The names of a table's columns.
pub(super) fn columns(conn: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached("SELECT name FROM pragma_table_info(?1)")?.query_map([table], |r| r.get(0))?.collect()
}

/// Keeps others from working on a run.
pub(super) fn lock(run_dir: &Path, run: RunId) -> Result<RunLock, StoreError> {
    RunLock::acquire(run_dir).map_err(|e| match e {
        LockError::Held { pid } => StoreError::RunAlive { run, pid },
        LockError::Store(e) => e,
    })
}

/// Copies rows between databases of the same version.
pub(super) fn copy(
    from: &Connection,
    from_path: &Path,
    to: &Connection,
    table: &str,
    (condition, bounds): (&str, [i64; 2]),
) -> Result<(), StoreError> {
    let get = reading(from_path);
    let columns = columns(from, table).map_err(&get)?;
    let (names, marks) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
    let mut insert = to
        .prepare_cached(&format!("INSERT INTO {table} ({names}) VALUES ({marks})"))
        .map_err(writing(from_path))?;
    let mut found =
        from.prepare_cached(&format!("SELECT {names} FROM {table} WHERE {condition}")).map_err(&get)?;
    let mut list = found.query(bounds).map_err(&get)?;
    while let Some(row) = list.next().map_err(&get)? {
        for at in 0..columns.len() {
            let value = ToSqlOutput::Borrowed(row.get_ref(at).map_err(&get)?);
            insert.raw_bind_parameter(at + 1, value).map_err(writing(from_path))?;
        }
        insert.raw_execute().map_err(writing(from_path))?;
    }
    Ok(())
}

/// A run's own row, and how many rows there are of it in each table.
pub(super) type Stamp = (Vec<Value>, Vec<i64>);

/// What tells whether anything of a run was changed.
pub(super) fn stamp(conn: &Connection, db: &Path, rid: i64) -> Result<Stamp, StoreError> {
    let get = reading(db);
    let row = conn
        .prepare_cached("SELECT * FROM runs WHERE rid = ?1")
        .and_then(|mut s| {
            let columns = s.column_count();
            s.query_row([rid], |r| (0..columns).map(|at| r.get(at)).collect())
        })
        .map_err(&get)?;
    let count = |(table, key): (&str, Key)| {
        let (condition, bounds) = key.condition(rid);
        conn.prepare_cached(&format!("SELECT count(*) FROM {table} WHERE {condition}"))
            .and_then(|mut s| s.query_row(bounds, |r| r.get(0)))
            .map_err(&get)
    };
    Ok((row, OF_RUNS.into_iter().map(count).collect::<Result<_, _>>()?))
}

/// Writes a database as a file of the cold tier, and reads it once before it is all there is; it is durable when this
/// returns. Says how long the file is.
pub(super) fn pack(made: &mut Connection, path: &Path) -> Result<u64, StoreError> {
    let whole = made.serialize(rusqlite::MAIN_DB).map_err(reading(path))?;
    let dir = path.parent().expect("it is a file of the tier");
    let is_new = !dir.exists();
    fs::create_dir_all(dir).map_err(io_error("make", dir))?;
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    let write = || -> io::Result<u64> {
        let mut packed = zstd::Encoder::new(File::create(&new)?, LEVEL)?;
        packed.include_checksum(true)?;
        packed.set_pledged_src_size(Some(whole.len() as u64))?;
        packed.write_all(&whole)?;
        let file = packed.finish()?;
        file.sync_all()?;
        file.metadata().map(|m| m.len())
    };
    let bytes = write().map_err(io_error("write", &new))?;
    let again = File::open(&new).and_then(zstd::decode_all).map_err(io_error("read", &new))?;
    if again != *whole {
        return Err(damaged(&new, "it is not what was written".to_owned()));
    }
    fs::rename(&new, path).map_err(io_error("write", path))?;
    for dir in [Some(dir), dir.parent().filter(|_| is_new)].into_iter().flatten() {
        File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))?;
    }
    Ok(bytes)
}

/// A file of the cold tier as a database in memory, of the version of today.
pub(super) fn unpack(path: &Path) -> Result<Connection, StoreError> {
    let whole = match File::open(path) {
        Ok(file) => {
            zstd::decode_all(file).map_err(|e| damaged(path, format!("it cannot be unpacked: {e}")))?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(path, "it is not there".to_owned()));
        }
        Err(source) => return Err(io_error("open", path)(source)),
    };
    let get = reading(path);
    let mut conn = Connection::open_in_memory().map_err(&get)?;
    conn.deserialize_read_exact(rusqlite::MAIN_DB, whole.as_slice(), whole.len(), false).map_err(&get)?;
    open::migrate(&mut conn, path)?;
    Ok(conn)
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), what, todo: TODO }
}
