//! Why something is not running: every reason has an explanation.

use crate::kit::check;
use expect_test::expect;

#[test]
fn why_something_waits_for_a_test() {
    check(
        "devices 2; a takes 5s; b after a; at 1s why b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s why b? it comes after `a`
           5s     a = pass
           5s d1: b#1
           6s     b = pass
           6s run ended: 2 pass
    "#]],
    );
}

#[test]
fn why_an_item_waits_for_an_item() {
    check(
        "devices 2; a/x,y takes 5s; b/x after-item a; at 1s why b/x",
        expect![[r#"
           0s run of 3
           0s d1: a/x#1
           0s d2: a/y#1
           1s why b/x? it comes after `a/x`
           5s     a/x = pass
           5s     a/y = pass
           5s     a: pass of 2 pass
           5s d1: b/x#1
           6s     b/x = pass
           6s run ended: 3 pass
    "#]],
    );
}

#[test]
fn why_something_runs_and_why_it_ended() {
    check(
        "devices 1; a takes 3s; b -> fail; at 1s why a; at 6s why b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s why a? it runs on `d1`
           3s     a = pass
           3s d1: b#1
           4s     b = fail
           4s run ended: 1 pass, 1 fail
           6s why b? it ended: fail
    "#]],
    );
}

#[test]
fn why_something_is_queued() {
    check(
        "devices 1; a takes 5s prio 1; b*3 takes 1s; at 1s why b/1; at 1s why b/3",
        expect![[r#"
           0s run of 4
           0s d1: a#1
           1s why b/1? every device is busy, and it is the next item
           1s why b/3? every device is busy, and 2 items are before it
           5s     a = pass
           5s d1: b/1#1
           6s     b/1 = pass
           6s d1: b/2#1
           7s     b/2 = pass
           7s d1: b/3#1
           8s     b/3 = pass
           8s     b: pass of 3 pass
           8s run ended: 4 pass
    "#]],
    );
}

#[test]
fn why_something_is_next() {
    check(
        "devices 1; a takes 5s known 10ms prio 1; b*2 known 10ms; at 1s why b/1; at 1s why b/2",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s why b/1? it is next on `d1`, behind 1
           1s why b/2? it is next on `d1`, behind 2
           5s     a = pass
           5s d1: b/1#1
           6s     b/1 = pass
           6s d1: b/2#1
           7s     b/2 = pass
           7s     b: pass of 2 pass
           7s run ended: 3 pass
    "#]],
    );
}

#[test]
fn why_something_must_not_run_beside_another() {
    check(
        "devices 2; a takes 5s apart b prio 1; b; at 1s why b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s why b? it must not run beside `a`, which is running
           5s     a = pass
           5s d1: b#1
           6s     b = pass
           6s run ended: 2 pass
    "#]],
    );
}

#[test]
fn why_something_pauses() {
    check(
        "a retries 1 delay 5s -> fail,pass; at 3s why a",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a#1 fail, again
           3s why a? it pauses before its next try
           6s d1: a#2
           7s     a = flaky (passed on try 2)
           7s run ended: 1 flaky
    "#]],
    );
}
