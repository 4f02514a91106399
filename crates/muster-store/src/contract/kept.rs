//! Promises about what people do with runs: they say something of them, lock them, set what they came to, remove them.

use super::Records;
use super::build::attempt;
use super::cases::{LAB, OTHER, active, commit};
use crate::error::StoreError;
use crate::types::{Extent, ItemFilter, Removal, RunName};
use muster_core::attempt::Output;
use muster_core::change::{Change, ItemRecord, RunPhase};
use muster_core::id::{ItemIx, RunId};
use muster_core::note::{Note, NoteKind, Setting, Spot, noted};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::time::Time;
use std::sync::Arc;

pub(super) fn removal(extent: Extent) -> Removal {
    Removal { by: "ana".to_owned(), at: Time(5), reason: "old".to_owned(), extent, files: Vec::new() }
}

fn note(run: u128, text: &str, what: NoteKind) -> Change {
    noted(RunId(run), "ana", Time(3), text, what)
}

pub(super) fn what_people_say_of_a_run_is_kept_whoever_works_on_it(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), active(2)]);
    let mut other = records.open(OTHER);
    let on = Spot { test: "unit".to_owned(), item: "a".to_owned() };
    commit(&mut *other, &[note(1, "flaky since monday", NoteKind::Comment { on: Some(on.clone()) })]);
    commit(&mut *store, &[note(1, "for the release", NoteKind::Comment { on: None })]);
    assert!(other.commit(&[note(9, "nobody", NoteKind::Locked)]).is_err());
    let said = store.load_run(RunId(1), ItemFilter::All).unwrap().said;
    let texts: Vec<&str> = said.notes.iter().map(|n| n.text.as_str()).collect();
    assert_eq!(texts, ["flaky since monday", "for the release"]);
    assert_eq!(said.of("unit", "a").map(|n| n.on()).collect::<Vec<_>>(), [Some(&on)]);
    assert_eq!(store.load_run(RunId(2), ItemFilter::All).unwrap().said.notes, []);
    // Listings have none of it, and it is still the first lab's run.
    assert_eq!(store.find_run("area", RunName::Number(1)).unwrap().unwrap().said.notes, []);
    commit(&mut *store, &[attempt(1, 0, 1, Outcome::Pass)]);
}

pub(super) fn a_locked_run_is_neither_taken_over_nor_removed(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), note(1, "evidence", NoteKind::Locked)]);
    let head = store.find_run("area", RunName::Number(1)).unwrap().unwrap();
    assert_eq!(head.said.locked.unwrap().to_string(), "locked by ana: evidence");
    for extent in [Extent::Run, Extent::Files] {
        let refused = store.remove_run(RunId(1), &removal(extent));
        assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    }
    let refused = records.open(OTHER).adopt_run(RunId(1));
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    // Its own lab ends what it has begun.
    commit(&mut *store, &[attempt(1, 0, 1, Outcome::Pass)]);
    commit(&mut *store, &[note(1, "", NoteKind::Unlocked)]);
    assert_eq!(store.find_run("area", RunName::Number(1)).unwrap().unwrap().said.locked, None);
    records.open(OTHER).adopt_run(RunId(1)).unwrap();
    store.remove_run(RunId(1), &removal(Extent::Run)).unwrap();
}

pub(super) fn files_go_and_what_the_run_came_to_stays(records: &dyn Records) {
    let mut store = records.open(LAB);
    let mut long = attempt(1, 1, 1, Outcome::Fail);
    if let Change::AttemptEnded { result, .. } = &mut long {
        Arc::make_mut(result).output = Output::Inline(vec![7; 5000]);
    }
    commit(&mut *store, &[active(1), long, attempt(1, 0, 1, Outcome::Pass)]);
    store.remove_run(RunId(1), &removal(Extent::Files)).unwrap();
    store.finish_removals().unwrap();
    let view = store.load_run(RunId(1), ItemFilter::All).unwrap();
    assert_eq!((view.counts.get(Verdict::Fail), view.counts.get(Verdict::Pass)), (1, 1));
    assert!(matches!(view.said.notes[0].what, NoteKind::FilesRemoved { on: None }));
    assert_eq!(store.check().unwrap(), [], "what was taken away is not missed");
    // It goes on, and what comes now is not mixed up with what was.
    commit(&mut *store, &[attempt(1, 1, 2, Outcome::Pass)]);
    let spot = Spot { test: "unit".to_owned(), item: "a".to_owned() };
    store.remove_run(RunId(1), &removal(Extent::FilesOf(vec![spot.clone()]))).unwrap();
    let said = store.load_run(RunId(1), ItemFilter::All).unwrap().said;
    assert_eq!(said.of("unit", "a").count(), 1);
    assert_eq!(store.find_removed("area", 1).unwrap(), None);
}

pub(super) fn a_verdict_that_is_set_leaves_what_was_before(records: &dyn Records) {
    let mut store = records.open(LAB);
    let ended = Change::RunState { run: RunId(1), phase: RunPhase::Ended { at: Time(8) } };
    commit(
        &mut *store,
        &[active(1), attempt(1, 0, 1, Outcome::Pass), attempt(1, 1, 1, Outcome::Fail), ended],
    );
    let set = |items: &[u32], to| Setting {
        items: items.iter().map(|ix| ItemIx(*ix)).collect(),
        to,
        word: String::new(),
        by: "ana".to_owned(),
        reason: "the board was loose".to_owned(),
        at: Time(9),
    };
    let snapshot = store.load_run_snapshot(RunId(1)).unwrap();
    commit(&mut *store, &set(&[1], Some(Verdict::Skip)).changes(&snapshot));
    let view = store.load_run(RunId(1), ItemFilter::Item("unit", "a")).unwrap();
    let item = &view.tests[0].items[0];
    assert_eq!((item.verdict, item.attempts.len()), (Some(Verdict::Skip), 1));
    assert_eq!(item.reason, "set to `skip` by ana: the board was loose (it was `fail`)");
    assert_eq!((view.counts.get(Verdict::Fail), view.counts.get(Verdict::Skip)), (0, 1));
    assert_eq!(store.list_failures(RunId(1)).unwrap(), []);
    let from = |n: &Note| match &n.what {
        NoteKind::Set { from, to, .. } => (*from, *to),
        other => panic!("{other:?}"),
    };
    assert_eq!(from(&view.said.notes[0]), (Some(Verdict::Fail), Some(Verdict::Skip)));
    // What is to run again makes the run one that was stopped.
    let snapshot = store.load_run_snapshot(RunId(1)).unwrap();
    commit(&mut *store, &set(&[1], None).changes(&snapshot));
    let snapshot = store.load_run_snapshot(RunId(1)).unwrap();
    assert!(matches!(snapshot.phase, RunPhase::Stopped { .. }));
    let open = ItemRecord { attempts: 1, ..ItemRecord::default() };
    assert!(snapshot.items.contains(&(ItemIx(1), open)), "{:?}", snapshot.items);
    assert_eq!(store.check().unwrap(), []);
}
