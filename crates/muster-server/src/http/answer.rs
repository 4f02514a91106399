//! Answers and refusals in the form they go out, and questions as they come in.

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use muster_api::{CBOR, Problem, from_cbor, to_cbor};
use muster_core::digest::Digest;
use muster_core::id::RunId;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A problem as an answer.
#[derive(Debug)]
pub(super) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).expect("a problem has a form in JSON");
        (status, [(header::CONTENT_TYPE, Problem::MEDIA_TYPE)], body).into_response()
    }
}

/// A message in CBOR.
pub(super) struct Cbor<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Cbor<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, CBOR)], to_cbor(&self.0)).into_response()
    }
}

/// Reads a message.
pub(super) fn read<T: DeserializeOwned>(what: &str, body: &Bytes) -> Result<T, Refusal> {
    from_cbor(body).map_err(|why| {
        Problem::new(400, "not-understood", format!("the body is not {what}: {why}"))
            .next("is the other side a version that this one knows?")
            .into()
    })
}

/// Reads a run's id out of a path: 32 hexadecimal digits, with or without the dashes of a UUID.
pub(super) fn run_id(text: &str) -> Result<RunId, Refusal> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let number = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten();
    let no = || {
        Problem::new(400, "bad-id", format!("`{text}` is not the id of a run")).next("a run's id is a UUID")
    };
    Ok(RunId(number.ok_or_else(no)?))
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|e| Problem::new(400, "bad-digest", format!("`{text}` names no blob: {e}")).into())
}
