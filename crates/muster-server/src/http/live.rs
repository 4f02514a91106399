//! Outputs of running attempts: brought by agents while somebody looks, looked at by those who follow them.

use super::State;
use super::agents::gone;
use super::answer::{Refusal, run_id};
use crate::access::Who;
use crate::desk::{Ask, down};
use crate::live::Misfit;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{self, Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use muster_api::{NEXT_PART, Problem};
use muster_core::id::{ItemIx, UnitId};
use serde::Deserialize;
use std::io;
use std::time::{Duration, Instant};

/// How long an answer waits for something to be printed.
const WAIT: Duration = Duration::from_secs(1);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
pub(super) struct From {
    from: u64,
}

/// An agent brings a piece of what a unit prints. 409 says with `have` where the next piece begins.
pub(super) async fn put(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path((unit, part)): Path<(u64, u16)>,
    Query(From { from }): Query<From>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let unit = UnitId(unit);
    if let Who::Agent(agent) = who {
        let of = state.desk.ask(|answer| Ask::AgentOf(unit, answer)).await.unwrap_or_else(|| Err(gone()))?;
        if of != Some(agent) {
            return Err(Problem::new(403, "not-this-agent", "this output is not this agent's").into());
        }
    }
    let added = tokio::task::block_in_place(|| state.live.add(unit, part, from, &body));
    match added.map_err(no_room)? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(Misfit::Have(have)) => {
            Err(Problem::new(409, "other-piece", format!("the next piece begins at byte {have}"))
                .next(have.to_string())
                .into())
        }
        Err(Misfit::Unwanted) => Err(Problem::new(409, "unwanted", "nobody looks at this output").into()),
    }
}

#[derive(Deserialize)]
pub(super) struct Part {
    part: u16,
    from: u64,
}

/// What an attempt that runs has printed, as frames, from a byte of the output of one of its processes on. Where there is
/// nothing yet, the answer waits for a moment.
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    Path((run, item, attempt)): Path<(String, u32, u16)>,
    Query(Part { part, from }): Query<Part>,
) -> Result<Response, Refusal> {
    let run = run_id(&run)?;
    let end = Instant::now() + WAIT;
    loop {
        let unit = state.read(move |store| store.find_unit(run, ItemIx(item), attempt)).await?;
        let Some(unit) = unit else {
            // It has not been given out, or it has ended: its record says.
            if Instant::now() >= end {
                return Ok(answer(Vec::new(), false));
            }
            tokio::time::sleep(LOOK_EVERY * 4).await;
            continue;
        };
        let agent =
            state.desk.ask(|answer| Ask::AgentOf(unit, answer)).await.unwrap_or_else(|| Err(gone()))?;
        if let Some(agent) = agent {
            state.live.want(unit, agent);
        }
        loop {
            let (bytes, next) =
                tokio::task::block_in_place(|| state.live.read(unit, part, from)).map_err(no_room)?;
            if !bytes.is_empty() || next || Instant::now() >= end {
                return Ok(answer(bytes, next));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn answer(frames: Vec<u8>, next: bool) -> Response {
    let kind = (header::CONTENT_TYPE.as_str(), "application/vnd.muster.frames");
    ([kind, (NEXT_PART, if next { "true" } else { "false" })], frames).into_response()
}

fn no_room(error: io::Error) -> Refusal {
    Refusal::from(down(&error))
}
