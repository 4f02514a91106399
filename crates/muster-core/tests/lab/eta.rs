//! When something may start, and device by device why it has not.

use crate::kit::World;
use expect_test::expect;
use muster_core::change::{Hold, Placement};
use muster_core::id::{DeviceId, ItemIx};
use muster_core::lab::{Input, Outlook, sum_up};
use muster_core::time::Time;
use std::time::Duration;

fn outlook(world: &World, run: muster_core::id::RunId) -> String {
    match world.lab.outlook(world.now, run) {
        Outlook::Now => "now".to_owned(),
        Outlook::Later(why, Some(eta)) => format!("{eta}: {why}"),
        Outlook::Later(why, None) => format!("later: {why}"),
        Outlook::Never(why) => format!("never: {why}"),
    }
}

#[test]
fn a_run_is_told_when_it_may_start() {
    let mut world = World::new("devices 2; a*6 known 100s takes 100s");
    let first = world.ask(Placement::default());
    assert_eq!(outlook(&world, first), "later: no agent is there to run it");
    world.talk();
    assert_eq!(outlook(&world, first), "now");
    world.go_on_until(Time(40_000_000));
    let low = world.ask(Placement { priority: -1, ..Placement::default() });
    let high = world.ask(Placement { priority: 1, ..Placement::default() });
    world.now = Time(40_000_000);
    let why = "every device is busy, and it is the next item";
    assert_eq!(outlook(&world, high), format!("in about 1 min: {why}").replace("1 min", "60 s"));
    assert_eq!(outlook(&world, low), format!("in 60 s to 9 min: {why}"));
    let nowhere = Placement { selector: "labels.kind == 'phone'".to_owned(), ..Placement::default() };
    let nowhere = world.ask(nowhere);
    assert!(outlook(&world, nowhere).starts_with("never: none of the 2 devices"));
}

#[test]
fn each_device_says_why_it_is_not_given() {
    let mut world = World::new(
        "agents 3 1; label d1 os=linux; label d2 os=linux; label d3 os=mac; label d4 os=linux; a*9 known 100s takes 100s",
    );
    world.ask(Placement::default());
    world.talk();
    world.agents[1].silent = true;
    let run = world.ask(Placement { selector: "labels.os == 'linux'".to_owned(), ..Placement::default() });
    let hold = Hold {
        by: "ana".to_owned(),
        reason: "its relay clicks".to_owned(),
        since: world.now,
        until: Some(world.now + Duration::from_secs(7200)),
        id: None,
    };
    world.apply(Input::Hold { device: DeviceId(2), hold: Some(hold) }).unwrap();
    world.go_on_until(Time(20_000_000));
    world.now = Time(20_000_000);
    let candidates = world.lab.candidates(world.now, run, ItemIx(0));
    expect![[r#"
        1 busy: `d1` (area/1/a/1, for about 80 s)
        1 not heard of for some seconds: `d4`
        1 held: `d2` (by ana: its relay clicks, for 2 h)
        1 not matching `labels.os == 'linux'`: `d3`"#]]
    .assert_eq(&sum_up(world.now, &candidates).join("\n"));
    assert_eq!(world.lab.candidates(world.now, run, ItemIx(99)), []);
}
