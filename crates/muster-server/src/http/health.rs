//! What devices are worth: looked at, checked, put in quarantine.

use super::State;
use super::agents::gone;
use super::answer::Refusal;
use super::devices::{may_have, name_of, text};
use crate::access::Who;
use crate::desk::{Ask, now};
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::{Extension, Json};
use muster_api::{By, HoldDevice};
use muster_core::id::DeviceId;
use muster_core::time::Time;
use muster_core::view::DeviceDetail;
use std::time::Duration;

/// All that is known of a device.
pub(super) async fn device(
    extract::State(state): extract::State<State>,
    Path(device): Path<u32>,
) -> Result<Json<DeviceDetail>, Refusal> {
    let detail = state.desk.ask(|answer| Ask::Device(DeviceId(device), answer)).await;
    Ok(Json(*detail.unwrap_or_else(|| Err(gone()))?))
}

/// A device is to be checked now.
pub(super) async fn check(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
    Json(By { by }): Json<By>,
) -> Result<StatusCode, Refusal> {
    let by = name_of(&who, by);
    text("by", &by)?;
    may_have(&state, &who, device).await?;
    let asked = state.desk.ask(|answer| Ask::Check(DeviceId(device), by, answer)).await;
    asked.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::ACCEPTED)
}

/// A device gets no work until a person lets it out again, or for a time.
pub(super) async fn quarantine(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
    Json(asked): Json<HoldDevice>,
) -> Result<StatusCode, Refusal> {
    let HoldDevice { by, reason, seconds, id: _ } = asked;
    text("reason", &reason)?;
    let by = name_of(&who, by);
    text("by", &by)?;
    may_have(&state, &who, device).await?;
    let until = seconds.map(|s| now() + Duration::from_secs(s.into()));
    set(&state, device, by, Some((reason, until))).await
}

/// It is let out: it has to pass its check, where there is one.
pub(super) async fn release(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
    Json(By { by }): Json<By>,
) -> Result<StatusCode, Refusal> {
    let by = name_of(&who, by);
    text("by", &by)?;
    may_have(&state, &who, device).await?;
    set(&state, device, by, None).await
}

async fn set(
    state: &State,
    device: u32,
    by: String,
    put: Option<(String, Option<Time>)>,
) -> Result<StatusCode, Refusal> {
    let done = state.desk.ask(|answer| Ask::Quarantine(DeviceId(device), by, put, answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}
