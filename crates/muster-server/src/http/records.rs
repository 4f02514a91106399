//! Looking at the records.

use super::State;
use super::answer::{Cbor, Refusal, read};
use super::results::find_run;
use super::runs::checked;
use crate::access::Who;
use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, extract};
use muster_api::Problem;
use muster_api::access::Role;
use muster_api::records::{Gone, Items, Late, Name, PastAttempt, Question};
use muster_core::attempt::Output;
use muster_store::{
    HistoryEntry, ItemFilter, LateEvidence, Removed, RunFilter, RunName, Store as _, StoreError,
};

/// Most runs of one answer; who wants more asks again from the last.
const RUNS_MAX: u32 = 1_000;

pub(super) async fn ask(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let question = read("a question", &body)?;
    may_ask(&state, &who, &question).await?;
    match question {
        Question::Runs { area, before, limit } => {
            let filter = RunFilter { area, before, limit: limit.min(RUNS_MAX), ..RunFilter::default() };
            let mut runs = state.read(move |s| s.list_runs(&filter)).await?;
            // Of all areas: those that one may look at.
            runs.retain(|r| who.has(Role::Viewer, Some(&r.area)));
            Ok(Cbor(runs).into_response())
        }
        Question::FindRun { area, name } => {
            let found = state.read(move |s| match &name {
                Name::Latest => s.find_run(&area, RunName::Latest),
                Name::Number(number) => s.find_run(&area, RunName::Number(*number)),
                Name::Name(name) => s.find_run(&area, RunName::Name(name)),
            });
            Ok(Cbor(found.await?).into_response())
        }
        Question::FindRemoved { area, number } => {
            let found = state.read(move |s| s.find_removed(&area, number)).await?;
            let gone = found.map(|Removed { name, by, at, reason }| Gone { name, by, at, reason });
            Ok(Cbor(gone).into_response())
        }
        Question::Run { run, items } => {
            let view = state.read(move |s| match &items {
                Items::All => s.load_run(run, ItemFilter::All),
                Items::NotOk => s.load_run(run, ItemFilter::NotOk),
                Items::Failed => s.load_run(run, ItemFilter::Failed),
                Items::Test(test) => s.load_run(run, ItemFilter::Test(test)),
                Items::Item(test, item) => s.load_run(run, ItemFilter::Item(test, item)),
            });
            Ok(Cbor(view.await?).into_response())
        }
        Question::Snapshot(run) => {
            Ok(Cbor(state.read(move |s| s.load_run_snapshot(run)).await?).into_response())
        }
        Question::Attempts(run, item) => {
            Ok(Cbor(state.read(move |s| s.list_attempts(run, item)).await?).into_response())
        }
        Question::History { area, test, item, before, limit } => {
            let past = state
                .read(move |s| s.list_history(&area, &test, item.as_deref(), before, limit.min(RUNS_MAX)));
            let past: Vec<PastAttempt> = past.await?.into_iter().map(past_attempt).collect();
            Ok(Cbor(past).into_response())
        }
        Question::LateEvidence(run) => {
            let late = state.read(move |s| s.list_late_evidence(run)).await?;
            Ok(Cbor(late.into_iter().map(late_result).collect::<Vec<_>>()).into_response())
        }
        Question::MadeOf(run) => {
            let text = state.read(move |s| {
                let number = s.load_run(run, ItemFilter::Item("", ""))?.number;
                s.made_of(run, number)
            });
            Ok(text.await?.into_response())
        }
        Question::Output { run, output, range } => {
            if let Output::File { path, .. } = &output {
                checked(path)?;
            }
            let frames = state.read(move |s| {
                let frames = match range {
                    None => s.read_output(run, &output),
                    Some((from, len)) => s.read_output_range(run, &output, from, len),
                };
                frames.map(Ok).or_else(absent)
            });
            let gone = |why: String| Problem::new(404, "no-such-output", why);
            Ok(frames.await?.map_err(gone)?.into_response())
        }
    }
}

/// Whether somebody may look at the area that a question is about.
async fn may_ask(state: &State, who: &Who, question: &Question) -> Result<(), Problem> {
    if who.has_everywhere(Role::Viewer) {
        return Ok(());
    }
    let run = match question {
        Question::Runs { area: None, .. } => return Ok(()),
        Question::Runs { area: Some(area), .. }
        | Question::FindRun { area, .. }
        | Question::FindRemoved { area, .. }
        | Question::History { area, .. } => return who.need(Role::Viewer, Some(area)),
        Question::Run { run, .. }
        | Question::Snapshot(run)
        | Question::Attempts(run, _)
        | Question::LateEvidence(run)
        | Question::MadeOf(run)
        | Question::Output { run, .. } => *run,
    };
    who.need(Role::Viewer, None)?;
    let area = find_run(state, run).await.map_err(Refusal::into_problem)?.area;
    who.need(Role::Viewer, Some(&area))
}

fn absent(error: StoreError) -> Result<Result<Vec<u8>, String>, StoreError> {
    match error {
        StoreError::OutputGone { .. } | StoreError::OutputOutside { .. } => Ok(Err(error.to_string())),
        error => Err(error),
    }
}

fn past_attempt(entry: HistoryEntry) -> PastAttempt {
    let HistoryEntry { run, number, target, path, attempt, outcome, verdict, started, duration } = entry;
    PastAttempt { run, number, target, path, attempt, outcome, verdict, started, duration }
}

fn late_result(late: LateEvidence) -> Late {
    let LateEvidence { attempt, lease, at, result } = late;
    Late { attempt, lease, at, result }
}
