//! Programs, by shell v2: packets of a letter, a length and bytes, in both directions.
//!
//! The shell of the device ends a session only when all that holds its streams has ended, also what a
//! program has left running. So the line that is run says on both streams, by a token nobody else knows,
//! that the program has ended and how, and what comes after that is not waited for. What a program has
//! started is known by a variable in its environment, and killed by that.

use super::Adb;
use crate::device::{Command, Exit, Sink};
use crate::error::DeviceError;
use crate::host::run::{MARK, mark};
use crate::stream::Stream as Connection;
use crate::sut::words::shell_quote;
use crate::until::Until;
use muster_core::output::Stream;
use std::fmt::Write as _;
use std::time::Duration;

/// How long tidying up after a program may take.
pub(super) const TIDY_MAX: Duration = Duration::from_secs(60);

/// The letters of packets.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
const CLOSE_STDIN: u8 = 4;

/// Bytes before those of a packet: its letter and their number.
const HEAD_BYTES: usize = 5;
/// Most bytes in a packet of ours; adbd takes no more at once.
const PACKET_BYTES_MAX: usize = 4 << 10;

/// A word that no program prints by chance.
pub(super) fn token() -> String {
    format!("muster.{}", mark())
}

impl Adb {
    pub(super) fn run_line(
        &self,
        command: &Command,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Exit, DeviceError> {
        let Some(program) = command.args.first() else {
            return Err(DeviceError::Senseless { what: "no program was named".to_owned() });
        };
        let doing = format!("running `{program}`");
        let (token, mark) = (token(), mark());
        let line = self.script(command, &token, &mark)?;
        let limited = command.time_limit.map(|limit| until.at_most(limit));
        let by_limit = limited.as_ref().is_some_and(|l| l.left() < until.left());
        let waited = limited.as_ref().unwrap_or(until);
        let mut session = None;
        let ended = self
            .service(&format!("shell,v2,raw:{line}"), waited)
            .and_then(|stream| self.attend(session.insert(stream), command, &token, sink, &doing, waited));
        if ended.is_err() && session.is_some() {
            self.kill(&mark, &until.anew(TIDY_MAX));
        }
        match ended {
            Err(DeviceError::Timeout { .. }) if by_limit => Ok(Exit::TimeLimit),
            other => other,
        }
    }

    /// The line for the device's shell.
    fn script(&self, command: &Command, token: &str, mark: &str) -> Result<String, DeviceError> {
        // A string takes all that is written to it.
        let mut line = String::new();
        if let Some(dir) = &command.dir {
            let _ = write!(line, "cd {} || exit 125; ", shell_quote(dir));
        }
        let marked = (MARK.to_owned(), mark.to_owned());
        for (name, value) in command.env.iter().chain([&marked]) {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(good) || value.contains('\0') {
                return Err(DeviceError::Senseless { what: format!("`{name}` is no variable of a shell") });
            }
            let _ = write!(line, "export {name}={}; ", shell_quote(value));
        }
        if command.args.iter().any(|a| a.contains('\0')) {
            return Err(DeviceError::Senseless { what: "an argument cannot have a zero byte".to_owned() });
        }
        let words: Vec<String> = command.args.iter().map(|a| shell_quote(a)).collect();
        let words = words.join(" ");
        let exec = match command.user.as_deref() {
            None => format!("exec {words}"),
            // The `su` of Android's own debug builds; that of others takes the same.
            Some("root" | "0") => format!(
                "if [ \"$(id -u)\" = 0 ]; then exec {words}; else exec su 0 sh -c {}; fi",
                shell_quote(&format!("exec {words}"))
            ),
            Some(user) => {
                return Err(DeviceError::Unsupported {
                    driver: "adb",
                    device: self.address.clone(),
                    what: format!("run programs as `{user}`"),
                    why: "it only knows the shell's user and `root`".to_owned(),
                });
            }
        };
        let stdin = if command.stdin.is_empty() { " </dev/null" } else { "" };
        let end = format!("c=$?; printf %s {token}=$c. >&2; printf %s {token}=$c.; exit $c");
        let _ = write!(line, "({exec}){stdin}; {end}");
        Ok(line)
    }

    /// Passes input and output on until both streams have told the end.
    fn attend(
        &self,
        stream: &mut Connection,
        command: &Command,
        token: &str,
        sink: &mut dyn Sink,
        doing: &str,
        until: &Until,
    ) -> Result<Exit, DeviceError> {
        let mut input = Vec::with_capacity(command.stdin.len() + HEAD_BYTES);
        for chunk in command.stdin.chunks(PACKET_BYTES_MAX) {
            input.push(STDIN);
            input.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(0).to_le_bytes());
            input.extend_from_slice(chunk);
        }
        input.extend_from_slice(&[CLOSE_STDIN, 0, 0, 0, 0]);
        let mut rest = &*input;
        let mut out = Tail::new(Stream::Stdout, token);
        let mut err = Tail::new(Stream::Stderr, token);
        let output = |source| DeviceError::Output { device: self.address.clone(), source };
        loop {
            while let Some((letter, length)) = packet(stream.input()) {
                let bytes = stream.input()[HEAD_BYTES..HEAD_BYTES + length].to_vec();
                stream.consume(HEAD_BYTES + length);
                match letter {
                    STDOUT => out.take(&bytes, sink).map_err(output)?,
                    STDERR => err.take(&bytes, sink).map_err(output)?,
                    EXIT => {
                        out.finish(sink).map_err(output)?;
                        err.finish(sink).map_err(output)?;
                        let code = bytes.first().copied().unwrap_or(255);
                        return Ok(Exit::Code(out.code.or(err.code).unwrap_or_else(|| code.into())));
                    }
                    _ => return Err(self.nonsense(doing, format!("a packet `{letter}`"))),
                }
                if let (Some(code), Some(_)) = (out.code, err.code) {
                    return Ok(Exit::Code(code));
                }
            }
            if stream.exchange(&mut rest, until).map_err(|e| self.ended(doing, e, until))? == 0 {
                return Err(self.gone(doing));
            }
        }
    }

    /// Kills all that carries a mark, as well as that can be done.
    fn kill(&self, mark: &str, until: &Until) {
        // Each round is for what the killed have started meanwhile.
        let line = format!(
            "for i in 1 2 3 4 5 6 7 8 9; do n=; \
             for f in $(grep -ls {MARK}={mark} /proc/[0-9]*/environ 2>/dev/null); do \
             p=${{f#/proc/}}; p=${{p%/environ}}; [ $p = $$ ] || {{ n=1; kill -9 $p; }}; done; \
             [ $n ] || break; done 2>/dev/null; exit 0"
        );
        if let Ok(mut stream) = self.service(&format!("shell,v2,raw:{line}"), until) {
            // It is told by nobody whether it worked; what is waited for is its end.
            while stream.fill(until).is_ok_and(|n| n > 0) {
                let n = stream.input().len();
                stream.consume(n);
            }
        }
    }
}

/// A whole packet at the beginning: its letter and how many bytes it has.
fn packet(input: &[u8]) -> Option<(u8, usize)> {
    let head: &[u8; HEAD_BYTES] = input.first_chunk()?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let length = usize::try_from(length).ok()?;
    (input.len() - HEAD_BYTES >= length).then_some((head[0], length))
}

/// The output of a stream up to the token, of which a beginning is held back.
struct Tail<'a> {
    stream: Stream,
    token: &'a [u8],
    held: Vec<u8>,
    /// What the token told.
    code: Option<i32>,
}

impl<'a> Tail<'a> {
    fn new(stream: Stream, token: &'a str) -> Self {
        Self { stream, token: token.as_bytes(), held: Vec::new(), code: None }
    }

    fn take(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> std::io::Result<()> {
        if self.code.is_some() {
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let at = self.held.windows(self.token.len()).position(|w| w == self.token);
        let sure = match at {
            Some(at) => {
                let told = &self.held[at + self.token.len()..];
                let digits = told.strip_prefix(b"=").unwrap_or_default();
                let end = digits.iter().position(|b| *b == b'.');
                self.code = end.and_then(|end| std::str::from_utf8(&digits[..end]).ok()?.parse().ok());
                at
            }
            None => {
                let most = self.held.len().min(self.token.len() - 1);
                let begun = (1..=most).rev().find(|n| self.held.ends_with(&self.token[..*n])).unwrap_or(0);
                self.held.len() - begun
            }
        };
        if sure > 0 {
            sink.take(self.stream, &self.held[..sure])?;
            self.held.drain(..sure);
        }
        Ok(())
    }

    /// The session has ended: what was held back is output, unless it is the token.
    fn finish(&mut self, sink: &mut dyn Sink) -> std::io::Result<()> {
        if self.code.is_none() && !self.held.is_empty() && !self.held.starts_with(self.token) {
            sink.take(self.stream, &self.held)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_however_it_is_cut() {
        let whole = b"out muster.x muster.xy=7.left";
        for cut in 0..whole.len() {
            let mut all = Vec::new();
            let mut sink = |_: Stream, bytes: &[u8]| {
                all.extend_from_slice(bytes);
                Ok(())
            };
            let mut tail = Tail::new(Stream::Stdout, "muster.xy");
            tail.take(&whole[..cut], &mut sink).unwrap();
            tail.take(&whole[cut..], &mut sink).unwrap();
            tail.take(b"left running", &mut sink).unwrap();
            tail.finish(&mut sink).unwrap();
            assert_eq!((tail.code, &*all), (Some(7), &b"out muster.x "[..]), "{cut}");
        }
    }
}
