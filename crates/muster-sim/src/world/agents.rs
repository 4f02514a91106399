//! The agents of a world: what they hear, when they speak, what ends on their devices.

use super::{Event, World};
use crate::host::{Due, Fact};
use crate::mistake::Mistake;
use muster_agent::ledger::Speak;
use muster_core::exchange::Orders;
use muster_core::id::AgentId;
use std::time::Duration;

impl World {
    /// How long a host stands still yet; what happens to it meanwhile happens afterwards.
    fn frozen_for(&self, n: usize) -> Option<Duration> {
        let until = self.hosts[n].frozen_until.filter(|until| *until >= self.now)?;
        Some(until.since(self.now) + Duration::from_micros(1))
    }

    pub(super) fn thaw(&mut self, n: usize) {
        if self.hosts[n].frozen_until != Some(self.now) {
            return;
        }
        say!(self, "h{n} goes on");
        let (mut facts, mut due) = (Vec::new(), Vec::new());
        // What has slept looks how long before it does anything else.
        if self.mistake != Mistake::GoOnAfterSleep {
            let host = &mut self.hosts[n];
            due = host.sweep(self.now, self.patience, &mut self.rng, &self.truth, &mut facts);
        }
        self.hosts[n].thaw(&mut facts);
        self.carry_on(n, due, facts);
    }

    pub(super) fn agent_hears(&mut self, agent: AgentId, orders: Orders) {
        let n = usize::try_from(agent.0 - 1).expect("agents are hosts' numbers from 1");
        if let Some(wait) = self.frozen_for(n) {
            self.at(wait, Event::ToAgent(agent, Box::new(orders)));
            return;
        }
        say!(self, "{agent} hears #{}", orders.seq);
        let mut facts = Vec::new();
        let limit = (self.mistake != Mistake::GoOnWithoutLab).then_some(self.patience);
        let host = &mut self.hosts[n];
        let due = host.receive(self.now, orders, limit, &mut self.rng, &self.truth, &mut facts);
        self.carry_on(n, due, facts);
    }

    pub(super) fn wake(&mut self, n: usize) {
        if self.hosts[n].wake != Some(self.now) || self.hosts[n].ledger.is_none() {
            return;
        }
        self.hosts[n].wake = None;
        if self.frozen_for(n).is_some() {
            return;
        }
        if self.mistake != Mistake::GoOnWithoutLab {
            let mut facts = Vec::new();
            let due = self.hosts[n].sweep(self.now, self.patience, &mut self.rng, &self.truth, &mut facts);
            self.carry_on(n, due, facts);
        }
        let clock = self.hosts[n].clock(self.now);
        let host = &mut self.hosts[n];
        let Some(ledger) = &mut host.ledger else { return };
        if ledger.wants_to_speak(clock) == Speak::Now {
            let Some(mut exchange) = host.exchange(self.now) else { return };
            if self.mistake == Mistake::ForgetUnacknowledged {
                exchange.finished.retain(|f| f.spool > host.forgotten);
                host.forgotten = exchange.finished.last().map_or(host.forgotten, |f| f.spool);
            }
            let (id, exchange) = (host.id, Box::new(exchange));
            say!(self, "{id} says #{}", exchange.seq);
            self.send(id, || Event::ToShell(exchange.clone()));
        }
        self.poke(n);
    }

    pub(super) fn due(&mut self, n: usize, due: Due) {
        if let Some(wait) = self.frozen_for(n) {
            self.at(wait, Event::Due(n, due));
            return;
        }
        let mut facts = Vec::new();
        let due = self.hosts[n].happen(self.now, due, &self.truth, &mut facts);
        self.carry_on(n, due, facts);
    }

    pub(super) fn carry_on(&mut self, n: usize, due: Vec<Due>, facts: Vec<Fact>) {
        let name = format!("h{n}");
        for fact in facts {
            match &fact {
                Fact::Started { taken, device } => say!(
                    self,
                    "{device} starts {} of `{}` with {:?} {:?}",
                    taken.unit.id,
                    taken.test.def.name,
                    taken.unit.devices.iter().skip(1).map(|s| &*s.device).collect::<Vec<_>>(),
                    taken
                        .unit
                        .attempts
                        .iter()
                        .map(|a| (a.attempt.item.0, a.attempt.attempt))
                        .collect::<Vec<_>>()
                ),
                Fact::Ended { unit, attempt, result } => {
                    say!(
                        self,
                        "{name} {unit} {}#{} came to {}",
                        attempt.item,
                        attempt.attempt,
                        result.outcome
                    );
                }
                Fact::Gone { unit } => say!(self, "{name} {unit} is over"),
                Fact::Frozen { unit } => say!(self, "{name} {unit} stands still"),
                Fact::Thawed { unit } => say!(self, "{name} {unit} goes on"),
            }
            self.book.fact(&name, fact);
        }
        for due in due {
            self.at(due.at.since(self.now), Event::Due(n, due));
        }
        if let Some(ledger) = &self.hosts[n].ledger {
            ledger.check();
        }
        self.poke(n);
    }

    /// Sees to it that an agent is asked when it wants to speak.
    pub(super) fn poke(&mut self, n: usize) {
        let clock = self.hosts[n].clock(self.now);
        let Some(ledger) = &self.hosts[n].ledger else { return };
        let at = match ledger.wants_to_speak(clock) {
            Speak::Now => self.now + Duration::from_micros(1),
            Speak::At(at) => self.now + at.since(clock).max(Duration::from_micros(1)),
        };
        let sooner = self.hosts[n].wake.is_none_or(|w| at < w || w <= self.now);
        if sooner {
            self.hosts[n].wake = Some(at);
            self.at(at.since(self.now), Event::Wake(n));
        }
    }
}
