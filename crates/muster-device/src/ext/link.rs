//! A process of a driver, and the lines between it and us.

use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u64 = 1;

/// Longest line of a driver.
// Limit: output comes in pieces, and a list of a million files is none a test should want.
const LINE_BYTES_MAX: usize = 64 << 20;
/// How much of what a driver says on standard error is told.
const SAID_BYTES: u64 = 2000;

/// What can go wrong with a driver.
#[derive(Debug)]
pub(super) enum Wrong {
    Ended(Ended),
    /// It could not be started.
    NotStarted(io::Error),
    /// It ended, with what it said on standard error.
    Died(String),
    /// It said what makes no sense.
    Nonsense(String),
}

impl From<Ended> for Wrong {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// A driver that runs. Dropped, it is killed with its group.
#[derive(Debug)]
pub(super) struct Link {
    child: Child,
    input: OwnedFd,
    output: OwnedFd,
    said: File,
    held: Vec<u8>,
    pub(super) last: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // It is not waited for yet, so the number is its own.
            let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        drop(self.child.wait());
    }
}

impl Link {
    pub(super) fn start(program: &str) -> Result<Self, Wrong> {
        // A file and no pipe: a driver that talks much must not wait for us.
        let said = tempfile::tempfile().map_err(Wrong::NotStarted)?;
        let stderr = said.try_clone().map_err(Wrong::NotStarted)?;
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let mut child = command.spawn().map_err(Wrong::NotStarted)?;
        let input = OwnedFd::from(child.stdin.take().expect("it was piped"));
        let output = OwnedFd::from(child.stdout.take().expect("it was piped"));
        for fd in [&input, &output] {
            rustix::io::ioctl_fionbio(fd, true).map_err(|e| Wrong::NotStarted(e.into()))?;
        }
        Ok(Self { child, input, output, said, held: Vec::new(), last: 0 })
    }

    /// Writes a line.
    pub(super) fn say(&mut self, value: &Value, until: &Until) -> Result<(), Wrong> {
        let mut line = value.to_string().into_bytes();
        line.push(b'\n');
        let mut rest = &*line;
        while !rest.is_empty() {
            match rustix::io::write(&self.input, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut fds = vec![PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::OUT)];
                    until.poll(&mut fds)?;
                }
                Err(_) => return Err(self.died()),
            }
        }
        Ok(())
    }

    /// Reads a line.
    pub(super) fn hear(&mut self, until: &Until) -> Result<Value, Wrong> {
        loop {
            if let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|e| {
                    let line = String::from_utf8_lossy(&line);
                    let line: String = line.trim_end().chars().take(100).collect();
                    Wrong::Nonsense(format!("a line that is no JSON ({e}): {line}"))
                });
            }
            if self.held.len() > LINE_BYTES_MAX {
                return Err(Wrong::Nonsense(format!("a line of more than {} MiB", LINE_BYTES_MAX >> 20)));
            }
            let mut buffer = vec![0; 64 << 10];
            match rustix::io::read(&self.output, &mut *buffer) {
                Ok(0) => return Err(self.died()),
                Ok(n) => self.held.extend_from_slice(&buffer[..n]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut fds = vec![PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
                    until.poll(&mut fds)?;
                }
                Err(e) => return Err(Wrong::Ended(Ended::Io(e.into()))),
            }
        }
    }

    /// Whether it has ended, or said what nobody asked for.
    pub(super) fn is_out_of_step(&self) -> bool {
        let mut buffer = [0; 1];
        !self.held.is_empty() || !matches!(rustix::io::read(&self.output, &mut buffer), Err(Errno::AGAIN))
    }

    fn died(&mut self) -> Wrong {
        drop(self.child.kill());
        let status = self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        let mut text = Vec::new();
        let end = self.said.seek(io::SeekFrom::End(0)).unwrap_or(0);
        let read = self.said.seek(io::SeekFrom::Start(end.saturating_sub(SAID_BYTES)));
        // What it said is a help; that it ended is what matters.
        drop(read.and_then(|_| self.said.read_to_end(&mut text)));
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        Wrong::Died(match last {
            Some(line) => format!("the driver ended ({status}): {}", line.trim()),
            None => format!("the driver ended ({status}) and said nothing"),
        })
    }
}
