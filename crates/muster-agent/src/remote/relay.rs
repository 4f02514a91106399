//! What passes between the keeper and the server is changed in three places.
//!
//! * A run whose area is packed needs it unpacked first. Until that is done its units are held here: the
//!   server is told that they are held, the keeper does not know of them. Then they are let go, the
//!   server sees that nobody holds them and sends them again, and they pass.
//! * Directories are this host's: the lab knows where an area was packed, not where it was unpacked.
//! * A result whose output is a file, or that keeps files the attempt has left, is told when the server has them,
//!   and until then its unit runs, as far as the server knows. Results are acknowledged in order, so those behind
//!   it wait too; all else is told.
//!
//! Fetching is somebody else's.

use super::bring::{Load, What};
use super::follow::Followed;
use super::source::{self, Source, Wanted};
use crate::remove::Remover;
use muster_core::artifact::{Artifacts, is_path};
use muster_core::attempt::{AttemptResult, Output};
use muster_core::digest::Digest;
use muster_core::exchange::{AttemptEnd, Exchange, Finished, Held, HeldPhase, Orders, RunContext};
use muster_core::id::{LeaseId, RunId, UnitId};
use muster_core::time::Time;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs whose unpacked area is kept although nothing of them is held.
// Limit: disk; a run that comes back after others have pushed it out is fetched again.
const IDLE_MAX: usize = 4;

pub(super) struct Relay {
    /// Where runs have their directories.
    root: PathBuf,
    runs: BTreeMap<RunId, Area>,
    /// Units the server has given and the keeper has not.
    kept: BTreeMap<UnitId, (LeaseId, RunId)>,
    /// The run of each unit that was let through and is still held, and the orders it came with: an exchange
    /// said before they were heard does not know of it yet.
    passed: BTreeMap<UnitId, (RunId, u64)>,
    /// Results on their way to the server, by their place in the spool: their run, and what goes along.
    bringing: BTreeMap<u64, (RunId, Vec<PathBuf>)>,
    /// What was asked to be brought, by its place in its run's directory.
    loads: BTreeMap<(RunId, String), Brought>,
    /// Nothing new is let through.
    drains: bool,
    /// Grows with each order, for knowing which area was used last.
    clock: u64,
    /// What nobody needs any more is removed while all else goes on.
    remover: Remover,
}

/// How far something is on its way to the server.
enum Brought {
    NotYet,
    /// It has it, or will never take it.
    Yes,
    /// It has these of an attempt's files.
    As(Box<Artifacts>),
}

struct Area {
    /// What it was unpacked from. A run that goes on may come with another.
    source: Source,
    state: State,
    used: u64,
}

enum State {
    Fetching,
    Ready,
    Failed(String),
}

impl Relay {
    /// With the areas that are unpacked under `root`.
    pub(super) fn new(root: PathBuf) -> Self {
        let mut relay = Self {
            root,
            runs: BTreeMap::new(),
            kept: BTreeMap::new(),
            passed: BTreeMap::new(),
            bringing: BTreeMap::new(),
            loads: BTreeMap::new(),
            drains: false,
            clock: 0,
            remover: Remover::default(),
        };
        // An earlier agent may have ended before all of it was gone.
        relay.remover.remove_left(&relay.root);
        for entry in std::fs::read_dir(&relay.root).into_iter().flatten().flatten() {
            let run =
                entry.file_name().to_str().and_then(|name| u128::from_str_radix(name, 16).ok()).map(RunId);
            if let Some((run, source)) = run.zip(source::unpacked(&entry.path())) {
                relay.runs.insert(run, Area { source, state: State::Ready, used: 0 });
            }
        }
        relay
    }

    /// A keeper that holds these units is spoken with from now on. `drains`: it gets nothing new.
    pub(super) fn begin(&mut self, units: &[(UnitId, RunId)], drains: bool) {
        self.kept.clear();
        self.bringing.clear();
        self.loads.clear();
        self.passed = units.iter().map(|(unit, run)| (*unit, (*run, 0))).collect();
        self.drains = drains;
    }

    /// The server has this, or will never take it; of an attempt's files it has those that it has now.
    pub(super) fn brought(&mut self, run: RunId, place: String, what: What) {
        if let Some(brought) = self.loads.get_mut(&(run, place)) {
            *brought = match what {
                What::Output => Brought::Yes,
                What::Artifacts(kept) => Brought::As(kept),
            };
        }
    }

    /// Whether results wait for what goes along with them.
    pub(super) fn withholds(&self) -> bool {
        self.loads.values().any(|brought| matches!(brought, Brought::NotYet))
    }

    /// Where a run's area is unpacked. One that is not packed is where it is.
    fn area_dir(&self, context: &RunContext) -> PathBuf {
        match context.source {
            Some(source) => self.run_dir(context.run).join(Source::of(source).dir()),
            None => PathBuf::from(&context.area_dir),
        }
    }

    /// What is this host's of a run.
    pub(super) fn run_dir(&self, run: RunId) -> PathBuf {
        run_dir(&self.root, run)
    }

    /// Where what these units print is found here.
    pub(super) fn followed(&self, units: &[UnitId]) -> Vec<Followed> {
        let known = units.iter().filter_map(|unit| Some((unit, self.passed.get(unit)?)));
        known.map(|(unit, (run, _))| (*unit, *run, self.run_dir(*run))).collect()
    }

    /// From the keeper to the server; with the files that are to be brought.
    pub(super) fn outward(&mut self, mut exchange: Exchange) -> (Exchange, Vec<Load>) {
        let holds: BTreeSet<UnitId> = exchange.holding.iter().map(|h| h.unit).collect();
        self.passed.retain(|unit, (_, seq)| holds.contains(unit) || exchange.heard < *seq);
        let queued = |(unit, (lease, _)): (&UnitId, &(LeaseId, RunId))| Held {
            unit: *unit,
            lease: *lease,
            phase: HeldPhase::Queued,
        };
        exchange.holding.extend(self.kept.iter().map(queued));
        let (mut new, mut bringing, mut told) = (Vec::new(), BTreeMap::new(), exchange.finished.len());
        for (at, finished) in exchange.finished.iter_mut().enumerate() {
            let run = finished.attempt.run;
            let run_dir = run_dir(&self.root, run);
            let mut paths = Vec::new();
            for place in [output_file(finished), artifacts_dir(finished)].into_iter().flatten() {
                let path = run_dir.join(&place);
                paths.push(path.clone());
                match self.loads.entry((run, place.clone())) {
                    Entry::Vacant(entry) => {
                        entry.insert(Brought::NotYet);
                        new.push(Load { run, what: what(finished, &place), place, path });
                        told = told.min(at);
                    }
                    Entry::Occupied(entry) => match entry.get() {
                        Brought::NotYet => told = told.min(at),
                        Brought::Yes => {}
                        Brought::As(kept) => {
                            if let Some(result) = result_of_mut(finished) {
                                result.artifacts = Some(kept.clone());
                            }
                        }
                    },
                }
            }
            bringing.insert(finished.spool, (run, paths));
        }
        for finished in exchange.finished.drain(told..) {
            if !exchange.holding.iter().any(|h| h.unit == finished.unit) {
                exchange.holding.push(still_running(&finished));
            }
        }
        exchange.holding.sort_by_key(|h| h.unit);
        self.remove_brought(bringing);
        (exchange, new)
    }

    /// What is not said any more has been acknowledged: the server has recorded it, and keeps what went along.
    fn remove_brought(&mut self, bringing: BTreeMap<u64, (RunId, Vec<PathBuf>)>) {
        let before = std::mem::replace(&mut self.bringing, bringing);
        let now: BTreeSet<&PathBuf> = self.bringing.values().flat_map(|(_, paths)| paths).collect();
        let (root, loads) = (&self.root, &mut self.loads);
        loads.retain(|(run, place), _| now.contains(&run_dir(root, *run).join(place)));
        for path in before.values().flat_map(|(_, paths)| paths).filter(|path| !now.contains(path)) {
            // What cannot be removed now goes with its run's directory.
            let _left = self.remover.remove(path);
        }
    }

    /// From the server to the keeper; with the areas that are to be fetched.
    pub(super) fn inward(&mut self, mut orders: Orders) -> (Orders, Vec<(RunId, Wanted)>) {
        self.clock += 1;
        let mut wanted = Vec::new();
        for context in &mut orders.runs {
            let Some(source) = context.source else { continue };
            let clock = self.clock;
            let known = self.runs.get(&context.run).is_some_and(|area| area.source == Source::of(source));
            if !known {
                let (build, packages) = (context.inputs.build.clone(), context.inputs.packages.clone());
                wanted.push((context.run, Wanted { area: source, build, packages }));
                let source = Source::of(source);
                self.runs.insert(context.run, Area { source, state: State::Fetching, used: clock });
            }
            let area = self.runs.get_mut(&context.run).expect("there is one now");
            area.used = clock;
            let unusable = match &area.state {
                State::Failed(why) => Some(why.clone()),
                State::Fetching | State::Ready => None,
            };
            *context = Arc::new(self.local(context, unusable));
        }
        // A failure was told with these units; the next time it is tried again.
        let told: BTreeSet<RunId> =
            orders.runs.iter().filter(|c| c.unusable.is_some()).map(|c| c.run).collect();
        let leases: BTreeMap<UnitId, (LeaseId, bool)> =
            orders.units.iter().map(|w| (w.unit, (w.lease, w.give_back))).collect();
        self.kept.retain(|unit, (lease, _)| leases.get(unit) == Some(&(*lease, false)));
        let (runs, kept, passed, drains) = (&self.runs, &mut self.kept, &mut self.passed, self.drains);
        orders.new.retain(|unit| {
            let waits = drains || runs.get(&unit.run).is_some_and(|a| matches!(a.state, State::Fetching));
            if !waits {
                passed.insert(unit.id, (unit.run, orders.seq));
            } else if let Some((lease, false)) = leases.get(&unit.id) {
                kept.insert(unit.id, (*lease, unit.run));
            }
            !waits
        });
        orders.units.retain(|w| !kept.contains_key(&w.unit));
        self.runs.retain(|run, _| !told.contains(run));
        self.forget_idle();
        (orders, wanted)
    }

    /// An area was fetched, or could not be: what waited for it is let go.
    pub(super) fn fetched(&mut self, run: RunId, source: Digest, result: Result<(), String>) {
        let area = self.runs.get_mut(&run).filter(|area| area.source == Source::of(source));
        // Another was wanted meanwhile, and is on its way.
        let Some(area) = area else { return };
        area.state = match result {
            Ok(()) => State::Ready,
            Err(why) => State::Failed(why),
        };
        self.kept.retain(|_, (_, of)| *of != run);
    }

    /// A run's context with this host's directories.
    fn local(&self, context: &RunContext, unusable: Option<String>) -> RunContext {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        RunContext {
            area_dir: text(&self.area_dir(context)),
            run_dir: text(&self.run_dir(context.run)),
            unusable,
            ..context.clone()
        }
    }

    /// Removes areas that nothing is held of, but for the last used.
    fn forget_idle(&mut self) {
        let held = self.passed.values().map(|(run, _)| *run).chain(self.kept.values().map(|(_, run)| *run));
        let busy: BTreeSet<RunId> = held.chain(self.bringing.values().map(|(run, _)| *run)).collect();
        let mut idle: Vec<(u64, RunId)> = self
            .runs
            .iter()
            .filter(|(run, area)| !busy.contains(run) && !matches!(area.state, State::Fetching))
            .map(|(run, area)| (area.used, *run))
            .collect();
        idle.sort_unstable();
        for (_, run) in idle.iter().rev().skip(IDLE_MAX) {
            self.runs.remove(run);
            // What cannot be moved now is removed when the agent starts again.
            let _left = self.remover.remove(&self.run_dir(*run));
        }
    }
}

fn run_dir(root: &Path, run: RunId) -> PathBuf {
    root.join(format!("{:032x}", run.0))
}

fn result_of(finished: &Finished) -> Option<&AttemptResult> {
    match &finished.end {
        AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) => Some(result),
        AttemptEnd::NotReached | AttemptEnd::Shut { .. } => None,
    }
}

fn result_of_mut(finished: &mut Finished) -> Option<&mut AttemptResult> {
    match &mut finished.end {
        AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) => Some(result),
        AttemptEnd::NotReached | AttemptEnd::Shut { .. } => None,
    }
}

/// The file a result's output is in, as the result names it.
fn output_file(finished: &Finished) -> Option<String> {
    match &result_of(finished)?.output {
        Output::File { path, .. } => Some(path.clone()),
        Output::None | Output::Inline(_) | Output::Segment { .. } => None,
    }
}

/// The directory of the files that go along with a result.
fn artifacts_dir(finished: &Finished) -> Option<String> {
    let kept = result_of(finished)?.artifacts.as_ref()?;
    Some(kept.dir.clone()).filter(|dir| is_path(dir))
}

/// What of a result has this place.
fn what(finished: &Finished, place: &str) -> What {
    let kept = result_of(finished).and_then(|result| result.artifacts.as_ref());
    match kept.filter(|kept| kept.dir == place) {
        Some(kept) => What::Artifacts(kept.clone()),
        None => What::Output,
    }
}

/// A result that is not told yet, as the server is to see it.
fn still_running(finished: &Finished) -> Held {
    let phase = match &finished.end {
        AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) => {
            HeldPhase::Running { since: result.started, current: Some(finished.attempt) }
        }
        // It stands behind one that ran in the same process.
        AttemptEnd::NotReached | AttemptEnd::Shut { .. } => {
            HeldPhase::Running { since: Time(0), current: None }
        }
    };
    Held { unit: finished.unit, lease: finished.lease, phase }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::artifact::Artifact;
    use muster_core::attempt::Cause;
    use muster_core::exchange::{Finished, Gauges, TestContext, Unit};
    use muster_core::id::{AgentId, AttemptRef, ItemIx, SessionId, TestIx};
    use muster_core::outcome::Outcome;

    const RUN: RunId = RunId(9);

    fn context(source: Option<Digest>) -> Arc<RunContext> {
        Arc::new(RunContext {
            run: RUN,
            address: "a/1".into(),
            number: 1,
            area_dir: "/there".into(),
            run_dir: "/there/.muster/runs/1".into(),
            inputs: muster_core::inputs::Inputs::default(),
            source,
            env: Vec::new(),
            trace_id: String::new(),
            unusable: None,
        })
    }

    fn orders(units: &[u64], new: &[u64], source: Option<Digest>) -> Orders {
        let wanted = |u: &u64| muster_core::exchange::Wanted {
            unit: UnitId(*u),
            lease: LeaseId(1),
            device: 0,
            give_back: false,
        };
        let unit = |u: &u64| Unit {
            id: UnitId(*u),
            test: TestIx(0),
            run: RUN,
            discovery: false,
            attempts: vec![],
            devices: vec![],
        };
        Orders {
            session: SessionId(1),
            seq: 1,
            acked: 0,
            units: units.iter().map(wanted).collect(),
            new: new.iter().map(unit).collect(),
            runs: if new.is_empty() { vec![] } else { vec![context(source)] },
            tests: Vec::<Arc<TestContext>>::new(),
            kill: false,
            lease: std::time::Duration::ZERO,
        }
    }

    fn exchange() -> Exchange {
        Exchange {
            agent: AgentId(1),
            session: SessionId(1),
            seq: 1,
            heard: 0,
            host: String::new(),
            devices: vec![],
            holding: vec![],
            finished: vec![],
            gauges: Gauges::default(),
            trouble: Vec::new(),
        }
    }

    fn finished(place: &str) -> Finished {
        let (time, no) = (std::time::Duration::ZERO, muster_core::time::Time(0));
        let mut result = AttemptResult::bare(Outcome::Fail, Cause::Exit(1), no, time);
        result.output = Output::File { path: place.to_owned(), len: 6 };
        let attempt = AttemptRef { run: RUN, item: ItemIx(0), attempt: 1 };
        Finished { spool: 1, unit: UnitId(1), lease: LeaseId(1), attempt, end: AttemptEnd::Ran(result) }
    }

    /// Where the area that all runs of these tests have is unpacked.
    fn area_dir(relay: &Relay, run: RunId) -> PathBuf {
        relay.run_dir(run).join(Source::of(Digest([1; 32])).dir())
    }

    fn units(orders: &Orders) -> (Vec<u64>, Vec<u64>) {
        (orders.units.iter().map(|w| w.unit.0).collect(), orders.new.iter().map(|u| u.id.0).collect())
    }

    #[test]
    fn units_wait_here_until_their_area_is_unpacked_and_then_come_again() {
        let mut relay = Relay::new("/state/runs".into());
        let source = Some(Digest([1; 32]));
        let (passed, wanted) = relay.inward(orders(&[1, 2], &[1, 2], source));
        assert_eq!((units(&passed), wanted.len()), ((vec![], vec![]), 1), "fetch first");
        let (said, _) = relay.outward(exchange());
        assert_eq!(said.holding.len(), 2, "the server need not send them again");
        let (passed, wanted) = relay.inward(orders(&[1, 2, 3], &[3], source));
        assert_eq!((units(&passed), wanted.len()), ((vec![], vec![]), 0), "it is being fetched");
        relay.fetched(RUN, Digest([1; 32]), Ok(()));
        let (said, _) = relay.outward(exchange());
        assert_eq!(said.holding, [], "the server is to send them again");
        let (passed, _) = relay.inward(orders(&[1, 2, 3], &[1, 2, 3], source));
        assert_eq!(units(&passed), (vec![1, 2, 3], vec![1, 2, 3]));
        assert!(passed.runs[0].area_dir.starts_with("/state/runs/"), "{}", passed.runs[0].area_dir);
    }

    #[test]
    fn what_the_lab_wants_back_or_no_more_is_not_kept() {
        let mut relay = Relay::new("/state/runs".into());
        relay.inward(orders(&[1, 2, 3], &[1, 2, 3], Some(Digest([1; 32]))));
        let mut next = orders(&[2, 3], &[], None);
        next.units[0].give_back = true;
        relay.inward(next);
        let (said, _) = relay.outward(exchange());
        assert_eq!(said.holding.iter().map(|h| h.unit.0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn an_area_that_cannot_be_had_is_told_with_its_units_and_tried_again_after() {
        let mut relay = Relay::new("/state/runs".into());
        let source = Some(Digest([1; 32]));
        relay.inward(orders(&[1], &[1], source));
        relay.fetched(RUN, Digest([1; 32]), Err("no such blob".into()));
        let (passed, wanted) = relay.inward(orders(&[1], &[1], source));
        assert_eq!(units(&passed), (vec![1], vec![1]));
        assert_eq!(passed.runs[0].unusable.as_deref(), Some("no such blob"));
        assert_eq!(wanted, []);
        let (_, wanted) = relay.inward(orders(&[2], &[2], source));
        assert_eq!(wanted.len(), 1, "the next unit is another try");
    }

    #[test]
    fn a_run_that_goes_on_with_other_files_gets_them_and_what_was_fetched_late_is_not_taken_for_them() {
        let mut relay = Relay::new("/state/runs".into());
        let [old, new] = [Digest([1; 32]), Digest([2; 32])];
        relay.inward(orders(&[1], &[1], Some(old)));
        let (passed, wanted) = relay.inward(orders(&[2], &[2], Some(new)));
        assert_eq!((units(&passed).1.len(), wanted[0].1.area), (0, new), "it is fetched");
        relay.fetched(RUN, old, Ok(()));
        let (passed, wanted) = relay.inward(orders(&[2], &[2], Some(new)));
        assert_eq!((units(&passed).1.len(), wanted.len()), (0, 0), "that was another one");
        relay.fetched(RUN, new, Ok(()));
        let (passed, _) = relay.inward(orders(&[2], &[2], Some(new)));
        assert!(passed.runs[0].area_dir.ends_with("/area-0202020202020202"), "{}", passed.runs[0].area_dir);
        let (_, wanted) = relay.inward(orders(&[3], &[3], Some(old)));
        assert_eq!(wanted.len(), 1, "and back");
    }

    #[test]
    fn the_area_of_what_runs_stays_however_many_other_runs_come() {
        let dir = tempfile::tempdir().unwrap();
        let mut relay = Relay::new(dir.path().to_owned());
        let source = Some(Digest([1; 32]));
        let come = |relay: &mut Relay, run: u128, unit: u64, seq: u64| {
            let mut orders = orders(&[unit], &[unit], source);
            (orders.seq, orders.new[0].run) = (seq, RunId(run));
            Arc::make_mut(&mut orders.runs[0]).run = RunId(run);
            relay.inward(orders.clone());
            std::fs::create_dir_all(area_dir(relay, RunId(run))).unwrap();
            relay.fetched(RunId(run), Digest([1; 32]), Ok(()));
            relay.inward(orders);
        };
        come(&mut relay, 1, 1, 5);
        // Said before the orders were heard: it does not know of the unit.
        relay.outward(Exchange { heard: 4, ..exchange() });
        for run in 2..10 {
            come(&mut relay, run, run as u64, run as u64 + 5);
            let phase = HeldPhase::Queued;
            let holding = vec![Held { unit: UnitId(1), lease: LeaseId(1), phase }];
            relay.outward(Exchange { heard: run as u64 + 5, holding, ..exchange() });
        }
        assert!(area_dir(&relay, RunId(1)).exists(), "a test runs in it");
        assert!(!area_dir(&relay, RunId(2)).exists(), "nothing is held of it");
    }

    #[test]
    fn the_file_of_an_output_stays_until_its_result_is_acknowledged_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let mut relay = Relay::new(dir.path().to_owned());
        let path = relay.run_dir(RUN).join("out/0/1-0.frames");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "output").unwrap();
        let mut said = exchange();
        said.finished = vec![finished("out/0/1-0.frames")];
        for files in [1, 0] {
            let (told, brings) = relay.outward(said.clone());
            assert_eq!(brings.len(), files, "it is brought once");
            assert_eq!(
                (told.finished.len(), told.holding.len()),
                (0, 1),
                "it still runs, the server is told"
            );
            assert!(path.exists() && relay.withholds());
        }
        relay.brought(RUN, "out/0/1-0.frames".into(), What::Output);
        let (told, brings) = relay.outward(said);
        assert_eq!((told.finished.len(), told.holding.len(), brings.len()), (1, 0, 0));
        assert!(path.exists() && !relay.withholds());
        relay.outward(exchange());
        assert!(!path.exists(), "the server has it");
    }

    #[test]
    fn a_result_is_told_with_those_of_its_files_that_the_server_has() {
        let dir = tempfile::tempdir().unwrap();
        let mut relay = Relay::new(dir.path().to_owned());
        let left = relay.run_dir(RUN).join("work/t#1");
        std::fs::create_dir_all(left.join("sub")).unwrap();
        let mut kept = Artifacts::new("work/t#1".into());
        kept.files = vec![Artifact { path: "core".into(), bytes: 4, digest: None }];
        let mut said = exchange();
        said.finished = vec![finished("out/0/1-0.frames")];
        let AttemptEnd::Ran(result) = &mut said.finished[0].end else { unreachable!() };
        result.artifacts = Some(Box::new(kept.clone()));
        let (told, loads) = relay.outward(said.clone());
        assert_eq!((told.finished.len(), loads.len()), (0, 2), "its output and its files");
        relay.brought(RUN, "out/0/1-0.frames".into(), What::Output);
        assert_eq!(relay.outward(said.clone()).0.finished.len(), 0, "the files are not there yet");
        kept.files[0].digest = Some(Digest([7; 32]));
        relay.brought(RUN, "work/t#1".into(), What::Artifacts(Box::new(kept.clone())));
        let (told, loads) = relay.outward(said);
        assert_eq!(loads.len(), 0);
        let AttemptEnd::Ran(result) = &told.finished[0].end else { unreachable!() };
        assert_eq!(result.artifacts.as_deref(), Some(&kept));
        assert!(left.exists());
        relay.outward(exchange());
        assert!(!left.exists(), "the server has them");
    }

    #[test]
    fn a_relay_that_takes_over_knows_the_areas_that_are_there_and_keeps_those_that_are_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let before = Relay::new(dir.path().to_owned());
        for run in 1..10 {
            std::fs::create_dir_all(area_dir(&before, RunId(run))).unwrap();
        }
        std::fs::create_dir_all(before.run_dir(RunId(20)).join("area-0101010101010101.partial")).unwrap();
        let mut relay = Relay::new(dir.path().to_owned());
        relay.begin(&[(UnitId(4), RunId(1))], false);
        let source = Some(Digest([1; 32]));
        let come = |relay: &mut Relay, run: u128| {
            let mut orders = orders(&[50], &[50], source);
            orders.new[0].run = RunId(run);
            Arc::make_mut(&mut orders.runs[0]).run = RunId(run);
            relay.inward(orders).1.len()
        };
        assert_eq!(come(&mut relay, 20), 1, "half an area is fetched again");
        assert_eq!(come(&mut relay, 9), 0, "a whole one is not");
        assert!(area_dir(&relay, RunId(1)).exists(), "a test runs in it");
        assert!(!area_dir(&relay, RunId(2)).exists(), "nothing is held of it, and there are many");
    }

    #[test]
    fn a_keeper_that_is_to_end_gets_nothing_new() {
        let mut relay = Relay::new("/state/runs".into());
        relay.begin(&[(UnitId(1), RUN)], true);
        let (passed, _) = relay.inward(orders(&[1, 2], &[2], None));
        assert_eq!(units(&passed), (vec![1], vec![]));
        let holding = vec![Held { unit: UnitId(1), lease: LeaseId(1), phase: HeldPhase::Queued }];
        let (said, _) = relay.outward(Exchange { holding, ..exchange() });
        assert_eq!(said.holding.len(), 2, "and the server need not send it again");
    }

    #[test]
    fn a_run_without_a_packed_area_passes_as_it_is() {
        let mut relay = Relay::new("/state/runs".into());
        let asked = orders(&[1], &[1], None);
        assert_eq!(relay.inward(asked.clone()).0, asked);
    }
}
