//! Small worlds in a line of text: tests with what they come to, devices, limits, and what happens when.
//!
//! ```text
//! devices 2; a takes 2s; b/x,y after a retries 1 -> fail,pass; at 3s stop
//! ```
//!
//! Clauses end with `;` or a line break. A clause begins with one of
//!
//! * `devices N` (one agent), `agents N M` (devices of each), `jobs N`, `group G N`, `token T N`, `load-max F`,
//!   `disk-min N`, `timeout D`, `fail-fast N`, `select PATTERN`, `shard I/N`, `unexpected-pass-is-fine`;
//! * `label DEVICE KEY=VALUE …` (devices are called d1, d2, …) and `on SELECTOR`: which devices the run may have;
//! * `at D WORDS`: something that happens then, see [`Happening`];
//! * a test: `NAME`, `NAME*N` (items 1 to N), `NAME/x,y` (these items), `NAME?x,y` (found by a command when
//!   its prerequisites have ended), `NAME!x,y` (a suite), then any of `after T`, `after-end T`,
//!   `after-item T`, `map PATTERN REPLACEMENT` (of the last `after-item`), `apart T`, `retries N`, `delay D`,
//!   `flaky-fails`, `retry-on OUTCOME`, `prio N`, `takes D`, `known D` (from history), `in GROUP`, `takes-token T=N`, `within 19:00-07:00`,
//!   `asks COMMAND`, `needs-load F`, `needs-disk N`, `batch N`, `expect OUTCOMES`, `expect-skip`, `expect-slow`, and `-> OUTCOMES` (of the
//!   attempts, the last one repeated), `x-> OUTCOMES` (of item x), `find-> OUTCOMES` (of the question).
//!   `lab` is an outcome too: a fault of the lab's.
//!
//! Durations are `3s` or `200ms`. It panics on what it does not understand: it is for tests alone.

use crate::build;
use muster_core::attempt::AttemptResult;
use muster_core::definition::{
    After, AfterMode, AreaDef, Expectation, FlakyPolicy, Framework, ItemMap, ItemMatch, Items, Kind, Limiter,
    Line, Role, SuiteDef, TestDef, UnexpectedPass,
};
use muster_core::exchange::{Found, FoundItem, Group, Labels};
use muster_core::hours::Hours;
use muster_core::outcome::Outcome;
use muster_core::plan::History;
use muster_core::select::{Selection, Shard};
use muster_core::time::{Time, micros};
use std::collections::BTreeMap;
use std::time::Duration;

/// A world as it was written.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The area.
    pub area: AreaDef,
    /// What is selected of it.
    pub selection: Selection,
    /// Failures that stop the run.
    pub failures_max: Option<u32>,
    /// Devices of each agent.
    pub agents: Vec<usize>,
    /// What devices are like, by name.
    pub labels: BTreeMap<String, Labels>,
    /// Which of them the run may have.
    pub on: String,
    /// What the tests do.
    pub behaviour: Behaviour,
    /// What happens when, by time.
    pub happenings: Vec<(Time, Happening)>,
}

/// What happens in a scenario.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// `stop`: with grace.
    Stop,
    /// `kill`: without.
    Kill,
    /// `reopen a/x,b`: the run goes on, and these items are run again.
    Reopen(Vec<(String, String)>),
    /// `restart`: the lab is lost and restored from its record.
    Restart,
    /// `load F`: of all hosts.
    Load(f64),
    /// `disk N`: free bytes on all hosts.
    Disk(u64),
    /// `silence N`: agent N says and hears nothing more.
    Silence(usize),
    /// `voice N`: it does again.
    Voice(usize),
    /// `gone N`: agent N dies, and the lab learns it.
    Gone(usize),
    /// `back N`: agent N begins another session.
    Back(usize),
    /// `why a/x`: asks for the explanation.
    Why(String, String),
    /// `hold d1`, `release d1`: a person takes a device, or gives it back.
    Hold(String, bool),
    /// `shut`, `open`: all hosts say no, or yes, to tests that ask them.
    Shut(bool),
}

/// What tests do when they are run.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    tests: BTreeMap<String, Does>,
}

#[derive(Clone, Debug)]
struct Does {
    takes: Duration,
    known: Option<Duration>,
    all: Vec<Comes>,
    items: BTreeMap<String, Vec<Comes>>,
    question: Vec<Comes>,
    found: Vec<String>,
    batch: u32,
}

#[derive(Clone, Copy, Debug)]
enum Comes {
    To(Outcome),
    Lab,
}

impl Behaviour {
    /// How long an attempt of a test takes.
    pub fn takes(&self, test: &str) -> Duration {
        self.tests.get(test).map_or(Duration::from_millis(100), |does| does.takes)
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
        // What the scenario does not say passes: checks of devices, whose tests are not the area's.
        let Some(does) = self.tests.get(test) else { return build::result(Outcome::Pass, started, took) };
        comes(does.items.get(item).unwrap_or(&does.all), attempt, started, took)
    }

    /// What the question for a test's items comes to.
    pub fn found(&self, test: &str, attempt: u16, started: Time, took: Duration) -> (AttemptResult, Found) {
        let does = &self.tests[test];
        let result = comes(&does.question, attempt, started, took);
        if !result.outcome.is_good() {
            return (result, Found::default());
        }
        let group = Group { name: "all".to_owned(), batch_max: does.batch, ..Group::default() };
        let item =
            |path: &String| FoundItem { path: path.clone(), selector: path.clone(), ..FoundItem::default() };
        (result, Found { groups: vec![group], items: does.found.iter().map(item).collect() })
    }
}

impl History for Behaviour {
    fn micros(&self, test: &str, _: &str) -> Option<u32> {
        u32::try_from(micros(self.tests.get(test)?.known?)).ok()
    }
}

fn comes(list: &[Comes], attempt: u16, started: Time, took: Duration) -> AttemptResult {
    let at = usize::from(attempt).min(list.len()).saturating_sub(1);
    match list.get(at) {
        None => build::result(Outcome::Pass, started, took),
        Some(Comes::To(outcome)) => build::result(*outcome, started, took),
        Some(Comes::Lab) => build::lab_error(started, took),
    }
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Panics
    /// On what it does not understand.
    pub fn new(text: &str) -> Self {
        let mut scenario = Self {
            area: build::area(Vec::new()),
            selection: Selection::default(),
            failures_max: None,
            agents: vec![1],
            labels: BTreeMap::new(),
            on: String::new(),
            behaviour: Behaviour::default(),
            happenings: Vec::new(),
        };
        for clause in text.split([';', '\n']).map(str::trim).filter(|c| !c.is_empty()) {
            let words: Vec<&str> = clause.split_whitespace().collect();
            scenario.clause(&words);
        }
        scenario.happenings.sort_by_key(|(at, _)| *at);
        scenario
    }

    fn clause(&mut self, words: &[&str]) {
        let limits = &mut self.area.limits;
        match words {
            ["devices", n] => self.agents = vec![number(n)],
            ["agents", each @ ..] => self.agents = each.iter().map(|n| number(n)).collect(),
            ["label", device, labels @ ..] => {
                let known = self.labels.entry((*device).to_owned()).or_default();
                let pairs = labels.iter().map(|l| l.split_once('=').expect("KEY=VALUE"));
                known.extend(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())));
            }
            ["on", selector @ ..] => self.on = selector.join(" "),
            ["jobs", n] => limits.jobs = Some(number(n)),
            ["group", g, n] => drop(limits.groups.insert((*g).to_owned(), number(n))),
            ["token", t, n] => drop(limits.tokens.insert((*t).to_owned(), number(n))),
            ["load-max", f] => limits.load_max = Some(number(f)),
            ["disk-min", n] => limits.disk_free_bytes_min = number(n),
            ["timeout", d] => limits.run_timeout = Some(duration(d)),
            ["fail-fast", n] => self.failures_max = Some(number(n)),
            ["select", pattern] => self.selection.patterns.push((*pattern).to_owned()),
            ["shard", part] => self.selection.shard = Some(Shard::parse(part).expect("a shard")),
            ["unexpected-pass-is-fine"] => self.area.unexpected_pass = UnexpectedPass::Report,
            ["at", when, what @ ..] => {
                self.happenings.push((Time::default() + duration(when), happening(what)));
            }
            [name, rest @ ..] => self.test(name, rest),
            [] => unreachable!("empty clauses are left out"),
        }
    }

    fn test(&mut self, name: &str, words: &[&str]) {
        let (name, kind, found) = kind(name);
        let mut def = TestDef { kind, ..build::test(name) };
        let mut does = Does {
            takes: Duration::from_secs(1),
            known: None,
            all: Vec::new(),
            items: BTreeMap::new(),
            question: Vec::new(),
            found,
            batch: 1,
        };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut next = || words.next().unwrap_or_else(|| panic!("`{word}` of `{name}` says what?"));
            match word {
                "after" => def.after.push(after(next(), AfterMode::Passed)),
                "after-end" => def.after.push(after(next(), AfterMode::Ended)),
                "after-item" => def.after.push(after(next(), AfterMode::MatchingItem { map: Vec::new() })),
                "map" => {
                    let rule = ItemMap { pattern: next().to_owned(), replacement: next().to_owned() };
                    match def.after.last_mut() {
                        Some(After { mode: AfterMode::MatchingItem { map }, .. }) => map.push(rule),
                        _ => panic!("`map` of `{name}` follows no `after-item`"),
                    }
                }
                "apart" => def.after.push(after(next(), AfterMode::Exclusive)),
                "retries" => def.retries.count = number(next()),
                "delay" => def.retries.delay = duration(next()),
                "flaky-fails" => def.retries.flaky = FlakyPolicy::Fail,
                "retry-on" => def.retries.on.push(Outcome::from_word(next()).expect("an outcome")),
                "prio" => def.priority = number(next()),
                "takes" => does.takes = duration(next()),
                "known" => does.known = Some(duration(next())),
                "in" => def.needs.groups.push(next().to_owned()),
                "has" => def.needs.devices.roles = next().split(',').map(role).collect(),
                "same-host" => def.needs.devices.same_host = true,
                "takes-token" => {
                    let (token, n) = next().split_once('=').expect("TOKEN=N");
                    def.needs.tokens.insert(token.to_owned(), number(n));
                }
                "within" => {
                    let hours = Hours::parse([next()]).expect("hours without blanks");
                    def.needs.hours.push(hours);
                }
                "asks" => def.needs.limiter = Some(Limiter::new(next())),
                "needs-load" => def.needs.load_max = Some(number(next())),
                "needs-disk" => def.needs.disk_free_bytes_min = number(next()),
                "batch" => does.batch = number(next()),
                "expect" => def.expectations.push(expectation(next(), false, false)),
                "expect-skip" => def.expectations.push(expectation("", true, false)),
                "expect-slow" => def.expectations.push(expectation("", false, true)),
                "->" => does.all = outcomes(next()),
                "find->" => does.question = outcomes(next()),
                item if item.ends_with("->") => {
                    let list = outcomes(next());
                    does.items.insert(item.trim_end_matches("->").to_owned(), list);
                }
                other => panic!("`{name}` has no `{other}`"),
            }
        }
        self.behaviour.tests.insert(name.to_owned(), does);
        self.area.tests.push(def);
    }
}

/// `phone`, or `phone:kind=phone`.
fn role(word: &str) -> Role {
    let (name, label) = word.split_once(':').unwrap_or((word, ""));
    let selector = label.split_once('=').map(|(key, value)| format!("labels.{key} == '{value}'"));
    Role { name: name.to_owned(), selector: selector.unwrap_or_default() }
}

fn kind(name: &str) -> (&str, Kind, Vec<String>) {
    let list = |text: &str| text.split(',').filter(|p| !p.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let Some(at) = name.find(['*', '/', '?', '!']) else {
        return (name, build::steps(Items::None), Vec::new());
    };
    let (name, mark, rest) = (&name[..at], &name[at..=at], &name[at + 1..]);
    match mark {
        "*" => {
            (name, build::steps(build::listed((1..=number(rest)).map(|n: u32| n.to_string()))), Vec::new())
        }
        "/" => (name, build::steps(build::listed(list(rest))), Vec::new()),
        "?" => (name, build::steps(Items::Command(build::command("list"))), list(rest)),
        _ => {
            let line = |s: &str| Line::Shell(s.to_owned());
            let framework = Framework::List { list: line("list"), run: line("run {item}") };
            (name, Kind::Suite(SuiteDef::new(framework)), list(rest))
        }
    }
}

fn happening(words: &[&str]) -> Happening {
    match words {
        ["stop"] => Happening::Stop,
        ["kill"] => Happening::Kill,
        ["reopen"] => Happening::Reopen(Vec::new()),
        ["reopen", items] => Happening::Reopen(items.split(',').map(address).collect()),
        ["restart"] => Happening::Restart,
        ["load", f] => Happening::Load(number(f)),
        ["disk", n] => Happening::Disk(number(n)),
        ["silence", n] => Happening::Silence(number(n)),
        ["voice", n] => Happening::Voice(number(n)),
        ["hold", device] => Happening::Hold((*device).to_owned(), true),
        ["release", device] => Happening::Hold((*device).to_owned(), false),
        ["shut"] => Happening::Shut(true),
        ["open"] => Happening::Shut(false),
        ["gone", n] => Happening::Gone(number(n)),
        ["back", n] => Happening::Back(number(n)),
        ["why", what] => {
            let (test, item) = address(what);
            Happening::Why(test, item)
        }
        other => panic!("nothing happens as `{}`", other.join(" ")),
    }
}

fn address(text: &str) -> (String, String) {
    let (test, item) = text.split_once('/').unwrap_or((text, ""));
    (test.to_owned(), item.to_owned())
}

fn after(test: &str, mode: AfterMode) -> After {
    After { test: test.to_owned(), mode }
}

fn expectation(allowed: &str, skip: bool, slow: bool) -> Expectation {
    Expectation {
        items: ItemMatch::Prefix(String::new()),
        allowed: allowed.split(',').filter(|w| !w.is_empty()).map(outcome).collect(),
        skip,
        slow,
        reason: String::new(),
        origin: "expectations:1".to_owned(),
    }
}

fn outcome(word: &str) -> Outcome {
    Outcome::from_word(word).unwrap_or_else(|| panic!("`{word}` is no outcome"))
}

fn outcomes(words: &str) -> Vec<Comes> {
    words.split(',').map(|w| if w == "lab" { Comes::Lab } else { Comes::To(outcome(w)) }).collect()
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"))
}

fn duration(word: &str) -> Duration {
    match word.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(number(millis)),
        None => Duration::from_secs(number(word.strip_suffix('s').unwrap_or(word))),
    }
}
