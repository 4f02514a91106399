//! The paths of the interface, and what holds for all of them.

mod agents;
mod answer;
mod blobs;
mod devices;
mod records;
mod runs;
mod watching;

use crate::blobs::Blobs;
use crate::desk::{Ask, Desk, down};
use crate::hub::Hub;
use answer::Refusal;
use axum::extract::{self, DefaultBodyLimit, Request};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, head, post, put};
use axum::{Json, Router};
use muster_api::{About, PREFIX, Problem};
use muster_core::view::LabView;
use muster_store::{Sqlite, StoreError};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Longest message that is held in memory.
// Limit: a plan of a hundred thousand items is some 20 MB, an agent's spool at most 32.
const MESSAGE_BYTES_MAX: usize = 128 << 20;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) desk: Desk,
    pub(crate) hub: Arc<Hub>,
    pub(crate) blobs: Blobs,
    pub(crate) reader: Arc<Mutex<Sqlite>>,
    /// Where the records are.
    pub(crate) records: PathBuf,
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

/// All paths.
pub(crate) fn router(state: State) -> Router {
    let api = Router::new()
        .route("/", get(about))
        .route("/agents/{agent}/exchange", post(agents::exchange))
        .route("/agents/{agent}/sessions/{session}", axum::routing::delete(agents::goodbye))
        .route("/runs/{run}", put(runs::submit))
        .route("/runs/{run}/stop", post(runs::stop))
        .route("/runs/{run}/items/{item}/why", get(runs::why))
        .route("/runs/{run}/watch", get(watching::watch))
        .route("/runs/{run}/events", get(watching::events))
        .route("/runs/{run}/outputs/{*place}", put(runs::put_output))
        .route("/lab", get(lab))
        .route("/devices/{device}/hold", put(devices::hold).delete(devices::release))
        .route("/records", post(records::ask))
        .route("/blobs/{blob}", head(blobs::has).get(blobs::get).put(blobs::put));
    Router::new()
        .nest(PREFIX, api)
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(|| async {
            Refusal::from(
                Problem::new(404, "no-such-path", "there is nothing at this path")
                    .next(format!("the interface begins at {PREFIX}")),
            )
        })
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .layer(middleware::from_fn(only_from_here))
        .with_state(state)
}

/// The lab's devices and what waits for them.
async fn lab(extract::State(state): extract::State<State>) -> Result<Json<LabView>, Refusal> {
    Ok(Json(state.desk.ask(Ask::View).await.unwrap_or_else(|| Err(agents::gone()))?))
}

async fn about() -> Json<About> {
    Json(About { service: "muster".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Serves connections until the server ends.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut ended: watch::Receiver<bool>) {
    let end = async move {
        // Its sender is gone only when the server is.
        let _gone = ended.wait_for(|ended| *ended).await;
    };
    // It ends with an error only if the listener does, and then there is nobody left to tell.
    let _ended = axum::serve(listener, router).with_graceful_shutdown(end).await;
}

/// The server listens on loopback, where the user's browser is too: a page from elsewhere must not ask it
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
