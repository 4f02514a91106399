//! How a device says that it is there: the `register` line, and who listens for it.

use crate::stream::Stream;
use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use serde::Serialize;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;
use std::time::Duration;

/// What a device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// Its unique name.
    pub name: String,
    /// Its address. Agents that do not know theirs say `0.0.0.0`.
    pub ip: String,
    /// Where it takes commands.
    pub command_port: u16,
    /// Where its heartbeat is heard.
    pub data_port: u16,
    /// Its system.
    pub os: String,
    /// Width and height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<(u32, u32)>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What kind of device it is.
    pub hardware: String,
    /// The pool it is for.
    pub pool: String,
    /// What else it says, by name.
    pub more: Vec<(String, String)>,
}

/// A line that announces nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device announces itself with `register NAME=…&IPADDR=…`, not with this: {0}")]
pub struct NoAnnouncement(String);

// Limit: longest line, and longest list of what else is said.
const LINE_BYTES_MAX: usize = 16 << 10;
const MORE_MAX: usize = 32;

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Escaped(&self.name);
        write!(f, "register NAME={name}&IPADDR={}", Escaped(&self.ip))?;
        write!(f, "&CMDPORT={}&DATAPORT={}&OS={}", self.command_port, self.data_port, Escaped(&self.os))?;
        if let Some((width, height)) = self.screen {
            write!(f, "&SCRNWIDTH={width}&SCRNHEIGHT={height}&BPP=8")?;
        }
        if let Some(memory) = self.memory {
            write!(f, "&MEMORY={memory}")?;
        }
        write!(f, "&HARDWARE={}&POOL={}", Escaped(&self.hardware), Escaped(&self.pool))?;
        for (name, value) in &self.more {
            write!(f, "&{}={}", Escaped(name), Escaped(value))?;
        }
        Ok(())
    }
}

/// Percent-encoded.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (byte, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            // The C agent writes blanks so.
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl FromStr for Announcement {
    type Err = NoAnnouncement;

    fn from_str(line: &str) -> Result<Self, NoAnnouncement> {
        let wrong = |why: &str| NoAnnouncement(why.to_owned());
        let line = line.trim();
        // One agent forgets the word.
        let fields = line.strip_prefix("register ").unwrap_or(line);
        if !fields.starts_with("NAME=") {
            return Err(wrong("it has no name at its beginning"));
        }
        let mut found =
            Self { command_port: super::COMMAND_PORT, data_port: super::DATA_PORT, ..Self::default() };
        let (mut width, mut height) = (None, None);
        for field in fields.split('&') {
            let Some((name, value)) = field.split_once('=') else { continue };
            let value = unescaped(value.trim());
            let port = || value.parse().map_err(|_| wrong("a port is no number"));
            match name {
                "NAME" => found.name = value,
                "IPADDR" => {
                    // The one that forgets the word adds the port here.
                    found.ip =
                        value.split(':').next().filter(|_| value.contains('.')).unwrap_or(&value).to_owned();
                }
                "CMDPORT" => found.command_port = port()?,
                "DATAPORT" => found.data_port = port()?,
                "OS" => found.os = value,
                "SCRNWIDTH" => width = value.parse().ok(),
                "SCRNHEIGHT" => height = value.parse().ok(),
                "MEMORY" => found.memory = value.parse().ok(),
                "HARDWARE" => found.hardware = value,
                "POOL" => found.pool = value,
                "BPP" => {}
                _ if found.more.len() < MORE_MAX => found.more.push((name.to_owned(), value)),
                _ => {}
            }
        }
        found.screen = width.zip(height);
        if found.name.is_empty() {
            return Err(wrong("its name is empty"));
        }
        Ok(found)
    }
}

/// Listens for devices that announce themselves, and says `OK` to them.
#[derive(Debug)]
pub struct Announcements {
    listener: TcpListener,
}

/// How long a device has to say its line.
const LINE_MAX: Duration = Duration::from_secs(10);

impl Announcements {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address is taken.
    pub fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next device, and where it called from; `None` if none came in time. What is no announcement is
    /// passed over.
    ///
    /// # Errors
    /// The listener's.
    pub fn next(&self, until: &Until) -> io::Result<Option<(Announcement, SocketAddr)>> {
        loop {
            match until.poll(&mut vec![PollFd::new(&self.listener, PollFlags::IN)]) {
                Ok(()) => {}
                Err(Ended::Deadline | Ended::Cancelled) => return Ok(None),
                Err(Ended::Io(e)) => return Err(e),
            }
            let (tcp, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) => return Err(e),
            };
            let Ok(mut stream) = Stream::new(tcp) else { continue };
            let short = until.at_most(LINE_MAX);
            if let Some(found) = read(&mut stream, &short) {
                // It registers again if it does not hear this.
                drop(stream.send_all(b"OK\r\n", &short));
                stream.finish();
                return Ok(Some((found, from)));
            }
        }
    }
}

fn read(stream: &mut Stream, until: &Until) -> Option<Announcement> {
    loop {
        let input = stream.input();
        if let Some(end) = input.iter().position(|b| matches!(b, b'\r' | b'\n')) {
            return String::from_utf8_lossy(&input[..end]).parse().ok();
        }
        if input.len() > LINE_BYTES_MAX {
            return None;
        }
        if stream.fill(until).ok()? == 0 {
            return String::from_utf8_lossy(stream.input()).parse().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_the_known_agents_are_understood() {
        let java = "register NAME=SUTAgent00:11:22&IPADDR=10.0.0.7&CMDPORT=20701&DATAPORT=20700\
                    &OS=Android-IML74K%20dev&SCRNWIDTH=1024&SCRNHEIGHT=768&BPP=8&MEMORY=123&HARDWARE=tegra%20250\
                    &POOL=Talos&ABI=armeabi-v7a\r\n";
        let found: Announcement = java.parse().unwrap();
        assert_eq!(found.name, "SUTAgent00:11:22");
        assert_eq!((found.screen, found.memory), (Some((1024, 768)), Some(123)));
        assert_eq!((&*found.os, &*found.hardware), ("Android-IML74K dev", "tegra 250"));
        assert_eq!(found.more, [("ABI".to_owned(), "armeabi-v7a".to_owned())]);
        let c: Announcement = "register NAME=x&OS=Windows+CE&POOL=".parse().unwrap();
        assert_eq!((&*c.os, c.command_port), ("Windows CE", 20701));
        let negatus: Announcement = "NAME=x&IPADDR=0.0.0.0:20701&HARDWARE=h".parse().unwrap();
        assert_eq!(negatus.ip, "0.0.0.0");
    }

    #[test]
    fn what_is_no_announcement_is_none() {
        for line in [
            "",
            "register",
            "GET / HTTP/1.1",
            "register OS=x",
            "register NAME=&OS=x",
            "register NAME=a&CMDPORT=x",
        ] {
            assert!(line.parse::<Announcement>().is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood(name in "\\PC{1,20}", os in "\\PC{0,20}", port: u16, memory: Option<u64>) {
            let said = Announcement {
                name, os, memory, command_port: port, data_port: 1, ip: "::1".to_owned(), ..Announcement::default()
            };
            prop_assert_eq!(said.to_string().parse(), Ok(said));
        }

        #[test]
        fn nothing_makes_reading_fail(line in "\\PC*") {
            drop(format!("register NAME=x&{line}").parse::<Announcement>());
        }
    }
}
