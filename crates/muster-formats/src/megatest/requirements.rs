//! What a test comes after: `waiton`, modes and item maps, once all tests are known.

use super::config::{Entry, Session};
use crate::area::error::Complaints;
use crate::area::source::Pos;
use muster_core::definition::{After, AfterMode, ItemMap, TestDef};
use muster_core::select::testpatt::part_matches;
use regex::Regex;
use std::collections::HashMap;

/// What `[requirements]` and `[itemmap]` of a test say.
#[derive(Debug, Default)]
pub(super) struct Requirements {
    /// Names with their places.
    pub(super) waiton: Vec<(String, Pos)>,
    /// Tests that are pulled into the run, without an order.
    pub(super) waitor: Vec<(String, Pos)>,
    pub(super) mode: Mode,
    /// Rules for the prerequisites whose names match, the first match counts.
    pub(super) maps: Vec<(String, Vec<ItemMap>)>,
    /// Whether the test has items.
    pub(super) has_items: bool,
    /// They are asked for when the prerequisites have ended.
    pub(super) is_lazy: bool,
}

/// The words of `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Prerequisites need only have ended.
    pub(super) toplevel: bool,
    /// Item by item.
    pub(super) item: bool,
    /// Never twice at a time.
    pub(super) exclusive: bool,
}

impl Mode {
    /// Reads the words.
    pub(super) fn read(entry: &Entry, complaints: &mut Complaints) -> Self {
        let mut mode = Self::default();
        for word in words(&entry.value) {
            match word {
                "normal" => {}
                "toplevel" => mode.toplevel = true,
                "itemmatch" | "itemwait" => mode.item = true,
                "exclusive" => mode.exclusive = true,
                _ => {
                    let known = ["normal", "toplevel", "itemmatch", "itemwait", "exclusive"];
                    let hint = complaints.nearest(word, known);
                    complaints
                        .warning(entry.pos, format!("Megatest knows no mode `{word}`"))
                        .maybe_hint(hint);
                }
            }
        }
        if mode.toplevel && mode.item {
            complaints
                .warning(entry.pos, "`toplevel` and `itemmatch` together: the whole test is waited for")
                .hint("`toplevel` counts, so that it starts whatever its prerequisites came to");
        }
        mode
    }
}

/// The words of a value.
pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '\t', '\n', ',']).filter(|w| !w.is_empty())
}

/// Reads rules of item maps: a line each, a regular expression and what its first match becomes.
pub(super) fn rules(value: &str, pos: Pos, complaints: &mut Complaints) -> Vec<ItemMap> {
    let mut rules = Vec::new();
    for line in value.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (pattern, replacement) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        // A map that cannot be read would let items wait for the wrong ones.
        if let Err(e) = Regex::new(pattern) {
            let why = e.to_string();
            let cause = why.lines().last().unwrap_or_default().to_owned();
            complaints.error(pos, format!("`{pattern}` is no regular expression")).cause(cause);
            continue;
        }
        // Muster's own maps know `$1`; in Megatest's a dollar is a dollar.
        let replacement = replacement.trim().replace('$', "$$");
        rules.push(ItemMap { pattern: pattern.to_owned(), replacement });
    }
    rules
}

/// Sets what each test comes after. `tests` and `all` go together.
pub(super) fn resolve(tests: &mut [TestDef], all: &[Requirements], session: &mut Session<'_>) {
    let places: HashMap<String, usize> = tests.iter().zip(0..).map(|(t, i)| (t.name.clone(), i)).collect();
    for (i, needs) in all.iter().enumerate() {
        for (name, pos) in &needs.waiton {
            let Some(&other) = places.get(name) else {
                unknown(name, *pos, "waiton", tests, &mut session.complaints);
                continue;
            };
            if other == i {
                let message = format!("`{name}` waits for itself; this is left out");
                session.complaints.warning(*pos, message);
                continue;
            }
            if tests[i].after.iter().any(|a| a.test == *name) {
                continue;
            }
            let mode = mode_of(needs, name, &all[other]);
            if needs.is_lazy && matches!(mode, AfterMode::MatchingItem { .. }) {
                // The items may be made of what all of it leaves; which of them run is then decided one by one.
                tests[i].after.push(After { test: name.clone(), mode: AfterMode::Ended });
            }
            tests[i].after.push(After { test: name.clone(), mode });
        }
        for (name, pos) in &needs.waitor {
            match places.contains_key(name) {
                true => tests[i].along.push(name.clone()),
                false => unknown(name, *pos, "waitor", tests, &mut session.complaints),
            }
        }
        if needs.mode.exclusive {
            let test = tests[i].name.clone();
            tests[i].after.push(After { test, mode: AfterMode::Exclusive });
        }
    }
    tell_circles(tests, all, session);
}

/// How a test waits for one of its prerequisites.
fn mode_of(needs: &Requirements, name: &str, other: &Requirements) -> AfterMode {
    if needs.mode.toplevel {
        return AfterMode::Ended;
    }
    // Without items on one side there is nothing to match: the whole test is waited for.
    if !needs.mode.item || !needs.has_items || !other.has_items {
        return AfterMode::Passed;
    }
    let map = needs.maps.iter().find(|(patt, _)| part_matches(patt, name)).map(|(_, rules)| rules.clone());
    AfterMode::MatchingItem { map: map.unwrap_or_default() }
}

/// Circles that are told.
// Limit: a few tell what is wrong with all of them.
const CIRCLES_MAX: usize = 5;

/// Tells of tests that wait for each other, with the line that closes the circle.
fn tell_circles(tests: &[TestDef], all: &[Requirements], session: &mut Session<'_>) {
    let places: HashMap<&str, usize> = tests.iter().zip(0..).map(|(t, i)| (t.name.as_str(), i)).collect();
    let waits = |i: usize| {
        let after = tests[i].after.iter().filter(move |a| a.mode != AfterMode::Exclusive);
        after.filter_map(|a| places.get(a.test.as_str()).copied()).filter(move |other| *other != i)
    };
    // What waits for nothing that is left may start, and so may what then waits for nothing.
    let mut waiting: Vec<usize> = (0..tests.len()).map(|i| waits(i).count()).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); tests.len()];
    for i in 0..tests.len() {
        waits(i).for_each(|other| dependents[other].push(i));
    }
    let mut free: Vec<usize> = (0..tests.len()).filter(|i| waiting[*i] == 0).collect();
    let mut is_free = vec![false; tests.len()];
    while let Some(i) = free.pop() {
        is_free[i] = true;
        for &dependent in &dependents[i] {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    let mut seen = vec![false; tests.len()];
    let mut told = 0;
    for start in (0..tests.len()).filter(|i| !is_free[*i]) {
        // From anything that cannot start a circle is reached by going on to what it waits for.
        let mut way = Vec::new();
        let mut at = start;
        while !seen[at] {
            seen[at] = true;
            way.push(at);
            let Some(next) = waits(at).find(|other| !is_free[*other]) else { break };
            at = next;
        }
        let Some(begin) = way.iter().position(|i| *i == at) else { continue };
        let circle: Vec<&str> = way[begin..].iter().chain([&at]).map(|i| tests[*i].name.as_str()).collect();
        let pos = all[at].waiton.iter().find(|(name, _)| Some(name.as_str()) == circle.get(1).copied());
        let pos = pos.map(|(_, pos)| *pos).unwrap_or_default();
        session
            .complaints
            .warning(pos, format!("these tests wait for each other: {}", circle.join(" → ")))
            .hint("none of them can ever start; a run without them can be planned");
        told += 1;
        if told == CIRCLES_MAX {
            return;
        }
    }
}

fn unknown(name: &str, pos: Pos, key: &str, tests: &[TestDef], complaints: &mut Complaints) {
    let hint = complaints.nearest(name, tests.iter().map(|t| t.name.as_str()));
    complaints.warning(pos, format!("unrecognised {key} testname `{name}`; it is left out")).maybe_hint(hint);
}
