//! How a command line of the protocol is taken apart and put together.

/// Splits what follows a command word into arguments: blanks separate; an argument that begins with `"` or
/// `'` goes on to the next such quote without a backslash before it; a quote without an end is a character.
pub(crate) fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        let Some(&first) = rest.first() else { return words };
        if (first == b'"' || first == b'\'')
            && let Some((word, after)) = quoted(&rest[1..], first)
        {
            words.push(word);
            rest = after;
            continue;
        }
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        words.push(rest[..end].to_vec());
        rest = &rest[end..];
    }
}

fn quoted(text: &[u8], quote: u8) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'\\' if text.get(at + 1) == Some(&quote) => {
                word.push(quote);
                at += 2;
            }
            byte if byte == quote => return Some((word, &text[at + 1..])),
            byte => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// Writes an argument so that [`split`] gives it back; `None` where there is no way.
pub(crate) fn quote(word: &str) -> Option<String> {
    // Neither a line break nor a backslash before a quote can be written.
    if word.contains(['\r', '\n', '\0']) {
        return None;
    }
    if is_plain(word) {
        return Some(word.to_owned());
    }
    for quote in ['\'', '"'] {
        if !word.contains(&format!("\\{quote}")) && !word.ends_with('\\') {
            return Some(format!("{quote}{}{quote}", word.replace(quote, &format!("\\{quote}"))));
        }
    }
    None
}

/// Whether every agent takes a word as it is.
pub(crate) fn is_plain(word: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=~^".contains(c);
    !word.is_empty() && word.chars().all(fits)
}

/// Writes a word for a POSIX shell.
pub(crate) fn shell_quote(word: &str) -> String {
    if is_plain(word) && !word.starts_with('~') && !word.contains('=') {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        let words: Vec<String> =
            split(text.as_bytes()).into_iter().map(|w| String::from_utf8(w).unwrap()).collect();
        assert_eq!(words, expected, "{text}");
    }

    #[test]
    fn arguments_are_split_as_the_java_agent_does() {
        check("", &[]);
        check("  a   b ", &["a", "b"]);
        check("'a b' \"c 'd\" e'f'g", &["a b", "c 'd", "e'f'g"]);
        check(r#"'it\'s' "say \"x\"" 'a\b'"#, &["it's", "say \"x\"", "a\\b"]);
        check("'no end", &["'no", "end"]);
        check("\"A=1,B=2\" prog ''", &["A=1,B=2", "prog", ""]);
        check("'a'b", &["a", "b"]);
    }

    #[test]
    fn what_cannot_be_written_is_not() {
        for word in ["a\nb", "a\\", "\\'\\\""] {
            assert_eq!(quote(word), None, "{word}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(words in proptest::collection::vec(".{0,12}", 0..6)) {
            let written: Option<Vec<String>> = words.iter().map(|w| quote(w)).collect();
            if let Some(written) = written {
                let read = split(written.join(" ").as_bytes());
                let expected: Vec<Vec<u8>> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
                prop_assert_eq!(read, expected);
            }
        }

        #[test]
        fn nothing_makes_splitting_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for word in split(&bytes) {
                prop_assert!(word.len() <= bytes.len());
            }
        }
    }
}
