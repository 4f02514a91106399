//! The paths of the interface, and what holds for all of them.

mod access;
mod agents;
mod answer;
mod artifacts;
mod blobs;
mod codes;
mod devices;
mod events;
mod guard;
mod health;
mod keep;
mod lab_events;
mod live;
mod logs;
mod openapi;
mod packages;
mod page;
mod peers;
mod range;
mod records;
mod register;
mod reopen;
mod results;
mod runs;
mod standing;
mod unread;
mod watching;

use crate::access::{Access, Who};
use crate::blobs::Blobs;
use crate::desk::{Desk, down, now};
use crate::hub::Hub;
use crate::live::{Live, PIECE_BYTES_MAX};
use crate::packages::Packages;
use crate::peers::Peers;
use answer::{Cbor, Refusal};
use axum::extract::{self, DefaultBodyLimit, Request};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
pub(crate) use keep::locked;
use muster_api::{About, PREFIX, Problem};
use muster_core::view::LabView;
use muster_store::{Sqlite, StoreError};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

/// Longest message that is held in memory.
// Limit: a plan of a hundred thousand items is some 20 MB, an agent's spool at most 32.
const MESSAGE_BYTES_MAX: usize = 128 << 20;

/// Longest body of a few words in JSON.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) desk: Desk,
    pub(crate) hub: Arc<Hub>,
    /// What running attempts print.
    pub(crate) live: Arc<Live>,
    pub(crate) blobs: Blobs,
    /// The lab's own store of packages.
    pub(crate) packages: Packages,
    /// Agents that give others what they have.
    pub(crate) peers: Arc<Peers>,
    pub(crate) reader: Arc<Mutex<Sqlite>>,
    /// Where the records are.
    pub(crate) records: PathBuf,
    /// Who may ask for what; `None`: everybody of this host may ask for everything.
    pub(crate) access: Option<Arc<Access>>,
    /// Whether the server is ending.
    pub(crate) ended: watch::Receiver<bool>,
}

impl State {
    /// Reads the records, off the threads that serve connections.
    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Sqlite) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let reader = Arc::clone(&self.reader);
        let read = tokio::task::spawn_blocking(move || {
            ask(&mut reader.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match read.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(StoreError::UnknownRun { .. })) => {
                Err(Problem::new(404, "no-such-run", "the server has no such run").into())
            }
            Ok(Err(e)) => Err(down(&e).into()),
            Err(_) => Err(Problem::new(500, "bug", "the question made the server fail").into()),
        }
    }
}

/// The paths, those for people and programs with their description.
fn paths() -> OpenApiRouter<State> {
    let api = OpenApiRouter::new()
        .routes(routes!(about))
        .routes(routes!(openapi::openapi))
        .routes(routes!(results::runs))
        .routes(routes!(results::run, runs::submit))
        .routes(routes!(runs::stop).layer(small()))
        .routes(routes!(runs::move_run).layer(small()))
        .routes(routes!(keep::lock).layer(small()))
        .routes(routes!(keep::unlock).layer(small()))
        .routes(routes!(keep::comment))
        .routes(routes!(keep::set))
        .routes(routes!(keep::remove).layer(small()))
        .routes(routes!(keep::kill))
        .routes(routes!(results::results))
        .routes(routes!(results::item))
        .routes(routes!(results::attempts))
        .routes(routes!(logs::log))
        .routes(routes!(artifacts::artifact))
        .routes(routes!(runs::why))
        .routes(routes!(events::of_run))
        .routes(routes!(lab_events::of_lab))
        .routes(routes!(results::history))
        .routes(routes!(devices::list))
        .routes(routes!(devices::one))
        .routes(routes!(devices::hold, devices::release).layer(small()))
        .routes(routes!(devices::renew).layer(small()))
        .routes(routes!(devices::queue))
        .routes(routes!(access::agents))
        .routes(routes!(access::revoke))
        .routes(routes!(access::make_join_token))
        .routes(routes!(access::users))
        .routes(routes!(access::put_user, access::remove_user))
        .routes(routes!(access::make_token))
        .routes(routes!(access::remove_token))
        .routes(routes!(access::audit))
        .routes(routes!(packages::root_file))
        .routes(routes!(packages::manifest, packages::put_manifest))
        .routes(routes!(packages::map))
        .routes(routes!(packages::pack, packages::put_pack))
        .routes(routes!(packages::patch))
        .routes(routes!(packages::lacking))
        .routes(routes!(packages::publish, packages::remove).layer(small()))
        .routes(routes!(packages::prune).layer(small()))
        .routes(routes!(packages::collect).layer(small()))
        .routes(routes!(blobs::has, blobs::get, blobs::put));
    // Between Muster's own parts.
    let own = OpenApiRouter::new()
        .route("/agents/{agent}/exchange", post(agents::exchange))
        .route("/agents/{agent}/sessions/{session}", delete(agents::goodbye))
        .route("/agents/{agent}/lends", put(peers::lends).layer(small()))
        .route("/agents/{agent}/lenders", post(peers::lenders).layer(small()))
        .route("/agents/{agent}/identity", put(access::join).post(access::renew))
        .route("/runs/{run}/reopen", post(reopen::reopen))
        .route("/runs/{run}/watch", get(watching::watch))
        .route("/runs/{run}/outputs/{*place}", put(runs::put_output))
        .route("/runs/{run}/items/{item}/attempts/{attempt}/live", get(live::get))
        .route("/live/{unit}/{part}", put(live::put).layer(DefaultBodyLimit::max(PIECE_BYTES_MAX)))
        .route("/lab", get(lab))
        .route("/devices/announce", post(register::announce).layer(small()))
        .route("/lab/added", get(register::added).post(register::add).layer(small()))
        .route("/lab/adopted", post(register::adopt).layer(small()))
        .route("/lab/removed", post(register::remove).layer(small()))
        .route("/clock", get(|| async { Json(now()) }))
        .route("/lab/devices/{device}", get(health::device))
        .route("/lab/devices/{device}/check", post(health::check))
        .route("/lab/devices/{device}/quarantine", put(health::quarantine))
        .route("/lab/devices/{device}/quarantine/release", post(health::release))
        .route("/records", post(records::ask));
    OpenApiRouter::new().nest(PREFIX, api.merge(own))
}

/// For paths that take a few words.
fn small() -> DefaultBodyLimit {
    DefaultBodyLimit::max(WORDS_BYTES_MAX)
}

/// All paths, and what holds for every one.
pub(crate) fn router(state: State) -> Router {
    let (router, _described) = paths().split_for_parts();
    let is_open = state.access.is_none();
    let router = router
        .route_layer(middleware::from_fn_with_state(state.clone(), guard::guard))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(|| async {
            Refusal::from(
                Problem::new(404, "no-such-path", "there is nothing at this path")
                    .next(format!("the interface begins at {PREFIX}; {PREFIX}/openapi.json describes it")),
            )
        })
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX));
    let router = if is_open { router.layer(middleware::from_fn(only_from_here)) } else { router };
    router
        .layer(middleware::from_fn(answer::finish))
        .layer(middleware::from_fn(unread::close))
        .with_state(state)
}

/// The lab's devices and what waits for them, for the command line.
async fn lab(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
) -> Result<Cbor<LabView>, Refusal> {
    Ok(Cbor(devices::look(&state, &who).await?))
}

/// Who answers
#[utoipa::path(get, path = "/", tag = "server", operation_id = "about", responses(
    (status = 200, description = "A Muster server", body = ref("#/components/schemas/About")),
))]
async fn about() -> Json<About> {
    Json(About { service: "muster".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// A server that is open to its host listens on loopback, where the user's browser is too: a page from elsewhere must not ask it
/// for anything, neither directly (it says where it is from) nor by a name of its own that leads here.
async fn only_from_here(request: Request, next: Next) -> Response {
    if is_from_here(request.headers()) {
        return next.run(request).await;
    }
    let problem =
        Problem::new(403, "not-from-here", "this server answers only those who ask it by a loopback address")
            .next("ask for http://127.0.0.1:PORT, and not from a web page");
    Refusal::from(problem).into_response()
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_here = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_here && !headers.contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_here_and_no_page_is() {
        let ask = |host: &str, origin: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if origin {
                headers.insert(header::ORIGIN, "http://127.0.0.1:1".parse().unwrap());
            }
            is_from_here(&headers)
        };
        for host in ["localhost", "localhost:7117", "127.0.0.1:7117", "[::1]:7117", "127.9.9.9"] {
            assert!(ask(host, false), "{host}");
            assert!(!ask(host, true), "{host} from a page");
        }
        for host in
            ["", "evil.example:7117", "10.0.0.1:7117", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            assert!(!ask(host, false), "{host}");
        }
        assert!(!is_from_here(&HeaderMap::new()));
    }
}
