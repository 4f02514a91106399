//! The `sut` driver: a client for every agent of the SUT protocol that is known.
//!
//! ```text
//! Client ──► Link (a connection, its agent's Variant) ──► extended   Muster's own agent
//!    ▲          │                                    └──► classic    all others
//!    └─ idle ◄──┘  given back only when agent and client are known to be in step
//! ```
//!
//! Calls of several threads run at the same time, each on a connection of its own. After anything that
//! leaves it open where an answer ends, the connection is dropped.

mod classic;
mod extended;
mod life;
mod link;
mod program;
mod variant;

pub use variant::Variant;

use crate::address::bracketed;
use crate::device::{
    Command, Device, Entry, Exec, Exit, Files, Info, Packages, Power, Process, Processes, Screen, Sink, Stat,
};
use crate::error::DeviceError;
use crate::sut::extension::{No, Why};
use crate::until::{Ended, Until};
use link::Link;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A device behind an agent of the SUT protocol.
#[derive(Debug)]
pub struct Client {
    host: String,
    port: u16,
    address: String,
    call_back_ip: Option<IpAddr>,
    idle: Mutex<Vec<Link>>,
    /// What answered first.
    known: OnceLock<Variant>,
}

// Limit: connections kept for the next call.
const IDLE_MAX: usize = 4;

/// What can go wrong with a conversation, before anybody knows what it was about.
#[derive(Debug)]
enum Wrong {
    Ended(Ended),
    /// The agent closed the connection.
    Closed,
    /// What it said makes no sense.
    Nonsense(String),
    /// It said no, in the words of the protocol.
    Warning(String),
    /// It said no, in Muster's own.
    No(No),
    /// Already put in terms of the device.
    Device(Box<DeviceError>),
}

impl From<Ended> for Wrong {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<DeviceError> for Wrong {
    fn from(e: DeviceError) -> Self {
        Self::Device(Box::new(e))
    }
}

impl Client {
    /// A client for the agent at this host. Nothing is sent yet.
    pub fn new(host: &str, port: u16) -> Self {
        let address = format!("sut://{}:{port}", bracketed(host));
        Self {
            host: host.to_owned(),
            port,
            address,
            call_back_ip: None,
            idle: Mutex::new(Vec::new()),
            known: OnceLock::new(),
        }
    }

    /// The address of this host that a device should call after a reboot, where that is not the one its
    /// agent is reached from.
    #[must_use]
    pub fn called_back_at(mut self, ip: IpAddr) -> Self {
        self.call_back_ip = Some(ip);
        self
    }

    /// Which agent answers there.
    ///
    /// # Errors
    /// None does.
    pub fn variant(&self, until: &Until) -> Result<Variant, DeviceError> {
        self.with("asking which agent it is", until, |link| Ok(link.variant().clone()))
    }

    /// Does something on a connection. The connection is kept if agent and client are in step afterwards.
    fn with<T>(
        &self,
        doing: &str,
        until: &Until,
        work: impl FnOnce(&mut Link) -> Result<T, Wrong>,
    ) -> Result<T, DeviceError> {
        until.check().map_err(|e| self.told(doing, until, Wrong::Ended(e)))?;
        let idle = loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            match idle.pop() {
                // It was closed meanwhile, or has said what nobody asked for.
                Some(link) if link.has_more() => {}
                other => break other,
            }
        };
        let mut link = match idle {
            Some(link) => link,
            None => Link::open(&self.host, self.port, until).map_err(|e| match e {
                link::NotOpen::Unreachable(source) => {
                    DeviceError::Unreachable { device: self.address.clone(), source }
                }
                link::NotOpen::Wrong(wrong) => self.told("being greeted", until, wrong),
            })?,
        };
        self.known.get_or_init(|| link.variant().clone());
        let done = work(&mut link);
        if link.is_in_step() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(link);
            }
        }
        done.map_err(|wrong| self.told(doing, until, wrong))
    }

    /// What went wrong, in terms of the device.
    fn told(&self, doing: &str, until: &Until, wrong: Wrong) -> DeviceError {
        let (device, doing) = (self.address.clone(), doing.to_owned());
        match wrong {
            Wrong::Ended(Ended::Deadline) => DeviceError::Timeout { device, doing, given: until.given() },
            Wrong::Ended(Ended::Cancelled) => DeviceError::Cancelled { device, doing },
            Wrong::Ended(Ended::Io(source)) => DeviceError::Lost { device, doing, source },
            Wrong::Closed => {
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
                DeviceError::Lost { device, doing, source }
            }
            Wrong::Nonsense(what) => DeviceError::Protocol { device, doing, what },
            Wrong::Warning(said) | Wrong::No(No { why: Why::Refused, said }) => {
                DeviceError::Refused { device, doing, said }
            }
            Wrong::No(No { why: Why::NotFound, said }) => {
                DeviceError::NotFound { device, path: said.split(": ").next().unwrap_or_default().to_owned() }
            }
            Wrong::No(No { why: Why::Full, said }) => DeviceError::Full { device, path: said },
            Wrong::Device(e) => *e,
        }
    }

    /// The same for something about a path.
    fn told_of<T>(&self, path: &str, done: Result<T, DeviceError>) -> Result<T, DeviceError> {
        let path = || path.to_owned();
        done.map_err(|e| match e {
            DeviceError::NotFound { device, .. } => DeviceError::NotFound { device, path: path() },
            DeviceError::Full { device, .. } => DeviceError::Full { device, path: path() },
            // Agents have no better way to say so.
            DeviceError::Refused { device, said, .. } if said.contains("No such file") => {
                DeviceError::NotFound { device, path: path() }
            }
            DeviceError::Refused { device, said, .. } if said.contains("No space left") => {
                DeviceError::Full { device, path: path() }
            }
            other => other,
        })
    }

    fn unsupported(&self, what: impl Into<String>, why: impl Into<String>) -> DeviceError {
        let (what, why) = (what.into(), why.into());
        DeviceError::Unsupported { driver: "sut", device: self.address.clone(), what, why }
    }
}

impl Device for Client {
    fn driver(&self) -> &'static str {
        "sut"
    }

    fn address(&self) -> &str {
        &self.address
    }

    crate::device::has!(
        exec: Exec, files: Files, processes: Processes, info: Info, power: Power, screen: Screen, packages: Packages
    );

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        self.with("asking whether it is there", until, |link| link.text("ver", until).map(drop))
    }
}

/// One way for Muster's own agent, one for all others.
macro_rules! either {
    ($client:ident, $doing:expr, $until:ident, |$link:ident| $extended:expr, $classic:expr $(,)?) => {
        $client.with(&$doing, $until, |$link| if $link.variant().is_muster() { $extended } else { $classic })
    };
}

impl Exec for Client {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        let Some(program) = command.args.first() else {
            return Err(DeviceError::Senseless { what: "no program was named".to_owned() });
        };
        let words = command.args.iter().chain(command.env.iter().flat_map(|(k, v)| [k, v]));
        if words.chain(&command.dir).any(|w| w.contains('\0')) {
            return Err(DeviceError::Senseless {
                what: format!("`{program}`: no program takes a zero byte"),
            });
        }
        let doing = format!("running `{program}`");
        let muster = self.with(&doing, until, |link| Ok(link.variant().is_muster()))?;
        if !muster {
            return self.run_classic(command, sink, until);
        }
        let ran = self.with(&doing, until, |link| self.run_extended(link, command, sink, until));
        self.told_of(command.dir.as_deref().unwrap_or_default(), ran)
    }

    fn tells_streams_apart(&self) -> bool {
        self.known.get().is_some_and(Variant::is_muster)
    }
}

impl Files for Client {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let done = either!(
            self,
            format!("pushing `{to}`"),
            until,
            |link| self.push_extended(link, from, size, to, until),
            self.push_classic(link, from, size, to, until),
        );
        self.told_of(to, done)
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let done = either!(
            self,
            format!("pulling `{from}`"),
            until,
            |link| self.pull_extended(link, from, offset, to, until),
            self.pull_classic(link, from, offset, to, until),
        );
        self.told_of(from, done)
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        let done = either!(
            self,
            format!("listing `{dir}`"),
            until,
            |link| extended::list(link, dir, until),
            self.list_classic(link, dir, until),
        );
        self.told_of(dir, done)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        let done = either!(
            self,
            format!("looking at `{path}`"),
            until,
            |link| extended::stat(link, path, until),
            self.stat_classic(link, path, until),
        );
        self.told_of(path, done)
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        let done = either!(
            self,
            format!("making `{dir}`"),
            until,
            |link| extended::make_dir(link, dir, until),
            self.make_dir_classic(link, dir, until),
        );
        self.told_of(dir, done)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let done = either!(
            self,
            format!("removing `{path}`"),
            until,
            |link| extended::remove(link, path, until),
            self.remove_classic(link, path, until),
        );
        self.told_of(path, done)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("making `{path}` a program");
        let muster = self.with(&doing, until, |link| {
            if link.variant().is_muster() {
                return extended::make_executable(link, path, until).map(|()| true);
            }
            Ok(false)
        });
        if self.told_of(path, muster)? {
            return Ok(());
        }
        let mut said = crate::device::Captured::default();
        let exit = self.run_classic(&Command::new(["chmod", "755", path]), &mut said, until)?;
        if exit == Exit::Code(0) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        self.told_of(path, Err(DeviceError::Refused { device: self.address.clone(), doing, said }))
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        self.with("asking for its test root", until, |link| link.test_root(until))
    }
}

impl Processes for Client {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        either!(
            self,
            "listing processes",
            until,
            |link| extended::processes(link, until),
            classic::processes(link, until),
        )
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        either!(
            self,
            format!("sending signal {signal} to process {pid}"),
            until,
            |link| extended::signal(link, pid, signal, until),
            self.signal_classic(link, pid, signal, until),
        )
    }
}

impl Info for Client {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        self.with("asking about it", until, |link| life::info_all(link, until))
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        self.with(&format!("asking for its `{name}`"), until, |link| life::info_one(link, name, until))
    }
}

impl Power for Client {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        self.reboot_and_wait(until)
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        self.with("rebooting", until, |link| {
            link.last_words("rebt", until)?;
            Ok(())
        })
    }
}

impl Screen for Client {
    fn screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        self.take_screenshot(until)
    }
}

impl Packages for Client {
    fn install(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let done =
            self.with(&format!("installing `{path}`"), until, |link| self.install_by(link, path, until));
        self.told_of(path, done)
    }

    fn uninstall(&self, name: &str, until: &Until) -> Result<(), DeviceError> {
        self.with(&format!("removing the package `{name}`"), until, |link| {
            self.uninstall_by(link, name, until)
        })
    }
}
