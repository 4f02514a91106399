//! Framed logs on their way to a person, a pipe or a program, piece by piece.

use super::style::{DIM, INFO, WARN, paint};
use anstream::adapter::strip_str;
use muster_core::output::{Frame, Stream, split_frame};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

/// Which streams are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Both, and Muster's remarks, in the order they were read.
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As it was written.
    Plain,
    /// Time and stream in front of each line.
    Timed,
    /// A JSON object for each frame.
    Json,
}

/// Prints frames as their bytes come.
pub(crate) struct LogPrinter<W> {
    out: W,
    choice: Choice,
    shape: Shape,
    /// Codes other than colours are taken out.
    tame: bool,
    /// Margins are in colour.
    color: bool,
    /// Bytes of a frame that is not whole yet.
    rest: Vec<u8>,
    /// Bytes of text taken in, of both streams; remarks do not count.
    taken: u64,
    /// Of what comes next, this much has been printed before.
    skip: u64,
    /// The stream whose line is not ended.
    open: Option<Stream>,
    tamer: Tamer,
}

#[derive(Serialize)]
struct JsonFrame<'a> {
    stream: &'static str,
    at_millis: u64,
    text: &'a str,
}

impl<W: Write> LogPrinter<W> {
    /// A printer; `tame` for terminals, which are to keep their cursor and title whatever a test prints.
    /// `color` is for what is added to it.
    pub(crate) fn new(out: W, choice: Choice, shape: Shape, tame: bool, color: bool) -> Self {
        Self {
            out,
            choice,
            shape,
            tame,
            color,
            rest: Vec::new(),
            taken: 0,
            skip: 0,
            open: None,
            tamer: Tamer::default(),
        }
    }

    /// Takes further bytes of the log.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut log = std::mem::take(&mut self.rest);
        log.extend_from_slice(bytes);
        let mut left: &[u8] = &log;
        while let Some((frame, rest)) = split_frame(left) {
            self.frame(frame)?;
            left = rest;
        }
        let used = log.len() - left.len();
        log.drain(..used);
        self.rest = log;
        Ok(())
    }

    /// Takes what a file has from byte `from` on, and returns where it ended. A file that is not there has
    /// nothing.
    pub(crate) fn push_file(&mut self, path: &Path, from: u64) -> io::Result<u64> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(from),
            Err(e) => return Err(e),
        };
        file.seek(SeekFrom::Start(from))?;
        let mut at = from;
        let mut piece = vec![0; 64 << 10];
        loop {
            let n = file.read(&mut piece)?;
            if n == 0 {
                return Ok(at);
            }
            at += n as u64;
            self.push(&piece[..n])?;
        }
    }

    /// What comes next begins with what has been printed already, perhaps cut differently.
    pub(crate) fn skip_what_was_printed(&mut self) {
        self.skip = std::mem::take(&mut self.taken);
        self.rest.clear();
    }

    /// Whether there was anything so far.
    pub(crate) fn has_printed(&self) -> bool {
        self.taken > 0
    }

    /// Everything so far is on its way.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// There is no more.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.open.is_some() && self.shape == Shape::Timed {
            self.out.write_all(b"\n")?;
        }
        if self.tame {
            self.out.write_all(b"\x1b[0m")?;
        }
        self.out.flush()
    }

    fn frame(&mut self, mut frame: Frame<'_>) -> io::Result<()> {
        if frame.stream == Stream::Muster {
            if self.skip > 0 {
                return Ok(());
            }
        } else {
            self.taken += frame.text.len() as u64;
            let known = usize::try_from(self.skip).map_or(frame.text.len(), |s| s.min(frame.text.len()));
            self.skip -= known as u64;
            frame.text = &frame.text[known..];
        }
        let wanted = match self.choice {
            Choice::All => true,
            Choice::Stdout => frame.stream == Stream::Stdout,
            Choice::Stderr => frame.stream == Stream::Stderr,
        };
        if !wanted || frame.text.is_empty() {
            return Ok(());
        }
        if self.shape == Shape::Json {
            let stream = match frame.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
                Stream::Muster => "muster",
            };
            let text = &String::from_utf8_lossy(frame.text);
            serde_json::to_writer(&mut self.out, &JsonFrame { stream, at_millis: frame.at_millis, text })?;
            return self.out.write_all(b"\n");
        }
        let tamed;
        let text = if self.tame {
            tamed = self.tamer.take(frame.text);
            &tamed
        } else {
            frame.text
        };
        if self.shape == Shape::Timed || frame.stream == Stream::Muster {
            return self.lines(frame.stream, frame.at_millis, text);
        }
        self.close_remark()?;
        self.open = (text.last() != Some(&b'\n')).then_some(frame.stream);
        self.out.write_all(text)
    }

    /// After an unfinished remark of ours the test's text begins on a line of its own.
    fn close_remark(&mut self) -> io::Result<()> {
        if self.open == Some(Stream::Muster) {
            self.out.write_all(b"\n")?;
            self.open = None;
        }
        Ok(())
    }

    /// Whole lines with a margin each; the text of another stream begins a line of its own.
    fn lines(&mut self, stream: Stream, at_millis: u64, text: &[u8]) -> io::Result<()> {
        for line in text.split_inclusive(|b| *b == b'\n') {
            if self.open.is_some_and(|open| open != stream) {
                self.out.write_all(b"\n")?;
                self.open = None;
            }
            if self.open.is_none() {
                let margin = match self.shape {
                    Shape::Timed => margin(stream, at_millis),
                    Shape::Plain | Shape::Json => paint(INFO, "[muster] "),
                };
                let margin = if self.color { margin } else { strip_str(&margin).to_string() };
                self.out.write_all(margin.as_bytes())?;
            }
            self.open = (line.last() != Some(&b'\n')).then_some(stream);
            self.out.write_all(line)?;
        }
        Ok(())
    }
}

/// `   12.345 out `.
fn margin(stream: Stream, at_millis: u64) -> String {
    let (name, style) = match stream {
        Stream::Stdout => ("out", DIM),
        Stream::Stderr => ("err", WARN),
        Stream::Muster => ("---", INFO),
    };
    let time = format!("{:>5}.{:03}", at_millis / 1000, at_millis % 1000);
    format!("{} {} ", paint(DIM, time), paint(style, name))
}

/// Lets text, line ends, tabs and colours through, and no other terminal code, however it is split.
#[derive(Debug, Default)]
struct Tamer {
    state: TamerState,
    /// The code so far, from its escape on.
    code: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum TamerState {
    #[default]
    Text,
    Escape,
    /// Control sequence: ends with a byte from `@` to `~`; with `m`, it is a colour.
    Csi,
    /// Control string: ends with BEL or ESC `\`.
    Str,
    StrEscape,
}

/// Limit: longest colour code let through.
const COLOR_BYTES_MAX: usize = 64;

impl Tamer {
    fn take(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        for &b in text {
            self.state = match std::mem::take(&mut self.state) {
                TamerState::Text => match b {
                    0x1b => {
                        self.code = vec![b];
                        TamerState::Escape
                    }
                    b'\n' | b'\t' | b'\r' | 0x20..=0x7e | 0x80.. => {
                        out.push(b);
                        TamerState::Text
                    }
                    _ => TamerState::Text,
                },
                TamerState::Escape => match b {
                    b'[' => {
                        self.code.push(b);
                        TamerState::Csi
                    }
                    b']' | b'P' | b'X' | b'^' | b'_' => TamerState::Str,
                    0x20..=0x2f | 0x1b => TamerState::Escape,
                    _ => TamerState::Text,
                },
                TamerState::Csi => match b {
                    b'm' => {
                        if self.code.len() < COLOR_BYTES_MAX {
                            self.code.push(b);
                            out.append(&mut self.code);
                        }
                        TamerState::Text
                    }
                    b'0'..=b'9' | b';' | b':' => {
                        if self.code.len() < COLOR_BYTES_MAX {
                            self.code.push(b);
                        }
                        TamerState::Csi
                    }
                    0x40..=0x7e | b'\n' => TamerState::Text,
                    _ => {
                        // Private parameters make it no colour: it can only be dropped.
                        self.code.resize(COLOR_BYTES_MAX, 0);
                        TamerState::Csi
                    }
                },
                TamerState::Str => match b {
                    0x07 | b'\n' => TamerState::Text,
                    0x1b => TamerState::StrEscape,
                    _ => TamerState::Str,
                },
                TamerState::StrEscape => match b {
                    b'\\' | b'\n' => TamerState::Text,
                    _ => TamerState::Str,
                },
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use muster_core::output::push;

    fn log() -> Vec<u8> {
        let mut log = Vec::new();
        for (stream, at_millis, text) in [
            (Stream::Muster, 0, "step `build`"),
            (Stream::Stdout, 5, "one\ntw"),
            (Stream::Stderr, 1_012, "warning: x\n"),
            (Stream::Stdout, 61_000, "o\n"),
            (Stream::Muster, 61_001, "TERM sent\n"),
            (Stream::Stdout, 61_002, "no line end"),
        ] {
            push(&mut log, Frame { stream, at_millis, text: text.as_bytes() });
        }
        log
    }

    fn check(choice: Choice, shape: Shape, expected: Expect) {
        let log = log();
        // Cut anywhere, it must come out the same.
        let mut texts = Vec::new();
        for cut in 0..=log.len() {
            let mut out = Vec::new();
            let mut printer = LogPrinter::new(&mut out, choice, shape, false, false);
            printer.push(&log[..cut]).unwrap();
            printer.push(&log[cut..]).unwrap();
            printer.finish().unwrap();
            texts.push(String::from_utf8(out).unwrap());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1);
        // A mark keeps what a line begins with.
        expected.assert_eq(&texts[0].lines().map(|l| format!("|{l}\n")).collect::<String>());
    }

    #[test]
    fn plain_output_is_as_it_was_written_with_remarks_on_lines_of_their_own() {
        check(
            Choice::All,
            Shape::Plain,
            expect![[r#"
                |[muster] step `build`
                |one
                |twwarning: x
                |o
                |[muster] TERM sent
                |no line end
            "#]],
        );
        check(
            Choice::Stdout,
            Shape::Plain,
            expect![[r#"
                |one
                |two
                |no line end
            "#]],
        );
        check(
            Choice::Stderr,
            Shape::Plain,
            expect![[r#"
                |warning: x
            "#]],
        );
    }

    #[test]
    fn timed_output_has_a_margin_before_each_line() {
        check(
            Choice::All,
            Shape::Timed,
            expect![[r#"
                |    0.000 --- step `build`
                |    0.005 out one
                |    0.005 out tw
                |    1.012 err warning: x
                |   61.000 out o
                |   61.001 --- TERM sent
                |   61.002 out no line end
            "#]],
        );
    }

    #[test]
    fn a_log_that_was_printed_in_part_goes_on_where_it_stood() {
        let log = log();
        for cut in 0..=log.len() {
            let mut out = Vec::new();
            let mut printer = LogPrinter::new(&mut out, Choice::Stdout, Shape::Plain, false, false);
            printer.push(&log[..cut]).unwrap();
            printer.skip_what_was_printed();
            printer.push(&log).unwrap();
            printer.finish().unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\nno line end", "cut at {cut}");
        }
    }

    #[test]
    fn programs_get_an_object_for_each_frame() {
        check(
            Choice::Stderr,
            Shape::Json,
            expect![[r#"
                |{"stream":"stderr","at_millis":1012,"text":"warning: x\n"}
            "#]],
        );
    }

    #[test]
    fn a_terminal_keeps_its_cursor_and_title_whatever_a_test_prints() {
        let hostile = b"a\x1b[31mred\x1b[0m\x1b[2J\x1b[?25l\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x07\x08\x1bc\xc3\xa9\n";
        for cut in 0..hostile.len() {
            let mut tamer = Tamer::default();
            let mut out = tamer.take(&hostile[..cut]);
            out.extend(tamer.take(&hostile[cut..]));
            assert_eq!(String::from_utf8(out).unwrap(), "a\x1b[31mred\x1b[0mbcé\n", "cut at {cut}");
        }
    }
}
