//! Reads TAP, versions 12 to 14, a line at a time.
//!
//! Top-level test points, plan and bail-out are understood; indented subtests are skipped, because
//! the test point after them sums them up (a bail-out counts at any depth). Diagnostics in YAML are
//! searched for their `message`. What is not TAP is passed over, as the protocol asks.

use std::collections::BTreeSet;

/// One test point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its number, as written or counted.
    pub number: u64,
    /// `ok`, without regard to its directive.
    pub ok: bool,
    /// Its description, escapes resolved; may be empty.
    pub description: String,
    /// What its directive says.
    pub directive: Directive,
}

/// What stands after `#` in a test point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Nothing.
    None,
    /// It was not run, and why.
    Skip(String),
    /// It is expected to fail, and why.
    Todo(String),
}

/// What a line said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A test point.
    Point(Point),
    /// The `message` of the diagnostics of the test point before.
    Message(String),
    /// Nothing that counts by itself.
    Nothing,
}

/// The plan, and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    count: u64,
    skip_all: Option<String>,
}

/// Everything said so far.
#[derive(Clone, Debug, Default)]
pub struct TapReader {
    plan: Option<Plan>,
    bail_out: Option<String>,
    seen: BTreeSet<u64>,
    last: u64,
    failed: Vec<u64>,
    /// Why the stream is broken: the first reason.
    broken: Option<String>,
    yaml: Yaml,
}

/// Where a YAML block stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Yaml {
    /// The line before was a test point, so one may begin.
    May,
    /// Within one that is indented this much.
    Within(usize),
    #[default]
    No,
}

/// What all of a program's TAP comes to, apart from how its process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sum {
    /// All points that count are good.
    Pass,
    /// The plan says that nothing was to be run, and why.
    SkipAll(String),
    /// It asked that everything stop.
    BailOut(String),
    /// Points failed, or the stream is not whole; in words.
    Fail(String),
}

impl TapReader {
    /// Takes in one line, with or without its end.
    pub fn line(&mut self, line: &str) -> Heard {
        let line = line.trim_end_matches(['\n', '\r']);
        let indent = line.len() - line.trim_start_matches(' ').len();
        let body = &line[indent..];
        if let Yaml::Within(depth) = self.yaml
            && (indent >= depth || body.is_empty())
        {
            if indent == depth && body.trim_end() == "..." {
                self.yaml = Yaml::No;
            }
            return match body.strip_prefix("message:") {
                Some(message) if indent == depth => Heard::Message(unquote(message.trim()).to_owned()),
                _ => Heard::Nothing,
            };
        }
        if self.yaml == Yaml::May && indent > 0 && body.trim_end() == "---" {
            self.yaml = Yaml::Within(indent);
            return Heard::Nothing;
        }
        self.yaml = Yaml::No;
        if let Some(reason) = body.strip_prefix("Bail out!") {
            self.bail_out.get_or_insert_with(|| reason.trim().to_owned());
            return Heard::Nothing;
        }
        if indent > 0 {
            return Heard::Nothing;
        }
        if let Some(plan) = parse_plan(body) {
            if self.plan.is_some() {
                self.breaks("there are two plans".to_owned());
            } else {
                self.plan = Some(plan);
            }
            return Heard::Nothing;
        }
        match parse_point(body, self.last.saturating_add(1)) {
            Some(point) => {
                self.take(&point);
                self.yaml = Yaml::May;
                Heard::Point(point)
            }
            None => Heard::Nothing,
        }
    }

    fn take(&mut self, point: &Point) {
        self.last = point.number;
        if !self.seen.insert(point.number) {
            self.breaks(format!("test {} was reported twice", point.number));
        }
        if !point.ok && !matches!(point.directive, Directive::Todo(_)) {
            self.failed.push(point.number);
        }
    }

    fn breaks(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    /// What it all comes to.
    pub fn sum(&self) -> Sum {
        if let Some(reason) = &self.bail_out {
            return Sum::BailOut(reason.clone());
        }
        let ran = self.seen.len() as u64;
        let failed = |more: &str| {
            let first: Vec<String> = self.failed.iter().take(5).map(u64::to_string).collect();
            let dots = if self.failed.len() > 5 { ", …" } else { "" };
            let tests = if self.failed.len() == 1 { "test" } else { "tests" };
            Sum::Fail(format!("{tests} {}{dots} of {ran} failed{more}", first.join(", ")))
        };
        let whole = match (&self.broken, &self.plan) {
            (Some(why), _) => Some(why.clone()),
            (None, None) if ran == 0 => Some("it printed no TAP".to_owned()),
            (None, None) => Some("there is no plan, so it may have ended early".to_owned()),
            (None, Some(plan)) if plan.count != ran => {
                Some(format!("it planned {} and ran {ran}", tests(plan.count)))
            }
            (None, Some(plan)) => {
                let beyond = self.seen.iter().find(|n| **n == 0 || **n > plan.count);
                beyond.map(|n| format!("test {n} is outside the plan 1..{}", plan.count))
            }
        };
        match (self.failed.is_empty(), whole, &self.plan) {
            (false, Some(why), _) => failed(&format!("; {why}")),
            (false, None, _) => failed(""),
            (true, Some(why), _) => Sum::Fail(why),
            (true, None, Some(Plan { count: 0, skip_all })) => {
                Sum::SkipAll(skip_all.clone().unwrap_or_default())
            }
            (true, None, _) => Sum::Pass,
        }
    }
}

fn tests(n: u64) -> String {
    if n == 1 { "1 test".to_owned() } else { format!("{n} tests") }
}

/// `1..N`, perhaps `# SKIP reason`.
fn parse_plan(line: &str) -> Option<Plan> {
    let rest = line.strip_prefix("1..")?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count = rest[..digits].parse().ok()?;
    let rest = rest[digits..].trim();
    if rest.is_empty() {
        return Some(Plan { count, skip_all: None });
    }
    let comment = rest.strip_prefix('#')?.trim();
    let skip_all = strip_word(comment, "skip").map(|(_, reason)| reason.to_owned());
    Some(Plan {
        count,
        skip_all: skip_all.filter(|_| count == 0).or((count == 0).then(|| comment.to_owned())),
    })
}

/// `ok`, `not ok`, then number, description and directive, all optional.
fn parse_point(line: &str, next: u64) -> Option<Point> {
    let (ok, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let rest = rest.trim();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let ends_there = rest[digits..].chars().next().is_none_or(char::is_whitespace);
    let (number, rest) = match rest[..digits].parse() {
        Ok(number) if ends_there => (number, rest[digits..].trim_start()),
        // No plan has as many.
        Err(_) if ends_there && digits > 0 => (u64::MAX, rest[digits..].trim_start()),
        _ => (next, rest),
    };
    let (text, directive) = split_directive(rest);
    let text = text.trim_end();
    let text = text.strip_prefix("- ").unwrap_or(if text == "-" { "" } else { text });
    Some(Point { number, ok, description: unescape(text), directive })
}

/// Takes the directive off: the first `#` that no backslash escapes and that `SKIP` or `TODO` follow.
fn split_directive(text: &str) -> (&str, Directive) {
    for (at, _) in text.match_indices('#') {
        let backslashes = text[..at].len() - text[..at].trim_end_matches('\\').len();
        let own_word = text[..at].is_empty() || text[..at].ends_with([' ', '\t']);
        if backslashes % 2 == 1 || !own_word {
            continue;
        }
        let after = text[at + 1..].trim_start();
        if let Some((_, reason)) = strip_word(after, "skip") {
            return (&text[..at], Directive::Skip(reason.to_owned()));
        }
        if let Some((_, reason)) = strip_word(after, "todo") {
            return (&text[..at], Directive::Todo(reason.to_owned()));
        }
    }
    (text, Directive::None)
}

/// `word` in any case, with what may follow it in one word (`SKIPPED`, `SKIP:`), and the rest.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let head = text.get(..word.len()).filter(|h| h.eq_ignore_ascii_case(word))?;
    let rest = &text[head.len()..];
    // `skip` may be the beginning of `skipped`, but `todont` is no directive.
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let tail = rest[..end].trim_end_matches(':');
    let fits = tail.is_empty() || (word == "skip" && tail.eq_ignore_ascii_case("ped"));
    fits.then(|| (&text[..head.len() + end], rest[end..].trim()))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(next @ ('#' | '\\'))) => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

fn unquote(text: &str) -> &str {
    let quoted = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    quoted('\'').or_else(|| quoted('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests;
