//! `muster sut-agent`, and `muster device` against it and against this host.

use crate::env::TestEnv;
use expect_test::expect;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};

/// An agent of its own on free ports, stopped with the test.
struct Agent {
    child: Child,
    address: String,
}

impl Agent {
    fn start(env: &TestEnv, more: &[&str]) -> Self {
        let mut args =
            vec!["sut-agent", "--port", "0", "--data-port", "0", "--test-root", "device", "--state", "state"];
        args.extend(more);
        let mut child = env.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let place = line.strip_prefix("commands at ").and_then(|l| l.split(',').next());
        let Some(place) = place else {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("{line}{err}");
        };
        Self { address: format!("sut://{place}"), child }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run(env: &TestEnv, agent: &Agent, args: &[&str]) -> String {
    let mut command = env.command(&["device"]);
    command.args(args).env("MUSTER_DEVICE_ADDRESS", &agent.address);
    let said = command.output().unwrap();
    let told = env.tell(&said);
    told.replace(&agent.address, "ADDRESS")
}

#[test]
fn a_program_ends_muster_as_it_ended() {
    let env = TestEnv::new();
    let agent = Agent::start(&env, &[]);
    let check = |args: &[&str], expected: expect_test::Expect| expected.assert_eq(&run(&env, &agent, args));
    check(
        &["exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7"],
        expect![[r#"
        out
        --- stderr
        err
        --- exit 7
    "#]],
    );
    check(
        &["shell", "-e", "A=1", "echo $A | cat; kill -9 $$"],
        expect![[r#"
        1
        --- exit 137
    "#]],
    );
    check(
        &["exec", "--timeout", "1s", "sleep", "86400"],
        expect![[r#"
        --- stderr
        error: the program was killed after 1 s
        hint: `--timeout` gives it longer
        --- exit 124
    "#]],
    );
    check(
        &["exec", "no-such-program"],
        expect![[r#"
        --- stderr
        no-such-program: there is no such program
        --- exit 127
    "#]],
    );
    check(
        &["exec", "--cwd", "/none", "pwd"],
        expect![[r#"
        --- stderr
        error: there is no `/none` on device `ADDRESS`
        --- exit 3
    "#]],
    );
    check(
        &["exec", "--fault-code", "99", "--cwd", "/none", "pwd"],
        expect![[r#"
        --- stderr
        error: there is no `/none` on device `ADDRESS`
        --- exit 99
    "#]],
    );
}

#[test]
fn what_is_said_as_json_tells_the_programs_end_from_the_labs() {
    let env = TestEnv::new();
    let agent = Agent::start(&env, &[]);
    let said = run(&env, &agent, &["exec", "--json", "sh", "-c", "echo x; exit 3"]);
    assert!(said.starts_with("{\"exit\":{\"code\":3},\"seconds\":"), "{said}");
    assert!(said.ends_with(",\"stdout\":\"x\\n\",\"stderr\":\"\"}\n--- exit 3\n"), "{said}");
    let said = run(&env, &agent, &["exec", "--json", "--on", "sut://127.0.0.1:1", "true"]);
    expect![[r#"
        {"error":{"code":"unreachable","fault":"lab","message":"device `sut://127.0.0.1:1` cannot be reached: Connection refused (os error 111)"}}
        --- exit 3
    "#]]
    .assert_eq(&said);
    let said = run(&env, &agent, &["--output", "json", "ls", "/none"]);
    expect![[r#"
        {"error":{"code":"not-found","fault":"asker","message":"there is no `/none` on device `ADDRESS`"}}
        --- exit 1
    "#]]
    .assert_eq(&said);
}

#[test]
fn files_go_there_and_come_back() {
    let env = TestEnv::new();
    let agent = Agent::start(&env, &[]);
    env.write("tree/a b", "text");
    env.write("tree/sub/c", "");
    let root = env.area().canonicalize().unwrap().join("device");
    let at = |name: &str| root.join(name).display().to_string();
    let ok = |args: &[&str]| assert_eq!(run(&env, &agent, args), "--- exit 0\n", "{args:?}");
    ok(&["push", "tree", &at("there")]);
    ok(&["push", "tree/a b"]);
    ok(&["mkdir", &at("made/deep")]);
    ok(&["pull", &at("there"), "back"]);
    assert_eq!(std::fs::read(env.area().join("back/a b")).unwrap(), b"text");
    assert!(env.area().join("back/sub/c").is_file());
    assert_eq!(run(&env, &agent, &["pull", &at("a b"), "-"]), "text--- exit 0\n");
    assert_eq!(run(&env, &agent, &["pull", &at("a b"), "-", "--offset", "2"]), "xt--- exit 0\n");
    assert_eq!(run(&env, &agent, &["ls"]), "a b\nmade/\nthere/\n--- exit 0\n");
    let json = run(&env, &agent, &["push", "tree", &at("there"), "--json"]);
    assert_eq!(json, "{\"files\":2,\"dirs\":2,\"bytes\":4,\"left_out\":0}\n--- exit 0\n");
    assert_eq!(run(&env, &agent, &["stat", &at("none")]), "nothing\n--- exit 1\n");
    assert!(run(&env, &agent, &["stat", &at("a b"), "--is", "file"]).ends_with("--- exit 0\n"));
    assert!(run(&env, &agent, &["stat", &at("a b"), "--is", "dir"]).ends_with("--- exit 1\n"));
    ok(&["rm", &at("there"), &at("a b")]);
    assert_eq!(run(&env, &agent, &["ls"]), "made/\n--- exit 0\n");
    assert!(run(&env, &agent, &["rm", &at("there")]).ends_with("--- exit 1\n"));
    assert!(run(&env, &agent, &["push", "no-such-file"]).ends_with("--- exit 2\n"));
}

#[test]
fn a_program_reads_what_is_given_to_it() {
    let env = TestEnv::new();
    let mut command = env.command(&["device", "exec", "--on", "local:", "--stdin", "-", "--", "wc", "-c"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"12345").unwrap();
    let said = child.wait_with_output().unwrap();
    assert_eq!((&*said.stdout, said.status.code()), (&b"5\n"[..], Some(0)));
}

#[test]
fn a_device_is_asked_about_and_waited_for() {
    let env = TestEnv::new();
    let agent = Agent::start(&env, &["--id", "device-7"]);
    assert_eq!(run(&env, &agent, &["wait"]), "--- exit 0\n");
    assert_eq!(run(&env, &agent, &["info", "id"]), "device-7\n--- exit 0\n");
    let all = run(&env, &agent, &["info"]);
    assert!(all.contains("agent  ") && all.contains("device-7"), "{all}");
    let json = run(&env, &agent, &["info", "--json"]);
    assert!(json.contains("\"id\":\"device-7\""), "{json}");
    assert!(run(&env, &agent, &["ps", "muster", "--json"]).contains("\"name\":\"muster\""));
    let told = run(&env, &agent, &["kill", "no-such-process"]);
    assert!(
        told.contains("there is no process `no-such-process`") && told.ends_with("--- exit 1\n"),
        "{told}"
    );
    let told = run(&env, &agent, &["wait", "--on", "sut://127.0.0.1:1", "--timeout", "1s"]);
    assert!(told.contains("cannot be reached") && told.ends_with("--- exit 3\n"), "{told}");
}

#[test]
fn what_a_driver_cannot_do_is_said() {
    let env = TestEnv::new();
    expect![[r#"
        --- stderr
        error: the `local` driver cannot reboot on device `local:`: it is the host that Muster itself runs on
        --- exit 2
    "#]]
    .assert_eq(&env.run(&["device", "reboot", "--on", "local:"]));
    let told = env.run(&["device", "exec", "--on", "telnet://x", "true"]);
    assert!(told.contains("there is no driver `telnet`") && told.ends_with("--- exit 2\n"), "{told}");
    assert!(env.run(&["device", "ps"]).ends_with("--- exit 2\n"));
}

#[test]
fn an_agent_that_others_could_reach_is_not_started_by_accident() {
    let env = TestEnv::new();
    let args = ["sut-agent", "--port", "0", "--data-port", "0", "--bind", "0.0.0.0"];
    expect![[r#"
        --- stderr
        error: `0.0.0.0` can be reached from other hosts, and whoever reaches a SUT agent owns the device
        hint: `--insecure` does so all the same; do it on a network of the lab's own
        --- exit 2
    "#]]
    .assert_eq(&env.run(&args));
}

#[test]
fn an_agent_ends_when_it_is_told_to() {
    let env = TestEnv::new();
    let mut agent = Agent::start(&env, &[]);
    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(agent.child.wait().unwrap().code(), Some(0));
}
