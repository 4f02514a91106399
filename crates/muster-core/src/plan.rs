//! From what was asked for to what is to run: the closure of prerequisites, the expansion of items, the
//! expectations that apply, the edges between items. Pure; `muster plan` prints exactly this.

use crate::definition::{
    After, AfterMode, AreaDef, Expectation, ItemDef, ItemMap, ItemMatch, Items, Kind, TestDef,
};
use crate::exchange::FoundItem;
use crate::expr::ExprError;
use crate::id::TestIx;
use crate::outcome::Outcome;
use crate::select::{SelectError, Selection, Selector, wildcard};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// What a run is to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tests, prerequisites before what comes after them.
    pub tests: Vec<PlannedTest>,
}

impl Plan {
    /// Whether it is one that can be carried out, for plans that come from elsewhere.
    ///
    /// # Errors
    /// [`PlanError::TwoOfOneName`], [`PlanError::OutOfOrder`].
    pub fn check(&self) -> Result<(), PlanError> {
        let names = || self.tests.iter().map(|t| t.def.name.as_str());
        let places: HashMap<&str, usize> = names().zip(0..).collect();
        for (place, test) in self.tests.iter().enumerate() {
            let name = &test.def.name;
            if places[name.as_str()] != place {
                return Err(PlanError::TwoOfOneName(name.clone()));
            }
            let waits = test.def.after.iter().filter(|a| a.mode != AfterMode::Exclusive);
            if let Some(after) = waits.into_iter().find(|a| places.get(a.test.as_str()) >= Some(&place)) {
                return Err(PlanError::OutOfOrder { test: name.clone(), other: after.test.clone() });
            }
        }
        Ok(())
    }
}

/// A test of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTest {
    /// What it is.
    pub def: Arc<TestDef>,
    /// Why it is part of the run.
    pub why: Why,
    /// Its items.
    pub items: PlannedItems,
}

/// Why a test is part of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The selection asked for it.
    Asked,
    /// This test comes after it.
    PrerequisiteOf(TestIx),
}

/// The items of a planned test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PlannedItems {
    /// Known.
    Listed(Vec<PlannedItem>),
    /// To be asked for when the prerequisites have ended; of those found, only some may be wanted.
    Found(Wanted),
}

/// Which of the items found later are part of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// All of them.
    All,
    /// Those the selection asks for.
    Selected,
    /// Those the selection asks for, and these, which other items come after.
    SelectedAnd(Vec<String>),
}

/// An item of a plan. Its record in the run is its place in the run's flat list of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedItem {
    /// Item path; empty where the test has no items.
    pub path: Arc<str>,
    /// Variables of the item.
    pub vars: Arc<[(String, String)]>,
    /// What the framework calls it; empty outside suites.
    pub selector: Arc<str>,
    /// The suite's group that runs it.
    pub group: u32,
    /// Takes the place of the test's hard limit.
    pub timeout: Option<Duration>,
    /// It is not to be run, and why.
    pub skip: Option<Arc<str>>,
    /// What the expectations allow it to come to.
    pub expected: Expected,
    /// How long it is expected to take, from the records; `None` where there are none.
    pub micros: Option<u32>,
}

/// What the expectations for an item amount to: a set of outcomes, and whether it is slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// A bit for each allowed [`crate::outcome::Outcome`]; 0 where nothing was said.
    pub allowed: u16,
    /// Limits are doubled and it starts early.
    pub slow: bool,
}

impl PlannedTest {
    /// Takes a changed definition, which keeps the items as they are. One that gets its items in another
    /// way than the planned test (listed, or found) cannot be taken; the old one stays.
    pub fn redefine(&mut self, test: &TestDef) {
        let listed = matches!(self.items, PlannedItems::Listed(_));
        // A test that was skipped before its items were asked for is listed as itself.
        if items_are_known(test) != listed {
            return;
        }
        self.def = Arc::new(without_items(test));
        if let PlannedItems::Listed(items) = &mut self.items {
            let expecting = Expecting::new(&test.expectations);
            for item in items {
                let (expected, not_run) = expecting.of(&item.path);
                item.expected = expected;
                // A rule of the test's own that skipped it was decided for this run and stays.
                if test.skip_when.is_none() || not_run.is_some() {
                    item.skip = not_run;
                }
            }
        }
    }
}

/// How long items took before, so that the longest can start first.
pub trait History: std::fmt::Debug {
    /// Expected duration in microseconds; `None` where nothing is known.
    fn micros(&self, test: &str, item: &str) -> Option<u32>;
}

/// Nothing is known.
impl History for () {
    fn micros(&self, _: &str, _: &str) -> Option<u32> {
        None
    }
}

/// A plan that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The selection cannot be read.
    #[error(transparent)]
    Selection(#[from] SelectError),
    /// A pattern whose test part matches no test of the area.
    #[error("no test is called `{pattern}`")]
    NoSuchTest {
        /// As typed.
        pattern: String,
        /// The closest name there is.
        nearest: Option<String>,
    },
    /// A test comes after one that is not in the area.
    #[error("test `{test}` comes after `{missing}`, which is not a test of this area")]
    NoSuchPrerequisite {
        /// The test.
        test: String,
        /// What it names.
        missing: String,
    },
    /// Tests that come after each other.
    #[error("these tests wait for each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// A plan in which two tests have one name.
    #[error("two tests of the plan are called `{0}`")]
    TwoOfOneName(String),
    /// A plan whose order is not that of its prerequisites, as it is where tests wait for each other.
    #[error("test `{test}` comes after `{other}`, which does not stand before it in the plan")]
    OutOfOrder {
        /// The test.
        test: String,
        /// What it comes after.
        other: String,
    },
    /// A skip rule that cannot be evaluated.
    #[error("`skip-when` of test `{test}`: {error}")]
    SkipWhen {
        /// The test.
        test: String,
        /// Why.
        error: ExprError,
    },
    /// An item map whose pattern is not a regular expression.
    #[error("an item map of test `{test}` is not a regular expression: {error}")]
    ItemMap {
        /// The test.
        test: String,
        /// Why.
        error: String,
    },
}

/// Makes the plan of a run.
///
/// `skip_when` evaluates an expression over the facts of target and machine.
///
/// # Errors
/// See [`PlanError`]. Nothing is planned then.
pub fn plan(
    area: &AreaDef,
    selection: &Selection,
    history: &dyn History,
    skip_when: &dyn Fn(&str) -> Result<bool, ExprError>,
) -> Result<Plan, PlanError> {
    let selector = Selector::new(selection)?;
    let names: Vec<&str> = area.tests.iter().map(|t| t.name.as_str()).collect();
    if let Some(pattern) = selector.unmatched(&names).first() {
        return Err(PlanError::NoSuchTest {
            pattern: (*pattern).to_owned(),
            nearest: nearest(pattern, &names),
        });
    }
    let order = topological(area)?;
    let mut wants = Wants::new(area);
    for (i, test) in area.tests.iter().enumerate() {
        if selector.test(&test.name, &test.tags) {
            wants.ask(i, test, &selector);
        }
    }
    loop {
        // Dependents first, so that what a test is wanted for is complete before its own prerequisites are asked.
        for &i in order.iter().rev() {
            wants.pull_prerequisites(i, area)?;
        }
        if !wants.pull_along(area)? {
            break;
        }
    }
    wants.into_plan(area, &order, history, skip_when)
}

/// What is wanted of each test of the area while the closure is being made.
struct Wants<'a> {
    by_name: HashMap<&'a str, usize>,
    tests: Vec<Want>,
}

#[derive(Clone, Debug, Default)]
struct Want {
    /// `None`: not part of the run. The dependent is a place in the area.
    why: Option<Result<(), usize>>,
    all: bool,
    /// Items by path, where not all are wanted.
    items: BTreeSet<String>,
    /// Found items that the selection names are wanted too.
    selected: bool,
}

impl<'a> Wants<'a> {
    fn new(area: &'a AreaDef) -> Self {
        Self {
            by_name: area.tests.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect(),
            tests: vec![Want::default(); area.tests.len()],
        }
    }

    fn ask(&mut self, i: usize, test: &TestDef, selector: &Selector) {
        let want = &mut self.tests[i];
        match listed(test) {
            Some(_) if selector.is_everything() => want.all = true,
            Some(items) => {
                want.items = items
                    .map(|item| item.map_or("", |i| i.path.as_str()))
                    .filter(|path| selector.item(&test.name, path))
                    .map(str::to_owned)
                    .collect();
                if want.items.is_empty() && items_of(test) > 0 {
                    return;
                }
            }
            None if selector.is_everything() => want.all = true,
            None => want.selected = true,
        }
        want.why = Some(Ok(()));
    }

    fn pull_prerequisites(&mut self, i: usize, area: &AreaDef) -> Result<(), PlanError> {
        if self.tests[i].why.is_none() {
            return Ok(());
        }
        let test = &area.tests[i];
        for After { test: name, mode } in &test.after {
            let other = *self.by_name.get(name.as_str()).ok_or_else(|| PlanError::NoSuchPrerequisite {
                test: test.name.clone(),
                missing: name.clone(),
            })?;
            let only: Option<BTreeSet<String>> = match mode {
                AfterMode::Exclusive => continue,
                AfterMode::Passed | AfterMode::Ended => None,
                AfterMode::MatchingItem { map } => self.mapped_items(i, test, map)?,
            };
            let want = &mut self.tests[other];
            want.why.get_or_insert(Err(i));
            match only {
                None => want.all = true,
                Some(paths) => want.items.extend(paths),
            }
        }
        Ok(())
    }

    /// Adds what is part of each run that a wanted test is part of. Whether there was any.
    fn pull_along(&mut self, area: &AreaDef) -> Result<bool, PlanError> {
        let mut grown = false;
        for (i, test) in area.tests.iter().enumerate().filter(|(_, t)| !t.along.is_empty()) {
            if self.tests[i].why.is_none() {
                continue;
            }
            for name in &test.along {
                let other = *self.by_name.get(name.as_str()).ok_or_else(|| {
                    PlanError::NoSuchPrerequisite { test: test.name.clone(), missing: name.clone() }
                })?;
                let want = &mut self.tests[other];
                if want.why.is_none() {
                    (want.why, want.all, grown) = (Some(Err(i)), true, true);
                }
            }
        }
        Ok(grown)
    }

    /// The item paths of the prerequisite that this test's wanted items map to; `None` where the items
    /// are not known yet.
    fn mapped_items(
        &self,
        i: usize,
        test: &TestDef,
        map: &[ItemMap],
    ) -> Result<Option<BTreeSet<String>>, PlanError> {
        let Some(items) = listed(test) else { return Ok(None) };
        let map = PathMap::new(&test.name, map)?;
        let want = &self.tests[i];
        Ok(Some(
            items
                .map(|item| item.map_or("", |i| i.path.as_str()))
                .filter(|path| want.all || want.items.contains(*path))
                .map(|path| map.apply(path))
                .collect(),
        ))
    }

    fn into_plan(
        self,
        area: &AreaDef,
        order: &[usize],
        history: &dyn History,
        skip_when: &dyn Fn(&str) -> Result<bool, ExprError>,
    ) -> Result<Plan, PlanError> {
        let mut places = vec![TestIx(0); area.tests.len()];
        let included: Vec<usize> = order.iter().copied().filter(|&i| self.tests[i].why.is_some()).collect();
        for (ix, &i) in included.iter().enumerate() {
            places[i] = TestIx(u32::try_from(ix).expect("fewer than 2^32 tests"));
        }
        let mut tests = Vec::with_capacity(included.len());
        for i in included {
            let (test, want) = (&area.tests[i], &self.tests[i]);
            let skip: Option<Arc<str>> = match &test.skip_when {
                None => None,
                Some(expr) => skip_when(expr)
                    .map_err(|error| PlanError::SkipWhen { test: test.name.clone(), error })?
                    .then(|| Arc::from(format!("skip-when: {expr}"))),
            };
            let why = match want.why.as_ref().expect("only included tests are here") {
                Ok(()) => Why::Asked,
                Err(dependent) => Why::PrerequisiteOf(places[*dependent]),
            };
            let expecting = Expecting::new(&test.expectations);
            let items = match listed(test) {
                Some(items) => PlannedItems::Listed(
                    items
                        .filter(|item| want.all || want.items.contains(item.map_or("", |i| i.path.as_str())))
                        .map(|item| listed_item(&test.name, item, skip.as_ref(), &expecting, history))
                        .collect(),
                ),
                // A rule that skips the test spares the question for its items.
                None if skip.is_some() => PlannedItems::Listed(vec![listed_item(
                    &test.name,
                    None,
                    skip.as_ref(),
                    &expecting,
                    history,
                )]),
                None if want.all => PlannedItems::Found(Wanted::All),
                None if want.selected && want.items.is_empty() => PlannedItems::Found(Wanted::Selected),
                None => PlannedItems::Found(Wanted::SelectedAnd(want.items.iter().cloned().collect())),
            };
            tests.push(PlannedTest { def: Arc::new(without_items(test)), why, items });
        }
        Ok(Plan { tests })
    }
}

/// The items of a test that are known before it runs (`Some(None)` item: the test itself); `None` where
/// they are to be found.
fn listed(test: &TestDef) -> Option<Box<dyn Iterator<Item = Option<&ItemDef>> + '_>> {
    match &test.kind {
        Kind::Steps { items: Items::None, .. } => Some(Box::new(std::iter::once(None))),
        Kind::Steps { items: Items::Listed(items), .. } => Some(Box::new(items.iter().map(Some))),
        Kind::Steps { items: Items::Command(_), .. } | Kind::Suite(_) => None,
    }
}

fn items_are_known(test: &TestDef) -> bool {
    listed(test).is_some()
}

fn items_of(test: &TestDef) -> usize {
    listed(test).map_or(0, Iterator::count)
}

/// The definition as the run keeps it: the planned items stand beside it, so it need not list them again.
fn without_items(test: &TestDef) -> TestDef {
    let mut def = test.clone();
    if let Kind::Steps { items: Items::Listed(items), .. } = &mut def.kind {
        *items = Vec::new();
    }
    def.expectations = match &def.kind {
        // Found items are judged when they are found.
        Kind::Suite(_) | Kind::Steps { items: Items::Command(_), .. } => def.expectations,
        Kind::Steps { .. } => Vec::new(),
    };
    def
}

fn listed_item(
    test: &str,
    item: Option<&ItemDef>,
    skip: Option<&Arc<str>>,
    expecting: &Expecting<'_>,
    history: &dyn History,
) -> PlannedItem {
    let path = item.map_or("", |i| i.path.as_str());
    let (expected, not_run) = expecting.of(path);
    PlannedItem {
        path: path.into(),
        vars: item.map_or_else(|| Arc::from([]), |i| i.vars.as_slice().into()),
        selector: Arc::from(""),
        group: 0,
        timeout: None,
        skip: skip.cloned().or(not_run),
        expected,
        micros: history.micros(test, path),
    }
}

/// The items of a run out of those found for a test.
pub fn found_items(
    def: &TestDef,
    wanted: &Wanted,
    selector: &Selector,
    found: &[FoundItem],
    history: &dyn History,
) -> Vec<PlannedItem> {
    let expecting = Expecting::new(&def.expectations);
    let is_wanted = |path: &str| match wanted {
        Wanted::All => true,
        Wanted::Selected => selector.item(&def.name, path),
        Wanted::SelectedAnd(paths) => {
            paths.binary_search_by(|p| p.as_str().cmp(path)).is_ok() || selector.item(&def.name, path)
        }
    };
    found
        .iter()
        .filter(|item| is_wanted(&item.path))
        .map(|item| {
            let (expected, not_run) = expecting.of(&item.path);
            PlannedItem {
                path: item.path.as_str().into(),
                vars: item.vars.as_slice().into(),
                selector: item.selector.as_str().into(),
                group: item.group,
                timeout: item.timeout,
                skip: item.skip.as_deref().map(Arc::from).or(not_run),
                expected,
                micros: history.micros(&def.name, &item.path),
            }
        })
        .collect()
}

/// Expectations made ready: exact ones by path, the others in a list.
struct Expecting<'a> {
    exact: HashMap<&'a str, Vec<&'a Expectation>>,
    others: Vec<&'a Expectation>,
}

impl<'a> Expecting<'a> {
    fn new(rules: &'a [Expectation]) -> Self {
        let mut ready = Self { exact: HashMap::new(), others: Vec::new() };
        for rule in rules {
            match &rule.items {
                ItemMatch::Exact(path) => ready.exact.entry(path.as_str()).or_default().push(rule),
                ItemMatch::Prefix(_) | ItemMatch::Glob(_) => ready.others.push(rule),
            }
        }
        ready
    }

    /// The union of all rules for an item, and why it is not run if one says so.
    fn of(&self, path: &str) -> (Expected, Option<Arc<str>>) {
        let (mut expected, mut skip) = (Expected::default(), None);
        let exact = self.exact.get(path).into_iter().flatten();
        let others = self.others.iter().filter(|rule| match &rule.items {
            ItemMatch::Prefix(prefix) => path.starts_with(prefix.as_str()),
            ItemMatch::Glob(glob) => wildcard(glob, path),
            ItemMatch::Exact(_) => false,
        });
        for rule in exact.chain(others) {
            expected.slow |= rule.slow;
            expected.allowed |= rule.allowed.iter().fold(0, |bits, o| bits | 1 << *o as u16);
            if rule.skip {
                let reason = if rule.reason.is_empty() { "expected to be skipped" } else { &rule.reason };
                skip.get_or_insert_with(|| Arc::from(format!("{reason} ({})", rule.origin)));
            }
        }
        (expected, skip)
    }
}

impl Expected {
    /// Whether anything was said about what the item comes to.
    pub fn says_something(self) -> bool {
        self.allowed != 0
    }

    /// Whether this outcome was allowed. Warnings and checks count as passes, skips are always fine.
    pub fn allows(self, outcome: Outcome) -> bool {
        let as_written = match outcome {
            Outcome::Skip => return true,
            Outcome::Pass | Outcome::Warn | Outcome::Check => Outcome::Pass,
            Outcome::Fail
            | Outcome::Timeout
            | Outcome::Crash
            | Outcome::Abort
            | Outcome::Error
            | Outcome::Cancelled => outcome,
        };
        self.allowed & (1 << as_written as u16) != 0
    }
}

/// An item map made ready.
#[derive(Debug)]
pub struct PathMap(Vec<(Regex, String)>);

impl PathMap {
    /// Compiles the rules of one test.
    ///
    /// # Errors
    /// [`PlanError::ItemMap`] if a pattern is not a regular expression.
    pub fn new(test: &str, map: &[ItemMap]) -> Result<Self, PlanError> {
        map.iter()
            .map(|m| {
                let regex = Regex::new(&m.pattern)
                    .map_err(|e| PlanError::ItemMap { test: test.to_owned(), error: e.to_string() })?;
                Ok((regex, backslash_groups(&m.replacement)))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The other test's item path for this test's.
    pub fn apply(&self, path: &str) -> String {
        self.0
            .iter()
            .fold(path.to_owned(), |path, (regex, to)| regex.replace(&path, to.as_str()).into_owned())
    }
}

/// `\\1` becomes `${1}`, which is how the regex crate writes it.
fn backslash_groups(replacement: &str) -> String {
    let mut out = String::with_capacity(replacement.len());
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(d) if c == '\\' && d.is_ascii_digit() => {
                out.push_str("${");
                out.push(*d);
                out.push('}');
                chars.next();
            }
            Some(_) | None => out.push(c),
        }
    }
    out
}

/// The tests' places, prerequisites first; otherwise in the order they were written.
fn topological(area: &AreaDef) -> Result<Vec<usize>, PlanError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let by_name: HashMap<&str, usize> =
        area.tests.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let before = |i: usize| {
        area.tests[i]
            .after
            .iter()
            .filter(|a| a.mode != AfterMode::Exclusive)
            .filter_map(|a| by_name.get(a.test.as_str()).copied())
            .collect::<Vec<usize>>()
    };
    let mut marks = vec![Mark::New; area.tests.len()];
    let mut order = Vec::with_capacity(area.tests.len());
    for root in 0..area.tests.len() {
        // Depth first without recursion: chains may be as long as the area.
        let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
        if marks[root] == Mark::New {
            marks[root] = Mark::Open;
            path.push((root, before(root)));
        }
        while let Some((i, left)) = path.last_mut() {
            if left.is_empty() {
                marks[*i] = Mark::Done;
                order.push(*i);
                path.pop();
                continue;
            }
            let next = left.remove(0);
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::Open;
                    path.push((next, before(next)));
                }
                Mark::Open => {
                    let from = path.iter().position(|(i, _)| *i == next).expect("open tests are on the path");
                    let mut names: Vec<String> =
                        path[from..].iter().map(|(i, _)| area.tests[*i].name.clone()).collect();
                    names.push(area.tests[next].name.clone());
                    return Err(PlanError::Cycle(names));
                }
            }
        }
    }
    Ok(order)
}

/// The name most like a misspelt one, if one is close.
fn nearest(wrong: &str, names: &[&str]) -> Option<String> {
    let far = |name: &&&str| strsim::damerau_levenshtein(wrong, name);
    let best = names.iter().min_by_key(far)?;
    (far(&best) <= wrong.len().div_ceil(3)).then(|| (*best).to_owned())
}
