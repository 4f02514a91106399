//! The words all reports share: why an attempt came to its outcome, addresses, times, durations, and in
//! which of a foreign format's few drawers a verdict goes.

pub use muster_core::judge::signal_name;

use muster_core::address::Address;
use muster_core::artifact::Artifacts;
use muster_core::attempt::{AttemptResult, Cause};
use muster_core::definition::UnexpectedPass;
use muster_core::id::RunId;
use muster_core::outcome::Verdict;
use muster_core::time::Time;
use muster_core::view::{AttemptView, ItemView, RunView, TestView};
use std::borrow::Cow;
use std::time::Duration;

/// The drawers that foreign formats have. Whenever a run is not ok, at least one of its items is
/// [`Failed`](Drawer::Failed) or [`Error`](Drawer::Error), so no reader shows it as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawer {
    /// Passed, perhaps with a remark.
    Good,
    /// Not judged, and no harm in it: skipped, known to fail, nothing to run; or not run because of
    /// something else, which is itself reported as failed.
    Skipped,
    /// The test said no.
    Failed,
    /// It should have been judged and was not: the lab's fault, cancelled, not ended.
    Error,
}

/// The drawer of a verdict; `None` is an item that has not ended.
pub fn drawer(verdict: Option<Verdict>, unexpected_pass: UnexpectedPass) -> Drawer {
    match verdict {
        Some(Verdict::Pass | Verdict::Warn | Verdict::Flaky | Verdict::Check) => Drawer::Good,
        Some(Verdict::Skip | Verdict::KnownFailure | Verdict::NoItems | Verdict::PrerequisiteFailed) => {
            Drawer::Skipped
        }
        Some(Verdict::UnexpectedPass) => match unexpected_pass {
            UnexpectedPass::Fail => Drawer::Failed,
            UnexpectedPass::Report => Drawer::Good,
        },
        Some(Verdict::Fail | Verdict::Timeout | Verdict::Crash | Verdict::Abort) => Drawer::Failed,
        Some(Verdict::Error | Verdict::Cancelled) | None => Drawer::Error,
    }
}

/// The verdict's word; `not-ended` where there is none.
pub fn verdict_word(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("not-ended", Verdict::word)
}

/// Whether an item is shown in reports: the question for a suite's items is not, unless it went wrong.
pub fn is_shown(item: &ItemView) -> bool {
    !(item.discovery && matches!(item.verdict, Some(Verdict::Pass | Verdict::Warn | Verdict::Flaky)))
}

/// Whether something about the item is worth a person's time, so that reports carry its log.
pub fn is_notable(item: &ItemView) -> bool {
    match item.verdict {
        Some(Verdict::Pass | Verdict::Skip | Verdict::NoItems | Verdict::PrerequisiteFailed) => false,
        Some(_) => true,
        None => !item.attempts.is_empty(),
    }
}

/// What to call an item: its path, or its test's name where it has none.
pub fn item_name<'a>(test: &'a TestView, item: &'a ItemView) -> &'a str {
    match (item.path.as_str(), item.discovery) {
        ("", true) => "(discovery of items)",
        ("", false) => &test.name,
        (path, _) => path,
    }
}

/// `AREA/RUN/TEST/ITEM#ATTEMPT`; without `#ATTEMPT` where `attempt` is 0.
pub fn address(run: &RunView, test: &str, item: &str, attempt: u16) -> String {
    let mut address = Address::of_item(&run.area, run.number, test, item);
    address.attempt = Some(attempt).filter(|n| *n > 0);
    address.to_string()
}

/// A word that a shell takes as it is: quoted where it has anything a shell would act on.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let tame = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    // `#` begins a comment only at the beginning of a word.
    if !word.is_empty() && !word.starts_with('#') && word.chars().all(|c| tame(c) || c == '#') {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
}

/// The one line a person should read about an item: why it was judged so, and what its last bad attempt
/// said. Empty where all is well and nothing was said.
pub fn headline(item: &ItemView) -> Cow<'_, str> {
    let bad =
        item.attempts.iter().rfind(|a| !a.result.outcome.is_good()).map(|a| attempt_headline(&a.result));
    match (item.reason.as_str(), bad) {
        ("", Some(bad)) => bad,
        ("", None) => match (item.last(), item.verdict) {
            (Some(last), _) => Cow::Borrowed(&last.result.message),
            (None, None) => Cow::Borrowed("has not been run"),
            (None, Some(Verdict::NoItems)) => Cow::Borrowed("there are no items"),
            (None, Some(_)) => Cow::Borrowed(""),
        },
        (reason, Some(bad)) if !bad.is_empty() && bad != reason => Cow::Owned(format!("{reason}: {bad}")),
        (reason, _) => Cow::Borrowed(reason),
    }
}

/// An attempt's message, else its cause in words.
pub fn attempt_headline(result: &AttemptResult) -> Cow<'_, str> {
    if result.message.is_empty() { Cow::Owned(cause(&result.cause)) } else { Cow::Borrowed(&result.message) }
}

/// What an attempt keeps of what it left, in words: `3 files (1.2 MiB), 1 left out`.
pub fn artifacts(kept: &Artifacts) -> String {
    let n = kept.files.len();
    let mut text = format!("{n} {} ({})", if n == 1 { "file" } else { "files" }, bytes(kept.bytes()));
    if kept.left_out_count() > 0 {
        text = format!("{text}, {} left out", kept.left_out_count());
    }
    text
}

/// Why an attempt came to its outcome, in words: `exit code 1`, `ended by signal 11 (SIGSEGV)`.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Exit(code) => format!("exit code {code}"),
        Cause::Signal(signal) => match signal_name(*signal) {
            Some(name) => format!("ended by signal {signal} ({name})"),
            None => format!("ended by signal {signal}"),
        },
        Cause::HardLimit(limit) => format!("did not end within {}", duration(*limit)),
        Cause::SilenceLimit(limit) => format!("printed nothing for {}", duration(*limit)),
        Cause::Output => "standard output is not as expected".to_owned(),
        Cause::LogRule(rule) => format!("log rule: {rule}"),
        Cause::Measure(name) => format!("measured value `{name}` is not as it must be"),
        Cause::Framework => "reported by the test framework".to_owned(),
        Cause::Lab(why) => format!("the lab failed: {why}"),
        Cause::Stopped(why) => format!("stopped: {why}"),
        Cause::Rule(rule) => format!("not run: {rule}"),
    }
}

/// What is worth knowing beside the headline: the message's other lines, the cause, the steps that went
/// wrong, values out of tolerance.
pub fn detail(attempt: &AttemptView) -> String {
    let result = &attempt.result;
    let mut lines = vec![result.message.clone(), cause(&result.cause)];
    for step in result.steps.iter().filter(|s| !s.outcome.is_good()) {
        let exit = step.exit.map(|e| format!(" (exit code {e})")).unwrap_or_default();
        lines.push(
            format!("step `{}`: {}{exit} {}", step.name, step.outcome, step.message).trim_end().to_owned(),
        );
    }
    for m in result.measures.iter().filter(|m| m.good == Some(false)) {
        let expected = m.expected.map(|e| format!(", expected {e} ({})", m.tolerance)).unwrap_or_default();
        lines.push(format!("measured `{}`: {} {}{expected}", m.name, m.value, m.units));
    }
    if result.leaked > 0 {
        lines.push(format!("left {} processes behind, which were killed", result.leaked));
    }
    lines.retain(|l| !l.is_empty());
    lines.dedup();
    lines.join("\n")
}

/// A duration for people, three digits at most where it is short: `4ms`, `1.25s`, `3m07s`, `2h05m`.
pub fn duration(d: Duration) -> String {
    let micros = d.as_micros();
    let secs = d.as_secs();
    match () {
        () if micros == 0 => "0s".to_owned(),
        () if micros < 1_000 => format!("{micros}µs"),
        () if micros < 999_500 => format!("{}ms", (micros + 500) / 1_000),
        () if micros < 9_995_000 => trimmed(format!("{:.2}", d.as_secs_f64())),
        () if micros < 59_950_000 => trimmed(format!("{:.1}", d.as_secs_f64())),
        () if secs < 3_600 => {
            let secs = (micros + 500_000) / 1_000_000;
            format!("{}m{:02}s", secs / 60, secs % 60)
        }
        () => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
    }
}

fn trimmed(number: String) -> String {
    format!("{}s", number.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes for people: `512 B`, `3.2 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A moment as RFC 3339 in UTC, to the microsecond: `2026-11-20T18:31:58.25Z`. Moments past the year
/// 9999, which only a broken clock tells, are shown as its end.
pub fn timestamp(time: Time) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// The run's id in the usual notation of UUIDs.
pub fn run_uuid(run: RunId) -> String {
    let hex = format!("{:032x}", run.0);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn durations_are_short_and_never_say_sixty_seconds() {
        let say = |micros| duration(Duration::from_micros(micros));
        assert_eq!(
            [0, 17, 999, 1_499, 999_499, 999_500, 1_250_000, 9_994_999, 12_340_000, 59_949_999, 59_950_000]
                .map(say),
            ["0s", "17µs", "999µs", "1ms", "999ms", "1s", "1.25s", "9.99s", "12.3s", "59.9s", "1m00s"]
        );
        assert_eq!(say(187_400_000), "3m07s");
        assert_eq!(say(7_500_000_000), "2h05m");
    }

    #[test]
    fn a_headline_says_nothing_twice() {
        use muster_core::attempt::{Output, Usage};
        use muster_core::outcome::Outcome;
        let result = AttemptResult {
            outcome: Outcome::Error,
            cause: Cause::Lab("no board".to_owned()),
            message: "no board".to_owned(),
            started: Time(0),
            duration: Duration::ZERO,
            usage: Usage::default(),
            steps: Vec::new(),
            measures: Vec::new(),
            output: Output::None,
            leaked: 0,
            artifacts: None,
        };
        let attempt = AttemptView { number: 1, device: String::new(), result: Arc::new(result) };
        let mut item = ItemView {
            path: String::new(),
            discovery: false,
            verdict: Some(Verdict::Error),
            reason: "no board".to_owned(),
            attempts: vec![attempt],
        };
        assert_eq!(headline(&item), "no board");
        item.reason = "three tries".to_owned();
        assert_eq!(headline(&item), "three tries: no board");
    }

    #[test]
    fn bytes_take_the_next_unit_before_they_round_up_to_it() {
        assert_eq!(
            [0, 1023, 1024, 1_048_575, 5 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "5.0 GiB"]
        );
    }

    #[test]
    fn timestamps_survive_any_clock() {
        assert_eq!(timestamp(Time(1_763_663_518_250_000)), "2025-11-20T18:31:58.25Z");
        assert_eq!(timestamp(Time(0)), "1970-01-01T00:00:00Z");
        assert!(timestamp(Time(u64::MAX)).starts_with("9999-12-"));
    }

    #[test]
    fn a_run_that_is_not_ok_has_an_item_in_a_bad_drawer_unless_another_item_is_to_blame() {
        for verdict in Verdict::ALL {
            let bad = matches!(drawer(Some(verdict), UnexpectedPass::Fail), Drawer::Failed | Drawer::Error);
            assert_eq!(bad, !verdict.is_ok() && verdict != Verdict::PrerequisiteFailed, "{verdict}");
        }
    }

    #[test]
    fn a_hostile_name_stays_one_word_of_a_shell() {
        assert_eq!(shell_word("a/1/t/x#2"), "a/1/t/x#2");
        assert_eq!(shell_word("a/$(reboot)'s"), "'a/$(reboot)'\\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn a_run_id_reads_as_a_uuid() {
        assert_eq!(
            run_uuid(RunId(0x0190_0000_0000_7000_8000_0000_0000_0001)),
            "01900000-0000-7000-8000-000000000001"
        );
    }
}
