//! The gtest suite against the real Googletest.
#![expect(clippy::unwrap_used, reason = "test code")]

mod drive;

use drive::{Driver, listing, log_of, runs, summary, wanted};
use expect_test::expect;
use muster_core::definition::Framework;
use muster_core::outcome::Outcome;
use muster_formats::suite::Reported;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Built once for all tests.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/gtest/hostile.cc");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile_gtest");
        let built = |p: &Path| p.metadata().and_then(|m| m.modified()).ok();
        if built(&program) < built(&source) {
            let done = Command::new("g++")
                .args(["-std=c++17", "-o"])
                .arg(&program)
                .arg(&source)
                .args(["-lgtest", "-lgtest_main", "-lpthread"])
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        program
    })
}

fn gtest() -> Option<Driver> {
    let present = runs(&["g++", "--version"]) && Path::new("/usr/include/gtest/gtest.h").exists();
    wanted("gtest", present, "apt install g++ libgtest-dev").then(|| {
        let programs = vec![vec![program().to_str().unwrap().to_owned()]];
        Driver::new(Path::new(env!("CARGO_MANIFEST_DIR")), Framework::Gtest { programs })
    })
}

#[test]
fn parametrised_and_typed_tests_have_googletests_names() {
    let Some(driver) = gtest() else { return };
    expect![[r#"
        Plain.Passes
        Plain.Fails
        Plain.Skips
        Plain.DISABLED_IsDisabled (skip: DISABLED_)
        Plain.PrintsWithoutNewline
        Plain.PrintsWhatLooksLikeAVerdict
        Plain.ComesLater
        Plain.Throws
        Plain.ToStderr
        Crashes.A
        Crashes.B
        Crashes.C
        Crashes.D
        Crashes.E
        Typed/0.HasSize
        Typed/1.HasSize
        SetUpFails.Anyway
        TearDownFails.Before
        Inst/WithParam.Works/0
        Inst/WithParam.Works/1
        Inst/WithParam.Works/2
        Inst/WithParam.Works/3
    "#]]
    .assert_eq(&listing(&driver.discover().unwrap()));
}

#[test]
fn each_test_gets_what_googletest_says_of_it() {
    let Some(driver) = gtest() else { return };
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| !(i.path.starts_with("Crashes.") || i.path.starts_with("TearDownFails.")));
    let ends = driver.run_all(&found);
    expect![[r#"
        Inst/WithParam.Works/0: pass
        Inst/WithParam.Works/1: fail: hostile.cc:34, Expected: (GetParam()) != ("bad"), actual: "bad" vs "bad"
        Inst/WithParam.Works/2: pass
        Inst/WithParam.Works/3: pass
        Plain.ComesLater: pass
        Plain.Fails: fail: hostile.cc:12, Expected equality of these values:, 1 + 1, Which is: 2
        Plain.Passes: pass
        Plain.PrintsWhatLooksLikeAVerdict: pass
        Plain.PrintsWithoutNewline: pass
        Plain.Skips: skip: hostile.cc:15, not today
        Plain.Throws: fail: unknown file, C++ exception with description "thrown" thrown in the test body.
        Plain.ToStderr: pass
        SetUpFails.Anyway: fail: the set-up of its suite failed at hostile.cc:45
        Typed/0.HasSize: pass
        Typed/1.HasSize: pass
    "#]]
    .assert_eq(&summary(&ends));
    expect![[r#"
        [       OK ] Plain.Passes (0 ms)
        [  FAILED  ] Plain.Fails (0 ms)
        [ RUN      ] Plain.ComesLater
    "#]]
    .assert_eq(&log_of(&ends["Plain.PrintsWhatLooksLikeAVerdict"]));
    expect!["no newline"].assert_eq(&log_of(&ends["Plain.PrintsWithoutNewline"]));
    assert!(log_of(&ends["Plain.Fails"]).starts_with("what it printed\n"));
}

#[test]
fn a_test_that_takes_the_process_down_is_told_from_those_after_it() {
    let Some(driver) = gtest() else { return };
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| i.path.starts_with("Crashes."));
    let first: Vec<_> = driver
        .run(&found, &[0, 1, 2])
        .into_iter()
        .filter_map(|r| match r {
            Reported::Ended { index, end } => Some((index, end.outcome)),
            Reported::Started { .. } => None,
        })
        .collect();
    assert_eq!(first, [(0, Outcome::Pass), (1, Outcome::Crash)]);
    expect![[r#"
        Crashes.A: pass
        Crashes.B: crash: the process was ended by signal 6 in the middle of the test
        Crashes.C: pass
        Crashes.D: fail: the process exited with code 0 in the middle of the test
        Crashes.E: pass
    "#]]
    .assert_eq(&summary(&driver.run_all(&found)));
}

#[test]
fn a_process_that_fails_after_its_last_test_is_no_success() {
    let Some(driver) = gtest() else { return };
    let driver = driver.env("FAIL_AT_EXIT", "1");
    let error = driver.discover().unwrap_err();
    assert!(error.contains("exited with code 23") && error.contains("leaks found"), "{error}");
    let mut found = gtest().unwrap().discover().unwrap();
    found.items.retain(|i| i.path == "Plain.Passes" || i.path == "Plain.ToStderr");
    let ends = driver.run_all(&found);
    assert_eq!(ends["Plain.Passes"].outcome, Outcome::Pass);
    let last = &ends["Plain.ToStderr"];
    assert_eq!(last.outcome, Outcome::Fail);
    assert!(
        last.message.starts_with("the process exited with code 23 after its last test"),
        "{}",
        last.message
    );
}

#[test]
fn sharding_meant_for_others_does_not_reach_the_program() {
    let Some(driver) = gtest() else { return };
    let driver =
        driver.env("GTEST_TOTAL_SHARDS", "50").env("GTEST_SHARD_INDEX", "49").env("GTEST_FILTER", "None.*");
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| i.path.starts_with("Typed/"));
    assert_eq!(driver.run_all(&found).values().filter(|e| e.outcome == Outcome::Pass).count(), 2);
}

#[test]
fn a_tear_down_that_fails_is_charged_to_the_last_test() {
    let Some(driver) = gtest() else { return };
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| i.path.starts_with("TearDownFails.") || i.path == "Plain.Passes");
    expect![[r#"
        Plain.Passes: pass
        TearDownFails.Before: fail: the process exited with code 1 after its last test: 1 FAILED TEST SUITE
    "#]]
    .assert_eq(&summary(&driver.run_all(&found)));
    // Also when Googletest's exit code says nothing new, because a test failed too.
    let mut found = driver.discover().unwrap();
    found.items.retain(|i| i.path.starts_with("TearDownFails.") || i.path == "Plain.Fails");
    expect![[r#"
        Plain.Fails: fail: hostile.cc:12, Expected equality of these values:, 1 + 1, Which is: 2
        TearDownFails.Before: fail: the process exited with code 1 after its last test: 1 FAILED TEST SUITE
    "#]]
    .assert_eq(&summary(&driver.run_all(&found)));
}
