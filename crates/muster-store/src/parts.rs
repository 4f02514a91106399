//! What a backend gathers of a run, and the view made of it: the same for all backends.

use crate::layout::{Layout, Outline, Place, TestOutline, is_counted};
use crate::types::{ItemFilter, ListedItem};
use muster_core::change::ItemRecord;
use muster_core::id::ItemIx;
use muster_core::outcome::{Counts, Verdict};
use muster_core::view::{AttemptView, ItemView, RunView, TestView};

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

/// What is shown of an item's record.
#[derive(Clone, Default)]
pub(crate) struct Came {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) reason: String,
}

impl From<ItemRecord> for Came {
    fn from(ItemRecord { verdict, reason, .. }: ItemRecord) -> Self {
        Self { verdict, reason }
    }
}

/// An item as it is listed.
pub(crate) fn listed_item(
    item: ItemIx,
    test: &str,
    place: Place<'_>,
    came: Came,
    attempts: Vec<AttemptView>,
) -> ListedItem {
    let Came { verdict, reason } = came;
    let Place { test_ix: _, path, discovery } = place;
    let view = ItemView { path: path.to_owned(), discovery, verdict, reason, attempts };
    ListedItem { item, test: test.into(), view }
}

/// The view of a run. `items` are by record, with the reasons of those that are wanted, and so are `attempts`; `head` has
/// no tests yet.
pub(crate) fn view(
    mut head: RunView,
    outline: &Outline<'_>,
    mut items: Vec<Came>,
    mut attempts: Vec<Vec<AttemptView>>,
    filter: ItemFilter<'_>,
) -> RunView {
    let by_test = Layout::new(outline).by_test(outline.tests.len());
    for (test, records) in outline.tests.iter().zip(by_test) {
        let TestOutline { name, owner, description, tags, origin, items: _ } = test;
        let mut roll_up = RollUp::default();
        let mut views = Vec::new();
        for (ix, place) in records {
            let Came { verdict, reason } = &mut items[ix.0 as usize];
            roll_up.add(place.discovery, *verdict);
            if is_wanted(filter, name, place.path, *verdict) {
                views.push(ItemView {
                    path: place.path.to_owned(),
                    discovery: place.discovery,
                    verdict: *verdict,
                    reason: std::mem::take(reason),
                    attempts: std::mem::take(&mut attempts[ix.0 as usize]),
                });
            }
        }
        let by_name = match filter {
            ItemFilter::All => true,
            ItemFilter::Test(wanted) => wanted == *name,
            ItemFilter::NotOk | ItemFilter::Failed | ItemFilter::Item(..) => false,
        };
        if views.is_empty() && !by_name {
            continue;
        }
        head.tests.push(TestView {
            name: (*name).to_owned(),
            owner: (*owner).to_owned(),
            description: (*description).to_owned(),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            origin: (*origin).to_owned(),
            verdict: roll_up.verdict(),
            counts: roll_up.counts,
            items: views,
        });
    }
    head
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
