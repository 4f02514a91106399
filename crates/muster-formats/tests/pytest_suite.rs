//! The pytest suite against the real pytest. `MUSTER_TEST_PYTHON` names another interpreter than
//! `python3`, to try another version of pytest.

mod drive;

use drive::{Driver, listing, log_of, runs, summary, wanted};
use expect_test::expect;
use muster_core::definition::Framework;
use muster_core::outcome::Outcome;
use muster_formats::suite::Reported;
use std::path::Path;

fn python() -> String {
    std::env::var("MUSTER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn pytest(args: &[&str]) -> Option<Driver> {
    let python = python();
    wanted("pytest", runs(&[&python, "-c", "import pytest"]), "python3 -m pip install pytest").then(|| {
        let area = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/pytest");
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        let framework = Framework::Pytest { command: vec![python, "-m".into(), "pytest".into()], args };
        Driver::new(&area, framework).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONHASHSEED", "0")
    })
}

#[test]
fn items_have_their_node_ids_and_broken_modules_are_items() {
    let Some(driver) = pytest(&["tests"]) else { return };
    expect![[r#"
        tests/broken/test_broken.py
        tests/pkg/test_in_package.py::test_relative_import
        tests/sub/test_crashes.py::test_a_passes
        tests/sub/test_crashes.py::test_b_is_killed
        tests/sub/test_crashes.py::test_c_comes_after
        tests/sub/test_crashes.py::test_d_exits_as_if_all_were_well
        tests/sub/test_crashes.py::test_e_calls_sys_exit
        tests/sub/test_crashes.py::test_f_forks
        tests/sub/test_crashes.py::test_g_prints_much
        tests/sub/test_module_skip.py (skip: needs something optional)
        tests/test_outcomes.py::TestClass::test_method
        tests/test_outcomes.py::TestUnittest::test_of_unittest
        tests/test_outcomes.py::test_error_in_setup
        tests/test_outcomes.py::test_error_in_teardown
        tests/test_outcomes.py::test_fails
        tests/test_outcomes.py::test_is_marked_skip
        tests/test_outcomes.py::test_many_lines_in_the_message
        tests/test_outcomes.py::test_parametrised['"$(x)]
        tests/test_outcomes.py::test_parametrised[-k]
        tests/test_outcomes.py::test_parametrised[[brackets]]
        tests/test_outcomes.py::test_parametrised[\xfcn\xef \u540d\u524d]
        tests/test_outcomes.py::test_parametrised[]
        tests/test_outcomes.py::test_parametrised[a b]
        tests/test_outcomes.py::test_parametrised[a,b#1]
        tests/test_outcomes.py::test_parametrised[a/b]
        tests/test_outcomes.py::test_parametrised[new\nline]
        tests/test_outcomes.py::test_parametrised[x::y]
        tests/test_outcomes.py::test_passes
        tests/test_outcomes.py::test_skips_itself
        tests/test_outcomes.py::test_xfails
        tests/test_outcomes.py::test_xpasses
        tests/test_outcomes.py::test_xpasses_strictly
    "#]]
    .assert_eq(&sorted(&listing(&driver.discover().unwrap())));
}

#[test]
fn each_item_gets_what_pytest_says_of_it() {
    let Some(driver) = pytest(&["tests"]) else { return };
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| !i.path.contains("test_crashes.py"));
    let ends = driver.run_all(&found);
    expect![[r#"
        tests/broken/test_broken.py: fail: cannot be collected: ModuleNotFoundError: No module named 'no_such_module'
        tests/pkg/test_in_package.py::test_relative_import: pass
        tests/test_outcomes.py::TestClass::test_method: pass
        tests/test_outcomes.py::TestUnittest::test_of_unittest: pass
        tests/test_outcomes.py::test_error_in_setup: fail: error in setup: RuntimeError: no database (conftest.py:7)
        tests/test_outcomes.py::test_error_in_teardown: fail: error in teardown: RuntimeError: cannot clean up (conftest.py:13)
        tests/test_outcomes.py::test_fails: fail: AssertionError: lists differ (tests/test_outcomes.py:14)
        tests/test_outcomes.py::test_is_marked_skip: skip: never
        tests/test_outcomes.py::test_many_lines_in_the_message: fail: ValueError: first line (tests/test_outcomes.py:65)
        tests/test_outcomes.py::test_parametrised['"$(x)]: pass
        tests/test_outcomes.py::test_parametrised[-k]: pass
        tests/test_outcomes.py::test_parametrised[[brackets]]: pass
        tests/test_outcomes.py::test_parametrised[\xfcn\xef \u540d\u524d]: pass
        tests/test_outcomes.py::test_parametrised[]: pass
        tests/test_outcomes.py::test_parametrised[a b]: pass
        tests/test_outcomes.py::test_parametrised[a,b#1]: pass
        tests/test_outcomes.py::test_parametrised[a/b]: pass
        tests/test_outcomes.py::test_parametrised[new\nline]: pass
        tests/test_outcomes.py::test_parametrised[x::y]: pass
        tests/test_outcomes.py::test_passes: pass
        tests/test_outcomes.py::test_skips_itself: skip: not today
        tests/test_outcomes.py::test_xfails: pass: failed as expected (xfail): bug 7
        tests/test_outcomes.py::test_xpasses: warn: passed although marked xfail: bug 8
        tests/test_outcomes.py::test_xpasses_strictly: fail: [XPASS(strict)] bug 9
    "#]].assert_eq(&summary(&ends));
    let log = log_of(&ends["tests/test_outcomes.py::test_fails"]);
    assert!(log.starts_with("what it printed\nto stderr\n") && log.contains("lists differ"), "{log}");
}

#[test]
fn an_item_that_takes_the_process_down_is_told_from_those_after_it() {
    let Some(driver) = pytest(&["tests/sub/test_crashes.py"]) else { return };
    let found = driver.discover().unwrap();
    let first: Vec<_> = driver
        .run(&found, &[0, 1, 2, 3])
        .into_iter()
        .filter_map(|r| match r {
            Reported::Ended { index, end } => Some((index, end.outcome)),
            Reported::Started { .. } => None,
        })
        .collect();
    assert_eq!(first, [(0, Outcome::Pass), (1, Outcome::Crash)]);
    let ends = driver.run_all(&found);
    expect![[r#"
        tests/sub/test_crashes.py::test_a_passes: pass
        tests/sub/test_crashes.py::test_b_is_killed: crash: the process was ended by signal 9 in the middle of the test
        tests/sub/test_crashes.py::test_c_comes_after: pass
        tests/sub/test_crashes.py::test_d_exits_as_if_all_were_well: fail: the process exited with code 0 in the middle of the test
        tests/sub/test_crashes.py::test_e_calls_sys_exit: fail: SystemExit: 0 (tests/sub/test_crashes.py:24)
        tests/sub/test_crashes.py::test_f_forks: pass
        tests/sub/test_crashes.py::test_g_prints_much: pass
    "#]].assert_eq(&summary(&ends));
    let long = &ends["tests/sub/test_crashes.py::test_g_prints_much"];
    assert!(long.log.len() < 3 << 20 && log_of(long).contains("cut here"), "{}", long.log.len());
}

#[test]
fn only_the_files_of_the_wanted_items_are_imported() {
    let Some(driver) = pytest(&[]) else { return };
    let found = driver.discover().unwrap();
    let one = found.items.iter().position(|i| i.path.ends_with("test_relative_import")).unwrap();
    let reported = driver.run(&found, &[one]);
    let ends: Vec<_> = reported.iter().filter(|r| matches!(r, Reported::Ended { .. })).collect();
    // The broken module would have made pytest's exit code 1, and this item a failure.
    assert!(
        matches!(ends.as_slice(), [Reported::Ended { index: 0, end }] if end.outcome == Outcome::Pass),
        "{ends:?}"
    );
}

#[test]
fn an_item_that_is_gone_is_the_labs_error_and_not_a_pass() {
    let Some(driver) = pytest(&["tests/pkg"]) else { return };
    let mut found = driver.discover().unwrap();
    found.items[0].selector = "tests/pkg/test_in_package.py::test_was_removed".into();
    expect![[r#"
        tests/pkg/test_in_package.py::test_relative_import: error: the framework ended well but did not run this item; is the list of items out of date?
    "#]].assert_eq(&summary(&driver.run_all(&found)));
}

#[test]
fn usage_errors_say_what_pytest_said() {
    let Some(driver) = pytest(&["--no-such-option"]) else { return };
    let error = driver.discover().unwrap_err();
    assert!(error.contains("--no-such-option") && error.contains("exited with code 4"), "{error}");
}

/// Versions of pytest differ in whether packages come first.
fn sorted(lines: &str) -> String {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}
