//! Which devices a run may have: selectors over labels.

use crate::kit::{World, check, exchange};
use expect_test::expect;
use muster_core::exchange::{DeviceOffer, Exchange};
use muster_core::id::{AgentId, SessionId};
use muster_core::lab::{DeviceSelector, Explanation, Gone, Input, Outlook, Pool, Pools};
use std::sync::Arc;

#[test]
fn a_run_gets_only_devices_its_selector_matches() {
    check(
        "agents 2 1; label d2 os=linux; label d3 os=linux kind=board; on labels.os == 'linux' && has(labels.kind); a*2",
        expect![[r#"
            0s run of 2
            0s d3: a/1#1
            1s     a/1 = pass
            1s d3: a/2#1
            2s     a/2 = pass
            2s     a: pass of 2 pass
            2s run ended: 2 pass
        "#]],
    );
}

#[test]
fn a_selector_may_name_a_device() {
    check(
        "devices 3; on name == 'd2'; a",
        expect![[r#"
        0s run of 1
        0s d2: a#1
        1s     a = pass
        1s run ended: 1 pass
    "#]],
    );
}

#[test]
fn why_no_device_is_good_enough() {
    check(
        "devices 2; label d1 os=mac; on labels.os == 'linux'; a; at 1s why a; at 2s stop",
        expect![[r#"
            0s run of 1
            1s why a? none of the 2 devices that are there matches `labels.os == 'linux'`
            2s STOP
            2s run stopped: 
        "#]],
    );
}

#[test]
fn a_selector_with_a_mistake_is_refused_and_one_that_no_label_fits_yet_is_not() {
    for (selector, code) in [
        ("label.os == 'linux'", Some("bad-selector")),
        ("labels.os = 'linux'", Some("bad-selector")),
        ("labels.nobody_has_this == 'x'", None),
    ] {
        let mut world = World::new(&format!("on {selector}; a"));
        let record = Arc::clone(&world.record);
        let asked = world.apply(Input::CreateRun { record, history: Arc::new(()) });
        assert_eq!(asked.err().map(|e| e.code()), code, "{selector}");
    }
}

#[test]
fn a_device_that_gets_the_label_gets_the_work() {
    let mut world = World::new("on labels.os == 'linux'; a");
    world.create();
    assert_eq!(world.hears(exchange(1, 1, 1, 0)), None, "no label yet");
    let mut offer = DeviceOffer::named("d1");
    offer.labels.insert("os".into(), "linux".into());
    let orders = world.hears(Exchange { devices: vec![offer], ..exchange(1, 1, 2, 0) });
    assert_eq!(orders.map(|o| o.new.len()), Some(1));
}

#[test]
fn a_run_has_no_device_of_a_pool_that_who_asked_may_not_use() {
    let mut world = World::new("a*3");
    let pool = |name: &str, devices: &str| Pool {
        name: name.to_owned(),
        devices: DeviceSelector::parse(devices).unwrap(),
    };
    // A device is in the first that it matches.
    world.lab.set_pools(Pools::new(vec![pool("release", "name == 'd1'"), pool("all", "true")]));
    let spec = &mut Arc::make_mut(&mut world.record).spec;
    let placement = &mut Arc::make_mut(spec).placement;
    (placement.user, placement.pools) = ("ben".to_owned(), Some(vec!["all".to_owned()]));
    world.create();
    let orders = world.hears(exchange(1, 1, 1, 0));
    assert!(orders.is_none_or(|o| o.units.is_empty()), "d1 is in another pool");
    let why = Explanation::OtherPools { user: "ben".to_owned(), pools: vec!["release".to_owned()] };
    assert_eq!(world.lab.outlook(world.now, world.run()), Outlook::Never(why.clone()));
    assert_eq!(why.to_string(), "every device that would do is in the pool `release`, which ben may not use");
    let orders = world.hears(exchange(2, 1, 1, 0)).unwrap();
    assert!(!orders.units.is_empty(), "d2 is not");
    world.lab.set_pools(Pools::default());
    assert!(world.hears(exchange(1, 1, 2, 0)).is_none_or(|o| o.units.is_empty()), "nor is the rest open");
}

#[test]
fn a_run_whose_devices_are_away_waits_and_one_for_which_none_is_known_cannot_start() {
    let mut world = World::new("on labels.os == 'linux'; a");
    let offer = |os: &str| {
        let mut offer = DeviceOffer::named("d1");
        offer.labels.insert("os".into(), os.into());
        offer
    };
    let never = |world: &World| world.lab.view(world.now).runs[0].never;
    world.hears(exchange(2, 1, 1, 0));
    world.hears(Exchange { devices: vec![offer("linux")], ..exchange(1, 1, 1, 0) });
    let (agent, session, how) = (AgentId(1), SessionId(1), Gone::Died);
    world.apply(Input::AgentGone { agent, session, how }).unwrap();
    world.create();
    let Outlook::Later(why, None) = world.lab.outlook(world.now, world.run()) else {
        panic!("it may come back")
    };
    assert!(why.to_string().starts_with("every device that it may have is away: `d1` of "), "{why}");
    assert!(!never(&world));
    // It comes back as something else, and is taken for what it is.
    assert_eq!(world.hears(Exchange { devices: vec![offer("mac")], ..exchange(1, 2, 1, 0) }), None);
    assert!(matches!(world.lab.outlook(world.now, world.run()), Outlook::Never(_)));
    assert!(never(&world), "asked again after the answer at submission");
    let orders = world.hears(Exchange { devices: vec![offer("linux")], ..exchange(1, 2, 2, 0) });
    assert_eq!(orders.map(|o| o.new.len()), Some(1));
    assert!(!never(&world));
}

#[test]
fn after_a_restart_of_the_server_what_was_not_heard_yet_may_be_what_is_wanted() {
    let mut world = World::new("on labels.os == 'linux'; a");
    let mut offer = DeviceOffer::named("d1");
    offer.labels.insert("os".into(), "linux".into());
    world.hears(Exchange { devices: vec![offer.clone()], ..exchange(1, 1, 1, 0) });
    let mut other = DeviceOffer::named("d2");
    other.labels.insert("os".into(), "mac".into());
    world.hears(Exchange { devices: vec![other.clone()], ..exchange(2, 1, 1, 0) });
    world.restart();
    world.hears(Exchange { devices: vec![other], ..exchange(2, 1, 2, 0) });
    world.create();
    let Outlook::Later(why, None) = world.lab.outlook(world.now, world.run()) else {
        panic!("nobody has said what d1 is like")
    };
    assert!(why.to_string().starts_with("every device that it may have is away: `d1` of "), "{why}");
    let orders = world.hears(Exchange { devices: vec![offer], ..exchange(1, 1, 2, 0) });
    assert_eq!(orders.map(|o| o.new.len()), Some(1));
}

#[test]
fn an_agent_that_is_started_again_has_the_devices_it_had_and_what_it_brings_instead() {
    let mut world = World::new("on labels.os == 'linux'; a*2");
    let offer = |name: &str, os: &str| {
        let mut offer = DeviceOffer::named(name);
        offer.labels.insert("os".into(), os.into());
        offer
    };
    world.hears(Exchange { devices: vec![offer("d1", "linux"), offer("d2", "mac")], ..exchange(1, 1, 1, 0) });
    world.create();
    // One is gone, one is what the other was, one is new.
    let devices = vec![offer("d2", "linux"), offer("d3", "linux")];
    let orders = world.hears(Exchange { devices, ..exchange(1, 2, 1, 0) }).unwrap();
    let mut places: Vec<u32> = orders.units.iter().map(|u| u.device).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 1]);
}
