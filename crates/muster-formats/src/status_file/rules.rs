//! Sections to rules: conditions decided, rules for the same key merged.

use super::condition::Condition;
use super::error::{Pos, StatusError};
use super::words::{Keyword, Outcomes, drops_pass};
use super::world::World;
use super::{RawItem, RawRule, Section, StatusFile};
use muster_core::definition::{Expectation, ItemMatch};
use muster_core::outcome::Outcome;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a file says, with all conditions decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// What holds in every variant, in the order of the file.
    pub general: Vec<Rule>,
    /// What holds in one variant, beside that. Every known variant is there.
    pub variants: BTreeMap<String, Vec<Rule>>,
}

/// All that a table says about one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name, or a prefix with its `*`.
    pub key: String,
    /// Where its first mention stands.
    pub pos: Pos,
    /// Its outcomes and modifiers.
    pub words: BTreeSet<Keyword>,
    /// Flags for the test; exact rules only.
    pub flags: Vec<String>,
}

/// Flags that a rule adds to its item's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFlags {
    /// The item.
    pub item: String,
    /// The flags.
    pub flags: Vec<String>,
}

/// Tables in the words of the lab.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    /// What is expected.
    pub expectations: Vec<Expectation>,
    /// What V8 would append to commands. Nothing in Muster does.
    pub flags: Vec<ItemFlags>,
}

pub(super) fn tables(file: &StatusFile, world: &World) -> Result<Tables, Vec<StatusError>> {
    let mut errors = Vec::new();
    let mut general = Table::default();
    let mut variants: BTreeMap<&str, Table> =
        world.variants().iter().map(|v| (v.as_str(), Table::default())).collect();
    for section in &file.sections {
        if section.condition.mentions_variant() {
            for (variant, table) in &mut variants {
                table.section(section, world, Some(variant), &mut errors);
            }
        } else {
            general.section(section, world, None, &mut errors);
        }
    }
    if errors.is_empty() {
        let variants = variants.into_iter().map(|(v, t)| (v.to_owned(), t.rules)).collect();
        return Ok(Tables { general: general.rules, variants });
    }
    // The same place is looked at once for each variant.
    errors.sort_by_key(|e| e.pos);
    errors.dedup();
    Err(errors)
}

#[derive(Default)]
struct Table {
    rules: Vec<Rule>,
    by_key: HashMap<String, usize>,
}

impl Table {
    fn section(
        &mut self,
        section: &Section,
        world: &World,
        variant: Option<&str>,
        errors: &mut Vec<StatusError>,
    ) {
        let mut holds = |condition: &Condition, variant: Option<&str>| {
            condition.holds(world, variant).unwrap_or_else(|e| {
                errors.push(e);
                false
            })
        };
        let in_force = holds(&section.condition, variant);
        // In Python's literal, the last of equal keys is the one that counts.
        let last: HashMap<&str, usize> =
            section.rules.iter().enumerate().map(|(i, r)| (r.key.as_str(), i)).collect();
        for (i, rule) in section.rules.iter().enumerate() {
            // Conditions are decided also where the section is not in force, so that mistakes in them
            // come to light everywhere.
            let (words, flags) = outcomes(rule, |c| holds(c, None));
            if in_force && last.get(rule.key.as_str()) == Some(&i) && !(words.is_empty() && flags.is_empty())
            {
                self.add(rule, words, flags);
            }
        }
    }

    fn add(&mut self, rule: &RawRule, mut words: BTreeSet<Keyword>, flags: Vec<String>) {
        let Some(before) = self.by_key.get(&rule.key).and_then(|i| self.rules.get_mut(*i)) else {
            self.by_key.insert(rule.key.clone(), self.rules.len());
            self.rules.push(Rule { key: rule.key.clone(), pos: rule.pos, words, flags });
            return;
        };
        if drops_pass(&before.words, &words) {
            before.words.remove(&Keyword::Pass);
        } else if drops_pass(&words, &before.words) {
            words.remove(&Keyword::Pass);
        }
        before.words.extend(words);
        before.flags.extend(flags);
    }
}

fn outcomes(rule: &RawRule, mut holds: impl FnMut(&Condition) -> bool) -> (BTreeSet<Keyword>, Vec<String>) {
    let (mut words, mut flags) = (BTreeSet::new(), Vec::new());
    let mut take = |outcomes: &Outcomes| match outcomes {
        Outcomes::Words(more) => words.extend(more.iter().copied()),
        Outcomes::Flags(more) => flags.extend(more.iter().cloned()),
    };
    for item in &rule.items {
        match item {
            RawItem::Plain(outcomes) => take(outcomes),
            RawItem::When(condition, all) => {
                if holds(condition) {
                    all.iter().for_each(&mut take);
                }
            }
        }
    }
    (words, flags)
}

impl Tables {
    /// The general rules, and those of a variant, in the words of the lab. Rules that match the same
    /// item add up: that is left to whoever applies them.
    pub fn evaluated(&self, path: &str, variant: Option<&str>) -> Evaluated {
        let own = variant.and_then(|v| self.variants.get(v)).map_or(&[][..], Vec::as_slice);
        let mut evaluated = Evaluated::default();
        for rule in self.general.iter().chain(own) {
            let items = match rule.key.strip_suffix('*') {
                Some(prefix) => ItemMatch::Prefix(prefix.to_owned()),
                None => ItemMatch::Exact(rule.key.clone()),
            };
            if let (ItemMatch::Exact(item), false) = (&items, rule.flags.is_empty()) {
                evaluated.flags.push(ItemFlags { item: item.clone(), flags: rule.flags.clone() });
            }
            evaluated.expectations.extend(rule.expectation(items, path, variant));
        }
        evaluated
    }
}

impl Rule {
    /// `None` where the rule says nothing that the lab acts on.
    fn expectation(&self, items: ItemMatch, path: &str, variant: Option<&str>) -> Option<Expectation> {
        let has = |word: Keyword| self.words.contains(&word);
        let mut allowed: Vec<Outcome> = Vec::new();
        for (word, outcomes) in [
            (Keyword::Pass, &[Outcome::Pass][..]),
            (Keyword::Fail, &[Outcome::Fail]),
            (Keyword::FailSloppy, &[Outcome::Pass, Outcome::Fail]),
            (Keyword::Timeout, &[Outcome::Timeout]),
            (Keyword::Crash, &[Outcome::Crash]),
        ] {
            if has(word) {
                allowed.extend(outcomes.iter().filter(|o| !allowed.contains(o)).copied().collect::<Vec<_>>());
            }
        }
        let not_here = variant.and_then(|v| {
            let fast = ["default", "turbofan"].contains(&v);
            if has(Keyword::NoVariants) && v != "default" {
                Some("NO_VARIANTS")
            } else {
                (has(Keyword::FastVariants) && !fast).then_some("FAST_VARIANTS")
            }
        });
        let skip = has(Keyword::Skip) || not_here.is_some();
        let slow = has(Keyword::Slow);
        if allowed.is_empty() && !skip && !slow {
            return None;
        }
        let reason = match not_here {
            _ if has(Keyword::Skip) => "SKIP",
            Some(word) => word,
            None if has(Keyword::Okay) && has(Keyword::Fail) => "OKAY: not to be fixed",
            None => "",
        };
        let origin = format!("{path}:{}", self.pos.line);
        Some(Expectation { items, allowed, skip, slow, reason: reason.to_owned(), origin })
    }
}
