//! Several devices for one test: all at once or none; nobody waits for ever.

use crate::kit::{World, check};
use expect_test::expect;
use muster_core::change::{Change, MoveTo, Moved, Placement};
use muster_core::lab::{Input, Outlook, sum_up};
use muster_core::time::Time;
use std::time::Duration;

/// The devices of each lease, by name, in the order they were given.
fn leases(world: &World) -> Vec<String> {
    let name = |id| {
        let view = world.lab.view(world.now);
        view.devices.iter().find(|d| d.id == id).map_or_else(|| id.to_string(), |d| d.name.clone())
    };
    let granted = world.saved.iter().filter_map(|change| match change {
        Change::LeaseGranted { devices, .. } => Some(devices),
        _ => None,
    });
    granted.map(|devices| devices.iter().map(|d| name(*d)).collect::<Vec<_>>().join("+")).collect()
}

#[test]
fn a_test_gets_all_its_devices_at_once() {
    check(
        "devices 3; call has a,b takes 5s; at 1s why call",
        expect![[r#"
            0s run of 1
            0s d1+d2: call#1
            1s why call? it runs on `d1+d2`
            5s     call = pass
            5s run ended: 1 pass
        "#]],
    );
}

#[test]
fn each_device_is_what_it_may_be() {
    let mut world = World::new(
        "devices 3; label d1 kind=host; label d2 kind=phone; label d3 kind=phone
         call has caller:kind=phone,callee:kind=phone,base:kind=host takes 5s",
    );
    world.create();
    world.go_on();
    assert_eq!(leases(&world), ["d2+d3+d1"]);
}

#[test]
fn roles_are_given_so_that_all_have_one() {
    // d1 may be anything, d2 only a phone: whichever is offered first must make room.
    let mut world = World::new(
        "devices 2; label d1 kind=host; label d2 kind=phone; call has any,phone:kind=phone; back has phone:kind=phone,any",
    );
    world.create();
    world.go_on();
    assert_eq!(leases(&world), ["d1+d2", "d2+d1"]);
}

#[test]
fn it_waits_for_all_and_keeps_what_is_free() {
    check(
        "devices 2; long takes 9s known 9s prio 1; call has a,b takes 2s; small*3 takes 4s known 4s
         at 1s why call; at 1s why small/3; at 6s why call",
        expect![[r#"
            0s run of 5
            0s d1: long#1
            0s d2: small/1#1
            1s why call? it needs 2 devices at once: `d2` will be its `a` after area/1/small/1, `d1` will be its `b` after area/1/long
            1s why small/3? every device is busy, and one item is before it
            4s     small/1 = pass
            4s d2: small/2#1
            6s why call? it needs 2 devices at once: `d2` will be its `a` after area/1/small/2, `d1` will be its `b` after area/1/long
            8s     small/2 = pass
            8s d2: small/3#1
            9s     long = pass
            12s     small/3 = pass
            12s     small: pass of 3 pass
            12s d1+d2: call#1
            14s     call = pass
            14s run ended: 5 pass
        "#]],
    );
}

#[test]
fn what_is_known_to_be_short_runs_meanwhile_and_what_is_not_does_not() {
    check(
        "devices 2; long takes 9s known 9s prio 2; call has a,b takes 2s prio 1; short*2 takes 3s known 3s; unknown takes 1s; big takes 20s known 20s",
        expect![[r#"
            0s run of 6
            0s d1: long#1
            0s d2: short/1#1
            3s     short/1 = pass
            3s d2: short/2#1
            6s     short/2 = pass
            6s     short: pass of 2 pass
            9s     long = pass
            9s d1+d2: call#1
            11s     call = pass
            11s d1: big#1
            11s d2: unknown#1
            12s     unknown = pass
            31s     big = pass
            31s run ended: 6 pass
        "#]],
    );
}

#[test]
fn gangs_that_want_each_others_devices_do_not_lock() {
    check(
        "devices 3; first takes 3s prio 9; ab has a,b takes 2s; bc has b,c takes 2s; abc has a,b,c takes 2s; one*3 takes 1s",
        expect![[r#"
            0s run of 7
            0s d1+d2: ab#1
            0s d3: first#1
            2s     ab = pass
            2s d1+d2: bc#1
            3s     first = pass
            4s     bc = pass
            4s d1+d2+d3: abc#1
            6s     abc = pass
            6s d1: one/1#1
            6s d2: one/2#1
            6s d3: one/3#1
            7s     one/1 = pass
            7s     one/2 = pass
            7s     one/3 = pass
            7s     one: pass of 3 pass
            7s run ended: 7 pass
        "#]],
    );
}

#[test]
fn a_stream_of_small_ones_does_not_starve_a_gang() {
    let mut world =
        World::new("devices 2; select small; small*40 takes 10s known 10s; call has a,b takes 10s");
    world.create();
    let gang = world.ask_for("call", Placement { user: "ben".to_owned(), ..Placement::default() });
    world.go_on_until(Time(60_000_000));
    let given = world.given();
    assert!(given.split(' ').take(6).any(|run| *run == gang.0.to_string()), "{given}");
}

#[test]
fn a_gang_s_wait_makes_it_more_important() {
    // One user's runs of one item each, again and again, always before the gang's by their priority.
    let mut world = World::new("devices 2; select small; small takes 60s known 60s; call has a,b takes 10s");
    world.create();
    let gang = world.ask_for("call", Placement { user: "ben".to_owned(), ..Placement::default() });
    for minute in 1..40 {
        for _ in 0..2 {
            world.ask_for("small", Placement { priority: 2, ..Placement::default() });
        }
        world.go_on_until(Time(minute * 60_000_000));
    }
    assert!(world.given().split(' ').any(|run| *run == gang.0.to_string()), "{}", world.given());
}

#[test]
fn a_stream_of_gangs_does_not_starve_a_small_one() {
    let mut world = World::new("devices 2; call*30 has a,b takes 10s known 10s");
    world.create();
    let small = world.ask(Placement { user: "ben".to_owned(), ..Placement::default() });
    world.go_on_until(Time(60_000_000));
    let given = world.given();
    assert!(given.split(' ').take(6).any(|run| *run == small.0.to_string()), "{given}");
}

#[test]
fn the_loss_of_a_device_ends_the_attempt_as_the_lab_s_fault() {
    check(
        "agents 1 1 1; call has a,b takes 30s; at 5s gone 2",
        expect![[r#"
            0s run of 1
            0s d1+d2: call#1
            5s GONE
            5s     call#1 error, again
            5.2s d1+d3: call#2
            35.2s     call = pass
            35.2s run ended: 1 pass
        "#]],
    );
}

#[test]
fn the_loss_of_the_leader_ends_the_attempt_and_frees_the_others() {
    check(
        "agents 1 1 1; call has a,b takes 30s; at 5s gone 1",
        expect![[r#"
            0s run of 1
            0s d1+d2: call#1
            5s GONE
            5s d2+d3: call#1
            35s     call = pass
            35s run ended: 1 pass
        "#]],
    );
}

#[test]
fn the_others_of_a_broken_gang_are_nobody_s_before_its_leader_has_let_go() {
    check(
        "agents 1 1; warm takes 2s; call has a,b takes 200s prio 1 after warm; other takes 1s after warm; at 3s silence 1; at 5s gone 2; at 6s back 2; at 7s why other; at 100s voice 1",
        expect![[r#"
            0s run of 3
            0s d1: warm#1
            2s     warm = pass
            2s d1+d2: call#1
            5s GONE
            6s BACK
            7s why other? every device is busy, and it is the next item
            62s d2: other#1
            63s     other = pass
            100s d1+d2: call#1
            300s     call = pass
            300s run ended: 3 pass
        "#]],
    );
}

#[test]
fn a_pass_counts_even_if_a_device_was_lost_before_it_was_heard() {
    check(
        "agents 1 1; call has a,b takes 10s; at 9s silence 1; at 9s gone 2; at 12s voice 1",
        expect![[r#"
            0s run of 1
            0s d1+d2: call#1
            9s GONE
            12s     call = pass
            12s run ended: 1 pass
        "#]],
    );
}

#[test]
fn a_held_device_is_no_part_of_a_gang() {
    check(
        "devices 3; first takes 2s prio 1; call has a,b takes 2s after first; at 1s hold d3; at 1s hold d2; at 3s why call; at 5s release d3",
        expect![[r#"
            0s run of 2
            0s d1: first#1
            1s HELD
            1s HELD
            2s     first = pass
            3s why call? too few of the devices it needs at once can be used: `d2`: it is held by ana: its relay clicks; `d3`: it is held by ana: its relay clicks
            5s RELEASED
            5s d1+d3: call#1
            7s     call = pass
            7s run ended: 2 pass
        "#]],
    );
}

#[test]
fn a_gang_outlives_the_lab() {
    check(
        "devices 2; call has a,b takes 5s; next takes 1s; at 2s restart",
        expect![[r#"
            0s run of 2
            0s d1+d2: call#1
            2s RESTART
            0s d1+d2: call#1
            5s     call = pass
            5s d1: next#1
            6s     next = pass
            6s run ended: 2 pass
        "#]],
    );
}

#[test]
fn a_gang_that_gathers_goes_on_gathering_after_a_restart() {
    check(
        "devices 2; long takes 5s prio 2 known 5s; call has a,b takes 2s prio 1; big*2 takes 9s known 9s; at 2s restart",
        expect![[r#"
            0s run of 4
            0s d1: long#1
            2s RESTART
            0s d1: long#1
            5s     long = pass
            5s d1+d2: call#1
            7s     call = pass
            7s d1: big/1#1
            7s d2: big/2#1
            16s     big/1 = pass
            16s     big/2 = pass
            16s     big: pass of 2 pass
            16s run ended: 4 pass
        "#]],
    );
}

#[test]
fn what_cannot_be_is_said_at_once() {
    let mut world = World::new(
        "agents 2; label d1 kind=host; label d2 kind=phone; call has caller:kind=phone,callee:kind=phone,base",
    );
    world.create();
    world.talk();
    let Outlook::Never(why) = world.lab.outlook(world.now, world.run()) else { panic!("it can never start") };
    expect!["`call` cannot start: it needs 3 devices at once, and those that are there will not do: 1 of them can be its `caller` (`labels.kind == 'phone'`), 1 of them can be its `callee` (`labels.kind == 'phone'`), 2 of them can be its `base`"].assert_eq(&why.to_string());
}

#[test]
fn what_cannot_be_does_not_hold_up_the_rest() {
    let mut world = World::new("devices 2; call has a,b,c prio 1; small takes 3s");
    world.create();
    world.talk();
    let Outlook::Later(why, None) = world.lab.outlook(world.now, world.run()) else {
        panic!("some of it can")
    };
    expect!["`call` cannot start: it needs 3 devices at once, and those that are there will not do: 2 of them can be its `a`, 2 of them can be its `b`, 2 of them can be its `c`"].assert_eq(&why.to_string());
    world.go_on_until(Time(5_000_000));
    assert_eq!(world.counts(), "pass");
}

#[test]
fn where_no_devices_will_come_what_lacks_them_ends() {
    let mut world = World::new("devices 2; call has a,b,c; small; pair has a,b after call; duo has a,b");
    world.policy.closed = true;
    world.lab = muster_core::lab::Lab::new(world.policy);
    world.create();
    world.go_on();
    expect![[r#"
        0s run of 4
        0s     call = error (it needs 3 devices at once, and those that are there will not do: 2 of them can be its `a`, 2 of them can be its `b`, 2 of them can be its `c`)
        0s     pair = prerequisite-failed (`call` came to `error`)
        0s d1: small#1
        1s     small = pass
        1s d1+d2: duo#1
        2s     duo = pass
        2s run ended: 2 pass, 1 prerequisite-failed, 1 error
    "#]].assert_eq(&world.story);
}

#[test]
fn why_names_each_device() {
    let mut world = World::new(
        "devices 4; label d1 kind=host; label d2 kind=phone; label d3 kind=phone; label d4 kind=board
         busy takes 50s prio 1 known 50s; call has phone:kind=phone,base:kind=host takes 9s known 9s; other*4 takes 60s known 60s prio -1",
    );
    world.create();
    world.go_on_until(Time(1_000_000));
    let item = world.item("call", "");
    let lines = sum_up(world.now, &world.lab.candidates(world.now, world.run(), item));
    expect![""].assert_eq(&lines.join("\n"));
    expect!["it runs on `d2+d1`"].assert_eq(&world.why("call", "").to_string());
    let lines = sum_up(world.now, &world.lab.candidates(world.now, world.run(), world.item("other", "4")));
    expect!["4 busy: `d1` (area/1/call, for about 9 s), `d2` (area/1/call, for about 9 s), `d3` (area/1/busy, for about 50 s), `d4` (area/1/other/1, for about 60 s)"]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn devices_of_one_host_are_found_together() {
    let mut world = World::new("agents 2 2; first*2 takes 5s prio 1; call has a,b same-host takes 2s");
    world.agents[1].host = "east".to_owned();
    world.create();
    world.go_on();
    let gangs: Vec<String> = leases(&world).into_iter().filter(|l| l.contains('+')).collect();
    assert_eq!(gangs, ["d3+d4"], "{}", world.story);
}

#[test]
fn a_gang_of_a_user_counts_as_all_its_devices() {
    let mut world = World::new("devices 2; call*4 has a,b takes 10s known 10s");
    world.create();
    let other = Placement { user: "ben".to_owned(), ..Placement::default() };
    let ben = world.ask(other);
    world.go_on();
    // In turn, since each has had as much as the other.
    let given = world.given();
    assert_eq!(given.split(' ').filter(|run| **run == ben.0.to_string()).count(), 4, "{given}");
    assert_eq!(given, "1 2 1 2 1 2 1 2");
}

#[test]
fn a_run_gets_no_device_that_it_may_not_have() {
    let mut world = World::new("devices 3; label d1 kind=x; on labels.kind == 'x'; call has a,b");
    world.create();
    world.go_on_until(Time(3_000_000));
    assert_eq!(leases(&world), Vec::<String>::new());
    assert!(matches!(world.lab.outlook(world.now, world.run()), Outlook::Never(_)));
}

#[test]
fn a_device_that_is_gone_for_good_breaks_its_gang() {
    let mut world = World::new("agents 1 1 1; call has a,b takes 30s");
    world.create();
    world.go_on_until(Time(2_000_000));
    // Its agent begins again without it.
    world.agents[1].forget_devices();
    world.agents[1].begin_session();
    world.go_on();
    expect![[r#"
        0s run of 1
        0s d1+d2: call#1
        0s     call#1 error, again
        0.2s d1+d3: call#2
        30.2s     call = pass
        30.2s run ended: 1 pass
    "#]]
    .assert_eq(&world.story);
    world.pass(Duration::from_secs(1));
}

#[test]
fn what_the_lab_failed_is_tried_with_other_devices() {
    check(
        "devices 4; call has a,b takes 2s -> lab,pass",
        expect![[r#"
            0s run of 1
            0s d1+d2: call#1
            2s     call#1 error, again
            2.2s d3+d4: call#2
            4.2s     call = pass (good on `d3`, `d4` after it failed on `d1`, `d2`: look at those devices)
            4.2s run ended: 1 pass
        "#]],
    );
}

#[test]
fn a_device_in_quarantine_is_no_part_of_a_gang() {
    let mut world = World::new("devices 2; first takes 2s; call has a,b takes 2s after first");
    world.create();
    world.go_on_until(Time(1_000_000));
    let device = world.lab.view(world.now).devices[1].id;
    let put = Some(("it smells".to_owned(), Some(Time(20_000_000))));
    world.apply(Input::Quarantine { device, by: "ana".to_owned(), put }).expect("it is there");
    world.go_on_until(Time(3_000_000));
    let why = world.why("call", "").to_string();
    assert!(why.starts_with("too few of the devices it needs at once can be used: `d2`:"), "{why}");
    world.go_on();
    assert_eq!(leases(&world).last().map(String::as_str), Some("d1+d2"));
    assert_eq!(world.counts(), "pass pass");
}

#[test]
fn items_of_a_suite_share_their_devices() {
    check(
        "devices 2; suite!x,y,z batch 9 takes 1s known 10ms has a,b; other takes 1s",
        expect![[r#"
            0s run of 1, and 1 to ask
            0s d1+d2: suite#1
            1s suite has 3
            1s d1: other#1
            2s     other = pass
            2s d1+d2: suite/x#1
            3s     suite/x = pass
            3s d1+d2: suite/y#1
            4s     suite/y = pass
            4s d1+d2: suite/z#1
            5s     suite/z = pass
            5s     suite: pass of 3 pass
            5s run ended: 4 pass
        "#]],
    );
}

#[test]
fn a_test_may_choose_its_only_device() {
    check(
        "devices 2; label d2 kind=phone; call*2 has phone:kind=phone takes 2s; other takes 9s",
        expect![[r#"
            0s run of 3
            0s d1: other#1
            0s d2: call/1#1
            2s     call/1 = pass
            2s d2: call/2#1
            4s     call/2 = pass
            4s     call: pass of 2 pass
            9s     other = pass
            9s run ended: 3 pass
        "#]],
    );
}

#[test]
fn who_is_put_first_goes_before_a_gang_that_gathers() {
    let mut world =
        World::new("devices 2; select call; long takes 9s; call has a,b takes 5s; small takes 20s known 20s");
    world.create();
    let long = world.ask_for("long", Placement { priority: 5, ..Placement::default() });
    let small = world.ask_for("small", Placement::default());
    world.talk();
    world.go_on_until(Time(1_000_000));
    assert_eq!(world.given(), long.0.to_string(), "the rest is kept");
    let moved = Moved { by: "ana".to_owned(), reason: String::new(), at: world.now, to: MoveTo::First };
    world.apply(Input::Move { run: small, moved }).expect("it waits");
    world.go_on();
    assert_eq!(world.given(), format!("{} {} {}", long.0, small.0, world.run().0));
}

#[test]
fn more_devices_than_can_be_had_at_once_are_refused() {
    let roles: Vec<String> = (0..33).map(|n| format!("r{n}")).collect();
    let mut world = World::new(&format!("devices 1; call has {}", roles.join(",")));
    let record = std::sync::Arc::clone(&world.record);
    let history = std::sync::Arc::new(world.scenario.behaviour.clone());
    let rejected = world.apply(Input::CreateRun { record, history }).expect_err("it is refused");
    assert_eq!(rejected.to_string(), "a test needs 33 devices at once, more than the 32 allowed");
}
