//! `megatest -generate-html` and `-generate-html-structure`: the tree of pages of `muster export html`, in the tree of
//! links, where Megatest's own are.

use super::args::Args;
use super::list_runs::ticket_of;
use crate::commands::export::html::{HtmlArgs, run as export};
use crate::context::Context;
use muster_core::outcome::ExitCode;
use muster_store::RunFilter;
use std::path::PathBuf;

/// In the tree of links, beside the directories of targets.
const PAGES: &str = "pages";

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let dir = match args.get("o") {
        Some(dir) => PathBuf::from(dir),
        None => link_tree(context)?.join(PAGES),
    };
    export(&HtmlArgs { tree: dir, runs: Vec::new() }, context)
}

/// That of the latest run; without one, where it would be.
fn link_tree(context: &Context) -> Result<PathBuf, anyhow::Error> {
    let area = context.area_dir()?;
    let (mut store, filter) = crate::wiring::open_at_hand(context)?;
    for head in store.list_runs(&RunFilter { limit: 1, ..filter })? {
        let snapshot = store.load_run_snapshot(head.id)?;
        if let Some(ticket) = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env)) {
            return Ok(ticket.link_tree.into());
        }
    }
    Ok(area.join("lt"))
}
