//! The line grammar of all of Megatest's files: which lines belong together, and what each is.

use regex::Regex;
use std::sync::LazyLock;

/// Longest line, with all that is joined to it.
// Limit: values are arguments and variables of processes, which cannot be longer.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// A line, or several that a `\` at the end joins, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// Without the ends of lines and the `\`.
    pub(super) text: String,
    /// First byte.
    pub(super) start: usize,
    /// One past the last.
    pub(super) end: usize,
}

/// What a line is, by the first rule that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Ends a continuation too.
    Comment,
    /// Ends a continuation.
    Blank,
    /// `[configf:settings NAME VALUE]`
    Setting { name: &'a str, value: &'a str },
    /// `[include PATH]`
    Include(&'a str),
    /// `[scriptinc SCRIPT ARGS]`
    ScriptInclude(&'a str),
    /// `[SECTION]`
    Section(&'a str),
    /// `KEY [system COMMAND]`
    System { key: &'a str, command: &'a str },
    /// `KEY` and `KEY VALUE`
    Value { key: &'a str, value: &'a str },
    /// Leading blanks and text.
    Continuation(&'a str),
}

/// The lines of a text.
pub(super) fn joined(text: &str) -> impl Iterator<Item = Joined> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let mut joined = String::new();
        while at < text.len() {
            let rest = &text[at..];
            let (line, next) = rest.find('\n').map_or((rest, at + rest.len()), |n| (&rest[..n], at + n + 1));
            let line = line.strip_suffix('\r').unwrap_or(line);
            let end = at + line.len();
            at = next;
            match line.strip_suffix('\\') {
                Some(begun) if at < text.len() => joined.push_str(begun),
                Some(begun) => {
                    joined.push_str(begun);
                    return Some(Joined { text: joined, start, end });
                }
                None => {
                    joined.push_str(line);
                    return Some(Joined { text: joined, start, end });
                }
            }
        }
        None
    })
}

static SETTING: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[configf:settings\s+(\S+)\s+(\S.*?)\s*\]\s*$"));
static INCLUDE: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[include\s+(.*?)\s*\]\s*$"));
static SCRIPT: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[scriptinc\s+(.*?)\s*\]\s*$"));
static SECTION: LazyLock<Regex> = LazyLock::new(|| regex(r"^\[(.*)\]\s*$"));
static SYSTEM: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\S+)\s+\[system\s+(\S.*?)\s*\]\s*$"));

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

/// What a line is.
pub(super) fn classify(text: &str) -> Line<'_> {
    let body = text.trim_start_matches([' ', '\t']);
    if body.starts_with('#') {
        return Line::Comment;
    }
    if body.trim_end().is_empty() {
        return Line::Blank;
    }
    if body.len() < text.len() {
        return Line::Continuation(text);
    }
    let group = |c: &regex::Captures<'_>, n: usize| c.get(n).map_or(0..0, |m| m.range());
    if text.starts_with('[') {
        if let Some(c) = SETTING.captures(text) {
            return Line::Setting { name: &text[group(&c, 1)], value: &text[group(&c, 2)] };
        }
        if let Some(c) = INCLUDE.captures(text) {
            return Line::Include(&text[group(&c, 1)]);
        }
        if let Some(c) = SCRIPT.captures(text) {
            return Line::ScriptInclude(&text[group(&c, 1)]);
        }
        if let Some(c) = SECTION.captures(text) {
            return Line::Section(&text[group(&c, 1)]);
        }
    }
    if let Some(c) = SYSTEM.captures(text) {
        return Line::System { key: &text[group(&c, 1)], command: &text[group(&c, 2)] };
    }
    match text.split_once([' ', '\t']) {
        None => Line::Value { key: text.trim_end(), value: "" },
        Some((key, value)) => Line::Value { key, value: value.trim_start_matches([' ', '\t']) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_what_the_first_rule_says() {
        let cases = [
            ("  # a comment", Line::Comment),
            ("#{shell x} y", Line::Comment),
            (" \t ", Line::Blank),
            (
                "[configf:settings trim-trailing-spaces yes]",
                Line::Setting { name: "trim-trailing-spaces", value: "yes" },
            ),
            ("[include  a b.config ]", Line::Include("a b.config")),
            ("[scriptinc ./gen.sh 1 2]", Line::ScriptInclude("./gen.sh 1 2")),
            ("[a/%/c] ", Line::Section("a/%/c")),
            ("[/^x[0-9]$/]", Line::Section("/^x[0-9]$/")),
            ("items [system ls -1]", Line::System { key: "items", command: "ls -1" }),
            ("key", Line::Value { key: "key", value: "" }),
            ("key   ", Line::Value { key: "key", value: "" }),
            ("key \t a  b ", Line::Value { key: "key", value: "a  b " }),
            ("key = value", Line::Value { key: "key", value: "= value" }),
            ("   more", Line::Continuation("   more")),
            ("  [x]", Line::Continuation("  [x]")),
        ];
        for (text, line) in cases {
            assert_eq!(classify(text), line, "{text:?}");
        }
    }

    #[test]
    fn a_backslash_at_the_end_joins_lines_before_anything_else() {
        let all: Vec<_> =
            joined("a b\\\nc\r\n# x \\\nkey y\nlast\\").map(|j| (j.text, j.start, j.end)).collect();
        assert_eq!(
            all,
            [("a bc".to_owned(), 0, 6), ("# x key y".to_owned(), 8, 19), ("last".to_owned(), 20, 25)]
        );
    }
}
