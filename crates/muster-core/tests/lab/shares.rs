//! Users share a lab: who has had least is served first, and what waits long enough is served at all.

use crate::kit::World;
use muster_core::change::Placement;
use muster_core::time::Time;
use std::time::Duration;

fn of(user: &str) -> Placement {
    Placement { user: user.to_owned(), ..Placement::default() }
}

/// How many of the first `n` that were given devices are of a run.
fn share(world: &World, n: usize, run: &str) -> usize {
    world.given().split(' ').take(n).filter(|r| *r == run).count()
}

#[test]
fn a_user_with_many_runs_gets_no_more_than_one_with_a_single_run() {
    let mut world = World::new("devices 2; a*12 known 1s takes 1s");
    for user in ["ana", "ana", "ana", "ben"] {
        world.ask(of(user));
    }
    world.go_on();
    let bens = share(&world, 24, "4");
    assert!((11..=13).contains(&bens), "half of what was given while both wanted: {}", world.given());
}

#[test]
fn free_devices_are_shared_among_those_who_begin_at_once() {
    let mut world = World::new("devices 4; a*8 known 100s takes 100s");
    // The devices come when both wait.
    let devices = std::mem::take(&mut world.agents);
    for user in ["ana", "ben"] {
        world.ask(of(user));
    }
    world.agents = devices;
    world.go_on_until(Time(1_000_000));
    assert_eq!((share(&world, 4, "1"), share(&world, 4, "2")), (2, 2), "{}", world.given());
}

#[test]
fn runs_of_one_user_share_what_that_user_gets() {
    let mut world = World::new("devices 2; a*4 known 1s takes 1s");
    for _ in 0..2 {
        world.ask(of("ana"));
    }
    world.go_on();
    assert_eq!((share(&world, 4, "1"), share(&world, 4, "2")), (2, 2), "{}", world.given());
}

#[test]
fn what_was_used_long_ago_does_not_count_for_ever() {
    for (pause_secs, expected) in [(1, 0), (50 * 3600, 2)] {
        let mut world = World::new("devices 1; a*4 known 100s takes 100s");
        world.ask(of("ana"));
        world.go_on();
        world.now = world.now + Duration::from_secs(pause_secs);
        let before = world.given().split(' ').count();
        world.ask(of("ben"));
        world.ask(of("ana"));
        world.go_on_until(world.now + Duration::from_secs(350));
        let given = world.given();
        let anas = given.split(' ').skip(before).take(4).filter(|run| *run == "3").count();
        assert_eq!(anas, expected, "after {pause_secs} s: {given}");
    }
}

#[test]
fn a_higher_priority_goes_first_and_what_waits_grows_into_it() {
    let mut world = World::new("devices 1; a*20 known 100s takes 100s");
    world.ask(of("ana"));
    world.ask(Placement { priority: 1, ..of("ben") });
    world.go_on_until(Time(1_900_000_000));
    // One of run 1 whenever that has waited for ten minutes.
    assert_eq!(world.given(), "2 2 2 2 2 2 1 2 2 2 2 2 1 2 2 2 2 2 1 2");
}

#[test]
fn a_tests_priority_counts_within_its_run() {
    let mut world = World::new("devices 1; a*2 prio 9 known 1s; b prio 1 known 1s");
    world.ask(of("ana"));
    world.ask(Placement { priority: 1, ..of("ana") });
    world.go_on();
    assert_eq!(world.given(), "2 2 2 1 1 1");
}

#[test]
fn a_restored_lab_begins_even() {
    let mut world = World::new("devices 1; a*4 known 1s takes 1s");
    world.ask(of("ana"));
    world.go_on();
    world.restart();
    world.ask(of("ana"));
    world.ask(of("ben"));
    world.go_on_until(world.now + Duration::from_millis(3500));
    let given = world.given();
    let after: Vec<&str> = given.split(' ').skip(4).take(4).collect();
    assert_eq!(after.iter().filter(|run| **run == "2").count(), 2, "{given}");
}
