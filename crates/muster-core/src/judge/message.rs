//! The one line a person should read first.

use super::lines::for_each_line;
use crate::attempt::Cause;
use crate::outcome::Outcome;
use crate::output::Stream;
use std::fmt::Write as _;
use std::time::Duration;

/// Longest text of a message taken from output, in characters.
// Limit: a few lines of a terminal; the log has the rest.
const SHOWN_CHARS_MAX: usize = 400;

/// Most bytes of a log searched for its first useful line.
// Limit: only failures are searched; what is useful stands near the start or at the very end.
const SEARCHED_BYTES_MAX: usize = 4 << 20;

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

/// Text of a line as it may stand in a message: no terminal control sequences, no control characters, of
/// bounded length.
pub(super) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len().min(SHOWN_CHARS_MAX));
    let mut chars = text.chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if count == SHOWN_CHARS_MAX {
            out.push('…');
            break;
        }
        if c == '\u{1b}' {
            // `ESC [ parameters letter`, the only kind test programs print often: colours.
            if chars.next_if_eq(&'[').is_some() {
                while chars.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                chars.next();
            }
            continue;
        }
        out.push(if c == '\t' {
            ' '
        } else if c.is_control() {
            '\u{fffd}'
        } else {
            c
        });
        count += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// The line of a log that says most about a failure: the first that looks like an error message, else the
/// last of standard error, else the last of standard output. `None` where nothing was printed.
pub fn first_useful_line(log: &[u8]) -> Option<String> {
    let mut best: Option<(u8, String)> = None;
    let (mut last_out, mut last_err) = (Vec::new(), Vec::new());
    // A panic's place, waiting for its message on the next line of the same stream.
    let mut panic: Option<(Stream, String)> = None;
    let mut searched = 0;
    for_each_line(log, |stream, line| {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let last = if stream == Stream::Stdout { &mut last_out } else { &mut last_err };
        last.clear();
        last.extend_from_slice(line);
        searched += line.len();
        if searched > SEARCHED_BYTES_MAX {
            return;
        }
        let text = shown(line);
        if let Some((_, place)) = panic.take_if(|(s, _)| *s == stream) {
            best = Some((u8::MAX, format!("{text} ({place})")));
            return;
        }
        let (score, place) = rate(&text);
        if score == 0 || best.as_ref().is_some_and(|(s, _)| *s >= score) {
            return;
        }
        panic = place.map(|place| (stream, place)).or(panic.take());
        best = Some((score, text));
    });
    let last = if last_err.is_empty() { last_out } else { last_err };
    best.map(|(_, text)| text).or_else(|| (!last.is_empty()).then(|| shown(&last)))
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

/// How much a line looks like the reason of a failure, 0 not at all; and the place, where it is the head
/// of a Rust panic whose message follows.
fn rate(line: &str) -> (u8, Option<String>) {
    if let Some((_, place)) = line.split_once(" panicked at ") {
        let place = place.strip_suffix(':').filter(|_| line.starts_with("thread "));
        return (4, place.map(str::to_owned));
    }
    let lower = line.to_ascii_lowercase();
    let starts = |words: &[&str]| words.iter().any(|w| lower.starts_with(w));
    let holds = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let exception = || {
        // `pkg.SomeError: text`, as Python, Java and JavaScript print it.
        let head = line.split(':').next().unwrap_or_default();
        !head.is_empty()
            && head.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '_')
            && (head.ends_with("Error") || head.ends_with("Exception"))
    };
    if starts(&["error:", "error[", "fatal:", "fatal error", "panic:", "e   "])
        || holds(&[": error:", ": fatal error:", "assertion failed", "undefined reference to"])
        || (lower.contains("assertion") && lower.contains("failed"))
        || exception()
    {
        return (3, None);
    }
    if starts(&["fail", "not ok", "error"]) || holds(&["failed", "failure", "error:", "mismatch", "expected"])
    {
        return (2, None);
    }
    if holds(&["cannot ", "could not ", "not found", "denied", "no such", "fault", "invalid", "unexpected"]) {
        return (1, None);
    }
    (0, None)
}
