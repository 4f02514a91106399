//! What happened in a run, told from its record: the same events under the same numbers whenever they are
//! asked for, so that whoever watches can go on after a cut, or after a restart, without gap or double.
//!
//! Rows are only ever appended, so the numbers follow them: a row's place in its run, then what it meant.

use super::Sqlite;
use super::error::reading;
use super::live::key;
use super::read::find_rid;
use super::rows;
use crate::error::StoreError;
use crate::layout::{Layout, is_counted};
use muster_core::event::{Event, Told};
use muster_core::id::{ItemIx, RunId};
use muster_core::outcome::{Counts, Verdict};
use muster_core::time::Time;
use muster_core::view::RunState;
use rusqlite::params;
use std::sync::Arc;

/// Numbers that a row has for what it meant.
const PER_ROW: u64 = 8;
const STARTED: u64 = 1;
const ATTEMPT_ENDED: u64 = 1;
const ITEMS_FOUND: u64 = 2;
const ITEM_ENDED: u64 = 3;
const TEST_ENDED: u64 = 4;
const RUN_ENDED: u64 = 7;

/// Where somebody is who reads the events of a run.
#[derive(Debug)]
pub struct RunEvents {
    run: RunId,
    /// Only events with higher numbers are told.
    after: u64,
    /// The next row.
    next: u32,
    /// What the items came to, up to that row.
    verdicts: Vec<Option<Verdict>>,
    tests: Vec<Progress>,
    /// When the last event was.
    at: Time,
    /// The run is over; why it was stopped, if it was.
    over: Option<Option<String>>,
}

/// How far a test is.
#[derive(Clone, Debug, Default)]
struct Progress {
    open: u32,
    counts: Counts,
}

impl RunEvents {
    /// From behind the event with this number; 0: from the beginning.
    pub fn new(run: RunId, after: u64) -> Self {
        let (verdicts, tests) = (Vec::new(), Vec::new());
        Self { run, after, next: 0, verdicts, tests, at: Time(0), over: None }
    }

    /// Whether the last event of the run was told, and then why the run was stopped, if it was.
    pub fn over(&self) -> Option<&Option<String>> {
        self.over.as_ref()
    }

    fn tell(&self, told: &mut Vec<(u64, Told)>, number: u64, event: Event) {
        if number > self.after {
            told.push((number, Told { at: self.at, run: self.run, event }));
        }
    }
}

impl Sqlite {
    /// The next events of a run, of at most so many rows of its record, with their numbers, and whether there
    /// are more.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], or what the system says.
    pub fn list_events(
        &mut self,
        events: &mut RunEvents,
        rows_max: u32,
    ) -> Result<(Vec<(u64, Told)>, bool), StoreError> {
        let run = events.run;
        self.reading_run(run, |reader| {
            let get = reading(reader.db);
            let (rid, _) = find_rid(reader.conn, reader.db, run)?.ok_or(StoreError::UnknownRun { run })?;
            let (_, head) = reader.head(run)?;
            let kept = reader.outline(rid)?;
            let outline = kept.outline(reader.db)?;
            let layout = Layout::new(&outline);
            events.at = events.at.max(head.started);
            let mut told = Vec::new();
            if events.next == 0 {
                let undiscovered = layout.questions().len() as u32;
                let started = Event::RunStarted {
                    address: head.address().into(),
                    name: head.name.as_str().into(),
                    target: head.target.clone(),
                    tests: outline.tests.len() as u32,
                    items: outline.tests.iter().map(|t| t.items.len()).sum::<u32>() - undiscovered,
                    undiscovered,
                };
                events.tell(&mut told, STARTED, started);
            }
            events.tests.resize(outline.tests.len(), Progress::default());
            for ix in events.verdicts.len() as u32..layout.len() {
                let place = layout.place(ItemIx(ix)).expect("every record has its place");
                events.tests[place.test_ix.0 as usize].open += 1;
                events.verdicts.push(None);
            }
            let names: Vec<Arc<str>> = outline.tests.iter().map(|test| test.name.into()).collect();
            let mut found = reader
                .conn
                .prepare_cached(
                    "SELECT id, item, attempt, verdict, attempts, reason, outcome, nanos, started, body, output, artifacts
                     FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
                )
                .map_err(&get)?;
            let (from, to) = (key(rid, events.next), key(rid, u32::MAX));
            let mut list = found.query(params![from, to, rows_max]).map_err(&get)?;
            let mut rows_read = 0;
            while let Some(row) = list.next().map_err(&get)? {
                rows_read += 1;
                let seq = (row.get::<_, i64>(0).map_err(&get)? - key(rid, 0)) as u32;
                let (ix, number): (u32, u16) = (row.get(1).map_err(&get)?, row.get(2).map_err(&get)?);
                let code: Option<i64> = row.get(3).map_err(&get)?;
                let verdict = code.map(|code| rows::verdict(reader.db, code)).transpose()?;
                let Some(place) = layout.place(ItemIx(ix)) else {
                    return Err(rows::damaged(reader.db, format!("there is a record of no item {ix}")));
                };
                events.next = seq + 1;
                let base = u64::from(seq + 1) * PER_ROW;
                let (test, item): (_, Arc<str>) = (&names[place.test_ix.0 as usize], place.path.into());
                if number > 0 {
                    let attempt = rows::decode_attempt(reader.db, number, row, 6)?;
                    let result = attempt.result;
                    events.at = events.at.max(result.started + result.duration);
                    let ended = Event::AttemptEnded {
                        test: Arc::clone(test),
                        item: Arc::clone(&item),
                        attempt: number,
                        device: attempt.device.into(),
                        discovery: place.discovery,
                        result,
                        retried: verdict.is_none(),
                    };
                    events.tell(&mut told, base + ATTEMPT_ENDED, ended);
                    let items: usize =
                        outline.found.iter().filter(|f| f.test == place.test_ix).map(|f| f.paths.len()).sum();
                    if place.discovery && verdict.is_some() && items > 0 {
                        let items = items as u32;
                        events.tell(&mut told, base + ITEMS_FOUND, Event::ItemsFound { test: Arc::clone(test), items });
                    }
                }
                let before = std::mem::replace(&mut events.verdicts[ix as usize], verdict);
                let progress = &mut events.tests[place.test_ix.0 as usize];
                match before {
                    None => progress.open -= 1,
                    Some(before) if is_counted(place.discovery, before) => progress.counts.remove(before),
                    Some(_) => {}
                }
                let Some(verdict) = verdict else {
                    progress.open += 1;
                    continue;
                };
                if is_counted(place.discovery, verdict) {
                    progress.counts.add(verdict);
                }
                let (is_ended, counts) = (progress.open == 0, progress.counts);
                if !place.discovery {
                    let attempts: u16 = row.get(4).map_err(&get)?;
                    let reason = row.get::<_, Option<String>>(5).map_err(&get)?.unwrap_or_default().into();
                    let ended = Event::ItemEnded { test: Arc::clone(test), item, verdict, attempts, reason };
                    events.tell(&mut told, base + ITEM_ENDED, ended);
                }
                if is_ended {
                    let verdict = counts.worst().unwrap_or(Verdict::Pass);
                    let ended = Event::TestEnded { test: Arc::clone(test), verdict, counts };
                    events.tell(&mut told, base + TEST_ENDED, ended);
                }
            }
            let more = rows_read == rows_max;
            if !more && head.state != RunState::Active {
                events.at = events.at.max(head.ended.unwrap_or(head.started));
                let (verdict, counts) = (head.verdict(), head.counts);
                let ended = Event::RunEnded { verdict, counts, stopped: head.state == RunState::Stopped };
                events.tell(&mut told, u64::from(events.next) * PER_ROW + RUN_ENDED, ended);
                let reason = reader
                    .conn
                    .prepare_cached("SELECT reason FROM runs WHERE rid = ?1")
                    .and_then(|mut s| s.query_row([rid], |r| r.get(0)))
                    .map_err(&get)?;
                events.over = Some(reason);
            }
            Ok((told, more))
        })
    }
}
