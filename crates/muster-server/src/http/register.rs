//! Devices that are added to the lab, or say themselves that they are there. What comes in is hostile.

use super::State;
use super::agents::gone;
use super::answer::Refusal;
use super::devices::{name_of, text};
use crate::access::Who;
use crate::desk::{Ask, now};
use axum::extract::{self, Query};
use axum::http::StatusCode;
use axum::{Extension, Json};
use muster_api::{Adopt, Announce, Problem};
use muster_core::change::Registration;
use muster_core::exchange::DeviceOffer;
use muster_core::lab::Registering;
use muster_formats::area::agent_file;
use serde::Deserialize;

/// Labels of one device.
// Limit: what comes in may come from anybody.
const LABELS_MAX: usize = 64;

/// A device says that it is there.
pub(super) async fn announce(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Json(asked): Json<Announce>,
) -> Result<StatusCode, Refusal> {
    let by = match &who {
        // It says by what it heard of the device, and cannot say that it is somebody else.
        Who::Agent(agent) => format!("{agent}: {}", asked.by),
        who => name_of(who, asked.by),
    };
    let registration = checked(Announce { by, ..asked }, false)?;
    take(&state, Registering::Add(Box::new(registration))).await
}

/// A person adds a device to a host's.
pub(super) async fn add(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Json(asked): Json<Announce>,
) -> Result<StatusCode, Refusal> {
    let asked = Announce { by: name_of(&who, asked.by), ..asked };
    text("by", &asked.by)?;
    text("host", &asked.host)?;
    let registration = checked(asked, true)?;
    take(&state, Registering::Add(Box::new(registration))).await
}

/// A proposed device is to be used.
pub(super) async fn adopt(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Json(asked): Json<Adopt>,
) -> Result<StatusCode, Refusal> {
    let Adopt { host, name, to, by } = asked;
    let by = name_of(&who, by);
    text("by", &by)?;
    text("to", &to)?;
    take(&state, Registering::Adopt { host, name, to, by }).await
}

/// A device is forgotten.
pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    Json(asked): Json<Adopt>,
) -> Result<StatusCode, Refusal> {
    let Adopt { host, name, .. } = asked;
    take(&state, Registering::Remove { host, name }).await
}

#[derive(Deserialize)]
pub(super) struct OfHost {
    host: String,
}

/// What the agent of a host is to have beside its own devices.
pub(super) async fn added(
    extract::State(state): extract::State<State>,
    Query(OfHost { host }): Query<OfHost>,
) -> Result<Json<Vec<DeviceOffer>>, Refusal> {
    let added = state.desk.ask(|answer| Ask::AddedTo(host, answer)).await;
    Ok(Json(added.unwrap_or_else(|| Err(gone()))?))
}

fn checked(asked: Announce, adopted: bool) -> Result<Registration, Refusal> {
    let Announce { name, address, host, labels, by } = asked;
    let bad = |why: String| Refusal::from(Problem::new(422, "bad-device", why).next("mend it and ask again"));
    agent_file::device_name(&name).map_err(bad)?;
    if labels.len() > LABELS_MAX {
        return Err(bad(format!("a device has at most {LABELS_MAX} labels")));
    }
    for (key, value) in &labels {
        agent_file::label(key, value).map_err(bad)?;
    }
    agent_file::label("address", &address).map_err(bad)?;
    if address.trim().is_empty() {
        return Err(bad("a device needs an address".to_owned()));
    }
    for text in [&host, &by] {
        if text.len() > 256 || text.contains(char::is_control) {
            return Err(bad("the name of a host or person is too long, or cannot be printed".to_owned()));
        }
    }
    let adopted = adopted.then(|| by.clone());
    Ok(Registration { host, name, address, labels, by, since: now(), adopted })
}

async fn take(state: &State, what: Registering) -> Result<StatusCode, Refusal> {
    let done = state.desk.ask(|answer| Ask::Register(what, answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}
