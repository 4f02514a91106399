//! Sends exchanges. The newest takes the place of all before it: it says all there is to say.
//!
//! An exchange is held open by the server until there is something to say, so that each has a thread while
//! it is under way. There are few: the server lets go of an older one when a newer comes.

use super::{Done, Mail};
use muster_api::{Client, ClientError};
use muster_core::exchange::{Exchange, Orders};
use muster_core::id::RunId;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First pause after a failure; doubled with each further one, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The file of a long output, to be brought to the server before the result that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutputFile {
    pub(super) run: RunId,
    /// As the result names it, relative to the run's directory.
    pub(super) place: String,
    /// Where it is on this host.
    pub(super) path: PathBuf,
}

/// An exchange that was sent, and what came of it.
pub(super) struct Sent {
    seq: u64,
    pub(super) answer: Result<Option<Orders>, ClientError>,
}

pub(super) struct Senders {
    client: Client,
    mail: Mail,
    /// The newest exchange.
    newest: Option<Arc<(Exchange, Vec<OutputFile>)>>,
    /// When it is sent again, because it failed.
    again: Option<Instant>,
    pause: Duration,
}

impl Senders {
    pub(super) fn new(client: Client, mail: Mail) -> Self {
        Self { client, mail, newest: None, again: None, pause: PAUSE_MIN }
    }

    /// Sends this one. While the server does not answer, it waits its turn.
    pub(super) fn send(&mut self, exchange: Exchange, outputs: Vec<OutputFile>) {
        self.newest = Some(Arc::new((exchange, outputs)));
        if self.again.is_none() {
            self.start();
        }
    }

    /// When something is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.again
    }

    /// Tries again what is due.
    pub(super) fn retry(&mut self) {
        if self.again.is_some_and(|at| at <= Instant::now()) {
            self.again = None;
            self.start();
        }
    }

    /// An exchange was answered, or not: its orders.
    ///
    /// # Errors
    /// The server refuses it for good.
    pub(super) fn receive(&mut self, sent: Sent) -> Result<Option<Orders>, ClientError> {
        let is_newest = self.newest.as_ref().is_some_and(|n| n.0.seq == sent.seq);
        match sent.answer {
            Ok(orders) => {
                self.pause = PAUSE_MIN;
                Ok(orders)
            }
            // It was heard before; the agent process says something newer.
            Err(e) if e.code() == Some("stale-exchange") => Ok(None),
            Err(e) if e.may_pass() => {
                // An older one that failed has been replaced already.
                if is_newest && self.again.is_none() {
                    self.again = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn start(&mut self) {
        let Some(newest) = self.newest.clone() else { return };
        let (client, mail, seq) = (self.client.clone(), self.mail.clone(), newest.0.seq);
        let work = move || {
            let answer = deliver(&client, &newest.0, &newest.1);
            mail.send(Done::Sent(Sent { seq, answer }));
        };
        if std::thread::Builder::new().name("exchange".into()).stack_size(256 << 10).spawn(work).is_err() {
            // The system is out of threads: that may pass.
            self.again = Some(Instant::now() + self.pause);
        }
    }
}

/// Brings what the results need, then the exchange.
fn deliver(
    client: &Client,
    exchange: &Exchange,
    outputs: &[OutputFile],
) -> Result<Option<Orders>, ClientError> {
    for OutputFile { run, place, path } in outputs {
        // A file that is gone was brought before, with an exchange whose answer was lost, or cannot be had: the
        // record then says that the output is missing, and the verdict stands.
        let Ok(file) = File::open(path) else { continue };
        let Ok(len) = file.metadata().map(|m| m.len()) else { continue };
        match client.put_output(*run, place, &file, len) {
            Ok(()) => {}
            Err(e) if e.may_pass() => return Err(e),
            // The server will never take it (it does not know the run, or it is too long). That is no reason to
            // lose the verdict, nor all else that runs here.
            Err(_) => {}
        }
    }
    client.exchange(exchange)
}
