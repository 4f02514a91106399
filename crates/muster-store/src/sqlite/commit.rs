//! One transaction for a list of changes.

use super::error::{reading, writing};
use super::live::{Cache, Live, Sent, SentRow, is_bad, key, load_used};
use super::read::{Reader, find_rid, load_live, load_sent};
use super::rows::{self, OutputRef, encode, encode_attempt, encode_counts, encode_named, verdict_code};
use super::{Sqlite, cold, plan_blob, run_dir};
use crate::error::StoreError;
use crate::layout::{FoundOutline, Outline, is_same_run, outline};
use crate::segment::Segment;
use crate::types::LabKey;
use muster_core::attempt::{AttemptResult, Output};
use muster_core::change::{
    Change, Expansion, FoundAgain, ItemRecord, RunPhase, RunRecord, RunSpec, SentUnit, Used,
};
use muster_core::id::{AttemptRef, ItemIx, LeaseId, RunId};
use muster_core::inputs::Inputs;
use muster_core::note::Note;
use muster_core::plan::Plan;
use rusqlite::{CachedStatement, Connection, ErrorCode, Transaction, TransactionBehavior, params};
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Outputs up to this many bytes stay in the row; longer ones go to the run's segment file.
const ROW_OUTPUT_BYTES_MAX: usize = 1024;

/// What happened in labs that is kept: of a busy one some weeks.
// Limit: some 20 MB.
const HAPPENED_MAX: i64 = 100_000;
/// How often the oldest of it goes.
const HAPPENED_SWEEP: i64 = 1_000;

impl Sqlite {
    pub(super) fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let done = self.try_write(changes);
        if done.is_err() {
            // The transaction is undone by now, and what is remembered may be ahead of it.
            self.cache = Cache::default();
        }
        done
    }

    fn try_write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let err = writing(&self.db);
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&err)?;
        let mut writer = Writer {
            tx: &tx,
            root: &self.root,
            db: &self.db,
            lab: self.lab,
            cache: &mut self.cache,
            buf: &mut self.buf,
            insert_record: None,
            used: None,
            touched: Vec::new(),
            over: Vec::new(),
            left: Vec::new(),
        };
        for change in changes {
            writer.change(change)?;
        }
        let left = std::mem::take(&mut writer.left);
        let over = writer.finish()?;
        tx.commit().map_err(&err)?;
        left.into_iter().for_each(|file| cold::remove(Some(file)));
        for run in over {
            self.cache.runs.remove(&run);
        }
        Ok(())
    }
}

struct Writer<'a> {
    tx: &'a Transaction<'a>,
    root: &'a Path,
    db: &'a Path,
    lab: LabKey,
    cache: &'a mut Cache,
    buf: &'a mut Vec<u8>,
    /// Kept over the whole list: by far the most of it are results.
    insert_record: Option<CachedStatement<'a>>,
    /// Counters, once they have changed.
    used: Option<Used>,
    /// Runs that are changed, which are this lab's own.
    touched: Vec<RunId>,
    /// Runs that need not be remembered.
    over: Vec<RunId>,
    /// Files of the cold tier whose runs were brought back, since they are changed.
    left: Vec<PathBuf>,
}

impl Writer<'_> {
    fn change(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::RunCreated(record) => self.create_run(record),
            Change::Expanded(expansion) => self.expand(expansion),
            Change::FoundAgain(again) => self.find_again(again),
            Change::RunReplanned(record) => self.replan(record),
            Change::AttemptEnded { attempt, unit, device, result, record } => {
                let AttemptRef { run, item, attempt: number } = *attempt;
                if self.live(run)?.has(item, number) {
                    return Err(contradiction(run, "an attempt is recorded twice"));
                }
                self.record(run, item, record, Some((number, device, result)))?;
                self.take_sent(*unit, |i, n| (i, n) == (item, number), false)
            }
            Change::ItemSet { run, item, record } => self.record(*run, *item, record, None),
            Change::RunState { run, phase } => self.set_phase(*run, phase),
            Change::RunMoved { run, moved } => {
                let rid = self.live(*run)?.rid;
                encode_named(self.buf, "a move", moved)?;
                self.execute(
                    "INSERT INTO moves (rid, seq, body)
                     SELECT ?1, 1 + coalesce(max(seq), 0), ?2 FROM moves WHERE rid = ?1",
                    params![rid, &*self.buf],
                )
            }
            Change::Noted { run, note } => {
                self.bring_back(*run)?;
                // Whose run it is does not matter: nothing of what its lab knows is changed.
                let (rid, _) =
                    find_rid(self.tx, self.db, *run)?.ok_or(StoreError::UnknownRun { run: *run })?;
                insert_note(self.tx, self.db, self.buf, rid, note)
            }
            Change::AgentSeen { agent, session, host, devices } => {
                if let Some(highest) = devices.iter().map(|(d, _)| *d).max() {
                    self.use_ids(|used| used.device = used.device.max(highest))?;
                }
                encode(self.buf, "devices", devices)?;
                self.execute(
                    "INSERT OR REPLACE INTO agents (lab, agent, session, host, devices)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        self.lab.0.cast_signed(),
                        agent.0.cast_signed(),
                        session.0.cast_signed(),
                        host,
                        &*self.buf
                    ],
                )
            }
            Change::DeviceHeld { device, hold: Some(hold) } => {
                encode_named(self.buf, "a hold", hold)?;
                self.execute(
                    "INSERT OR REPLACE INTO holds (lab, device, body) VALUES (?1, ?2, ?3)",
                    params![self.lab.0.cast_signed(), device.0, &*self.buf],
                )
            }
            Change::DeviceHeld { device, hold: None } => self.execute(
                "DELETE FROM holds WHERE lab = ?1 AND device = ?2",
                params![self.lab.0.cast_signed(), device.0],
            ),
            Change::Registered { host, name, registration: Some(new) } => {
                encode_named(self.buf, "a registration", new)?;
                self.execute(
                    "INSERT OR REPLACE INTO registered (lab, host, name, body) VALUES (?1, ?2, ?3, ?4)",
                    params![self.lab.0.cast_signed(), host, name, &*self.buf],
                )
            }
            Change::Registered { host, name, registration: None } => self.execute(
                "DELETE FROM registered WHERE lab = ?1 AND host = ?2 AND name = ?3",
                params![self.lab.0.cast_signed(), host, name],
            ),
            Change::DeviceHealth { device, health: Some(health) } => {
                encode_named(self.buf, "a device's health", health)?;
                self.execute(
                    "INSERT OR REPLACE INTO health (lab, device, body) VALUES (?1, ?2, ?3)",
                    params![self.lab.0.cast_signed(), device.0, &*self.buf],
                )
            }
            Change::DeviceHealth { device, health: None } => self.execute(
                "DELETE FROM health WHERE lab = ?1 AND device = ?2",
                params![self.lab.0.cast_signed(), device.0],
            ),
            Change::Happened { at, event } => {
                encode_named(self.buf, "what happened", event)?;
                let lab = self.lab.0.cast_signed();
                self.execute(
                    "INSERT INTO happened (lab, at, body) VALUES (?1, ?2, ?3)",
                    params![lab, at.0.cast_signed(), &*self.buf],
                )?;
                let last = self.tx.last_insert_rowid();
                match last % HAPPENED_SWEEP {
                    0 => self.execute("DELETE FROM happened WHERE seq <= ?1", [last - HAPPENED_MAX]),
                    _ => Ok(()),
                }
            }
            Change::LeaseGranted { lease, devices } => {
                self.use_ids(|used| used.lease = used.lease.max(*lease))?;
                let Some((device, others)) = devices.split_first() else { return Ok(()) };
                encode(self.buf, "the devices of a lease", others)?;
                let others = (!others.is_empty()).then_some(&*self.buf);
                self.execute(
                    "INSERT OR REPLACE INTO leases (lab, lease, device, others) VALUES (?1, ?2, ?3, ?4)",
                    params![self.lab.0.cast_signed(), lease.0.cast_signed(), device.0, others],
                )
            }
            Change::LeaseEnded { lease } => {
                self.sent()?.end(*lease);
                let ids = params![self.lab.0.cast_signed(), lease.0.cast_signed()];
                self.execute("DELETE FROM sent WHERE lab = ?1 AND lease = ?2", ids)?;
                self.execute("DELETE FROM leases WHERE lab = ?1 AND lease = ?2", ids)
            }
            Change::Sent { lease, units } => self.send(*lease, units),
            Change::Returned { unit, items } => self.take_sent(*unit, |i, _| items.contains(&i), true),
            Change::LateEvidence { attempt, lease, at, result } => {
                let AttemptRef { run, item, attempt: number } = *attempt;
                self.bring_back(run)?;
                let (rid, number_of_run) =
                    find_rid(self.tx, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
                let output = self.keep_late_output(run, number_of_run, &result.output)?;
                let columns = encode_attempt(self.buf, "", result, output.reference())?;
                self.execute(
                    "INSERT INTO late (rid, seq, item, attempt, lease, at, outcome, nanos, started, body, output,
                                       artifacts)
                     SELECT ?1, 1 + coalesce(max(seq), 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
                     FROM late WHERE rid = ?1",
                    params![
                        rid,
                        item.0,
                        number,
                        lease.0.cast_signed(),
                        at.0.cast_signed(),
                        columns.outcome,
                        columns.nanos,
                        columns.started,
                        &*self.buf,
                        output.row(),
                        columns.artifacts
                    ],
                )
            }
        }
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreError> {
        self.tx.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(writing(self.db)).map(drop)
    }

    /// A run this lab may write to. What is remembered of it is right only as long as nobody else took it
    /// over or deleted it, so that is asked once per transaction.
    fn live(&mut self, run: RunId) -> Result<&mut Live, StoreError> {
        if self.touched.contains(&run) {
            return Ok(self.cache.runs.get_mut(&run).expect("a touched run is remembered"));
        }
        self.bring_back(run)?;
        let live = match self.cache.runs.entry(run) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(load_live(self.tx, self.db, self.lab, run)?),
        };
        let is_own = self
            .tx
            .prepare_cached("SELECT 1 FROM runs WHERE rid = ?1 AND id = ?2 AND lab = ?3")
            .and_then(|mut s| s.exists(params![live.rid, rows::run_id_bytes(run), self.lab.0.cast_signed()]))
            .map_err(reading(self.db))?;
        if !is_own {
            return Err(contradiction(run, "it belongs to another lab or is gone"));
        }
        self.touched.push(run);
        Ok(live)
    }

    /// What is to be changed must not be in the cold tier.
    fn bring_back(&mut self, run: RunId) -> Result<(), StoreError> {
        if let Some(file) = cold::bring_back(self.tx, self.db, run)? {
            self.left.push(file);
            // Somebody else put it there: what is remembered may be of before.
            self.cache.runs.remove(&run);
        }
        Ok(())
    }

    fn sent(&mut self) -> Result<&mut Sent, StoreError> {
        if self.cache.sent.is_none() {
            self.cache.sent = Some(load_sent(self.tx, self.db, self.lab, self.cache)?);
        }
        Ok(self.cache.sent.as_mut().expect("set above"))
    }

    fn use_ids(&mut self, change: impl FnOnce(&mut Used)) -> Result<(), StoreError> {
        let mut used = match self.used.or(self.cache.used) {
            Some(used) => used,
            None => load_used(self.tx, self.db, self.lab)?,
        };
        change(&mut used);
        self.used = Some(used);
        Ok(())
    }

    fn create_run(&mut self, record: &Arc<RunRecord>) -> Result<(), StoreError> {
        let RunRecord { id, number, created, spec, plan } = &**record;
        if find_rid(self.tx, self.db, *id)?.is_some() {
            return Err(contradiction(*id, "it was created before"));
        }
        let outline = outline(record, &[]);
        let mut live = Live::new(0, *number, &outline);
        encode(self.buf, "a target", &spec.target)?;
        let target = self.buf.clone();
        let inputs = self.inputs(spec)?;
        encode_counts(self.buf, &live.counts)?;
        let inserted = self
            .tx
            .prepare_cached(
                "INSERT INTO runs (id, lab, area, number, name, target, host, created, state,
                                   unexpected_pass, items, counts, inputs)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11, ?12)",
            )
            .and_then(|mut s| {
                s.insert(params![
                    rows::run_id_bytes(*id),
                    self.lab.0.cast_signed(),
                    spec.area,
                    number,
                    spec.name,
                    target,
                    spec.host,
                    created.0.cast_signed(),
                    rows::unexpected_code(spec.unexpected_pass),
                    live.items,
                    &*self.buf,
                    inputs
                ])
            });
        live.rid = inserted.map_err(|e| match e.sqlite_error_code() {
            // The id was looked for above.
            Some(ErrorCode::ConstraintViolation) => {
                StoreError::NumberTaken { area: spec.area.clone(), number: *number }
            }
            _ => writing(self.db)(e),
        })?;
        let sql = "INSERT INTO plans (rid, spec, plan, outline, items) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.plan(sql, live.rid, spec, plan, &outline)?;
        self.cache.runs.insert(*id, live);
        self.touched.push(*id);
        Ok(())
    }

    fn expand(&mut self, expansion: &Expansion) -> Result<(), StoreError> {
        let Expansion { run, test, first, groups, items } = expansion;
        let live = self.live(*run)?;
        if first.0 != live.records() {
            return Err(contradiction(*run, "found items do not follow the known ones"));
        }
        if test.0 >= live.tests {
            return Err(contradiction(*run, "items were found for a test it has not"));
        }
        live.append(items.len() as u32);
        let id = key(live.rid, live.expansion_seq);
        live.expansion_seq += 1;
        encode(self.buf, "found items", &(test, first, groups, items))?;
        let body = std::mem::take(self.buf);
        encode(self.buf, "an outline", &FoundOutline::from(expansion))?;
        self.execute(
            "INSERT INTO expansions (id, outline, body) VALUES (?1, ?2, ?3)",
            params![id, &*self.buf, body],
        )
    }

    fn find_again(&mut self, again: &FoundAgain) -> Result<(), StoreError> {
        let FoundAgain { run, test, groups, items } = again;
        let live = self.live(*run)?;
        if test.0 >= live.tests {
            return Err(contradiction(*run, "items were found for a test it has not"));
        }
        let id = key(live.rid, test.0);
        encode(self.buf, "items found again", &(groups, items))?;
        self.execute("INSERT OR REPLACE INTO found_again (id, body) VALUES (?1, ?2)", params![id, &*self.buf])
    }

    fn replan(&mut self, record: &RunRecord) -> Result<(), StoreError> {
        let RunRecord { id, number: _, created: _, spec, plan } = record;
        let rid = self.live(*id)?.rid;
        let former = Reader { conn: self.tx, db: self.db }.run(*id)?.record;
        if !is_same_run(&former, record) {
            return Err(contradiction(*id, "it was planned again with other items"));
        }
        // Limit: tests are numbered with 32 bits.
        self.live(*id)?.tests = plan.tests.len() as u32;
        let inputs = self.inputs(spec)?;
        encode(self.buf, "a target", &spec.target)?;
        self.execute(
            "UPDATE runs SET name = ?2, target = ?3, host = ?4, unexpected_pass = ?5, inputs = ?6 WHERE rid = ?1",
            params![
                rid,
                spec.name,
                &*self.buf,
                spec.host,
                rows::unexpected_code(spec.unexpected_pass),
                inputs
            ],
        )?;
        let sql = "UPDATE plans SET spec = ?2, plan = ?3, outline = ?4, items = ?5 WHERE rid = ?1";
        self.plan(sql, rid, spec, plan, &outline(record, &[]))
    }

    /// What a run was given; nothing is kept of nothing.
    fn inputs(&mut self, spec: &RunSpec) -> Result<Option<Vec<u8>>, StoreError> {
        if spec.inputs == Inputs::default() {
            return Ok(None);
        }
        encode_named(self.buf, "a run's inputs", &spec.inputs)?;
        Ok(Some(std::mem::take(self.buf)))
    }

    fn plan(
        &mut self,
        sql: &str,
        rid: i64,
        spec: &RunSpec,
        plan: &Plan,
        outline: &Outline<'_>,
    ) -> Result<(), StoreError> {
        encode_named(self.buf, "a run's spec", spec)?;
        let spec = std::mem::take(self.buf);
        let (plan, items) = plan_blob::write(self.buf, plan)?;
        encode(self.buf, "an outline", &outline.tests)?;
        self.execute(sql, params![rid, spec, plan, &*self.buf, items])
    }

    /// Appends a row for an item.
    fn record(
        &mut self,
        run: RunId,
        item: ItemIx,
        record: &ItemRecord,
        attempt: Option<(u16, &str, &AttemptResult)>,
    ) -> Result<(), StoreError> {
        let ItemRecord { attempts, tries, lab_errors, failed, verdict, reason, failed_on } = record;
        let number = attempt.map_or(0, |(number, _, _)| number);
        let live = self.live(run)?;
        let id = key(live.rid, live.record_seq);
        let Some(replaced) = live.put(item, number, *verdict) else {
            return Err(contradiction(run, "it has no such item"));
        };
        let (rid, number_of_run) = (live.rid, live.number);
        if let Some(seq) = replaced.bad_seq {
            self.execute("UPDATE records SET bad = NULL WHERE id = ?1", [key(rid, seq)])?;
        }
        let mut devices = None;
        if !failed_on.is_empty() {
            encode(self.buf, "devices", failed_on)?;
            devices = Some(self.buf.clone());
        }
        let (mut columns, mut output) = (None, Kept::None);
        if let Some((_, device, result)) = attempt {
            output = self.keep_output(run, number_of_run, &result.output)?;
            columns = Some(encode_attempt(self.buf, device, result, output.reference())?);
        }
        if self.insert_record.is_none() {
            let sql = "INSERT INTO records (id, item, attempt, verdict, outcome, nanos, started, attempts,
                                            tries, lab_errors, failed, bad, reason, body, output,
                                            failed_on, artifacts)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
            self.insert_record = Some(self.tx.prepare_cached(sql).map_err(writing(self.db))?);
        }
        let insert = self.insert_record.as_mut().expect("set above");
        insert
            .execute(params![
                id,
                item.0,
                number,
                verdict.map(verdict_code),
                columns.as_ref().map(|c| c.outcome),
                columns.as_ref().map(|c| c.nanos),
                columns.as_ref().map(|c| c.started),
                attempts,
                tries,
                lab_errors,
                failed,
                is_bad(record).then_some(rid),
                (!reason.is_empty()).then_some(reason),
                columns.is_some().then_some(&*self.buf),
                output.row(),
                devices,
                columns.as_ref().and_then(|c| c.artifacts.as_deref())
            ])
            .map_err(writing(self.db))?;
        Ok(())
    }

    /// Puts an output where it belongs by its size.
    fn keep_output<'o>(
        &mut self,
        run: RunId,
        number: u32,
        output: &'o Output,
    ) -> Result<Kept<'o>, StoreError> {
        Ok(match output {
            Output::None => Kept::None,
            Output::Inline(frames) if frames.len() <= ROW_OUTPUT_BYTES_MAX => Kept::Row(frames),
            Output::Inline(frames) => {
                let (root, live) = (self.root, self.live(run)?);
                let segment = match &mut live.segment {
                    Some(segment) => segment,
                    none => none.insert(Segment::open(root, &run_dir(root, number))?),
                };
                Kept::Segment { offset: segment.push(frames)?, len: frames.len() as u64 }
            }
            Output::File { path, len } => Kept::File { path, len: *len },
            Output::Segment { offset, len } => Kept::Segment { offset: *offset, len: *len },
        })
    }

    fn keep_late_output<'o>(
        &mut self,
        run: RunId,
        number: u32,
        output: &'o Output,
    ) -> Result<Kept<'o>, StoreError> {
        match output {
            // The run may be another lab's, whose segment file is not to be written to from here. Late
            // evidence is rare, so it may lie in its row at any length.
            Output::Inline(frames) => Ok(Kept::Row(frames)),
            other => self.keep_output(run, number, other),
        }
    }

    fn set_phase(&mut self, run: RunId, phase: &RunPhase) -> Result<(), StoreError> {
        let rid = self.live(run)?.rid;
        let (state, ended, reason) = rows::phase_columns(phase);
        self.execute(
            "UPDATE runs SET state = ?2, ended = ?3, reason = ?4 WHERE rid = ?1",
            params![rid, state, ended, reason],
        )?;
        if *phase != RunPhase::Active {
            self.over.push(run);
        }
        Ok(())
    }

    fn send(&mut self, lease: LeaseId, units: &[SentUnit]) -> Result<(), StoreError> {
        let Some(highest) = units.iter().map(|u| u.unit).max() else { return Ok(()) };
        self.use_ids(|used| used.unit = used.unit.max(highest))?;
        let seq = self.sent()?.add(lease, units.to_vec());
        encode(self.buf, "what was sent", units)?;
        self.execute(
            "INSERT INTO sent (lab, lease, seq, units) VALUES (?1, ?2, ?3, ?4)",
            params![self.lab.0.cast_signed(), lease.0.cast_signed(), seq, &*self.buf],
        )
    }

    fn take_sent(
        &mut self,
        unit: muster_core::id::UnitId,
        is_gone: impl Fn(ItemIx, u16) -> bool,
        rewrite: bool,
    ) -> Result<(), StoreError> {
        let lab = self.lab.0.cast_signed();
        match self.sent()?.take(unit, is_gone) {
            SentRow::Empty { lease, seq } => self.execute(
                "DELETE FROM sent WHERE lab = ?1 AND lease = ?2 AND seq = ?3",
                params![lab, lease.0.cast_signed(), seq],
            ),
            SentRow::Left { lease, seq } if rewrite => {
                let mut buf = std::mem::take(self.buf);
                encode(&mut buf, "what was sent", self.sent()?.row(lease, seq))?;
                *self.buf = buf;
                self.execute(
                    "UPDATE sent SET units = ?4 WHERE lab = ?1 AND lease = ?2 AND seq = ?3",
                    params![lab, lease.0.cast_signed(), seq, &*self.buf],
                )
            }
            // A result takes its attempt out by being recorded.
            SentRow::Left { .. } | SentRow::Unknown => Ok(()),
        }
    }

    /// Writes what is written once per transaction. The runs that are over are returned.
    fn finish(mut self) -> Result<Vec<RunId>, StoreError> {
        if let Some(Used { device, lease, unit }) = self.used {
            self.execute(
                "INSERT INTO labs (lab, device, lease, unit) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (lab) DO UPDATE
                 SET device = excluded.device, lease = excluded.lease, unit = excluded.unit",
                params![self.lab.0.cast_signed(), device.0, lease.0.cast_signed(), unit.0.cast_signed()],
            )?;
            self.cache.used = self.used;
        }
        self.insert_record = None;
        for run in &self.touched {
            let live = self.cache.runs.get_mut(run).expect("a touched run is remembered");
            if let Some(segment) = &mut live.segment {
                segment.flush()?;
            }
            if std::mem::take(&mut live.dirty) {
                encode_counts(self.buf, &live.counts)?;
                self.tx
                    .prepare_cached("UPDATE runs SET items = ?2, counts = ?3 WHERE rid = ?1")
                    .and_then(|mut s| s.execute(params![live.rid, live.items, &*self.buf]))
                    .map_err(writing(self.db))?;
            }
        }
        Ok(self.over)
    }
}

/// Adds a person's word on a run.
pub(super) fn insert_note(
    conn: &Connection,
    db: &Path,
    buf: &mut Vec<u8>,
    rid: i64,
    note: &Note,
) -> Result<(), StoreError> {
    let err = writing(db);
    encode_named(buf, "a note", note)?;
    conn.prepare_cached(
        "INSERT INTO notes (rid, seq, body) SELECT ?1, 1 + coalesce(max(seq), 0), ?2 FROM notes WHERE rid = ?1",
    )
    .and_then(|mut s| s.execute(params![rid, &*buf]))
    .map_err(&err)?;
    let Some(lock) = note.lock() else { return Ok(()) };
    let locked = match lock {
        None => None,
        Some(lock) => {
            encode_named(buf, "a lock", &lock)?;
            Some(&*buf)
        }
    };
    conn.prepare_cached("UPDATE runs SET locked = ?2 WHERE rid = ?1")
        .and_then(|mut s| s.execute(params![rid, locked]))
        .map_err(&err)?;
    Ok(())
}

/// Where an output was put.
enum Kept<'a> {
    None,
    Row(&'a [u8]),
    Segment { offset: u64, len: u64 },
    File { path: &'a str, len: u64 },
}

impl Kept<'_> {
    fn reference(&self) -> OutputRef<'_> {
        match *self {
            Self::None => OutputRef::None,
            Self::Row(_) => OutputRef::Row,
            Self::Segment { offset, len } => OutputRef::Segment { offset, len },
            Self::File { path, len } => OutputRef::File { path: path.into(), len },
        }
    }

    fn row(&self) -> Option<&[u8]> {
        match *self {
            Self::Row(frames) => Some(frames),
            Self::None | Self::Segment { .. } | Self::File { .. } => None,
        }
    }
}

fn contradiction(run: RunId, what: &str) -> StoreError {
    StoreError::Contradiction { run, what: what.to_owned() }
}
