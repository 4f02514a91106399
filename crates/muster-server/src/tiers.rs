//! Runs that are over leave the way of those under way: a server puts what is due into the cold tier by itself. People
//! see nothing of it but the space, and a run that goes on comes back by itself.

use crate::desk::{LAB, now};
use muster_core::time::{Time, micros};
use muster_store::{HotLimits, Sqlite, Store as _, StoreError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How often a server looks. Where nothing is due, that takes a millisecond.
const EVERY: Duration = Duration::from_secs(5);
/// Runs of an area that go at one look.
// Limit: commits of the lab wait while the rows of each are taken out.
const AT_ONCE: usize = 4;

/// What a server keeps out of the cold tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hot {
    /// So many of the newest runs of each area that are over.
    pub runs: u32,
    /// Of these only those that ended within this time; `None`: of any age.
    pub age: Option<Duration>,
}

impl Default for Hot {
    fn default() -> Self {
        Self { runs: muster_core::definition::Keeping::default().hot_runs, age: None }
    }
}

/// Puts what is due into the cold tier, now and then, until the server ends.
pub(crate) async fn carry_out(records: PathBuf, hot: Hot, mut ending: watch::Receiver<bool>) {
    loop {
        let root = records.clone();
        // Records that cannot be used now are tried again at the next look.
        let _put = tokio::task::spawn_blocking(move || put(&root, hot)).await;
        if tokio::time::timeout(EVERY, ending.changed()).await.is_ok() {
            return;
        }
    }
}

fn put(records: &Path, hot: Hot) -> Result<(), StoreError> {
    let Hot { runs, age } = hot;
    let ended_before = age.map(|age| Time(now().0.saturating_sub(micros(age))));
    let limits = HotLimits { runs: Some(runs), ended_before, items: None };
    let mut store = Sqlite::open(records, LAB)?;
    for area in store.list_areas()? {
        let mut gone = 0;
        // Those that cannot go are due each time, and keep no other from going.
        for run in store.list_due(&area, &limits, u32::MAX)? {
            match store.reduce_run(run) {
                Ok(_) => gone += 1,
                Err(
                    StoreError::RunAlive { .. }
                    | StoreError::UnknownRun { .. }
                    | StoreError::NotOver { .. }
                    | StoreError::Damaged { .. },
                ) => {}
                Err(error) => return Err(error),
            }
            if gone == AT_ONCE {
                break;
            }
        }
    }
    Ok(())
}
