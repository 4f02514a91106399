//! Which test and path each record of a run is for.
//!
//! A run's records are one flat list: for each test of the plan in order its listed items, or, where its
//! items are still to be found, one record for the question; then the found items of each expansion.

use muster_core::change::{Expansion, RunRecord};
use muster_core::id::{ItemIx, TestIx};
use muster_core::outcome::Verdict;
use muster_core::plan::{PlannedItem, PlannedItems, PlannedTest};
use serde::{Deserialize, Serialize};

/// What is shown of a run's plan: all that views need, and much less than the plan. Backends keep it
/// beside the plan, so that naming a failure in a run of a hundred thousand items is quick.
#[derive(Serialize)]
pub(crate) struct Outline<'a> {
    pub(crate) tests: Vec<TestOutline<'a>>,
    /// By first item.
    pub(crate) found: Vec<FoundOutline<'a>>,
}

/// What is shown of a planned test.
#[derive(Serialize, Deserialize)]
pub(crate) struct TestOutline<'a> {
    pub(crate) name: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) description: &'a str,
    #[serde(borrow)]
    pub(crate) tags: Vec<&'a str>,
    pub(crate) origin: &'a str,
    pub(crate) items: ItemsOutline<'a>,
}

/// The records a planned test begins with.
#[derive(Serialize, Deserialize)]
pub(crate) enum ItemsOutline<'a> {
    /// One, for the question.
    Question,
    /// One for each path.
    Paths(#[serde(borrow)] Vec<&'a str>),
}

/// What is shown of an expansion.
#[derive(Serialize, Deserialize)]
pub(crate) struct FoundOutline<'a> {
    pub(crate) test: TestIx,
    pub(crate) first: ItemIx,
    #[serde(borrow)]
    pub(crate) paths: Vec<&'a str>,
}

impl ItemsOutline<'_> {
    /// How many records.
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Question => 1,
            Self::Paths(paths) => count(paths.len()),
        }
    }
}

impl<'a> From<&'a PlannedTest> for TestOutline<'a> {
    fn from(test: &'a PlannedTest) -> Self {
        let def = &*test.def;
        Self {
            name: &def.name,
            owner: &def.owner,
            description: &def.description,
            tags: def.tags.iter().map(String::as_str).collect(),
            origin: &def.origin,
            items: match &test.items {
                PlannedItems::Listed(items) => ItemsOutline::Paths(paths(items)),
                PlannedItems::Found(_) => ItemsOutline::Question,
            },
        }
    }
}

impl<'a> From<&'a Expansion> for FoundOutline<'a> {
    fn from(expansion: &'a Expansion) -> Self {
        Self { test: expansion.test, first: expansion.first, paths: paths(&expansion.items) }
    }
}

fn paths(items: &[PlannedItem]) -> Vec<&str> {
    items.iter().map(|i| &*i.path).collect()
}

/// The flat list of a run, by spans of one test each.
pub(crate) struct Layout<'a> {
    spans: Vec<Span<'a>>,
    len: u32,
}

struct Span<'a> {
    first: u32,
    test: TestIx,
    /// The question where there are none.
    paths: Option<&'a [&'a str]>,
}

/// What a record is for.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) test_ix: TestIx,
    pub(crate) path: &'a str,
    pub(crate) discovery: bool,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(outline: &'a Outline<'a>) -> Self {
        let mut spans = Vec::with_capacity(outline.tests.len() + outline.found.len());
        let mut len = 0;
        for (ix, test) in (0..).map(TestIx).zip(&outline.tests) {
            let paths = match &test.items {
                ItemsOutline::Question => None,
                ItemsOutline::Paths(paths) => Some(paths.as_slice()),
            };
            spans.push(Span { first: len, test: ix, paths });
            len += spans.last().map_or(0, Span::len);
        }
        for FoundOutline { test, first, paths } in &outline.found {
            spans.push(Span { first: first.0, test: *test, paths: Some(paths) });
            len += count(paths.len());
        }
        // Expansions come by their first item, and all of them after the plan's own. Empty ones share it.
        spans.retain(|s| s.len() > 0);
        Self { spans, len }
    }

    /// How many records the run has.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// What the record is for; `None` where the run has no such record.
    pub(crate) fn place(&self, item: ItemIx) -> Option<Place<'a>> {
        let span = &self.spans[self.spans.partition_point(|s| s.first <= item.0).checked_sub(1)?];
        span.place(item.0 - span.first)
    }

    /// All records in their order.
    pub(crate) fn places(&self) -> impl Iterator<Item = (ItemIx, Place<'a>)> {
        let of = |span: &Span<'a>| -> Vec<_> {
            (0..span.len()).filter_map(|i| Some((ItemIx(span.first + i), span.place(i)?))).collect()
        };
        self.spans.iter().flat_map(of)
    }

    /// The records of every one of so many tests, in plan order; a question before what it found.
    pub(crate) fn by_test(&self, tests: usize) -> Vec<Vec<(ItemIx, Place<'a>)>> {
        let mut lists: Vec<Vec<_>> = (0..tests).map(|_| Vec::new()).collect();
        for span in &self.spans {
            let Some(list) = lists.get_mut(span.test.0 as usize) else { continue };
            list.extend((0..span.len()).filter_map(|i| Some((ItemIx(span.first + i), span.place(i)?))));
        }
        lists
    }

    /// The records that are questions, by rising place.
    pub(crate) fn questions(&self) -> Vec<u32> {
        self.spans.iter().filter(|s| s.paths.is_none()).map(|s| s.first).collect()
    }
}

impl<'a> Span<'a> {
    fn len(&self) -> u32 {
        self.paths.map_or(1, |paths| count(paths.len()))
    }

    fn place(&self, nth: u32) -> Option<Place<'a>> {
        let path = match self.paths {
            None => "",
            Some(paths) => paths.get(nth as usize)?,
        };
        Some(Place { test_ix: self.test, path, discovery: self.paths.is_none() })
    }
}

fn count(items: usize) -> u32 {
    // Limit: records are numbered with 32 bits.
    u32::try_from(items).expect("fewer than 2^32 items")
}

/// What is shown of a run's plan and what was found.
pub(crate) fn outline<'a>(record: &'a RunRecord, expansions: &'a [Expansion]) -> Outline<'a> {
    Outline {
        tests: record.plan.tests.iter().map(TestOutline::from).collect(),
        found: expansions.iter().map(FoundOutline::from).collect(),
    }
}

/// Whether a record may take the place of another: what rows say stays true. Tests without items may stand behind
/// those that there were.
pub(crate) fn is_same_run(old: &RunRecord, new: &RunRecord) -> bool {
    let is_same_test = |(a, b): (&PlannedTest, &PlannedTest)| {
        let is_same_items = match (&a.items, &b.items) {
            (PlannedItems::Found(_), PlannedItems::Found(_)) => true,
            (PlannedItems::Listed(a), PlannedItems::Listed(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.path == b.path)
            }
            (PlannedItems::Found(_), PlannedItems::Listed(_))
            | (PlannedItems::Listed(_), PlannedItems::Found(_)) => false,
        };
        a.def.name == b.def.name && is_same_items
    };
    let (a, b) = (&old.plan.tests, &new.plan.tests);
    (old.id, old.number, old.created, &old.spec.area) == (new.id, new.number, new.created, &new.spec.area)
        && a.len() <= b.len()
        && a.iter().zip(b).all(is_same_test)
        && b[a.len()..].iter().all(|t| matches!(&t.items, PlannedItems::Listed(items) if items.is_empty()))
}

/// Whether a record with a verdict counts as an item, as the lab itself counts: a question for items is
/// not a check of its own, and counts only where it went wrong or found nothing.
pub(crate) fn is_counted(discovery: bool, verdict: Verdict) -> bool {
    !discovery || !verdict.is_ok() || verdict == Verdict::NoItems
}
