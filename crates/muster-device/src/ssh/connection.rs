//! Connections: each is an `ssh -M` that has authenticated, and is used by sessions through its socket.
//!
//! The sockets are in a directory of this process, so that nothing is shared by accident. A connection
//! that nobody uses any more ends by itself, also when this process was killed.

use super::Target;
use crate::device::{Captured, Command, Exit};
use crate::host::run::{self, RunError};
use crate::until::{Ended, Until};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How long a connection outlives its last session.
const PERSIST_SECS: u32 = 60;

/// How many sessions one connection has at once.
// Limit: `sshd` refuses more than ten unless it is told otherwise.
const SESSIONS_MAX: usize = 8;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NotConnected {
    Ended(Ended),
    /// With what `ssh` said.
    Refused(String),
    Io(io::Error),
}

/// The connections of one device.
#[derive(Debug)]
pub(super) struct Masters {
    dir: tempfile::TempDir,
    all: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u32,
    masters: Vec<Master>,
}

#[derive(Debug)]
struct Master {
    socket: PathBuf,
    sessions: usize,
}

/// A place on a connection. Dropped, it is another's.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    masters: &'a Masters,
    pub(super) socket: PathBuf,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.masters.lock();
        if let Some(master) = state.masters.iter_mut().find(|m| m.socket == self.socket) {
            master.sessions -= 1;
        }
    }
}

impl Masters {
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("muster-ssh-").permissions(std::fs::Permissions::from_mode(0o700));
        let usual = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        // Limit: the path of a socket has room for 108 bytes, of which `ssh` itself wants some.
        let dir = if usual.as_os_str().len() < 60 && usual.is_dir() { usual } else { PathBuf::from("/tmp") };
        Ok(Self { dir: builder.tempdir_in(dir)?, all: Mutex::default() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on a connection that is there, or on a new one.
    pub(super) fn seat(&self, target: &Target, until: &Until) -> Result<Seat<'_>, NotConnected> {
        let socket = {
            let mut state = self.lock();
            state.masters.retain(|master| is_alive(&master.socket));
            if let Some(master) = state.masters.iter_mut().find(|m| m.sessions < SESSIONS_MAX) {
                master.sessions += 1;
                return Ok(Seat { masters: self, socket: master.socket.clone() });
            }
            state.last += 1;
            self.dir.path().join(state.last.to_string())
        };
        connect(target, &socket, until)?;
        self.lock().masters.push(Master { socket: socket.clone(), sessions: 1 });
        Ok(Seat { masters: self, socket })
    }

    /// Ends all connections: the device is about to go away, or nobody needs it any more.
    pub(super) fn close(&self, target: &Target) {
        for master in std::mem::take(&mut self.lock().masters) {
            let mut ssh = std::process::Command::new("ssh");
            ssh.args(arguments(target, &master.socket)).args(["-O", "exit", "--", &target.host]);
            ssh.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
            // One that has ended already is what is wanted.
            drop(ssh.stderr(std::process::Stdio::null()).status());
        }
    }
}

/// Whether somebody listens there. A connection that was killed leaves its socket behind.
fn is_alive(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn connect(target: &Target, socket: &Path, until: &Until) -> Result<(), NotConnected> {
    let mut args = vec!["ssh".to_owned()];
    args.extend(arguments(target, socket));
    let persist = format!("ControlPersist={PERSIST_SECS}");
    args.extend(["-f", "-N", "-M", "-o", &persist, "--", &target.host].map(str::to_owned));
    let mut said = Captured::default();
    let ran = run::run(&Command::new(args), &mut said, until, None);
    let text = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    match ran {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(Exit::Code(127)) => {
            let why = "there is no program `ssh` here; install it, on Debian: apt-get install openssh-client";
            Err(NotConnected::Io(io::Error::new(io::ErrorKind::NotFound, why)))
        }
        Ok(_) => Err(NotConnected::Refused(text)),
        Err(RunError::Deadline) => Err(NotConnected::Ended(Ended::Deadline)),
        Err(RunError::Cancelled) => Err(NotConnected::Ended(Ended::Cancelled)),
        Err(RunError::Io(e) | RunError::Sink(e)) => Err(NotConnected::Io(e)),
        Err(RunError::AskerGone | RunError::NoDir(_) | RunError::User(_)) => {
            unreachable!("it was asked for none of these")
        }
    }
}

/// What every call of `ssh` is given.
pub(super) fn arguments(target: &Target, socket: &Path) -> Vec<String> {
    let mut args = Vec::new();
    let mut option = |text: String| args.extend(["-o".to_owned(), text]);
    for fixed in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        // Silence of so long ends the connection.
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "RequestTTY=no",
        "LogLevel=ERROR",
    ] {
        option(fixed.to_owned());
    }
    option(format!("ControlPath={}", socket.display().to_string().replace('%', "%%")));
    if let Some(user) = &target.user {
        option(format!("User={user}"));
    }
    if let Some(port) = target.port {
        option(format!("Port={port}"));
    }
    if let Some(key) = &target.identity {
        option(format!("IdentityFile={}", quoted(key)));
        option("IdentitiesOnly=yes".to_owned());
    }
    if let Some(file) = &target.known_hosts {
        option(format!("UserKnownHostsFile={}", quoted(file)));
        option("GlobalKnownHostsFile=/dev/null".to_owned());
    }
    if let Some(config) = &target.config {
        args.extend(["-F".to_owned(), config.display().to_string()]);
    }
    args
}

/// A path as the configuration of `ssh` has it.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}
