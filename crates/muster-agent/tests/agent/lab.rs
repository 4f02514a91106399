//! A small lab around a real agent process: it gives units out and collects their ends.

use muster_agent::process::{AgentProcess, Setup};
use muster_core::attempt::{AttemptResult, Output};
use muster_core::definition::{Items, Kind, Line, Proceed, Step, SuiteDef, TestDef};
use muster_core::exchange::{
    AttemptEnd, DeviceOffer, Exchange, Group, HeldPhase, Orders, RunContext, TestContext, Unit, UnitAttempt,
    Wanted,
};
use muster_core::id::{AgentId, AttemptRef, ItemIx, LeaseId, RunId, SessionId, TestIx, UnitId};
use muster_core::output::{Stream, text};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Units given out at once.
const AHEAD: usize = 200;

pub(crate) const RUN: RunId = RunId(1);

/// An area's directory, its run's directory, and an agent.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) agent: AgentProcess,
    tests: Vec<Arc<TestContext>>,
    units: Vec<Unit>,
    /// What the lab wants to be stopped.
    pub(crate) dropped: Vec<UnitId>,
    pub(crate) kill: bool,
    acked: u64,
    pub(crate) ends: BTreeMap<AttemptRef, AttemptEnd>,
    pub(crate) last: Option<Exchange>,
    next_item: u32,
    /// Units before this one have ended.
    done: usize,
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_muster-agent-process"))
}

pub(crate) fn setup(area_dir: &Path, slots: u32) -> Setup {
    Setup {
        agent: AgentId(1),
        session: SessionId(7),
        host: "here".into(),
        devices: (1..=slots).map(|n| DeviceOffer::named(format!("here-{n}"))).collect(),
        threads: Some(2),
        minds_lease: false,
        cgroups: false,
        area_dir: area_dir.to_str().unwrap().into(),
    }
}

/// A test without anything special.
pub(crate) fn test_def(name: &str, kind: Kind) -> TestDef {
    TestDef::new(name, kind)
}

pub(crate) fn step(name: &str, line: &str, proceed: Proceed) -> Step {
    Step { proceed, ..Step::new(name, Line::Shell(line.into())) }
}

/// A test of one plain command.
pub(crate) fn command(line: &str) -> TestDef {
    test_def("t", Kind::Steps { steps: vec![step("run", line, Proceed::Passed)], items: Items::None })
}

pub(crate) fn suite(suite: SuiteDef) -> TestDef {
    test_def("s", Kind::Suite(suite))
}

impl Lab {
    pub(crate) fn new(slots: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let agent = AgentProcess::spawn::<&str>(program(), &[], setup(dir.path(), slots)).unwrap();
        Self {
            dir,
            agent,
            tests: vec![],
            units: vec![],
            dropped: vec![],
            kill: false,
            acked: 0,
            ends: BTreeMap::new(),
            last: None,
            next_item: 0,
            done: 0,
        }
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join(".run")
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run_context(&self) -> Arc<RunContext> {
        Arc::new(RunContext {
            run: RUN,
            address: "area/1".into(),
            number: 1,
            area_dir: self.dir.path().to_str().unwrap().into(),
            run_dir: self.run_dir().to_str().unwrap().into(),
            env: vec![("AREA_VAR".into(), "from the area".into())],
            trace_id: "0123456789abcdef0123456789abcdef".into(),
            inputs: muster_core::inputs::Inputs::default(),
            source: None,
            unusable: None,
        })
    }

    /// A unit of these items of a test, to be run by whichever device is next.
    pub(crate) fn add(&mut self, def: TestDef, groups: Vec<Group>, items: &[(&str, &str, u32)]) -> UnitId {
        let test = TestIx(self.tests.len() as u32);
        self.tests.push(Arc::new(TestContext { run: RUN, test, def: Arc::new(def), groups: groups.into() }));
        self.add_unit(test, false, items)
    }

    /// A unit for each of these items of a test.
    pub(crate) fn add_each(&mut self, def: TestDef, items: &[(&str, &str, u32)]) {
        let test = TestIx(self.tests.len() as u32);
        self.tests.push(Arc::new(TestContext { run: RUN, test, def: Arc::new(def), groups: [].into() }));
        for item in items {
            self.add_unit(test, false, std::slice::from_ref(item));
        }
    }

    /// The question for a test's items.
    pub(crate) fn ask(&mut self, def: TestDef) -> UnitId {
        let test = TestIx(self.tests.len() as u32);
        self.tests.push(Arc::new(TestContext { run: RUN, test, def: Arc::new(def), groups: [].into() }));
        self.add_unit(test, true, &[("", "", 0)])
    }

    fn add_unit(&mut self, test: TestIx, discovery: bool, items: &[(&str, &str, u32)]) -> UnitId {
        let id = UnitId(self.units.len() as u64 + 1);
        let attempts = items
            .iter()
            .map(|(path, selector, group)| {
                self.next_item += 1;
                UnitAttempt {
                    attempt: AttemptRef { run: RUN, item: ItemIx(self.next_item), attempt: 1 },
                    path: (*path).into(),
                    selector: (*selector).into(),
                    group: *group,
                    vars: [].into(),
                    timeout: None,
                    slow: false,
                    part: None,
                }
            })
            .collect();
        self.units.push(Unit { id, test, run: RUN, discovery, attempts, devices: Vec::new() });
        id
    }

    /// Hears what there is and answers, as a lab would.
    fn turn(&mut self) {
        for exchange in self.agent.link.receive().unwrap() {
            for finished in &exchange.finished {
                if finished.spool > self.acked {
                    self.acked = finished.spool;
                    self.ends.insert(finished.attempt, finished.end.clone());
                }
            }
            let open = |u: &Unit| {
                !self.dropped.contains(&u.id)
                    && u.attempts.iter().any(|a| !self.ends.contains_key(&a.attempt))
            };
            self.done += self.units[self.done..].iter().take_while(|u| !open(u)).count();
            let ahead = self.units[self.done..].iter().filter(|u| open(u)).take(AHEAD);
            let list: Vec<Unit> = ahead.cloned().collect();
            let devices = exchange.devices.len() as u64;
            let known = |id: UnitId| exchange.holding.iter().any(|h| h.unit == id);
            let orders = Orders {
                session: exchange.session,
                seq: exchange.seq,
                acked: self.acked,
                units: list
                    .iter()
                    .map(|u| Wanted {
                        unit: u.id,
                        lease: LeaseId(1),
                        device: (u.id.0 % devices) as u32,
                        give_back: false,
                    })
                    .collect(),
                new: list.iter().filter(|u| !known(u.id)).cloned().collect(),
                runs: vec![self.run_context()],
                tests: self.tests.clone(),
                kill: self.kill,
                lease: Duration::ZERO,
            };
            self.last = Some(exchange);
            self.agent.link.send(orders).unwrap();
        }
    }

    fn wait(&mut self) {
        let mut wanted = PollFlags::IN;
        if self.agent.link.wants_write() {
            wanted |= PollFlags::OUT;
        }
        let fd = self.agent.link.fd().unwrap();
        poll(&mut [PollFd::new(&fd, wanted)], None).unwrap();
        self.agent.link.flush().unwrap();
    }

    /// Goes on until this holds. Panics if the agent ends before.
    pub(crate) fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            assert!(!self.agent.link.has_ended(), "the agent has ended");
            self.wait();
            self.turn();
        }
    }

    /// Until every attempt has an end.
    pub(crate) fn until_done(&mut self) {
        let total: usize = self.units.iter().map(|u| u.attempts.len()).sum();
        self.until(|lab| lab.ends.len() == total);
    }

    /// Until a process of this unit is said to run.
    pub(crate) fn until_running(&mut self, unit: UnitId) {
        self.until(|lab| {
            lab.last.as_ref().is_some_and(|e| {
                e.holding.iter().any(|h| h.unit == unit && matches!(h.phase, HeldPhase::Running { .. }))
            })
        });
    }

    /// The results of the units, in the order they were added.
    pub(crate) fn results(&self) -> Vec<&AttemptResult> {
        self.ends
            .values()
            .map(|end| match end {
                AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) => result,
                AttemptEnd::NotReached | AttemptEnd::Shut { .. } => panic!("not run"),
            })
            .collect()
    }

    pub(crate) fn log(&self, result: &AttemptResult) -> Vec<u8> {
        match &result.output {
            Output::None => vec![],
            Output::Inline(frames) => frames.clone(),
            Output::File { path, len } => {
                let frames = fs::read(self.run_dir().join(path)).unwrap();
                assert_eq!(frames.len() as u64, *len);
                frames
            }
            Output::Segment { .. } => panic!("only the store makes segments"),
        }
    }

    /// All it printed, as text.
    pub(crate) fn printed(&self, result: &AttemptResult) -> String {
        String::from_utf8(text(&self.log(result), |s| s != Stream::Muster)).unwrap()
    }
}

/// Runs one test and gives its result and what it printed.
pub(crate) fn run_one(def: TestDef) -> (AttemptResult, String) {
    let mut lab = Lab::new(1);
    lab.add(def, vec![], &[("", "", 0)]);
    lab.until_done();
    let result = lab.results()[0].clone();
    let printed = lab.printed(&result);
    (result, printed)
}

/// Waits, without a limit of its own, until a condition of the outside world holds.
pub(crate) fn eventually(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is alive (a zombie is not).
pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}
