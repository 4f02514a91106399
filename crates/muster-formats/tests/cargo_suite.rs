//! The cargo suite against the real Cargo and the real libtest.
#![expect(clippy::unwrap_used, reason = "test code")]

mod drive;

use drive::{Driver, listing, log_of, summary};
use expect_test::expect;
use muster_core::definition::{Batch, Framework, Ignored, Kind};
use muster_core::outcome::Outcome;
use muster_formats::suite::Reported;
use std::path::Path;
use std::time::Duration;

fn cargo(args: &[&str], ignored: Ignored) -> Driver {
    let area = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/cargo");
    let framework = Framework::Cargo {
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        binary_args: Vec::new(),
        ignored,
    };
    Driver::new(&area, framework)
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/hostile"))
        .env("RUST_BACKTRACE", "0")
}

#[test]
fn every_binary_of_the_workspace_is_asked_for_its_tests() {
    let found = cargo(&["--workspace"], Ignored::Skip).discover().unwrap();
    expect![[r#"
        hostile/deep::module::nested
        hostile/tests::fails
        hostile/tests::fails_again
        hostile/tests::is_an_error
        hostile/tests::is_ignored (skip: #[ignore])
        hostile/tests::is_ignored_with_a_reason (skip: #[ignore])
        hostile/tests::passes
        hostile/tests::sees_what_cargo_sets
        hostile/tests::should_panic_and_does
        hostile/tests::should_panic_and_does_not
        hostile/tests::writes_past_the_capture_without_a_newline
        hostile/tests::writes_to_stderr_past_the_capture
        hostile/tests::writes_what_looks_like_a_verdict
        hostile/tests::zz_ünïcode_名前
        hostile/bin/tool/in_the_binary
        hostile/crashes/a_passes
        hostile/crashes/b_aborts
        hostile/crashes/c_is_never_reached_in_this_process
        hostile/crashes/d_exits_as_if_all_were_well
        hostile/crashes/e_hangs
        hostile/crashes/f_fails_before_a_crash
        hostile/huge/a_prints_much_past_the_capture
        hostile/huge/b_fails_with_much_output
        hostile/huge/c_passes
        hostile/own_main
        member/runs_in_its_own_directory
    "#]]
    .assert_eq(&listing(&found));
}

#[test]
fn each_test_gets_what_libtest_says_of_it() {
    let driver = cargo(&["--workspace"], Ignored::Skip);
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| !i.path.starts_with("hostile/crashes/"));
    let ends = driver.run_all(&found);
    expect![[r#"
        hostile/bin/tool/in_the_binary: pass
        hostile/deep::module::nested: pass
        hostile/huge/a_prints_much_past_the_capture: pass
        hostile/huge/b_fails_with_much_output: fail: after much output (tests/huge.rs:16:5)
        hostile/huge/c_passes: pass
        hostile/own_main: pass
        hostile/tests::fails: fail: assertion `left == right` failed: sums are off: left: 2, right: 3 (src/lib.rs:28:9)
        hostile/tests::fails_again: fail: two (src/lib.rs:34:9)
        hostile/tests::is_an_error: fail: Error: "no such thing"
        hostile/tests::passes: pass
        hostile/tests::sees_what_cargo_sets: pass
        hostile/tests::should_panic_and_does: pass
        hostile/tests::should_panic_and_does_not: fail: test did not panic as expected at src/lib.rs:50:8
        hostile/tests::writes_past_the_capture_without_a_newline: pass
        hostile/tests::writes_to_stderr_past_the_capture: pass
        hostile/tests::writes_what_looks_like_a_verdict: pass
        hostile/tests::zz_ünïcode_名前: pass
        member/runs_in_its_own_directory: pass
    "#]].assert_eq(&summary(&ends));
    expect![[r#"
        what it printed
        ---- tests::passes stdout ----

        failures:


        thread 'tests::fails' (ID) panicked at src/lib.rs:28:9:
        assertion `left == right` failed: sums are off
          left: 2
         right: 3
        note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
    "#]]
    .assert_eq(&without_thread_id(&log_of(&ends["hostile/tests::fails"])));
    expect![[r#"
        everything ok

        failures:
        FAILED
        test tests::zz ... ok
        ok
    "#]]
    .assert_eq(&log_of(&ends["hostile/tests::writes_what_looks_like_a_verdict"]));
    let past = log_of(&ends["hostile/tests::writes_past_the_capture_without_a_newline"]);
    assert!(past.contains("no newline, ok"), "{past}");
    // Which test's log it is in depends on which of the two pipes was read first; lost it must not be.
    assert!(ends.values().any(|end| log_of(end).contains("to stderr\n")));
    expect![[r#"
        a program of its own; arguments 0
    "#]]
    .assert_eq(&log_of(&ends["hostile/own_main"]));
}

#[test]
fn a_test_that_takes_the_process_down_is_told_from_those_after_it() {
    let mut driver = cargo(&["--test", "crashes"], Ignored::Skip);
    driver.timeout = Some(Duration::from_secs(10));
    let found = driver.discover().unwrap();
    let all: Vec<usize> = (0..found.items.len()).collect();
    let first: Vec<_> = driver
        .run(&found, &all)
        .into_iter()
        .filter_map(|r| match r {
            Reported::Ended { index, end } => Some((found.items[index].path.clone(), end.outcome)),
            Reported::Started { .. } => None,
        })
        .collect();
    let own = |path: &str, outcome| (format!("hostile/crashes/{path}"), outcome);
    assert_eq!(first, [own("a_passes", Outcome::Pass), own("b_aborts", Outcome::Crash)]);
    expect![[r#"
        hostile/crashes/a_passes: pass
        hostile/crashes/b_aborts: crash: the process was ended by signal 6 in the middle of the test
        hostile/crashes/c_is_never_reached_in_this_process: pass
        hostile/crashes/d_exits_as_if_all_were_well: fail: the process exited with code 0 in the middle of the test
        hostile/crashes/e_hangs: timeout: the process did not end within 10s in the middle of the test
        hostile/crashes/f_fails_before_a_crash: fail: f (tests/crashes.rs:25:5)
    "#]].assert_eq(&summary(&driver.run_all(&found)));
}

#[test]
fn huge_output_is_cut_and_changes_no_verdict() {
    let driver = cargo(&["--test", "huge"], Ignored::Skip);
    let found = driver.discover().unwrap();
    let ends = driver.run_all(&found);
    expect![[r#"
        hostile/huge/a_prints_much_past_the_capture: pass
        hostile/huge/b_fails_with_much_output: fail: after much output (tests/huge.rs:16:5)
        hostile/huge/c_passes: pass
    "#]]
    .assert_eq(&summary(&ends));
    for end in ends.values() {
        assert!(end.log.len() < 3 << 20, "{}", end.log.len());
    }
    let log = log_of(&ends["hostile/huge/b_fails_with_much_output"]);
    assert!(log.starts_with("line 0\n") && log.contains("cut here") && log.contains("after much output"));
}

#[test]
fn ignored_tests_are_run_where_that_is_asked_for() {
    let driver = cargo(&["-p", "hostile", "--lib"], Ignored::Only);
    let found = driver.discover().unwrap();
    expect![[r#"
        hostile/tests::is_ignored: pass
        hostile/tests::is_ignored_with_a_reason: pass
    "#]]
    .assert_eq(&summary(&driver.run_all(&found)));
    let all = cargo(&["-p", "hostile", "--lib"], Ignored::Include).discover().unwrap();
    assert!(all.items.len() > 10 && all.items.iter().all(|i| i.skip.is_none()));
}

#[test]
fn one_process_for_each_test_comes_to_the_same() {
    let driver = cargo(&["-p", "hostile", "--lib"], Ignored::Skip);
    let found = driver.discover().unwrap();
    let single = cargo(&["-p", "hostile", "--lib"], Ignored::Skip).batch(Batch::Single);
    let alone = single.discover().unwrap();
    assert!(alone.groups.iter().all(|g| g.batch_max == 1));
    assert_eq!(summary(&driver.run_all(&found)), summary(&single.run_all(&alone)));
}

#[test]
fn a_build_that_fails_says_what_the_compiler_said() {
    let error = cargo(&["--features", "nonsense"], Ignored::Skip).discover().unwrap_err();
    assert!(error.contains("exited with code 101") && error.contains("nonsense"), "{error}");
}

#[test]
fn output_that_is_not_captured_changes_no_outcome() {
    let captured = cargo(&["-p", "hostile", "--lib"], Ignored::Skip);
    let found = captured.discover().unwrap();
    let mut open = cargo(&["-p", "hostile", "--lib"], Ignored::Skip);
    if let Kind::Suite(suite) = &mut open.def.kind
        && let Framework::Cargo { binary_args, .. } = &mut suite.framework
    {
        binary_args.extend(["--nocapture", "--test-threads", "4"].map(str::to_owned));
    }
    let outcomes = |driver: &Driver| -> Vec<(String, Outcome)> {
        driver.run_all(&found).into_iter().map(|(path, end)| (path, end.outcome)).collect()
    };
    assert_eq!(outcomes(&open), outcomes(&captured));
}

#[test]
fn a_runner_of_the_projects_own_does_not_keep_its_tests_from_being_found() {
    let area = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/cargo-runner");
    let with = |args: &[&str]| {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        let framework = Framework::Cargo { args, binary_args: Vec::new(), ignored: Ignored::Skip };
        Driver::new(&area, framework)
            .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/configured"))
            .env("RUST_BACKTRACE", "0")
    };
    // Cargo's configuration and the toolchain's libraries reach the tests all the same.
    let driver = with(&["--workspace"]);
    expect![[r#"
        configured/knows_its_package: pass
        macros/has_what_cargo_config_says: pass
    "#]]
    .assert_eq(&summary(&driver.run_all(&driver.discover().unwrap())));
}

/// libtest's panics carry a thread id that is different each time.
fn without_thread_id(log: &str) -> String {
    regex::Regex::new(r"\(\d+\) panicked").unwrap().replace_all(log, "(ID) panicked").into_owned()
}
