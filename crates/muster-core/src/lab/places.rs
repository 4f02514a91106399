//! What is counted beside this lab: places of groups and tokens that other runs may have, which are none of its
//! own. Whoever gives them out says how many it may use; what it wants more of is asked here.
//!
//! A lab that nobody says that to has all there is.

use super::run::Run;
use super::{Device, Held, Lab};
use crate::definition::{AreaLimits, Needs};
use std::collections::BTreeMap;

/// Something of which there is so much.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// Places of a group.
    Group(String),
    /// Tokens, such as licences.
    Token(String),
}

/// How much of what.
pub type Places = BTreeMap<Counted, u32>;

/// What an attempt with these needs takes of what is limited.
fn taken(needs: &Needs, limits: &AreaLimits) -> Places {
    let groups = needs.groups.iter().filter(|group| limits.groups.contains_key(*group));
    let groups = groups.map(|group| (Counted::Group(group.clone()), 1));
    let tokens = needs.tokens.iter().map(|(token, n)| (Counted::Token(token.clone()), *n));
    groups.chain(tokens).collect()
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
    pub(super) fn not_granted(&self, run: &Run, gate: u32) -> Option<Counted> {
        let granted = self.granted.as_ref()?;
        let taken = taken(&run.gate_def(gate).needs, &run.record().spec.limits);
        let lacks =
            |(what, n): &(Counted, u32)| self.used_of(what) + n > granted.get(what).copied().unwrap_or(0);
        taken.into_iter().find(lacks).map(|(what, _)| what)
    }

    fn used_of(&self, what: &Counted) -> u32 {
        match what {
            Counted::Group(group) => self.in_use.group(group),
            Counted::Token(token) => self.in_use.token(token),
        }
    }

    /// What is used now of what is counted.
    pub fn places_used(&self) -> Places {
        let groups = self.in_use.groups().map(|group| Counted::Group(group.clone()));
        let tokens = self.in_use.tokens().keys().map(|token| Counted::Token(token.clone()));
        groups.chain(tokens).map(|what| (what.clone(), self.used_of(&what))).collect()
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
                let taken = taken(&run.gate_def(class.gate).needs, limits);
                let all = taken.into_iter().map(|(what, n)| {
                    let max = match &what {
                        Counted::Group(group) => limits.groups.get(group).copied().unwrap_or(u32::MAX),
                        Counted::Token(token) => self.tokens_of(limits, token),
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

    /// Whether anything of its runs takes of what is counted.
    pub fn counts_places(&self) -> bool {
        let counts = |needs: &Needs| !needs.groups.is_empty() || !needs.tokens.is_empty();
        self.runs.values().any(|run| run.tests().iter().any(|test| counts(&test.def.needs)))
    }
}
