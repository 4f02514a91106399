//! Sends exchanges. The newest takes the place of all before it: it says all there is to say.
//!
//! An exchange is held open by the server until there is something to say, so that each has a thread while
//! it is under way. There are few: the server lets go of an older one when a newer comes.

use super::{Done, Mail};
use muster_api::{Client, ClientError, Heard};
use muster_core::exchange::{Exchange, Orders};
use muster_core::id::SessionId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First pause after a failure; doubled with each further one, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An exchange that was sent, and what came of it.
pub(super) struct Sent {
    pub(super) session: SessionId,
    seq: u64,
    pub(super) answer: Result<Heard, ClientError>,
}

pub(super) struct Senders {
    client: Client,
    mail: Mail,
    /// The newest exchange.
    newest: Option<Arc<Exchange>>,
    /// When it is sent again, because it failed.
    again: Option<Instant>,
    pause: Duration,
}

impl Senders {
    pub(super) fn new(client: Client, mail: Mail) -> Self {
        Self { client, mail, newest: None, again: None, pause: PAUSE_MIN }
    }

    /// Sends this one. While the server does not answer, it waits its turn.
    pub(super) fn send(&mut self, exchange: Exchange) {
        self.newest = Some(Arc::new(exchange));
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
        let is_newest = self.newest.as_ref().is_some_and(|n| n.seq == sent.seq);
        match sent.answer {
            Ok(heard) => {
                self.pause = PAUSE_MIN;
                Ok(heard.orders)
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
        let (client, mail) = (self.client.clone(), self.mail.clone());
        let work = move || {
            let answer = client.exchange(&newest);
            mail.send(Done::Sent(Sent { session: newest.session, seq: newest.seq, answer }));
        };
        if std::thread::Builder::new().name("exchange".into()).stack_size(256 << 10).spawn(work).is_err() {
            // The system is out of threads: that may pass.
            self.again = Some(Instant::now() + self.pause);
        }
    }
}
