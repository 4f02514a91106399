//! Two runs beside each other: what newly fails, is mended, still fails, is new, gone, changed, slower or faster.
//!
//! ```text
//! before ─┐
//!         ├─► Comparison ─► terminal, JSON, [page], [message]
//! after  ─┤
//! earlier ┘ durations of earlier runs, asked for where two differ
//! ```
//!
//! Nothing is fetched or sent here.

mod mail;
mod pace;
mod page;

pub use mail::{BadAddress, Letter, address, message};
pub use pace::{FACTOR, NOISE, SAMPLES_MIN, Usual};
pub use page::page;

use crate::report::words;
use muster_core::time::micros;
use muster_core::view::{ItemView, RunView};
use serde::Serialize;
use serde::ser::Serializer;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Durations of good attempts in earlier runs, by item path.
pub type Earlier = HashMap<String, Vec<Duration>>;

/// What became of an item, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is its title")]
pub enum Kind {
    NewlyFailing,
    StillFailing,
    Fixed,
    NewAndFailing,
    NotEnded,
    New,
    Gone,
    Changed,
    Slower,
    Faster,
}

impl Kind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::NewlyFailing,
        Self::StillFailing,
        Self::Fixed,
        Self::NewAndFailing,
        Self::NotEnded,
        Self::New,
        Self::Gone,
        Self::Changed,
        Self::Slower,
        Self::Faster,
    ];

    /// Whether it keeps the second run from being as good as the first. What has not ended might be
    /// anything, so it does.
    pub fn is_worse(self) -> bool {
        matches!(self, Self::NewlyFailing | Self::NewAndFailing | Self::NotEnded)
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::NewlyFailing => "newly failing",
            Self::StillFailing => "still failing",
            Self::Fixed => "fixed",
            Self::NewAndFailing => "new and failing",
            Self::NotEnded => "not ended",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Slower => "slower",
            Self::Faster => "faster",
        }
    }

    /// What Megatest's own report calls it.
    pub fn megatest_word(self) -> &'static str {
        match self {
            Self::NewlyFailing | Self::NotEnded => "WORSE",
            Self::StillFailing => "BOTH-BAD",
            Self::Fixed => "BETTER",
            Self::NewAndFailing | Self::New => "NOT-IN-SRC",
            Self::Gone => "NOT-IN-DEST",
            Self::Changed | Self::Slower | Self::Faster => "CLEAN",
        }
    }
}

/// An item that is not as it was.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// In which way.
    pub kind: Kind,
    /// Its test.
    pub test: &'a str,
    /// Its path; empty where the test has no items.
    pub item: &'a str,
    /// What it was.
    pub before: Option<&'a ItemView>,
    /// What it is.
    pub after: Option<&'a ItemView>,
    /// How long it usually takes, where that decided.
    pub usual: Option<Usual>,
}

/// How long an item's last attempt took.
pub fn took(item: &ItemView) -> Option<Duration> {
    item.last().map(|a| a.result.duration)
}

/// Two runs, compared.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The run before.
    pub before: &'a RunView,
    /// The run after.
    pub after: &'a RunView,
    /// What is not as it was, by kind, then by name.
    pub differences: Vec<Difference<'a>>,
    /// Items that are as they were.
    pub same: usize,
}

impl<'a> Comparison<'a> {
    /// Compares two runs with all their items.
    ///
    /// With a `factor`, an item is slower or faster if its time changed by it. Without, it is judged by what it
    /// took in earlier runs: `earlier` is asked, at most once for a test, for the tests of which an item's time
    /// changed by more than [`NOISE`]; of an item of which it knows less than [`SAMPLES_MIN`] times, [`FACTOR`]
    /// decides.
    pub fn new(
        before: &'a RunView,
        after: &'a RunView,
        factor: Option<f64>,
        mut earlier: impl FnMut(&str) -> Earlier,
    ) -> Self {
        let (old, new) = (by_name(before), by_name(after));
        let mut names: Vec<_> = old.keys().chain(new.keys()).copied().collect();
        names.sort_unstable();
        names.dedup();
        let mut known: Option<(&str, Earlier)> = None;
        let mut all: Vec<Difference<'a>> = Vec::new();
        for (test, item) in names {
            let (was, is) = (old.get(&(test, item)).copied(), new.get(&(test, item)).copied());
            let mut usual = None;
            let kind = by_verdict(was, is).or_else(|| {
                let (was, is) = (took(was?)?, took(is?)?);
                if was.abs_diff(is) <= NOISE {
                    return None;
                }
                if factor.is_none() && known.as_ref().is_none_or(|(of, _)| *of != test) {
                    known = Some((test, earlier(test)));
                }
                let times = known.as_ref().and_then(|(_, e)| e.get(item)).filter(|_| factor.is_none());
                usual = times.and_then(|times| Usual::of(times));
                pace::kind(was, is, factor.unwrap_or(FACTOR), usual)
            });
            if let Some(kind) = kind {
                all.push(Difference { kind, test, item, before: was, after: is, usual });
            }
        }
        all.sort_by_key(|d| d.kind);
        let same = new.len() - all.iter().filter(|d| d.after.is_some()).count();
        Self { before, after, differences: all, same }
    }

    /// Whether the second run is not as good as the first.
    pub fn is_worse(&self) -> bool {
        self.differences.iter().any(|d| d.kind.is_worse())
    }

    /// How many of each kind there are, without those of which there are none.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for difference in &self.differences {
            *counts.entry(difference.kind).or_default() += 1;
        }
        counts
    }

    /// In one line: `2 newly failing, 1 fixed`.
    pub fn headline(&self) -> String {
        let counts = self.counts();
        if counts.is_empty() {
            return "no difference".to_owned();
        }
        let parts: Vec<String> = counts.iter().map(|(kind, n)| format!("{n} {}", kind.title())).collect();
        parts.join(", ")
    }
}

/// Items with a verdict, by test and path.
fn by_name(run: &RunView) -> BTreeMap<(&str, &str), &ItemView> {
    run.all_items()
        .filter(|(_, i)| !i.discovery || i.verdict.is_some_and(|v| !v.is_ok()))
        .map(|(t, i)| ((t.name.as_str(), i.path.as_str()), i))
        .collect()
}

/// What the verdicts alone say.
fn by_verdict(was: Option<&ItemView>, is: Option<&ItemView>) -> Option<Kind> {
    let bad = |i: &ItemView| i.verdict.is_some_and(|v| !v.is_ok());
    match (was, is) {
        (None, None) => None,
        (None, Some(is)) => Some(if bad(is) { Kind::NewAndFailing } else { Kind::New }),
        (Some(_), None) => Some(Kind::Gone),
        // Its run was killed, stopped, or goes on: nobody knows.
        (Some(was), Some(is)) if is.verdict.is_none() => was.verdict.map(|_| Kind::NotEnded),
        (Some(was), Some(is)) => match (bad(was), bad(is)) {
            (false, true) => Some(Kind::NewlyFailing),
            (true, true) => Some(Kind::StillFailing),
            (true, false) => Some(Kind::Fixed),
            (false, false) => (was.verdict != is.verdict).then_some(Kind::Changed),
        },
    }
}

/// As JSON: both addresses, counts by kind, and each difference.
impl Serialize for Comparison<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            before: String,
            after: String,
            worse: bool,
            counts: BTreeMap<Kind, usize>,
            same: usize,
            differences: Vec<One<'a>>,
        }
        #[derive(Serialize)]
        struct One<'a> {
            kind: Kind,
            test: &'a str,
            item: &'a str,
            before: Option<&'a str>,
            after: Option<&'a str>,
            before_micros: Option<u64>,
            after_micros: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            usual: Option<Usual>,
        }
        let word = |i: Option<&ItemView>| i.map(|i| words::verdict_word(i.verdict));
        let time = |i: Option<&ItemView>| i.and_then(took).map(micros);
        let differences = self.differences.iter().map(|d| One {
            kind: d.kind,
            test: d.test,
            item: d.item,
            before: word(d.before),
            after: word(d.after),
            before_micros: time(d.before),
            after_micros: time(d.after),
            usual: d.usual,
        });
        Whole {
            before: self.before.address(),
            after: self.after.address(),
            worse: self.is_worse(),
            counts: self.counts(),
            same: self.same,
            differences: differences.collect(),
        }
        .serialize(to)
    }
}
