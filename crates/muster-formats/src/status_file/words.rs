//! Outcome words.

use super::error::{Pos, StatusError, Wrong, nearest};
use std::collections::BTreeSet;

/// An outcome or a modifier, as a status file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyword {
    /// It passes.
    Pass,
    /// It fails.
    Fail,
    /// It does not end in time.
    Timeout,
    /// A signal ends it.
    Crash,
    /// Its failure is fine, and not to be fixed.
    Okay,
    /// It fails in sloppy mode (test262).
    FailSloppy,
    /// It is not run.
    Skip,
    /// It takes long.
    Slow,
    /// It is run in the default variant only.
    NoVariants,
    /// It is run in the fast variants only.
    FastVariants,
    /// A modifier that means nothing here: `FLAKY`, `HEAVY`, `NO_IGNITION`, `FAIL_PHASE_ONLY`.
    Other,
}

/// What one word stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcomes {
    /// These.
    Words(&'static [Keyword]),
    /// Flags for the test.
    Flags(Vec<String>),
}

/// Every word and what it stands for.
const WORDS: [(&str, &[Keyword]); 17] = [
    ("PASS", &[Keyword::Pass]),
    ("FAIL", &[Keyword::Fail]),
    ("TIMEOUT", &[Keyword::Timeout]),
    ("CRASH", &[Keyword::Crash]),
    ("OKAY", &[Keyword::Okay]),
    ("FAIL_OK", &[Keyword::Fail, Keyword::Okay]),
    ("PASS_OR_FAIL", &[Keyword::Pass, Keyword::Fail]),
    ("FAIL_SLOPPY", &[Keyword::FailSloppy]),
    ("SKIP", &[Keyword::Skip]),
    ("SLOW", &[Keyword::Slow]),
    ("NO_VARIANTS", &[Keyword::NoVariants]),
    ("FAST_VARIANTS", &[Keyword::FastVariants]),
    ("FLAKY", &[Keyword::Other]),
    ("HEAVY", &[Keyword::Other]),
    ("NO_IGNITION", &[Keyword::Other]),
    ("FAIL_PHASE_ONLY", &[Keyword::Other]),
    ("ALWAYS", &[]),
];

/// A bare word.
pub(super) fn bare(word: &str, pos: Pos) -> Result<Outcomes, StatusError> {
    match WORDS.iter().find(|(w, meaning)| *w == word && !meaning.is_empty()) {
        Some((_, meaning)) => Ok(Outcomes::Words(meaning)),
        None => {
            let known = nearest(word, WORDS.iter().filter(|(_, m)| !m.is_empty()).map(|(w, _)| *w));
            Err(StatusError { pos, wrong: Wrong::Outcome { word: word.to_owned(), known } })
        }
    }
}

/// A quoted text among the outcomes: flags, or an outcome in quotes, which is the same to Python.
pub(super) fn quoted(text: &str, pos: Pos) -> Result<Outcomes, StatusError> {
    let flags = text.strip_prefix("Flags:").or_else(|| text.starts_with("--").then_some(text));
    match flags {
        Some(flags) => Ok(Outcomes::Flags(flags.split_whitespace().map(str::to_owned).collect())),
        None => bare(text, pos).map_err(|_| StatusError { pos, wrong: Wrong::Text(text.to_owned()) }),
    }
}

/// Whether joining two rules' outcomes would turn a failure that is certain into one that is not, only
/// because the other names `PASS` beside a modifier: then that `PASS` goes.
pub(super) fn drops_pass(this: &BTreeSet<Keyword>, other: &BTreeSet<Keyword>) -> bool {
    let has = |set: &BTreeSet<Keyword>, word| set.contains(&word);
    has(this, Keyword::Pass)
        && !has(this, Keyword::Fail)
        && has(other, Keyword::Fail)
        && !has(other, Keyword::Pass)
}
