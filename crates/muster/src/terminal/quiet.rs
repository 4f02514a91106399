//! Nothing until the end, and then only if something is wrong; what is wrong with the lab at once.

use super::emit::Emit;
use super::summary::Looks;
use super::{Interrupt, Watcher, lines};
use muster_core::event::Told;
use muster_core::time::Time;
use muster_core::view::{RunState, RunView};
use std::process::ExitStatus;
use std::time::Duration;

/// A watcher that is silent.
pub(super) struct Quiet {
    emit: Emit,
    looks: Looks,
}

impl Quiet {
    pub(super) fn new(emit: Emit, looks: Looks) -> Self {
        Self { emit, looks }
    }
}

impl Watcher for Quiet {
    fn told(&mut self, _: &Told) {}

    fn tick(&mut self, _: Time, _: Option<Duration>) {}

    fn interrupted(&mut self, _: Interrupt) {}

    fn agent_lost(&mut self, how: ExitStatus) {
        self.emit.line(&lines::agent_lost(how));
        self.emit.flush();
    }

    fn finished(&mut self, run: &RunView, stopped: &str) {
        if !run.is_ok() || run.state == RunState::Stopped {
            self.emit.lines(self.looks.summary(run, stopped, &[]));
            self.emit.flush();
        }
    }
}
