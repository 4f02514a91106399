//! What stands before its tests: what they need, what they must not run beside, the devices they have at once.

use super::*;

impl Run {
    /// The place of a gate, which may be new.
    pub(super) fn gate(&mut self, def: GateDef) -> u32 {
        let new = u32::try_from(self.gates.len()).expect("no more gates than tests");
        let at = *self.gate_of.entry(def.key()).or_insert(new);
        if at == new {
            self.gates.push(def);
        }
        at
    }

    /// What each test must not run beside, in this run or another of the area.
    pub(in crate::lab) fn apart(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeSet<String>)> {
        self.tests.iter().map(|t| (&t.name, &self.gate_def(t.gate).apart_from)).filter(|(_, a)| !a.is_empty())
    }

    /// Keeps a test apart from these others too.
    pub(in crate::lab) fn keep_apart(&mut self, test: TestIx, others: &BTreeSet<String>) {
        let gate = self.gate_of(test);
        if others.is_subset(&gate.apart_from) {
            return;
        }
        let apart_from = gate.apart_from.union(others).cloned().collect();
        let gate = GateDef { needs: gate.needs.clone(), apart_from, gang: gate.gang };
        let ready: Vec<ItemIx> =
            self.items_of(test).filter(|ix| self.item(*ix).phase == Phase::Ready).collect();
        for ix in &ready {
            self.unqueue(*ix);
        }
        let gate = self.gate(gate);
        self.test_mut(test).gate = gate;
        for ix in ready {
            self.release_item(ix);
        }
    }

    /// The place of a set of needed devices, which may be new; `None` where nothing is said.
    pub(super) fn enter_gang(&mut self, needed: &NeededDevices) -> Result<Option<u32>, Rejected> {
        let same = self.gates.iter().find(|g| g.gang.is_some() && g.needs.devices == *needed);
        if let Some(same) = same {
            return Ok(same.gang);
        }
        let Some(gang) = Gang::new(needed)? else { return Ok(None) };
        self.gangs.push(gang);
        Ok(Some(u32::try_from(self.gangs.len() - 1).expect("no more than tests")))
    }

    /// The sets of devices that its tests need.
    pub(in crate::lab) fn gangs(&self) -> &[Gang] {
        &self.gangs
    }

    /// The devices that what stands before a gate needs at once.
    pub(in crate::lab) fn gang_of(&self, gate: u32) -> Option<&Gang> {
        self.gate_def(gate).gang.map(|gang| &self.gangs[gang as usize])
    }

    /// Whether it matters to it what devices are like.
    pub(in crate::lab) fn looks_at_devices(&self) -> bool {
        matches!(self.reach, Reach::Of { .. }) || !self.gangs.is_empty()
    }

    /// A device is like this; `None`: it is gone.
    pub(in crate::lab) fn set_device(&mut self, id: DeviceId, mut seen: Option<&mut Seen<'_>>) {
        self.reach.set(id, seen.as_deref_mut());
        self.gangs.iter_mut().for_each(|gang| gang.set(id, seen.as_deref_mut()));
    }

    pub(in crate::lab) fn gate_def(&self, gate: u32) -> &GateDef {
        &self.gates[gate as usize]
    }

    pub(in crate::lab) fn gate_of(&self, test: TestIx) -> &GateDef {
        self.gate_def(self.test(test).gate)
    }
}
