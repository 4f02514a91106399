//! What a shell's `echo` would make of a value, where that can be said without a shell: variables, quotes
//! and blanks. Megatest passes what it exports through one.

use std::collections::BTreeMap;

/// What became of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Echoed {
    /// This.
    Text(String),
    /// Only a shell can say it: there are commands in it.
    NeedsShell,
}

/// Expands variables, takes quotes away, joins words with one blank.
pub(super) fn echo(text: &str, env: &BTreeMap<String, String>) -> Echoed {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // A word begins where something other than a blank comes; blanks between words become one.
    let mut gap = false;
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_ascii_whitespace() {
            gap = !out.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
        }
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => out.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (_, '`') | (None, '|' | '&' | ';' | '<' | '>' | '(' | ')') => return Echoed::NeedsShell,
            (None, '~') if out.is_empty() || out.ends_with(' ') => {
                out.push_str(env.get("HOME").map_or("~", String::as_str));
            }
            (_, '\\') => match chars.next() {
                None => out.push('\\'),
                Some(next) if quote.is_none() || matches!(next, '"' | '\\' | '$' | '`') => out.push(next),
                Some(next) => out.extend(['\\', next]),
            },
            (_, '$') => match chars.peek() {
                Some('(') => return Echoed::NeedsShell,
                Some('{') => {
                    let name: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    if !is_name(&name) {
                        return Echoed::NeedsShell;
                    }
                    out.push_str(env.get(&name).map_or("", String::as_str));
                }
                Some(c) if c.is_ascii_alphabetic() || *c == '_' => {
                    let mut name = String::new();
                    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    out.push_str(env.get(&name).map_or("", String::as_str));
                }
                Some(c) if c.is_ascii_digit() || "$?!#*@-".contains(*c) => return Echoed::NeedsShell,
                _ => out.push('$'),
            },
            (_, c) => out.push(c),
        }
    }
    // A quote that is never closed is an error in a shell; the value is taken as it is written.
    if quote.is_some() { Echoed::Text(text.to_owned()) } else { Echoed::Text(out) }
}

/// Whether this can be the name of a variable in a shell.
pub(super) fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn env() -> BTreeMap<String, String> {
        [("A", "1"), ("HOME", "/h"), ("LONG_NAME", "x y")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn values_are_what_a_shell_would_echo() {
        let cases = [
            ("plain", "plain"),
            ("a   b\n c ", "a b c"),
            ("$A/$LONG_NAME/${A}b", "1/x y/1b"),
            ("'$A' \"$A  b\"", "$A 1  b"),
            ("$MISSING|", ""),
            ("\\$A ~/x a~", "$A /h/x a~"),
            ("it's", "it's"),
            ("5$ $", "5$ $"),
        ];
        for (text, expected) in cases {
            let expected = match text.contains('|') {
                true => Echoed::NeedsShell,
                false => Echoed::Text(expected.to_owned()),
            };
            assert_eq!(echo(text, &env()), expected, "{text:?}");
        }
        for text in ["`date`", "$(date)", "a; b", "\"$(x)\"", "${A:-b}"] {
            assert_eq!(echo(text, &env()), Echoed::NeedsShell, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_syntax_stays_as_it_is(text in "[a-zA-Z0-9_./:,=+-]{0,40}") {
            prop_assert_eq!(echo(&text, &env()), Echoed::Text(text));
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,80}") {
            echo(&text, &env());
        }
    }
}
