//! A directory of another host, through the system's `ssh` and a POSIX shell there.
//!
//! How the host is reached (its name, keys, jump hosts) is the user's business, as with devices of that
//! scheme; nothing is ever asked for.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A directory of another host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SshPlace {
    /// `[USER@]HOST`, as `ssh` takes it.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// Absolute.
    pub(crate) path: String,
    /// `?config=`: in place of the user's configuration of `ssh`.
    pub(crate) config: Option<PathBuf>,
}

impl SshPlace {
    /// Reads what is behind `ssh://`.
    pub(crate) fn parse(rest: &str) -> Result<Self, &'static str> {
        const FORM: &str = "write `ssh://[USER@]HOST[:PORT]/ABSOLUTE/PATH`";
        let (rest, config) = match rest.split_once("?config=") {
            Some((rest, config)) if !config.is_empty() => (rest, Some(PathBuf::from(config))),
            Some(_) => return Err("`?config=` names a file"),
            None => (rest, None),
        };
        let at = rest.find('/').ok_or(FORM)?;
        let (place, path) = rest.split_at(at);
        let path = path.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            // The colons of an address of IPv6 are in brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| FORM)?)),
            _ => (place, None),
        };
        let (user, name) = host.rsplit_once('@').map_or((None, host), |(user, name)| (Some(user), name));
        // `ssh` would take such words for flags, and a password for a part of the name.
        let is_word = |word: &str| !word.is_empty() && !word.starts_with('-') && !word.contains([':', ' ']);
        let inner = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        if path.is_empty() || port == Some(0) || user.is_some_and(|u| !is_word(u)) {
            return Err(FORM);
        }
        let name = match inner {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if is_word(name) => name,
            _ => return Err(FORM),
        };
        let host = user.map_or(name.to_owned(), |user| format!("{user}@{name}"));
        Ok(Self { host, port, path: path.to_owned(), config })
    }

    /// `ssh` with a line for the shell there. `silence`: how long the host may be unheard.
    pub(crate) fn command(&self, line: &str, connect: Duration, silence: Duration) -> Command {
        let mut ssh = Command::new("ssh");
        let connect = format!("ConnectTimeout={}", connect.as_secs().max(1));
        let silence = format!("ServerAliveInterval={}", (silence.as_secs() / 3).max(1));
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            &connect,
            &silence,
            "ServerAliveCountMax=3",
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "RequestTTY=no",
            "LogLevel=ERROR",
        ] {
            ssh.args(["-o", option]);
        }
        if let Some(config) = &self.config {
            ssh.arg("-F").arg(config);
        }
        if let Some(port) = self.port {
            ssh.arg("-p").arg(port.to_string());
        }
        // The shell that a user has there may be any; this one is asked for.
        ssh.args(["--", &self.host, &format!("exec sh -c {}", quoted(line))]);
        ssh
    }
}

impl fmt::Display for SshPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        let (user, name) = match self.host.rsplit_once('@') {
            Some((user, name)) => (format!("{user}@"), name),
            None => (String::new(), &*self.host),
        };
        // The colons of an address of IPv6 are in brackets, as they are read.
        let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        write!(f, "ssh://{user}{name}{port}{}", self.path)
    }
}

/// What is told where `ssh` cannot be started.
pub(crate) fn no_program(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            "there is no program `ssh` here; install it, on Debian: apt-get install openssh-client",
        ),
        _ => error,
    }
}

/// In single quotes, as every POSIX shell takes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
