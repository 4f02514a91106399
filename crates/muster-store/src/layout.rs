//! Which test and path each record of a run is for.
//!
//! A run's records are one flat list: for each test of the plan in order its listed items, or, where its
//! items are still to be found, one record for the question; then the found items of each expansion.

use muster_core::change::{Expansion, RunRecord};
use muster_core::id::{ItemIx, TestIx};
use muster_core::outcome::Verdict;
use muster_core::plan::{Plan, PlannedItem, PlannedItems};
use std::sync::{Arc, LazyLock};

/// The flat list of a run, by spans of one test each.
pub(crate) struct Layout<'a> {
    plan: &'a Plan,
    spans: Vec<Span<'a>>,
}

struct Span<'a> {
    first: u32,
    test: TestIx,
    items: SpanItems<'a>,
}

#[derive(Clone, Copy)]
enum SpanItems<'a> {
    Question,
    Items(&'a [PlannedItem]),
}

/// What a record is for.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) test_ix: TestIx,
    pub(crate) path: &'a Arc<str>,
    pub(crate) discovery: bool,
}

static NO_PATH: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

impl<'a> Layout<'a> {
    pub(crate) fn new(plan: &'a Plan, expansions: &'a [Expansion]) -> Self {
        let mut spans = Vec::with_capacity(plan.tests.len() + expansions.len());
        let mut first = 0;
        for (ix, test) in (0..).map(TestIx).zip(&plan.tests) {
            let items = match &test.items {
                PlannedItems::Listed(items) => SpanItems::Items(items),
                PlannedItems::Found(_) => SpanItems::Question,
            };
            spans.push(Span { first, test: ix, items });
            first += items.len();
        }
        spans.extend(expansions.iter().map(|e| Span {
            first: e.first.0,
            test: e.test,
            items: SpanItems::Items(&e.items),
        }));
        // Expansions come by their first item, and all of them after the plan's own. Empty ones share it.
        spans.retain(|s| s.items.len() > 0);
        Self { plan, spans }
    }

    /// What the record is for; `None` where the run has no such record.
    pub(crate) fn place(&self, item: ItemIx) -> Option<Place<'a>> {
        let span = &self.spans[self.spans.partition_point(|s| s.first <= item.0).checked_sub(1)?];
        span.place(item.0 - span.first)
    }

    /// A test's name.
    pub(crate) fn test_name(&self, test: TestIx) -> &'a str {
        &self.plan.tests[test.0 as usize].def.name
    }

    /// The records of every test, in plan order; a question before what it found.
    pub(crate) fn by_test(&self) -> Vec<Vec<(ItemIx, Place<'a>)>> {
        let mut tests: Vec<Vec<_>> = self.plan.tests.iter().map(|_| Vec::new()).collect();
        for span in &self.spans {
            let Some(list) = tests.get_mut(span.test.0 as usize) else { continue };
            list.extend((0..span.items.len()).filter_map(|i| Some((ItemIx(span.first + i), span.place(i)?))));
        }
        tests
    }

    /// Records of this test, as ranges.
    pub(crate) fn ranges_of(&self, test: TestIx) -> impl Iterator<Item = std::ops::Range<u32>> + '_ {
        self.spans.iter().filter(move |s| s.test == test).map(|s| s.first..s.first + s.items.len())
    }
}

impl<'a> Span<'a> {
    fn place(&self, nth: u32) -> Option<Place<'a>> {
        let (path, discovery) = match self.items {
            SpanItems::Question => (&*NO_PATH, true),
            SpanItems::Items(items) => (&items.get(nth as usize)?.path, false),
        };
        Some(Place { test_ix: self.test, path, discovery })
    }
}

impl SpanItems<'_> {
    fn len(self) -> u32 {
        match self {
            Self::Question => 1,
            // Limit: records are numbered with 32 bits.
            Self::Items(items) => u32::try_from(items.len()).expect("fewer than 2^32 items"),
        }
    }
}

/// The records a plan begins with: how many, and which of them are questions.
pub(crate) fn planned_records(record: &RunRecord) -> (u32, Vec<u32>) {
    let (mut len, mut questions) = (0, Vec::new());
    for test in &record.plan.tests {
        match &test.items {
            PlannedItems::Listed(items) => len += SpanItems::Items(items).len(),
            PlannedItems::Found(_) => {
                questions.push(len);
                len += 1;
            }
        }
    }
    (len, questions)
}

/// Whether a record may take the place of another: what rows say stays true.
pub(crate) fn is_same_run(old: &RunRecord, new: &RunRecord) -> bool {
    let (a, b) = (&old.plan.tests, &new.plan.tests);
    (old.id, old.number, old.created, &old.spec.area) == (new.id, new.number, new.created, &new.spec.area)
        && a.len() == b.len()
        && planned_records(old) == planned_records(new)
        && a.iter().zip(b).all(|(a, b)| a.def.name == b.def.name)
}

/// Whether a record with a verdict counts as an item, as the lab itself counts: a question for items is
/// not a check of its own, and counts only where it went wrong or found nothing.
pub(crate) fn is_counted(discovery: bool, verdict: Verdict) -> bool {
    !discovery || !verdict.is_ok() || verdict == Verdict::NoItems
}
