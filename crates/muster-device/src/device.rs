//! What can be asked of a device: one trait for each capability, and [`Device`], which tells which of
//! them it has.
//!
//! All calls block the thread that makes them, until [`Until`] says enough. A device may be used by several
//! threads; whether their calls run at the same time is the driver's business.
//!
//! Paths on a device are text with `/` between names. They are never interpreted by this host.

use crate::console::ConsoleLine;
use crate::error::DeviceError;
use crate::tree::{self, Moved};
use crate::until::Until;
use muster_core::output::Stream;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Something a test can run on.
///
/// Each capability is asked for; a driver that has it returns it, and the default is the error that says
/// which driver lacks what.
pub trait Device: Send + Sync {
    /// The driver's name, as in addresses: `sut`, `local`.
    fn driver(&self) -> &'static str;

    /// The printed address: `sut://10.0.0.7:20701`.
    fn address(&self) -> &str;

    /// Runs programs.
    ///
    /// # Errors
    /// The driver cannot.
    fn exec(&self) -> Result<&dyn Exec, DeviceError> {
        Err(self.lacks("run programs"))
    }

    /// Moves files.
    ///
    /// # Errors
    /// The driver cannot.
    fn files(&self) -> Result<&dyn Files, DeviceError> {
        Err(self.lacks("move files"))
    }

    /// Lists and ends processes.
    ///
    /// # Errors
    /// The driver cannot.
    fn processes(&self) -> Result<&dyn Processes, DeviceError> {
        Err(self.lacks("list processes"))
    }

    /// Tells about the device.
    ///
    /// # Errors
    /// The driver cannot.
    fn info(&self) -> Result<&dyn Info, DeviceError> {
        Err(self.lacks("tell about itself"))
    }

    /// Restarts the device.
    ///
    /// # Errors
    /// The driver cannot.
    fn power(&self) -> Result<&dyn Power, DeviceError> {
        Err(self.lacks("reboot"))
    }

    /// Switches its supply, whatever runs on it.
    ///
    /// # Errors
    /// The driver cannot.
    fn supply(&self) -> Result<&dyn Supply, DeviceError> {
        Err(self.lacks("switch its supply"))
    }

    /// Leads to its console.
    ///
    /// # Errors
    /// The driver cannot.
    fn console(&self) -> Result<&dyn Console, DeviceError> {
        Err(self.lacks("lead to its console"))
    }

    /// Takes pictures of the screen.
    ///
    /// # Errors
    /// The driver cannot.
    fn screen(&self) -> Result<&dyn Screen, DeviceError> {
        Err(self.lacks("take a screenshot"))
    }

    /// Installs and removes programs as packages.
    ///
    /// # Errors
    /// The driver cannot.
    fn packages(&self) -> Result<&dyn Packages, DeviceError> {
        Err(self.lacks("install packages"))
    }

    /// Whether a job is to have one that was opened for it alone: what is done to it lasts no longer than this
    /// value does, and would otherwise be there for the next.
    fn wants_fresh(&self) -> bool {
        false
    }

    /// Asks whether it answers at all. Returns when it does.
    ///
    /// # Errors
    /// It does not.
    fn probe(&self, until: &Until) -> Result<(), DeviceError>;

    /// The error that says what the driver cannot do.
    fn lacks(&self, what: &str) -> DeviceError {
        DeviceError::Unsupported {
            driver: self.driver(),
            device: self.address().to_owned(),
            what: what.to_owned(),
            why: "it has no way to".to_owned(),
        }
    }
}

/// In an `impl Device`: the capabilities that the driver itself has.
macro_rules! has {
    ($($name:ident: $capability:ident),* $(,)?) => {
        $(fn $name(&self) -> Result<&dyn $crate::device::$capability, $crate::error::DeviceError> {
            Ok(self)
        })*
    };
}
pub(crate) use has;

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program, by path or by name, and its arguments. Given to it as they are.
    pub args: Vec<String>,
    /// Variables besides those the device has, the last of a name wins.
    pub env: Vec<(String, String)>,
    /// Where it works; the device's own choice if there is none.
    pub dir: Option<String>,
    /// Whose rights it has; the driver's choice if there is none.
    pub user: Option<String>,
    /// What it reads; nothing if this is empty.
    pub stdin: Vec<u8>,
    /// Killed, with what it started, after this time.
    pub time_limit: Option<Duration>,
}

impl Command {
    /// A program with arguments.
    pub fn new<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A line for the device's shell.
    pub fn shell(line: &str) -> Self {
        Self::new(["sh", "-c", line])
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself. 127: there is no such program; 126: it cannot be run.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was killed because its time limit was over.
    TimeLimit,
}

/// Takes what a program prints, as it prints it.
pub trait Sink {
    /// Some bytes of one stream. An error ends the program.
    ///
    /// # Errors
    /// They cannot be taken.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()>;
}

impl<F: FnMut(Stream, &[u8]) -> io::Result<()>> Sink for F {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self(stream, bytes)
    }
}

/// What a program has printed, kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Its standard output; both streams where the driver cannot tell them apart.
    pub stdout: Vec<u8>,
    /// Its standard error, and the driver's own remarks.
    pub stderr: Vec<u8>,
}

impl Sink for Captured {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr | Stream::Muster => self.stderr.extend_from_slice(bytes),
        }
        Ok(())
    }
}

/// Runs programs on a device.
pub trait Exec {
    /// Runs a program to its end. If the call ends before that, for whatever reason, the program and what
    /// it started are killed where the driver has any way to do so.
    ///
    /// What a program that has ended leaves running goes on, and what that prints is not waited for.
    ///
    /// # Errors
    /// The device's fault. A program that cannot be started is no error but ends with 126 or 127.
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError>;

    /// Whether standard output and standard error arrive apart. If not, all is standard output. Known for
    /// certain once the device has answered a call.
    fn tells_streams_apart(&self) -> bool;
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link. Only told of entries of a directory, and only by drivers that can.
    Link,
    /// A device file, a socket and the like.
    Other,
}

/// What is known of a path. Drivers leave out what they cannot find out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<u32>,
    /// When it was changed last, in milliseconds since 1970 by the device's clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub modified_millis: Option<i64>,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, without a path.
    pub name: String,
    /// What is known of it.
    #[serde(flatten)]
    pub stat: Stat,
}

/// Moves files to and from a device.
pub trait Files {
    /// Writes a file of `size` bytes. An existing file is replaced whole or not at all, where the device
    /// can. The directory must be there.
    ///
    /// # Errors
    /// The device's fault, or `from` ends early.
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError>;

    /// Reads a file from `offset` on, and returns how many bytes that were.
    ///
    /// # Errors
    /// The device's fault, or there is no such file.
    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError>;

    /// Copies a file, or a directory with all that is in it, from this host. A file goes to `to`, or into it
    /// if that is a directory there; what is in a directory goes into `to`. Directories are made.
    ///
    /// # Errors
    /// A file here cannot be read, or the device's.
    fn push_path(&self, from: &Path, to: &str, until: &Until) -> Result<Moved, DeviceError> {
        tree::push_path(self, from, to, until)
    }

    /// Copies a file, or a directory with all that is in it, to this host. A file goes to `to`, or into it if
    /// that is a directory here; what is in a directory goes into `to`. Directories are made, and files are
    /// replaced once they are whole.
    ///
    /// # Errors
    /// There is nothing there, a file here cannot be written, or the device's.
    fn pull_path(&self, from: &str, to: &Path, until: &Until) -> Result<Moved, DeviceError> {
        tree::pull_path(self, from, to, until)
    }

    /// What is in a directory, by name. Links are not followed.
    ///
    /// # Errors
    /// There is no such directory.
    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError>;

    /// What a path leads to; `None` if to nothing. Links are followed.
    ///
    /// # Errors
    /// The device's fault.
    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError>;

    /// Makes a directory and those above it. One that is there already is fine.
    ///
    /// # Errors
    /// The device's fault, or something else is in the way.
    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError>;

    /// Removes a file, or a directory with all that is in it. Links are removed, not followed.
    ///
    /// # Errors
    /// There is nothing there.
    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError>;

    /// Makes a file a program that can be run.
    ///
    /// # Errors
    /// There is no such file, or the device knows no such thing.
    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError>;

    /// A directory on the device that tests may write to.
    ///
    /// # Errors
    /// The device's fault.
    fn test_root(&self, until: &Until) -> Result<String, DeviceError>;
}

/// A process on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its user's number, where the device tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    /// Its name: the last part of the program's path.
    pub name: String,
    /// The whole command line, where the device tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<String>,
}

/// Lists and ends processes.
pub trait Processes {
    /// All processes, by number.
    ///
    /// # Errors
    /// The device's fault.
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError>;

    /// Sends a signal to one process.
    ///
    /// # Errors
    /// There is none of this number, or it may not be signalled.
    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError>;
}

/// Tells about a device.
pub trait Info {
    /// What is known, as names and values in a fixed order: `os`, `id`, `uptime`.
    ///
    /// # Errors
    /// The device's fault.
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError>;

    /// One of these.
    ///
    /// # Errors
    /// There is no such thing to be known.
    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError>;
}

/// Restarts a device.
pub trait Power {
    /// Reboots, and returns when the device answers again.
    ///
    /// # Errors
    /// It could not be told to, or did not come back.
    fn reboot(&self, until: &Until) -> Result<(), DeviceError>;

    /// Tells it to reboot and does not wait.
    ///
    /// # Errors
    /// It could not be told to.
    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError>;
}

/// Switches a device on and off from outside. What runs on it is not asked.
pub trait Supply {
    /// Switches it on. One that is on stays so.
    ///
    /// # Errors
    /// The switch failed, or a device that can be waited for did not come up.
    fn on(&self, until: &Until) -> Result<(), DeviceError>;

    /// Switches it off. One that is off stays so.
    ///
    /// # Errors
    /// The switch failed.
    fn off(&self, until: &Until) -> Result<(), DeviceError>;

    /// Switches it off and on again.
    ///
    /// # Errors
    /// As those.
    fn cycle(&self, until: &Until) -> Result<(), DeviceError> {
        self.off(until)?;
        self.on(until)
    }

    /// Whether it is on, as the switch has it.
    ///
    /// # Errors
    /// The switch failed, or cannot tell.
    fn is_on(&self, until: &Until) -> Result<bool, DeviceError>;
}

/// Leads to a device's console: what it says while it boots, and a login where it has one.
pub trait Console {
    /// A connection to it. Whether there can be several at a time is the console's business.
    ///
    /// # Errors
    /// It cannot be reached.
    fn connect(&self, until: &Until) -> Result<ConsoleLine, DeviceError>;
}

/// Takes pictures of the screen.
pub trait Screen {
    /// The screen as a PNG file.
    ///
    /// # Errors
    /// There is no screen, or no program to take the picture.
    fn screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError>;
}

/// Installs and removes programs.
pub trait Packages {
    /// Installs a package that is a file on the device.
    ///
    /// # Errors
    /// The device says no.
    fn install(&self, path: &str, until: &Until) -> Result<(), DeviceError>;

    /// Removes a package by its name.
    ///
    /// # Errors
    /// The device says no.
    fn uninstall(&self, name: &str, until: &Until) -> Result<(), DeviceError>;
}
