//! From the framed log of an attempt to text: streams joined, UTF-8 made whole, terminal codes removed,
//! the middle of long logs left out. Shared by messages, reports and the terminal.
//!
//! Choosing the line a person should read first is
//! [`first_useful_line`](crate::judge::first_useful_line).

use crate::output::{self, Frame, Stream};
use std::borrow::Cow;

/// A framed log that holds one remark of Muster's own.
pub fn remark(text: &str) -> Vec<u8> {
    let mut log = Vec::with_capacity(text.len() + 8);
    output::push(&mut log, Frame { stream: Stream::Muster, at_millis: 0, text: text.as_bytes() });
    log
}

/// A framed log made to fit: whole where the test printed at most `bytes_max` bytes, else its first quarter
/// and its last three quarters of that, with a remark between that says how much is missing. The end is
/// given more, because failures are told there. Muster's remarks do not count and are kept.
pub fn cut_frames(log: &[u8], bytes_max: usize) -> Vec<u8> {
    let own = |f: &Frame<'_>| f.stream != Stream::Muster;
    let total: usize = output::frames(log).filter(own).map(|f| f.text.len()).sum();
    if total <= bytes_max {
        return log.to_vec();
    }
    let head = bytes_max / 4;
    let tail_from = total - (bytes_max - head);
    let mut cut = Vec::with_capacity(bytes_max + 128);
    let mut at = 0;
    let mut said = false;
    for frame in output::frames(log) {
        if !own(&frame) {
            output::push(&mut cut, frame);
            continue;
        }
        let (from, to) = (at, at + frame.text.len());
        at = to;
        if from < head {
            let keep = &frame.text[..frame.text.len().min(head - from)];
            output::push(&mut cut, Frame { text: keep, ..frame });
        }
        if !said && to > head {
            said = true;
            let text = format!("\n… {} bytes of output left out here …\n", tail_from - head);
            let text = text.as_bytes();
            output::push(&mut cut, Frame { stream: Stream::Muster, at_millis: frame.at_millis, text });
        }
        if to > tail_from {
            let keep = &frame.text[tail_from.saturating_sub(from)..];
            output::push(&mut cut, Frame { text: keep, ..frame });
        }
    }
    cut
}

/// A stretch of one stream's text, terminal codes still in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it came from.
    pub stream: Stream,
    /// Milliseconds since the attempt began, of its first byte.
    pub at_millis: u64,
    /// What is not UTF-8 is U+FFFD.
    pub text: String,
}

/// The wanted streams in order of arrival. A character that was read in two parts is whole, at the place
/// of its last part; neighbours of one stream are one piece.
pub fn pieces(log: &[u8], wanted: impl Fn(Stream) -> bool) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: [Vec<u8>; 3] = Default::default();
    for frame in output::frames(log).filter(|f| wanted(f.stream)) {
        let rest = &mut open[frame.stream as usize - 1];
        rest.extend_from_slice(frame.text);
        let whole = rest.len() - unfinished(rest);
        if whole == 0 {
            continue;
        }
        let text = String::from_utf8_lossy(&rest[..whole]);
        match pieces.last_mut() {
            Some(last) if last.stream == frame.stream => last.text.push_str(&text),
            _ => pieces.push(Piece {
                stream: frame.stream,
                at_millis: frame.at_millis,
                text: text.into_owned(),
            }),
        }
        rest.drain(..whole);
    }
    for (rest, stream) in open.iter().zip([Stream::Stdout, Stream::Stderr, Stream::Muster]) {
        if !rest.is_empty() {
            let at_millis = pieces.last().map_or(0, |p| p.at_millis);
            pieces.push(Piece { stream, at_millis, text: String::from_utf8_lossy(rest).into_owned() });
        }
    }
    pieces
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let needs = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        return if needs > back { back } else { 0 };
    }
    0
}

/// The wanted streams as text for people and for formats without colours: terminal codes removed, `\r\n`
/// is `\n`, of a line that was rewritten with `\r` the last writing, other control characters removed.
/// Muster's remarks are lines of their own, between brackets.
pub fn plain(log: &[u8], wanted: impl Fn(Stream) -> bool) -> String {
    let mut all = String::new();
    for piece in pieces(log, wanted) {
        if piece.stream == Stream::Muster {
            for line in piece.text.lines().map(str::trim).filter(|l| !l.is_empty()) {
                if !all.is_empty() && !all.ends_with('\n') {
                    all.push('\n');
                }
                all.push_str("[muster] ");
                all.push_str(line);
                all.push('\n');
            }
        } else {
            all.push_str(&piece.text);
        }
    }
    clean(&all)
}

/// Characters that are not seen and change what is seen, or that formats forbid: control characters but
/// the tab, those that turn the direction of reading, noncharacters.
pub fn is_hidden(c: char) -> bool {
    c != '\t' && c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

/// Text without terminal codes and without what is [hidden](is_hidden), as [`plain`] describes.
pub fn clean(text: &str) -> String {
    let stripped = strip_ansi(text);
    if !stripped.chars().any(|c| c != '\n' && is_hidden(c)) {
        return stripped.into_owned();
    }
    let mut out = String::with_capacity(stripped.len());
    for line in stripped.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
        let line = line.trim_end_matches('\r');
        let last = line.rsplit('\r').next().unwrap_or(line);
        out.extend(last.chars().filter(|c| !is_hidden(*c)));
        out.push_str(end);
    }
    out
}

/// One line for a title or a message attribute: cleaned, the first line that says something, at most
/// `chars_max` characters.
pub fn one_line(text: &str, chars_max: usize) -> String {
    let text = clean(text);
    let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("");
    shorten(line, chars_max).into_owned()
}

/// At most `chars_max` characters, the last of them `…` where some were left out.
pub fn shorten(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let keep = text.char_indices().nth(chars_max.saturating_sub(1)).map_or(0, |(i, _)| i);
            Cow::Owned(format!("{}…", &text[..keep]))
        }
    }
}

/// Removes terminal codes: CSI sequences (colours, cursor), OSC strings (titles, links), other control
/// strings and two-byte escapes (ECMA-48 §5, §8.3). A sequence that never ends is removed to the end of
/// its line, not further.
pub fn strip_ansi(text: &str) -> Cow<'_, str> {
    if !text.contains(['\x1b', '\u{9b}', '\u{9d}', '\u{90}']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\x1b', '\u{9b}', '\u{9d}', '\u{90}']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[escape_len(rest)..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The length in bytes of the terminal code that `text` begins with.
pub fn escape_len(text: &str) -> usize {
    let mut chars = text.chars();
    let first = chars.next();
    let (kind, body) = match first {
        Some('\x1b') => match chars.clone().next() {
            Some(kind @ ('[' | ']' | 'P' | 'X' | '^' | '_')) => (kind, 2),
            Some(' '..='/') => {
                // Intermediate bytes and one final byte: `ESC ( B`.
                let tail = text[1..].trim_start_matches(|c| (' '..='/').contains(&c));
                let last = tail.chars().next().filter(|c| ('0'..='~').contains(c));
                return text.len() - tail.len() + last.map_or(0, char::len_utf8);
            }
            Some('0'..='~') => return 2,
            _ => return 1,
        },
        Some('\u{9b}') => ('[', 2),
        Some('\u{9d}') => (']', 2),
        Some('\u{90}') => ('P', 2),
        _ => return 0,
    };
    let tail = &text[body..];
    if kind == '[' {
        for (i, c) in tail.char_indices() {
            match c {
                ' '..='?' => {}
                '@'..='~' => return body + i + 1,
                _ => return body + i,
            }
        }
        return text.len();
    }
    for (i, c) in tail.char_indices() {
        match c {
            '\x07' | '\u{9c}' => return body + i + c.len_utf8(),
            '\x1b' if tail[i + 1..].starts_with('\\') => return body + i + 2,
            '\n' | '\x1b' => return body + i,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(parts: &[(Stream, &[u8])]) -> Vec<u8> {
        let mut log = Vec::new();
        for (i, (stream, text)) in parts.iter().enumerate() {
            output::push(&mut log, Frame { stream: *stream, at_millis: i as u64, text });
        }
        log
    }

    #[test]
    fn terminal_codes_are_removed_and_nothing_else() {
        for (with, without) in [
            ("plain", "plain"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b[38;5;196mx\x1b[K", "x"),
            ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x07b", "alinkb"),
            ("\x1b]0;title without end\nnext", "\nnext"),
            ("\x1b(Bx\x1b7y\x1bMz", "xyz"),
            ("\u{9b}31mc1", "c1"),
            ("\x1bPq#0\x1b\\six", "six"),
            ("end\x1b", "end"),
            ("end\x1b[", "end"),
            ("cut\x1b[3ägo", "cutägo"),
            ("[31mnot a code", "[31mnot a code"),
        ] {
            assert_eq!(strip_ansi(with), without, "{with:?}");
        }
    }

    #[test]
    fn a_rewritten_line_is_read_as_it_was_last_seen() {
        assert_eq!(clean("10%\r50%\r100%\r\nnext\r\n"), "100%\nnext\n");
        assert_eq!(clean("a\x08\x00b\tc\u{85}\x7f\u{202e}\u{fffe}"), "ab\tc");
    }

    #[test]
    fn a_character_read_in_two_parts_is_whole() {
        let log = framed(&[
            (Stream::Stdout, b"gr\xc3"),
            (Stream::Stderr, b"err\n"),
            (Stream::Stdout, b"\xbcn \xe2\x82"),
            (Stream::Stdout, b"\xac \xff end \xf0\x9f"),
        ]);
        let pieces = pieces(&log, |_| true);
        let text: Vec<_> = pieces.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(text, ["gr", "err\n", "ün € \u{fffd} end ", "\u{fffd}"]);
        assert_eq!(plain(&log, |s| s == Stream::Stdout), "grün € \u{fffd} end \u{fffd}");
    }

    #[test]
    fn a_remark_is_a_line_of_its_own() {
        let log = framed(&[
            (Stream::Stdout, b"half"),
            (Stream::Muster, b"TERM sent\n"),
            (Stream::Stdout, b"rest\n"),
        ]);
        assert_eq!(plain(&log, |_| true), "half\n[muster] TERM sent\nrest\n");
    }

    #[test]
    fn a_long_log_keeps_its_ends_and_says_what_is_missing() {
        let log = framed(&[(Stream::Stdout, &[b'a'; 1000]), (Stream::Stderr, &[b'b'; 1000])]);
        assert_eq!(cut_frames(&log, 2000), log);
        let cut = plain(&cut_frames(&log, 100), |_| true);
        let (a, b) = ("a".repeat(25), "b".repeat(75));
        assert_eq!(cut, format!("{a}\n[muster] … 1900 bytes of output left out here …\n{b}"));
        assert_eq!(
            plain(&cut_frames(&cut_frames(&log, 100), 100), |_| true),
            cut,
            "cutting again changes nothing"
        );
        let none = plain(&cut_frames(&log, 0), |_| true);
        assert_eq!(none, "[muster] … 2000 bytes of output left out here …\n");
    }

    #[test]
    fn text_is_shortened_by_characters() {
        assert_eq!(shorten("grün", 4), "grün");
        assert_eq!(shorten("grüne", 4), "grü…");
        assert_eq!(one_line("\n  \x1b[1m two\nthree", 80), "two");
    }

    proptest! {
        #[test]
        fn any_text_is_cleaned_without_a_panic_and_cleaning_again_changes_nothing(text in any::<String>()) {
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn any_bytes_in_any_frames_read_as_the_lossy_text_of_the_whole(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..8)
        ) {
            let mut log = Vec::new();
            for text in &parts {
                output::push(&mut log, Frame { stream: Stream::Stdout, at_millis: 0, text });
            }
            let whole = parts.concat();
            let text: String = pieces(&log, |_| true).into_iter().map(|p| p.text).collect();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole).into_owned());
        }
    }
}
