//! A whole run in JSON.

use super::note::{Lock, Note};
use super::{Attempt, Counts, TargetValue, Texts, Verdict};
use crate::report::words;
use muster_core::definition::UnexpectedPass as CoreUnexpectedPass;
use muster_core::inputs as core_inputs;
use muster_core::view as core;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A run with all it has come to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub struct Run<'a> {
    /// The version of this format.
    pub schema: RunSchema,
    /// Its id, a UUID.
    pub id: String,
    /// `AREA/RUN`.
    pub address: String,
    /// Its area's name.
    pub area: &'a str,
    /// Its number in the area.
    pub number: u32,
    /// Its name; may be empty.
    pub name: &'a str,
    /// What it was for, in the order of the area's keys.
    pub target: Vec<TargetValue<'a>>,
    /// Where it ran.
    pub host: &'a str,
    /// What it was given from outside; `null` where nothing was.
    pub inputs: Option<Inputs<'a>>,
    /// Where it stands.
    pub state: RunState,
    /// When it was started, RFC 3339.
    pub started: String,
    /// When it ended, RFC 3339; `null` while it has not.
    pub ended: Option<String>,
    /// The worst verdict so far; `null` where nothing has ended.
    pub verdict: Option<Verdict>,
    /// Whether the run has ended and everything in it is fine.
    pub ok: bool,
    /// Items by verdict.
    pub counts: Counts,
    /// Items known so far.
    pub items: u32,
    /// Whether an unexpected pass fails it.
    pub unexpected_pass: UnexpectedPass,
    /// Who has locked it; `null`: nobody.
    pub locked: Option<Lock<'a>>,
    /// What people said of it and of its items, in order. Empty in listings.
    pub notes: Vec<Note<'a>>,
    /// Its tests, in plan order.
    pub tests: Each<'a, core::TestView, Test<'a>>,
}

/// The version of a run's JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum RunSchema {
    /// The first.
    #[default]
    #[serde(rename = "muster.run/1")]
    V1,
}

impl<'a> Run<'a> {
    /// With the text that attempts printed as `texts` says.
    pub fn new(run: &'a core::RunView, texts: Texts<'a>) -> Self {
        let core::RunView {
            id,
            area,
            number,
            name,
            target,
            host,
            state,
            started,
            ended,
            counts,
            items,
            unexpected_pass,
            inputs,
            said,
            tests,
        } = run;
        Self {
            schema: RunSchema::V1,
            id: words::run_uuid(*id),
            address: run.address(),
            area,
            number: *number,
            name,
            target: TargetValue::list(target),
            host,
            inputs: Inputs::of(inputs),
            state: (*state).into(),
            started: words::timestamp(*started),
            ended: ended.map(words::timestamp),
            verdict: run.verdict().map(Verdict::from),
            ok: run.has_passed(),
            counts: counts.into(),
            items: *items,
            unexpected_pass: (*unexpected_pass).into(),
            locked: said.locked.as_ref().map(Lock::new),
            notes: said.notes.iter().map(Note::new).collect(),
            tests: Each { all: tests, texts, make: Test::new },
        }
    }
}

/// What a run was given from outside.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Inputs<'a> {
    /// What was tested.
    pub build: Option<Package<'a>>,
    /// The area, where it was fetched.
    pub tests: Option<Package<'a>>,
    /// The change they are of; may be empty.
    pub changeset: &'a str,
    /// The packages that its tests found installed.
    pub packages: Vec<Needed<'a>>,
}

/// A package that tests found installed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Needed<'a> {
    /// What it is for: client, test, dep, profiler or build.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its version; may be empty.
    pub version: &'a str,
    /// The BLAKE3 digest of its manifest, in hexadecimal.
    pub digest: String,
    /// The folder it was made of for this run; empty for a published one.
    pub local: &'a str,
    /// The tests that need it; empty: all of the run.
    pub tests: &'a [String],
}

impl<'a> Inputs<'a> {
    fn of(inputs: &'a core_inputs::Inputs) -> Option<Self> {
        // What watched it is no part of what was tested; what it left is beside the results.
        let core_inputs::Inputs { build, tests, changeset, packages, profilers: _ } = inputs;
        (*inputs != core_inputs::Inputs::default()).then(|| Self {
            build: build.as_ref().map(Package::new),
            tests: tests.as_ref().map(Package::new),
            changeset,
            packages: packages.iter().map(Needed::new).collect(),
        })
    }
}

impl<'a> Needed<'a> {
    fn new(needed: &'a core_inputs::Needed) -> Self {
        let core_inputs::Needed { kind, name, version, digest, local, from: _, tests } = needed;
        Self { kind, name, version, digest: digest.to_string(), local, tests }
    }
}

/// Bytes that were fetched.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Package<'a> {
    /// Where from, without what may be secret.
    pub url: &'a str,
    /// The file's name.
    pub name: &'a str,
    /// Its BLAKE3 digest, in hexadecimal.
    pub digest: String,
    /// Its length.
    pub bytes: u64,
}

impl<'a> Package<'a> {
    fn new(package: &'a core_inputs::Package) -> Self {
        let core_inputs::Package { url, name, digest, bytes, root: _ } = package;
        Self { url, name, digest: digest.to_string(), bytes: *bytes }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Things are running or waiting.
    Active,
    /// Everything asked for has ended.
    Ended,
    /// It was stopped before everything had ended.
    Stopped,
}

impl From<core::RunState> for RunState {
    fn from(state: core::RunState) -> Self {
        match state {
            core::RunState::Active => Self::Active,
            core::RunState::Ended => Self::Ended,
            core::RunState::Stopped => Self::Stopped,
        }
    }
}

/// What a pass that the expectations did not allow does to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnexpectedPass {
    /// It fails the run.
    Fail,
    /// It is reported and counts as passed.
    Report,
}

impl From<CoreUnexpectedPass> for UnexpectedPass {
    fn from(policy: CoreUnexpectedPass) -> Self {
        match policy {
            CoreUnexpectedPass::Fail => Self::Fail,
            CoreUnexpectedPass::Report => Self::Report,
        }
    }
}

/// A test of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Test")]
pub struct Test<'a> {
    /// Its name.
    pub name: &'a str,
    /// Who answers for it; may be empty.
    pub owner: &'a str,
    /// What it checks; may be empty.
    pub description: &'a str,
    /// Words to select by.
    pub tags: &'a [String],
    /// Where it was written: `muster.toml:12`.
    pub origin: &'a str,
    /// The worst of its items; `null` while something of it has not ended.
    pub verdict: Option<Verdict>,
    /// Items by verdict.
    pub counts: Counts,
    /// Its items, in plan order. A test without items has one with an empty path.
    pub items: Each<'a, core::ItemView, Item<'a>>,
}

impl<'a> Test<'a> {
    fn new(test: &'a core::TestView, texts: Texts<'a>) -> Self {
        let core::TestView { name, owner, description, tags, origin, verdict, counts, items } = test;
        Self {
            name,
            owner,
            description,
            tags,
            origin,
            verdict: verdict.map(Verdict::from),
            counts: counts.into(),
            items: Each { all: items, texts, make: Item::new },
        }
    }
}

/// An item of a test.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Item")]
pub struct Item<'a> {
    /// Its path; empty for a test without items, and for the question for a suite's items.
    pub path: &'a str,
    /// It is the question for the test's items, not a check of its own.
    pub discovery: bool,
    /// The judgement; `null` while it waits or runs.
    pub verdict: Option<Verdict>,
    /// Why it has its verdict without having been run, or what it waits for; may be empty.
    pub reason: &'a str,
    /// Its tries, from the first; the last decided.
    pub attempts: Each<'a, core::AttemptView, TestAttempt<'a>>,
}

impl<'a> Item<'a> {
    /// With the text that its attempts printed as `texts` says.
    pub fn new(item: &'a core::ItemView, texts: Texts<'a>) -> Self {
        let core::ItemView { path, discovery, verdict, reason, attempts } = item;
        Self {
            path,
            discovery: *discovery,
            verdict: verdict.map(Verdict::from),
            reason,
            attempts: Each { all: attempts, texts, make: TestAttempt::new },
        }
    }
}

/// One try.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "NumberedAttempt")]
pub struct TestAttempt<'a> {
    /// From 1.
    pub number: u16,
    /// The device it ran on.
    pub device: &'a str,
    /// All that is known about it.
    #[serde(flatten)]
    pub result: Attempt<'a>,
}

impl<'a> TestAttempt<'a> {
    /// With the text it printed as `texts` says.
    pub fn new(attempt: &'a core::AttemptView, texts: Texts<'a>) -> Self {
        let core::AttemptView { number, device, result } = attempt;
        Self { number: *number, device, result: Attempt::new(result, texts) }
    }
}

/// A list whose members are converted one at a time while they are written, so that the JSON of a run
/// needs no second copy of it in memory.
#[derive(Clone)]
pub struct Each<'a, From, To> {
    all: &'a [From],
    texts: Texts<'a>,
    make: fn(&'a From, Texts<'a>) -> To,
}

impl<From, To: Serialize> Serialize for Each<'_, From, To> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all.iter().map(|one| (self.make)(one, self.texts)))
    }
}

impl<From, To> fmt::Debug for Each<'_, From, To> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} of them]", self.all.len())
    }
}

impl<From, To: JsonSchema> JsonSchema for Each<'_, From, To> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<To>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<To>::json_schema(generator)
    }
}
