//! Reading runs back: what the lab goes on with, and what views are made of.

use super::error::reading;
use super::live::{Cache, Live, Sent, keys, load_used};
use super::plan_blob;
use super::rows::{self, decode, decode_attempt, decode_named, item_record};
use crate::error::StoreError;
use crate::layout::{Layout, Outline, Place, outline};
use crate::types::{FailedItem, Happened, LabKey, LateEvidence};
use muster_core::change::{
    AgentRecord, Expansion, FoundAgain, ItemRecord, LeaseRecord, Moved, RunPhase, RunRecord, RunSnapshot,
    RunSpec, Snapshot,
};
use muster_core::exchange::Group;
use muster_core::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, RunId, SessionId, TestIx};
use muster_core::inputs::Inputs;
use muster_core::note::{Lock, Note, Said};
use muster_core::plan::PlannedItem;
use muster_core::view::{AttemptView, RunView};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// A connection with the name of its file, for errors.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) conn: &'a Connection,
    pub(super) db: &'a Path,
}

/// A run's own row and plan.
pub(super) struct Loaded {
    pub(super) rid: i64,
    pub(super) lab: LabKey,
    pub(super) phase: RunPhase,
    pub(super) record: Arc<RunRecord>,
}

/// A run's row number and number in its area.
pub(super) fn find_rid(conn: &Connection, db: &Path, run: RunId) -> Result<Option<(i64, u32)>, StoreError> {
    conn.prepare_cached("SELECT rid, number FROM runs WHERE id = ?1")
        .and_then(|mut s| s.query_row([rows::run_id_bytes(run)], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(reading(db))
}

/// What a writer remembers of a run; an error where it is not this lab's.
pub(super) fn load_live(conn: &Connection, db: &Path, lab: LabKey, run: RunId) -> Result<Live, StoreError> {
    let (rid, number) = find_rid(conn, db, run)?.ok_or(StoreError::UnknownRun { run })?;
    let (owner, is_cold): (i64, bool) = conn
        .prepare_cached("SELECT lab, cold IS NOT NULL FROM runs WHERE rid = ?1")
        .and_then(|mut s| s.query_row([rid], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(reading(db))?;
    if owner != lab.0.cast_signed() {
        return Err(StoreError::Contradiction { run, what: "it belongs to another lab".to_owned() });
    }
    if is_cold {
        return Err(StoreError::Contradiction { run, what: "it is in the cold tier".to_owned() });
    }
    let kept = Reader { conn, db }.outline(rid)?;
    Live::load(conn, db, rid, number, &kept.outline(db)?)
}

/// What a writer remembers of what was sent. Runs that are needed to know it are remembered as well.
pub(super) fn load_sent(
    conn: &Connection,
    db: &Path,
    lab: LabKey,
    cache: &mut Cache,
) -> Result<Sent, StoreError> {
    Sent::load(conn, db, lab, |run, item, attempt| {
        let live = match cache.runs.entry(run) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => match load_live(conn, db, lab, run) {
                Ok(live) => free.insert(live),
                // Deleted, taken over by another lab, or put away: what was sent for it is void.
                Err(StoreError::UnknownRun { .. } | StoreError::Contradiction { .. }) => return Ok(true),
                Err(other) => return Err(other),
            },
        };
        Ok(live.has(item, attempt))
    })
}

/// Outlines as they are kept, for [`Outline`]s to borrow from.
pub(super) struct KeptOutline {
    tests: Vec<u8>,
    found: Vec<Vec<u8>>,
}

impl KeptOutline {
    pub(super) fn outline(&self, db: &Path) -> Result<Outline<'_>, StoreError> {
        let tests = decode(db, "an outline", &self.tests)?;
        let found = self.found.iter().map(|bytes| decode(db, "an outline", bytes));
        let outline = Outline { tests, found: found.collect::<Result<_, _>>()? };
        // Places are computed from this, so what does not fit together is not let in.
        let mut end = outline.tests.iter().map(|t| t.items.len()).sum::<u32>();
        for found in &outline.found {
            if found.first.0 != end || found.test.0 as usize >= outline.tests.len() {
                return Err(rows::damaged(db, "found items do not follow the planned ones".to_owned()));
            }
            end += found.paths.len() as u32;
        }
        Ok(outline)
    }
}

const HEAD: &str =
    "id, area, number, name, target, host, state, created, ended, counts, items, unexpected_pass, inputs,
     locked";

impl Reader<'_> {
    pub(super) fn run(&self, run: RunId) -> Result<Loaded, StoreError> {
        let get = reading(self.db);
        let mut found = self
            .conn
            .prepare_cached(
                "SELECT rid, lab, number, created, state, ended, reason, spec, plan, plans.items
                 FROM runs JOIN plans USING (rid) WHERE id = ?1",
            )
            .map_err(&get)?;
        let mut list = found.query([rows::run_id_bytes(run)]).map_err(&get)?;
        let Some(row) = list.next().map_err(&get)? else {
            return Err(StoreError::UnknownRun { run });
        };
        let spec: RunSpec = decode_named(self.db, "a run's spec", self.blob(row, 7)?)?;
        let plan = plan_blob::read(self.db, self.blob(row, 8)?, self.blob(row, 9)?)?;
        let record = RunRecord {
            id: run,
            number: row.get(2).map_err(&get)?,
            created: rows::time(row.get(3).map_err(&get)?),
            spec: Arc::new(spec),
            plan: Arc::new(plan),
        };
        Ok(Loaded {
            rid: row.get(0).map_err(&get)?,
            lab: LabKey(row.get::<_, i64>(1).map_err(&get)?.cast_unsigned()),
            phase: rows::phase(
                self.db,
                row.get(4).map_err(&get)?,
                row.get(5).map_err(&get)?,
                row.get(6).map_err(&get)?,
            )?,
            record: Arc::new(record),
        })
    }

    fn blob<'r>(&self, row: &'r Row<'_>, at: usize) -> Result<&'r [u8], StoreError> {
        let get = reading(self.db);
        row.get_ref(at).map_err(&get)?.as_blob().map_err(|e| get(e.into()))
    }

    pub(super) fn outline(&self, rid: i64) -> Result<KeptOutline, StoreError> {
        let get = reading(self.db);
        let tests = self
            .conn
            .prepare_cached("SELECT outline FROM plans WHERE rid = ?1")
            .and_then(|mut s| s.query_row([rid], |r| r.get(0)))
            .map_err(&get)?;
        let (from, to) = keys(rid);
        let mut found = self
            .conn
            .prepare_cached("SELECT outline FROM expansions WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
            .map_err(&get)?;
        let list = found.query_map([from, to], |r| r.get(0)).map_err(&get)?;
        Ok(KeptOutline { tests, found: list.collect::<Result<_, _>>().map_err(&get)? })
    }

    fn expansions(&self, rid: i64, run: RunId) -> Result<Vec<Expansion>, StoreError> {
        let get = reading(self.db);
        let (from, to) = keys(rid);
        let mut found = self
            .conn
            .prepare_cached("SELECT body FROM expansions WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
            .map_err(&get)?;
        let mut list = found.query([from, to]).map_err(&get)?;
        let mut expansions = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let (test, first, groups, items): (_, _, Vec<Group>, Vec<PlannedItem>) =
                decode(self.db, "found items", self.blob(row, 0)?)?;
            expansions.push(Expansion { run, test, first, groups: groups.into(), items: items.into() });
        }
        Ok(expansions)
    }

    fn found_again(&self, rid: i64, run: RunId) -> Result<Vec<FoundAgain>, StoreError> {
        let get = reading(self.db);
        let (from, to) = keys(rid);
        let mut found = self
            .conn
            .prepare_cached("SELECT id, body FROM found_again WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
            .map_err(&get)?;
        let mut list = found.query([from, to]).map_err(&get)?;
        let mut again = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let test = TestIx((row.get::<_, i64>(0).map_err(&get)? - from) as u32);
            let (groups, items): (Vec<Group>, Vec<(ItemIx, PlannedItem)>) =
                decode(self.db, "items found again", self.blob(row, 1)?)?;
            again.push(FoundAgain { run, test, groups: groups.into(), items: items.into() });
        }
        Ok(again)
    }

    fn moves(&self, rid: i64) -> Result<Vec<Moved>, StoreError> {
        let get = reading(self.db);
        let mut found =
            self.conn.prepare_cached("SELECT body FROM moves WHERE rid = ?1 ORDER BY seq").map_err(&get)?;
        let mut list = found.query([rid]).map_err(&get)?;
        let mut moves = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            moves.push(decode_named(self.db, "a move", self.blob(row, 0)?)?);
        }
        Ok(moves)
    }

    /// Every row of a run, in order; columns after `columns` are not read.
    pub(super) fn each_record(
        &self,
        rid: i64,
        columns: &str,
        mut each: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let get = reading(self.db);
        let (from, to) = keys(rid);
        let sql = format!("SELECT {columns} FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id");
        let mut found = self.conn.prepare_cached(&sql).map_err(&get)?;
        let mut list = found.query([from, to]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            each(row)?;
        }
        Ok(())
    }

    /// What items amount to, by record, of so many.
    fn items(&self, rid: i64, len: u32) -> Result<Vec<ItemRecord>, StoreError> {
        let get = reading(self.db);
        let mut items = vec![ItemRecord::default(); len as usize];
        self.each_record(
            rid,
            "item, verdict, attempts, tries, lab_errors, failed, reason, failed_on",
            |row| {
                let item: u32 = row.get(0).map_err(&get)?;
                let Some(known) = items.get_mut(item as usize) else {
                    return Err(rows::damaged(self.db, format!("there is a record of item {item} of {len}")));
                };
                *known = item_record(self.db, row, 1)?;
                Ok(())
            },
        )?;
        Ok(items)
    }

    pub(super) fn snapshot_of(&self, loaded: Loaded) -> Result<RunSnapshot, StoreError> {
        let Loaded { rid, lab: _, phase, record } = loaded;
        let expansions = self.expansions(rid, record.id)?;
        let len = Layout::new(&outline(&record, &expansions)).len();
        let items = (0..).map(ItemIx).zip(self.items(rid, len)?);
        Ok(RunSnapshot {
            phase,
            expansions,
            found_again: self.found_again(rid, record.id)?,
            moves: self.moves(rid)?,
            items: items.filter(|(_, record)| *record != ItemRecord::default()).collect(),
            record,
        })
    }

    pub(super) fn snapshot(&self, lab: LabKey) -> Result<Snapshot, StoreError> {
        let get = reading(self.db);
        let key = lab.0.cast_signed();
        let mut agents = Vec::new();
        let mut found = self
            .conn
            .prepare_cached("SELECT agent, session, host, devices FROM agents WHERE lab = ?1")
            .map_err(&get)?;
        let mut list = found.query([key]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            agents.push(AgentRecord {
                agent: AgentId(row.get::<_, i64>(0).map_err(&get)?.cast_unsigned()),
                session: SessionId(row.get::<_, i64>(1).map_err(&get)?.cast_unsigned()),
                host: row.get(2).map_err(&get)?,
                devices: decode(self.db, "devices", self.blob(row, 3)?)?,
            });
        }
        // The database has signed numbers, so its own order is not that of the ids.
        agents.sort_unstable_by_key(|a| a.agent);

        let mut sent = load_sent(self.conn, self.db, lab, &mut Cache::default())?.into_leases();
        let mut leases = Vec::new();
        let mut found = self
            .conn
            .prepare_cached("SELECT lease, device, others FROM leases WHERE lab = ?1")
            .map_err(&get)?;
        let mut list = found.query([key]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            let lease = LeaseId(row.get::<_, i64>(0).map_err(&get)?.cast_unsigned());
            let mut devices = vec![DeviceId(row.get(1).map_err(&get)?)];
            let others = row.get_ref(2).map_err(&get)?.as_blob_or_null().map_err(|e| get(e.into()))?;
            if let Some(others) = others {
                devices.extend(decode::<Vec<DeviceId>>(self.db, "the devices of a lease", others)?);
            }
            leases.push(LeaseRecord { lease, devices, units: sent.remove(&lease).unwrap_or_default() });
        }
        leases.sort_unstable_by_key(|l| l.lease);

        let holds = self.of_devices(lab, "holds", "a hold")?;
        let health = self.of_devices(lab, "health", "a device's health")?;
        let mut registered = Vec::new();
        let mut found = self
            .conn
            .prepare_cached("SELECT body FROM registered WHERE lab = ?1 ORDER BY host, name")
            .map_err(&get)?;
        let mut list = found.query([key]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            registered.push(decode_named(self.db, "a registration", self.blob(row, 0)?)?);
        }

        let mut runs = Vec::new();
        for run in self.run_ids("WHERE lab = ?1 AND state = 0 ORDER BY id", params![key])? {
            runs.push(self.snapshot_of(self.run(run)?)?);
        }
        Ok(Snapshot {
            used: load_used(self.conn, self.db, lab)?,
            agents,
            leases,
            holds,
            health,
            registered,
            runs,
        })
    }

    /// A table that has one body for each device, by device.
    fn of_devices<T: DeserializeOwned>(
        &self,
        lab: LabKey,
        table: &str,
        what: &'static str,
    ) -> Result<Vec<(DeviceId, T)>, StoreError> {
        let get = reading(self.db);
        let sql = format!("SELECT device, body FROM {table} WHERE lab = ?1 ORDER BY device");
        let mut found = self.conn.prepare_cached(&sql).map_err(&get)?;
        let mut list = found.query([lab.0.cast_signed()]).map_err(&get)?;
        let mut all = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let device = DeviceId(row.get(0).map_err(&get)?);
            all.push((device, decode_named(self.db, what, self.blob(row, 1)?)?));
        }
        Ok(all)
    }

    /// Ids of some runs.
    pub(super) fn run_ids(
        &self,
        which: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<RunId>, StoreError> {
        let get = reading(self.db);
        let mut found = self.conn.prepare_cached(&format!("SELECT id FROM runs {which}")).map_err(&get)?;
        let mut list = found.query(params).map_err(&get)?;
        let mut ids = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            ids.push(rows::run_id(self.db, self.blob(row, 0)?)?);
        }
        Ok(ids)
    }

    /// Runs without their tests.
    pub(super) fn heads(
        &self,
        which: &str,
        params: impl rusqlite::Params,
    ) -> Result<Vec<RunView>, StoreError> {
        let get = reading(self.db);
        let mut found =
            self.conn.prepare_cached(&format!("SELECT {HEAD} FROM runs {which}")).map_err(&get)?;
        let mut list = found.query(params).map_err(&get)?;
        let mut heads = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let mut inputs = Inputs::default();
            if row.get_ref(12).map_err(&get)? != rusqlite::types::ValueRef::Null {
                inputs = decode_named(self.db, "a run's inputs", self.blob(row, 12)?)?;
            }
            heads.push(RunView {
                id: rows::run_id(self.db, self.blob(row, 0)?)?,
                area: row.get(1).map_err(&get)?,
                number: row.get(2).map_err(&get)?,
                name: row.get(3).map_err(&get)?,
                target: decode(self.db, "a target", self.blob(row, 4)?)?,
                host: row.get(5).map_err(&get)?,
                inputs,
                state: rows::run_state(self.db, row.get(6).map_err(&get)?)?,
                started: rows::time(row.get(7).map_err(&get)?),
                ended: row.get::<_, Option<i64>>(8).map_err(&get)?.map(rows::time),
                counts: rows::decode_counts(self.db, self.blob(row, 9)?)?,
                items: row.get(10).map_err(&get)?,
                unexpected_pass: rows::unexpected(self.db, row.get(11).map_err(&get)?)?,
                said: Said { locked: self.lock(row, 13)?, notes: Vec::new() },
                tests: Vec::new(),
            });
        }
        Ok(heads)
    }

    fn lock(&self, row: &Row<'_>, at: usize) -> Result<Option<Lock>, StoreError> {
        let get = reading(self.db);
        let body = row.get_ref(at).map_err(&get)?.as_blob_or_null().map_err(|e| get(e.into()))?;
        body.map(|body| decode_named(self.db, "a lock", body)).transpose()
    }

    /// What people said of a run, in order.
    pub(super) fn notes(&self, rid: i64) -> Result<Vec<Note>, StoreError> {
        let get = reading(self.db);
        let mut found =
            self.conn.prepare_cached("SELECT body FROM notes WHERE rid = ?1 ORDER BY seq").map_err(&get)?;
        let mut list = found.query([rid]).map_err(&get)?;
        let mut notes = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            notes.push(decode_named(self.db, "a note", self.blob(row, 0)?)?);
        }
        Ok(notes)
    }

    /// Refuses a run that a person has locked.
    pub(super) fn must_be_open(&self, run: RunId) -> Result<(), StoreError> {
        match self.head(run)?.1.said.locked {
            None => Ok(()),
            Some(lock) => Err(StoreError::Locked { run, lock }),
        }
    }

    /// A run without its tests, and its row number.
    pub(super) fn head(&self, run: RunId) -> Result<(i64, RunView), StoreError> {
        let (rid, _) = find_rid(self.conn, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let head = self.heads("WHERE rid = ?1", [rid])?.pop();
        Ok((rid, head.ok_or(StoreError::UnknownRun { run })?))
    }

    pub(super) fn failures(&self, run: RunId) -> Result<Vec<FailedItem>, StoreError> {
        let get = reading(self.db);
        let (rid, _) = find_rid(self.conn, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let mut failed: BTreeMap<ItemIx, (ItemRecord, Option<AttemptView>)> = BTreeMap::new();
        let mut earlier: HashSet<ItemIx> = HashSet::new();
        let mut found = self
            .conn
            .prepare_cached(
                "SELECT item, verdict, attempts, tries, lab_errors, failed, reason, failed_on,
                        attempt, outcome, nanos, started, body, output, artifacts
                 FROM records WHERE bad = ?1",
            )
            .map_err(&get)?;
        let mut list = found.query([rid]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            let item = ItemIx(row.get(0).map_err(&get)?);
            let record = item_record(self.db, row, 1)?;
            let number: u16 = row.get(8).map_err(&get)?;
            let last = match number {
                0 => {
                    earlier.insert(item);
                    None
                }
                number => Some(decode_attempt(self.db, number, row, 9)?),
            };
            failed.insert(item, (record, last));
        }
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        // Judged again without being run, after it had been: its last attempt is in an earlier row.
        if failed.iter().any(|(item, (record, _))| record.attempts > 0 && earlier.contains(item)) {
            self.each_record(
                rid,
                "item, attempt, outcome, nanos, started, body, output, artifacts",
                |row| {
                    let (item, number) = (ItemIx(row.get(0).map_err(&get)?), row.get(1).map_err(&get)?);
                    if number > 0 && earlier.contains(&item) {
                        let last = decode_attempt(self.db, number, row, 2)?;
                        failed.get_mut(&item).expect("earlier ones are failed ones").1 = Some(last);
                    }
                    Ok(())
                },
            )?;
        }
        let kept = self.outline(rid)?;
        let outline = kept.outline(self.db)?;
        let layout = Layout::new(&outline);
        let mut names: HashMap<TestIx, Arc<str>> = HashMap::new();
        let mut list = Vec::with_capacity(failed.len());
        for (item, (ItemRecord { verdict, reason, .. }, last)) in failed {
            let (Some(verdict), Some(Place { test_ix, path, discovery: _ })) = (verdict, layout.place(item))
            else {
                return Err(rows::damaged(self.db, format!("{run} has a failure of no item")));
            };
            let test = names.entry(test_ix).or_insert_with(|| outline.tests[test_ix.0 as usize].name.into());
            list.push(FailedItem {
                item,
                test_ix,
                test: test.clone(),
                path: path.into(),
                verdict,
                reason,
                last,
            });
        }
        Ok(list)
    }

    pub(super) fn attempts(&self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError> {
        let get = reading(self.db);
        let (rid, _) = find_rid(self.conn, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let (from, to) = keys(rid);
        let mut found = self
            .conn
            .prepare_cached(
                "SELECT attempt, outcome, nanos, started, body, output, artifacts FROM records
                 WHERE id BETWEEN ?1 AND ?2 AND item = ?3 AND attempt > 0 ORDER BY id",
            )
            .map_err(&get)?;
        let mut list = found.query(params![from, to, item.0]).map_err(&get)?;
        let mut attempts = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            attempts.push(decode_attempt(self.db, row.get(0).map_err(&get)?, row, 1)?);
        }
        Ok(attempts)
    }

    pub(super) fn happened(&self, lab: LabKey, after: u64, limit: u32) -> Result<Vec<Happened>, StoreError> {
        let get = reading(self.db);
        let mut found = self
            .conn
            .prepare_cached(
                "SELECT seq, at, body FROM happened WHERE seq > ?1 AND lab = ?2 ORDER BY seq LIMIT ?3",
            )
            .map_err(&get)?;
        // A number that no row can have is behind all of them.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let mut list = found.query(params![after, lab.0.cast_signed(), limit]).map_err(&get)?;
        let mut all = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            all.push(Happened {
                number: row.get::<_, i64>(0).map_err(&get)?.unsigned_abs(),
                at: rows::time(row.get(1).map_err(&get)?),
                event: rows::decode_named(self.db, "what happened", self.blob(row, 2)?)?,
            });
        }
        Ok(all)
    }

    pub(super) fn last_happened(&self, lab: LabKey) -> Result<u64, StoreError> {
        let last = self.conn.query_row(
            "SELECT seq FROM happened WHERE lab = ?1 ORDER BY seq DESC LIMIT 1",
            [lab.0.cast_signed()],
            |row| row.get::<_, i64>(0),
        );
        Ok(last.optional().map_err(reading(self.db))?.map_or(0, i64::unsigned_abs))
    }

    pub(super) fn late(&self, run: RunId) -> Result<Vec<LateEvidence>, StoreError> {
        let get = reading(self.db);
        let (rid, _) = find_rid(self.conn, self.db, run)?.ok_or(StoreError::UnknownRun { run })?;
        let mut found = self
            .conn
            .prepare_cached(
                "SELECT item, attempt, lease, at, outcome, nanos, started, body, output, artifacts
                 FROM late WHERE rid = ?1 ORDER BY seq",
            )
            .map_err(&get)?;
        let mut list = found.query([rid]).map_err(&get)?;
        let mut late = Vec::new();
        while let Some(row) = list.next().map_err(&get)? {
            let attempt = AttemptRef {
                run,
                item: ItemIx(row.get(0).map_err(&get)?),
                attempt: row.get(1).map_err(&get)?,
            };
            late.push(LateEvidence {
                attempt,
                lease: LeaseId(row.get::<_, i64>(2).map_err(&get)?.cast_unsigned()),
                at: rows::time(row.get(3).map_err(&get)?),
                result: decode_attempt(self.db, attempt.attempt, row, 4)?.result,
            });
        }
        Ok(late)
    }
}
