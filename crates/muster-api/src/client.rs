//! The client of a server: one call for each thing that can be asked. Blocks.

use crate::records::Question;
use crate::{
    About, Accepted, Adopt, Announce, By, CBOR, HoldDevice, PREFIX, Problem, Seen, Stop, Submit, Why,
    from_cbor, to_cbor,
};
use muster_core::digest::Digest;
use muster_core::exchange::{DeviceOffer, Exchange, Orders};
use muster_core::id::{AgentId, DeviceId, ItemIx, RunId, SessionId};
use muster_core::time::Time;
use muster_core::view::{DeviceDetail, LabView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::time::Duration;
use thiserror::Error;
use ureq::http::{Response, StatusCode};
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder, SendBody};

/// How long a server may take to take a connection up.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long it may take to answer what it need not wait for.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long it may hold an exchange open; it answers sooner, by its own limit.
const EXCHANGE_MAX: Duration = Duration::from_secs(45);
/// Longest answer that is held in memory.
// Limit: a view of a hundred thousand items with their attempts is some 50 MB.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

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
            Self::NotUnderstood { .. } => false,
        }
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Unreachable { .. } | Self::NotUnderstood { .. } => None,
        }
    }
}

/// A server, as seen by those who ask it.
#[derive(Clone, Debug)]
pub struct Client {
    http: Agent,
    /// `http://HOST:PORT`, without a slash at its end.
    server: String,
}

impl Client {
    /// For the server at `http://HOST:PORT`. Asks nothing yet.
    ///
    /// # Errors
    /// The address is none that this client can ask.
    pub fn new(server: &str) -> Result<Self, String> {
        let server = server.trim_end_matches('/');
        let Some(place) = server.strip_prefix("http://") else {
            return Err(format!("`{server}` is not an address of the form `http://HOST:PORT`"));
        };
        if place.is_empty() || place.contains(['/', '?', '#', '@']) {
            return Err(format!("`{server}` is not an address of the form `http://HOST:PORT`"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .max_redirects(0)
            // A lab is reached directly; a proxy for the world outside would not find it.
            .proxy(None)
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { http: config.new_agent(), server: server.to_owned() })
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
        let sent = self.http.get(self.url("")).config().timeout_global(Some(ANSWER_MAX)).build().call();
        let mut answer = self.heard(sent)?;
        let not_understood = |why: String| ClientError::NotUnderstood { server: self.server.clone(), why };
        let text = answer.body_mut().read_to_string().map_err(|e| self.broken(e))?;
        serde_json::from_str(&text).map_err(|e| not_understood(format!("this is no Muster server ({e})")))
    }

    /// An agent's exchange. `None`: there was nothing to say for as long as the server holds it open.
    ///
    /// # Errors
    /// [`ClientError`]; the exchange may have been heard all the same.
    pub fn exchange(&self, exchange: &Exchange) -> Result<Option<Orders>, ClientError> {
        let url = self.url(&format!("/agents/{}/exchange", exchange.agent.0));
        let request = self.http.post(url).header("content-type", CBOR).config();
        let sent = request.timeout_recv_response(Some(EXCHANGE_MAX)).build().send(&to_cbor(exchange)[..]);
        let answer = self.heard(sent)?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.read(answer).map(Some)
    }

    /// A session of an agent is over, and nothing it was given runs any more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn say_goodbye(&self, agent: AgentId, session: SessionId) -> Result<(), ClientError> {
        let url = self.url(&format!("/agents/{}/sessions/{}", agent.0, session.0));
        let sent = self.http.delete(url).config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.heard(sent).map(drop)
    }

    /// Asks for a run under this id. Asking again with the same id gives the same answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn submit(&self, run: RunId, submit: &Submit) -> Result<Accepted, ClientError> {
        let request = self.http.put(self.run_url(run, "")).header("content-type", CBOR).config();
        let sent = request.timeout_recv_response(Some(ANSWER_MAX)).build().send(&to_cbor(submit)[..]);
        self.read(self.heard(sent)?)
    }

    /// Asks that nothing more of a run be started.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop(&self, run: RunId, stop: &Stop) -> Result<(), ClientError> {
        let request = self.http.post(self.run_url(run, "/stop")).header("content-type", CBOR).config();
        let sent = request.timeout_global(Some(ANSWER_MAX)).build().send(&to_cbor(stop)[..]);
        self.heard(sent).map(drop)
    }

    /// The lab's devices and what waits for them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn lab(&self) -> Result<LabView, ClientError> {
        let sent = self.http.get(self.url("/lab")).config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.read(self.heard(sent)?)
    }

    /// Why an item is not running, or that it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn why(&self, run: RunId, item: ItemIx) -> Result<String, ClientError> {
        let url = self.run_url(run, &format!("/items/{}/why", item.0));
        let sent = self.http.get(url).config().timeout_global(Some(ANSWER_MAX)).build().call();
        let Why { why } = self.read_json(self.heard(sent)?)?;
        Ok(why)
    }

    /// Takes a device out of scheduling, or gives it back (`None`).
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn hold(&self, device: DeviceId, hold: Option<&HoldDevice>) -> Result<(), ClientError> {
        let url = self.url(&format!("/devices/{}/hold", device.0));
        let sent = match hold {
            Some(hold) => {
                let body = serde_json::to_vec(hold).expect("a hold has a form in JSON");
                let request = self.http.put(url).header("content-type", "application/json").config();
                request.timeout_global(Some(ANSWER_MAX)).build().send(&body[..])
            }
            None => self.http.delete(url).config().timeout_global(Some(ANSWER_MAX)).build().call(),
        };
        self.heard(sent).map(drop)
    }

    /// The server's clock.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn clock(&self) -> Result<Time, ClientError> {
        let sent = self.http.get(self.url("/clock")).config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.read_json(self.heard(sent)?)
    }

    /// All that is known of a device.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn device(&self, device: DeviceId) -> Result<DeviceDetail, ClientError> {
        let url = self.url(&format!("/lab/devices/{}", device.0));
        let sent = self.http.get(url).config().timeout_global(Some(ANSWER_MAX)).build().call();
        let answer = self.heard(sent)?;
        self.read_json(answer)
    }

    /// Wants a device to be checked now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn check_device(&self, device: DeviceId, by: &By) -> Result<(), ClientError> {
        self.tell(self.http.post(self.url(&format!("/lab/devices/{}/check", device.0))), by)
    }

    /// Puts a device in quarantine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn quarantine(&self, device: DeviceId, why: &HoldDevice) -> Result<(), ClientError> {
        self.tell(self.http.put(self.url(&format!("/lab/devices/{}/quarantine", device.0))), why)
    }

    /// Lets a device out of quarantine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn end_quarantine(&self, device: DeviceId, by: &By) -> Result<(), ClientError> {
        self.tell(self.http.post(self.url(&format!("/lab/devices/{}/quarantine/release", device.0))), by)
    }

    /// Says that a device is there: a proposal until somebody adopts it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn announce(&self, device: &Announce) -> Result<(), ClientError> {
        self.tell(self.http.post(self.url("/devices/announce")), device)
    }

    /// Adds a device to a host's devices.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn add_device(&self, device: &Announce) -> Result<(), ClientError> {
        self.tell(self.http.post(self.url("/lab/added")), device)
    }

    /// Has a proposed device used.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn adopt(&self, device: &Adopt) -> Result<(), ClientError> {
        self.tell(self.http.post(self.url("/lab/adopted")), device)
    }

    /// Forgets a device that was added or proposed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove_device(&self, device: &Adopt) -> Result<(), ClientError> {
        self.tell(self.http.post(self.url("/lab/removed")), device)
    }

    /// The devices that the agent of a host is to have beside its own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn added_to(&self, host: &str) -> Result<Vec<DeviceOffer>, ClientError> {
        let request = self.http.get(self.url("/lab/added")).query("host", host);
        let sent = request.config().timeout_global(Some(ANSWER_MAX)).build().call();
        self.read_json(self.heard(sent)?)
    }

    /// Sends JSON whose answer is that it was taken.
    fn tell<T: Serialize>(&self, to: RequestBuilder<WithBody>, what: &T) -> Result<(), ClientError> {
        let body = serde_json::to_vec(what).expect("what is sent has a form in JSON");
        let request = to.header("content-type", "application/json").config();
        let sent = request.timeout_global(Some(ANSWER_MAX)).build().send(&body[..]);
        self.heard(sent).map(drop)
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
        let request = self.http.post(self.url("/records")).header("content-type", CBOR).config();
        let sent = request.timeout_recv_response(Some(ANSWER_MAX)).build().send(&to_cbor(question)[..]);
        self.heard(sent)
    }

    /// Watches a run from behind the number `after` (0: from its beginning).
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn watch(&self, run: RunId, after: u64) -> Result<Watch, ClientError> {
        let url = self.run_url(run, &format!("/watch?after={after}"));
        let request = self.http.get(url).config().timeout_recv_response(Some(ANSWER_MAX));
        let sent = request.timeout_recv_body(None).build().call();
        let answer = self.heard(sent)?;
        let body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(Watch { body: BufReader::new(Box::new(body)), server: self.server.clone() })
    }

    /// Whether the server has a blob.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn has_blob(&self, blob: Digest) -> Result<bool, ClientError> {
        let url = self.url(&format!("/blobs/{blob}"));
        let sent = self.http.head(url).config().timeout_global(Some(ANSWER_MAX)).build().call();
        let answer = sent.map_err(|e| self.broken(e))?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(ClientError::NotUnderstood {
                server: self.server.clone(),
                why: format!("status {status}"),
            }),
        }
    }

    /// Gives the server a blob. It checks the digest.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_blob(&self, blob: Digest, mut file: &File, bytes: u64) -> Result<(), ClientError> {
        let request = self.http.put(self.url(&format!("/blobs/{blob}"))).header("content-length", bytes);
        self.heard(request.send(SendBody::from_reader(&mut file))).map(drop)
    }

    /// Reads a blob. The reader's bytes are not checked against the digest.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get_blob(&self, blob: Digest) -> Result<impl Read + use<>, ClientError> {
        let url = self.url(&format!("/blobs/{blob}"));
        let sent = self.http.get(url).config().timeout_recv_response(Some(ANSWER_MAX)).build().call();
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
        let request = self.http.put(self.run_url(run, &format!("/outputs/{place}")));
        self.heard(request.header("content-length", bytes).send(SendBody::from_reader(&mut file))).map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{PREFIX}{path}", self.server)
    }

    fn run_url(&self, run: RunId, rest: &str) -> String {
        self.url(&format!("/runs/{:032x}{rest}", run.0))
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
        ClientError::Unreachable { server: self.server.clone(), source: error.into_io() }
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
