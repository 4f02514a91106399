//! What becomes of an area's runs once they are over: those that are due leave the way of new ones.

use super::relocate::{There, relocate};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::definition::{AreaDef, Keeping};
use muster_core::time::{Time, micros};
use muster_store::{HotLimits, ItemFilter, RunFilter, Store as _, StoreError};
use std::io::Write as _;
use std::path::Path;

/// Runs that leave after one run; more are due only where the limits were changed, and go after the next ones.
// Limit: a person waits for the prompt meanwhile.
const AT_ONCE: u32 = 4;
/// Items of the runs that leave after a run, for each item it had, and how many in any case: who runs one test does not
/// wait for the records of a hundred thousand, which leave after the next large run.
const ITEMS_EACH: u32 = 2;
const ITEMS_MIN: u32 = 2_000;
/// Runs whose files or records cannot be moved, after which no other is tried.
// Limit: what goes wrong with so many (a full disk) goes wrong with the others, and each may take long.
const STUCK: u32 = 4;
/// Runs of which it is said each time why they stay.
// Limit: lines that a person reads.
const TOLD: u32 = 16;

/// What is due by what an area says.
pub(crate) fn limits(keeping: &Keeping, now: Time) -> HotLimits {
    let Keeping { allow_runs: _, hot_runs, hot_for, move_to: _ } = keeping;
    let ended_before = hot_for.map(|age| Time(now.0.saturating_sub(micros(age))));
    HotLimits { runs: Some(*hot_runs), ended_before, items: None }
}

/// Refuses new runs where an area only keeps those of others.
///
/// # Errors
/// It does.
pub(crate) fn must_take_runs(area: &AreaDef) -> Result<(), anyhow::Error> {
    if area.records.allow_runs {
        return Ok(());
    }
    let said = format!("area `{}` takes no new runs", area.name);
    Err(Complaint::usage(said)
        .hint("its configuration says so: `allow-runs` in `[records]`, in a Megatest area in `[setup]`")
        .into())
}

/// Puts runs that are due into the cold tier, or moves them to the area that the configuration names. The run that has just ended is on disk and told already, so that
/// a failure here is said and changes nothing.
pub(crate) fn settle(area: &AreaDef, dir: &Path, context: &Context) {
    let settled = match &area.records.move_to {
        None => try_settle(area, dir).map_err(anyhow::Error::from),
        Some(to) => migrate(area, dir, Path::new(to), context),
    };
    if let Err(error) = settled {
        // Nobody is left to tell if standard error is closed.
        drop(writeln!(context.stderr(), "older runs stay where they are: {error:#}"));
    }
}

fn try_settle(area: &AreaDef, dir: &Path) -> Result<(), StoreError> {
    let mut store = crate::wiring::open_to_write(dir)?;
    let newest = RunFilter { area: Some(area.name.clone()), limit: 1, ..RunFilter::default() };
    let had = store.list_runs(&newest)?.first().map_or(0, |run| run.items);
    let items = Some(had.saturating_mul(ITEMS_EACH).max(ITEMS_MIN));
    let limits = HotLimits { items, ..limits(&area.records, super::session::now()) };
    for run in store.list_due(&area.name, &limits, AT_ONCE)? {
        match store.reduce_run(run) {
            // Somebody runs a part of it again just now, or has removed it.
            Ok(_) | Err(StoreError::RunAlive { .. } | StoreError::UnknownRun { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves runs that are due. One that cannot go keeps no other from going, and those that people have locked stay.
fn migrate(area: &AreaDef, dir: &Path, to: &Path, context: &Context) -> Result<(), anyhow::Error> {
    let mut store = crate::wiring::open_to_write(dir)?;
    // Those that stay are due each time.
    let due = store.list_due(&area.name, &limits(&area.records, super::session::now()), u32::MAX)?;
    if due.is_empty() {
        return Ok(());
    }
    let mut there = There::open(&dir.join(to), &store)?;
    let (mut moved, mut stuck, mut stayed) = (0, 0, 0);
    for run in due {
        if moved == AT_ONCE || stuck == STUCK {
            break;
        }
        let view = match store.load_run(run, ItemFilter::Item("", "")) {
            Ok(view) if view.said.locked.is_some() => continue,
            Ok(view) => view,
            Err(StoreError::UnknownRun { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        // One that the other area cannot have costs nothing, so that any number of them is in nobody's way.
        let done = match there.takes(&view) {
            Ok(_) => relocate(&mut store, &view, &mut there).map(drop).inspect_err(|_| stuck += 1),
            Err(other) => Err(other),
        };
        match done {
            Ok(()) => moved += 1,
            Err(error) => {
                stayed += 1;
                if stayed <= TOLD {
                    drop(writeln!(context.stderr(), "run `{}` stays where it is: {error:#}", view.number));
                }
            }
        }
    }
    if stayed > TOLD {
        drop(writeln!(context.stderr(), "so do {} others", stayed - TOLD));
    }
    Ok(())
}
