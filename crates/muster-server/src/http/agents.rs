//! What agents say.

use super::State;
use super::answer::{Cbor, Refusal, read};
use crate::desk::Ask;
use axum::body::Bytes;
use axum::extract::{self, Path};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use muster_api::{Problem, WANTED};
use muster_core::exchange::Exchange;
use muster_core::id::{AgentId, SessionId};
use std::time::Duration;

/// How long an exchange is held open.
const HOLD: Duration = Duration::from_secs(25);

/// An exchange: answered with orders when there are any, with nothing after a while.
pub(super) async fn exchange(
    extract::State(state): extract::State<State>,
    Path(agent): Path<u64>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let exchange: Exchange = read("an exchange", &body)?;
    if exchange.agent != AgentId(agent) {
        let said = format!("the path names agent {agent}, the exchange agent {}", exchange.agent.0);
        return Err(Problem::new(400, "not-understood", said).into());
    }
    let mut ended = state.ended.clone();
    let asked = state.desk.ask(|answer| Ask::Exchange(Box::new(exchange), answer));
    let answered = tokio::select! {
        answered = tokio::time::timeout(HOLD, asked) => answered.ok().flatten(),
        _ending = ended.wait_for(|ended| *ended) => None,
    };
    let mut response = match answered {
        Some(orders) => Cbor(orders?).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    // An agent speaks every two seconds, so it hears of this soon enough.
    let wanted: Vec<String> =
        state.live.wanted_of(AgentId(agent)).iter().map(|unit| unit.0.to_string()).collect();
    if let Ok(list) = HeaderValue::from_str(&wanted.join(",")) {
        response.headers_mut().insert(WANTED, list);
    }
    Ok(response)
}

/// A session is over.
pub(super) async fn goodbye(
    extract::State(state): extract::State<State>,
    Path((agent, session)): Path<(u64, u64)>,
) -> Result<StatusCode, Refusal> {
    let over = state.desk.ask(|answer| Ask::Goodbye(AgentId(agent), SessionId(session), answer)).await;
    over.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The lab has dropped the question: it is being restored.
pub(super) fn gone() -> Problem {
    Problem::new(503, "record-unavailable", "the lab is being restored from its record")
        .next("ask again in a second")
}
