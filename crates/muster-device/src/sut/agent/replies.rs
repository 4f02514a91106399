//! What the agent says.

use crate::sut::{PROMPT, WARNING};
use std::fmt::Display;
use std::io;

/// An answer to a command.
pub(super) enum Reply {
    /// A text; none is a prompt alone.
    Text(Vec<u8>),
    /// No, and why.
    Warning(String),
    /// It has been said already, prompt and all.
    Said,
    /// A text without a prompt, and then the end of the connection.
    Last(&'static str),
    /// The end of the connection, after a warning: what follows on it cannot be understood.
    Lost(String),
}

impl Reply {
    pub(super) fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn warning(text: impl Display) -> Self {
        Self::Warning(text.to_string())
    }

    /// A warning about a path.
    pub(super) fn about(path: &str, error: &io::Error) -> Self {
        Self::Warning(format!("{path}: {}", why(error)))
    }

    pub(super) fn wrong_count(command: &str) -> Self {
        Self::Warning(format!("Wrong number of arguments for {command} command!"))
    }

    /// The bytes to send.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Said => return Vec::new(),
            Self::Last(text) => return format!("{text}\n").into_bytes(),
            Self::Text(text) => without_prompts(&text),
            Self::Warning(text) | Self::Lost(text) => {
                // One line, whatever a path in it contains.
                let text = text.replace(['\r', '\n', '\0'], " ");
                format!("{WARNING}{text}").into_bytes()
            }
        };
        if !bytes.is_empty() {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(PROMPT);
        bytes
    }
}

/// What the system said, in its plain words.
pub(super) fn why(error: &io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "No such file or directory".to_owned(),
        Some(Errno::XDEV | Errno::LOOP) => {
            "it leads out of the directory this agent is confined to".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The text with every prompt in it spoilt, so that no client takes it for the end of the answer.
fn without_prompts(text: &[u8]) -> Vec<u8> {
    let mut spoiler = Spoiler::default();
    let mut out = spoiler.take(text);
    out.extend(spoiler.rest());
    out
}

/// Spoils prompts in a text that comes in pieces: the last byte becomes `\0` in two letters.
#[derive(Default)]
pub(super) struct Spoiler {
    /// How many bytes of a prompt were seen and held back.
    held: usize,
}

impl Spoiler {
    pub(super) fn take(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 8);
        for &byte in text {
            if byte == PROMPT[self.held] {
                self.held += 1;
                if self.held == PROMPT.len() {
                    out.extend_from_slice(b"$>\\0");
                    self.held = 0;
                }
                continue;
            }
            out.extend_from_slice(&PROMPT[..self.held]);
            self.held = usize::from(byte == PROMPT[0]);
            if self.held == 0 {
                out.push(byte);
            }
        }
        out
    }

    /// What is still held back when the text is over.
    pub(super) fn rest(&mut self) -> &'static [u8] {
        &PROMPT[..std::mem::take(&mut self.held)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prompts_are_spoilt_and_nothing_else() {
        assert_eq!(without_prompts(b"a$>\0b"), b"a$>\\0b");
        assert_eq!(without_prompts(b"$$>\0$>$"), b"$$>\\0$>$");
        assert_eq!(without_prompts(b"100$ > 5\n"), b"100$ > 5\n");
        assert_eq!(Reply::text("").bytes(), b"$>\0");
        assert_eq!(Reply::warning("a\r\nb").bytes(), b"##AGENT-WARNING## a  b\n$>\0");
    }

    proptest! {
        #[test]
        fn no_prompt_gets_through_in_whatever_pieces(
            text in proptest::collection::vec(prop_oneof![Just(b'$'), Just(b'>'), Just(0), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(0usize..60, 0..5),
        ) {
            let mut spoiler = Spoiler::default();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut out = Vec::new();
            for pair in cuts.windows(2) {
                out.extend(spoiler.take(&text[pair[0]..pair[1]]));
            }
            out.extend_from_slice(spoiler.rest());
            prop_assert!(!out.windows(3).any(|w| w == PROMPT));
            prop_assert_eq!(out, without_prompts(&text));
        }
    }
}
