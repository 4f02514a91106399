//! Asks suites for their items without running any: `muster plan --discover`.
//!
//! The same loop as a run's, over records in memory: what is found is entered as skipped.

use super::agent::Agent;
use super::area::Area;
use super::request;
use super::session::{self, now};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::attempt::Output;
use muster_core::definition::{Expectation, ItemMatch};
use muster_core::id::RunId;
use muster_core::lab::{Input, Policy};
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::plan::{Plan, PlannedItem, PlannedItems, Wanted};
use muster_core::select::Selection;
use muster_core::view::RunView;
use muster_formats::report::text;
use muster_server::Shell;
use muster_store::{ItemFilter, LabKey, Mem, Store as _};
use std::sync::Arc;
use std::time::Duration;

/// Puts the items that suites name now in place of the question for them.
///
/// # Errors
/// A suite cannot be asked: its build or its list command failed.
pub(crate) fn list_items(
    plan: &mut Plan,
    area: &Area,
    selection: &Selection,
    context: &Context,
    jobs: u32,
) -> Result<(), anyhow::Error> {
    let mut asking = plan.clone();
    asking.tests.retain(|t| matches!(t.items, PlannedItems::Found(_)));
    if asking.tests.is_empty() {
        return Ok(());
    }
    for test in &mut asking.tests {
        let def = Arc::make_mut(&mut test.def);
        def.after.clear();
        def.expectations.push(Expectation {
            items: ItemMatch::Prefix(String::new()),
            allowed: Vec::new(),
            skip: true,
            slow: false,
            reason: "listed only".to_owned(),
            origin: "--discover".to_owned(),
        });
    }
    let view = ask(request::run_record(area, selection.clone(), asking, None, None, 0, now()), area, jobs)?;
    for test in view.tests {
        if let Some(failed) = test.items.iter().find(|i| i.discovery && i.verdict.is_some_and(|v| !v.is_ok()))
        {
            let log = failed.last().map(|a| match &a.result.output {
                Output::Inline(log) => text::plain(log, |_| true),
                Output::None | Output::File { .. } | Output::Segment { .. } => String::new(),
            });
            let said = failed.last().map(|a| a.result.message.clone()).unwrap_or_default();
            let mut err = context.stderr();
            use std::io::Write as _;
            drop(err.write_all(log.unwrap_or_default().as_bytes()));
            return Err(Complaint::new(
                ExitCode::Failed,
                format!("`{}` could not be asked for its items: {said}", test.name),
            )
            .into());
        }
        let Some(planned) = plan.tests.iter_mut().find(|t| t.def.name == test.name) else { continue };
        let PlannedItems::Found(Wanted::All | Wanted::Selected | Wanted::SelectedAnd(_)) = planned.items
        else {
            continue;
        };
        planned.items = PlannedItems::Listed(
            test.items
                .iter()
                .filter(|i| !i.discovery && i.verdict == Some(Verdict::Skip))
                .map(|item| PlannedItem {
                    path: item.path.as_str().into(),
                    vars: Arc::from([]),
                    selector: Arc::from(""),
                    group: 0,
                    timeout: None,
                    // What the framework itself skips keeps its reason; the rest would be run.
                    skip: (!item.reason.starts_with("listed only")).then(|| item.reason.as_str().into()),
                    expected: muster_core::plan::Expected::default(),
                    micros: None,
                })
                .collect(),
        );
    }
    Ok(())
}

fn ask(record: muster_core::change::RunRecord, area: &Area, jobs: u32) -> Result<RunView, anyhow::Error> {
    let id: RunId = record.id;
    let mut agent = Agent::start(&area.dir, jobs)?.process;
    let mut shell = Shell::restore(Mem::new(LabKey(0)), Policy::default(), now(), &|_| Arc::new(()))?;
    let mut inputs = vec![Input::CreateRun { record: Arc::new(record), history: Arc::new(()) }];
    loop {
        let turn = shell.turn(now(), inputs.drain(..))?;
        for (_, orders) in turn.orders {
            agent.link.send(*orders)?;
        }
        if shell.is_over(id) {
            break;
        }
        session::wait_for(&agent, Duration::from_millis(100))?;
        agent.link.flush()?;
        inputs.extend(agent.link.receive()?.into_iter().map(|e| Input::Exchange(Box::new(e))));
        if agent.link.has_ended() {
            return Err(Complaint::lab("the agent process ended unexpectedly").into());
        }
    }
    agent.end()?;
    Ok(shell.store().load_run(id, ItemFilter::All)?)
}
