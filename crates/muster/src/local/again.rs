//! Taking up a recorded run: which one, which of its items, with what.

use super::area::Area;
use super::made_of::{self, Stale};
use super::{packages, request};
use crate::commands::typed::ExecArgs;
use crate::context::Context;
use crate::error::Complaint;
use crate::terminal::text;
use muster_core::address::{RunRef, item_name};
use muster_core::change::{RunRecord, RunSnapshot, RunSpec};
use muster_core::downstream::with_downstream;
use muster_core::id::ItemIx;
use muster_core::inputs::Needed;
use muster_core::note::spots;
use muster_core::outcome::Verdict;
use muster_core::part::{self, Part, SomeSteps};
use muster_core::plan::PlannedItems;
use muster_core::select::{Selection, Selector};
use muster_core::view::RunView;
use muster_store::{Sqlite, Store};
use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the records and finds the run that is named.
///
/// # Errors
/// There are no records, or no such run.
pub(crate) fn open(context: &Context, run: &RunRef) -> Result<(Sqlite, RunView), anyhow::Error> {
    let dir = area_dir(context)?;
    let mut store = crate::wiring::open_to_write(&dir)?;
    let area = crate::commands::area_name(context, &mut store)?;
    let view = crate::commands::records::find_run(&mut store, &area, run)?;
    crate::keeper::must_be_open(&view, &context.program())?;
    Ok((store, view))
}

/// The area's directory.
///
/// # Errors
/// There is none.
pub(crate) fn area_dir(context: &Context) -> Result<PathBuf, anyhow::Error> {
    context.area_dir()
}

/// Attempts at once for a run that goes on as it was recorded.
pub(crate) fn jobs(spec: &RunSpec, context: &Context) -> u32 {
    let said = spec.limits.jobs.or(context.settings.jobs.map(std::num::NonZeroU32::get));
    said.unwrap_or_else(super::area::cores).max(1)
}

/// What the flags say in place of what was recorded.
pub(crate) fn apply_flags(spec: &mut RunSpec, exec: &ExecArgs) {
    if let Some(jobs) = exec.jobs {
        spec.limits.jobs = Some(jobs.get());
    }
    spec.failures_max = exec.fail_fast.map(std::num::NonZeroU32::get);
    spec.limits.run_timeout = exec.timeout;
}

/// Refuses flags that say what definitions are to be, where those that are recorded are used.
///
/// # Errors
/// There is one.
pub(crate) fn as_recorded(exec: &ExecArgs) -> Result<(), anyhow::Error> {
    let flag = match (exec.retries, exec.settings.as_slice()) {
        (Some(_), _) => "--retries",
        (None, [_, ..]) => "--set",
        (None, []) => return Ok(()),
    };
    Err(Complaint::usage(format!(
        "`{flag}` changes definitions, and those of the run are used as they are recorded"
    ))
    .hint("`rerun` in the directory of the run's area uses those that are there")
    .into())
}

/// Which items get further attempts.
pub(crate) struct Choice<'a> {
    /// Only these.
    pub(crate) patterns: Vec<String>,
    /// As Megatest has patterns.
    pub(crate) testpatt: Option<String>,
    /// All.
    pub(crate) all: bool,
    /// Those that came to one of these; empty: not by that.
    pub(crate) verdicts: Vec<Verdict>,
    /// Those that failed.
    pub(crate) failed: bool,
    /// Those that passed only after they had failed.
    pub(crate) flaky: bool,
    /// Those of tests whose definition has changed.
    pub(crate) changed: Option<&'a Vec<String>>,
    /// Those that were made of something else than there is now.
    pub(crate) stale: &'a [Stale],
}

/// The items a choice means. With patterns and nothing else said, whatever they came to.
///
/// # Errors
/// A pattern cannot be read, or names no test of the run.
pub(crate) fn choose(
    choice: &Choice<'_>,
    run: &RunView,
    snapshot: &RunSnapshot,
) -> Result<Vec<ItemIx>, anyhow::Error> {
    let selection = Selection {
        patterns: choice.patterns.clone(),
        testpatt: choice.testpatt.clone(),
        ..Selection::default()
    };
    let selector = Selector::new(&selection)?;
    let names: Vec<&str> = run.tests.iter().map(|t| t.name.as_str()).collect();
    if let Some(wrong) = selector.unmatched(&names).first() {
        let said = format!("no test of run `{}` is called `{wrong}`", run.number);
        let hint = if choice.patterns.iter().any(|p| p.contains(',')) {
            request::COMMAS.to_owned()
        } else {
            format!("`muster results {}` lists what it has", run.number)
        };
        return Err(Complaint::usage(said).hint(hint).into());
    }
    let places = places(snapshot);
    let mut items = BTreeSet::new();
    for (test, item) in run.all_items() {
        if !(selector.test(&test.name, &test.tags) && selector.item(&test.name, &item.path)) {
            continue;
        }
        let named = (!choice.patterns.is_empty() || choice.testpatt.is_some()) && choice.verdicts.is_empty();
        let wanted = match item.verdict {
            None => false,
            Some(v) if choice.all || choice.verdicts.contains(&v) => true,
            Some(Verdict::Flaky) => choice.flaky || named,
            Some(v) if !v.is_ok() => choice.failed || named,
            Some(_) => named,
        } || choice.changed.is_some_and(|names| names.contains(&test.name))
            || choice.stale.iter().any(|s| s.test == test.name && s.item == item.path);
        if wanted && item.verdict.is_some() {
            items.extend(places.get(&(test.name.as_str(), item.path.as_str(), item.discovery)));
        }
    }
    Ok(items.into_iter().collect())
}

/// What of a run is stale.
#[derive(Default)]
pub(crate) struct Staleness {
    /// The items that a rerun makes of what there is now.
    pub(crate) items: Vec<Stale>,
    /// It was noted what they were made of.
    pub(crate) is_known: bool,
}

/// What of a run is to be run again because it was made of something else than there is now. A rerun has the packages of
/// its run, so that what only those make stale is told, and left.
///
/// # Errors
/// The records cannot be read.
pub(crate) fn stale(
    store: &mut dyn Store,
    area: &Area,
    run: &RunView,
    snapshot: &RunSnapshot,
    context: &Context,
) -> Result<Staleness, anyhow::Error> {
    let noted = store.made_of(run.id, run.number)?;
    let packages = packages_now(area, snapshot, context)?;
    let all = made_of::stale(&noted, area, packages.as_deref(), run);
    let (left, items): (Vec<Stale>, Vec<Stale>) = all.into_iter().partition(|stale| stale.by_packages);
    if let Some(one) = left.first() {
        let said = format!("{} {}", item_name(&one.test, &one.item), one.why);
        let more = match left.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let program = context.program();
        writeln!(
            context.stderr(),
            "not run again: {}{more}: a rerun has the packages of its run; `{program} run --stale` has those of now",
            text::visible(&said)
        )?;
    }
    Ok(Staleness { items, is_known: !noted.is_empty() })
}

/// The packages that the tests of a run would be given now; `None`: they cannot be had, and why is told.
///
/// # Errors
/// Nobody can be told.
pub(crate) fn packages_now(
    area: &Area,
    snapshot: &RunSnapshot,
    context: &Context,
) -> Result<Option<Vec<Needed>>, anyhow::Error> {
    match packages::look(area, &snapshot.record.plan, context) {
        Ok(packages) => Ok(Some(packages)),
        Err(error) => {
            writeln!(
                context.stderr(),
                "packages are not compared: {}",
                text::visible(&format!("{error:#}"))
            )?;
            Ok(None)
        }
    }
}

/// Items that are run again, and of which of them only a part is.
pub(crate) struct Again {
    /// All of them.
    pub(crate) items: Vec<ItemIx>,
    /// What those keep of which only some steps run.
    pub(crate) parts: Vec<Arc<Part>>,
}

/// What running chosen items again comes to: only some of their steps, if that is said; and all that comes after
/// them, if that is. What cannot run in part is told and left out. `record`: as the run is carried out from now on.
///
/// # Errors
/// None of the chosen items can run in part.
pub(crate) fn widen(
    chosen: Vec<ItemIx>,
    how: (Option<&SomeSteps>, bool),
    (run, snapshot, record): (&RunView, &RunSnapshot, &RunRecord),
    files_here: bool,
    context: &Context,
) -> Result<Again, anyhow::Error> {
    // Limit: of a hundred thousand items that have no such step, a few say it for all.
    const TOLD_MAX: usize = 5;
    let (steps, downstream) = how;
    let (mut items, parts) = match steps {
        None => (chosen, Vec::new()),
        Some(steps) => {
            let (parts, refused) = part::parts(run, record, &spots(snapshot), &chosen, steps, files_here);
            if let (Some(first), []) = (refused.first(), parts.as_slice()) {
                let hint = "without `--step` and `--from-step` all steps run";
                return Err(Complaint::usage(first.clone()).hint(hint).into());
            }
            for why in refused.iter().take(TOLD_MAX) {
                writeln!(context.stderr(), "not run again: {}", text::visible(why))?;
            }
            if refused.len() > TOLD_MAX {
                writeln!(context.stderr(), "not run again: {} more", refused.len() - TOLD_MAX)?;
            }
            (parts.iter().map(|part| part.item).collect(), parts)
        }
    };
    if downstream {
        // What they were made of is not so any more. What is open runs anyway.
        items = with_downstream(snapshot, &items)?.into_iter().collect();
    }
    Ok(Again { items, parts })
}

/// Where each item's record is, by test, path and whether it is the question for items.
pub(crate) fn places(snapshot: &RunSnapshot) -> HashMap<(&str, &str, bool), ItemIx> {
    let mut places = HashMap::new();
    let mut next = 0u32;
    for planned in &snapshot.record.plan.tests {
        let name = planned.def.name.as_str();
        match &planned.items {
            PlannedItems::Listed(items) => {
                for item in items {
                    places.insert((name, &*item.path, false), ItemIx(next));
                    next += 1;
                }
            }
            PlannedItems::Found(_) => {
                places.insert((name, "", true), ItemIx(next));
                next += 1;
            }
        }
    }
    for expansion in &snapshot.expansions {
        let name = snapshot.record.plan.tests[expansion.test.0 as usize].def.name.as_str();
        for (at, item) in (expansion.first.0..).zip(expansion.items.iter()) {
            places.insert((name, &*item.path, false), ItemIx(at));
        }
    }
    places
}
