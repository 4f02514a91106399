//! Taking away runs and files of runs.
//!
//! ```text
//!   one transaction: the rows go, and it is written down which files are still to go
//!   the files go
//!   what was written down is struck out
//! ```
//!
//! What a process that is killed has left undone, the next that opens the records does. Nothing is ever found by
//! looking: only what was written down goes.

use super::care::void_sent;
use super::commit::insert_note;
use super::error::{reading, writing};
use super::read::Reader;
use super::rows::{decode_named, encode_named};
use super::{Sqlite, cold, run_dir};
use crate::error::StoreError;
use crate::lock::{LockError, RunLock};
use crate::segment::{self, io_error};
use crate::types::{Extent, LabKey, Leftover, Removal, Removed};
use muster_core::id::RunId;
use muster_core::note::{Note, NoteKind, Spot};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

impl Sqlite {
    pub(super) fn remove(&mut self, run: RunId, removal: &Removal) -> Result<(), StoreError> {
        let Removal { by, at, reason, extent, files } = removal;
        let number = self.number(run)?;
        let dir = run_dir(&self.root, number);
        // Nobody takes the run up meanwhile; who does so later finishes this first.
        let _lock = RunLock::acquire(&dir).map_err(|e| match e {
            LockError::Held { pid } => StoreError::RunAlive { run, pid },
            LockError::Store(e) => e,
        })?;
        self.cache.runs.remove(&run);
        self.cache.sent = None;
        let mut left = files.clone();
        match extent {
            Extent::Run => left.push(Leftover::Tree(dir)),
            Extent::Files => left.extend(files_in(&dir)?),
            Extent::FilesOf(_) => {}
        }
        let err = writing(&self.db);
        let mut buf = Vec::new();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        let reader = Reader { conn: &tx, db: &self.db };
        reader.must_be_open(run)?;
        let (rid, head) = reader.head(run)?;
        let mut note = |on: Option<Spot>| {
            let what = NoteKind::FilesRemoved { on };
            let note = Note { by: by.clone(), at: *at, text: reason.clone(), what };
            insert_note(&tx, &self.db, &mut buf, rid, &note)
        };
        let file = match extent {
            Extent::Run => cold::find(&tx, &self.db, run)?.map(|place| place.path(&self.db)),
            Extent::Files | Extent::FilesOf(_) => cold::bring_back(&tx, &self.db, run)?,
        };
        match extent {
            Extent::Run => delete_rows(&tx, &self.db, rid, run)?,
            Extent::Files => note(None)?,
            Extent::FilesOf(spots) => spots.iter().cloned().try_for_each(|on| note(Some(on)))?,
        }
        let removed = Removed { name: head.name, by: by.clone(), at: *at, reason: reason.clone() };
        encode_named(&mut buf, "a removal", &removed)?;
        let body = buf.clone();
        encode_named(&mut buf, "files that are to go", &left)?;
        tx.execute(
            "INSERT INTO removed (area, number, whole, body, files) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![head.area, number, matches!(extent, Extent::Run), body, buf],
        )
        .map_err(&err)?;
        tx.commit().map_err(&err)?;
        cold::remove(file);
        Ok(())
    }

    /// Takes the files of a removal away, and strikes it out.
    fn carry_out(&self, seq: i64, files: &[Leftover]) -> Result<(), StoreError> {
        for (nth, file) in files.iter().enumerate() {
            take_away(file, &format!(".removed-{seq}-{nth}"))?;
        }
        self.conn
            .execute("UPDATE removed SET files = NULL WHERE seq = ?1", [seq])
            .map_err(writing(&self.db))
            .map(drop)
    }

    pub(super) fn finish(&self) -> Result<(), StoreError> {
        let get = reading(&self.db);
        let mut pending: Vec<(i64, Vec<Leftover>)> = Vec::new();
        {
            let sql = "SELECT seq, files FROM removed WHERE files IS NOT NULL ORDER BY seq";
            let mut found = self.conn.prepare_cached(sql).map_err(&get)?;
            let mut list = found.query([]).map_err(&get)?;
            while let Some(row) = list.next().map_err(&get)? {
                let body = row.get_ref(1).map_err(&get)?.as_blob().map_err(|e| get(e.into()))?;
                let files = decode_named(&self.db, "files that are to go", body)?;
                pending.push((row.get(0).map_err(&get)?, files));
            }
        }
        for (seq, files) in pending {
            self.carry_out(seq, &files)?;
        }
        Ok(())
    }

    pub(super) fn removed(&self, area: &str, number: u32) -> Result<Option<Removed>, StoreError> {
        let sql = "SELECT body FROM removed WHERE whole = 1 AND number = ?2 AND area = ?1 ORDER BY seq DESC";
        let found: Option<Vec<u8>> = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params![area, number], |r| r.get(0)).optional())
            .map_err(reading(&self.db))?;
        found.map(|body| decode_named(&self.db, "a removal", &body)).transpose()
    }

    /// Whether a run of this number was removed.
    pub(super) fn was_removed(&self, number: u32) -> Result<bool, StoreError> {
        self.conn
            .prepare_cached("SELECT 1 FROM removed WHERE whole = 1 AND number = ?1")
            .and_then(|mut s| s.exists([number]))
            .map_err(reading(&self.db))
    }
}

fn delete_rows(conn: &Connection, db: &Path, rid: i64, run: RunId) -> Result<(), StoreError> {
    let err = writing(db);
    let lab =
        conn.query_row("SELECT lab FROM runs WHERE rid = ?1", [rid], |r| r.get::<_, i64>(0)).map_err(&err)?;
    void_sent(conn, db, LabKey(lab.cast_unsigned()), run)?;
    for (table, key) in cold::OF_RUNS.into_iter().chain([("runs", cold::Key::Rid)]) {
        let (condition, bounds) = key.condition(rid);
        conn.execute(&format!("DELETE FROM {table} WHERE {condition}"), bounds).map_err(&err)?;
    }
    Ok(())
}

/// What a run's directory holds beside its lock.
fn files_in(dir: &Path) -> Result<Vec<Leftover>, StoreError> {
    let io = || io_error("list", dir);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(io())? {
        let path = entry.map_err(io())?.path();
        match path.file_name().and_then(|n| n.to_str()) {
            Some(RunLock::FILE) => {}
            // Rows refer to places in it, also those of attempts that are still to come.
            Some(segment::FILE) => {
                let len = fs::metadata(&path).map_err(io_error("measure", &path))?.len();
                files.push(Leftover::Hollow(path, len));
            }
            _ => files.push(Leftover::Tree(path)),
        }
    }
    Ok(files)
}

/// Takes a file away; one that is not there any more is no failure. A directory is first given another name, under
/// which nobody looks for it.
fn take_away(file: &Leftover, trash: &str) -> Result<(), StoreError> {
    let done = match file {
        Leftover::Tree(path) => remove_tree(path, &path.with_file_name(trash)).map_err(|e| (path, e)),
        Leftover::Link(path) => match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => fs::remove_file(path).map_err(|e| (path, e)),
            Ok(_) => Ok(()),
            Err(e) => Err((path, e)),
        },
        Leftover::Empty(path) => match fs::remove_dir(path) {
            // Something else is in it.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => done.map_err(|e| (path, e)),
        },
        Leftover::Hollow(path, len) => hollow(path, *len).map_err(|e| (path, e)),
    };
    match done {
        Err((path, e)) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(e)),
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path, trash: &Path) -> io::Result<()> {
    gone(fs::remove_dir_all(trash))?;
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            gone(fs::rename(path, trash))?;
            gone(fs::remove_dir_all(trash))
        }
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    }
}

/// Somebody else may finish the same removal just now.
fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn hollow(path: &Path, len: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    // What was appended since is another attempt's.
    if file.metadata()?.len() > len {
        return Ok(());
    }
    file.set_len(0)?;
    file.set_len(len)?;
    file.sync_all()
}
