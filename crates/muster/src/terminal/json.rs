//! Events as JSON Lines on standard output, for programs.

use super::emit::Emit;
use super::{Interrupt, Watcher, lines};
use muster_core::event::Told;
use muster_core::time::Time;
use muster_core::view::RunView;
use muster_formats::report::{Jsonl, LiveReport as _};
use std::io::Write;
use std::process::ExitStatus;
use std::time::Duration;

/// Bytes are written at the latest when this many wait.
const WAITING_MAX: usize = 64 << 10;

/// A watcher that writes events.
pub(super) struct Json {
    out: Option<Box<dyn Write + Send>>,
    events: Jsonl,
    buffer: Vec<u8>,
    /// For what is no event.
    emit: Emit,
}

impl Json {
    pub(super) fn new(out: Box<dyn Write + Send>, emit: Emit) -> Self {
        Self { out: Some(out), events: Jsonl, buffer: Vec::new(), emit }
    }

    fn flush(&mut self) {
        let Some(out) = &mut self.out else { return self.buffer.clear() };
        if out.write_all(&self.buffer).and_then(|()| out.flush()).is_err() {
            // Nobody reads any more; the run goes on and is recorded.
            self.out = None;
        }
        self.buffer.clear();
    }
}

impl Watcher for Json {
    fn told(&mut self, told: &Told) {
        if self.out.is_some() {
            self.events.told(told, &mut self.buffer).expect("writing into memory does not fail");
        }
        if self.buffer.len() >= WAITING_MAX {
            self.flush();
        }
    }

    fn tick(&mut self, _: Time, _: Option<Duration>) {
        self.flush();
    }

    fn interrupted(&mut self, _: Interrupt) {}

    fn agent_lost(&mut self, how: ExitStatus) {
        self.emit.line(&lines::agent_lost(how));
        self.emit.flush();
    }

    fn finished(&mut self, _: &RunView, _: &str) {
        self.flush();
    }
}
