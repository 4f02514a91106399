//! A run that is there gets tests and items beyond those it was begun with.
//!
//! Records are known by their places, so what is new stands behind what there was: a test is added without items, and
//! its items are appended. A test whose items are asked for has a place of its own from the start, and is left out.

use super::again::places;
use muster_core::change::{MoreItems, RunRecord, RunSnapshot};
use muster_core::definition::{AfterMode, TestDef};
use muster_core::id::TestIx;
use muster_core::plan::{Plan, PlannedItem, PlannedItems, PlannedTest, Why};
use std::collections::HashMap;
use std::sync::Arc;

/// What a run becomes.
#[derive(Debug)]
pub(crate) struct Grown {
    /// With the tests that are new.
    pub(crate) record: RunRecord,
    /// Items that it has not.
    pub(crate) more: Vec<MoreItems>,
    /// Tests that cannot be added, with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

/// Adds what a plan has and the run has not. `record`: the run's, with the definitions as they are now.
pub(crate) fn grow(mut record: RunRecord, snapshot: &RunSnapshot, asked: &Plan) -> Grown {
    let known = places(snapshot);
    let plan = Arc::make_mut(&mut record.plan);
    let mut at: HashMap<String, u32> = (0u32..).zip(&plan.tests).map(|(ix, t)| (name(t), ix)).collect();
    let own: Vec<PlannedTest> = plan.tests.clone();
    let (mut more, mut left_out, mut pulled) = (Vec::new(), Vec::new(), Vec::new());
    for planned in &asked.tests {
        let name = name(planned);
        let PlannedItems::Listed(items) = &planned.items else {
            if !at.contains_key(&name) {
                left_out.push((name, "its items are known only when they are asked for".to_owned()));
            }
            continue;
        };
        let is_new = |item: &&PlannedItem| !known.contains_key(&(name.as_str(), &*item.path, false));
        let new: Arc<[PlannedItem]> = items.iter().filter(is_new).cloned().collect();
        let ix = match at.get(&name) {
            // It finds its items itself.
            Some(&ix) if matches!(plan.tests[ix as usize].items, PlannedItems::Found(_)) => continue,
            Some(&ix) => ix,
            None => {
                if let Some(why) = no_place(&planned.def, &own, &at) {
                    left_out.push((name, why));
                    continue;
                }
                let ix = u32::try_from(plan.tests.len()).expect("fewer than 2^32 tests");
                if let Why::PrerequisiteOf(by) = planned.why {
                    pulled.push((ix as usize, self::name(&asked.tests[by.0 as usize])));
                }
                let items = PlannedItems::Listed(Vec::new());
                plan.tests.push(PlannedTest { def: Arc::clone(&planned.def), why: Why::Asked, items });
                at.insert(name.clone(), ix);
                ix
            }
        };
        if !new.is_empty() {
            more.push(MoreItems { test: TestIx(ix), items: new });
        }
    }
    for (ix, by) in pulled {
        if let Some(by) = at.get(&by) {
            plan.tests[ix].why = Why::PrerequisiteOf(TestIx(*by));
        }
    }
    Grown { record, more, left_out }
}

fn name(planned: &PlannedTest) -> String {
    planned.def.name.clone()
}

fn waits_for(def: &TestDef) -> impl Iterator<Item = &str> {
    def.after.iter().filter(|a| a.mode != AfterMode::Exclusive).map(|a| a.test.as_str())
}

/// Why a test cannot stand behind those of the run, if it cannot.
fn no_place(def: &TestDef, own: &[PlannedTest], at: &HashMap<String, u32>) -> Option<String> {
    // What comes before stands before it.
    let by = own.iter().find(|t| waits_for(&t.def).any(|name| name == def.name));
    if let Some(by) = by {
        return Some(format!("`{}`, which the run has, comes after it now", by.def.name));
    }
    let missing = waits_for(def).find(|name| !at.contains_key(*name));
    missing.map(|name| format!("it comes after `{name}`, which is left out"))
}
