//! Answers and refusals in the form they go out, and questions as they come in.

use super::State;
use super::codes::CODES;
use crate::access::Who;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use muster_api::{CBOR, Problem, from_cbor, to_cbor};
use muster_core::digest::Digest;
use muster_core::id::RunId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

/// A problem as an answer. What it looks like is decided where every answer passes: [`finish`].
#[derive(Debug)]
pub(super) struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl Refusal {
    pub(super) fn into_problem(self) -> Problem {
        self.0
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// The header with the id of a request.
const REQUEST_ID: &str = "x-request-id";
/// Longest id of a request that is taken over from whoever asks.
const REQUEST_ID_MAX: usize = 64;
/// Longest text that is taken out of an error that is not ours.
const REMARK_BYTES_MAX: usize = 4 << 10;

/// Gives every answer the id of its request, and every one that says no the form of a problem document:
/// also where the framework said no, or a handler panicked.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let bug = || {
        let problem = Problem::new(500, "bug", "the question made the server fail");
        Refusal::from(problem.next("report it with what the server wrote; it goes on with other questions"))
    };
    let mut response = answered.unwrap_or_else(|_| bug().into_response());
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let (mut parts, body) = response.into_parts();
        let mut problem = match parts.extensions.remove::<Problem>() {
            Some(problem) => problem,
            None => of_framework(status, body).await,
        };
        debug_assert!(CODES.iter().any(|(code, ..)| *code == problem.code), "{} is not listed", problem.code);
        problem.request = Some(id.as_str().into());
        let body = serde_json::to_vec(&problem).expect("a problem has a form in JSON");
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
        response = Response::from_parts(parts, Body::from(body));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The id that whoever asks has chosen, if it can be one, else the next.
fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let is_one = |id: &&str| {
        (1..=REQUEST_ID_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_one) {
        Some(id) => id.to_owned(),
        None => format!("{:x}-{}", crate::desk::now().0, COUNT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// What the framework's own refusals are called.
async fn of_framework(status: StatusCode, body: Body) -> Problem {
    let text = axum::body::to_bytes(body, REMARK_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (code, next) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "the header `allow` lists those it knows"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-long", ""),
        StatusCode::NOT_FOUND => ("no-such-path", ""),
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => ("bad-body", DESCRIBED),
        StatusCode::BAD_REQUEST if text.contains("query string") => ("bad-query", DESCRIBED),
        StatusCode::BAD_REQUEST if text.contains("URL") => ("bad-id", DESCRIBED),
        StatusCode::BAD_REQUEST => ("bad-body", DESCRIBED),
        _ => ("refused", ""),
    };
    let reason = status.canonical_reason().unwrap_or("it was refused");
    let detail = if text.is_empty() { reason.to_owned() } else { text };
    Problem::new(status.as_u16(), code, detail).next(next)
}

const DESCRIBED: &str = "`/api/v1/openapi.json` says what each path takes";

/// A message in CBOR.
pub(super) struct Cbor<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Cbor<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, CBOR)], to_cbor(&self.0)).into_response()
    }
}

/// The run that a path names.
pub(super) struct OfRun(pub(super) RunId);

impl FromRequestParts<State> for OfRun {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Refusal> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = named.map_err(|e| Problem::new(400, "bad-id", e.body_text()))?;
        run_id(&text).map(Self)
    }
}

/// A message that programs send as JSON and Muster's own parts as CBOR.
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<State> for Told<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &State) -> Result<Self, Refusal> {
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, state).await.map_err(|e| of_body(&e))?;
        read_either(&headers, &body).map(Self)
    }
}

/// A body that could not be had to its end.
fn of_body(error: &BytesRejection) -> Refusal {
    let code = if error.status() == StatusCode::PAYLOAD_TOO_LARGE { "too-long" } else { "bad-body" };
    Problem::new(error.status().as_u16(), code, error.body_text()).into()
}

/// A message in which a person says something.
pub(super) trait Words: DeserializeOwned {
    /// Who says it, and what.
    fn words(&mut self) -> (&mut String, &str);
    /// The code of one that nobody says, or that is too long.
    const CODE: &'static str = "bad-note";
}

/// Longest text of a person.
pub(super) const TEXT_BYTES_MAX: usize = 1_000;

/// Such a message, with who says it: whom the server knows, else whoever is named.
pub(super) struct Said<T>(pub(super) T);

impl<T: Words> FromRequest<State> for Said<T> {
    type Rejection = Refusal;

    async fn from_request(mut request: Request, state: &State) -> Result<Self, Refusal> {
        let who = request.extensions_mut().remove::<Who>().expect("the guard has found out who asks");
        let Told(mut said) = Told::<T>::from_request(request, state).await?;
        let (by, text) = said.words();
        if by.trim().is_empty() || by.len() > TEXT_BYTES_MAX || text.len() > TEXT_BYTES_MAX {
            let why = format!(
                "`by` is a text of 1 to {TEXT_BYTES_MAX} bytes, and what is said has at most as many"
            );
            return Err(Problem::new(422, T::CODE, why).next("say who does this, and why").into());
        }
        if let Who::User { name, .. } = who {
            name.as_ref().clone_into(by);
        }
        Ok(Self(said))
    }
}

/// Reads a message.
pub(super) fn read<T: DeserializeOwned>(what: &str, body: &Bytes) -> Result<T, Refusal> {
    from_cbor(body).map_err(|why| not_understood(what, &why))
}

fn read_either<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Refusal> {
    let what = "what this path takes";
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        CBOR => read(what, body),
        "application/json" => {
            serde_json::from_slice(body).map_err(|why| not_understood(what, &why.to_string()))
        }
        _ => Err(Problem::new(415, "bad-body", "the body comes as `application/json`")
            .next("say so in the header `content-type`")
            .into()),
    }
}

fn not_understood(what: &str, why: &str) -> Refusal {
    Problem::new(400, "not-understood", format!("the body is not {what}: {why}"))
        .next("is the other side a version that this one knows?")
        .into()
}

/// Reads a run's id out of a path: 32 hexadecimal digits, with or without the dashes of a UUID.
pub(super) fn run_id(text: &str) -> Result<RunId, Refusal> {
    parse_run(text).ok_or_else(|| {
        Problem::new(400, "bad-id", format!("`{text}` is not the id of a run"))
            .next("a run's id is a UUID")
            .into()
    })
}

pub(super) fn parse_run(text: &str) -> Option<RunId> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let is_one = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_one.then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(RunId)
}

pub(super) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|e| {
        Problem::new(400, "bad-digest", format!("`{text}` names no blob: {e}"))
            .next("a blob is named by its BLAKE3 digest, as `b3sum` prints it")
            .into()
    })
}
