//! Random but legal sequences of changes, given to a backend and to the records in memory; all their
//! answers must be equal. The backend is closed and opened again at random.

use super::build::{expansion, item, record, result};
use super::{Records, see};
use crate::mem::Mem;
use crate::store::Store;
use crate::types::{Extent, LabKey, Removal};
use muster_core::attempt::Output;
use muster_core::change::{Change, FoundAgain, ItemRecord, MoveTo, Moved, RunPhase, RunRecord, SentUnit};
use muster_core::id::{AgentId, AttemptRef, DeviceId, ItemIx, LeaseId, RunId, SessionId, TestIx, UnitId};
use muster_core::note::{NoteKind, noted};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

const AREAS: [&str; 2] = ["area", "other"];
const RUNS_MAX: usize = 6;

/// Commits `commits` random lists of changes to the records and compares all answers with those of
/// [`Mem`].
///
/// # Panics
/// Where they differ; the message names the seed.
pub fn random_changes(records: &dyn Records, seed: u64, commits: u32) {
    let reference = Mem::new(LabKey(0));
    let mut world = World {
        random: Random(seed),
        labs: vec![Lab::new(1), Lab::new(2)],
        runs: BTreeMap::new(),
        next_run: 1,
        next_lab: 3,
    };
    let mut handles: BTreeMap<LabKey, Box<dyn Store>> = BTreeMap::new();
    for step in 0..commits {
        let at = format!("seed {seed}, commit {step}");
        let lab = world.random.below(world.labs.len());
        let key = world.labs[lab].key;
        if world.random.chance(10) {
            handles.clear();
        }
        let tested = handles.entry(key).or_insert_with(|| records.open(key));
        let mut model = reference.handle(key);
        match world.random.below(40) {
            0 if !world.runs.is_empty() => {
                let run = world.any_run();
                let (a, b) = (model.adopt_run(run).unwrap(), tested.adopt_run(run).unwrap());
                assert_eq!(a, b, "{at}: adopting");
                for gone in world.adopt(lab, run) {
                    handles.remove(&gone);
                }
            }
            1 if world.runs.len() == RUNS_MAX => {
                let run = world.any_run();
                let (by, reason) = ("ana".to_owned(), String::new());
                let removal = Removal { by, at: Time(1), reason, extent: Extent::Run, files: Vec::new() };
                model.remove_run(run, &removal).unwrap();
                tested.remove_run(run, &removal).unwrap();
                tested.finish_removals().unwrap();
                world.forget(run);
            }
            2..=4 if !world.runs.is_empty() => {
                let run = world.any_run();
                let (a, b) = (model.reduce_run(run).map(drop), tested.reduce_run(run).map(drop));
                assert_eq!(a.map_err(|e| e.to_string()), b.map_err(|e| e.to_string()), "{at}: reducing");
            }
            5 if !world.runs.is_empty() => {
                let run = world.any_run();
                model.restore_run(run).unwrap();
                tested.restore_run(run).unwrap();
            }
            _ => {
                let mut changes = Vec::new();
                for _ in 0..=world.random.below(6) {
                    world.change(lab, &mut changes);
                }
                if world.random.chance(10) {
                    let mut wrong = changes.clone();
                    wrong.push(Change::RunState { run: RunId(u128::MAX), phase: RunPhase::Active });
                    assert!(model.commit(&wrong).is_err() && tested.commit(&wrong).is_err(), "{at}");
                }
                model.commit(&changes).unwrap_or_else(|e| panic!("{at}: not legal: {e}: {changes:#?}"));
                tested.commit(&changes).unwrap_or_else(|e| panic!("{at}: {e}: {changes:#?}"));
            }
        }
        if world.random.chance(10) || step + 1 == commits {
            for lab in &world.labs {
                let expected = see(&mut reference.handle(lab.key), &AREAS);
                let tested = handles.entry(lab.key).or_insert_with(|| records.open(lab.key));
                assert_eq!(see(&mut **tested, &AREAS), expected, "{at}");
                let cold = |store: &mut dyn Store| -> Vec<RunId> {
                    store
                        .list_cold()
                        .expect("the cold tier can be listed")
                        .into_iter()
                        .map(|(r, _)| r)
                        .collect()
                };
                assert_eq!(cold(&mut **tested), cold(&mut reference.handle(lab.key)), "{at}: the cold tier");
            }
        }
    }
    let faults = records.open(LabKey(99)).check().unwrap();
    assert_eq!(faults, [], "seed {seed}");
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

struct World {
    random: Random,
    labs: Vec<Lab>,
    runs: BTreeMap<RunId, Run>,
    next_run: u128,
    next_lab: u64,
}

struct Lab {
    key: LabKey,
    leases: BTreeMap<LeaseId, Vec<SentUnit>>,
    used: u64,
}

struct Run {
    lab: LabKey,
    record: Arc<RunRecord>,
    active: bool,
    items: Vec<ItemRecord>,
    out: Vec<ItemIx>,
}

impl Lab {
    fn new(key: u64) -> Self {
        Self { key: LabKey(key), leases: BTreeMap::new(), used: 0 }
    }

    /// The next id of any kind.
    fn id(&mut self) -> u64 {
        self.used += 1;
        self.used
    }
}

impl World {
    fn any_run(&mut self) -> RunId {
        let nth = self.random.below(self.runs.len());
        *self.runs.keys().nth(nth).expect("below their number")
    }

    /// A run of the lab that is active.
    fn own_run(&mut self, lab: usize) -> Option<RunId> {
        let key = self.labs[lab].key;
        let own: Vec<RunId> =
            self.runs.iter().filter(|(_, r)| r.lab == key && r.active).map(|(id, _)| *id).collect();
        (!own.is_empty()).then(|| own[self.random.below(own.len())])
    }

    fn drop_units(&mut self, run: RunId) {
        for lease in self.labs.iter_mut().flat_map(|l| l.leases.values_mut()) {
            lease.retain(|u| u.run != run);
        }
    }

    fn forget(&mut self, run: RunId) {
        self.drop_units(run);
        self.runs.remove(&run);
    }

    /// The labs that are gone with it.
    fn adopt(&mut self, lab: usize, run: RunId) -> Vec<LabKey> {
        let (key, former) = (self.labs[lab].key, self.runs[&run].lab);
        if key == former {
            return Vec::new();
        }
        self.drop_units(run);
        let adopted = self.runs.get_mut(&run).expect("an existing run is adopted");
        adopted.lab = key;
        adopted.out.clear();
        if self.runs.values().any(|r| r.lab == former && r.active) {
            return Vec::new();
        }
        // Its process is long dead; another one takes its turn.
        let next = Lab::new(self.next_lab);
        self.next_lab += 1;
        if let Some(lab) = self.labs.iter_mut().find(|l| l.key == former) {
            *lab = next;
        }
        vec![former]
    }

    fn change(&mut self, lab: usize, changes: &mut Vec<Change>) {
        match self.random.below(17) {
            0 => self.create(lab, changes),
            1 => {
                let lab = &mut self.labs[lab];
                let device = DeviceId(lab.id() as u32);
                let (agent, session) = (AgentId(lab.used % 3), SessionId(lab.used));
                let devices = vec![(device, format!("slot-{device}")), (DeviceId(1), "one".to_owned())];
                changes.push(Change::AgentSeen { agent, session, host: "h".to_owned(), devices });
            }
            2 => {
                let lab = &mut self.labs[lab];
                let (lease, device) = (LeaseId(lab.id()), DeviceId(lab.used as u32));
                lab.leases.insert(lease, Vec::new());
                let others = (1..=device.0 % 3).map(|n| DeviceId(device.0 + n));
                changes.push(Change::LeaseGranted {
                    lease,
                    devices: [device].into_iter().chain(others).collect(),
                });
            }
            3..=5 => self.send(lab, changes),
            6..=9 => self.end_attempt(lab, changes),
            10 => self.give_back(lab, changes),
            11 if self.random.chance(30) => {
                let Some((&lease, _)) = self.labs[lab].leases.first_key_value() else { return };
                for unit in self.labs[lab].leases.remove(&lease).expect("it is there") {
                    self.free(unit.run, unit.attempts.iter().map(|(i, _)| *i).collect());
                }
                changes.push(Change::LeaseEnded { lease });
            }
            12 => self.set_item(lab, changes),
            13 => self.set_phase(lab, changes),
            14 => self.find_again_or_replan(lab, changes),
            16 => {
                let Some(run) = self.own_run(lab) else { return };
                let (at, to) = (Time(self.random.next()), MoveTo::Priority(self.random.next() as i32));
                let moved = Moved { by: "ana".to_owned(), reason: String::new(), at, to };
                changes.push(Change::RunMoved { run, moved });
                let other = self.any_run();
                changes.push(noted(other, "ben", at, "seen", NoteKind::Comment { on: None }));
            }
            15 if !self.runs.is_empty() => {
                let attempt = AttemptRef { run: self.any_run(), item: ItemIx(0), attempt: 1 };
                let result = Arc::new(self.result());
                changes.push(Change::LateEvidence { attempt, lease: LeaseId(1), at: Time(5), result });
            }
            _ => {}
        }
    }

    fn create(&mut self, lab: usize, changes: &mut Vec<Change>) {
        if self.runs.len() == RUNS_MAX {
            return;
        }
        let id = self.next_run;
        self.next_run += 1;
        let record = record(id, AREAS[self.random.below(2)], id as u32);
        let run = Run {
            lab: self.labs[lab].key,
            record: record.clone(),
            active: true,
            items: vec![ItemRecord::default(); 5],
            out: Vec::new(),
        };
        self.runs.insert(RunId(id), run);
        changes.push(Change::RunCreated(record));
    }

    fn send(&mut self, lab: usize, changes: &mut Vec<Change>) {
        let (Some(run_id), Some(lease)) = (self.own_run(lab), self.labs[lab].leases.keys().last().copied())
        else {
            return;
        };
        let run = self.runs.get_mut(&run_id).expect("an own run exists");
        let mut free: Vec<ItemIx> = (0..run.items.len() as u32)
            .map(ItemIx)
            .filter(|i| run.items[i.0 as usize].verdict.is_none() && !run.out.contains(i))
            .collect();
        let mut units = Vec::new();
        while !free.is_empty() && units.len() < 3 {
            let at_once = 1 + self.random.below(3).min(free.len() - 1);
            let items: Vec<ItemIx> = free.drain(..at_once).collect();
            run.out.extend(&items);
            let number = |i: &ItemIx| (*i, run.items[i.0 as usize].attempts + 1);
            let attempts = items.iter().map(number).collect();
            units.push(SentUnit { unit: UnitId(self.labs[lab].id()), run: run_id, attempts });
        }
        self.labs[lab].leases.get_mut(&lease).expect("it is there").extend(units.clone());
        changes.push(Change::Sent { lease, units });
    }

    /// A sent unit, and where it is.
    fn any_unit(&mut self, lab: usize) -> Option<(LeaseId, usize)> {
        let units: Vec<(LeaseId, usize)> = self.labs[lab]
            .leases
            .iter()
            .flat_map(|(lease, units)| (0..units.len()).map(move |i| (*lease, i)))
            .collect();
        (!units.is_empty()).then(|| units[self.random.below(units.len())])
    }

    fn take(&mut self, lab: usize, lease: LeaseId, at: usize, nth: usize) -> (UnitId, RunId, ItemIx, u16) {
        let units = self.labs[lab].leases.get_mut(&lease).expect("the lease has the unit");
        let unit = &mut units[at];
        let (item, number) = unit.attempts.remove(nth);
        let taken = (unit.unit, unit.run, item, number);
        if unit.attempts.is_empty() {
            units.remove(at);
        }
        self.free(taken.1, vec![item]);
        taken
    }

    fn free(&mut self, run: RunId, items: Vec<ItemIx>) {
        let run = self.runs.get_mut(&run).expect("units are of known runs");
        run.out.retain(|i| !items.contains(i));
    }

    fn end_attempt(&mut self, lab: usize, changes: &mut Vec<Change>) {
        let Some((lease, at)) = self.any_unit(lab) else { return };
        let many = self.labs[lab].leases[&lease][at].attempts.len();
        let nth = self.random.below(many);
        let (unit, run_id, item, number) = self.take(lab, lease, at, nth);
        let result = self.result();
        let again = self.random.chance(20);
        let found = self.random.below(4);
        let run = self.runs.get_mut(&run_id).expect("units are of known runs");
        if item == ItemIx(4) && result.outcome.is_good() {
            let paths = ["x0", "x1", "x2"];
            let expansion = expansion(run_id.0, 2, run.items.len() as u32, &paths[..found]);
            run.items.resize(run.items.len() + found, ItemRecord::default());
            changes.push(Change::Expanded(expansion));
        }
        let record = &mut run.items[item.0 as usize];
        record.attempts = number;
        record.tries += 1;
        record.failed |= !result.outcome.is_good();
        record.verdict = (!again).then(|| Verdict::from(result.outcome));
        record.reason = if again { String::new() } else { "why".to_owned() };
        let attempt = AttemptRef { run: run_id, item, attempt: number };
        let (device, record) = (format!("slot-{at}").into(), record.clone());
        changes.push(Change::AttemptEnded { attempt, unit, device, result: Arc::new(result), record });
    }

    fn give_back(&mut self, lab: usize, changes: &mut Vec<Change>) {
        let Some((lease, at)) = self.any_unit(lab) else { return };
        let (unit, _, item, _) = self.take(lab, lease, at, 0);
        changes.push(Change::Returned { unit, items: vec![item] });
    }

    fn set_item(&mut self, lab: usize, changes: &mut Vec<Change>) {
        let Some(run_id) = self.own_run(lab) else { return };
        let verdict = match self.random.below(4) {
            0 => None,
            _ => Some(Verdict::ALL[self.random.below(Verdict::COUNT)]),
        };
        let run = self.runs.get_mut(&run_id).expect("an own run exists");
        let item = ItemIx(self.random.below(run.items.len()) as u32);
        if run.out.contains(&item) {
            return;
        }
        let record = &mut run.items[item.0 as usize];
        let reason = if verdict.is_some() { "said so".to_owned() } else { String::new() };
        *record = ItemRecord { attempts: record.attempts, verdict, reason, ..ItemRecord::default() };
        changes.push(Change::ItemSet { run: run_id, item, record: record.clone() });
    }

    fn set_phase(&mut self, lab: usize, changes: &mut Vec<Change>) {
        let key = self.labs[lab].key;
        let at = Time(self.random.next());
        let Some((id, run)) = self.runs.iter_mut().rfind(|(_, r)| r.lab == key && r.out.is_empty()) else {
            return;
        };
        let phase = match (run.active, at.0 % 2) {
            (false, _) => RunPhase::Active,
            (true, 0) => RunPhase::Ended { at },
            (true, _) => RunPhase::Stopped { at, reason: "stop".to_owned() },
        };
        run.active = !run.active;
        changes.push(Change::RunState { run: *id, phase });
    }

    fn find_again_or_replan(&mut self, lab: usize, changes: &mut Vec<Change>) {
        let Some(run_id) = self.own_run(lab) else { return };
        let again = self.random.chance(50);
        let run = self.runs.get_mut(&run_id).expect("an own run exists");
        if again {
            let items = (5..run.items.len() as u32).map(|i| (ItemIx(i), item("x0"))).collect();
            let groups = Arc::from([]);
            changes.push(Change::FoundAgain(FoundAgain { run: run_id, test: TestIx(2), groups, items }));
        } else {
            let mut record = (*run.record).clone();
            let spec = Arc::make_mut(&mut record.spec);
            spec.host.push('!');
            spec.name = "name 1".to_owned();
            spec.target = vec![("os".to_owned(), "bsd".to_owned())];
            let test = &mut Arc::make_mut(&mut record.plan).tests[0];
            Arc::make_mut(&mut test.def).owner.push('!');
            run.record = Arc::new(record);
            changes.push(Change::RunReplanned(run.record.clone()));
        }
    }

    fn result(&mut self) -> muster_core::attempt::AttemptResult {
        let outcome = match self.random.below(3) {
            0 => Outcome::ALL[self.random.below(Outcome::ALL.len())],
            _ => Outcome::Pass,
        };
        let output = match self.random.below(4) {
            0 => Output::None,
            1 => Output::Inline(vec![self.random.next() as u8; 1025 + self.random.below(5000)]),
            _ => Output::Inline(vec![self.random.next() as u8; self.random.below(1025)]),
        };
        let micros = self.random.below(1 << 20) as u64;
        result(outcome, micros, output)
    }
}
