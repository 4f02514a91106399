//! Agents that are gone: what was out on their devices is given to others, and what keeps ending agents is
//! not.

use super::{Lab, Mistake, Presence, UnitState};
use crate::change::{Change, ItemRecord};
use crate::event::LabEvent;
use crate::id::{AgentId, ItemIx, RunId, SessionId};
use crate::outcome::Verdict;
use crate::time::Time;

/// How a session of an agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It said so itself, with nothing left running.
    Goodbye,
    /// It was found dead, or taken for dead.
    Died,
}

impl Lab {
    pub(super) fn receive_agent_gone(&mut self, now: Time, agent: AgentId, session: SessionId, how: Gone) {
        if self.agents.get(&agent).is_some_and(|a| a.session == session) {
            self.lose_agent(now, agent, how);
            self.agents.get_mut(&agent).expect("seen above").presence = Presence::Over;
        }
    }

    /// Agents that have been silent for a whole lease have lost their devices.
    pub(super) fn sweep_lost_agents(&mut self, now: Time) {
        let lost: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(_, a)| a.lease_until <= now && self.policy.mistake != Mistake::NeverExpire)
            .map(|(id, _)| *id)
            .collect();
        for agent in lost {
            self.lose_agent(now, agent, Gone::Died);
        }
    }

    /// Ends the leases of all devices of an agent; what was out on them may be given out again, and what
    /// comes under the old leases is late.
    pub(super) fn lose_agent(&mut self, now: Time, id: AgentId, how: Gone) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        if agent.presence == Presence::There {
            agent.presence = Presence::Missing;
        }
        agent.pending = None;
        let host = agent.host.clone();
        if !std::mem::replace(&mut agent.told_lost, true) {
            let (host, goodbye) = (host.clone(), how == Gone::Goodbye);
            self.happened(now, || LabEvent::AgentLost { agent: id, host, goodbye });
        }
        let agent = &self.agents[&id];
        let mut suspects: Vec<(RunId, ItemIx)> = Vec::new();
        for device in agent.devices.clone() {
            let d = &self.devices[&device];
            if let Some(unit) = self.follows(d) {
                let why = format!("`{}` was lost together with its agent on `{host}`", d.name);
                self.break_gang(now, unit, why);
                continue;
            }
            let d = self.devices.get_mut(&device).expect("looked up above");
            let Some(lease) = d.lease.take() else { continue };
            for (place, unit) in d.units.clone().into_iter().enumerate() {
                let unit = self.units.remove(&unit).expect("units on devices are known");
                // The first of a device runs or is about to; the agent may have died before it could tell.
                if place == 0 {
                    suspects.extend(unit.suspect().map(|item| (unit.run, item)));
                }
                self.in_use.remove(&self.runs[&unit.run], unit.test, unit.device);
                self.shares.take(self.runs[&unit.run].user, unit.device_micros());
                self.free(now, &unit);
                let forget = self.policy.mistake == Mistake::ForgetLostUnits;
                let run = self.run_mut(unit.run);
                for (ix, _) in unit.left {
                    if !forget {
                        run.set_back(ix);
                        run.release_item(ix);
                    }
                }
            }
            self.save(Change::LeaseEnded { lease });
        }
        if let (Gone::Died, Some(max)) = (how, self.policy.losses_max) {
            for (run, item) in suspects {
                self.count_loss(now, run, item, &host, max);
            }
        }
    }

    /// An item was running when its agent was lost. That is the lab's fault until it has happened often.
    fn count_loss(&mut self, now: Time, run_id: RunId, ix: ItemIx, host: &str, max: u16) {
        let run = self.run_mut(run_id);
        let old = &run.item(ix).record;
        let lab_errors = old.lab_errors.saturating_add(1);
        let record = ItemRecord { lab_errors, ..old.clone() };
        run.set_record(ix, record.clone());
        self.save(Change::ItemSet { run: run_id, item: ix, record });
        if lab_errors > max {
            let reason = format!("its agent was lost while it ran, {lab_errors} times, at last on `{host}`");
            self.end_items(now, run_id, vec![(ix, Verdict::Error, reason)]);
        }
    }
}

impl UnitState {
    /// The item that was running when its agent was lost, as far as is known.
    fn suspect(&self) -> Option<ItemIx> {
        let told = self.told.map(|t| t.item).filter(|item| self.left.iter().any(|(ix, _)| ix == item));
        told.or_else(|| self.left.first().map(|(ix, _)| *ix))
    }
}
