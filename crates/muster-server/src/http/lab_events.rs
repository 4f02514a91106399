//! What happens in the lab as a whole, as server-sent events: told from a durable log and numbered by it, so
//! that `Last-Event-ID` goes on anywhere, also after the server was restarted, without gap or double.
//!
//! Of runs, somebody is told those of the areas that they may look at.

use super::State;
use super::answer::Refusal;
use super::codes::problems;
use super::events::{PIECES, ROWS, answer, give, last_event_id};
use super::watching::rings;
use crate::access::Who;
use crate::desk::LAB;
use axum::Extension;
use axum::extract::{self, Query};
use axum::http::HeaderMap;
use axum::response::Response;
use muster_api::access::Role;
use muster_core::event::LabEvent;
use muster_formats::report::wire::LabEventLine;
use muster_store::{Happened, Store as _};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::io::Write as _;
use tokio::sync::mpsc;
use utoipa::IntoParams;

problems! { OfLabEvents: "bad-query"; }

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Only events behind this number, or `now`: only what happens from now on. `last-event-id` comes before it
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^(now|[0-9]{1,18})$")]
    after: After,
    /// Whether to go on with what happens when everything recorded was told
    #[serde(default = "yes")]
    #[param(value_type = Option<bool>, default = true)]
    follow: bool,
}

fn yes() -> bool {
    true
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
enum After {
    /// Behind this number.
    Number(u64),
    /// Behind all that has happened.
    Now,
}

impl Default for After {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "now" => Ok(Self::Now),
            number if number.len() <= 18 && number.bytes().all(|b| b.is_ascii_digit()) => number
                .parse()
                .map(Self::Number)
                .map_err(|_| D::Error::custom("`after` is the number of an event, or `now`")),
            _ => Err(D::Error::custom(format!("`{text}` is neither the number of an event nor `now`"))),
        }
    }
}

/// What happened in the lab, then what happens
///
/// Server-sent events: runs are created and end, agents come and go, devices appear, are held, released, quarantined.
/// They begin with the oldest that is kept, behind `after`, or, after `Last-Event-ID`, where a connection was cut. The
/// last 100,000 are kept; where others were asked for, an event `gap` comes first.
#[utoipa::path(get, path = "/events", tag = "lab", operation_id = "watch_lab",
    params(Wanted, ("last-event-id" = Option<String>, Header, description = "The last id that was seen")),
    responses(
        (status = 200, description = "Events; the data of each is a `LabEventLine`",
         body = ref("#/components/schemas/ServerSentEvent"), content_type = "text/event-stream"),
        OfLabEvents,
    ))]
pub(super) async fn of_lab(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Query(Wanted { after, follow }): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let after = last_event_id(&headers).map_or(after, After::Number);
    let last = state.read(|store| store.find_last_happened(LAB)).await?;
    // What a reader sees first tells it that the connection stands.
    let mut piece = b":\n\n".to_vec();
    let mut after = match after {
        After::Number(number) if number <= last => number,
        After::Number(_) => {
            // Of another life of the records: there is nothing that it could go on from.
            say_gap(&mut piece, None);
            0
        }
        After::Now => {
            // From here it goes on, also if it is cut off before anything happens.
            write!(piece, "id: {last}\n\n").expect("memory takes all");
            last
        }
    };
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        while give(&sender, std::mem::take(&mut piece)).await {
            match next(&state, &who, after, follow).await {
                Some((next, number)) => (piece, after) = (next, number),
                None => return,
            }
        }
    });
    Ok(answer(receiver))
}

/// What comes behind this number, and the number of the last; `None` at the end of the connection.
async fn next(state: &State, who: &Who, mut after: u64, follow: bool) -> Option<(Vec<u8>, u64)> {
    loop {
        // Looked at before the record, so that nothing that comes in between is slept through.
        let bell = state.hub.lab_bell();
        let read = state.read(move |store| store.list_happened(LAB, after, ROWS)).await.ok()?;
        let (Some(first), Some(last)) = (read.first(), read.last()) else {
            if !follow {
                return None;
            }
            match rings(bell, &state.ended).await? {
                true => continue,
                false => return Some((b":\n\n".to_vec(), after)),
            }
        };
        let mut piece = Vec::new();
        if after > 0 && first.number > after + 1 {
            say_gap(&mut piece, Some(first.number - after - 1));
        }
        for happened in read.iter().filter(|h| may_see(who, &h.event)) {
            let Happened { number, at, event } = happened;
            let line = serde_json::to_string(&LabEventLine::new(*number, *at, event))
                .expect("an event has a form in JSON");
            write!(piece, "id: {number}\ndata: {line}\n\n").expect("memory takes all");
        }
        after = last.number;
        if !piece.is_empty() {
            return Some((piece, after));
        }
    }
}

/// Some that were asked for are not kept: so many, if that is known.
fn say_gap(piece: &mut Vec<u8>, missing: Option<u64>) {
    let gap = serde_json::json!({ "missing": missing });
    write!(piece, "event: gap\ndata: {gap}\n\n").expect("memory takes all");
}

fn may_see(who: &Who, event: &LabEvent) -> bool {
    match event {
        LabEvent::RunCreated { address, .. }
        | LabEvent::RunReopened { address, .. }
        | LabEvent::RunEnded { address, .. } => who.has(Role::Viewer, address.split('/').next()),
        LabEvent::AgentJoined { .. }
        | LabEvent::AgentLost { .. }
        | LabEvent::DeviceAppeared { .. }
        | LabEvent::DeviceGone { .. }
        | LabEvent::DeviceHeld { .. }
        | LabEvent::DeviceHealth { .. }
        | LabEvent::DeviceReleased { .. } => true,
    }
}
