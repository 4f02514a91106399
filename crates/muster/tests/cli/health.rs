//! Health of devices, with a server, agents and devices that really break and are really mended.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// The server's `kinds.toml`.
fn kinds(env: &TestEnv, text: &str) {
    let dir = env.home().join("server");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("kinds.toml"), text).unwrap();
}

fn ask(lab: &Lab<'_>, env: &TestEnv, args: &[&str]) -> String {
    env.tell(&lab.command(args).output().unwrap())
}

/// Asks again and again until the answer has this.
fn until(lab: &Lab<'_>, env: &TestEnv, args: &[&str], wanted: &str) -> String {
    loop {
        let said = ask(lab, env, args);
        if said.contains(wanted) {
            return said;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A SUT agent for a directory, as a device.
fn phone(env: &TestEnv, port: &str) -> Child {
    let root = env.home().join("device");
    std::fs::create_dir_all(&root).unwrap();
    let root = root.display().to_string();
    let args = ["sut-agent", "--port", port, "--data-port", "0", "--test-root", &root];
    let device = env.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let address = format!("sut://127.0.0.1:{port}");
    let waited = env.command(&["device", "wait", "--on", &address, "--timeout", "60s"]).output().unwrap();
    assert!(waited.status.success(), "{}", env.tell(&waited));
    device
}

#[test]
fn a_device_is_verified_by_asking_it_repaired_when_it_fails_and_quarantined_when_nothing_helps() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.works]\nrun = \"true\"\n");
    let marker = env.home().join("device/marker");
    let text = format!(
        "[kind.phone]\nmatch = 'has(labels.address)'\n\
         [kind.phone.verify.answers]\nrun = '{MUSTER} device wait --timeout 20s'\n\
         [kind.phone.verify.marker]\nrun = '{MUSTER} device stat {0}'\nafter = ['answers']\n\
         [kind.phone.repair.mark]\nrun = 'sh mark.sh'\nfixes = ['marker']\n",
        marker.display()
    );
    kinds(&env, &text);
    // Repairs are run where the files of the server's `checks` directory are.
    let checks = env.home().join("server/checks");
    std::fs::create_dir_all(&checks).unwrap();
    let script = format!("exec {MUSTER} device shell touch {}\n", marker.display());
    std::fs::write(checks.join("mark.sh"), script).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut device = phone(&env, &port);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", &format!("phone:address=sut://127.0.0.1:{port}")]);
    until(&lab, &env, &["device", "list"], "idle");

    let said = ask(&lab, &env, &["device", "check", "phone", "--wait"]);
    assert!(said.contains("is good (lab-health/2)") && said.contains("--- exit 0"), "{said}");
    assert!(marker.exists(), "the repair was really made");
    let history = ask(&lab, &env, &["device", "history", "phone"]);
    assert!(history.contains("`marker` fails") && history.contains("it is good after `mark`"), "{history}");
    let results = ask(&lab, &env, &["results", "lab-health/2"]);
    assert!(results.contains("repair.mark") && results.contains("verify.marker"), "{results}");

    device.kill().unwrap();
    device.wait().unwrap();
    let said = ask(&lab, &env, &["device", "check", "phone", "--wait"]);
    assert!(said.contains("is quarantined (lab-health/3)") && said.contains("--- exit 1"), "{said}");
    assert!(said.contains("`answers` fails") && said.contains("no repair is known for that"), "{said}");
    assert!(ask(&lab, &env, &["device", "list", "--unfit"]).contains("quarantined"));
    ask(&lab, &env, &["run", "--detach"]);
    let why = ask(&lab, &env, &["why", "works"]);
    assert!(why.contains("`phone`: it is in quarantine by the lab: `answers` fails"), "{why}");
    let explained = ask(&lab, &env, &["device", "explain", "phone"]);
    assert!(explained.contains("a check that it passes ends that"), "{explained}");

    lab.kill_server();
    lab.start_server();
    let shown = ask(&lab, &env, &["device", "show", "phone"]);
    assert!(shown.contains("the lab since") && shown.contains("lab-health/3"), "{shown}");
    lab.agents.push(phone(&env, &port));
    let said = ask(&lab, &env, &["device", "release", "phone"]);
    assert!(said.contains("is out of quarantine"), "{said}");
    until(&lab, &env, &["device", "show", "phone"], "good");
    until(&lab, &env, &["results"], "1 passed");
}

#[test]
fn a_device_on_which_tests_fail_that_pass_on_its_siblings_is_taken_out() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.add]\nrun = \"sleep 0.2; test $MUSTER_SLOT != b2\"\n\
         matrix = { N = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] }\nretries = 9\n",
    );
    kinds(&env, "[kind.board]\nmatch = 'labels.kind == \"board\"'\noffences = 1\n");
    let mut lab = Lab::start(&env);
    let boards = ["--device", "b1:kind=board", "--device", "b2:kind=board", "--device", "b3:kind=board"];
    lab.start_agent("one", &boards);
    let said = ask(&lab, &env, &["run"]);
    assert!(said.contains("--- exit 0"), "its siblings have run it all: {said}");
    assert_eq!(ask(&lab, &env, &["device", "list", "--unfit", "--output", "quiet"]), "b2\n--- exit 0\n");
    let explained = ask(&lab, &env, &["device", "explain", "b2"]);
    assert!(explained.contains("its 2 siblings had that 0 times together"), "{explained}");
    assert!(explained.contains("a person has to release it"), "{explained}");
    let said = ask(&lab, &env, &["device", "check", "b2"]);
    assert!(said.contains("`b2` is of no kind that has a verifier"), "{said}");
    assert!(ask(&lab, &env, &["device", "release", "b2"]).contains("is out of quarantine"));
    let why = ["device", "quarantine", "b3", "--reason", "its numbers are off"];
    assert!(ask(&lab, &env, &why).contains("is in quarantine"));
    assert_eq!(ask(&lab, &env, &["device", "list", "--unfit", "--output", "quiet"]), "b3\n--- exit 0\n");
    let history = ask(&lab, &env, &["device", "history", "b3"]);
    assert!(history.contains("put it in quarantine: its numbers are off"), "{history}");
}

#[test]
fn a_server_does_not_start_with_kinds_that_are_wrong_and_says_where() {
    let env = TestEnv::new();
    kinds(&env, "[kind.board]\nmatch = 'true'\n[kind.board.verify.link]\nrnu = 'x'\n");
    let data = env.home().join("server").display().to_string();
    let said = env.run(&["server", "--listen", "127.0.0.1:0", "--data", &data]);
    assert!(said.contains("unknown key `rnu` in `[kind.board.verify.link]`"), "{said}");
    assert!(
        said.contains("kinds.toml:4:1") && said.contains("known keys: after, description, run, timeout"),
        "{said}"
    );
    assert!(said.contains("--- exit 2"), "{said}");
}

#[test]
fn an_agent_has_its_devices_from_a_file_and_says_what_is_wrong_with_that_and_with_its_host() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.works]\nrun = \"true\"\n");
    let mut lab = Lab::start(&env);
    let url = lab.url();
    let text = |disk: &str| {
        format!(
            "server = \"{}\"\nlabels = {{ room = \"east\" }}\n[self-check]\ndisk-free = \"{disk}\"\nload = 1000.0\n\
             [[device]]\nname = \"b1\"\nlabels = {{ kind = \"board\" }}\naddress = \"local:\"\n",
            url
        )
    };
    let config = env.home().join("agent.toml");
    let path = config.display().to_string();
    std::fs::write(&config, "sever = 'x'\n").unwrap();
    let said = env.run(&["agent", "--config", &path]);
    assert!(said.contains("unknown key `sever`") && said.contains("agent.toml:1:1"), "{said}");
    assert!(said.contains("did you mean `server`?") && said.contains("--- exit 2"), "{said}");

    // More than any disk has.
    std::fs::write(&config, text("1000000TiB")).unwrap();
    let id = lab.start_agent("one", &["--config", &path]);
    let list = until(&lab, &env, &["device", "list"], "self-check: ");
    assert!(list.contains("b1"), "{list}");
    let shown = ask(&lab, &env, &["device", "show", "b1"]);
    assert!(shown.contains("kind=board") && shown.contains("room=east"), "{shown}");
    ask(&lab, &env, &["run", "--detach"]);
    let why = until(&lab, &env, &["why", "works"], "self-check of");
    assert!(why.contains("MiB are free on the agent's disk"), "{why}");
    assert!(ask(&lab, &env, &["device", "explain", "b1"]).contains("self-check of its host"));
    lab.kill_agent(id);
    std::fs::write(&config, text("1MiB")).unwrap();
    lab.start_agent("one", &["--config", &path]);
    until(&lab, &env, &["results"], "1 passed");
}

#[test]
fn a_device_that_announces_itself_is_proposed_adopted_and_used_and_one_that_is_added_too() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        &format!("[area]\nname = \"demo\"\n[test.asks]\nrun = \"{MUSTER} device info os\"\n"),
    );
    let mut lab = Lab::start(&env);
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    lab.start_agent("one", &["--slots", "1", "--announce", &listen]);
    until(&lab, &env, &["device", "list"], "slot-1");
    let root = env.home().join("device");
    std::fs::create_dir_all(&root).unwrap();
    let root = root.display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let args = ["sut-agent", "--port", &port, "--data-port", "0", "--test-root", &root, "--id", "phone"];
    let args = [&args[..], &["--register", &listen, "--pool", "floor"]].concat();
    lab.agents.push(env.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let proposed = until(&lab, &env, &["device", "list", "--proposed"], "phone");
    assert!(
        proposed.contains("proposed") && proposed.contains(&format!("sut://127.0.0.1:{port}")),
        "{proposed}"
    );
    assert!(!ask(&lab, &env, &["device", "list"]).contains("phone"), "nobody has adopted it");
    let said = ask(&lab, &env, &["device", "adopt", "phone"]);
    assert!(said.contains("phone is a device of "), "{said}");
    until(&lab, &env, &["device", "list"], "phone");
    let said = ask(&lab, &env, &["run", "--on", "labels.pool == 'floor'"]);
    assert!(said.contains("1 passed") && said.contains("--- exit 0"), "{said}");

    let url = lab.url();
    let probed = env.run(&["--server", &url, "device", "probe", "--sut", &format!("127.0.0.1:{port}")]);
    assert!(probed.contains("phone") && probed.contains("device add phone --address sut://"), "{probed}");
    let said = ask(&lab, &env, &["device", "add", "spare", "--address", "local:", "--label", "kind=spare"]);
    assert!(said.contains("spare is a device of "), "{said}");
    until(&lab, &env, &["device", "list"], "spare");
    lab.kill_server();
    lab.start_server();
    assert!(ask(&lab, &env, &["device", "list", "--proposed"]).contains("spare"), "it is recorded");
    assert!(ask(&lab, &env, &["device", "remove", "spare"]).contains("spare is forgotten"));
    while ask(&lab, &env, &["device", "list"]).contains("spare") {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        ask(&lab, &env, &["device", "remove", "spare"]).contains("no device `spare` was added or proposed")
    );
}

#[test]
fn kinds_are_read_again_when_the_server_is_told_to_and_a_bad_file_changes_nothing() {
    let env = TestEnv::new();
    kinds(&env, "[kind.board]\nmatch = 'labels.kind == \"board\"'\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", "b1:kind=board"]);
    until(&lab, &env, &["device", "list"], "idle");
    let said = ask(&lab, &env, &["device", "check", "b1"]);
    assert!(
        said.contains("nobody has said how") || said.contains("no-verifier") || said.contains("kinds.toml"),
        "{said}"
    );
    let hang_up = |text: &str, wanted: &str| {
        kinds(&env, text);
        crate::lab::signal("-HUP", lab.server_id());
        while !lab.server_said().contains(wanted) {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    hang_up("[kind.board]\nmtach = 'true'\n", "devices are checked as before");
    assert!(lab.server_said().contains("did you mean `match`?"), "{}", lab.server_said());
    let good =
        "[kind.board]\nmatch = 'labels.kind == \"board\"'\n[kind.board.verify.answers]\nrun = 'true'\n";
    hang_up(good, "`kinds.toml` was read again: there is one kind of devices");
    let said = ask(&lab, &env, &["device", "check", "b1", "--wait"]);
    assert!(said.contains("is good") && said.ends_with("--- exit 0\n"), "{said}");
}
