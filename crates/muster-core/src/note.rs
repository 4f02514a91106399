//! What people say of runs and of what they came to: that a run is locked, that a verdict is to be another, that
//! files were taken away; and comments. Each is kept with who said it, when and why, and nothing is said over:
//! what was so before stays in the record as evidence.

use crate::change::{Change, ItemRecord, RunPhase, RunSnapshot};
use crate::id::{ItemIx, RunId};
use crate::outcome::Verdict;
use crate::plan::PlannedItems;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// A person's word on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
    /// Why, or the comment itself; may be empty.
    pub text: String,
    /// What of it.
    pub what: NoteKind,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// Something that others should know.
    Comment {
        /// About this item; `None`: about the run.
        on: Option<Spot>,
    },
    /// From now on the run is not changed, run again or removed.
    Locked,
    /// It may be again.
    Unlocked,
    /// An item has another verdict than it came to.
    Set {
        /// The item.
        on: Spot,
        /// What it was; `None`: open.
        from: Option<Verdict>,
        /// What it is; `None`: it is to run again.
        to: Option<Verdict>,
        /// What whoever set it calls that (Megatest's `STATE/STATUS`); empty: as it is.
        #[serde(default)]
        word: String,
    },
    /// What the run is called as a whole, in words of the one who says so.
    Called {
        /// The word.
        word: String,
    },
    /// Files of it were taken away; the record stays.
    FilesRemoved {
        /// Those of this item; `None`: all.
        on: Option<Spot>,
    },
}

/// An item of a run, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spot {
    /// Its test.
    pub test: String,
    /// Its path; empty where the test has no items.
    pub item: String,
}

/// Who has locked a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// What was said of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who has locked it.
    pub locked: Option<Lock>,
    /// All of it, in order. Empty in listings.
    #[serde(default)]
    pub notes: Vec<Note>,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::address::item_name(&self.test, &self.item))
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "locked by {}", self.by),
            reason => write!(f, "locked by {}: {reason}", self.by),
        }
    }
}

impl Note {
    /// What it makes of the lock of its run; `None`: nothing.
    pub fn lock(&self) -> Option<Option<Lock>> {
        let Self { by, at, text, what } = self;
        match what {
            NoteKind::Locked => Some(Some(Lock { by: by.clone(), reason: text.clone(), since: *at })),
            NoteKind::Unlocked => Some(None),
            NoteKind::Comment { .. }
            | NoteKind::Set { .. }
            | NoteKind::Called { .. }
            | NoteKind::FilesRemoved { .. } => None,
        }
    }

    /// The item it is about, if it is about one.
    pub fn on(&self) -> Option<&Spot> {
        match &self.what {
            NoteKind::Comment { on } | NoteKind::FilesRemoved { on } => on.as_ref(),
            NoteKind::Set { on, .. } => Some(on),
            NoteKind::Locked | NoteKind::Unlocked | NoteKind::Called { .. } => None,
        }
    }
}

impl Said {
    /// What was said of one item, in order.
    pub fn of<'a>(&'a self, test: &'a str, item: &'a str) -> impl Iterator<Item = &'a Note> {
        self.notes.iter().filter(move |n| n.on().is_some_and(|on| on.test == test && on.item == item))
    }
}

/// Items that are to have another verdict than they came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The items.
    pub items: Vec<ItemIx>,
    /// Their verdict from now on; `None`: they are to run again when the run goes on.
    pub to: Option<Verdict>,
    /// What that is called; empty: as it is.
    pub word: String,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Time,
}

impl Setting {
    /// What is to be recorded, for a run that nobody is working on. Attempts stay as they are. A run with
    /// something to do again is one that was stopped: `muster resume` goes on with it.
    pub fn changes(&self, snapshot: &RunSnapshot) -> Vec<Change> {
        let Self { items, to, word, by, reason, at } = self;
        let run = snapshot.record.id;
        let spots = spots(snapshot);
        let known: HashMap<ItemIx, &ItemRecord> = snapshot.items.iter().map(|(ix, r)| (*ix, r)).collect();
        let mut changes = Vec::with_capacity(items.len() * 2 + 1);
        for ix in items {
            let Some(Some(on)) = spots.get(ix.0 as usize).cloned() else { continue };
            let old = known.get(ix).copied().cloned().unwrap_or_default();
            let from = old.verdict;
            let record = match to {
                Some(verdict) => {
                    let was = from.map_or("open", Verdict::word);
                    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                    let reason = format!("set to `{verdict}` by {by}{why} (it was `{was}`)");
                    ItemRecord { verdict: Some(*verdict), reason, ..old }
                }
                None => ItemRecord { attempts: old.attempts, ..ItemRecord::default() },
            };
            changes.push(Change::ItemSet { run, item: *ix, record });
            let what = NoteKind::Set { on, from, to: *to, word: word.clone() };
            changes.push(noted(run, by, *at, reason, what));
        }
        let phase = match (&snapshot.phase, to) {
            (RunPhase::Ended { .. }, None) if !items.is_empty() => {
                RunPhase::Stopped { at: *at, reason: format!("{by} wants items of it to run again") }
            }
            (phase, _) => phase.clone(),
        };
        changes.push(Change::RunState { run, phase });
        changes
    }
}

/// Why an item is cancelled that a person killed.
pub fn killed_by(by: &str, reason: &str) -> String {
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("killed by {by}{colon}{reason}")
}

/// A word on a run, as it is recorded.
pub fn noted(run: RunId, by: &str, at: Time, text: &str, what: NoteKind) -> Change {
    Change::Noted { run, note: Note { by: by.to_owned(), at, text: text.to_owned(), what } }
}

/// The items of a run by their place; a question for items has no name of its own.
pub fn spots(snapshot: &RunSnapshot) -> Vec<Option<Spot>> {
    let mut spots = Vec::new();
    let spot = |test: &str, item: &str| Some(Spot { test: test.to_owned(), item: item.to_owned() });
    for planned in &snapshot.record.plan.tests {
        match &planned.items {
            PlannedItems::Listed(items) => {
                spots.extend(items.iter().map(|i| spot(&planned.def.name, &i.path)));
            }
            PlannedItems::Found(_) => spots.push(None),
        }
    }
    for expansion in &snapshot.expansions {
        let test = &snapshot.record.plan.tests[expansion.test.0 as usize].def.name;
        spots.extend(expansion.items.iter().map(|i| spot(test, &i.path)));
    }
    spots
}
