//! What is expected of which items: `[[expect]]` tables and status files.

use super::LoadContext;
use super::decode::printable;
use super::error::Elsewhere;
use super::file::{ExpectKeys, List};
use super::resolve::Resolver;
use super::source::At;
use super::words::Expected;
use crate::status_file;
use muster_core::definition::{Expectation, ItemMatch, TestDef};
use muster_core::select::wildcard;

/// Adds what `[[expect]]` tables say to the tests they are for.
pub(super) fn native<'a>(
    tests: &mut [TestDef],
    expects: impl Iterator<Item = &'a At<ExpectKeys>>,
    index: &dyn Fn(&str) -> Option<usize>,
    resolver: &mut Resolver<'_, '_>,
) {
    for expect in expects {
        let ExpectKeys { test, is, when, reason } = &expect.value;
        let (Some(patterns), Some(is)) = (test, is) else {
            let missing = if test.is_none() { "test" } else { "is" };
            let complaint =
                resolver.complaints.error(expect.pos, format!("this expectation has no `{missing}`"));
            complaint.hint("`test = \"suite/item\"` and `is = \"fail\"`");
            continue;
        };
        if is.value.0.is_empty() {
            resolver.complaints.error(is.pos, "nothing is expected");
        }
        let holds = match when {
            Some(when) => {
                resolver.checked.condition(when, resolver.facts, resolver.sources, resolver.complaints)
            }
            None => Some(true),
        };
        let mut allowed = Vec::new();
        let (mut skip, mut slow) = (false, false);
        for word in &is.value.0 {
            match word.value.0 {
                Expected::Outcome(outcome) if !allowed.contains(&outcome) => allowed.push(outcome),
                Expected::Outcome(_) => {}
                Expected::Skip => skip = true,
                Expected::Slow => slow = true,
            }
        }
        let reason = reason.as_ref().map_or_else(String::new, |r| r.value.clone());
        for pattern in &patterns.value.0 {
            let matching = matching_tests(pattern, tests, index, resolver);
            if holds != Some(true) {
                continue;
            }
            let expectation = Expectation {
                items: item_match(pattern),
                allowed: allowed.clone(),
                skip,
                slow,
                reason: reason.clone(),
                origin: resolver.sources.origin(expect.pos),
            };
            matching.into_iter().for_each(|i| tests[i].expectations.push(expectation.clone()));
        }
    }
}

/// The tests a pattern is for; complains where there are none.
fn matching_tests(
    pattern: &At<String>,
    tests: &[TestDef],
    index: &dyn Fn(&str) -> Option<usize>,
    resolver: &mut Resolver<'_, '_>,
) -> Vec<usize> {
    let name = pattern.split('/').next().unwrap_or("");
    if !name.contains('*') {
        if let Some(i) = index(name) {
            return vec![i];
        }
        let known = tests.iter().map(|t| t.name.as_str());
        let message = format!("no test is named `{}`", printable(name));
        resolver.unknown(pattern.pos, message, name, known);
        return Vec::new();
    }
    let matching: Vec<usize> = (0..tests.len()).filter(|i| wildcard(name, &tests[*i].name)).collect();
    if matching.is_empty() {
        resolver.complaints.warning(pattern.pos, format!("no test matches `{}`", printable(name)));
    }
    matching
}

/// The items a pattern is for: all where it names only a test.
fn item_match(pattern: &str) -> ItemMatch {
    let Some((_, items)) = pattern.split_once('/') else { return ItemMatch::Prefix(String::new()) };
    match items.strip_suffix('*') {
        Some(prefix) if !prefix.contains('*') => ItemMatch::Prefix(prefix.to_owned()),
        _ if items.contains('*') => ItemMatch::Glob(items.to_owned()),
        _ => ItemMatch::Exact(items.to_owned()),
    }
}

/// Adds what status files say to the tests that name them.
pub(super) fn status_files(
    tests: &mut [TestDef],
    files: &[Option<&At<List<String>>>],
    context: &LoadContext<'_>,
    resolver: &mut Resolver<'_, '_>,
) {
    for (test, list) in tests.iter_mut().zip(files) {
        for written in list.iter().flat_map(|l| &l.value) {
            resolver.names.begin_test(Vec::new());
            let path = resolver.path(written);
            let text = match context.files.text(&path) {
                Ok(text) => text,
                Err(e) => {
                    let message = format!("the status file `{}` cannot be read", printable(&path));
                    resolver.complaints.error(written.pos, message).cause(e.to_string());
                    continue;
                }
            };
            match status_file::expectations(&path, &text, resolver.facts) {
                Ok(found) => test.expectations.extend(found),
                Err(errors) => errors.iter().for_each(|e| {
                    let place = Elsewhere::new(&path, &text, e.pos.line, e.pos.column);
                    resolver.complaints.error(written.pos, e.wrong.to_string()).elsewhere(place);
                }),
            }
        }
    }
}
