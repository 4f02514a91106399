//! Which devices a run may have: its selector over their labels, and the pools that it may use.
//!
//! Looked up once for each run and device, and again when the device's labels change: dispatching asks
//! often. Runs that ask in the same words are answered together, so that a device that joins costs as many
//! evaluations as there are different selectors, however many runs wait.

use super::run::Run;
use super::{Device, Lab, Pools, Rejected};
use crate::exchange::Labels;
use crate::expr::{Expr, ExprErrorKind, Fact, Facts};
use crate::id::{DeviceId, RunId};
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

/// A condition over devices: CEL over `labels`, `name` and `host`.
#[derive(Clone, Debug)]
pub struct DeviceSelector(Expr);

impl DeviceSelector {
    /// Reads one.
    ///
    /// # Errors
    /// [`Rejected::Selector`]: it cannot be parsed, or uses a name that no device has. A label that some devices
    /// lack is no mistake; those do not match.
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        let rejected = |error| Rejected::Selector { selector: text.to_owned(), error };
        let expr = Expr::parse(text).map_err(rejected)?;
        match expr.check(&facts("", "", &Labels::new())) {
            Ok(()) => {}
            Err(e) if matches!(e.kind, ExprErrorKind::UnknownKey { .. }) => {}
            Err(e) => return Err(rejected(e)),
        }
        Ok(Self(expr))
    }

    /// Whether it is true for a device. One that lacks a label, or has another kind of value there, does not
    /// match.
    pub fn matches(&self, name: &str, host: &str, labels: &Labels) -> bool {
        self.0.eval_bool(&facts(name, host, labels)).unwrap_or(false)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        self.0.text()
    }
}

/// The devices a run may have.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    /// It does not say, and may use all pools.
    Any,
    /// Those for which its selector is true, of the pools that it may use.
    Of {
        /// `None`: it does not say.
        selector: Option<DeviceSelector>,
        /// `None`: all.
        pools: Option<BTreeSet<String>>,
        devices: BTreeSet<DeviceId>,
        /// Those that would do, but are in other pools.
        elsewhere: BTreeSet<DeviceId>,
    },
    /// One: it is the check of that device.
    Only { selector: String, device: DeviceId },
}

impl Reach {
    /// Nothing is matched yet. An empty selector is none.
    ///
    /// # Errors
    /// As for [`DeviceSelector::parse`].
    pub(super) fn new(selector: &str, pools: Option<&[String]>) -> Result<Self, Rejected> {
        let selector = match selector.trim() {
            "" => None,
            text => Some(DeviceSelector::parse(text)?),
        };
        let pools = pools.map(|p| p.iter().cloned().collect());
        if selector.is_none() && pools.is_none() {
            return Ok(Self::Any);
        }
        Ok(Self::Of { selector, pools, devices: BTreeSet::new(), elsewhere: BTreeSet::new() })
    }

    pub(super) fn has(&self, device: DeviceId) -> bool {
        match self {
            Self::Any => true,
            Self::Of { devices, .. } => devices.contains(&device),
            Self::Only { device: only, .. } => *only == device,
        }
    }

    /// Whether a device would do, if it were not in another pool.
    pub(super) fn is_elsewhere(&self, device: DeviceId) -> bool {
        match self {
            Self::Any | Self::Only { .. } => false,
            Self::Of { elsewhere, .. } => elsewhere.contains(&device),
        }
    }

    /// The selector, for people; empty for none.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Any | Self::Of { selector: None, .. } => "",
            Self::Of { selector: Some(selector), .. } => selector.text(),
            Self::Only { selector, .. } => selector,
        }
    }

    /// Nothing but this device, whatever it is like.
    pub(super) fn pin(&mut self, device: DeviceId) {
        *self = Self::Only { selector: self.text().to_owned(), device };
    }

    /// A device is like this; `None`: it is gone.
    pub(super) fn set(&mut self, id: DeviceId, seen: Option<&mut Seen<'_>>) {
        let Self::Of { selector, pools, devices, elsewhere } = self else { return };
        devices.remove(&id);
        elsewhere.remove(&id);
        let Some(seen) = seen else { return };
        if selector.as_ref().is_some_and(|s| !seen.matches(s)) {
            return;
        }
        if pools.as_ref().is_none_or(|p| p.contains(seen.pool())) {
            devices.insert(id);
        } else {
            elsewhere.insert(id);
        }
    }
}

/// A device as selectors see it, with what they have said of it.
pub(super) struct Seen<'a> {
    name: &'a str,
    host: &'a str,
    labels: &'a Labels,
    pools: &'a Pools,
    facts: OnceCell<Facts>,
    pool: OnceCell<&'a str>,
    /// By the text of the selector.
    said: HashMap<String, bool>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(device: &'a Device, host: &'a str, pools: &'a Pools) -> Self {
        Self {
            name: &device.name,
            host,
            labels: &device.labels,
            pools,
            facts: OnceCell::new(),
            pool: OnceCell::new(),
            said: HashMap::new(),
        }
    }

    /// Whether a selector is true for it.
    pub(super) fn matches(&mut self, selector: &DeviceSelector) -> bool {
        if let Some(said) = self.said.get(selector.text()) {
            return *said;
        }
        let facts = self.facts.get_or_init(|| facts(self.name, self.host, self.labels));
        let said = selector.0.eval_bool(facts).unwrap_or(false);
        self.said.insert(selector.text().to_owned(), said);
        said
    }

    fn pool(&self) -> &'a str {
        self.pool.get_or_init(|| self.pools.of(self.name, self.host, self.labels))
    }
}

impl Lab {
    /// A run is new: finds the devices it may have.
    pub(super) fn reach_from(&mut self, run: RunId) {
        let Some(run) = self.runs.get_mut(&run).filter(|run| run.looks_at_devices()) else { return };
        for (id, device) in &self.devices {
            let host = &self.agents[&device.agent].host;
            run.set_device(*id, Some(&mut Seen::new(device, host, &self.pools)));
        }
    }

    /// A device is new, has other labels, or is gone: finds the runs that may have it.
    pub(super) fn reach_to(&mut self, device: DeviceId) {
        let known = self.devices.get(&device);
        let mut seen = known.map(|d| Seen::new(d, &self.agents[&d.agent].host, &self.pools));
        for run in self.runs.values_mut() {
            run.set_device(device, seen.as_mut());
        }
    }

    /// Devices that a run may have, whether they are there or away.
    pub(super) fn known_to<'a>(&'a self, run: &'a Run) -> Box<dyn Iterator<Item = &'a Device> + 'a> {
        match &run.reach {
            Reach::Any => Box::new(self.devices.values()),
            Reach::Of { devices, .. } => Box::new(devices.iter().filter_map(|id| self.devices.get(id))),
            Reach::Only { device, .. } => Box::new(self.devices.get(device).into_iter()),
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
