//! Users, tokens, agents' identities, the audit log. Who may is decided by the [guard](super::guard).

use super::State;
use super::answer::Refusal;
use super::codes::problems;
use super::guard::Audited;
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
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::IntoParams;

/// How long a token to join with lasts unless it is said, and how long at most.
const JOIN_LASTS: Duration = Duration::from_secs(3_600);
const JOIN_LASTS_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Longest page of the audit log, and the usual one.
const PAGE_MAX: u32 = 1_000;
const PAGE: u32 = 100;

/// Users.
#[derive(Serialize, JsonSchema)]
pub(super) struct Users(Vec<User>);

/// Agents that have joined.
#[derive(Serialize, JsonSchema)]
pub(super) struct Agents(Vec<AgentInfo>);

/// What people did.
#[derive(Serialize, JsonSchema)]
pub(super) struct AuditEntries(Vec<AuditEntry>);

problems! {
    OfAccess: "not-initialised";
    OfUser: "not-initialised", "bad-body", "bad-name", "too-long";
    OfNoUser: "not-initialised", "no-such-user";
    OfToken: "not-initialised", "no-such-user", "bad-body", "too-long";
    OfJoinToken: "not-initialised", "bad-body", "bad-request", "too-long";
    OfAgent: "not-initialised", "no-such-agent", "bad-id";
    OfAudit: "not-initialised", "bad-query";
}

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

/// The users of the server, what they may do, and their tokens without what is secret of them
#[utoipa::path(get, path = "/users", tag = "access", operation_id = "list_users", responses(
    (status = 200, description = "All of them", body = ref("#/components/schemas/Users")),
    OfAccess,
))]
pub(super) async fn users(extract::State(state): extract::State<State>) -> Result<Json<Users>, Refusal> {
    let access = access(&state)?;
    Ok(Json(Users(book(|| access.book.list_users())?)))
}

/// Makes a user, or says anew what it may do
#[utoipa::path(put, path = "/users/{user}", tag = "access", operation_id = "put_user",
    params(("user" = String, Path, description = "Its name")),
    request_body(content = ref("#/components/schemas/PutUser"), content_type = "application/json"),
    responses((status = 204, description = "It is so from the next request on"), OfUser))]
pub(super) async fn put_user(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Json(PutUser { grants }): Json<PutUser>,
) -> Result<(Extension<Audited>, StatusCode), Refusal> {
    let access = access(&state)?;
    checked(&name)?;
    let said: Vec<String> = grants.iter().map(ToString::to_string).collect();
    book(|| access.book.put_user(&name, &grants, now()))?;
    Ok((Extension(Audited(said.join(" "))), StatusCode::NO_CONTENT))
}

/// Removes a user with its tokens; its runs go on
#[utoipa::path(delete, path = "/users/{user}", tag = "access", operation_id = "remove_user",
    params(("user" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is gone"), OfNoUser))]
pub(super) async fn remove_user(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    let access = access(&state)?;
    if book(|| access.book.remove_user(&name))? { Ok(StatusCode::NO_CONTENT) } else { Err(none("such user")) }
}

/// Makes a token of a user
///
/// It is told this once.
#[utoipa::path(post, path = "/users/{user}/tokens", tag = "access", operation_id = "make_token",
    params(("user" = String, Path, description = "Its name")),
    request_body(content = ref("#/components/schemas/NewToken"), content_type = "application/json"),
    responses(
        (status = 200, description = "The token", body = ref("#/components/schemas/Secret")),
        OfToken,
    ))]
pub(super) async fn make_token(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Json(NewToken { seconds, uses: _ }): Json<NewToken>,
) -> Result<(Extension<Audited>, Json<Secret>), Refusal> {
    let access = access(&state)?;
    let token = book(|| access.book.new_token(&name, seconds.map(Duration::from_secs), now()))?;
    let token = token.ok_or_else(|| none("such user"))?;
    Ok((Extension(Audited(id_of(&token))), Json(Secret { token, ca: access.ca().to_owned() })))
}

/// Removes a token of a user
#[utoipa::path(delete, path = "/users/{user}/tokens/{token}", tag = "access", operation_id = "remove_token",
    params(("user" = String, Path, description = "Its name"), ("token" = String, Path, description = "The part of it that is no secret")),
    responses((status = 204, description = "It is gone"), OfNoUser))]
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

/// Makes a token that agents join with
///
/// It is told this once.
#[utoipa::path(post, path = "/join-tokens", tag = "access", operation_id = "make_join_token",
    request_body(content = ref("#/components/schemas/NewToken"), content_type = "application/json"),
    responses(
        (status = 200, description = "The token", body = ref("#/components/schemas/Secret")),
        OfJoinToken,
    ))]
pub(super) async fn make_join_token(
    extract::State(state): extract::State<State>,
    Json(NewToken { seconds, uses }): Json<NewToken>,
) -> Result<(Extension<Audited>, Json<Secret>), Refusal> {
    let access = access(&state)?;
    let lasts = seconds.map_or(JOIN_LASTS, Duration::from_secs);
    if lasts > JOIN_LASTS_MAX {
        return Err(Problem::new(422, "bad-request", "a token to join with lasts at most 30 days").into());
    }
    let token = book(|| access.book.new_join_token(lasts, uses, now()))?;
    Ok((Extension(Audited(id_of(&token))), Json(Secret { token, ca: access.ca().to_owned() })))
}

/// The agents that have joined
#[utoipa::path(get, path = "/agents", tag = "access", operation_id = "list_agents", responses(
    (status = 200, description = "All of them", body = ref("#/components/schemas/Agents")),
    OfAccess,
))]
pub(super) async fn agents(extract::State(state): extract::State<State>) -> Result<Json<Agents>, Refusal> {
    let access = access(&state)?;
    Ok(Json(Agents(book(|| access.book.list_agents())?)))
}

/// An agent joins.
pub(super) async fn join(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(agent): Path<u64>,
    Json(request): Json<CertificateRequest>,
) -> Result<(Extension<Audited>, Json<Certificate>), Refusal> {
    let access = access(&state)?;
    let Who::Joiner(token) = who else {
        return Err(Problem::new(403, "no-join-token", "an agent joins with a token made for that").into());
    };
    let made = tokio::task::block_in_place(|| access.certify(AgentId(agent), &request, Some(&token), now()))?;
    Ok((Extension(Audited(request.host)), Json(made)))
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

/// Takes the identity of an agent away: it may not speak any more
#[utoipa::path(delete, path = "/agents/{agent}/identity", tag = "access", operation_id = "revoke_agent",
    params(("agent" = u64, Path, description = "The agent's number")),
    responses((status = 204, description = "It may not speak any more"), OfAgent))]
pub(super) async fn revoke(
    extract::State(state): extract::State<State>,
    Path(agent): Path<u64>,
) -> Result<StatusCode, Refusal> {
    let access = access(&state)?;
    if book(|| access.book.revoke_agent(AgentId(agent), now()))? {
        state.peers.forget(AgentId(agent));
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(404, "no-such-agent", "no agent with this number has joined")
        .next("`muster server agent list` lists them")
        .into())
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Only entries before this number
    #[param(minimum = 0, maximum = 18446744073709551615_u64)]
    before: Option<u64>,
    /// Most entries of a page; more than 1000 are 1000
    #[param(minimum = 0, maximum = 4294967295_u64, default = 100)]
    limit: Option<u32>,
}

/// What people did, newest first
#[utoipa::path(get, path = "/audit", tag = "access", operation_id = "list_audit", params(Page), responses(
    (status = 200, description = "A page of entries", body = ref("#/components/schemas/AuditEntries")),
    OfAudit,
))]
pub(super) async fn audit(
    extract::State(state): extract::State<State>,
    Query(Page { before, limit }): Query<Page>,
) -> Result<Json<AuditEntries>, Refusal> {
    let access = access(&state)?;
    let limit = limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    Ok(Json(AuditEntries(book(|| access.book.list_audit(before, limit))?)))
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
