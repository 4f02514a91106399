//! Texts with names, and places in them.

use std::sync::Arc;

/// A place in one of the texts: eight bytes and a bit, because every value has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pos {
    /// Which text.
    pub(crate) source: u16,
    /// First byte.
    pub(crate) start: u32,
    /// One past the last byte.
    pub(crate) end: u32,
}

impl Pos {
    /// The place `from..to` within this one, counted from its start.
    pub(crate) fn within(self, from: usize, to: usize) -> Self {
        let at = |n: usize| self.start.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)).min(self.end);
        Self { source: self.source, start: at(from), end: at(to) }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where.
    pub(crate) pos: Pos,
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// The name of the text that holds the environment's variables.
pub(crate) const ENVIRONMENT: &str = "environment";

/// One text: a file, the environment, a flag.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What people know it by.
    pub(crate) name: Arc<str>,
    /// All of it.
    pub(crate) text: Arc<str>,
    /// Where each line begins.
    lines: Vec<u32>,
}

/// Every text that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text; `None` where there are too many.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Option<u16> {
        let number = u16::try_from(self.0.len()).ok()?;
        let breaks = memchr_lines(text.as_bytes());
        let lines = std::iter::once(0).chain(breaks).collect();
        self.0.push(Source { name: name.into(), text: text.into(), lines });
        Some(number)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The names of the texts from this one on, each once, in their order.
    pub(crate) fn names(&self, first: usize) -> impl Iterator<Item = &str> {
        let mut seen = std::collections::HashSet::new();
        self.0[first..].iter().map(|s| &*s.name).filter(move |name| seen.insert(*name))
    }

    /// The text with this number.
    pub(crate) fn get(&self, number: u16) -> &Source {
        &self.0[usize::from(number)]
    }

    /// The text at a place.
    pub(crate) fn slice(&self, pos: Pos) -> &str {
        self.get(pos.source).text.get(pos.start as usize..pos.end as usize).unwrap_or("")
    }

    /// `muster.toml:12`, a variable of the environment, or the bare name of a flag, which has no lines.
    pub(crate) fn origin(&self, pos: Pos) -> String {
        let source = self.get(pos.source);
        if source.name.starts_with("--") {
            return source.name.to_string();
        }
        let (line, _, text) = source.place(pos.start);
        match text.split_once('=') {
            // A line of the environment is a variable.
            Some((variable, _)) if &*source.name == ENVIRONMENT => variable.to_owned(),
            _ => format!("{}:{line}", source.name),
        }
    }
}

impl Source {
    fn line(&self, at: u32) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Line and column (1-based, in characters) of a byte, and the line's text.
    pub(crate) fn place(&self, at: u32) -> (usize, usize, &str) {
        let line = self.line(at).max(1);
        let start = self.lines[line - 1] as usize;
        let end = self.lines.get(line).map_or(self.text.len(), |next| *next as usize);
        let text = self.text.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r']);
        let upto = (at as usize).min(self.text.len());
        let column = self.text.get(start..upto).map_or(1, |before| before.chars().count() + 1);
        (line, column, text)
    }
}

fn memchr_lines(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let newlines = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
    newlines.filter_map(|(i, _)| u32::try_from(i + 1).ok())
}
