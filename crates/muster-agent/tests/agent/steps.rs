//! Tests with steps, run by a real agent process.

use crate::lab::{Lab, command, run_one, step, test_def};
use muster_core::attempt::{Cause, Output};
use muster_core::definition::{
    Count, ExpectedOutput, Items, Kind, LogMeaning, LogRule, LogproRules, MeasureRule, PassRule, Proceed,
    RuleFile, Step, TestDef, Tolerance,
};
use muster_core::outcome::Outcome;
use muster_core::output::{Stream, frames, text};
use std::time::Duration;

#[test]
fn a_command_passes_fails_skips_and_crashes() {
    let mut lab = Lab::new(2);
    for line in
        ["/bin/true", "echo bad >&2; exit 3", "echo no gpu; exit 77", "kill -SEGV $$", "/no/such/program"]
    {
        lab.add(command(line), vec![], &[("", "", 0)]);
    }
    lab.until_done();
    let told: Vec<(Outcome, &str)> = lab.results().iter().map(|r| (r.outcome, r.message.as_str())).collect();
    assert_eq!(
        told[..4],
        [
            (Outcome::Pass, ""),
            (Outcome::Fail, "bad"),
            (Outcome::Skip, "no gpu"),
            (Outcome::Crash, "ended by SIGSEGV"),
        ]
    );
    assert_eq!(told[4].0, Outcome::Error);
    assert!(told[4].1.contains("/no/such/program"), "{}", told[4].1);
    assert!(lab.results().iter().all(|r| r.steps.is_empty()), "a plain command has no steps");
}

#[test]
fn the_environment_is_the_contracts_over_the_items_over_the_tests_over_the_areas() {
    let mut def = command("env | sort");
    def.env = vec![("TEST_VAR".into(), "from the test".into()), ("MUSTER_TEST".into(), "forged".into())];
    let mut lab = Lab::new(1);
    lab.add(def, vec![], &[("a/b", "", 0)]);
    lab.until_done();
    let printed = lab.printed(lab.results()[0]);
    let dir = lab.dir.path().to_str().unwrap();
    for wanted in [
        "AREA_VAR=from the area",
        "TEST_VAR=from the test",
        "MUSTER_ADDRESS=area/1/t/a/b#1",
        "MUSTER_AREA=area",
        "MUSTER_RUN=1",
        "MUSTER_TEST=t",
        "MUSTER_ITEM=a/b",
        "MUSTER_ATTEMPT=1",
        "MUSTER_SLOT=here-1",
        &format!("MUSTER_AREA_DIR={dir}"),
        &format!("MUSTER_WORK_DIR={dir}/.run/work/slot-0"),
        "TRACEPARENT=00-0123456789abcdef0123456789abcdef-",
        "MUSTER_DEADLINE=",
        "PATH=",
    ] {
        assert!(printed.lines().any(|l| l.starts_with(wanted)), "{wanted} in\n{printed}");
    }
    assert!(!printed.contains("MUSTER_STEP="), "{printed}");
}

#[test]
fn steps_have_their_own_logs_and_go_on_as_they_say() {
    let steps = vec![
        step("build", "echo building", Proceed::Passed),
        step("check", "echo checking; echo 'error: 2 + 2 = 5' >&2; exit 4", Proceed::Always),
        step("collect", "echo \"collecting $MUSTER_STEP\"; exit 1", Proceed::Ignored),
        step("last", "echo done", Proceed::Passed),
    ];
    let mut lab = Lab::new(1);
    lab.add(test_def("t", Kind::Steps { steps, items: Items::None }), vec![], &[("", "", 0)]);
    lab.until_done();
    let result = lab.results()[0];
    assert_eq!((result.outcome, &result.cause), (Outcome::Fail, &Cause::Exit(4)));
    assert_eq!(result.message, "step `check`: error: 2 + 2 = 5");
    let log = lab.log(result);
    let parts: Vec<(&str, Outcome, Option<i32>, String)> = result
        .steps
        .iter()
        .enumerate()
        .map(|(i, s)| {
            let to = result.steps.get(i + 1).map_or(log.len(), |n| n.output_from as usize);
            let part = text(&log[s.output_from as usize..to], |s| s == Stream::Stdout);
            (s.name.as_str(), s.outcome, s.exit, String::from_utf8(part).unwrap())
        })
        .collect();
    assert_eq!(
        parts,
        [
            ("build", Outcome::Pass, Some(0), "building\n".to_owned()),
            ("check", Outcome::Fail, Some(4), "checking\n".to_owned()),
            ("collect", Outcome::Fail, Some(1), "collecting collect\n".to_owned()),
            ("last", Outcome::Pass, Some(0), "done\n".to_owned()),
        ]
    );
    let remarks: Vec<&[u8]> = frames(&log).filter(|f| f.stream == Stream::Muster).map(|f| f.text).collect();
    assert_eq!(remarks[1], b"step check\n");
}

#[test]
fn a_step_that_fails_ends_a_test_that_does_not_say_otherwise() {
    let steps = vec![step("one", "exit 1", Proceed::Passed), step("two", "echo never", Proceed::Passed)];
    let (result, printed) = run_one(test_def("t", Kind::Steps { steps, items: Items::None }));
    assert_eq!((result.outcome, result.steps.len(), printed.as_str()), (Outcome::Fail, 1, ""));
}

#[test]
fn the_attempts_limit_spans_its_steps_and_a_steps_own_is_within() {
    let mut steps =
        vec![step("slow", "sleep 1000", Proceed::Always), step("next", "echo next", Proceed::Passed)];
    steps[0].timeout = Some(Duration::from_millis(50));
    let (result, printed) = run_one(test_def("t", Kind::Steps { steps: steps.clone(), items: Items::None }));
    assert_eq!(result.cause, Cause::HardLimit(Duration::from_millis(50)));
    assert_eq!((result.outcome, printed.as_str()), (Outcome::Timeout, "next\n"));

    steps[0].timeout = None;
    let mut def = test_def("t", Kind::Steps { steps, items: Items::None });
    def.limits.timeout = Some(Duration::from_millis(60));
    let (result, printed) = run_one(def);
    assert_eq!(result.cause, Cause::HardLimit(Duration::from_millis(60)));
    assert_eq!((result.message.as_str(), printed.as_str()), ("step `slow`: did not end within 60ms", ""));
}

#[test]
fn output_and_log_rules_and_values_decide_after_the_exit_code() {
    let mut lab = Lab::new(2);
    lab.write("good.out", "hello\n");
    let rule = |pass: PassRule, line: &str| {
        let mut def = command(line);
        def.pass = pass;
        def
    };
    let expected = PassRule { stdout: Some(ExpectedOutput::File("good.out".into())), ..Default::default() };
    let missing = PassRule { stdout: Some(ExpectedOutput::File("none.out".into())), ..Default::default() };
    let log = PassRule {
        log: vec![LogRule {
            pattern: "hot".into(),
            means: LogMeaning::Warn,
            count: Count { min: 1, max: u32::MAX },
            description: "temperature".into(),
        }],
        ..Default::default()
    };
    let measure = PassRule {
        measures: vec![MeasureRule {
            name: "speed".into(),
            expected: Some(10.0),
            tolerance: Tolerance::Within(1.0),
            units: "m/s".into(),
        }],
        ..Default::default()
    };
    let write = "echo '{\"name\": \"speed\", \"value\": 12}' >> $MUSTER_MEASURES";
    for def in [
        rule(expected.clone(), "echo hello"),
        rule(expected, "echo help"),
        rule(missing, "echo hello"),
        rule(log, "echo it is hot >&2"),
        rule(measure.clone(), write),
        rule(measure, "true"),
    ] {
        lab.add(def, vec![], &[("", "", 0)]);
    }
    lab.until_done();
    let told: Vec<(Outcome, &str)> = lab.results().iter().map(|r| (r.outcome, r.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (Outcome::Pass, ""),
            (Outcome::Fail, "standard output differs at line 1 (good.out:1): expected `hello`, got `help`"),
            (
                Outcome::Fail,
                "the expected output `none.out` cannot be read: No such file or directory (os error 2)"
            ),
            (Outcome::Warn, "temperature: it is hot"),
            (Outcome::Fail, "speed is 12 m/s, expected 10 ± 1 m/s"),
            (Outcome::Fail, "the value `speed` was not measured"),
        ]
    );
    assert_eq!(lab.results()[4].measures[0].value, 12.0);
}

#[test]
fn every_attempt_finds_an_empty_directory_and_what_a_failed_one_leaves_is_kept() {
    let mut lab = Lab::new(1);
    for line in [
        "ls -A $MUSTER_WORK_DIR; touch $MUSTER_WORK_DIR/x; exit 1",
        "ls -A $MUSTER_WORK_DIR; mkdir $MUSTER_WORK_DIR/y",
        "ls -A $MUSTER_WORK_DIR",
    ] {
        lab.add(command(line), vec![], &[("", "", 0)]);
    }
    lab.until_done();
    for result in lab.results() {
        assert_eq!(lab.printed(result), "");
    }
    assert!(lab.run_dir().join("work/t#1/x").exists());
    let log = lab.log(lab.results()[0]);
    let remark = String::from_utf8(text(&log, |s| s == Stream::Muster)).unwrap();
    assert!(remark.contains("kept what it left in its working directory: 1 file"), "{remark}");
}

#[test]
fn large_output_goes_to_a_file_of_the_run() {
    let mut lab = Lab::new(1);
    let line = "i=0; while [ $i -lt 3000 ]; do echo 'some text that takes place, and more of it, line after line'; i=$((i+1)); done";
    lab.add(command(line), vec![], &[("", "", 0)]);
    let steps = vec![step("one", line, Proceed::Passed), step("two", "echo end", Proceed::Passed)];
    lab.add(test_def("t", Kind::Steps { steps, items: Items::None }), vec![], &[("", "", 0)]);
    lab.until_done();
    for (result, lines) in lab.results().into_iter().zip([3000, 3001]) {
        assert!(
            matches!(&result.output, Output::File { path, .. } if path.starts_with("out/")),
            "{:?}",
            result.output
        );
        assert_eq!(lab.printed(result).lines().count(), lines);
    }
}

#[test]
fn a_stop_ends_what_runs_and_drops_what_waits() {
    let mut lab = Lab::new(1);
    let first = lab.add(command("echo begun; sleep 1000"), vec![], &[("", "", 0)]);
    let second = lab.add(command("echo never"), vec![], &[("", "", 0)]);
    lab.until_running(first);
    lab.dropped = vec![first, second];
    lab.until(|lab| !lab.ends.is_empty());
    let result = lab.results()[0];
    assert_eq!(
        (result.outcome, &result.cause),
        (Outcome::Cancelled, &Cause::Stopped("stopped on request".into()))
    );
    lab.until(|lab| lab.last.as_ref().is_some_and(|e| e.holding.is_empty()));
    assert_eq!(lab.ends.len(), 1);
}

#[test]
fn a_thousand_commands_on_two_devices_each_run_once() {
    let mut lab = Lab::new(2);
    for _ in 0..1000 {
        lab.add(command("/bin/echo x"), vec![], &[("", "", 0)]);
    }
    lab.until_done();
    assert!(lab.results().iter().all(|r| r.outcome == Outcome::Pass));
    assert!(lab.results().iter().all(|r| lab.printed(r) == "x\n"));
}

fn rules(text: &str, exit_counts: bool) -> Option<LogproRules> {
    Some(LogproRules { files: vec![RuleFile { path: "t.logpro".into(), text: text.into() }], exit_counts })
}

/// Required, skipped, warned of, failed and measured by the log.
const RULES: &str = r#"
    (expect:required in "LogFileBody" = 1 "it ended" #/^done$/)
    (expect:skip in "LogFileBody" = 0 "not here" #/no such device/)
    (expect:warning in "LogFileBody" = 0 "slow" #/slow/)
    (expect:error in "LogFileBody" = 0 "broken" #/error/)
    (expect:value in "LogFileBody" 5 1 "volt" #/(\S+) V/)
"#;

#[test]
fn logpros_rules_judge_the_log_of_a_test() {
    let mut lab = Lab::new(1);
    for (name, line, exit_counts) in [
        ("good", "echo 5.5 V; echo done", true),
        ("exit", "echo 5 V; echo done; exit 3", true),
        ("log-alone", "echo 5 V; echo done; exit 3", false),
        ("warns", "echo 5 V; echo slow >&2; echo done", true),
        ("fails", "echo 5 V; echo '<b>error' >&2; echo done", false),
        ("value", "echo 7 V; echo done", true),
        ("skips", "echo no such device; echo 5 V; echo done", true),
        ("crash", "echo 5 V; echo done; kill -SEGV $$", false),
    ] {
        let mut def = TestDef { name: name.into(), ..command(line) };
        def.pass.logpro = rules(RULES, exit_counts);
        lab.add(def, vec![], &[("", "", 0)]);
    }
    let mut broken = TestDef { name: "broken".into(), ..command("true") };
    broken.pass.logpro = rules("(define x 1)", true);
    lab.add(broken, vec![], &[("", "", 0)]);
    lab.until_done();
    let told: Vec<(Outcome, &str)> = lab.results().iter().map(|r| (r.outcome, r.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (Outcome::Pass, ""),
            (Outcome::Fail, "done"),
            (Outcome::Pass, ""),
            (Outcome::Warn, "slow: slow"),
            (Outcome::Fail, "broken: <b>error"),
            (Outcome::Fail, "volt: 7 is not 5 ± 1"),
            (Outcome::Skip, "not here: no such device"),
            (Outcome::Crash, "ended by SIGSEGV: done"),
            (
                Outcome::Fail,
                "t.logpro:1: `define` is neither a rule nor a trigger, section or hook, and Scheme is not evaluated here"
            ),
        ]
    );
    let measured = &lab.results()[5].measures;
    assert_eq!((measured[0].name.as_str(), measured[0].value, measured[0].good), ("volt", 7.0, Some(false)));
    let kept = |name: &str| lab.run_dir().join("work").join(name).join("logpro.html");
    let page = std::fs::read_to_string(kept("fails#1")).unwrap();
    assert!(page.contains("&lt;b&gt;error") && !page.contains("<b>error"), "{page}");
    assert!(kept("warns#1").is_file() && kept("skips#1").is_file());
    assert!(!kept("good#1").exists() && !kept("log-alone#1").exists(), "what passed needs no page");
}

#[test]
fn a_step_is_judged_by_its_own_log_and_the_next_runs_behind_a_warning() {
    let mut lab = Lab::new(1);
    let with =
        |name: &str, line: &str| Step { logpro: rules(RULES, false), ..step(name, line, Proceed::Passed) };
    let steps = vec![
        with("first", "echo slow; echo 5 V; echo done; exit 2"),
        with("second", "ln -s /dev/full $MUSTER_WORK_DIR/second.html; echo error; echo 4 V; echo done"),
        with("third", "echo never"),
    ];
    lab.add(test_def("t", Kind::Steps { steps, items: Items::None }), vec![], &[("", "", 0)]);
    lab.until_done();
    let result = lab.results()[0];
    let steps: Vec<(&str, Outcome, Option<i32>, &str)> =
        result.steps.iter().map(|s| (s.name.as_str(), s.outcome, s.exit, s.message.as_str())).collect();
    assert_eq!(
        steps,
        [
            ("first", Outcome::Warn, Some(2), "slow: slow"),
            ("second", Outcome::Fail, Some(0), "broken: error"),
        ]
    );
    assert_eq!((result.outcome, result.message.as_str()), (Outcome::Fail, "step `second`: broken: error"));
    let names: Vec<&str> = result.measures.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["first/volt", "second/volt"]);
    for step in ["first", "second"] {
        let page = lab.run_dir().join("work/t#1").join(step).with_extension("html");
        assert!(page.symlink_metadata().unwrap().is_file(), "a link of the test's is not followed");
    }
}
