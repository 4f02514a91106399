//! Looking at a run while it is under way, and what is left to say when it is over.

use crate::env::TestEnv;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

/// Asks again until the answer is there. Without a limit: the test command has one.
fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

const WAITS: &str = "\
[area]
name = \"demo\"

[test.waits]
steps = [
    { name = \"first\", run = \"echo before\" },
    { name = \"second\", run = \"echo begun; echo to stderr >&2; while [ ! -e go ]; do sleep 0.05; done; echo done\" },
]

[test.later]
run = \"true\"
after = \"waits\"
";

#[test]
fn the_log_of_a_running_attempt_is_followed_to_its_end() {
    let env = TestEnv::new();
    env.write("muster.toml", WAITS);
    let mut run = env.command(&["run", "--progress", "quiet"]).stderr(Stdio::null()).spawn().unwrap();
    // A log begins in memory and can be seen a while later.
    wait_for(|| env.run(&["log", "waits", "--stdout"]).contains("begun").then_some(()));
    assert!(env.run(&["runs"]).contains("RUNNING"));
    let why = env.run(&["why", "later"]);
    assert!(why.contains("it waits for `waits`"), "{why}");

    let mut follow =
        env.command(&["log", "waits", "--stdout", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("begun\n") {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "it ended with the attempt still running: {seen}");
    }
    env.write("go", "");
    lines.read_to_string(&mut seen).unwrap();
    assert!(seen.ends_with("begun\ndone\n"), "{seen}");
    assert_eq!(seen.matches("begun").count(), 1, "{seen}");
    assert!(follow.wait().unwrap().success());
    assert!(run.wait().unwrap().success());
    let all = env.run(&["log", "waits"]);
    assert!(all.contains("before") && all.contains("to stderr") && all.contains("done"), "{all}");
}

#[test]
fn a_run_is_told_and_can_be_asked_about_afterwards() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n\n[test.good]\nrun = \"true\"\n\n[test.bad]\nrun = \"echo 'error: no board' >&2; exit 3\"\n\n\
         [test.later]\nrun = \"true\"\nafter = \"bad\"\n",
    );
    let said = env.run(&["run", "--name", "rc1"]);
    for part in [
        "demo/1 rc1: 3 tests, 3 items",
        "PASS",
        "FAIL",
        "error: no board",
        "BLOCKED",
        "muster log demo/1/bad",
        "muster rerun 1 --failed",
        "--- exit 1\n",
    ] {
        assert!(said.contains(part), "`{part}` is missing in\n{said}");
    }
    assert!(said.starts_with("--- stderr\n"), "standard output is for data:\n{said}");
    assert_eq!(env.run(&["log", "rc1/bad"]), "error: no board\n--- exit 0\n");
    assert!(env.run(&["why", "later"]).contains("all of `bad`: fail"));

    let said = env.command(&["run", "--progress", "json", "good"]).output().unwrap();
    let events: Vec<serde_json::Value> = said
        .stdout
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(events.first().unwrap()["event"], "run-started");
    assert_eq!(events.last().unwrap()["event"], "run-ended");
    assert_eq!(env.run(&["run", "--output", "quiet", "good"]), "--- exit 0\n");
    assert!(env.run(&["diff", "1", "2"]).contains("gone (2)"));
}
