//! Devices that people take out of scheduling.

use crate::kit::{World, check};
use expect_test::expect;
use muster_core::change::Hold;
use muster_core::id::DeviceId;
use muster_core::lab::{Input, Reserved};
use muster_core::time::Time;

#[test]
fn what_runs_on_a_held_device_goes_on_and_nothing_new_is_given_to_it() {
    check(
        "devices 2; a*5 takes 2s; at 1s hold d1; at 5s release d1",
        expect![[r#"
        0s run of 5
        0s d1: a/1#1
        0s d2: a/2#1
        1s HELD
        2s     a/1 = pass
        2s     a/2 = pass
        2s d2: a/3#1
        4s     a/3 = pass
        4s d2: a/4#1
        5s RELEASED
        5s d1: a/5#1
        6s     a/4 = pass
        7s     a/5 = pass
        7s     a: pass of 5 pass
        7s run ended: 5 pass
    "#]],
    );
}

#[test]
fn why_something_waits_for_a_held_device() {
    check(
        "a takes 2s; b after-end a; at 1s hold d1; at 3s why b; at 4s release d1",
        expect![[r#"
        0s run of 2
        0s d1: a#1
        1s HELD
        2s     a = pass
        3s why b? every device it may have is held: `d1` by ana (its relay clicks)
        4s RELEASED
        4s d1: b#1
        5s     b = pass
        5s run ended: 2 pass
    "#]],
    );
}

#[test]
fn a_hold_ends_by_itself_and_one_of_an_unknown_device_is_refused() {
    let mut world = World::new("a");
    world.create();
    world.talk();
    let hold = Hold {
        by: "ana".to_owned(),
        reason: "a look".to_owned(),
        since: world.now,
        until: Some(Time(5_000_000)),
        id: None,
    };
    let unknown = Input::Hold { device: DeviceId(99), hold: Some(hold.clone()) };
    assert_eq!(world.apply(unknown).unwrap_err().code(), "no-such-device");
    world.apply(Input::Hold { device: DeviceId(1), hold: Some(hold.clone()) }).unwrap();
    let other = Hold { by: "ben".to_owned(), ..hold.clone() };
    let taken = world.apply(Input::Hold { device: DeviceId(1), hold: Some(other) }).unwrap_err();
    assert_eq!(taken.to_string(), "`d1` is held by ana: a look");
    let longer = Hold { until: Some(Time(5_000_000)), ..hold };
    world.apply(Input::Hold { device: DeviceId(1), hold: Some(longer) }).unwrap();
    assert_eq!(world.lab.snapshot().holds.len(), 1);
    world.now = Time(5_000_000);
    world.tick();
    assert_eq!(world.lab.snapshot().holds, []);
}

#[test]
fn a_reservation_is_one_only_also_for_the_same_person_and_who_lost_it_touches_nobody_else_s() {
    let mut world = World::new("a");
    world.create();
    world.talk();
    let device = DeviceId(1);
    let until = |seconds: u64| Time(seconds * 1_000_000);
    let take = |id: &str, seconds: u64| {
        let (by, reason) = ("ana".to_owned(), "bring-up".to_owned());
        let hold = Hold { by, reason, since: Time(7), until: Some(until(seconds)), id: Some(id.to_owned()) };
        Input::Hold { device, hold: Some(hold) }
    };
    let of = |id: &str, what: Reserved| Input::Reserved(device, id.to_owned(), what);
    let renew = |id: &str, seconds: u64| of(id, Reserved::Used(until(seconds)));
    let give_back = |id: &str| of(id, Reserved::GivenBack);
    world.apply(take("one", 60)).unwrap();
    world.apply(take("one", 60)).unwrap();
    assert_eq!(world.apply(take("two", 60)).unwrap_err().code(), "held", "the same person, at another place");
    assert_eq!(world.apply(renew("two", 90)).unwrap_err().code(), "reservation-over");
    world.apply(give_back("two")).unwrap();
    world.apply(renew("one", 90)).unwrap();
    world.apply(renew("one", 80)).unwrap();
    let hold = world.lab.snapshot().holds.remove(0).1;
    assert_eq!((hold.since, hold.until), (Time(7), Some(until(90))), "a use never makes it shorter");
    // What was taken away is not taken up again by using it.
    world.apply(Input::Hold { device, hold: None }).unwrap();
    let over = world.apply(renew("one", 90)).unwrap_err();
    assert_eq!(over.to_string(), "the reservation of d1 is over: nobody has it");
    world.apply(take("two", 60)).unwrap();
    world.apply(give_back("one")).unwrap();
    assert_eq!(world.lab.snapshot().holds[0].1.id.as_deref(), Some("two"), "it is not given back by another");
    world.apply(give_back("two")).unwrap();
    assert_eq!(world.lab.snapshot().holds, []);
}
