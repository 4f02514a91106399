//! `[skip]`: what speaks against running a test just now.

use super::ezstep::now;
use super::job::Job;
use crate::wiring::{open_sqlite, place};
use muster_core::outcome::Outcome;
use muster_core::plan::PlannedItems;
use muster_formats::megatest::ticket::Skip;
use muster_store::{ItemFilter, RunFilter, RunLock, Sqlite, Store as _};
use std::path::Path;

/// Why the test is skipped, if it is.
pub(super) fn reason(job: &Job) -> Result<Option<String>, anyhow::Error> {
    let get = |name: &str| job.env.get(name).cloned().unwrap_or_default();
    let (area, test) = (get("MUSTER_AREA"), get("MUSTER_TEST"));
    let dir = get("MUSTER_AREA_DIR");
    Ok(match &job.ticket.skip {
        None => None,
        Some(Skip::IfFile(file)) => {
            let there = job.run_dir.join(file).exists() || Path::new(&job.ticket.source).join(file).exists();
            there.then(|| format!("`{file}` exists"))
        }
        Some(Skip::IfRunning) => {
            let mut store = open_sqlite(Path::new(&dir))?;
            running_elsewhere(&mut store, &area, &get("MUSTER_RUN"), &test, &job.item)?
                .map(|run| format!("it runs in run `{run}`"))
        }
        Some(Skip::IfRanWithin(secs)) => {
            let mut store = open_sqlite(Path::new(&dir))?;
            if let Some(run) = running_elsewhere(&mut store, &area, &get("MUSTER_RUN"), &test, &job.item)? {
                return Ok(Some(format!("it runs in run `{run}`")));
            }
            // Limit: what is older than this many runs is hardly younger than the delay.
            let entries = store.list_history(&area, &test, Some(&job.item), None, 50)?;
            let counts =
                |o: Outcome| matches!(o, Outcome::Pass | Outcome::Fail | Outcome::Crash | Outcome::Abort);
            let own = get("MUSTER_RUN");
            let last = entries.iter().find(|e| counts(e.outcome) && e.number.to_string() != own);
            last.and_then(|entry| {
                let ended = (entry.started + entry.duration).0 / 1_000_000;
                let ago = now().saturating_sub(ended);
                (ago < *secs).then(|| format!("it ran {ago} seconds ago, in run `{}`", entry.number))
            })
        }
    })
}

/// The number of another run of the area in which this item has been started and has not ended.
fn running_elsewhere(
    store: &mut Sqlite,
    area: &str,
    own: &str,
    test: &str,
    item: &str,
) -> Result<Option<u32>, anyhow::Error> {
    let filter = RunFilter { area: Some(area.to_owned()), ..RunFilter::default() };
    for view in store.list_runs(&filter)? {
        // A run that nobody executes was left behind.
        let held = store.run_dir(view.number).is_some_and(|dir| RunLock::holder(&dir).is_some());
        if view.number.to_string() == own || view.ended.is_some() || !held {
            continue;
        }
        let snapshot = store.load_run_snapshot(view.id)?;
        let planned = snapshot.record.plan.tests.iter().any(|t| {
            t.def.name == test
                && match &t.items {
                    PlannedItems::Listed(items) => items.iter().any(|i| &*i.path == item),
                    PlannedItems::Found(_) => true,
                }
        });
        if !planned {
            continue;
        }
        let Some(ix) = place(&snapshot, test, item, false) else { continue };
        let whole = store.load_run(view.id, ItemFilter::All)?;
        let known = whole.all_items().find(|(t, i)| t.name == test && i.path == item && !i.discovery);
        let attempts = known.map_or(0, |(_, i)| i.attempts.len());
        let next = u16::try_from(attempts + 1).unwrap_or(u16::MAX);
        if known.is_none_or(|(_, i)| i.verdict.is_none()) && store.find_unit(view.id, ix, next)?.is_some() {
            return Ok(Some(view.number));
        }
    }
    Ok(None)
}
