//! What is out, counted the ways the limits are. Kept, not recounted: it is asked for every unit.

use super::run::Run;
use crate::id::{DeviceId, TestIx};
use std::collections::BTreeMap;

/// What is out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    areas: BTreeMap<String, AreaInUse>,
    /// Tokens that are taken, whatever the area.
    tokens: BTreeMap<String, u32>,
}

/// What is out of an area's runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AreaInUse {
    /// Units by group of the area's limits.
    groups: BTreeMap<String, u32>,
    /// Units by test.
    tests: BTreeMap<String, u32>,
    /// Units by device.
    devices: BTreeMap<DeviceId, u32>,
}

impl InUse {
    pub(super) fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    pub(super) fn area(&self, area: &str) -> Option<&AreaInUse> {
        self.areas.get(area)
    }

    /// How many tokens of this name are taken.
    pub(super) fn token(&self, token: &str) -> u32 {
        self.tokens.get(token).copied().unwrap_or(0)
    }

    /// Units that take a place of this group, in whatever area.
    pub(super) fn group(&self, group: &str) -> u32 {
        self.areas.values().map(|area| area.group(group)).sum()
    }

    /// Units of a test of this name, in whatever area.
    pub(super) fn test(&self, test: &str) -> u32 {
        self.areas.values().map(|area| area.test(test)).sum()
    }

    /// Devices at work, but for this one.
    pub(super) fn other_devices(&self, device: Option<DeviceId>) -> u32 {
        let of = |area: &AreaInUse| area.devices.keys().filter(|d| Some(**d) != device).count();
        u32::try_from(self.areas.values().map(of).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// All tokens that are taken.
    pub(super) fn tokens(&self) -> &BTreeMap<String, u32> {
        &self.tokens
    }

    /// All groups that places are taken of.
    pub(super) fn groups(&self) -> impl Iterator<Item = &String> {
        self.areas.values().flat_map(|area| area.groups.keys())
    }

    /// A unit of a test goes out.
    pub(super) fn add(&mut self, run: &Run, test: TestIx, device: DeviceId) {
        let name = &run.record().spec.area;
        if !self.areas.contains_key(name) {
            self.areas.insert(name.clone(), AreaInUse::default());
        }
        let area = self.areas.get_mut(name).expect("just made");
        let needs = &run.gate_of(test).needs;
        for group in &needs.groups {
            count_up(&mut area.groups, group);
        }
        for (token, n) in &needs.tokens {
            *self.tokens.entry(token.clone()).or_default() += n;
        }
        count_up(&mut area.tests, &run.test(test).name);
        *area.devices.entry(device).or_default() += 1;
    }

    /// A unit of a test is out no more.
    pub(super) fn remove(&mut self, run: &Run, test: TestIx, device: DeviceId) {
        let name = &run.record().spec.area;
        let area = self.areas.get_mut(name).expect("it was added");
        let needs = &run.gate_of(test).needs;
        for group in &needs.groups {
            count_down(&mut area.groups, group);
        }
        for (token, n) in &needs.tokens {
            let taken = self.tokens.get_mut(token).expect("it was added");
            *taken -= n;
            if *taken == 0 {
                self.tokens.remove(token);
            }
        }
        count_down(&mut area.tests, &run.test(test).name);
        let units = area.devices.get_mut(&device).expect("it was added");
        *units -= 1;
        if *units == 0 {
            area.devices.remove(&device);
        }
        if area.devices.is_empty() {
            self.areas.remove(name);
        }
    }
}

impl AreaInUse {
    /// Units that take a place of this group.
    pub(super) fn group(&self, group: &str) -> u32 {
        self.groups.get(group).copied().unwrap_or(0)
    }

    /// Units of this test.
    pub(super) fn test(&self, test: &str) -> u32 {
        self.tests.get(test).copied().unwrap_or(0)
    }

    /// Devices at work, but for this one.
    pub(super) fn other_devices(&self, device: DeviceId) -> usize {
        self.devices.len() - usize::from(self.devices.contains_key(&device))
    }
}

fn count_up(counts: &mut BTreeMap<String, u32>, key: &str) {
    match counts.get_mut(key) {
        Some(n) => *n += 1,
        None => drop(counts.insert(key.to_owned(), 1)),
    }
}

fn count_down(counts: &mut BTreeMap<String, u32>, key: &str) {
    let n = counts.get_mut(key).expect("it was counted");
    *n -= 1;
    if *n == 0 {
        counts.remove(key);
    }
}
