//! What a test comes after.

use crate::kit::check;
use expect_test::expect;

#[test]
fn a_test_starts_when_what_it_comes_after_has_passed() {
    check(
        "devices 2; a; b after a; c after a after b",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           2s     b = pass
           2s d1: c#1
           3s     c = pass
           3s run ended: 3 pass
    "#]],
    );
}

#[test]
fn a_test_whose_prerequisite_failed_is_not_run_and_neither_is_what_comes_after_it() {
    check(
        "devices 2; a -> fail; b after a; c after b; d after-end b; e",
        expect![[r#"
           0s run of 5
           0s d1: a#1
           0s d2: e#1
           1s     a = fail
           1s     b = prerequisite-failed (`a` came to `fail`)
           1s     c = prerequisite-failed (`b` came to `prerequisite-failed`)
           1s     e = pass
           1s d1: d#1
           2s     d = pass
           2s run ended: 2 pass, 2 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn after_end_does_not_mind_failure() {
    check(
        "a -> crash; b after-end a",
        expect![[r#"
           0s run of 2
           0s d1: a#1
           1s     a = crash
           1s d1: b#1
           2s     b = pass
           2s run ended: 1 pass, 1 crash
    "#]],
    );
}

#[test]
fn after_end_waits_for_every_item() {
    check(
        "devices 2; a*3 1-> timeout; b after-end a",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           0s d2: a/2#1
           1s     a/1 = timeout
           1s     a/2 = pass
           1s d1: a/3#1
           2s     a/3 = pass
           2s     a: timeout of 2 pass, 1 timeout
           2s d1: b#1
           3s     b = pass
           3s run ended: 3 pass, 1 timeout
    "#]],
    );
}

#[test]
fn a_test_that_asked_to_abort_stops_what_comes_after_it_even_after_its_end() {
    check(
        "a -> abort; b after-end a; c",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s     a = abort
           1s     b = prerequisite-failed (`a` asked to stop what comes after it)
           1s d1: c#1
           2s     c = pass
           2s run ended: 1 pass, 1 prerequisite-failed, 1 abort
    "#]],
    );
}

#[test]
fn an_item_waits_for_the_matching_item_only() {
    check(
        "devices 2; a/x,y x-> fail; b/x,y after-item a",
        expect![[r#"
           0s run of 4
           0s d1: a/x#1
           0s d2: a/y#1
           1s     a/x = fail
           1s     b/x = prerequisite-failed (`a/x` came to `fail`)
           1s     a/y = pass
           1s     a: fail of 1 pass, 1 fail
           1s d1: b/y#1
           2s     b/y = pass
           2s     b: prerequisite-failed of 1 pass, 1 prerequisite-failed
           2s run ended: 2 pass, 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn an_item_without_a_matching_one_is_told_so() {
    check(
        "a/x; b/x,z after-item a",
        expect![[r#"
           0s run of 3
           0s     b/z = prerequisite-failed (`a` has no item `z` in this run)
           0s d1: a/x#1
           1s     a/x = pass
           1s d1: b/x#1
           2s     b/x = pass
           2s     b: prerequisite-failed of 1 pass, 1 prerequisite-failed
           2s run ended: 2 pass, 1 prerequisite-failed
    "#]],
    );
}

#[test]
fn matching_items_may_be_mapped() {
    check(
        r"devices 2; a/1,2 2-> fail; b/fast-1,fast-2 after-item a map ^fast-(\d) $1",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           0s d2: a/2#1
           1s     a/1 = pass
           1s     a/2 = fail
           1s     a: fail of 1 pass, 1 fail
           1s     b/fast-2 = prerequisite-failed (`a/2` came to `fail`)
           1s d1: b/fast-1#1
           2s     b/fast-1 = pass
           2s     b: prerequisite-failed of 1 pass, 1 prerequisite-failed
           2s run ended: 2 pass, 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn two_maps_are_applied_in_order() {
    check(
        r"a/k1; b/x-1 after-item a map x- k map k(\d) k\1",
        expect![[r#"
           0s run of 2
           0s d1: a/k1#1
           1s     a/k1 = pass
           1s d1: b/x-1#1
           2s     b/x-1 = pass
           2s run ended: 2 pass
    "#]],
    );
}

#[test]
fn an_item_may_come_after_items_of_two_tests() {
    check(
        "devices 3; a/x,y takes 1s; b/x,y takes 3s y-> fail; c/x,y after-item a after-item b",
        expect![[r#"
           0s run of 6
           0s d1: a/x#1
           0s d2: a/y#1
           0s d3: b/x#1
           1s     a/x = pass
           1s     a/y = pass
           1s     a: pass of 2 pass
           1s d1: b/y#1
           3s     b/x = pass
           3s d2: c/x#1
           4s     b/y = fail
           4s     b: fail of 1 pass, 1 fail
           4s     c/y = prerequisite-failed (`b/y` came to `fail`)
           4s     c/x = pass
           4s     c: prerequisite-failed of 1 pass, 1 prerequisite-failed
           4s run ended: 4 pass, 1 prerequisite-failed, 1 fail
    "#]],
    );
}

#[test]
fn exclusive_tests_do_not_overlap_and_have_no_order() {
    check(
        "devices 3; a*2 apart b; b*2",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           0s d2: a/2#1
           1s     a/1 = pass
           1s     a/2 = pass
           1s     a: pass of 2 pass
           1s d1: b/1#1
           1s d2: b/2#1
           2s     b/1 = pass
           2s     b/2 = pass
           2s     b: pass of 2 pass
           2s run ended: 4 pass
    "#]],
    );
}

#[test]
fn a_test_may_be_exclusive_with_itself() {
    check(
        "devices 3; a*3 apart a; b",
        expect![[r#"
           0s run of 4
           0s d1: a/1#1
           0s d2: b#1
           1s     a/1 = pass
           1s     b = pass
           1s d1: a/2#1
           2s     a/2 = pass
           2s d1: a/3#1
           3s     a/3 = pass
           3s     a: pass of 3 pass
           3s run ended: 4 pass
    "#]],
    );
}

#[test]
fn a_long_chain_of_prerequisites_runs_to_its_end() {
    check(
        "a; b after a; c after b; d after c; e after d; f after e",
        expect![[r#"
           0s run of 6
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           2s     b = pass
           2s d1: c#1
           3s     c = pass
           3s d1: d#1
           4s     d = pass
           4s d1: e#1
           5s     e = pass
           5s d1: f#1
           6s     f = pass
           6s run ended: 6 pass
    "#]],
    );
}

#[test]
fn prerequisites_are_pulled_in_with_the_mapped_items_only() {
    check(
        "select c/x; a/x,y; b; c/x,y after-item a after b; d",
        expect![[r#"
           0s run of 3
           0s d1: a/x#1
           1s     a/x = pass
           1s d1: b#1
           2s     b = pass
           2s d1: c/x#1
           3s     c/x = pass
           3s run ended: 3 pass
    "#]],
    );
}

#[test]
fn a_skipped_prerequisite_is_good_enough() {
    check(
        "a expect-skip; b after a; c -> skip; d after c",
        expect![[r#"
           0s run of 4
           0s     a = skip (expected to be skipped (expectations:1))
           0s d1: b#1
           1s     b = pass
           1s d1: c#1
           2s     c = skip
           2s d1: d#1
           3s     d = pass
           3s run ended: 2 pass, 2 skip
    "#]],
    );
}

#[test]
fn the_cascade_reaches_items_that_match_items_that_never_ran() {
    check(
        "a -> fail; b/x,y after a; c/x,y after-item b; d after-end c",
        expect![[r#"
           0s run of 6
           0s d1: a#1
           1s     a = fail
           1s     b/x = prerequisite-failed (`a` came to `fail`)
           1s     b/y = prerequisite-failed (`a` came to `fail`)
           1s     b: prerequisite-failed of 2 prerequisite-failed
           1s     c/x = prerequisite-failed (`b/x` came to `prerequisite-failed`)
           1s     c/y = prerequisite-failed (`b/y` came to `prerequisite-failed`)
           1s     c: prerequisite-failed of 2 prerequisite-failed
           1s d1: d#1
           2s     d = pass
           2s run ended: 1 pass, 4 prerequisite-failed, 1 fail
    "#]],
    );
}
