//! Text that fits: columns of wide and combining characters, cutting, padding, numbers, names that were
//! made to do harm.

use jiff::tz::TimeZone;
use muster_core::inputs::Inputs;
use muster_core::note::{Note, NoteKind};
use muster_core::outcome::Verdict;
use muster_core::time::Time;
use std::borrow::Cow;
use unicode_width::UnicodeWidthChar as _;

/// Writes formatted text behind a `String`, which cannot fail.
macro_rules! add {
    ($text:expr, $($format:tt)+) => {{
        use std::fmt::Write as _;
        let _ = write!($text, $($format)+);
    }};
}
pub(crate) use add;

/// Columns a text takes; of colours, none.
pub(crate) fn width(text: &str) -> usize {
    if text.contains('\x1b') {
        return anstream::adapter::strip_str(text).map(plain_width).sum();
    }
    plain_width(text)
}

fn plain_width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// A name on one line: what would move the cursor or end the line becomes visible.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_harmful) {
        Cow::Owned(text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and those that turn the direction of what follows.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// At most `max` columns of plain text, the end cut off.
pub(crate) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if plain_width(text) <= max {
        return Cow::Borrowed(text);
    }
    let mut out = head(text, max.saturating_sub(1)).to_owned();
    if max > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

/// At most `max` columns of plain text, the middle cut out: of long names both ends tell.
pub(crate) fn cut_middle(text: &str, max: usize) -> Cow<'_, str> {
    if plain_width(text) <= max {
        return Cow::Borrowed(text);
    }
    if max < 5 {
        return cut(text, max);
    }
    let front = head(text, (max - 1) / 3);
    let back = tail(text, max - 1 - plain_width(front));
    Cow::Owned(format!("{front}…{back}"))
}

fn head(text: &str, max: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > max {
            return &text[..at];
        }
    }
    text
}

fn tail(text: &str, max: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > max {
            return &text[at + c.len_utf8()..];
        }
    }
    text
}

/// Padded on the right to this many columns.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Padded on the left to this many columns.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A number with its thousands apart: `12,345`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// `1 item`, `2 items`.
pub(crate) fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A moment in local time, to the second: `2026-11-20 18:31:58`.
pub(crate) fn moment(time: Time) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A person's word on a run, on one line; locks and what was set are told by those who show the whole.
pub(crate) fn note(note: &Note) -> String {
    let Note { by, at, text, what } = note;
    let did = match what {
        NoteKind::Comment { .. } => String::new(),
        NoteKind::Locked => "locked it".to_owned(),
        NoteKind::Unlocked => "unlocked it".to_owned(),
        NoteKind::Set { from, to, word, .. } => {
            let say = |v: &Option<Verdict>| v.map_or("open", Verdict::word);
            let word = if word.is_empty() { String::new() } else { format!(" ({word})") };
            format!("set it from {} to {}{word}", say(from), say(to))
        }
        NoteKind::Called { word } => format!("called it {word}"),
        NoteKind::FilesRemoved { .. } => "removed its files".to_owned(),
    };
    let on = note.on().map(|on| format!("{on}: ")).unwrap_or_default();
    let colon = if did.is_empty() || text.is_empty() { "" } else { ": " };
    visible(&format!("{} {by}: {on}{did}{colon}{text}", moment(*at))).into_owned()
}

/// What a run was given, behind its name: ` of 1d2c3b, build app.apk`.
pub(crate) fn inputs(inputs: &Inputs) -> String {
    let Inputs { build, tests, changeset, packages, profilers } = inputs;
    let mut line = String::new();
    if !changeset.is_empty() {
        add!(line, " of {}", visible(changeset));
    }
    for (what, package) in [("build", build), ("tests", tests)] {
        if let Some(package) = package {
            add!(line, ", {what} {}", visible(&package.name));
        }
    }
    for needed in packages {
        let local = if needed.local.is_empty() { "" } else { " (local)" };
        add!(line, ", {}{local}", visible(&needed.title()));
    }
    for profiler in profilers {
        add!(line, ", watched by {}", visible(profiler));
    }
    line
}

/// Target values as they are typed: `linux/release`.
pub(crate) fn target(target: &[(String, String)]) -> String {
    target.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("/")
}

/// An argument as it is typed into a shell.
pub(crate) fn quoted(argument: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,#".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) && !argument.starts_with('#') {
        return Cow::Borrowed(argument);
    }
    Cow::Owned(format!("'{}'", argument.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice_and_colours_not_at_all() {
        assert_eq!(width("試験"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\x1b[1;31mred\x1b[0m"), 3);
    }

    #[test]
    fn a_cut_text_never_takes_more_than_it_may() {
        for text in ["tests/parser/deep::rejects_empty_input", "試験/長い名前のテスト", "ab", ""] {
            for max in 0..40 {
                assert!(width(&cut(text, max)) <= max, "{text} {max}");
                assert!(width(&cut_middle(text, max)) <= max, "{text} {max}");
            }
        }
        assert_eq!(cut_middle("abcdefghijklmnop", 10), "abc…klmnop");
        assert_eq!(cut("abcdef", 4), "abc…");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(visible("a\x1b[2Jb\r\n\u{202e}"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 1234567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        assert_eq!(quoted("demo/42/boot/arm64#2"), "demo/42/boot/arm64#2");
        assert_eq!(quoted("t/x[a b]"), "'t/x[a b]'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
