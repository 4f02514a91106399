//! Merges the layers for one target, and makes the area of them.

use super::conditions::{self, Checked};
use super::error::Complaints;
use super::file::{AreaKeys, File, LimitKeys, RecordKeys, Settings, SuiteKeys, TargetKeys, TestKeys};
use super::gates::AreaGates;
use super::layers::Read;
use super::limits::{LimitPlaces, check_name, check_variable, fit_name, merge};
use super::names::{Interpolation, Space, is_name};
use super::packages::{check_package, check_profiler};
use super::scalar::Scalar;
use super::source::{At, Pos, Sources};
use super::{Files, LoadContext, after, expectations, target};
use muster_core::definition::{AreaDef, Keeping, TestDef};
use muster_core::expr::Facts;
use std::collections::{BTreeMap, HashMap};

/// Where the value of each key of a test was written.
pub(crate) type TestPlaces = Vec<(&'static str, Pos)>;

/// Where everything that holds was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) name: Option<Pos>,
    pub(crate) keys: Option<Pos>,
    pub(crate) unexpected_pass: Option<Pos>,
    pub(crate) packages: Option<Pos>,
    pub(crate) profilers: Option<Pos>,
    pub(crate) repositories: Option<Pos>,
    pub(crate) limits: LimitPlaces,
    pub(crate) records: LimitPlaces,
    /// As the area's environment.
    pub(crate) env: Vec<Option<Pos>>,
    /// With their values, because the area does not have them.
    pub(crate) vars: Vec<(String, String, Option<Pos>)>,
    /// As the area's tests.
    pub(crate) tests: Vec<TestPlaces>,
}

/// The area and where it comes from.
pub(super) struct Resolved {
    pub(super) area: AreaDef,
    pub(super) facts: Facts,
    pub(super) places: Places,
}

/// What tests and suites are made with.
pub(super) struct Resolver<'a, 'c> {
    pub(super) sources: &'a Sources,
    pub(super) complaints: &'c mut Complaints,
    pub(super) names: Interpolation<'a>,
    pub(super) facts: &'a Facts,
    /// Gives rule files.
    pub(super) files: &'a dyn Files,
    pub(super) checked: Checked,
    /// Names of the groups that have a limit.
    pub(super) groups: Vec<String>,
    /// How many tokens there are, by name.
    pub(super) tokens: BTreeMap<String, u32>,
    /// What holds for each test.
    pub(super) area_gates: AreaGates,
    /// What holds over what a test says; the first wins.
    pub(super) overrides: Vec<&'a Settings>,
    /// What holds where a test says nothing; the first wins.
    pub(super) defaults: Vec<&'a Settings>,
}

/// Something under `[test]` or `[suite]`.
#[derive(Clone, Copy)]
enum Written<'a> {
    Test(&'a At<TestKeys>),
    Suite(&'a At<SuiteKeys>),
}

pub(super) fn resolve(read: &Read, context: &LoadContext<'_>, complaints: &mut Complaints) -> Resolved {
    let mut places = Places::default();
    let area_tables: Vec<&At<AreaKeys>> = files(read).filter_map(|f| f.area.as_ref()).collect();
    let name = area_tables.iter().rev().find_map(|a| a.name.as_ref());
    if let Some(name) = name {
        check_name("an area", name, complaints);
        places.name = Some(name.pos);
    }
    let usual = fit_name(context.area_name);
    let area_name = name.map_or(usual.as_str(), |n| n.as_str());
    let with_keys = area_tables.iter().rev().find(|a| a.keys.is_some()).or(area_tables.last());
    places.keys = with_keys.and_then(|a| a.keys.as_ref()).map(|k| k.pos);
    let target = target::pair(with_keys.copied(), context.target, complaints);
    if complaints.has_errors() {
        // Without a target nothing else can be said.
        return Resolved { area: AreaDef::default(), facts: Facts::default(), places };
    }
    let for_target = read.project.iter().filter_map(|f| f.target.as_ref()).map(|t| &t.value);
    let for_target = target::matching(for_target, &target, complaints);
    let facts = conditions::facts(context.facts, &target, context.process_env);

    let limit_layers = limit_layers(read, &for_target);
    let (limits, mut limit_places) = merge(&limit_layers);
    let area_gates = AreaGates::merge(&limit_layers, &mut limit_places, complaints);
    places.limits = limit_places;
    let mut names = Interpolation::new(&read.sources, context.process_env, area_name, &target);
    define(read, &for_target, &mut names, complaints);
    let env = names.resolve_all(Space::Env, complaints);
    places.env = env.iter().map(|(k, _)| names.origin(Space::Env, k)).collect();
    let vars = names.resolve_all(Space::Vars, complaints);
    places.vars = vars
        .into_iter()
        .map(|(k, v)| (names.origin(Space::Vars, &k), k, v))
        .map(|(p, k, v)| (k, v, p))
        .collect();

    let unexpected = area_tables.iter().rev().find_map(|a| a.unexpected_pass.as_ref());
    places.unexpected_pass = unexpected.map(|u| u.pos);
    let packages = area_tables.iter().rev().find_map(|a| a.packages.as_ref());
    places.packages = packages.map(|p| p.pos);
    for package in packages.into_iter().flat_map(|p| &p.value) {
        check_package(package, complaints);
    }
    let repositories = area_tables.iter().rev().find_map(|a| a.repositories.as_ref());
    places.repositories = repositories.map(|r| r.pos);
    let profilers = area_tables.iter().rev().find_map(|a| a.profilers.as_ref());
    places.profilers = profilers.map(|p| p.pos);
    for profiler in profilers.into_iter().flat_map(|p| &p.value) {
        check_profiler(profiler, complaints);
    }
    let texts = |list: Option<&At<Vec<At<String>>>>| -> Vec<String> {
        list.into_iter().flat_map(|l| &l.value).map(|text| text.value.clone()).collect()
    };
    let mut resolver = Resolver {
        sources: &read.sources,
        complaints,
        names,
        facts: &facts,
        files: context.files,
        checked: Checked::default(),
        groups: limits.groups.keys().cloned().collect(),
        tokens: limits.tokens.clone(),
        area_gates,
        overrides: read.above.iter().rev().filter_map(|f| f.overrides.as_ref()).map(|o| &o.value).collect(),
        defaults: default_layers(read, &for_target),
    };
    let mut tests: Vec<TestDef> = Vec::new();
    let mut name_places: HashMap<&str, (usize, Pos)> = HashMap::new();
    let mut afters = Vec::new();
    let mut status_files = Vec::new();
    for (name, written) in written(read) {
        if !check_name("a test", name, resolver.complaints) {
            continue;
        }
        if let Some((_, first)) = name_places.get(name.as_str()) {
            let message = format!("there are two tests named `{}`", name.value);
            let first = resolver.sources.origin(*first);
            resolver.complaints.error(name.pos, message).hint(format!("the first is at {first}"));
            continue;
        }
        let ((test, test_places), common) = match written {
            Written::Test(test) => (resolver.test(name, &test.value), &test.value.common),
            Written::Suite(suite) => (resolver.suite(name, &suite.value), &suite.value.common),
        };
        name_places.insert(name, (tests.len(), name.pos));
        tests.push(test);
        places.tests.push(test_places);
        afters.push(common.after.as_ref());
        status_files.push(common.status_files.as_ref());
    }
    // Half the names would make half the references look wrong.
    if !resolver.complaints.has_errors() {
        let index = |name: &str| name_places.get(name).map(|(i, _)| *i);
        after::resolve(&mut tests, &afters, &index, &mut resolver);
        let expects = read.project.iter().filter_map(|f| f.expect.as_ref()).flat_map(|e| &e.value);
        expectations::native(&mut tests, expects, &index, &mut resolver);
        expectations::status_files(&mut tests, &status_files, context, &mut resolver);
    }
    let area = AreaDef {
        name: area_name.to_owned(),
        target: target.clone(),
        env,
        limits,
        tests,
        unexpected_pass: unexpected.map_or_else(Default::default, |u| u.value.0),
        packages: texts(packages),
        repositories: texts(repositories),
        profilers: texts(profilers),
        records: keeping(read, &mut places),
    };
    drop(resolver);
    Resolved { area, facts, places }
}

/// What becomes of runs; of several files the last that says it wins.
fn keeping(read: &Read, places: &mut Places) -> Keeping {
    let mut keeping = Keeping::default();
    for said in files(read).filter_map(|f| f.records.as_ref()).map(|r| &r.value) {
        let RecordKeys { allow_runs, hot_runs, hot_for, move_to } = said;
        let mut place = |key: &str, pos| {
            places.records.retain(|(known, _)| known != key);
            places.records.push((key.to_owned(), pos));
        };
        if let Some(said) = allow_runs {
            keeping.allow_runs = said.value;
            place("allow-runs", said.pos);
        }
        if let Some(said) = hot_runs {
            keeping.hot_runs = said.value.0;
            place("hot-runs", said.pos);
        }
        if let Some(said) = hot_for {
            keeping.hot_for = said.value.0;
            place("hot-for", said.pos);
        }
        if let Some(said) = move_to {
            keeping.move_to = Some(said.value.clone());
            place("move-to", said.pos);
        }
    }
    keeping
}

/// Every file that may speak of the area itself, later ones win.
fn files(read: &Read) -> impl Iterator<Item = &File> {
    read.project.iter().chain(&read.above)
}

fn limit_layers<'a>(read: &'a Read, for_target: &[&'a At<TargetKeys>]) -> Vec<&'a LimitKeys> {
    let of = |f: &'a File| f.limits.as_ref().map(|l| &l.value);
    let above = read.above.iter().rev().filter_map(of);
    let target = for_target.iter().rev().filter_map(|t| t.limits.as_ref()).map(|l| &l.value);
    let below = read.project.iter().rev().chain(read.user.iter().rev()).filter_map(of);
    above.chain(target).chain(below).collect()
}

fn default_layers<'a>(read: &'a Read, for_target: &[&'a At<TargetKeys>]) -> Vec<&'a Settings> {
    let of = |f: &'a File| f.defaults.as_ref().map(|d| &d.value);
    let above = read.above.iter().rev().filter_map(of);
    let target = for_target.iter().rev().filter_map(|t| t.defaults.as_ref()).map(|d| &d.value);
    let below = read.project.iter().rev().chain(read.user.iter().rev()).filter_map(of);
    above.chain(target).chain(below).collect()
}

/// Defines `[vars]` and `[env]`, the least specific first.
fn define(
    read: &Read,
    for_target: &[&At<TargetKeys>],
    names: &mut Interpolation<'_>,
    complaints: &mut Complaints,
) {
    let raw = |value: &At<Scalar>| At { value: value.value.0.clone(), pos: value.pos };
    let project = read.project.iter().map(|f| (f.vars.as_ref(), f.env.as_ref()));
    let target = for_target.iter().map(|t| (t.vars.as_ref(), t.env.as_ref()));
    let above = read.above.iter().map(|f| (f.vars.as_ref(), f.env.as_ref()));
    for (vars, env) in project.chain(target).chain(above) {
        for (key, value) in vars.iter().flat_map(|v| &v.value.0) {
            if !is_name(key) || matches!(key.as_str(), "item" | "area") {
                let message = format!("`{}` cannot be the name of a value", super::decode::printable(key));
                let hint = "letters, digits, `_`, `-` and `.`; not `area` or `item`";
                complaints.error(key.pos, message).hint(hint);
                continue;
            }
            names.define(Space::Vars, key, raw(value));
        }
        for (key, value) in env.iter().flat_map(|e| &e.value.0) {
            if check_variable(key, complaints) {
                names.define(Space::Env, key, raw(value));
            }
        }
    }
}

/// Tests and suites in the order written.
fn written(read: &Read) -> Vec<(&At<String>, Written<'_>)> {
    let mut all = Vec::new();
    for file in &read.project {
        let start = all.len();
        let tests = file.test.iter().flat_map(|t| &t.value.0);
        all.extend(tests.map(|(name, test)| (name, Written::Test(test))));
        let suites = file.suite.iter().flat_map(|s| &s.value.0);
        all.extend(suites.map(|(name, suite)| (name, Written::Suite(suite))));
        all[start..].sort_by_key(|(name, _)| name.pos.start);
    }
    all
}

impl Resolver<'_, '_> {
    /// Complains about a name nobody knows.
    pub(super) fn unknown<'k>(
        &mut self,
        pos: Pos,
        message: String,
        wrong: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) {
        let hint = self.complaints.nearest(wrong, known);
        self.complaints.error(pos, message).maybe_hint(hint);
    }
}
