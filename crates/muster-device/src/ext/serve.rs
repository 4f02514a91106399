//! The other side of the driver protocol: any [`Device`] behind a connection.

use super::inbox::{Inbox, Item};
use super::lines::{self, Cut, Reader, Writer};
use super::words::{
    Answer, CHUNK_BYTES, Call, Done, Greeting, Hello, Line, Ran, Request, Said, Switch, VERSION,
};
use crate::device::{Device, Sink};
use crate::error::DeviceError;
use crate::until::{Ended, Until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_core::output::Stream;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How long who connects may take to say hello.
const HELLO_MAX: Duration = Duration::from_secs(30);

/// Answers one who has connected until they hang up. `open`: the device for who gives these options.
///
/// # Errors
/// What was said makes no sense, or the system has no descriptors or threads left.
pub(crate) fn serve(
    stream: UnixStream,
    open: impl FnOnce(&BTreeMap<String, String>) -> Result<Arc<dyn Device>, DeviceError>,
) -> io::Result<()> {
    let mut from = Reader::new(stream.try_clone()?.into())?;
    let mut to = Writer::new(stream.try_clone()?.into())?;
    let until = Until::within(HELLO_MAX);
    let failed = |cut: Cut| io::Error::other(format!("{cut:?}"));
    let Greeting { hello: wish } = from.hear(&until).and_then(lines::read).map_err(failed)?;
    if wish.protocol != VERSION {
        let why = format!("version {} of the protocol is not spoken here", wish.protocol);
        return Err(io::Error::other(why));
    }
    let device = open(&wish.options);
    let hello = match &device {
        Ok(device) => Hello::of(&**device),
        // It cannot do anything, and says why when it is asked to.
        Err(_) => Hello::of_all(),
    };
    to.say(&Answer { hello }, &until).map_err(failed)?;
    let inbox = Inbox::new()?;
    thread::scope(|scope| {
        thread::Builder::new().name("asker".to_owned()).spawn_scoped(scope, || inbox.fill(from))?;
        let mut talk = Talk { to, id: 0, text: String::new() };
        let answered = talk.answer_all(device.as_deref(), &inbox);
        // It ends the thread that reads; one who has gone already has done so.
        drop(stream.shutdown(Shutdown::Both));
        answered
    })
}

/// A conversation.
struct Talk {
    to: Writer,
    /// The request that is answered.
    id: u64,
    text: String,
}

impl Talk {
    fn answer_all(&mut self, device: Result<&dyn Device, &DeviceError>, inbox: &Inbox) -> io::Result<()> {
        while let Some(item) = inbox.next() {
            // What is left of a file whose push was cancelled.
            let Item::Request(line) = item else { continue };
            let Request { id, deadline_ms, call } =
                lines::read(&line).map_err(|cut| io::Error::other(format!("{cut:?}")))?;
            self.id = id;
            let cancel = inbox.begin(id)?;
            let until = Until::within(deadline_ms.map_or(Duration::MAX, Duration::from_millis)).or(&cancel);
            let answer = match device {
                Ok(device) => self.answer(device, call, inbox, &until),
                Err(error) => Err(Said::of(error)),
            };
            inbox.end();
            let line = match answer {
                Ok(ok) => Line { id, ok: Some(ok), ..Line::default() },
                Err(said) => Line { id, error: Some(said), ..Line::default() },
            };
            // Who does not listen has gone, or hangs and is not waited for.
            if self.to.say(&line, &Until::within(Duration::MAX)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        device: &dyn Device,
        call: Call,
        inbox: &Inbox,
        until: &Until,
    ) -> Result<Value, Said<'static>> {
        let answered = match call {
            Call::Push { path, size } => {
                let mut from = Incoming::new(inbox, size, until);
                let pushed = device.files().and_then(|f| f.push(&mut from, size, &path, until));
                // Its bytes come whatever became of them.
                from.drain();
                pushed.and_then(|()| value(&Done {}))
            }
            Call::Exec(program) => match program.command() {
                Ok(command) => device
                    .exec()
                    .and_then(|exec| exec.run(&command, &mut Pieces { talk: self, until }, until))
                    .and_then(|exit| value(&Ran { exit })),
                Err(e) => Err(DeviceError::Senseless { what: format!("`stdin` is no base64: {e}") }),
            },
            Call::Pull { path, offset } => {
                let mut to = Pieces { talk: self, until };
                device
                    .files()
                    .and_then(|f| f.pull(&path, offset, &mut to, until))
                    .and_then(|_| value(&Done {}))
            }
            Call::Screenshot => device.screen().and_then(|s| s.screenshot(until)).and_then(|png| {
                let passed = Pieces { talk: self, until }.write_all(&png);
                passed
                    .map_err(|source| DeviceError::Output { device: device.address().to_owned(), source })?;
                value(&Done {})
            }),
            call => plain(device, call, until),
        };
        answered.map_err(|error| Said::of(&error))
    }
}

/// The calls that come and go in a line each.
fn plain(device: &dyn Device, call: Call, until: &Until) -> Result<Value, DeviceError> {
    let files = || device.files();
    match call {
        Call::Probe => device.probe(until),
        Call::MakeDir { path } => files()?.make_dir(&path, until),
        Call::Remove { path } => files()?.remove(&path, until),
        Call::MakeExecutable { path } => files()?.make_executable(&path, until),
        Call::Signal { pid, signal } => device.processes()?.signal(pid, signal, until),
        Call::Reboot { wait: true } => device.power()?.reboot(until),
        Call::Reboot { wait: false } => device.power()?.reboot_only(until),
        Call::Supply { to: Some(Switch::On) } => device.supply()?.on(until),
        Call::Supply { to: Some(Switch::Off) } => device.supply()?.off(until),
        Call::Supply { to: Some(Switch::Cycle) } => device.supply()?.cycle(until),
        Call::Install { path } => device.packages()?.install(&path, until),
        Call::Uninstall { name } => device.packages()?.uninstall(&name, until),
        Call::PushTree { from, to } => return value(&files()?.push_path(from.as_ref(), &to, until)?),
        Call::PullTree { from, to } => return value(&files()?.pull_path(&from, to.as_ref(), until)?),
        Call::List { path } => return value(&files()?.list(&path, until)?),
        Call::Stat { path } => {
            let not_found =
                || DeviceError::NotFound { device: device.address().to_owned(), path: path.clone() };
            return value(&files()?.stat(&path, until)?.ok_or_else(not_found)?);
        }
        Call::TestRoot => return value(&files()?.test_root(until)?),
        Call::Processes => return value(&device.processes()?.list(until)?),
        Call::Info => return value(&device.info()?.all(until)?),
        Call::Supply { to: None } => return value(&device.supply()?.is_on(until)?),
        Call::Exec(_) | Call::Push { .. } | Call::Pull { .. } | Call::Screenshot => {
            unreachable!("these have bytes with them")
        }
    }?;
    value(&Done {})
}

fn value(of: &impl Serialize) -> Result<Value, DeviceError> {
    serde_json::to_value(of).map_err(|e| DeviceError::Senseless { what: format!("no JSON: {e}") })
}

/// Passes bytes on in lines.
struct Pieces<'a> {
    talk: &'a mut Talk,
    until: &'a Until,
}

impl Sink for Pieces<'_> {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let Talk { to, id, text } = &mut *self.talk;
        let output = if stream == Stream::Stdout { "stdout" } else { "stderr" };
        for piece in bytes.chunks(CHUNK_BYTES) {
            text.clear();
            BASE64.encode_string(piece, text);
            let (output, data) = (Some(output.into()), Some((&**text).into()));
            to.say(&Line { id: *id, output, data, ..Line::default() }, self.until).map_err(
                |cut| match cut {
                    Cut::Ended(Ended::Deadline) => io::ErrorKind::TimedOut.into(),
                    Cut::Ended(Ended::Io(e)) => e,
                    Cut::Ended(Ended::Cancelled) | Cut::Gone | Cut::Nonsense(_) => {
                        io::Error::from(io::ErrorKind::BrokenPipe)
                    }
                },
            )?;
        }
        Ok(())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(Stream::Stdout, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a file that is pushed.
struct Incoming<'a> {
    inbox: &'a Inbox,
    until: &'a Until,
    left: u64,
    piece: Vec<u8>,
    at: usize,
}

impl<'a> Incoming<'a> {
    fn new(inbox: &'a Inbox, left: u64, until: &'a Until) -> Self {
        Self { inbox, until, left, piece: Vec::new(), at: 0 }
    }

    /// The next piece, if there is one more.
    fn next(&mut self) -> io::Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "the rest of it did not come");
        let Some(Item::Data(text)) = self.inbox.next_until(self.until) else { return Err(gone()) };
        self.piece.clear();
        self.at = 0;
        BASE64.decode_vec(text, &mut self.piece).map_err(io::Error::other)?;
        self.left = self.left.saturating_sub(self.piece.len() as u64);
        Ok(true)
    }

    fn drain(&mut self) {
        while matches!(self.next(), Ok(true)) {}
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let n = (self.piece.len() - self.at).min(buffer.len());
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
