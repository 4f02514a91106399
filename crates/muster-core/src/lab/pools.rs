//! Pools: named sets of devices, of which a run has only those that whoever asked for it may use.
//!
//! A device is in one pool: the first whose selector it matches, else the one of the rest. So what is set apart
//! by an earlier pool is in no later one. Who may use which pool is not decided here: a run brings its pools.

use super::{DeviceSelector, Lab};
use crate::exchange::Labels;

/// A named set of devices.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its devices, less those of the pools before it.
    pub devices: DeviceSelector,
}

/// The pools of a lab, in the order they are asked.
#[derive(Clone, Debug, Default)]
pub struct Pools(Vec<Pool>);

impl Pools {
    /// The pool of devices that are in no other.
    pub const REST: &'static str = "default";

    /// In this order.
    pub fn new(pools: Vec<Pool>) -> Self {
        Self(pools)
    }

    /// All their names, that of the rest last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|p| p.name.as_str()).chain([Self::REST])
    }

    /// The pool that a device is in.
    pub fn of(&self, name: &str, host: &str, labels: &Labels) -> &str {
        let found = self.0.iter().find(|p| p.devices.matches(name, host, labels));
        found.map_or(Self::REST, |p| &p.name)
    }
}

impl Lab {
    /// From now on devices are in these pools. What runs stays where it is.
    pub fn set_pools(&mut self, pools: Pools) {
        self.pools = pools;
        let devices: Vec<_> = self.devices.keys().copied().collect();
        for device in devices {
            self.reach_to(device);
        }
    }

    /// The pools.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }
}
