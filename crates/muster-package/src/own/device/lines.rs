//! Lines for a device's shell. They are made of POSIX and nothing else, and paths in them are quoted, whatever
//! bytes they are of.

use crate::own::tree_path::TreePath;

/// Most bytes of arguments of one call.
// Limit: what a device's system takes for a program's words, with its environment, is 128 KiB or more.
const CALL_BYTES_MAX: usize = 32 << 10;
/// Most files that a function goes through at once: it moves its words once for each.
const CALL_WORDS_MAX: usize = 128;

/// A script that is written.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    pub(super) fn line(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'\n');
    }

    /// A variable that is this word.
    pub(super) fn set(&mut self, name: &str, word: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        quote(word, &mut self.0);
        self.0.push(b'\n');
    }

    /// One call of a function or program with these words, which are quoted.
    pub(super) fn call<'a>(&mut self, name: &str, words: impl IntoIterator<Item = &'a [u8]>) {
        self.0.extend_from_slice(name.as_bytes());
        for word in words {
            self.0.push(b' ');
            quote(word, &mut self.0);
        }
        self.0.push(b'\n');
    }

    /// As many calls as are needed for these words, and `last` behind those of each. Says how many words each
    /// call had.
    pub(super) fn calls(&mut self, name: &str, words: &[Vec<u8>], last: Option<&[u8]>) -> Vec<usize> {
        let mut counts = Vec::new();
        let mut rest = words;
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            while count < rest.len().min(CALL_WORDS_MAX) && (count == 0 || bytes < CALL_BYTES_MAX) {
                bytes += rest[count].len() + 3;
                count += 1;
            }
            self.call(name, rest[..count].iter().map(Vec::as_slice).chain(last));
            counts.push(count);
            rest = &rest[count..];
        }
        counts
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// A word that the shell takes as it is.
pub(super) fn quote(word: &[u8], to: &mut Vec<u8>) {
    to.push(b'\'');
    for byte in word {
        match byte {
            b'\'' => to.extend_from_slice(b"'\\''"),
            byte => to.push(*byte),
        }
    }
    to.push(b'\'');
}

/// A path of a package as a word that is never taken for an option: `./a/b`, below a directory if one is named.
pub(super) fn path(dir: &str, path: &TreePath) -> Vec<u8> {
    [if dir.is_empty() { "." } else { dir }.as_bytes(), b"/", path.bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn words_reach_a_program_as_they_are_and_none_is_lost() {
        let odd: [&[u8]; 6] = [b"a b", b"'", b"$x`y`", b"new\nline", b"\xff\x01", b"\\"];
        let mut words: Vec<Vec<u8>> = odd.map(<[u8]>::to_vec).to_vec();
        words.extend((0..300).map(|n| format!("file{n}").into_bytes()));
        words.extend((0..20).map(|n| vec![b'a' + n; 5_000]));
        let mut lines = Lines::new("p() { printf '%s\\000' \"$@\"; }\n");
        let counts = lines.calls("p", &words, Some(b"last"));
        assert!(counts.len() >= 5 && counts.iter().sum::<usize>() == words.len(), "{counts:?}");
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, lines.bytes()).unwrap();
        let said = Command::new("sh").arg(&script).output().unwrap();
        let mut expected = Vec::new();
        let mut rest = &words[..];
        for count in counts {
            for word in &rest[..count] {
                expected.extend_from_slice(word);
                expected.push(0);
            }
            expected.extend_from_slice(b"last\0");
            rest = &rest[count..];
        }
        assert!(said.stdout == expected, "{}", String::from_utf8_lossy(&said.stderr));
    }
}
