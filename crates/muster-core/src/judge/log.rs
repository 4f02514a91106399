//! Log rules: which lines they take, and what follows when they hold.

use super::RuleError;
use super::lines::for_each_line;
use super::message::shown;
use crate::attempt::Cause;
use crate::definition::{LogMeaning, LogRule};
use crate::outcome::Outcome;
use regex::bytes::{Regex, RegexSet};

#[derive(Clone, Debug)]
pub(super) struct LogRules {
    rules: Vec<LogRule>,
    matcher: Matcher,
}

/// Finds the first rule that matches a line.
#[derive(Clone, Debug)]
enum Matcher {
    None,
    One(Regex),
    /// All patterns in one pass over the line.
    Set(RegexSet),
}

/// The lines credited to a rule.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    count: u32,
    /// The first of them, for the message.
    first: Option<String>,
}

/// What a rule that holds (or a required one that does not) makes of the attempt.
pub(super) struct Finding {
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
    pub(super) message: String,
}

impl LogRules {
    pub(super) fn new(rules: &[LogRule]) -> Result<Self, RuleError> {
        let mut compiled = Vec::with_capacity(rules.len());
        for rule in rules {
            let regex = Regex::new(&rule.pattern)
                .map_err(|source| RuleError::Pattern { pattern: rule.pattern.clone(), source })?;
            compiled.push(regex);
        }
        let matcher = match compiled.len() {
            0 => Matcher::None,
            1 => compiled.pop().map_or(Matcher::None, Matcher::One),
            _ => Matcher::Set(RegexSet::new(rules.iter().map(|r| &r.pattern)).map_err(|source| {
                let pattern = rules.iter().map(|r| r.pattern.as_str()).collect::<Vec<_>>().join("`, `");
                RuleError::Pattern { pattern, source }
            })?),
        };
        Ok(Self { rules: rules.to_vec(), matcher })
    }

    /// Credits each line to the first rule that matches it.
    pub(super) fn tally(&self, log: &[u8]) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.rules.len()];
        if self.rules.is_empty() {
            return tallies;
        }
        for_each_line(log, |_, line| {
            let rule = match &self.matcher {
                Matcher::None => None,
                Matcher::One(regex) => regex.is_match(line).then_some(0),
                Matcher::Set(set) => set.matches(line).iter().next(),
            };
            if let Some(tally) = rule.and_then(|r| tallies.get_mut(r)) {
                tally.count += 1;
                tally.first.get_or_insert_with(|| shown(line));
            }
        });
        tallies
    }

    /// The first rule of this meaning that holds.
    pub(super) fn holding(&self, tallies: &[Tally], means: LogMeaning) -> Option<Finding> {
        let mut of_it = self.rules.iter().zip(tallies).filter(|(rule, _)| rule.means == means);
        of_it.find(|(rule, tally)| holds(rule, tally)).map(|(rule, tally)| Finding {
            outcome: Outcome::Skip,
            cause: cause(rule),
            message: message(rule, tally),
        })
    }

    /// What the rules make of the attempt, beside those that skip it.
    pub(super) fn findings<'a>(
        &'a self,
        tallies: &'a [Tally],
        skipped: bool,
    ) -> impl Iterator<Item = Finding> + 'a {
        self.rules.iter().zip(tallies).filter_map(move |(rule, tally)| {
            let outcome = match (rule.means, holds(rule, tally)) {
                (LogMeaning::Pass, false) if !skipped => Outcome::Fail,
                (LogMeaning::Warn, true) => Outcome::Warn,
                (LogMeaning::Check, true) => Outcome::Check,
                (LogMeaning::Fail, true) => Outcome::Fail,
                (LogMeaning::Abort, true) => Outcome::Abort,
                (LogMeaning::Pass | LogMeaning::Ignore | LogMeaning::Skip, _)
                | (LogMeaning::Warn | LogMeaning::Check | LogMeaning::Fail | LogMeaning::Abort, false) => {
                    return None;
                }
            };
            Some(Finding { outcome, cause: cause(rule), message: message(rule, tally) })
        })
    }
}

fn holds(rule: &LogRule, tally: &Tally) -> bool {
    (rule.count.min..=rule.count.max).contains(&tally.count)
}

fn name(rule: &LogRule) -> &str {
    if rule.description.is_empty() { &rule.pattern } else { &rule.description }
}

fn cause(rule: &LogRule) -> Cause {
    Cause::LogRule(name(rule).to_owned())
}

fn message(rule: &LogRule, tally: &Tally) -> String {
    let line = tally.first.as_deref();
    let lines = |n: u32| if n == 1 { "1 line".to_owned() } else { format!("{n} lines") };
    let wanted = match (rule.count.min, rule.count.max) {
        (min, max) if min == max => format!("exactly {}", lines(min)),
        (min, u32::MAX) => format!("at least {}", lines(min)),
        (0, max) => format!("at most {}", lines(max)),
        (min, max) => format!("{min} to {}", lines(max)),
    };
    if rule.means == LogMeaning::Pass {
        // It does not hold: say what was looked for.
        let found = match tally.count {
            0 => "none".to_owned(),
            n => n.to_string(),
        };
        let what =
            if rule.description.is_empty() { String::new() } else { format!("{}: ", rule.description) };
        return format!("{what}{wanted} must match `{}`, found {found}", rule.pattern);
    }
    match (line, rule.description.as_str()) {
        (Some(line), "") => line.to_owned(),
        (Some(line), description) => format!("{description}: {line}"),
        // It holds because too few lines match.
        (None, "") => format!("no line matches `{}`", rule.pattern),
        (None, description) => format!("{description}: no line matches `{}`", rule.pattern),
    }
}
