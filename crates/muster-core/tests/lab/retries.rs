//! Tries after a failure, and what they are called.

use crate::kit::check;
use expect_test::expect;

#[test]
fn a_pass_after_a_failure_is_flaky() {
    check(
        "a retries 2 -> fail,pass; b after a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a#1 fail, again
           1s d1: a#2
           2s     a = flaky (passed on try 2)
           2s d1: b#1
           3s     b = pass
           3s run ended: 1 pass, 1 flaky
    "#]],
    );
}

#[test]
fn a_flaky_test_may_be_called_failed() {
    check(
        "a retries 2 flaky-fails -> fail,pass; b after a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a#1 fail, again
           1s d1: a#2
           2s     a = fail (flaky: passed on try 2)
           2s     b = prerequisite-failed (`a` came to `fail`)
           2s run ended: 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn tries_end_with_the_last_outcome() {
    check(
        "a retries 2 -> fail,timeout,crash",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a#1 fail, again
           1s d1: a#2
           2s     a#2 timeout, again
           2s d1: a#3
           3s     a = crash
           3s run ended: 1 crash
    "#]],
    );
}

#[test]
fn only_some_outcomes_are_tried_again_where_that_is_said() {
    check(
        "a retries 2 retry-on timeout -> timeout,fail,pass; b retries 2 retry-on timeout -> fail; c retries 1 retry-on abort -> abort,pass",
        expect![[r#"
            0s run of 3
            0s d1: a#1
            1s     a#1 timeout, again
            1s d1: a#2
            2s     a = fail
            2s d1: b#1
            3s     b = fail
            3s d1: c#1
            4s     c#1 abort, again
            4s d1: c#2
            5s     c = flaky (passed on try 2)
            5s run ended: 1 flaky, 2 fail
        "#]],
    );
}

#[test]
fn a_pause_is_made_between_tries() {
    check(
        "devices 2; a retries 1 delay 3s -> fail,pass; b; at 2s why a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           0s d2: b#1
           1s     a#1 fail, again
           1s     b = pass
           2s why a? it pauses before its next try
           4s d1: a#2
           5s     a = flaky (passed on try 2)
           5s run ended: 1 pass, 1 flaky
    "#]],
    );
}

#[test]
fn each_item_has_its_own_tries() {
    check(
        "devices 2; a*3 retries 1 2-> fail,fail 3-> timeout,pass",
        expect![[r#"
           0s run of 3
           0s d1: a/1#1
           0s d2: a/2#1
           1s     a/1 = pass
           1s     a/2#1 fail, again
           1s d1: a/2#2
           1s d2: a/3#1
           2s     a/2 = fail
           2s     a/3#1 timeout, again
           2s d1: a/3#2
           3s     a/3 = flaky (passed on try 2)
           3s     a: fail of 1 pass, 1 flaky, 1 fail
           3s run ended: 1 pass, 1 flaky, 1 fail
    "#]],
    );
}

#[test]
fn an_abort_is_not_tried_again() {
    check(
        "a retries 3 -> abort",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a = abort
           1s run ended: 1 abort
    "#]],
    );
}

#[test]
fn a_skip_after_a_failure_does_not_hide_it() {
    check(
        "a retries 1 -> fail,skip; b after a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a#1 fail, again
           1s d1: a#2
           2s     a = flaky (skipped on try 2)
           2s d1: b#1
           3s     b = pass
           3s run ended: 1 pass, 1 flaky
    "#]],
    );
}

#[test]
fn a_lab_error_is_not_a_try() {
    check(
        "a -> lab,pass; b retries 1 -> fail,lab,pass",
        expect![[r#"
            0s run of 2
            0s d1: a#1
            1s     a#1 error, again
            1s d1: b#1
            2s     b#1 fail, again
            2s d1: a#2
            3s     a = pass
            3s d1: b#2
            4s     b#2 error, again
            4.2s d1: b#3
            5.2s     b = flaky (passed on try 2)
            5.2s run ended: 1 pass, 1 flaky
        "#]],
    );
}

#[test]
fn lab_errors_have_a_budget() {
    check(
        "a -> lab; b after a",
        expect![[r#"
            0s run of 2
            0s d1: a#1
            1s     a#1 error, again
            1.2s d1: a#2
            2.2s     a#2 error, again
            2.6s d1: a#3
            3.6s     a = error (no such device)
            3.6s     b = prerequisite-failed (`a` came to `error`)
            3.6s run ended: 1 prerequisite-failed, 1 error
        "#]],
    );
}

#[test]
fn exit_code_99_is_the_labs_fault_without_a_budget() {
    check(
        "a -> error",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a = error
           1s run ended: 1 error
    "#]],
    );
}

#[test]
fn what_keeps_ending_its_agents_is_given_up() {
    check(
        "a takes 9s; b after-end a; \
         at 1s gone 1; at 2s back 1; at 3s gone 1; at 4s back 1; at 5s gone 1; at 6s back 1; at 7s gone 1; at 8s back 1",
        expect![[r#"
            0s run of 2
            0s d1: a#1
            1s GONE
            2s BACK
            2s d1: a#1
            3s GONE
            4s BACK
            4s d1: a#1
            5s GONE
            6s BACK
            6s d1: a#1
            7s GONE
            7s     a = error (its agent was lost while it ran, 4 times, at last on `host`)
            8s BACK
            8s d1: b#1
            9s     b = pass
            9s run ended: 1 pass, 1 error
        "#]],
    );
}
