//! How attempts ended that are on record, for a lab that is restored: what a device did lately counts for its health also
//! if the server was restarted in between.

use muster_core::attempt::Cause;
use muster_core::kind::HEALTH_AREA;
use muster_core::lab::PastResult;
use muster_core::outcome::Outcome;
use muster_store::{ItemFilter, RunFilter, Store, StoreError};

/// Runs that are looked at, the newest.
const RUNS_MAX: u32 = 64;
/// Items of them.
// Limit: what a server takes to start. Of a device the last 50 attempts count, so older ones rarely do.
const ITEMS_MAX: u32 = 20_000;

/// How the attempts of the newest runs ended, in no order.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn past_results(store: &mut dyn Store) -> Result<Vec<PastResult>, StoreError> {
    let mut past = Vec::new();
    let mut items = 0;
    for run in store.list_runs(&RunFilter { limit: RUNS_MAX, ..RunFilter::default() })? {
        items += run.items;
        if items > ITEMS_MAX {
            break;
        }
        if run.area == HEALTH_AREA {
            continue;
        }
        for test in &store.load_run(run.id, ItemFilter::All)?.tests {
            let attempts = test.items.iter().filter(|item| !item.discovery).flat_map(|item| &item.attempts);
            for attempt in attempts {
                let result = &attempt.result;
                let is_lab_s = result.outcome == Outcome::Error || matches!(result.cause, Cause::Lab(_));
                if is_lab_s || matches!(result.outcome, Outcome::Cancelled | Outcome::Skip) {
                    continue;
                }
                past.push(PastResult {
                    device: attempt.device.clone(),
                    at: result.started + result.duration,
                    test: format!("{}/{}", run.area, test.name),
                    good: result.outcome.is_good(),
                });
            }
        }
    }
    Ok(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::change::Change;
    use muster_store::contract::{attempt, record};
    use muster_store::{LabKey, Mem};

    #[test]
    fn what_the_newest_runs_say_of_devices_is_found_and_what_the_lab_failed_is_not() {
        let mut store = Mem::new(LabKey(1));
        let ends = [(0, Outcome::Pass), (1, Outcome::Fail), (2, Outcome::Error), (3, Outcome::Skip)];
        let mut changes = vec![Change::RunCreated(record(1, "area", 1))];
        changes.extend(ends.map(|(item, outcome)| attempt(1, item, 1, outcome)));
        store.commit(&changes).unwrap();
        let past = past_results(&mut store).unwrap();
        let seen: Vec<(&str, bool)> = past.iter().map(|p| (p.test.as_str(), p.good)).collect();
        assert_eq!(seen, [("area/build", true), ("area/unit", false)]);
        assert!(past.iter().all(|p| !p.device.is_empty()));
    }
}
