//! Killing single items of a run.

use crate::kit::World;
use muster_core::lab::Input;
use muster_core::time::Time;

/// Kills these items a second after the run began, and lets it go on to its end.
fn killed(scenario: &str, items: &[(&str, &str)]) -> World {
    let mut world = World::new(scenario);
    world.create();
    world.tick();
    world.go_on_until(Time(1_000_000));
    world.now = Time(1_000_000);
    let (run, items) = (world.run(), items.iter().map(|(t, i)| world.item(t, i)).collect());
    world
        .apply(Input::Kill { run, items, reason: "killed by ana: it hangs".to_owned() })
        .expect("it is under way");
    world.tick();
    world.go_on();
    world.lab.check();
    world
}

#[test]
fn what_runs_is_ended_and_what_waits_is_not_started_and_the_others_go_on() {
    let world = killed("devices 1; a*3 takes 9s; b takes 1s", &[("a", "1"), ("a", "3")]);
    assert_eq!(world.counts(), "cancelled pass cancelled pass");
    assert!(world.story.contains("a/3 = cancelled (killed by ana: it hangs)"), "{}", world.story);
    assert!(!world.story.contains("a/3#1"), "it was never started: {}", world.story);
    assert_eq!(world.stopped(world.run()), None, "the run came to its end");
}

#[test]
fn what_comes_after_something_that_was_killed_waits_until_the_run_goes_on() {
    let mut world = killed("devices 1; a takes 9s; b takes 1s after a; c takes 1s", &[("a", "")]);
    assert_eq!(world.counts(), "cancelled pass");
    assert_eq!(world.stopped(world.run()), Some("killed by ana: it hangs"));
    world.reopen(Vec::new());
    world.tick();
    world.go_on();
    assert_eq!(world.counts(), "pass pass pass");
}

#[test]
fn what_has_ended_keeps_its_verdict() {
    let world = killed("devices 1; a takes 500ms; b takes 2s", &[("a", "")]);
    assert_eq!(world.counts(), "pass pass");
}
