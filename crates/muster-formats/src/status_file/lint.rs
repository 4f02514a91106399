//! What is allowed in a status file but hardly meant.

use super::StatusFile;
use super::error::Pos;
use muster_core::definition::{Expectation, ItemMatch};
use muster_core::select::wildcard;
use std::collections::BTreeSet;

/// Something that is hardly meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: `{key}` {what}", pos.line, pos.column)]
pub struct Complaint {
    /// Where.
    pub pos: Pos,
    /// The rule's name.
    pub key: String,
    /// What about it.
    pub what: &'static str,
}

pub(super) fn lint(file: &StatusFile, suite: Option<&str>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for section in &file.sections {
        let mut seen = BTreeSet::new();
        for rule in &section.rules {
            let mut complain =
                |what| complaints.push(Complaint { pos: rule.pos, key: rule.key.clone(), what });
            if suite.is_some_and(|s| rule.key.strip_prefix(s).is_some_and(|rest| rest.starts_with('/'))) {
                complain("begins with the suite's name, which names do not");
            }
            if rule.key.ends_with(".js") {
                complain("ends in `.js`, which names do not");
            }
            if rule.key.trim_end_matches('*').contains('*') || rule.key.ends_with("**") {
                complain("has a `*` that is not its last character, which then means only itself");
            }
            if !seen.insert(rule.key.as_str()) {
                complain("is there twice in this section; only the last one counts");
            }
        }
    }
    complaints
}

/// The expectations that are for none of these items: most often a test that was renamed or removed.
pub fn unused<'e, 'i>(
    expectations: &'e [Expectation],
    items: impl IntoIterator<Item = &'i str>,
) -> Vec<&'e Expectation> {
    let items: BTreeSet<&str> = items.into_iter().collect();
    let is_used = |e: &&Expectation| match &e.items {
        ItemMatch::Exact(path) => items.contains(path.as_str()),
        ItemMatch::Prefix(prefix) => {
            items.range(prefix.as_str()..).next().is_some_and(|i| i.starts_with(prefix.as_str()))
        }
        ItemMatch::Glob(glob) => items.iter().any(|i| wildcard(glob, i)),
    };
    expectations.iter().filter(|e| !is_used(e)).collect()
}
