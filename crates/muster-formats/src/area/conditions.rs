//! Checks of what is written in other languages: conditions and regular expressions.

use super::error::Complaints;
use super::source::{At, Pos, Sources};
use muster_core::expr::{Expr, ExprError, Facts};
use muster_core::lab::{DeviceSelector, Rejected};
use std::collections::{BTreeMap, HashMap};

/// Remembers what has been checked: ten thousand tests that share a default share its check.
#[derive(Debug, Default)]
pub(super) struct Checked {
    conditions: HashMap<String, Result<bool, ExprError>>,
    patterns: HashMap<String, Option<(usize, String)>>,
}

impl Checked {
    /// Evaluates a condition; `None` after having complained.
    pub(super) fn condition(
        &mut self,
        text: &At<String>,
        facts: &Facts,
        sources: &Sources,
        complaints: &mut Complaints,
    ) -> Option<bool> {
        if !self.conditions.contains_key(&text.value) {
            let result = Expr::parse(text).and_then(|e| e.eval_bool(facts));
            self.conditions.insert(text.value.clone(), result);
        }
        match &self.conditions[&text.value] {
            Ok(result) => Some(*result),
            Err(e) => {
                let rest = text.value.get(e.at..).unwrap_or("");
                let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let pos = inside(sources, text, e.at, e.at + word.max(1));
                complaints.error(pos, e.to_string()).maybe_hint(e.hint.clone());
                None
            }
        }
    }

    /// Whether a text is a regular expression; complains where it is not.
    pub(super) fn pattern(
        &mut self,
        text: &At<String>,
        sources: &Sources,
        complaints: &mut Complaints,
    ) -> bool {
        let checked = self.patterns.entry(text.value.clone()).or_insert_with(|| check_pattern(text));
        let Some((at, why)) = checked else { return true };
        let pos = inside(sources, text, *at, *at + 1);
        complaints.error(pos, "this is not a regular expression").cause(why.clone());
        false
    }
}

/// Where in a regular expression it goes wrong, and why.
fn check_pattern(text: &str) -> Option<(usize, String)> {
    let error = regex::RegexBuilder::new(text).size_limit(1 << 20).build().err()?;
    let told = error.to_string();
    // The message is the pattern, a line with a caret below the place, and the reason.
    let why = told.lines().rev().find_map(|l| l.strip_prefix("error: ")).unwrap_or("it is too large");
    let caret = told.lines().find(|l| l.trim_start().starts_with('^')).and_then(|l| l.find('^'));
    let at = caret.filter(|_| !text.contains('\n')).map_or(0, |c| c.saturating_sub(4));
    Some((text.char_indices().nth(at).map_or(0, |(i, _)| i), why.to_owned()))
}

/// Reads a condition over devices; complains where it is none.
pub(super) fn selector(
    text: &At<String>,
    sources: &Sources,
    complaints: &mut Complaints,
) -> Option<DeviceSelector> {
    match DeviceSelector::parse(&text.value) {
        Ok(selector) => Some(selector),
        Err(Rejected::Selector { error: e, .. }) => {
            let rest = text.value.get(e.at..).unwrap_or("");
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let pos = inside(sources, text, e.at, e.at + word.max(1));
            complaints.error(pos, e.to_string()).maybe_hint(e.hint.clone());
            None
        }
        Err(e) => {
            complaints.error(text.pos, e.to_string());
            None
        }
    }
}

/// The place of a part of a text, where it stands in the file as it is; else that of the whole text.
pub(super) fn inside(sources: &Sources, text: &At<String>, from: usize, to: usize) -> Pos {
    let written = sources.slice(text.pos);
    match written.find(&text.value) {
        Some(start) if !text.value.is_empty() => {
            text.pos.within(start + from, (start + to).min(start + text.len()))
        }
        _ => text.pos,
    }
}

/// The facts conditions see: the machine's, once more as `host`, the target's values as `target` and each
/// under its own name, which wins over the machine's.
pub(crate) fn facts(
    machine: &Facts,
    target: &[(String, String)],
    process_env: &BTreeMap<String, String>,
) -> Facts {
    let mut facts = machine.clone();
    let host: BTreeMap<_, _> = machine.iter().map(|(name, fact)| (name.to_owned(), fact.clone())).collect();
    facts.set("host", host);
    let values: BTreeMap<_, _> = target.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    for (key, value) in target {
        facts.set(key.clone(), value.as_str());
    }
    facts.set("target", values);
    facts.set_env(process_env.clone());
    facts
}
