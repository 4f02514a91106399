//! The client of a server: one call for each thing that can be asked. Blocks.

mod access;
mod devices;
mod exactly;
mod keep;
mod packages;

use crate::connect::agent;
use crate::records::Question;
use crate::trust::{Proof, Trust, distrust};
use crate::{
    About, Accepted, CBOR, LabEvents, MoveRun, NEXT_PART, PREFIX, Problem, Reopen, Reopened, Seen, Stop,
    Submit, WANTED, Why, from_cbor, to_cbor,
};
use exactly::Exactly;
use muster_core::digest::Digest;
use muster_core::exchange::{Exchange, Orders};
use muster_core::id::{AgentId, ItemIx, RunId, SessionId, UnitId};
use muster_core::time::Time;
use muster_core::view::LabView;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use ureq::http::{Response, StatusCode, header};
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder, SendBody};

/// How long it may take to answer what it need not wait for.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long it may take to write down what was sent.
const TAKEN_MAX: Duration = Duration::from_secs(600);
/// How long it may hold an exchange open; it answers sooner, by its own limit.
const EXCHANGE_MAX: Duration = Duration::from_secs(45);
/// Longest answer that is held in memory.
// Limit: a view of a hundred thousand items with their attempts is some 50 MB.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How often a server that says "too many" is asked again, and how long it is waited for at most each time.
const AGAIN_MAX: u32 = 8;
const AFTER_MAX: Duration = Duration::from_secs(30);

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no connection, or it broke: whether the question arrived is not known.
    #[error("the server at {server} cannot be reached: {source}")]
    Unreachable {
        /// Where it was looked for.
        server: String,
        /// What happened.
        source: io::Error,
    },
    /// One of the two does not believe that the other is who it says.
    #[error("{server} cannot be trusted, or does not trust this program: {why}")]
    Untrusted {
        /// Who was asked.
        server: String,
        /// What is wrong.
        why: String,
    },
    /// The server says no.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// What came is no answer.
    #[error("what {server} answers cannot be understood: {why}")]
    NotUnderstood {
        /// Who answered.
        server: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ClientError {
    /// Whether it may be different at the next try: the network, a body that was cut on its way, or a server
    /// that is busy or coming up.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 429 | 500..),
            Self::Untrusted { .. } | Self::NotUnderstood { .. } => false,
        }
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Unreachable { .. } | Self::Untrusted { .. } | Self::NotUnderstood { .. } => None,
        }
    }
}

/// What a server says to an exchange.
#[derive(Clone, Debug)]
pub struct Heard {
    /// `None`: there was nothing to say for as long as the server holds an exchange open.
    pub orders: Option<Orders>,
    /// Units of the agent whose outputs somebody looks at.
    pub wanted: Vec<UnitId>,
}

/// A piece of what a running attempt prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePiece {
    /// Its bytes; frames may be cut anywhere.
    pub frames: Vec<u8>,
    /// Whether the process behind this one has printed something.
    pub has_next: bool,
}

/// A server, as seen by those who ask it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Shared by all clones, so that all are known by a renewed identity.
    http: Arc<Mutex<Agent>>,
    /// `http://HOST:PORT` or `https://HOST:PORT`, without a slash at its end.
    server: String,
}

impl Client {
    /// For the server at `http://HOST:PORT` or `https://HOST:PORT`. Asks nothing yet.
    ///
    /// # Errors
    /// The address is none that this client can ask, or not with this trust: nobody's token is sent in the
    /// clear, and a server that cannot be known is not asked.
    pub fn new(server: &str, trust: &Trust) -> Result<Self, String> {
        let server = server.trim_end_matches('/');
        let place = server.strip_prefix("http://").or_else(|| server.strip_prefix("https://"));
        let good = place.is_some_and(|p| !p.is_empty() && !p.contains(['/', '?', '#', '@']));
        if !good {
            return Err(format!(
                "`{server}` is not an address of the form `http://HOST:PORT` or `https://HOST:PORT`"
            ));
        }
        let is_open = server.starts_with("http://");
        if is_open && !matches!(trust.proof, Proof::None) {
            return Err(format!(
                "a secret is not sent to `{server}`, where anybody could read it on its way"
            ));
        }
        if !is_open && trust.ca.is_none() {
            return Err(format!("nothing says by what `{server}` is to be known"));
        }
        Ok(Self { http: Arc::new(Mutex::new(agent(trust)?)), server: server.to_owned() })
    }

    /// From now on it is known by this, in all its clones.
    ///
    /// # Errors
    /// The trust cannot be used.
    pub fn set_trust(&self, trust: &Trust) -> Result<(), String> {
        *self.http.lock().unwrap_or_else(PoisonError::into_inner) = agent(trust)?;
        Ok(())
    }

    fn http(&self) -> Agent {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it asks.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Who answers.
    ///
    /// # Errors
    /// [`ClientError`]; nobody, or no Muster server.
    pub fn about(&self) -> Result<About, ClientError> {
        let sent =
            self.call(|http| http.get(self.url("")).config().timeout_global(Some(ANSWER_MAX)).build().call());
        let mut answer = self.heard(sent)?;
        let not_understood = |why: String| ClientError::NotUnderstood { server: self.server.clone(), why };
        let text = answer.body_mut().read_to_string().map_err(|e| self.broken(e))?;
        serde_json::from_str(&text).map_err(|e| not_understood(format!("this is no Muster server ({e})")))
    }

    /// An agent's exchange.
    ///
    /// # Errors
    /// [`ClientError`]; the exchange may have been heard all the same.
    pub fn exchange(&self, exchange: &Exchange) -> Result<Heard, ClientError> {
        let url = self.url(&format!("/agents/{}/exchange", exchange.agent.0));
        let sent = self.call(|http| {
            let request = http.post(&url).header("content-type", CBOR).config();
            request.timeout_recv_response(Some(EXCHANGE_MAX)).build().send(&to_cbor(exchange)[..])
        });
        let answer = self.heard(sent)?;
        let wanted = answer.headers().get(WANTED).and_then(|list| list.to_str().ok()).unwrap_or_default();
        let wanted = wanted.split(',').filter_map(|unit| unit.parse().ok().map(UnitId)).collect();
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(Heard { orders: None, wanted });
        }
        Ok(Heard { orders: Some(self.read(answer)?), wanted })
    }

    /// Brings a piece of what a unit's process of this number prints, from this byte on. `Some`: the piece that the server
    /// needs next begins there.
    ///
    /// # Errors
    /// [`ClientError`]; nobody may look at it any more.
    pub fn put_live(
        &self,
        unit: UnitId,
        part: u16,
        from: u64,
        piece: &[u8],
    ) -> Result<Option<u64>, ClientError> {
        let url = self.url(&format!("/live/{}/{part}?from={from}", unit.0));
        let sent =
            self.call(|http| http.put(&url).config().timeout_global(Some(ANSWER_MAX)).build().send(piece));
        match self.heard(sent) {
            Ok(_) => Ok(None),
            Err(ClientError::Refused(problem)) if problem.code == "other-piece" => {
                Ok(Some(problem.next.parse().unwrap_or(0)))
            }
            Err(e) => Err(e),
        }
    }

    /// What a running attempt's process of this number has printed, as frames, from this byte on. The server waits for a
    /// moment where there is nothing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn live(
        &self,
        run: RunId,
        item: ItemIx,
        attempt: u16,
        part: u16,
        from: u64,
    ) -> Result<LivePiece, ClientError> {
        let url =
            self.run_url(run, &format!("/items/{}/attempts/{attempt}/live?part={part}&from={from}", item.0));
        let sent = self.call(|http| http.get(&url).config().timeout_global(Some(ANSWER_MAX)).build().call());
        let mut answer = self.heard(sent)?;
        let has_next = answer.headers().get(NEXT_PART).is_some_and(|next| next == "true");
        let frames = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(LivePiece { frames: frames.map_err(|e| self.broken(e))?, has_next })
    }

    /// A session of an agent is over, and nothing it was given runs any more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn say_goodbye(&self, agent: AgentId, session: SessionId) -> Result<(), ClientError> {
        let url = self.url(&format!("/agents/{}/sessions/{}", agent.0, session.0));
        let sent =
            self.call(|http| http.delete(&url).config().timeout_global(Some(ANSWER_MAX)).build().call());
        self.heard(sent).map(drop)
    }

    /// Asks for a run under this id. Asking again with the same id gives the same answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn submit(&self, run: RunId, submit: &Submit) -> Result<Accepted, ClientError> {
        let sent = self.call(|http| {
            let request = http.put(self.run_url(run, "")).header("content-type", CBOR).config();
            request.timeout_recv_response(Some(ANSWER_MAX)).build().send(&to_cbor(submit)[..])
        });
        self.read(self.heard(sent)?)
    }

    /// Asks that a run that is over go on. Asking again with the same request gives the same answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn reopen(&self, run: RunId, reopen: &Reopen) -> Result<Reopened, ClientError> {
        let url = self.run_url(run, "/reopen");
        let sent = self.call(|http| {
            let request = http.post(&url).header("content-type", CBOR).config();
            request.timeout_recv_response(Some(ANSWER_MAX)).build().send(&to_cbor(reopen)[..])
        });
        self.read(self.heard(sent)?)
    }

    /// Asks that nothing more of a run be started.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop(&self, run: RunId, stop: &Stop) -> Result<(), ClientError> {
        let sent = self.call(|http| {
            let request = http.post(self.run_url(run, "/stop")).header("content-type", CBOR).config();
            request.timeout_global(Some(ANSWER_MAX)).build().send(&to_cbor(stop)[..])
        });
        self.heard(sent).map(drop)
    }

    /// The lab's devices and what waits for them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn lab(&self) -> Result<LabView, ClientError> {
        let sent = self
            .call(|http| http.get(self.url("/lab")).config().timeout_global(Some(ANSWER_MAX)).build().call());
        self.read(self.heard(sent)?)
    }

    /// Why an item is not running, or that it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn why(&self, run: RunId, item: ItemIx) -> Result<Why, ClientError> {
        let url = self.run_url(run, &format!("/items/{}/why", item.0));
        let sent = self.call(|http| http.get(&url).config().timeout_global(Some(ANSWER_MAX)).build().call());
        self.read_json(self.heard(sent)?)
    }

    /// Changes a run's place in the queue.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn move_run(&self, run: RunId, to: &MoveRun) -> Result<(), ClientError> {
        let body = serde_json::to_vec(to).expect("a move has a form in JSON");
        let url = self.run_url(run, "/move");
        let sent = self.call(|http| {
            let request = http.post(&url).header("content-type", "application/json");
            request.config().timeout_global(Some(ANSWER_MAX)).build().send(&body[..])
        });
        self.heard(sent).map(drop)
    }

    /// The server's clock.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn clock(&self) -> Result<Time, ClientError> {
        self.get_json("/clock")
    }

    /// Sends JSON whose answer is that it was taken.
    fn post<T: Serialize>(&self, path: &str, what: &T) -> Result<(), ClientError> {
        let url = self.url(path);
        self.heard(self.send_json(|http| http.post(&url), what)).map(drop)
    }

    /// Asks the records. `T` is what the question says its answer is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask<T: DeserializeOwned>(&self, question: &Question) -> Result<T, ClientError> {
        self.read(self.asked(question)?)
    }

    /// Asks the records for bytes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask_bytes(&self, question: &Question) -> Result<Vec<u8>, ClientError> {
        let mut answer = self.asked(question)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        body.map_err(|e| self.broken(e))
    }

    fn asked(&self, question: &Question) -> Result<Response<Body>, ClientError> {
        let sent = self.call(|http| {
            let request = http.post(self.url("/records")).header("content-type", CBOR).config();
            request.timeout_recv_response(Some(ANSWER_MAX)).build().send(&to_cbor(question)[..])
        });
        self.heard(sent)
    }

    /// Watches a run from behind the number `after` (0: from its beginning).
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn watch(&self, run: RunId, after: u64) -> Result<Watch, ClientError> {
        let url = self.run_url(run, &format!("/watch?after={after}"));
        let sent = self.call(|http| {
            let request = http.get(&url).config().timeout_recv_response(Some(ANSWER_MAX));
            request.timeout_recv_body(None).build().call()
        });
        let answer = self.heard(sent)?;
        let body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Watch { body: BufReader::new(Box::new(body)), server: self.server.clone() })
    }

    /// Watches what happens in the lab as a whole from behind this number on; `None`: from now on. Unless it follows, it
    /// ends when everything that has happened was told.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn lab_events(&self, after: Option<u64>, follow: bool) -> Result<LabEvents, ClientError> {
        let after = after.map_or_else(|| "now".to_owned(), |number| number.to_string());
        let url = self.url(&format!("/events?after={after}&follow={follow}"));
        let sent = self.call(|http| {
            let request = http.get(&url).config().timeout_recv_response(Some(ANSWER_MAX));
            request.timeout_recv_body(None).build().call()
        });
        let body = self.heard(sent)?.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(LabEvents::new(body, self.server.clone()))
    }

    /// Whether the server has a blob.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn has_blob(&self, blob: Digest) -> Result<bool, ClientError> {
        let url = self.url(&format!("/blobs/{blob}"));
        let sent = self.call(|http| http.head(&url).config().timeout_global(Some(ANSWER_MAX)).build().call());
        let answer = sent.map_err(|e| self.broken(e))?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // The answer to `HEAD` has no room for the reason.
            _ => self.get_blob(blob).map(|_| false),
        }
    }

    /// Gives the server a blob. It checks the digest.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_blob(&self, blob: Digest, mut file: &File, bytes: u64) -> Result<(), ClientError> {
        let url = self.url(&format!("/blobs/{blob}"));
        let sent = self.call(|http| {
            file.rewind()?;
            let request = http.put(&url).config().timeout_recv_response(Some(TAKEN_MAX)).build();
            let mut body = Exactly::of(file, bytes);
            request.header("content-length", bytes).send(SendBody::from_reader(&mut body))
        });
        self.heard(sent).map(drop)
    }

    /// Reads a blob. The reader's bytes are not checked against the digest.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get_blob(&self, blob: Digest) -> Result<impl Read + use<>, ClientError> {
        let url = self.url(&format!("/blobs/{blob}"));
        let sent =
            self.call(|http| http.get(&url).config().timeout_recv_response(Some(ANSWER_MAX)).build().call());
        Ok(self.heard(sent)?.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Reads a file that an attempt has left. The reader's bytes are not checked against its digest.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get_artifact(
        &self,
        run: RunId,
        item: ItemIx,
        attempt: u16,
        path: &str,
    ) -> Result<impl Read + use<>, ClientError> {
        let mut name = String::new();
        for byte in path.bytes() {
            // What needs no escape in a path, and no slash: it is one part of it.
            if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
                name.push(char::from(byte));
            } else {
                let _written = write!(name, "%{byte:02X}");
            }
        }
        let url = self.run_url(run, &format!("/items/{}/attempts/{attempt}/artifacts/{name}", item.0));
        let sent =
            self.call(|http| http.get(&url).config().timeout_recv_response(Some(ANSWER_MAX)).build().call());
        Ok(self.heard(sent)?.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Gives the server the file of a long output; its place is relative to the run's directory.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_output(
        &self,
        run: RunId,
        place: &str,
        mut file: &File,
        bytes: u64,
    ) -> Result<(), ClientError> {
        let url = self.run_url(run, &format!("/outputs/{place}"));
        let sent = self.call(|http| {
            file.rewind()?;
            let request = http.put(&url).config().timeout_recv_response(Some(TAKEN_MAX)).build();
            let mut body = Exactly::of(file, bytes);
            request.header("content-length", bytes).send(SendBody::from_reader(&mut body))
        });
        self.heard(sent).map(drop)
    }

    fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = self.url(path);
        let get = |http: &Agent| http.get(&url).config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.read_json(self.heard(self.call(get))?)
    }

    fn delete(&self, path: &str) -> Result<(), ClientError> {
        let url = self.url(path);
        let delete =
            |http: &Agent| http.delete(&url).config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.heard(self.call(delete)).map(drop)
    }

    fn send_json<T: Serialize>(
        &self,
        request: impl Fn(&Agent) -> RequestBuilder<WithBody>,
        body: &T,
    ) -> Result<Response<Body>, ureq::Error> {
        let body = serde_json::to_vec(body).expect("what is sent has a form in JSON");
        self.call(|http| {
            let request = request(http).header("content-type", "application/json").config();
            request.timeout_global(Some(ANSWER_MAX)).build().send(&body[..])
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{PREFIX}{path}", self.server)
    }

    fn run_url(&self, run: RunId, rest: &str) -> String {
        self.url(&format!("/runs/{:032x}{rest}", run.0))
    }

    /// Asks, and asks again where the server says that this was too much at once and when to come back.
    fn call(
        &self,
        mut send: impl FnMut(&Agent) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ureq::Error> {
        let http = self.http();
        for _ in 1..AGAIN_MAX {
            let answer = send(&http)?;
            let after = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
            match after {
                Some(secs) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
                    std::thread::sleep(Duration::from_secs(secs).min(AFTER_MAX));
                }
                _ => return Ok(answer),
            }
        }
        send(&http)
    }

    /// An answer that is no refusal.
    fn heard(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ClientError> {
        let mut answer = sent.map_err(|e| self.broken(e))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let problem = serde_json::from_str(&text).unwrap_or_else(|_| {
            let said = text.lines().next().unwrap_or_default();
            Problem::new(status, "unknown", format!("{} answers {status}: {said}", self.server))
                .next("is this the address of a Muster server?")
        });
        Err(ClientError::Refused(Box::new(problem)))
    }

    fn read<T: DeserializeOwned>(&self, mut answer: Response<Body>) -> Result<T, ClientError> {
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let not_understood = |why| ClientError::NotUnderstood { server: self.server.clone(), why };
        from_cbor(&body.map_err(|e| self.broken(e))?).map_err(not_understood)
    }

    fn read_json<T: DeserializeOwned>(&self, mut answer: Response<Body>) -> Result<T, ClientError> {
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let not_understood = |e: serde_json::Error| ClientError::NotUnderstood {
            server: self.server.clone(),
            why: e.to_string(),
        };
        serde_json::from_slice(&body.map_err(|e| self.broken(e))?).map_err(not_understood)
    }

    fn broken(&self, error: ureq::Error) -> ClientError {
        let server = self.server.clone();
        match distrust(&error) {
            Some(why) => ClientError::Untrusted { server, why },
            None => ClientError::Unreachable { server, source: error.into_io() },
        }
    }
}

/// What happens in a run, as it happens.
pub struct Watch {
    body: BufReader<Box<dyn Read + Send>>,
    server: String,
}

/// Waits for what happens next, to the end of the connection.
impl Iterator for Watch {
    type Item = Result<Seen, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let server = self.server.clone();
        match self.body.fill_buf() {
            Ok([]) => return None,
            Ok(_) => {}
            Err(source) => return Some(Err(ClientError::Unreachable { server, source })),
        }
        Some(ciborium::from_reader(&mut self.body).map_err(|e| match e {
            ciborium::de::Error::Io(source) => ClientError::Unreachable { server, source },
            e => ClientError::NotUnderstood { server, why: e.to_string() },
        }))
    }
}
