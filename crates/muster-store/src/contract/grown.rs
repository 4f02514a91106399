//! Runs that get tests and items beyond those they were begun with.

use super::Records;
use super::build::{attempt, expansion, record};
use super::cases::{LAB, active, commit};
use crate::types::ItemFilter;
use muster_core::change::Change;
use muster_core::id::RunId;
use muster_core::outcome::Outcome;
use muster_core::plan::PlannedItems;
use std::sync::Arc;

pub(super) fn a_run_may_get_more_tests_and_items(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), Change::Expanded(expansion(1, 2, 5, &["x"]))]);
    let mut grown = (*record(1, "area", 1)).clone();
    let tests = &mut Arc::make_mut(&mut grown.plan).tests;
    let mut added = tests[1].clone();
    Arc::make_mut(&mut added.def).name = "added".to_owned();
    tests.push(added.clone());
    // Items of its own would take the places of others.
    store.commit(&[Change::RunReplanned(Arc::new(grown.clone()))]).unwrap_err();
    added.items = PlannedItems::Listed(Vec::new());
    Arc::make_mut(&mut grown.plan).tests[3] = added;
    commit(
        &mut *store,
        &[
            Change::RunReplanned(Arc::new(grown)),
            Change::Expanded(expansion(1, 3, 6, &["n1", "n2"])),
            Change::Expanded(expansion(1, 1, 8, &["d"])),
            attempt(1, 7, 1, Outcome::Fail),
        ],
    );
    drop(store);
    let mut store = records.open(LAB);
    let view = store.load_run(RunId(1), ItemFilter::All).unwrap();
    let paths: Vec<_> = view.all_items().map(|(t, i)| format!("{}/{}", t.name, i.path)).collect();
    assert_eq!(
        paths,
        ["build/", "unit/a", "unit/b/1", "unit/c", "unit/d", "suite/", "suite/x", "added/n1", "added/n2"]
    );
    let failed = store.list_failures(RunId(1)).unwrap();
    assert_eq!((&*failed[0].test, &*failed[0].path), ("added", "n2"));
    assert_eq!(store.check().unwrap(), []);
}
