//! Calls to Muster's own agent.

use super::link::Link;
use super::{Client, Wrong};
use crate::device::{Command, Entry, Exit, Process, Sink, Stat};
use crate::error::DeviceError;
use crate::host::files::read_some;
use crate::sut::agent::hex;
use crate::sut::extension::{Answer, ERR, No, OUT, REMARK, Request, STDIN_BYTES_MAX, Why};
use crate::until::Until;
use md5::{Digest as _, Md5};
use muster_core::output::Stream;
use std::io::{Read, Write};
use std::time::Duration;

/// How much later than a program's limit the news of its end may come.
const NEWS_MAX: Duration = Duration::from_secs(60);
/// How much is sent at once.
const CHUNK_BYTES: usize = 256 << 10;

fn other(answer: &Answer) -> Wrong {
    Wrong::Nonsense(format!("an answer to something else: {answer:?}"))
}

fn no_frames(kind: u8, _: &[u8]) -> Result<(), Wrong> {
    Err(Wrong::Nonsense(format!("a frame of kind {kind} that nobody asked for")))
}

fn ask(link: &mut Link, request: &Request, until: &Until) -> Result<Answer, Wrong> {
    link.ask(request, until)?;
    link.hear(no_frames, until)
}

fn ask_nothing(link: &mut Link, request: &Request, until: &Until) -> Result<(), Wrong> {
    match ask(link, request, until)? {
        Answer::Nothing => Ok(()),
        answer => Err(other(&answer)),
    }
}

pub(super) fn list(link: &mut Link, dir: &str, until: &Until) -> Result<Vec<Entry>, Wrong> {
    match ask(link, &Request::List { path: dir.to_owned() }, until)? {
        Answer::Entries(entries) => Ok(entries),
        answer => Err(other(&answer)),
    }
}

pub(super) fn stat(link: &mut Link, path: &str, until: &Until) -> Result<Option<Stat>, Wrong> {
    match ask(link, &Request::Stat { path: path.to_owned() }, until)? {
        Answer::Stat(stat) => Ok(stat),
        answer => Err(other(&answer)),
    }
}

pub(super) fn make_dir(link: &mut Link, dir: &str, until: &Until) -> Result<(), Wrong> {
    ask_nothing(link, &Request::MakeDir { path: dir.to_owned() }, until)
}

pub(super) fn remove(link: &mut Link, path: &str, until: &Until) -> Result<(), Wrong> {
    ask_nothing(link, &Request::Remove { path: path.to_owned() }, until)
}

pub(super) fn make_executable(link: &mut Link, path: &str, until: &Until) -> Result<(), Wrong> {
    ask_nothing(link, &Request::MakeExecutable { path: path.to_owned() }, until)
}

pub(super) fn processes(link: &mut Link, until: &Until) -> Result<Vec<Process>, Wrong> {
    match ask(link, &Request::Processes, until)? {
        Answer::Processes(processes) => Ok(processes),
        answer => Err(other(&answer)),
    }
}

pub(super) fn signal(link: &mut Link, pid: u32, signal: i32, until: &Until) -> Result<(), Wrong> {
    ask_nothing(link, &Request::Signal { pid, signal }, until)
}

impl Client {
    pub(super) fn run_extended(
        &self,
        link: &mut Link,
        command: &Command,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Exit, Wrong> {
        let stdin_bytes = command.stdin.len() as u64;
        if stdin_bytes > STDIN_BYTES_MAX {
            let what = format!("a program reads at most {STDIN_BYTES_MAX} bytes here; push a file instead");
            return Err(DeviceError::Senseless { what }.into());
        }
        let request = Request::Exec {
            args: command.args.clone(),
            env: command.env.clone(),
            dir: command.dir.clone(),
            user: command.user.clone(),
            limit_millis: command.time_limit.map(|l| u64::try_from(l.as_millis()).unwrap_or(u64::MAX)),
            stdin_bytes,
        };
        let until = &command
            .time_limit
            .map_or_else(|| until.clone(), |limit| until.at_most(limit.saturating_add(NEWS_MAX)));
        link.ask(&request, until)?;
        link.stream.send_all(&command.stdin, until)?;
        let take = |kind, bytes: &[u8]| {
            let stream = match kind {
                OUT => Stream::Stdout,
                ERR => Stream::Stderr,
                REMARK => Stream::Muster,
                kind => return no_frames(kind, bytes),
            };
            let taken = sink.take(stream, bytes);
            taken.map_err(|source| DeviceError::Output { device: self.address.clone(), source }.into())
        };
        match link.hear(take, until)? {
            Answer::Exit(exit) => Ok(exit),
            answer => Err(other(&answer)),
        }
    }

    pub(super) fn push_extended(
        &self,
        link: &mut Link,
        from: &mut dyn Read,
        size: u64,
        to: &str,
        until: &Until,
    ) -> Result<(), Wrong> {
        link.ask(&Request::Push { path: to.to_owned(), bytes: size }, until)?;
        let sent = send(link, from, size, false, until)?;
        match link.hear(no_frames, until)? {
            Answer::Digest(found) => self.same(to, &sent, &found),
            answer => Err(other(&answer)),
        }
    }

    /// Whether what arrived is what was sent.
    pub(super) fn same(&self, path: &str, sent: &str, found: &str) -> Result<(), Wrong> {
        if sent.eq_ignore_ascii_case(found) {
            return Ok(());
        }
        let what = format!("its MD5 is {sent} here and {found:?} there");
        Err(DeviceError::Damaged { device: self.address.clone(), path: path.to_owned(), what }.into())
    }

    pub(super) fn pull_extended(
        &self,
        link: &mut Link,
        from: &str,
        offset: u64,
        to: &mut dyn Write,
        until: &Until,
    ) -> Result<u64, Wrong> {
        link.ask(&Request::Pull { path: from.to_owned(), offset }, until)?;
        let mut moved = 0;
        let take = |kind, bytes: &[u8]| {
            if kind != OUT {
                return no_frames(kind, bytes);
            }
            moved += bytes.len() as u64;
            let written = to.write_all(bytes);
            written.map_err(|source| DeviceError::Output { device: self.address.clone(), source }.into())
        };
        match link.hear(take, until)? {
            Answer::Nothing => Ok(moved),
            answer => Err(other(&answer)),
        }
    }
}

/// Sends exactly so many bytes of a file, and returns their digest. If `mind`, an agent that says something
/// meanwhile has refused.
pub(super) fn send(
    link: &mut Link,
    from: &mut dyn Read,
    size: u64,
    mind: bool,
    until: &Until,
) -> Result<String, Wrong> {
    let mut digest = Md5::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut left = size;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let n = read_some(from, &mut buffer[..want])?;
        digest.update(&buffer[..n]);
        left -= n as u64;
        let sent = link.stream.send(&buffer[..n], mind && left > 0, until)?;
        if !sent {
            let said = match link.answer(until) {
                Err(Wrong::Warning(said)) => said,
                Err(wrong) => return Err(wrong),
                Ok(said) => said,
            };
            // The rest of the file must not reach it: it would be taken for commands.
            link.begin();
            return Err(Wrong::No(No { why: Why::Refused, said }));
        }
    }
    Ok(hex(&digest.finalize()))
}
