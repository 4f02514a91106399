//! Runs for the tests of reports: one with every verdict and hostile text everywhere, one of any size.

use muster_core::attempt::{AttemptResult, Cause, Measured, Output, StepResult, Usage};
use muster_core::definition::UnexpectedPass;
use muster_core::event::{Event, Told};
use muster_core::id::RunId;
use muster_core::outcome::{Counts, Outcome, Verdict};
use muster_core::output::{self, Frame, Stream};
use muster_core::time::Time;
use muster_core::view::{AttemptView, ItemView, RunState, RunView, TestView};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const RUN: RunId = RunId(0x019a_a1b2_c3d4_7000_8000_0000_0000_002a);
pub(crate) const BEGIN: Time = Time(1_763_663_518_000_000);

/// Everything some format would trip over.
pub(crate) const HOSTILE: &str = "<b>&amp;\"' ]]> %0A::error::x ##[error]y |[a] -- # TODO \\ \x1b[31mred\x1b[0m \x00\x07\u{fffe} ü😀 </script><script>alert(1)</script>";

pub(crate) fn log(parts: &[(Stream, &str)]) -> Output {
    let mut log = Vec::new();
    for (i, (stream, text)) in parts.iter().enumerate() {
        output::push(&mut log, Frame { stream: *stream, at_millis: i as u64 * 10, text: text.as_bytes() });
    }
    Output::Inline(log)
}

pub(crate) fn result(outcome: Outcome, cause: Cause, message: &str) -> AttemptResult {
    AttemptResult {
        outcome,
        cause,
        message: message.to_owned(),
        started: BEGIN + Duration::from_millis(250),
        duration: Duration::from_micros(1_234_567),
        usage: Usage {
            user_micros: 900_000,
            system_micros: 100_000,
            memory_peak_bytes: 5 << 20,
            read_bytes: 1,
            write_bytes: 2,
        },
        steps: Vec::new(),
        measures: Vec::new(),
        output: Output::None,
        leaked: 0,
        artifacts: None,
    }
}

fn outcome_of(verdict: Verdict) -> (Outcome, Cause, &'static str) {
    match verdict {
        Verdict::Pass | Verdict::Flaky | Verdict::UnexpectedPass => (Outcome::Pass, Cause::Exit(0), ""),
        Verdict::Skip => (Outcome::Skip, Cause::Exit(77), "no such device"),
        Verdict::Warn => (Outcome::Warn, Cause::LogRule("deprecated".into()), "deprecated call"),
        Verdict::Check => (Outcome::Check, Cause::LogRule("look".into()), "compare the picture"),
        Verdict::Fail | Verdict::KnownFailure => {
            (Outcome::Fail, Cause::Exit(1), "1 is not 2\n  at src/sum.rs:12:5")
        }
        Verdict::Timeout => (Outcome::Timeout, Cause::HardLimit(Duration::from_secs(60)), ""),
        Verdict::Crash => (Outcome::Crash, Cause::Signal(11), ""),
        Verdict::Error => (Outcome::Error, Cause::Lab("no space left on device".into()), ""),
        Verdict::Abort => (Outcome::Abort, Cause::LogRule("give up".into()), "the board is on fire"),
        Verdict::Cancelled => (Outcome::Cancelled, Cause::Stopped("interrupted".into()), ""),
        Verdict::PrerequisiteFailed | Verdict::NoItems => unreachable!("these are not run"),
    }
}

pub(crate) fn item(verdict: Verdict) -> ItemView {
    let mut item = ItemView {
        path: format!("the/{verdict}"),
        discovery: false,
        verdict: Some(verdict),
        reason: String::new(),
        attempts: Vec::new(),
    };
    match verdict {
        Verdict::PrerequisiteFailed => item.reason = "build/x86 failed".into(),
        Verdict::NoItems => item.reason = "the suite listed nothing".into(),
        _ => {
            let (outcome, cause, message) = outcome_of(verdict);
            let mut last = result(outcome, cause, message);
            last.output = log(&[
                (Stream::Stdout, "starting\n"),
                (Stream::Stderr, "error: it \x1b[1;31mbroke\x1b[0m\n"),
                (Stream::Muster, "left 1 process\n"),
            ]);
            if verdict == Verdict::KnownFailure {
                item.reason = "bug 17: sums are wrong".into();
            }
            if verdict == Verdict::UnexpectedPass {
                item.reason = "expected to fail (bug 18)".into();
            }
            if matches!(verdict, Verdict::Flaky | Verdict::Crash) {
                let mut first = result(Outcome::Fail, Cause::Exit(3), "connection reset");
                first.output = log(&[(Stream::Stdout, "try one\n")]);
                item.attempts.push(AttemptView {
                    number: 1,
                    device: "slot-1".into(),
                    result: Arc::new(first),
                });
                last.started = last.started + Duration::from_secs(2);
            }
            let number = item.attempts.len() as u16 + 1;
            item.attempts.push(AttemptView { number, device: "slot-2".into(), result: Arc::new(last) });
        }
    }
    item
}

pub(crate) fn test(name: &str, items: Vec<ItemView>) -> TestView {
    let mut counts = Counts::default();
    items.iter().filter_map(|i| i.verdict).for_each(|v| counts.add(v));
    let verdict = if items.iter().all(|i| i.verdict.is_some()) { counts.worst() } else { None };
    TestView {
        name: name.into(),
        owner: "ana".into(),
        description: "checks sums".into(),
        tags: vec!["fast".into(), "math".into()],
        origin: "muster.toml:12".into(),
        verdict,
        counts,
        items,
    }
}

pub(crate) fn run_of(tests: Vec<TestView>) -> RunView {
    let mut counts = Counts::default();
    let mut items = 0;
    for item in tests.iter().flat_map(|t| &t.items) {
        items += 1;
        item.verdict.into_iter().for_each(|v| counts.add(v));
    }
    RunView {
        id: RUN,
        area: "nightly".into(),
        number: 42,
        name: "before release".into(),
        target: vec![("os".into(), "linux".into()), ("arch".into(), "arm64".into())],
        host: "rack3".into(),
        inputs: muster_core::inputs::Inputs::default(),
        state: RunState::Ended,
        started: BEGIN,
        ended: Some(BEGIN + Duration::from_secs(90)),
        counts,
        items,
        unexpected_pass: UnexpectedPass::Fail,
        said: muster_core::note::Said::default(),
        tests,
    }
}

/// Every verdict, steps and measures, a test without items, a failed discovery, an item that never ended,
/// and hostile text in every field that a test or a user writes.
pub(crate) fn run() -> RunView {
    let all = test("sum", Verdict::ALL.map(item).to_vec());

    let mut stepped = item(Verdict::Fail);
    stepped.path = String::new();
    let mut told = (*stepped.attempts[0].result).clone();
    told.steps = vec![
        StepResult {
            name: "build".into(),
            outcome: Outcome::Pass,
            exit: Some(0),
            duration: Duration::from_millis(800),
            output_from: 0,
            message: String::new(),
        },
        StepResult {
            name: "run".into(),
            outcome: Outcome::Fail,
            exit: Some(1),
            duration: Duration::from_millis(400),
            output_from: 12,
            message: "segments differ".into(),
        },
    ];
    told.measures = vec![
        Measured {
            name: "speed".into(),
            value: 12.5,
            expected: Some(20.0),
            tolerance: ">=".into(),
            units: "MB/s".into(),
            good: Some(false),
        },
        Measured {
            name: "ratio".into(),
            value: f64::NAN,
            expected: None,
            tolerance: String::new(),
            units: String::new(),
            good: None,
        },
    ];
    told.leaked = 2;
    stepped.attempts[0].result = Arc::new(told);
    let stepped = test("boot", vec![stepped]);

    let mut hostile = item(Verdict::Fail);
    hostile.path = HOSTILE.into();
    let mut told = (*hostile.attempts[0].result).clone();
    told.message = format!("{HOSTILE}\nsecond line\r\n...\n---\n");
    told.cause = Cause::LogRule(HOSTILE.into());
    told.output = log(&[
        (Stream::Stdout, HOSTILE),
        (
            Stream::Stderr,
            "\n  ::error::not a command\n::stop-commands::x\n##[error]nor this\n##teamcity[testFailed name='x']\n",
        ),
        (
            Stream::Stdout,
            "    indented first\n...\n---\nnot ok 1 - nor a point\n1..1\nBail out!\n\ttab\u{2028}sep\n",
        ),
    ]);
    hostile.attempts[0].result = Arc::new(told);
    hostile.attempts[0].device = HOSTILE.into();
    let mut hostile = test("host<ile", vec![hostile]);
    hostile.owner = HOSTILE.into();
    hostile.description = HOSTILE.into();
    hostile.tags = vec![HOSTILE.into()];
    hostile.origin = HOSTILE.into();

    let mut question = item(Verdict::Error);
    question.path = String::new();
    question.discovery = true;
    let broken_suite = test("unlisted", vec![question]);

    let mut asked = item(Verdict::Pass);
    asked.path = String::new();
    asked.discovery = true;
    let mut waiting = item(Verdict::PrerequisiteFailed);
    waiting.path = "waiting".into();
    waiting.verdict = None;
    waiting.reason = "the run was stopped".into();
    let suite = test("suite", vec![asked, item(Verdict::Pass), waiting]);

    run_of(vec![all, stepped, hostile, broken_suite, suite])
}

/// A run of `items` items in tests of 1,000, one in 50 of which failed, one in 70 flaky.
pub(crate) fn big(items: usize) -> RunView {
    let mut left = items;
    let mut tests = Vec::new();
    while left > 0 {
        let here = left.min(1_000);
        let list = (0..here).map(|n| {
            let verdict = match n {
                n if n % 50 == 7 => Verdict::Fail,
                n if n % 70 == 9 => Verdict::Flaky,
                n if n % 90 == 3 => Verdict::Skip,
                _ => Verdict::Pass,
            };
            let mut item = item(verdict);
            item.path = format!("group{}/case_{n:04}[some-parameter]", n / 100);
            for attempt in &mut item.attempts {
                attempt.device = format!("slot-{}", n % 8 + 1);
                let result = Arc::make_mut(&mut attempt.result);
                result.started = BEGIN + Duration::from_millis((n / 8 * 40 + tests.len() * 5_000) as u64);
                result.duration = Duration::from_micros(1_000 + (n as u64 * 7919) % 39_000);
            }
            item
        });
        tests.push(test(&format!("module_{:03}", tests.len()), list.collect()));
        left -= here;
    }
    run_of(tests)
}

/// What is told while a small run goes on: a retry, a known failure, a test not run, a lost start.
pub(crate) fn events() -> Vec<Told> {
    let told = |n: u64, event| Told { at: BEGIN + Duration::from_millis(n), run: RUN, event };
    let a = |s: &str| -> Arc<str> { s.into() };
    let started = |test: &str, item: &str, attempt, device: &str| Event::AttemptStarted {
        test: a(test),
        item: a(item),
        attempt,
        device: a(device),
    };
    let ended = |test: &str, item: &str, attempt, device: &str, result, retried| Event::AttemptEnded {
        test: a(test),
        item: a(item),
        attempt,
        device: a(device),
        discovery: false,
        result: Arc::new(result),
        retried,
    };
    let judged = |test: &str, item: &str, verdict, attempts, reason: &str| Event::ItemEnded {
        test: a(test),
        item: a(item),
        verdict,
        attempts,
        reason: a(reason),
    };
    let pass = || result(Outcome::Pass, Cause::Exit(0), "");
    let mut fail = result(Outcome::Fail, Cause::Exit(1), "it's [not] | so\nat all");
    fail.output = log(&[(Stream::Stdout, "hello\n"), (Stream::Stderr, "grün\x1b[31m!\n")]);
    let counts = run().tests[0].counts;
    let events = vec![
        Event::RunStarted {
            address: a("nightly/42"),
            name: a(""),
            target: vec![("os".into(), "linux".into())],
            tests: 3,
            items: 4,
            undiscovered: 1,
        },
        started("suite", "", 1, "slot-1"),
        Event::AttemptEnded {
            test: a("suite"),
            item: a(""),
            attempt: 1,
            device: a("slot-1"),
            discovery: true,
            result: Arc::new(pass()),
            retried: false,
        },
        Event::ItemsFound { test: a("suite"), items: 2 },
        started("suite", "x", 1, "slot-1"),
        started("suite", "y", 1, "slot-2"),
        ended("suite", "x", 1, "slot-1", fail.clone(), true),
        ended("suite", "y", 1, "slot-2", fail.clone(), false),
        judged("suite", "y", Verdict::KnownFailure, 1, "bug 17"),
        started("suite", "x", 2, "slot-1"),
        ended("suite", "x", 2, "slot-1", pass(), false),
        judged("suite", "x", Verdict::Flaky, 2, "passed at attempt 2"),
        Event::TestEnded { test: a("suite"), verdict: Verdict::Flaky, counts },
        // Its start was never told, and the device is busy with another.
        started("boot", "long", 1, "slot-1"),
        ended("boot", "short", 1, "slot-1", fail, false),
        judged("boot", "short", Verdict::Fail, 1, ""),
        judged("late", "", Verdict::PrerequisiteFailed, 0, "boot/short failed"),
        Event::RunEnded { verdict: Some(Verdict::Fail), counts, stopped: true },
    ];
    events.into_iter().enumerate().map(|(n, e)| told(n as u64, e)).collect()
}
