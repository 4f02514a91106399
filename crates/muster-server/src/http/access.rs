//! Users, tokens, agents' identities, the audit log. Who may is decided by the [guard](super::guard).

use super::State;
use super::answer::Refusal;
use super::guard::Said;
use crate::access::{Access, BookError, Who, unavailable};
use crate::desk::now;
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::{Extension, Json};
use muster_api::Problem;
use muster_api::access::{
    AgentInfo, AuditEntry, Certificate, CertificateRequest, NewToken, PutUser, Secret, User,
};
use muster_core::id::AgentId;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// How long a token to join with lasts unless it is said, and how long at most.
const JOIN_LASTS: Duration = Duration::from_secs(3_600);
const JOIN_LASTS_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Longest page of the audit log, and the usual one.
const PAGE_MAX: u32 = 1_000;
const PAGE: u32 = 100;

/// The access of a server that has one.
fn access(state: &State) -> Result<Arc<Access>, Refusal> {
    let none = || {
        Problem::new(
            409,
            "not-initialised",
            "this server is open to its host, and knows no users and no identities",
        )
        .next("`muster server init` sets them up, while the server is stopped")
    };
    Ok(state.access.clone().ok_or_else(none)?)
}

fn book<T>(ask: impl FnOnce() -> Result<T, BookError>) -> Result<T, Refusal> {
    tokio::task::block_in_place(ask).map_err(|e| unavailable(&e).into())
}

fn none(what: &str) -> Refusal {
    Problem::new(404, "no-such-user", format!("there is no {what}"))
        .next("`muster server user list` lists them")
        .into()
}

pub(super) async fn users(extract::State(state): extract::State<State>) -> Result<Json<Vec<User>>, Refusal> {
    let access = access(&state)?;
    Ok(Json(book(|| access.book.list_users())?))
}

pub(super) async fn put_user(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Json(PutUser { grants }): Json<PutUser>,
) -> Result<(Extension<Said>, StatusCode), Refusal> {
    let access = access(&state)?;
    checked(&name)?;
    let said: Vec<String> = grants.iter().map(ToString::to_string).collect();
    book(|| access.book.put_user(&name, &grants, now()))?;
    Ok((Extension(Said(said.join(" "))), StatusCode::NO_CONTENT))
}

pub(super) async fn remove_user(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    let access = access(&state)?;
    if book(|| access.book.remove_user(&name))? { Ok(StatusCode::NO_CONTENT) } else { Err(none("such user")) }
}

pub(super) async fn make_token(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Json(NewToken { seconds, uses: _ }): Json<NewToken>,
) -> Result<(Extension<Said>, Json<Secret>), Refusal> {
    let access = access(&state)?;
    let token = book(|| access.book.new_token(&name, seconds.map(Duration::from_secs), now()))?;
    let token = token.ok_or_else(|| none("such user"))?;
    Ok((Extension(Said(id_of(&token))), Json(Secret { token, ca: access.ca().to_owned() })))
}

pub(super) async fn remove_token(
    extract::State(state): extract::State<State>,
    Path((name, token)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let access = access(&state)?;
    if book(|| access.book.remove_token(&name, &token))? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(none("such token of this user"))
    }
}

pub(super) async fn make_join_token(
    extract::State(state): extract::State<State>,
    Json(NewToken { seconds, uses }): Json<NewToken>,
) -> Result<(Extension<Said>, Json<Secret>), Refusal> {
    let access = access(&state)?;
    let lasts = seconds.map_or(JOIN_LASTS, Duration::from_secs);
    if lasts > JOIN_LASTS_MAX {
        return Err(Problem::new(422, "bad-request", "a token to join with lasts at most 30 days").into());
    }
    let token = book(|| access.book.new_join_token(lasts, uses, now()))?;
    Ok((Extension(Said(id_of(&token))), Json(Secret { token, ca: access.ca().to_owned() })))
}

pub(super) async fn agents(
    extract::State(state): extract::State<State>,
) -> Result<Json<Vec<AgentInfo>>, Refusal> {
    let access = access(&state)?;
    Ok(Json(book(|| access.book.list_agents())?))
}

/// An agent joins.
pub(super) async fn join(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(agent): Path<u64>,
    Json(request): Json<CertificateRequest>,
) -> Result<(Extension<Said>, Json<Certificate>), Refusal> {
    let access = access(&state)?;
    let Who::Joiner(token) = who else {
        return Err(Problem::new(403, "no-join-token", "an agent joins with a token made for that").into());
    };
    let made = tokio::task::block_in_place(|| access.certify(AgentId(agent), &request, Some(&token), now()))?;
    Ok((Extension(Said(request.host)), Json(made)))
}

/// An agent's next certificate.
pub(super) async fn renew(
    extract::State(state): extract::State<State>,
    Path(agent): Path<u64>,
    Json(request): Json<CertificateRequest>,
) -> Result<Json<Certificate>, Refusal> {
    let access = access(&state)?;
    let made = tokio::task::block_in_place(|| access.certify(AgentId(agent), &request, None, now()))?;
    Ok(Json(made))
}

pub(super) async fn revoke(
    extract::State(state): extract::State<State>,
    Path(agent): Path<u64>,
) -> Result<StatusCode, Refusal> {
    let access = access(&state)?;
    if book(|| access.book.revoke_agent(AgentId(agent), now()))? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(404, "no-such-agent", "no agent with this number has joined")
        .next("`muster server agent list` lists them")
        .into())
}

#[derive(Deserialize)]
pub(super) struct Page {
    before: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn audit(
    extract::State(state): extract::State<State>,
    Query(Page { before, limit }): Query<Page>,
) -> Result<Json<Vec<AuditEntry>>, Refusal> {
    let access = access(&state)?;
    let limit = limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    Ok(Json(book(|| access.book.list_audit(before, limit))?))
}

/// The part of a token that is no secret.
fn id_of(token: &str) -> String {
    token.rsplit_once('-').map_or("", |(head, _)| head).to_owned()
}

/// A user's name is seen in paths, tables and logs.
fn checked(name: &str) -> Result<(), Refusal> {
    if muster_api::access::is_user_name(name) {
        return Ok(());
    }
    Err(Problem::new(422, "bad-name", format!("`{}` cannot be the name of a user", name.escape_default()))
        .next("a name has 1 to 64 letters, digits and `.`, `_`, `-`, `@`, and begins with a letter or digit")
        .into())
}
