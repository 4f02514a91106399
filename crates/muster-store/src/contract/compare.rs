//! Everything a store can be asked, in one value that can be compared.

use crate::store::Store;
use crate::types::{
    Durations, FailedItem, HistoryEntry, ItemFilter, LateEvidence, ListedItem, RunFilter, RunName,
};
use muster_core::attempt::{AttemptResult, Output};
use muster_core::change::{RunSnapshot, Snapshot};
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use std::sync::Arc;

/// All answers of a store. Outputs are read, so that it does not matter where they are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    snapshot: Snapshot,
    listed: Vec<RunView>,
    named: Vec<Option<RunView>>,
    last_numbers: Vec<Option<u32>>,
    runs: Vec<SeenRun>,
    history: Vec<HistoryEntry>,
    durations: Vec<Durations>,
}

#[derive(Clone, Debug, PartialEq)]
struct SeenRun {
    snapshot: RunSnapshot,
    views: Vec<RunView>,
    failures: Vec<FailedItem>,
    listed: Vec<ListedItem>,
    attempts: Vec<Vec<AttemptView>>,
    late: Vec<LateEvidence>,
}

/// Asks a store everything about these areas, and about runs of the tests that
/// [`record`](super::record) makes.
pub fn see(store: &mut dyn Store, areas: &[&str]) -> Seen {
    let everything = RunFilter { limit: u32::MAX, ..RunFilter::default() };
    let listed = store.list_runs(&everything).expect("runs can be listed");
    let mut seen = Seen {
        snapshot: store.load_snapshot().expect("the snapshot can be loaded"),
        named: Vec::new(),
        last_numbers: Vec::new(),
        runs: listed.iter().map(|r| see_run(store, r.id)).collect(),
        history: Vec::new(),
        durations: Vec::new(),
        listed,
    };
    for run in &seen.runs {
        assert_eq!(run.views[0].tests.len(), run.snapshot.record.plan.tests.len(), "all tests are shown");
    }
    for area in areas {
        let names = [RunName::Latest, RunName::Number(2), RunName::Name("name 1"), RunName::Name("none")];
        for name in names {
            seen.named.push(store.find_run(area, name).expect("a run can be looked for"));
        }
        let few = RunFilter {
            area: Some((*area).to_owned()),
            before: seen.listed.first().map(|r| r.id),
            limit: 2,
            ..RunFilter::default()
        };
        seen.listed.extend(store.list_runs(&few).expect("runs can be listed"));
        for called in ["name 1", "run-2", "run-02", ""] {
            let so = RunFilter { called: Some(called.to_owned()), ..few.clone() };
            seen.listed.extend(store.list_runs(&so).expect("runs can be listed"));
            let anywhere = RunFilter { area: None, before: None, ..so };
            seen.listed.extend(store.list_runs(&anywhere).expect("runs can be listed"));
        }
        seen.last_numbers.push(store.find_last_number(area).expect("the last number can be found"));
        for (test, item, limit) in
            [("unit", None, 99), ("unit", Some("b/1"), 2), ("suite", None, 99), ("none", None, 9)]
        {
            seen.history
                .extend(store.list_history(area, test, item, None, limit).expect("history can be listed"));
        }
        let all = store.list_history(area, "unit", None, None, 99).expect("history can be listed");
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = store.list_history(area, "unit", None, before, 1).expect("history can be listed");
            let Some(last) = page.last() else { break };
            before = Some(last.run);
            paged.extend(page);
        }
        assert_eq!(paged, all, "history listed in pages is what is listed at once");
        for os in ["linux", "bsd", "none"] {
            let target = [("os".to_owned(), os.to_owned())];
            seen.durations.push(store.list_durations(area, &target).expect("durations can be listed"));
        }
    }
    seen
}

fn see_run(store: &mut dyn Store, run: RunId) -> SeenRun {
    let filters = [
        ItemFilter::All,
        ItemFilter::NotOk,
        ItemFilter::Failed,
        ItemFilter::Test("unit"),
        ItemFilter::Item("suite", "x0"),
    ];
    let mut views: Vec<RunView> =
        filters.map(|f| store.load_run(run, f).expect("a listed run can be loaded")).into();
    let mut failures = store.list_failures(run).expect("failures can be listed");
    let mut attempts: Vec<Vec<AttemptView>> =
        (0..8).map(|i| store.list_attempts(run, ItemIx(i)).expect("attempts can be listed")).collect();
    let mut listed =
        store.list_items(run, ItemFilter::NotOk, ItemIx(0), u32::MAX).expect("items can be listed");
    let mut paged: Vec<ListedItem> = Vec::new();
    loop {
        let from = paged.last().map_or(0, |last| last.item.0 + 1);
        let page = store.list_items(run, ItemFilter::NotOk, ItemIx(from), 3).expect("items can be listed");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3, "no more is listed than was asked for");
        paged.extend(page);
    }
    assert_eq!(paged, listed, "items listed in pages are those listed at once");
    let mut late = store.list_late_evidence(run).expect("late evidence can be listed");
    for view in &mut views {
        let items = view.tests.iter_mut().flat_map(|t| &mut t.items);
        items.flat_map(|i| &mut i.attempts).for_each(|a| read(store, run, &mut a.result));
    }
    failures.iter_mut().filter_map(|f| f.last.as_mut()).for_each(|a| read(store, run, &mut a.result));
    attempts.iter_mut().flatten().for_each(|a| read(store, run, &mut a.result));
    listed.iter_mut().flat_map(|l| &mut l.view.attempts).for_each(|a| read(store, run, &mut a.result));
    late.iter_mut().for_each(|l| read(store, run, &mut l.result));
    let snapshot = store.load_run_snapshot(run).expect("a listed run has a snapshot");
    SeenRun { snapshot, views, failures, listed, attempts, late }
}

/// Puts an output's bytes in its place, having read them in two ways.
fn read(store: &mut dyn Store, run: RunId, result: &mut Arc<AttemptResult>) {
    let output = &result.output;
    if *output == Output::None {
        return;
    }
    let whole = store.read_output(run, output).expect("a recorded output can be read");
    let (half, len) = (whole.len() as u64 / 2, u64::MAX);
    let mut parts = store.read_output_range(run, output, 0, half).expect("its first half can be read");
    parts.extend(store.read_output_range(run, output, half, len).expect("its second half can be read"));
    assert_eq!(parts, whole, "an output read in parts is the one read as a whole");
    Arc::make_mut(result).output = Output::Inline(whole);
}
