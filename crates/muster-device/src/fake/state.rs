//! What a fake device remembers from one process to the next: how often it was called, and whether it died.

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// The file of a device.
#[derive(Debug)]
pub(super) struct StateFile(PathBuf);

/// What is in it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// Calls, by the fault that counts them.
    pub(super) calls: Vec<u64>,
    /// How often each fault has happened.
    pub(super) happened: Vec<u64>,
    /// It cannot be reached until it is rebooted.
    pub(super) dead: bool,
    pub(super) boots: u64,
}

impl StateFile {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.join("state.json"))
    }

    /// Changes what is remembered. Nobody else does so meanwhile.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> io::Result<T> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&self.0)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A new device, or a write that was cut: it has forgotten.
        let mut state = serde_json::from_str(&text).unwrap_or_default();
        let changed = change(&mut state);
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(serde_json::to_string(&state)?.as_bytes())?;
        Ok(changed)
    }
}
