//! Random areas, and what their tests really do when they are run.

use crate::build;
use crate::rng::{Rng, mix};
use muster_core::attempt::AttemptResult;
use muster_core::definition::{
    After, AfterMode, AreaDef, Batch, Expectation, FlakyPolicy, Framework, ItemMatch, Items, Kind, Line,
    NeededDevices, Role, SuiteDef, TestDef, UnexpectedPass,
};
use muster_core::exchange::{Found, FoundItem, Group, Labels};
use muster_core::outcome::Outcome;
use muster_core::plan::History;
use muster_core::time::Time;
use std::time::Duration;

/// What tests really do: the same for the same seed, whoever asks, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    seed: u64,
    /// Longest usual attempt.
    longest: Duration,
}

impl Truth {
    /// The truth of a seed.
    pub fn new(seed: u64, longest: Duration) -> Self {
        Self { seed, longest }
    }

    fn about(&self, what: u64, test: &str, item: &str, n: u64) -> Rng {
        let text = test.bytes().chain([b'/']).chain(item.bytes()).map(u64::from);
        Rng::new(mix([self.seed, what, n].into_iter().chain(text)))
    }

    /// How long an attempt takes.
    pub fn takes(&self, test: &str, item: &str, attempt: u16) -> Duration {
        let mut rng = self.about(1, test, item, attempt.into());
        let longest = if rng.permille(10) { self.longest * 8 } else { self.longest };
        rng.duration(Duration::from_millis(1), longest)
    }

    /// What an attempt comes to.
    pub fn result(
        &self,
        test: &str,
        item: &str,
        attempt: u16,
        started: Time,
        took: Duration,
    ) -> AttemptResult {
        let mut rng = self.about(2, test, item, attempt.into());
        let outcome = match rng.below(100) {
            0..=11 => Outcome::Fail,
            12..=15 => Outcome::Timeout,
            16..=20 => Outcome::Crash,
            21..=23 => Outcome::Skip,
            24..=25 => Outcome::Warn,
            26 => Outcome::Abort,
            27 => Outcome::Check,
            28 => Outcome::Error,
            29..=31 => return build::lab_error(started, took),
            _ => Outcome::Pass,
        };
        build::result(outcome, started, took)
    }

    /// What a verifier, or a repair, comes to on a device at a moment.
    pub fn check(&self, test: &str, device: &str, started: Time, took: Duration) -> AttemptResult {
        let mut rng = self.about(6, test, device, started.0);
        match rng.below(100) {
            0..=39 => build::result(Outcome::Fail, started, took),
            40..=44 => build::result(Outcome::Timeout, started, took),
            45..=51 => build::lab_error(started, took),
            _ => build::result(Outcome::Pass, started, took),
        }
    }

    /// What the question for a test's items comes to.
    pub fn found(
        &self,
        def: &TestDef,
        attempt: u16,
        started: Time,
        took: Duration,
    ) -> (AttemptResult, Found) {
        let mut rng = self.about(3, &def.name, "", attempt.into());
        if rng.permille(60) {
            return (build::lab_error(started, took), Found::default());
        }
        if rng.permille(40) {
            return (build::result(Outcome::Fail, started, took), Found::default());
        }
        // What there is to find hardly depends on when one asks.
        let mut rng = self.about(4, &def.name, "", u64::from(rng.permille(50)));
        let batch_max = u32::try_from(rng.between(1, 5)).unwrap_or(1);
        let group = |n: u32| Group { name: format!("g{n}"), batch_max, ..Group::default() };
        let groups = u32::try_from(rng.between(1, 2)).unwrap_or(1);
        let items = (0..rng.below(8)).map(|n| FoundItem {
            path: n.to_string(),
            group: u32::try_from(n).unwrap_or(0) % groups,
            selector: format!("s{n}"),
            skip: rng.permille(50).then(|| "ignored".to_owned()),
            ..FoundItem::default()
        });
        let items = items.collect();
        (
            build::result(Outcome::Pass, started, took),
            Found { groups: (0..groups).map(group).collect(), items },
        )
    }
}

impl History for Truth {
    /// Something is known of two items in three, and it is about right.
    fn micros(&self, test: &str, item: &str) -> Option<u32> {
        let mut rng = self.about(5, test, item, 0);
        let takes = u32::try_from(self.takes(test, item, 1).as_micros()).ok()?;
        (!rng.permille(333)).then(|| if rng.permille(100) { takes / 50 } else { takes })
    }
}

/// A device of a world: its name, the host it is at home on, and its kind.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its name.
    pub name: String,
    /// The host, by its place.
    pub host: usize,
    /// What its label `kind` says.
    pub kind: &'static str,
}

impl Home {
    /// What it is like at home.
    pub fn labels(&self) -> Labels {
        self.labels_as(self.kind)
    }

    /// What it is like while it is of this kind.
    pub fn labels_as(&self, kind: &str) -> Labels {
        [("kind", kind), ("address", &self.name)].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }
}

/// Devices that a test needs at once, which those of the world can be when all of them are at home.
fn random_gang(rng: &mut Rng, homes: &[Home]) -> NeededDevices {
    let mut left: Vec<&Home> = homes.iter().collect();
    let mut chosen = Vec::new();
    for _ in 0..rng.between(1, 3).min(homes.len()) {
        chosen.push(left.remove(rng.below(left.len())));
    }
    let same_host = chosen.iter().all(|home| home.host == chosen[0].host) && rng.permille(500);
    let role = |(n, home): (usize, &&Home)| {
        let selector = match rng.below(4) {
            0 => format!("name == '{}'", home.name),
            1 => String::new(),
            _ => format!("labels.kind == '{}'", home.kind),
        };
        Role { name: format!("r{n}"), selector }
    };
    NeededDevices { roles: chosen.iter().enumerate().map(role).collect(), same_host }
}

/// A random area.
pub fn random_area(rng: &mut Rng, homes: &[Home]) -> AreaDef {
    let tests = rng.between(1, 7);
    let mut area = build::area((0..tests).map(|n| random_test(rng, n)).collect());
    if rng.permille(500) {
        for test in &mut area.tests {
            if rng.permille(400) {
                test.needs.devices = random_gang(rng, homes);
            }
        }
    }
    let limits = &mut area.limits;
    for group in ["g", "h"] {
        if rng.permille(800) {
            limits.groups.insert(group.to_owned(), u32::try_from(rng.between(1, 2)).unwrap_or(1));
        }
    }
    limits.jobs = rng.permille(200).then(|| u32::try_from(rng.between(1, 3)).unwrap_or(1));
    limits.load_max = rng.permille(200).then_some(1.5);
    limits.disk_free_bytes_min = if rng.permille(100) { 500 } else { 0 };
    limits.run_timeout = rng.permille(80).then(|| Duration::from_secs(rng.between(2, 200) as u64));
    if rng.permille(300) {
        area.unexpected_pass = UnexpectedPass::Report;
    }
    area
}

fn random_test(rng: &mut Rng, n: usize) -> TestDef {
    let name = |n: usize| format!("t{n}");
    let paths = |rng: &mut Rng| build::listed((0..rng.between(1, 5)).map(|n| n.to_string()));
    let kind = match rng.below(10) {
        0..=3 => build::steps(Items::None),
        4..=6 => build::steps(paths(rng)),
        7 => build::steps(Items::Command(build::command("list"))),
        _ => {
            let line = |s: &str| Line::Shell(s.to_owned());
            let batch = *rng.pick(&[Batch::Auto, Batch::Single, Batch::Most(2)]).unwrap_or(&Batch::Auto);
            Kind::Suite(SuiteDef {
                batch,
                ..SuiteDef::new(Framework::List { list: line("l"), run: line("r") })
            })
        }
    };
    let mut def = TestDef { kind, ..build::test(&name(n)) };
    for _ in 0..rng.below(3).min(n) {
        let mode = match rng.below(4) {
            0 => AfterMode::Passed,
            1 => AfterMode::Ended,
            2 => AfterMode::MatchingItem { map: Vec::new() },
            _ => AfterMode::Exclusive,
        };
        let other = if mode == AfterMode::Exclusive { rng.below(n + 1) } else { rng.below(n) };
        def.after.push(After { test: name(other), mode });
    }
    def.retries.count = u16::try_from(rng.below(3)).unwrap_or(0);
    def.retries.delay =
        Duration::from_millis(if rng.permille(500) { 0 } else { rng.between(1, 3000) as u64 });
    if rng.permille(200) {
        def.retries.flaky = FlakyPolicy::Fail;
    }
    for group in ["g", "h"] {
        if rng.permille(200) {
            def.needs.groups.push(group.to_owned());
        }
    }
    def.needs.load_max = rng.permille(50).then_some(0.7);
    def.priority = i32::try_from(rng.below(3)).unwrap_or(0);
    if rng.permille(250) {
        let allowed: &[Outcome] = match rng.below(3) {
            0 => &[Outcome::Fail],
            1 => &[Outcome::Pass, Outcome::Crash],
            _ => &[],
        };
        def.expectations.push(Expectation {
            items: ItemMatch::Exact(if rng.permille(500) { String::new() } else { rng.below(5).to_string() }),
            allowed: allowed.to_vec(),
            skip: rng.permille(200),
            slow: rng.permille(200),
            reason: String::new(),
            origin: "e:1".to_owned(),
        });
    }
    def
}
