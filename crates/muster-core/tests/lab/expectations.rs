//! What is expected of items, and what comes of it.

use crate::kit::check;
use expect_test::expect;

#[test]
fn an_expected_failure_is_known() {
    check(
        "a expect fail -> fail; b after a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = known-failure (`fail` is expected)
           1s d1: b#1
           2s     b = pass
           2s run ended: 1 pass, 1 known-failure
    "#]],
    );
}

#[test]
fn an_expected_failure_may_be_one_of_several() {
    check(
        "a expect fail,crash -> crash; b expect pass,fail -> fail; c expect pass,fail",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s     a = known-failure (`crash` is expected)
           1s d1: b#1
           2s     b = known-failure (`fail` is expected)
           2s d1: c#1
           3s     c = pass
           3s run ended: 1 pass, 2 known-failure
    "#]],
    );
}

#[test]
fn a_pass_that_was_not_expected_is_told() {
    check(
        "a expect fail; b after a",
        expect![[r#"
            0s run of 2
            0s d1: a#1
            1s     a = unexpected-pass (it passed although it is expected not to)
            1s d1: b#1
            2s     b = pass
            2s run ended: 1 pass, 1 unexpected-pass
        "#]],
    );
}

#[test]
fn another_failure_than_the_expected_one_is_a_failure() {
    check(
        "a expect fail -> timeout",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a = timeout
           1s run ended: 1 timeout
    "#]],
    );
}

#[test]
fn an_expected_failure_is_not_tried_again() {
    check(
        "a expect fail retries 3 -> fail",
        expect![[r#"
           0s run of 1
           0s d1: a#1
           1s     a = known-failure (`fail` is expected)
           1s run ended: 1 known-failure
    "#]],
    );
}

#[test]
fn what_is_expected_to_be_skipped_is_not_run() {
    check(
        "a expect-skip; b?x expect-skip; c/x,y expect-skip",
        expect![[r#"
           0s run of 3, and 1 to ask
           0s     a = skip (expected to be skipped (expectations:1))
           0s     c/x = skip (expected to be skipped (expectations:1))
           0s     c/y = skip (expected to be skipped (expectations:1))
           0s     c: skip of 2 skip
           0s d1: b#1
           1s b has 1
           1s     b/x = skip (expected to be skipped (expectations:1))
           1s run ended: 4 skip
    "#]],
    );
}

#[test]
fn an_unexpected_pass_counts_as_a_failure_for_fail_fast() {
    check(
        "fail-fast 1; a expect fail; b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = unexpected-pass (it passed although it is expected not to)
           1s run stopped: 1 unexpected-pass
    "#]],
    );
}

#[test]
fn an_unexpected_pass_that_is_fine_does_not_stop_anything() {
    check(
        "unexpected-pass-is-fine; fail-fast 1; a expect fail; b",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = unexpected-pass (it passed although it is expected not to)
           1s d1: b#1
           2s     b = pass
           2s run ended: 1 pass, 1 unexpected-pass
    "#]],
    );
}
