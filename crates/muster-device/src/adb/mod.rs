//! The `adb` driver: an Android device through a running `adb` server.
//!
//! ```text
//! driver ── host protocol ──► adb server ── USB or TCP ──► adbd ──► shell v2, sync, reboot
//! ```
//!
//! Programs are run by shell v2, which keeps both streams apart; files move by the sync service; the rest is
//! said in lines that toybox understands, and most shells. Every request is a connection of its own, so that
//! calls run at the same time.
//!
//! Ours and not a library: those there are block without a deadline, and a call of a device must end when it
//! is cancelled. Deliberately absent: starting the server, USB, pairing; devices older than Android 7.

mod server;
mod shell;
mod sync;
mod system;

use crate::address::{Options, bracketed, host_and_port};
use crate::device::{
    Captured, Command, Device, Entry, Exec, Exit, Files, Info, Kind, Packages, Power, Process, Processes,
    Screen, Sink, Stat,
};
use crate::drivers::{Driver, Place};
use crate::error::DeviceError;
use crate::sut::words::shell_quote;
use crate::until::Until;
use std::io::{Read, Write};
use std::sync::OnceLock;

pub(crate) const DRIVER: Driver = Driver {
    scheme: "adb",
    syntax: "adb:SERIAL[@HOST:PORT]",
    about: "an Android device, through a running adb server",
    read: |rest| Ok(Box::new(Where::read(rest)?)),
};

/// The port of an adb server.
const SERVER_PORT: u16 = 5037;

/// A device of a server, as an address tells it.
#[derive(Clone, Debug)]
struct Where {
    serial: String,
    host: String,
    port: u16,
    /// Where tests may write, if it is not where they usually may.
    root: Option<String>,
}

impl Where {
    fn read(rest: &str) -> Result<Self, String> {
        let (place, mut options) = Options::split(rest)?;
        let (serial, server) = place.rsplit_once('@').unwrap_or((place, "127.0.0.1"));
        if serial.is_empty() || !serial.chars().all(|c| c.is_ascii_graphic() && !"/@".contains(c)) {
            return Err("after `adb:` comes the device's serial, as `adb devices` shows it".to_owned());
        }
        let (host, port) = host_and_port(server).ok_or_else(|| {
            "after `@` comes the host of the adb server, then perhaps `:` and a port".to_owned()
        })?;
        let root = options.take("root");
        if let Some(root) = root.as_ref().filter(|r| !r.starts_with('/')) {
            return Err(format!("`root={root}`: write a whole path"));
        }
        options.finish()?;
        Ok(Self { serial: serial.to_owned(), host, port: port.unwrap_or(SERVER_PORT), root })
    }
}

impl Place for Where {
    fn written(&self) -> String {
        let server = match (&*self.host, self.port) {
            ("127.0.0.1", SERVER_PORT) => String::new(),
            (host, port) => format!("@{}:{port}", bracketed(host)),
        };
        format!("adb:{}{server}{}", self.serial, Options::written([("root", self.root.clone())]))
    }

    fn open(&self) -> std::io::Result<Box<dyn Device>> {
        Ok(Box::new(Adb { address: self.written(), place: self.clone(), root: OnceLock::new() }))
    }
}

/// An Android device.
struct Adb {
    address: String,
    place: Where,
    /// Where tests may write, once it has been asked for.
    root: OnceLock<String>,
}

impl Adb {
    /// Runs a line of the driver's own, and returns its exit code and what it printed.
    fn line(&self, line: &str, until: &Until) -> Result<(Exit, Captured), DeviceError> {
        let mut said = Captured::default();
        let exit = self.run(&Command::shell(line), &mut said, until)?;
        Ok((exit, said))
    }

    /// The same for a line that does something to a path. It ends with 3 where there is nothing.
    fn act(&self, doing: String, path: &str, line: &str, until: &Until) -> Result<Captured, DeviceError> {
        let device = self.address.clone();
        match self.line(line, until)? {
            (Exit::Code(0), said) => Ok(said),
            (Exit::Code(3), _) => Err(DeviceError::NotFound { device, path: path.to_owned() }),
            (_, said) => {
                let said = String::from_utf8_lossy(&said.stderr).trim().to_owned();
                if said.ends_with("No space left on device") {
                    return Err(DeviceError::Full { device, path: path.to_owned() });
                }
                Err(DeviceError::Refused { device, doing, said })
            }
        }
    }

    fn refused(&self, doing: &str, said: impl Into<String>) -> DeviceError {
        DeviceError::Refused { device: self.address.clone(), doing: doing.to_owned(), said: said.into() }
    }

    fn nonsense(&self, doing: &str, what: impl Into<String>) -> DeviceError {
        DeviceError::Protocol { device: self.address.clone(), doing: doing.to_owned(), what: what.into() }
    }
}

/// A path for the shell.
fn path_word(path: &str) -> Result<String, DeviceError> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(shell_quote(path));
    }
    Err(DeviceError::Senseless { what: format!("`{path}`: paths on a device begin with `/`") })
}

impl Device for Adb {
    fn driver(&self) -> &'static str {
        "adb"
    }

    fn address(&self) -> &str {
        &self.address
    }

    crate::device::has!(
        exec: Exec, files: Files, processes: Processes, info: Info, power: Power, screen: Screen, packages: Packages
    );

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "asking whether it is there";
        until.check().map_err(|e| DeviceError::ended(&self.address, doing, e, until))?;
        match self.line(":", until)? {
            (Exit::Code(0), _) => Ok(()),
            (other, _) => Err(self.nonsense(doing, format!("its shell ends with {other:?}"))),
        }
    }
}

impl Exec for Adb {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        if let Some(dir) = &command.dir
            && self.stat(dir, until)?.is_none_or(|s| s.kind != Kind::Dir)
        {
            return Err(DeviceError::NotFound { device: self.address.clone(), path: dir.clone() });
        }
        self.run_line(command, sink, until)
    }

    fn tells_streams_apart(&self) -> bool {
        true
    }
}

impl Files for Adb {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        let above = to.trim_end_matches('/').rsplit_once('/').map_or("/", |(above, _)| above);
        let (to_word, above) = (path_word(to)?, if above.is_empty() { "/" } else { above });
        // Asked first: the sync service makes directories that nobody asked for.
        let line = format!(
            "[ -d {0} ] || exit 3; [ ! -d {to_word} ] || {{ echo it is a directory >&2; exit 1; }}; \
             stat -L -c %a {to_word} 2>/dev/null || echo 644",
            path_word(above)?
        );
        let doing = format!("writing `{to}`");
        let said = self.act(doing.clone(), to, &line, until)?;
        let mode = u32::from_str_radix(String::from_utf8_lossy(&said.stdout).trim(), 8).unwrap_or(0o644);
        let part = format!("{}/.{}.part", above.trim_end_matches('/'), shell::token());
        let part_word = path_word(&part)?;
        let sent = self.send(from, size, &part, mode & 0o777, until);
        let moved =
            sent.and_then(|()| self.act(doing, to, &format!("mv -f {part_word} {to_word}"), until).map(drop));
        if moved.is_err() {
            // What went wrong says more than what could not be tidied up.
            drop(self.line(&format!("rm -f {part_word}"), &until.anew(shell::TIDY_MAX)));
        }
        moved
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        path_word(from)?;
        match self.stat(from, until)? {
            None => {
                return Err(DeviceError::NotFound { device: self.address.clone(), path: from.to_owned() });
            }
            Some(stat) if stat.kind == Kind::File => {}
            Some(_) => return Err(self.refused(&format!("reading `{from}`"), "it is no file")),
        }
        if offset == 0 { self.receive(from, to, until) } else { self.tail(from, offset, to, until) }
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        path_word(dir)?;
        match self.stat(dir, until)? {
            None => Err(DeviceError::NotFound { device: self.address.clone(), path: dir.to_owned() }),
            Some(stat) if stat.kind == Kind::Dir => self.entries(dir, until),
            Some(_) => Err(self.refused(&format!("listing `{dir}`"), "it is no directory")),
        }
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        let doing = format!("looking at `{path}`");
        let line = format!("stat -L -c '%f %s %Y' {} 2>/dev/null || exit 3", path_word(path)?);
        let said = match self.act(doing.clone(), path, &line, until) {
            Err(DeviceError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut words = text.split_whitespace();
        let mode = words.next().and_then(|w| u32::from_str_radix(w, 16).ok());
        let (size, modified) = (words.next().and_then(|w| w.parse().ok()), words.next());
        let mode = mode.ok_or_else(|| self.nonsense(&doing, format!("{text:?}")))?;
        let modified = modified.and_then(|m| m.parse::<i64>().ok());
        Ok(Some(sync::stat_of(mode, size, modified)))
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.act(format!("making `{dir}`"), dir, &format!("mkdir -p {}", path_word(dir)?), until).map(drop)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let word = path_word(path)?;
        let line = format!("[ -e {word} ] || [ -L {word} ] || exit 3; rm -rf {word}");
        self.act(format!("removing `{path}`"), path, &line, until).map(drop)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        let stat = self.stat(path, until)?;
        let not_found = || DeviceError::NotFound { device: self.address.clone(), path: path.to_owned() };
        let mode = stat.and_then(|s| s.mode).ok_or_else(not_found)?;
        // Who may read it may run it.
        let line = format!("chmod {:o} {}", mode | (mode & 0o444) >> 2, path_word(path)?);
        self.act(format!("making `{path}` a program"), path, &line, until).map(drop)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        if let Some(root) = self.place.root.as_ref().or_else(|| self.root.get()) {
            return Ok(root.clone());
        }
        let line = "for d in /data/local/tmp /tmp; do if [ -d $d ] && [ -w $d ]; then echo $d; exit 0; fi; done; \
                    echo neither /data/local/tmp nor /tmp can be written to >&2; exit 1";
        let said = self.act("looking for a place to write to".to_owned(), "/", line, until)?;
        let root = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        Ok(self.root.get_or_init(|| root).clone())
    }
}

impl Processes for Adb {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        self.processes_of(until)
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        let doing = format!("signal {signal} for process {pid}");
        if pid == 0 || i32::try_from(pid).is_err() {
            return Err(self.refused(&doing, "there is no process of this number"));
        }
        self.act(doing, "/", &format!("kill -{signal} {pid} || exit 1"), until).map(drop)
    }
}

impl Info for Adb {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        self.facts(until)
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        self.fact(name, until)
    }
}

impl Power for Adb {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        self.reboot_and_wait(until)
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        self.tell_to_reboot(until)
    }
}

impl Screen for Adb {
    fn screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        self.picture(until)
    }
}

impl Packages for Adb {
    fn install(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.package(&format!("installing `{path}`"), &["pm", "install", "-r", path], until)
    }

    fn uninstall(&self, name: &str, until: &Until) -> Result<(), DeviceError> {
        self.package(&format!("removing `{name}`"), &["pm", "uninstall", name], until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |rest: &str, written: &str| assert_eq!(Where::read(rest).unwrap().written(), written);
        check("0A1B2C", "adb:0A1B2C");
        check("10.0.0.7:5555", "adb:10.0.0.7:5555");
        check("emulator-5554@build-3:5038", "adb:emulator-5554@build-3:5038");
        check("x@127.0.0.1:5037?root=/sdcard/t", "adb:x?root=/sdcard/t");
        for wrong in ["", "@h", "a b", "a/b", "x@", "x@h:0", "x?root=tmp", "x?y=1"] {
            assert!(Where::read(wrong).is_err(), "{wrong}");
        }
    }
}
