//! Runs that are over and are to go on: what of them may be other than it is recorded, and who asked.

use crate::desk::down;
use muster_api::{PartOf, Problem, Submit};
use muster_core::change::{Placement, RunRecord, RunSnapshot, RunSpec};
use muster_core::id::{ItemIx, RunId};
use muster_core::inputs::Inputs;
use muster_core::kind::HEALTH_AREA;
use muster_core::note::spots;
use muster_core::part;
use muster_core::plan::{Plan, PlannedItems};
use muster_core::time::Time;
use muster_store::{ItemFilter, Store};
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests that are remembered.
// Limit: one whose answer was lost is asked again within seconds.
const REQUESTS_MAX: usize = 256;

/// The requests by which runs were opened again lately, and the number behind which each one's news are.
#[derive(Debug, Default)]
pub(crate) struct Reopenings(VecDeque<(RunId, u128, u64)>);

impl Reopenings {
    /// Where the news of a run begin that was opened again by this request.
    pub(crate) fn find(&self, run: RunId, request: u128) -> Option<u64> {
        self.0.iter().find(|known| (known.0, known.1) == (run, request)).map(|known| known.2)
    }

    pub(crate) fn note(&mut self, run: RunId, request: u128, after: u64) {
        self.0.push_back((run, request, after));
        if self.0.len() > REQUESTS_MAX {
            self.0.pop_front();
        }
    }
}

/// The record of a run that goes on as is asked now. What its tests do, with what, and how long they may take, may have
/// changed; which tests and items it has, what it is for, whose it is and where it may run has not.
///
/// # Errors
/// It is another run, or a check of a device.
pub(crate) fn record(known: &RunRecord, asked: Submit) -> Result<RunRecord, Problem> {
    if known.spec.area == HEALTH_AREA {
        return Err(Problem::new(422, "bad-request", "a check of a device does not go on")
            .next("`muster device check` makes another one"));
    }
    let Submit { spec, plan, made_of: _ } = asked;
    if !has_same_items(&known.plan, &plan) {
        return Err(Problem::new(422, "bad-plan", "what is to go on has other tests or items than the run")
            .next("`muster run` begins a new run with them"));
    }
    let RunSpec { area_dir, env, limits, unexpected_pass, failures_max, placement, inputs, .. } = spec;
    let Placement { source, pools, .. } = placement;
    let placement = Placement { source, pools, ..known.spec.placement.clone() };
    let known_spec = RunSpec::clone(&known.spec);
    // Its area may have come to need more; what is tested is what it was.
    let inputs = Inputs { packages: inputs.packages, ..known_spec.inputs.clone() };
    let spec =
        RunSpec { area_dir, env, limits, unexpected_pass, failures_max, placement, inputs, ..known_spec };
    Ok(RunRecord { spec: Arc::new(spec), plan: Arc::new(plan), ..known.clone() })
}

/// Notes what the items that run again keep of their earlier attempts, where only some of their steps run. It is taken
/// from the record, whatever whoever asks says of it.
///
/// # Errors
/// An item cannot run so, or the record cannot be read.
pub(crate) fn keep_steps(
    store: &mut dyn Store,
    snapshot: &RunSnapshot,
    record: &mut RunRecord,
    items: &[ItemIx],
    asked: Option<PartOf>,
) -> Result<(), Problem> {
    let parts = match asked {
        None => Vec::new(),
        Some(PartOf { items, steps }) => {
            let view = store.load_run(record.id, ItemFilter::All).map_err(|e| down(&e))?;
            // Working directories of earlier attempts are on the hosts that ran them, if anywhere.
            let (parts, refused) = part::parts(&view, record, &spots(snapshot), &items, &steps, false);
            if let Some(why) = refused.first() {
                return Err(Problem::new(422, "bad-request", why.clone()).next("run the whole item again"));
            }
            parts
        }
    };
    part::renew(&mut Arc::make_mut(&mut record.spec).parts, items, parts);
    Ok(())
}

/// Keeps what whoever asks says the tests are made of, before anything is recorded that could be held against it.
///
/// # Errors
/// It is no line of text, or too long; it cannot be written.
pub(crate) fn note_made_of(store: &dyn Store, number: u32, at: Time, line: &str) -> Result<(), Problem> {
    // Limit: whoever asks for a run may fill the disk with such lines no faster than with anything else.
    const LINE_BYTES_MAX: usize = 16 << 20;
    if line.is_empty() {
        return Ok(());
    }
    if line.len() > LINE_BYTES_MAX || line.contains('\n') {
        return Err(Problem::new(422, "bad-request", "what the tests are made of is said in one line")
            .next(format!("of at most {LINE_BYTES_MAX} bytes; it may be left out")));
    }
    let Some(dir) = store.run_dir(number) else { return Ok(()) };
    muster_store::note_made_of(&dir, at, line).map_err(|e| down(&e))
}

/// Whether records of items mean the same in both.
fn has_same_items(known: &Plan, asked: &Plan) -> bool {
    known.tests.len() == asked.tests.len()
        && known.tests.iter().zip(&asked.tests).all(|(known, asked)| {
            known.def.name == asked.def.name
                && match (&known.items, &asked.items) {
                    (PlannedItems::Listed(known), PlannedItems::Listed(asked)) => {
                        known.iter().map(|item| &item.path).eq(asked.iter().map(|item| &item.path))
                    }
                    (PlannedItems::Found(_), PlannedItems::Found(_)) => true,
                    (PlannedItems::Listed(_), PlannedItems::Found(_))
                    | (PlannedItems::Found(_), PlannedItems::Listed(_)) => false,
                }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_store::contract::record as recorded;

    #[test]
    fn what_a_run_is_for_and_whose_it_is_cannot_be_changed_by_going_on_with_it() {
        let known = recorded(1, "area", 1);
        let (spec, plan) = (RunSpec::clone(&known.spec), Plan::clone(&known.plan));
        let mut asked = Submit { spec, plan, made_of: String::new() };
        asked.spec.area = "other".to_owned();
        asked.spec.placement.user = "eve".to_owned();
        asked.spec.placement.priority = 9;
        asked.spec.placement.selector = "true".to_owned();
        asked.spec.env = vec![("NEW".to_owned(), "1".to_owned())];
        asked.spec.failures_max = Some(1);
        asked.spec.inputs.changeset = "another".to_owned();
        let made = record(&known, asked.clone()).unwrap();
        let env = asked.spec.env.clone();
        let wanted = RunSpec { env, failures_max: Some(1), ..RunSpec::clone(&known.spec) };
        assert_eq!(*made.spec, wanted);
        assert_eq!((made.id, made.number, made.created), (known.id, known.number, known.created));
        asked.plan.tests.pop();
        assert_eq!(record(&known, asked).unwrap_err().code, "bad-plan");
    }

    #[test]
    fn a_request_is_known_until_many_others_came() {
        let mut known = Reopenings::default();
        known.note(RunId(1), 7, 40);
        assert_eq!((known.find(RunId(1), 7), known.find(RunId(1), 8)), (Some(40), None));
        (0..REQUESTS_MAX as u128).for_each(|n| known.note(RunId(2), n, 1));
        assert_eq!(known.find(RunId(1), 7), None);
    }
}
