//! From the text of rule files to rules.

use super::Pattern;
use crate::megatest::sexpr::{self, Datum, Value};
use jiff::civil::Date;
use muster_core::definition::Tolerance;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The section that is the whole log.
pub const WHOLE_LOG: &str = "LogFileBody";

/// Most rules and triggers of a program.
// Limit: each costs memory for its pattern; a thousand is far more than anyone writes by hand.
const RULES_MAX: usize = 10_000;

/// What rule files say, in their order: the order of rules is their precedence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// What lines mean.
    pub rules: Vec<Rule>,
    /// What begins and ends sections.
    pub triggers: Vec<Trigger>,
    /// Parts of the log.
    pub sections: Vec<Section>,
    /// Commands for when something is first seen.
    pub hooks: Vec<Hook>,
    /// What is likely not meant as it is written.
    pub remarks: Vec<Problem>,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The rule file.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: u32,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something in a rule file that cannot be used, or is likely not meant so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{source_at}: {problem}")]
pub struct Problem {
    /// Where.
    pub source_at: Source,
    /// What.
    pub problem: String,
}

/// What some lines mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What is checked of the lines that match.
    pub check: Check,
    /// Inside or outside of its section.
    pub place: Place,
    /// The section's name.
    pub section: String,
    /// For people.
    pub description: String,
    /// A line that one of them finds something in is the rule's, unless an earlier rule has it.
    pub patterns: Vec<Pattern>,
    /// After this day the rule is none.
    pub expires: Option<Date>,
    /// A command for when it first has a line.
    pub hook: Option<String>,
    /// Where it was written.
    pub source: Source,
}

/// What a rule checks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    /// How many lines there are.
    Lines {
        /// What it means when they are not as many.
        kind: Kind,
        /// How they are compared.
        op: Op,
        /// With what.
        number: u64,
    },
    /// A number in each line. No line at all is not good.
    Value {
        /// What it should be.
        expected: f64,
        /// How far off it may be.
        tolerance: Tolerance,
        /// The group of the pattern that has it.
        group: usize,
    },
}

/// What it means when a rule about lines does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The log fails.
    Error,
    /// It passes with warnings.
    Warning,
    /// Something is missing that must be there: it fails.
    Required,
    /// Something is missing that should be there: it warns.
    RequiredWarn,
    /// Nothing: the rule takes its lines from those behind it.
    Ignore,
    /// Nothing: the line is worth seeing.
    Note,
    /// A person must look.
    Check,
    /// What comes after must not run.
    Abort,
    /// It does not count.
    Skip,
    /// The failure is known and accepted.
    Waive,
}

const KINDS: [(&str, Kind); 12] = [
    ("error", Kind::Error),
    ("warning", Kind::Warning),
    ("warn", Kind::Warning),
    ("required", Kind::Required),
    ("required-warn", Kind::RequiredWarn),
    ("ignore", Kind::Ignore),
    ("note", Kind::Note),
    ("check", Kind::Check),
    ("abort", Kind::Abort),
    ("skip", Kind::Skip),
    ("waive", Kind::Waive),
    ("waived", Kind::Waive),
];

impl Kind {
    /// As rule files write it.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// How a count is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its sign")]
pub enum Op {
    Equal,
    Less,
    More,
    AtMost,
    AtLeast,
}

const OPS: [(&str, Op); 5] =
    [("=", Op::Equal), ("<", Op::Less), (">", Op::More), ("<=", Op::AtMost), (">=", Op::AtLeast)];

impl Op {
    /// As rule files write it.
    pub fn word(self) -> &'static str {
        OPS.iter().find(|(_, op)| *op == self).map_or("", |(word, _)| word)
    }

    /// Whether a count is as a rule wants it.
    pub fn holds(self, count: u64, number: u64) -> bool {
        match self {
            Self::Equal => count == number,
            Self::Less => count < number,
            Self::More => count > number,
            Self::AtMost => count <= number,
            Self::AtLeast => count >= number,
        }
    }
}

/// Where a rule's lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its section.
    In,
    /// Outside of it.
    NotIn,
}

/// A line that begins or ends sections.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// What its line looks like.
    pub patterns: Vec<Pattern>,
    /// That there is no such line is an error.
    pub required: bool,
    /// Where it was written.
    pub source: Source,
}

/// A part of the log, from a trigger to a trigger, both with their lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// The name of the trigger that begins it.
    pub start: String,
    /// The name of the trigger that ends it.
    pub end: String,
    /// Where it was written.
    pub source: Source,
}

/// A command for when something is first seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// When.
    pub event: HookEvent,
    /// What to run.
    pub command: String,
    /// Where it was written.
    pub source: Source,
}

/// When a hook is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// The first line of an error rule.
    FirstError,
    /// The first line of a warning rule.
    FirstWarning,
    /// A value.
    Value,
}

impl Rules {
    /// Reads rule files, named for messages; a file of waivers goes first.
    ///
    /// # Errors
    /// Everything in them that cannot be used.
    pub fn read(files: &[(&str, &str)]) -> Result<Self, Vec<Problem>> {
        let mut rules = Self::default();
        let mut problems = Vec::new();
        for (file, text) in files {
            let file: Arc<str> = (*file).into();
            match sexpr::read(text) {
                Ok(data) => {
                    for datum in &data {
                        let source = Source { file: Arc::clone(&file), line: datum.line };
                        if let Err(problem) = rules.form(datum, &source) {
                            problems.push(Problem { source_at: source, problem });
                        }
                    }
                }
                Err(e) => {
                    problems.push(Problem { source_at: Source { file, line: e.line }, problem: e.problem });
                }
            }
        }
        let patterns = rules
            .rules
            .iter()
            .map(|r| r.patterns.len())
            .chain(rules.triggers.iter().map(|t| t.patterns.len()));
        if patterns.sum::<usize>() > RULES_MAX
            && let Some((file, _)) = files.first()
        {
            let source_at = Source { file: (*file).into(), line: 1 };
            problems
                .push(Problem { source_at, problem: format!("there are more than {RULES_MAX} patterns") });
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        rules.look_for_mistakes();
        Ok(rules)
    }

    fn form(&mut self, datum: &Datum, source: &Source) -> Result<(), String> {
        let Value::List(list) = &datum.value else {
            return Err(
                "this is no rule: rules are lists, such as `(expect:error in \"LogFileBody\" = 0 …)`"
                    .to_owned(),
            );
        };
        let Some(Datum { value: Value::Symbol(head), .. }) = list.first() else {
            return Err("this list is no rule".to_owned());
        };
        let mut args = Args { rest: list.get(1..).unwrap_or_default() };
        let source = source.clone();
        match head.as_str() {
            "section" => {
                let (name, start, end) =
                    (args.text("a name")?, args.text("a trigger")?, args.text("a trigger")?);
                args.end()?;
                self.sections.push(Section { name, start, end, source });
            }
            "trigger" | "trigger:non-required" => {
                let (name, patterns) = (args.text("a name")?, args.patterns()?);
                let mut required = head == "trigger";
                for (keyword, value) in args.keywords()? {
                    match (keyword, &value.value) {
                        ("required" | "required?", Value::Bool(is)) => required = *is,
                        ("class", _) => {}
                        _ => return Err(format!("a trigger has no `{keyword}:` of this sort")),
                    }
                }
                self.triggers.push(Trigger { name, patterns, required, source });
            }
            "hook:first-error" | "hook:first-warning" | "hook:value" => {
                let event = match head.as_str() {
                    "hook:first-error" => HookEvent::FirstError,
                    "hook:first-warning" => HookEvent::FirstWarning,
                    _ => HookEvent::Value,
                };
                let command = args.text("a command")?;
                args.end()?;
                self.hooks.push(Hook { event, command, source });
            }
            _ => {
                let rule = head.strip_prefix("expect:").ok_or_else(|| {
                    format!("`{head}` is neither a rule nor a trigger, section or hook, and Scheme is not evaluated here")
                })?;
                self.rules.push(expect(rule, args, source)?);
            }
        }
        Ok(())
    }

    /// Remarks on what is likely not meant.
    fn look_for_mistakes(&mut self) {
        let mut remarks = Vec::new();
        let mut remark = |source: &Source, problem: String| {
            remarks.push(Problem { source_at: source.clone(), problem });
        };
        for section in &self.sections {
            for trigger in [&section.start, &section.end] {
                if !self.triggers.iter().any(|t| t.name == *trigger) {
                    remark(&section.source, format!("there is no trigger `{trigger}`"));
                }
            }
        }
        for rule in &self.rules {
            if rule.section != WHOLE_LOG && !self.sections.iter().any(|s| s.name == rule.section) {
                remark(&rule.source, format!("there is no section `{}`", rule.section));
            } else if rule.section == WHOLE_LOG && rule.place == Place::NotIn {
                remark(&rule.source, format!("nothing of the log is outside of `{WHOLE_LOG}`"));
            }
            if let Check::Lines { kind, op, number } = rule.check {
                let wants_none_or_few = op.holds(0, number);
                match kind {
                    Kind::Error | Kind::Warning | Kind::Check | Kind::Abort | Kind::Skip | Kind::Waive
                        if !wants_none_or_few =>
                    {
                        let word = kind.word();
                        remark(
                            &rule.source,
                            format!(
                                "`{} {number}` wants such lines: {word} is what comes of it where there are none",
                                op.word()
                            ),
                        );
                    }
                    Kind::Required | Kind::RequiredWarn if wants_none_or_few => {
                        remark(
                            &rule.source,
                            format!("`{} {number}` holds also where nothing matches", op.word()),
                        );
                    }
                    _ => {}
                }
            }
        }
        self.remarks = remarks;
    }
}

/// Behind `expect:`.
fn expect(what: &str, mut args: Args<'_>, source: Source) -> Result<Rule, String> {
    let kind = KINDS.iter().find(|(word, _)| *word == what).map(|(_, kind)| *kind);
    if kind.is_none() && what != "value" {
        let words: Vec<&str> = KINDS.iter().map(|(word, _)| *word).collect();
        return Err(format!("there is no `expect:{what}`, but {} and value", words.join(", ")));
    }
    let place = match args.symbol("`in` or `not-in`")? {
        "in" => Place::In,
        "not-in" => Place::NotIn,
        other => return Err(format!("`{other}` is neither `in` nor `not-in`")),
    };
    let section = args.text("a section")?;
    let mut check = match kind {
        Some(kind) => {
            let sign = args.symbol("a comparison")?;
            let op = OPS.iter().find(|(word, _)| *word == sign).map(|(_, op)| *op);
            let op = op.ok_or_else(|| format!("`{sign}` is none of `=`, `<`, `>`, `<=`, `>=`"))?;
            let number = args.number("a number of lines")?;
            if number < 0.0 || number.fract() != 0.0 || number > 1e15 {
                return Err(format!("{number} is no number of lines"));
            }
            Check::Lines { kind, op, number: number as u64 }
        }
        None => Check::Value {
            expected: args.number("the expected value")?,
            tolerance: args.tolerance()?,
            group: 1,
        },
    };
    let description = args.text("a description")?;
    let patterns = args.patterns()?;
    let (mut expires, mut hook) = (None, None);
    for (keyword, value) in args.keywords()? {
        match (keyword, &value.value, &mut check) {
            ("expires", Value::Text(text), _) => {
                let date = Date::strptime("%m/%d/%Y", text.trim());
                expires = Some(date.map_err(|_| format!("`{text}` is no date such as \"12/31/2026\""))?);
            }
            ("expires" | "hook", Value::Bool(false), _) => {}
            ("hook", Value::Text(command), _) => hook = Some(command.clone()),
            ("match", Value::Number(n, _), Check::Value { group, .. })
                if *n >= 0.0 && n.fract() == 0.0 && *n < 1e3 =>
            {
                *group = *n as usize;
            }
            ("class", _, _) => {}
            _ => return Err(format!("expect:{what} has no `{keyword}:` of this sort")),
        }
    }
    if let Check::Value { group, .. } = check
        && let Some(pattern) = patterns.iter().find(|p| p.groups() < group)
    {
        return Err(format!("`{}` has no group {group} to take the value from", pattern.written()));
    }
    Ok(Rule { check, place, section, description, patterns, expires, hook, source })
}

/// What follows the name of a form.
struct Args<'a> {
    rest: &'a [Datum],
}

impl<'a> Args<'a> {
    fn next(&mut self, what: &str) -> Result<&'a Value, String> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| format!("{what} is missing"))?;
        self.rest = rest;
        Ok(&first.value)
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        joined(self.next(what)?).ok_or_else(|| format!("{what} in quotes is missing here"))
    }

    fn symbol(&mut self, what: &str) -> Result<&'a str, String> {
        let value = self.next(what)?;
        // `'in` is the same to logpro.
        let value = if let Value::Quoted(quoted) = value { &quoted.value } else { value };
        match value {
            Value::Symbol(symbol) => Ok(symbol),
            _ => Err(format!("{what} is missing here")),
        }
    }

    fn number(&mut self, what: &str) -> Result<f64, String> {
        match self.next(what)? {
            Value::Number(n, _) => Ok(*n),
            _ => Err(format!("{what} is missing here")),
        }
    }

    fn tolerance(&mut self) -> Result<Tolerance, String> {
        let what = "a tolerance: a number from 0, or `<`, `<=`, `>`, `>=`";
        match self.next(what)? {
            Value::Number(n, _) if *n >= 0.0 => Ok(Tolerance::Within(*n)),
            Value::Symbol(sign) if sign == "=" => Ok(Tolerance::Within(0.0)),
            Value::Symbol(sign) => Tolerance::parse(sign).ok_or_else(|| format!("`{sign}` is not {what}")),
            _ => Err(format!("{what} is missing here")),
        }
    }

    /// A pattern, or a list of them.
    fn patterns(&mut self) -> Result<Vec<Pattern>, String> {
        let what = "a regular expression";
        let value = self.next(what)?;
        if let Value::List(list) = value
            && let Some((Datum { value: Value::Symbol(list_of), .. }, all)) = list.split_first()
            && list_of == "list"
        {
            let patterns: Result<Vec<Pattern>, String> =
                all.iter().map(|datum| pattern(&datum.value)).collect();
            return patterns
                .and_then(|p| if p.is_empty() { Err(format!("{what} is missing")) } else { Ok(p) });
        }
        Ok(vec![pattern(value)?])
    }

    /// What is left: `name: value` and so on.
    fn keywords(&mut self) -> Result<Vec<(&'a str, &'a Datum)>, String> {
        let mut pairs = Vec::new();
        while let Some((first, rest)) = self.rest.split_first() {
            let Value::Keyword(name) = &first.value else {
                return Err("there is more than belongs to this".to_owned());
            };
            let (value, rest) = rest.split_first().ok_or_else(|| format!("`{name}:` has no value"))?;
            pairs.push((name.as_str(), value));
            self.rest = rest;
        }
        Ok(pairs)
    }

    fn end(&self) -> Result<(), String> {
        if self.rest.is_empty() { Ok(()) } else { Err("there is more than belongs to this".to_owned()) }
    }
}

/// A text, or several put together by `conc` or `string-append`.
fn joined(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::List(list) => {
            let (head, parts) = list.split_first()?;
            if !matches!(&head.value, Value::Symbol(s) if s == "conc" || s == "string-append") {
                return None;
            }
            parts
                .iter()
                .map(|part| match &part.value {
                    Value::Number(_, written) => Some(written.clone()),
                    other => joined(other),
                })
                .collect()
        }
        _ => None,
    }
}

/// `#/…/`, a text, `(regexp "…")`.
fn pattern(value: &Value) -> Result<Pattern, String> {
    let of = |source: &str, flags: &str| {
        Pattern::new(source, flags)
            .map_err(|why| format!("the regular expression `{source}` cannot be used: {why}"))
    };
    match value {
        Value::Regex { source, flags } => of(source, flags),
        Value::List(list) if matches!(list.first(), Some(Datum { value: Value::Symbol(s), .. }) if s == "regexp") =>
        {
            let source = list.get(1).and_then(|d| joined(&d.value));
            let flags = match list.get(2).map(|d| &d.value) {
                None | Some(Value::Bool(false)) => "",
                Some(Value::Bool(true)) => "i",
                Some(_) => return Err("`regexp` takes a text, and `#t` for any case".to_owned()),
            };
            of(&source.ok_or("`regexp` wants a text")?, flags)
        }
        other => match joined(other) {
            Some(source) => of(&source, ""),
            None => Err("a regular expression such as `#/error/i` is missing here".to_owned()),
        },
    }
}
