//! Runs made by hand, for tests of what is shown of them.

use muster_core::attempt::{AttemptResult, Cause, Output, Usage};
use muster_core::definition::UnexpectedPass;
use muster_core::id::RunId;
use muster_core::outcome::{Counts, Outcome, Verdict};
use muster_core::output::{Frame, Stream, push};
use muster_core::time::Time;
use muster_core::view::{AttemptView, ItemView, RunState, RunView, TestView};
use std::sync::Arc;
use std::time::Duration;

/// 2026-11-20 18:00:00 UTC.
pub(crate) const START: Time = Time(1_795_197_600_000_000);

/// The result of an attempt that came to this, with this on standard error.
pub(crate) fn result(outcome: Outcome, stderr: &str) -> AttemptResult {
    let mut log = Vec::new();
    if !stderr.is_empty() {
        push(&mut log, Frame { stream: Stream::Stderr, at_millis: 3, text: stderr.as_bytes() });
    }
    let cause = match outcome {
        Outcome::Pass | Outcome::Warn | Outcome::Check => Cause::Exit(0),
        Outcome::Skip => Cause::Exit(77),
        Outcome::Fail | Outcome::Abort => Cause::Exit(1),
        Outcome::Timeout => Cause::HardLimit(Duration::from_secs(10)),
        Outcome::Crash => Cause::Signal(11),
        Outcome::Error => Cause::Lab("the program is not there".to_owned()),
        Outcome::Cancelled => Cause::Stopped("interrupted".to_owned()),
    };
    AttemptResult {
        outcome,
        cause,
        message: String::new(),
        started: START,
        duration: Duration::from_millis(340),
        usage: Usage {
            user_micros: 12_000,
            system_micros: 3_000,
            memory_peak_bytes: 9 << 20,
            ..Usage::default()
        },
        steps: Vec::new(),
        measures: Vec::new(),
        output: if log.is_empty() { Output::None } else { Output::Inline(log) },
        leaked: 0,
        artifacts: None,
    }
}

/// An item with a verdict, and the attempts that usually lead to it.
pub(crate) fn item(path: &str, verdict: Verdict) -> ItemView {
    let outcomes: &[Outcome] = match verdict {
        Verdict::Pass | Verdict::UnexpectedPass => &[Outcome::Pass],
        Verdict::Skip => &[Outcome::Skip],
        Verdict::KnownFailure | Verdict::Fail => &[Outcome::Fail],
        Verdict::Warn => &[Outcome::Warn],
        Verdict::Flaky => &[Outcome::Fail, Outcome::Pass],
        Verdict::Check => &[Outcome::Check],
        Verdict::NoItems | Verdict::PrerequisiteFailed => &[],
        Verdict::Cancelled => &[Outcome::Cancelled],
        Verdict::Timeout => &[Outcome::Timeout],
        Verdict::Crash => &[Outcome::Crash],
        Verdict::Error => &[Outcome::Error],
        Verdict::Abort => &[Outcome::Abort],
    };
    let attempts = (1..).zip(outcomes).map(|(number, outcome)| {
        let stderr = if outcome.is_good() { "" } else { "starting\nerror: it is broken\n" };
        AttemptView { number, device: "box".to_owned(), result: Arc::new(result(*outcome, stderr)) }
    });
    ItemView {
        path: path.to_owned(),
        discovery: false,
        verdict: Some(verdict),
        reason: match verdict {
            Verdict::PrerequisiteFailed => "`build` came to `fail`".to_owned(),
            _ => String::new(),
        },
        attempts: attempts.collect(),
    }
}

/// A test with these items.
pub(crate) fn test(name: &str, items: Vec<ItemView>) -> TestView {
    let mut counts = Counts::default();
    items.iter().filter_map(|i| i.verdict).for_each(|v| counts.add(v));
    TestView {
        name: name.to_owned(),
        owner: "ana".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        origin: "muster.toml:3".to_owned(),
        verdict: counts.worst(),
        counts,
        items,
    }
}

/// A run of area `demo` with these tests.
pub(crate) fn run_of(number: u32, tests: Vec<TestView>) -> RunView {
    let mut counts = Counts::default();
    for verdict in tests.iter().flat_map(|t| &t.items).filter_map(|i| i.verdict) {
        counts.add(verdict);
    }
    RunView {
        id: RunId(u128::from(number)),
        area: "demo".to_owned(),
        number,
        name: String::new(),
        target: vec![("os".to_owned(), "linux".to_owned())],
        host: "box".to_owned(),
        inputs: muster_core::inputs::Inputs::default(),
        state: RunState::Ended,
        started: START,
        ended: Some(START + Duration::from_millis(12_400)),
        items: counts.total(),
        counts,
        unexpected_pass: UnexpectedPass::Fail,
        said: muster_core::note::Said::default(),
        tests,
    }
}
