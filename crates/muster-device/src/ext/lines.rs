//! Lines of JSON over a descriptor: written and read without ever waiting for longer than the call may take.

use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use serde::Serialize;
use std::io;

/// Longest line.
// Limit: output comes in pieces, and a list of a million files is none a test should want.
const LINE_BYTES_MAX: usize = 64 << 20;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// Why a line could not be said or heard.
#[derive(Debug)]
pub(super) enum Cut {
    Ended(Ended),
    /// The other side is there no more.
    Gone,
    Nonsense(String),
}

impl From<Ended> for Cut {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct Writer {
    fd: OwnedFd,
    line: Vec<u8>,
}

impl Writer {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, line: Vec::new() })
    }

    pub(super) fn say(&mut self, value: &impl Serialize, until: &Until) -> Result<(), Cut> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)
            .map_err(|e| Cut::Ended(Ended::Io(io::Error::other(e))))?;
        self.line.push(b'\n');
        let mut rest = &*self.line;
        while !rest.is_empty() {
            match rustix::io::write(&self.fd, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    until.poll(&mut vec![PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::OUT)])?;
                }
                Err(_) => return Err(Cut::Gone),
            }
        }
        Ok(())
    }
}

/// Where lines come from.
#[derive(Debug)]
pub(super) struct Reader {
    fd: OwnedFd,
    held: Vec<u8>,
    /// Where the next line begins, and up to where it has been looked for its end.
    begin: usize,
    seen: usize,
}

impl Reader {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, held: Vec::new(), begin: 0, seen: 0 })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether something has come that was not asked for, the end included.
    pub(super) fn has_more(&self) -> bool {
        let mut buffer = [0; 1];
        self.begin < self.held.len() || !matches!(rustix::io::read(&self.fd, &mut buffer), Err(Errno::AGAIN))
    }

    /// The next line, once it is there.
    pub(super) fn hear(&mut self, until: &Until) -> Result<&[u8], Cut> {
        while self.whole()?.is_none() {
            if !self.fill()? {
                until.poll(&mut vec![PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)])?;
            }
        }
        self.take()
    }

    /// The next line if it is there already.
    pub(super) fn take(&mut self) -> Result<&[u8], Cut> {
        let Some(end) = self.whole()? else { return Ok(&[]) };
        let line = self.begin..end;
        (self.begin, self.seen) = (end + 1, end + 1);
        Ok(&self.held[line])
    }

    /// Where the next line ends, if it is whole.
    pub(super) fn whole(&mut self) -> Result<Option<usize>, Cut> {
        if let Some(n) = self.held[self.seen..].iter().position(|b| *b == b'\n') {
            self.seen += n;
            return Ok(Some(self.seen));
        }
        self.seen = self.held.len();
        if self.seen - self.begin > LINE_BYTES_MAX {
            return Err(Cut::Nonsense(format!("a line of more than {} MiB", LINE_BYTES_MAX >> 20)));
        }
        Ok(None)
    }

    /// Reads what has come; whether anything has.
    pub(super) fn fill(&mut self) -> Result<bool, Cut> {
        if self.begin > 0 {
            self.held.drain(..self.begin);
            self.seen -= self.begin;
            self.begin = 0;
        }
        let held = self.held.len();
        self.held.resize(held + READ_BYTES, 0);
        let read = loop {
            match rustix::io::read(&self.fd, &mut self.held[held..]) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        self.held.truncate(held + read.unwrap_or(0));
        match read {
            Ok(0) => Err(Cut::Gone),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::CONNRESET | Errno::PIPE) => Err(Cut::Gone),
            Err(e) => Err(Cut::Ended(Ended::Io(e.into()))),
        }
    }
}

/// What a line says.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(line: &'a [u8]) -> Result<T, Cut> {
    serde_json::from_slice(line).map_err(|e| {
        let begin: String = String::from_utf8_lossy(line).trim_end().chars().take(100).collect();
        Cut::Nonsense(format!("a line without meaning ({e}): {begin}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let (mut to, from) = UnixStream::pair().unwrap();
        let mut from = Reader::new(from.into()).unwrap();
        let soon = Until::within(Duration::from_secs(60));
        to.write_all(b"one\ntw").unwrap();
        assert_eq!(from.hear(&soon).unwrap(), b"one");
        assert!(from.has_more());
        let long = "x".repeat(READ_BYTES * 3);
        to.write_all(format!("o\n{long}\n\nend\n").as_bytes()).unwrap();
        assert_eq!(from.hear(&soon).unwrap(), b"two");
        assert_eq!(from.hear(&soon).unwrap(), long.as_bytes());
        assert_eq!(from.hear(&soon).unwrap(), b"");
        assert_eq!(from.hear(&soon).unwrap(), b"end");
        assert!(!from.has_more());
        assert!(matches!(
            from.hear(&Until::within(Duration::from_millis(10))),
            Err(Cut::Ended(Ended::Deadline))
        ));
        drop(to);
        assert!(matches!(from.hear(&soon), Err(Cut::Gone)));
    }
}
