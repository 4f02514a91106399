//! `{name}` in commands and file names.

use muster_core::definition::Line;

/// Replaces each `{key}` in one pass, so that a value may itself contain braces. Other braces stay.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let hit = values
            .iter()
            .find_map(|(key, value)| Some((value, rest[1..].strip_prefix(key)?.strip_prefix('}')?)));
        match hit {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Fills a command. In a shell line the values are quoted, so that blanks and quotes in a file's name
/// reach the program as they are.
pub(super) fn fill_line(line: &Line, values: &[(&str, &str)]) -> Line {
    match line {
        Line::Argv(argv) => Line::Argv(argv.iter().map(|a| fill(a, values)).collect()),
        Line::Shell(text) => {
            let quoted: Vec<(&str, String)> = values.iter().map(|(k, v)| (*k, quote(v))).collect();
            let quoted: Vec<(&str, &str)> = quoted.iter().map(|(k, v)| (*k, v.as_str())).collect();
            Line::Shell(fill(text, &quoted))
        }
    }
}

/// One word for `/bin/sh`.
fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Limit: what comes after the command in a message must not be cut off for its sake.
const SHOWN_CHARS_MAX: usize = 60;

/// A command as a person would type it, for error messages; the log has the whole of a long one.
pub fn shown(line: &Line) -> String {
    let text = match line {
        Line::Shell(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Line::Argv(argv) => argv.iter().map(|a| quote(a)).collect::<Vec<_>>().join(" "),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_braces_is_not_filled_again() {
        assert_eq!(fill("{a}-{b}-{c}{", &[("a", "{b}"), ("b", "x")]), "{b}-x-{c}{");
    }

    #[test]
    fn a_long_command_leaves_room_for_what_is_said_about_it() {
        assert_eq!(shown(&Line::Shell("  make\n\tlist ".into())), "make list");
        let long = shown(&Line::Shell("é".repeat(500)));
        assert_eq!((long.chars().count(), long.ends_with('…')), (SHOWN_CHARS_MAX + 1, true));
    }

    #[test]
    fn a_shell_line_gets_quoted_words_and_an_argv_gets_them_bare() {
        let values = [("file", "it's here.js")];
        assert_eq!(
            fill_line(&Line::Shell("d8 {file} 2>&1".into()), &values),
            Line::Shell(r"d8 'it'\''s here.js' 2>&1".into())
        );
        assert_eq!(
            fill_line(&Line::Argv(vec!["d8".into(), "{file}".into()]), &values),
            Line::Argv(vec!["d8".into(), "it's here.js".into()])
        );
    }
}
