//! Walks every cross-reference of the lab; called after each step in tests and by the simulator.

use super::Lab;
use super::in_use::InUse;
use super::run::{Phase, Run};
use super::shares::UserIx;
use crate::outcome::Counts;
use std::collections::{BTreeMap, BTreeSet};

impl Lab {
    /// Panics with the broken promise if the lab contradicts itself.
    pub fn check(&self) {
        let mut leases = BTreeSet::new();
        let mut on_devices = BTreeSet::new();
        for (id, device) in &self.devices {
            assert_eq!(device.id, *id);
            assert!(self.agents[&device.agent].devices.contains(id), "{id} is its agent's");
            let follows = self.follows(device).is_some();
            if let Some(lease) = device.lease {
                assert!(follows || leases.insert(lease), "{lease} is held once");
                assert!(lease <= self.used.lease, "{lease} was handed out");
            }
            if let Some(check) = device.health.task.run() {
                assert!(self.runs.contains_key(&check), "the check of {id} is a run");
                assert!(!self.is_over(check), "the check of {id} is under way");
            }
            assert!(device.units.is_empty() || device.lease.is_some(), "{id} has units under a lease");
            let mut sum = 0;
            for unit_id in &device.units {
                let unit = &self.units[unit_id];
                assert!(follows || on_devices.insert(*unit_id), "{unit_id} runs on one device");
                assert!(unit.devices().any(|d| d == *id), "{unit_id} is on its devices");
                assert!(unit.others.is_empty() || device.units.len() == 1, "{id} has one thing with others");
                assert_eq!(Some(unit.lease), device.lease, "{unit_id} is under its device's lease");
                assert!(!unit.left.is_empty(), "{unit_id} has something left");
                sum += unit.micros;
            }
            assert_eq!(sum, device.micros, "expected work on {id}");
        }
        assert_eq!(on_devices.len(), self.units.len(), "every unit is on a device");
        for (unit_id, unit) in &self.units {
            assert_eq!(unit.id, *unit_id);
            for device in unit.devices() {
                let device = self.devices.get(&device);
                assert!(
                    device.is_some() || unit.broken.is_some(),
                    "{unit_id} has all its devices, or is broken"
                );
                assert!(device.is_none_or(|d| d.units.contains(unit_id)), "{unit_id} is on all its devices");
            }
            let run = &self.runs[&unit.run];
            for (ix, attempt) in &unit.left {
                let item = run.item(*ix);
                assert_eq!(item.phase, Phase::Out { unit: *unit_id });
                assert_eq!(item.record.attempts + 1, *attempt, "attempts are numbered in order");
                assert!(item.record.verdict.is_none());
            }
        }
        let mut in_use = InUse::default();
        for unit in self.units.values() {
            in_use.add(&self.runs[&unit.run], unit.test, unit.device);
        }
        assert_eq!(in_use, self.in_use, "what is out");
        let mut shares: BTreeMap<UserIx, (u32, u64)> = BTreeMap::new();
        for device in self.devices.values() {
            let first = device.units.first().map(|unit| self.runs[&self.units[unit].run].user);
            assert_eq!(device.works_for, first, "whom a device works for");
            if let Some(user) = first {
                shares.entry(user).or_default().0 += 1;
            }
        }
        for unit in self.units.values() {
            shares.entry(self.runs[&unit.run].user).or_default().1 += unit.device_micros();
        }
        self.shares.check(&shares);
        for run in self.runs.values() {
            assert!(run.was_started || !run.has_started(), "what was started is known");
            run.ready().check();
            self.check_run(run);
        }
    }

    fn check_run(&self, run: &Run) {
        let (mut open, mut out, mut ready) = (0, 0, 0);
        for item in run.items() {
            open += u32::from(item.record.verdict.is_none());
            match item.phase {
                Phase::Out { unit } => {
                    out += 1;
                    assert!(self.units.contains_key(&unit), "an item that is out is in a unit");
                }
                Phase::Ready => {
                    ready += 1;
                    assert_eq!(item.unmet, 0);
                    assert_eq!(run.test(item.test).unmet, 0, "what is ready waits for nothing");
                }
                Phase::Ended => assert!(item.record.verdict.is_some()),
                Phase::Blocked | Phase::Backoff { .. } => assert!(item.record.verdict.is_none()),
            }
        }
        assert_eq!(open, run.open(), "open items of the run");
        assert_eq!(out, run.out(), "items of the run that are out");
        assert_eq!(ready, run.ready().len(), "ready items of the run");
        let mut all = Counts::default();
        for (ix, test) in (0u32..).zip(run.tests()) {
            let ix = crate::id::TestIx(ix);
            let (mut counts, mut open, mut out) = (Counts::default(), 0, 0);
            for item_ix in run.items_of(ix) {
                let item = run.item(item_ix);
                assert_eq!(item.test, ix);
                open += u32::from(item.record.verdict.is_none());
                out += u32::from(matches!(item.phase, Phase::Out { .. }));
                let discovery = run.is_discovery(item_ix);
                if let Some(v) = item.record.verdict
                    && (!discovery || !v.is_ok() || v == crate::outcome::Verdict::NoItems)
                {
                    counts.add(v);
                    all.add(v);
                }
            }
            assert_eq!(open, test.open, "open items of `{}`", test.name);
            assert_eq!(out, test.out, "items of `{}` that are out", test.name);
            assert_eq!(counts, test.counts, "counts of `{}`", test.name);
        }
        assert_eq!(all, *run.counts(), "counts of the run");
    }
}
