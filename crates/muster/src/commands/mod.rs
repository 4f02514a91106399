//! One file for each command: what it is told, its help, and what it does.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod rerun;
pub(crate) mod results;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod typed;
pub(crate) mod why;

use crate::context::Context;
use muster_store::{RunFilter, Store};

/// The name of the area at hand: that of its latest run. Looking at records does not need the
/// configuration, which may be broken or gone.
///
/// # Errors
/// Nothing has been run here, or the records cannot be read.
pub(crate) fn area_name(_: &Context, store: &mut dyn Store) -> Result<String, anyhow::Error> {
    let newest = store.list_runs(&RunFilter { limit: 1, ..RunFilter::default() })?;
    newest.into_iter().next().map(|r| r.area).ok_or_else(crate::records::no_runs)
}
