//! Lists in pages. A page begins behind a key, not at a count, so that what is added or ends in between
//! neither hides anything nor shows it twice.

use super::answer::parse_run;
use muster_api::PREFIX;
use muster_core::id::RunId;
use muster_formats::report::words;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt::Display;

/// Entries of a page where nothing is said.
const LIMIT: u32 = 50;
/// Most entries of a page.
pub(super) const LIMIT_MAX: u32 = 1_000;

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(super) struct Page<T> {
    /// The entries.
    list: Vec<T>,
    /// Where the next page is; `null` where this is the last one.
    next: Option<String>,
}

impl<T> Page<T> {
    /// A page of a list at this path (with the parameters that choose what it lists) that goes on behind
    /// this key, if it does.
    pub(super) fn new(list: Vec<T>, path: &str, limit: Limit, after: Option<impl Display>) -> Self {
        let joint = if path.contains('?') { '&' } else { '?' };
        let next = after.map(|after| format!("{PREFIX}{path}{joint}limit={}&after={after}", limit.0));
        Self { list, next }
    }

    /// The first `limit` of these that have been read with one to spare, if there are as many.
    pub(super) fn cut<K: Display, F>(
        mut list: Vec<F>,
        path: &str,
        limit: Limit,
        key: impl Fn(&F) -> K,
        show: impl Fn(F) -> T,
    ) -> Self {
        let more = list.len() > limit.get();
        list.truncate(limit.get());
        let after = list.last().filter(|_| more).map(key);
        Self::new(list.into_iter().map(show).collect(), path, limit, after)
    }
}

/// How many entries a page has at most: 1 to [`LIMIT_MAX`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(u32);

impl Limit {
    pub(super) fn get(self) -> usize {
        self.0 as usize
    }

    /// With one to spare, to see whether there are more.
    pub(super) fn and_one(self) -> u32 {
        self.0 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u32::deserialize(deserializer)?;
        match limit {
            1..=LIMIT_MAX => Ok(Self(limit)),
            _ => Err(D::Error::custom(format!("a page has 1 to {LIMIT_MAX} entries, not {limit}"))),
        }
    }
}

/// A run as the key of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunKey(pub(super) RunId);

impl<'de> Deserialize<'de> for RunKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let run = parse_run(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a UUID")))?;
        Ok(Self(run))
    }
}

impl Display for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&words::run_uuid(self.0))
    }
}

/// A text as part of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    out
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).expect("four bits are a digit").to_ascii_uppercase()
}
