//! What starts first, and what shares a process.

use crate::kit::{World, check, exchange};
use expect_test::expect;
use muster_core::change::RunRecord;
use muster_core::exchange::{DeviceOffer, Exchange};
use muster_core::id::RunId;
use muster_core::lab::Input;
use std::sync::Arc;

#[test]
fn priority_comes_before_length() {
    check(
        "a takes 1s known 1s; b takes 3s known 3s; c takes 2s known 2s prio 5",
        expect![[r#"
           0s run of 3
           0s d1: c#1
           2s     c = pass
           2s d1: b#1
           5s     b = pass
           5s d1: a#1
           6s     a = pass
           6s run ended: 3 pass
    "#]],
    );
}

#[test]
fn the_longest_known_starts_first_and_the_unknown_count_as_a_second() {
    check(
        "a known 200ms takes 200ms; b; c known 5s takes 5s",
        expect![[r#"
            0s run of 3
            0s d1: c#1
            5s     c = pass
            5s d1: b#1
            6s     b = pass
            6s d1: a#1
            6.2s     a = pass
            6.2s run ended: 3 pass
        "#]],
    );
}

#[test]
fn what_is_expected_to_be_slow_starts_early() {
    check(
        "a known 5s; b expect-slow known 10ms takes 10ms",
        expect![[r#"
            0s run of 2
            0s d1: b#1
            0.01s     b = pass
            0.01s d1: a#1
            1.01s     a = pass
            1.01s run ended: 2 pass
        "#]],
    );
}

#[test]
fn questions_for_items_come_before_everything_of_their_priority() {
    check(
        "a known 9s takes 9s; b?x,y; c prio 1",
        expect![[r#"
            0s run of 2, and 1 to ask
            0s d1: c#1
            1s     c = pass
            1s d1: b#1
            2s b has 2
            2s d1: a#1
            11s     a = pass
            11s d1: b/x#1
            12s     b/x = pass
            12s d1: b/y#1
            13s     b/y = pass
            13s     b: pass of 2 pass
            13s run ended: 4 pass
        "#]],
    );
}

#[test]
fn suite_items_share_processes_but_leave_enough_for_every_device() {
    check(
        "devices 2; s!1,2,3,4,5,6,7,8,9,a,b,c batch 100 takes 100ms",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: s#1
            0.1s s has 12
            0.1s d1: s/1#1
            0.1s d2: s/3#1
            0.2s     s/1 = pass
            0.2s     s/3 = pass
            0.2s d1: s/2#1
            0.2s d2: s/4#1
            0.3s     s/2 = pass
            0.3s     s/4 = pass
            0.3s d1: s/5#1
            0.3s d2: s/7#1
            0.4s     s/5 = pass
            0.4s     s/7 = pass
            0.4s d1: s/6#1
            0.4s d2: s/8#1
            0.5s     s/6 = pass
            0.5s     s/8 = pass
            0.5s d1: s/9#1
            0.5s d2: s/a#1
            0.6s     s/9 = pass
            0.6s     s/a = pass
            0.6s d1: s/b#1
            0.6s d2: s/c#1
            0.7s     s/b = pass
            0.7s     s/c = pass
            0.7s     s: pass of 12 pass
            0.7s run ended: 12 pass
        "#]],
    );
}

#[test]
fn known_short_items_share_a_process_up_to_a_share_of_the_whole() {
    check(
        "devices 2; s!1,2,3,4,5,6,7,8,9,a,b,c batch 100 takes 100ms known 100ms",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: s#1
            0.1s s has 12
            0.1s d1: s/1#1
            0.1s d2: s/3#1
            0.2s     s/1 = pass
            0.2s     s/3 = pass
            0.2s d1: s/2#1
            0.2s d2: s/4#1
            0.3s     s/2 = pass
            0.3s     s/4 = pass
            0.3s d1: s/5#1
            0.3s d2: s/7#1
            0.4s     s/5 = pass
            0.4s     s/7 = pass
            0.4s d1: s/6#1
            0.4s d2: s/8#1
            0.5s     s/6 = pass
            0.5s     s/8 = pass
            0.5s d1: s/9#1
            0.5s d2: s/b#1
            0.6s     s/9 = pass
            0.6s     s/b = pass
            0.6s d1: s/a#1
            0.6s d2: s/c#1
            0.7s     s/a = pass
            0.7s     s/c = pass
            0.7s     s: pass of 12 pass
            0.7s run ended: 12 pass
        "#]],
    );
}

#[test]
fn known_long_items_run_alone() {
    check(
        "s!x,y batch 100 takes 3s known 3s",
        expect![[r#"
           0s run of 0, and 1 to ask
           0s d1: s#1
           3s s has 2
           3s d1: s/x#1
           6s     s/x = pass
           6s d1: s/y#1
           9s     s/y = pass
           9s     s: pass of 2 pass
           9s run ended: 2 pass
    "#]],
    );
}

#[test]
fn a_framework_that_runs_one_item_a_process_gets_one() {
    check(
        "s!x,y,z batch 1 takes 10ms",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: s#1
            0.01s s has 3
            0.01s d1: s/x#1
            0.02s     s/x = pass
            0.02s d1: s/y#1
            0.03s     s/y = pass
            0.03s d1: s/z#1
            0.04s     s/z = pass
            0.04s     s: pass of 3 pass
            0.04s run ended: 3 pass
        "#]],
    );
}

#[test]
fn a_crash_in_a_batch_fails_one_item_and_the_rest_is_given_out_again() {
    check(
        "s!1,2,3,4,5,6 batch 100 takes 1ms known 1ms 3-> crash",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: s#1
            0.001s s has 6
            0.001s d1: s/1#1
            0.002s     s/1 = pass
            0.002s d1: s/2#1
            0.003s     s/2 = pass
            0.003s d1: s/3#1
            0.004s     s/3 = crash
            0.004s d1: s/4#1
            0.005s     s/4 = pass
            0.005s d1: s/5#1
            0.006s     s/5 = pass
            0.006s d1: s/6#1
            0.007s     s/6 = pass
            0.007s     s: crash of 5 pass, 1 crash
            0.007s run ended: 5 pass, 1 crash
        "#]],
    );
}

#[test]
fn what_is_tried_again_runs_alone() {
    check(
        "s!1,2,3 batch 100 takes 1ms known 1ms retries 1 2-> fail,pass",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: s#1
            0.001s s has 3
            0.001s d1: s/1#1
            0.002s     s/1 = pass
            0.002s d1: s/2#1
            0.003s     s/2#1 fail, again
            0.003s d1: s/3#1
            0.004s     s/3 = pass
            0.004s d1: s/2#2
            0.005s     s/2 = flaky (passed on try 2)
            0.005s     s: flaky of 2 pass, 1 flaky
            0.005s run ended: 2 pass, 1 flaky
        "#]],
    );
}

#[test]
fn short_tests_are_queued_ahead_and_long_ones_are_not() {
    check(
        "devices 1; a*4 takes 5ms known 5ms; b*2 takes 4s known 4s prio 1",
        expect![[r#"
            0s run of 6
            0s d1: b/1#1
            4s     b/1 = pass
            4s d1: b/2#1
            8s     b/2 = pass
            8s     b: pass of 2 pass
            8s d1: a/1#1
            8.005s     a/1 = pass
            8.005s d1: a/2#1
            8.01s     a/2 = pass
            8.01s d1: a/3#1
            8.015s     a/3 = pass
            8.015s d1: a/4#1
            8.02s     a/4 = pass
            8.02s     a: pass of 4 pass
            8.02s run ended: 6 pass
        "#]],
    );
}

#[test]
fn work_that_waits_on_a_busy_device_is_given_to_an_idle_one() {
    check(
        "devices 2; a*8 takes 2s known 10ms",
        expect![[r#"
           0s run of 8
           0s d1: a/1#1
           0s d2: a/2#1
           2s     a/1 = pass
           2s     a/2 = pass
           2s d1: a/3#1
           2s d2: a/4#1
           4s     a/3 = pass
           4s     a/4 = pass
           4s d1: a/5#1
           4s d2: a/6#1
           6s     a/5 = pass
           6s     a/6 = pass
           6s d1: a/7#1
           6s d2: a/8#1
           8s     a/7 = pass
           8s     a/8 = pass
           8s     a: pass of 8 pass
           8s run ended: 8 pass
    "#]],
    );
}

#[test]
fn work_given_back_by_one_agent_goes_to_another() {
    check(
        "agents 1 1; a*6 takes 2s known 10ms",
        expect![[r#"
           0s run of 6
           0s d1: a/1#1
           0s d2: a/4#1
           2s     a/1 = pass
           2s d1: a/2#1
           2s     a/4 = pass
           2s d2: a/5#1
           4s     a/2 = pass
           4s d1: a/3#1
           4s     a/5 = pass
           4s d2: a/6#1
           6s     a/3 = pass
           6s     a/6 = pass
           6s     a: pass of 6 pass
           6s run ended: 6 pass
    "#]],
    );
}

#[test]
fn runs_share_the_lab_and_priority_goes_before() {
    let shares = |second: &str, priority| {
        let mut world = World::new("devices 4; a*8 takes 9s known 9s");
        world.create();
        let other = World::new(second).record;
        let mut spec = (*other.spec).clone();
        spec.placement.priority = priority;
        let record = RunRecord { id: RunId(77), number: 2, spec: Arc::new(spec), ..(*other).clone() };
        world.apply(Input::CreateRun { record: Arc::new(record), history: Arc::new(()) }).unwrap();
        let devices = (1..=4).map(|n| DeviceOffer::named(format!("d{n}"))).collect();
        world.hears(Exchange { devices, ..exchange(1, 1, 1, 0) }).unwrap();
        let leases = world.lab.snapshot().leases;
        let first: Vec<u128> = leases.iter().map(|l| l.units[0].run.0).collect();
        first.iter().filter(|run| **run == 77).count()
    };
    assert_eq!(shares("b*8 takes 1s", 0), 2, "half of the devices, though its items are short");
    assert_eq!(shares("b*8 takes 1s", 1), 4);
    assert_eq!(shares("b takes 1s", 0), 1, "it has no more");
}
