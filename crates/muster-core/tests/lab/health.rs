//! Health of devices: checks, repairs, quarantine, and devices that behave worse than their siblings.

use crate::kit::World;
use expect_test::{Expect, expect};
use muster_core::definition::Line;
use muster_core::id::DeviceId;
use muster_core::kind::{DeviceKind, Repair, Verifier};
use muster_core::lab::{DeviceSelector, Input, PastResult};
use muster_core::time::Time;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// All devices are boards, with a verifier `link` and one `disk` after it.
fn boards() -> DeviceKind {
    let verifier = |name: &str, after: &[&str]| Verifier {
        name: name.to_owned(),
        run: Line::Shell("true".to_owned()),
        timeout: Duration::from_secs(60),
        after: after.iter().map(|a| (*a).to_owned()).collect(),
        description: String::new(),
    };
    DeviceKind {
        name: "board".to_owned(),
        matches: DeviceSelector::parse("name.startsWith('d')").expect("a selector"),
        check_every: None,
        after_lab_error: true,
        failures_max: Some(3),
        after_restart: false,
        offences_max: 3,
        offences_within: 24 * HOUR,
        quarantine_max: None,
        verifiers: vec![verifier("link", &[]), verifier("disk", &["link"])],
        repairs: Vec::new(),
    }
}

fn repair(name: &str, fixes: &[&str], cost: u32) -> Repair {
    Repair {
        name: name.to_owned(),
        run: Line::Shell("true".to_owned()),
        timeout: Duration::from_secs(60),
        fixes: fixes.iter().map(|f| (*f).to_owned()).collect(),
        cost,
        cool_down: Duration::ZERO,
        tries: 1,
        description: String::new(),
    }
}

fn world(scenario: &str, kind: DeviceKind) -> World {
    let mut world = World::new(scenario);
    world.set_kinds(vec![kind]);
    world.talk();
    world
}

/// Device `d1` by default; what has happened to it, a line each.
fn history(world: &World, device: u32) -> String {
    let detail = world.lab.device(world.now, DeviceId(device)).expect("it is there");
    let line = |e: &muster_core::health::Entry| {
        format!("{}s {}: {} [{}]\n", e.at.0 / 1_000_000, e.health, e.what, e.address)
    };
    detail.health.history.iter().map(line).collect()
}

fn check(world: &World, device: u32, expected: Expect) {
    expected.assert_eq(&history(world, device));
}

fn word(world: &World, device: u32) -> String {
    world.lab.device(world.now, DeviceId(device)).expect("it is there").device.health.word
}

fn breaks(world: &mut World, device: &str, tests: &[&str]) {
    let tests = tests.iter().map(|t| (*t).to_owned()).collect();
    world.broken.insert(device.to_owned(), tests);
}

fn pass(world: &mut World, time: Duration) {
    world.pass(time);
}

#[test]
fn a_device_is_checked_before_its_first_work_and_then_now_and_then() {
    let mut world = world("devices 1; a", DeviceKind { check_every: Some(HOUR), ..boards() });
    assert_eq!(word(&world, 1), "checking");
    world.create();
    world.go_on();
    expect![[r#"
        0s run of 2
        0s d1: verify.link#1
        0s run of 1
        0.1s     verify.link = pass
        0.1s d1: verify.disk#1
        0.2s     verify.disk = pass
        0.2s run ended: 2 pass
        0.2s d1: a#1
        1.2s     a = pass
        1.2s run ended: 1 pass
    "#]]
    .assert_eq(&world.story);
    check(&world, 1, expect!["0s good: it passed its check [lab-health/1001]\n"]);
    assert_eq!(world.checks, 1);
    pass(&mut world, HOUR + Duration::from_secs(60));
    assert_eq!(world.checks, 2, "an hour later it is checked again");
    check(&world, 1, expect!["0s good: it passed its check [lab-health/1001]\n"]);
}

#[test]
fn a_lab_error_asks_for_a_check_and_a_device_that_fails_it_is_quarantined() {
    let mut world = world("devices 2; a*4 takes 1s", boards());
    breaks(&mut world, "d1", &["a!", "verify.link"]);
    world.create();
    world.go_on();
    assert_eq!((word(&world, 1), word(&world, 2)), ("quarantined".to_owned(), "unknown".to_owned()));
    check(
        &world,
        1,
        expect![[r#"
            1s suspect: an attempt could not be carried out there: no such device [area/1/a/1#1]
            1s quarantined: `link` fails (it said fail); no repair is known for that [lab-health/1001]
        "#]],
    );
    assert_eq!(world.counts(), "pass pass pass pass", "its sibling has run what it could not");
    let why = world.lab.device(world.now, DeviceId(1)).unwrap().why;
    assert_eq!(
        why,
        [
            "it is in quarantine by the lab: `link` fails (it said fail); no repair is known for that; a check that \
          it passes ends that"
        ]
    );
}

#[test]
fn one_in_quarantine_is_checked_ever_more_seldom_and_comes_back_when_it_is_well() {
    let mut world = world("devices 1; a takes 1s; b takes 100000s", boards());
    breaks(&mut world, "d1", &["a!", "verify.disk"]);
    world.create();
    pass(&mut world, HOUR);
    assert_eq!(word(&world, 1), "quarantined");
    let checks = world.checks;
    assert!((3..=5).contains(&checks), "at 5, 15, 35 minutes: {checks}");
    assert!(history(&world, 1).lines().count() == 2, "and that is no news: {}", history(&world, 1));
    world.restart();
    breaks(&mut world, "d1", &[]);
    pass(&mut world, 2 * HOUR);
    assert_eq!(word(&world, 1), "good");
}

#[test]
fn the_cheapest_repair_that_can_fix_what_failed_is_tried_first_and_a_person_is_asked_last() {
    let repairs =
        vec![repair("replace", &[], 9), repair("wipe", &["disk"], 1), repair("restart", &["link"], 2)];
    let kind = DeviceKind { repairs: repairs.clone(), ..boards() };
    let mut world = world("devices 1; a takes 1s", kind.clone());
    breaks(&mut world, "d1", &["a!", "verify.link"]);
    world.create();
    pass(&mut world, Duration::from_secs(60));
    check(
        &world,
        1,
        expect![[r#"
            1s suspect: an attempt could not be carried out there: no such device [area/1/a#1]
            1s failing: `link` fails (it said fail) [lab-health/1001]
            1s failing: repair `restart`: `link` fails (it said fail) [lab-health/1002]
            1s failing: `link` fails (it said fail) [lab-health/1002]
            1s failing: repair `replace`: `link` fails (it said fail) [lab-health/1003]
            1s quarantined: `link` fails (it said fail); no repair is left: `restart` was tried once, `replace` was tried once [lab-health/1003]
        "#]],
    );
    // Where the repair helps, the device goes on with its work.
    let mut world = self::world("devices 1; a takes 1s", kind);
    breaks(&mut world, "d1", &["a!", "verify.disk"]);
    world.create();
    while word(&world, 1) != "repairing" {
        pass(&mut world, Duration::from_millis(50));
    }
    breaks(&mut world, "d1", &[]);
    world.go_on();
    assert_eq!((word(&world, 1), world.counts()), ("good".to_owned(), "pass".to_owned()));
    assert!(
        history(&world, 1).ends_with("it is good after `wipe` [lab-health/1002]\n"),
        "{}",
        history(&world, 1)
    );
}

#[test]
fn a_repair_that_was_just_made_is_not_made_again_before_it_has_cooled_down() {
    let restart = Repair { cool_down: HOUR / 2, tries: 9, ..repair("restart", &[], 1) };
    let mut world = world("devices 1; a takes 1s", DeviceKind { repairs: vec![restart], ..boards() });
    breaks(&mut world, "d1", &["a!", "verify.link"]);
    world.create();
    pass(&mut world, Duration::from_secs(60));
    assert!(history(&world, 1).contains("no repair is left: `restart` cools down"), "{}", history(&world, 1));
    pass(&mut world, HOUR);
    assert!(history(&world, 1).matches("repair `restart`").count() >= 2, "{}", history(&world, 1));
}

#[test]
fn tests_that_fail_on_one_device_and_pass_on_its_siblings_speak_against_the_device() {
    let mut world =
        world("devices 3; a*12 takes 1s retries 2", DeviceKind { verifiers: Vec::new(), ..boards() });
    breaks(&mut world, "d1", &["a"]);
    world.create();
    world.go_on();
    assert_eq!(word(&world, 1), "suspect");
    check(
        &world,
        1,
        expect![[r#"
            3s suspect: 3 attempts in a row failed there whose tests pass on its siblings [area/1/a/1#3]
            6s suspect: 3 attempts in a row failed there whose tests pass on its siblings [area/1/a/8#3]
        "#]],
    );
    assert_eq!((word(&world, 2), word(&world, 3)), ("unknown".to_owned(), "unknown".to_owned()));
}

#[test]
fn what_a_device_did_before_the_lab_was_restored_speaks_against_it_unless_it_was_decided_upon_since() {
    let past = |device: &str, at: u64, good: bool| PastResult {
        device: device.to_owned(),
        at: Time(at),
        test: "area/a".to_owned(),
        good,
    };
    let before = || {
        let mut all: Vec<PastResult> =
            (1..=9).flat_map(|at| ["d2", "d3"].map(|device| past(device, at, true))).collect();
        all.extend([past("d1", 20, false), past("nobody", 9, false), past("d1", 10, false)]);
        all
    };
    for (remembers, released, wanted) in
        [(false, false, "unknown"), (true, false, "suspect"), (true, true, "unknown")]
    {
        let mut world = world("devices 3; a*3 takes 1s", DeviceKind { verifiers: Vec::new(), ..boards() });
        if released {
            pass(&mut world, Duration::from_secs(1));
            // What was held against it is forgotten, so that what was seen before does not count again.
            for put in [Some(("a look".to_owned(), None)), None] {
                let (device, by) = (DeviceId(1), "ana".to_owned());
                world.apply(Input::Quarantine { device, by, put }).unwrap();
            }
        }
        if remembers {
            world.lab.remember(before());
        }
        breaks(&mut world, "d1", &["a"]);
        world.create();
        world.go_on();
        assert_eq!(word(&world, 1), wanted, "{remembers} {released}");
    }
}

#[test]
fn a_test_that_fails_everywhere_speaks_against_no_device() {
    let mut world = world("devices 3; a*12 takes 1s", boards());
    for device in ["d1", "d2", "d3"] {
        breaks(&mut world, device, &["a"]);
    }
    world.create();
    world.go_on();
    for device in 1..=3 {
        assert_eq!(word(&world, device), "unknown");
    }
    assert_eq!(world.checks, 0);
}

#[test]
fn a_device_that_passes_its_check_and_fails_the_same_way_again_is_found_out() {
    let kind = DeviceKind { after_lab_error: false, ..boards() };
    let mut world = world("devices 3; a*60 takes 40s retries 9", kind);
    breaks(&mut world, "d1", &["a"]);
    world.create();
    world.go_on_until(Time(500_000_000));
    world.restart();
    world.go_on();
    assert_eq!(word(&world, 1), "quarantined");
    let story = history(&world, 1);
    assert_eq!(story.matches("good: it passed its check").count(), 2, "{story}");
    assert!(
        story.contains(
            "quarantined: 3 times tests failed there that pass on its siblings, and it passed its \
             check in between; its 2 siblings had that 0 times together; at last 3 attempts in a row"
        ),
        "{story}"
    );
    // A check that it passes proves nothing here: a person has to release it.
    let by = "ana".to_owned();
    world.apply(Input::CheckNow { device: DeviceId(1), by: by.clone() }).unwrap();
    pass(&mut world, HOUR);
    assert_eq!(word(&world, 1), "quarantined");
    world.apply(Input::Quarantine { device: DeviceId(1), by, put: None }).unwrap();
    breaks(&mut world, "d1", &[]);
    pass(&mut world, HOUR);
    assert_eq!(word(&world, 1), "good");
}

#[test]
fn a_person_quarantines_and_the_device_gets_nothing_until_that_is_over() {
    let mut world =
        world("devices 1; a takes 1s; b after a", DeviceKind { verifiers: Vec::new(), ..boards() });
    world.create();
    let until = Some(Time(30_000_000));
    let put = Some(("its fan is loud".to_owned(), until));
    world.apply(Input::Quarantine { device: DeviceId(1), by: "ana".to_owned(), put }).unwrap();
    world.go_on_until(Time(20_000_000));
    assert_eq!(world.counts(), "pass", "what ran goes on");
    assert_eq!(
        world.why("b", "").to_string(),
        "no device it may have can be used: `d1`: it is in quarantine by ana: its fan is loud"
    );
    world.restart();
    world.go_on();
    assert_eq!(world.counts(), "pass pass", "it ends by itself");
    assert_eq!(word(&world, 1), "unknown");
    let unknown = Input::CheckNow { device: DeviceId(9), by: String::new() };
    assert_eq!(world.apply(unknown).unwrap_err().code(), "no-such-device");
    let none = Input::CheckNow { device: DeviceId(1), by: String::new() };
    assert_eq!(world.apply(none).unwrap_err().code(), "no-verifier");
}

#[test]
fn a_check_waits_for_its_device_and_goes_on_after_the_lab_or_the_agent_was_lost() {
    let mut world = world("devices 1; a takes 10s; b takes 1s; at 2s back 1", boards());
    world.create();
    world.talk();
    world.apply(Input::CheckNow { device: DeviceId(1), by: "ana".to_owned() }).unwrap();
    world.tick();
    assert_eq!(word(&world, 1), "checking");
    world.restart();
    world.go_on();
    assert_eq!((word(&world, 1), world.checks), ("good".to_owned(), 1));
    assert_eq!(world.counts(), "pass pass");
}

#[test]
fn a_check_that_comes_to_no_answer_says_nothing_of_the_device_and_is_made_again() {
    let mut world = world("devices 1; a takes 1s; b takes 1s", boards());
    breaks(&mut world, "d1", &["a!", "verify.link!"]);
    world.create();
    pass(&mut world, Duration::from_secs(20));
    assert_eq!(word(&world, 1), "suspect");
    assert!(history(&world, 1).contains("its check came to no answer"), "{}", history(&world, 1));
    breaks(&mut world, "d1", &[]);
    world.go_on();
    assert_eq!((word(&world, 1), world.counts()), ("good".to_owned(), "pass pass".to_owned()));
}

#[test]
fn a_suspect_that_cannot_be_checked_at_all_is_used_again() {
    let mut world = world("devices 1; a takes 1s; b takes 1s", boards());
    breaks(&mut world, "d1", &["a!", "verify.link!"]);
    world.create();
    pass(&mut world, Duration::from_secs(20));
    breaks(&mut world, "d1", &["verify.link!"]);
    world.go_on();
    assert_eq!((word(&world, 1), world.counts()), ("unknown".to_owned(), "pass pass".to_owned()));
    let story = history(&world, 1);
    assert!(
        story.ends_with("its check came to no answer; it goes on unchecked [lab-health/1003]\n"),
        "{story}"
    );
}

#[test]
fn a_host_that_finds_fault_with_itself_gets_nothing_new_and_says_why() {
    let mut world = world("devices 1; a takes 1s; b after a", boards());
    world.create();
    world.talk();
    world.agents[0].trouble = vec!["its clock is 90 s ahead of the server's".to_owned()];
    world.agents[0].dirty = true;
    world.go_on_until(Time(3_000_000));
    assert_eq!(world.counts(), "pass", "what ran goes on");
    assert_eq!(
        world.why("b", "").to_string(),
        "no device it may have can be used: `d1`: self-check of host: its clock is 90 s ahead of the server's"
    );
    world.agents[0].trouble.clear();
    world.agents[0].dirty = true;
    world.go_on();
    assert_eq!(world.counts(), "pass pass");
}

#[test]
fn the_restart_of_an_agent_asks_for_a_check_where_the_kind_says_so() {
    let kind = DeviceKind { after_restart: true, ..boards() };
    let mut world = world("devices 1; a takes 1s; at 5s back 1; b takes 10s", kind);
    world.create();
    world.go_on();
    assert_eq!((word(&world, 1), world.checks), ("good".to_owned(), 1));
}
