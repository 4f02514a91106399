//! What runs of a Megatest area leave outside of its records: run directories on its disks, and the tree of links.
//!
//! Only what a job made is named here: a directory that was set up as a run directory, at the place that its run,
//! test and item say, with the link that leads to it. Directories above go when nothing is left in them.

use super::list_runs::ticket_of;
use crate::keeper::Chosen;
use crate::local::megatest;
use muster_core::note::Spot;
use muster_core::view::RunView;
use muster_formats::megatest::item_dirs;
use muster_store::{ItemFilter, Leftover, Store};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// What is there of these items. Nothing in an area of another kind, and of runs that share their directories with
/// another one.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn of(
    store: &mut dyn Store,
    run: &RunView,
    items: &[Chosen],
) -> Result<Vec<Leftover>, anyhow::Error> {
    let snapshot = store.load_run_snapshot(run.id)?;
    let tickets = snapshot.record.plan.tests.iter().map(|t| ticket_of(&t.def.env));
    let Some(ticket) = tickets.into_iter().flatten().next() else { return Ok(Vec::new()) };
    let below = PathBuf::from(&ticket.target).join(megatest::dir_name(run));
    let tree = Path::new(&ticket.link_tree);
    if !tree.is_absolute() {
        return Ok(Vec::new());
    }
    let whole = store.load_run(run.id, ItemFilter::All)?;
    let dirs: HashMap<&str, HashMap<&str, String>> = whole
        .tests
        .iter()
        .map(|test| {
            let items = test.items.iter().filter(|i| !i.discovery).map(|i| i.path.as_str());
            (test.name.as_str(), item_dirs(items))
        })
        .collect();
    let mut files = Vec::new();
    // The longest first: what is in a directory goes before it.
    let mut above: BTreeSet<(usize, PathBuf)> = BTreeSet::new();
    for Chosen { spot: Spot { test, item }, .. } in items {
        // An item above others has a directory of its own.
        let dir = dirs.get(test.as_str()).and_then(|dirs| dirs.get(item.as_str())).unwrap_or(item);
        let place = if dir.is_empty() { below.join(test) } else { below.join(test).join(dir) };
        let link = tree.join(&place);
        if let Ok(dir) = fs::canonicalize(&link)
            && is_run_dir(&dir, &place)
        {
            enter(&mut above, &dir, &place);
            files.push(Leftover::Tree(dir));
        }
        if fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink()) {
            files.push(Leftover::Link(link.clone()));
        }
        enter(&mut above, &link, &place);
    }
    // They are the other run's as well, and it may be under way.
    if !files.is_empty() && megatest::has_others(store, run)? {
        return Ok(Vec::new());
    }
    files.extend(above.into_iter().rev().map(|(_, dir)| Leftover::Empty(dir)));
    Ok(files)
}

/// Whether this was set up as the run directory of what has this place on its disk.
fn is_run_dir(dir: &Path, place: &Path) -> bool {
    dir.ends_with(place) && dir.join(".muster").is_dir() && dir.join("megatest.sh").is_file()
}

/// The directories above one that are a run's alone, if anybody's: those of its test, its run, its target.
fn enter(above: &mut BTreeSet<(usize, PathBuf)>, dir: &Path, place: &Path) {
    let levels = place.components().count().saturating_sub(1);
    let dirs = dir.ancestors().skip(1).take(levels);
    above.extend(dirs.map(|d| (d.components().count(), d.to_owned())));
}
