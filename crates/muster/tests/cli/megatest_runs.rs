//! What runs of Megatest areas come to: listed while they run, sub-runs, waivers, triggers, steps that scripts tell of,
//! run directories, odd files, exit codes.

use crate::env::TestEnv;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const MAIN: &str = "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}/\n";

/// A small area that is written here.
fn area(files: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write("megatest.config", MAIN);
    for (path, text) in files {
        env.write(path, text);
    }
    env
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `STATE/STATUS` of each record, by `test` and `test(item)`.
fn listed(env: &TestEnv, run: &str) -> BTreeMap<String, String> {
    let text = env.run(&["megatest", "-list-runs", run]);
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("  Test: ")?.split_once(" State: ")?;
        let (state, rest) = rest.split_once(" Status: ")?;
        let status = rest.split(" Runtime:").next()?;
        Some((name.trim().to_owned(), format!("{}/{}", state.trim(), status.trim())))
    };
    text.lines().filter_map(line).collect()
}

fn status(env: &TestEnv, run: &str, test: &str) -> String {
    let all = listed(env, run);
    all.get(test).cloned().unwrap_or_else(|| panic!("{test} is not among {all:?}"))
}

/// Waits until something is so; the test's own time limit ends it.
fn until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start(env: &TestEnv, args: &[&str]) -> Child {
    env.command(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(signal: &str, pid: u32) -> bool {
    Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn what_runs_is_listed_as_running() {
    let env = area(&[
        (
            "tests/waits/testconfig",
            "[ezsteps]\ns touch began; while ! test -e \"$MT_RUN_AREA_HOME/go\"; do sleep 0.02; done\n",
        ),
        ("tests/later/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton waits\n"),
    ]);
    let mut run = start(&env, &["run", "-t", "linux", "-n", "w1"]);
    until(|| env.area().join("links/linux/w1/waits/began").exists());
    let now = listed(&env, "w1");
    env.write("go", "");
    run.wait().unwrap();
    assert_eq!(now["waits"], "RUNNING/n/a");
    assert_eq!(now["later"], "NOT_STARTED/n/a");
    assert_eq!(status(&env, "w1", "waits"), "COMPLETED/PASS");
}

#[test]
fn a_run_that_is_killed_leaves_what_ran_incomplete() {
    let env = area(&[("tests/t/testconfig", "[ezsteps]\ns touch began; sleep 1000\n")]);
    let mut run = start(&env, &["run", "-t", "linux", "-n", "w1"]);
    until(|| env.area().join("links/linux/w1/t/began").exists());
    assert!(kill("-KILL", run.id()));
    run.wait().unwrap();
    assert_eq!(status(&env, "w1", "t"), "INCOMPLETE/n/a");
}

#[test]
fn a_failing_step_s_own_message_is_the_one_that_is_told() {
    let env = area(&[(
        "tests/t/testconfig",
        "[ezsteps]\ns echo 'c,v,5,1,1' | megatest -load-test-data; megatest -test-status :state RUNNING :status AUTO; echo the disk is full; exit 3\n",
    )]);
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.contains("the disk is full") && !said.contains("test data: "), "{said}");
    let data = area(&[(
        "tests/t/testconfig",
        "[ezsteps]\ns echo 'c,v,5,1,1' | megatest -load-test-data; megatest -test-status :state RUNNING :status AUTO; echo measured\n",
    )]);
    let said = data.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.contains("c/v is 5"), "{said}");
}

#[test]
fn items_above_others_have_run_directories_of_their_own() {
    let env = area(&[(
        "tests/t/testconfig",
        "[ezsteps]\ns test ! -e mine; echo $I > mine; sleep 0.1; cat mine\n[items]\nI a a/b a/b/c\n",
    )]);
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    for (dir, item) in [("a.item", "a"), ("a/b.item", "a/b"), ("a/b/c", "a/b/c")] {
        assert_eq!(read(&env, &format!("links/linux/w1/t/{dir}/mine")).trim(), item);
        assert_eq!(read(&env, &format!("links/linux/w1/t/{dir}/s.log")).trim(), item);
    }
    let paths = env.run(&["megatest", "-test-paths", "-runname", "w1"]);
    assert!(paths.contains("/links/linux/w1/t/a.item\n"), "{paths}");
    assert!(!paths.contains("/\n"), "{paths}");
    // What is emptied is that of one item.
    env.run(&["megatest", "-run", "-target", "linux", "-runname", "w1", "-rerun-all", "-testpatt", "t/a"]);
    assert_eq!(read(&env, "links/linux/w1/t/a/b/c/mine").trim(), "a/b/c");
}

#[test]
fn nothing_is_left_of_a_command_whose_file_was_being_read() {
    for signal in ["-INT", "-TERM"] {
        let env = area(&[
            ("runconfigs.config", "[default]\nA #{shell echo $$ > pid; sleep 1000; echo x}\n"),
            ("tests/t/testconfig", "[ezsteps]\ns true\n"),
        ]);
        let mut run = start(&env, &["run", "-t", "linux", "-n", "w1"]);
        let pid = env.area().join("pid");
        until(|| std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')));
        assert!(kill(signal, run.id()));
        let ended = run.wait().unwrap();
        assert!(!ended.success());
        let pid = std::fs::read_to_string(&pid).unwrap();
        until(|| !is_alive(&pid));
    }
}

#[test]
fn rules_in_another_encoding_are_rules_and_a_missing_file_is_the_test_s_fault() {
    let env = area(&[
        ("tests/t/testconfig", "[ezsteps]\ns echo all is well\n"),
        (
            "tests/missing/testconfig",
            "[ezsteps]\ns megatest -runstep x -logpro none.logpro true && echo went on\n",
        ),
    ]);
    let mut rules = b"; caf\xe9\n".to_vec();
    rules.extend(b"(expect:warning in \"LogFileBody\" = 0 \"well\" #/well/)\n");
    std::fs::write(env.area().join("tests/t/s.logpro"), rules).unwrap();
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert_eq!(status(&env, "w1", "t"), "COMPLETED/WARN", "{said}");
    assert_eq!(status(&env, "w1", "missing"), "COMPLETED/FAIL", "{said}");
    assert!(said.contains("the rule file `none.logpro` cannot be read"), "{said}");
}

#[test]
fn a_pipe_in_place_of_a_file_holds_nobody_up() {
    let env = area(&[("tests/good/testconfig", "[ezsteps]\ns true\n")]);
    std::fs::create_dir_all(env.area().join("tests/pipe")).unwrap();
    let made = Command::new("mkfifo").arg(env.area().join("tests/pipe/testconfig")).status().unwrap();
    assert!(made.success());
    let said = env.run(&["config", "check", "-t", "linux"]);
    assert!(said.contains("the test `pipe` is left out") && said.contains("it is a pipe"), "{said}");
    assert!(said.ends_with("--- exit 0\n"), "{said}");
}

#[test]
fn an_area_s_keys_disks_and_tests_need_no_target() {
    let env =
        area(&[("tests/b/testconfig", "[ezsteps]\ns true\n"), ("tests/a/testconfig", "[ezsteps]\ns true\n")]);
    assert_eq!(env.run(&["megatest", "-show-keys"]), "OS\n--- exit 0\n");
    assert_eq!(env.run(&["megatest", "-list-tests"]), "a\nb\n--- exit 0\n");
    assert_eq!(env.run(&["megatest", "-list-disks"]), "ROOT/area/runs/\n--- exit 0\n");
}

#[test]
fn exit_codes_are_megatest_s_where_they_are_asked_for() {
    let env = area(&[("tests/t/testconfig", "[ezsteps]\ns false\n")]);
    let code = |args: &[&str], dir: &Path| {
        let mut command = env.command(&[&["megatest"], args].concat());
        command.current_dir(dir).env("MUSTER_MEGATEST_EXIT_CODES", "megatest");
        command.output().unwrap().status.code().unwrap()
    };
    let here = env.area();
    let cases: [(&[&str], i32); 7] = [
        (&["-run", "-target", "linux", "-runname", "w1"], 0),
        (&["-run", "-runname", "w1"], 1),
        (&["-run", "-reqtarg", "bsd", "-runname", "w1"], 1),
        (&["-run", "-target", "linux"], 2),
        (&["-frobnicate"], 1),
        (&["-test-status", ":status", "PASS"], 5),
        (&["-list-runs", "%"], 0),
    ];
    for (args, expected) in cases {
        assert_eq!(code(args, &here), expected, "{args:?}");
    }
    assert_eq!(code(&["-list-runs", "%"], Path::new("/")), 2);
    // Inside of a test.
    let inside = area(&[(
        "tests/t/testconfig",
        "[ezsteps]\ns megatest -test-status :state COMPLETED; echo code $?\n",
    )]);
    inside
        .command(&["run", "-t", "linux", "-n", "w1"])
        .env("MUSTER_MEGATEST_EXIT_CODES", "megatest")
        .output()
        .unwrap();
    // What begins with MUSTER_ is not passed on, so there they are Muster's.
    assert!(read(&inside, "links/linux/w1/t/s.log").contains("code 2"));
}

#[test]
fn a_second_dash_of_modepatt_goes_over_the_pattern() {
    let env = area(&[
        ("runconfigs.config", "[default]\nTESTPATT a\nQUICK b\n"),
        ("tests/a/testconfig", "[ezsteps]\ns true\n"),
        ("tests/b/testconfig", "[ezsteps]\ns true\n"),
        ("tests/c/testconfig", "[ezsteps]\ns true\n"),
    ]);
    let ran = |name: &str, args: &[&str]| {
        env.run(&[&["megatest", "-run", "-target", "linux", "-runname", name], args].concat());
        listed(&env, name).into_keys().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ran("w1", &[]), "a");
    assert_eq!(ran("w2", &["-testpatt", "c"]), "c");
    assert_eq!(ran("w3", &["-modepatt", "QUICK", "-testpatt", "c"]), "c");
    assert_eq!(ran("w4", &["--modepatt", "QUICK", "-testpatt", "c"]), "b");
    assert_eq!(ran("w5", &["-modepatt", "QUICK"]), "b");
}

#[test]
fn a_sub_run_is_a_run_of_its_area_and_its_verdict_is_the_test_s() {
    let env = area(&[
        (
            "tests/sub/testconfig",
            "[subrun]\nrun-area #{mtrah inner}\ntarget $OS/fast\ntest-patt %\nmsg nightly\n",
        ),
        (
            "tests/warns/testconfig",
            "[subrun]\nrun-area #{mtrah inner}\ntarget linux/slow\nrun-name own\ntest-patt warned\n",
        ),
        ("tests/after/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton sub\n"),
        ("tests/own/testconfig", "[subrun]\ntest-patt after\n"),
        ("inner/megatest.config", "[fields]\nOS TEXT\nSPEED TEXT\n[setup]\nlinktree #{mtrah lt}\n"),
        ("inner/tests/good/testconfig", "[ezsteps]\ns echo $MT_TARGET $MT_RUNNAME\n"),
        ("inner/tests/bad/testconfig", "[ezsteps]\ns test -e \"$MT_RUN_AREA_HOME/mended\"\n"),
        (
            "inner/tests/warned/testconfig",
            "[ezsteps]\ns megatest -test-status :state COMPLETED :status WARN\n",
        ),
    ]);
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    let all = listed(&env, "w1");
    assert_eq!(all["sub"], "COMPLETED/FAIL", "{said}");
    assert_eq!(all["warns"], "COMPLETED/WARN", "{said}");
    assert_eq!(all["after"], "COMPLETED/PREQ_FAIL", "{said}");
    // An area that would run itself in the same run is refused.
    assert_eq!(all["own"], "COMPLETED/FAIL", "{said}");
    assert!(said.contains("the sub-run would be the run that it is a part of"), "{said}");
    assert_eq!(read(&env, "inner/lt/linux/fast/w1/good/s.log"), "linux/fast w1\n");
    assert_eq!(read(&env, "inner/lt/linux/slow/own/warned/s.log"), "");
    // The record leads to it.
    let dir = env.area().join("links/linux/w1/sub");
    assert_eq!(std::fs::read_link(dir.join("subrun-area")).unwrap(), env.area().join("inner"));
    assert!(read(&env, "links/linux/w1/sub/testconfig.subrun").contains("target linux/fast\nrun-name w1\n"));
    let log = env.run(&["log", "w1/sub"]);
    assert!(log.contains("sub-run `w1` for linux/fast in ROOT/area/inner: nightly"), "{log}");
    assert!(log.contains("is COMPLETED/FAIL; muster -C ROOT/area/inner results "), "{log}");
    let why = env.run(&["why", "w1/sub"]);
    // Which of the two began first is theirs to settle.
    assert!(why.contains("subrun/inner/"), "{why}");
    // Run again, what failed in it runs again, and nothing else.
    env.write("inner/mended", "");
    std::fs::remove_file(env.area().join("inner/lt/linux/fast/w1/good/s.log")).unwrap();
    env.run(&[
        "megatest",
        "-run",
        "-target",
        "linux",
        "-runname",
        "w1",
        "-rerun",
        "FAIL,PREQ_FAIL",
        "-testpatt",
        "sub,after",
    ]);
    let all = listed(&env, "w1");
    assert_eq!((all["sub"].as_str(), all["after"].as_str()), ("COMPLETED/WARN", "COMPLETED/PASS"));
    assert!(!env.area().join("inner/lt/linux/fast/w1/good/s.log").exists());
}

#[test]
fn what_ends_a_test_ends_its_sub_run() {
    let env = area(&[
        (
            "tests/sub/testconfig",
            "[subrun]\nrun-area #{mtrah inner}\ntarget linux\n[requirements]\nruntimelim 3s\n",
        ),
        ("inner/megatest.config", "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah lt}\n"),
        ("inner/tests/long/testconfig", "[ezsteps]\ns echo $$ > pid; sleep 1000\n"),
    ]);
    env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert_eq!(status(&env, "w1", "sub"), "COMPLETED/FAIL");
    let pid = read(&env, "inner/lt/linux/w1/long/pid");
    assert!(!is_alive(&pid));
    let inner = env.command(&["-C", "inner", "megatest", "-list-runs", "%"]).output().unwrap();
    let inner = env.tell(&inner);
    assert!(!inner.contains("RUNNING") && !inner.contains("PASS"), "{inner}");
}

#[test]
fn a_failure_that_was_waived_is_waived_again_while_it_is_the_same() {
    let script = "#!/bin/sh\nmkdir -p results; cp \"$MT_RUN_AREA_HOME/now.txt\" results/a.txt\n\
                  test -e \"$MT_RUN_AREA_HOME/by-hand\" && megatest -test-status :state COMPLETED :status WAIVED -m 'bug 7: known'\n\
                  test \"$(cat results/a.txt)\" = good\n";
    let env = area(&[
        (
            "tests/t/testconfig",
            "[ezsteps]\ns run.sh\nlast touch went-on\n[waivers]\nbug_7 diff results/*.txt\n",
        ),
        ("tests/t/run.sh", script),
        (
            "tests/none/testconfig",
            "[ezsteps]\ns test -e \"$MT_RUN_AREA_HOME/by-hand\" && megatest -test-status :state COMPLETED :status WAIVED -m 'bug 7: x'; false\n",
        ),
        ("tests/after/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton t\n"),
        ("now.txt", "bad\n"),
        ("by-hand", ""),
    ]);
    env.write("megatest.config", &MAIN.replace("[disks]", "waivercommentpatt ^bug [0-9]+\n[disks]"));
    let script = env.area().join("tests/t/run.sh");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = |name: &str| env.run(&["run", "-t", "linux", "-n", name]);
    run("w1");
    assert_eq!(status(&env, "w1", "t"), "COMPLETED/WAIVED");
    std::fs::remove_file(env.area().join("by-hand")).unwrap();
    // It fails the same way.
    let said = run("w2");
    assert_eq!(status(&env, "w2", "t"), "COMPLETED/WAIVED", "{said}");
    assert_eq!(status(&env, "w2", "after"), "COMPLETED/PASS");
    assert_eq!(status(&env, "w2", "none"), "COMPLETED/FAIL", "without `[waivers]` nothing is carried over");
    assert!(!env.area().join("links/linux/w2/t/went-on").exists());
    let log = env.run(&["log", "w2/t"]);
    assert!(log.contains("waived again, as in run `w1`, by bug_7: bug 7: known"), "{log}");
    let json = env.run(&["megatest", "-list-runs", "w2", "-testpatt", "t", "-dumpmode", "json"]);
    assert!(json.contains("\"comment\":\"bug 7: known\""), "{json}");
    // And from there on.
    run("w3");
    assert_eq!(status(&env, "w3", "t"), "COMPLETED/WAIVED");
    // It fails in another way, and that is said.
    env.write("now.txt", "worse\n");
    run("w4");
    assert_eq!(status(&env, "w4", "t"), "COMPLETED/FAIL");
    let log = env.run(&["log", "w4/t"]);
    assert!(
        log.contains("it was waived in run `w3` and is not again: waiver `bug_7`: `results/a.txt` differs"),
        "{log}"
    );
    env.write("now.txt", "good\n");
    run("w5");
    assert_eq!(status(&env, "w5", "t"), "COMPLETED/PASS");
    // A comment has to say what the area asks for.
    let env = area(&[(
        "tests/t/testconfig",
        "[ezsteps]\ns megatest -test-status :state COMPLETED :status WAIVED -m whatever\n",
    )]);
    env.write("megatest.config", &MAIN.replace("[disks]", "waivercommentpatt ^bug [0-9]+\n[disks]"));
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert_eq!(status(&env, "w1", "t"), "COMPLETED/FAIL");
    assert!(said.contains("a waiver's comment has to match"), "{said}");
}

#[test]
fn triggers_are_told_of_every_end_and_pages_are_made_of_items() {
    let env = area(&[
        ("tests/fails/testconfig", "[ezsteps]\ns false\n"),
        ("tests/long/testconfig", "[ezsteps]\ns sleep 1000\n[requirements]\nruntimelim 1s\n"),
        ("tests/after/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton fails\n"),
        ("tests/many/testconfig", "[ezsteps]\ns echo $I > out\n[items]\nI 1 2\n"),
    ]);
    let more = "[triggers]\nCOMPLETED/ #{mtrah told.sh}\n/PREQ% #{mtrah told.sh}\n[testrollup]\nman% cat */out > page.html\n";
    env.write("megatest.config", &format!("{MAIN}{more}"));
    env.write("told.sh", "#!/bin/sh\necho \"$3 $4 $5 $6 $7 $MT_TARGET\" >> \"$MT_RUN_AREA_HOME/told\"\n");
    std::fs::set_permissions(env.area().join("told.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    env.run(&["run", "-t", "linux", "-n", "w1"]);
    let told = read(&env, "told");
    for line in [
        "COMPLETED/ fails  COMPLETED FAIL linux",
        "COMPLETED/ long  COMPLETED FAIL linux",
        "COMPLETED/ after  COMPLETED PREQ_FAIL linux",
        "/PREQ% after  COMPLETED PREQ_FAIL linux",
        "COMPLETED/ many 2 COMPLETED PASS linux",
    ] {
        assert_eq!(told.lines().filter(|l| *l == line).count(), 1, "{line} in\n{told}");
    }
    assert_eq!(read(&env, "links/linux/w1/many/page.html"), "1\n2\n");
}

#[test]
fn steps_that_scripts_tell_of_are_in_the_record() {
    let env = area(&[
        ("tests/t/testconfig", "[setup]\nrunscript go.sh\n[ezsteps]\nlast true\n"),
        (
            "tests/t/go.sh",
            "#!/bin/sh\nmegatest -step prepare :state start :status 0\nmegatest -step prepare :state end :status 0 -m 'found core'\n\
             megatest -runstep check false\nmegatest -step hangs :state start :status 0\nexit 0\n",
        ),
    ]);
    std::fs::set_permissions(env.area().join("tests/t/go.sh"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    env.run(&["run", "-t", "linux", "-n", "w1"]);
    let why = env.run(&["why", "w1/t"]);
    for line in [
        "runscript/prepare pass",
        ": found core",
        "runscript/check fail",
        ", exit code 1",
        "runscript/hangs pass",
        "it was not told when it ended",
    ] {
        assert!(why.contains(line), "{line} is not in {why}");
    }
    let json = env.run(&["results", "w1", "--output", "json"]);
    assert!(json.contains("\"runscript/prepare\""), "{json}");
    let log = env.run(&["log", "w1/t", "--step", "runscript/check"]);
    assert!(log.ends_with("--- exit 0\n"), "{log}");
    // As Megatest has it.
    let text = env.run(&["megatest", "-list-runs", "w1", "-dumpmode", "json"]);
    assert!(text.contains("\"testname\":\"t\""), "{text}");
}

#[test]
fn an_area_says_itself_what_a_clean_rerun_is() {
    let env = area(&[
        ("tests/fails/testconfig", "[ezsteps]\ns echo x >> \"$MT_RUN_AREA_HOME/fails\"; false\n"),
        (
            "tests/warns/testconfig",
            "[ezsteps]\ns echo x >> \"$MT_RUN_AREA_HOME/warns\"; megatest -test-status :state COMPLETED :status WARN\n",
        ),
    ]);
    env.write(
        "megatest.config",
        &format!("{MAIN}[validvalues]\ncleanrerun-statuses WARN CHECK\ncleanrerun-states KILLED\n"),
    );
    env.run(&["run", "-t", "linux", "-n", "w1"]);
    env.run(&["megatest", "-run", "-target", "linux", "-runname", "w1", "-rerun-clean"]);
    assert_eq!((read(&env, "fails").as_str(), read(&env, "warns").as_str()), ("x\n", "x\nx\n"));
}

#[test]
fn a_copy_command_may_be_for_some_tests_only() {
    let env = area(&[
        ("tests/fast/testconfig", "[ezsteps]\ns cat data\n"),
        ("tests/fast/data", "1\n"),
        ("tests/slow/testconfig", "[ezsteps]\ns cat data\n"),
        ("tests/slow/data", "2\n"),
    ]);
    env.write("megatest.config", &format!("{MAIN}[testcopy]\nfa% ln -sf TEST_SRC_PATH/* TEST_TARG_PATH\n"));
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let is_link = |path: &str| std::fs::symlink_metadata(env.area().join(path)).unwrap().is_symlink();
    assert!(is_link("links/linux/w1/fast/data") && !is_link("links/linux/w1/slow/data"));
}

#[test]
fn switches_without_a_meaning_say_why_and_environments_are_compared() {
    let env = area(&[("tests/t/testconfig", "[ezsteps]\ns echo $ONE $TWO\n")]);
    let said =
        env.run(&["megatest", "-run", "-target", "linux", "-runname", "w1", "-setvars", "ONE=1,TWO=a b"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(read(&env, "links/linux/w1/t/s.log"), "1 a b\n");
    assert_eq!(env.run(&["megatest", "-list-db-targets"]), "linux\n--- exit 0\n");
    for nothing in ["-mark-incompletes", "-kill-servers", "-cleanup-db"] {
        assert_eq!(env.run(&["megatest", nothing]), "--- exit 0\n");
    }
    let said = env.run(&["megatest", "-server", "-"]);
    assert!(said.contains("`-server` has nothing to do in Muster"), "{said}");
    assert!(said.contains("an area needs no server"), "{said}");
    let cap = |name: &str, value: &str| {
        assert!(env.command(&["megatest", "-envcap", name]).env("X", value).status().unwrap().success());
    };
    cap("a", "1");
    cap("b", "2");
    assert_eq!(env.run(&["megatest", "-envdelta", "a-b"]), "export X='2'\n--- exit 0\n");
    env.run(&["megatest", "-env2file", "now"]);
    assert!(read(&env, "now.sh").contains("export HOME=") && read(&env, "now.csh").contains("setenv HOME "));
}
