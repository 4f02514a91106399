//! Megatest areas day by day: runs that grow, runs beside each other, what scripts and people ask for meanwhile.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

const MAIN: &str = "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}/\n";

/// A small area that is written here; what ends with `.sh` is a program.
fn area(files: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write("megatest.config", MAIN);
    for (path, text) in files {
        env.write(path, text);
        if path.ends_with(".sh") {
            std::fs::set_permissions(env.area().join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    env
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `STATE/STATUS` of each record, by `test` and `test(item)`.
fn listed(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("  Test: ")?.split_once(" State: ")?;
        let (state, rest) = rest.split_once(" Status: ")?;
        let status = rest.split(" Runtime:").next()?;
        Some((name.trim().to_owned(), format!("{}/{}", state.trim(), status.trim())))
    };
    text.lines().filter_map(line).collect()
}

fn run(env: &TestEnv, name: &str, more: &[&str]) -> String {
    env.run(&[&["megatest", "-run", "-target", "linux", "-runname", name], more].concat())
}

fn start(env: &TestEnv, args: &[&str]) -> Child {
    env.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Asks again until it is so. Without a limit: the test command has one.
fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_gets_what_is_asked_for_later_and_runs_nothing_twice() {
    let env = area(&[
        ("tests/build/testconfig", "[ezsteps]\ns echo x >> $MT_RUN_AREA_HOME/built\n"),
        ("tests/unit/testconfig", "[ezsteps]\ns echo $I\n[items]\nI 1 2 3\n[requirements]\nwaiton build\n"),
        ("tests/needs/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton unit flaky\n"),
        ("tests/flaky/testconfig", "[ezsteps]\ns test -e $MT_RUN_AREA_HOME/good\n"),
        ("tests/asked/testconfig", "[ezsteps]\ns true\n[items]\nI [system echo a b]\n"),
    ]);
    let said = run(&env, "w1", &["-testpatt", "unit/1"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    // Another item, and a test with what it comes after: the item that is there is not run again.
    let said = run(&env, "w1", &["-testpatt", "unit/2"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let said = run(&env, "w1", &["-testpatt", "needs"]);
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    let text = env.run(&["megatest", "-list-runs", "w1"]);
    let all = listed(&text);
    let expected = [
        ("build", "COMPLETED/PASS"),
        ("flaky", "COMPLETED/FAIL"),
        ("needs", "COMPLETED/PREQ_FAIL"),
        ("unit", "COMPLETED/PASS"),
        ("unit(1)", "COMPLETED/PASS"),
        ("unit(2)", "COMPLETED/PASS"),
        ("unit(3)", "COMPLETED/PASS"),
    ];
    let expected = expected.map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert_eq!(all, BTreeMap::from(expected), "{text}");
    assert_eq!(text.matches("Run: linux/w1").count(), 1, "{text}");
    assert_eq!(read(&env, "built"), "x\n");
    assert_eq!(read(&env, "links/linux/w1/unit/3/s.log"), "3\n");
    // Nothing is left to do: that is said, and no mistake.
    let said = run(&env, "w1", &["-testpatt", "unit,build"]);
    assert!(said.contains("run `1` has ended as completed/FAIL, and nothing of it is to be run"), "{said}");
    // What finds its items itself is told and left out; all else goes on.
    let said = run(&env, "w1", &["-testpatt", "asked"]);
    assert!(said.contains("`asked` is not added to run `1`: its items are known only"), "{said}");
    // What an area says is run again, is, and with what comes after it that is asked for.
    env.write("good", "");
    let auto = MAIN.replace("[disks]", "allow-auto-rerun COMPLETED/FAIL /PREQ_FAIL\n[disks]");
    env.write("megatest.config", &auto);
    let said = run(&env, "w1", &["-testpatt", "flaky,needs"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let all = listed(&env.run(&["megatest", "-list-runs", "w1"]));
    assert_eq!((&*all["flaky"], &*all["needs"]), ("COMPLETED/PASS", "COMPLETED/PASS"));
    assert_eq!(read(&env, "built"), "x\n");
    // All of Muster's own commands see one run.
    let results = env.run(&["results", "w1"]);
    assert!(results.contains("unit") && results.contains("needs"), "{results}");
    let said = env.run(&["rerun", "w1", "unit/2"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(env.run(&["why", "w1/unit/2"]).contains("#2"), "the second attempt of it");
}

/// A shell line that writes how many run beside it, itself included.
const COUNTS: &str =
    "cd $MT_RUN_AREA_HOME; mkdir -p on; touch on/$$; ls on | wc -l >> beside; sleep 0.2; rm on/$$";

fn most_beside(env: &TestEnv, n: usize) -> u32 {
    let beside = read(env, "beside");
    let counts: Vec<u32> = beside.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(counts.len(), n, "{beside}");
    *counts.iter().max().unwrap()
}

#[test]
fn runs_beside_each_other_share_the_jobs_and_exclusive_tests_of_their_area() {
    let items = format!("[ezsteps]\ns {COUNTS}\n[items]\nI 1 2 3 4\n");
    let env = area(&[("tests/t/testconfig", &items)]);
    env.write("megatest.config", &MAIN.replace("[disks]", "max_concurrent_jobs 1\n[disks]"));
    let both = |env: &TestEnv| {
        let args = |name| ["megatest", "-run", "-target", "linux", "-runname", name, "-testpatt", "%"];
        let mut runs = [start(env, &args("w1")), start(env, &args("w2"))];
        runs.iter_mut().for_each(|run| assert!(run.wait().unwrap().success()));
    };
    both(&env);
    assert_eq!(most_beside(&env, 8), 1);
    let env = area(&[("tests/t/testconfig", &format!("{items}[requirements]\nmode exclusive\n"))]);
    both(&env);
    assert_eq!(most_beside(&env, 8), 1);
}

#[test]
fn what_is_asked_of_a_run_while_another_process_executes_it_follows() {
    let env = area(&[
        ("tests/long/testconfig", "[ezsteps]\ns while [ ! -e $MT_RUN_AREA_HOME/go ]; do sleep 0.05; done\n"),
        ("tests/more/testconfig", "[ezsteps]\ns test -e $MT_RUN_AREA_HOME/go\n"),
        ("tests/own/testconfig", "[ezsteps]\ns megatest -run -target linux -runname w1 -testpatt more\n"),
    ]);
    let args = |patt| ["megatest", "-run", "-target", "linux", "-runname", "w1", "-testpatt", patt];
    let mut first = start(&env, &args("long"));
    wait_until(|| env.area().join("links/linux/w1/long/megatest.sh").exists());
    let mut second = start(&env, &args("more"));
    let said = env.run(&[&args("more")[..], &["-rerun-all"]].concat());
    assert!(said.contains("is being executed by another process"), "{said}");
    env.write("go", "");
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    let all = listed(&env.run(&["megatest", "-list-runs", "w1"]));
    assert_eq!((all.len(), &*all["more"]), (2, "COMPLETED/PASS"), "{all:?}");
    // A test that asks for more of its own run would wait for itself.
    let said = run(&env, "w1", &["-testpatt", "own"]);
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    assert!(read(&env, "links/linux/w1/own/s.log").contains("being executed by another process"));
}

#[test]
fn what_scripts_ask_for_while_and_after_a_run() {
    let env = area(&[
        ("tests/t/testconfig", "[setup]\nrunscript go.sh\n[items]\nI b a\n"),
        (
            "tests/t/go.sh",
            "#!/bin/sh\nset -e\nmkdir -p results/deep; echo $I > results/deep/$I.txt\n\
             megatest -set-values :category c :variable v :value 1 :status fail\n\
             megatest -test-status :state COMPLETED :status CHECK -m \"look <here>\"\n\
             megatest -summarize-items\n\
             while [ ! -e $MT_RUN_AREA_HOME/go ]; do sleep 0.05; done\n",
        ),
    ]);
    let mut run = start(&env, &["megatest", "-run", "-target", "linux", "-runname", "w1", "-testpatt", "%"]);
    wait_until(|| env.area().join("links/linux/w1/t/megatest-rollup-t.html").exists());
    // Who waits for the run waits until it has ended.
    let mut waits = start(&env, &["megatest", "-run-wait", "-target", "linux", "-runname", "w%"]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(waits.try_wait().unwrap().is_none(), "the run is under way");
    env.write("go", "");
    assert!(waits.wait().unwrap().success());
    run.wait().unwrap();
    let page = read(&env, "links/linux/w1/t/megatest-rollup-t.html");
    assert!(page.contains("look &lt;here&gt;") && page.contains("CHECK"), "{page}");
    // Files below the run directory are found by pattern.
    let files = env.run(&["megatest", "-test-files", "results/%/a.txt", "-testpatt", "t/%"]);
    assert_eq!(files, "ROOT/area/links/linux/w1/t/a/results/deep/a.txt\n--- exit 0\n");
    // Each line of test data keeps the status that it was given.
    let data = env.run(&["megatest", "-testdata-csv", "c/v", "-runname", "w1"]);
    assert!(data.contains("fail"), "{data}");
    // The listing has all that Megatest's has, in the order that is asked for.
    let text = env.run(&["megatest", "-list-runs", "w1", "-sort", "item_path"]);
    for part in
        ["         cpuload:  ", "         diskfree: ", "         uname:    Linux ", "         rundir:   "]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(text.find("t(a)").unwrap() < text.find("t(b)").unwrap(), "{text}");
    let fields = "runs:OS,owner,fail_count+tests:testname,run_id,attemptnum,shortdir,uname";
    let json = env.run(&["megatest", "-list-runs", "w1", "-dumpmode", "json", "-fields", fields]);
    assert!(json.contains("\"shortdir\":\"t/a\"") && json.contains("\"attemptnum\":1"), "{json}");
    assert!(json.contains("\"OS\":\"linux\"") && json.contains("\"run_id\":1"), "{json}");
    // What is said goes where it is asked to go, behind what was there.
    for _ in 0..2 {
        assert_eq!(env.run(&["megatest", "-show-keys", "-log", "logs/keys.log"]), "--- exit 0\n");
    }
    assert_eq!(read(&env, "logs/keys.log"), "OS\nOS\n");
    let sexp =
        env.run(&["megatest", "-show-config", "-target", "linux", "-section", "fields", "-dumpmode", "sexp"]);
    assert_eq!(sexp, "((\"fields\" (\"OS\" \"TEXT\")))\n--- exit 0\n");
}

#[test]
fn triggers_are_told_of_every_state_a_test_goes_through() {
    let env = area(&[
        ("tests/t/testconfig", "[ezsteps]\ns true\n"),
        ("told.sh", "#!/bin/sh\necho \"$6/$7\" >> \"$MT_RUN_AREA_HOME/told\"\n"),
    ]);
    let states = ["LAUNCHED/", "REMOTEHOSTSTART/n/a", "RUNNING/", "COMPLETED/PASS"];
    let lines: String = states.iter().map(|state| format!("{state} #{{mtrah told.sh}}\n")).collect();
    env.write("megatest.config", &format!("{MAIN}[triggers]\n{lines}"));
    assert!(run(&env, "w1", &["-testpatt", "%"]).ends_with("--- exit 0\n"));
    assert_eq!(read(&env, "told"), "LAUNCHED/n/a\nREMOTEHOSTSTART/n/a\nRUNNING/n/a\nCOMPLETED/PASS\n");
}

#[test]
fn the_free_space_of_disks_is_what_the_area_s_script_says() {
    let env = area(&[
        ("tests/t/testconfig", "[ezsteps]\ns true\n"),
        ("space.sh", "#!/bin/sh\ncase $1 in */large) echo 900000;; *) echo 20000;; esac\n"),
    ]);
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\nfree-space-script #{mtrah space.sh}\n\
         [disks]\na #{mtrah small}\nb #{mtrah large}\nc #{mtrah other}\n",
    );
    let said = run(&env, "w1", &["-testpatt", "%"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(env.area().join("large/linux/w1/t/megatest.sh").is_file());
}

#[test]
fn the_area_is_found_from_wherever_its_tests_run() {
    let elsewhere = tempfile::tempdir().unwrap();
    let env = area(&[(
        "tests/t/testconfig",
        "[ezsteps]\ns megatest -show-keys && megatest -list-runs w1 && echo $MT_TEST_RUN_DIR\n",
    )]);
    let check = |name: &str, link: &str| {
        let said = run(&env, name, &["-testpatt", "%"]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
        let log = read(&env, &format!("{link}/t/s.log"));
        assert!(log.starts_with("OS\nRun: linux/w1 status: "), "{log}");
        log.lines().last().unwrap().to_owned()
    };
    let dir = check("w1", "links/linux/w1");
    // And a person who has gone there.
    let listed = env.command(&["megatest", "-list-runs", "w1"]).current_dir(dir).output().unwrap();
    assert!(listed.status.success(), "{}", env.tell(&listed));
    // The disk is nowhere near the area.
    let disk = elsewhere.path().display().to_string();
    env.write("megatest.config", &MAIN.replace("#{mtrah runs}/", &disk));
    assert!(check("w2", "links/linux/w2").starts_with(&disk));
}

#[test]
fn a_contour_has_its_own_level_in_the_tree_of_links_and_keeps_it() {
    let env = area(&[("tests/t/testconfig", "[ezsteps]\ns echo $MT_RUNPATH $MT_LINKTREE\n")]);
    let said = run(&env, "w1", &["-testpatt", "%", "-contour", "quick"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let log = || read(&env, "links/quick/linux/w1/t/s.log");
    let area = env.area().display().to_string();
    assert_eq!(log(), format!("{area}/links/quick/linux/w1 {area}/links\n"));
    assert!(env.area().join("runs/linux/w1/t").is_dir(), "disks have no such level");
    // Run again by whatever name, it is where it was.
    assert!(env.run(&["rerun", "w1", "t"]).ends_with("--- exit 0\n"));
    assert!(!env.area().join("links/linux").exists());
    let json = env.run(&["megatest", "-list-runs", "w1", "-dumpmode", "json"]);
    assert!(json.contains("\"contour\":\"quick\""), "{json}");
    let paths = env.run(&["megatest", "-test-paths", "-runname", "w1"]);
    assert_eq!(paths, "ROOT/area/links/quick/linux/w1/t\n--- exit 0\n");
    let said = env.run(&["megatest", "-remove-runs", "-target", "%", "-runname", "w1", "-testpatt", "%"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(!env.area().join("links/quick/linux").exists());
    let said = run(&env, "w2", &["-contour", "../up"]);
    assert!(said.contains("`../up` cannot be the name of a contour"), "{said}");
}

#[test]
fn a_sub_run_has_its_contour_s_tests_and_goes_with_its_run() {
    let env = area(&[
        (
            "tests/sub/testconfig",
            "[subrun]\nrun-area #{mtrah inner}\ncontour quick\npassfail auto\nlogpro ;;\n  (expect:required in \"LogFileBody\" > 0 \"never\" #/no such line/)\n",
        ),
        (
            "tests/judged/testconfig",
            "[subrun]\nrun-area #{mtrah inner}\nrun-name judged\npassfail logpro\nlogpro ;;\n  (expect:required in \"LogFileBody\" > 0 \"never\" #/no such line/)\n",
        ),
        (
            "inner/megatest.config",
            "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah lt}\n[contours]\nquick selector=fast\n",
        ),
        ("inner/tests/one/testconfig", "[ezsteps]\ns echo $MT_CONTOUR\n[test_meta]\ntags fast\n"),
        ("inner/tests/two/testconfig", "[ezsteps]\ns true\n[test_meta]\ntags slow\n"),
    ]);
    let said = run(&env, "w1", &["-testpatt", "%"]);
    let all = listed(&env.run(&["megatest", "-list-runs", "w1"]));
    assert_eq!((&*all["sub"], &*all["judged"]), ("COMPLETED/PASS", "COMPLETED/FAIL"), "{said}");
    assert_eq!(read(&env, "inner/lt/quick/linux/w1/one/s.log"), "quick\n");
    assert!(!env.area().join("inner/lt/quick/linux/w1/two").exists());
    assert!(env.area().join("inner/lt/linux/judged/two/s.log").exists());
    // What is set or taken away with the test is so in the sub-run.
    let of = |action: &[&str]| {
        env.run(
            &[&["megatest"], action, &["-target", "linux", "-runname", "w1", "-testpatt", "sub"]].concat(),
        )
    };
    let inner = || env.run(&["-C", "inner", "megatest", "-list-runs", "%"]);
    let said = of(&["-set-state-status", "COMPLETED,WAIVED"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let of_w1 = env.run(&["-C", "inner", "megatest", "-list-runs", "w1"]);
    assert_eq!(listed(&of_w1)["one"], "COMPLETED/WAIVED", "{of_w1}");
    let said = of(&["-remove-runs"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(!inner().contains("linux/w1") && inner().contains("linux/judged"), "{}", inner());
    assert!(!env.area().join("inner/lt/quick/linux/w1").exists());
}

#[test]
fn mtutil_s_actions_reach_the_runs_they_name() {
    let env = area(&[
        ("tests/t/testconfig", "[ezsteps]\ns echo x >> $MT_RUN_AREA_HOME/ran; echo made > file\n"),
        ("tests/long/testconfig", "[ezsteps]\ns touch $MT_RUN_AREA_HOME/begun; exec sleep 1000\n"),
    ]);
    let done = |action: &str, more: &[&str]| {
        let words = [&["mtutil", action][..], more, &["-target", "linux", "-run-name", "w1"]].concat();
        env.run(&words)
    };
    let ok = |said: String| assert!(said.ends_with("--- exit 0\n"), "{said}");
    ok(done("run", &["-test-patt", "t"]));
    // What runs is killed, and the run comes to its end.
    let args = ["mtutil", "run", "-target", "linux", "-run-name", "w2", "-test-patt", "long"];
    let mut long = start(&env, &args);
    wait_until(|| env.area().join("begun").exists());
    ok(env.run(&["mtutil", "kill", "-target", "linux", "-run-name", "w2", "-test-patt", "%"]));
    assert!(!long.wait().unwrap().success());
    let all = listed(&env.run(&["mtutil", "list", "-run-name", "w2"]));
    assert_eq!(all["long"], "KILLED/KILLED");
    // Locked, it is left alone.
    ok(done("lock", &[]));
    let said = done("remove", &["-test-patt", "%"]);
    assert!(said.contains("locked") && said.ends_with("--- exit 2\n"), "{said}");
    ok(done("unlock", &[]));
    // Set, and run again by what it is.
    ok(done("set-ss", &["-new", "COMPLETED,FAIL", "-test-patt", "t"]));
    assert_eq!(listed(&env.run(&["mtutil", "list", "-run-name", "w1"]))["t"], "COMPLETED/FAIL");
    ok(done("rerun", &["-status", "FAIL", "-test-patt", "t"]));
    ok(done("rerun-all", &["-test-patt", "t"]));
    assert_eq!(read(&env, "ran"), "x\nx\nx\n");
    // Archived, with its files gone, and back.
    let file = env.area().join("links/linux/w1/t/file");
    ok(env.run(&["mtutil", "archive", "save-remove", "-target", "linux", "-run-name", "w1"]));
    assert!(!file.exists());
    ok(env.run(&["mtutil", "archive", "restore", "-target", "linux", "-run-name", "w1"]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "made\n");
    ok(done("remove", &["-test-patt", "%"]));
    assert!(!env.area().join("links/linux/w1").exists());
    assert!(!env.run(&["mtutil", "list"]).contains("linux/w1"));
}

#[test]
fn older_runs_of_a_target_may_go_into_the_archive() {
    let env = area(&[("tests/t/testconfig", "[ezsteps]\ns echo made > file\n")]);
    for name in ["w1", "w2", "w3"] {
        assert!(run(&env, name, &["-testpatt", "%"]).ends_with("--- exit 0\n"));
    }
    let said = env.run(&["megatest", "-remove-keep", "1", "-target", "%", "-actions", "print,archive"]);
    assert!(said.contains("linux/w1\n") && said.ends_with("--- exit 0\n"), "{said}");
    let has = |name: &str| env.area().join(format!("links/linux/{name}/t/file")).exists();
    assert_eq!([has("w1"), has("w2"), has("w3")], [false, false, true]);
    let all = env.run(&["megatest", "-list-runs", "%"]);
    assert_eq!(all.matches("Run: ").count(), 3, "records stay: {all}");
    let said = env.run(&["megatest", "-archive", "restore", "-target", "linux", "-runname", "w1"]);
    assert!(said.ends_with("--- exit 0\n") && has("w1"), "{said}");
}

#[test]
fn on_a_lab_what_comes_after_the_end_is_done_where_somebody_waits() {
    let env = area(&[
        ("tests/fails/testconfig", "[ezsteps]\ns false\n"),
        ("tests/after/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton fails\n"),
        ("tests/many/testconfig", "[ezsteps]\ns echo $I > out\n[items]\nI 1 2\n"),
        ("told.sh", "#!/bin/sh\necho \"$4 $7\" >> \"$MT_RUN_AREA_HOME/told\"\n"),
    ]);
    let more = "[triggers]\n/PREQ% #{mtrah told.sh}\n[testrollup]\nmany cat */out > page.txt\n";
    env.write("megatest.config", &format!("{MAIN}{more}"));
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &[]);
    let words = ["megatest", "-run", "-target", "linux", "-runname", "w1", "-testpatt", "%"];
    let output = lab.command(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", env.tell(&output));
    assert_eq!(read(&env, "told"), "after PREQ_FAIL\n");
    assert_eq!(read(&env, "links/linux/w1/many/page.txt"), "1\n2\n");
    // A run that has ended, with nothing left to do.
    let output = lab.command(&words).output().unwrap();
    let said = env.tell(&output);
    assert!(said.contains("completed/FAIL, and nothing of it is to be run"), "{said}");
    assert_eq!(read(&env, "told"), "after PREQ_FAIL\n");
}
