//! What a backend gathers of a run, and the view made of it: the same for all backends.

use crate::layout::{Layout, is_counted};
use crate::types::ItemFilter;
use muster_core::change::{Expansion, ItemRecord, RunPhase, RunRecord};
use muster_core::id::ItemIx;
use muster_core::outcome::{Counts, Verdict};
use muster_core::view::{AttemptView, ItemView, RunState, RunView, TestView};
use std::collections::HashMap;
use std::sync::Arc;

/// All there is to show of a run.
pub(crate) struct Parts {
    pub(crate) head: RunView,
    pub(crate) record: Arc<RunRecord>,
    /// By first item.
    pub(crate) expansions: Vec<Expansion>,
    pub(crate) items: HashMap<ItemIx, ItemRecord>,
    /// Of the items the filter wants at least; in the order they were recorded.
    pub(crate) attempts: HashMap<ItemIx, Vec<AttemptView>>,
}

/// A run without its tests.
pub(crate) fn head(record: &RunRecord, phase: &RunPhase, counts: Counts, items: u32) -> RunView {
    let RunRecord { id, number, created, spec, plan: _ } = record;
    let (state, ended) = state_of(phase);
    RunView {
        id: *id,
        area: spec.area.clone(),
        number: *number,
        name: spec.name.clone(),
        target: spec.target.clone(),
        host: spec.host.clone(),
        state,
        started: *created,
        ended,
        counts,
        items,
        unexpected_pass: spec.unexpected_pass,
        tests: Vec::new(),
    }
}

pub(crate) fn state_of(phase: &RunPhase) -> (RunState, Option<muster_core::time::Time>) {
    match phase {
        RunPhase::Active => (RunState::Active, None),
        RunPhase::Ended { at } => (RunState::Ended, Some(*at)),
        RunPhase::Stopped { at, reason: _ } => (RunState::Stopped, Some(*at)),
    }
}

/// Whether the filter wants an item. `test` is its test's name.
pub(crate) fn is_wanted(filter: ItemFilter<'_>, test: &str, path: &str, verdict: Option<Verdict>) -> bool {
    match filter {
        ItemFilter::All => true,
        ItemFilter::NotOk => !verdict.is_some_and(Verdict::is_ok),
        ItemFilter::Failed => verdict.is_some_and(|v| !v.is_ok()),
        ItemFilter::Test(name) => name == test,
        ItemFilter::Item(name, item) => name == test && item == path,
    }
}

impl Parts {
    pub(crate) fn into_view(self, filter: ItemFilter<'_>) -> RunView {
        let Self { mut head, record, expansions, items, mut attempts } = self;
        let layout = Layout::new(&record.plan, &expansions);
        let open = ItemRecord::default();
        for (test, records) in record.plan.tests.iter().zip(layout.by_test()) {
            let def = &test.def;
            let mut roll_up = RollUp::default();
            let mut views = Vec::new();
            for (ix, place) in records {
                let item = items.get(&ix).unwrap_or(&open);
                roll_up.add(place.discovery, item.verdict);
                if is_wanted(filter, &def.name, place.path, item.verdict) {
                    views.push(ItemView {
                        path: place.path.to_string(),
                        discovery: place.discovery,
                        verdict: item.verdict,
                        reason: item.reason.clone(),
                        attempts: attempts.remove(&ix).unwrap_or_default(),
                    });
                }
            }
            let by_name = match filter {
                ItemFilter::All => true,
                ItemFilter::Test(name) => name == def.name,
                ItemFilter::NotOk | ItemFilter::Failed | ItemFilter::Item(..) => false,
            };
            if views.is_empty() && !by_name {
                continue;
            }
            head.tests.push(TestView {
                name: def.name.clone(),
                owner: def.owner.clone(),
                description: def.description.clone(),
                tags: def.tags.clone(),
                origin: def.origin.clone(),
                verdict: roll_up.verdict(),
                counts: roll_up.counts,
                items: views,
            });
        }
        head
    }
}

/// What a test's records amount to.
#[derive(Default)]
struct RollUp {
    counts: Counts,
    open: bool,
}

impl RollUp {
    fn add(&mut self, discovery: bool, verdict: Option<Verdict>) {
        match verdict {
            None => self.open = true,
            Some(v) if is_counted(discovery, v) => self.counts.add(v),
            Some(_) => {}
        }
    }

    /// The worst; the lab, too, calls a test passed that ended with nothing to count.
    fn verdict(&self) -> Option<Verdict> {
        match self.open {
            true => None,
            false => Some(self.counts.worst().unwrap_or(Verdict::Pass)),
        }
    }
}
