//! What people do with runs that are over: lock, comment, set results, remove; here and on a lab.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::path::Path;

fn json(env: &TestEnv, args: &[&str]) -> serde_json::Value {
    let said = env.command(args).output().unwrap();
    serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", env.tell(&said)))
}

/// Calls it as a person called ana.
fn as_ana(env: &TestEnv, args: &[&str]) -> String {
    env.tell(&env.command(args).env("USER", "ana").output().unwrap())
}

#[test]
fn a_locked_run_is_kept_as_it_is_until_it_is_unlocked() {
    let env = TestEnv::new();
    env.seed();
    assert_eq!(
        as_ana(&env, &["runs", "lock", "rc1", "--reason", "for the release"]),
        "demo/2 is locked\n--- exit 0\n"
    );
    let refused = |args: &[&str]| {
        let said = env.run(args);
        assert!(said.contains("demo/2 is locked by ana: for the release"), "{args:?}: {said}");
        assert!(said.contains("muster runs unlock 2") && said.ends_with("--- exit 2\n"), "{args:?}: {said}");
    };
    refused(&["runs", "lock", "2"]);
    refused(&["runs", "remove", "2"]);
    refused(&["runs", "remove", "2", "--keep-records"]);
    refused(&["rerun", "2", "--failed"]);
    refused(&["results", "set", "2", "*", "--to", "pass", "--reason", "x"]);
    assert!(env.run(&["runs"]).contains("FAIL, locked"));
    assert!(env.run(&["why", "2"]).contains("it is locked by ana"));
    assert_eq!(json(&env, &["runs", "--output", "json"])[0]["locked"]["by"], "ana");
    // A comment changes nothing.
    as_ana(&env, &["runs", "comment", "2", "-m", "seen twice"]);
    assert!(env.run(&["results", "2"]).contains("ana: seen twice"));
    assert_eq!(as_ana(&env, &["runs", "unlock", "rc*"]), "demo/2 is unlocked\n--- exit 0\n");
    assert_eq!(as_ana(&env, &["runs", "unlock", "2"]), "demo/2 was not locked\n--- exit 0\n");
    assert!(env.run(&["runs", "remove", "2"]).starts_with("removed demo/2: 3 items"));
}

#[test]
fn a_verdict_that_a_person_sets_counts_and_what_was_before_is_told() {
    let env = TestEnv::new();
    env.seed();
    let set = ["results", "set", "2", "net/ping", "--to", "known-failure", "--reason", "the vendor mends it"];
    assert_eq!(
        as_ana(&env, &[&set[..], &["--dry-run"]].concat()),
        "demo/2/net/ping: fail would be known-failure\n--- exit 0\n"
    );
    assert_eq!(as_ana(&env, &set), "1 item of demo/2 set to known-failure\n--- exit 0\n");
    let why = env.run(&["why", "2/net/ping"]);
    assert!(why.contains("set it from fail to known-failure: the vendor mends it"), "{why}");
    assert!(why.contains("#1"), "its attempt is still there: {why}");
    let run = json(&env, &["results", "2", "--output", "json"]);
    assert_eq!(run["counts"]["known-failure"], 1);
    assert_eq!(run["counts"].get("fail"), None);
    assert_eq!((&run["notes"][0]["what"], &run["notes"][0]["from"]), (&"set".into(), &"fail".into()));
    // What could not run because of it is to run again; that makes the run one that can go on.
    let open =
        ["results", "set", "2", "*", "--was", "prerequisite-failed", "--to", "open", "--reason", "again"];
    assert_eq!(as_ana(&env, &open), "1 item of demo/2 set to open\n--- exit 0\n");
    let listed = env.run(&["runs"]);
    assert!(listed.contains("1 not ended"), "{listed}");
    let nothing = env.run(&["results", "set", "2", "*", "--was", "crash", "--to", "pass", "--reason", "x"]);
    assert!(nothing.ends_with("--- exit 4\n"), "{nothing}");
}

#[test]
fn what_is_set_open_runs_when_the_run_goes_on() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.a]\nrun = \"echo x >> ran\"\n[test.b]\nrun = \"echo y >> ran\"\n",
    );
    assert!(env.run(&["run"]).ends_with("--- exit 0\n"));
    env.run(&["results", "set", "latest", "a", "--to", "open", "--reason", "again"]);
    let said = env.run(&["resume"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let mut ran: Vec<String> =
        std::fs::read_to_string(env.area().join("ran")).unwrap().lines().map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, ["x", "x", "y"]);
    assert!(env.run(&["why", "a"]).contains("#2"), "both attempts are kept");
}

#[test]
fn a_removed_run_is_gone_with_its_files_and_it_is_known_who_removed_it() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.a]\nrun = \"echo x > $MUSTER_WORK_DIR/left; seq 1000; exit 1\"\n",
    );
    for _ in 0..2 {
        env.run(&["run"]);
    }
    let dir = |n: u32| env.area().join(format!(".muster/runs/{n}"));
    assert!(dir(1).join("output.seg").exists() && dir(1).join("work").exists());
    let dry = env.run(&["runs", "remove", "1", "2", "--dry-run"]);
    assert!(dry.contains("would remove demo/1: 1 item") && dry.contains("would remove demo/2"), "{dry}");
    assert!(dir(1).join("work").exists());
    // Without its files a run still says what it came to.
    assert!(env.run(&["runs", "remove", "1", "--keep-records"]).starts_with("removed files of demo/1"));
    assert!(!dir(1).join("work").exists());
    assert!(env.run(&["results", "1"]).contains("FAIL"));
    let log = env.run(&["log", "1/a"]);
    assert!(!log.contains("999\n"), "{log}");
    assert!(as_ana(&env, &["runs", "remove", "2", "--reason", "disk is full"]).starts_with("removed demo/2"));
    assert!(!dir(2).exists());
    let gone = env.run(&["results", "2"]);
    assert!(gone.contains("run `demo/2` was removed by ana on ") && gone.contains("disk is full"), "{gone}");
    // Its number is nobody else's.
    env.run(&["run"]);
    assert_eq!(json(&env, &["runs", "--output", "json"])[0]["number"], 3);
}

#[test]
fn a_megatest_run_is_removed_from_disks_and_links_and_nothing_else_is() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}\n",
    );
    env.write("tests/t/testconfig", "[ezsteps]\nmake touch made\n[items]\nN one two\n");
    env.write("tests/u/testconfig", "[ezsteps]\nmake touch made\n");
    for name in ["w1", "w2"] {
        let said = env.run(&["run", "-t", "linux", "-n", name]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
    }
    let there = |path: &str| std::fs::symlink_metadata(env.area().join(path)).is_ok();
    env.write("runs/linux/w1/mine.txt", "somebody's own");
    env.write("runs/linux/w1/u2/megatest.sh", "no run directory");
    // One item: its files go, and it counts as not run.
    let one = env.run(&["runs", "remove", "w1", "--testpatt", "t/one"]);
    assert!(one.starts_with("removed files of 1 item of "), "{one}");
    assert!(!there("runs/linux/w1/t/one") && !there("links/linux/w1/t/one"));
    assert!(there("runs/linux/w1/t/two/made") && there("links/linux/w1/t/two"));
    assert!(env.run(&["runs"]).contains("1 not ended"));
    // The rest.
    let dry = env.run(&["runs", "remove", "w1", "--dry-run"]);
    assert!(dry.contains("ROOT/area/runs/linux/w1/t/two") && there("runs/linux/w1/t/two"), "{dry}");
    assert!(env.run(&["runs", "remove", "w1"]).ends_with("--- exit 0\n"));
    assert!(!there("runs/linux/w1/t") && !there("runs/linux/w1/u") && !there("links/linux/w1"));
    assert!(there("runs/linux/w1/mine.txt") && there("runs/linux/w1/u2/megatest.sh"));
    assert!(there("runs/linux/w2/t/one/made") && there("links/linux/w2/u"), "the other run is untouched");
    assert!(Path::new(&env.area()).join("tests/t/testconfig").exists());
}

#[test]
fn directories_that_two_runs_have_in_common_stay_until_one_is_left_and_items_above_others_go() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}\n",
    );
    env.write("tests/t/testconfig", "[ezsteps]\nmake touch made\n[items]\nI a a/b\n");
    let run = |name: &str| env.run(&["run", "-t", "linux", "-n", name]);
    assert!(run("run-2").ends_with("--- exit 0\n"));
    let taken = run("run-2");
    assert!(taken.contains("as number 1") && taken.contains("rerun 1"), "{taken}");
    assert!(taken.ends_with("--- exit 2\n"), "{taken}");
    // The second has no name, and the first has the one that it is given.
    assert!(env.run(&["run", "-t", "linux"]).ends_with("--- exit 0\n"));
    assert!(env.run(&["runs", "remove", "1"]).ends_with("--- exit 0\n"));
    let there = |path: &str| std::fs::symlink_metadata(env.area().join(path)).is_ok();
    assert!(there("runs/linux/run-2/t") && there("links/linux/run-2/t"), "they are the other's");
    assert!(env.run(&["runs", "remove", "2"]).ends_with("--- exit 0\n"));
    assert!(!there("runs/linux/run-2") && !there("links/linux"));
}

#[test]
fn megatests_switches_lock_set_and_remove() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}\n",
    );
    env.write("tests/good/testconfig", "[ezsteps]\ns true\n");
    env.write("tests/bad/testconfig", "[ezsteps]\ns test -e mended\n");
    let mt = |args: &[&str]| env.run(&[&["megatest"], args].concat());
    let of_w1 = ["-target", "linux", "-runname", "w1"];
    mt(&[&["-run", "-testpatt", "%"], &of_w1[..]].concat());
    let listed = |test: &str| {
        let all = mt(&["-list-runs", "%"]);
        let line =
            all.lines().find(|l| l.trim_start().starts_with(&format!("Test: {test} "))).unwrap_or_default();
        line.split(" Runtime:").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed("bad"), "Test: bad State: COMPLETED Status: FAIL");
    // Words of its own are listed as they are.
    let set = |what: &str, patt: &str| {
        let args = [&["-set-state-status", what, "-testpatt", patt, "-m", "why not"], &of_w1[..]].concat();
        let said = mt(&args);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
    };
    set("COMPLETED,WAIVED", "bad");
    assert_eq!(listed("bad"), "Test: bad State: COMPLETED Status: WAIVED");
    set("COMPLETED,BOZZLEBLONKED", "bad");
    assert_eq!(listed("bad"), "Test: bad State: COMPLETED Status: BOZZLEBLONKED");
    // A locked run is left alone.
    assert!(mt(&[&["-lock"], &of_w1[..]].concat()).ends_with("--- exit 0\n"));
    let kept = mt(&[&["-remove-runs", "-testpatt", "%"], &of_w1[..]].concat());
    assert!(kept.contains("is locked by") && env.area().join("links/linux/w1/bad").exists(), "{kept}");
    assert!(mt(&[&["-unlock"], &of_w1[..]].concat()).ends_with("--- exit 0\n"));
    // What has not started runs with the next `-run`.
    env.write("tests/bad/mended", "");
    set("NOT_STARTED,n/a", "bad");
    assert_eq!(listed("bad"), "Test: bad State: NOT_STARTED Status: n/a");
    mt(&[&["-run", "-testpatt", "%"], &of_w1[..]].concat());
    assert_eq!(listed("bad"), "Test: bad State: COMPLETED Status: PASS");
    // Patterns everywhere; records go with their data, unless they are to stay.
    let none = mt(&["-remove-runs", "-target", "%", "-runname", "x%", "-testpatt", "%"]);
    assert!(none.ends_with("--- exit 0\n") && env.area().join("links/linux/w1/good").exists(), "{none}");
    mt(&["-remove-runs", "-keep-records", "-target", "%", "-runname", "w%", "-testpatt", "good"]);
    assert!(
        !env.area().join("links/linux/w1/good").exists() && env.area().join("links/linux/w1/bad").exists()
    );
    assert_eq!(listed("good"), "Test: good State: COMPLETED Status: PASS");
    mt(&["-remove-runs", "-target", "lin%", "-runname", "w1", "-testpatt", "%"]);
    assert!(!env.area().join("links/linux").exists(), "with all that was above it");
    assert!(!mt(&["-list-runs", "%"]).contains("w1"));
    let without = mt(&["-remove-runs", "-target", "linux", "-runname", "w1"]);
    assert!(without.contains("-testpatt") && !without.ends_with("--- exit 0\n"), "{without}");
}

#[test]
fn what_a_megatest_area_allows_is_run_again_when_its_run_goes_on() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    let config = "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}\n";
    env.write("megatest.config", config);
    env.write("tests/a/testconfig", "[ezsteps]\ns echo a >> $MT_RUN_AREA_HOME/ran; false\n");
    env.write(
        "tests/b/testconfig",
        "[ezsteps]\ns echo b >> $MT_RUN_AREA_HOME/ran; false\n[requirements]\nrerunok COMPLETED/ABORT,/DEAD\n",
    );
    env.write("tests/c/testconfig", "[ezsteps]\ns echo c >> $MT_RUN_AREA_HOME/ran\n");
    let go = || env.run(&["megatest", "-run", "-testpatt", "%", "-target", "linux", "-runname", "w1"]);
    let ran = || {
        let mut all = crate::lab::lines(&env.area().join("ran"));
        all.sort();
        all.concat()
    };
    go();
    assert_eq!(ran(), "abc");
    let said = go();
    assert!(said.contains("has ended"), "{said}");
    assert_eq!(ran(), "abc");
    env.write(
        "megatest.config",
        &config.replace("linktree", "allow-auto-rerun COMPLETED/FAIL KILLED/\nlinktree"),
    );
    // What a test says of itself counts for it.
    let said = go();
    assert_eq!(ran(), "aabc", "{said}");
}

#[test]
fn on_a_lab_the_same_is_asked_of_its_server() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.a]\nrun = \"exit 1\"\n[test.b]\nrun = \"sleep 0\"\n",
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &[]);
    let url = lab.url();
    let ask = |args: &[&str]| as_ana(&env, &[&["--server", &url], args].concat());
    assert!(ask(&["run"]).ends_with("--- exit 1\n"));
    assert_eq!(ask(&["runs", "lock", "1", "--reason", "look"]), "demo/1 is locked\n--- exit 0\n");
    let refused = ask(&["rerun", "1", "--failed"]);
    assert!(refused.contains("locked by ana@") && refused.ends_with("--- exit 2\n"), "{refused}");
    let refused = ask(&["runs", "remove", "1"]);
    assert!(refused.contains("locked by ana@") && refused.ends_with("--- exit 2\n"), "{refused}");
    assert_eq!(ask(&["runs", "unlock", "1"]), "demo/1 is unlocked\n--- exit 0\n");
    ask(&["runs", "comment", "1", "a", "-m", "the board was loose"]);
    let set = ["results", "set", "1", "a", "--to", "skip", "--reason", "not the test's fault"];
    assert_eq!(ask(&set), "1 item of demo/1 set to skip\n--- exit 0\n");
    let why = ask(&["why", "1/a"]);
    assert!(why.contains("the board was loose") && why.contains("set it from fail to skip"), "{why}");
    assert!(ask(&["results", "1"]).ends_with("--- exit 0\n"));
    ask(&["results", "set", "1", "b", "--to", "open", "--reason", "once more"]);
    assert!(ask(&["resume", "1"]).ends_with("--- exit 0\n"), "it goes on with what is open");
    assert!(ask(&["runs", "remove", "1", "--reason", "done"]).starts_with("removed demo/1"));
    let gone = ask(&["results", "1"]);
    assert!(gone.contains("run `demo/1` was removed by ana@"), "{gone}");
}

/// Waits until a file of the area is there.
fn wait_for(env: &TestEnv, file: &str) {
    let path = env.area().join(file);
    while !path.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

const HANGS: &str = "[area]\nname = \"demo\"\n[test.hangs]\nrun = \"touch begun; sleep 1000\"\n[test.after]\nrun = \"true\"\nafter = \"hangs\"\n[test.other]\nrun = \"until test -e killed; do sleep 0.05; done\"\n[limits]\njobs = 2\n";

#[test]
fn single_tests_of_a_run_under_way_are_killed_from_another_process_and_the_others_go_on() {
    let env = TestEnv::new();
    env.write("muster.toml", HANGS);
    let nobody = env.run(&["runs", "kill", "latest"]);
    assert!(nobody.ends_with("--- exit 4\n"), "{nobody}");
    let running = env.command(&["run"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for(&env, "begun");
    let dry = env.run(&["runs", "kill", "latest", "hangs", "--dry-run"]);
    assert_eq!(dry, "demo/1/hangs would be killed\n--- exit 0\n");
    assert_eq!(
        as_ana(&env, &["runs", "kill", "latest", "hangs", "--reason", "it hangs"]),
        "1 item of demo/1 killed\n--- exit 0\n"
    );
    let why = env.run(&["why", "hangs"]);
    assert!(why.contains("killed by ana: it hangs"), "{why}");
    env.write("killed", "");
    let said = env.tell(&running.wait_with_output().unwrap());
    assert!(!said.ends_with("--- exit 0\n"), "{said}");
    let run = json(&env, &["results", "--output", "json"]);
    assert_eq!((&run["counts"]["pass"], &run["counts"]["cancelled"]), (&1.into(), &1.into()));
    // It goes on with what was killed, and with what waits for that.
    env.write("muster.toml", &HANGS.replace("sleep 1000", "true"));
    let on = env.run(&["rerun", "latest", "hangs"]);
    assert!(on.ends_with("--- exit 0\n"), "{on}");
    assert_eq!(json(&env, &["results", "--output", "json"])["counts"]["pass"], 3);
}

#[test]
fn on_a_lab_single_tests_are_killed_too() {
    let env = TestEnv::new();
    env.write("muster.toml", HANGS);
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &["--slots", "2"]);
    let url = lab.url();
    let running =
        env.command(&["--server", &url, "run"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let there = || {
        let mut dirs = vec![env.home()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_name() == "begun" {
                    return Some(entry.path());
                }
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    dirs.push(entry.path());
                }
            }
        }
        None
    };
    let begun = loop {
        match there() {
            Some(path) => break path,
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    };
    let killed = as_ana(&env, &["--server", &url, "runs", "kill", "1", "hangs", "--reason", "it hangs"]);
    assert_eq!(killed, "1 item of demo/1 killed\n--- exit 0\n");
    std::fs::write(begun.with_file_name("killed"), "").unwrap();
    running.wait_with_output().unwrap();
    assert!(env.run(&["--server", &url, "why", "1/hangs"]).contains("killed by ana@"));
}

#[test]
fn what_comes_after_is_run_again_with_it_and_old_results_are_kept() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.build]\nrun = \"true\"\nmatrix = { N = [\"a\", \"b\"] }\n\
         [test.unit]\nrun = \"true\"\nmatrix = { N = [\"a\", \"b\"] }\nafter = { test = \"build\", mode = \"matching-item\" }\n\
         [test.report]\nrun = \"true\"\nafter = \"unit\"\n[test.lint]\nrun = \"exit 1\"\n",
    );
    env.run(&["run"]);
    let tries = || {
        let run = json(&env, &["results", "--output", "json"]);
        let mut all = Vec::new();
        for test in run["tests"].as_array().unwrap() {
            for item in test["items"].as_array().unwrap() {
                let name = format!("{}/{}", test["name"].as_str().unwrap(), item["path"].as_str().unwrap());
                all.push((name, item["attempts"].as_array().unwrap().len()));
            }
        }
        all.sort();
        all
    };
    let want = |list: &[(&str, usize)]| list.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect::<Vec<_>>();
    let said = env.run(&["rerun", "latest", "build/a", "--downstream"]);
    assert!(said.contains("--- exit 5\n") || said.contains("--- exit 0\n"), "{said}");
    let once =
        want(&[("build/a", 2), ("build/b", 1), ("lint/", 1), ("report/", 2), ("unit/a", 2), ("unit/b", 1)]);
    assert_eq!(tries(), once);
    env.run(&["rerun", "latest", "--verdict", "fail,crash"]);
    let lint = |list: Vec<(String, usize)>| list.into_iter().find(|(n, _)| n == "lint/").unwrap().1;
    assert_eq!(lint(tries()), 2);
    env.run(&["rerun", "latest", "--all", "--testpatt", "%/b"]);
    assert_eq!(
        tries().into_iter().filter(|(n, _)| n.ends_with("/b")).map(|(_, t)| t).collect::<Vec<_>>(),
        [2, 2]
    );
}

#[test]
fn results_that_were_made_of_something_else_are_stale_and_run_again_by_name() {
    let env = TestEnv::new();
    let config = "[area]\nname = \"demo\"\n[test.a]\ndir = \"a\"\nrun = \"sh t.sh\"\n[test.b]\ndir = \"b\"\nrun = \"sh t.sh\"\n[test.c]\nrun = \"true\"\n";
    env.write("muster.toml", config);
    env.write("a/t.sh", "exit 0\n");
    env.write("b/t.sh", "exit 0\n");
    assert!(env.run(&["run"]).ends_with("--- exit 0\n"));
    let stale = || {
        let said = env.run(&["results", "--stale"]);
        said.lines().filter_map(|l| Some(l.strip_prefix("STALE ")?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(stale(), [""; 0]);
    // A file of a test, and what another does; that lines move in the file means nothing.
    env.write("a/t.sh", "true\n");
    env.write("muster.toml", &format!("\n# a remark\n{}", config.replace("\"true\"", "\"exit 0\"")));
    assert_eq!(stale(), ["a: changed since it ran: `t.sh`", "c: changed since it ran: its definition"]);
    assert!(env.run(&["results"]).contains("PASS"), "results stay as they are");
    let why = env.run(&["why", "a"]);
    assert!(why.contains("stale") && why.contains("changed since it ran: `t.sh`"), "{why}");
    let said = env.run(&["rerun", "latest", "--stale"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(stale(), [""; 0]);
    // Others of the run were not run again, and are held against what there was when they ran.
    env.write("b/new", "");
    env.run(&["rerun", "latest", "a"]);
    assert_eq!(stale(), ["b: changed since it ran: `new`"]);
    let said = env.run(&["run", "--stale"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let nothing = env.run(&["run", "--stale"]);
    assert!(nothing.ends_with("--- exit 4\n"), "{nothing}");
}

#[test]
fn results_of_a_lab_are_stale_too_and_a_rerun_there_makes_them_of_what_there_is() {
    let env = TestEnv::new();
    let config =
        "[area]\nname = \"demo\"\n[test.a]\ndir = \"a\"\nrun = \"sh t.sh\"\n[test.b]\nrun = \"true\"\n";
    env.write("muster.toml", config);
    env.write("a/t.sh", "exit 0\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &[]);
    let url = lab.url();
    let ask = |args: &[&str]| env.run(&[&["--server", &url], args].concat());
    // How often a test is tried says nothing of what it is.
    assert!(ask(&["run", "--retries", "1"]).ends_with("--- exit 0\n"));
    let stale = || {
        let said = ask(&["results", "--stale"]);
        said.lines().filter_map(|l| Some(l.strip_prefix("STALE ")?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(stale(), [""; 0]);
    env.write("a/t.sh", "true\n");
    assert_eq!(stale(), ["a: changed since it ran: `t.sh`"]);
    assert!(ask(&["why", "a"]).contains("changed since it ran: `t.sh`"));
    let said = ask(&["rerun", "latest", "--stale"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(stale(), [""; 0]);
    env.write("muster.toml", &config.replace("\"true\"", "\"exit 0\""));
    assert_eq!(stale(), ["b: changed since it ran: its definition"]);
    assert!(ask(&["run", "--stale"]).ends_with("--- exit 0\n"));
    let run = ask(&["results", "latest"]);
    assert!(run.contains("demo/2") && run.contains(": 1 passed") && run.contains(" b\n"), "only that: {run}");
}

#[test]
fn a_package_that_has_another_version_makes_the_results_of_its_tests_stale() {
    let env = TestEnv::new();
    env.write("data/text", "one\n");
    let build = |version: &str| {
        let args = ["package", "build", "data", "--kind", "dep", "--version", version, "--repo", "repo"];
        assert!(env.run(&args).contains("--- exit 0"));
    };
    build("1");
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\nrepositories = [\"repo\"]\n[test.a]\nrun = \"true\"\npackages = [\"dep:data\"]\n\
         [test.b]\nrun = \"true\"\n",
    );
    let said = env.run(&["run"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(!env.run(&["results", "--stale"]).contains("STALE"));
    env.write("data/text", "two\n");
    build("2");
    let said = env.run(&["results", "--stale"]);
    assert!(
        said.contains("STALE a: changed since it ran: package `dep:data`") && !said.contains("STALE b"),
        "{said}"
    );
    // A rerun has the packages of its run.
    let said = env.run(&["rerun", "latest", "--stale"]);
    assert!(said.contains("a rerun has the packages of its run") && said.ends_with("--- exit 4\n"), "{said}");
    assert!(env.run(&["run", "--stale"]).ends_with("--- exit 0\n"));
    assert!(!env.run(&["results", "--stale"]).contains("STALE"));
    // Where it cannot be asked for, the rest is compared.
    std::fs::rename(env.area().join("repo"), env.area().join("away")).unwrap();
    assert!(env.run(&["results", "--stale"]).contains("packages are not compared: "));
}

#[test]
fn old_runs_are_pruned_but_for_those_that_matter() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.a]\nrun = \"head -c 200000 /dev/urandom | base64; test ! -e bad\"\n",
    );
    let numbers = || {
        let runs = json(&env, &["runs", "--output", "json"]);
        runs.as_array().unwrap().iter().map(|r| r["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for n in 1..=5 {
        if n == 2 {
            env.write("bad", "");
        }
        env.run(&["run"]);
        if n == 2 {
            std::fs::remove_file(env.area().join("bad")).unwrap();
        }
    }
    env.run(&["runs", "lock", "1"]);
    let none = env.run(&["runs", "prune"]);
    assert!(none.ends_with("--- exit 2\n"), "{none}");
    assert!(env.run(&["runs", "prune", "--older-than", "1d"]).contains("removed 0 of 5 runs"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let dry = env.run(&["runs", "prune", "--older-than", "1s", "--failed-older-than", "1d", "--dry-run"]);
    assert!(dry.contains("would remove demo/3") && dry.contains("would remove 2 of 5 runs"), "{dry}");
    assert_eq!(numbers(), [5, 4, 3, 2, 1]);
    // Of what takes too much, first what passed: the locked one and the newest stay, and so does the failed one.
    let space = env.run(&["runs", "prune", "--space", "900kB"]);
    assert!(space.contains("removed 2 of 5 runs"), "{space}");
    assert_eq!(numbers(), [5, 2, 1]);
    env.run(&["runs", "prune", "--older-than", "1s"]);
    assert_eq!(numbers(), [5, 1]);
    // What has a name that is kept stays, and files that are archived come back.
    for name in ["release-1", "nightly", "last"] {
        env.run(&["run", "-n", name]);
    }
    env.run(&["runs", "unlock", "1"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let archive = ["runs", "prune", "--older-than", "1s", "--keep-named", "release-*", "--archive"];
    let dry = env.run(&[&archive[..], &["--dry-run"]].concat());
    assert!(dry.contains("would archive demo/1") && dry.contains("would archive 3 of 5 runs"), "{dry}");
    let done = env.run(&archive);
    assert!(done.contains("archived 3 of 5 runs") && done.ends_with("--- exit 0\n"), "{done}");
    assert!(env.run(&archive).contains("archived 0 of 5 runs"), "it is done once");
    assert_eq!(numbers(), [8, 7, 6, 5, 1]);
    assert!(env.run(&["archive", "list"]).contains("nightly"));
    let pruned = env.run(&["runs", "prune", "--older-than", "1s", "--keep-named", "release-*"]);
    assert!(pruned.contains("removed 3 of 5 runs"), "{pruned}");
    assert_eq!(numbers(), [8, 6]);
}

#[test]
fn a_server_removes_runs_by_itself_where_its_settings_say_so() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.a]\nrun = \"true\"\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &[]);
    let url = lab.url();
    for _ in 0..3 {
        env.run(&["--server", &url, "run"]);
    }
    env.run(&["--server", &url, "runs", "lock", "1"]);
    let count = || json(&env, &["--server", &url, "runs", "--output", "json"]).as_array().unwrap().len();
    assert_eq!(count(), 3);
    lab.kill_server();
    let settings = "[retention]\nolder-than = \"1s\"\n";
    let dirs = std::fs::read_dir(env.home()).unwrap().flatten().map(|e| e.path());
    let data = dirs.filter(|d| d.join("records").is_dir()).collect::<Vec<_>>();
    assert_eq!(data.len(), 1, "{data:?}");
    std::fs::write(data[0].join("server.toml"), settings).unwrap();
    lab.start_server();
    // The locked one stays, and the newest.
    while count() != 2 {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let gone = env.run(&["--server", &url, "results", "2"]);
    assert!(gone.contains("run `demo/2` was removed by the server on "), "{gone}");
}
