//! The lab's devices and what waits for them; devices that people take out of scheduling.

use super::State;
use super::agents::gone;
use super::answer::Refusal;
use super::codes::problems;
use super::page::{Limit, Page, RunKey};
use super::results::json;
use crate::access::Who;
use crate::desk::{Ask, now};
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use muster_api::access::Role;
use muster_api::{HoldDevice, Problem, RenewHold};
use muster_core::change::Hold;
use muster_core::id::DeviceId;
use muster_core::lab::{Input, Reserved};
use muster_core::view::LabView;
use muster_formats::report::wire;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// Longest text about a hold.
const TEXT_BYTES_MAX: usize = 1_000;
/// Longest id of a reservation.
const ID_BYTES_MAX: usize = 64;

problems! {
    OfLists: "bad-query";
    OfDevice: "bad-id", "no-such-device";
    OfHold: "bad-body", "bad-id", "bad-hold", "no-such-device", "held", "too-long";
    OfRenew: "bad-body", "bad-id", "no-such-device", "reservation-over", "too-long";
    OfRelease: "bad-id", "bad-query", "no-such-device";
}

/// The lab as it stands, of the areas that one may look at.
pub(super) async fn look(state: &State, who: &Who) -> Result<LabView, Refusal> {
    let mut lab: LabView = state.desk.ask(Ask::View).await.unwrap_or_else(|| Err(gone()))?;
    let may_see = |address: &str| who.has(Role::Viewer, address.split('/').next());
    lab.runs.retain(|run| may_see(&run.address));
    for device in &mut lab.devices {
        // That it is busy is told to all.
        if device.running.as_ref().is_some_and(|what| !may_see(what)) {
            device.running = Some("something of another area".to_owned());
        }
    }
    Ok(lab)
}

/// Which devices.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Devices {
    /// Most devices of a page
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
    /// Only devices behind this one
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 0, maximum = 4294967295_u64, default = 0)]
    after: u32,
}

/// The lab's devices, in the order they were first seen
#[utoipa::path(get, path = "/devices", tag = "lab", operation_id = "list_devices", params(Devices), responses(
    (status = 200, description = "A page of devices", body = ref("#/components/schemas/PageOfDevice")),
    OfLists,
))]
pub(super) async fn list(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Query(Devices { limit, after }): Query<Devices>,
) -> Result<Response, Refusal> {
    let mut devices = look(&state, &who).await?.devices;
    devices.retain(|device| device.id.0 > after);
    devices.sort_by_key(|device| device.id);
    let show = |device| wire::Device::from(&device);
    Ok(json(&Page::cut(devices, "/devices", limit, |device| device.id.0, show)))
}

/// A device as it stands
#[utoipa::path(get, path = "/devices/{device}", tag = "lab", operation_id = "get_device",
    params(("device" = u32, Path, description = "What the lab calls it", maximum = 4294967295_u64)),
    responses((status = 200, description = "The device", body = ref("#/components/schemas/Device")), OfDevice))]
pub(super) async fn one(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
) -> Result<Response, Refusal> {
    let devices = look(&state, &who).await?.devices;
    let found = devices.iter().find(|known| known.id == DeviceId(device)).ok_or_else(|| {
        Problem::new(404, "no-such-device", format!("the lab has no device {device}"))
            .next("`/api/v1/devices` lists them")
    })?;
    Ok(json(&wire::Device::from(found)))
}

/// Which runs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Queue {
    /// Most runs of a page
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
    /// Only runs accepted after this one, a UUID
    #[param(value_type = Option<String>, format = "uuid")]
    after: Option<RunKey>,
}

/// The runs that are under way, the oldest first, and what they wait for
#[utoipa::path(get, path = "/queue", tag = "lab", operation_id = "list_queue", params(Queue), responses(
    (status = 200, description = "A page of runs", body = ref("#/components/schemas/PageOfQueuedRun")),
    OfLists,
))]
pub(super) async fn queue(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Query(Queue { limit, after }): Query<Queue>,
) -> Result<Response, Refusal> {
    let mut runs = look(&state, &who).await?.runs;
    runs.retain(|run| after.is_none_or(|RunKey(after)| run.id > after));
    runs.sort_by_key(|run| run.id);
    Ok(json(&Page::cut(runs, "/queue", limit, |run| RunKey(run.id), |run| wire::QueuedRun::from(&run))))
}

/// Takes a device out of scheduling
///
/// What runs on it goes on. Asking again for the same person changes it; with an `id` it is a reservation, which is that
/// one's alone.
#[utoipa::path(put, path = "/devices/{device}/hold", tag = "lab", operation_id = "hold_device",
    params(("device" = u32, Path, description = "What the lab calls it", maximum = 4294967295_u64)),
    request_body(content = ref("#/components/schemas/HoldDevice"), content_type = "application/json"),
    responses((status = 204, description = "It is held, and that is recorded"), OfHold))]
pub(super) async fn hold(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
    Json(asked): Json<HoldDevice>,
) -> Result<StatusCode, Refusal> {
    let HoldDevice { by, reason, seconds, id } = asked;
    let by = name_of(&who, by);
    text("reason", &reason)?;
    text("by", &by)?;
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_BYTES_MAX) {
        let said = format!("`id` is a text of 1 to {ID_BYTES_MAX} bytes");
        return Err(Problem::new(422, "bad-hold", said).next("choose another").into());
    }
    may_have(&state, &who, device).await?;
    let since = now();
    let until = seconds.map(|s| since + Duration::from_secs(s.into()));
    let hold = Some(Hold { by, reason, since, until, id });
    set(&state, Input::Hold { device: DeviceId(device), hold }).await
}

/// Keeps a reserved device, because it is used
///
/// A reservation that has ended, or was taken away, is not taken up again.
#[utoipa::path(post, path = "/devices/{device}/hold/renew", tag = "lab", operation_id = "renew_hold",
    params(("device" = u32, Path, description = "What the lab calls it", maximum = 4294967295_u64)),
    request_body(content = ref("#/components/schemas/RenewHold"), content_type = "application/json"),
    responses((status = 204, description = "It is held for so long, and that is recorded"), OfRenew))]
pub(super) async fn renew(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
    Json(RenewHold { id, seconds }): Json<RenewHold>,
) -> Result<StatusCode, Refusal> {
    may_have(&state, &who, device).await?;
    let until = now() + Duration::from_secs(seconds.into());
    set(&state, Input::Reserved(DeviceId(device), id, Reserved::Used(until))).await
}

/// A text about a device that others read.
pub(super) fn text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        let said = format!("`{what}` is a text of 1 to {TEXT_BYTES_MAX} bytes");
        return Err(Problem::new(422, "bad-hold", said).next("say who takes the device, and why").into());
    }
    Ok(())
}

/// Which hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Release {
    /// Only if it is this reservation
    id: Option<String>,
}

/// Gives a device back that was held
///
/// With an `id`, by whoever has made that reservation: where the device is not that one's any more, it stays as it is.
#[utoipa::path(delete, path = "/devices/{device}/hold", tag = "lab", operation_id = "release_device",
    params(("device" = u32, Path, description = "What the lab calls it", maximum = 4294967295_u64), Release),
    responses((status = 204, description = "It is not held any more"), OfRelease))]
pub(super) async fn release(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(device): Path<u32>,
    Query(Release { id }): Query<Release>,
) -> Result<StatusCode, Refusal> {
    may_have(&state, &who, device).await?;
    let device = DeviceId(device);
    let input = match id {
        None => Input::Hold { device, hold: None },
        Some(id) => Input::Reserved(device, id, Reserved::GivenBack),
    };
    set(&state, input).await
}

/// Who does something with a device: the user, or, where users are not known, whoever was named.
pub(super) fn name_of(who: &Who, by: String) -> String {
    if let Who::User { name, .. } = who { name.to_string() } else { by }
}

/// Whether somebody is an operator of the pool that a device is in.
pub(super) async fn may_have(state: &State, who: &Who, device: u32) -> Result<(), Refusal> {
    let Some(access) = &state.access else { return Ok(()) };
    let lab = look(state, who).await?;
    // Of one that is not there the lab says so.
    let Some(device) = lab.devices.into_iter().find(|d| d.id == DeviceId(device)) else { return Ok(()) };
    if access.has_in_pool(who, Role::Operator, None, &device.pool) {
        return Ok(());
    }
    let said = format!("{who} is not `operator` in pool `{}`", device.pool);
    let next = format!("an admin of the lab can grant it: `operator:*@{}`", device.pool);
    Err(Problem::new(403, "missing-role", said).next(next).into())
}

async fn set(state: &State, input: Input) -> Result<StatusCode, Refusal> {
    let done = state.desk.ask(|answer| Ask::Hold(Box::new(input), answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}
