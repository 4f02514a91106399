//! What a writer remembers between commits, so that a result costs one appended row and nothing is read:
//! of each run under way its items' last rows and counts, and of the lab what it has sent out.
//!
//! All of it is derived from the database, loaded when first needed and forgotten after an error.

use super::error::reading;
use super::rows::{self, decode};
use crate::error::StoreError;
use crate::layout::{Layout, Outline, is_counted};
use crate::segment::Segment;
use crate::types::LabKey;
use muster_core::change::{ItemRecord, SentUnit, Used};
use muster_core::id::{ItemIx, LeaseId, RunId, UnitId};
use muster_core::outcome::{Counts, Verdict};
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::HashMap;
use std::path::Path;

/// The highest place of a row in its run.
const SEQ_MAX: i64 = u32::MAX as i64;

/// The key of a row that belongs to a run.
pub(super) fn key(rid: i64, seq: u32) -> i64 {
    rid << 32 | i64::from(seq)
}

/// All keys of a run's rows.
pub(super) fn keys(rid: i64) -> (i64, i64) {
    (rid << 32, rid << 32 | SEQ_MAX)
}

#[derive(Default)]
pub(super) struct Cache {
    pub(super) runs: HashMap<RunId, Live>,
    pub(super) sent: Option<Sent>,
    pub(super) used: Option<Used>,
}

/// A run that is being written to.
pub(super) struct Live {
    pub(super) rid: i64,
    pub(super) number: u32,
    questions: Vec<u32>,
    slots: Vec<Slot>,
    pub(super) counts: Counts,
    pub(super) items: u32,
    pub(super) tests: u32,
    pub(super) record_seq: u32,
    pub(super) expansion_seq: u32,
    pub(super) segment: Option<Segment>,
    /// Counts are not as they are in the database.
    pub(super) dirty: bool,
}

/// What is remembered of an item.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The highest attempt recorded.
    last: u16,
    verdict: Option<Verdict>,
    /// Its last row.
    seq: u32,
}

/// What the record of an item replaces.
pub(super) struct Replaced {
    /// The row that is no longer its item's last, and was marked as bad.
    pub(super) bad_seq: Option<u32>,
}

impl Live {
    pub(super) fn new(rid: i64, number: u32, outline: &Outline<'_>) -> Self {
        let layout = Layout::new(outline);
        let questions = layout.questions();
        Self {
            rid,
            number,
            items: layout.len() - questions.len() as u32,
            questions,
            slots: vec![Slot::default(); layout.len() as usize],
            counts: Counts::default(),
            // Limit: tests are numbered with 32 bits.
            tests: outline.tests.len() as u32,
            record_seq: 0,
            expansion_seq: outline.found.len() as u32,
            segment: None,
            dirty: false,
        }
    }

    /// Reads back what earlier commits amount to.
    pub(super) fn load(
        conn: &Connection,
        db: &Path,
        rid: i64,
        number: u32,
        outline: &Outline<'_>,
    ) -> Result<Self, StoreError> {
        let get = reading(db);
        let mut live = Self::new(rid, number, outline);
        let (from, to) = keys(rid);
        let mut records = conn
            .prepare_cached(
                "SELECT id, item, attempt, verdict FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            )
            .map_err(&get)?;
        let mut list = records.query([from, to]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            let item: u32 = row.get(1).map_err(&get)?;
            let attempt: u16 = row.get(2).map_err(&get)?;
            let code: Option<i64> = row.get(3).map_err(&get)?;
            live.record_seq = (row.get::<_, i64>(0).map_err(&get)? - from) as u32;
            let verdict = code.map(|c| rows::verdict(db, c)).transpose()?;
            live.put(ItemIx(item), attempt, verdict)
                .ok_or_else(|| rows::damaged(db, format!("run {number} has a record of no item")))?;
        }
        live.dirty = false;
        Ok(live)
    }

    /// How many records it has.
    pub(super) fn records(&self) -> u32 {
        self.slots.len() as u32
    }

    /// More items.
    pub(super) fn append(&mut self, n: u32) {
        self.slots.resize(self.slots.len() + n as usize, Slot::default());
        self.items += n;
        self.dirty = true;
    }

    /// Whether this attempt, or a later one of its item, is recorded.
    pub(super) fn has(&self, item: ItemIx, attempt: u16) -> bool {
        self.slots.get(item.0 as usize).is_some_and(|s| s.last >= attempt)
    }

    /// An item's next record takes the next row. `None` where there is no such item.
    pub(super) fn put(&mut self, item: ItemIx, attempt: u16, verdict: Option<Verdict>) -> Option<Replaced> {
        let slot = self.slots.get_mut(item.0 as usize)?;
        let discovery = self.questions.binary_search(&item.0).is_ok();
        let before = *slot;
        slot.last = slot.last.max(attempt);
        slot.verdict = verdict;
        slot.seq = self.record_seq;
        self.record_seq += 1;
        if let Some(v) = before.verdict.filter(|v| is_counted(discovery, *v)) {
            self.counts.remove(v);
            self.items -= u32::from(discovery);
        }
        if let Some(v) = verdict.filter(|v| is_counted(discovery, *v)) {
            self.counts.add(v);
            self.items += u32::from(discovery);
        }
        self.dirty = true;
        Some(Replaced { bad_seq: before.verdict.is_some_and(|v| !v.is_ok()).then_some(before.seq) })
    }
}

/// Whether a record is one that failures are listed from.
pub(super) fn is_bad(record: &ItemRecord) -> bool {
    record.verdict.is_some_and(|v| !v.is_ok())
}

/// What the lab has sent out that has neither a result nor come back.
#[derive(Default)]
pub(super) struct Sent {
    rows: HashMap<(LeaseId, u32), Vec<SentUnit>>,
    by_unit: HashMap<UnitId, (LeaseId, u32)>,
    next: u32,
}

/// What became of the row a unit was in.
pub(super) enum SentRow {
    /// Nothing is left of it.
    Empty { lease: LeaseId, seq: u32 },
    /// This is left.
    Left { lease: LeaseId, seq: u32 },
    /// The unit was not known.
    Unknown,
}

impl Sent {
    /// Reads back what was sent. `is_recorded` tells of attempts that have a result.
    pub(super) fn load(
        conn: &Connection,
        db: &Path,
        lab: LabKey,
        mut is_recorded: impl FnMut(RunId, ItemIx, u16) -> Result<bool, StoreError>,
    ) -> Result<Self, StoreError> {
        let get = reading(db);
        let mut sent = Self::default();
        let mut found = conn
            .prepare_cached("SELECT lease, seq, units FROM sent WHERE lab = ?1 ORDER BY lease, seq")
            .map_err(&get)?;
        let mut list = found.query([lab.0.cast_signed()]).map_err(&get)?;
        while let Some(row) = list.next().map_err(&get)? {
            let lease = LeaseId(row.get::<_, i64>(0).map_err(&get)?.cast_unsigned());
            let seq: u32 = row.get(1).map_err(&get)?;
            let body = row.get_ref(2).map_err(&get)?.as_blob().map_err(|e| get(e.into()))?;
            let mut units: Vec<SentUnit> = decode(db, "what was sent", body)?;
            for unit in &mut units {
                let mut left = Vec::with_capacity(unit.attempts.len());
                for &(item, attempt) in &unit.attempts {
                    if !is_recorded(unit.run, item, attempt)? {
                        left.push((item, attempt));
                    }
                }
                unit.attempts = left;
            }
            sent.next = sent.next.max(seq + 1);
            sent.insert(lease, seq, units);
        }
        Ok(sent)
    }

    fn insert(&mut self, lease: LeaseId, seq: u32, mut units: Vec<SentUnit>) {
        units.retain(|u| !u.attempts.is_empty());
        self.by_unit.extend(units.iter().map(|u| (u.unit, (lease, seq))));
        // An empty row stays known, so that it goes when its lease does; it goes from the database then.
        if !units.is_empty() {
            self.rows.insert((lease, seq), units);
        }
    }

    /// Enters a new row and gives its place.
    pub(super) fn add(&mut self, lease: LeaseId, units: Vec<SentUnit>) -> u32 {
        let seq = self.next;
        self.next += 1;
        self.insert(lease, seq, units);
        seq
    }

    /// What is left in a row.
    pub(super) fn row(&self, lease: LeaseId, seq: u32) -> &[SentUnit] {
        self.rows.get(&(lease, seq)).map_or(&[], Vec::as_slice)
    }

    /// Takes attempts out of a unit.
    pub(super) fn take(&mut self, unit: UnitId, is_gone: impl Fn(ItemIx, u16) -> bool) -> SentRow {
        let Some(&(lease, seq)) = self.by_unit.get(&unit) else { return SentRow::Unknown };
        let Some(units) = self.rows.get_mut(&(lease, seq)) else { return SentRow::Unknown };
        if let Some(at) = units.iter().position(|u| u.unit == unit) {
            units[at].attempts.retain(|&(item, attempt)| !is_gone(item, attempt));
            if units[at].attempts.is_empty() {
                units.remove(at);
                self.by_unit.remove(&unit);
            }
        }
        if units.is_empty() {
            self.rows.remove(&(lease, seq));
            return SentRow::Empty { lease, seq };
        }
        SentRow::Left { lease, seq }
    }

    /// A lease has ended, and all units under it are void.
    pub(super) fn end(&mut self, lease: LeaseId) {
        self.rows.retain(|(l, _), _| *l != lease);
        self.by_unit.retain(|_, (l, _)| *l != lease);
    }

    /// What is left under each lease, in the order it was sent.
    pub(super) fn into_leases(self) -> HashMap<LeaseId, Vec<SentUnit>> {
        let mut rows: Vec<_> = self.rows.into_iter().collect();
        rows.sort_unstable_by_key(|(place, _)| *place);
        let mut leases: HashMap<LeaseId, Vec<SentUnit>> = HashMap::new();
        for ((lease, _), units) in rows {
            leases.entry(lease).or_default().extend(units);
        }
        leases
    }
}

/// The counters of a lab as they are recorded.
pub(super) fn load_used(conn: &Connection, db: &Path, lab: LabKey) -> Result<Used, StoreError> {
    use muster_core::id::DeviceId;
    let used = conn
        .prepare_cached("SELECT device, lease, unit FROM labs WHERE lab = ?1")
        .and_then(|mut s| {
            s.query_row([lab.0.cast_signed()], |row| {
                Ok(Used {
                    device: DeviceId(row.get(0)?),
                    lease: LeaseId(row.get::<_, i64>(1)?.cast_unsigned()),
                    unit: UnitId(row.get::<_, i64>(2)?.cast_unsigned()),
                })
            })
            .optional()
        })
        .map_err(reading(db))?;
    Ok(used.unwrap_or_default())
}
