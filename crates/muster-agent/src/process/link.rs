//! What is said to an agent process and heard from it, from outside.

use super::wire::{FrameError, Wire};
use super::{FromAgent, ToAgent};
use muster_core::exchange::{Exchange, Orders};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use thiserror::Error;

/// Why an agent process cannot be spoken with.
#[derive(Debug, Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("the agent process `{}` cannot be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It said that it cannot do its work.
    #[error("the agent process has failed: {0}")]
    Failed(String),
    /// It said something that cannot be understood.
    #[error("the agent process cannot be understood: {0}")]
    Wire(#[from] FrameError),
}

/// A connection to an agent process. Nothing of it waits.
#[derive(Debug)]
pub struct Link {
    /// `None` once this side has ended it.
    wire: Option<Wire>,
}

impl Link {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire: Some(wire) }
    }

    /// The connection, to be polled: for reading always, for writing where
    /// [`wants_write`](Self::wants_write) says so. `None` once it was ended.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.wire.as_ref().map(Wire::fd)
    }

    /// Whether something waits to be sent: poll for writing, then [`flush`](Self::flush).
    pub fn wants_write(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::wants_write)
    }

    /// What the agent has said since the last call; does not wait. Of several, each is the whole truth of
    /// its moment, so only the results of the earlier ones matter, and the last repeats them.
    ///
    /// # Errors
    /// The agent says it has failed, or what it says cannot be understood.
    pub fn receive(&mut self) -> Result<Vec<Exchange>, ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(Vec::new()) };
        wire.fill()?;
        let mut exchanges = Vec::new();
        loop {
            match wire.next("an exchange") {
                Ok(Some(FromAgent::Exchange(exchange))) => exchanges.push(exchange),
                Ok(Some(FromAgent::Failed(why))) => return Err(ChildError::Failed(why)),
                // The end in the middle of a word is an end like any other.
                Ok(None) | Err(FrameError::Cut) => return Ok(exchanges),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether the agent has ended the connection: it is dead or dying.
    pub fn has_ended(&self) -> bool {
        self.wire.as_ref().is_none_or(Wire::has_ended)
    }

    /// Sends orders, or keeps them until they can be sent.
    ///
    /// # Errors
    /// They are too long to be sent, or the socket fails. An agent that has ended is no error here.
    pub fn send(&mut self, orders: Orders) -> Result<(), ChildError> {
        self.say("orders", &ToAgent::Orders(orders))
    }

    /// Makes the agent say what it has.
    ///
    /// # Errors
    /// As for [`Link::send`].
    pub fn ask(&mut self) -> Result<(), ChildError> {
        self.say("a question", &ToAgent::Speak)
    }

    /// Sends what waits to be sent.
    ///
    /// # Errors
    /// The socket fails.
    pub fn flush(&mut self) -> Result<(), ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        Ok(wire.flush()?)
    }

    pub(super) fn say(&mut self, what: &'static str, word: &ToAgent) -> Result<(), ChildError> {
        let Some(wire) = &mut self.wire else { return Ok(()) };
        Ok(wire.send(what, word)?)
    }

    /// Ends the connection.
    pub(super) fn hang_up(&mut self) {
        drop(self.wire.take());
    }
}
