//! What happens in a lab as a whole, followed by a person.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// Number and event of each line of JSON.
fn told(text: &str) -> Vec<(u64, String)> {
    let parsed = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    parsed.map(|line| (line["id"].as_u64().unwrap(), line["event"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn events_of_a_lab_are_followed_without_gap_or_double_through_a_server_that_was_killed() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.bad]\nrun = \"exit 1\"\n");
    let mut lab = Lab::start(&env);
    let follow = ["events", "--since", "0", "--json"];
    let mut watch = lab.command(&follow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    let mut until = |wanted: &str| {
        while !seen.contains(wanted) {
            seen.push_str(&lines.next().expect("it goes on").unwrap());
            seen.push('\n');
        }
        seen.clone()
    };
    lab.start_agent("one", &["--device", "b1:kind=board"]);
    until("device-appeared");
    let said = lab.command(&["device", "hold", "b1", "--reason", "it clicks"]).output().unwrap();
    assert!(said.status.success(), "{}", env.tell(&said));
    until("it clicks");
    lab.kill_server();
    lab.start_server();
    let said = lab.command(&["device", "release", "b1"]).output().unwrap();
    assert!(said.status.success(), "{}", env.tell(&said));
    let said = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(&said));
    let followed = told(&until("run-ended"));
    watch.kill().unwrap();
    let said = watch.wait_with_output().unwrap();
    let warned = String::from_utf8(said.stderr).unwrap();
    assert!(warned.contains("waiting for the server") && warned.contains("the server is back"), "{warned}");

    let ask = |args: &[&str]| env.tell(&lab.command(args).output().unwrap());
    let all = told(&ask(&["events", "--since", "0", "--no-follow", "--output", "json"]));
    assert!(all.iter().map(|(number, _)| *number).eq(1..=all.len() as u64), "{all:?}");
    assert_eq!(followed, all[..followed.len()], "what was followed is what is kept");
    let kinds: Vec<&str> = all.iter().map(|(_, event)| event.as_str()).collect();
    let wanted =
        ["agent-joined", "device-appeared", "device-held", "device-released", "run-created", "run-ended"];
    assert_eq!(kinds, wanted, "the agent went on over the restart");
    let rest = ask(&["events", "--since", "4", "--no-follow"]);
    assert_eq!(rest.lines().count(), 3, "{rest}");
    // Nothing in the environment says who it is: the system does.
    let me = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let me = format!("demo/1 by {}", String::from_utf8(me).unwrap().trim_end());
    assert!(rest.contains("run-created") && rest.contains(&me), "{rest}");
    assert!(rest.contains("demo/1: fail") && rest.ends_with("--- exit 0\n"), "{rest}");
    let wrong = ask(&["events", "--since", "0", "--no-follow", "--output", "quiet"]);
    assert!(wrong.lines().count() == 2 && wrong.contains("demo/1: fail"), "{wrong}");
    let other = ask(&["events", "--since", "999", "--no-follow", "--output", "json"]);
    assert!(other.contains("has not given this number"), "{other}");
    assert_eq!(told(&other), all);
    let said = env.run(&["events"]);
    assert!(said.contains("`events` is about a lab") && said.ends_with("--- exit 2\n"), "{said}");
}
