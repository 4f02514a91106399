//! The run a person means, in any store: for the commands that look at runs and for those that go on with
//! them.

use crate::context::Context;
use crate::error::Complaint;
use crate::remote::records::area_at_hand;
use crate::terminal::text::{moment, quoted, visible};
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_store::{MovedRun, Removed, RunFilter, RunName, RunPlace, Store};

/// The name of the area at hand: that of its latest run. Looking at records does not need the
/// configuration, which may be broken or gone.
///
/// # Errors
/// Nothing has been run here, or the records cannot be read.
pub(crate) fn area_name(context: &Context, store: &mut dyn Store) -> Result<String, anyhow::Error> {
    let newest = store.list_runs(&RunFilter { limit: 1, ..RunFilter::default() })?;
    if let Some(run) = newest.into_iter().next() {
        return Ok(run.area);
    }
    // All there were may be in another area now.
    let named = area_at_hand(context).ok_or_else(no_runs)?;
    match store.find_moved(&named, RunName::Latest)? {
        Some(_) => Ok(named),
        None => Err(no_runs()),
    }
}

/// The run a person means, without its tests.
///
/// # Errors
/// There is none.
pub(crate) fn find_run(store: &mut dyn Store, area: &str, run: &RunRef) -> Result<RunView, anyhow::Error> {
    // Names have no `/`, so this is the printed name, `AREA/RUN`.
    let inner = match run {
        RunRef::Name(name) => name.strip_prefix(area).and_then(|n| n.strip_prefix('/')),
        RunRef::Back(_) | RunRef::Number(_) => None,
    };
    let inner = inner.and_then(|name| RunRef::parse(name).ok());
    let run = inner.as_ref().unwrap_or(run);
    let found = match run {
        RunRef::Back(n) => {
            let filter = RunFilter { area: Some(area.to_owned()), limit: *n, ..RunFilter::default() };
            store.list_runs(&filter)?.into_iter().nth((*n).saturating_sub(1) as usize)
        }
        RunRef::Number(n) => store.find_run(area, RunName::Number(*n))?,
        RunRef::Name(name) => store.find_run(area, RunName::Name(name))?,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    if let RunRef::Number(number) = run
        && let Some(gone) = store.find_removed(area, *number)?
    {
        return Err(was_removed(area, *number, &gone));
    }
    let moved = match run {
        RunRef::Back(_) => None,
        RunRef::Number(n) => store.find_moved(area, RunName::Number(*n))?,
        RunRef::Name(name) => store.find_moved(area, RunName::Name(name))?,
    };
    Err(match moved {
        Some(MovedRun { place: RunPlace { dir, area, number }, .. }) => {
            let dir = dir.to_string_lossy();
            let dir = quoted(&dir);
            Complaint::usage(format!("run `{run}` was moved to area `{area}`, as run {number}"))
                .hint(format!("`muster -C {dir} results {number}` shows it"))
                .into()
        }
        None => Complaint::usage(format!("area `{area}` has no run `{run}`"))
            .hint("`muster runs` lists them")
            .into(),
    })
}

/// There was such a run, and somebody removed it.
pub(crate) fn was_removed(area: &str, number: u32, gone: &Removed) -> anyhow::Error {
    let Removed { name: _, by, at, reason } = gone;
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let said = format!("run `{area}/{number}` was removed by {by} on {}{why}", moment(*at));
    Complaint::usage(visible(&said)).hint("`muster runs` lists those that are there").into()
}

/// Nothing has been recorded yet.
pub(crate) fn no_runs() -> anyhow::Error {
    Complaint::new(ExitCode::NothingRan, "nothing has been run here yet")
        .hint("`muster run` runs and records the tests of this area")
        .into()
}
