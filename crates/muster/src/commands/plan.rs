//! `muster plan`: what would run, in which order, and why.

use super::typed::{SelectArgs, TargetArgs};
use crate::context::{Context, OutputMode, RECORDS};
use crate::local::area::{Area, Purpose};
use crate::local::{area, discovery, request, session};
use clap::{Args, ValueEnum};
use muster_core::change::RunRecord;
use muster_core::definition::{After, AfterMode};
use muster_core::forecast::{Forecast, KnownItems, forecast};
use muster_core::outcome::ExitCode;
use muster_core::plan::{PlannedItems, Why};
use muster_formats::report::dot;
use muster_store::{LabKey, Mem, Store};
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

/// Arguments of `muster plan`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Ask suites for their items too, which may build them
    #[arg(long)]
    pub(crate) discover: bool,
    /// What to print [default: text, or what `--output` says]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
}

/// What a plan is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// JSON
    Json,
    /// What comes after what, for Graphviz: `muster plan --format dot | dot -Tsvg`
    Dot,
}

/// Prints the plan.
pub(crate) fn run(args: PlanArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let PlanArgs { select, target, discover, format } = args;
    // To ask suites is to run them; then a Megatest area may run its own commands too.
    let purpose = if discover { Purpose::Run { name: None } } else { Purpose::Look };
    let area = area::load(context, None, target.target.as_deref(), &[], purpose)?;
    let def = &area.loaded.area;
    let mut store = plan_store(context, &area)?;
    let durations = Arc::new(store.list_durations(&def.name, &def.target)?);
    let selection = request::selection(&select, &area, store.as_mut(), context)?;
    let mut plan =
        request::make_plan(def, &area.loaded.facts, &selection, durations.as_ref(), &context.program())?;
    let jobs = request::jobs(def, context);
    if discover {
        discovery::list_items(&mut plan, &area, &selection, context, jobs)?;
    }
    let record = Arc::new(request::run_record(&area, selection, plan, None, None, 0, session::now()));
    let known: Arc<dyn KnownItems + Send + Sync> = Arc::clone(&durations) as _;
    let forecast = forecast(Arc::clone(&record), &known, durations, jobs)?;
    let listing = Listing::new(&record, &forecast, jobs);
    let mut out = context.stdout();
    match (format, context.output) {
        (Some(Format::Dot), _) => out.write_all(dot(&def.name, &record.plan).as_bytes())?,
        (Some(Format::Json), _) | (None, OutputMode::Json) => {
            serde_json::to_writer_pretty(&mut out, &listing)?;
            writeln!(out)?;
        }
        (Some(Format::Text), _) | (None, OutputMode::Human) => listing.print(&mut out)?,
        (None, OutputMode::Quiet) => {}
    }
    Ok(if record.plan.tests.is_empty() { ExitCode::NothingRan } else { ExitCode::Passed })
}

/// The records, if there are any: planning alone makes none.
fn plan_store(context: &Context, area: &Area) -> Result<Box<dyn Store>, anyhow::Error> {
    if area.dir.join(RECORDS).is_dir() {
        return crate::wiring::open_for_reading(&context.area_dir()?);
    }
    Ok(Box::new(Mem::new(LabKey(0))))
}

/// The plan as it is printed.
#[derive(Debug, Serialize)]
struct Listing {
    schema: &'static str,
    slots: u32,
    /// Of the whole run, in seconds.
    expected_seconds: f64,
    /// Some of that is a guess.
    has_unknown: bool,
    tests: Vec<TestLine>,
    not_run: Vec<NotRun>,
    /// What all of it would wait for at some time.
    waits: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TestLine {
    test: String,
    why: String,
    after: Vec<String>,
    priority: i32,
    groups: Vec<String>,
    origin: String,
    /// The items are asked for when it runs; those listed are the ones the records know of.
    found_later: bool,
    items: Vec<ItemLine>,
}

#[derive(Debug, Serialize)]
struct ItemLine {
    item: String,
    /// Its place in the order of starts, from 1.
    order: usize,
    slot: u32,
    starts_seconds: f64,
    expected_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct NotRun {
    test: String,
    item: String,
    reason: String,
}

impl Listing {
    fn new(record: &RunRecord, forecast: &Forecast, slots: u32) -> Self {
        let mut items: HashMap<&str, Vec<ItemLine>> = HashMap::new();
        let starts = forecast.starts.iter().filter(|s| !s.discovery);
        for (at, start) in starts.enumerate() {
            items.entry(&*start.test).or_default().push(ItemLine {
                item: start.item.to_string(),
                order: at + 1,
                slot: start.slot + 1,
                starts_seconds: start.at.as_secs_f64(),
                expected_seconds: start.takes.map(|t| t.as_secs_f64()),
            });
        }
        let names: Vec<&str> = record.plan.tests.iter().map(|t| t.def.name.as_str()).collect();
        let mut tests: Vec<TestLine> = record
            .plan
            .tests
            .iter()
            .map(|planned| TestLine {
                test: planned.def.name.clone(),
                why: match planned.why {
                    Why::Asked => "asked for".to_owned(),
                    Why::PrerequisiteOf(ix) => format!("`{}` comes after it", names[ix.0 as usize]),
                },
                after: planned.def.after.iter().map(after_words).collect(),
                priority: planned.def.priority,
                groups: planned.def.needs.groups.clone(),
                origin: planned.def.origin.clone(),
                found_later: matches!(planned.items, PlannedItems::Found(_)),
                items: items.remove(planned.def.name.as_str()).unwrap_or_default(),
            })
            .collect();
        tests.sort_by_key(|t| t.items.first().map_or(usize::MAX, |i| i.order));
        Self {
            schema: "muster.plan/1",
            slots,
            expected_seconds: forecast.takes.as_secs_f64(),
            has_unknown: forecast.starts.iter().any(|s| !s.discovery && s.takes.is_none())
                || tests.iter().any(|t| t.found_later && t.items.is_empty()),
            tests,
            waits: forecast.waits.iter().map(ToString::to_string).collect(),
            not_run: forecast
                .not_run
                .iter()
                .map(|(test, item, reason)| NotRun {
                    test: test.to_string(),
                    item: item.to_string(),
                    reason: reason.clone(),
                })
                .collect(),
        }
    }

    fn print(&self, out: &mut dyn Write) -> std::io::Result<()> {
        // Limit: what fits a person's patience; `--output json` has all of them.
        const ITEMS_SHOWN: usize = 20;
        let total: usize = self.tests.iter().map(|t| t.items.len()).sum();
        for test in &self.tests {
            let mut notes = vec![test.why.clone()];
            if !test.after.is_empty() {
                notes.push(format!("after {}", test.after.join(", ")));
            }
            if test.priority != 0 {
                notes.push(format!("priority {}", test.priority));
            }
            if !test.groups.is_empty() {
                notes.push(format!("in group {}", test.groups.join(", ")));
            }
            if test.found_later {
                notes.push(match test.items.len() {
                    0 => "items are found when it runs".to_owned(),
                    n => format!("items are found when it runs; {n} are known"),
                });
            }
            writeln!(out, "{}  ({}; {})", test.test, test.origin, notes.join("; "))?;
            for line in test.items.iter().take(ITEMS_SHOWN) {
                let name = if line.item.is_empty() { "(itself)" } else { &line.item };
                let takes = line.expected_seconds.map_or_else(|| "?".to_owned(), |s| format!("{s:.2}s"));
                writeln!(
                    out,
                    "  {:>6}. {name}  at {:.2}s on slot {}, takes {takes}",
                    line.order, line.starts_seconds, line.slot
                )?;
            }
            if test.items.len() > ITEMS_SHOWN {
                writeln!(
                    out,
                    "          and {} more (`--output json` lists all)",
                    test.items.len() - ITEMS_SHOWN
                )?;
            }
        }
        for NotRun { test, item, reason } in self.not_run.iter().take(ITEMS_SHOWN) {
            let slash = if item.is_empty() { "" } else { "/" };
            writeln!(out, "not run: {test}{slash}{item}: {reason}")?;
        }
        for reason in self.waits.iter().take(ITEMS_SHOWN) {
            writeln!(out, "waits: {reason}")?;
        }
        let guess =
            if self.has_unknown { ", partly a guess: not everything has been run before" } else { "" };
        writeln!(
            out,
            "{} tests, {total} items, {} at once, about {:.1}s{guess}",
            self.tests.len(),
            self.slots,
            self.expected_seconds
        )
    }
}

fn after_words(after: &After) -> String {
    let After { test, mode } = after;
    match mode {
        AfterMode::Passed => format!("`{test}` passed"),
        AfterMode::Ended => format!("`{test}` ended"),
        AfterMode::MatchingItem { map } if map.is_empty() => format!("the same item of `{test}`"),
        AfterMode::MatchingItem { .. } => format!("the mapped item of `{test}`"),
        AfterMode::Exclusive => format!("never beside `{test}`"),
    }
}
