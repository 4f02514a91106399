//! What stands before its tests: what they need, what they must not run beside, the devices they have at once.

use super::*;
use crate::definition::Limiter;
use crate::hours::Hours;

/// What holds all of a run up for no longer than this is not told.
const WAITING_TOLD_AFTER: Duration = Duration::from_secs(1);

/// A gate's definition in a form that can be looked up.
pub(super) type GateKey =
    (u64, Option<u64>, Vec<String>, NeededDevices, Apart, Counted, Vec<Hours>, Option<Limiter>);

/// The tests it must not run beside, and its own name where it is among them.
type Apart = (BTreeSet<String>, Option<Arc<str>>);

/// Tokens, and free bytes by directory.
type Counted = (BTreeMap<String, u32>, BTreeMap<String, u64>);

impl GateDef {
    fn key(&self) -> GateKey {
        let Needs { disk_free_bytes_min, load_max, groups, tokens, hours, disks, limiter, devices } =
            &self.needs;
        let load_max = load_max.map(f64::to_bits);
        let counted = (tokens.clone(), disks.clone());
        let (apart, hours) = ((self.apart_from.clone(), self.alone.clone()), hours.clone());
        let (groups, devices) = (groups.clone(), devices.clone());
        (*disk_free_bytes_min, load_max, groups, devices, apart, counted, hours, limiter.clone())
    }

    /// Whether nothing but the hours can hold up what stands before it: those change seldom.
    pub(in crate::lab) fn is_open_always(&self) -> bool {
        let Needs { disk_free_bytes_min, load_max, groups, tokens, hours: _, disks, limiter, devices } =
            &self.needs;
        *disk_free_bytes_min == 0
            && load_max.is_none()
            && groups.is_empty()
            && tokens.is_empty()
            && disks.is_empty()
            && limiter.is_none()
            && *devices == NeededDevices::default()
            && self.apart_from.is_empty()
    }
}

/// A gate that a host has shut.
#[derive(Clone, Debug)]
pub(super) struct Shut {
    why: String,
    until: Time,
}

/// What keeps all of a run from starting.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) reason: String,
    pub(super) since: Time,
    /// The watchers were told.
    pub(super) told: bool,
}

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
        let gate = GateDef { apart_from, ..gate.clone() };
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

    /// A host does not let what stands before a gate start before this.
    pub(in crate::lab) fn shut(&mut self, gate: u32, agent: AgentId, why: String, until: Time) {
        self.shut.insert((gate, agent), Shut { why, until });
    }

    /// Why a host does not let what stands before a gate start now.
    pub(in crate::lab) fn is_shut(&self, gate: u32, agent: AgentId, now: Time) -> Option<&str> {
        self.shut.get(&(gate, agent)).filter(|shut| now < shut.until).map(|shut| shut.why.as_str())
    }

    /// Forgets gates that were shut for a time that is over.
    pub(in crate::lab) fn forget_shut(&mut self, now: Time) {
        self.shut.retain(|_, shut| now < shut.until);
    }

    /// When something may start that does not now, as far as only the clock keeps it.
    pub(super) fn gates_wake_at(&self) -> Option<Time> {
        if self.ready.len() == 0 {
            return None;
        }
        let shut = self.shut.values().map(|shut| shut.until);
        shut.chain(self.waits_until()).chain(self.opens_at).min()
    }

    /// When the watchers are to be told what it waits for.
    pub(in crate::lab) fn waits_until(&self) -> Option<Time> {
        let waiting = self.waiting.as_ref().filter(|w| !w.told && self.out == 0)?;
        Some(waiting.since + WAITING_TOLD_AFTER)
    }

    /// Something of it was run: what it waits for from now on is told anew.
    pub(in crate::lab) fn has_run(&mut self) {
        self.waiting = None;
    }

    /// Finds out when the hours begin of what could start otherwise.
    pub(in crate::lab) fn look_at_hours(&mut self, now: Time) {
        if self.gates.iter().all(|gate| gate.needs.hours.is_empty()) {
            return;
        }
        let zone = &self.record.spec.zone;
        let closed = |class: Class| {
            let hours = &self.gates[class.gate as usize].needs.hours;
            hours.iter().find(|hours| !hours.holds(zone, now))
        };
        let opens = self.ready.heads().filter_map(|(_, class)| closed(class)?.next_change(zone, now));
        self.opens_at = opens.min();
    }

    /// What keeps all of it from starting, if anything does; whether the watchers are to be told of it now. Those
    /// that change by the moment are the same if they differ in numbers alone.
    pub(in crate::lab) fn waits(&mut self, now: Time, reason: Option<String>) -> Option<Arc<str>> {
        let Some(reason) = reason else {
            self.waiting = None;
            return None;
        };
        let alike = |a: &str, b: &str| {
            let letters = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
            a == b || letters(a) == letters(b)
        };
        match &mut self.waiting {
            Some(waiting) if alike(&waiting.reason, &reason) => {
                let is_time = !waiting.told && now >= waiting.since + WAITING_TOLD_AFTER;
                waiting.told |= is_time;
                is_time.then(|| reason.into())
            }
            before => {
                // What follows on another reason has waited long enough.
                let since = before.as_ref().map_or(now, |w| w.since);
                let told = before.as_ref().is_some_and(|w| w.told);
                *before = Some(Waiting { reason: reason.clone(), since, told });
                told.then(|| reason.into())
            }
        }
    }
}
