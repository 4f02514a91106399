//! Kinds of devices in a world: how they are verified and repaired, and the checks that the lab wants of that.
//!
//! Whether a device is well is the [truth's](crate::area::Truth::check), by the moment, so that the same verifier
//! fails and passes again. When all is quiet every device is well.

use super::World;
use crate::build;
use crate::rng::{Rng, mix};
use muster_core::change::{Placement, RunRecord, RunSpec};
use muster_core::definition::Line;
use muster_core::id::RunId;
use muster_core::kind::{DeviceKind, Repair, Verifier};
use muster_core::lab::{DeviceSelector, Input, Lab, THE_LAB, WantedCheck};
use muster_core::select::Selection;
use std::sync::Arc;
use std::time::Duration;

/// Numbers of checks begin here: those of runs that people ask for do not come so far.
const FIRST: u32 = 1_000_000;

/// The kinds of a world; none in most.
pub(super) fn random_kinds(seed: u64, lease: Duration) -> Arc<[DeviceKind]> {
    // What a world has beside is as without them.
    let mut rng = Rng::new(mix([seed, 0x6b69_6e64]));
    if !rng.permille(350) {
        return Arc::from([]);
    }
    let line = || Line::Shell("true".to_owned());
    let timeout = Duration::from_secs(10);
    let verifier = |name: &str, after: &[&str]| Verifier {
        name: name.to_owned(),
        run: line(),
        timeout,
        after: after.iter().map(|a| (*a).to_owned()).collect(),
        description: String::new(),
    };
    let mut repair = |name: &str, fixes: &[&str], cost: u32| Repair {
        name: name.to_owned(),
        run: line(),
        timeout,
        fixes: fixes.iter().map(|f| (*f).to_owned()).collect(),
        cost,
        cool_down: rng.duration(lease / 10, lease * 2),
        tries: u16::try_from(rng.between(1, 3)).unwrap_or(1),
        description: String::new(),
    };
    let repairs = vec![repair("power", &[], 5), repair("restart", &["shell"], 1)];
    let kind = DeviceKind {
        name: "board".to_owned(),
        matches: DeviceSelector::parse("labels.kind == 'a'").expect("a selector"),
        check_every: rng.permille(500).then(|| rng.duration(lease, lease * 4)),
        after_lab_error: rng.permille(500),
        failures_max: rng.permille(500).then_some(2),
        after_restart: rng.permille(300),
        offences_max: 2,
        offences_within: Duration::from_secs(3_600),
        quarantine_max: rng.permille(300).then(|| rng.duration(lease, lease * 4)),
        verifiers: vec![verifier("link", &[]), verifier("shell", &["link"])],
        repairs,
    };
    Arc::from([kind])
}

impl World {
    /// The checks that the lab wants, as runs.
    pub(super) fn checks(&mut self, lab: &Lab) -> Vec<Input> {
        let wanted = lab.checks_wanted();
        wanted.into_iter().map(|wanted| self.check(wanted)).collect()
    }

    fn check(&mut self, wanted: WantedCheck) -> Input {
        let WantedCheck { device, name, area, selector } = wanted;
        let number = FIRST + self.checks_made;
        self.checks_made += 1;
        say!(self, "the lab is given {name} as {}", RunId(number.into()));
        let placement = Placement { user: THE_LAB.to_owned(), selector, ..Placement::default() };
        let spec = RunSpec { name, placement, ..build::spec(&area, Selection::default()) };
        let record: RunRecord =
            build::run_record(&area, number, self.now, spec, &self.truth).expect("verifiers can be planned");
        Input::Check { device, record: Arc::new(record), history: Arc::new(self.truth) }
    }
}
