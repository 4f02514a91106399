//! The `local` driver: this host itself.
//!
//! It never reboots the host it runs on, installs nothing there and has no screen: a host is not lent out
//! whole.

use crate::device::{Command, Device, Exec, Exit, Files, Info, Process, Processes, Sink};
use crate::drivers::{Driver, Place};
use crate::error::DeviceError;
use crate::host::facts::{self, Own};
use crate::host::files::HostFiles;
use crate::host::processes;
use crate::host::run;
use crate::host::space::Space;
use crate::until::{Ended, Until};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::io;
use std::path::Path;
use std::time::Instant;

/// This host as a device.
#[derive(Debug)]
pub struct Local {
    files: HostFiles,
    since: Instant,
}

const ADDRESS: &str = "local:";

pub(crate) const DRIVER: Driver = Driver {
    scheme: "local",
    syntax: "local:",
    about: "this host",
    read: |rest| match rest {
        "" => Ok(Box::new(Here)),
        _ => Err("there is only one local host; write `local:`".to_owned()),
    },
};

/// The only place there is.
struct Here;

impl Place for Here {
    fn written(&self) -> String {
        ADDRESS.to_owned()
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        Ok(Box::new(Local::new()?))
    }
}

impl Local {
    /// This host. Tests may write to the directory for temporary files.
    ///
    /// # Errors
    /// The root directory cannot be opened.
    pub fn new() -> io::Result<Self> {
        let test_root = std::env::temp_dir().to_string_lossy().into_owned();
        let files = HostFiles { space: Space::all()?, device: ADDRESS.to_owned(), test_root };
        Ok(Self { files, since: Instant::now() })
    }

    fn own(&self) -> Own<'_> {
        Own { id: None, since: self.since, test_root: Path::new(&self.files.test_root) }
    }
}

impl Device for Local {
    fn driver(&self) -> &'static str {
        "local"
    }

    fn address(&self) -> &str {
        ADDRESS
    }

    crate::device::has!(exec: Exec, processes: Processes, info: Info);

    fn files(&self) -> Result<&dyn Files, DeviceError> {
        Ok(&self.files)
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        until.check().map_err(|e| DeviceError::ended(ADDRESS, "asking whether it is there", e, until))
    }

    fn lacks(&self, what: &str) -> DeviceError {
        DeviceError::Unsupported {
            driver: "local",
            device: ADDRESS.to_owned(),
            what: what.to_owned(),
            why: "it is the host that Muster itself runs on".to_owned(),
        }
    }
}

impl Exec for Local {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        run::run(command, sink, until, None).map_err(|e| e.of(ADDRESS, command, until))
    }

    fn tells_streams_apart(&self) -> bool {
        true
    }
}

impl Processes for Local {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let doing = "listing processes";
        processes::list().map_err(|e| DeviceError::ended(ADDRESS, doing, Ended::Io(e), until))
    }

    fn signal(&self, pid: u32, signal: i32, _until: &Until) -> Result<(), DeviceError> {
        let refused = |said: String| DeviceError::Refused {
            device: ADDRESS.to_owned(),
            doing: format!("signal {signal} for process {pid}"),
            said,
        };
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| refused("there is no process of this number".to_owned()))?;
        let signal =
            Signal::from_named_raw(signal).ok_or_else(|| refused("there is no such signal".to_owned()))?;
        rustix::process::kill_process(number, signal).map_err(|e| match e {
            Errno::SRCH => refused("there is no process of this number".to_owned()),
            other => refused(io::Error::from(other).to_string()),
        })
    }
}

impl Info for Local {
    fn all(&self, _until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        let all = facts::NAMES.iter().filter(|n| !n.starts_with("sut") && **n != "process");
        Ok(all.filter_map(|name| Some(((*name).to_owned(), facts::one(name, &self.own())?))).collect())
    }

    fn one(&self, name: &str, _until: &Until) -> Result<String, DeviceError> {
        facts::one(name, &self.own()).ok_or_else(|| DeviceError::Senseless {
            what: format!("nothing is known under `{name}`; there are {}", facts::NAMES.join(", ")),
        })
    }
}
