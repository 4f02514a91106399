//! The device: what this host does for it, unless a fault comes in between.

use super::script::{Fault, Operation, Program, Script, What};
use super::state::StateFile;
use crate::device::{Command, Device, Entry, Exec, Exit, Files, Info, Power, Process, Processes, Sink, Stat};
use crate::error::DeviceError;
use crate::host::facts::{self, Own};
use crate::host::files::HostFiles;
use crate::host::run;
use crate::host::space::Space;
use crate::local::Local;
use crate::until::{Ended, Until};
use muster_core::output::Stream;
use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A device that is not there.
#[derive(Debug)]
pub struct Fake {
    name: String,
    address: String,
    script: Script,
    state: StateFile,
    files: HostFiles,
    host: Local,
    since: Instant,
}

impl Fake {
    /// A device that keeps its files and what it remembers in this directory, which is made.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(name: &str, address: &str, script: Script, dir: &Path) -> io::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir.join("files"));
        made.map_err(|e| io::Error::new(e.kind(), format!("`{}` cannot be made: {e}", dir.display())))?;
        let dir = dir.canonicalize()?;
        let test_root = dir.join("files").to_string_lossy().into_owned();
        let files = HostFiles { space: Space::all()?, device: address.to_owned(), test_root };
        let state = StateFile::new(&dir);
        let (name, address) = (name.to_owned(), address.to_owned());
        Ok(Self { name, address, script, state, files, host: Local::new()?, since: Instant::now() })
    }

    /// Counts a call, and says which fault happens in it. One that ends the call is an error right away;
    /// the others are the caller's to act out.
    fn called(&self, on: Operation, doing: &str, until: &Until) -> Result<Option<Fault>, DeviceError> {
        until.check().map_err(|e| self.ended(e, doing, until))?;
        let seed = self
            .name
            .bytes()
            .fold(self.script.seed, |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let faults = &self.script.fault;
        let (dead, found) = self
            .state
            .change(|state| {
                state.calls.resize(faults.len(), 0);
                state.happened.resize(faults.len(), 0);
                if state.dead && on != Operation::Reboot {
                    return (true, None);
                }
                let mut found = None;
                for (n, fault) in faults.iter().enumerate() {
                    if fault.on != on && fault.on != Operation::Any {
                        continue;
                    }
                    state.calls[n] += 1;
                    if found.is_none() && fault.applies(state.calls[n], state.happened[n], seed) {
                        state.happened[n] += 1;
                        state.dead |= fault.what == What::Die;
                        found = Some(fault.clone());
                    }
                }
                (false, found)
            })
            .map_err(|e| self.ended(Ended::Io(e), doing, until))?;
        if dead {
            return Err(self.unreachable("it has died; `muster device reboot` brings it back"));
        }
        let Some(fault) = found else { return Ok(None) };
        let (device, doing) = (self.address.clone(), doing.to_owned());
        match fault.what {
            What::Slow => until.sleep(fault.takes).map_err(|e| self.ended(e, &doing, until)).map(|()| None),
            What::Hang => match until.sleep(Duration::MAX) {
                Err(ended) => Err(self.ended(ended, &doing, until)),
                Ok(()) => Ok(None),
            },
            What::Unreachable => Err(self.unreachable("nobody answers")),
            What::Garbage => Err(DeviceError::Protocol {
                device,
                doing,
                what: "it said `%&$`, as it was told to".to_owned(),
            }),
            What::Full => Err(DeviceError::Full { device, path: self.files.test_root.clone() }),
            What::Refuse => {
                Err(DeviceError::Refused { device, doing, said: "no, as it was told to".to_owned() })
            }
            What::Disconnect | What::Die if on != Operation::Exec => Err(self.lost(&doing)),
            What::Disconnect | What::Die | What::Corrupt => Ok(Some(fault)),
        }
    }

    fn unreachable(&self, why: &str) -> DeviceError {
        let source = io::Error::new(io::ErrorKind::ConnectionRefused, why.to_owned());
        DeviceError::Unreachable { device: self.address.clone(), source }
    }

    fn lost(&self, doing: &str) -> DeviceError {
        let source =
            io::Error::new(io::ErrorKind::ConnectionReset, "the connection was cut, as it was told to");
        DeviceError::Lost { device: self.address.clone(), doing: doing.to_owned(), source }
    }

    fn ended(&self, ended: Ended, doing: &str, until: &Until) -> DeviceError {
        DeviceError::ended(&self.address, doing, ended, until)
    }

    fn own(&self) -> Own<'_> {
        Own { id: Some(&self.name), since: self.since, test_root: Path::new(&self.files.test_root) }
    }

    fn start(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        let program = command.args.first().map_or("", String::as_str);
        if let Some(simulated) = self.script.program.get(program.rsplit('/').next().unwrap_or_default()) {
            return self.simulate(program, simulated, command, sink, until);
        }
        if self.script.local_programs {
            return run::run(command, sink, until, None).map_err(|e| e.of(&self.address, command, until));
        }
        let said = format!("{program}: there is no such program\n");
        self.give(sink, Stream::Muster, said.as_bytes())?;
        Ok(Exit::Code(127))
    }

    fn simulate(
        &self,
        name: &str,
        program: &Program,
        command: &Command,
        sink: &mut dyn Sink,
        until: &Until,
    ) -> Result<Exit, DeviceError> {
        self.give(sink, Stream::Stdout, program.stdout.as_bytes())?;
        self.give(sink, Stream::Stderr, program.stderr.as_bytes())?;
        let limit = command.time_limit.unwrap_or(Duration::MAX);
        let takes = program.takes.min(limit);
        until.sleep(takes).map_err(|e| self.ended(e, &format!("running `{name}`"), until))?;
        Ok(if program.takes > limit { Exit::TimeLimit } else { Exit::Code(program.exit) })
    }

    fn give(&self, sink: &mut dyn Sink, stream: Stream, bytes: &[u8]) -> Result<(), DeviceError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let device = || self.address.clone();
        sink.take(stream, bytes).map_err(|source| DeviceError::Output { device: device(), source })
    }
}

impl Device for Fake {
    fn driver(&self) -> &'static str {
        "fake"
    }

    fn address(&self) -> &str {
        &self.address
    }

    crate::device::has!(exec: Exec, files: Files, processes: Processes, info: Info, power: Power);

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        self.called(Operation::Probe, "asking whether it is there", until).map(drop)
    }
}

impl Exec for Fake {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        let Some(program) = command.args.first() else {
            return Err(DeviceError::Senseless { what: "no program was named".to_owned() });
        };
        let doing = format!("running `{program}`");
        match self.called(Operation::Exec, &doing, until)?.map(|fault| fault.what) {
            None => self.start(command, sink, until),
            Some(What::Corrupt) => {
                let mut corrupt = |stream: Stream, bytes: &[u8]| sink.take(stream, &corrupted(bytes));
                self.start(command, &mut corrupt, until)
            }
            // It gets as far as its first output, which nobody hears.
            Some(_) => {
                let mut cut = |_: Stream, _: &[u8]| Err(io::Error::from(io::ErrorKind::ConnectionReset));
                match self.start(command, &mut cut, until) {
                    Ok(_) | Err(DeviceError::Output { .. }) => Err(self.lost(&doing)),
                    Err(other) => Err(other),
                }
            }
        }
    }

    fn tells_streams_apart(&self) -> bool {
        true
    }
}

/// The first byte is another.
fn corrupted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes
}

/// A stream whose first byte is another.
struct Corrupt<T> {
    inner: T,
    done: bool,
}

impl<T: Read> Read for Corrupt<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n > 0 && !std::mem::replace(&mut self.done, true) {
            buffer[0] ^= 1;
        }
        Ok(n)
    }
}

impl<T: Write> Write for Corrupt<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() || std::mem::replace(&mut self.done, true) {
            return self.inner.write(bytes);
        }
        self.inner.write_all(&corrupted(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Files for Fake {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        match self.called(Operation::Push, &format!("writing `{to}`"), until)? {
            None => self.files.push(from, size, to, until),
            Some(_) => self.files.push(&mut Corrupt { inner: from, done: false }, size, to, until),
        }
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        match self.called(Operation::Pull, &format!("reading `{from}`"), until)? {
            None => self.files.pull(from, offset, to, until),
            Some(_) => self.files.pull(from, offset, &mut Corrupt { inner: to, done: false }, until),
        }
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        self.called(Operation::Files, &format!("listing `{dir}`"), until)?;
        self.files.list(dir, until)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        self.called(Operation::Files, &format!("looking at `{path}`"), until)?;
        self.files.stat(path, until)
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.called(Operation::Files, &format!("making `{dir}`"), until)?;
        self.files.make_dir(dir, until)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.called(Operation::Files, &format!("removing `{path}`"), until)?;
        self.files.remove(path, until)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.called(Operation::Files, &format!("making `{path}` a program"), until)?;
        self.files.make_executable(path, until)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        self.called(Operation::Files, "asking for its test root", until)?;
        self.files.test_root(until)
    }
}

impl Processes for Fake {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        self.called(Operation::Info, "listing processes", until)?;
        Processes::list(&self.host, until)
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        self.called(Operation::Info, &format!("signal {signal} for process {pid}"), until)?;
        self.host.signal(pid, signal, until)
    }
}

impl Info for Fake {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        self.called(Operation::Info, "asking about it", until)?;
        let boots = self.state.change(|state| state.boots).unwrap_or(0);
        let mut all = vec![
            ("name".to_owned(), self.name.clone()),
            ("kind".to_owned(), self.script.kind.clone()),
            ("boots".to_owned(), boots.to_string()),
        ];
        let names = ["os", "arch", "systime", "uptime", "memory"];
        all.extend(names.iter().filter_map(|n| Some(((*n).to_owned(), facts::one(n, &self.own())?))));
        Ok(all)
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let all = self.all(until)?;
        let names: Vec<String> = all.iter().map(|(known, _)| known.clone()).collect();
        all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value).ok_or_else(|| {
            let what = format!("nothing is known under `{name}`; there are {}", names.join(", "));
            DeviceError::Senseless { what }
        })
    }
}

impl Power for Fake {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        self.reboot_only(until)?;
        let doing = "waiting for it after a reboot";
        until.sleep(self.script.boot).map_err(|e| self.ended(e, doing, until))
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "rebooting";
        self.called(Operation::Reboot, doing, until)?;
        let changed = self.state.change(|state| {
            state.dead = false;
            state.boots += 1;
        });
        changed.map_err(|e| self.ended(Ended::Io(e), doing, until))
    }
}
