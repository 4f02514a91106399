//! Megatest areas: looked at, run with real scripts that call `megatest`, and listed.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::path::{Path, PathBuf};

/// The example of the repository, in a place of its own.
fn example() -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/megatest");
    copy(&from, &env.area());
    env
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            // What a run in the example itself has left.
            true if ["links", "runs", ".muster"].iter().any(|n| entry.file_name() == *n) => {}
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A small area that is written here.
pub(crate) fn area(files: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[disks]\nd #{mtrah runs}\n",
    );
    for (path, text) in files {
        env.write(path, text);
    }
    env
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn an_area_runs_as_it_is_with_its_scripts_and_is_listed_as_megatest_does() {
    let env = example();
    let said = env.run(&["run", "-t", "linux/debug", "-n", "w1"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    // Run directories hold a copy of the test, the logs of its steps and what it made; links lead there.
    assert_eq!(read(&env, "links/linux/debug/w1/build/core/built.txt"), "core\n");
    assert_eq!(read(&env, "runs/linux/debug/w1/build/net/compile.log"), "compiling net with -g\n");
    assert!(read(&env, "links/linux/debug/w1/build/core/megatest.sh").contains("export MT_ITEMPATH='core'"));
    // Items that an earlier test's results decide.
    assert!(env.area().join("links/linux/debug/w1/unit/net/unit.sh").exists());
    let listed = env.run(&["megatest", "-list-runs", "%"]);
    let without_times: Vec<String> =
        listed.lines().map(|line| line.split(" Runtime:").next().unwrap().trim_end().to_owned()).collect();
    assert!(
        listed.starts_with("Run: linux/debug/w1 status: completed run-id: 1, number tests: 8\n"),
        "{listed}"
    );
    for line in [
        "  Test: build                     State: COMPLETED       Status: PASS",
        "  Test: build(core)               State: COMPLETED       Status: PASS",
        "  Test: unit                      State: COMPLETED       Status: WARN",
        "  Test: unit(net)                 State: COMPLETED       Status: WARN",
        "  Test: measure                   State: COMPLETED       Status: PASS",
        "  Test: report                    State: COMPLETED       Status: PASS",
    ] {
        assert!(without_times.iter().any(|l| l == line), "{line} is not in {listed}");
    }
    // Measured values came in through `-load-test-data`.
    let json = env.run(&["results", "--output", "json"]);
    assert!(json.contains("latency") && json.contains("rate"), "{json}");
}

/// The hosts of a lab have the area, its disks and its tree of links in the same places, as with Megatest itself.
#[test]
fn an_area_runs_on_a_lab_whose_hosts_share_its_disks() {
    let env = example();
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &[]);
    lab.start_agent("two", &[]);
    let asked = |args: &[&str]| {
        let output = lab.command(args).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), format!("{out}{err}"))
    };
    let run = ["megatest", "-run", "-target", "linux/debug", "-runname", "w1", "-testpatt", "%"];
    let (code, said) = asked(&run);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(read(&env, "links/linux/debug/w1/build/core/built.txt"), "core\n");
    // What an earlier test left decides the items of a later one, wherever either ran.
    assert!(env.area().join("links/linux/debug/w1/unit/net/unit.sh").exists());
    assert!(!env.area().join(".muster/muster.db").exists(), "the records are the server's");
    let (_, listed) = asked(&["megatest", "-list-runs", "%"]);
    assert!(
        listed.starts_with("Run: linux/debug/w1 status: completed run-id: 1, number tests: 8\n"),
        "{listed}"
    );
    assert!(listed.contains("Test: unit(net)"), "{listed}");
    // The same name and target is the same run.
    let (code, said) = asked(&run);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("run `1` has ended as completed/PASS, and nothing of it is to be run"), "{said}");
    let (code, said) = asked(&[&run[..], &["-rerun-all"]].concat());
    assert_eq!(code, Some(0), "{said}");
    let (_, paths) = asked(&["megatest", "-test-paths", "-runname", "w1", "-testpatt", "build/%"]);
    assert_eq!(paths.lines().count(), 2, "{paths}");
}

#[test]
fn the_target_s_testpatt_says_what_runs() {
    let env = example();
    let said = env.run(&["plan", "-t", "linux/release", "--output", "json"]);
    assert!(
        said.contains("\"build\"") && said.contains("\"unit\"") && !said.contains("\"report\""),
        "{said}"
    );
    let all = env.run(&["plan", "-t", "linux/debug", "--output", "json"]);
    assert!(all.contains("\"report\""), "{all}");
}

#[test]
fn looking_runs_nothing_and_says_where_each_value_comes_from() {
    let env = area(&[
        ("runconfigs.config", "[default]\nA #{shell touch ran}\nB 2\n[linux]\nB 3\n"),
        ("tests/t/testconfig", "[ezsteps]\none true\n[requirements]\nruntimelim 90s\nruntimlim 1s\n"),
    ]);
    let said = env.run(&["config", "show", "--origin", "-t", "linux"]);
    assert!(!env.area().join("ran").exists());
    assert!(said.contains("env.B = \"3\"") && said.contains("runconfigs.config:5"), "{said}");
    assert!(said.contains("test.t.timeout = \"1m30s\""), "{said}");
    assert!(said.contains("did you mean `runtimelim`?") && said.contains("tests/t/testconfig:5:1"), "{said}");
    assert!(said.contains("a command was not run"), "{said}");
}

#[test]
fn what_scripts_say_of_themselves_wins_and_failures_are_told() {
    let env = area(&[
        ("tests/fails/testconfig", "[ezsteps]\nfirst sh -c 'echo no; exit 3'\nsecond touch never\n"),
        ("tests/after/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton fails\n"),
        (
            "tests/told/testconfig",
            "[ezsteps]\ns true\n[triggers]\nCOMPLETED/PASS echo fired\n/FAIL touch never\n",
        ),
        (
            "tests/waived/testconfig",
            "[ezsteps]\ns megatest -test-status :state COMPLETED :status WAIVED -m known; exit 1\n",
        ),
        ("tests/delayed/testconfig", "[ezsteps]\ns true\n[skip]\nrundelay 1h\n"),
        ("tests/skipped/testconfig", "[ezsteps]\ns true\n[skip]\nfileexists skip-me\n"),
        (
            "tests/logged/testconfig",
            "[ezsteps]\ns echo look here\n[logpro]\ns ;;\n  (expect:check in \"LogFileBody\" = 0 \"nothing to look at\" #/look here/)\n",
        ),
        ("tests/skipped/skip-me", ""),
        (
            "tests/data/testconfig",
            "[ezsteps]\nd echo 'c,v,5,1,1' | megatest -load-test-data && megatest -test-status :state COMPLETED :status AUTO\n",
        ),
        ("tests/loose/testconfig", "[ezsteps]\nd echo 'c,v,5,1,1' | megatest -load-test-data\n"),
    ]);
    let said = env.run(&["megatest", "-run", "-target", "linux", "-runname", "w1", "-testpatt", "%"]);
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    assert!(!env.area().join("links/linux/w1/fails/never").exists());
    let listed = env.run(&["megatest", "-list-runs", "w%", "-target", "linux"]);
    let status = |test: &str| {
        let line = listed
            .lines()
            .find(|l| l.starts_with(&format!("  Test: {test} ")))
            .unwrap_or_else(|| panic!("{listed}"));
        line.split(" State: ")
            .nth(1)
            .unwrap()
            .split(" Runtime:")
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(status("fails"), "COMPLETED Status: FAIL");
    assert!(read(&env, "links/linux/w1/told/last-trigger-COMPLETED-PASS.log").starts_with("fired "));
    assert_eq!(status("after"), "COMPLETED Status: PREQ_FAIL");
    assert_eq!(status("logged"), "COMPLETED Status: CHECK");
    assert!(read(&env, "links/linux/w1/logged/s.html").contains("look here"));
    assert_eq!(status("waived"), "COMPLETED Status: WAIVED");
    assert_eq!(status("skipped"), "COMPLETED Status: SKIP");
    assert_eq!(status("data"), "COMPLETED Status: FAIL");
    assert_eq!(status("loose"), "COMPLETED Status: PASS");
    assert!(listed.contains("    Step: first                State: end        Status: 3"), "{listed}");
    let json = env.run(&["megatest", "-list-runs", "%", "-dumpmode", "json", "-testpatt", "fails"]);
    assert!(json.contains("\"testname\":\"fails\"") && !json.contains("\"after\""), "{json}");
    // It ran just now, and did not before.
    assert_eq!(status("delayed"), "COMPLETED Status: PASS");
    env.run(&["run", "-t", "linux", "-n", "again", "--testpatt", "delayed"]);
    let said = env.run(&["megatest", "-list-runs", "again"]);
    assert!(said.contains("State: COMPLETED       Status: SKIP"), "{said}");
    // What failed is run again in the same run, in a run directory that is empty before.
    env.write("tests/fails/testconfig", "[ezsteps]\nfirst test ! -e stale && touch done\n");
    env.write("links/linux/w1/fails/stale", "");
    let said = env.run(&["megatest", "-run", "-target", "linux", "-runname", "w1"]);
    assert!(said.contains("run `1` has ended as completed/FAIL, and nothing of it is to be run"), "{said}");
    env.run(&[
        "megatest",
        "-run",
        "-target",
        "linux",
        "-runname",
        "w1",
        "-rerun-clean",
        "-testpatt",
        "fails,after",
    ]);
    let listed = env.run(&["megatest", "-list-runs", "w1", "-testpatt", "fails,after"]);
    assert_eq!(listed.matches("Status: PASS").count(), 2, "{listed}");
    let files = env.run(&["megatest", "-test-files", "don%", "-runname", "w1", "-testpatt", "%"]);
    assert!(files.starts_with("ROOT/area/links/linux/w1/fails/done\n"), "{files}");
    // Megatest's own exit code, where it is asked for.
    let again = env
        .command(&["megatest", "-run", "-target", "linux", "-runname", "w2", "-testpatt", "fails"])
        .env("MUSTER_MEGATEST_EXIT_CODES", "megatest")
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", env.tell(&again));
}

#[test]
fn an_area_can_be_left_behind_for_a_native_one() {
    let env = example();
    // The area may be named from anywhere.
    let (above, name) = (env.area().parent().unwrap().to_owned(), env.area().file_name().unwrap().to_owned());
    let named = env
        .command(&["import", "megatest", name.to_str().unwrap(), "-t", "linux/debug", "--out", "-"])
        .current_dir(above)
        .output()
        .unwrap();
    assert!(named.status.success(), "{}", env.tell(&named));
    let said = env.run(&["import", "megatest", "-t", "linux/debug"]);
    assert!(said.contains("not carried over: the items of `unit` are made by commands"), "{said}");
    let said = env.run(&["config", "check", "-t", "linux/debug"]);
    assert_eq!(said, "example: 4 tests\n--- exit 0\n");
    let again = env.run(&["import", "megatest", "-t", "linux/debug"]);
    assert!(again.contains("cannot be written") && again.ends_with("--- exit 2\n"), "{again}");
}

#[test]
fn the_program_answers_to_megatest_s_name_too() {
    let env = example();
    let link = env.area().join("megatest");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muster"), &link).unwrap();
    let call = |args: &[&str]| {
        let mut command = std::process::Command::new(&link);
        command
            .args(args)
            .current_dir(env.area())
            .env_clear()
            .env("HOME", env.home())
            .env("PATH", "/usr/bin:/bin");
        env.tell(&command.output().unwrap())
    };
    assert_eq!(call(&["-list-targets"]), "default\n%/debug\nlinux/release\n--- exit 0\n");
    assert_eq!(
        call(&["-show-runconfig", "-target", "linux/debug", "-section", "default", "-var", "LIMIT"]),
        "42\n--- exit 0\n"
    );
    let keys = call(&["-show-keys", "-target", "linux/debug"]);
    assert!(keys.starts_with("OS\nBUILD\n"), "{keys}");
    let unknown = call(&["-frobnicate"]);
    assert!(
        unknown.contains("`-frobnicate` is no switch of Megatest's") && unknown.ends_with("--- exit 2\n"),
        "{unknown}"
    );
    let never = call(&["-area-tag", "x"]);
    assert!(never.contains("`-area-tag` has nothing to do in Muster"), "{never}");
    let outside = call(&["-test-status", ":state", "COMPLETED", ":status", "PASS"]);
    assert!(outside.contains("there is no MT_CMDINFO"), "{outside}");
}
