//! Going on with runs of a lab: what a rerun and a resume do there is what they do on this machine.

use crate::env::TestEnv;
use crate::lab::{Lab, items, lines};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A test that passes once there is a file, one that passes, and one that comes after the first.
const AREA: &str = "[area]\nname = \"demo\"\n\
    [test.good]\nrun = \"true\"\n\
    [test.bad]\nrun = \"test -e fixed\"\nitems = [\"1\", \"2\"]\n\
    [test.later]\nrun = \"true\"\nafter = \"bad\"\n\
    [test.found]\nrun = \"test $MUSTER_ITEM = a || test -e fixed\"\nitems-from = \"printf 'a\\nb\\n'\"\n";

#[test]
fn a_rerun_on_a_lab_comes_to_what_it_comes_to_here() {
    let env = TestEnv::new();
    env.write("muster.toml", AREA);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "2"]);
    let both = |args: &[&str], code: i32| {
        let flags = ["--progress", "plain", "--report"];
        let there = lab.command(&[args, &flags, &["json:there.json"]].concat()).output().unwrap();
        let here = env.command(&[args, &flags, &["json:here.json"]].concat()).output().unwrap();
        assert_eq!(there.status.code(), Some(code), "{args:?} there: {}", env.tell(&there));
        assert_eq!(here.status.code(), Some(code), "{args:?} here: {}", env.tell(&here));
        assert_eq!(items(&env, "there.json"), items(&env, "here.json"), "{args:?}");
        env.tell(&there)
    };
    let said = both(&["run"], 1);
    assert!(said.contains("again muster rerun 1 --failed"), "{said}");
    both(&["rerun", "1", "bad/1"], 1);
    env.write("fixed", "");
    let said = both(&["rerun", "1", "bad/1"], 5);
    assert!(!said.contains("good"), "what had ended is not told again: {said}");
    both(&["rerun", "1", "--failed"], 0);
    both(&["rerun", "1", "--failed"], 4);
    // What the tests do may have changed; which there are may not.
    env.write("muster.toml", &AREA.replace("[test.good]\nrun = \"true\"", "[test.good]\nrun = \"exit 3\""));
    both(&["rerun", "1", "--stale"], 1);
    let results = env.tell(&lab.command(&["results", "1"]).output().unwrap());
    assert!(results.contains("demo/1 FAIL"), "{results}");
    let log = env.tell(&lab.command(&["why", "1/bad/1"]).output().unwrap());
    assert!(log.contains("3 attempts") || log.contains("#3"), "all in the same run: {log}");
    let said = env.tell(&lab.command(&["rerun", "9", "--failed"]).output().unwrap());
    assert!(said.contains("has no run `9`") && said.ends_with("--- exit 2\n"), "{said}");
    let said = env.tell(&lab.command(&["resume", "1"]).output().unwrap());
    assert!(said.contains("nothing to resume") && said.ends_with("--- exit 2\n"), "{said}");
}

#[test]
fn a_run_goes_on_elsewhere_with_the_files_it_was_asked_for_with_and_through_a_server_that_is_killed() {
    let env = TestEnv::new();
    let ran = env.home().join("ran");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.work]\nrun = \"cat text >> {}; sleep 0.2; test -e {}/go\"\nitems = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\"]\n",
            ran.display(),
            env.home().display()
        ),
    );
    env.write("text", "as asked\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let said = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(&said));
    std::fs::write(env.home().join("go"), "").unwrap();
    env.write("text", "as it is now\n");
    // No area here.
    let away = env.home();
    let mut command = lab.command(&["rerun", "demo/1", "--failed", "--report", "json:out.json"]);
    let run = command.current_dir(&away).stderr(Stdio::piped()).spawn().unwrap();
    while lines(&ran).len() < 8 {
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.kill_server();
    std::thread::sleep(Duration::from_millis(100));
    lab.start_server();
    let said = env.tell(&run.wait_with_output().unwrap());
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(said.contains("with the files that the run was asked for with"), "{said}");
    assert_eq!(lines(&ran), ["as asked"; 12], "each ran twice, with the files of then");
    assert_eq!(said.matches("FAIL").count(), 0, "what failed before is not told again: {said}");
    std::fs::rename(away.join("out.json"), env.area().join("out.json")).unwrap();
    let items = items(&env, "out.json");
    assert!(items.values().all(|(verdict, attempts, _)| verdict == "pass" && *attempts == 2), "{items:?}");
    // In the area its files are those of now.
    std::fs::remove_file(&ran).unwrap();
    let said = lab.command(&["rerun", "1", "work/1", "--progress", "quiet"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert_eq!(lines(&ran), ["as it is now"]);
    let mut command = lab.command(&["rerun", "demo/1", "--stale"]);
    let said = env.tell(&command.current_dir(&away).output().unwrap());
    assert!(said.contains("`--stale` compares") && said.ends_with("--- exit 2\n"), "{said}");
}

#[test]
fn a_run_that_was_stopped_is_resumed_and_one_that_is_under_way_is_watched() {
    let env = TestEnv::new();
    let dir = env.home().join("ran");
    std::fs::create_dir_all(&dir).unwrap();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.work]\nafter = []\n\
             run = \"echo $MUSTER_ITEM >> {0}/ran; test $MUSTER_ITEM = 1 || while [ ! -e {0}/go ]; do sleep 0.05; done\"\n\
             items = [\"1\", \"2\", \"3\"]\n",
            dir.display()
        ),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let run = lab.command(&["run", "--progress", "plain"]).stderr(Stdio::piped()).spawn().unwrap();
    while lines(&dir.join("ran")).len() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let said = env.tell(&run.wait_with_output().unwrap());
    assert!(said.contains("resume 1") && said.ends_with("--- exit 130\n"), "{said}");
    let runs = env.tell(&lab.command(&["runs"]).output().unwrap());
    assert!(said.contains("STOPPED") && runs.contains("STOPPED"), "nothing had failed: {said}{runs}");
    let args = ["resume", "--progress", "plain", "--report", "json:out.json"];
    let resumed = lab.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    while lines(&dir.join("ran")).len() < 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Somebody else looks on, and nobody can run again what runs.
    let watching =
        lab.command(&["resume", "1", "--progress", "plain"]).stderr(Stdio::piped()).spawn().unwrap();
    let said = env.tell(&lab.command(&["rerun", "1", "--failed"]).output().unwrap());
    assert!(said.contains("is under way") && said.ends_with("--- exit 2\n"), "{said}");
    std::fs::write(dir.join("go"), "").unwrap();
    let said = env.tell(&resumed.wait_with_output().unwrap());
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let watched = env.tell(&watching.wait_with_output().unwrap());
    assert!(watched.contains("demo/1") && watched.ends_with("--- exit 0\n"), "{watched}");
    let items = items(&env, "out.json");
    assert!(items.values().all(|(verdict, _, _)| verdict == "pass"), "{items:?}");
    assert_eq!(lines(&dir.join("ran")).iter().filter(|item| *item == "1").count(), 1, "it had passed");
    let events = env.tell(&lab.command(&["events", "--since", "0", "--no-follow"]).output().unwrap());
    assert!(events.contains("demo/1: stopped") && events.contains("run-reopened"), "{events}");
}

#[test]
fn the_log_of_an_attempt_that_runs_on_a_lab_is_followed_without_gap_or_double() {
    let env = TestEnv::new();
    let dir = env.home().join("ran");
    std::fs::create_dir_all(&dir).unwrap();
    // Each half is longer than what is kept in memory, and than a piece that is brought.
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.work]\n\
             run = \"seq 1 60000; touch {0}/half; while [ ! -e {0}/go ]; do sleep 0.05; done; seq 60001 120000\"\n\
             [test.quiet]\nafter = \"work\"\nrun = \"true\"\n",
            dir.display()
        ),
    );
    let mut lab = Lab::start(&env);
    let first = lab.start_agent("one", &["--slots", "1"]);
    let run = lab.command(&["run", "--progress", "quiet"]).stderr(Stdio::piped()).spawn().unwrap();
    while !dir.join("half").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let follow = |lab: &Lab<'_>, to: &str| {
        let out = std::fs::File::create(env.home().join(to)).unwrap();
        let command = ["log", "1/work", "--follow"];
        lab.command(&command).stdout(out).stderr(Stdio::piped()).spawn().unwrap()
    };
    let text = |of: &str| std::fs::read_to_string(env.home().join(of)).unwrap();
    let until_half = |of: &str| {
        while !text(of).ends_with("\n60000\n") {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let one = follow(&lab, "one.txt");
    until_half("one.txt");
    // Who only looks sees what there is.
    let said = env.tell(&lab.command(&["log", "1/work"]).output().unwrap());
    assert!(said.ends_with("\n60000\n--- exit 0\n"), "{}", &said[said.len() - 200..]);
    let said = env.tell(&lab.command(&["log", "1/quiet"]).output().unwrap());
    assert!(said.contains("has no log yet") && said.ends_with("--- exit 4\n"), "{said}");
    lab.kill_agent(first);
    lab.start_agent("one", &["--slots", "1"]);
    let two = follow(&lab, "two.txt");
    until_half("two.txt");
    lab.kill_server();
    lab.start_server();
    let three = follow(&lab, "three.txt");
    until_half("three.txt");
    std::fs::write(dir.join("go"), "").unwrap();
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    let whole: String = (1..=120_000).map(|n| format!("{n}\n")).collect();
    for (who, of) in [(one, "one.txt"), (two, "two.txt"), (three, "three.txt")] {
        let said = env.tell(&who.wait_with_output().unwrap());
        assert_eq!(said, "--- exit 0\n", "{of}");
        assert!(text(of) == whole, "{of} is {} bytes long", text(of).len());
    }
}
