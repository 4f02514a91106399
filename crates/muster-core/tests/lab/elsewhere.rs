//! Trying again on another device, and what that says of the devices.

use crate::kit::{World, check};
use expect_test::expect;
use muster_core::change::Placement;

#[test]
fn what_the_lab_failed_is_tried_again_on_another_device() {
    check(
        "devices 2; b takes 5s known 5s; a -> lab,pass",
        expect![[r#"
            0s run of 2
            0s d1: b#1
            0s d2: a#1
            1s     a#1 error, again
            5s     b = pass
            5s d1: a#2
            6s     a = pass (good on `d1` after it failed on `d2`: look at that device)
            6s run ended: 2 pass
        "#]],
    );
}

#[test]
fn where_no_other_device_is_there_the_same_is_good_enough() {
    check(
        "devices 2; label d2 os=linux; on labels.os == 'linux'; a -> lab,pass",
        expect![[r#"
            0s run of 1
            0s d2: a#1
            1s     a#1 error, again
            1.2s d2: a#2
            2.2s     a = pass
            2.2s run ended: 1 pass
        "#]],
    );
}

#[test]
fn the_devices_that_were_tried_outlive_the_lab_and_why_names_them() {
    check(
        "devices 2; b takes 5s known 5s; a -> lab,pass; at 2s restart; at 3s why a",
        expect![[r#"
            0s run of 2
            0s d1: b#1
            0s d2: a#1
            1s     a#1 error, again
            2s RESTART
            0s d1: b#1
            3s why a? it failed on `d2` and waits for another device
            5s     b = pass
            5s d1: a#2
            6s     a = pass (good on `d1` after it failed on `d2`: look at that device)
            6s run ended: 2 pass
        "#]],
    );
}

#[test]
fn what_fails_on_every_device_is_hardly_their_fault() {
    check(
        "devices 2; a -> lab",
        expect![[r#"
            0s run of 1
            0s d1: a#1
            1s     a#1 error, again
            1.2s d2: a#2
            2.2s     a#2 error, again
            2.6s d1: a#3
            3.6s     a = error (no such device; it failed on `d2` and on `d1` alike: hardly the device)
            3.6s run ended: 1 error
        "#]],
    );
}

#[test]
fn a_held_device_is_not_waited_for() {
    check(
        "devices 2; a -> lab,pass; at 500ms hold d2",
        expect![[r#"
            0s run of 1
            0s d1: a#1
            0.5s HELD
            1s     a#1 error, again
            1.2s d1: a#2
            2.2s     a = pass
            2.2s run ended: 1 pass
        "#]],
    );
}

#[test]
fn a_run_may_ask_that_failed_tests_are_tried_elsewhere_too() {
    let mut world = World::new("devices 2; a retries 1 -> fail,pass");
    world.ask(Placement { retry_elsewhere: true, ..Placement::default() });
    world.go_on();
    expect![[r#"
        0s run of 1
        0s d1: a#1
        1s     a#1 fail, again
        1s d2: a#2
        2s     a = flaky (passed on try 2; good on `d2` after it failed on `d1`: look at that device)
        2s run ended: 1 flaky
    "#]]
    .assert_eq(&world.story);
    let view = world.lab.view(world.now);
    let blamed: Vec<(u32, &str)> = view.devices.iter().map(|d| (d.blamed, d.blamed_for.as_str())).collect();
    assert_eq!(blamed, [(1, "area/1/a"), (0, "")]);
}
