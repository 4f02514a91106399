//! Which devices a run may have: its selector over their labels.
//!
//! Looked up once for each run and device, and again when the device's labels change: dispatching asks
//! often.

use super::{Lab, Rejected};
use crate::exchange::Labels;
use crate::expr::{Expr, ExprErrorKind, Fact, Facts};
use crate::id::{DeviceId, RunId};
use std::collections::BTreeSet;

/// The devices a run may have.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// It does not say.
    Any,
    /// Those for which its selector is true.
    Of { selector: Expr, devices: BTreeSet<DeviceId> },
}

impl Reach {
    /// Nothing is matched yet. An empty selector is none.
    ///
    /// # Errors
    /// It cannot be parsed, or uses a name that no device has.
    pub(super) fn new(selector: &str) -> Result<Self, Rejected> {
        if selector.trim().is_empty() {
            return Ok(Self::Any);
        }
        let rejected = |error| Rejected::Selector { selector: selector.to_owned(), error };
        let expr = Expr::parse(selector).map_err(rejected)?;
        match expr.check(&facts("", "", &Labels::new())) {
            // A label that some devices lack is no mistake; those do not match.
            Ok(()) => {}
            Err(e) if matches!(e.kind, ExprErrorKind::UnknownKey { .. }) => {}
            Err(e) => return Err(rejected(e)),
        }
        Ok(Self::Of { selector: expr, devices: BTreeSet::new() })
    }

    pub(super) fn has(&self, device: DeviceId) -> bool {
        match self {
            Self::Any => true,
            Self::Of { devices, .. } => devices.contains(&device),
        }
    }

    /// The selector, for people; empty for none.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Of { selector, .. } => selector.text(),
        }
    }

    fn set(&mut self, device: DeviceId, facts: Option<&Facts>) {
        let Self::Of { selector, devices } = self else { return };
        // A device that lacks a label, or has another kind of value there, is one that does not match.
        if facts.is_some_and(|f| selector.eval_bool(f).unwrap_or(false)) {
            devices.insert(device);
        } else {
            devices.remove(&device);
        }
    }
}

impl Lab {
    /// A run is new: finds the devices it may have.
    pub(super) fn reach_from(&mut self, run: RunId) {
        let Some(run) = self.runs.get_mut(&run) else { return };
        for (id, device) in &self.devices {
            run.reach.set(*id, Some(&facts(&device.name, &self.agents[&device.agent].host, &device.labels)));
        }
    }

    /// A device is new, has other labels, or is gone: finds the runs that may have it.
    pub(super) fn reach_to(&mut self, device: DeviceId) {
        let known = self.devices.get(&device);
        let facts = known.map(|d| facts(&d.name, &self.agents[&d.agent].host, &d.labels));
        for run in self.runs.values_mut() {
            run.reach.set(device, facts.as_ref());
        }
    }
}

/// What a selector sees of a device.
fn facts(name: &str, host: &str, labels: &Labels) -> Facts {
    let labels = labels.iter().map(|(k, v)| (k.clone(), Fact::Text(v.clone()))).collect();
    let mut facts = Facts::default();
    facts.set("name", Fact::Text(name.to_owned()));
    facts.set("host", Fact::Text(host.to_owned()));
    facts.set("labels", Fact::Map(labels));
    facts
}
