//! One turn of the loop: all inputs that wait, one transaction, then what may be acted on.

use muster_core::change::{Change, RunRecord};
use muster_core::event::Told;
use muster_core::exchange::Orders;
use muster_core::id::{AgentId, ItemIx, RunId};
use muster_core::kind::DeviceKind;
use muster_core::lab::{Effect, Explanation, Input, Lab, PastResult, Places, Policy, Pools, Rejected};
use muster_core::plan::History;
use muster_core::time::Time;
use muster_store::{Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A lab and the store that remembers it.
#[derive(Debug)]
pub struct Shell<S> {
    lab: Lab,
    store: S,
}

/// What may be acted on now that it is recorded.
#[derive(Debug, Default)]
pub struct Turn {
    /// Orders for agents. Sending them twice, or not at all, does no harm: the next exchange heals it.
    pub orders: Vec<(AgentId, Box<Orders>)>,
    /// News for those who watch, in order.
    pub told: Vec<Told>,
    /// Whether those who watch the lab as a whole have something to read.
    pub happened: bool,
    /// Inputs that were not taken, by their place among the turn's inputs.
    pub rejected: Vec<(usize, Rejected)>,
}

/// A turn that could not be recorded. Nothing of it may be acted on, and the lab in memory is ahead of
/// the record: the shell must be dropped and restored from the store.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The store refused.
    #[error("what the lab decided could not be recorded")]
    Store(#[from] StoreError),
    /// What is recorded cannot be taken up again.
    #[error("the recorded state of the lab cannot be used")]
    Restore(#[source] Rejected),
}

impl<S: Store> Shell<S> {
    /// Takes up where the store's record ends.
    ///
    /// # Errors
    /// If the record cannot be read or used.
    pub fn restore(
        mut store: S,
        policy: Policy,
        now: Time,
        history: &dyn Fn(&RunRecord) -> Arc<dyn History + Send + Sync>,
    ) -> Result<Self, ShellError> {
        let snapshot = store.load_snapshot()?;
        let lab = Lab::restore(policy, now, snapshot, history).map_err(ShellError::Restore)?;
        Ok(Self { lab, store })
    }

    /// From now on devices are in these pools.
    pub fn set_pools(&mut self, pools: Pools) {
        self.lab.set_pools(pools);
    }

    /// From now on the lab has so many tokens, by name, whatever areas say.
    pub fn set_tokens(&mut self, tokens: BTreeMap<String, u32>) {
        self.lab.set_tokens(tokens);
    }

    /// From now on the lab may use so much of what other runs may have too.
    pub fn set_granted(&mut self, granted: Places) {
        self.lab.set_granted(granted);
    }

    /// How attempts ended before: a lab that is restored knows nothing of it.
    pub fn remember(&mut self, past: Vec<PastResult>) {
        self.lab.remember(past);
    }

    /// Takes in all inputs, lets the lab give out work, commits, and returns what may be acted on.
    ///
    /// # Errors
    /// If the commit failed; see [`ShellError`] for what that means.
    pub fn turn(&mut self, now: Time, inputs: impl IntoIterator<Item = Input>) -> Result<Turn, ShellError> {
        let mut turn = Turn::default();
        let mut changes: Vec<Change> = Vec::new();
        for (place, input) in inputs.into_iter().chain([Input::Tick]).enumerate() {
            match self.lab.apply(now, input) {
                Ok(effects) => turn.sort(effects, &mut changes),
                Err(rejected) => turn.rejected.push((place, rejected)),
            }
        }
        if !changes.is_empty() {
            self.store.commit(&changes)?;
        }
        Ok(turn)
    }

    /// What devices are checked and mended with, from now on. It is configuration: nothing is recorded.
    pub fn set_kinds(&mut self, now: Time, kinds: Arc<[DeviceKind]>) {
        self.lab.apply(now, Input::Kinds(kinds)).expect("kinds are always taken");
    }

    /// When a turn must be made even if nothing happens.
    pub fn wake_at(&self) -> Option<Time> {
        self.lab.wake_at()
    }

    /// Whether a run has ended or was stopped.
    pub fn is_over(&self, run: RunId) -> bool {
        self.lab.is_over(run)
    }

    /// Why an item is not running.
    pub fn explain(&self, run: RunId, item: ItemIx) -> Explanation {
        self.lab.explain(run, item)
    }

    /// A run that is over needs no memory any more; its record is the store's.
    pub fn forget_run(&mut self, run: RunId) {
        self.lab.forget_run(run);
    }

    /// The lab, to look at.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The store, for queries.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the store back; the lab is forgotten.
    pub fn into_store(self) -> S {
        self.store
    }
}

impl Turn {
    fn sort(&mut self, effects: Vec<Effect>, changes: &mut Vec<Change>) {
        for effect in effects {
            match effect {
                Effect::Save(change) => {
                    self.happened |= matches!(change, Change::Happened { .. });
                    changes.push(change);
                }
                Effect::Orders(agent, orders) => self.orders.push((agent, orders)),
                Effect::Tell(told) => self.told.push(told),
            }
        }
    }
}
