//! Items that are run again in the same run.

use crate::kit::{World, check};
use expect_test::expect;

#[test]
fn a_failed_item_may_be_run_again() {
    check(
        "devices 1; a/x,y x-> fail,pass; at 5s reopen a/x",
        expect![[r#"
           0s run of 2
           0s d1: a/x#1
           1s     a/x = fail
           1s d1: a/y#1
           2s     a/y = pass
           2s     a: fail of 1 pass, 1 fail
           2s run ended: 1 pass, 1 fail
           5s REOPEN
           5s run of 2
           5s d1: a/x#2
           6s     a/x = pass
           6s     a: pass of 2 pass
           6s run ended: 2 pass
    "#]],
    );
}

#[test]
fn what_came_after_it_may_be_run_again_too() {
    check(
        "devices 1; a -> fail,pass; b after a; at 5s reopen a,b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = fail
           1s     b = prerequisite-failed (`a` came to `fail`)
           1s run ended: 1 prerequisite-failed, 1 fail
           5s REOPEN
           5s run of 2
           5s d1: a#2
           6s     a = pass
           6s d1: b#1
           7s     b = pass
           7s run ended: 2 pass
    "#]],
    );
}

#[test]
fn what_comes_after_a_failure_that_is_not_run_again_fails_again() {
    check(
        "devices 1; a -> fail; b after a; at 5s reopen b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = fail
           1s     b = prerequisite-failed (`a` came to `fail`)
           1s run ended: 1 prerequisite-failed, 1 fail
           5s REOPEN
           5s run of 2
           5s     b = prerequisite-failed (`a` came to `fail`)
           5s run ended: 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn a_rerun_that_fails_takes_its_dependents_with_it_again() {
    check(
        "devices 1; a -> fail; b after a; at 5s reopen a,b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = fail
           1s     b = prerequisite-failed (`a` came to `fail`)
           1s run ended: 1 prerequisite-failed, 1 fail
           5s REOPEN
           5s run of 2
           5s d1: a#2
           6s     a = fail
           6s     b = prerequisite-failed (`a` came to `fail`)
           6s run ended: 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn tries_begin_anew_and_attempt_numbers_go_on() {
    check(
        "a retries 1 -> fail,fail,fail,pass; at 5s reopen a",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a#1 fail, again
           1s d1: a#2
           2s     a = fail
           2s run ended: 1 fail
           5s REOPEN
           5s run of 1
           5s d1: a#3
           6s     a#3 fail, again
           6s d1: a#4
           7s     a = flaky (passed on try 2)
           7s run ended: 1 flaky
    "#]],
    );
}

#[test]
fn a_prerequisite_may_be_run_again_while_its_dependent_runs() {
    check(
        "devices 2; a -> pass,fail; b after a takes 5s; at 3s reopen a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           3s REOPEN
           3s run of 2
           3s d2: a#2
           4s     a = fail
           6s     b = pass
           6s run ended: 1 pass, 1 fail
    "#]],
    );
}

#[test]
fn a_dependent_that_is_lost_while_its_prerequisite_failed_again_is_not_run() {
    check(
        "agents 1 1; a -> pass,fail; b after a takes 90s; at 3s reopen a; at 8s gone 1; at 8s gone 2; at 9s back 1",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           3s REOPEN
           3s run of 2
           3s d2: a#2
           4s     a = fail
           8s GONE
           8s     b = prerequisite-failed (`a` came to `fail`)
           8s run ended: 1 prerequisite-failed, 1 fail
           8s GONE
           9s BACK
    "#]],
    );
}

#[test]
fn an_item_whose_matching_one_failed_again_while_it_ran_keeps_its_result() {
    check(
        "devices 2; a/x x-> pass,fail; b/x after-item a takes 5s; at 3s reopen a/x",
        expect![[r#"
           0s run of 2
           0s d1: a/x#1
           1s     a/x = pass
           1s d1: b/x#1
           3s REOPEN
           3s run of 2
           3s d2: a/x#2
           4s     a/x = fail
           6s     b/x = pass
           6s run ended: 1 pass, 1 fail
    "#]],
    );
}

#[test]
fn flaky_is_judged_by_the_tries_since_the_reopening() {
    check(
        "a retries 1 -> fail,pass,pass; at 5s reopen a",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a#1 fail, again
           1s d1: a#2
           2s     a = flaky (passed on try 2)
           2s run ended: 1 flaky
           5s REOPEN
           5s run of 1
           5s d1: a#3
           6s     a = pass
           6s run ended: 1 pass
    "#]],
    );
}

#[test]
fn a_run_that_has_ended_may_get_more_items_and_more_tests() {
    let mut world = World::new("devices 1; a/x");
    world.create();
    world.tick();
    world.go_on();
    assert_eq!(world.counts(), "pass");
    world.grow();
    world.tick();
    // What is saved of it is enough to go on.
    world.restart();
    world.tick();
    world.go_on();
    assert_eq!(world.counts(), "pass pass pass");
    let at = |what: &str| world.story.find(what).unwrap_or_else(|| panic!("{what}: {}", world.story));
    assert!(at("a/y#1") < at("b#1"), "{}", world.story);
    assert!(!world.story.contains("a/x#2"), "{}", world.story);
    world.lab.check();
}
