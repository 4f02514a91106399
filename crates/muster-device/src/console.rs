//! The line to a console, and passing it on in both directions.

use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io::{self, Write};
use std::process::Child;

/// How much is read at once.
const CHUNK_BYTES: usize = 4 << 10;

/// A connection to a console. It ends when this is dropped.
#[derive(Debug)]
pub struct ConsoleLine {
    fd: OwnedFd,
    /// The program that is the line, where one is.
    child: Option<Child>,
}

/// Why a console is no longer listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// The other side has ended it.
    Closed,
    /// The input said so, by the letter that is for that.
    Left,
    /// The time is over.
    Deadline,
    /// It was cancelled.
    Cancelled,
}

impl ConsoleLine {
    pub(crate) fn of_socket(socket: impl Into<OwnedFd>) -> Self {
        Self { fd: socket.into(), child: None }
    }

    pub(crate) fn of_program(socket: impl Into<OwnedFd>, child: Child) -> Self {
        Self { fd: socket.into(), child: Some(child) }
    }

    /// Passes what the console says to `out`, and what can be read from `input` to the console, until one of
    /// them ends it. The byte `leave` of the input ends it; the end of the input does not.
    ///
    /// # Errors
    /// The line failed, or nobody takes the output.
    pub fn pass(
        &self,
        input: Option<BorrowedFd<'_>>,
        leave: u8,
        out: &mut dyn Write,
        until: &Until,
    ) -> io::Result<LineEnd> {
        let (mut input, mut chunk) = (input, [0; CHUNK_BYTES]);
        loop {
            let mut fds = vec![PollFd::new(&self.fd, PollFlags::IN)];
            fds.extend(input.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match until.poll(&mut fds) {
                Ok(()) => {}
                Err(Ended::Deadline) => return Ok(LineEnd::Deadline),
                Err(Ended::Cancelled) => return Ok(LineEnd::Cancelled),
                Err(Ended::Io(e)) => return Err(e),
            }
            let said = !fds[0].revents().is_empty();
            let typed = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if said {
                match rustix::io::read(&self.fd, &mut chunk) {
                    Ok(0) | Err(Errno::CONNRESET | Errno::IO) => return Ok(LineEnd::Closed),
                    Ok(n) => {
                        out.write_all(&chunk[..n])?;
                        out.flush()?;
                    }
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            if let (true, Some(fd)) = (typed, input) {
                let n = rustix::io::read(fd, &mut chunk)?;
                let typed = &chunk[..n];
                let end = typed.iter().position(|b| *b == leave);
                self.say(&typed[..end.unwrap_or(n)], until)?;
                if end.is_some() {
                    return Ok(LineEnd::Left);
                }
                if n == 0 {
                    input = None;
                }
            }
        }
    }

    fn say(&self, mut bytes: &[u8], until: &Until) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.fd, bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut fds = vec![PollFd::new(&self.fd, PollFlags::OUT)];
                    if until.poll(&mut fds).is_err() {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl Drop for ConsoleLine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
