//! `megatest -archive save|save-remove|restore|get`: the files of the runs and tests that are selected, by
//! `muster archive`.

use super::args::Args;
use crate::commands::archive::{MegatestArchive, for_megatest};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::outcome::ExitCode;
use muster_core::select::testpatt::{TestPatt, part_matches};
use muster_core::view::RunView;
use muster_store::{RunFilter, Store as _};

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let what = match args.get("archive").unwrap_or_default() {
        // Megatest itself treats the second as the first.
        "save" | "keep-html" => MegatestArchive::Save,
        "save-remove" => MegatestArchive::SaveRemove,
        "restore" => MegatestArchive::Restore,
        "get" => MegatestArchive::Get,
        "replicate-db" => {
            return Err(Complaint::usage("records are not replicated into the archive")
                .hint("`muster runs reduce` makes a compact file of each run, in `.muster/cold`")
                .into());
        }
        other => {
            return Err(Complaint::usage(format!("`-archive {other}` is none of Megatest's"))
                .hint("there are save, save-remove, restore and get")
                .into());
        }
    };
    let tests = args.get("testpatt").filter(|tests| *tests != "%").map(TestPatt::new);
    let Some(names) = args.get("runname") else {
        return Err(Complaint::usage("`-archive` needs `-runname`").hint("`-runname %` means all").into());
    };
    let targets = args.get("target").or(args.get("reqtarg")).unwrap_or("%");
    let mut store = crate::wiring::open_sqlite(&context.area_dir()?)?;
    let filter = RunFilter { limit: u32::MAX, ..RunFilter::default() };
    let mut runs = store.list_runs(&filter)?;
    runs.retain(|run| is_selected(run, names, targets));
    runs.reverse();
    if runs.is_empty() {
        return Err(Complaint::usage(format!("no run is called `{names}` and is for `{targets}`"))
            .hint("`megatest -list-runs %` lists them")
            .into());
    }
    for_megatest(what, &runs, tests.as_ref(), context)
}

fn is_selected(run: &RunView, names: &str, targets: &str) -> bool {
    let matches = |patterns: &str, text: &str| patterns.split(',').any(|p| part_matches(p.trim(), text));
    let target = run.target.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("/");
    let name = if run.name.is_empty() { format!("run-{}", run.number) } else { run.name.clone() };
    matches(names, &name) && matches(targets, &target)
}
