//! The device behind a driver of the lab's own.

use super::link::{Link, VERSION, Wrong};
use crate::device::{
    Command, Device, Entry, Exec, Exit, Files, Info, Packages, Power, Process, Processes, Screen, Sink, Stat,
};
use crate::error::DeviceError;
use crate::host::files::read_some;
use crate::until::Until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_core::output::Stream;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long a driver may take to say hello, and to give up a call.
const HELLO_MAX: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
/// How much of a file is in one line.
const CHUNK_BYTES: usize = 48 << 10;
// Limit: processes kept for the next call.
const IDLE_MAX: usize = 4;

/// A device behind a driver that is a program.
#[derive(Debug)]
pub struct Ext {
    program: String,
    options: Vec<(String, String)>,
    address: String,
    idle: Mutex<Vec<Link>>,
    hello: OnceLock<Hello>,
}

/// What a driver says of itself.
#[derive(Clone, Debug, Deserialize)]
struct Hello {
    protocol: u64,
    capabilities: Vec<String>,
    #[serde(default)]
    streams: bool,
}

/// A line of a driver.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    id: u64,
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    ok: Option<Value>,
    #[serde(default)]
    error: Option<Said>,
}

#[derive(Debug, Deserialize)]
struct Said {
    code: String,
    #[serde(default)]
    message: String,
}

impl Ext {
    /// A device. The program is started at the first call.
    pub fn new(program: &str, options: Vec<(String, String)>, address: &str) -> Self {
        let (program, address) = (program.to_owned(), address.to_owned());
        Self { program, options, address, idle: Mutex::default(), hello: OnceLock::new() }
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
        let mut link = Link::start(&self.program)?;
        let options: serde_json::Map<String, Value> =
            self.options.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let until = until.at_most(HELLO_MAX);
        link.say(&json!({ "hello": { "protocol": VERSION, "options": options } }), &until)?;
        let answer = link.hear(&until)?;
        let hello: Hello = serde_json::from_value(answer.get("hello").cloned().unwrap_or_default())
            .map_err(|e| Wrong::Nonsense(format!("it did not say hello ({e}): {answer}")))?;
        if hello.protocol != VERSION {
            let why = format!("it speaks version {} of the protocol, and this is {VERSION}", hello.protocol);
            return Err(Wrong::Nonsense(why));
        }
        self.hello.get_or_init(|| hello);
        Ok(link)
    }

    /// Whether the driver says it can. One that cannot be asked shows what is wrong in the call itself.
    fn can(&self, capability: &str, what: &str) -> Result<(), DeviceError> {
        if self.hello.get().is_none()
            && let Ok(link) = self.link(&Until::within(HELLO_MAX))
        {
            self.give_back(link);
        }
        match self.hello.get() {
            Some(hello) if !hello.capabilities.iter().any(|c| c == capability) => Err(self.lacks(what)),
            _ => Ok(()),
        }
    }

    fn give_back(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }

    /// A call, the bytes that go with it, and where output goes.
    fn call(
        &self,
        call: &str,
        mut request: Value,
        input: Option<(&mut dyn Read, u64)>,
        sink: &mut dyn Sink,
        doing: &str,
        until: &Until,
    ) -> Result<Value, DeviceError> {
        until.check().map_err(|e| self.told(Wrong::Ended(e), doing, until))?;
        let mut link = self.link(until).map_err(|e| self.told(e, doing, until))?;
        link.last += 1;
        let id = link.last;
        let left = u64::try_from(until.left().as_millis()).unwrap_or(u64::MAX);
        request["id"] = id.into();
        request["call"] = call.into();
        // Such numbers are beyond what JSON's readers keep, and beyond what is meant.
        if left < 1 << 50 {
            request["deadline_ms"] = left.into();
        }
        let done = self.converse(&mut link, id, &request, input, sink, doing, until);
        match done {
            Ok(answer) => {
                self.give_back(link);
                answer
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
                if alive && self.give_up(&mut link, id, &grace).is_ok() {
                    self.give_back(link);
                }
                Err(error)
            }
        }
    }

    fn give_up(&self, link: &mut Link, id: u64, grace: &Until) -> Result<(), Wrong> {
        link.say(&json!({ "cancel": id }), grace)?;
        loop {
            let line = link.hear(grace)?;
            if line["id"] == id && (line.get("ok").is_some() || line.get("error").is_some()) {
                return Ok(());
            }
        }
    }

    /// Outer errors leave the driver out of step, inner ones are its answer.
    #[expect(clippy::too_many_arguments, reason = "one call, told once")]
    fn converse(
        &self,
        link: &mut Link,
        id: u64,
        request: &Value,
        input: Option<(&mut dyn Read, u64)>,
        sink: &mut dyn Sink,
        doing: &str,
        until: &Until,
    ) -> Result<Result<Value, DeviceError>, DeviceError> {
        let told = |wrong| self.told(wrong, doing, until);
        link.say(request, until).map_err(told)?;
        if let Some((from, mut left)) = input {
            let mut buffer = vec![0; CHUNK_BYTES];
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let n = read_some(from, &mut buffer[..want])?;
                link.say(&json!({ "id": id, "data": BASE64.encode(&buffer[..n]) }), until).map_err(told)?;
                left -= n as u64;
            }
        }
        loop {
            let line = link.hear(until).map_err(told)?;
            let text = line.to_string();
            let line: Line = serde_json::from_value(line)
                .map_err(|e| told(Wrong::Nonsense(format!("a line without meaning ({e}): {text}"))))?;
            if line.id != id {
                return Err(told(Wrong::Nonsense(format!("an answer to {} where {id} was asked", line.id))));
            }
            match line {
                Line { output: Some(stream), data: Some(data), .. } => {
                    let stream = if stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
                    let bytes = BASE64
                        .decode(data)
                        .map_err(|e| told(Wrong::Nonsense(format!("output that is no base64: {e}"))))?;
                    sink.take(stream, &bytes)
                        .map_err(|source| DeviceError::Output { device: self.address.clone(), source })?;
                }
                Line { ok: Some(value), .. } => return Ok(Ok(value)),
                Line { error: Some(said), .. } => return Ok(Err(self.said(said, doing, until))),
                _ => return Err(told(Wrong::Nonsense(format!("a line without meaning: {text}")))),
            }
        }
    }

    /// A call without bytes.
    fn ask<T: DeserializeOwned>(
        &self,
        call: &str,
        request: Value,
        doing: &str,
        until: &Until,
    ) -> Result<T, DeviceError> {
        let answer = self.call(call, request, None, &mut |_: Stream, _: &[u8]| Ok(()), doing, until)?;
        self.read(answer, doing, until)
    }

    fn read<T: DeserializeOwned>(&self, answer: Value, doing: &str, until: &Until) -> Result<T, DeviceError> {
        let text = answer.to_string();
        serde_json::from_value(answer).map_err(|e| {
            self.told(Wrong::Nonsense(format!("an answer of another form ({e}): {text}")), doing, until)
        })
    }

    /// What the driver says went wrong.
    fn said(&self, said: Said, doing: &str, until: &Until) -> DeviceError {
        let (device, doing) = (self.address.clone(), doing.to_owned());
        let source = || io::Error::other(said.message.clone());
        match &*said.code {
            "not-found" => DeviceError::NotFound { device, path: said.message },
            "refused" => DeviceError::Refused { device, doing, said: said.message },
            "senseless" => DeviceError::Senseless { what: said.message },
            "full" => DeviceError::Full { device, path: said.message },
            "damaged" => DeviceError::Damaged { device, path: doing, what: said.message },
            "unreachable" => DeviceError::Unreachable { device, source: source() },
            "lost" => DeviceError::Lost { device, doing, source: source() },
            "timeout" => DeviceError::Timeout { device, doing, given: until.given() },
            "unsupported" => {
                DeviceError::Unsupported { driver: "ext", device, what: doing, why: said.message }
            }
            other => {
                let what = format!("an error of no known code, `{other}`: {}", said.message);
                DeviceError::Protocol { device, doing, what }
            }
        }
    }

    fn told(&self, wrong: Wrong, doing: &str, until: &Until) -> DeviceError {
        let (device, program) = (self.address.clone(), &self.program);
        match wrong {
            Wrong::Ended(ended) => DeviceError::ended(&device, doing, ended, until),
            Wrong::NotStarted(e) => {
                let source =
                    io::Error::new(e.kind(), format!("the driver `{program}` cannot be started: {e}"));
                DeviceError::Unreachable { device, source }
            }
            Wrong::Died(why) => {
                let source = io::Error::new(io::ErrorKind::BrokenPipe, why);
                DeviceError::Lost { device, doing: doing.to_owned(), source }
            }
            Wrong::Nonsense(what) => DeviceError::Protocol { device, doing: doing.to_owned(), what },
        }
    }
}

/// An answer that says nothing more.
#[derive(Deserialize)]
struct Done {}

#[derive(Deserialize)]
struct RanToEnd {
    exit: Exit,
}

impl Device for Ext {
    fn driver(&self) -> &'static str {
        "ext"
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

    fn screen(&self) -> Result<&dyn Screen, DeviceError> {
        self.can("screen", "take a screenshot").map(|()| self as &dyn Screen)
    }

    fn packages(&self) -> Result<&dyn Packages, DeviceError> {
        self.can("packages", "install packages").map(|()| self as &dyn Packages)
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        self.ask::<Done>("probe", json!({}), "asking whether it is there", until).map(drop)
    }
}

impl Exec for Ext {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        let Some(program) = command.args.first() else {
            return Err(DeviceError::Senseless { what: "no program was named".to_owned() });
        };
        let doing = format!("running `{program}`");
        let request = json!({
            "args": command.args, "env": command.env, "dir": command.dir, "user": command.user,
            "stdin": BASE64.encode(&command.stdin),
            "time_limit_ms": command.time_limit.map(|limit| limit.as_millis().min(1 << 50) as u64),
        });
        // The driver minds the time limit. One that does not is ended a little later.
        let limited = command.time_limit.map(|limit| until.at_most(limit.saturating_add(GRACE)));
        let until = limited.as_ref().unwrap_or(until);
        let answer = self.call("exec", request, None, sink, &doing, until)?;
        self.read::<RanToEnd>(answer, &doing, until).map(|ended| ended.exit)
    }

    fn tells_streams_apart(&self) -> bool {
        self.hello.get().is_some_and(|hello| hello.streams)
    }
}

impl Files for Ext {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let (request, doing) = (json!({ "path": to, "size": size }), format!("writing `{to}`"));
        let mut sink = |_: Stream, _: &[u8]| Ok(());
        let answer = self.call("push", request, Some((from, size)), &mut sink, &doing, until)?;
        self.read::<Done>(answer, &doing, until).map(drop)
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let (request, doing) = (json!({ "path": from, "offset": offset }), format!("reading `{from}`"));
        let mut moved = 0;
        let mut sink = |_: Stream, bytes: &[u8]| {
            moved += bytes.len() as u64;
            to.write_all(bytes)
        };
        let answer = self.call("pull", request, None, &mut sink, &doing, until)?;
        self.read::<Done>(answer, &doing, until).map(|_| moved)
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        let mut entries: Vec<Entry> =
            self.ask("list", json!({ "path": dir }), &format!("listing `{dir}`"), until)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        match self.ask("stat", json!({ "path": path }), &format!("looking at `{path}`"), until) {
            Ok(stat) => Ok(Some(stat)),
            Err(DeviceError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.ask::<Done>("make-dir", json!({ "path": dir }), &format!("making `{dir}`"), until).map(drop)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.ask::<Done>("remove", json!({ "path": path }), &format!("removing `{path}`"), until).map(drop)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("making `{path}` a program");
        self.ask::<Done>("make-executable", json!({ "path": path }), &doing, until).map(drop)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        self.ask("test-root", json!({}), "asking for its test root", until)
    }
}

impl Processes for Ext {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let mut all: Vec<Process> = self.ask("processes", json!({}), "listing processes", until)?;
        all.sort_by_key(|p| p.pid);
        Ok(all)
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("signal {signal} for process {pid}");
        self.ask::<Done>("signal", json!({ "pid": pid, "signal": signal }), &doing, until).map(drop)
    }
}

impl Info for Ext {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        self.ask("info", json!({}), "asking about it", until)
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
        self.ask::<Done>("reboot", json!({ "wait": true }), "rebooting", until).map(drop)
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        self.ask::<Done>("reboot", json!({ "wait": false }), "rebooting", until).map(drop)
    }
}

impl Screen for Ext {
    fn screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        let mut png = Vec::new();
        let mut sink = |_: Stream, bytes: &[u8]| {
            png.extend_from_slice(bytes);
            Ok(())
        };
        self.call("screenshot", json!({}), None, &mut sink, "taking a screenshot", until)?;
        Ok(png)
    }
}

impl Packages for Ext {
    fn install(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.ask::<Done>("install", json!({ "path": path }), &format!("installing `{path}`"), until).map(drop)
    }

    fn uninstall(&self, name: &str, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("removing the package `{name}`");
        self.ask::<Done>("uninstall", json!({ "name": name }), &doing, until).map(drop)
    }
}
