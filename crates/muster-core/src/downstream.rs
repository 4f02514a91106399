//! What comes after items: what their results were made of is not so any more once they are run again.

use crate::change::RunSnapshot;
use crate::definition::AfterMode;
use crate::id::ItemIx;
use crate::note::spots;
use crate::plan::{PathMap, PlanError};
use std::collections::{BTreeMap, BTreeSet};

/// These items of a run and all that come after them, directly or not, item by item where that is how they wait.
/// Questions for items come after nothing; their tests' items do.
///
/// # Errors
/// An item map of the plan cannot be read.
pub fn with_downstream(snapshot: &RunSnapshot, items: &[ItemIx]) -> Result<BTreeSet<ItemIx>, PlanError> {
    let mut all: BTreeSet<ItemIx> = items.iter().copied().collect();
    // Items by test, and of these the paths that are meant.
    let mut of_test: BTreeMap<&str, Vec<(ItemIx, &str)>> = BTreeMap::new();
    let mut meant: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let spots = spots(snapshot);
    for (ix, spot) in (0u32..).map(ItemIx).zip(&spots) {
        let Some(spot) = spot else { continue };
        of_test.entry(&spot.test).or_default().push((ix, &spot.item));
        if all.contains(&ix) {
            meant.entry(&spot.test).or_default().insert(&spot.item);
        }
    }
    // What comes before stands before it in a plan, so that one walk finds all.
    for planned in &snapshot.record.plan.tests {
        let name = planned.def.name.as_str();
        for after in &planned.def.after {
            let Some(before) = meant.get(after.test.as_str()) else { continue };
            let hit: Vec<(ItemIx, &str)> = match &after.mode {
                AfterMode::Exclusive => continue,
                AfterMode::Passed | AfterMode::Ended => of_test.get(name).cloned().unwrap_or_default(),
                AfterMode::MatchingItem { map } => {
                    let map = PathMap::new(name, map)?;
                    let of = of_test.get(name).map(Vec::as_slice).unwrap_or_default();
                    of.iter().copied().filter(|(_, path)| before.contains(map.apply(path).as_str())).collect()
                }
            };
            for (ix, path) in hit {
                all.insert(ix);
                meant.entry(name).or_default().insert(path);
            }
        }
    }
    Ok(all)
}
