//! What people said of a run, in JSON.

use super::Verdict;
use crate::report::words;
use muster_core::note as core;
use schemars::JsonSchema;
use serde::Serialize;

/// Who has locked a run: it is not changed, run again or removed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Lock<'a> {
    /// Who.
    pub by: &'a str,
    /// Why; may be empty.
    pub reason: &'a str,
    /// Since when, RFC 3339.
    pub since: String,
}

impl<'a> Lock<'a> {
    pub(super) fn new(lock: &'a core::Lock) -> Self {
        let core::Lock { by, reason, since } = lock;
        Self { by, reason, since: words::timestamp(*since) }
    }
}

/// A person's word on a run or on an item of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Note<'a> {
    /// Who.
    pub by: &'a str,
    /// When, RFC 3339.
    pub at: String,
    /// What it does: `comment`, `locked`, `unlocked`, `set`, `called`, `files-removed`.
    pub what: &'static str,
    /// Why, or the comment itself; may be empty.
    pub text: &'a str,
    /// The test it is about; `null`: the run.
    pub test: Option<&'a str>,
    /// The path of the item it is about; `null`: the run.
    pub item: Option<&'a str>,
    /// What a verdict was that was set; `null` for an open one, and for other notes.
    pub from: Option<Verdict>,
    /// What it was set to; `null` where it is to run again, and for other notes.
    pub to: Option<Verdict>,
    /// What whoever said it calls that; may be empty.
    pub word: &'a str,
}

impl<'a> Note<'a> {
    pub(super) fn new(note: &'a core::Note) -> Self {
        let core::Note { by, at, text, what } = note;
        let on = note.on();
        let (what, from, to, word) = match what {
            core::NoteKind::Comment { on: _ } => ("comment", None, None, ""),
            core::NoteKind::Locked => ("locked", None, None, ""),
            core::NoteKind::Unlocked => ("unlocked", None, None, ""),
            core::NoteKind::Set { on: _, from, to, word } => ("set", *from, *to, word.as_str()),
            core::NoteKind::Called { word } => ("called", None, None, word.as_str()),
            core::NoteKind::FilesRemoved { on: _ } => ("files-removed", None, None, ""),
        };
        Self {
            by,
            at: words::timestamp(*at),
            what,
            text,
            test: on.map(|on| on.test.as_str()),
            item: on.map(|on| on.item.as_str()),
            from: from.map(Verdict::from),
            to: to.map(Verdict::from),
            word,
        }
    }
}
