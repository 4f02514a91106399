//! The ctest suite against the real CMake and CTest.
#![expect(clippy::unwrap_used, reason = "test code")]

mod drive;

use drive::{Driver, listing, runs, summary, wanted};
use expect_test::expect;
use muster_core::definition::Framework;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn ctest(name: &str) -> Option<Driver> {
    if !wanted("ctest", runs(&["ctest", "--version"]), "apt install cmake") {
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/ctest");
    let area = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&area).unwrap();
    let made =
        Command::new("cmake").arg("-S").arg(source).arg("-B").arg(area.join("build")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let framework = Framework::Ctest { build_dir: "build".into(), args: Vec::new() };
    Some(Driver::new(&area, framework).env("LIST", "/back").env("GONE", "still here"))
}

#[test]
fn every_test_is_judged_as_ctest_judges_it() {
    let Some(driver) = ctest("ctest-judged") else { return };
    let found = driver.discover().unwrap();
    expect![[r#"
        passes
        fails
        has blanks and / in it
        exit_77_is_a_failure
        crashes
        will_fail
        will_fail_but_passes
        pass_regex
        pass_regex_missing
        fail_regex
        will_fail_by_regex
        skip_regex
        skip_code
        disabled (skip: DISABLED)
        environment
        directory
        not_built
    "#]]
    .assert_eq(&listing(&found));
    let ends = driver.run_all(&found);
    expect![[r#"
        crashes: crash: the process was ended by signal 11
        directory: pass
        environment: pass
        exit_77_is_a_failure: fail: the process exited with code 77
        fail_regex: fail: the output has `ERROR|FATAL`
        fails: fail: the process exited with code 3: no good
        has blanks and / in it: pass
        not_built: fail: the process exited with code 127: ctest knows no program for this test: has it been built?
        pass_regex: pass
        pass_regex_missing: fail: the output has no `result: 42` or `never`
        passes: pass
        skip_code: skip: exit code 42
        skip_regex: skip: the output has `skipping:`
        will_fail: pass
        will_fail_but_passes: fail: it succeeded, which `WILL_FAIL` forbids
        will_fail_by_regex: pass
    "#]].assert_eq(&summary(&ends));

    // CTest itself says the same.
    let output = Command::new("ctest")
        .current_dir(driver.area.join("build"))
        .env("LIST", "/back")
        .env("GONE", "x")
        .output();
    let text = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
    for item in found.items.iter().filter(|i| i.skip.is_none()) {
        let name = format!(" {} ", item.path);
        let line = text
            .lines()
            .find(|l| l.contains("Test ") && l.contains(&name))
            .unwrap_or_else(|| panic!("{name} in {text}"));
        let theirs = match line {
            l if l.contains("***Skipped") => "skip",
            l if l.contains("Passed") => "pass",
            _ => "bad",
        };
        let ours = match ends[&item.path].outcome.word() {
            word @ ("pass" | "skip") => word,
            _ => "bad",
        };
        assert_eq!(ours, theirs, "{line}");
    }
}

#[test]
fn a_tests_own_time_limit_is_told() {
    let Some(driver) = ctest("ctest-limit") else { return };
    let found = driver.discover().unwrap();
    let limits: Vec<_> = found.items.iter().filter_map(|i| i.timeout).collect();
    assert_eq!(limits, [Duration::from_millis(7500)]);
}

#[test]
fn a_directory_without_a_build_tree_has_no_tests() {
    if !wanted("ctest", runs(&["ctest", "--version"]), "apt install cmake") {
        return;
    }
    let area = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ctest-nothing");
    std::fs::create_dir_all(&area).unwrap();
    let framework = Framework::Ctest { build_dir: ".".into(), args: Vec::new() };
    let found = Driver::new(&area, framework).discover().unwrap();
    assert!(found.items.is_empty());
}
