//! The `ssh` driver: any host that the system's OpenSSH client reaches.
//!
//! ```text
//! Ssh ──► Masters ── one `ssh -M` per connection, its socket in a directory of this process
//!  │         ▲
//!  └─► session: `ssh -S SOCKET HOST sh …` ──► script: what a POSIX shell does there, between marks
//! ```
//!
//! How a host is reached is the user's business: `~/.ssh/config`, jump hosts, agents and hardware keys work as
//! they do by hand. What is fixed: nothing is ever asked for, and a host whose key is not known is not
//! talked to.
//!
//! The device needs a shell and the usual small programs, and nothing is put on it. What a session prints
//! lies between marks of its own, so that an exit code of 255 is the program's, and `ssh`'s is not.

mod connection;
mod device;
mod facts;
mod files;
mod marks;
mod script;
mod session;
mod trees;

use crate::address::{Options, bracketed, host_and_port};
use crate::device::Device;
use crate::drivers::{Driver, Place};
pub use device::Ssh;
use std::io;
use std::path::PathBuf;

pub(crate) const DRIVER: Driver = Driver {
    scheme: "ssh",
    syntax: "ssh://[USER@]HOST[:PORT]",
    about: "a host with a shell, as the `ssh` of this host reaches it",
    read,
};

/// Whom to reach, and how. What is not said is left to the configuration of `ssh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Name, number, or an alias in the configuration of `ssh`.
    pub host: String,
    /// The port.
    pub port: Option<u16>,
    /// The user there.
    pub user: Option<String>,
    /// `?identity=`: the private key, and no other.
    pub identity: Option<PathBuf>,
    /// `?known-hosts=`: the keys of hosts, and no others.
    pub known_hosts: Option<PathBuf>,
    /// `?config=`: in place of the user's configuration.
    pub config: Option<PathBuf>,
    /// `?test-root=`: the directory for tests, in place of the device's temporary one.
    pub test_root: Option<String>,
    /// `?reboot=`: the line that reboots it, in place of `reboot`.
    pub reboot: Option<String>,
    /// `?boot-id=`: a file that has other contents after each boot, in place of the kernel's.
    pub boot_id: Option<String>,
}

fn read(rest: &str) -> Result<Box<dyn Place>, String> {
    let (place, mut options) = Options::split(rest)?;
    let place = place.strip_prefix("//").ok_or("write `ssh://[USER@]HOST[:PORT]`")?;
    let place = place.strip_suffix('/').unwrap_or(place);
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, place),
    };
    if user.as_deref().is_some_and(|u| u.contains(':')) {
        return Err("a password has no place in an address; use a key, see `man ssh-keygen`".to_owned());
    }
    let (host, port) = host_and_port(place)
        .ok_or("after `ssh://` comes perhaps a user and `@`, a host, then perhaps `:` and a port")?;
    // `ssh` would take such words for flags.
    if host.starts_with('-') || user.as_deref().is_some_and(|u| u.is_empty() || u.starts_with('-')) {
        return Err("neither a host nor a user begins with `-`".to_owned());
    }
    let path = |value: Option<String>| value.map(PathBuf::from);
    let target = Target {
        host,
        port,
        user,
        identity: path(options.take("identity")),
        known_hosts: path(options.take("known-hosts")),
        config: path(options.take("config")),
        test_root: options.take("test-root"),
        reboot: options.take("reboot"),
        boot_id: options.take("boot-id"),
    };
    options.finish()?;
    if target.test_root.as_deref().is_some_and(|root| !root.starts_with('/')) {
        return Err("`test-root` is a path on the device that begins with `/`".to_owned());
    }
    Ok(Box::new(target))
}

impl Place for Target {
    fn written(&self) -> String {
        let user = self.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        let options = Options::written([
            ("identity", path(&self.identity)),
            ("known-hosts", path(&self.known_hosts)),
            ("config", path(&self.config)),
            ("test-root", self.test_root.clone()),
            ("reboot", self.reboot.clone()),
            ("boot-id", self.boot_id.clone()),
        ]);
        format!("ssh://{user}{}{port}{options}", bracketed(&self.host))
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        Ok(Box::new(Ssh::new(self.clone())?))
    }
}

#[cfg(test)]
mod tests {
    use crate::DeviceAddress;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |text: &str, written: &str| {
            let address: DeviceAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        };
        check("ssh://board", "ssh://board");
        check("ssh://ana@[::1]:2222/", "ssh://ana@[::1]:2222");
        check("ssh://b?config=/a%20b&identity=/k", "ssh://b?identity=/k&config=/a%20b");
        check("ssh://b?reboot=sudo%20-n%20reboot", "ssh://b?reboot=sudo%20-n%20reboot");
    }

    #[test]
    fn what_ssh_would_take_for_something_else_is_no_address() {
        for text in [
            "ssh:board",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://-x@h",
            "ssh://@h",
            "ssh://u:secret@h",
            "ssh://h?password=x",
            "ssh://h:0",
            "ssh://h?test-root=tmp",
        ] {
            assert!(text.parse::<DeviceAddress>().is_err(), "{text}");
        }
    }
}
