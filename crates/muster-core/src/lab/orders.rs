//! What an agent should have: the answer to its exchange.

use super::{Lab, Wish};
use crate::exchange::{Orders, RunContext, TestContext, Unit, UnitAttempt, Wanted};
use crate::id::{AgentId, AttemptRef, RunId, TestIx, UnitId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Lab {
    /// Answers every exchange that waits, if there is something to say.
    pub(super) fn give_orders(&mut self) {
        let agents: Vec<AgentId> =
            self.agents.iter().filter(|(_, a)| a.pending.is_some()).map(|(id, _)| *id).collect();
        for agent in agents {
            if let Some(orders) = self.orders_for(agent) {
                self.out.push(super::Effect::Orders(agent, Box::new(orders)));
            }
        }
    }

    fn orders_for(&mut self, id: AgentId) -> Option<Orders> {
        let agent = self.agents.get_mut(&id)?;
        let pending = agent.pending.take()?;
        let (session, acked, devices) = (agent.session, agent.acked, agent.devices.clone());
        let mut units: Vec<Wanted> = Vec::new();
        // A unit the agent holds and should not, or should give back.
        let mut unwelcome = pending.holding.len();
        let mut asks_back = false;
        let mut kill = false;
        for device in &devices {
            let d = &self.devices[device];
            for &unit_id in &d.units {
                let unit = &self.units[&unit_id];
                let give_back = match unit.wish {
                    Wish::Run => false,
                    Wish::GiveBack { said } => {
                        asks_back |= said.is_none();
                        true
                    }
                    Wish::Stop { .. } => {
                        kill |= self.runs[&unit.run].stop().is_some_and(|s| s.kill);
                        continue;
                    }
                };
                unwelcome -= usize::from(pending.holding.contains(&unit_id));
                units.push(Wanted { unit: unit_id, lease: unit.lease, device: d.place, give_back });
            }
        }
        let missing: Vec<UnitId> = units
            .iter()
            // What is asked back anyway need not be sent if the agent does not have it.
            .filter(|w| !w.give_back)
            .map(|w| w.unit)
            .filter(|u| {
                !pending.holding.contains(u) && !(pending.finished.contains(u) && self.units[u].running)
            })
            .collect();
        let stops = devices
            .iter()
            .flat_map(|d| &self.devices[d].units)
            .any(|u| matches!(self.units[u].wish, Wish::Stop { said: None }));
        if !pending.urgent && unwelcome == 0 && !asks_back && missing.is_empty() && !stops && !kill {
            let agent = self.agents.get_mut(&id).expect("looked up above");
            agent.pending = Some(pending);
            return None;
        }
        for device in &devices {
            for unit in &self.devices[device].units {
                let wish = &mut self.units.get_mut(unit).expect("units on devices are known").wish;
                match wish {
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
            let unit = &self.units[&unit_id];
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
                    }
                })
                .collect();
            new.push(Unit {
                id: unit_id,
                test: unit.test,
                run: unit.run,
                discovery: unit.discovery,
                attempts,
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
        })
    }
}
