//! Kinds of devices: how a device of a kind is verified and repaired, and what asks for that. Data, from a
//! file of the server's.
//!
//! ```text
//!   verify link ──► verify shell ──► verify disk        (after: a verifier that fails stops those after it)
//!        ▲               ▲   ▲
//!   fixes│          fixes│   │fixes
//!   repair power-cycle   repair restart-agent           (the cheapest that can fix what failed goes first)
//! ```
//!
//! A check is a run of an area like any other: its tests are the verifiers, and, where something is to be
//! repaired, the repair before them.

use crate::definition::{After, AfterMode, AreaDef, Items, Kind, Limits, Line, PassRule, Step, TestDef};
use crate::lab::DeviceSelector;
use crate::outcome::Outcome;
use crate::plan::{Plan, PlanError, plan};
use crate::select::Selection;
use std::time::Duration;

/// The area that checks are runs of.
pub const HEALTH_AREA: &str = "lab-health";
/// Before a verifier's name, the name of its test.
pub(crate) const VERIFY: &str = "verify.";
/// Before a repair's name, the name of its test.
pub(crate) const REPAIR: &str = "repair.";
/// Checks go before what people ask for: the device waits for nothing else.
const PRIORITY: i32 = 1_000_000;

/// A kind of device.
#[derive(Clone, Debug)]
pub struct DeviceKind {
    /// Its name.
    pub name: String,
    /// Which devices are of it.
    pub matches: DeviceSelector,
    /// How often a device is checked that nothing is known against; `None`: only when something is.
    pub check_every: Option<Duration>,
    /// Whether an attempt that ended by the lab's fault asks for a check.
    pub after_lab_error: bool,
    /// So many attempts in a row that failed where siblings pass ask for a check; `None`: they do not.
    pub failures_max: Option<u32>,
    /// Whether the restart of its agent asks for a check.
    pub after_restart: bool,
    /// A device that passes its check and misbehaves in the same way so often within
    /// [`offences_within`](Self::offences_within), more than its siblings do, is quarantined.
    pub offences_max: u32,
    /// See above.
    pub offences_within: Duration,
    /// How long a quarantine by the lab lasts at most; `None`: until it is found good or released.
    pub quarantine_max: Option<Duration>,
    /// How it is verified. After what they come after.
    pub verifiers: Vec<Verifier>,
    /// How it is repaired.
    pub repairs: Vec<Repair>,
}

/// A command that says whether something of a device is as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Verifier {
    /// Its name.
    pub name: String,
    /// Run on the agent's host. Exit code 0: it is; anything else: it is not.
    pub run: Line,
    /// Its limit.
    pub timeout: Duration,
    /// Verifiers that must have passed.
    pub after: Vec<String>,
    /// For people.
    pub description: String,
}

/// A command that may mend a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    /// Its name.
    pub name: String,
    /// Run on the agent's host.
    pub run: Line,
    /// Its limit.
    pub timeout: Duration,
    /// The verifiers it may make pass; empty: any.
    pub fixes: Vec<String>,
    /// The cheapest is tried first; equal ones as they are written.
    pub cost: u32,
    /// It is not tried again within this time.
    pub cool_down: Duration,
    /// How often it is tried before the device has been good again.
    pub tries: u16,
    /// For people.
    pub description: String,
}

impl DeviceKind {
    /// The plan of a check without a repair.
    ///
    /// # Errors
    /// Verifiers that come after each other in a circle, or after one that is not there.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        plan(&self.check(None), &Selection::default(), &(), &|_| Ok(false))
    }

    /// A check, with a repair before where one is named. Verifiers are run whatever the repair came to:
    /// what counts is whether the device is good.
    pub(crate) fn check(&self, repair: Option<&str>) -> AreaDef {
        let repair = repair.and_then(|name| self.repairs.iter().find(|r| r.name == name));
        let first = repair.map(|r| After { test: format!("{REPAIR}{}", r.name), mode: AfterMode::Ended });
        let mut tests: Vec<TestDef> = repair
            .map(|r| test(format!("{REPAIR}{}", r.name), &r.run, r.timeout, &r.description))
            .into_iter()
            .collect();
        for v in &self.verifiers {
            let after = |name: &String| After { test: format!("{VERIFY}{name}"), mode: AfterMode::Passed };
            tests.push(TestDef {
                after: v.after.iter().map(after).chain(first.clone()).collect(),
                ..test(format!("{VERIFY}{}", v.name), &v.run, v.timeout, &v.description)
            });
        }
        AreaDef { name: HEALTH_AREA.to_owned(), tests, ..AreaDef::default() }
    }
}

fn test(name: String, run: &Line, timeout: Duration, description: &str) -> TestDef {
    let kind = Kind::Steps { steps: vec![Step::new("run", run.clone())], items: Items::None };
    TestDef {
        origin: name.clone(),
        limits: Limits { timeout: Some(timeout), output_bytes_max: 1 << 20, ..Limits::default() },
        priority: PRIORITY,
        description: description.to_owned(),
        // A shell that does not find the command says nothing of the device.
        pass: PassRule { exit: vec![(126, Outcome::Error), (127, Outcome::Error)], ..PassRule::default() },
        ..TestDef::new(name, kind)
    }
}
