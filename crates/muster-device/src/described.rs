//! A device that a file describes: the address it is used by, and what switches it and leads to its console.
//!
//! ```toml
//! address = "ssh://board-1"
//!
//! [power]
//! on = ["snmpset", "-v2c", "-c", "lab", "pdu-3", ".1.3.6.1.4.1.318.1.1.4.4.2.1.3.5", "i", "1"]
//! off = ["snmpset", "-v2c", "-c", "lab", "pdu-3", ".1.3.6.1.4.1.318.1.1.4.4.2.1.3.5", "i", "2"]
//!
//! [console]
//! tcp = "ser2net-1:2005"
//! ```
//!
//! Commands are words and no shell. In their place a `[redfish]` table names a resource that switches it, see
//! [`redfish`](crate::redfish). What the file does not tell, the driver of the address may have itself.

use crate::address::{DeviceAddress, host_and_port};
use crate::console::ConsoleLine;
use crate::device::{
    Captured, Command, Console, Device, Exec, Exit, Files, Info, Packages, Power, Processes, Screen, Supply,
};
use crate::drivers::{Driver, Place};
use crate::error::DeviceError;
use crate::host::run;
use crate::redfish;
use crate::stream::{NotConnected, Stream};
use crate::until::{Ended, Until};
use serde::Deserialize;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

pub(crate) const DRIVER: Driver = Driver {
    scheme: "file",
    syntax: "file:FILE.toml",
    about: "a device of another driver, with its power and console, as a file tells",
    read: |rest| Ok(Box::new(Description::read(rest)?)),
};

/// How long a switch is left off, if nothing is said.
const PAUSE: Duration = Duration::from_secs(5);

/// The file.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    address: String,
    power: Option<Switch>,
    redfish: Option<redfish::Place>,
    console: Option<Line>,
    /// The file itself.
    #[serde(skip)]
    file: PathBuf,
}

/// What switches it: words of a program each.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: Vec<String>,
    off: Vec<String>,
    /// Where there is none it is switched off and on, with a pause between.
    cycle: Option<Vec<String>>,
    /// Ends with 0 where it is on and with 1 where it is off, or says `on` or `off` as its last word.
    status: Option<Vec<String>>,
}

/// What leads to its console.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// A port that passes bytes on, as those of ser2net in raw mode.
    Tcp(String),
    /// A program that does so by its standard streams.
    Command(Vec<String>),
}

impl Description {
    fn read(rest: &str) -> Result<Self, String> {
        if rest.is_empty() {
            return Err("after `file:` comes the path of a file".to_owned());
        }
        let file = std::path::absolute(Path::new(rest)).map_err(|e| format!("`{rest}`: {e}"))?;
        let wrong = |e: &dyn std::fmt::Display| format!("`{}` cannot be used: {e}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|e| wrong(&e))?;
        let mut this: Self = toml::from_str(&text).map_err(|e| wrong(&e))?;
        if this.address.starts_with("file:") {
            return Err(wrong(&"`address` is that of another driver, not of another file"));
        }
        this.address.parse::<DeviceAddress>().map_err(|e| wrong(&e))?;
        if this.power.is_some() && this.redfish.is_some() {
            return Err(wrong(&"its supply is switched by `[power]` or by `[redfish]`, not by both"));
        }
        let dir = file.parent().unwrap_or(Path::new("/"));
        let place = this.redfish.take().map(|place| place.checked(dir)).transpose();
        this.redfish = place.map_err(|e| wrong(&e))?;
        let switch =
            this.power.iter().flat_map(|p| [Some(&p.on), Some(&p.off), p.cycle.as_ref(), p.status.as_ref()]);
        let line = this.console.iter().map(|c| if let Line::Command(words) = c { Some(words) } else { None });
        if switch.chain(line).flatten().any(Vec::is_empty) {
            return Err(wrong(&"a command has at least one word"));
        }
        if let Some(Line::Tcp(place)) = &this.console
            && host_and_port(place).is_none_or(|(_, port)| port.is_none())
        {
            return Err(wrong(&format!("`tcp = \"{place}\"`: write `HOST:PORT`")));
        }
        this.file = file;
        Ok(this)
    }
}

impl Place for Description {
    fn written(&self) -> String {
        format!("file:{}", self.file.display())
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        let inner = self.address.parse::<DeviceAddress>().map_err(io::Error::other)?.open()?;
        let address = self.written();
        let redfish = self.redfish.as_ref().map(|place| place.supply(&address));
        Ok(Box::new(Described { about: self.clone(), address, redfish, inner }))
    }
}

/// A device that a file describes.
struct Described {
    about: Description,
    address: String,
    redfish: Option<redfish::Redfish>,
    inner: Box<dyn Device>,
}

impl Device for Described {
    fn driver(&self) -> &'static str {
        "file"
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn exec(&self) -> Result<&dyn Exec, DeviceError> {
        self.inner.exec().map_err(|e| self.own(e))
    }

    fn files(&self) -> Result<&dyn Files, DeviceError> {
        self.inner.files().map_err(|e| self.own(e))
    }

    fn processes(&self) -> Result<&dyn Processes, DeviceError> {
        self.inner.processes().map_err(|e| self.own(e))
    }

    fn info(&self) -> Result<&dyn Info, DeviceError> {
        self.inner.info().map_err(|e| self.own(e))
    }

    fn power(&self) -> Result<&dyn Power, DeviceError> {
        self.inner.power().map_err(|e| self.own(e))
    }

    fn screen(&self) -> Result<&dyn Screen, DeviceError> {
        self.inner.screen().map_err(|e| self.own(e))
    }

    fn packages(&self) -> Result<&dyn Packages, DeviceError> {
        self.inner.packages().map_err(|e| self.own(e))
    }

    fn supply(&self) -> Result<&dyn Supply, DeviceError> {
        match &self.redfish {
            Some(redfish) => Ok(redfish),
            None if self.about.power.is_some() => Ok(self),
            None => self.inner.supply().map_err(|e| self.own(e)),
        }
    }

    fn console(&self) -> Result<&dyn Console, DeviceError> {
        if self.about.console.is_some() { Ok(self) } else { self.inner.console().map_err(|e| self.own(e)) }
    }

    fn wants_fresh(&self) -> bool {
        self.inner.wants_fresh()
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        self.inner.probe(until)
    }
}

impl Described {
    /// What the driver of the address lacks, this one lacks.
    fn own(&self, error: DeviceError) -> DeviceError {
        match error {
            DeviceError::Unsupported { driver, what, why, .. } => DeviceError::Unsupported {
                driver: "file",
                device: self.address.clone(),
                what,
                why: format!("`{driver}` cannot: {why}"),
            },
            other => other,
        }
    }

    fn switch(&self) -> Result<&Switch, DeviceError> {
        self.about.power.as_ref().ok_or_else(|| self.lacks("switch its supply"))
    }

    /// Runs the words of the file, and returns how they ended and what they said.
    fn tool(&self, words: &[String], until: &Until) -> Result<(Exit, String), DeviceError> {
        let (command, mut said) = (Command::new(words.iter().cloned()), Captured::default());
        let exit =
            run::run(&command, &mut said, until, None).map_err(|e| e.of(&self.address, &command, until))?;
        let text = [said.stdout, said.stderr].concat();
        Ok((exit, String::from_utf8_lossy(&text).trim().to_owned()))
    }

    fn act(&self, doing: &str, words: &[String], until: &Until) -> Result<(), DeviceError> {
        match self.tool(words, until)? {
            (Exit::Code(0), _) => Ok(()),
            (exit, said) => Err(DeviceError::Refused {
                device: self.address.clone(),
                doing: doing.to_owned(),
                said: format!("`{}` ended with {exit:?}: {said}", words[0]),
            }),
        }
    }
}

impl Supply for Described {
    fn on(&self, until: &Until) -> Result<(), DeviceError> {
        self.act("switching it on", &self.switch()?.on, until)
    }

    fn off(&self, until: &Until) -> Result<(), DeviceError> {
        self.act("switching it off", &self.switch()?.off, until)
    }

    fn cycle(&self, until: &Until) -> Result<(), DeviceError> {
        if let Some(words) = &self.switch()?.cycle {
            return self.act("switching it off and on", words, until);
        }
        self.off(until)?;
        let slept = until.sleep(PAUSE);
        // It is not left off because somebody did not want to wait.
        self.on(&until.anew(Duration::from_secs(60)))?;
        slept.map_err(|e| DeviceError::ended(&self.address, "switching it off and on", e, until))
    }

    fn is_on(&self, until: &Until) -> Result<bool, DeviceError> {
        let Some(words) = &self.switch()?.status else { return Err(self.lacks("tell whether it is on")) };
        let (exit, said) = self.tool(words, until)?;
        let last = said.split_whitespace().last().unwrap_or_default().to_lowercase();
        match (last.as_str(), exit) {
            ("on", Exit::Code(0)) => Ok(true),
            ("off", Exit::Code(0)) | (_, Exit::Code(1)) => Ok(false),
            (_, Exit::Code(0)) => Ok(true),
            (_, exit) => Err(DeviceError::Refused {
                device: self.address.clone(),
                doing: "telling whether it is on".to_owned(),
                said: format!("`{}` ended with {exit:?}: {said}", words[0]),
            }),
        }
    }
}

impl Console for Described {
    fn connect(&self, until: &Until) -> Result<ConsoleLine, DeviceError> {
        let unreachable = |source| DeviceError::Unreachable { device: self.address.clone(), source };
        match &self.about.console {
            None => Err(self.lacks("lead to its console")),
            Some(Line::Tcp(place)) => {
                let (host, port) = host_and_port(place).ok_or_else(|| self.lacks("lead to its console"))?;
                let stream = Stream::connect(&host, port.unwrap_or(0), until);
                let ended =
                    |e: Ended| DeviceError::ended(&self.address, "connecting to its console", e, until);
                let stream = stream.map_err(|e| match e {
                    NotConnected::Ended(e) => ended(e),
                    NotConnected::Io(e) => unreachable(e),
                })?;
                Ok(ConsoleLine::of_socket(stream.into_tcp()))
            }
            Some(Line::Command(words)) => {
                let (ours, theirs) = UnixStream::pair().map_err(unreachable)?;
                let also = theirs.try_clone().map_err(unreachable)?;
                let mut start = std::process::Command::new(&words[0]);
                start.args(&words[1..]).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
                start.stdout(Stdio::from(std::os::fd::OwnedFd::from(also))).process_group(0);
                let child = start.spawn().map_err(unreachable)?;
                Ok(ConsoleLine::of_program(ours, child))
            }
        }
    }
}
