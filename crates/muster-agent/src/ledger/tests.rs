//! The ledger against a small lab that loses, doubles and reorders what is said.

use super::*;
use muster_core::attempt::{AttemptResult, Cause, Output, Usage};
use muster_core::definition::{Items, Kind, TestDef};
use muster_core::exchange::{DeviceOffer, UnitAttempt, Wanted};
use muster_core::id::ItemIx;
use muster_core::outcome::Outcome;
use proptest::prelude::*;

const RUN: RunId = RunId(7);

fn attempt(item: u32) -> AttemptRef {
    AttemptRef { run: RUN, item: ItemIx(item), attempt: 1 }
}

/// A unit of these items.
fn unit(id: u64, items: std::ops::Range<u32>) -> Unit {
    Unit {
        id: UnitId(id),
        test: TestIx(0),
        run: RUN,
        discovery: false,
        attempts: items
            .map(|item| UnitAttempt {
                attempt: attempt(item),
                path: format!("i{item}").into(),
                selector: "".into(),
                group: 0,
                vars: [].into(),
                timeout: None,
                slow: false,
                part: None,
            })
            .collect(),
        devices: Vec::new(),
    }
}

fn run_context() -> Arc<RunContext> {
    Arc::new(RunContext {
        run: RUN,
        address: "area/1".into(),
        number: 1,
        area_dir: "/".into(),
        run_dir: "/".into(),
        env: vec![],
        trace_id: "0".repeat(32),
        inputs: muster_core::inputs::Inputs::default(),
        source: None,
        unusable: None,
    })
}

fn test_context() -> Arc<TestContext> {
    let def = TestDef::new("t", Kind::Steps { steps: vec![], items: Items::None });
    Arc::new(TestContext { run: RUN, test: TestIx(0), def: Arc::new(def), groups: [].into() })
}

fn passed() -> AttemptEnd {
    AttemptEnd::Ran(AttemptResult {
        outcome: Outcome::Pass,
        cause: Cause::Exit(0),
        message: String::new(),
        started: Time(0),
        duration: Duration::ZERO,
        usage: Usage::default(),
        steps: vec![],
        measures: vec![],
        output: Output::None,
        leaked: 0,
        artifacts: None,
    })
}

fn ledger(devices: usize) -> Ledger {
    let offers = (0..devices).map(|d| DeviceOffer::named(format!("slot-{d}"))).collect();
    let gather = Duration::from_millis(3);
    Ledger::new(AgentId(1), SessionId(1), "host".into(), offers).with_pace(Pace { gather, ..Pace::default() })
}

fn wanted(unit: u64, device: u32) -> Wanted {
    Wanted { unit: UnitId(unit), lease: LeaseId(1), device, give_back: false }
}

fn orders(seq: u64, acked: u64, units: Vec<Wanted>, new: Vec<Unit>) -> Orders {
    Orders {
        session: SessionId(1),
        seq,
        acked,
        units,
        new,
        runs: vec![run_context()],
        tests: vec![test_context()],
        kill: false,
        lease: Duration::ZERO,
    }
}

/// Speaks, and hears these units, each of one item of the same number, on device 0.
fn given(ledger: &mut Ledger, units: std::ops::Range<u32>) -> Vec<Effect> {
    let seq = ledger.exchange(Time(0), Gauges::default()).seq;
    let list = units.clone().map(|u| wanted(u.into(), 0)).collect();
    let new = units.map(|u| unit(u.into(), u..u + 1)).collect();
    let effects = ledger.receive_orders(Time(0), orders(seq, 0, list, new));
    ledger.check();
    effects
}

fn millis(ms: u64) -> Time {
    Time(ms * 1000)
}

#[test]
fn units_run_in_the_order_they_are_listed_one_at_a_time_on_a_device() {
    let mut l = ledger(2);
    assert_eq!(given(&mut l, 1..4), [Effect::Wake { device: 0 }]);
    assert_eq!(l.take(Time(1), 0).unwrap().unit.id, UnitId(1));
    assert_eq!(l.take(Time(1), 0), None, "the device is still at the first");
    assert_eq!(l.take(Time(1), 1), None, "nothing is for the other device");
    assert!(l.receive_finished(Time(2), UnitId(1), attempt(1), passed()));
    l.receive_unit_ended(Time(2), UnitId(1));
    assert_eq!(l.take(Time(3), 0).unwrap().unit.id, UnitId(2));
    l.check();
}

#[test]
fn a_later_list_moves_what_is_queued_and_drops_what_it_leaves_out() {
    let mut l = ledger(2);
    given(&mut l, 1..4);
    l.exchange(Time(0), Gauges::default());
    let effects = l.receive_orders(Time(0), orders(2, 0, vec![wanted(3, 1), wanted(2, 0)], vec![]));
    assert_eq!(effects, [Effect::Wake { device: 0 }, Effect::Wake { device: 1 }]);
    l.check();
    assert_eq!(l.take(Time(0), 0).unwrap().unit.id, UnitId(2));
    assert_eq!(l.take(Time(0), 1).unwrap().unit.id, UnitId(3));
    let told = l.exchange(Time(0), Gauges::default());
    assert_eq!(told.holding.iter().map(|h| h.unit.0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn what_runs_and_is_not_listed_is_stopped_once_and_then_killed_once() {
    let mut l = ledger(1);
    given(&mut l, 1..2);
    l.take(Time(0), 0).unwrap();
    let mut hear = |kill: bool| {
        let seq = l.exchange(Time(0), Gauges::default()).seq;
        l.receive_orders(Time(0), Orders { kill, ..orders(seq, 0, vec![], vec![]) })
    };
    let stop = |kill| Effect::Stop { unit: UnitId(1), device: 0, kill };
    assert_eq!(hear(false), [stop(false)]);
    assert_eq!(hear(false), []);
    assert_eq!(hear(true), [stop(true)]);
    assert_eq!(hear(true), []);
    assert_eq!(hear(false), []);
}

#[test]
fn old_foreign_and_invented_orders_change_nothing() {
    let mut l = ledger(1);
    given(&mut l, 1..3);
    l.exchange(Time(0), Gauges::default());
    let before = l.clone();
    for bad in [
        orders(1, 9, vec![], vec![]),
        orders(3, 9, vec![], vec![]),
        Orders { session: SessionId(2), ..orders(2, 9, vec![], vec![]) },
    ] {
        assert_eq!(l.receive_orders(Time(9), bad), []);
        assert_eq!(l, before);
    }
}

#[test]
fn a_result_is_repeated_until_it_is_acknowledged() {
    let mut l = ledger(1);
    given(&mut l, 1..2);
    l.take(Time(0), 0).unwrap();
    assert!(l.receive_finished(Time(0), UnitId(1), attempt(1), passed()));
    assert!(!l.receive_finished(Time(0), UnitId(1), attempt(1), passed()), "only the first end counts");
    l.receive_unit_ended(Time(0), UnitId(1));
    assert!(!l.receive_finished(Time(0), UnitId(1), attempt(1), passed()), "nor one after the unit's end");
    for _ in 0..2 {
        assert_eq!(l.exchange(Time(0), Gauges::default()).finished.len(), 1);
    }
    l.receive_orders(Time(0), orders(3, 1, vec![], vec![]));
    assert_eq!(l.exchange(Time(0), Gauges::default()).finished, []);
    l.check();
}

#[test]
fn a_unit_that_has_ended_is_not_run_again_though_orders_list_it_with_its_content() {
    let mut l = ledger(1);
    given(&mut l, 1..2);
    l.take(Time(0), 0).unwrap();
    l.exchange(Time(0), Gauges::default());
    l.receive_finished(Time(0), UnitId(1), attempt(1), passed());
    l.receive_unit_ended(Time(0), UnitId(1));
    // The answer to what was said before it ended, then one that has acknowledged it and lists it still.
    assert_eq!(l.receive_orders(Time(0), orders(2, 0, vec![wanted(1, 0)], vec![unit(1, 1..2)])), []);
    l.exchange(Time(0), Gauges::default());
    assert_eq!(l.receive_orders(Time(0), orders(3, 1, vec![wanted(1, 0)], vec![unit(1, 1..2)])), []);
    l.exchange(Time(0), Gauges::default());
    assert_eq!(l.receive_orders(Time(0), orders(4, 1, vec![wanted(1, 0)], vec![unit(1, 1..2)])), []);
    assert_eq!(l.take(Time(0), 0), None);
    l.check();
}

#[test]
fn attempts_without_a_result_were_not_reached_when_their_unit_ends() {
    let mut l = ledger(1);
    l.exchange(Time(0), Gauges::default());
    l.receive_orders(Time(0), orders(1, 0, vec![wanted(1, 0)], vec![unit(1, 0..3)]));
    l.take(Time(0), 0).unwrap();
    l.receive_started(Time(1), UnitId(1), attempt(1));
    let told = l.exchange(Time(1), Gauges::default());
    assert_eq!(told.holding[0].phase, HeldPhase::Running { since: Time(0), current: Some(attempt(1)) });
    l.receive_finished(Time(1), UnitId(1), attempt(1), passed());
    l.receive_unit_ended(Time(1), UnitId(1));
    let ends: Vec<(u32, bool)> = l
        .exchange(Time(1), Gauges::default())
        .finished
        .iter()
        .map(|f| (f.attempt.item.0, f.end == AttemptEnd::NotReached))
        .collect();
    assert_eq!(ends, [(1, false), (0, true), (2, true)]);
    l.check();
}

#[test]
fn a_listed_unit_whose_content_was_lost_is_not_said_to_be_held() {
    let mut l = ledger(1);
    l.exchange(Time(0), Gauges::default());
    assert_eq!(l.receive_orders(Time(0), orders(1, 0, vec![wanted(1, 0), wanted(2, 9)], vec![])), []);
    assert_eq!(l.wants_to_speak(millis(3)), Speak::Now);
    assert_eq!(l.exchange(Time(0), Gauges::default()).holding, []);
    let lost =
        Orders { runs: vec![], tests: vec![], ..orders(2, 0, vec![wanted(1, 0)], vec![unit(1, 1..2)]) };
    assert_ne!(l.receive_orders(Time(0), lost), [], "the contexts came with the orders before");
    l.check();
}

#[test]
fn a_result_waits_a_little_for_others_while_every_device_has_work() {
    let mut l = ledger(1);
    assert_eq!(l.wants_to_speak(Time(0)), Speak::Now, "the first word");
    given(&mut l, 1..11);
    assert_eq!(l.wants_to_speak(Time(0)), Speak::At(millis(3)), "the line is opened again");
    l.exchange(millis(3), Gauges::default());
    assert_eq!(l.wants_to_speak(millis(3)), Speak::At(millis(2003)), "nothing to say");
    l.take(millis(4), 0).unwrap();
    assert_eq!(l.wants_to_speak(millis(4)), Speak::At(millis(54)), "a start is news");
    l.receive_finished(millis(5), UnitId(1), attempt(1), passed());
    l.receive_unit_ended(millis(5), UnitId(1));
    l.take(millis(5), 0).unwrap();
    assert_eq!(l.wants_to_speak(millis(5)), Speak::At(millis(8)), "a result is told soon");
    assert_eq!(l.wants_to_speak(millis(9)), Speak::Now);
    l.exchange(millis(9), Gauges::default());
    l.receive_finished(millis(9), UnitId(2), attempt(2), passed());
    assert_eq!(l.wants_to_speak(millis(99)), Speak::At(millis(10_009)), "results are on their way");
    l.speak_soon(millis(99));
    assert_eq!(l.wants_to_speak(millis(99)), Speak::Now, "but who is asked speaks");
}

#[test]
fn results_are_told_at_once_when_a_device_runs_dry_or_half_of_what_was_given_is_done() {
    let mut l = ledger(1);
    given(&mut l, 1..5);
    l.exchange(millis(3), Gauges::default());
    let run = |l: &mut Ledger, id: u32| {
        l.take(millis(4), 0).unwrap();
        l.receive_finished(millis(4), UnitId(id.into()), attempt(id), passed());
        l.receive_unit_ended(millis(4), UnitId(id.into()));
        l.wants_to_speak(millis(4))
    };
    assert_eq!(run(&mut l, 1), Speak::At(millis(7)));
    assert_eq!(run(&mut l, 2), Speak::Now, "half is done");
    let mut l = ledger(1);
    given(&mut l, 1..2);
    l.exchange(millis(3), Gauges::default());
    assert_eq!(run(&mut l, 1), Speak::Now, "there is no other");
}

#[test]
fn a_unit_asked_back_is_dropped_if_it_has_not_started_and_that_is_told_at_once() {
    let mut l = ledger(1);
    given(&mut l, 1..3);
    l.take(Time(0), 0).unwrap();
    l.exchange(Time(0), Gauges::default());
    let back = |unit| Wanted { give_back: true, ..wanted(unit, 0) };
    let never_held = vec![unit(3, 3..4)];
    assert_eq!(l.receive_orders(Time(5), orders(2, 0, vec![back(1), back(2), back(3)], never_held)), []);
    l.check();
    assert_eq!(l.wants_to_speak(Time(5)), Speak::Now);
    let told = l.exchange(Time(5), Gauges::default());
    assert_eq!(told.holding.iter().map(|h| h.unit.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn no_more_is_run_while_too_many_results_wait_for_the_record() {
    let mut l = ledger(1);
    given(&mut l, 0..100);
    let mut ran = 0;
    while l.take(Time(0), 0).is_some() {
        let AttemptEnd::Ran(result) = passed() else { unreachable!() };
        let end = AttemptEnd::Ran(AttemptResult { output: Output::Inline(vec![0; 1 << 20]), ..result });
        assert!(l.receive_finished(Time(0), UnitId(ran), attempt(ran as u32), end));
        l.receive_unit_ended(Time(0), UnitId(ran));
        ran += 1;
    }
    assert_eq!(ran, 32);
    assert_eq!(l.wants_to_speak(Time(0)), Speak::Now);
    let seq = l.exchange(Time(0), Gauges::default()).seq;
    let list = (ran..100).map(|u| wanted(u, 0)).collect();
    assert_eq!(l.receive_orders(Time(0), orders(seq, 32, list, vec![])), [Effect::Wake { device: 0 }]);
    assert!(l.take(Time(0), 0).is_some());
    l.check();
}

#[test]
fn a_silent_lab_makes_the_agent_stop() {
    let mut l = ledger(1);
    given(&mut l, 1..3);
    l.take(Time(0), 0).unwrap();
    assert_eq!(l.sweep_silence(millis(999), Duration::from_secs(1)), []);
    let stop = Effect::Stop { unit: UnitId(1), device: 0, kill: false };
    assert_eq!(l.sweep_silence(millis(1000), Duration::from_secs(1)), [stop]);
    assert_eq!(l.sweep_silence(millis(1001), Duration::from_secs(1)), []);
    assert_eq!(l.load(), (1, 1, 0), "what was queued is dropped");
    l.check();
}

#[test]
fn orders_that_were_long_on_their_way_do_not_say_that_the_lab_still_counts_on_the_agent() {
    let limit = Duration::from_secs(1);
    let mut l = ledger(1);
    given(&mut l, 1..3);
    l.take(Time(0), 0).unwrap();
    l.exchange(millis(100), Gauges::default());
    let late = orders(2, 0, vec![wanted(1, 0), wanted(2, 0), wanted(3, 0)], vec![unit(3, 3..4)]);
    l.receive_orders(millis(5000), late);
    assert_eq!(l.silent_since(), Some(millis(100)));
    let stop = Effect::Stop { unit: UnitId(1), device: 0, kill: false };
    assert_eq!(l.sweep_silence(millis(5000), limit), [stop], "its lease may have ended long ago");
    assert_eq!(l.load(), (1, 1, 0), "what came with them is not begun");
    l.exchange(millis(5100), Gauges::default());
    l.receive_orders(millis(5200), orders(3, 0, vec![], vec![]));
    assert_eq!(l.sweep_silence(millis(6000), limit), []);
    l.check();
}

#[test]
fn contexts_do_not_pile_up_over_a_thousand_tests() {
    let mut l = ledger(1);
    for n in 1..1000u32 {
        l.exchange(Time(0), Gauges::default());
        let mut o = orders(n.into(), u64::from(n) - 1, vec![wanted(n.into(), 0)], vec![]);
        let mut u = unit(n.into(), n..n + 1);
        u.test = TestIx(n);
        o.tests = vec![Arc::new(TestContext { test: TestIx(n), ..(*test_context()).clone() })];
        o.new = vec![u];
        l.receive_orders(Time(0), o);
        l.take(Time(0), 0).unwrap();
        l.receive_unit_ended(Time(0), UnitId(n.into()));
    }
    assert!(l.tests.len() < 30, "{} contexts", l.tests.len());
    assert!(l.ended.len() < 3, "{} ended", l.ended.len());
}

/// A lab that wants each unit run once, and knows only what it hears.
struct Lab {
    todo: Vec<Unit>,
    /// Attempts with a recorded end, and how many results of each were accepted.
    done: BTreeMap<AttemptRef, u32>,
    seen: u64,
    acked: u64,
}

impl Lab {
    fn receive(&mut self, exchange: &Exchange) -> Option<Orders> {
        if exchange.seq <= self.seen {
            return None;
        }
        self.seen = exchange.seq;
        for finished in &exchange.finished {
            if finished.spool > self.acked {
                assert_eq!(finished.spool, self.acked + 1, "no result is left out");
                self.acked = finished.spool;
                *self.done.entry(finished.attempt).or_default() += 1;
            }
        }
        let open = |u: &&Unit| u.attempts.iter().any(|a| !self.done.contains_key(&a.attempt));
        let list: Vec<&Unit> = self.todo.iter().filter(open).take(5).collect();
        let known = |id: UnitId| {
            exchange.holding.iter().any(|h| h.unit == id) || exchange.finished.iter().any(|f| f.unit == id)
        };
        Some(orders(
            exchange.seq,
            self.acked,
            list.iter().map(|u| wanted(u.id.0, (u.id.0 % 2) as u32)).collect(),
            list.into_iter().filter(|u| !known(u.id)).cloned().collect(),
        ))
    }
}

/// One move of the world between the agent, its devices and the lab.
#[derive(Clone, Copy, Debug)]
enum Move {
    Speak,
    Hear(usize, bool),
    Answer(usize, bool),
    LoseUp(usize),
    LoseDown(usize),
    Take(u32),
    Finish(u32),
    End(u32),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let place = 0..8usize;
    proptest::collection::vec(
        prop_oneof![
            3 => Just(Move::Speak),
            4 => (place.clone(), any::<bool>()).prop_map(|(p, twice)| Move::Hear(p, twice)),
            4 => (place.clone(), any::<bool>()).prop_map(|(p, twice)| Move::Answer(p, twice)),
            1 => place.clone().prop_map(Move::LoseUp),
            1 => place.prop_map(Move::LoseDown),
            3 => (0..2u32).prop_map(Move::Take),
            4 => (0..2u32).prop_map(Move::Finish),
            2 => (0..2u32).prop_map(Move::End),
        ],
        0..300,
    )
}

proptest! {
    #[test]
    fn whatever_is_lost_doubled_or_reordered_each_unit_runs_once_and_every_result_arrives_once(
        moves in moves(),
        sizes in proptest::collection::vec(1..4u32, 1..12),
    ) {
        let mut next = 0;
        let todo = sizes.iter().zip(1..).map(|(n, id)| { next += n; unit(id, next - n..next) }).collect();
        let mut lab = Lab { todo, done: BTreeMap::new(), seen: 0, acked: 0 };
        let mut l = ledger(2);
        let (mut up, mut down): (Vec<Exchange>, Vec<Orders>) = (vec![], vec![]);
        let mut at: [Option<Arc<Unit>>; 2] = [None, None];
        let mut taken = BTreeSet::new();
        let mut now = Time(0);
        let quiet = (0..200).flat_map(|_| [
            Move::Speak, Move::Answer(0, false), Move::Hear(0, false),
            Move::Take(0), Move::Take(1), Move::End(0), Move::End(1),
        ]);
        for (step, mv) in moves.iter().copied().chain(quiet).enumerate() {
            if step == moves.len() {
                (up, down) = (vec![], vec![]);
            }
            now = now + Duration::from_millis(1);
            match mv {
                Move::Speak => up.push(l.exchange(now, Gauges::default())),
                Move::Answer(p, twice) if p < up.len() => {
                    let exchange = if twice { up[p].clone() } else { up.remove(p) };
                    down.extend(lab.receive(&exchange));
                }
                Move::Hear(p, twice) if p < down.len() => {
                    let orders = if twice { down[p].clone() } else { down.remove(p) };
                    for effect in l.receive_orders(now, orders) {
                        match effect {
                            Effect::Wake { device } => prop_assert!(at[device as usize].is_none()),
                            Effect::Stop { .. } => prop_assert!(false, "the lab drops nothing that runs"),
                        }
                    }
                }
                Move::LoseUp(p) if p < up.len() => drop(up.remove(p)),
                Move::LoseDown(p) if p < down.len() => drop(down.remove(p)),
                Move::Take(d) => {
                    if let Some(t) = l.take(now, d) {
                        prop_assert!(taken.insert(t.unit.id), "{} runs twice", t.unit.id);
                        at[d as usize] = Some(t.unit);
                    }
                }
                Move::Finish(d) => {
                    if let Some(u) = &at[d as usize] {
                        l.receive_finished(now, u.id, u.attempts[0].attempt, passed());
                    }
                }
                Move::End(d) => {
                    if let Some(u) = at[d as usize].take() {
                        l.receive_unit_ended(now, u.id);
                    }
                }
                Move::Answer(..) | Move::Hear(..) | Move::LoseUp(_) | Move::LoseDown(_) => {}
            }
            l.check();
        }
        prop_assert_eq!(lab.done.len(), next as usize);
        prop_assert!(lab.done.values().all(|n| *n == 1));
        prop_assert_eq!(l.load(), (0, 0, 0));
        prop_assert!(l.ended.is_empty());
    }
}
