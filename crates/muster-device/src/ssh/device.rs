//! The device, and what runs on it.

use super::Target;
use super::connection::{Masters, NotConnected, arguments};
use super::script::{self, Work};
use super::session::{self, Broken, Input, Seen};
use crate::device::{Captured, Command, Device, Exec, Exit, Sink};
use crate::drivers::Place as _;
use crate::error::DeviceError;
use crate::until::{Ended, Until};
use muster_core::output::Stream;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

/// A host that is reached by the system's `ssh`.
#[derive(Debug)]
pub struct Ssh {
    pub(super) target: Target,
    address: String,
    pub(super) masters: Masters,
    /// Once it was asked for.
    pub(super) test_root: OnceLock<String>,
}

/// How long killing what is left of a program may take, a new connection included.
const TIDY_MAX: Duration = Duration::from_secs(20);

/// How work in a session ended.
pub(super) enum End {
    Exit(Exit),
    /// The directory it was to be done in is not there.
    NoDir,
}

impl Ssh {
    /// A device. Nothing is sent yet.
    ///
    /// # Errors
    /// No directory can be made for the sockets of its connections.
    pub fn new(target: Target) -> io::Result<Self> {
        Ok(Self { address: target.written(), masters: Masters::new()?, test_root: OnceLock::new(), target })
    }

    /// Does work in a session of its own. Of work that is not done when this returns nothing is left
    /// running, where the device can still be reached.
    pub(super) fn perform(
        &self,
        work: &Work<'_>,
        user: Option<&str>,
        input: Option<Input<'_>>,
        sink: &mut dyn Sink,
        doing: &str,
        until: &Until,
    ) -> Result<End, DeviceError> {
        let nonce = script::nonce();
        let line = script::line(work, &nonce, user)
            .map_err(|why| DeviceError::Senseless { what: format!("{doing}: {why}") })?;
        let mut seen = Seen::default();
        let done = {
            until.check().map_err(|e| self.ended(e, doing, until))?;
            let seat =
                self.masters.seat(&self.target, until).map_err(|e| self.not_connected(e, doing, until))?;
            let mut ssh = std::process::Command::new("ssh");
            ssh.args(arguments(&self.target, &seat.socket));
            // Through the connection or not at all: by itself `ssh` would make another one.
            ssh.args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false", "--", &self.target.host, &line]);
            session::perform(&mut ssh, &nonce, input, sink, until, &mut seen)
        };
        if let (Err(_), Some(session)) = (&done, seen.session) {
            self.kill(session, &nonce, user, until);
        }
        match done {
            Ok(end) if end == "dir" => Ok(End::NoDir),
            Ok(end) => {
                let (signal, number) = match end.strip_prefix("signal ") {
                    Some(number) => (true, number),
                    None => (false, &*end),
                };
                let number = number.parse().map_err(|_| DeviceError::Protocol {
                    device: self.address.clone(),
                    doing: doing.to_owned(),
                    what: format!("it ended with `{end}`"),
                })?;
                Ok(End::Exit(if signal { Exit::Signal(number) } else { Exit::Code(number) }))
            }
            Err(broken) => Err(self.broken(broken, doing, until)),
        }
    }

    /// Kills what is left of a program. Where that cannot be done, why the call ended says enough.
    fn kill(&self, session: u32, nonce: &str, user: Option<&str>, until: &Until) {
        let tidy = until.anew(TIDY_MAX);
        let lines = script::kill(session, nonce);
        let done = self.masters.seat(&self.target, &tidy).ok().and_then(|seat| {
            let nonce = script::nonce();
            let line = script::line(&Work::Lines(&lines), &nonce, user).ok()?;
            let mut ssh = std::process::Command::new("ssh");
            ssh.args(arguments(&self.target, &seat.socket));
            ssh.args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false", "--", &self.target.host, &line]);
            let (mut said, mut seen) = (Captured::default(), Seen::default());
            session::perform(&mut ssh, &nonce, None, &mut said, &tidy, &mut seen).ok()
        });
        drop(done);
    }

    /// What lines for the shell print, with the code they end with.
    pub(super) fn lines(
        &self,
        lines: &str,
        input: Option<Input<'_>>,
        doing: &str,
        until: &Until,
    ) -> Result<(i32, Captured), DeviceError> {
        let mut said = Captured::default();
        let code = self.lines_to(lines, input, &mut said, doing, until)?;
        Ok((code, said))
    }

    /// The same with what they print on standard output going elsewhere.
    pub(super) fn lines_to(
        &self,
        lines: &str,
        input: Option<Input<'_>>,
        sink: &mut dyn Sink,
        doing: &str,
        until: &Until,
    ) -> Result<i32, DeviceError> {
        match self.perform(&Work::Lines(lines), None, input, sink, doing, until)? {
            End::Exit(Exit::Code(code)) => Ok(code),
            End::Exit(_) | End::NoDir => Err(DeviceError::Protocol {
                device: self.address.clone(),
                doing: doing.to_owned(),
                what: "the shell ended in an unexpected way".to_owned(),
            }),
        }
    }

    pub(super) fn refused(&self, doing: &str, said: &Captured) -> DeviceError {
        let said = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        let said = if said.is_empty() { "it gave no reason".to_owned() } else { said };
        DeviceError::Refused { device: self.address.clone(), doing: doing.to_owned(), said }
    }

    fn ended(&self, ended: Ended, doing: &str, until: &Until) -> DeviceError {
        let (device, doing) = (self.address.clone(), doing.to_owned());
        match ended {
            Ended::Deadline => DeviceError::Timeout { device, doing, given: until.given() },
            Ended::Cancelled => DeviceError::Cancelled { device, doing },
            Ended::Io(source) => DeviceError::Lost { device, doing, source },
        }
    }

    fn not_connected(&self, why: NotConnected, doing: &str, until: &Until) -> DeviceError {
        let source = match why {
            NotConnected::Ended(ended) => return self.ended(ended, doing, until),
            NotConnected::Refused(said) => self.explained(&said),
            NotConnected::Io(e) => e,
        };
        DeviceError::Unreachable { device: self.address.clone(), source }
    }

    fn broken(&self, broken: Broken, doing: &str, until: &Until) -> DeviceError {
        let (device, doing) = (self.address.clone(), doing.to_owned());
        let lost = |said: String| {
            let why = if said.is_empty() { "the connection was closed".to_owned() } else { said };
            io::Error::new(io::ErrorKind::ConnectionAborted, why)
        };
        match broken {
            Broken::Ended(ended) => self.ended(ended, &doing, until),
            // By itself `ssh` ends with 255 and nothing else. All other codes are the login shell's. The
            // connection was there a moment ago.
            Broken::NotBegun { code: Some(255) | None, said } => {
                DeviceError::Lost { device, doing, source: lost(said) }
            }
            Broken::NotBegun { code: Some(_), said } => DeviceError::Refused { device, doing, said },
            Broken::Cut { said } => DeviceError::Lost { device, doing, source: lost(said) },
            Broken::Sink(source) => DeviceError::Output { device, source },
            Broken::Input(e) => e,
            Broken::Io(source) if source.kind() == io::ErrorKind::NotFound => {
                DeviceError::Unreachable { device, source }
            }
            Broken::Io(source) => DeviceError::Lost { device, doing, source },
        }
    }

    /// What `ssh` says when there is no connection, with what to do about it.
    fn explained(&self, said: &str) -> io::Error {
        let Target { host, port, user, .. } = &self.target;
        let place = port.map_or_else(|| host.clone(), |port| format!("[{host}]:{port}"));
        let by_hand = format!(
            "ssh {}{}{host} true",
            port.map_or(String::new(), |p| format!("-p {p} ")),
            user.as_ref().map_or(String::new(), |u| format!("{u}@")),
        );
        let file = self.target.known_hosts.as_ref();
        let file_flag = file.map_or(String::new(), |f| format!(" -f {}", f.display()));
        let (kind, why) = if said.contains("IDENTIFICATION HAS CHANGED") {
            let why = format!(
                "its host key is not the one that is known: it was set up anew, or something else answers. \
                 If you know why, forget the old key: ssh-keygen -R '{place}'{file_flag}"
            );
            (io::ErrorKind::PermissionDenied, why)
        } else if said.contains("Host key verification failed") {
            let why = format!(
                "its host key is not known. Connect once by hand and compare the fingerprint: {by_hand}{}",
                file.map_or(String::new(), |f| format!(" -o UserKnownHostsFile={}", f.display()))
            );
            (io::ErrorKind::PermissionDenied, why)
        } else if said.contains("Permission denied") {
            let said = said.lines().last().unwrap_or_default();
            let why = format!(
                "it does not let us in ({said}). Name the key with `?identity=FILE` or load it with `ssh-add`, \
                 and try by hand: {by_hand}"
            );
            (io::ErrorKind::PermissionDenied, why)
        } else if said.is_empty() {
            (io::ErrorKind::NotConnected, "`ssh` gave no reason".to_owned())
        } else {
            (io::ErrorKind::NotConnected, said.lines().map(str::trim).collect::<Vec<_>>().join("; "))
        };
        io::Error::new(kind, why)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.masters.close(&self.target);
    }
}

impl Device for Ssh {
    fn driver(&self) -> &'static str {
        "ssh"
    }

    fn address(&self) -> &str {
        &self.address
    }

    crate::device::has!(exec: Exec, files: Files, processes: Processes, info: Info, power: Power);

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "asking whether it is there";
        self.lines_to(":", None, &mut |_: Stream, _: &[u8]| Ok(()), doing, until).map(drop)
    }
}

impl Exec for Ssh {
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
        let limit = command.time_limit.map(|limit| until.at_most(limit));
        let limited = limit.as_ref().is_some_and(|limit| limit.left() < until.left());
        let mut stdin = &*command.stdin;
        let size = stdin.len() as u64;
        let input: Option<Input<'_>> = (size > 0).then_some((&mut stdin, size));
        let (work, user) = (Work::Program(command), command.user.as_deref());
        match self.perform(&work, user, input, sink, &doing, limit.as_ref().unwrap_or(until)) {
            Ok(End::Exit(exit)) => Ok(exit),
            Ok(End::NoDir) => Err(DeviceError::NotFound {
                device: self.address.clone(),
                path: command.dir.clone().unwrap_or_default(),
            }),
            Err(DeviceError::Timeout { .. }) if limited => Ok(Exit::TimeLimit),
            Err(other) => Err(other),
        }
    }

    fn tells_streams_apart(&self) -> bool {
        true
    }
}
