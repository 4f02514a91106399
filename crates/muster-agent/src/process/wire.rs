//! Frames on a stream: four bytes of length, little-endian, then the message.
//!
//! Two languages. *Postcard* between two processes of one program, where it costs least. *CBOR* where the
//! other side may be of another version: it names its fields, so that either side may know more.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use thiserror::Error;

/// Longest frame.
// Limit: the spool's bound, several times over; a length beyond it is not ours.
const FRAME_BYTES_MAX: usize = 512 << 20;

/// Buffers larger than this are given back when they are empty: the agent is to stay small.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Most bytes taken from the socket at once.
const READ_BYTES: usize = 256 << 10;

/// Bytes that are not what the other side says.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The length is not one of ours.
    #[error(
        "a frame of {len} bytes was announced, more than the {FRAME_BYTES_MAX} allowed: the other side is no Muster of this version"
    )]
    Length {
        /// The announced length.
        len: usize,
    },
    /// The bytes are no such message.
    #[error("{what} was expected, but the frame of {len} bytes is none: {why}")]
    Message {
        /// What was expected.
        what: &'static str,
        /// Length of the frame.
        len: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The message does not fit a frame or cannot be written as one.
    #[error("{what} cannot be sent: {why}")]
    Unsendable {
        /// What was to be sent.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The stream ended in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Cut,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Postcard,
    Cbor,
}

impl Language {
    fn read<T: DeserializeOwned>(self, frame: &[u8]) -> Result<T, String> {
        match self {
            Self::Postcard => postcard::from_bytes(frame).map_err(|e| e.to_string()),
            Self::Cbor => muster_api::from_cbor(frame),
        }
    }

    /// Adds a message to these bytes.
    fn write<T: Serialize>(self, message: &T, mut to: Vec<u8>) -> Result<Vec<u8>, String> {
        match self {
            Self::Postcard => postcard::to_extend(message, to).map_err(|e| e.to_string()),
            Self::Cbor => {
                to.extend(muster_api::to_cbor(message));
                Ok(to)
            }
        }
    }
}

/// One end of a connection: never blocks, keeps what could not be sent yet.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    language: Language,
    /// Received bytes; those before `taken` have been read.
    input: Vec<u8>,
    taken: usize,
    /// Bytes to send; those before `sent` are out.
    output: Vec<u8>,
    sent: usize,
    ended: bool,
}

impl Wire {
    pub(super) fn new(socket: OwnedFd, language: Language) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, language, input: Vec::new(), taken: 0, output: Vec::new(), sent: 0, ended: false })
    }

    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes in all that has arrived.
    pub(super) fn fill(&mut self) -> Result<(), FrameError> {
        loop {
            if self.taken == self.input.len() {
                empty(&mut self.input);
            } else {
                self.input.drain(..self.taken);
            }
            self.taken = 0;
            self.input.reserve(READ_BYTES);
            let read = rustix::net::recv(
                &self.socket,
                rustix::buffer::spare_capacity(&mut self.input),
                RecvFlags::empty(),
            );
            match read {
                Ok((0, _)) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(_) => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNRESET) => {
                    self.ended = true;
                    return Ok(());
                }
                Err(e) => return Err(FrameError::Socket(e.into())),
            }
        }
    }

    /// The next whole message of those taken in.
    pub(super) fn next<T: DeserializeOwned>(&mut self, what: &'static str) -> Result<Option<T>, FrameError> {
        let rest = &self.input[self.taken..];
        let Some((head, rest)) = rest.split_first_chunk::<4>() else {
            return if self.ended && !rest.is_empty() { Err(FrameError::Cut) } else { Ok(None) };
        };
        let len = u32::from_le_bytes(*head) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(FrameError::Length { len });
        }
        let Some(frame) = rest.get(..len) else {
            return if self.ended { Err(FrameError::Cut) } else { Ok(None) };
        };
        let message = self.language.read(frame).map_err(|why| FrameError::Message { what, len, why })?;
        self.taken += 4 + len;
        Ok(Some(message))
    }

    /// Whether the other side has ended the connection.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Puts a message into the queue and sends as much as goes without waiting.
    pub(super) fn send<T: Serialize>(&mut self, what: &'static str, message: &T) -> Result<(), FrameError> {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; 4]);
        let output = std::mem::take(&mut self.output);
        self.output =
            self.language.write(message, output).map_err(|why| FrameError::Unsendable { what, why })?;
        let len = self.output.len() - start - 4;
        if len > FRAME_BYTES_MAX {
            self.output.truncate(start);
            return Err(FrameError::Length { len });
        }
        self.output[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
        self.flush()
    }

    /// Sends what waits, as much as goes without waiting. A connection that the other side has ended takes
    /// nothing more.
    pub(super) fn flush(&mut self) -> Result<(), FrameError> {
        while self.wants_write() {
            let rest = &self.output[self.sent..];
            // No signal if the other side is gone: its end is noticed by reading.
            match rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL)) {
                Ok(n) => self.sent += n,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => self.sent = self.output.len(),
                Err(e) => return Err(FrameError::Socket(e.into())),
            }
        }
        empty(&mut self.output);
        self.sent = 0;
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(super) fn wants_write(&self) -> bool {
        self.sent < self.output.len()
    }
}

fn empty(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Wire, OwnedFd) {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        (Wire::new(a, Language::Postcard).unwrap(), b)
    }

    #[test]
    fn both_sides_may_send_far_more_than_the_socket_holds_at_the_same_time() {
        let (mut a, b) = pair();
        let mut b = Wire::new(b, Language::Postcard).unwrap();
        let (to_b, to_a) = (vec![1u8; 5 << 20], vec![2u8; 7 << 20]);
        a.send("bytes", &to_b).unwrap();
        a.send("bytes", &"second").unwrap();
        b.send("bytes", &to_a).unwrap();
        let (mut at_a, mut at_b): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
        while at_a.is_none() || at_b.is_none() {
            for (wire, got) in [(&mut a, &mut at_a), (&mut b, &mut at_b)] {
                wire.flush().unwrap();
                wire.fill().unwrap();
                if got.is_none() {
                    *got = wire.next("bytes").unwrap();
                }
            }
        }
        assert!(at_a.unwrap() == to_a && at_b.unwrap() == to_b);
        b.fill().unwrap();
        assert_eq!(b.next::<String>("text").unwrap().as_deref(), Some("second"));
        assert!(!a.wants_write() && a.output.capacity() <= KEPT_BYTES_MAX);
        b.fill().unwrap();
        assert!(b.input.capacity() <= KEPT_BYTES_MAX, "large buffers are given back");
    }

    #[test]
    fn a_message_may_come_byte_by_byte_and_end_in_the_middle() {
        let (mut a, b) = pair();
        let mut message = Vec::new();
        for part in [&6u32.to_le_bytes()[..], b"\x05hello"] {
            message.extend_from_slice(part);
        }
        for byte in &message[..9] {
            rustix::io::write(&b, &[*byte]).unwrap();
            a.fill().unwrap();
            assert_eq!(a.next::<String>("text").unwrap(), None);
        }
        rustix::io::write(&b, &message[9..]).unwrap();
        rustix::io::write(&b, &message[..5]).unwrap();
        drop(b);
        a.fill().unwrap();
        assert_eq!(a.next::<String>("text").unwrap().as_deref(), Some("hello"));
        a.fill().unwrap();
        assert!(a.has_ended());
        assert!(matches!(a.next::<String>("text"), Err(FrameError::Cut)));
        a.send("text", &"into the void").unwrap();
        assert!(!a.wants_write(), "what nobody hears is not kept");
    }

    #[test]
    fn frames_that_are_not_ours_are_named() {
        for (bytes, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], "a frame of 542393671 bytes was announced"),
            (b"\x02\0\0\0\xff\xff", "text was expected, but the frame of 2 bytes is none"),
        ] {
            let (mut a, b) = pair();
            rustix::io::write(&b, bytes).unwrap();
            a.fill().unwrap();
            let said = a.next::<String>("text").unwrap_err().to_string();
            assert!(said.starts_with(error), "{said}");
        }
    }
}
