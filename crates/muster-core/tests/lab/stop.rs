//! Stopping, and going on.

use crate::kit::check;
use expect_test::expect;

#[test]
fn a_stopped_run_starts_nothing_more() {
    check(
        "devices 1; a*3 takes 2s; at 1s stop; at 1500ms why a/3",
        expect![[r#"
            0s run of 3
            0s d1: a/1#1
            1s STOP
            1s     a/1 = cancelled (it said cancelled)
            1s run stopped: 1 cancelled
            1.5s why a/3? its run was stopped: interrupted
        "#]],
    );
}

#[test]
fn a_killed_run_is_over_at_once() {
    check(
        "devices 2; a*3 takes 9s; at 1s kill",
        expect![[r#"
           0s run of 3
           0s d1: a/1#1
           0s d2: a/2#1
           1s KILL
           1s     a/1 = cancelled (it said cancelled)
           1s     a/2 = cancelled (it said cancelled)
           1s run stopped: 2 cancelled
    "#]],
    );
}

#[test]
fn a_run_that_is_stopped_before_anything_ran_is_over() {
    check(
        "devices 1; a*2; at 0s stop",
        expect![[r#"
           0s run of 2
           0s STOP
           0s run stopped: 
    "#]],
    );
}

#[test]
fn fail_fast_stops_after_the_first_failure() {
    check(
        "fail-fast 1; a*4 2-> fail",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           1s     a/1 = pass
           1s d1: a/2#1
           2s     a/2 = fail
           2s run stopped: 1 pass, 1 fail
    "#]],
    );
}

#[test]
fn fail_fast_may_wait_for_more_failures() {
    check(
        "fail-fast 2; a*5 1-> fail 3-> fail",
        expect![[r#"
           0s run of 5
           0s d1: a/1#1
           1s     a/1 = fail
           1s d1: a/2#1
           2s     a/2 = pass
           2s d1: a/3#1
           3s     a/3 = fail
           3s run stopped: 1 pass, 2 fail
    "#]],
    );
}

#[test]
fn the_time_limit_of_the_run_ends_it() {
    check(
        "timeout 3s; devices 1; a*4 takes 2s",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           2s     a/1 = pass
           2s d1: a/2#1
           3s     a/2 = cancelled (it said cancelled)
           3s run stopped: 1 pass, 1 cancelled
    "#]],
    );
}

#[test]
fn what_waits_for_its_next_try_is_not_tried_after_a_stop() {
    check(
        "devices 2; a retries 1 delay 5s -> fail,pass; b takes 3s; at 2s stop",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           0s d2: b#1
           1s     a#1 fail, again
           2s STOP
           2s     b = cancelled (it said cancelled)
           2s run stopped: 1 cancelled
    "#]],
    );
}

#[test]
fn a_stopped_run_goes_on_with_what_was_cancelled_and_what_never_ran() {
    check(
        "devices 1; a; b takes 3s; c after b; at 2s stop; at 5s reopen",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           2s STOP
           2s     b = cancelled (it said cancelled)
           2s run stopped: 1 pass, 1 cancelled
           5s REOPEN
           5s run of 3
           5s d1: b#2
           8s     b = pass
           8s d1: c#1
           9s     c = pass
           9s run ended: 3 pass
    "#]],
    );
}

#[test]
fn finished_items_stay_when_a_run_goes_on() {
    check(
        "devices 1; a -> fail; b takes 5s; at 2s stop; at 4s reopen",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = fail
           1s d1: b#1
           2s STOP
           2s     b = cancelled (it said cancelled)
           2s run stopped: 1 cancelled, 1 fail
           4s REOPEN
           4s run of 2
           4s d1: b#2
           9s     b = pass
           9s run ended: 1 pass, 1 fail
    "#]],
    );
}

#[test]
fn a_run_that_goes_on_while_it_is_being_stopped_loses_nothing() {
    check(
        "devices 1; a*3 takes 2s; at 1s stop; at 1s reopen",
        expect![[r#"
           0s run of 3
           0s d1: a/1#1
           1s STOP
           1s REOPEN
           1s run of 3
           1s     a/1#1 cancelled, again
           1s d1: a/2#1
           3s     a/2 = pass
           3s d1: a/1#2
           5s     a/1 = pass
           5s d1: a/3#1
           7s     a/3 = pass
           7s     a: pass of 3 pass
           7s run ended: 3 pass
    "#]],
    );
}

#[test]
fn fail_fast_counts_anew_when_a_run_goes_on() {
    check(
        "fail-fast 1; a -> fail; b; c; at 3s reopen",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s     a = fail
           1s run stopped: 1 fail
           3s REOPEN
           3s run of 3
           3s d1: b#1
           4s     b = pass
           4s d1: c#1
           5s     c = pass
           5s run ended: 2 pass, 1 fail
    "#]],
    );
}

#[test]
fn the_time_limit_counts_anew_when_a_run_goes_on() {
    check(
        "timeout 3s; devices 1; a*3 takes 2s; at 9s reopen; at 19s reopen",
        expect![[r#"
            0s run of 3
            0s d1: a/1#1
            2s     a/1 = pass
            2s d1: a/2#1
            3s     a/2 = cancelled (it said cancelled)
            3s run stopped: 1 pass, 1 cancelled
            9s REOPEN
            9s run of 3
            9s d1: a/2#2
            11s     a/2 = pass
            11s d1: a/3#1
            12s     a/3 = cancelled (it said cancelled)
            12s     a: cancelled of 2 pass, 1 cancelled
            12s run stopped: 2 pass, 1 cancelled
            19s REOPEN
            19s run of 3
            19s d1: a/3#2
            21s     a/3 = pass
            21s     a: pass of 3 pass
            21s run ended: 3 pass
        "#]],
    );
}

#[test]
fn a_suite_is_asked_again_when_its_run_goes_on() {
    check(
        "devices 1; s?x,y takes 2s; at 3s stop; at 5s reopen",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: s#1
            2s s has 2
            2s d1: s/x#1
            3s STOP
            3s     s/x = cancelled (it said cancelled)
            3s run stopped: 1 cancelled
            5s REOPEN
            5s run of 2, and 1 to ask
            5s d1: s#2
            7s d1: s/x#2
            9s     s/x = pass
            9s d1: s/y#1
            11s     s/y = pass
            11s     s: pass of 2 pass
            11s run ended: 2 pass
        "#]],
    );
}
