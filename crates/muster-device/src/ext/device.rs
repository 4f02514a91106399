//! The device behind a driver of the lab's own, or behind what keeps one open.

use super::lines;
use super::link::{Link, Wrong};
use super::words::{
    CHUNK_BYTES, Call, Data, Done, GiveUp, Hello, Line, Program, Ran, Request, Switch, millis,
};
use crate::device::{
    Command, Device, Entry, Exec, Exit, Files, Info, Packages, Power, Process, Processes, Screen, Sink, Stat,
    Supply,
};
use crate::error::DeviceError;
use crate::host::files::read_some;
use crate::tree::{self, Moved};
use crate::until::Until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_core::output::Stream;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long a driver may take to give up a call, and to be asked what it can.
const GRACE: Duration = Duration::from_secs(10);
const ASK_MAX: Duration = Duration::from_secs(30);
// Limit: conversations kept for the next call.
const IDLE_MAX: usize = 4;

/// A device behind a driver that speaks the driver protocol.
#[derive(Debug)]
pub struct Ext {
    way: Way,
    options: BTreeMap<String, String>,
    scheme: &'static str,
    address: String,
    idle: Mutex<Vec<Link>>,
    hello: OnceLock<Hello>,
}

/// How a driver is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A program that is started for each conversation.
    Program(String),
    /// A socket that somebody listens at.
    Socket(PathBuf),
}

impl Ext {
    /// A device, as it is called for people, and what its driver is told of it. The driver is asked at the
    /// first call.
    pub fn new(way: Way, options: BTreeMap<String, String>, scheme: &'static str, address: &str) -> Self {
        let address = address.to_owned();
        Self { way, options, scheme, address, idle: Mutex::default(), hello: OnceLock::new() }
    }

    fn link(&self, until: &Until) -> Result<Link, Wrong> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(link) if link.is_out_of_step() => {}
                Some(link) => return Ok(link),
                None => break,
            }
        }
        let mut link = match &self.way {
            Way::Program(program) => Link::start(program)?,
            Way::Socket(socket) => Link::connect(socket)?,
        };
        let hello = link.greet(&self.options, until)?;
        self.hello.get_or_init(|| hello);
        Ok(link)
    }

    /// What the driver says of itself. One that cannot be asked shows what is wrong in the call itself.
    fn hello(&self) -> Option<&Hello> {
        if self.hello.get().is_none()
            && let Ok(link) = self.link(&Until::within(ASK_MAX))
        {
            self.give_back(link);
        }
        self.hello.get()
    }

    fn can(&self, capability: &str, what: &str) -> Result<(), DeviceError> {
        if self.hello().is_none_or(|hello| hello.can(capability)) { Ok(()) } else { Err(self.lacks(what)) }
    }

    fn give_back(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }

    /// A call, the bytes that go with it, and where output goes.
    fn call<T: DeserializeOwned>(
        &self,
        call: Call,
        input: Option<(&mut dyn Read, u64)>,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<T, DeviceError> {
        let left = millis(until.left());
        let deadline_ms = (left < 1 << 50).then_some(left);
        let mut request = Request { id: 0, deadline_ms, call };
        let told = |wrong, call: &Call| self.told(wrong, call, until);
        until.check().map_err(|e| told(Wrong::Ended(e), &request.call))?;
        let mut link = self.link(until).map_err(|e| told(e, &request.call))?;
        link.last += 1;
        request.id = link.last;
        match self.converse(&mut link, &request, input, sink, until) {
            Ok(answer) => {
                self.give_back(link);
                let answer = answer?;
                let text = answer.to_string();
                serde_json::from_value(answer).map_err(|e| {
                    let what = format!("an answer of another form ({e}): {text}");
                    told(Wrong::Nonsense(what), &request.call)
                })
            }
            Err(error) => {
                // It is asked to give up, and killed if it does not.
                let grace = until.anew(GRACE);
                let alive = matches!(
                    error,
                    DeviceError::Timeout { .. }
                        | DeviceError::Cancelled { .. }
                        | DeviceError::Output { .. }
                        | DeviceError::Here { .. }
                );
                if alive && give_up(&mut link, request.id, &grace).is_ok() {
                    self.give_back(link);
                }
                Err(error)
            }
        }
    }

    /// Outer errors leave the driver out of step, inner ones are its answer.
    fn converse(
        &self,
        link: &mut Link,
        request: &Request,
        input: Option<(&mut dyn Read, u64)>,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Result<Value, DeviceError>, DeviceError> {
        let id = request.id;
        let told = |wrong| self.told(wrong, &request.call, until);
        link.say(request, until).map_err(told)?;
        let (mut text, mut bytes) = (String::new(), Vec::new());
        if let Some((from, mut left)) = input {
            bytes.resize(CHUNK_BYTES, 0);
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let n = read_some(from, &mut bytes[..want])?;
                text.clear();
                BASE64.encode_string(&bytes[..n], &mut text);
                link.say(&Data { id, data: &text }, until).map_err(told)?;
                left -= n as u64;
            }
        }
        loop {
            // What the driver said, or the stream whose bytes are in `bytes`.
            let heard = link.hear(until, |line| {
                let told: Line<'_> = lines::read(line).map_err(nonsense)?;
                if told.id != id {
                    let what = format!("an answer to {} where {id} was asked", told.id);
                    return Err(Wrong::Nonsense(what));
                }
                match told {
                    Line { output: Some(stream), data: Some(data), .. } => {
                        bytes.clear();
                        BASE64
                            .decode_vec(&*data, &mut bytes)
                            .map_err(|e| Wrong::Nonsense(format!("output that is no base64: {e}")))?;
                        Ok(Heard::Output(if stream == "stderr" { Stream::Stderr } else { Stream::Stdout }))
                    }
                    Line { ok: Some(value), .. } => Ok(Heard::End(Ok(value))),
                    Line { error: Some(said), .. } => {
                        let error = said.error(self.scheme, &self.address, &request.call, until);
                        Ok(Heard::End(Err(error)))
                    }
                    _ => {
                        let line = String::from_utf8_lossy(line);
                        Err(Wrong::Nonsense(format!("a line without meaning: {line}")))
                    }
                }
            });
            match heard.map_err(told)? {
                Heard::End(end) => return Ok(end),
                Heard::Output(stream) => sink
                    .take(stream, &bytes)
                    .map_err(|source| DeviceError::Output { device: self.address.clone(), source })?,
            }
        }
    }

    /// A call without bytes.
    fn ask<T: DeserializeOwned>(&self, call: Call, until: &Until) -> Result<T, DeviceError> {
        self.call(call, None, &mut |_: Stream, _: &[u8]| Ok(()), until)
    }

    /// One whose answer says nothing more.
    fn tell(&self, call: Call, until: &Until) -> Result<(), DeviceError> {
        self.ask::<Done>(call, until).map(drop)
    }

    fn told(&self, wrong: Wrong, call: &Call, until: &Until) -> DeviceError {
        let (device, doing) = (self.address.clone(), call.doing());
        match wrong {
            Wrong::Ended(ended) => DeviceError::ended(&device, &doing, ended, until),
            Wrong::NotStarted(e) => {
                let what = match &self.way {
                    Way::Program(program) => format!("the driver `{program}` cannot be started: {e}"),
                    Way::Socket(socket) => format!("nobody listens at `{}`: {e}", socket.display()),
                };
                DeviceError::Unreachable { device, source: io::Error::new(e.kind(), what) }
            }
            Wrong::Died(why) => {
                let source = io::Error::new(io::ErrorKind::BrokenPipe, why);
                DeviceError::Lost { device, doing, source }
            }
            Wrong::Nonsense(what) => DeviceError::Protocol { device, doing, what },
        }
    }
}

/// What a line of a driver is about.
enum Heard {
    Output(Stream),
    End(Result<Value, DeviceError>),
}

fn nonsense(cut: lines::Cut) -> Wrong {
    match cut {
        lines::Cut::Ended(ended) => Wrong::Ended(ended),
        lines::Cut::Gone => Wrong::Died("it is there no more".to_owned()),
        lines::Cut::Nonsense(what) => Wrong::Nonsense(what),
    }
}

fn give_up(link: &mut Link, id: u64, grace: &Until) -> Result<(), Wrong> {
    link.say(&GiveUp { cancel: id }, grace)?;
    loop {
        let over = link.hear(grace, |line| {
            let line: Line<'_> = lines::read(line).map_err(nonsense)?;
            Ok(line.id == id && (line.ok.is_some() || line.error.is_some()))
        })?;
        if over {
            return Ok(());
        }
    }
}

impl Device for Ext {
    fn driver(&self) -> &'static str {
        self.scheme
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn exec(&self) -> Result<&dyn Exec, DeviceError> {
        self.can("exec", "run programs").map(|()| self as &dyn Exec)
    }

    fn files(&self) -> Result<&dyn Files, DeviceError> {
        self.can("files", "move files").map(|()| self as &dyn Files)
    }

    fn processes(&self) -> Result<&dyn Processes, DeviceError> {
        self.can("processes", "list processes").map(|()| self as &dyn Processes)
    }

    fn info(&self) -> Result<&dyn Info, DeviceError> {
        self.can("info", "tell about itself").map(|()| self as &dyn Info)
    }

    fn power(&self) -> Result<&dyn Power, DeviceError> {
        self.can("power", "reboot").map(|()| self as &dyn Power)
    }

    fn supply(&self) -> Result<&dyn Supply, DeviceError> {
        self.can("supply", "switch its supply").map(|()| self as &dyn Supply)
    }

    fn screen(&self) -> Result<&dyn Screen, DeviceError> {
        self.can("screen", "take a screenshot").map(|()| self as &dyn Screen)
    }

    fn packages(&self) -> Result<&dyn Packages, DeviceError> {
        self.can("packages", "install packages").map(|()| self as &dyn Packages)
    }

    fn wants_fresh(&self) -> bool {
        self.hello().is_some_and(|hello| hello.fresh)
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Probe, until)
    }
}

impl Exec for Ext {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        if command.args.is_empty() {
            return Err(DeviceError::Senseless { what: "no program was named".to_owned() });
        }
        // The driver minds the time limit. One that does not is ended a little later.
        let limited = command.time_limit.map(|limit| until.at_most(limit.saturating_add(GRACE)));
        let until = limited.as_ref().unwrap_or(until);
        let ran: Ran = self.call(Call::Exec(Program::from(command)), None, sink, until)?;
        Ok(ran.exit)
    }

    fn tells_streams_apart(&self) -> bool {
        self.hello.get().is_some_and(|hello| hello.streams)
    }
}

impl Files for Ext {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let call = Call::Push { path: to.to_owned(), size };
        self.call::<Done>(call, Some((from, size)), &mut |_: Stream, _: &[u8]| Ok(()), until).map(drop)
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let mut moved = 0;
        let mut sink = |_: Stream, bytes: &[u8]| {
            moved += bytes.len() as u64;
            to.write_all(bytes)
        };
        self.call::<Done>(Call::Pull { path: from.to_owned(), offset }, None, &mut sink, until)?;
        Ok(moved)
    }

    fn push_path(&self, from: &Path, to: &str, until: &Until) -> Result<Moved, DeviceError> {
        match self.whole_tree(from) {
            Some(from) => self.ask(Call::PushTree { from, to: to.to_owned() }, until),
            None => tree::push_path(self, from, to, until),
        }
    }

    fn pull_path(&self, from: &str, to: &Path, until: &Until) -> Result<Moved, DeviceError> {
        match self.whole_tree(to) {
            Some(to) => self.ask(Call::PullTree { from: from.to_owned(), to }, until),
            None => tree::pull_path(self, from, to, until),
        }
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        let mut entries: Vec<Entry> = self.ask(Call::List { path: dir.to_owned() }, until)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        match self.ask(Call::Stat { path: path.to_owned() }, until) {
            Ok(stat) => Ok(Some(stat)),
            Err(DeviceError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::MakeDir { path: dir.to_owned() }, until)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Remove { path: path.to_owned() }, until)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::MakeExecutable { path: path.to_owned() }, until)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        self.ask(Call::TestRoot, until)
    }
}

impl Ext {
    /// A path of this host for a driver that moves whole trees by itself. A pipe or a terminal may be another
    /// one there.
    fn whole_tree(&self, path: &Path) -> Option<String> {
        self.hello().filter(|hello| hello.can("trees"))?;
        if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            return None;
        }
        std::path::absolute(path).ok()?.into_os_string().into_string().ok()
    }
}

impl Processes for Ext {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let mut all: Vec<Process> = self.ask(Call::Processes, until)?;
        all.sort_by_key(|p| p.pid);
        Ok(all)
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Signal { pid, signal }, until)
    }
}

impl Info for Ext {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        self.ask(Call::Info, until)
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let all = self.all(until)?;
        let names: Vec<String> = all.iter().map(|(known, _)| known.clone()).collect();
        all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value).ok_or_else(|| {
            let what = format!("nothing is known under `{name}`; there are {}", names.join(", "));
            DeviceError::Senseless { what }
        })
    }
}

impl Power for Ext {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Reboot { wait: true }, until)
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Reboot { wait: false }, until)
    }
}

impl Supply for Ext {
    fn on(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Supply { to: Some(Switch::On) }, until)
    }

    fn off(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Supply { to: Some(Switch::Off) }, until)
    }

    fn cycle(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Supply { to: Some(Switch::Cycle) }, until)
    }

    fn is_on(&self, until: &Until) -> Result<bool, DeviceError> {
        self.ask(Call::Supply { to: None }, until)
    }
}

impl Screen for Ext {
    fn screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        let mut png = Vec::new();
        let mut sink = |_: Stream, bytes: &[u8]| {
            png.extend_from_slice(bytes);
            Ok(())
        };
        self.call::<Done>(Call::Screenshot, None, &mut sink, until)?;
        Ok(png)
    }
}

impl Packages for Ext {
    fn install(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Install { path: path.to_owned() }, until)
    }

    fn uninstall(&self, name: &str, until: &Until) -> Result<(), DeviceError> {
        self.tell(Call::Uninstall { name: name.to_owned() }, until)
    }
}
