//! One stream of a session: what comes before the work, the work's own output, and how it ended.

use std::io;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Greetings of the login shell, complaints of `ssh`.
    Before,
    Within,
    Ending,
    Done,
}

/// A stream that is taken apart as it comes.
#[derive(Debug)]
pub(super) struct Marked {
    begin: Vec<u8>,
    end: Vec<u8>,
    phase: Phase,
    held: Vec<u8>,
    began: Option<String>,
    ended: Option<String>,
}

// Limit: of what comes before the work so much is kept.
const BEFORE_BYTES_MAX: usize = 64 << 10;

impl Marked {
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            begin: format!("\u{1}{nonce}+").into_bytes(),
            end: format!("\u{1}{nonce}=").into_bytes(),
            phase: Phase::Before,
            held: Vec::new(),
            began: None,
            ended: None,
        }
    }

    /// What was said with the mark at the beginning.
    pub(super) fn began(&self) -> Option<&str> {
        self.began.as_deref()
    }

    /// What was said with the mark at the end.
    pub(super) fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// What came before the work, if that has not begun; what is held back of its output otherwise.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes some bytes, and passes on what is output of the work.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        pass: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.phase == Phase::Within && self.held.is_empty() && !bytes.contains(&1) {
            return pass(bytes);
        }
        self.held.extend_from_slice(bytes);
        loop {
            match self.phase {
                Phase::Before => {
                    let Some(at) = find(&self.held, &self.begin) else {
                        let more = self.held.len().saturating_sub(BEFORE_BYTES_MAX);
                        self.held.drain(..more);
                        return Ok(());
                    };
                    let Some(line) = line(&self.held[at + self.begin.len()..]) else { return Ok(()) };
                    self.held.drain(..=at + self.begin.len() + line.len());
                    self.began = Some(line);
                    self.phase = Phase::Within;
                }
                Phase::Within => {
                    if let Some(at) = find(&self.held, &self.end) {
                        pass_on(&self.held[..at], pass)?;
                        self.held.drain(..at + self.end.len());
                        self.phase = Phase::Ending;
                        continue;
                    }
                    let sure = self.held.len() - beginning_of(&self.end, &self.held);
                    pass_on(&self.held[..sure], pass)?;
                    self.held.drain(..sure);
                    return Ok(());
                }
                Phase::Ending => {
                    let Some(line) = line(&self.held) else { return Ok(()) };
                    self.ended = Some(line);
                    self.phase = Phase::Done;
                }
                // What the work has left running goes on printing, for nobody.
                Phase::Done => {
                    self.held.clear();
                    return Ok(());
                }
            }
        }
    }
}

fn pass_on(bytes: &[u8], pass: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    if bytes.is_empty() { Ok(()) } else { pass(bytes) }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|b| *b == wanted[0]) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A line that has its end.
fn line(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|b| *b == b'\n')?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// How many bytes at the end of a text may be the beginning of a mark.
fn beginning_of(mark: &[u8], text: &[u8]) -> usize {
    let most = mark.len().min(text.len());
    (1..=most).rev().find(|n| mark.starts_with(&text[text.len() - n..])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_taken_apart_wherever_it_is_cut() {
        let all = b"Welcome!\n\x01N+17\none\x01\x01N two\x01N=signal 9\nlate";
        for size in 1..all.len() {
            let mut marked = Marked::new("N");
            let mut out = Vec::new();
            for piece in all.chunks(size) {
                marked
                    .take(piece, &mut |bytes| {
                        out.extend_from_slice(bytes);
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!((marked.began(), marked.ended()), (Some("17"), Some("signal 9")), "{size}");
            assert_eq!(out, b"one\x01\x01N two", "{size}");
        }
    }

    #[test]
    fn what_comes_before_is_kept_in_part() {
        let mut marked = Marked::new("N");
        marked.take(&vec![b'x'; 1 << 20], &mut |_| panic!("it is no output")).unwrap();
        assert_eq!(marked.held().len(), BEFORE_BYTES_MAX);
        assert_eq!(marked.began(), None);
    }
}
