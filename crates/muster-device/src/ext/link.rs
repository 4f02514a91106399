//! A conversation with a driver: a process of its program, or a connection to one that runs already.

use super::lines::{self, Cut, Reader, Writer};
use super::words::{Answer, Greeting, Hello, VERSION, Wish};
use crate::until::{Ended, Until};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a driver may take to say hello.
const HELLO_MAX: Duration = Duration::from_secs(30);
/// How much of what a driver says on standard error is told.
const SAID_BYTES: u64 = 2000;

/// What can go wrong with a driver.
#[derive(Debug)]
pub(super) enum Wrong {
    Ended(Ended),
    /// It could not be started, or nobody listens.
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

/// A conversation with a driver. Dropped, a program is killed with its group, and a connection is closed.
#[derive(Debug)]
pub(super) struct Link {
    peer: Peer,
    input: Writer,
    output: Reader,
    /// The number of the last request.
    pub(super) last: u64,
}

#[derive(Debug)]
enum Peer {
    /// A child, and what it says on standard error.
    Program(Child, File),
    Socket,
}

impl Drop for Link {
    fn drop(&mut self) {
        let Peer::Program(child, _) = &mut self.peer else { return };
        if let Some(pid) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
            // It is not waited for yet, so the number is its own.
            let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        drop(child.wait());
    }
}

impl Link {
    /// Starts a program.
    pub(super) fn start(program: &str) -> Result<Self, Wrong> {
        let start = || -> io::Result<Self> {
            // A file and no pipe: a driver that talks much must not wait for us.
            let said = tempfile::tempfile()?;
            let mut command = Command::new(program);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said.try_clone()?).process_group(0);
            let mut child = command.spawn()?;
            let input = OwnedFd::from(child.stdin.take().expect("it was piped"));
            let output = OwnedFd::from(child.stdout.take().expect("it was piped"));
            let (input, output) = (Writer::new(input)?, Reader::new(output)?);
            Ok(Self { peer: Peer::Program(child, said), input, output, last: 0 })
        };
        start().map_err(Wrong::NotStarted)
    }

    /// Connects to one that listens there.
    pub(super) fn connect(socket: &Path) -> Result<Self, Wrong> {
        let connect = || -> io::Result<Self> {
            let stream = connect_to(socket)?;
            let (input, output) = (Writer::new(stream.try_clone()?.into())?, Reader::new(stream.into())?);
            Ok(Self { peer: Peer::Socket, input, output, last: 0 })
        };
        connect().map_err(Wrong::NotStarted)
    }

    /// Says hello, and returns what the driver says of itself.
    pub(super) fn greet(
        &mut self,
        options: &BTreeMap<String, String>,
        until: &Until,
    ) -> Result<Hello, Wrong> {
        let until = until.at_most(HELLO_MAX);
        self.say(&Greeting { hello: Wish { protocol: VERSION, options: options.clone() } }, &until)?;
        let Answer { hello } = self.hear(&until, |line| {
            lines::read(line).map_err(|_| {
                let line: String = String::from_utf8_lossy(line).chars().take(100).collect();
                Wrong::Nonsense(format!("it did not say hello: {line}"))
            })
        })?;
        if hello.protocol != VERSION {
            let why = format!("it speaks version {} of the protocol, and this is {VERSION}", hello.protocol);
            return Err(Wrong::Nonsense(why));
        }
        Ok(hello)
    }

    /// Writes a line.
    pub(super) fn say(&mut self, value: &impl Serialize, until: &Until) -> Result<(), Wrong> {
        let said = self.input.say(value, until);
        said.map_err(|cut| self.wrong(cut))
    }

    /// What is made of the next line.
    pub(super) fn hear<T>(
        &mut self,
        until: &Until,
        make: impl FnOnce(&[u8]) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        match self.output.hear(until) {
            Ok(line) => make(line),
            Err(cut) => Err(self.wrong(cut)),
        }
    }

    /// Whether it has ended, or said what nobody asked for.
    pub(super) fn is_out_of_step(&self) -> bool {
        self.output.has_more()
    }

    fn wrong(&mut self, cut: Cut) -> Wrong {
        match cut {
            Cut::Ended(ended) => Wrong::Ended(ended),
            Cut::Nonsense(what) => Wrong::Nonsense(what),
            Cut::Gone => Wrong::Died(match &mut self.peer {
                Peer::Program(child, said) => last_words(child, said),
                Peer::Socket => "what has it open has ended".to_owned(),
            }),
        }
    }
}

/// Connects to a socket, however long its path is.
fn connect_to(socket: &Path) -> io::Result<UnixStream> {
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no path of a socket"));
    };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    // Limit: the path of a socket has room for 108 bytes.
    let dir: OwnedFd = rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

/// How a program ended, and what it said of it.
fn last_words(child: &mut Child, said: &mut File) -> String {
    drop(child.kill());
    let status = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
    let mut text = Vec::new();
    let end = said.seek(io::SeekFrom::End(0)).unwrap_or(0);
    let read = said.seek(io::SeekFrom::Start(end.saturating_sub(SAID_BYTES)));
    // What it said is a help; that it ended is what matters.
    drop(read.and_then(|_| said.read_to_end(&mut text)));
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    match last {
        Some(line) => format!("the driver ended ({status}): {}", line.trim()),
        None => format!("the driver ended ({status}) and said nothing"),
    }
}
