//! A container that runs: started, found again where it is kept, entered, and ended.

use super::{Engine, Root, Where, bwrap, podman};
use crate::device::{Command, Files as _, Process};
use crate::error::DeviceError;
use crate::host::files::HostFiles;
use crate::host::processes;
use crate::host::rundir::{Alive, RunDir};
use crate::host::space::Space;
use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

/// What a container's first process does: nothing, until its input ends. It takes in processes that others
/// have left, which a shell does while it waits.
pub(super) const INIT: &str = "echo up >&2; exec 3<&0; cat <&3 >/dev/null & wait $!";

/// Where programs are looked for, as on most systems.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How it is entered and ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    Bwrap(bwrap::Entry),
    Podman(podman::Entry),
}

/// What is written down of one that is kept.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The address it was started by.
    address: String,
    alive: Alive,
    how: How,
}

/// A container that runs.
pub(super) struct Live {
    pub(super) alive: Alive,
    pub(super) files: HostFiles,
    how: How,
    /// The engine, where this process has started it and it stays.
    child: Mutex<Option<Child>>,
    /// Dropped last: the container works in it.
    dir: RunDir,
}

/// One that was just started.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) child: Option<Child>,
    pub(super) how: How,
}

/// Why an engine did not start it.
pub(super) enum NotStarted {
    /// What it said, and what may help.
    Said(String),
    /// The call was ended, which no other engine makes better.
    Ended(Ended),
}

impl From<Ended> for NotStarted {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<io::Error> for NotStarted {
    fn from(e: io::Error) -> Self {
        Self::Said(e.to_string())
    }
}

impl Live {
    /// The one that is kept under the name, or a new one.
    pub(super) fn find_or_start(place: &Where, address: &str, until: &Until) -> Result<Self, DeviceError> {
        let unreachable = |source: io::Error| DeviceError::Unreachable { device: address.to_owned(), source };
        let dir = match &place.keep {
            Some(name) => RunDir::kept("container", name),
            None => RunDir::temporary("container"),
        };
        let dir = dir.map_err(unreachable)?;
        // Held until it is there, so that it is started once.
        let lock = dir.lock().map_err(unreachable)?;
        if let Some(record) = read(&dir) {
            if record.address != address {
                let said = format!(
                    "under this name `{}` is kept; take another name, or end that one",
                    record.address
                );
                let doing = "starting it".to_owned();
                return Err(DeviceError::Refused { device: address.to_owned(), doing, said });
            }
            return Self::new(record.alive, record.how, None, dir, address).map_err(unreachable);
        }
        let started = start(place, &dir, until).map_err(|e| match e {
            NotStarted::Said(said) => unreachable(io::Error::other(said)),
            NotStarted::Ended(ended) => DeviceError::ended(address, "starting it", ended, until),
        })?;
        let Started { pid, child, how } = started;
        let gone = || unreachable(io::Error::other("the container ended as soon as it was started"));
        let alive = Alive::of(pid).ok_or_else(gone)?;
        if dir.is_kept() {
            let record = Record { address: address.to_owned(), alive, how: how.clone() };
            let text = serde_json::to_vec(&record).expect("a record is plain data");
            fs::write(dir.at("record"), text).map_err(unreachable)?;
        }
        drop(lock);
        Self::new(alive, how, child, dir, address).map_err(unreachable)
    }

    fn new(alive: Alive, how: How, child: Option<Child>, dir: RunDir, address: &str) -> io::Result<Self> {
        let space = Space::of_root(Path::new(&format!("/proc/{}/root", alive.pid)))?;
        let files = HostFiles { space, device: address.to_owned(), test_root: "/tmp".to_owned() };
        Ok(Self { alive, files, how, child: Mutex::new(child), dir })
    }

    /// What starts a program in it.
    pub(super) fn command(
        &self,
        command: &Command,
        mark: &str,
    ) -> Result<std::process::Command, DeviceError> {
        match &self.how {
            How::Bwrap(entry) => entry.command(command, &self.files),
            How::Podman(entry) => Ok(entry.command(command, mark)),
        }
    }

    pub(super) fn processes(&self) -> io::Result<Vec<Process>> {
        let mut all = processes::list_of(Path::new(&format!("/proc/{}/root/proc", self.alive.pid)))?;
        for process in &mut all {
            // As this host has it, which is not the number in the container.
            process.uid = None;
        }
        Ok(all)
    }

    /// The name of the system in it.
    pub(super) fn os(&self, until: &Until) -> String {
        let mut text = Vec::new();
        let read = self.files.pull("/etc/os-release", 0, &mut text, until);
        let text = String::from_utf8_lossy(&text);
        let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        match (read, name) {
            (Ok(_), Some(name)) => name.trim_matches('"').to_owned(),
            _ => "Linux".to_owned(),
        }
    }

    pub(super) fn engine(&self) -> String {
        match &self.how {
            How::Bwrap(_) => "bubblewrap".to_owned(),
            How::Podman(entry) => entry.words().join(" "),
        }
    }

    /// Ends it, with all that runs in it.
    pub(super) fn end(&self) {
        match &self.how {
            How::Bwrap(_) => self.alive.kill(),
            How::Podman(entry) => entry.remove(),
        }
        drop(fs::remove_file(self.dir.at("record")));
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            drop(child.stdin.take());
            // Its container has ended, so it ends.
            drop(child.wait());
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.dir.is_kept() {
            self.end();
        }
    }
}

/// The record of one that still runs.
fn read(dir: &RunDir) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(dir.at("record")).ok()?).ok()?;
    record.alive.still().then_some(record)
}

/// Tries one engine after the other; all their words if none can.
fn start(place: &Where, dir: &RunDir, until: &Until) -> Result<Started, NotStarted> {
    if let Root::Dir(root) = &place.root
        && !root.is_dir()
    {
        return Err(NotStarted::Said(format!("there is no directory `{}` on this host", root.display())));
    }
    let mut words = Vec::new();
    for engine in place.engines() {
        let (name, started) = match engine {
            Engine::Bwrap => ("bubblewrap", bwrap::start(place, dir, until)),
            Engine::Podman => ("podman", podman::start(place, dir, until)),
        };
        match started {
            Err(NotStarted::Said(said)) => words.push(format!("{name}: {said}")),
            other => return other,
        }
    }
    Err(NotStarted::Said(words.join("; ")))
}

/// Waits until the first process in the container says that it is there. Otherwise what was said instead.
pub(super) fn wait_until_up(child: &mut Child, until: &Until) -> Result<(), NotStarted> {
    let waited = read_until_up(child, until);
    if waited.is_err() {
        // It may have ended by itself.
        drop(child.kill());
        drop(child.wait());
    }
    waited
}

fn read_until_up(child: &mut Child, until: &Until) -> Result<(), NotStarted> {
    let Some(pipe) = child.stderr.take() else { return Ok(()) };
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        until.poll(&mut vec![PollFd::new(&pipe, PollFlags::IN)])?;
        match rustix::io::read(&pipe, &mut chunk) {
            // Limit: an engine that says more than this has gone wrong.
            Ok(n) if n > 0 && said.len() < 64 << 10 => said.extend_from_slice(&chunk[..n]),
            Ok(_) => return Err(NotStarted::Said(String::from_utf8_lossy(&said).trim().to_owned())),
            Err(Errno::INTR) => {}
            Err(e) => return Err(io::Error::from(e).into()),
        }
        if said.split(|b| *b == b'\n').any(|line| line.trim_ascii_end() == b"up") {
            return Ok(());
        }
    }
}
