//! What a run in memory looks like to those who ask.

use super::Run;
use crate::durations::Samples;
use crate::error::StoreError;
use crate::layout::{Layout, Outline, Place, is_counted, outline};
use crate::parts::{is_wanted, listed_item};
use crate::types::{HistoryEntry, ItemFilter, ListedItem};
use muster_core::change::{RunPhase, RunRecord, RunSnapshot};
use muster_core::id::ItemIx;
use muster_core::note::{Lock, Note, Said};
use muster_core::outcome::Counts;
use muster_core::view::{AttemptView, RunState, RunView};

impl Run {
    pub(super) fn head(&self) -> RunView {
        let mut counts = Counts::default();
        let mut items = self.records - self.questions.len() as u32;
        for (ix, record) in &self.items {
            let discovery = self.questions.binary_search(&ix.0).is_ok();
            if let Some(verdict) = record.verdict.filter(|v| is_counted(discovery, *v)) {
                counts.add(verdict);
                items += u32::from(discovery);
            }
        }
        let RunRecord { id, number, created, spec, plan: _ } = &*self.record;
        let (state, ended) = match &self.phase {
            RunPhase::Active => (RunState::Active, None),
            RunPhase::Ended { at } => (RunState::Ended, Some(*at)),
            RunPhase::Stopped { at, reason: _ } => (RunState::Stopped, Some(*at)),
        };
        RunView {
            id: *id,
            area: spec.area.clone(),
            number: *number,
            name: spec.name.clone(),
            target: spec.target.clone(),
            host: spec.host.clone(),
            inputs: spec.inputs.clone(),
            state,
            started: *created,
            ended,
            counts,
            items,
            unexpected_pass: spec.unexpected_pass,
            said: Said { locked: self.locked(), notes: Vec::new() },
            tests: Vec::new(),
        }
    }

    /// Who has locked it.
    fn locked(&self) -> Option<Lock> {
        self.notes.iter().rev().find_map(Note::lock).flatten()
    }

    pub(super) fn must_be_open(&self) -> Result<(), StoreError> {
        match self.locked() {
            None => Ok(()),
            Some(lock) => Err(StoreError::Locked { run: self.record.id, lock }),
        }
    }

    pub(super) fn snapshot(&self) -> RunSnapshot {
        RunSnapshot {
            record: self.record.clone(),
            phase: self.phase.clone(),
            expansions: self.expansions.clone(),
            found_again: self.found_again.values().cloned().collect(),
            items: self.items.iter().map(|(ix, r)| (*ix, r.clone())).collect(),
            moves: self.moves.clone(),
        }
    }

    pub(super) fn outline(&self) -> Outline<'_> {
        outline(&self.record, &self.expansions)
    }

    pub(super) fn attempts_of(&self, item: ItemIx) -> Vec<AttemptView> {
        self.attempts.range((item, 0)..=(item, u16::MAX)).map(|(_, a)| a.clone()).collect()
    }

    pub(super) fn listed(&self, filter: ItemFilter<'_>, from: ItemIx) -> impl Iterator<Item = ListedItem> {
        let outline = self.outline();
        let layout = Layout::new(&outline);
        let listed = (from.0..self.records).filter_map(|ix| {
            let place = layout.place(ItemIx(ix))?;
            let test = outline.tests[place.test_ix.0 as usize].name;
            let record = self.items.get(&ItemIx(ix)).cloned().unwrap_or_default();
            is_wanted(filter, test, place.path, record.verdict)
                .then(|| listed_item(ItemIx(ix), test, place, record.into(), self.attempts_of(ItemIx(ix))))
        });
        listed.collect::<Vec<_>>().into_iter()
    }

    pub(super) fn history(&self, test: &str, item: Option<&str>) -> Vec<HistoryEntry> {
        let outline = self.outline();
        let layout = Layout::new(&outline);
        let wanted = |place: &Place<'_>| {
            !place.discovery
                && outline.tests[place.test_ix.0 as usize].name == test
                && item.is_none_or(|path| path == place.path)
        };
        let mut entries = Vec::new();
        for ((ix, _), attempt) in &self.attempts {
            let Some(place) = layout.place(*ix).filter(wanted) else { continue };
            entries.push(HistoryEntry {
                run: self.record.id,
                number: self.record.number,
                target: self.record.spec.target.clone(),
                path: place.path.into(),
                attempt: attempt.number,
                outcome: attempt.result.outcome,
                verdict: self.items.get(ix).and_then(|r| r.verdict),
                started: attempt.result.started,
                duration: attempt.result.duration,
            });
        }
        entries
    }

    pub(super) fn sample(&self, samples: &mut Samples) {
        let outline = self.outline();
        let layout = Layout::new(&outline);
        for ((ix, _), attempt) in self.attempts.iter().rev() {
            let Some(place) = layout.place(*ix).filter(|p| !p.discovery) else { continue };
            if attempt.result.outcome.is_good() {
                let nanos = u64::try_from(attempt.result.duration.as_nanos()).unwrap_or(u64::MAX);
                samples.test(outline.tests[place.test_ix.0 as usize].name).add(place.path, nanos);
            }
        }
    }
}
