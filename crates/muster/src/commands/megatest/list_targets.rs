//! `megatest -list-targets`, `-list-tests`, `-list-disks`, `-show-keys`: what an area has.

use super::args::Args;
use crate::context::Context;
use crate::local::area::{Purpose, load};
use crate::local::megatest;
use muster_core::outcome::ExitCode;
use muster_core::select::testpatt::{TestPatt, part_matches};
use muster_core::view::RunView;
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket};
use std::collections::BTreeSet;
use std::io::Write as _;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    if args.has("list-targets") {
        // All sections, `default` and wildcards too, as Megatest lists them.
        let pattern = args.get("target").unwrap_or("%");
        for target in megatest::targets(&context.area_dir()?).iter().filter(|t| part_matches(pattern, t)) {
            writeln!(out, "{target}")?;
        }
        return Ok(ExitCode::Passed);
    }
    if args.has("list-db-targets") {
        let (mut store, filter) = crate::wiring::open_at_hand(context)?;
        let target = |view: RunView| view.target.into_iter().map(|(_, v)| v).collect::<Vec<_>>().join("/");
        let targets: BTreeSet<String> = store.list_runs(&filter)?.into_iter().map(target).collect();
        for target in targets {
            writeln!(out, "{target}")?;
        }
        return Ok(ExitCode::Passed);
    }
    let dir = context.area_dir()?;
    // Without a target: what the main file says whatever it is.
    let outline = megatest::outline(&dir)?;
    if args.has("show-keys") {
        for key in &outline.keys {
            writeln!(out, "{key}")?;
        }
    }
    if args.has("list-tests") {
        let pattern = TestPatt::new(args.get("testpatt").unwrap_or("%"));
        for test in outline.tests.iter().filter(|t| pattern.matches_test(t)) {
            writeln!(out, "{test}")?;
        }
    }
    if args.has("list-disks") {
        let disks = match args.get("reqtarg").or(args.get("target")) {
            None => outline.disks,
            target => disks_for(target, context)?,
        };
        for (_, path) in disks {
            writeln!(out, "{path}")?;
        }
    }
    Ok(ExitCode::Passed)
}

/// The disks as they are for a target.
fn disks_for(target: Option<&str>, context: &Context) -> Result<Vec<(String, String)>, anyhow::Error> {
    let area = load(context, None, target, &[], Purpose::Look)?;
    let env = area.loaded.area.tests.iter().flat_map(|t| &t.env).find(|(name, _)| name == TICKET_VARIABLE);
    Ok(env.and_then(|(_, text)| Ticket::parse(text).ok()).unwrap_or_default().disks)
}
