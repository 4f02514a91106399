//! The queue: people move runs, newer runs take the place of older ones, and what may not wait does not.

use crate::kit::World;
use muster_core::change::{MoveTo, Moved, Placement, Supersede};
use muster_core::id::RunId;
use muster_core::lab::{Input, NOT_STARTED};
use muster_core::time::Time;
use std::time::Duration;

fn of(user: &str) -> Placement {
    Placement { user: user.to_owned(), ..Placement::default() }
}

fn put(world: &mut World, run: u128, to: MoveTo) -> Result<(), &'static str> {
    let moved = Moved { by: "eve".to_owned(), reason: "release".to_owned(), at: world.now, to };
    world.apply(Input::Move { run: RunId(run), moved }).map(drop).map_err(|e| e.code())
}

/// The runs under way, in the order in which they are given devices.
fn order(world: &World) -> String {
    let runs = world.lab.view(world.now).runs;
    runs.iter().map(|run| run.id.0.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_that_is_put_first_goes_before_all_others() {
    let mut world = World::new("devices 1; a*3 known 1s");
    for user in ["ana", "ben", "cid"] {
        world.ask(of(user));
    }
    put(&mut world, 1, MoveTo::Priority(7)).unwrap();
    put(&mut world, 3, MoveTo::First).unwrap();
    assert_eq!(order(&world), "3 1 2");
    world.now = world.now + Duration::from_millis(1);
    put(&mut world, 2, MoveTo::First).unwrap();
    assert_eq!(order(&world), "2 3 1", "the last that was put first is first");
    world.restart();
    assert_eq!(order(&world), "2 3 1", "it is recorded");
    world.go_on();
    assert_eq!(world.given(), "2 2 2 3 3 3 1 1 1");
}

#[test]
fn a_run_that_is_put_before_another_is_never_behind_it() {
    let mut world = World::new("devices 1; a*2 known 1s");
    for (user, priority) in [("ana", 3), ("ben", 2), ("cid", 1)] {
        world.ask(Placement { priority, ..of(user) });
    }
    assert_eq!(order(&world), "1 2 3");
    put(&mut world, 3, MoveTo::Before(RunId(1))).unwrap();
    assert_eq!(order(&world), "3 1 2");
    put(&mut world, 2, MoveTo::Before(RunId(3))).unwrap();
    assert_eq!(order(&world), "2 3 1");
    let view = world.lab.view(world.now);
    let moved = view.runs[0].moved.as_ref().expect("it was moved");
    assert_eq!((moved.by.as_str(), moved.reason.as_str()), ("eve", "release"));
    world.go_on();
    assert_eq!(world.given(), "2 2 3 3 1 1");
}

#[test]
fn the_last_word_counts_where_two_runs_are_put_before_each_other() {
    let mut world = World::new("devices 1; a known 1s");
    for user in ["ana", "ben"] {
        world.ask(of(user));
    }
    put(&mut world, 2, MoveTo::Before(RunId(1))).unwrap();
    assert_eq!(order(&world), "2 1");
    put(&mut world, 1, MoveTo::Before(RunId(2))).unwrap();
    assert_eq!(order(&world), "1 2");
    put(&mut world, 2, MoveTo::Priority(1)).unwrap();
    assert_eq!(order(&world), "1 2", "never behind, whatever its priority");
    put(&mut world, 1, MoveTo::Back).unwrap();
    assert_eq!(order(&world), "2 1");
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let mut world = World::new("devices 1; a known 1s");
    world.ask(of("ana"));
    assert_eq!(put(&mut world, 1, MoveTo::Before(RunId(1))), Err("before-itself"));
    assert_eq!(put(&mut world, 1, MoveTo::Before(RunId(8))), Err("no-such-run"));
    assert_eq!(put(&mut world, 8, MoveTo::First), Err("no-such-run"));
    world.go_on();
    assert_eq!(put(&mut world, 1, MoveTo::First), Err("no-such-run"), "it is over");
}

#[test]
fn a_run_that_did_not_start_in_time_ends_and_says_so() {
    let mut world = World::new("devices 1; a*2 known 100s takes 100s");
    let within = Some(Duration::from_secs(150));
    world.ask(of("ana"));
    let late = world.ask(Placement { start_within: within, priority: -1, ..of("ben") });
    let early = world.ask(Placement { start_within: within, priority: 1, ..of("ben") });
    world.go_on();
    assert_eq!(world.stopped(late), Some(NOT_STARTED));
    assert_eq!(world.stopped(early), None, "what has started goes on, however long it takes");
    assert_eq!(world.given(), "3 3 1 1");
}

#[test]
fn the_time_to_start_outlives_the_lab_and_a_run_that_is_opened_again_has_time() {
    let mut world = World::new("devices 1; a takes 100s");
    world.ask(of("ana"));
    let late = world.ask(Placement { start_within: Some(Duration::from_secs(50)), ..of("ben") });
    world.restart();
    world.go_on_until(Time(60_000_000));
    assert_eq!(world.stopped(late), Some(NOT_STARTED));
}

#[test]
fn a_newer_run_takes_the_place_of_those_that_wait_or_of_all() {
    for (which, stopped) in [
        (Supersede::No, [false; 3]),
        (Supersede::Waiting, [false, true, false]),
        (Supersede::All, [true, true, false]),
    ] {
        let mut world = World::new("devices 1; a takes 100s");
        let mut runs: Vec<RunId> = (0..2).map(|_| world.ask(of("ana"))).collect();
        world.talk();
        runs.push(world.ask(of("ben")));
        let newer = world.ask(Placement { supersede: which, ..of("ana") });
        world.go_on();
        let why: Vec<bool> = runs.iter().map(|run| world.stopped(*run).is_some()).collect();
        assert_eq!(why, stopped, "{which:?}");
        if which == Supersede::All {
            assert_eq!(world.stopped(runs[0]), Some("superseded by area/4"));
        }
        assert_eq!(world.stopped(newer), None);
    }
}

#[test]
fn what_is_superseded_is_so_also_if_the_lab_is_lost_at_once() {
    let mut world = World::new("devices 1; a takes 100s");
    let older = world.ask(of("ana"));
    world.talk();
    let newer = world.ask(Placement { supersede: Supersede::All, ..of("ana") });
    assert_eq!(world.stopped(older), None, "it has not ended yet");
    world.restart();
    world.go_on();
    assert_eq!(world.stopped(older), Some("superseded by area/2"));
    assert_eq!(world.stopped(newer), None);
}
