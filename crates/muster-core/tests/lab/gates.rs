//! What holds a test up that could start.

use crate::kit::{World, check};
use expect_test::expect;
use muster_core::change::Placement;
use muster_core::lab::Counted;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn a_group_has_so_many_places() {
    check(
        "devices 4; group disk 2; a*3 in disk; b*2; at 500ms why a/3",
        expect![[r#"
            0s run of 5
            0s d1: a/1#1
            0s d2: a/2#1
            0s d3: b/1#1
            0s d4: b/2#1
            0.5s why a/3? all 2 places of group `disk` are taken
            1s     a/1 = pass
            1s     a/2 = pass
            1s     b/1 = pass
            1s     b/2 = pass
            1s     b: pass of 2 pass
            1s d1: a/3#1
            2s     a/3 = pass
            2s     a: pass of 3 pass
            2s run ended: 5 pass
        "#]],
    );
}

#[test]
fn a_group_nobody_limited_holds_nobody_up() {
    check(
        "devices 2; a*2 in whatever",
        expect![[r#"
           0s run of 2
           0s d1: a/1#1
           0s d2: a/2#1
           1s     a/1 = pass
           1s     a/2 = pass
           1s     a: pass of 2 pass
           1s run ended: 2 pass
    "#]],
    );
}

#[test]
fn a_test_in_two_groups_needs_a_place_in_both() {
    check(
        "devices 4; group g 1; group h 1; a in g in h; b in g; c in h",
        expect![[r#"
           0s run of 3
           0s d1: a#1
           1s     a = pass
           1s d1: b#1
           1s d2: c#1
           2s     b = pass
           2s     c = pass
           2s run ended: 3 pass
    "#]],
    );
}

#[test]
fn the_area_runs_so_many_at_once() {
    check(
        "devices 4; jobs 2; a*4; at 500ms why a/4",
        expect![[r#"
            0s run of 4
            0s d1: a/1#1
            0s d2: a/2#1
            0.5s why a/4? the area runs 2 at once already
            1s     a/1 = pass
            1s     a/2 = pass
            1s d1: a/3#1
            1s d2: a/4#1
            2s     a/3 = pass
            2s     a/4 = pass
            2s     a: pass of 4 pass
            2s run ended: 4 pass
        "#]],
    );
}

#[test]
fn nothing_starts_while_the_load_is_high_but_for_the_only_thing_there_is() {
    check(
        "devices 2; load-max 1.5; a*2 takes 2s; at 0s load 3; at 500ms why a/2; at 1s load 1",
        expect![[r#"
            0s run of 2
            0s d1: a/1#1
            0.5s why a/2? the load per core is 3.00, above 1.50
            1s d2: a/2#1
            2s     a/1 = pass
            3s     a/2 = pass
            3s     a: pass of 2 pass
            3s run ended: 2 pass
        "#]],
    );
}

#[test]
fn a_test_may_ask_for_less_load_than_the_area() {
    check(
        "devices 2; a takes 4s; b needs-load 0.5; at 0s load 0.9; at 500ms why b; at 2s load 0.1",
        expect![[r#"
            0s run of 2
            0s d1: a#1
            0.5s why b? the load per core is 0.90, above 0.50
            2s d2: b#1
            3s     b = pass
            4s     a = pass
            4s run ended: 2 pass
        "#]],
    );
}

#[test]
fn nothing_starts_while_the_disk_is_full() {
    check(
        "disk-min 500; a; at 0s disk 100; at 1s why a; at 2s disk 600",
        expect![[r#"
            0s run of 1
            1s waiting: 100 bytes are free on the disk, 500 are needed
            1s why a? 100 bytes are free on the disk, 500 are needed
            2s d1: a#1
            3s     a = pass
            3s run ended: 1 pass
        "#]],
    );
}

#[test]
fn a_test_may_need_more_disk_than_the_area() {
    check(
        "devices 2; a needs-disk 5000; b; at 500ms why a; at 3s disk 9000",
        expect![[r#"
            0s run of 2
            0s d1: b#1
            0.5s why a? 1000 bytes are free on the disk, 5000 are needed
            1s     b = pass
            2s waiting: 1000 bytes are free on the disk, 5000 are needed
            3s d1: a#1
            4s     a = pass
            4s run ended: 2 pass
        "#]],
    );
}

#[test]
fn what_is_held_up_lets_others_pass() {
    check(
        "devices 2; group g 1; a*2 in g prio 9 takes 3s; b*3",
        expect![[r#"
           0s run of 5
           0s d1: a/1#1
           0s d2: b/1#1
           1s     b/1 = pass
           1s d2: b/2#1
           2s     b/2 = pass
           2s d2: b/3#1
           3s     a/1 = pass
           3s     b/3 = pass
           3s     b: pass of 3 pass
           3s d1: a/2#1
           6s     a/2 = pass
           6s     a: pass of 2 pass
           6s run ended: 5 pass
    "#]],
    );
}

#[test]
fn tokens_are_counted_and_a_test_may_take_several() {
    check(
        "devices 4; token matlab 3; a*2 takes-token matlab=2; b takes-token matlab=1; at 500ms why a/2",
        expect![[r#"
            0s run of 3
            0s d1: a/1#1
            0s d2: b#1
            0.5s why a/2? it takes 2 of the 3 tokens `matlab`, of which 3 are taken
            1s     a/1 = pass
            1s     b = pass
            1s d1: a/2#1
            2s     a/2 = pass
            2s     a: pass of 2 pass
            2s run ended: 3 pass
        "#]],
    );
}

#[test]
fn what_must_start_at_certain_hours_waits_for_them_and_says_so() {
    // It begins on a Thursday at midnight.
    check(
        "devices 2; a within 02:00-03:00; b; at 3600s why a; at 5400s restart",
        expect![[r#"
        0s run of 2
        0s d1: b#1
        1s     b = pass
        2s waiting: it starts only at these hours: 02:00-03:00 (UTC); they begin Thu 02:00
        3600s why a? it starts only at these hours: 02:00-03:00 (UTC); they begin Thu 02:00
        5400s RESTART
        5401s waiting: it starts only at these hours: 02:00-03:00 (UTC); they begin Thu 02:00
        7200s d1: a#1
        7201s     a = pass
        7201s run ended: 2 pass
    "#]],
    );
}

#[test]
fn a_host_that_says_no_is_asked_again_after_a_pause() {
    check(
        "devices 2; a*2 asks may-launch; b takes 2s; at 0s shut; at 1500ms why a/1; at 4s open",
        expect![[r#"
            0s run of 3
            0s d1: b#1
            1.5s why a/1? host does not let it start: no licence is left
            2s     b = pass
            3s waiting: host does not let it start: no licence is left
            5s d1: a/1#1
            5s d2: a/2#1
            6s     a/1 = pass
            6s     a/2 = pass
            6s     a: pass of 2 pass
            6s run ended: 3 pass
        "#]],
    );
}

#[test]
fn a_run_that_only_waits_says_for_what() {
    check(
        "disk-min 500; a; at 0s disk 100; at 3s disk 90; at 5s disk 600",
        expect![[r#"
        0s run of 1
        1s waiting: 100 bytes are free on the disk, 500 are needed
        5s d1: a#1
        6s     a = pass
        6s run ended: 1 pass
    "#]],
    );
}

#[test]
fn tokens_are_counted_over_all_runs_of_a_lab() {
    let mut world = World::new("devices 4; token t 1; a takes 2s takes-token t=1");
    world.create();
    let second = world.ask(Placement::default());
    world.pass(Duration::from_secs(1));
    let waits = world.lab.explain(second, world.item("a", "")).to_string();
    assert_eq!(waits, "it takes 1 of the 1 tokens `t`, of which 1 are taken");
    world.go_on();
    assert_eq!(world.given(), "1 2");
}

#[test]
fn a_lab_may_have_fewer_tokens_than_an_area_says() {
    let mut world = World::new("devices 4; token t 4; a*3 takes-token t=1");
    world.lab.set_tokens(BTreeMap::from([("t".to_owned(), 2)]));
    world.create();
    world.pass(Duration::from_millis(500));
    let waits = world.why("a", "3").to_string();
    assert_eq!(waits, "it takes 1 of the 2 tokens `t`, of which 2 are taken");
}

#[test]
fn what_other_runs_may_have_too_is_used_only_as_far_as_it_is_granted() {
    let mut world = World::new("devices 2; group g 2; a*3 in g; b");
    let group = || Counted::Group("g".to_owned());
    world.lab.set_granted(BTreeMap::new());
    world.create();
    world.pass(Duration::from_millis(500));
    assert_eq!(world.why("a", "1").to_string(), "other runs have the places of group `g`");
    // One device runs `b`, the other has nothing to do.
    assert_eq!(world.lab.places_wanted(), [BTreeMap::from([(group(), (1, 2))])]);
    world.lab.set_granted(BTreeMap::from([(group(), 1)]));
    world.tick();
    assert_eq!(world.lab.places_used(), BTreeMap::from([(group(), 1)]));
    world.pass(Duration::from_millis(600));
    assert_eq!(world.lab.places_wanted().len(), 1, "a second may run beside it");
    world.lab.set_granted(BTreeMap::from([(group(), 2)]));
    world.go_on();
    assert_eq!(world.lab.places_used(), BTreeMap::new());
}
