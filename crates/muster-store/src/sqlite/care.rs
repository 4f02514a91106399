//! Taking over, compacting, checking.

use super::error::{reading, writing};
use super::read::{Reader, find_rid};
use super::rows::{self, decode};
use super::{Sqlite, cold, output};
use crate::error::StoreError;
use crate::layout::outline;
use crate::lock::RunLock;
use crate::segment::io_error;
use crate::store::Store as _;
use crate::types::{Fault, ItemFilter, LabKey};
use muster_core::attempt::Output;
use muster_core::change::{RunSnapshot, SentUnit};
use muster_core::id::RunId;
use muster_core::note::NoteKind;
use muster_core::outcome::Counts;
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::Path;

impl Sqlite {
    pub(super) fn adopt(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        let err = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        let left = cold::bring_back(&tx, &self.db, run)?;
        let reader = Reader { conn: &tx, db: &self.db };
        let loaded = reader.run(run)?;
        reader.must_be_open(run)?;
        if loaded.lab != self.lab {
            let former = loaded.lab.0.cast_signed();
            tx.execute(
                "UPDATE runs SET lab = ?2 WHERE rid = ?1",
                params![loaded.rid, self.lab.0.cast_signed()],
            )
            .map_err(&err)?;
            let active: i64 = tx
                .query_row("SELECT count(*) FROM runs WHERE lab = ?1 AND state = 0", [former], |r| r.get(0))
                .map_err(&err)?;
            match active {
                0 => forget_lab(&tx, loaded.lab).map_err(&err)?,
                _ => void_sent(&tx, &self.db, loaded.lab, run)?,
            }
        }
        let snapshot = reader.snapshot_of(loaded)?;
        tx.commit().map_err(&err)?;
        cold::remove(left);
        Ok(snapshot)
    }

    pub(super) fn forget(&mut self) -> Result<(), StoreError> {
        self.cache.sent = None;
        self.cache.used = None;
        let err = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        forget_lab(&tx, self.lab).map_err(&err)?;
        tx.commit().map_err(&err)
    }

    pub(super) fn tidy(&mut self) -> Result<(), StoreError> {
        let err = writing(&self.db);
        // Embedded labs whose process ended without a word: all their runs are over.
        let dead: Vec<i64> = {
            let sql = "SELECT DISTINCT lab FROM runs AS r WHERE lab <> ?1
                       AND NOT EXISTS (SELECT 1 FROM runs WHERE lab = r.lab AND state = 0)";
            let mut found = self.conn.prepare(sql).map_err(&err)?;
            let list = found.query_map([self.lab.0.cast_signed()], |r| r.get(0)).map_err(&err)?;
            list.collect::<Result<_, _>>().map_err(&err)?
        };
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        for lab in dead {
            forget_lab(&tx, LabKey(lab.cast_unsigned())).map_err(&err)?;
        }
        tx.commit().map_err(&err)?;
        self.remove_stray_files()?;
        self.remove_stray_dirs()?;
        self.conn.execute_batch("VACUUM").map_err(&err)?;
        self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(&err)
    }

    /// Directories of runs that were never recorded, or were deleted.
    fn remove_stray_dirs(&self) -> Result<(), StoreError> {
        let runs = self.root.join(super::RUNS);
        let Ok(list) = std::fs::read_dir(&runs) else { return Ok(()) };
        for entry in list {
            let dir = entry.map_err(io_error("list", &runs))?.path();
            let number: Option<u32> = dir.file_name().and_then(|n| n.to_str()?.parse().ok());
            let Some(number) = number else { continue };
            // Locked first: a run that is about to be recorded is being executed already.
            let Ok(_lock) = RunLock::acquire(&dir) else { continue };
            let known: bool = self
                .conn
                .query_row("SELECT EXISTS (SELECT 1 FROM runs WHERE number = ?1)", [number], |r| r.get(0))
                .map_err(reading(&self.db))?;
            if !known {
                std::fs::remove_dir_all(&dir).map_err(io_error("remove", &dir))?;
            }
        }
        Ok(())
    }

    pub(super) fn find_faults(&mut self) -> Result<Vec<Fault>, StoreError> {
        let db_place = self.db.display().to_string();
        let mut faults = Vec::new();
        let said: Vec<String> = {
            let err = reading(&self.db);
            let mut check = self.conn.prepare("PRAGMA integrity_check(20)").map_err(&err)?;
            let list = check.query_map([], |r| r.get(0)).map_err(&err)?;
            list.collect::<Result<_, _>>().map_err(&err)?
        };
        let said = said.into_iter().filter(|s| s != "ok");
        faults.extend(said.map(|what| Fault { place: db_place.clone(), what }));
        let runs = Reader { conn: &self.conn, db: &self.db }.run_ids("ORDER BY id", [])?;
        for run in runs {
            if let Err(error) = self.check_run(run, &mut faults) {
                faults.push(Fault { place: db_place.clone(), what: format!("{run}: {error}") });
            }
        }
        Ok(faults)
    }

    fn check_run(&mut self, run: RunId, faults: &mut Vec<Fault>) -> Result<(), StoreError> {
        let view = self.load_run(run, ItemFilter::All)?;
        let mut counts = Counts::default();
        for test in &view.tests {
            for (verdict, n) in muster_core::outcome::Verdict::ALL.map(|v| (v, test.counts.get(v))) {
                counts.add_many(verdict, n);
            }
        }
        let place = view.address();
        if counts != view.counts {
            let what = "its kept counts are not those of its items".to_owned();
            faults.push(Fault { place: place.clone(), what });
        }
        let snapshot = self.load_run_snapshot(run)?;
        let planned = outline(&snapshot.record, &snapshot.expansions);
        let (rid, _) = find_rid(&self.conn, &self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let kept = self.reading_run(run, |r| r.outline(rid))?;
        let mut bytes = (Vec::new(), Vec::new());
        rows::encode(&mut bytes.0, "an outline", &planned)?;
        rows::encode(&mut bytes.1, "an outline", &kept.outline(&self.db)?)?;
        if bytes.0 != bytes.1 {
            let what = "its outline is not that of its plan".to_owned();
            faults.push(Fault { place: place.clone(), what });
        }
        let bad = view.all_items().filter(|(_, i)| i.verdict.is_some_and(|v| !v.is_ok())).count();
        if self.list_failures(run)?.len() != bad {
            let what = "its index of failures does not list its failures".to_owned();
            faults.push(Fault { place: place.clone(), what });
        }
        for (test, item) in view.all_items() {
            // What was taken away is not missed.
            let gone = view.said.notes.iter().any(|n| match &n.what {
                NoteKind::FilesRemoved { on: None } => true,
                NoteKind::FilesRemoved { on: Some(on) } => on.test == test.name && on.item == item.path,
                _ => false,
            });
            for attempt in item.attempts.iter().filter(|_| !gone) {
                let read = match &attempt.result.output {
                    kept @ (Output::Segment { .. } | Output::File { .. }) => {
                        output::read(&self.root, view.number, kept).err()
                    }
                    Output::None | Output::Inline(_) => None,
                };
                if let Some(error) = read {
                    let place = format!("{place}/{}/{}#{}", test.name, item.path, attempt.number);
                    faults.push(Fault { place, what: error.to_string() });
                }
            }
        }
        Ok(())
    }
}

/// Forgets all of a lab but its runs.
fn forget_lab(conn: &Connection, lab: LabKey) -> rusqlite::Result<()> {
    for table in ["labs", "agents", "leases", "sent", "holds", "health", "registered", "happened"] {
        conn.execute(&format!("DELETE FROM {table} WHERE lab = ?1"), [lab.0.cast_signed()])?;
    }
    Ok(())
}

/// Takes a run's units out of what a lab has sent.
pub(super) fn void_sent(conn: &Connection, db: &Path, lab: LabKey, run: RunId) -> Result<(), StoreError> {
    let (read, write, lab) = (reading(db), writing(db), lab.0.cast_signed());
    let mut found = conn.prepare("SELECT lease, seq, units FROM sent WHERE lab = ?1").map_err(&read)?;
    let mut list = found.query([lab]).map_err(&read)?;
    let mut changed = Vec::new();
    while let Some(row) = list.next().map_err(&read)? {
        let body = row.get_ref(2).map_err(&read)?.as_blob().map_err(|e| read(e.into()))?;
        let mut units: Vec<SentUnit> = decode(db, "what was sent", body)?;
        let before = units.len();
        units.retain(|u| u.run != run);
        if units.len() < before {
            let place: (i64, i64) = (row.get(0).map_err(&read)?, row.get(1).map_err(&read)?);
            changed.push((place, units));
        }
    }
    let mut buf = Vec::new();
    for ((lease, seq), units) in changed {
        rows::encode(&mut buf, "what was sent", &units)?;
        conn.execute(
            "UPDATE sent SET units = ?4 WHERE lab = ?1 AND lease = ?2 AND seq = ?3",
            params![lab, lease, seq, buf],
        )
        .map_err(&write)?;
    }
    Ok(())
}
