//! Making, opening and migrating the database file.
//!
//! A new database is made whole under another name and then linked into place, so that no crash leaves a
//! half-made one and two processes may both try. Opening an existing one reads its version and nothing
//! else: it has to take a millisecond.

use super::error::database;
use super::{BUSY_TIMEOUT, rows};
use crate::error::StoreError;
use crate::file_system::FileSystem;
use crate::segment::io_error;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) const FILE: &str = "muster.db";
/// `MUST`, so that `file` can tell.
const APPLICATION_ID: i32 = 0x4d55_5354;
/// One for each version of the schema, applied in turn.
const MIGRATIONS: [&str; 13] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
    include_str!("migrations/0013.sql"),
];
/// The version this program writes.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Memory for pages, in KiB: enough that the run under way stays in it.
const CACHE_KIB: i64 = 16 << 10;
/// Pages in the write-ahead log before it is written back. Larger than the default of 1,000: the pages of
/// a run under way are appended to, and each copy back costs two syncs.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Opens the database in `root`, making both where needed.
pub(super) fn open(root: &Path) -> Result<Connection, StoreError> {
    let db = root.join(FILE);
    if !db.exists() {
        let kind = FileSystem::of(root);
        create(root, &db, !matches!(kind, Some(FileSystem::Network(_))))?;
    }
    let mut conn = connect(&db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let err = database("open", &db);
    conn.pragma_update(None, "synchronous", "FULL").map_err(&err)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(&err)?;
    migrate(&mut conn, &db)?;
    Ok(conn)
}

/// Opens an existing database for reading.
pub(super) fn open_to_read(root: &Path) -> Result<Connection, StoreError> {
    let db = root.join(FILE);
    if !db.exists() {
        return Err(StoreError::NoStore { path: root.to_owned() });
    }
    // A reader of a write-ahead log may have to make or mend its index, so it asks to write where it may.
    let conn = connect(&db, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .or_else(|_| connect(&db, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    conn.pragma_update(None, "query_only", true).map_err(database("open", &db))?;
    match version(&conn, &db)? {
        VERSION => Ok(conn),
        found if found > VERSION => Err(too_new(&db, found)),
        // A database of an older version is migrated by whoever writes next; until then, do so for it.
        _ => {
            drop(open(root)?);
            open_to_read(root)
        }
    }
}

fn connect(db: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    let err = database("open", db);
    let conn = Connection::open_with_flags(db, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(&err)?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(&err)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB).map_err(&err)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Read at once, so that a file that is no database is found out here.
    version(&conn, db)?;
    Ok(conn)
}

fn version(conn: &Connection, db: &Path) -> Result<u32, StoreError> {
    conn.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(database("open", db))
}

fn too_new(db: &Path, found: u32) -> StoreError {
    StoreError::TooNew { path: db.to_owned(), found, known: VERSION }
}

/// An empty database of this version that is in no file.
pub(super) fn in_memory() -> rusqlite::Result<Connection> {
    let conn = Connection::open_in_memory()?;
    apply(&conn, 0)?;
    Ok(conn)
}

/// Brings a database to this version.
pub(super) fn migrate(conn: &mut Connection, db: &Path) -> Result<(), StoreError> {
    match version(conn, db)? {
        VERSION => return Ok(()),
        found if found > VERSION => return Err(too_new(db, found)),
        _ => {}
    }
    let err = database("migrate", db);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
    // Another process may have been faster.
    let found = version(&tx, db)?;
    if found == 0 {
        // Ours are never without a version: they come into place whole.
        let tables: i64 =
            tx.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(&err)?;
        let what = if tables > 0 { "it is another program's database" } else { "it is empty" };
        return Err(rows::damaged(db, what.to_owned()));
    }
    apply(&tx, found).map_err(&err)?;
    tx.commit().map_err(&err)
}

fn apply(conn: &Connection, from: u32) -> rusqlite::Result<()> {
    for sql in MIGRATIONS.iter().skip(from as usize) {
        conn.execute_batch(sql)?;
    }
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", VERSION)
}

pub(super) fn create(root: &Path, db: &Path, wal: bool) -> Result<(), StoreError> {
    fs::create_dir_all(root).map_err(io_error("make", root))?;
    let ignore = root.join(".gitignore");
    if !ignore.exists() {
        fs::write(&ignore, "*\n").map_err(io_error("write", &ignore))?;
    }
    let made = make(root, wal)?;
    let linked = match fs::hard_link(&made, db) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Some file systems have no hard links. Two who make the first database there at once are a
        // case for nobody.
        Err(e) if e.kind() != io::ErrorKind::NotFound => fs::rename(&made, db),
        other => other,
    };
    if made.exists() {
        fs::remove_file(&made).map_err(io_error("remove", &made))?;
    }
    linked.map_err(io_error("make", db))?;
    for dir in [Some(root), root.parent()].into_iter().flatten() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))?;
    }
    Ok(())
}

/// A whole, durable, empty database under a name of its own.
fn make(root: &Path, wal: bool) -> Result<PathBuf, StoreError> {
    static NTH: AtomicU32 = AtomicU32::new(0);
    let nth = NTH.fetch_add(1, Ordering::Relaxed);
    let made = root.join(format!("{FILE}.{}.{nth}.new", std::process::id()));
    let build = || -> rusqlite::Result<()> {
        let conn = Connection::open(&made)?;
        // Nobody sees this file until it is complete and synced as a whole.
        conn.pragma_update(None, "synchronous", "OFF")?;
        conn.pragma_update(None, "journal_mode", "MEMORY")?;
        conn.execute_batch("BEGIN")?;
        apply(&conn, 0)?;
        conn.execute_batch("COMMIT")?;
        let mode = if wal { "WAL" } else { "TRUNCATE" };
        conn.pragma_update(None, "journal_mode", mode)?;
        conn.close().map_err(|(_, e)| e)
    };
    if made.exists() {
        fs::remove_file(&made).map_err(io_error("remove", &made))?;
    }
    build().map_err(database("make", &made))?;
    File::open(&made).and_then(|f| f.sync_all()).map_err(io_error("sync", &made))?;
    Ok(made)
}
