//! Devices that people take out of scheduling.

use super::State;
use super::agents::gone;
use super::answer::Refusal;
use crate::desk::{Ask, now};
use axum::Json;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use muster_api::{HoldDevice, Problem};
use muster_core::change::Hold;
use muster_core::id::DeviceId;
use std::time::Duration;

/// Longest text about a hold.
const TEXT_BYTES_MAX: usize = 1_000;

pub(super) async fn hold(
    extract::State(state): extract::State<State>,
    Path(device): Path<u32>,
    Json(asked): Json<HoldDevice>,
) -> Result<StatusCode, Refusal> {
    let HoldDevice { by, reason, seconds } = asked;
    for (what, text) in [("reason", &reason), ("by", &by)] {
        if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
            let said = format!("`{what}` is a text of 1 to {TEXT_BYTES_MAX} bytes");
            return Err(Problem::new(422, "bad-hold", said).next("say who takes the device, and why").into());
        }
    }
    let since = now();
    let until = seconds.map(|s| since + Duration::from_secs(s.into()));
    set(&state, device, Some(Hold { by, reason, since, until })).await
}

pub(super) async fn release(
    extract::State(state): extract::State<State>,
    Path(device): Path<u32>,
) -> Result<StatusCode, Refusal> {
    set(&state, device, None).await
}

async fn set(state: &State, device: u32, hold: Option<Hold>) -> Result<StatusCode, Refusal> {
    let done = state.desk.ask(|answer| Ask::Hold(DeviceId(device), hold, answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}
