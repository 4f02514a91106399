//! What both sides of the driver protocol say, as `docs/reference/driver-protocol.md` tells it.

use crate::device::{Command, Device, Exit};
use crate::error::DeviceError;
use crate::until::Until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u64 = 1;

/// What a driver may be able to do.
const CAPABILITIES: [&str; 9] =
    ["exec", "files", "trees", "processes", "info", "power", "supply", "screen", "packages"];

/// How much of a file or of output is in one line.
pub(super) const CHUNK_BYTES: usize = 48 << 10;

/// The first line, from Muster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) hello: Wish,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) protocol: u64,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

/// The driver's answer to it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) hello: Hello,
}

/// What a driver says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u64,
    pub(super) capabilities: Vec<Cow<'static, str>>,
    #[serde(default)]
    pub(super) streams: bool,
    /// Each job wants one opened anew.
    #[serde(default)]
    pub(super) fresh: bool,
}

impl Hello {
    /// What a device can do.
    pub(super) fn of(device: &dyn Device) -> Self {
        let has = |capability: &&str| match *capability {
            "exec" => device.exec().is_ok(),
            "files" | "trees" => device.files().is_ok(),
            "processes" => device.processes().is_ok(),
            "info" => device.info().is_ok(),
            "power" => device.power().is_ok(),
            "supply" => device.supply().is_ok(),
            "screen" => device.screen().is_ok(),
            "packages" => device.packages().is_ok(),
            _ => false,
        };
        Self {
            capabilities: CAPABILITIES.into_iter().filter(has).map(Cow::Borrowed).collect(),
            streams: device.exec().is_ok_and(|exec| exec.tells_streams_apart()),
            fresh: device.wants_fresh(),
            ..Self::of_all()
        }
    }

    /// Everything: each call will say by itself what is wrong with it.
    pub(super) fn of_all() -> Self {
        let capabilities = CAPABILITIES.map(Cow::Borrowed).to_vec();
        Self { protocol: VERSION, capabilities, streams: true, fresh: false }
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }
}

/// Something a driver is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    /// When Muster gives up; never, if there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) deadline_ms: Option<u64>,
    #[serde(flatten)]
    pub(super) call: Call,
}

/// What.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub(super) enum Call {
    Probe,
    Exec(Program),
    Push {
        path: String,
        size: u64,
    },
    Pull {
        path: String,
        #[serde(default)]
        offset: u64,
    },
    PushTree {
        from: String,
        to: String,
    },
    PullTree {
        from: String,
        to: String,
    },
    List {
        path: String,
    },
    Stat {
        path: String,
    },
    MakeDir {
        path: String,
    },
    Remove {
        path: String,
    },
    MakeExecutable {
        path: String,
    },
    TestRoot,
    Processes,
    Signal {
        pid: u32,
        signal: i32,
    },
    Info,
    Reboot {
        wait: bool,
    },
    Supply {
        to: Option<Switch>,
    },
    Screenshot,
    Install {
        path: String,
    },
    Uninstall {
        name: String,
    },
}

/// What a supply is switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Switch {
    On,
    Off,
    Cycle,
}

/// A program, as a line has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Program {
    args: Vec<String>,
    #[serde(default)]
    env: Vec<(String, String)>,
    #[serde(default)]
    dir: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    time_limit_ms: Option<u64>,
}

impl From<&Command> for Program {
    fn from(command: &Command) -> Self {
        let Command { args, env, dir, user, stdin, time_limit } = command.clone();
        let time_limit_ms = time_limit.map(millis);
        Self { args, env, dir, user, stdin: BASE64.encode(stdin), time_limit_ms }
    }
}

impl Program {
    /// The same as it is run, unless what it reads is no base64.
    pub(super) fn command(self) -> Result<Command, base64::DecodeError> {
        let Self { args, env, dir, user, stdin, time_limit_ms } = self;
        let time_limit = time_limit_ms.map(Duration::from_millis);
        Ok(Command { args, env, dir, user, stdin: BASE64.decode(stdin)?, time_limit })
    }
}

/// A duration as it is said. What is longer is beyond what JSON's readers keep, and beyond what is meant.
pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis().min(1 << 50) as u64
}

impl Call {
    /// What is being done, for people: "writing `/x`".
    pub(super) fn doing(&self) -> String {
        let about = |what: &str, name: &str| {
            let mut text = what.to_owned();
            // A string takes all that is written to it.
            let _ = write!(text, " `{name}`");
            text
        };
        match self {
            Self::Probe => "asking whether it is there".to_owned(),
            Self::Exec(program) => about("running", program.args.first().map_or("", String::as_str)),
            Self::Push { path, .. } | Self::PushTree { to: path, .. } => about("writing", path),
            Self::Pull { path, .. } | Self::PullTree { from: path, .. } => about("reading", path),
            Self::List { path } => about("listing", path),
            Self::Stat { path } => about("looking at", path),
            Self::MakeDir { path } => about("making", path),
            Self::Remove { path } => about("removing", path),
            Self::MakeExecutable { path } => format!("making `{path}` a program"),
            Self::TestRoot => "asking for its test root".to_owned(),
            Self::Processes => "listing processes".to_owned(),
            Self::Signal { pid, signal } => format!("signal {signal} for process {pid}"),
            Self::Info => "asking about it".to_owned(),
            Self::Reboot { .. } => "rebooting".to_owned(),
            Self::Supply { to: Some(Switch::On) } => "switching it on".to_owned(),
            Self::Supply { to: Some(Switch::Off) } => "switching it off".to_owned(),
            Self::Supply { to: Some(Switch::Cycle) } => "switching it off and on".to_owned(),
            Self::Supply { to: None } => "telling whether it is on".to_owned(),
            Self::Screenshot => "taking a screenshot".to_owned(),
            Self::Install { path } => about("installing", path),
            Self::Uninstall { name } => about("removing the package", name),
        }
    }
}

/// A piece of a file that is pushed.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    pub(super) id: u64,
    pub(super) data: &'a str,
}

/// Asks to give up what is being done.
#[derive(Debug, Serialize)]
pub(super) struct GiveUp {
    pub(super) cancel: u64,
}

/// A line of Muster's, before it is known which.
#[derive(Debug, Deserialize)]
pub(super) struct Heard<'a> {
    #[serde(default)]
    pub(super) cancel: Option<u64>,
    #[serde(borrow, default)]
    pub(super) data: Option<Cow<'a, str>>,
}

/// A line of a driver: some output, or how a request ended.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) id: u64,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub(super) output: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub(super) data: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) ok: Option<Value>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub(super) error: Option<Said<'a>>,
}

/// What a driver says went wrong.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    pub(super) code: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) message: Cow<'a, str>,
}

/// An answer that says nothing more.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Done {}

/// How a program ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ran {
    pub(super) exit: Exit,
}

impl Said<'_> {
    /// An error, as it is said. What the device and what is done are called, the other side knows.
    pub(super) fn of(error: &DeviceError) -> Said<'static> {
        let (code, message) = match error {
            DeviceError::Unreachable { source, .. } => ("unreachable", source.to_string()),
            DeviceError::Lost { source, .. } | DeviceError::Output { source, .. } => {
                ("lost", source.to_string())
            }
            DeviceError::Protocol { what, .. } => ("protocol", what.clone()),
            DeviceError::Timeout { .. } | DeviceError::Cancelled { .. } => ("timeout", String::new()),
            DeviceError::Full { path, .. } => ("full", path.clone()),
            DeviceError::Damaged { what, .. } => ("damaged", what.clone()),
            DeviceError::NotFound { path, .. } => ("not-found", path.clone()),
            DeviceError::Refused { said, .. } => ("refused", said.clone()),
            DeviceError::Unsupported { why, .. } => ("unsupported", why.clone()),
            DeviceError::Here { source, .. } => ("senseless", format!("{error}: {source}")),
            DeviceError::Senseless { what } => ("senseless", what.clone()),
        };
        Said { code: code.into(), message: message.into() }
    }

    /// The error it says.
    pub(super) fn error(self, driver: &'static str, device: &str, call: &Call, until: &Until) -> DeviceError {
        let (device, doing, message) = (device.to_owned(), call.doing(), self.message.into_owned());
        match &*self.code {
            "not-found" => DeviceError::NotFound { device, path: message },
            "refused" => DeviceError::Refused { device, doing, said: message },
            "senseless" => DeviceError::Senseless { what: message },
            "full" => DeviceError::Full { device, path: message },
            "damaged" => DeviceError::Damaged { device, path: doing, what: message },
            "unreachable" => DeviceError::Unreachable { device, source: io::Error::other(message) },
            "lost" => DeviceError::Lost { device, doing, source: io::Error::other(message) },
            "timeout" => DeviceError::Timeout { device, doing, given: until.given() },
            "unsupported" => DeviceError::Unsupported { driver, device, what: doing, why: message },
            "protocol" => DeviceError::Protocol { device, doing, what: message },
            other => {
                let what = format!("an error of no known code, `{other}`: {message}");
                DeviceError::Protocol { device, doing, what }
            }
        }
    }
}
