//! The one line a person should read first.

use super::first_useful_line;
use super::lines::for_each_line;
use crate::attempt::Cause;
use crate::outcome::Outcome;
use crate::text::{shorten, strip_ansi};
use std::fmt::Write as _;
use std::time::Duration;

/// Longest text of a message taken from output, in characters.
// Limit: a few lines of a terminal; the log has the rest.
pub(super) const SHOWN_CHARS_MAX: usize = 400;

/// What to say of an end by itself; empty for a pass. `log`: the framed log it left.
pub fn describe(outcome: Outcome, cause: &Cause, log: &[u8]) -> String {
    let with_line = |head: String| match first_useful_line(log) {
        Some(line) => format!("{head}: {line}"),
        None => head,
    };
    match (outcome, cause) {
        (Outcome::Pass, _) => String::new(),
        (Outcome::Skip, Cause::Exit(_)) => last_line(log).unwrap_or_default(),
        (_, Cause::Exit(code)) => match first_useful_line(log) {
            Some(line) => line,
            None => format!("{}, nothing printed", exit_words(*code)),
        },
        (_, Cause::Signal(signal)) => with_line(format!("ended by {}", signal_words(*signal))),
        (_, Cause::HardLimit(limit)) => {
            with_last(format!("did not end within {}", duration_words(*limit)), log)
        }
        (_, Cause::SilenceLimit(limit)) => {
            with_last(format!("printed nothing for {}", duration_words(*limit)), log)
        }
        (_, Cause::Lab(why)) => why.clone(),
        (_, Cause::Stopped(why)) => why.clone(),
        (_, Cause::Rule(why) | Cause::LogRule(why) | Cause::Measure(why)) => why.clone(),
        (_, Cause::Output) => "standard output is not as expected".to_owned(),
        (_, Cause::Framework) => first_useful_line(log).unwrap_or_default(),
    }
}

fn with_last(head: String, log: &[u8]) -> String {
    match last_line(log) {
        Some(line) => format!("{head}; last line: {line}"),
        None => head,
    }
}

fn exit_words(code: i32) -> String {
    // What a shell says of a command that a signal ended.
    match signal_name(code - 128) {
        Some(name) => format!("exit code {code} (128 + {name})"),
        None => format!("exit code {code}"),
    }
}

fn signal_words(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// The name of a Linux signal (`SIGSEGV`), of those that end programs.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// A duration for people: `250ms`, `1.5s`, `10m`, `1h30m`.
pub fn duration_words(d: Duration) -> String {
    let (secs, millis) = (d.as_secs(), d.subsec_millis());
    if secs == 0 {
        return format!("{millis}ms");
    }
    if secs < 60 {
        let mut words = format!("{secs}");
        if millis > 0 {
            let digits = format!("{millis:03}");
            let _ = write!(words, ".{}", digits.trim_end_matches('0'));
        }
        return words + "s";
    }
    let parts = [(secs / 3600, 'h'), (secs / 60 % 60, 'm'), (secs % 60, 's')];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

/// Text of a line as it may stand in a message: no terminal codes, of bounded length, and what else is not
/// seen is a visible mark, since it may be what two lines differ in.
pub(super) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = strip_ansi(&text);
    let visible = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    shorten(&text, SHOWN_CHARS_MAX).trim_end().chars().map(visible).collect()
}

/// The last line that is not blank.
fn last_line(log: &[u8]) -> Option<String> {
    let mut last = Vec::new();
    for_each_line(log, |_, line| {
        let line = line.trim_ascii();
        if !line.is_empty() {
            last.clear();
            last.extend_from_slice(line);
        }
    });
    (!last.is_empty()).then(|| shown(&last))
}
