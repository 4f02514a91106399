//! Items that are found when the prerequisites have ended.

use crate::kit::check;
use expect_test::expect;

#[test]
fn items_are_asked_for_when_the_prerequisites_have_ended() {
    check(
        "devices 2; a; b?x,y,z after a; c after b",
        expect![[r#"
           0s run of 2, and 1 to ask
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           2s b has 3
           2s d1: b/x#1
           2s d2: b/y#1
           3s     b/x = pass
           3s     b/y = pass
           3s d1: b/z#1
           4s     b/z = pass
           4s     b: pass of 3 pass
           4s d1: c#1
           5s     c = pass
           5s run ended: 5 pass
    "#]],
    );
}

#[test]
fn a_test_that_finds_no_items_says_so() {
    check(
        "a?; b after a",
        expect![[r#"
           0s run of 1, and 1 to ask
           0s d1: a#1
           1s a has 0
           1s d1: b#1
           2s     b = pass
           2s run ended: 1 pass, 1 no-items
    "#]],
    );
}

#[test]
fn a_question_that_fails_fails_the_test() {
    check(
        "a?x find-> fail; b after a; c after-end a",
        expect![[r#"
           0s run of 2, and 1 to ask
           0s d1: a#1
           1s     a = fail
           1s     b = prerequisite-failed (`a` came to `fail`)
           1s d1: c#1
           2s     c = pass
           2s run ended: 1 pass, 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn a_question_that_crashes_is_no_test_without_items() {
    check(
        "a?x find-> crash",
        expect![[r#"
           0s run of 0, and 1 to ask
           0s d1: a#1
           1s     a = crash
           1s run ended: 1 crash
    "#]],
    );
}

#[test]
fn a_question_that_met_a_lab_error_is_asked_again() {
    check(
        "a?x,y find-> lab,pass",
        expect![[r#"
            0s run of 0, and 1 to ask
            0s d1: a#1
            1s     a#1 error, again
            1.2s d1: a#2
            2.2s a has 2
            2.2s d1: a/x#1
            3.2s     a/x = pass
            3.2s d1: a/y#1
            4.2s     a/y = pass
            4.2s     a: pass of 2 pass
            4.2s run ended: 2 pass
        "#]],
    );
}

#[test]
fn only_selected_items_are_run_of_those_found() {
    check(
        "select a/x*; a?x1,x2,y",
        expect![[r#"
           0s run of 0, and 1 to ask
           0s d1: a#1
           1s a has 2
           1s d1: a/x1#1
           2s     a/x1 = pass
           2s d1: a/x2#1
           3s     a/x2 = pass
           3s     a: pass of 2 pass
           3s run ended: 2 pass
    "#]],
    );
}

#[test]
fn what_is_found_may_be_matched_with_what_was_found() {
    check(
        "devices 2; a?x,y x-> fail; b?x,y,z after-item a",
        expect![[r#"
           0s run of 0, and 2 to ask
           0s d1: a#1
           1s a has 2
           1s d1: b#1
           1s d2: a/x#1
           2s b has 3
           2s     b/z = prerequisite-failed (`a` has no item `z` in this run)
           2s     a/x = fail
           2s     b/x = prerequisite-failed (`a/x` came to `fail`)
           2s d1: a/y#1
           3s     a/y = pass
           3s     a: fail of 1 pass, 1 fail
           3s d1: b/y#1
           4s     b/y = pass
           4s     b: prerequisite-failed of 1 pass, 2 prerequisite-failed
           4s run ended: 2 pass, 2 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn listed_items_wait_for_found_ones() {
    check(
        "devices 2; a?x,y takes 2s; b/x,y,z after-item a",
        expect![[r#"
           0s run of 3, and 1 to ask
           0s d1: a#1
           2s a has 2
           2s     b/z = prerequisite-failed (`a` has no item `z` in this run)
           2s d1: a/x#1
           2s d2: a/y#1
           4s     a/x = pass
           4s     a/y = pass
           4s     a: pass of 2 pass
           4s d1: b/x#1
           4s d2: b/y#1
           5s     b/x = pass
           5s     b/y = pass
           5s     b: prerequisite-failed of 2 pass, 1 prerequisite-failed
           5s run ended: 4 pass, 1 prerequisite-failed
    "#]],
    );
}

#[test]
fn found_items_pull_in_only_what_matches() {
    check(
        "select b/x; a?x,y; b/x,y after-item a",
        expect![[r#"
           0s run of 1, and 1 to ask
           0s d1: a#1
           1s a has 1
           1s d1: a/x#1
           2s     a/x = pass
           2s d1: b/x#1
           3s     b/x = pass
           3s run ended: 2 pass
    "#]],
    );
}

#[test]
fn a_question_whose_prerequisite_failed_is_not_asked() {
    check(
        "a -> fail; b?x,y after a; c after-item b",
        expect![[r#"
           0s run of 2, and 1 to ask
           0s d1: a#1
           1s     a = fail
           1s     b = prerequisite-failed (`a` came to `fail`)
           1s     c = prerequisite-failed (`b` came to `prerequisite-failed`)
           1s run ended: 2 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn skipped_items_among_found_ones() {
    check(
        "a?x,y expect-skip; b after a",
        expect![[r#"
           0s run of 1, and 1 to ask
           0s d1: a#1
           1s a has 2
           1s     a/x = skip (expected to be skipped (expectations:1))
           1s     a/y = skip (expected to be skipped (expectations:1))
           1s     a: skip of 2 skip
           1s d1: b#1
           2s     b = pass
           2s run ended: 1 pass, 2 skip
    "#]],
    );
}
