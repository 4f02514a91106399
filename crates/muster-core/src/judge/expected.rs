//! Standard output against what it should be.
//!
//! Trailing blanks of lines and blank lines at the end never count. In pattern files (the manner of V8's
//! message tests) `*` stands for any text and `{NUMBER}` for a number; blank lines and lines that begin
//! with `#`, `==`, `**` or `ANDROID` do not count, on either side.

use super::message::shown;
use crate::definition::ExpectedOutput;
use crate::output::{Stream, text};
use std::borrow::Cow;

/// Whether the log's standard output is as expected.
///
/// # Errors
/// The first difference, in words.
pub(super) fn compare(
    rule: &ExpectedOutput,
    file: Option<Result<&str, &str>>,
    log: &[u8],
) -> Result<(), String> {
    let stdout = text(log, |s| s == Stream::Stdout);
    let got = String::from_utf8_lossy(&stdout);
    match rule {
        ExpectedOutput::Text(text) => exactly("", text, &got),
        ExpectedOutput::File(path) => exactly(path, read(path, file)?, &got),
        ExpectedOutput::Pattern(path) => patterns(path, read(path, file)?, &got),
    }
}

fn read<'a>(path: &str, file: Option<Result<&'a str, &'a str>>) -> Result<&'a str, String> {
    match file {
        Some(Ok(text)) => Ok(text),
        Some(Err(why)) => Err(format!("the expected output `{path}` cannot be read: {why}")),
        None => Err(format!("the expected output `{path}` was not read")),
    }
}

/// Lines without trailing blanks, with their numbers from 1, up to the last that is not blank.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut lines: Vec<(usize, &str)> = (1..).zip(text.lines().map(str::trim_end)).collect();
    while lines.last().is_some_and(|(_, l)| l.is_empty()) {
        lines.pop();
    }
    lines
}

fn exactly(path: &str, expected: &str, got: &str) -> Result<(), String> {
    differ(path, &lines(expected), &lines(got), |e, g| e == g)
}

fn patterns(path: &str, expected: &str, got: &str) -> Result<(), String> {
    let counts = |(_, line): &(usize, &str)| {
        !line.is_empty() && !["#", "==", "**", "ANDROID"].iter().any(|noise| line.starts_with(noise))
    };
    let expected: Vec<_> = lines(expected).into_iter().filter(counts).collect();
    let got: Vec<_> = lines(got).into_iter().filter(counts).collect();
    differ(path, &expected, &got, matches)
}

fn differ(
    path: &str,
    expected: &[(usize, &str)],
    got: &[(usize, &str)],
    same: impl Fn(&str, &str) -> bool,
) -> Result<(), String> {
    let at = if path.is_empty() { String::new() } else { format!(" ({path})") };
    for (i, (line, e)) in expected.iter().enumerate() {
        match got.get(i) {
            Some((_, g)) if same(e, g) => {}
            Some((n, g)) => {
                let at = if path.is_empty() { String::new() } else { format!(" ({path}:{line})") };
                let (e, g) = apart(e, g);
                return Err(format!("standard output differs at line {n}{at}: expected `{e}`, got `{g}`"));
            }
            None => {
                return Err(format!(
                    "standard output ends after line {}{at}: expected `{}`",
                    got.last().map_or(0, |(n, _)| *n),
                    shown(e.as_bytes()),
                ));
            }
        }
    }
    match got.get(expected.len()) {
        None => Ok(()),
        Some((n, g)) => Err(format!(
            "standard output goes on at line {n}{at}: expected its end, got `{}`",
            shown(g.as_bytes())
        )),
    }
}

/// Two lines as they are shown: of long ones, the place where they part.
fn apart<'a>(e: &'a str, g: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
    // Limit: both fit on a wide terminal's few lines.
    const WHOLE: usize = 160;
    const BEFORE: usize = 40;
    if e.len() <= WHOLE && g.len() <= WHOLE {
        return (shown(e.as_bytes()).into(), shown(g.as_bytes()).into());
    }
    let same = e.chars().zip(g.chars()).take_while(|(a, b)| a == b).count();
    let cut = |s: &str| {
        let from = same.saturating_sub(BEFORE);
        let piece: String = s.chars().skip(from).take(WHOLE).collect();
        let more = if s.chars().nth(from + WHOLE).is_some() { "…" } else { "" };
        let less = if from > 0 { "…" } else { "" };
        format!("{less}{}{more}", shown(piece.as_bytes()))
    };
    (cut(e).into(), cut(g).into())
}

/// Whether a line is what a pattern line says. Backtracks only to the last `*`, so hostile patterns cost
/// at most length × length.
fn matches(pattern: &str, line: &str) -> bool {
    const NUMBER: &str = "{NUMBER}";
    let mut p = pattern;
    let mut l = line;
    // Where to go on if what follows the last `*` does not match: the pattern behind it, the line from it.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(rest) = p.strip_prefix('*') {
            (p, retry) = (rest, Some((rest, l)));
            continue;
        }
        let step = if let Some(rest) = p.strip_prefix(NUMBER) {
            number_len(l).map(|n| (rest, &l[n..]))
        } else {
            match (p.chars().next(), l.chars().next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a == b => Some((&p[a.len_utf8()..], &l[b.len_utf8()..])),
                (Some(_) | None, _) => None,
            }
        };
        match (step, retry) {
            (Some(next), _) => (p, l) = next,
            (None, Some((after, from))) => {
                let Some(c) = from.chars().next() else { return false };
                let from = &from[c.len_utf8()..];
                (p, l, retry) = (after, from, Some((after, from)));
            }
            (None, None) => return false,
        }
    }
}

/// Length of the number a line begins with: digits, a point and more digits.
fn number_len(line: &str) -> Option<usize> {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(line);
    if whole == 0 {
        return None;
    }
    match line[whole..].strip_prefix('.') {
        Some(rest) if digits(rest) > 0 => Some(whole + 1 + digits(rest)),
        _ => Some(whole),
    }
}
