//! Tests that have several devices at once: on a lab of two agents with simulated devices, and here.

use crate::env::TestEnv;
use crate::lab::{Lab, items, lines};
use std::time::{Duration, Instant};

const AREA: &str = r#"
[area]
name = "pair"

[test.call]
run = "sh call.sh"
items = ["1", "2", "3"]
[test.call.needs.devices]
caller = "labels.kind == 'phone'"
callee = "labels.kind == 'phone'"

[test.small]
run = "sh small.sh"
items = ["1", "2", "3", "4", "5", "6"]
"#;

/// Whoever has a device makes a directory of its name; two at once cannot.
const CALL: &str = r#"
set -e
mkdir "$LOCKS/$MUSTER_DEVICE_CALLER_NAME" "$LOCKS/$MUSTER_DEVICE_CALLEE_NAME"
test "$MUSTER_SLOT" = "$MUSTER_DEVICE_CALLER_NAME"
test "$MUSTER_DEVICE_ADDRESS" = "$MUSTER_DEVICE_CALLER"
"$PROGRAM" device exec --on "$MUSTER_DEVICE_CALLER" -- sh -c 'echo rings'
"$PROGRAM" device exec --on "$MUSTER_DEVICE_CALLEE" -- sh -c 'echo answers'
echo "$MUSTER_DEVICE_CALLER_NAME calls $MUSTER_DEVICE_CALLEE_NAME"
rmdir "$LOCKS/$MUSTER_DEVICE_CALLER_NAME" "$LOCKS/$MUSTER_DEVICE_CALLEE_NAME"
"#;

const SMALL: &str = r#"
set -e
mkdir "$LOCKS/$MUSTER_SLOT"
sleep 0.1
rmdir "$LOCKS/$MUSTER_SLOT"
"#;

/// The flag of an agent for a phone.
fn phone(env: &TestEnv, name: &str) -> String {
    let dir = env.home().join(name);
    format!("{name}:kind=phone,address=fake:{name}?dir={}", dir.display())
}

fn area(env: &TestEnv, text: &str) {
    let locks = env.home().join("locks");
    std::fs::create_dir_all(&locks).unwrap();
    let program = env!("CARGO_BIN_EXE_muster");
    env.write("muster.toml", &format!("{text}\n[env]\nLOCKS = {locks:?}\nPROGRAM = {program:?}\n"));
    env.write("call.sh", CALL);
    env.write("small.sh", SMALL);
}

#[test]
fn a_test_has_two_devices_of_two_agents_and_nobody_else_has_them_meanwhile() {
    let env = TestEnv::new();
    area(&env, AREA);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &phone(&env, "phone-1")]);
    lab.start_agent("two", &["--device", &phone(&env, "phone-2")]);
    let said = lab.command(&["run", "--progress", "quiet", "--report", "json:out.json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert_eq!(items(&env, "out.json").len(), 9);
    let log = env.tell(&lab.command(&["log", "call/2"]).output().unwrap());
    assert!(log.contains("rings\nanswers\n"), "{log}");
    assert!(log.contains("phone-1 calls phone-2") || log.contains("phone-2 calls phone-1"), "{log}");
    let why = env.tell(&lab.command(&["why", "call/2"]).output().unwrap());
    assert!(why.contains("phone-1+phone-2") || why.contains("phone-2+phone-1"), "{why}");
}

#[test]
fn an_attempt_whose_second_device_is_lost_is_the_lab_s_fault_and_is_made_again() {
    let env = TestEnv::new();
    let text = r#"
        [area]
        name = "pair"
        [test.call]
        run = "echo $$ >> $LOCKS/begun; test $MUSTER_ATTEMPT = 2 || sleep 1000"
        needs = { devices = { caller = "name == 'phone-1'", callee = "name == 'phone-2'" } }
    "#;
    area(&env, text);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &phone(&env, "phone-1")]);
    let two = ["--device", &phone(&env, "phone-2")];
    let lost = lab.start_agent("two", &two);
    let args = ["run", "--progress", "quiet", "--report", "json:out.json"];
    let run = lab.command(&args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let begun = env.home().join("locks/begun");
    let start = Instant::now();
    while lines(&begun).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(120), "it never begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.kill_agent_and_keeper("two", lost);
    lab.start_agent("two", &two);
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert_eq!(items(&env, "out.json")["call/"].1, 2, "attempts");
    let why = env.tell(&lab.command(&["why", "call"]).output().unwrap());
    assert!(why.contains("`phone-2` was lost together with its agent"), "{why}");
}

#[test]
fn what_the_lab_cannot_give_is_said_at_once() {
    let env = TestEnv::new();
    area(&env, AREA);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &phone(&env, "phone-1"), "--device", "board:kind=board"]);
    let said = env.tell(&lab.command(&["run", "call"]).output().unwrap());
    assert!(said.contains("`call` cannot start: it needs 2 devices at once"), "{said}");
    assert!(said.contains("1 of them can be its `caller` (`labels.kind == 'phone'`)"), "{said}");
    assert!(said.ends_with("--- exit 8\n"), "{said}");
}

#[test]
fn slots_of_this_host_are_devices_as_well() {
    let env = TestEnv::new();
    let text = r#"
        [area]
        name = "pair"
        [test.two]
        run = "echo $MUSTER_DEVICE_PEER_1_NAME $MUSTER_DEVICE_PEER_2_NAME ${MUSTER_DEVICE_PEER_1-none}"
        needs = { devices = { peer = { count = 2 } } }
        [test.one]
        run = "true"
        items = ["1", "2", "3"]
        [test.four]
        run = "true"
        needs = { devices = { peer = { count = 4 } } }
    "#;
    area(&env, text);
    let said = env.tell(&env.command(&["run", "--jobs", "3", "--progress", "plain"]).output().unwrap());
    assert!(said.contains("it needs 4 devices at once") && said.ends_with("--- exit 3\n"), "{said}");
    let log = env.tell(&env.command(&["log", "two"]).output().unwrap());
    let names: Vec<&str> = log.split_whitespace().take(3).collect();
    assert!(names[0].starts_with("slot-") && names[1].starts_with("slot-") && names[0] != names[1], "{log}");
    assert_eq!(names[2], "none", "a slot has no address: {log}");
    let shown = env.tell(&env.command(&["config", "show"]).output().unwrap());
    assert!(shown.contains("devices = { peer-1 = \"\", peer-2 = \"\" }"), "{shown}");
}

#[test]
fn steps_run_on_each_of_the_devices_by_its_name() {
    let env = TestEnv::new();
    let text = r#"
        [area]
        name = "pair"
        [test.call]
        needs = { devices = { caller = "labels.kind == 'phone'", callee = "labels.kind == 'phone'" } }
        push = ["word", "x", "y"]
        pull = "heard"
        steps = [
          { name = "listens", run = "cat word > heard; echo $MUSTER_SLOT >> heard", runs-on = "callee" },
          { name = "calls", run = "echo $MUSTER_SLOT > heard; cat x >> $MUSTER_MEASURES", runs-on = "caller" },
          { name = "between", run = "echo $MUSTER_SLOT $MUSTER_DEVICE_CALLER_NAME" },
          { name = "hears", run = "test $(tail -n 1 heard) = $MUSTER_DEVICE_CALLEE_NAME && cat y >> $MUSTER_MEASURES", runs-on = "callee" },
        ]
        measure = [{ name = "x", expected = 1 }, { name = "y", expected = 2 }]
        [test.fails]
        needs = { devices = { caller = "labels.kind == 'phone'", callee = "labels.kind == 'phone'" } }
        pull = "left"
        steps = [
          { name = "leaves", run = "echo $MUSTER_SLOT > left; exit 1", runs-on = "callee" },
          { name = "never", run = "true", runs-on = "caller" },
        ]
    "#;
    area(&env, text);
    env.write("word", "hello\n");
    env.write("x", "{\"name\": \"x\", \"value\": 1}\n");
    env.write("y", "{\"name\": \"y\", \"value\": 2}\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &phone(&env, "phone-1")]);
    lab.start_agent("two", &["--device", &phone(&env, "phone-2")]);
    let said = lab.command(&["run", "--progress", "quiet", "--report", "json:out.json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(&said));
    assert_eq!(
        items(&env, "out.json")["call/"].0,
        "pass",
        "{}",
        env.tell(&lab.command(&["log", "call"]).output().unwrap())
    );
    // The files of each come back apart, and after a failure too.
    let file = |test: &str, name: &str| {
        let said = lab.command(&["artifacts", test, name]).output().unwrap();
        assert!(said.status.success(), "{}", env.tell(&said));
        String::from_utf8(said.stdout).unwrap()
    };
    let (caller, callee) = (file("call", "heard"), file("call", "callee/heard"));
    let callee = callee.strip_prefix("hello\n").unwrap();
    let mut both = [caller.trim(), callee.trim()];
    both.sort_unstable();
    assert_eq!(both, ["phone-1", "phone-2"]);
    assert!(file("fails", "callee/left").starts_with("phone-"));
    let log = env.tell(&lab.command(&["log", "fails"]).output().unwrap());
    assert!(log.contains("step to-device-callee") && log.contains("step from-device-callee"), "{log}");
}
