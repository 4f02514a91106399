//! What is counted beside this lab: places of groups and tokens that other runs may have, which are none of its
//! own. Whoever gives them out says how many it may use; what it wants more of is asked here.
//!
//! A lab that nobody says that to has all there is.

use super::run::{GateDef, Run};
use super::{Device, Held, Lab};
use crate::change::RunRecord;
use crate::definition::{AfterMode, AreaLimits, TestDef};
use crate::id::DeviceId;
use std::collections::BTreeMap;

/// Something of which there is so much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// Places of a group.
    Group(String),
    /// Tokens, such as licences.
    Token(String),
    /// The one place of a test of which no two items may run at the same time.
    Alone(String),
    /// Jobs at once of all runs together. A device has a place for as long as it has work.
    Jobs,
}

/// How much of what.
pub type Places = BTreeMap<Counted, u32>;

/// What an attempt behind this gate takes of what is limited, beside its device.
fn taken(gate: &GateDef, limits: &AreaLimits) -> Places {
    let needs = &gate.needs;
    let groups = needs.groups.iter().filter(|group| limits.groups.contains_key(*group));
    let groups = groups.map(|group| (Counted::Group(group.clone()), 1));
    let tokens = needs.tokens.iter().map(|(token, n)| (Counted::Token(token.clone()), *n));
    let alone = gate.alone.iter().map(|test| (Counted::Alone(test.to_string()), 1));
    groups.chain(tokens).chain(alone).collect()
}

impl Lab {
    /// How many tokens the lab as a whole has, by name, whatever areas say. It is configuration, not recorded.
    pub fn set_tokens(&mut self, tokens: BTreeMap<String, u32>) {
        self.tokens = tokens;
    }

    /// From now on the lab may use so much of what other runs may have too. Not recorded.
    pub fn set_granted(&mut self, granted: Places) {
        self.granted = Some(granted);
    }

    /// How many tokens of a name a run with these limits may count on.
    pub(super) fn tokens_of(&self, limits: &AreaLimits, token: &str) -> u32 {
        let said = limits.tokens.get(token).copied().unwrap_or(u32::MAX);
        self.tokens.get(token).map_or(said, |all| said.min(*all))
    }

    /// What of what stands before a gate needs is not granted.
    pub(super) fn not_granted(&self, run: &Run, gate: u32, device: DeviceId) -> Option<Counted> {
        let granted = self.granted.as_ref()?;
        let limits = &run.record().spec.limits;
        let of = |what: &Counted| granted.get(what).copied().unwrap_or(0);
        // A device that works has its place.
        if limits.jobs_of_all_runs.is_some() && self.in_use.other_devices(Some(device)) >= of(&Counted::Jobs)
        {
            return Some(Counted::Jobs);
        }
        let lacks = |(what, n): &(Counted, u32)| self.used_of(what) + n > of(what);
        taken(run.gate_def(gate), limits).into_iter().find(lacks).map(|(what, _)| what)
    }

    fn used_of(&self, what: &Counted) -> u32 {
        match what {
            Counted::Group(group) => self.in_use.group(group),
            Counted::Token(token) => self.in_use.token(token),
            Counted::Alone(test) => self.in_use.test(test),
            Counted::Jobs => self.in_use.other_devices(None),
        }
    }

    /// What is used now of what is counted.
    pub fn places_used(&self) -> Places {
        let groups = self.in_use.groups().map(|group| Counted::Group(group.clone()));
        let tokens = self.in_use.tokens().keys().map(|token| Counted::Token(token.clone()));
        // Nothing of these is out that was not granted.
        let granted = self.granted.iter().flat_map(BTreeMap::keys);
        let granted = granted.filter(|what| matches!(what, Counted::Alone(_) | Counted::Jobs)).cloned();
        let all = groups.chain(tokens).chain(granted).map(|what| (what.clone(), self.used_of(&what)));
        all.filter(|(_, used)| *used > 0).collect()
    }

    /// What would let something start on a device that has nothing to do: once for each start, with how much of it
    /// there is.
    pub fn places_wanted(&self) -> Vec<BTreeMap<Counted, (u32, u32)>> {
        let mut wanted = Vec::new();
        let idle: Vec<_> = self.devices.values().filter(|d| d.units.is_empty()).collect();
        for run in self.runs.values() {
            let limits = &run.record().spec.limits;
            for (_, class) in run.ready().heads() {
                let waits = |device: &&&Device| {
                    let agent = &self.agents[&device.agent];
                    let speaks = agent.is_there() && agent.pending.is_some();
                    let held = speaks.then(|| self.held_up(run, class.gate, device.id, agent.gauges));
                    matches!(held, Some(Some(Held::OtherRuns { .. })))
                };
                let starts = idle.iter().filter(waits).take(run.ready().class(class).count()).count();
                if starts == 0 {
                    continue;
                }
                let mut taken = taken(run.gate_def(class.gate), limits);
                if limits.jobs_of_all_runs.is_some() {
                    taken.insert(Counted::Jobs, 1);
                }
                let all = taken.into_iter().map(|(what, n)| {
                    let max = match &what {
                        Counted::Group(group) => limits.groups.get(group).copied().unwrap_or(u32::MAX),
                        Counted::Token(token) => self.tokens_of(limits, token),
                        Counted::Alone(_) => 1,
                        Counted::Jobs => limits.jobs_of_all_runs.unwrap_or(u32::MAX),
                    };
                    (what, (n, max))
                });
                let all: BTreeMap<_, _> = all.collect();
                let left = idle.len().saturating_sub(wanted.len());
                wanted.extend(std::iter::repeat_n(all, starts.min(left)));
            }
        }
        wanted
    }
}

/// Whether anything of a run takes of what is counted beside its lab.
pub fn counts_places(record: &RunRecord) -> bool {
    let counts = |def: &TestDef| {
        let is_alone = def.after.iter().any(|a| a.mode == AfterMode::Exclusive && a.test == def.name);
        !def.needs.groups.is_empty() || !def.needs.tokens.is_empty() || is_alone
    };
    record.spec.limits.jobs_of_all_runs.is_some() || record.plan.tests.iter().any(|test| counts(&test.def))
}
