//! Files of a directory of another host, over one connection of `ssh`: a loop of the shell there answers one
//! request after the other, whole files or parts of them.
//!
//! ```text
//! we    FROM MOST NAME          from which byte, how many at most
//! it    have BYTES, the bytes, done
//! it    none
//! ```

use super::address::Limits;
use crate::ssh::{SshPlace, no_program, quoted};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Cursor, Read, Seek as _, Write as _};
use std::ops::Range;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the loop begins with; what a host greets with comes before it.
const READY: &str = "muster-ready";
/// What our line ends with where there is no such directory; no exit code of a program that is called.
const NO_DIR: i32 = 45;
/// Most lines of greeting that are read over.
// Limit: a host that only talks is not listened to for ever.
const GREETING_MAX: usize = 1000;
/// Longest file that is read as a whole.
// Limit: it is held in memory.
const WHOLE_MAX: u64 = super::pack::TABLE_BYTES_MAX + 1;

/// A directory of another host.
#[derive(Debug)]
pub(super) struct Ssh {
    place: SshPlace,
    limits: Limits,
    connection: Mutex<Option<Connection>>,
}

#[derive(Debug)]
struct Connection {
    child: Child,
    to: ChildStdin,
    from: BufReader<Timed>,
    said: File,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may be waiting for a host that is silent.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Output that is waited for only so long.
#[derive(Debug)]
struct Timed {
    from: ChildStdout,
    idle: Duration,
    end: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now()).min(self.idle);
        let time = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let ready = poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&time));
        match ready {
            Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing comes any more")),
            Ok(_) => self.from.read(buffer),
            Err(e) => Err(e.into()),
        }
    }
}

/// Why a file is not had.
pub(super) struct SshError {
    pub(super) why: String,
    /// Whether it may be different at the next try.
    pub(super) may_pass: bool,
}

impl From<io::Error> for SshError {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), may_pass: error.kind() != io::ErrorKind::NotFound }
    }
}

impl Ssh {
    pub(super) fn new(place: SshPlace, limits: Limits) -> Self {
        Self { place, limits, connection: Mutex::new(None) }
    }

    /// A file or a part of it; `None` where there is none.
    pub(super) fn open(
        &self,
        name: &str,
        part: Option<Range<u64>>,
    ) -> Result<Option<Box<dyn Read>>, SshError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut used = match connection.take() {
            Some(used) => used,
            None => self.connect()?,
        };
        let part = part.unwrap_or(0..WHOLE_MAX);
        match used.ask(name, &part, self.limits) {
            Ok(answer) => {
                *connection = Some(used);
                Ok(answer.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read>))
            }
            Err(error) => Err(self.explain(used, &error)),
        }
    }

    fn connect(&self) -> Result<Connection, SshError> {
        let line = format!(
            "cd -- {} || exit {NO_DIR}; echo {READY}; while read -r from most name; do \
             if [ -f \"$name\" ] && bytes=$(wc -c < \"$name\"); then \
             bytes=$((bytes - from)); [ \"$bytes\" -ge 0 ] || bytes=0; \
             [ \"$bytes\" -le \"$most\" ] || bytes=$most; echo \"have $bytes\"; \
             if [ \"$from\" -eq 0 ]; then head -c \"$bytes\" < \"$name\"; \
             else tail -c \"+$((from + 1))\" < \"$name\" | head -c \"$bytes\"; fi; \
             echo done; else echo none; fi; done",
            quoted(&self.place.path)
        );
        let said = tempfile::tempfile()?;
        let mut ssh = self.place.command(&line, self.limits.connect, self.limits.idle);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said.try_clone()?);
        let mut child = ssh.spawn().map_err(no_program)?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (to, from) = (to.expect("it was asked for"), from.expect("it was asked for"));
        let wait = self.limits.connect + self.limits.answer;
        let from = Timed { from, idle: wait, end: Instant::now() + wait };
        let mut new = Connection { child, to, from: BufReader::with_capacity(1 << 16, from), said };
        for _ in 0..GREETING_MAX {
            match new.line() {
                Ok(line) if line == READY => return Ok(new),
                Ok(_) => {}
                Err(error) => return Err(self.explain(new, &error)),
            }
        }
        Err(self.explain(new, &io::Error::other("it greets without end")))
    }

    /// What to tell of a connection that cannot be used any more.
    fn explain(&self, mut broken: Connection, error: &io::Error) -> SshError {
        // Limit: a little while for it to say why it ends.
        let until = Instant::now() + Duration::from_millis(500);
        let code = loop {
            match broken.child.try_wait() {
                Ok(Some(status)) => break status.code(),
                Ok(None) if Instant::now() < until && error.kind() == io::ErrorKind::UnexpectedEof => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => break None,
            }
        };
        if code == Some(NO_DIR) {
            let why = format!("there is no directory `{}` there", self.place.path);
            return SshError { why, may_pass: false };
        }
        let mut said = Vec::new();
        // Limit: what a host says about a failure is told to people.
        let read = broken.said.rewind().and_then(|()| (&broken.said).take(4096).read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let why = if read.is_ok() && !said.is_empty() { said } else { error.to_string() };
        // Keys do not become known by asking again.
        let may_pass = !(why.contains("Permission denied") || why.contains("verification failed"));
        SshError { why, may_pass }
    }
}

impl Connection {
    fn ask(&mut self, name: &str, part: &Range<u64>, limits: Limits) -> io::Result<Option<Vec<u8>>> {
        let most = part.end - part.start;
        writeln!(self.to, "{} {most} ./{name}", part.start)?;
        self.to.flush()?;
        let from = self.from.get_mut();
        (from.idle, from.end) =
            (limits.idle.max(limits.answer), Instant::now() + limits.answer + limits.body);
        let answer = self.line()?;
        if answer == "none" {
            return Ok(None);
        }
        let strange = || io::Error::new(io::ErrorKind::InvalidData, "what it answers is not understood");
        let bytes = answer.strip_prefix("have ").and_then(|n| n.trim().parse::<u64>().ok());
        let bytes = bytes.filter(|n| *n <= most).ok_or_else(strange)?;
        let mut read = Vec::new();
        (&mut self.from).take(bytes).read_to_end(&mut read)?;
        if self.line()? != "done" {
            return Err(strange());
        }
        Ok(Some(read))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        // Limit: our own lines are short, and so are those of greetings.
        (&mut self.from).take(4096).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended"));
        }
        line.pop();
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
