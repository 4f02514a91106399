//! Promises, one by one.

use super::build::{attempt, expansion, record, result, with_artifacts};
use super::grown::a_run_may_get_more_tests_and_items;
use super::kept::{
    a_locked_run_is_neither_taken_over_nor_removed, a_verdict_that_is_set_leaves_what_was_before,
    files_go_and_what_the_run_came_to_stays, removal, what_people_say_of_a_run_is_kept_whoever_works_on_it,
};
use super::{Case, Records};
use crate::error::StoreError;
use crate::store::Store;
use crate::types::{Extent, HotLimits, ItemFilter, LabKey, RunFilter, RunName};
use muster_core::attempt::Output;
use muster_core::change::{
    Change, Hold, ItemRecord, MoveTo, Moved, Registration, RunPhase, SentUnit, Snapshot,
};
use muster_core::event::LabEvent;
use muster_core::health::{DeviceHealth, Entry, Evidence, Health};
use muster_core::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, RunId, SessionId, UnitId};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::plan::History as _;
use muster_core::time::Time;
use std::sync::Arc;

pub(super) const LAB: LabKey = LabKey(u64::MAX - 1);
pub(super) const OTHER: LabKey = LabKey(2);

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) fn all() -> Vec<Case> {
            vec![$(Case { name: stringify!($name), check: $name }),*]
        }
    };
}

cases![
    empty_records_say_so,
    what_was_committed_is_there_after_reopening,
    a_refused_commit_changes_nothing,
    a_run_may_get_more_tests_and_items,
    an_attempt_is_recorded_once,
    a_number_is_given_to_one_run,
    reserved_numbers_are_all_different,
    two_labs_do_not_see_each_others_leases,
    an_adopted_run_belongs_to_the_new_lab_alone,
    what_was_sent_and_has_no_result_is_in_the_snapshot,
    ids_are_never_used_again,
    failures_are_those_that_stand,
    a_question_for_items_counts_only_where_it_went_wrong,
    moves_in_the_queue_are_kept_in_order,
    devices_an_item_failed_on_come_back,
    late_evidence_is_kept_and_changes_nothing,
    what_happened_in_a_lab_is_told_in_order_from_any_number,
    files_that_attempts_left_are_kept_with_them,
    outputs_of_any_length_come_back,
    expectations_come_from_good_attempts_of_the_same_target,
    a_deleted_run_is_gone,
    a_stopped_run_says_why_and_can_go_on,
    what_people_say_of_a_run_is_kept_whoever_works_on_it,
    a_locked_run_is_neither_taken_over_nor_removed,
    files_go_and_what_the_run_came_to_stays,
    a_verdict_that_is_set_leaves_what_was_before,
    compacted_records_are_the_same,
    a_run_answers_the_same_from_the_cold_tier,
    a_change_of_a_run_brings_it_back_from_the_cold_tier,
    runs_beyond_the_limits_are_due_for_the_cold_tier,
];

pub(super) fn active(run: u128) -> Change {
    Change::RunCreated(record(run, "area", run as u32))
}

pub(super) fn commit(store: &mut dyn Store, changes: &[Change]) {
    store.commit(changes).expect("legal changes are committed");
}

fn empty_records_say_so(records: &dyn Records) {
    let mut store = records.open(LAB);
    assert_eq!(store.load_snapshot().unwrap(), Snapshot::default());
    assert_eq!(store.list_runs(&RunFilter::default()).unwrap(), []);
    assert_eq!(store.find_run("area", RunName::Latest).unwrap(), None);
    assert_eq!(store.find_last_number("area").unwrap(), None);
    assert!(store.list_durations("area", &[]).unwrap().is_empty());
    let missing = RunId(1);
    assert!(matches!(
        store.load_run(missing, ItemFilter::All),
        Err(StoreError::UnknownRun { run }) if run == missing
    ));
    assert!(matches!(store.list_failures(missing), Err(StoreError::UnknownRun { .. })));
    assert!(matches!(store.remove_run(missing, &removal(Extent::Run)), Err(StoreError::UnknownRun { .. })));
    assert!(matches!(store.adopt_run(missing), Err(StoreError::UnknownRun { .. })));
    assert_eq!(store.check().unwrap(), []);
}

fn what_was_committed_is_there_after_reopening(records: &dyn Records) {
    let run = record(7, "area", 1);
    let mut store = records.open(LAB);
    commit(&mut *store, &[Change::RunCreated(run.clone()), attempt(7, 0, 1, Outcome::Pass)]);
    commit(&mut *store, &[Change::Expanded(expansion(7, 2, 5, &["x0", "x1"]))]);
    let before = store.load_snapshot().unwrap();
    drop(store);
    let mut store = records.open(LAB);
    assert_eq!(store.load_snapshot().unwrap(), before);
    assert_eq!(before.runs[0].record, run);
    let view = store.load_run(RunId(7), ItemFilter::All).unwrap();
    assert_eq!((view.items, view.counts.total()), (6, 1));
    let paths: Vec<_> = view.all_items().map(|(t, i)| format!("{}/{}", t.name, i.path)).collect();
    assert_eq!(paths, ["build/", "unit/a", "unit/b/1", "unit/c", "suite/", "suite/x0", "suite/x1"]);
    // And it can be gone on with.
    commit(&mut *store, &[attempt(7, 6, 1, Outcome::Crash)]);
    let failed = store.list_failures(RunId(7)).unwrap();
    assert_eq!((&*failed[0].test, &*failed[0].path, failed[0].verdict), ("suite", "x1", Verdict::Crash));
}

fn a_refused_commit_changes_nothing(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), attempt(1, 1, 1, Outcome::Fail)]);
    let areas = ["area"];
    let before = super::see(&mut *store, &areas);
    let refused: [&[Change]; 6] = [
        &[attempt(1, 0, 1, Outcome::Pass), attempt(1, 99, 1, Outcome::Pass)],
        &[active(2), attempt(2, 0, 1, Outcome::Pass), active(2)],
        &[Change::Expanded(expansion(1, 2, 5, &["y"])), Change::Expanded(expansion(1, 2, 5, &["y"]))],
        &[Change::Expanded(expansion(1, 3, 5, &["y"]))],
        &[
            Change::LeaseGranted { lease: LeaseId(1), devices: vec![DeviceId(1)] },
            Change::ItemSet { run: RunId(5), item: ItemIx(0), record: ItemRecord::default() },
        ],
        &[Change::RunState { run: RunId(1), phase: RunPhase::Ended { at: Time(1) } }, {
            let mut other = (*record(1, "area", 1)).clone();
            Arc::make_mut(&mut other.plan).tests.pop();
            Change::RunReplanned(Arc::new(other))
        }],
    ];
    for changes in refused {
        store.commit(changes).unwrap_err();
        assert_eq!(super::see(&mut *store, &areas), before, "after {changes:?} was refused");
    }
    commit(&mut *store, refused[0].split_last().unwrap().1);
    assert_ne!(super::see(&mut *store, &areas), before);
    assert_eq!(store.check().unwrap(), []);
}

fn an_attempt_is_recorded_once(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), attempt(1, 0, 1, Outcome::Fail)]);
    for _ in 0..2 {
        let refused = store.commit(&[attempt(1, 0, 1, Outcome::Pass)]).unwrap_err();
        assert!(matches!(refused, StoreError::Contradiction { run: RunId(1), .. }), "{refused}");
        store = records.open(LAB);
    }
    commit(&mut *store, &[attempt(1, 0, 2, Outcome::Pass)]);
    let numbers: Vec<u16> =
        store.list_attempts(RunId(1), ItemIx(0)).unwrap().iter().map(|a| a.number).collect();
    assert_eq!(numbers, [1, 2]);
}

fn a_number_is_given_to_one_run(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[Change::RunCreated(record(1, "area", 1))]);
    let refused = store.commit(&[Change::RunCreated(record(2, "area", 1))]).unwrap_err();
    assert!(
        matches!(refused, StoreError::NumberTaken { ref area, number: 1 } if area == "area"),
        "{refused}"
    );
    let refused = store.commit(&[Change::RunCreated(record(1, "area", 2))]).unwrap_err();
    assert!(matches!(refused, StoreError::Contradiction { run: RunId(1), .. }), "{refused}");
    commit(&mut *store, &[Change::RunCreated(record(2, "other area", 1))]);
    assert_eq!(store.find_last_number("area").unwrap(), Some(1));
}

fn reserved_numbers_are_all_different(records: &dyn Records) {
    let (mut a, mut b) = (records.open(LAB), records.open(OTHER));
    let numbers = [a.reserve_number("area"), b.reserve_number("area"), a.reserve_number("area")];
    assert_eq!(numbers.map(Result::unwrap), [1, 2, 3]);
    commit(&mut *b, &[Change::RunCreated(record(5, "area", 2))]);
    assert_eq!(b.reserve_number("area").unwrap(), 4);
}

fn two_labs_do_not_see_each_others_leases(records: &dyn Records) {
    let (mut a, mut b) = (records.open(LAB), records.open(OTHER));
    commit(&mut *a, &[active(1), Change::LeaseGranted { lease: LeaseId(5), devices: vec![DeviceId(1)] }]);
    commit(&mut *b, &[active(2), Change::LeaseGranted { lease: LeaseId(5), devices: vec![DeviceId(9)] }]);
    commit(&mut *b, &[Change::LeaseEnded { lease: LeaseId(5) }]);
    let (a, b) = (a.load_snapshot().unwrap(), b.load_snapshot().unwrap());
    assert_eq!((a.leases.len(), b.leases.len()), (1, 0));
    assert_eq!((a.runs.len(), a.runs[0].record.number), (1, 1));
    assert_eq!((b.runs.len(), b.runs[0].record.number), (1, 2));
}

fn an_adopted_run_belongs_to_the_new_lab_alone(records: &dyn Records) {
    let (mut a, mut b) = (records.open(LAB), records.open(OTHER));
    let unit = SentUnit { unit: UnitId(1), run: RunId(1), attempts: vec![(ItemIx(0), 1)] };
    commit(
        &mut *a,
        &[
            active(1),
            Change::LeaseGranted { lease: LeaseId(5), devices: vec![DeviceId(1)] },
            Change::Sent { lease: LeaseId(5), units: vec![unit] },
        ],
    );
    let refused = b.commit(&[attempt(1, 0, 1, Outcome::Pass)]).unwrap_err();
    assert!(matches!(refused, StoreError::Contradiction { .. }), "{refused}");
    let snapshot = b.adopt_run(RunId(1)).unwrap();
    assert_eq!(snapshot, b.load_run_snapshot(RunId(1)).unwrap());
    commit(&mut *b, &[attempt(1, 0, 1, Outcome::Pass)]);
    // The former lab's handle, though it may remember the run, cannot write to it any more.
    let refused = a.commit(&[attempt(1, 1, 1, Outcome::Pass)]).unwrap_err();
    assert!(matches!(refused, StoreError::Contradiction { .. }), "{refused}");
    assert_eq!(a.load_snapshot().unwrap(), Snapshot::default());
    assert_eq!(b.load_snapshot().unwrap().runs.len(), 1);
}

fn what_was_sent_and_has_no_result_is_in_the_snapshot(records: &dyn Records) {
    let mut store = records.open(LAB);
    let unit = |unit, attempts: &[(u32, u16)]| SentUnit {
        unit: UnitId(unit),
        run: RunId(1),
        attempts: attempts.iter().map(|(i, n)| (ItemIx(*i), *n)).collect(),
    };
    let lease = LeaseId(u64::MAX);
    let devices = vec![DeviceId(3), DeviceId(7), DeviceId(1)];
    commit(
        &mut *store,
        &[
            active(1),
            Change::LeaseGranted { lease, devices: devices.clone() },
            Change::Sent { lease, units: vec![unit(9, &[(0, 1)]), unit(1, &[(1, 1), (2, 1), (3, 1)])] },
        ],
    );
    store = records.open(LAB);
    assert_eq!(store.load_snapshot().unwrap().leases[0].devices, devices, "in their order");
    // The unit of this attempt is the second one.
    commit(&mut *store, &[attempt(1, 2, 1, Outcome::Pass)]);
    let left = |store: &mut dyn Store| store.load_snapshot().unwrap().leases[0].units.clone();
    assert_eq!(left(&mut *store), [unit(9, &[(0, 1)]), unit(1, &[(1, 1), (3, 1)])]);
    store = records.open(LAB);
    commit(&mut *store, &[Change::Returned { unit: UnitId(1), items: vec![ItemIx(3)] }]);
    store = records.open(LAB);
    assert_eq!(left(&mut *store), [unit(9, &[(0, 1)]), unit(1, &[(1, 1)])]);
    commit(&mut *store, &[Change::Returned { unit: UnitId(9), items: vec![ItemIx(0)] }]);
    assert_eq!(left(&mut *store), [unit(1, &[(1, 1)])]);
    commit(&mut *store, &[Change::LeaseEnded { lease }]);
    assert_eq!(store.load_snapshot().unwrap().leases, []);
}

fn ids_are_never_used_again(records: &dyn Records) {
    let mut store = records.open(LAB);
    let (agent, session) = (AgentId(u64::MAX), SessionId(1));
    let devices = vec![(DeviceId(4), "b".to_owned()), (DeviceId(2), "a".to_owned())];
    let seen = |devices| Change::AgentSeen { agent, session, host: "h".to_owned(), devices };
    let unit = SentUnit { unit: UnitId(8), run: RunId(1), attempts: vec![(ItemIx(0), 1)] };
    let (lease, device) = (LeaseId(6), DeviceId(4));
    commit(
        &mut *store,
        &[
            active(1),
            seen(devices.clone()),
            Change::LeaseGranted { lease, devices: vec![device] },
            Change::Sent { lease, units: vec![unit] },
            Change::LeaseEnded { lease },
        ],
    );
    commit(&mut *store, &[seen(devices[1..].to_vec())]);
    let held = |by: &str| {
        let (by, reason, id) = (by.to_owned(), "its relay clicks".to_owned(), Some(format!("r-{by}")));
        Some(Hold { by, reason, since: Time(1), until: Some(Time(u64::MAX)), id })
    };
    let hold = |device, hold| Change::DeviceHeld { device: DeviceId(device), hold };
    commit(&mut *store, &[hold(4, held("ana")), hold(2, held("ben")), hold(4, held("eve"))]);
    store = records.open(LAB);
    let holds = store.load_snapshot().unwrap().holds;
    assert_eq!(holds, [(DeviceId(2), held("ben").unwrap()), (DeviceId(4), held("eve").unwrap())]);
    commit(&mut *store, &[hold(2, None)]);
    assert_eq!(store.load_snapshot().unwrap().holds.len(), 1);
    commit(&mut *store, &[Change::LeaseGranted { lease: LeaseId(3), devices: vec![device] }]);
    let Snapshot { used, agents, .. } = store.load_snapshot().unwrap();
    assert_eq!((used.device, used.lease, used.unit), (DeviceId(4), LeaseId(6), UnitId(8)));
    assert_eq!(agents[0].devices, devices[1..]);
    let bad = |what: &str| {
        let evidence = Evidence { what: what.to_owned(), address: "lab-health/3".to_owned() };
        let (at, address) = (Time(7), String::new());
        let entry = Entry { at, health: "suspect".to_owned(), what: what.to_owned(), address };
        let health = Health::Suspect { since: Time(7), evidence };
        DeviceHealth { health, history: vec![entry], ..DeviceHealth::default() }
    };
    let health = |device, health: Option<DeviceHealth>| Change::DeviceHealth {
        device: DeviceId(device),
        health: health.map(Box::new),
    };
    commit(&mut *store, &[health(4, Some(bad("hot"))), health(2, Some(bad("slow")))]);
    commit(&mut *store, &[health(4, Some(bad("cold"))), health(2, None)]);
    store = records.open(LAB);
    assert_eq!(store.load_snapshot().unwrap().health, [(DeviceId(4), bad("cold"))]);
    let registration = |host: &str, name: &str, address: &str| Registration {
        host: host.to_owned(),
        name: name.to_owned(),
        address: address.to_owned(),
        labels: [("kind".to_owned(), "board".to_owned())].into(),
        by: "ana".to_owned(),
        since: Time(3),
        adopted: None,
    };
    let registered = |r: Registration| Change::Registered {
        host: r.host.clone(),
        name: r.name.clone(),
        registration: Some(Box::new(r)),
    };
    commit(
        &mut *store,
        &[registered(registration("h", "b", "sut://1")), registered(registration("", "a", "x"))],
    );
    let gone = Change::Registered { host: String::new(), name: "a".to_owned(), registration: None };
    commit(&mut *store, &[registered(registration("h", "b", "sut://2")), gone]);
    store = records.open(LAB);
    assert_eq!(store.load_snapshot().unwrap().registered, [registration("h", "b", "sut://2")]);
    store.delete_lab().unwrap();
    let Snapshot { used, agents, leases, holds, health, registered, runs } = store.load_snapshot().unwrap();
    assert_eq!((used, agents, leases, holds, health, registered), Default::default());
    assert_eq!(runs.len(), 1, "its runs stay");
}

fn failures_are_those_that_stand(records: &dyn Records) {
    let mut store = records.open(LAB);
    let set = |item, verdict, attempts, reason: &str| Change::ItemSet {
        run: RunId(1),
        item: ItemIx(item),
        record: ItemRecord { attempts, verdict, reason: reason.to_owned(), ..ItemRecord::default() },
    };
    commit(
        &mut *store,
        &[
            active(1),
            attempt(1, 3, 1, Outcome::Fail),
            attempt(1, 2, 1, Outcome::Fail),
            attempt(1, 1, 1, Outcome::Timeout),
            set(0, Some(Verdict::PrerequisiteFailed), 0, "no `x`"),
        ],
    );
    let failures = |store: &mut dyn Store| -> Vec<(u32, Verdict, String, Option<u16>)> {
        let list = store.list_failures(RunId(1)).unwrap();
        list.into_iter().map(|f| (f.item.0, f.verdict, f.reason, f.last.map(|a| a.number))).collect()
    };
    let none = String::new;
    assert_eq!(
        failures(&mut *store),
        [
            (0, Verdict::PrerequisiteFailed, "no `x`".to_owned(), None),
            (1, Verdict::Timeout, none(), Some(1)),
            (2, Verdict::Fail, none(), Some(1)),
            (3, Verdict::Fail, none(), Some(1)),
        ]
    );
    store = records.open(LAB);
    commit(&mut *store, &[set(3, None, 1, ""), set(1, Some(Verdict::Cancelled), 1, "stopped")]);
    commit(&mut *store, &[attempt(1, 2, 2, Outcome::Pass)]);
    assert_eq!(
        failures(&mut *store),
        [
            (0, Verdict::PrerequisiteFailed, "no `x`".to_owned(), None),
            (1, Verdict::Cancelled, "stopped".to_owned(), Some(1)),
        ]
    );
    let head = store.find_run("area", RunName::Latest).unwrap().unwrap();
    assert_eq!((head.counts.failed(), head.counts.total()), (2, 3));
    assert_eq!(store.check().unwrap(), []);
}

fn a_question_for_items_counts_only_where_it_went_wrong(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), active(2), active(3)]);
    let empty = |run, verdict| Change::ItemSet {
        run: RunId(run),
        item: ItemIx(4),
        record: ItemRecord { verdict: Some(verdict), ..ItemRecord::default() },
    };
    let found = Change::Expanded(expansion(1, 2, 5, &["x"]));
    commit(&mut *store, &[found, attempt(1, 4, 1, Outcome::Pass), attempt(2, 4, 1, Outcome::Error)]);
    commit(&mut *store, &[Change::Expanded(expansion(3, 2, 5, &[])), empty(3, Verdict::NoItems)]);
    let mut counted = |run| {
        let view = store.load_run(RunId(run), ItemFilter::All).unwrap();
        (view.items, view.counts.total(), view.tests[2].verdict)
    };
    assert_eq!(counted(1), (5, 0, None));
    assert_eq!(counted(2), (5, 1, Some(Verdict::Error)));
    assert_eq!(counted(3), (5, 1, Some(Verdict::NoItems)));
}

fn moves_in_the_queue_are_kept_in_order(records: &dyn Records) {
    let mut store = records.open(LAB);
    let moved = |n: u64, to| Moved { by: format!("ana {n}"), reason: "release".to_owned(), at: Time(n), to };
    let moves = [moved(2, MoveTo::First), moved(1, MoveTo::Before(RunId(2))), moved(3, MoveTo::Priority(-4))];
    commit(&mut *store, &[active(1), active(2)]);
    for moved in &moves {
        commit(&mut *store, &[Change::RunMoved { run: RunId(1), moved: moved.clone() }]);
    }
    let back = Change::RunMoved { run: RunId(2), moved: moved(4, MoveTo::Back) };
    let unknown = Change::RunMoved { run: RunId(9), moved: moved(5, MoveTo::Back) };
    assert!(store.commit(&[back, unknown]).is_err());
    store = records.open(LAB);
    let runs = store.load_snapshot().unwrap().runs;
    assert_eq!(runs[0].moves, moves);
    assert_eq!(runs[1].moves, [], "a refused commit changes nothing");
}

fn devices_an_item_failed_on_come_back(records: &dyn Records) {
    let mut store = records.open(LAB);
    let failed = |devices: &[u32]| Change::ItemSet {
        run: RunId(1),
        item: ItemIx(2),
        record: ItemRecord {
            lab_errors: 1,
            failed_on: devices.iter().copied().map(DeviceId).collect(),
            ..ItemRecord::default()
        },
    };
    commit(&mut *store, &[active(1), failed(&[7]), failed(&[7, 300])]);
    store = records.open(LAB);
    let known = &store.load_snapshot().unwrap().runs[0].items;
    assert_eq!(known[0].1.failed_on, [DeviceId(7), DeviceId(300)]);
    commit(&mut *store, &[failed(&[])]);
    assert_eq!(store.load_snapshot().unwrap().runs[0].items[0].1.failed_on, []);
}

fn what_happened_in_a_lab_is_told_in_order_from_any_number(records: &dyn Records) {
    let happened = |n: u32| Change::Happened {
        at: Time(u64::from(n)),
        event: LabEvent::DeviceGone { device: DeviceId(n), name: format!("board-{n}") },
    };
    let mut store = records.open(LAB);
    commit(&mut *store, &[happened(1), happened(2)]);
    commit(&mut *records.open(OTHER), &[happened(7)]);
    drop(store);
    let mut store = records.open(LAB);
    commit(&mut *store, &[happened(3)]);
    let all = store.list_happened(LAB, 0, 99).unwrap();
    assert_eq!(all.iter().map(|h| h.at.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(all.is_sorted_by(|a, b| a.number < b.number));
    assert_eq!(store.list_happened(LAB, all[0].number, 1).unwrap(), all[1..2]);
    assert_eq!(store.list_happened(LAB, all[2].number, 9).unwrap(), []);
    assert_eq!(store.find_last_happened(LAB).unwrap(), all[2].number);
    assert_eq!(store.list_happened(LAB, u64::MAX, 9).unwrap(), []);
    store.delete_lab().unwrap();
    assert_eq!(store.list_happened(LAB, 0, 9).unwrap(), []);
    assert_eq!(store.find_last_happened(LAB).unwrap(), 0);
    assert_eq!(store.list_happened(OTHER, 0, 9).unwrap().len(), 1);
}

fn late_evidence_is_kept_and_changes_nothing(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1)]);
    let before = store.load_snapshot().unwrap();
    let late = |n: u64| Change::LateEvidence {
        attempt: AttemptRef { run: RunId(1), item: ItemIx(0), attempt: 1 },
        lease: LeaseId(n),
        at: Time(n),
        result: Arc::new(result(Outcome::Fail, n, Output::Inline(vec![1; 5000]))),
    };
    commit(&mut *store, &[late(2), late(1)]);
    assert_eq!(store.load_snapshot().unwrap(), before);
    let kept = store.list_late_evidence(RunId(1)).unwrap();
    assert_eq!(
        kept.iter().map(|l| (l.lease, l.at)).collect::<Vec<_>>(),
        [2, 1].map(|n| (LeaseId(n), Time(n)))
    );
    assert_eq!(store.read_output(RunId(1), &kept[0].result.output).unwrap(), [1; 5000]);
}

fn files_that_attempts_left_are_kept_with_them(records: &dyn Records) {
    let mut store = records.open(LAB);
    let left = with_artifacts(1, 0, 1);
    let Change::AttemptEnded { attempt: which, result: told, .. } = &left else { unreachable!() };
    let late =
        Change::LateEvidence { attempt: *which, lease: LeaseId(1), at: Time(1), result: Arc::clone(told) };
    commit(&mut *store, &[active(1), left.clone(), attempt(1, 0, 2, Outcome::Pass), late]);
    drop(store);
    let mut store = records.open(LAB);
    let attempts = store.list_attempts(RunId(1), ItemIx(0)).unwrap();
    assert!(told.artifacts.is_some());
    assert_eq!(attempts[0].result.artifacts, told.artifacts);
    assert_eq!(attempts[1].result.artifacts, None);
    assert_eq!(store.list_late_evidence(RunId(1)).unwrap()[0].result.artifacts, told.artifacts);
}

fn outputs_of_any_length_come_back(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[active(1), active(2)]);
    let lengths = [0, 1, 1023, 1024, 1025, 70_000, 3_000_000];
    let bytes = |len: usize| -> Vec<u8> { (0..len).map(|i| (i * 31 + len) as u8).collect() };
    for (n, len) in (1..).zip(lengths) {
        let mut changes = [attempt(1, 0, n, Outcome::Pass), attempt(2, 0, n, Outcome::Pass)];
        for change in &mut changes {
            let Change::AttemptEnded { result, .. } = change else { unreachable!() };
            Arc::make_mut(result).output = Output::Inline(bytes(len));
        }
        commit(&mut *store, &changes);
        if n == 5 {
            store = records.open(LAB);
        }
    }
    for run in [RunId(1), RunId(2)] {
        for (attempt, len) in store.list_attempts(run, ItemIx(0)).unwrap().iter().zip(lengths) {
            let output = &attempt.result.output;
            assert_eq!(store.read_output(run, output).unwrap(), bytes(len));
            let part = store.read_output_range(run, output, 1000, 30).unwrap();
            assert_eq!(part, &bytes(len)[1000.min(len)..1030.min(len)]);
        }
    }
    assert_eq!(store.check().unwrap(), []);
}

fn expectations_come_from_good_attempts_of_the_same_target(records: &dyn Records) {
    let mut store = records.open(LAB);
    // Odd runs are for another target than even ones; attempts take as many milliseconds as their number.
    commit(&mut *store, &[active(2), attempt(2, 1, 4, Outcome::Pass), attempt(2, 2, 1, Outcome::Fail)]);
    commit(
        &mut *store,
        &[active(4), attempt(4, 1, 8, Outcome::Pass), active(6), attempt(6, 1, 6, Outcome::Pass)],
    );
    commit(&mut *store, &[active(7), attempt(7, 1, 60, Outcome::Pass)]);
    let target = |os: &str| [("os".to_owned(), os.to_owned())];
    let linux = store.list_durations("area", &target("linux")).unwrap();
    assert_eq!((linux.micros("unit", "a"), linux.len()), (Some(6000), 1));
    assert_eq!(store.list_durations("area", &target("bsd")).unwrap().micros("unit", "a"), Some(60_000));
    // Something is better than nothing.
    assert_eq!(store.list_durations("area", &target("new")).unwrap().micros("unit", "a"), Some(6000));
    assert!(store.list_durations("other area", &target("linux")).unwrap().is_empty());
}

fn a_deleted_run_is_gone(records: &dyn Records) {
    let mut store = records.open(LAB);
    let lease = LeaseId(1);
    let unit = |unit, run| SentUnit { unit: UnitId(unit), run: RunId(run), attempts: vec![(ItemIx(1), 1)] };
    commit(
        &mut *store,
        &[
            active(1),
            active(2),
            attempt(1, 0, 1, Outcome::Fail),
            Change::Expanded(expansion(1, 2, 5, &["x"])),
            Change::LeaseGranted { lease, devices: vec![DeviceId(1)] },
            Change::Sent { lease, units: vec![unit(1, 1), unit(2, 2)] },
        ],
    );
    store.remove_run(RunId(1), &removal(Extent::Run)).unwrap();
    assert!(matches!(store.load_run(RunId(1), ItemFilter::All), Err(StoreError::UnknownRun { .. })));
    assert!(store.commit(&[attempt(1, 2, 1, Outcome::Pass)]).is_err());
    let snapshot = store.load_snapshot().unwrap();
    assert_eq!(snapshot.runs.len(), 1);
    assert_eq!(snapshot.leases[0].units, [unit(2, 2)]);
    let removed = store.find_removed("area", 1).unwrap().unwrap();
    assert_eq!((&*removed.by, &*removed.reason, &*removed.name), ("ana", "old", "name 1"));
    assert_eq!(store.find_removed("area", 2).unwrap(), None);
    store.remove_run(RunId(2), &removal(Extent::Run)).unwrap();
    assert_eq!(store.reserve_number("area").unwrap(), 3, "the numbers of removed runs are not given again");
    commit(&mut *store, &[active(2)]);
    // Who brings it back may, and nothing of it comes back by itself.
    commit(&mut *store, &[active(1)]);
    assert_eq!(store.list_failures(RunId(1)).unwrap(), []);
    assert_eq!(store.load_run_snapshot(RunId(1)).unwrap().items, []);
    assert_eq!(store.check().unwrap(), []);
}

fn a_stopped_run_says_why_and_can_go_on(records: &dyn Records) {
    let mut store = records.open(LAB);
    let phase = RunPhase::Stopped { at: Time(9), reason: "no power".to_owned() };
    commit(&mut *store, &[active(1), Change::RunState { run: RunId(1), phase: phase.clone() }]);
    assert_eq!(store.load_snapshot().unwrap().runs, []);
    assert_eq!(store.load_run_snapshot(RunId(1)).unwrap().phase, phase);
    let head = store.find_run("area", RunName::Number(1)).unwrap().unwrap();
    assert_eq!(head.ended, Some(Time(9)));
    let mut other = records.open(OTHER);
    other.adopt_run(RunId(1)).unwrap();
    commit(
        &mut *other,
        &[Change::RunState { run: RunId(1), phase: RunPhase::Active }, attempt(1, 0, 1, Outcome::Pass)],
    );
    assert_eq!(other.load_snapshot().unwrap().runs.len(), 1);
    assert_eq!(other.find_run("area", RunName::Number(1)).unwrap().unwrap().ended, None);
}

fn compacted_records_are_the_same(records: &dyn Records) {
    let mut store = records.open(LAB);
    for run in 1..6 {
        commit(
            &mut *store,
            &[active(run), attempt(run, 0, 1, Outcome::Fail), attempt(run, 1, 1, Outcome::Pass)],
        );
    }
    store.remove_run(RunId(2), &removal(Extent::Run)).unwrap();
    let before = super::see(&mut *store, &["area"]);
    store.compact().unwrap();
    assert_eq!(super::see(&mut *store, &["area"]), before);
    commit(&mut *store, &[attempt(1, 0, 2, Outcome::Pass)]);
    assert_eq!(store.check().unwrap(), []);
}

fn ended(run: u128, at: u64) -> Change {
    Change::RunState { run: RunId(run), phase: RunPhase::Ended { at: Time(at) } }
}

fn cold(store: &mut dyn Store) -> Vec<RunId> {
    store.list_cold().unwrap().into_iter().map(|(run, _)| run).collect()
}

fn a_run_answers_the_same_from_the_cold_tier(records: &dyn Records) {
    let mut store = records.open(LAB);
    for run in 1..=3 {
        let mut long = attempt(run, 1, 2, Outcome::Pass);
        if let Change::AttemptEnded { result, .. } = &mut long {
            Arc::make_mut(result).output = Output::Inline(vec![run as u8; 5000]);
        }
        let found = Change::Expanded(expansion(run, 2, 5, &["x0", "x1"]));
        let failed = attempt(run, 6, 1, Outcome::Crash);
        commit(&mut *store, &[active(run), attempt(run, 1, 1, Outcome::Fail), long, found, failed]);
    }
    commit(&mut *store, &[ended(1, 10), ended(2, 20)]);
    let before = super::see(&mut *store, &["area"]);
    assert!(matches!(store.reduce_run(RunId(3)), Err(StoreError::NotOver { run: RunId(3) })));
    assert!(matches!(store.reduce_run(RunId(4)), Err(StoreError::UnknownRun { .. })));
    store.reduce_run(RunId(1)).unwrap();
    store.reduce_run(RunId(2)).unwrap();
    store.reduce_run(RunId(1)).unwrap();
    for mut other in [records.open(OTHER), records.open(LAB)] {
        assert_eq!(cold(&mut *other), [RunId(1), RunId(2)]);
    }
    assert_eq!(super::see(&mut *store, &["area"]), before);
    assert_eq!(store.check().unwrap(), []);
    store.compact().unwrap();
    assert_eq!(super::see(&mut *store, &["area"]), before);
    store.restore_run(RunId(1)).unwrap();
    store.restore_run(RunId(1)).unwrap();
    store.remove_run(RunId(2), &removal(Extent::Run)).unwrap();
    assert_eq!(cold(&mut *store), []);
    assert!(matches!(store.load_run(RunId(2), ItemFilter::All), Err(StoreError::UnknownRun { .. })));
    assert_eq!(store.check().unwrap(), []);
}

fn a_change_of_a_run_brings_it_back_from_the_cold_tier(records: &dyn Records) {
    let mut store = records.open(LAB);
    for run in 1..=3 {
        commit(&mut *store, &[active(run), attempt(run, 1, 1, Outcome::Fail), ended(run, 10)]);
        store.reduce_run(RunId(run)).unwrap();
    }
    // What this handle remembers is of before.
    let mut other = records.open(LAB);
    commit(&mut *other, &[Change::RunState { run: RunId(1), phase: RunPhase::Active }]);
    commit(&mut *store, &[attempt(1, 1, 2, Outcome::Pass), attempt(1, 2, 1, Outcome::Fail)]);
    assert_eq!(cold(&mut *store), [RunId(2), RunId(3)]);
    assert_eq!(store.load_run(RunId(1), ItemFilter::All).unwrap().counts.total(), 2);
    // A refused change leaves it where it is.
    store.commit(&[attempt(2, 1, 1, Outcome::Pass)]).unwrap_err();
    assert_eq!(cold(&mut *store), [RunId(2), RunId(3)]);
    let mut adopting = records.open(OTHER);
    assert_eq!(adopting.adopt_run(RunId(2)).unwrap().items.len(), 1);
    assert_eq!(cold(&mut *store), [RunId(3)]);
    assert_eq!(store.check().unwrap(), []);
}

fn runs_beyond_the_limits_are_due_for_the_cold_tier(records: &dyn Records) {
    let mut store = records.open(LAB);
    commit(&mut *store, &[Change::RunCreated(record(9, "other area", 9)), ended(9, 1)]);
    for run in 1..=5 {
        commit(&mut *store, &[active(run), ended(run, run as u64 * 10)]);
    }
    commit(&mut *store, &[active(6)]);
    let limits = |runs, before: Option<u64>| HotLimits { runs, ended_before: before.map(Time), items: None };
    let mut due = |limits, limit| -> Vec<u128> {
        store.list_due("area", &limits, limit).unwrap().into_iter().map(|run| run.0).collect()
    };
    assert_eq!(due(limits(None, None), 99), []);
    assert_eq!(due(limits(Some(2), None), 99), [1, 2, 3]);
    assert_eq!(due(limits(Some(2), None), 2), [1, 2]);
    assert_eq!(due(limits(None, Some(30)), 99), [1, 2]);
    assert_eq!(due(limits(Some(4), Some(30)), 99), [1, 2]);
    // Each has four items that are known.
    let few = |items| HotLimits { items: Some(items), ..limits(Some(0), None) };
    assert_eq!([due(few(3), 99), due(few(4), 99), due(few(11), 99)], [vec![], vec![1], vec![1, 2]]);
    store.reduce_run(RunId(1)).unwrap();
    let due = store.list_due("area", &limits(Some(2), None), 99).unwrap();
    assert_eq!(due, [RunId(2), RunId(3)]);
}
