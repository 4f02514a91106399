//! The order of what is ready, what it is expected to take, and what is out.

use super::*;

impl Run {
    pub(in crate::lab) fn place(&self, ix: ItemIx) -> (Class, Rank) {
        let item = self.item(ix);
        let test = self.test(item.test);
        let discovery = self.is_discovery(ix);
        let shared = match (&test.def.kind, discovery) {
            (Kind::Suite(suite), false) if item.record.tries == 0 && suite.batch != Batch::Single => {
                let group = self.planned(ix).group;
                let several = test.groups.get(group as usize).is_some_and(|g| g.batch_max > 1);
                several.then_some((item.test, group))
            }
            _ => None,
        };
        // Questions for items come first: everything of their test waits for the answer.
        let micros = if discovery {
            u64::MAX
        } else {
            let planned = self.planned(ix);
            let known = planned.micros.map_or(UNKNOWN_MICROS, u64::from);
            if planned.expected.slow { known.max(3_600_000_000) } else { known }
        };
        let rank = Rank { priority: Reverse(test.def.priority), micros: Reverse(micros), item: ix };
        (Class { gate: test.gate, shared, failed_on: item.failed_on }, rank)
    }

    pub(in crate::lab) fn expected_micros(&self, ix: ItemIx) -> u64 {
        if self.is_discovery(ix) {
            return UNKNOWN_MICROS;
        }
        if let Some(micros) = self.planned(ix).micros {
            return u64::from(micros);
        }
        self.unknown_micros(self.item(ix).test)
    }

    /// Expected of an item of a test that nothing is known about itself.
    pub(in crate::lab) fn unknown_micros(&self, test: TestIx) -> u64 {
        self.test(test).mean.get().or(self.mean.get()).unwrap_or(UNKNOWN_MICROS)
    }

    pub(in crate::lab) fn learn(&mut self, ix: ItemIx, duration: Duration) {
        let micros = crate::time::micros(duration);
        let test = self.item(ix).test;
        self.test_mut(test).mean.add(micros);
        self.mean.add(micros);
    }

    /// Most items of one process, for a class whose items share one.
    pub(in crate::lab) fn batch_max(&self, test: TestIx, group: u32) -> usize {
        let test = self.test(test);
        let framework = test.groups.get(group as usize).map_or(1, |g| g.batch_max);
        let asked = match &test.def.kind {
            Kind::Suite(suite) => match suite.batch {
                Batch::Auto => u32::MAX,
                Batch::Single => 1,
                Batch::Most(n) => n,
            },
            Kind::Steps { .. } => 1,
        };
        framework.min(asked).max(1) as usize
    }

    pub(in crate::lab) fn set_out(&mut self, ix: ItemIx, unit: UnitId) {
        self.unqueue(ix);
        self.item_mut(ix).phase = Phase::Out { unit };
        let test = self.item(ix).test;
        self.test_mut(test).out += 1;
        self.out += 1;
    }

    pub(in crate::lab) fn set_back(&mut self, ix: ItemIx) {
        self.item_mut(ix).phase = Phase::Blocked;
        let test = self.item(ix).test;
        self.test_mut(test).out -= 1;
        self.out -= 1;
    }

    /// The devices that the items of a class failed on.
    pub(in crate::lab) fn failed_on(&self, class: Class) -> &[DeviceId] {
        &self.failed_on[class.failed_on as usize]
    }

    /// What all that is ready is expected to take, in microseconds.
    pub(in crate::lab) fn ready_micros(&self) -> u64 {
        let unknown = self.mean.get().unwrap_or(UNKNOWN_MICROS);
        self.ready.all_micros(unknown)
    }

    /// Ready items that rank before this one.
    pub(in crate::lab) fn ready_before(&self, ix: ItemIx) -> usize {
        self.ready.before(self.place(ix).1)
    }
}
