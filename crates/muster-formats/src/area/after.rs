//! What comes after what: names looked up, circles found.

use super::decode::printable;
use super::file::{AfterEntry, AfterKeys, AfterValue, List};
use super::resolve::Resolver;
use super::source::{At, Pos};
use super::words::Mode;
use muster_core::definition::{After, AfterMode, ItemMap, TestDef};

/// Sets what each test comes after.
pub(super) fn resolve(
    tests: &mut [TestDef],
    afters: &[Option<&At<AfterValue>>],
    index: &dyn Fn(&str) -> Option<usize>,
    resolver: &mut Resolver<'_, '_>,
) {
    // For each test what it waits for, and where that is written.
    let mut edges: Vec<Vec<(usize, Pos)>> = vec![Vec::new(); tests.len()];
    for (i, after) in afters.iter().enumerate() {
        for entry in after.iter().flat_map(|a| &a.value.0) {
            let Some((name, mode)) = read_entry(entry, resolver) else { continue };
            let Some(other) = index(&name.value) else {
                let known = tests.iter().map(|t| t.name.as_str());
                let message = format!("no test is named `{}`", printable(&name));
                resolver.unknown(name.pos, message, &name.value, known);
                continue;
            };
            let exclusive = mode == AfterMode::Exclusive;
            if other == i && !exclusive {
                let message = format!("`{}` comes after itself", name.value);
                resolver
                    .complaints
                    .error(name.pos, message)
                    .hint("only with the mode `exclusive` may a test name itself");
                continue;
            }
            if tests[i]
                .after
                .iter()
                .any(|a| a.test == name.value && (a.mode == AfterMode::Exclusive) == exclusive)
            {
                resolver.complaints.error(name.pos, format!("`{}` is there twice", name.value));
                continue;
            }
            if !exclusive {
                edges[i].push((other, name.pos));
            }
            tests[i].after.push(After { test: name.value, mode });
        }
    }
    circles(tests, &edges, resolver);
}

fn read_entry(entry: &At<AfterEntry>, resolver: &mut Resolver<'_, '_>) -> Option<(At<String>, AfterMode)> {
    let keys = match &entry.value {
        AfterEntry::Name(name) => {
            return Some((At { value: name.clone(), pos: entry.pos }, AfterMode::Passed));
        }
        AfterEntry::Table(keys) => keys,
    };
    let AfterKeys { test, mode, map } = keys;
    let Some(test) = test else {
        resolver
            .complaints
            .error(entry.pos, "this has no `test`")
            .hint("`{ test = \"build\", mode = \"ended\" }`");
        return None;
    };
    // A map without a mode can mean only one thing.
    let usual = if map.is_some() { Mode::MatchingItem } else { Mode::Passed };
    let word = mode.as_ref().map_or(usual, |m| m.value.0);
    if let Some(map) = map.as_ref().filter(|_| word != Mode::MatchingItem) {
        resolver.complaints.error(map.pos, "`map` is for the mode `matching-item`");
    }
    let mode = match word {
        Mode::Passed => AfterMode::Passed,
        Mode::Ended => AfterMode::Ended,
        Mode::Exclusive => AfterMode::Exclusive,
        Mode::MatchingItem => {
            let rules = map.iter().flat_map(|m| &m.value);
            AfterMode::MatchingItem { map: rules.filter_map(|rule| read_rule(rule, resolver)).collect() }
        }
    };
    Some((test.clone(), mode))
}

fn read_rule(rule: &At<List<String>>, resolver: &mut Resolver<'_, '_>) -> Option<ItemMap> {
    let [pattern, replacement] = rule.value.as_slice() else {
        let complaint =
            resolver.complaints.error(rule.pos, "a rule is a regular expression and its replacement");
        complaint.hint("`map = [[\"^(.*)/debug$\", \"$1\"]]`");
        return None;
    };
    resolver.checked.pattern(pattern, resolver.sources, resolver.complaints);
    Some(ItemMap { pattern: pattern.value.clone(), replacement: replacement.value.clone() })
}

/// Complains about each circle, once, naming it whole. Not recursive: chains may be long.
fn circles(tests: &[TestDef], edges: &[Vec<(usize, Pos)>], resolver: &mut Resolver<'_, '_>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; tests.len()];
    for start in 0..tests.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        // The way down: each test with the next of its edges to follow.
        let mut way = vec![(start, 0usize)];
        while let Some((at, next)) = way.last_mut() {
            let Some((other, pos)) = edges[*at].get(*next).copied() else {
                marks[*at] = Mark::Done;
                way.pop();
                continue;
            };
            *next += 1;
            match marks[other] {
                Mark::Done => {}
                Mark::New => {
                    marks[other] = Mark::Open;
                    way.push((other, 0));
                }
                Mark::Open => {
                    let from = way.iter().position(|(t, _)| *t == other).unwrap_or(0);
                    let ring = way[from..].iter().map(|(t, _)| *t).chain([other]);
                    let mut names: Vec<_> = ring.map(|t| format!("`{}`", tests[t].name)).collect();
                    if names.len() > 20 {
                        let skipped = names.len() - 12;
                        names.splice(6..6 + skipped, [format!("… {skipped} more …")]);
                    }
                    let message =
                        format!("tests come after each other in a circle: {}", names.join(" after "));
                    resolver.complaints.error(pos, message);
                }
            }
        }
    }
}
