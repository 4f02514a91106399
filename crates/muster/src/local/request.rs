//! From what was typed to the record of a run: selection, plan, numbers.

use super::area::{self, Area, Flag};
use super::{again, changed, made_of};
use crate::commands::typed::{ExecArgs, SelectArgs};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::change::{Placement, RunRecord, RunSpec};
use muster_core::definition::AreaDef;
use muster_core::expr::{Expr, ExprError, Facts};
use muster_core::id::RunId;
use muster_core::inputs::Inputs;
use muster_core::plan::{History, Plan, PlanError, plan};
use muster_core::select::Selection;
use muster_core::time::Time;
use muster_store::{ItemFilter, RunFilter, Store};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// The flags that are configuration too.
pub(crate) fn flags(exec: &ExecArgs) -> Vec<Flag> {
    let mut flags = Vec::new();
    if let Some(jobs) = exec.jobs {
        flags.push(Flag { name: "--jobs", toml: format!("limits.jobs = {jobs}") });
    }
    if let Some(retries) = exec.retries {
        flags.push(Flag { name: "--retries", toml: format!("override.retries = {retries}") });
    }
    if let Some(timeout) = exec.timeout {
        flags.push(Flag {
            name: "--timeout",
            toml: format!("limits.run-timeout = \"{}ms\"", timeout.as_millis()),
        });
    }
    flags.extend(exec.settings.iter().map(|toml| Flag { name: "--set", toml: toml.clone() }));
    flags
}

/// The same for a run that is there, with what its directories are called after.
pub(crate) fn flags_again(exec: &ExecArgs, spec: &RunSpec) -> Vec<Flag> {
    let contour = spec.env.iter().find(|(name, value)| name == "MT_CONTOUR" && !value.is_empty());
    let contour = contour.map(|(_, value)| format!("env.MT_CONTOUR = {}", toml::Value::from(value.as_str())));
    let contour = contour.map(|toml| Flag { name: "--set", toml });
    contour.into_iter().chain(flags(exec)).collect()
}

/// What the arguments select in this area. `store`: where its runs are recorded.
///
/// # Errors
/// A run that is named is not there, or git cannot say what has changed.
pub(crate) fn selection(
    args: &SelectArgs,
    area: &Area,
    store: &mut dyn Store,
    context: &Context,
) -> Result<Selection, anyhow::Error> {
    let mut patterns = args.patterns.clone();
    let mut only = None;
    if let Some(run) = &args.failed_in {
        let view = crate::commands::records::find_run(store, &area.loaded.area.name, run)?;
        let mut items: Vec<(String, String)> = store
            .load_run(view.id, ItemFilter::Failed)?
            .all_items()
            .map(|(test, item)| (test.name.clone(), item.path.clone()))
            .collect();
        items.sort();
        items.dedup();
        only = Some(items);
    }
    if args.stale {
        only = Some(stale_items(area, store, context)?);
    }
    if let Some(revision) = &args.changed_since {
        let changed = changed::tests_changed_since(area, revision)?;
        if !changed.is_everything {
            // A pattern that names nothing selects nothing; an empty list would select everything.
            let names =
                if changed.tests.is_empty() { vec!["!*".to_owned()] } else { vec![changed.tests.join(",")] };
            if patterns.is_empty() {
                patterns = names;
            } else {
                patterns.extend(
                    area.loaded
                        .area
                        .tests
                        .iter()
                        .filter(|t| !changed.tests.contains(&t.name))
                        .map(|t| format!("!{}", t.name)),
                );
            }
        }
    }
    let testpatt = testpatt(args, area)?;
    Ok(Selection {
        patterns,
        tags: args.tags.clone(),
        shard: args.shard,
        only,
        testpatt,
        tagpatt: args.tagexpr.clone(),
    })
}

/// The items that are stale in the latest run of this area for this target.
fn stale_items(
    area: &Area,
    store: &mut dyn Store,
    context: &Context,
) -> Result<Vec<(String, String)>, anyhow::Error> {
    let def = &area.loaded.area;
    let filter = RunFilter { area: Some(def.name.clone()), limit: u32::MAX, ..RunFilter::default() };
    let latest = store.list_runs(&filter)?.into_iter().find(|run| run.target == def.target);
    let Some(run) = latest else {
        return Err(Complaint::usage("nothing is stale: there is no run for this target yet").into());
    };
    let noted = store.made_of(run.id, run.number)?;
    if noted.is_empty() {
        let said = format!("what the results of {} were made of is not known", run.address());
        return Err(Complaint::usage(said).hint("`--changed-since REV` asks git what has changed").into());
    }
    let whole = store.load_run(run.id, ItemFilter::All)?;
    let packages = again::packages_now(area, &store.load_run_snapshot(run.id)?, context)?;
    let stale = made_of::stale(&noted, area, packages.as_deref(), &whole);
    let mut items: Vec<(String, String)> = stale.into_iter().map(|s| (s.test, s.item)).collect();
    items.sort();
    items.dedup();
    Ok(items)
}

/// The test pattern as Megatest finds it: the flag; without one, or with `%`, what the variable of the target
/// says. A native pattern is a choice too.
fn testpatt(args: &SelectArgs, area: &Area) -> Result<Option<String>, anyhow::Error> {
    if area.megatest.is_none() {
        return match &args.modepatt {
            None => Ok(args.testpatt.clone()),
            Some(_) => {
                Err(Complaint::usage("`--modepatt` is for Megatest areas, which have variables by target")
                    .into())
            }
        };
    }
    let given = args.testpatt.as_deref().filter(|p| *p != "%");
    if given.is_some() || (args.modepatt.is_none() && !args.patterns.is_empty()) {
        return Ok(args.testpatt.clone());
    }
    let variable = args.modepatt.as_deref().unwrap_or("TESTPATT");
    let found =
        area.loaded.area.env.iter().find(|(name, _)| name == variable).map(|(_, value)| value.clone());
    if found.is_none() && args.modepatt.is_some() {
        return Err(Complaint::usage(format!("the target has no variable `{variable}`"))
            .hint(
                "`[default]` or the target's section of runconfigs.config says it: `NAME test1,test2/item%`",
            )
            .into());
    }
    Ok(found.or_else(|| args.testpatt.clone()))
}

/// What helps where a part of a pattern names no test.
pub(crate) const COMMAS: &str = "commas join patterns: for a comma in an item's name write `*`";

/// Makes the plan.
///
/// # Errors
/// [`PlanError`], with what to do about it.
pub(crate) fn make_plan(
    area: &AreaDef,
    facts: &Facts,
    selection: &Selection,
    history: &dyn History,
    program: &str,
) -> Result<Plan, anyhow::Error> {
    // Parsing an expression costs more than planning a test, and the same one often stands in many.
    let known: RefCell<HashMap<String, bool>> = RefCell::default();
    let skip_when = |text: &str| -> Result<bool, ExprError> {
        if let Some(skip) = known.borrow().get(text) {
            return Ok(*skip);
        }
        let skip = Expr::parse(text)?.eval_bool(facts)?;
        known.borrow_mut().insert(text.to_owned(), skip);
        Ok(skip)
    };
    plan(area, selection, history, &skip_when).map_err(|error| {
        let complaint = Complaint::usage(error.to_string());
        match &error {
            PlanError::NoSuchTest { nearest: Some(name), .. } => {
                complaint.hint(format!("did you mean `{name}`? `{program} plan` lists the tests"))
            }
            PlanError::NoSuchTest { nearest: None, .. }
                if selection.patterns.iter().any(|p| p.contains(',')) =>
            {
                complaint.hint(COMMAS)
            }
            PlanError::NoSuchTest { nearest: None, .. } => {
                complaint.hint(format!("`{program} plan` lists the tests"))
            }
            PlanError::Selection(_)
            | PlanError::NoSuchPrerequisite { .. }
            | PlanError::Cycle(_)
            | PlanError::TwoOfOneName(_)
            | PlanError::OutOfOrder { .. }
            | PlanError::SkipWhen { .. }
            | PlanError::ItemMap { .. } => complaint,
        }
        .into()
    })
}

/// The record of a new run.
pub(crate) fn run_record(
    area: &Area,
    selection: Selection,
    plan: Plan,
    name: Option<String>,
    failures_max: Option<u32>,
    number: u32,
    now: Time,
) -> RunRecord {
    let def = &area.loaded.area;
    let id = uuid::Uuid::now_v7();
    RunRecord {
        id: RunId(id.as_u128()),
        number,
        created: now,
        spec: Arc::new(RunSpec {
            name: name.unwrap_or_default(),
            area: def.name.clone(),
            target: def.target.clone(),
            area_dir: area.dir.to_string_lossy().into_owned(),
            host: area::hostname(),
            env: def.env.clone(),
            limits: def.limits.clone(),
            unexpected_pass: def.unexpected_pass,
            selection,
            failures_max,
            trace_id: uuid::Uuid::now_v7().simple().to_string(),
            placement: Placement::default(),
            inputs: Inputs::default(),
            zone: super::zone::of(def),
            parts: Vec::new(),
        }),
        plan: Arc::new(plan),
    }
}

/// The same run with the definitions as they are now: what its tests do may have changed, which tests and
/// items it has may not.
pub(crate) fn replanned(record: &RunRecord, area: &Area, failures_max: Option<u32>) -> RunRecord {
    let def = &area.loaded.area;
    let mut new = record.clone();
    let spec = Arc::make_mut(&mut new.spec);
    spec.env.clone_from(&def.env);
    spec.limits = def.limits.clone();
    spec.zone = super::zone::of(def);
    spec.area_dir = area.dir.to_string_lossy().into_owned();
    spec.unexpected_pass = def.unexpected_pass;
    spec.failures_max = failures_max;
    let plan = Arc::make_mut(&mut new.plan);
    for planned in &mut plan.tests {
        if let Some(test) = def.tests.iter().find(|t| t.name == planned.def.name) {
            planned.redefine(test);
        }
    }
    new
}

/// Tests whose definition is not what the run recorded.
pub(crate) fn changed_definitions(record: &RunRecord, area: &Area) -> Vec<String> {
    record
        .plan
        .tests
        .iter()
        .filter(|planned| {
            let now = area.loaded.area.tests.iter().find(|t| t.name == planned.def.name);
            now.is_some_and(|test| {
                let mut again = (*planned).clone();
                again.redefine(test);
                again.def != planned.def
            })
        })
        .map(|planned| planned.def.name.clone())
        .collect()
}

/// How many attempts at once.
pub(crate) fn jobs(area: &AreaDef, context: &Context) -> u32 {
    let said = area.limits.jobs.or(context.settings.jobs.map(std::num::NonZeroU32::get));
    said.unwrap_or_else(area::cores).max(1)
}
