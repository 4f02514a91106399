//! Runs that are over, between the database and the cold tier: what people see of it, which is nearly nothing.

use crate::env::TestEnv;
use std::process::Stdio;
use std::time::Duration;

fn area(env: &TestEnv, records: &str) {
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n{records}\n[test.good]\nrun = \"echo fine\"\n\
             [test.bad]\nrun = \"seq 2000; test -e mended\"\nitems = [\"a\", \"b\"]\n\
             [test.after]\nrun = \"true\"\nafter = \"bad\"\n"
        ),
    );
}

/// What a command prints, on standard output.
fn says(env: &TestEnv, args: &[&str]) -> String {
    String::from_utf8(env.command(args).output().unwrap().stdout).unwrap()
}

fn code(env: &TestEnv, args: &[&str]) -> i32 {
    env.command(args).output().unwrap().status.code().unwrap()
}

fn cold_files(env: &TestEnv) -> usize {
    std::fs::read_dir(env.area().join(".muster/cold")).map_or(0, Iterator::count)
}

#[test]
fn a_run_in_the_cold_tier_is_looked_at_and_run_again_as_any_other() {
    let env = TestEnv::new();
    area(&env, "");
    for _ in 0..2 {
        assert_eq!(code(&env, &["run", "--progress", "quiet"]), 1);
    }
    let questions: [&[&str]; 6] = [
        &["results", "1", "--json"],
        &["results", "1", "--failed"],
        &["log", "1/bad/a"],
        &["why", "1/after"],
        &["history", "bad", "--output", "json"],
        &["diff", "1", "2"],
    ];
    let before = questions.map(|q| says(&env, q));
    assert!(before.iter().all(|said| !said.is_empty()), "{before:?}");

    let said = says(&env, &["runs", "reduce", "1"]);
    assert!(said.starts_with("run 1: in the cold tier"), "{said}");
    assert_eq!(cold_files(&env), 1);
    assert_eq!(questions.map(|q| says(&env, q)), before);
    let listed: serde_json::Value = serde_json::from_str(&says(&env, &["runs", "--output", "json"])).unwrap();
    assert!(
        listed[1]["cold_bytes"].as_u64().unwrap() > 100 && listed[0].get("cold_bytes").is_none(),
        "{listed}"
    );
    let listed = says(&env, &["runs"]);
    assert!(listed.lines().next().unwrap().contains("cold") && listed.contains(" KiB"), "{listed}");

    // What failed is run again, in the same run.
    env.write("mended", "");
    assert_eq!(code(&env, &["rerun", "1", "--failed", "--progress", "quiet"]), 0);
    assert_eq!(cold_files(&env), 0, "it has come back");
    assert_eq!(code(&env, &["results", "1"]), 0);

    says(&env, &["runs", "reduce", "1", "2"]);
    assert_eq!(cold_files(&env), 2);
    assert!(says(&env, &["runs", "restore", "2"]).starts_with("run 2: hot"));
    assert_eq!(cold_files(&env), 1);
    assert_eq!(code(&env, &["results", "2"]), 1);
}

#[test]
fn runs_beyond_the_areas_limits_go_to_the_cold_tier_by_themselves() {
    let env = TestEnv::new();
    area(&env, "[records]\nhot-runs = 2");
    for _ in 0..4 {
        assert_eq!(code(&env, &["run", "good", "--progress", "quiet"]), 0);
    }
    assert_eq!(cold_files(&env), 2);
    assert_eq!(says(&env, &["runs", "reduce", "--due"]).trim(), "no run is due");
    let would = says(&env, &["runs", "reduce", "--due", "--hot-runs", "1", "--dry-run"]);
    assert_eq!(would.trim(), "run 3 would go to the cold tier");
    assert_eq!(cold_files(&env), 2);
    says(&env, &["runs", "reduce", "--due", "--hot-runs", "0"]);
    assert_eq!(cold_files(&env), 4);
    assert_eq!(code(&env, &["run", "good", "--progress", "quiet"]), 0);
    assert_eq!(
        says(&env, &["runs", "--output", "quiet"]).lines().collect::<Vec<_>>(),
        ["5", "4", "3", "2", "1"]
    );
}

#[test]
fn an_area_that_takes_no_runs_says_so() {
    let env = TestEnv::new();
    area(&env, "[records]\nallow-runs = false");
    let refused = env.command(&["run"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("area `demo` takes no new runs"), "{said}");
}

/// Another area beside the one at hand, with the same tests.
fn archive_area(env: &TestEnv, keys: &str) {
    env.write(
        "../archive/muster.toml",
        &format!(
            "[area]\nname = \"old\"\n{keys}\n[records]\nallow-runs = false\n[test.good]\nrun = \"true\"\n"
        ),
    );
}

#[test]
fn a_run_that_was_moved_is_whole_in_the_other_area_and_said_to_be_there() {
    let env = TestEnv::new();
    area(&env, "");
    archive_area(&env, "");
    for _ in 0..3 {
        assert_eq!(code(&env, &["run", "--progress", "quiet"]), 1);
    }
    let log = says(&env, &["log", "1/bad/a"]);
    assert!(log.len() > 2_000);
    assert_eq!(says(&env, &["runs", "move", "1", "--to", "../archive", "--dry-run"]).lines().count(), 1);
    let moved = says(&env, &["runs", "move", "2", "1", "--to", "../archive"]);
    assert!(moved.contains("run 1 is old/2 in `"), "{moved}");
    assert!(!env.area().join(".muster/runs/1").exists());

    let asked = env.command(&["results", "1"]).output().unwrap();
    let said = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(2));
    assert!(said.contains("was moved to area `old`, as run 2") && said.contains("results 2"), "{said}");
    assert_eq!(says(&env, &["runs", "--output", "quiet"]).trim(), "3");
    let full = says(&env, &["runs", "--full"]);
    let all = env.command(&["runs", "--full", "--output", "json"]).output().unwrap();
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).expect("one document");
    assert!(all.as_array().unwrap().iter().any(|run| run["area"] == "old"), "{all}");
    assert!(full.contains("run 1 is old/2 in") && full.contains(": FAIL"), "{full}");

    let there = |args: &[&str]| says(&env, &[&["-C", "../archive"], args].concat());
    assert_eq!(there(&["log", "2/bad/a"]), log);
    assert_eq!(there(&["runs", "--output", "quiet"]).split_whitespace().collect::<Vec<_>>(), ["1", "2"]);
    let results: serde_json::Value = serde_json::from_str(&there(&["results", "2", "--json"])).unwrap();
    assert_eq!((&results["area"], &results["number"]), (&"old".into(), &2.into()));
    assert_eq!(results["name"], "run-1", "the directories of its tests are called so");
    assert!(there(&["history", "bad"]).contains("2 runs"));
    assert!(there(&["runs", "restore", "2"]).contains("hot"));
    assert_eq!(there(&["log", "2/bad/a"]), log);
    // Its number is not given to another, though it was the highest when it went.
    says(&env, &["runs", "move", "3", "--to", "../archive"]);
    assert_eq!(code(&env, &["run", "good", "--progress", "quiet"]), 0);
    assert_eq!(says(&env, &["runs", "--output", "quiet"]).trim(), "4");
    // And back again.
    let back = env.command(&["-C", "../archive", "runs", "move", "2", "--to", "../area"]).output().unwrap();
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    assert_eq!(says(&env, &["log", "5/bad/a"]), log);
}

#[test]
fn a_run_goes_only_to_an_area_with_its_keys() {
    let env = TestEnv::new();
    area(&env, "keys = [{ name = \"os\", default = \"linux\" }]");
    archive_area(&env, "");
    assert_eq!(code(&env, &["run", "good", "--progress", "quiet"]), 0);
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "../archive"]), 2);
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "../nothing"]), 2);
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "."]), 2);
    std::os::unix::fs::symlink(env.area(), env.area().join("../same")).unwrap();
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "../same"]), 2);
    assert_eq!(code(&env, &["runs", "lock", "1"]), 0);
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "../archive"]), 2, "it is locked");
    assert_eq!(code(&env, &["runs", "unlock", "1"]), 0);
    assert_eq!(code(&env, &["results", "1"]), 0, "it is still here");
    archive_area(&env, "keys = [{ name = \"os\", values = [\"bsd\"] }]");
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "../archive"]), 2, "a value that it cannot have");
    archive_area(&env, "keys = [\"os\"]");
    assert_eq!(code(&env, &["runs", "move", "1", "--to", "../archive"]), 0);
}

#[test]
fn runs_that_are_due_go_to_the_area_that_is_named_for_them() {
    let env = TestEnv::new();
    area(&env, "[records]\nhot-runs = 1\nmove-to = \"../archive\"");
    archive_area(&env, "");
    for _ in 0..3 {
        assert_eq!(code(&env, &["run", "good", "--progress", "quiet"]), 0);
    }
    assert_eq!(says(&env, &["runs", "--output", "quiet"]).trim(), "3");
    let there = says(&env, &["-C", "../archive", "runs", "--output", "quiet"]);
    assert_eq!(there.split_whitespace().count(), 2);
}

#[test]
fn a_move_that_is_killed_anywhere_ends_when_it_is_asked_for_again() {
    let env = TestEnv::new();
    area(&env, "");
    archive_area(&env, "");
    for round in 1..=8_u64 {
        assert_eq!(code(&env, &["run", "bad/a", "--progress", "quiet"]), 1);
        let run = round.to_string();
        let log = says(&env, &["log", &format!("{run}/bad/a")]);
        let go = ["runs", "move", &run, "--to", "../archive"];
        let mut moving = env.command(&go).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 4));
        // It may be over already.
        drop(moving.kill());
        moving.wait().unwrap();
        let again = env.command(&go).output().unwrap();
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success() || said.contains("was moved to area `old`"), "round {round}: {said}");
        assert_eq!(says(&env, &["runs", "--output", "quiet"]).trim(), "", "it is not here any more");
        let there = says(&env, &["-C", "../archive", "runs", "--output", "quiet"]);
        assert_eq!(there.lines().count() as u64, round, "it is there once: {there}");
        let number = there.lines().next().unwrap();
        assert_eq!(says(&env, &["-C", "../archive", "log", &format!("{number}/bad/a")]), log);
    }
}
