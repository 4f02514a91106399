//! Running only some steps of an item again: here, on a lab, and in a Megatest area.

use crate::env::TestEnv;
use crate::lab::{Lab, lines};

/// The steps of the only item of the latest attempt of `t`, with what they came to and what is said of them.
fn steps(env: &TestEnv, results: &[&str]) -> Vec<String> {
    let said = env.command(&[results, &["--output", "json"]].concat()).output().unwrap();
    let run: serde_json::Value =
        serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", env.tell(&said)));
    let attempts = run["tests"][0]["items"][0]["attempts"].as_array().unwrap();
    let steps = attempts.last().unwrap()["steps"].as_array().unwrap();
    let text = |step: &serde_json::Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    steps
        .iter()
        .map(|step| {
            format!("{} {} {}", text(step, "name"), text(step, "outcome"), text(step, "message"))
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn steps_run_again_with_what_the_attempt_before_left_and_the_others_keep_their_results() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.t]\nsteps = [\n\
         { name = \"make\", run = \"echo make >> ran; echo it > $MUSTER_WORK_DIR/made\" },\n\
         { name = \"check\", run = \"echo check >> ran; test -e fixed && cat $MUSTER_WORK_DIR/made\" },\n\
         { name = \"report\", run = \"echo report >> ran; test ! -e broken\" },\n]\n\
         [test.plain]\nrun = \"true\"\n",
    );
    let ran = || std::mem::take(&mut lines(&env.area().join("ran")));
    let latest = ["results", "--test", "t"];
    assert!(env.run(&["run"]).ends_with("--- exit 1\n"));
    let said = env.run(&["rerun", "latest", "t", "--from-step", "report"]);
    assert!(said.ends_with("--- exit 1\n"), "a step that failed and is kept still fails it: {said}");
    assert_eq!(
        steps(&env, &latest),
        [
            "make pass kept from attempt 1",
            "check fail kept from attempt 1: exit code 1, nothing printed",
            "report pass"
        ]
    );
    assert_eq!(ran(), ["make", "check", "report"]);
    // Files of the attempt before are there, also after two of them.
    env.write("fixed", "");
    let said = env.run(&["rerun", "latest", "--failed", "--from-step", "check"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(steps(&env, &latest), ["make pass kept from attempt 1", "check pass", "report pass"]);
    assert_eq!(ran(), ["make", "check", "report", "check", "report"]);
    let log = env.run(&["log", "t"]);
    assert!(
        log.contains("goes on from attempt 2; runs again: `check`, `report`") && log.contains("it"),
        "{log}"
    );
    // One alone; it fails the item, and the others stay.
    env.write("broken", "");
    let said = env.run(&["rerun", "latest", "t", "--step", "report"]);
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    assert_eq!(ran().len(), 6);
    assert_eq!(
        steps(&env, &latest)[..2],
        ["make pass kept from attempt 1", "check pass kept from attempt 3"]
    );
    // Without the flag all of it runs.
    std::fs::remove_file(env.area().join("broken")).unwrap();
    assert!(env.run(&["rerun", "latest", "--failed"]).ends_with("--- exit 0\n"));
    assert_eq!(steps(&env, &latest), ["make pass", "check pass", "report pass"]);
    for (args, why) in [
        (["t", "--step", "nope"], "it has no step `nope`, it has `make`, `check`, `report`"),
        (["plain", "--step", "run"], "it is one command, and has no steps"),
    ] {
        let said = env.run(&[&["rerun", "latest"], &args[..]].concat());
        assert!(said.contains(why) && said.ends_with("--- exit 2\n"), "{said}");
    }
}

#[test]
fn on_a_lab_steps_run_again_unless_they_need_files_that_are_elsewhere() {
    let env = TestEnv::new();
    let out = env.home().join("out");
    std::fs::create_dir_all(&out).unwrap();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.t]\nsteps = [\n\
             {{ name = \"make\", run = \"echo make >> {0}/ran\" }},\n\
             {{ name = \"check\", run = \"echo check >> {0}/ran; test -e {0}/fixed\" }},\n]\n\
             [test.files]\nsteps = [\n\
             {{ name = \"make\", run = \"echo it > $MUSTER_WORK_DIR/made\" }},\n\
             {{ name = \"check\", run = \"test -e {0}/fixed\" }},\n]\n",
            out.display()
        ),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &["--slots", "1"]);
    let url = lab.url();
    let ask = |args: &[&str]| env.run(&[&["--server", &url], args].concat());
    assert!(ask(&["run"]).ends_with("--- exit 1\n"));
    std::fs::write(out.join("fixed"), "").unwrap();
    let said = ask(&["rerun", "1", "--failed", "--from-step", "check"]);
    assert!(
        said.contains(
            "not run again: files: what attempt 1 left in its working directory is with the server"
        ),
        "{said}"
    );
    assert!(said.ends_with("--- exit 5\n"), "what is left out is outstanding: {said}");
    assert_eq!(lines(&out.join("ran")), ["make", "check", "check"]);
    let shown = ["--server", &url, "results", "1", "--test", "t"];
    assert_eq!(steps(&env, &shown), ["make pass kept from attempt 1", "check pass"]);
    let refused = ask(&["rerun", "1", "files", "--step", "check"]);
    assert!(refused.contains("is with the server") && refused.ends_with("--- exit 2\n"), "{refused}");
    assert!(ask(&["rerun", "1", "--failed"]).ends_with("--- exit 0\n"));
}

#[test]
fn in_a_megatest_area_steps_run_again_in_the_run_directory_as_it_is() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}\n",
    );
    env.write(
        "tests/t/testconfig",
        "[ezsteps]\nmake echo made >> made\ncheck echo checked >> made; test -e fixed\nlast echo last >> made\n",
    );
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    let dir = env.area().join("links/linux/w1/t");
    std::fs::write(dir.join("fixed"), "").unwrap();
    let said = env.run(&["rerun", "w1", "t", "--from-step", "check"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(lines(&dir.join("made")), ["made", "checked", "checked", "last"]);
    let listed = env.run(&["megatest", "-list-runs", "w1"]);
    assert!(listed.contains("COMPLETED") && listed.contains("PASS"), "{listed}");
    assert_eq!(steps(&env, &["results", "w1"]), ["make pass kept from attempt 1", "check pass", "last pass"]);
    // What was reported of the steps is there once.
    let reports = std::fs::read_to_string(dir.join(".muster/steps")).unwrap();
    assert_eq!(reports.lines().count(), 6, "a beginning and an end of each: {reports}");
    // One in the middle ends the test, too.
    std::fs::remove_file(dir.join("fixed")).unwrap();
    assert!(env.run(&["rerun", "w1", "t", "--step", "check"]).ends_with("--- exit 1\n"));
    let listed = env.run(&["megatest", "-list-runs", "w1"]);
    assert!(listed.contains("FAIL"), "{listed}");
    assert_eq!(lines(&dir.join("made")).len(), 5);
}
