//! Rules made ready to look at lines: all patterns in one automaton, so that a line costs one look however many rules
//! there are; and one more automaton that finds the next line which any of them could want, so that the others cost
//! next to nothing.

use super::pattern::{Engine, Pattern, builder, in_words};
use super::rules::{Check, Place, Problem, Rules, WHOLE_LOG};
use fancy_regex::Regex as FancyRegex;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use regex::bytes::{Regex, RegexSet, RegexSetBuilder};

/// Largest automaton, in bytes.
// Limit: ten times what the library allows a single pattern.
const AUTOMATON_BYTES_MAX: usize = 100 << 20;

/// Rules ready for use on any number of logs.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) rules: Rules,
    /// For each rule: whether its day has come.
    pub(super) expired: Vec<bool>,
    set: RegexSet,
    /// For each pattern of the set: whose it is.
    owners: Vec<Owner>,
    backtracking: Vec<(Owner, FancyRegex)>,
    /// Finds the next line that the set could match; `None` where each line must be looked at.
    any: Option<Regex>,
    /// For each section: its start and end among the triggers.
    pub(super) bounds: Vec<(Vec<usize>, Vec<usize>)>,
    /// For each rule: the sections of its name; `None` is the whole log.
    scopes: Vec<Option<Vec<usize>>>,
}

/// Whose pattern it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Trigger(usize),
    Rule(usize),
}

/// What a line is to all patterns.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// Triggers, each once, in their order.
    pub(super) triggers: Vec<usize>,
    /// Rules, each once, in their order.
    pub(super) rules: Vec<usize>,
    /// Rules and triggers that gave up on the line: their place among the rules, where they are one.
    pub(super) gave_up: Vec<Option<usize>>,
}

impl Program {
    /// Makes rules ready, as of this day.
    ///
    /// # Errors
    /// All patterns together are too large.
    pub fn new(rules: Rules, today: Date) -> Result<Self, Problem> {
        let expired: Vec<bool> =
            rules.rules.iter().map(|r| r.expires.is_some_and(|day| today > day)).collect();
        let triggers = rules.triggers.iter().enumerate().map(|(i, t)| (Owner::Trigger(i), &t.patterns));
        let in_force = rules.rules.iter().enumerate().filter(|(i, _)| !expired[*i]);
        let in_force = in_force.map(|(i, r)| (Owner::Rule(i), &r.patterns));
        let (mut texts, mut owners, mut backtracking) = (Vec::new(), Vec::new(), Vec::new());
        for (owner, pattern) in
            triggers.chain(in_force).flat_map(|(owner, p)| p.iter().map(move |p| (owner, p)))
        {
            let Pattern { engine, .. } = pattern;
            match engine {
                Engine::Plain { text, .. } => {
                    texts.push(text.as_str());
                    owners.push(owner);
                }
                Engine::Backtracking(regex) => backtracking.push((owner, FancyRegex::clone(regex))),
            }
        }
        let mut set = RegexSetBuilder::new(&texts);
        set.unicode(false).multi_line(true).size_limit(AUTOMATON_BYTES_MAX);
        let set = set.build().map_err(|e| {
            let first = rules.rules.first().map(|r| &r.source).or(rules.triggers.first().map(|t| &t.source));
            let source_at = first.cloned().unwrap_or_else(|| super::Source { file: "rules".into(), line: 1 });
            Problem { source_at, problem: format!("all patterns together: {}", in_words(&e)) }
        })?;
        let any = if backtracking.is_empty() { any_of(&texts) } else { None };
        let named = |name: &str| {
            let all = rules.triggers.iter().enumerate();
            all.filter(|(_, t)| t.name == name).map(|(i, _)| i).collect::<Vec<_>>()
        };
        let bounds = rules.sections.iter().map(|s| (named(&s.start), named(&s.end))).collect();
        let scopes = rules.rules.iter().map(|rule| {
            let sections = rules.sections.iter().enumerate().filter(|(_, s)| s.name == rule.section);
            let sections: Vec<usize> = sections.map(|(i, _)| i).collect();
            (!sections.is_empty() || rule.section != WHOLE_LOG).then_some(sections)
        });
        let scopes = scopes.collect();
        Ok(Self { expired, set, owners, backtracking, any, bounds, scopes, rules })
    }

    /// Reads rule files and makes them ready, as of a moment: in seconds since the Unix epoch, its day by UTC.
    ///
    /// # Errors
    /// Everything in them that cannot be used, a line each.
    pub fn read(files: &[(&str, &str)], now: i64) -> Result<Self, String> {
        let lines =
            |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let rules = Rules::read(files).map_err(lines)?;
        let now = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::new(rules, now.to_zoned(TimeZone::UTC).date()).map_err(|problem| problem.to_string())
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The next line of a block, from here on, that some pattern could match: a place within it. Other lines match
    /// none. Only where [`Program::skips`].
    pub(super) fn next_candidate(&self, block: &[u8], from: usize) -> Option<usize> {
        self.any.as_ref().and_then(|any| any.shortest_match_at(block, from))
    }

    /// Whether lines that match nothing can be told without a look at each.
    pub(super) fn skips(&self) -> bool {
        self.any.is_some()
    }

    /// What a line is to all patterns.
    pub(super) fn matches(&self, line: &[u8], found: &mut Matches) {
        found.triggers.clear();
        found.rules.clear();
        found.gave_up.clear();
        for pattern in self.set.matches(line).iter() {
            found.add(self.owners[pattern]);
        }
        if self.backtracking.is_empty() {
            return;
        }
        for (owner, regex) in &self.backtracking {
            match regex.is_match(line) {
                Ok(true) => found.add(*owner),
                Ok(false) => {}
                Err(_) => found.gave_up.push(match owner {
                    Owner::Rule(rule) => Some(*rule),
                    Owner::Trigger(_) => None,
                }),
            }
        }
        // Patterns of the slower engine come last, and belong between the others.
        for all in [&mut found.triggers, &mut found.rules] {
            all.sort_unstable();
            all.dedup();
        }
    }

    /// Whether a rule is about lines where these sections are open.
    pub(super) fn applies(&self, rule: usize, open: &[bool]) -> bool {
        let inside = match &self.scopes[rule] {
            None => true,
            Some(sections) => sections.iter().any(|s| open[*s]),
        };
        inside == (self.rules.rules[rule].place == Place::In)
    }

    /// A value in a rule's line, as it is written there. `None`: the group took no part.
    pub(super) fn captured(&self, rule: usize, line: &[u8]) -> Option<String> {
        let rule = &self.rules.rules[rule];
        let Check::Value { group, .. } = rule.check else { return None };
        rule.patterns.iter().find_map(|pattern| pattern.capture(line, group))
    }
}

impl Matches {
    fn add(&mut self, owner: Owner) {
        let (all, i) = match owner {
            Owner::Trigger(i) => (&mut self.triggers, i),
            Owner::Rule(i) => (&mut self.rules, i),
        };
        if all.last() != Some(&i) {
            all.push(i);
        }
    }
}

/// One automaton for all patterns together. `None` where one matches nothing at all, and so every line, or where it
/// would be too large.
fn any_of(texts: &[&str]) -> Option<Regex> {
    let each: Vec<String> = texts.iter().map(|text| format!("(?:{text})")).collect();
    let any = if each.is_empty() { "[a&&b]".to_owned() } else { each.join("|") };
    let any = builder(&any).size_limit(AUTOMATON_BYTES_MAX).build().ok()?;
    (!any.is_match(b"")).then_some(any)
}
