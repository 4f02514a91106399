//! What an agent should have: the answer to its exchange.

use super::{Lab, Mistake, Said, Wish};
use crate::change::Change;
use crate::event::Told;
use crate::exchange::{Orders, RunContext, TestContext, Unit, UnitAttempt, Wanted};
use crate::id::{AgentId, AttemptRef, RunId, TestIx, UnitId};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be done because of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Save this. Nothing else may be done before everything of one `apply` is saved.
    Save(Change),
    /// Send an agent its orders.
    Orders(AgentId, Box<Orders>),
    /// Tell those who watch.
    Tell(Told),
}

impl Lab {
    /// Answers every exchange that waits, if there is something to say.
    pub(super) fn give_orders(&mut self, now: Time) {
        let agents: Vec<AgentId> =
            self.agents.iter().filter(|(_, a)| a.pending.is_some()).map(|(id, _)| *id).collect();
        for agent in agents {
            if let Some(orders) = self.orders_for(now, agent) {
                self.out.push(super::Effect::Orders(agent, Box::new(orders)));
            }
        }
    }

    fn orders_for(&mut self, now: Time, id: AgentId) -> Option<Orders> {
        let lease = self.policy.lease;
        let renewal = lease / 4;
        let agent = self.agents.get_mut(&id)?;
        let pending = agent.pending.take()?;
        let unheard = |said: Option<u64>| said.is_none_or(|s| pending.heard < s);
        let (session, acked, devices) = (agent.session, agent.acked, agent.devices.clone());
        let mut units: Vec<Wanted> = Vec::new();
        // Units the agent holds and should not.
        let mut unwelcome = pending.holding.clone();
        let (mut asks, mut kill) = (false, false);
        for device in &devices {
            let d = &self.devices[device];
            for &unit_id in &d.units {
                let unit = &self.units[&unit_id];
                if unit.device != *device {
                    continue;
                }
                let give_back = match unit.wish {
                    Wish::Run => false,
                    Wish::GiveBack { said } => {
                        asks |= unheard(said);
                        true
                    }
                    Wish::Stop { said } => {
                        asks |= unheard(said);
                        kill |= self.runs[&unit.run].stop().is_some_and(|s| s.kill);
                        continue;
                    }
                };
                unwelcome.remove(&unit_id);
                units.push(Wanted { unit: unit_id, lease: unit.lease, device: d.place, give_back });
            }
        }
        let missing: Vec<UnitId> = units
            .iter()
            // What is asked back anyway need not be sent if the agent does not have it.
            .filter(|w| !w.give_back)
            .map(|w| w.unit)
            .filter(|u| {
                !(pending.holding.contains(u) || (pending.finished.contains(u) && self.units[u].running))
            })
            .filter(|u| self.policy.mistake != Mistake::SendOnce || !self.units[u].sent)
            .filter(|u| self.knows_places(&self.units[u]))
            .collect();
        let agent = self.agents.get_mut(&id).expect("looked up above");
        // Ending what it should not hold takes the agent a while; it is not told again meanwhile.
        let known = pending.heard >= agent.said.seq
            && unwelcome.is_subset(&agent.said.unwelcome)
            && (agent.said.kill || !kill);
        let ends = (kill || !unwelcome.is_empty()) && !known;
        let renew = !pending.holding.is_empty() && now.since(agent.said.at) >= renewal;
        if !pending.urgent && !asks && !ends && !renew && missing.is_empty() {
            agent.pending = Some(pending);
            return None;
        }
        agent.said = Said { seq: pending.seq, at: now, unwelcome, kill };
        for device in &devices {
            for unit in &self.devices[device].units {
                let unit = self.units.get_mut(unit).expect("units on devices are known");
                if unit.device != *device {
                    continue;
                }
                match &mut unit.wish {
                    Wish::GiveBack { said } | Wish::Stop { said } => {
                        said.get_or_insert(pending.seq);
                    }
                    Wish::Run => {}
                }
            }
        }
        let mut runs: BTreeMap<RunId, Arc<RunContext>> = BTreeMap::new();
        let mut tests: BTreeMap<(RunId, TestIx), Arc<TestContext>> = BTreeMap::new();
        let mut new = Vec::with_capacity(missing.len());
        let mut seen: BTreeSet<UnitId> = BTreeSet::new();
        for unit_id in missing {
            if !seen.insert(unit_id) {
                continue;
            }
            let seats = self.seats(&self.units[&unit_id]);
            let unit = self.units.get_mut(&unit_id).expect("units on devices are known");
            unit.sent = true;
            let run = self.runs.get_mut(&unit.run).expect("units are of active runs");
            runs.entry(unit.run).or_insert_with(|| Arc::clone(run.context()));
            tests.entry((unit.run, unit.test)).or_insert_with(|| run.test_context(unit.test));
            let attempts = unit
                .left
                .iter()
                .map(|&(item, attempt)| {
                    let attempt = AttemptRef { run: unit.run, item, attempt };
                    if unit.discovery {
                        return UnitAttempt {
                            attempt,
                            path: Arc::clone(run.path(item)),
                            selector: Arc::from(""),
                            group: 0,
                            vars: Arc::from([]),
                            timeout: None,
                            slow: false,
                            part: None,
                        };
                    }
                    let planned = run.planned(item);
                    UnitAttempt {
                        attempt,
                        path: Arc::clone(&planned.path),
                        selector: Arc::clone(&planned.selector),
                        group: planned.group,
                        vars: Arc::clone(&planned.vars),
                        timeout: planned.timeout,
                        slow: planned.expected.slow,
                        part: crate::part::of(&run.record().spec.parts, item).cloned(),
                    }
                })
                .collect();
            new.push(Unit {
                id: unit_id,
                test: unit.test,
                run: unit.run,
                discovery: unit.discovery,
                attempts,
                devices: seats,
            });
        }
        Some(Orders {
            session,
            seq: pending.seq,
            acked,
            units,
            new,
            runs: runs.into_values().collect(),
            tests: tests.into_values().collect(),
            kill,
            lease,
        })
    }
}
