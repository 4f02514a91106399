//! The tap suite against Perl's Test::More, and its verdicts against prove's.

mod drive;

use drive::{Driver, listing, runs, summary, wanted};
use expect_test::expect;
use muster_core::definition::Framework;
use muster_core::output::{Stream, split_frame};
use std::path::Path;
use std::process::Command;

fn tap(programs: &str, interpreter: &[&str]) -> Option<Driver> {
    wanted("perl", runs(&["perl", "-MTest::More", "-e1"]), "apt install perl").then(|| {
        let area = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/tap");
        let interpreter = interpreter.iter().map(|i| (*i).to_owned()).collect();
        Driver::new(&area, Framework::Tap { programs: vec![programs.to_owned()], interpreter })
    })
}

#[test]
fn each_program_gets_what_its_points_and_its_end_say() {
    let Some(driver) = tap("*.t", &["perl"]) else { return };
    let found = driver.discover().unwrap();
    let ends = driver.run_all(&found);
    expect![[r#"
        bails.t: abort: Bail out!: no database
        bonus.t: warn: early: passed although TODO: done already
        early.t: fail: it planned 3 tests and ran 1
        exits.t: fail: the process exited with code 3: # Looks like your test exited with 3 just after 1.
        killed.t: crash: the process was ended by signal 9: ok 1 - one
        more.t: fail: test 2 of 6 failed: sums
        passes.t: pass
        silent.t: fail: it printed no TAP
        skip_all.t: skip: not on this system
    "#]]
    .assert_eq(&summary(&ends));
    if !wanted("prove", runs(&["prove", "--version"]), "apt install perl") {
        return;
    }
    for (path, end) in &ends {
        let theirs =
            Command::new("prove").arg(path).current_dir(&driver.area).output().unwrap().status.success();
        assert_eq!(end.outcome.is_good(), theirs, "{path}");
    }
}

#[test]
fn test_points_are_steps_that_point_into_the_log() {
    let Some(driver) = tap("more.t", &["perl"]) else { return };
    let ends = driver.run_all(&driver.discover().unwrap());
    let end = &ends["more.t"];
    let steps: String =
        end.steps.iter().map(|s| format!("{}: {} {}\n", s.name, s.outcome, s.message)).collect();
    expect![[r#"
        plain: pass 
        sums: fail 
        later: pass failed as expected, TODO: not yet
        4: skip no net
        inner: pass 
        early: warn passed although TODO: done already
    "#]]
    .assert_eq(&steps);
    for step in &end.steps[1..] {
        // What precedes a step's line on standard output is its subtest.
        let mut rest = &end.log[usize::try_from(step.output_from).unwrap()..];
        let mut text = String::new();
        while let Some((frame, after)) = split_frame(rest) {
            if frame.stream == Stream::Stdout {
                text += &String::from_utf8_lossy(frame.text);
            }
            rest = after;
        }
        let first = text.lines().find(|l| l.starts_with("ok") || l.starts_with("not ok")).unwrap();
        assert!(first.contains(&step.name) || first.contains("skip"), "{}: {first}", step.name);
    }
}

#[test]
fn without_an_interpreter_programs_that_may_be_executed_are_taken() {
    let Some(driver) = tap("*", &[]) else { return };
    let found = driver.discover().unwrap();
    expect![[r#"
        shell-program
    "#]]
    .assert_eq(&listing(&found));
    expect![[r#"
        shell-program: pass
    "#]]
    .assert_eq(&summary(&driver.run_all(&found)));
}
