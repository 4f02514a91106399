//! What a run would do: the lab itself, played forward on a clock that jumps.
//!
//! Every item takes as long as it is expected to and passes, so order and times are the lab's own. Suites
//! whose items are not known yet are answered with those the records know of.

use crate::attempt::{AttemptResult, Cause};
use crate::change::RunRecord;
use crate::event::Event;
use crate::exchange::{
    AttemptEnd, DeviceOffer, Exchange, Finished, Found, FoundItem, Gauges, Group, Held, HeldPhase, Orders,
    Unit,
};
use crate::id::{AgentId, SessionId, UnitId};
use crate::lab::{Effect, Input, Lab, Policy, Rejected};
use crate::outcome::Outcome;
use crate::plan::History;
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// One item of a forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The test.
    pub test: Arc<str>,
    /// The item's path.
    pub item: Arc<str>,
    /// It is the question for the test's items.
    pub discovery: bool,
    /// From the start of the run.
    pub at: Duration,
    /// How long it is expected to take; `None` where the records say nothing.
    pub takes: Option<Duration>,
    /// The slot, from 0.
    pub slot: u32,
}

/// What a run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Items in the order they would start.
    pub starts: Vec<Start>,
    /// Items that would not be run, and why.
    pub not_run: Vec<(Arc<str>, Arc<str>, String)>,
    /// What all of it would wait for at some time.
    pub waits: Vec<Arc<str>>,
    /// How long all of it would take; as good as what is known of the items.
    pub takes: Duration,
}

/// Items the records know of, for suites that have not been asked yet.
pub trait KnownItems: History {
    /// Item paths of a test, in any order.
    fn items(&self, test: &str) -> Vec<String>;
}

/// A slot of the host that is played.
#[derive(Default)]
struct Slot {
    queue: VecDeque<UnitId>,
    /// The unit that runs, since when and until when.
    running: Option<(UnitId, Time, Time)>,
}

/// Plays a run forward.
///
/// # Errors
/// If the lab rejects the run.
pub fn forecast(
    record: Arc<RunRecord>,
    known: &Arc<dyn KnownItems + Send + Sync>,
    history: Arc<dyn History + Send + Sync>,
    slots: u32,
) -> Result<Forecast, Rejected> {
    let begin = record.created;
    let mut lab =
        Lab::new(Policy { lease: Duration::from_secs(u32::MAX.into()), closed: true, ..Policy::default() });
    let mut player = Player {
        record: Arc::clone(&record),
        known: Arc::clone(known),
        slots: (0..slots.max(1)).map(|_| Slot::default()).collect(),
        units: BTreeMap::new(),
        finished: Vec::new(),
        spool: 0,
        forecast: Forecast::default(),
        begin,
        now: begin,
    };
    let run = record.id;
    let mut inputs = vec![Input::CreateRun { record, history }];
    let (mut seq, mut heard) = (0, 0);
    loop {
        seq += 1;
        inputs.push(Input::Exchange(Box::new(player.exchange(seq, heard))));
        inputs.push(Input::Tick);
        let mut answered = false;
        for input in inputs.drain(..) {
            for effect in lab.apply(player.now, input)? {
                match effect {
                    Effect::Orders(_, orders) => {
                        heard = orders.seq;
                        answered = true;
                        player.receive(*orders);
                    }
                    Effect::Save(_) => {}
                    Effect::Tell(told) => player.hear(told.event),
                }
            }
        }
        if lab.is_over(run) {
            break;
        }
        let moved = player.play();
        if !moved && !answered {
            // Nothing runs and nothing is given out: a pause, or a gate that never opens here.
            match lab.wake_at().filter(|t| *t > player.now && t.0 < u64::MAX / 2) {
                Some(wake) if wake.since(player.begin) < Duration::from_secs(30 * 86_400) => {
                    player.now = wake;
                }
                Some(_) | None => break,
            }
        }
    }
    player.forecast.takes = player.now.since(begin);
    Ok(player.forecast)
}

struct Player {
    record: Arc<RunRecord>,
    known: Arc<dyn KnownItems + Send + Sync>,
    slots: Vec<Slot>,
    units: BTreeMap<UnitId, (Unit, crate::id::LeaseId)>,
    finished: Vec<Finished>,
    spool: u64,
    forecast: Forecast,
    begin: Time,
    now: Time,
}

impl Player {
    fn exchange(&self, seq: u64, heard: u64) -> Exchange {
        let mut holding = Vec::new();
        for slot in &self.slots {
            if let Some((unit, since, _)) = slot.running {
                let phase = HeldPhase::Running { since, current: None };
                holding.push(Held { unit, lease: self.units[&unit].1, phase });
            }
            for unit in &slot.queue {
                holding.push(Held { unit: *unit, lease: self.units[unit].1, phase: HeldPhase::Queued });
            }
        }
        Exchange {
            agent: AgentId(1),
            session: SessionId(1),
            seq,
            heard,
            host: String::new(),
            devices: (0..self.slots.len()).map(|n| DeviceOffer::named(n.to_string())).collect(),
            holding,
            finished: self.finished.clone(),
            gauges: Gauges { load_per_core: 0.0, disk_free_bytes: u64::MAX },
            trouble: Vec::new(),
        }
    }

    fn receive(&mut self, orders: Orders) {
        self.finished.retain(|f| f.spool > orders.acked);
        let mut leases: BTreeMap<UnitId, (usize, crate::id::LeaseId)> = BTreeMap::new();
        for wanted in orders.units.iter().filter(|w| !w.give_back) {
            leases.insert(wanted.unit, (wanted.device as usize, wanted.lease));
        }
        for slot in &mut self.slots {
            slot.queue.retain(|u| leases.contains_key(u));
        }
        for unit in orders.new {
            let Some(&(slot, lease)) = leases.get(&unit.id) else { continue };
            self.slots[slot].queue.push_back(unit.id);
            self.units.insert(unit.id, (unit, lease));
        }
        for slot in 0..self.slots.len() {
            self.start(slot);
        }
    }

    fn start(&mut self, slot: usize) {
        if self.slots[slot].running.is_some() {
            return;
        }
        let Some(id) = self.slots[slot].queue.pop_front() else { return };
        let unit = &self.units[&id].0;
        let test: Arc<str> = self.record.plan.tests[unit.test.0 as usize].def.name.as_str().into();
        let mut at = self.now;
        for attempt in &unit.attempts {
            let takes = self.known.micros(&test, &attempt.path).map(|m| Duration::from_micros(m.into()));
            self.forecast.starts.push(Start {
                test: Arc::clone(&test),
                item: Arc::clone(&attempt.path),
                discovery: unit.discovery,
                at: at.since(self.begin),
                takes: takes.filter(|_| !unit.discovery),
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
            });
            // Where nothing is known, a second stands in: order is kept, and the sum is said to be a guess.
            at = at + takes.unwrap_or(Duration::from_secs(u64::from(!unit.discovery)));
        }
        self.slots[slot].running = Some((id, self.now, at));
    }

    /// Lets the clock jump to the next end. False if nothing runs.
    fn play(&mut self) -> bool {
        let Some(next) = self.slots.iter().filter_map(|s| s.running.map(|r| r.2)).min() else { return false };
        self.now = self.now.max(next);
        for slot in 0..self.slots.len() {
            let Some((id, since, until)) = self.slots[slot].running else { continue };
            if until > self.now {
                continue;
            }
            self.slots[slot].running = None;
            let (unit, lease) = self.units.remove(&id).expect("what runs is known");
            for attempt in &unit.attempts {
                self.spool += 1;
                let result = passed(since, until.since(since) / unit.attempts.len().max(1) as u32);
                let end = if unit.discovery {
                    AttemptEnd::Found(result, self.found(&unit))
                } else {
                    AttemptEnd::Ran(result)
                };
                self.finished.push(Finished {
                    spool: self.spool,
                    unit: id,
                    lease,
                    attempt: attempt.attempt,
                    end,
                });
            }
            self.start(slot);
        }
        true
    }

    fn found(&self, unit: &Unit) -> Found {
        let test = &self.record.plan.tests[unit.test.0 as usize].def.name;
        let mut paths = self.known.items(test);
        paths.sort();
        let items = paths.into_iter().map(|path| FoundItem { path, ..FoundItem::default() }).collect();
        Found { groups: vec![Group { batch_max: u32::MAX, ..Group::default() }], items }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::ItemEnded { test, item, verdict: _, attempts: 0, reason } => {
                self.forecast.not_run.push((test, item, reason.to_string()));
            }
            Event::Waiting { reason } => self.forecast.waits.push(reason),
            _ => {}
        }
    }
}

fn passed(started: Time, duration: Duration) -> AttemptResult {
    AttemptResult::bare(Outcome::Pass, Cause::Exit(0), started, duration)
}
