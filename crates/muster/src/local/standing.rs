//! Where a run on this machine stands, for those who ask why something is not running: a small file in its
//! directory, written by the process that works on it as it changes, and gone when nothing is held up.

use muster_core::id::{ItemIx, RunId};
use muster_core::lab::Lab;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILE: &str = "waiting.json";
/// It is written no more often than this.
const EVERY: Duration = Duration::from_secs(1);

/// What is held up, and what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    /// Tests, and what keeps that of them from starting which could.
    held: Vec<(String, String)>,
    /// Items of those that run, by their place in the run.
    running: Vec<u32>,
}

/// Keeps the file.
#[derive(Debug)]
pub(crate) struct Teller {
    path: PathBuf,
    last: Standing,
    looked: Option<Instant>,
}

impl Teller {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { path: run_dir.join(FILE), last: Standing::default(), looked: None }
    }

    /// Looks where the run stands, now and then. That others cannot be told changes nothing for the run.
    pub(crate) fn look(&mut self, lab: &Lab, run: RunId) {
        if self.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let held = lab.held(run);
        let running = if held.is_empty() { Vec::new() } else { lab.out_of(run).map(|ix| ix.0).collect() };
        let now = Standing { held, running };
        if now == self.last {
            return;
        }
        let written = match serde_json::to_vec(&now) {
            Ok(_) if now.held.is_empty() => fs::remove_file(&self.path),
            Ok(text) => {
                let new = self.path.with_extension("new");
                fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path))
            }
            Err(e) => Err(e.into()),
        };
        if written.is_ok() {
            self.last = now;
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if self.last != Standing::default() {
            // One that stays is not believed: nobody works on the run.
            let _stays = fs::remove_file(&self.path);
        }
    }
}

/// Why an item of a run that is worked on here has not started, if a gate is the reason.
pub(crate) fn why(run_dir: &Path, item: ItemIx, test: &str) -> Option<String> {
    let standing: Standing = serde_json::from_slice(&fs::read(run_dir.join(FILE)).ok()?).ok()?;
    let Standing { held, running } = standing;
    let held = held.into_iter().filter(|_| !running.contains(&item.0));
    held.into_iter().find(|(name, _)| name == test).map(|(_, why)| why)
}
