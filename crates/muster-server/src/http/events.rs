//! The events of a run for everybody: server-sent events, each a line of the documented event stream. They are told from
//! the record and numbered by it, so that `Last-Event-ID` goes on anywhere, also after the server was
//! restarted, without gap or double.

use super::State;
use super::answer::{Refusal, run_id};
use super::codes::problems;
use super::results::find_run;
use super::watching::rings;
use crate::hub::Next;
use axum::body::Body;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use muster_core::event::{Event, Told};
use muster_core::id::RunId;
use muster_formats::report::wire::EventLine;
use muster_store::RunEvents;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashSet;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Rows of the record that are read at once.
pub(super) const ROWS: u32 = 500;
/// News of the moment that are looked at at once.
const NEWS: usize = 10_000;
/// Pieces that wait for a slow reader; no more are made until it takes them.
pub(super) const PIECES: usize = 2;
/// How long a reader may leave a piece before its connection is ended. It comes back and goes on.
const SLOW: Duration = Duration::from_secs(60);

/// Pause before the record of a run that is over is looked at again.
const AGAIN: Duration = Duration::from_millis(100);

/// A server-sent event, its parts by their names in the stream.
#[derive(Serialize, JsonSchema)]
pub(super) struct ServerSentEvent {
    /// What it is; without, an event of the event stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// JSON: an `EventLine` where the event has no other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Its number, to go on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

problems! { OfEvents: "bad-id", "no-such-run"; }

/// What happened in a run, then what happens, until it is over
///
/// Server-sent events. `Last-Event-ID` goes on where a connection was cut; ids are those of the record, so that they
/// hold for as long as the run is kept.
#[utoipa::path(get, path = "/runs/{run}/events", tag = "runs", operation_id = "watch_run",
    params(
        ("run" = String, Path, description = "The run's id, a UUID", format = "uuid"),
        ("last-event-id" = Option<String>, Header, description = "The last id that was seen"),
    ),
    responses(
        (status = 200, description = "Events; the data of each is an `EventLine`",
         body = ref("#/components/schemas/ServerSentEvent"), content_type = "text/event-stream"),
        OfEvents,
    ))]
pub(super) async fn of_run(
    extract::State(state): extract::State<State>,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let run = run_id(&run)?;
    find_run(&state, run).await?;
    let mut watching = Watching::new(state, run, last_event_id(&headers).unwrap_or(0));
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        while let Some(piece) = watching.next().await {
            if !give(&sender, piece).await {
                return;
            }
        }
    });
    Ok(answer(receiver))
}

/// Whether the reader took it in time.
pub(super) async fn give(sender: &mpsc::Sender<Vec<u8>>, piece: Vec<u8>) -> bool {
    matches!(tokio::time::timeout(SLOW, sender.send(piece)).await, Ok(Ok(())))
}

/// Behind which number a reader wants to go on.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

/// The stream of these pieces.
pub(super) fn answer(pieces: mpsc::Receiver<Vec<u8>>) -> Response {
    let pieces = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    let kind = (header::CONTENT_TYPE, "text/event-stream");
    ([kind, (header::CACHE_CONTROL, "no-store")], Body::from_stream(pieces)).into_response()
}

/// Somebody who watches a run.
struct Watching {
    state: State,
    run: RunId,
    events: Option<RunEvents>,
    /// The last news of the moment that was looked at.
    news: u64,
    /// Attempts whose end was told last: that they started is no news any more.
    ended: HashSet<(Arc<str>, Arc<str>, u16)>,
}

impl Watching {
    fn new(state: State, run: RunId, after: u64) -> Self {
        // The numbers of news begin far above this.
        let news = match state.hub.next(run, 1, 0) {
            Next::Record(last) | Next::News(_, last) => last,
            Next::Over(_) | Next::Wait(_) => 1,
        };
        Self { state, run, events: Some(RunEvents::new(run, after)), news, ended: HashSet::new() }
    }

    /// The next piece; `None` at the end of the connection.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut events = self.events.take()?;
            // Looked at before the record, so that nothing that comes in between is slept through.
            let (started, bell) = self.started();
            let read = self.state.read(move |store| {
                let told = store.list_events(&mut events, ROWS)?;
                Ok((events, told))
            });
            // Who is cut here goes on where it was.
            let (events, (told, more)) = read.await.ok()?;
            let mut piece = Vec::new();
            for told in started {
                let is_over = matches!(&told.event, Event::AttemptStarted { test, item, attempt, .. }
                    if self.ended.contains(&(Arc::clone(test), Arc::clone(item), *attempt)));
                if !is_over {
                    line(&mut piece, None, &told);
                }
            }
            self.ended.clear();
            for (number, told) in &told {
                line(&mut piece, Some(*number), told);
                if let Event::AttemptEnded { test, item, attempt, .. } = &told.event {
                    self.ended.insert((Arc::clone(test), Arc::clone(item), *attempt));
                }
            }
            if let Some(stopped) = events.over() {
                let stopped = serde_json::json!({ "stopped": stopped });
                write!(piece, "event: over\ndata: {stopped}\n\n").expect("memory takes all");
                return Some(piece);
            }
            self.events = Some(events);
            if !piece.is_empty() {
                return Some(piece);
            }
            let Some(bell) = bell else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if !more && !rings(bell, &self.state.ended).await? {
                // A comment: the connection lives.
                return Some(b":\n\n".to_vec());
            }
        }
    }

    /// Attempts that have started since it was last asked, what it waits for, and the bell that rings at the next news.
    fn started(&mut self) -> (Vec<Arc<Told>>, Option<watch::Receiver<u64>>) {
        let mut started = Vec::new();
        loop {
            match self.state.hub.next(self.run, self.news, NEWS) {
                Next::News(news, last) => {
                    self.news = last;
                    let of_the_moment = |t: &Arc<Told>| {
                        matches!(t.event, Event::AttemptStarted { .. } | Event::Waiting { .. })
                    };
                    started.extend(news.into_iter().filter(of_the_moment));
                }
                Next::Record(last) => self.news = last,
                Next::Wait(bell) => return (started, Some(bell)),
                // The record says so too, or will in a moment.
                Next::Over(_) => return (started, None),
            }
        }
    }
}

/// A line of the event stream as an event; without a number nobody goes on from it.
fn line(piece: &mut Vec<u8>, number: Option<u64>, told: &Told) {
    let line = serde_json::to_string(&EventLine::from(told)).expect("an event has a form in JSON");
    match number {
        Some(number) => write!(piece, "id: {number}\ndata: {line}\n\n"),
        None => write!(piece, "data: {line}\n\n"),
    }
    .expect("memory takes all");
}
