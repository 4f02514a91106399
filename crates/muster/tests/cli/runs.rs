//! Whole runs: what they record, how they end, and what is left when they are killed.

use crate::env::TestEnv;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

/// The exit code of a call.
fn code(env: &TestEnv, args: &[&str]) -> i32 {
    env.command(args).output().unwrap().status.code().unwrap()
}

/// Verdict and number of attempts of each item of a run.
fn results(env: &TestEnv, run: &str) -> BTreeMap<String, (String, usize)> {
    let said = env.command(&["results", run, "--json"]).output().unwrap();
    let view: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let mut all = BTreeMap::new();
    for test in view["tests"].as_array().unwrap() {
        for item in test["items"].as_array().unwrap() {
            let name = format!("{}/{}", test["name"].as_str().unwrap(), item["path"].as_str().unwrap());
            let verdict = item["verdict"].as_str().unwrap_or("open").to_owned();
            let twice = all.insert(name, (verdict, item["attempts"].as_array().unwrap().len()));
            assert!(twice.is_none(), "an item is recorded once");
        }
    }
    all
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(sent.success());
}

/// Processes of this machine whose environment has this text.
fn processes_with(cookie: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| std::fs::read(e.ok()?.path().join("environ")).ok())
        .filter(|environ| environ.windows(cookie.len()).any(|w| w == cookie.as_bytes()))
        .count()
}

/// Waits until nothing with the cookie is left. Without a limit: the test command has one.
fn wait_until_gone(cookie: &str) {
    while processes_with(cookie) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_killed_ten_times_loses_nothing_and_leaves_nothing() {
    let env = TestEnv::new();
    let items: Vec<String> = (0..120).map(|n| format!("\"{n}\"")).collect();
    let cookie = format!("COOKIE=killed-{}", std::process::id());
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[env]\n{} = \"{}\"\n[limits]\njobs = 4\n\
             [test.work]\nrun = \"echo $MUSTER_ITEM >> ran; (setsid sleep 100 &); sleep 0.03\"\nitems = [{}]\n\
             [test.last]\nrun = \"true\"\nafter = \"work\"\n",
            cookie.split_once('=').unwrap().0,
            cookie.split_once('=').unwrap().1,
            items.join(",")
        ),
    );
    let mut finished: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for round in 0u64..10 {
        let command: &[&str] = if round == 0 {
            &["run", "--progress", "quiet"]
        } else {
            &["resume", "1", "--progress", "quiet"]
        };
        let mut child = env.command(command).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 + 37 * round));
        // It may have ended before: then there is nothing to kill any more.
        if child.try_wait().unwrap().is_some() {
            break;
        }
        signal(&child, "-9");
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        wait_until_gone(&cookie);
        if env.run(&["runs"]).contains("nothing has been run here yet") {
            // Killed before it was accepted: nothing was promised yet.
            assert_eq!(code(&env, &["run", "--progress", "quiet"]), 0);
            break;
        }
        let now = results(&env, "latest");
        for (item, (verdict, attempts)) in &finished {
            assert_eq!(&now[item].0, verdict, "a finished result stays");
            assert_eq!(now[item].1, *attempts, "and its attempts with it");
        }
        finished = now.into_iter().filter(|(_, (verdict, _))| verdict != "open").collect();
    }
    let runs = env.run(&["runs"]);
    if runs.contains("KILLED") {
        assert_eq!(code(&env, &["resume", "latest", "--progress", "quiet"]), 0);
    }
    let all = results(&env, "latest");
    assert_eq!(all.len(), 121);
    assert!(all.values().all(|(verdict, attempts)| verdict == "pass" && *attempts == 1), "{all:?}");
    wait_until_gone(&cookie);
}

/// The agent process of a run.
fn agent_of(run: &Child) -> String {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap();
    let is_agent = |pid: &&str| {
        let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        cmdline.split(|b| *b == 0).any(|word| word == b"__agent")
    };
    children.split_whitespace().find(is_agent).expect("a run has an agent").to_owned()
}

#[test]
fn a_run_whose_agent_is_killed_goes_on_with_another() {
    let env = TestEnv::new();
    let cookie = format!("COOKIE=agent-killed-{}", std::process::id());
    let (name, value) = cookie.split_once('=').unwrap();
    let items: Vec<String> = (0..12).map(|n| format!("\"{n}\"")).collect();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[env]\n{name} = \"{value}\"\n[limits]\njobs = 3\n\
             [test.short]\nrun = \"true\"\nitems = [{0}]\n\
             [test.long]\nrun = \"(setsid sleep 1000 &); echo x >> begun-$MUSTER_ITEM; while [ ! -e go ]; do sleep 0.02; done\"\n\
             items = [\"a\", \"b\"]\npriority = 1\n\
             [test.last]\nrun = \"true\"\nafter = [\"short\", \"long\"]\n",
            items.join(",")
        ),
    );
    let run = env.command(&["run", "--progress", "plain"]).stderr(Stdio::piped()).spawn().unwrap();
    let begun =
        |item: &str| std::fs::read_to_string(env.area().join(format!("begun-{item}"))).unwrap_or_default();
    for time in 1..=3 {
        while ["a", "b"].iter().any(|item| begun(item).lines().count() < time) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let sent = std::process::Command::new("kill").args(["-9", &agent_of(&run)]).status().unwrap();
        assert!(sent.success());
    }
    while ["a", "b"].iter().any(|item| begun(item).lines().count() < 4) {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Of those that the killed ones had started, nothing is left: a shell, its `sleep` and the one that
    // went away, for each of both items.
    while processes_with(&cookie) > 6 {
        std::thread::sleep(Duration::from_millis(20));
    }
    env.write("go", "");
    let said = run.wait_with_output().unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.success(), "{err}");
    assert_eq!(err.lines().filter(|l| l.starts_with("agent lost: signal: 9 (SIGKILL)")).count(), 3, "{err}");
    let all = results(&env, "1");
    assert_eq!(all.len(), 15);
    assert!(all.values().all(|(verdict, attempts)| verdict == "pass" && *attempts == 1), "{all:?}");
    wait_until_gone(&cookie);
}

#[test]
fn a_test_that_kills_every_agent_is_given_up_and_the_others_are_run() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[limits]\njobs = 1\n\
         [test.killer]\nrun = \"echo x >> begun; [ -e tame ] || kill -9 $PPID; sleep 0.1\"\npriority = 2\n\
         [test.other]\nrun = \"true\"\n\
         [test.last]\nrun = \"true\"\nafter = \"killer\"\n",
    );
    let said = env.run(&["run", "--progress", "quiet"]);
    assert_eq!(said.matches("agent lost: ").count(), 4, "{said}");
    assert!(said.contains("its agent was lost while it ran, 4 times"), "{said}");
    assert!(said.ends_with("--- exit 3\n"), "{said}");
    assert_eq!(std::fs::read_to_string(env.area().join("begun")).unwrap().lines().count(), 4);
    let verdict = |all: &BTreeMap<String, (String, usize)>, name: &str| all[name].0.clone();
    let all = results(&env, "1");
    assert_eq!(verdict(&all, "killer/"), "error");
    assert_eq!(verdict(&all, "other/"), "pass");
    assert_eq!(verdict(&all, "last/"), "prerequisite-failed");
    env.write("tame", "");
    assert_eq!(code(&env, &["rerun", "1", "--failed", "--progress", "quiet"]), 0);
    let all = results(&env, "1");
    assert!(all.values().all(|(verdict, attempts)| verdict == "pass" && *attempts == 1), "{all:?}");
}

#[test]
fn ctrl_c_ends_with_grace_records_and_can_be_gone_on_with() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[limits]\njobs = 1\n[defaults]\ngrace = \"20s\"\n\
         [test.polite]\nrun = \"trap 'echo cleaned up; exit 1' TERM; touch begun; while :; do sleep 0.05; done\"\npriority = 1\n\
         [test.after]\nrun = \"true\"\n",
    );
    let mut child = env.command(&["run", "--progress", "plain"]).stderr(Stdio::null()).spawn().unwrap();
    while !env.area().join("begun").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let all = results(&env, "1");
    assert_eq!(all["polite/"].0, "cancelled");
    assert_eq!(all["after/"].0, "open");
    assert!(env.run(&["log", "1/polite"]).contains("cleaned up"), "what it printed during grace is kept");
    // The second time it passes.
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.polite]\nrun = \"true\"\n[test.after]\nrun = \"true\"\n",
    );
    assert_eq!(code(&env, &["rerun", "1", "--failed"]), 0);
    let all = results(&env, "1");
    assert_eq!(all["polite/"], ("pass".to_owned(), 2));
    assert_eq!(all["after/"].0, "pass");
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let env = TestEnv::new();
    let area = |tests: &str| env.write("muster.toml", &format!("[area]\nname = \"demo\"\n{tests}"));
    area("[test.a]\nrun = \"true\"\n");
    assert_eq!(code(&env, &["run"]), 0);
    assert_eq!(code(&env, &["run", "b"]), 2, "a test that is not there is a mistake, not a success");
    assert_eq!(code(&env, &["run", "--tags", "gpu"]), 4);
    assert_eq!(code(&env, &["run", "--fail-fast=x"]), 2);
    area("[test.a]\nrun = \"false\"\n[test.b]\nrun = \"false\"\n");
    assert_eq!(code(&env, &["run"]), 1);
    area("[test.a]\nrun = \"true\"\n[test.b]\nrun = \"false\"\n");
    assert_eq!(code(&env, &["rerun", "latest", "a"]), 5, "what was run passed, b is outstanding");
    area("[test.a]\ncmd = [\"./not-there\"]\n");
    assert_eq!(code(&env, &["run"]), 3, "the lab could not run it");
    area("[test.a]\nrun = \"sleep 60\"\n[defaults]\ngrace = \"100ms\"\n");
    assert_eq!(code(&env, &["run", "--timeout", "200ms"]), 124);
    area("[test.a]\nrun = \"tiemout\"\nretires = 1\n");
    assert_eq!(code(&env, &["run"]), 2);
}

#[test]
fn two_runs_of_one_area_at_the_same_time_do_not_disturb_each_other() {
    let env = TestEnv::new();
    let items: Vec<String> = (0..40).map(|n| format!("\"{n}\"")).collect();
    env.write(
        "muster.toml",
        &format!("[area]\nname = \"demo\"\n[test.t]\nrun = \"sleep 0.02\"\nitems = [{}]\n", items.join(",")),
    );
    let start = || env.command(&["run", "--progress", "quiet"]).stderr(Stdio::null()).spawn().unwrap();
    let mut children: Vec<Child> = (0..3).map(|_| start()).collect();
    assert!(children.iter_mut().all(|c| c.wait().unwrap().success()));
    for run in ["1", "2", "3"] {
        let all = results(&env, run);
        assert_eq!(all.len(), 40);
        assert!(all.values().all(|(verdict, _)| verdict == "pass"));
    }
    // And a run that is under way is not taken from its process.
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.t]\nrun = \"touch begun; sleep 30\"\n");
    let mut child = start();
    while !env.area().join("begun").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = env.run(&["resume", "4"]);
    assert!(said.contains("another process") && said.contains("exit 2"), "{said}");
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn the_union_of_the_shards_is_the_whole() {
    let env = TestEnv::new();
    let items: Vec<String> = (0..30).map(|n| format!("\"{n}\"")).collect();
    env.write(
        "muster.toml",
        &format!("[area]\nname = \"demo\"\n[test.t]\nrun = \"true\"\nitems = [{}]\n", items.join(",")),
    );
    let mut seen = BTreeMap::new();
    for shard in ["1/3", "2/3", "3/3"] {
        assert_eq!(code(&env, &["run", "--shard", shard]), 0);
        for item in results(&env, "latest").into_keys() {
            assert!(seen.insert(item.clone(), shard).is_none(), "{item} is in two shards");
        }
    }
    assert_eq!(seen.len(), 30);
}

#[test]
fn retries_limits_groups_and_lazy_items_work_together() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[limits]\njobs = 4\ngroups = { one = 1 }\n[defaults]\ngrace = \"100ms\"\n\
         [test.flaky]\nrun = '[ $MUSTER_ATTEMPT -ge 3 ]'\nretries = 2\n\
         [test.strict]\nrun = '[ $MUSTER_ATTEMPT -ge 2 ]'\nretries = { count = 1, flaky = \"fail\" }\n\
         [test.slow]\nrun = 'trap \"\" TERM; sleep 60'\ntimeout = \"200ms\"\n\
         [test.silent]\nrun = 'echo hello; sleep 60'\nsilence = \"300ms\"\n\
         [test.crash]\nrun = 'kill -SEGV $$'\n\
         [test.alone]\nrun = 'mkdir busy || exit 1; sleep 0.05; rmdir busy'\nitems = [\"a\", \"b\", \"c\", \"d\"]\nneeds = { group = \"one\" }\n\
         [test.list]\nrun = 'echo x > found'\n\
         [test.lazy]\nrun = 'test -n \"$WHO\"'\nitems-from = 'cat found >/dev/null; echo \"{\\\"item\\\": \\\"ana\\\", \\\"env\\\": {\\\"WHO\\\": \\\"ana\\\"}}\"'\nafter = \"list\"\n\
         [test.none]\nrun = 'true'\nitems-from = 'true'\n\
         [test.blocked]\nrun = 'true'\nafter = \"crash\"\n",
    );
    assert_eq!(code(&env, &["run"]), 1);
    let all = results(&env, "1");
    let is = |item: &str| all[item].0.as_str();
    assert_eq!(all["flaky/"], ("flaky".to_owned(), 3));
    assert_eq!(all["strict/"], ("fail".to_owned(), 2));
    assert_eq!((is("slow/"), is("silent/"), is("crash/")), ("timeout", "timeout", "crash"));
    for item in ["a", "b", "c", "d"] {
        assert_eq!(is(&format!("alone/{item}")), "pass", "one at a time");
    }
    assert_eq!(is("lazy/ana"), "pass");
    assert_eq!(is("none/"), "no-items");
    assert_eq!(is("blocked/"), "prerequisite-failed");
}

#[test]
fn a_run_that_was_killed_has_not_passed_however_good_its_results() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[limits]\njobs = 1\n[test.good]\nrun = \"true\"\npriority = 1\n\
         [test.long]\nrun = \"touch begun; exec sleep 1000\"\nafter = \"good\"\n",
    );
    let mut child = env.command(&["run", "--progress", "quiet"]).stderr(Stdio::null()).spawn().unwrap();
    while !env.area().join("begun").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(code(&env, &["results"]), 1, "it has not passed while it runs");
    signal(&child, "-9");
    child.wait().unwrap();
    let said = env.run(&["results"]);
    assert!(said.contains("KILLED") && said.contains("1 passed, 1 not ended"), "{said}");
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    let json = env.command(&["results", "--json"]).output().unwrap();
    let view: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(view["ok"], false);
}

#[test]
fn what_waited_for_an_error_of_the_lab_does_not_make_it_the_tests_fault() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[test.board]\nrun = \"exit 99\"\n[test.boot]\nrun = \"true\"\nafter = \"board\"\n",
    );
    assert_eq!(code(&env, &["run", "--progress", "quiet"]), 3);
    assert_eq!(code(&env, &["results"]), 3);
}

#[test]
fn a_question_that_failed_stands_for_all_it_would_have_found() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[test.found]\nrun = \"test $MUSTER_ITEM != 2\"\nitems-from = \"cat list\"\n[test.other]\nrun = \"true\"\n",
    );
    assert_eq!(code(&env, &["run", "--progress", "quiet"]), 1);
    env.write("list", "1\n2\n3\n");
    assert_eq!(code(&env, &["run", "--failed-in", "latest", "--progress", "quiet"]), 1);
    let all = results(&env, "latest");
    assert_eq!(all["found/2"].0, "fail");
    assert_eq!(all["found/3"].0, "pass");
    assert!(!all.contains_key("other/"), "what did not fail is not run: {all:?}");
}

#[test]
fn a_run_that_was_stopped_says_why() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[limits]\njobs = 1\n[test.bad]\nrun = \"exit 1\"\npriority = 1\n[test.rest]\nrun = \"sleep 1000\"\n",
    );
    let said = env.run(&["run", "--fail-fast"]);
    assert!(said.contains("stopped 1 failed, and no more are wanted (fail-fast)"), "{said}");
    let said = env.run(&["why", "latest"]);
    assert!(said.contains("it was stopped: 1 failed, and no more are wanted (fail-fast)"), "{said}");
    let said = env.run(&["run", "rest", "--timeout", "200ms"]);
    assert!(said.contains("stopped the run's time limit was reached"), "{said}");
    assert!(said.ends_with("--- exit 124\n"), "{said}");
}

#[test]
fn reports_that_cannot_be_told_apart_or_written_are_refused_before_anything_runs() {
    let env = TestEnv::new();
    env.write("muster.toml", "[test.t]\nrun = \"touch ran\"\n");
    let refused = |args: &[&str], why: &str| {
        let said = env.run(&[&["run"], args].concat());
        assert!(said.contains(why) && said.ends_with("--- exit 2\n"), "{said}");
        assert!(!env.area().join("ran").exists(), "{said}");
    };
    refused(
        &["--report", "tap", "--report", "jsonl"],
        "`tap` and `jsonl` would both be written to standard output",
    );
    refused(
        &["--report", "junit:o", "--report", "html:o"],
        "`junit` and `html` would both be written to `o`",
    );
    refused(&["--report", "junit:."], "cannot be written");
}

#[test]
fn a_report_that_cannot_be_written_does_not_hide_that_tests_failed() {
    let env = TestEnv::new();
    // The report's name is taken by a directory while the run goes on.
    env.write("muster.toml", "[test.t]\nrun = \"mkdir out.xml; exit ${CODE}\"\n[vars]\nCODE = 1\n");
    let said = env.run(&["run", "--report", "junit:out.xml"]);
    assert!(said.contains("could not be written") && said.ends_with("--- exit 1\n"), "{said}");
    std::fs::remove_dir(env.area().join("out.xml")).unwrap();
    let said = env.run(&["run", "--report", "junit:out.xml", "--set", "vars.CODE=0"]);
    assert!(said.contains("could not be written") && said.ends_with("--- exit 3\n"), "{said}");
}

#[test]
fn changes_beside_the_area_in_included_files_and_by_a_move_concern_their_tests() {
    let env = TestEnv::new();
    env.write("muster.toml", "include = [\"more.toml\"]\n[test.any]\nrun = \"true\"\n");
    env.write(
        "more.toml",
        "[test.one]\nrun = \"true\"\ndir = \"one\"\n[test.two]\nrun = \"true\"\ndir = \"two\"\n\
         [test.src]\nrun = \"true\"\ndir = \"../src\"\n",
    );
    for file in ["one/a", "two/a", "../src/main.c", "../docs/a"] {
        env.write(file, "some text that is long enough to be known again after a move\n");
    }
    let top = env.area().parent().unwrap().to_owned();
    let git = |args: &[&str]| {
        let said = std::process::Command::new("git")
            .args(["-C", top.to_str().unwrap(), "-c", "user.name=a", "-c", "user.email=a@b"])
            .args(args)
            .env("HOME", env.home())
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "all"]);
    let concerned = || {
        let said = env.command(&["plan", "--changed-since", "HEAD", "--output", "json"]).output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let mut names: Vec<String> = plan["tests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["test"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        git(&["reset", "-q", "--hard"]);
        git(&["clean", "-qfd"]);
        names.join(" ")
    };
    assert_eq!(concerned(), "");
    env.write("one/a", "changed\n");
    assert_eq!(concerned(), "any one");
    env.write("../src/new.c", "new\n");
    assert_eq!(concerned(), "any src");
    env.write("../docs/a", "changed\n");
    assert_eq!(concerned(), "any");
    git(&["mv", "area/one/a", "area/two/b"]);
    assert_eq!(concerned(), "any one two");
    let text = std::fs::read_to_string(env.area().join("more.toml")).unwrap();
    env.write("more.toml", &format!("{text}# a word more\n"));
    assert_eq!(concerned(), "any one src two");
}

#[test]
fn a_test_finds_muster_although_it_was_started_from_a_place_nobody_looks_at() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"own\"\n[test.asks]\nrun = \"muster --version\"\n");
    let said = env.command(&["run", "--progress", "quiet"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
}
