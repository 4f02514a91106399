//! Who may ask for which path: every request passes here, so that no handler can forget to look.
//!
//! ```text
//! request ─► rule of its path ─► long body? ─► who is it? ─► too much? ─► may it? ─► (audit) ─► handler ─► (audit)
//! ```
//!
//! What has no rule is for admins alone. Where the area is known only from the body, or an answer is about
//! many areas, the handler asks [`Who`] once more.

use super::State;
use super::answer::{Refusal, run_id};
use super::results::find_run;
use super::standing::{STREAMS, while_known};
use crate::access::{Access, BookError, Buckets, Who, unavailable};
use crate::desk::{Ask, now};
use crate::listen::Peer;
use axum::body::{Body, HttpBody as _};
use axum::extract::{self, MatchedPath, Query, RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use muster_api::access::Role;
use muster_api::{PREFIX, Problem};
use muster_core::change::RunSpec;
use muster_core::id::{AgentId, DeviceId};
use muster_store::Store as _;
use serde::Deserialize;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What somebody must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Anybody who is known.
    Known,
    /// Somebody with this role, in any area.
    Has(Role),
    /// Somebody with this role in all areas.
    Everywhere(Role),
    /// Somebody with this role in the area that is asked about, or in all.
    InAskedArea(Role),
    /// Somebody with this role in the area of the run that the path names.
    InArea(Role),
    /// Whose run it is, or an operator of its area.
    OwnRun,
    /// The agent that the path names.
    Itself,
    /// Any agent.
    Agent,
    /// An agent, or somebody with this role.
    AgentOr(Role),
    /// Somebody who may join.
    Joiner,
}

/// What holds for a path.
struct Rule {
    method: Method,
    path: &'static str,
    need: Need,
    /// Longest body; `None`: the handler counts.
    bytes_max: Option<u64>,
    /// What it is called in the audit log; empty: it is not there.
    action: &'static str,
}

const fn rule(
    method: Method,
    path: &'static str,
    need: Need,
    bytes_max: Option<u64>,
    action: &'static str,
) -> Rule {
    Rule { method, path, need, bytes_max, action }
}

const SMALL: Option<u64> = Some(64 << 10);
// Limit: a plan of a hundred thousand items is some 20 MB, an agent's spool at most 32.
const LARGE: Option<u64> = Some(super::MESSAGE_BYTES_MAX as u64);
const PIECE: Option<u64> = Some(crate::live::PIECE_BYTES_MAX as u64);
const ANY: Option<u64> = None;

const RULES: &[Rule] = &[
    rule(Method::GET, "", Need::Known, SMALL, ""),
    rule(Method::POST, "/agents/{agent}/exchange", Need::Itself, LARGE, ""),
    rule(Method::DELETE, "/agents/{agent}/sessions/{session}", Need::Itself, SMALL, ""),
    rule(Method::PUT, "/agents/{agent}/lends", Need::Itself, SMALL, ""),
    rule(Method::POST, "/agents/{agent}/lenders", Need::Itself, SMALL, ""),
    rule(Method::PUT, "/agents/{agent}/identity", Need::Joiner, SMALL, "agent.join"),
    rule(Method::POST, "/agents/{agent}/identity", Need::Itself, SMALL, ""),
    rule(Method::DELETE, "/agents/{agent}/identity", Need::Has(Role::Admin), SMALL, "agent.revoke"),
    rule(Method::GET, "/agents", Need::Has(Role::Admin), SMALL, ""),
    rule(Method::POST, "/join-tokens", Need::Has(Role::Admin), SMALL, "join-token.make"),
    rule(Method::GET, "/users", Need::Has(Role::Admin), SMALL, ""),
    rule(Method::PUT, "/users/{user}", Need::Has(Role::Admin), SMALL, "user.put"),
    rule(Method::DELETE, "/users/{user}", Need::Has(Role::Admin), SMALL, "user.remove"),
    rule(Method::POST, "/users/{user}/tokens", Need::Has(Role::Admin), SMALL, "token.make"),
    rule(Method::DELETE, "/users/{user}/tokens/{token}", Need::Has(Role::Admin), SMALL, "token.remove"),
    rule(Method::GET, "/audit", Need::Has(Role::Admin), SMALL, ""),
    rule(Method::PUT, "/runs/{run}", Need::Has(Role::Submitter), LARGE, "run.submit"),
    rule(Method::POST, "/runs/{run}/stop", Need::OwnRun, SMALL, "run.stop"),
    rule(Method::POST, "/runs/{run}/reopen", Need::OwnRun, LARGE, "run.reopen"),
    rule(Method::POST, "/runs/{run}/lock", Need::OwnRun, SMALL, "run.lock"),
    rule(Method::POST, "/runs/{run}/unlock", Need::OwnRun, SMALL, "run.unlock"),
    rule(Method::POST, "/runs/{run}/comment", Need::InArea(Role::Submitter), LARGE, "run.comment"),
    rule(Method::POST, "/runs/{run}/set", Need::OwnRun, LARGE, "run.set"),
    rule(Method::POST, "/runs/{run}/kill", Need::OwnRun, LARGE, "run.kill"),
    rule(Method::POST, "/runs/{run}/remove", Need::OwnRun, SMALL, "run.remove"),
    // Whose turn it is concerns everybody, so it is not for those whose run it is.
    rule(Method::POST, "/runs/{run}/move", Need::InArea(Role::Operator), SMALL, "run.move"),
    rule(Method::GET, "/openapi.json", Need::Known, SMALL, ""),
    rule(Method::GET, "/runs", Need::InAskedArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/history", Need::InAskedArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/runs/{run}", Need::InArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/runs/{run}/results", Need::InArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/runs/{run}/items/{item}", Need::InArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/runs/{run}/items/{item}/attempts", Need::InArea(Role::Viewer), SMALL, ""),
    rule(
        Method::GET,
        "/runs/{run}/items/{item}/attempts/{attempt}/log",
        Need::InArea(Role::Viewer),
        SMALL,
        "",
    ),
    rule(
        Method::GET,
        "/runs/{run}/items/{item}/attempts/{attempt}/artifacts/{artifact}",
        Need::InArea(Role::Viewer),
        SMALL,
        "",
    ),
    rule(Method::GET, "/runs/{run}/items/{item}/why", Need::InArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/runs/{run}/watch", Need::InArea(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/runs/{run}/events", Need::InArea(Role::Viewer), SMALL, ""),
    rule(
        Method::GET,
        "/runs/{run}/items/{item}/attempts/{attempt}/live",
        Need::InArea(Role::Viewer),
        SMALL,
        "",
    ),
    rule(Method::PUT, "/live/{unit}/{part}", Need::Agent, PIECE, ""),
    rule(Method::PUT, "/runs/{run}/outputs/{*place}", Need::Agent, ANY, ""),
    rule(Method::GET, "/lab", Need::Has(Role::Viewer), SMALL, ""),
    // Of runs, a viewer is told those of its areas.
    rule(Method::GET, "/events", Need::Has(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/queue", Need::Has(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/devices", Need::Has(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/devices/{device}", Need::Has(Role::Viewer), SMALL, ""),
    rule(Method::PUT, "/devices/{device}/hold", Need::Has(Role::Operator), SMALL, "device.hold"),
    rule(Method::DELETE, "/devices/{device}/hold", Need::Has(Role::Operator), SMALL, "device.release"),
    rule(Method::POST, "/devices/{device}/hold/renew", Need::Has(Role::Operator), SMALL, ""),
    rule(Method::POST, "/devices/announce", Need::AgentOr(Role::Operator), SMALL, ""),
    rule(Method::GET, "/lab/added", Need::AgentOr(Role::Viewer), SMALL, ""),
    rule(Method::POST, "/lab/added", Need::Has(Role::Operator), SMALL, "device.add"),
    rule(Method::POST, "/lab/adopted", Need::Has(Role::Operator), SMALL, "device.adopt"),
    rule(Method::POST, "/lab/removed", Need::Has(Role::Operator), SMALL, "device.remove"),
    rule(Method::GET, "/clock", Need::Known, SMALL, ""),
    rule(Method::GET, "/lab/devices/{device}", Need::Has(Role::Viewer), SMALL, ""),
    rule(Method::POST, "/lab/devices/{device}/check", Need::Has(Role::Operator), SMALL, "device.check"),
    rule(
        Method::PUT,
        "/lab/devices/{device}/quarantine",
        Need::Has(Role::Operator),
        SMALL,
        "device.quarantine",
    ),
    rule(
        Method::POST,
        "/lab/devices/{device}/quarantine/release",
        Need::Has(Role::Operator),
        SMALL,
        "device.end-quarantine",
    ),
    rule(Method::POST, "/records", Need::Has(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/packages/{file}", Need::AgentOr(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/packages/manifests/{manifest}", Need::AgentOr(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/packages/maps/{manifest}", Need::AgentOr(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/packages/packs/{pack}", Need::AgentOr(Role::Viewer), SMALL, ""),
    rule(Method::GET, "/packages/patches/{patch}", Need::AgentOr(Role::Viewer), SMALL, ""),
    // Until it is published, a package is for the run that asks for it, as a blob is.
    rule(Method::POST, "/packages/lacking", Need::Has(Role::Submitter), LARGE, ""),
    rule(Method::PUT, "/packages/packs/{pack}", Need::Has(Role::Submitter), ANY, ""),
    rule(Method::PUT, "/packages/manifests/{manifest}", Need::Has(Role::Submitter), LARGE, ""),
    // All areas are given what is published.
    rule(
        Method::PUT,
        "/packages/published/{manifest}",
        Need::Everywhere(Role::Submitter),
        SMALL,
        "package.publish",
    ),
    rule(
        Method::DELETE,
        "/packages/published/{manifest}",
        Need::Everywhere(Role::Operator),
        SMALL,
        "package.remove",
    ),
    rule(Method::POST, "/packages/prune", Need::Everywhere(Role::Operator), SMALL, "package.prune"),
    rule(Method::POST, "/packages/collect", Need::Everywhere(Role::Operator), SMALL, "package.gc"),
    rule(Method::HEAD, "/blobs/{blob}", Need::AgentOr(Role::Submitter), SMALL, ""),
    rule(Method::GET, "/blobs/{blob}", Need::AgentOr(Role::Submitter), SMALL, ""),
    // Agents bring what attempts have left.
    rule(Method::PUT, "/blobs/{blob}", Need::AgentOr(Role::Submitter), ANY, ""),
];

/// What holds for what nobody has made a rule for. What is looked at leaves no trace in the audit log.
fn unruled(method: &Method) -> Rule {
    let action = if matches!(*method, Method::GET | Method::HEAD) { "" } else { "other" };
    rule(method.clone(), "", Need::Has(Role::Admin), LARGE, action)
}

/// The area that is asked about.
#[derive(Deserialize)]
struct Asked {
    area: Option<String>,
}

/// Told by a handler: on what it was, or what came of it, for the audit log.
#[derive(Clone)]
pub(super) struct Audited(pub(super) String);

/// Lets through who may.
pub(super) async fn guard(
    extract::State(state): extract::State<State>,
    matched: MatchedPath,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let path = matched.as_str().strip_prefix(PREFIX).unwrap_or_default().trim_end_matches('/').to_owned();
    let method = request.method();
    let ruled = RULES.iter().find(|r| r.method == *method && r.path == path);
    let other = unruled(method);
    let rule = ruled.unwrap_or(&other);
    if let Some(max) = rule.bytes_max
        && let Err(problem) = limit_body(&mut request, max)
    {
        return Refusal::from(problem).into_response();
    }
    let Some(access) = state.access.clone() else {
        // It is open to this host.
        request.extensions_mut().insert(Who::Anybody);
        return next.run(request).await;
    };
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        let problem = Problem::new(500, "bug", "nobody is at the other end of this request");
        return Refusal::from(problem).into_response();
    };
    let from = peer.address.ip();
    let token = bearer(request.headers()).map(str::to_owned);
    let who = match identify(&access, token.clone(), &peer).await {
        Ok(who) => who,
        Err(refused) => return *refused,
    };
    let param = |name: &str| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let area = Query::<Asked>::try_from_uri(request.uri()).ok().and_then(|Query(Asked { area })| area);
    let allowed = allow(&state, rule, &who, &param, area.as_deref()).await;
    if rule.action.is_empty() || (allowed.is_err() && matches!(who, Who::Stranger)) {
        return match allowed {
            Ok(()) => {
                request.extensions_mut().insert(who.clone());
                let response = next.run(request).await;
                match token.filter(|_| STREAMS.contains(&path.as_str())) {
                    Some(token) => while_known(response, access, token, who),
                    None => response,
                }
            }
            Err(problem) => Refusal::from(problem).into_response(),
        };
    }
    let object = object(&state, &param).await;
    let begun = write(|| access.book.audit(now(), &who.to_string(), &from.to_string(), rule.action, &object));
    let seq = match begun {
        Ok(seq) => seq,
        Err(problem) => return Refusal::from(problem).into_response(),
    };
    // On a task of its own: whoever asked may go away, and what came of it is recorded all the same.
    let acted = tokio::spawn(async move {
        let response = match allowed {
            Ok(()) => {
                request.extensions_mut().insert(who);
                next.run(request).await
            }
            Err(problem) => Refusal::from(problem).into_response(),
        };
        let said = match (response.extensions().get::<Problem>(), response.extensions().get::<Audited>()) {
            (Some(problem), _) => problem.code.clone(),
            (None, Some(Audited(said))) => said.clone(),
            (None, None) => String::new(),
        };
        match write(|| access.book.audit_outcome(seq, response.status().as_u16(), &said)) {
            Ok(()) => response,
            Err(problem) => Refusal::from(problem).into_response(),
        }
    });
    acted.await.unwrap_or_else(|_| {
        Refusal::from(Problem::new(500, "bug", "the question made the server fail")).into_response()
    })
}

/// Holds a body to its length, told or not.
fn limit_body(request: &mut Request, max: u64) -> Result<(), Problem> {
    if request.body().size_hint().lower() > max {
        let said = format!("a request to this path has a body of at most {max} bytes");
        return Err(Problem::new(413, "too-long", said));
    }
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    *request.body_mut() = Body::new(http_body_util::Limited::new(body, max));
    Ok(())
}

/// Who has this token now.
pub(super) fn who_has(access: &Access, token: &str) -> Option<Who> {
    access.of_token(token, now()).ok()
}

/// Who asks, if that is not too much.
async fn identify(access: &Access, token: Option<String>, peer: &Peer) -> Result<Who, Box<Response>> {
    let (at, from) = (now(), peer.address.ip());
    let refuse = |problem: Problem| Box::new(Refusal::from(problem).into_response());
    let token = token.as_deref();
    let known = tokio::task::block_in_place(|| match (token, peer.certificate) {
        (Some(token), _) => access.of_token(token, at),
        (None, Some(digest)) => access.of_certificate(&digest, at),
        (None, None) => Ok(Who::Stranger),
    });
    let refused = match known {
        Ok(Who::User { name, grants }) => {
            take(&access.users, name.to_string())?;
            return Ok(Who::User { name, grants });
        }
        Ok(Who::Agent(agent)) => {
            take(&access.agents, agent)?;
            return Ok(Who::Agent(agent));
        }
        Ok(who) => {
            take(&access.strangers, from)?;
            return Ok(who);
        }
        Err(problem) if problem.status == 401 => problem,
        Err(problem) => return Err(refuse(problem)),
    };
    // Who guesses waits, and is heard of in the audit log; not more often than is bearable.
    take(&access.strangers, from)?;
    let name = token.map_or("a certificate", |t| t.rsplit_once('-').map_or("", |(head, _)| head));
    let seq =
        write(|| access.book.audit(at, "a stranger", &from.to_string(), "sign-in", name)).map_err(refuse)?;
    write(|| access.book.audit_outcome(seq, refused.status, &refused.code)).map_err(refuse)?;
    tokio::time::sleep(SIGN_IN_FAILED).await;
    Err(refuse(refused))
}

/// How long the answer to a failed sign-in takes.
const SIGN_IN_FAILED: Duration = Duration::from_millis(300);

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn take<K: Hash + Eq>(buckets: &Buckets<K>, who: K) -> Result<(), Box<Response>> {
    let Err(wait) = buckets.take(who, Instant::now()) else { return Ok(()) };
    let secs = wait.as_secs() + 1;
    let problem =
        Problem::new(429, "too-many", "this was asked too often").next(format!("try again in {secs} s"));
    let mut response = Refusal::from(problem).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    Err(Box::new(response))
}

/// Whether somebody may.
async fn allow<'p>(
    state: &State,
    rule: &Rule,
    who: &Who,
    param: &impl Fn(&str) -> Option<&'p str>,
    area: Option<&str>,
) -> Result<(), Problem> {
    if *who == Who::Stranger {
        return Err(Problem::new(401, "no-credentials", "this server answers only those it knows").next(
            "ask with a token file: `--token-file FILE` or MUSTER_TOKEN_FILE; an admin of the lab makes one with `muster server user token NAME`",
        ));
    }
    match rule.need {
        Need::Known => Ok(()),
        Need::Has(role) => who.need(role, None),
        Need::Everywhere(role) if who.has_everywhere(role) => Ok(()),
        Need::Everywhere(role) => {
            who.need(role, None)?;
            let role = role.word();
            let said = format!("{who} is `{role}` in some areas alone, and this concerns all");
            Err(Problem::new(403, "missing-role", said)
                .next(format!("an admin of the lab can grant `{role}` in all areas")))
        }
        Need::InAskedArea(role) => match area {
            _ if who.has_everywhere(role) => Ok(()),
            Some(area) => who.need(role, Some(area)),
            None => {
                who.need(role, None)?;
                let said =
                    format!("{who} is `{}` in some areas alone, and all were asked about", role.word());
                Err(Problem::new(403, "missing-role", said).next("name one: `?area=NAME`"))
            }
        },
        Need::InArea(role) => {
            who.need(role, None)?;
            if who.has_everywhere(role) {
                return Ok(());
            }
            let run = run_id(param("run").unwrap_or_default()).map_err(Refusal::into_problem)?;
            let area = find_run(state, run).await.map_err(Refusal::into_problem)?.area;
            who.need(role, Some(&area))
        }
        Need::OwnRun => {
            if who.has_everywhere(Role::Operator) {
                return Ok(());
            }
            let spec = run_spec(state, param("run")).await?;
            match who {
                Who::User { name, .. } if spec.placement.user == **name => {
                    who.need(Role::Submitter, Some(&spec.area))
                }
                _ => who.need(Role::Operator, Some(&spec.area)),
            }
        }
        Need::Itself => {
            let named = param("agent").and_then(|a| a.parse().ok()).map(AgentId);
            match who {
                Who::Agent(agent) if Some(*agent) == named => Ok(()),
                _ => {
                    Err(Problem::new(403, "not-this-agent", format!("{who} cannot speak for another agent"))
                        .next("an agent joins with a token of its own: `muster server join-token`"))
                }
            }
        }
        Need::Agent if matches!(who, Who::Agent(_)) => Ok(()),
        Need::AgentOr(_) if matches!(who, Who::Agent(_)) => Ok(()),
        Need::Agent => Err(Problem::new(403, "not-an-agent", format!("{who} is no agent"))),
        Need::AgentOr(role) => who.need(role, None),
        Need::Joiner if matches!(who, Who::Joiner(_)) => Ok(()),
        Need::Joiner => Err(Problem::new(403, "no-join-token", "an agent joins with a token made for that")
            .next("`muster server join-token` makes one")),
    }
}

/// What was asked for with the run that a path names.
async fn run_spec(state: &State, run: Option<&str>) -> Result<Arc<RunSpec>, Problem> {
    let run = run_id(run.unwrap_or_default()).map_err(Refusal::into_problem)?;
    let read = state.read(move |store| Ok(store.load_run_snapshot(run)?.record.spec.clone()));
    read.await.map_err(Refusal::into_problem)
}

/// On what something is done, as people know it.
async fn object<'p>(state: &State, param: &impl Fn(&str) -> Option<&'p str>) -> String {
    if let Some(device) = param("device") {
        let known = state.desk.ask(Ask::View).await;
        let id = device.parse().ok().map(DeviceId);
        let known =
            known.and_then(Result::ok).and_then(|lab| lab.devices.into_iter().find(|d| Some(d.id) == id));
        return known.map_or_else(|| format!("device {device}"), |d| format!("{}@{}", d.name, d.host));
    }
    if let Some(run) = param("run") {
        let Ok(id) = run_id(run) else { return run.to_owned() };
        return match find_run(state, id).await {
            Ok(view) => format!("{}/{}", view.area, view.number),
            Err(_) => format!("run {run}"),
        };
    }
    if let Some(agent) = param("agent") {
        return format!("agent-{agent}");
    }
    if let Some(manifest) = param("manifest") {
        return format!("package {manifest}");
    }
    let names: Vec<&str> = ["user", "token"].into_iter().filter_map(param).collect();
    names.join(" ")
}

/// Writes to the book, off the threads that serve connections.
fn write<T>(write: impl FnOnce() -> Result<T, BookError>) -> Result<T, Problem> {
    tokio::task::block_in_place(write).map_err(|e| unavailable(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_rule_is_for_admins() {
        assert_eq!(unruled(&Method::GET).need, Need::Has(Role::Admin));
        assert_eq!(unruled(&Method::DELETE).action, "other");
    }

    #[test]
    fn a_token_is_read_from_the_header_that_is_for_it() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer x-1").as_deref(), Some("x-1"));
        assert_eq!(of("bearer x-1").as_deref(), Some("x-1"));
        for bad in ["", "Bearer", "Basic x-1", "x-1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_that_changes_something_for_people_is_audited() {
        for rule in RULES {
            let people = !matches!(rule.need, Need::Itself | Need::Agent | Need::AgentOr(_));
            // Bytes that nobody is given unless something else is asked for, too.
            let bytes = [
                "/records",
                "/blobs/{blob}",
                "/packages/lacking",
                "/packages/packs/{pack}",
                "/packages/manifests/{manifest}",
            ];
            // Uses of a reservation, every few seconds; who made it is known.
            let use_of = rule.path == "/devices/{device}/hold/renew";
            let changes =
                !matches!(rule.method, Method::GET | Method::HEAD) && !bytes.contains(&rule.path) && !use_of;
            assert_eq!(people && changes, !rule.action.is_empty(), "{} {}", rule.method, rule.path);
        }
    }
}
