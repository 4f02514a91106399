//! One session: a local `ssh` that runs a line on the device, fed and listened to until it is done.

use super::marks::Marked;
use crate::device::Sink;
use crate::error::DeviceError;
use crate::host::files::read_some;
use crate::until::{Ended, Until};
use muster_core::output::Stream;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// How much is moved at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Why a session did not come to the end of its work.
#[derive(Debug)]
pub(super) enum Broken {
    Ended(Ended),
    /// `ssh` or what it started there ended before the work began.
    NotBegun {
        code: Option<i32>,
        said: String,
    },
    /// It ended in the middle of it.
    Cut {
        said: String,
    },
    Sink(io::Error),
    /// What is fed to it.
    Input(DeviceError),
    Io(io::Error),
}

impl From<Ended> for Broken {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Errno> for Broken {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

/// A local `ssh`. Dropped, it is ended; what it runs on the device may go on.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It is a child that has ended or is killed: this does not wait.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What is fed to the work: this many bytes of it.
pub(super) type Input<'a> = (&'a mut dyn Read, u64);

/// What of it is known even if it broke.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The number of the session on the device, once the work has begun.
    pub(super) session: Option<u32>,
}

/// Runs it until the work has ended, and returns how the device told its end.
pub(super) fn perform(
    ssh: &mut Command,
    nonce: &str,
    input: Option<Input<'_>>,
    sink: &mut dyn Sink,
    until: &Until,
    seen: &mut Seen,
) -> Result<String, Broken> {
    until.check()?;
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    // A group of its own, or Ctrl-C would end it before the program on the device is.
    ssh.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut running = Running(ssh.spawn().map_err(Broken::Io)?);
    let pid = Pid::from_raw(running.0.id().cast_signed()).expect("a child has a number above zero");
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut feed = Feed::new(input, running.0.stdin.take().map(OwnedFd::from))?;
    let mut out = Pipe::new(running.0.stdout.take().map(OwnedFd::from), nonce, Stream::Stdout)?;
    let mut err = Pipe::new(running.0.stderr.take().map(OwnedFd::from), nonce, Stream::Stderr)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let watched = [
            (Some(pidfd.as_fd()), PollFlags::IN),
            (out.fd.as_ref().map(OwnedFd::as_fd), PollFlags::IN),
            (err.fd.as_ref().map(OwnedFd::as_fd), PollFlags::IN),
            (feed.to.as_ref().map(OwnedFd::as_fd), PollFlags::OUT),
        ];
        let there = watched.iter().filter_map(|(fd, flags)| Some(PollFd::from_borrowed_fd((*fd)?, *flags)));
        let mut fds: Vec<PollFd<'_>> = there.collect();
        until.poll(&mut fds)?;
        let mut polled = fds.iter();
        let [ended, out_ready, err_ready, feed_ready] =
            watched.map(|(fd, _)| fd.is_some() && polled.next().is_some_and(|fd| !fd.revents().is_empty()));
        if feed_ready {
            feed.go_on()?;
        }
        if err_ready || ended {
            err.go_on(&mut buffer, sink, ended, until)?;
            seen.session = err.marked.began().and_then(|s| s.parse().ok()).or(seen.session);
        }
        if out_ready || ended {
            out.go_on(&mut buffer, sink, ended, until)?;
        }
        // Both, since each pipe is in order only with itself.
        if let (Some(_), Some(end)) = (out.marked.ended(), err.marked.ended()) {
            return Ok(end.to_owned());
        }
        if ended {
            let status = running.0.wait().map_err(Broken::Io)?;
            let said = String::from_utf8_lossy(err.marked.held()).trim().to_owned();
            return Err(if err.marked.began().is_some() {
                Broken::Cut { said }
            } else {
                Broken::NotBegun { code: status.code(), said }
            });
        }
    }
}

/// An end of the session that is read.
struct Pipe {
    fd: Option<OwnedFd>,
    marked: Marked,
    stream: Stream,
}

impl Pipe {
    fn new(fd: Option<OwnedFd>, nonce: &str, stream: Stream) -> Result<Self, Broken> {
        if let Some(fd) = &fd {
            rustix::io::ioctl_fionbio(fd, true)?;
            // Larger where the system lets us: fewer turns for large files.
            let _ = rustix::pipe::fcntl_setpipe_size(fd, CHUNK_BYTES * 4);
        }
        Ok(Self { fd, marked: Marked::new(nonce), stream })
    }

    /// Reads what is there, all of it once nobody writes any more.
    fn go_on(
        &mut self,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
        all: bool,
        until: &Until,
    ) -> Result<(), Broken> {
        while let Some(fd) = &self.fd {
            match rustix::io::read(fd, &mut *buffer) {
                Ok(0) => self.fd = None,
                Ok(n) => {
                    let stream = self.stream;
                    let mut pass = |bytes: &[u8]| sink.take(stream, bytes);
                    self.marked.take(&buffer[..n], &mut pass).map_err(Broken::Sink)?;
                    if !all {
                        return Ok(());
                    }
                    until.check()?;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// The end of the session that is written to.
struct Feed<'a> {
    from: Option<Input<'a>>,
    to: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// What of it is still to be written.
    at: usize,
    end: usize,
}

impl<'a> Feed<'a> {
    fn new(from: Option<Input<'a>>, to: Option<OwnedFd>) -> Result<Self, Broken> {
        if let Some(to) = &to {
            rustix::io::ioctl_fionbio(to, true)?;
            let _ = rustix::pipe::fcntl_setpipe_size(to, CHUNK_BYTES * 4);
        }
        Ok(Self { from, to, buffer: Vec::new(), at: 0, end: 0 })
    }

    /// Writes as much as is taken. At the end of the input the pipe is closed.
    fn go_on(&mut self) -> Result<(), Broken> {
        while let Some(to) = &self.to {
            if self.at == self.end {
                let Some((from, left)) = &mut self.from else {
                    self.to = None;
                    return Ok(());
                };
                if *left == 0 {
                    self.to = None;
                    return Ok(());
                }
                let want = usize::try_from(*left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                if self.buffer.is_empty() {
                    self.buffer.resize(want, 0);
                }
                let n = read_some(*from, &mut self.buffer[..want]).map_err(Broken::Input)?;
                (self.at, self.end) = (0, n);
                *left -= n as u64;
            }
            match rustix::io::write(to, &self.buffer[self.at..self.end]) {
                Ok(n) => self.at += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                // It reads no more, which is its right.
                Err(_) => self.to = None,
            }
        }
        Ok(())
    }
}
