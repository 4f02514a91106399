//! Tests whose commands run on the device itself: here, and on the devices of a lab.

use crate::env::TestEnv;
use crate::lab::{Lab, items};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const AREA: &str = r#"
[area]
name = "dev"

[env]
GREETING = "hello"

[test.app]
runs-on = "device"
push = ["data", { from = "tool.sh", to = "bin/tool" }]
run = "sh bin/tool data/in.txt"
pull = ["out", "never-written"]
measure = [{ name = "lines", expected = 2 }]

[test.fails]
runs-on = "device"
run = "echo kept > trace; exit 7"
pull = "trace"

[test.mixed]
steps = [
  { name = "here", run = "test -f $MUSTER_AREA_DIR/tool.sh && test -z \"$GONE\"" },
  { name = "there", run = "test -z \"$MUSTER_AREA_DIR\" && echo on $MUSTER_STEP", runs-on = "device" },
]
"#;

const TOOL: &str = r#"
set -e
mkdir -p out
wc -l < "$1" > out/count
echo "$GREETING from $MUSTER_TEST in $(basename "$(pwd)")"
echo "{\"name\":\"lines\",\"value\":$(cat out/count)}" >> "$MUSTER_MEASURES"
"#;

fn area(env: &TestEnv) {
    env.write("muster.toml", AREA);
    env.write("tool.sh", TOOL);
    env.write("data/in.txt", "one\ntwo\n");
}

/// A device with an agent of the SUT protocol, and its directory for tests.
pub(crate) fn device(env: &TestEnv) -> (Child, String, PathBuf) {
    let root = env.home().join("device");
    std::fs::create_dir_all(&root).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let root_text = root.display().to_string();
    let args = ["sut-agent", "--port", &port, "--data-port", "0", "--test-root", &root_text];
    let device = env.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let address = format!("sut://127.0.0.1:{port}");
    let waited = env.command(&["device", "wait", "--on", &address, "--timeout", "60s"]).output().unwrap();
    assert!(waited.status.success(), "{}", env.tell(&waited));
    (device, address, root)
}

fn check_verdicts(env: &TestEnv) {
    let items = items(env, "r.json");
    let (verdict, attempts, message) = &items["app/"];
    assert_eq!((verdict.as_str(), *attempts), ("pass", 1), "{message}");
    assert_eq!(items["fails/"].0, "fail");
    assert_eq!(items["mixed/"].0, "pass", "{}", items["mixed/"].2);
}

pub(crate) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn a_slot_of_this_host_is_a_device_too() {
    let env = TestEnv::new();
    area(&env);
    let said = env.command(&["run", "--progress", "quiet", "--report", "json:r.json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(&said));
    check_verdicts(&env);
    let work = env.area().join(".muster/runs/1/work");
    assert_eq!(std::fs::read_to_string(work.join("fails#1/trace")).unwrap(), "kept\n");
    assert_eq!(std::fs::read_to_string(work.join("app#1/out/count")).unwrap(), "2\n");
    let log = env.run(&["log", "app"]);
    for part in ["to-device", "brought", "hello from app in device", "from-device", "brought back"] {
        assert!(log.contains(part), "`{part}` is not in:\n{log}");
    }
    assert!(log.contains("never-written` is not there"), "{log}");
}

#[test]
fn the_commands_of_a_test_run_on_the_device_it_was_given() {
    let env = TestEnv::new();
    area(&env);
    let (device, address, root) = device(&env);
    let mut lab = Lab::start(&env);
    lab.agents.push(device);
    lab.start_agent("one", &["--device", &format!("phone/1:address={address}")]);
    let args = ["run", "--progress", "quiet", "--report", "json:r.json"];
    let said = lab.command(&args).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(&said));
    check_verdicts(&env);
    let log = env.tell(&lab.command(&["log", "app"]).output().unwrap());
    assert!(log.contains("hello from app in muster-phone_1"), "{log}");
    assert!(is_empty(&root), "nothing is left on the device");
}

#[test]
fn a_device_that_dies_is_the_labs_fault_and_a_program_out_of_time_dies_on_the_device() {
    let env = TestEnv::new();
    let marks = env.home().join("marks");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"dev\"\n[defaults]\nruns-on = \"device\"\ngrace = \"10s\"\n\
             [test.slow]\ntimeout = \"1s\"\nrun = \"echo $$ > {0}; exec sleep 4242\"\n\
             [test.gone]\nrun = \"kill -9 $PPID; sleep 60\"\n",
            marks.display()
        ),
    );
    let (device, address, _root) = device(&env);
    let mut lab = Lab::start(&env);
    lab.agents.push(device);
    lab.start_agent("one", &["--device", &format!("phone:address={address}")]);
    let said =
        lab.command(&["run", "slow", "--progress", "quiet", "--report", "json:r.json"]).output().unwrap();
    assert_eq!(items(&env, "r.json")["slow/"].0, "timeout", "{}", env.tell(&said));
    let sleeper = std::fs::read_to_string(&marks).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z"), "it runs on: {stat}");
    // There is no other device, so it waits for this one to be mended; it has not failed.
    let said = lab.command(&["run", "gone", "--detach"]).output().unwrap();
    assert!(said.status.success(), "{}", env.tell(&said));
    let attempt = loop {
        let said = lab.command(&["results", "2", "--output", "json"]).output().unwrap();
        let view: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let item = view["tests"][0]["items"][0].clone();
        if let Some(attempt) = item["attempts"].as_array().and_then(|all| all.first()) {
            assert!(item["verdict"].is_null(), "{item}");
            break attempt.clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(attempt["outcome"], "error", "{attempt}");
    assert!(attempt["message"].as_str().unwrap().contains("went away"), "{attempt}");
}

/// The processes that have a device of this address open, with those they have started.
fn workers(address: &str) -> Vec<u32> {
    let args = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let holds = |pid: &u32| {
        let args = args(*pid);
        let mut words = args.split(|b| *b == 0).skip(1);
        words.next() == Some(b"__device-worker") && words.next() == Some(address.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(holds).collect()
}

/// Waits until nobody has it open.
fn wait_until_let_go(address: &str) {
    while !workers(address).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A container that no other test has.
fn container(env: &TestEnv) -> String {
    format!("container:/?bind={}", env.home().display())
}

#[test]
fn the_steps_of_a_test_find_one_device_and_the_next_test_a_fresh_one() {
    let env = TestEnv::new();
    env.write("pushed", "brought\n");
    env.write(
        "muster.toml",
        r#"
[area]
name = "dev"
[defaults]
runs-on = "device"
[test.steps]
push = "pushed"
steps = [
  "cat pushed && echo one > /tmp/left",
  { name = "two", run = "cat /tmp/left > back && ls -d /proc/self/ns/../.." },
]
pull = "back"
[test.other]
run = "test ! -e /tmp/left"
after = "steps"
"#,
    );
    let address = container(&env);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &format!("box:address={address}")]);
    let run = |lab: &Lab<'_>| {
        let said = lab.command(&["run", "--progress", "quiet", "--report", "json:r.json"]).output().unwrap();
        assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    };
    run(&lab);
    let [first] = workers(&address)[..] else { panic!("{:?} have it open", workers(&address)) };
    run(&lab);
    assert_eq!(workers(&address), [first], "it is the same for a test that follows");
    // What keeps the tests is killed, and what has the device open ends with it.
    kill(lab.keeper("one"));
    wait_until_let_go(&address);
    run(&lab);
    assert_eq!(workers(&address).len(), 1);
    let said = env.run(&["agent", "--stop", "--state", &env.home().join("one").display().to_string()]);
    assert!(workers(&address).is_empty(), "{said}");
}

#[test]
fn a_step_whose_worker_was_killed_is_the_labs_fault_and_the_test_is_tried_again() {
    let env = TestEnv::new();
    let (reached, go_on) = (env.home().join("reached"), env.home().join("go-on"));
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"dev\"\n[test.steps]\nsteps = [\n\
             {{ name = \"one\", run = \"touch here\", runs-on = \"device\" }},\n\
             {{ name = \"host\", run = \"touch {0}; until test -e {1}; do sleep 0.01; done\" }},\n\
             {{ name = \"two\", run = \"test -e here\", runs-on = \"device\" }},\n]\n",
            reached.display(),
            go_on.display()
        ),
    );
    let address = container(&env);
    let mut lab = Lab::start(&env);
    // Another one, or the first would have to be checked before it is used again.
    let other = format!("container:/?bind={}", env.area().display());
    let boxes = [(1, &address), (2, &other)].map(|(n, address)| format!("box-{n}:address={address}"));
    lab.start_agent("one", &["--device", &boxes[0], "--device", &boxes[1]]);
    let run = lab.command(&["run", "--progress", "quiet", "--report", "json:r.json"]).spawn().unwrap();
    while !reached.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let all = [workers(&address), workers(&other)].concat();
    let [first] = all[..] else { panic!("{all:?} have one open") };
    kill(first);
    wait_until_let_go(&address);
    wait_until_let_go(&other);
    std::fs::write(&go_on, "").unwrap();
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    let (verdict, attempts, message) = items(&env, "r.json")["steps/"].clone();
    assert_eq!((verdict.as_str(), attempts), ("pass", 2), "{message}");
    let log = env.tell(&lab.command(&["log", "1/steps#1"]).output().unwrap());
    assert!(log.contains("what they left there is gone"), "{log}");
}

#[test]
fn what_is_said_for_devices_and_means_nothing_is_refused() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"dev\"\n[test.a]\nrun = \"true\"\npush = \"x\"\n\
         [test.b]\nruns-on = \"device\"\nrun = \"true\"\npush = \"../x\"\n",
    );
    let said = env.run(&["plan"]);
    for part in
        ["`push` is for commands that run on the device", "`../x` leads out of the area", "--- exit 2"]
    {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
}

#[test]
fn a_worker_that_stands_still_is_replaced_before_the_next_step() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"dev\"\n[test.there]\nruns-on = \"device\"\nrun = \"true\"\n");
    let address = container(&env);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &format!("box:address={address}")]);
    let first = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", env.tell(&first));
    let [stopped] = workers(&address)[..] else { panic!("{:?} have it open", workers(&address)) };
    crate::lab::signal("-STOP", stopped);
    let args = ["run", "--progress", "quiet", "--report", "json:r.json"];
    let next = lab.command(&args).output().unwrap();
    assert_eq!(next.status.code(), Some(0), "{}", env.tell(&next));
    let (verdict, attempts, message) = items(&env, "r.json")["there/"].clone();
    assert_eq!((verdict.as_str(), attempts), ("pass", 1), "{message}");
    assert!(!workers(&address).contains(&stopped), "it is gone");
}

#[test]
fn a_step_of_the_host_finds_its_device_held_open_by_nobody() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        r#"
[area]
name = "dev"

[test.there]
runs-on = "device"
run = "true"

[test.here]
after = "there"
run = """
for f in /proc/[0-9]*/cmdline; do
  c=$(tr '\\0' ' ' < $f 2>/dev/null)
  case "$c" in *"__device-worker $MUSTER_DEVICE_ADDRESS "*) exit 1 ;; esac
done
"""
"#,
    );
    let address = container(&env);
    let mut lab = Lab::start(&env);
    let device = format!("box:address={address}");
    lab.start_agent("one", &["--device", &device]);
    let ran = lab.command(&["run"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", env.tell(&ran));
    assert!(workers(&address).is_empty());
}
