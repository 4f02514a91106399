//! Agents that come, die, fall silent and come back.

use crate::kit::check;
use expect_test::expect;

#[test]
fn the_work_of_an_agent_that_died_is_done_by_another() {
    check(
        "agents 1 1; a*2 takes 10s; at 2s gone 1",
        expect![[r#"
            0s run of 2
            0s d1: a/1#1
            0s d2: a/2#1
            2s GONE
            10s     a/2 = pass
            10s d2: a/1#1
            20s     a/1 = pass
            20s     a: pass of 2 pass
            20s run ended: 2 pass
        "#]],
    );
}

#[test]
fn a_silent_agent_loses_its_devices_when_its_lease_ends() {
    check(
        "agents 1 1; a*2 takes 5s; at 1s silence 1",
        expect![[r#"
            0s run of 2
            0s d1: a/1#1
            0s d2: a/2#1
            5s     a/2 = pass
            60s d2: a/1#1
            65s     a/1 = pass
            65s     a: pass of 2 pass
            65s run ended: 2 pass
        "#]],
    );
}

#[test]
fn an_agent_that_was_silent_for_less_than_its_lease_loses_nothing() {
    check(
        "agents 1; a*2 takes 5s; at 1s silence 1; at 40s voice 1",
        expect![[r#"
            0s run of 2
            0s d1: a/1#1
            40s     a/1 = pass
            40s d1: a/2#1
            45s     a/2 = pass
            45s     a: pass of 2 pass
            45s run ended: 2 pass
        "#]],
    );
}

#[test]
fn what_a_silent_agent_did_is_late_evidence_when_it_was_given_to_another() {
    check(
        "agents 1 1; a*2 takes 5s; c takes 200s; at 1s silence 1; at 70s voice 1",
        expect![[r#"
            0s run of 3
            0s d1: a/1#1
            0s d2: a/2#1
            5s     a/2 = pass
            5s d2: c#1
            70s d1: a/1#1
            75s     a/1 = pass
            75s     a: pass of 2 pass
            205s     c = pass
            205s run ended: 3 pass
        "#]],
    );
}

#[test]
fn a_new_session_means_that_the_old_one_died() {
    check(
        "agents 1; a*2 takes 5s; at 2s back 1",
        expect![[r#"
            0s run of 2
            0s d1: a/1#1
            2s BACK
            2s d1: a/1#1
            7s     a/1 = pass
            7s d1: a/2#1
            12s     a/2 = pass
            12s     a: pass of 2 pass
            12s run ended: 2 pass
        "#]],
    );
}

#[test]
fn the_lab_may_be_lost_and_nothing_else_is() {
    check(
        "devices 2; a*3 takes 2s; b after a; at 1s restart; at 3s restart; at 5s restart",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           0s d2: a/2#1
           1s RESTART
           0s d1: a/1#1
           0s d2: a/2#1
           2s     a/1 = pass
           2s     a/2 = pass
           2s d1: a/3#1
           3s RESTART
           2s d1: a/3#1
           4s     a/3 = pass
           4s     a: pass of 3 pass
           4s d1: b#1
           5s RESTART
           5s     b = pass
           5s run ended: 4 pass
    "#]],
    );
}

#[test]
fn an_agent_that_died_while_the_lab_was_away_is_missed_after_a_lease() {
    check(
        "agents 1 1; a*2 takes 9s; at 1s silence 1; at 2s restart",
        expect![[r#"
            0s run of 2
            0s d1: a/1#1
            0s d2: a/2#1
            2s RESTART
            0s d2: a/2#1
            9s     a/2 = pass
            62s d2: a/1#1
            71s     a/1 = pass
            71s     a: pass of 2 pass
            71s run ended: 2 pass
        "#]],
    );
}

#[test]
fn without_an_agent_nothing_runs_and_that_is_said() {
    check(
        "agents 1; a; at 0s gone 1; at 1s why a; at 3s back 1",
        expect![[r#"
           0s run of 1
           0s GONE
           1s why a? no agent is there to run it
           3s BACK
           3s d1: a#1
           4s     a = pass
           4s run ended: 1 pass
    "#]],
    );
}

#[test]
fn an_agent_that_fell_silent_is_given_nothing_new() {
    // It speaks every few seconds, and had an exchange open when its host was lost.
    check(
        "agents 1 1; c takes 9s; b*3 after-end c; at 1s silence 2; at 11s voice 2",
        expect![[r#"
            0s run of 4
            0s d1: c#1
            9s     c = pass
            9s d1: b/1#1
            10s     b/1 = pass
            10s d1: b/2#1
            11s     b/2 = pass
            11s d1: b/3#1
            12s     b/3 = pass
            12s     b: pass of 3 pass
            12s run ended: 4 pass
        "#]],
    );
}
