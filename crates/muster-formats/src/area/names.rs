//! Interpolation: `${name}` in texts.
//!
//! A name is looked for among the item's variables (which only a shell line may name: they are known when
//! the item runs, so they are left to the shell), then the test's own environment, `[vars]`, `[env]`, the
//! target's keys. `${env:NAME}` is the environment Muster itself was started in, `${env:NAME:-text}` with a
//! text for when it is not set there. `$${` is a literal `${`.
//!
//! A value that names itself means the value it takes the place of (`PATH = "bin:${PATH}"` in a test).

use super::decode::printable;
use super::error::Complaints;
use super::source::{At, Pos, Sources};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Values within values within values.
// Limit: resolving recurses.
const DEPTH_MAX: usize = 64;

/// Longest text an interpolation may come to.
// Limit: ten values that each name the one before ten times would come to gigabytes.
const BYTES_MAX: usize = 64 << 10;

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A value: everything in it must be known now.
    Value,
    /// A shell line: what is known when the item runs is left to the shell.
    Shell,
}

/// Where a name is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    Local,
    Vars,
    Env,
}

/// What a name means; later layers are later in the list.
#[derive(Debug, Default)]
struct Entry {
    raw: Vec<At<String>>,
    /// Once resolved; the inner `None` after a complaint.
    value: Option<Option<Arc<str>>>,
}

/// Names in the order in which they were first written.
#[derive(Debug, Default)]
struct Names {
    order: Vec<String>,
    entries: HashMap<String, Entry>,
}

/// Everything a text may name.
#[derive(Debug)]
pub(super) struct Interpolation<'a> {
    sources: &'a Sources,
    process_env: &'a BTreeMap<String, String>,
    area: &'a str,
    target: &'a [(String, String)],
    vars: Names,
    env: Names,
    local: Names,
    items: Vec<String>,
    /// What is being resolved, outermost first.
    under_way: Vec<(Space, String, usize)>,
}

/// What a name turned out to be.
enum Found {
    Text(Arc<str>),
    Shell(String),
    Nothing,
}

impl<'a> Interpolation<'a> {
    pub(super) fn new(
        sources: &'a Sources,
        process_env: &'a BTreeMap<String, String>,
        area: &'a str,
        target: &'a [(String, String)],
    ) -> Self {
        let (vars, env, local) = Default::default();
        Self {
            sources,
            process_env,
            area,
            target,
            vars,
            env,
            local,
            items: Vec::new(),
            under_way: Vec::new(),
        }
    }

    /// Adds a value over those of the same name that are already there.
    pub(super) fn define(&mut self, space: Space, name: &str, raw: At<String>) {
        let names = self.names_mut(space);
        if !names.entries.contains_key(name) {
            names.order.push(name.to_owned());
        }
        names.entries.entry(name.to_owned()).or_default().raw.push(raw);
    }

    /// Begins a test: no environment of its own, and these item variables.
    pub(super) fn begin_test(&mut self, items: Vec<String>) {
        self.local = Names::default();
        self.items = items;
    }

    /// Resolves every value of a space, in the order written.
    pub(super) fn resolve_all(&mut self, space: Space, complaints: &mut Complaints) -> Vec<(String, String)> {
        let order = std::mem::take(&mut self.names_mut(space).order);
        let mut values = Vec::with_capacity(order.len());
        for name in &order {
            let value = self.top(space, name, complaints);
            values.extend(value.map(|v| (name.clone(), v.to_string())));
        }
        self.names_mut(space).order = order;
        values
    }

    /// Where the value that wins was written.
    pub(super) fn origin(&self, space: Space, name: &str) -> Option<Pos> {
        self.names(space).entries.get(name)?.raw.last().map(|raw| raw.pos)
    }

    /// Replaces what a text names. After a complaint the rest of the text is kept as it is.
    pub(super) fn expand(&mut self, text: &At<String>, used: Use, complaints: &mut Complaints) -> String {
        self.try_expand(text, used, complaints).unwrap_or_else(|| text.value.clone())
    }

    fn names(&self, space: Space) -> &Names {
        match space {
            Space::Local => &self.local,
            Space::Vars => &self.vars,
            Space::Env => &self.env,
        }
    }

    fn names_mut(&mut self, space: Space) -> &mut Names {
        match space {
            Space::Local => &mut self.local,
            Space::Vars => &mut self.vars,
            Space::Env => &mut self.env,
        }
    }

    fn try_expand(&mut self, text: &At<String>, used: Use, complaints: &mut Complaints) -> Option<String> {
        if !text.contains("${") {
            return Some(text.value.clone());
        }
        let mut out = String::with_capacity(text.len() + 16);
        let mut rest = text.as_str();
        let mut number = 0;
        let mut good = true;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                number += 1;
                continue;
            }
            out.push_str(before);
            let Some(end) = after.find('}') else {
                let pos = self.place(text, number, rest.len() - at);
                let hint = "close it with `}`, or write `$${` for a literal `${`";
                complaints.error(pos, "`${` without `}`").hint(hint);
                return None;
            };
            let name = &after[..end];
            let asked = Asked { text, number, name, used };
            match self.look_up(asked, complaints) {
                Found::Text(value) => out.push_str(&value),
                Found::Shell(left) => out.push_str(&left),
                Found::Nothing => good = false,
            }
            if out.len() > BYTES_MAX {
                complaints.error(text.pos, format!("this comes to more than {} KiB", BYTES_MAX >> 10));
                return None;
            }
            rest = &after[end + 1..];
            number += 1;
        }
        out.push_str(rest);
        good.then_some(out)
    }

    /// The place of the `number`th `${` of a text, in the file.
    fn place(&self, text: &At<String>, number: usize, len: usize) -> Pos {
        let written = self.sources.slice(text.pos);
        let starts = written.match_indices("${").nth(number);
        starts.map_or(text.pos, |(at, _)| text.pos.within(at, at + len))
    }

    fn look_up(&mut self, asked: Asked<'_>, complaints: &mut Complaints) -> Found {
        let name = asked.name;
        if let Some(name) = name.strip_prefix("env:") {
            let (name, default) = name.split_once(":-").map_or((name, None), |(n, d)| (n, Some(d)));
            if let Some(value) = self.process_env.get(name).map(String::as_str).or(default) {
                return Found::Text(value.into());
            }
            let pos = asked.pos(self);
            let message = format!("`{}` is not set in the environment", printable(name));
            let hint = format!("`${{env:{}:-text}}` gives a text for that case", printable(name));
            complaints.error(pos, message).hint(hint);
            return Found::Nothing;
        }
        if !is_name(name) {
            if asked.used == Use::Shell {
                return Found::Shell(format!("${{{name}}}"));
            }
            let message = format!("`{}` is not a name", printable(name));
            complaints.error(asked.pos(self), message).hint("write `$${` for a literal `${`");
            return Found::Nothing;
        }
        if name == "item" || name.starts_with("MUSTER_") || self.items.iter().any(|i| i == name) {
            let name = if name == "item" { "MUSTER_ITEM" } else { name };
            if asked.used == Use::Shell {
                return Found::Shell(format!("${{{name}}}"));
            }
            let message = format!("`{name}` is known only when the item runs");
            let hint = format!("a shell line may say `${name}`: `run = \"… ${name}\"`");
            complaints.error(asked.pos(self), message).hint(hint);
            return Found::Nothing;
        }
        self.look_up_defined(asked, complaints)
    }

    fn look_up_defined(&mut self, asked: Asked<'_>, complaints: &mut Complaints) -> Found {
        let name = asked.name;
        // A value that names itself means the one below it.
        if let Some((space, itself, level)) = self.under_way.last().cloned()
            && itself == name
        {
            if level > 0 {
                return self.at_level(space, name, level - 1, asked, complaints);
            }
            for below in [Space::Vars, Space::Env] {
                if below > space && self.names(below).entries.contains_key(name) {
                    return self.at_top(below, name, asked, complaints);
                }
            }
            if let Some(value) = self.target_value(name) {
                return Found::Text(value);
            }
            let complaint = complaints.error(asked.pos(self), format!("`{name}` is defined by itself"));
            complaint.hint(format!("`${{env:{name}}}` is the value Muster was started with"));
            return Found::Nothing;
        }
        for space in [Space::Local, Space::Vars, Space::Env] {
            if self.names(space).entries.contains_key(name) {
                return self.at_top(space, name, asked, complaints);
            }
        }
        if let Some(value) = self.target_value(name) {
            return Found::Text(value);
        }
        let known =
            self.local.order.iter().chain(&self.vars.order).chain(&self.env.order).map(String::as_str);
        let known = known.chain(self.target.iter().map(|(k, _)| k.as_str())).chain(["area"]);
        let hint = complaints.nearest(name, known.chain(self.items.iter().map(String::as_str)));
        let hint = hint.or_else(|| match asked.used {
            Use::Shell => Some(format!("for the shell's own variable write `${name}` or `$${{{name}}}`")),
            Use::Value if self.process_env.contains_key(name) => {
                Some(format!("the environment Muster was started in is `${{env:{name}}}`"))
            }
            Use::Value => {
                Some("names come from `[vars]`, `[env]` and the target; `$${` is a literal `${`".into())
            }
        });
        complaints.error(asked.pos(self), format!("unknown name `{name}`")).maybe_hint(hint);
        Found::Nothing
    }

    fn target_value(&self, name: &str) -> Option<Arc<str>> {
        if name == "area" {
            return Some(self.area.into());
        }
        self.target.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str().into())
    }

    fn at_top(&mut self, space: Space, name: &str, asked: Asked<'_>, complaints: &mut Complaints) -> Found {
        let top = self.names(space).entries.get(name).map_or(0, |e| e.raw.len().saturating_sub(1));
        self.at_level(space, name, top, asked, complaints)
    }

    fn at_level(
        &mut self,
        space: Space,
        name: &str,
        level: usize,
        asked: Asked<'_>,
        complaints: &mut Complaints,
    ) -> Found {
        let same = |(s, n, l): &(Space, String, usize)| *s == space && n == name && *l == level;
        if let Some(first) = self.under_way.iter().position(same) {
            let names = self.under_way[first..].iter().map(|(_, n, _)| n.as_str()).chain([name]);
            let cycle: Vec<_> = names.map(|n| format!("`{n}`")).collect();
            complaints
                .error(asked.pos(self), format!("values name each other in a circle: {}", cycle.join(" → ")));
            return Found::Nothing;
        }
        if self.under_way.len() >= DEPTH_MAX {
            complaints.error(asked.pos(self), "values name each other too deeply");
            return Found::Nothing;
        }
        self.resolve(space, name, level, complaints).map_or(Found::Nothing, Found::Text)
    }

    fn top(&mut self, space: Space, name: &str, complaints: &mut Complaints) -> Option<Arc<str>> {
        let level = self.names(space).entries.get(name)?.raw.len().checked_sub(1)?;
        self.resolve(space, name, level, complaints)
    }

    fn resolve(
        &mut self,
        space: Space,
        name: &str,
        level: usize,
        complaints: &mut Complaints,
    ) -> Option<Arc<str>> {
        let entry = self.names(space).entries.get(name)?;
        let is_top = level + 1 == entry.raw.len();
        if let (true, Some(value)) = (is_top, &entry.value) {
            return value.clone();
        }
        let raw = entry.raw.get(level)?.clone();
        self.under_way.push((space, name.to_owned(), level));
        let value: Option<Arc<str>> = self.try_expand(&raw, Use::Value, complaints).map(Into::into);
        self.under_way.pop();
        if let (true, Some(entry)) = (is_top, self.names_mut(space).entries.get_mut(name)) {
            entry.value = Some(value.clone());
        }
        value
    }
}

/// A name as it stands in a text.
#[derive(Clone, Copy)]
struct Asked<'t> {
    text: &'t At<String>,
    number: usize,
    name: &'t str,
    used: Use,
}

impl Asked<'_> {
    fn pos(self, names: &Interpolation<'_>) -> Pos {
        names.place(self.text, self.number, self.name.len() + 3)
    }
}

/// Letters, digits, `_`, `-` and `.`, not beginning with a digit.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.len() <= 200 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Letters, digits and `_`, not beginning with a digit: what every shell takes as a variable.
pub(super) fn is_variable(text: &str) -> bool {
    is_name(text) && !text.contains(['-', '.'])
}
