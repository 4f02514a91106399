//! A connection on which every wait has an end.

use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A connection, and what has been read from it and not been used.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    input: Vec<u8>,
    /// Where the unused part of `input` begins.
    at: usize,
    /// Room for one read.
    chunk: Box<[u8]>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NotConnected {
    Ended(Ended),
    Io(io::Error),
}

impl Stream {
    /// Takes over a connection.
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        tcp.set_nodelay(true)?;
        Ok(Self { tcp, input: Vec::new(), at: 0, chunk: vec![0; CHUNK_BYTES].into() })
    }

    /// Connects to the first address of the host that answers.
    pub(crate) fn connect(host: &str, port: u16, until: &Until) -> Result<Self, NotConnected> {
        let addresses = (host, port).to_socket_addrs().map_err(NotConnected::Io)?;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            until.check().map_err(NotConnected::Ended)?;
            match connect_one(address, until) {
                Ok(tcp) => return Self::new(tcp).map_err(NotConnected::Io),
                Err(NotConnected::Io(e)) => last = e,
                Err(ended) => return Err(ended),
            }
        }
        Err(NotConnected::Io(last))
    }

    /// What has been read and not been used.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input[self.at..]
    }

    /// Uses the first bytes of that.
    pub(crate) fn consume(&mut self, n: usize) {
        self.at += n;
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        }
    }

    /// Waits for more, and says how many bytes came; none at the end of the connection.
    pub(crate) fn fill(&mut self, until: &Until) -> Result<usize, Ended> {
        if self.at > 0 && self.at >= self.input.len() / 2 {
            self.input.drain(..self.at);
            self.at = 0;
        }
        loop {
            match self.tcp.read(&mut self.chunk) {
                Ok(n) => {
                    self.input.extend_from_slice(&self.chunk[..n]);
                    return Ok(n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Ended::Io(e)),
            }
            until.poll(&mut vec![PollFd::new(&self.tcp, PollFlags::IN)])?;
        }
    }

    /// Sends all of it. Ends early, with `false`, if `mind` and the other side says something meanwhile.
    pub(crate) fn send(&mut self, mut bytes: &[u8], mind: bool, until: &Until) -> Result<bool, Ended> {
        while !bytes.is_empty() {
            match self.tcp.write(bytes) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    if mind && self.has_more() {
                        return Ok(false);
                    }
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Ended::Io(e)),
            }
            let flags = if mind { PollFlags::OUT | PollFlags::IN } else { PollFlags::OUT };
            let mut fds = vec![PollFd::new(&self.tcp, flags)];
            until.poll(&mut fds)?;
            if mind && fds[0].revents().contains(PollFlags::IN) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for more as [`fill`](Self::fill) does, and meanwhile sends what the other side takes of `out`.
    pub(crate) fn exchange(&mut self, out: &mut &[u8], until: &Until) -> Result<usize, Ended> {
        loop {
            while !out.is_empty() {
                match self.tcp.write(out) {
                    Ok(n) => *out = &out[n..],
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    // It takes no more; what it has said before that is still to be read.
                    Err(_) => *out = &[],
                }
            }
            if out.is_empty() || self.has_unread() {
                return self.fill(until);
            }
            until.poll(&mut vec![PollFd::new(&self.tcp, PollFlags::IN | PollFlags::OUT)])?;
        }
    }

    /// Whether something is there that has not been read, or the connection has ended.
    fn has_unread(&self) -> bool {
        let mut fds = [PollFd::new(&self.tcp, PollFlags::IN | PollFlags::RDHUP)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
    }

    /// Sends all of it, whatever the other side says.
    pub(crate) fn send_all(&mut self, bytes: &[u8], until: &Until) -> Result<(), Ended> {
        self.send(bytes, false, until).map(drop)
    }

    /// Whether something is there to be read that has not been, or the connection has ended.
    pub(crate) fn has_more(&self) -> bool {
        !self.input().is_empty() || self.has_unread()
    }

    /// The connection itself, of which nothing has been read.
    pub(crate) fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// The address of this side.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Says that nothing more will be said, so that what was said is not lost with the connection.
    pub(crate) fn finish(&self) {
        // Where it has ended already there is nobody to tell.
        drop(self.tcp.shutdown(std::net::Shutdown::Write));
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

fn connect_one(address: SocketAddr, until: &Until) -> Result<TcpStream, NotConnected> {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
    let io = |e: Errno| NotConnected::Io(e.into());
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(io)?;
    match connect(&socket, &address) {
        Ok(()) => return Ok(socket.into()),
        Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(e) => return Err(io(e)),
    }
    until.poll(&mut vec![PollFd::new(&socket, PollFlags::OUT)]).map_err(NotConnected::Ended)?;
    match sockopt::socket_error(&socket).map_err(io)? {
        Ok(()) => Ok(socket.into()),
        Err(e) => Err(io(e)),
    }
}
