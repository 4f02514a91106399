//! Programs on agents that are not Muster's own.
//!
//! Their `exec` takes few words unspoilt, tells no end but an exit code, and forgets about a program whose
//! client went away. So, where the device has a shell, what is to be done is pushed as a script, which also
//! writes down its number, by which it is killed when its time is over.

use super::link::{Link, warning};
use super::{Client, Wrong};
use crate::device::{Command, Exit, Files as _, Sink};
use crate::error::DeviceError;
use crate::sut::PROMPT;
use crate::sut::words::{is_plain, shell_quote};
use crate::until::{Ended, Until};
use muster_core::output::Stream;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long tidying up after a program may take.
const TIDY_MAX: Duration = Duration::from_secs(60);
/// How long the code of a program may come after a prompt that seems to be the end: it was output.
const STRAY_MAX: Duration = Duration::from_secs(10);
/// Held back of the output, because it may be the end of the answer.
const END_BYTES: usize = 64;
const CODE: &[u8] = b"return code [";

impl Client {
    pub(super) fn run_classic(
        &self,
        command: &Command,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Exit, DeviceError> {
        let program = &command.args[0];
        let doing = format!("running `{program}`");
        let root = match command.user.as_deref() {
            None => false,
            Some("root") => true,
            Some(user) => {
                return Err(
                    self.unsupported(format!("run programs as `{user}`"), "its agent only knows `root`")
                );
            }
        };
        if let Some(dir) = &command.dir
            && self.stat(dir, until)?.is_none()
        {
            return Err(DeviceError::NotFound { device: self.address.clone(), path: dir.clone() });
        }
        let (has_shell, can_be_root) =
            self.with(&doing, until, |link| Ok((has_shell(link, until)?, link.variant().has_execsu())))?;
        if !has_shell {
            return self.run_bare(command, root, sink, until);
        }
        let base = self.scratch(until)?;
        let plan = Plan::new(command, &base);
        for (path, text) in &plan.files {
            self.push(&mut &**text, text.len() as u64, path, until)?;
        }
        let mut words = vec!["sh".to_owned(), plan.script()];
        if root && !can_be_root {
            words = vec!["su".to_owned(), "-c".to_owned(), format!("\"sh {}\"", plan.script())];
        }
        let line = Command::new(words);
        let limited = command.time_limit.map(|limit| until.at_most(limit));
        let by_limit = limited.as_ref().is_some_and(|l| l.left() < until.left());
        let waited = limited.as_ref().unwrap_or(until);
        let ran =
            self.with(&doing, waited, |link| self.run_line(link, &line, root && can_be_root, sink, waited));
        let tidy = until.anew(TIDY_MAX);
        match ran {
            Ok(exit) => {
                self.forget(&plan, &tidy);
                Ok(exit)
            }
            Err(e) => {
                self.kill(&plan, root && can_be_root, &tidy);
                self.forget(&plan, &tidy);
                match e {
                    DeviceError::Timeout { .. } if by_limit => Ok(Exit::TimeLimit),
                    e => Err(e),
                }
            }
        }
    }

    /// Where there is no shell: only what every agent takes as it is, and nothing is killed.
    fn run_bare(
        &self,
        command: &Command,
        root: bool,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Exit, DeviceError> {
        let fits = command.args.iter().all(|a| is_plain(a)) && !command.args[0].contains('=');
        if !fits || command.dir.is_some() || !command.env.is_empty() || !command.stdin.is_empty() || root {
            let what = "take such words, variables, a directory, input or another user";
            return Err(self.unsupported(what, "the device has no `sh` that could help"));
        }
        let until = &command.time_limit.map_or_else(|| until.clone(), |limit| until.at_most(limit));
        let doing = format!("running `{}`", command.args[0]);
        // Its end by the limit cannot be made true, so it is the lab's fault.
        self.with(&doing, until, |link| self.run_line(link, command, false, sink, until))
    }

    /// `exec` and its answer.
    pub(super) fn run_line(
        &self,
        link: &mut Link,
        command: &Command,
        root: bool,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Exit, Wrong> {
        let word = if root { "execsu" } else { "exec" };
        link.say(&format!("{word} {}", command.args.join(" ")), until)?;
        let mut out = Out { sink, device: &self.address, adds_cr: link.variant().adds_cr(), cr: false };
        let mut begun = false;
        loop {
            let input = link.stream.input();
            if input.ends_with(PROMPT) {
                if let Some((text, code)) = split_code(input) {
                    out.take(&input[..text])?;
                    out.finish()?;
                    let n = input.len();
                    link.stream.consume(n);
                    link.back_in_step();
                    return Ok(link.variant().exit(code));
                }
                if !begun && let Some(why) = warning(&String::from_utf8_lossy(input)) {
                    link.answer(until)?;
                    return Err(Wrong::Warning(why.trim_end_matches("$>").trim().to_owned()));
                }
                if !begun && input.trim_ascii_start() == PROMPT {
                    let why = "it gave up waiting for the program's end and left it running";
                    return Err(Wrong::Nonsense(why.to_owned()));
                }
                // A program has printed what looks like a prompt, or the agent forgot the code.
                let short = until.at_most(STRAY_MAX);
                match link.more(&short) {
                    Err(Wrong::Ended(Ended::Deadline)) if !until.left().is_zero() => {
                        return Err(Wrong::Nonsense("no exit code came after the output".to_owned()));
                    }
                    other => other?,
                }
                continue;
            }
            if let Some(sure) = input.len().checked_sub(END_BYTES).filter(|n| *n > 0) {
                out.take(&input[..sure])?;
                link.stream.consume(sure);
                begun = true;
            } else if !input.is_empty() && !begun && is_whole_lines(input) {
                // Little output is passed on as soon as it cannot be the beginning of anything else.
                out.take(input)?;
                let n = input.len();
                link.stream.consume(n);
                begun = true;
                continue;
            } else if begun && is_whole_lines(input) {
                out.take(input)?;
                let n = input.len();
                link.stream.consume(n);
                continue;
            }
            link.more(until)?;
        }
    }

    /// A name for files of a call that no other has.
    fn scratch(&self, until: &Until) -> Result<String, DeviceError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let root = self.test_root(until)?;
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.subsec_nanos());
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        Ok(format!("{root}/.muster-{}-{nanos}-{n}", std::process::id()))
    }

    /// Kills a script and all that came of it. As well as it can be done: its end was told already.
    fn kill(&self, plan: &Plan, root: bool, tidy: &Until) {
        let path = format!("{}.kill", plan.base);
        let text = kill_script(&plan.base);
        if self.push(&mut text.as_bytes(), text.len() as u64, &path, tidy).is_err() {
            return;
        }
        let line = Command::new(["sh", &*path]);
        let mut nobody = |_: Stream, _: &[u8]| Ok(());
        // Whether it worked cannot be told to anybody any more.
        drop(
            self.with("killing a program", tidy, |link| self.run_line(link, &line, root, &mut nobody, tidy)),
        );
    }

    /// Removes the files of a call, as well as that can be done.
    fn forget(&self, plan: &Plan, tidy: &Until) {
        let words = ["rm", "-f"].map(str::to_owned).into_iter();
        let files = ["sh", "in", "pid", "kill"].map(|end| format!("{}.{end}", plan.base));
        let line = Command::new(words.chain(files));
        let mut nobody = |_: Stream, _: &[u8]| Ok(());
        drop(self.with("tidying up", tidy, |link| self.run_line(link, &line, false, &mut nobody, tidy)));
    }
}

/// Whether the device has a shell.
fn has_shell(link: &mut Link, until: &Until) -> Result<bool, Wrong> {
    if let Some(known) = link.shell {
        return Ok(known);
    }
    let found = match link.text("exec sh -c :", until) {
        Ok(text) => text.contains("return code [0]"),
        Err(Wrong::Warning(_)) => false,
        Err(other) => return Err(other),
    };
    link.shell = Some(found);
    Ok(found)
}

/// Whether nothing of it could be the beginning of a code, a prompt or a warning.
fn is_whole_lines(input: &[u8]) -> bool {
    input.ends_with(b"\n") && input != b"\n" && input != b"\r\n" && !input.starts_with(b"##AGENT") && {
        let line = input[..input.len() - 1].rsplit(|b| *b == b'\n').next().unwrap_or_default();
        !line.windows(CODE.len()).any(|w| w == CODE)
    }
}

/// Where the output ends and the code behind it, of an answer that ends with a prompt.
fn split_code(input: &[u8]) -> Option<(usize, u32)> {
    let text = input.strip_suffix(PROMPT)?.trim_ascii_end();
    let text = text.strip_suffix(b"]")?;
    let at = text.windows(CODE.len()).rposition(|w| w == CODE)?;
    let digits = &text[at + CODE.len()..];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((at, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// The output of a program, as it was before the agent changed its line ends.
struct Out<'a> {
    sink: &'a mut dyn Sink,
    device: &'a str,
    adds_cr: bool,
    /// A CR was held back, because a LF may follow.
    cr: bool,
}

impl Out<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        if !self.adds_cr {
            return self.pass(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if self.cr && byte != b'\n' {
                out.push(b'\r');
            }
            self.cr = byte == b'\r';
            if !self.cr {
                out.push(byte);
            }
        }
        self.pass(&out)
    }

    fn finish(&mut self) -> Result<(), Wrong> {
        if std::mem::take(&mut self.cr) { self.pass(b"\r") } else { Ok(()) }
    }

    fn pass(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sink
            .take(Stream::Stdout, bytes)
            .map_err(|source| DeviceError::Output { device: self.device.to_owned(), source }.into())
    }
}

/// The files by which a command is done.
struct Plan {
    base: String,
    files: Vec<(String, Vec<u8>)>,
}

impl Plan {
    fn new(command: &Command, base: &str) -> Self {
        let mut text = format!("echo $$ > {base}.pid\n");
        if let Some(dir) = &command.dir {
            // A string takes all that is written to it.
            let _ = writeln!(text, "cd {} || exit 125", shell_quote(dir));
        }
        for (name, value) in &command.env {
            let _ = writeln!(text, "export {name}={}", shell_quote(value));
        }
        let words: Vec<String> = command.args.iter().map(|a| shell_quote(a)).collect();
        let stdin = if command.stdin.is_empty() { "/dev/null".to_owned() } else { format!("{base}.in") };
        let _ = writeln!(text, "exec {} < {stdin}", words.join(" "));
        let mut files = vec![(format!("{base}.sh"), text.into_bytes())];
        if !command.stdin.is_empty() {
            files.push((stdin, command.stdin.clone()));
        }
        Self { base: base.to_owned(), files }
    }

    fn script(&self) -> String {
        format!("{}.sh", self.base)
    }
}

/// Stops a process before its children are looked for, so that none is born meanwhile.
fn kill_script(base: &str) -> String {
    format!(
        "tree() {{\n\
           kill -STOP $1\n\
           for d in /proc/[0-9]*; do\n\
             while read -r k v r; do\n\
               if [ \"$k\" = PPid: ] && [ \"$v\" = \"$1\" ]; then tree ${{d#/proc/}}; fi\n\
             done < $d/status\n\
           done\n\
           kill -9 $1\n\
         }}\n\
         read -r p < {base}.pid && tree $p\n\
         exit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_at_the_end_alone() {
        let check = |text: &[u8], expected| assert_eq!(split_code(text), expected, "{text:?}");
        check(b"hi\nreturn code [0]\n$>\0", Some((3, 0)));
        check(b"hireturn code [7]\r\n$>\0", Some((2, 7)));
        check(b"return code [256]$>\0", Some((0, 256)));
        check(b"return code [1]\nreturn code [2]\n$>\0", Some((16, 2)));
        check(b"return code [1]\nmore\n$>\0", None);
        check(b"return code [-1]\n$>\0", None);
        check(b"return code []\n$>\0", None);
        check(b"return code [99999999999]\n$>\0", None);
        check(b"return code [1]\n", None);
    }

    #[test]
    fn line_ends_are_as_the_program_wrote_them() {
        let mut all = Vec::new();
        let mut sink = |_: Stream, bytes: &[u8]| {
            all.extend_from_slice(bytes);
            Ok(())
        };
        let mut out = Out { sink: &mut sink, device: "d", adds_cr: true, cr: false };
        // What the program wrote: "a\n", "b\r\n", "\r".
        for piece in [&b"a\r"[..], b"\nb\r", b"\r\n", b"\r"] {
            out.take(piece).unwrap();
        }
        out.finish().unwrap();
        assert_eq!(all, b"a\nb\r\n\r");
    }
}
