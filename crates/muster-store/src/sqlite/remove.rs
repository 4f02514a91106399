//! Taking away runs and files of runs.
//!
//! ```text
//!   one transaction: the rows go, and it is written down which files are still to go
//!   the files get other names, under which nobody looks for them, and only these are still written down
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
use crate::crc::crc32;
use crate::error::StoreError;
use crate::lock::{LockError, RunLock};
use crate::segment::{self, io_error};
use crate::types::{Extent, LabKey, Leftover, Removal, Removed};
use muster_core::id::RunId;
use muster_core::note::{Note, NoteKind, Spot};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

const LOCK: &str = "removals.lock";
/// Longest name that is kept as a part of another.
const NAME_BYTES_MAX: usize = 200;

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

    /// Goes past what cannot be taken away now, and tells the first failure in the end.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        if self.pending()?.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        let lock = self.lock_removals()?;
        for (seq, files) in self.pending()? {
            let mut left = Vec::new();
            for file in &files {
                match set_aside(file, seq) {
                    Ok(rest) => left.extend(rest),
                    Err(e) => {
                        left.push(file.clone());
                        failure.get_or_insert(e);
                    }
                }
            }
            if left != files {
                self.write_down(seq, &left)?;
            }
        }
        drop(lock);
        // The names are free now, so that this may take its time.
        for (seq, files) in self.pending()? {
            let mut done = Vec::new();
            let mut is_complete = true;
            for file in files {
                let gone = match &file {
                    Leftover::Tree(path) if is_trash(path, seq) => remove_tree(path),
                    // It is not empty before what is in it has gone.
                    Leftover::Empty(path) if is_complete => remove_empty(path),
                    Leftover::Tree(_) | Leftover::Link(_) | Leftover::Empty(_) | Leftover::Hollow(..) => {
                        is_complete = false;
                        continue;
                    }
                };
                match gone {
                    Ok(()) => done.push(file),
                    Err(e) => {
                        is_complete = false;
                        failure.get_or_insert(e);
                    }
                }
            }
            self.strike_out(seq, &done)?;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether something that is still to go lies in the directory of the run of this number.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn is_to_lose_files(&self, number: u32) -> Result<bool, StoreError> {
        let dir = run_dir(&self.root, number);
        let is_in_it = |seq, file: &Leftover| match file {
            Leftover::Tree(path) => path.starts_with(&dir) && !is_trash(path, seq),
            Leftover::Link(_) | Leftover::Empty(_) | Leftover::Hollow(..) => false,
        };
        Ok(self.pending()?.iter().any(|(seq, files)| files.iter().any(|file| is_in_it(*seq, file))))
    }

    /// What is still to go, by removal.
    fn pending(&self) -> Result<Vec<(i64, Vec<Leftover>)>, StoreError> {
        let get = reading(&self.db);
        let sql = "SELECT seq, files FROM removed WHERE files IS NOT NULL ORDER BY seq";
        let mut found = self.conn.prepare_cached(sql).map_err(&get)?;
        let mut list = found.query([]).map_err(&get)?;
        let mut pending = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let body = row.get_ref(1).map_err(&get)?.as_blob().map_err(|e| get(e.into()))?;
            let files = decode_named(&self.db, "files that are to go", body)?;
            pending.push((row.get(0).map_err(&get)?, files));
        }
        Ok(pending)
    }

    /// Strikes out what has gone; others may have done so too.
    fn strike_out(&self, seq: i64, done: &[Leftover]) -> Result<(), StoreError> {
        if done.is_empty() {
            return Ok(());
        }
        let done: HashSet<&Leftover> = done.iter().collect();
        let _lock = self.lock_removals()?;
        let Some((_, mut left)) = self.pending()?.into_iter().find(|(known, _)| *known == seq) else {
            return Ok(());
        };
        left.retain(|file| !done.contains(file));
        self.write_down(seq, &left)
    }

    fn write_down(&self, seq: i64, left: &[Leftover]) -> Result<(), StoreError> {
        let mut buf = Vec::new();
        encode_named(&mut buf, "files that are to go", &left)?;
        let body = (!left.is_empty()).then_some(buf);
        self.conn
            .execute("UPDATE removed SET files = ?2 WHERE seq = ?1", params![seq, body])
            .map_err(writing(&self.db))
            .map(drop)
    }

    /// Held by whoever moves files out of the way or writes down what is left.
    fn lock_removals(&self) -> Result<File, StoreError> {
        let path = self.root.join(LOCK);
        let mut open = OpenOptions::new();
        let file = open.write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(io_error("open", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(file)
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

/// Takes a file away at once, or to where nobody looks for it: then that is what is left. One that is not there any
/// more is no failure.
fn set_aside(file: &Leftover, seq: i64) -> Result<Option<Leftover>, StoreError> {
    let (path, done) = match file {
        Leftover::Tree(path) if is_trash(path, seq) => return Ok(Some(file.clone())),
        Leftover::Empty(_) => return Ok(Some(file.clone())),
        Leftover::Tree(path) => (path, move_away(path, seq).map(|trash| Some(Leftover::Tree(trash)))),
        Leftover::Link(path) => (path, remove_link(path).map(|()| None)),
        Leftover::Hollow(path, len) => (path, hollow(path, *len).map(|()| None)),
    };
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map_err(io_error("remove", path)),
    }
}

fn move_away(path: &Path, seq: i64) -> io::Result<PathBuf> {
    let trash = trash_of(path, seq);
    // It was cut off right after this: what is there now is somebody else's.
    if fs::symlink_metadata(&trash).is_err() {
        fs::rename(path, &trash)?;
    }
    Ok(trash)
}

/// What it is called from when it is taken away until it is gone, beside its place.
fn trash_of(path: &Path, seq: i64) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut trash = OsString::from(trash_prefix(seq));
    // Limit: a name has 255 bytes at most.
    match name.len() <= NAME_BYTES_MAX {
        true => trash.push(name),
        false => trash.push(format!("{:08x}", crc32(name.as_bytes()))),
    }
    path.with_file_name(trash)
}

fn is_trash(path: &Path, seq: i64) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(trash_prefix(seq).as_bytes()))
}

fn trash_prefix(seq: i64) -> String {
    format!(".removed-{seq}-")
}

fn remove_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_symlink() {
        true => fs::remove_file(path),
        false => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let done = fs::symlink_metadata(path).and_then(|found| match found.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    });
    match done {
        // Somebody else finishes the same removal just now.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(io_error("remove", path)),
    }
}

fn remove_empty(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir(path) {
        // Something else is in it, or it is gone.
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
        done => done.map_err(io_error("remove", path)),
    }
}

/// Gives back what the first bytes of a file take on the disk. What is appended meanwhile stays.
fn hollow(path: &Path, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    match fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, len) {
        // Where the file system cannot, it stays: nothing shows it any more.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        done => done?,
    }
    file.sync_all()
}
