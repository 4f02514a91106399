//! `megatest -list-targets`, `-list-tests`, `-list-disks`, `-show-keys`: what an area has.

use super::args::Args;
use crate::context::Context;
use crate::local::area::{Purpose, load};
use crate::local::megatest::targets;
use muster_core::outcome::ExitCode;
use muster_core::select::testpatt::{TestPatt, part_matches};
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket};
use std::io::Write as _;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    if args.has("list-targets") {
        // All sections, `default` and wildcards too, as Megatest lists them.
        let pattern = args.get("target").unwrap_or("%");
        for target in targets(&context.area_dir()?).iter().filter(|t| part_matches(pattern, t)) {
            writeln!(out, "{target}")?;
        }
        return Ok(ExitCode::Passed);
    }
    let target = args.get("reqtarg").or(args.get("target"));
    let area = load(context, None, target, &[], Purpose::Look)?;
    let def = &area.loaded.area;
    if args.has("show-keys") {
        for (key, _) in &def.target {
            writeln!(out, "{key}")?;
        }
    }
    if args.has("list-tests") {
        let pattern = TestPatt::new(args.get("testpatt").unwrap_or("%"));
        for test in def.tests.iter().filter(|t| pattern.matches_test(&t.name)) {
            writeln!(out, "{}", test.name)?;
        }
    }
    if args.has("list-disks") {
        let env = def.tests.iter().flat_map(|t| &t.env).find(|(name, _)| name == TICKET_VARIABLE);
        let ticket = env.and_then(|(_, text)| Ticket::parse(text).ok()).unwrap_or_default();
        for (_, path) in ticket.disks {
            writeln!(out, "{path}")?;
        }
    }
    Ok(ExitCode::Passed)
}
