//! Watching a run: what happened, then what happens, until it is over. CBOR, for Muster's own parts; everybody
//! else has [events](super::events).

use super::State;
use super::answer::{Refusal, run_id};
use crate::hub::Next;
use axum::body::Body;
use axum::extract::{self, Path, Query};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use muster_api::{CBOR_SEQ, Seen, SeenWhat, to_cbor};
use muster_core::change::RunPhase;
use muster_core::event::{Event, Told};
use muster_core::id::RunId;
use muster_core::view::{RunState, RunView};
use muster_store::{ItemFilter, Store as _};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// News in one piece.
const NEWS_AT_ONCE: usize = 500;
/// How often something is said although nothing happened.
const QUIET: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: u64,
}

/// `id` 0: a number that nobody can go on from.
fn write(piece: &mut Vec<u8>, id: u64, what: SeenWhat) {
    piece.extend(to_cbor(&Seen { id, what }));
}

enum Stage {
    /// News behind this number.
    News(u64),
    /// Nothing more is said.
    Said,
}

pub(super) async fn watch(
    extract::State(state): extract::State<State>,
    Path(run): Path<String>,
    Query(After { after }): Query<After>,
) -> Result<Response, Refusal> {
    let pieces = pieces(state, run_id(&run)?, after).await?;
    Ok(([(header::CONTENT_TYPE, CBOR_SEQ)], pieces).into_response())
}

async fn pieces(state: State, run: RunId, after: u64) -> Result<Body, Refusal> {
    // Only what is recorded can be watched.
    state.read(move |store| store.load_run_snapshot(run).map(drop)).await?;
    let pieces = stream::unfold((state, Stage::News(after)), move |(state, stage)| async move {
        let (piece, stage) = next(&state, run, stage).await?;
        Some((Ok::<_, Infallible>(piece), (state, stage)))
    });
    Ok(Body::from_stream(pieces))
}

/// The next piece; `None` at the end of the connection.
async fn next(state: &State, run: RunId, stage: Stage) -> Option<(Vec<u8>, Stage)> {
    let Stage::News(after) = stage else { return None };
    let mut piece = Vec::new();
    loop {
        match state.hub.next(run, after, NEWS_AT_ONCE) {
            Next::News(news, last) => {
                let first = last + 1 - news.len() as u64;
                for (id, told) in (first..).zip(&news) {
                    write(&mut piece, id, SeenWhat::Told(Box::new((**told).clone())));
                }
                return Some((piece, Stage::News(last)));
            }
            Next::Over(stopped) => {
                write(&mut piece, after, SeenWhat::Over(stopped));
                return Some((piece, Stage::Said));
            }
            Next::Record(end) => {
                let recorded = state.read(move |store| {
                    let phase = store.load_run_snapshot(run)?.phase;
                    Ok((store.load_run(run, ItemFilter::All)?, phase))
                });
                let (view, phase) = recorded.await.ok()?;
                // Who is cut off in the middle of it begins anew: only its last part has a number.
                write(&mut piece, 0, SeenWhat::Again);
                let told = told_of(&view);
                let last = told.len().saturating_sub(1);
                for (place, told) in told.into_iter().enumerate() {
                    let id = if place == last { end } else { 0 };
                    write(&mut piece, id, SeenWhat::Told(Box::new(told)));
                }
                if phase == RunPhase::Active {
                    return Some((piece, Stage::News(end)));
                }
                let stopped = match phase {
                    RunPhase::Stopped { reason, .. } => Some(reason),
                    RunPhase::Active | RunPhase::Ended { .. } => None,
                };
                write(&mut piece, end, SeenWhat::Over(stopped));
                return Some((piece, Stage::Said));
            }
            Next::Wait(bell) => {
                if !rings(bell, &state.ended).await? {
                    write(&mut piece, after, SeenWhat::Quiet);
                    return Some((piece, Stage::News(after)));
                }
            }
        }
    }
}

/// Waits for the bell; false if it does not ring for a while, `None` when the server ends.
pub(super) async fn rings(mut bell: watch::Receiver<u64>, ended: &watch::Receiver<bool>) -> Option<bool> {
    let mut ended = ended.clone();
    tokio::select! {
        rung = tokio::time::timeout(QUIET, bell.changed()) => Some(rung.is_ok()),
        _ending = ended.wait_for(|ended| *ended) => None,
    }
}

/// What a record amounts to, told as if it happened now.
fn told_of(view: &RunView) -> Vec<Told> {
    let mut all = Vec::new();
    let mut tell = |at, event| all.push(Told { at, run: view.id, event });
    let items = view.all_items().filter(|(_, i)| !i.discovery).count();
    tell(
        view.started,
        Event::RunStarted {
            address: view.address().into(),
            name: view.name.as_str().into(),
            target: view.target.clone(),
            tests: u32::try_from(view.tests.len()).unwrap_or(u32::MAX),
            items: u32::try_from(items).unwrap_or(u32::MAX),
            undiscovered: 0,
        },
    );
    for test in &view.tests {
        let name: Arc<str> = test.name.as_str().into();
        let mut last = view.started;
        for item in &test.items {
            let path: Arc<str> = item.path.as_str().into();
            let attempts = item.attempts.len();
            for (attempt, place) in item.attempts.iter().zip(1..) {
                last = last.max(attempt.result.started + attempt.result.duration);
                tell(
                    last,
                    Event::AttemptEnded {
                        test: Arc::clone(&name),
                        item: Arc::clone(&path),
                        attempt: attempt.number,
                        device: attempt.device.as_str().into(),
                        discovery: item.discovery,
                        result: Arc::clone(&attempt.result),
                        retried: place < attempts || item.verdict.is_none(),
                    },
                );
            }
            if let Some(verdict) = item.verdict.filter(|_| !item.discovery) {
                let attempts = u16::try_from(attempts).unwrap_or(u16::MAX);
                let reason = item.reason.as_str().into();
                tell(
                    last,
                    Event::ItemEnded { test: Arc::clone(&name), item: path, verdict, attempts, reason },
                );
            }
        }
        if let Some(verdict) = test.verdict {
            tell(last, Event::TestEnded { test: name, verdict, counts: test.counts });
        }
    }
    if view.state != RunState::Active {
        let (verdict, counts) = (view.verdict(), view.counts);
        let stopped = view.state == RunState::Stopped;
        tell(view.ended.unwrap_or(view.started), Event::RunEnded { verdict, counts, stopped });
    }
    all
}
