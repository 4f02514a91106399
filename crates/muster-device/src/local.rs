//! The `local` driver: this host itself.
//!
//! It never reboots the host it runs on, installs nothing there and has no screen: a host is not lent out
//! whole.

use crate::device::{Command, Device, Entry, Exec, Exit, Files, Info, Process, Processes, Sink, Stat};
use crate::drivers::{Driver, Place};
use crate::error::DeviceError;
use crate::host::facts::{self, Own};
use crate::host::processes;
use crate::host::run::{self, RunError};
use crate::host::space::Space;
use crate::until::{Ended, Until};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// This host as a device.
#[derive(Debug)]
pub struct Local {
    space: Space,
    since: Instant,
    test_root: PathBuf,
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

/// How much is moved between two looks at the clock.
const CHUNK_BYTES: usize = 256 << 10;

impl Local {
    /// This host. Tests may write to the directory for temporary files.
    ///
    /// # Errors
    /// The root directory cannot be opened.
    pub fn new() -> io::Result<Self> {
        Ok(Self { space: Space::all()?, since: Instant::now(), test_root: std::env::temp_dir() })
    }

    fn ended(doing: &str, ended: Ended, until: &Until) -> DeviceError {
        let (device, doing) = (ADDRESS.to_owned(), doing.to_owned());
        match ended {
            Ended::Deadline => DeviceError::Timeout { device, doing, given: until.given() },
            Ended::Cancelled => DeviceError::Cancelled { device, doing },
            Ended::Io(source) => DeviceError::Lost { device, doing, source },
        }
    }
}

/// What the system said about a path.
fn told(doing: impl FnOnce() -> String, path: &str, error: &io::Error) -> DeviceError {
    let device = ADDRESS.to_owned();
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => DeviceError::NotFound { device, path: path.to_owned() },
        Some(Errno::NOSPC | Errno::DQUOT) => DeviceError::Full { device, path: path.to_owned() },
        _ => DeviceError::Refused { device, doing: doing(), said: error.to_string() },
    }
}

fn absolute(path: &str) -> Result<&Path, DeviceError> {
    let path = Path::new(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(DeviceError::Senseless {
            what: format!("`{}`: paths on a device begin with `/`", path.display()),
        })
    }
}

impl Device for Local {
    fn driver(&self) -> &'static str {
        "local"
    }

    fn address(&self) -> &str {
        ADDRESS
    }

    fn exec(&self) -> Result<&dyn Exec, DeviceError> {
        Ok(self)
    }

    fn files(&self) -> Result<&dyn Files, DeviceError> {
        Ok(self)
    }

    fn processes(&self) -> Result<&dyn Processes, DeviceError> {
        Ok(self)
    }

    fn info(&self) -> Result<&dyn Info, DeviceError> {
        Ok(self)
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        until.check().map_err(|e| Self::ended("asking whether it is there", e, until))
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
        let device = || ADDRESS.to_owned();
        let doing = || format!("running `{}`", command.args.first().map_or("", String::as_str));
        run::run(command, sink, until, None).map_err(|e| match e {
            RunError::Deadline => Self::ended(&doing(), Ended::Deadline, until),
            RunError::Cancelled => Self::ended(&doing(), Ended::Cancelled, until),
            RunError::NoDir(path) => DeviceError::NotFound { device: device(), path },
            RunError::User(said) => DeviceError::Refused { device: device(), doing: doing(), said },
            RunError::Sink(source) => DeviceError::Output { device: device(), source },
            RunError::Io(source) if source.kind() == io::ErrorKind::InvalidInput => {
                DeviceError::Senseless { what: source.to_string() }
            }
            RunError::Io(source) => DeviceError::Lost { device: device(), doing: doing(), source },
            RunError::AskerGone => unreachable!("nobody else asks for it"),
        })
    }

    fn tells_streams_apart(&self) -> bool {
        true
    }
}

impl Files for Local {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let doing = || format!("writing `{to}`");
        let wrong = |e: &io::Error| told(doing, to, e);
        let mut coming = self.space.create(absolute(to)?).map_err(|e| wrong(&e))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut left = size;
        while left > 0 {
            until.check().map_err(|e| Self::ended(&doing(), e, until))?;
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let n = read_some(from, &mut buffer[..want])?;
            coming.file.write_all(&buffer[..n]).map_err(|e| wrong(&e))?;
            left -= n as u64;
        }
        coming.finish().map_err(|e| wrong(&e))
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let doing = || format!("reading `{from}`");
        let wrong = |e: &io::Error| told(doing, from, e);
        let mut file = self.space.read(absolute(from)?).map_err(|e| wrong(&e))?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset)).map_err(|e| wrong(&e))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut moved = 0;
        loop {
            until.check().map_err(|e| Self::ended(&doing(), e, until))?;
            let n = match file.read(&mut buffer) {
                Ok(0) => return Ok(moved),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(wrong(&e)),
            };
            to.write_all(&buffer[..n])
                .map_err(|source| DeviceError::Output { device: ADDRESS.to_owned(), source })?;
            moved += n as u64;
        }
    }

    fn list(&self, dir: &str, _until: &Until) -> Result<Vec<Entry>, DeviceError> {
        self.space.entries(absolute(dir)?).map_err(|e| told(|| format!("listing `{dir}`"), dir, &e))
    }

    fn stat(&self, path: &str, _until: &Until) -> Result<Option<Stat>, DeviceError> {
        self.space.stat(absolute(path)?).map_err(|e| told(|| format!("looking at `{path}`"), path, &e))
    }

    fn make_dir(&self, dir: &str, _until: &Until) -> Result<(), DeviceError> {
        self.space.make_dir(absolute(dir)?).map_err(|e| told(|| format!("making `{dir}`"), dir, &e))
    }

    fn remove(&self, path: &str, _until: &Until) -> Result<(), DeviceError> {
        self.space.remove(absolute(path)?).map_err(|e| told(|| format!("removing `{path}`"), path, &e))
    }

    fn make_executable(&self, path: &str, _until: &Until) -> Result<(), DeviceError> {
        let wrong = |e: io::Error| told(|| format!("making `{path}` a program"), path, &e);
        let stat = self.space.stat(absolute(path)?).map_err(wrong)?;
        let mode = stat.and_then(|s| s.mode).ok_or_else(|| wrong(Errno::NOENT.into()))?;
        // Who may read it may run it.
        self.space.set_mode(absolute(path)?, mode | (mode & 0o444) >> 2).map_err(wrong)
    }

    fn test_root(&self, _until: &Until) -> Result<String, DeviceError> {
        Ok(self.test_root.to_string_lossy().into_owned())
    }
}

/// Some bytes of a file that is being pushed.
pub(crate) fn read_some(from: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, DeviceError> {
    loop {
        let source = match from.read(buffer) {
            Ok(0) => io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"),
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => e,
        };
        return Err(DeviceError::Here { doing: "read", path: PathBuf::from("what is to be pushed"), source });
    }
}

impl Processes for Local {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let doing = "listing processes";
        processes::list().map_err(|e| Self::ended(doing, Ended::Io(e), until))
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
        let own = Own { id: None, since: self.since, test_root: &self.test_root };
        let all = facts::NAMES.iter().filter(|n| !n.starts_with("sut") && **n != "process");
        Ok(all.filter_map(|name| Some(((*name).to_owned(), facts::one(name, &own)?))).collect())
    }

    fn one(&self, name: &str, _until: &Until) -> Result<String, DeviceError> {
        let own = Own { id: None, since: self.since, test_root: &self.test_root };
        facts::one(name, &own).ok_or_else(|| DeviceError::Senseless {
            what: format!("nothing is known under `{name}`; there are {}", facts::NAMES.join(", ")),
        })
    }
}
