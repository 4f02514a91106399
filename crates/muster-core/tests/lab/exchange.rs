//! The exchange: lost, doubled, stale and late messages, leases and fences.

use crate::build;
use crate::kit::{World, exchange, held, results_of};
use muster_core::change::{Change, RunPhase};
use muster_core::exchange::{AttemptEnd, DeviceOffer, Exchange, Finished, Found, FoundItem, Orders};
use muster_core::id::{AgentId, AttemptRef, ItemIx, LeaseId, RunId, SessionId, UnitId};
use muster_core::lab::{Gone, Input, Rejected};
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(60);

fn secs(n: u64) -> Time {
    Time(n * 1_000_000)
}

/// A run, and an agent that has just got its first orders.
fn begun(scenario: &str) -> (World, Orders) {
    let mut world = World::new(scenario);
    world.create();
    let orders = world.hears(exchange(1, 1, 1, 0)).expect("there is work");
    (world, orders)
}

fn apply(world: &mut World, exchange: Exchange) -> Result<(), Rejected> {
    world.apply(Input::Exchange(Box::new(exchange))).map(drop)
}

#[test]
fn an_exchange_that_was_doubled_or_overtaken_changes_nothing() {
    let (mut world, _) = begun("a");
    for seq in [0, 1] {
        let stale = Rejected::Stale { session: SessionId(1), seq };
        assert_eq!(apply(&mut world, exchange(1, 1, seq, 0)), Err(stale));
    }
    assert_eq!(apply(&mut world, exchange(1, 1, 2, 0)), Ok(()));
}

#[test]
fn an_exchange_of_an_earlier_session_is_a_voice_from_the_grave() {
    let (mut world, first) = begun("a");
    world.hears(exchange(1, 2, 1, 0)).expect("the new session gets the work");
    let finished = results_of(&first, Outcome::Fail, 1);
    let replaced = Rejected::Replaced { session: SessionId(1) };
    assert_eq!(apply(&mut world, Exchange { finished, ..exchange(1, 1, 2, 1) }), Err(replaced));
    assert_eq!(world.counts(), "");
}

#[test]
fn a_session_that_is_known_to_be_over_is_not_heard_any_more() {
    let (mut world, _) = begun("a");
    world.apply(Input::AgentGone { agent: AgentId(1), session: SessionId(1), how: Gone::Died }).unwrap();
    let replaced = Rejected::Replaced { session: SessionId(1) };
    assert_eq!(apply(&mut world, exchange(1, 1, 2, 1)), Err(replaced), "a delayed message revives nobody");
    assert!(world.hears(exchange(1, 2, 1, 0)).is_some(), "its next session is welcome");
}

#[test]
fn the_end_of_an_earlier_session_does_not_touch_the_next() {
    let (mut world, _) = begun("a");
    let orders = world.hears(exchange(1, 2, 1, 0)).unwrap();
    world.apply(Input::AgentGone { agent: AgentId(1), session: SessionId(1), how: Gone::Died }).unwrap();
    let finished = results_of(&orders, Outcome::Pass, 1);
    world.hears(Exchange { finished, ..exchange(1, 2, 2, 1) });
    assert_eq!(world.counts(), "pass");
}

#[test]
fn orders_that_were_lost_are_given_again() {
    let (mut world, first) = begun("a");
    let again = world.hears(exchange(1, 1, 2, 0)).expect("it still does not have it");
    assert_eq!(again.units, first.units);
    assert_eq!(again.new, first.new);
    assert_eq!(again.tests.len(), 1, "with all that is needed to run it");
    let nothing = world.hears(Exchange { holding: held(&again, false), ..exchange(1, 1, 3, 2) });
    assert_eq!(nothing, None, "it has all it should have");
}

#[test]
fn results_are_acknowledged_and_repetitions_of_them_are_not_counted() {
    let (mut world, orders) = begun("a*3 takes 1ms known 1ms");
    assert_eq!(orders.new.len(), 3);
    let mut finished = results_of(&orders, Outcome::Pass, 1);
    let last = finished.pop().unwrap();
    let holding = held(&orders, true).split_off(2);
    let answer = world.hears(Exchange {
        finished: finished.clone(),
        holding: holding.clone(),
        ..exchange(1, 1, 2, 1)
    });
    assert_eq!(answer.map(|o| o.acked), Some(2));
    let answer = world.hears(Exchange { finished: finished.clone(), holding, ..exchange(1, 1, 3, 1) });
    assert_eq!(answer.map(|o| o.acked), Some(2), "the answer may have been lost: it is given again");
    assert_eq!(world.recorded(), 2);
    finished.push(last);
    let answer = world.hears(Exchange { finished, ..exchange(1, 1, 4, 1) });
    assert_eq!(answer.map(|o| o.acked), Some(3));
    assert_eq!((world.counts().as_str(), world.late()), ("pass pass pass", 0));
}

#[test]
fn a_result_under_a_lease_that_ended_is_kept_as_late_evidence_and_counts_nothing() {
    let (mut world, orders) = begun("a");
    world.now = Time::default() + LEASE;
    world.decides();
    assert!(world.saved.iter().any(|c| matches!(c, Change::LeaseEnded { .. })));
    let finished = results_of(&orders, Outcome::Fail, 1);
    let answer = world.hears(Exchange { finished, ..exchange(1, 1, 2, 1) }).unwrap();
    assert_eq!((answer.acked, world.late(), world.recorded()), (1, 1, 0));
    assert_eq!(answer.new.len(), 1, "the item is run again");
    assert!(answer.units[0].lease > orders.units[0].lease, "fences grow");
    assert_eq!(answer.new[0].attempts[0].attempt.attempt, 1, "no attempt was recorded");
}

#[test]
fn a_result_that_comes_at_the_very_end_of_the_lease_counts() {
    let (mut world, orders) = begun("a");
    world.now = Time::default() + LEASE;
    let finished = results_of(&orders, Outcome::Pass, 1);
    world.hears(Exchange { finished, ..exchange(1, 1, 2, 1) });
    assert_eq!((world.counts().as_str(), world.late()), ("pass", 0));
}

#[test]
fn a_result_with_a_wrong_lease_is_not_believed() {
    let (mut world, orders) = begun("a");
    let mut finished = results_of(&orders, Outcome::Pass, 1);
    finished[0].lease = LeaseId(finished[0].lease.0 + 1);
    let holding = held(&orders, true);
    world.hears(Exchange { finished, holding, ..exchange(1, 1, 2, 1) });
    assert_eq!((world.counts().as_str(), world.late()), ("", 1));
}

#[test]
fn a_result_that_another_agent_brings_is_not_believed() {
    let (mut world, orders) = begun("a");
    let (finished, holding) = (results_of(&orders, Outcome::Pass, 1), held(&orders, true));
    world.hears(Exchange { finished: finished.clone(), holding, ..exchange(2, 1, 1, 0) });
    assert_eq!((world.counts().as_str(), world.recorded()), ("", 0));
    world.hears(Exchange { finished, ..exchange(1, 1, 2, 1) });
    assert_eq!((world.counts().as_str(), world.recorded()), ("pass", 1));
}

#[test]
fn results_of_what_the_lab_does_not_have_are_not_recorded() {
    // The store may not have it either, and would refuse all that is committed with it.
    let (mut world, orders) = begun("a");
    let end = AttemptEnd::Ran(build::result(Outcome::Pass, Time::default(), Duration::ZERO));
    let of = |run, item| AttemptRef { run: RunId(run), item: ItemIx(item), attempt: 1 };
    let strange =
        |spool, attempt| Finished { spool, unit: UnitId(99), lease: LeaseId(99), attempt, end: end.clone() };
    let finished = vec![strange(1, of(77, 0)), strange(2, of(1, 77))];
    let answer = world.hears(Exchange { finished, holding: held(&orders, true), ..exchange(1, 1, 2, 1) });
    assert_eq!((answer.map(|o| o.acked), world.late(), world.recorded()), (Some(2), 0, 0));
}

#[test]
fn items_found_by_what_was_no_question_are_not_believed() {
    let (mut world, orders) = begun("a");
    let mut finished = results_of(&orders, Outcome::Pass, 1);
    let result = build::result(Outcome::Pass, Time::default(), Duration::ZERO);
    let found = Found { items: vec![FoundItem::default()], ..Found::default() };
    finished[0].end = AttemptEnd::Found(result, found);
    world.hears(Exchange { finished, ..exchange(1, 1, 2, 1) });
    assert_eq!(world.counts(), "pass");
}

#[test]
fn a_question_answered_without_a_list_found_nothing() {
    let (mut world, orders) = begun("a?x");
    let finished = results_of(&orders, Outcome::Pass, 1);
    world.hears(Exchange { finished, ..exchange(1, 1, 2, 1) });
    assert_eq!(world.counts(), "no-items");
}

#[test]
fn what_was_asked_back_is_given_away_only_when_the_agent_has_heard_so() {
    let (mut world, orders) = begun("agents 1 1; a*4 takes 1s known 5ms");
    let all = held(&orders, false);
    assert_eq!(all.len(), 4, "all of it went to the first device");
    world.hears(Exchange { holding: all.clone(), ..exchange(1, 1, 2, 1) });
    assert_eq!(world.hears(exchange(2, 1, 1, 0)), None, "another device has nothing");
    let asked = world.hears(Exchange { holding: all.clone(), ..exchange(1, 1, 3, 1) }).expect("asked back");
    assert_eq!(asked.units.iter().filter(|w| w.give_back).count(), 1);
    // Those orders are lost, and said again.
    let asked = world.hears(Exchange { holding: all.clone(), ..exchange(1, 1, 4, 1) }).expect("again");
    let back = asked.units.iter().find(|w| w.give_back).expect("still wanted back").unit;
    let kept: Vec<_> = all.into_iter().filter(|h| h.unit != back).collect();
    // Not holding it is no proof that it was dropped for good: the content may still be on its way.
    world
        .apply(Input::Exchange(Box::new(Exchange { holding: kept.clone(), ..exchange(1, 1, 5, 1) })))
        .unwrap();
    assert!(world.decides().iter().all(|(agent, _)| *agent != AgentId(2)));
    world.apply(Input::Exchange(Box::new(Exchange { holding: kept, ..exchange(1, 1, 6, 4) }))).unwrap();
    let given = world.decides();
    assert!(given.iter().any(|(agent, orders)| *agent == AgentId(2) && orders.new.len() == 1), "{given:?}");
}

#[test]
fn what_runs_when_it_is_asked_back_goes_on() {
    let (mut world, orders) = begun("agents 1 1; a*2 takes 1s known 5ms");
    world.hears(Exchange { holding: held(&orders, false), ..exchange(1, 1, 2, 1) });
    world.hears(exchange(2, 1, 1, 0));
    let asked = world.hears(Exchange { holding: held(&orders, false), ..exchange(1, 1, 3, 1) }).unwrap();
    assert_eq!(asked.units.iter().filter(|w| w.give_back).count(), 1);
    let both = world.hears(Exchange { holding: held(&orders, true), ..exchange(1, 1, 4, 3) });
    assert_eq!(both, None, "it keeps both");
    assert!(world.decides().is_empty());
}

#[test]
fn a_stop_that_was_lost_on_its_way_is_said_again() {
    let (mut world, orders) = begun("a");
    // The orders that gave the unit out are lost, and so are those that take it back.
    assert_eq!(orders.new.len(), 1);
    let run = world.run();
    world.apply(Input::StopRun { run, reason: "enough".to_owned(), kill: false }).unwrap();
    assert!(world.hears(exchange(1, 1, 2, 0)).is_some());
    assert!(world.hears(exchange(1, 1, 3, 0)).is_some(), "nothing says that it was heard");
    assert!(!world.lab.is_over(run));
    world.hears(exchange(1, 1, 4, 3));
    assert!(world.lab.is_over(run));
    assert!(matches!(
        world.saved.last(),
        Some(Change::RunState { phase: RunPhase::Stopped { reason, .. }, .. }) if reason == "enough"
    ));
}

#[test]
fn an_agent_that_is_ending_something_is_not_told_so_over_and_over() {
    let (mut world, orders) = begun("a");
    let running = |seq, heard| Exchange { holding: held(&orders, true), ..exchange(1, 1, seq, heard) };
    let run = world.run();
    assert_eq!(world.hears(running(2, 1)), None);
    world.apply(Input::StopRun { run, reason: String::new(), kill: false }).unwrap();
    let told = world.decides();
    assert_eq!(told.len(), 1);
    assert!(!told[0].1.kill);
    assert_eq!(world.hears(running(3, 2)), None, "it knows");
    world.apply(Input::StopRun { run, reason: String::new(), kill: true }).unwrap();
    let told = world.decides();
    assert!(told[0].1.kill, "this is news");
    assert_eq!(world.hears(running(4, 3)), None, "it knows");
    assert!(world.hears(running(5, 2)).is_some(), "those orders were lost");
}

#[test]
fn an_agent_at_work_is_answered_now_and_then_although_there_is_nothing_to_say() {
    let (mut world, orders) = begun("a takes 500s");
    let at_work = |seq| Exchange { holding: held(&orders, true), ..exchange(1, 1, seq, 1) };
    assert_eq!(world.hears(at_work(2)), None);
    world.now = Time::default() + LEASE / 4 - Duration::from_micros(1);
    assert_eq!(world.hears(at_work(3)), None);
    world.now = Time::default() + LEASE / 4;
    assert!(world.hears(at_work(4)).is_some(), "the lab still counts on it");
    assert_eq!(world.hears(at_work(5)), None);
    world.now = secs(500);
    world.hears(exchange(1, 2, 1, 0));
    assert_eq!(
        world.hears(exchange(1, 2, 2, 1)).map(|o| o.units.len()),
        Some(1),
        "it does not have its work"
    );
}

#[test]
fn the_lab_wakes_for_leases_pauses_and_deadlines() {
    let world = World::new("a");
    assert_eq!(world.lab.wake_at(), None, "nothing is to come");
    let (world, _) = begun("a");
    assert_eq!(world.lab.wake_at(), Some(Time::default() + LEASE));
    let (world, _) = begun("timeout 20s; a");
    assert_eq!(world.lab.wake_at(), Some(secs(20)));
    let (mut world, orders) = begun("a retries 1 delay 7s");
    let finished = results_of(&orders, Outcome::Fail, 1);
    world.hears(Exchange { finished, ..exchange(1, 1, 2, 1) });
    assert_eq!(world.lab.wake_at(), Some(secs(7)), "an idle agent may leave unnoticed");
}

#[test]
fn unknown_runs_cannot_be_stopped_and_known_ones_not_made_twice() {
    let mut world = World::new("a");
    let run = world.run();
    let stop = |run| Input::StopRun { run, reason: String::new(), kill: false };
    assert_eq!(world.apply(stop(run)).unwrap_err().code(), "no-such-run");
    world.create();
    let again = Input::CreateRun { record: world.record.clone(), history: std::sync::Arc::new(()) };
    assert_eq!(world.apply(again).unwrap_err().code(), "run-exists");
}

#[test]
fn a_device_that_its_agent_has_no_more_is_forgotten_and_others_keep_their_names() {
    let (mut world, _) = begun("a*2");
    let say = |session, devices: &[&str]| Exchange {
        devices: devices.iter().map(|d| DeviceOffer::named(*d)).collect(),
        ..exchange(1, session, 1, 0)
    };
    world.hears(say(2, &["d1", "d2"]));
    let before = world.lab.snapshot().agents[0].devices.clone();
    world.hears(say(3, &["d3", "d2"]));
    let after = world.lab.snapshot().agents[0].devices.clone();
    assert_eq!(after[1], before[1], "the same device");
    assert!(after[0].0 > before[1].0, "a number is never used again");
    assert_eq!(world.lab.snapshot().leases.len(), 2, "both are at work");
}
