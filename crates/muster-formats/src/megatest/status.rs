//! Megatest's two axes: *state* says where a record is in its life, *status* how good what came of it is. Both are free
//! text in its database; here are the words that its code knows, with their ranks, and every other is kept as it is.
//!
//! What Muster's own records are in these words is here too: [`of_verdict`] and its kin.

use muster_core::outcome::{Outcome, Verdict};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Where a record is in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its word")]
pub enum State {
    Archived,
    Stuck,
    KillReq,
    Killed,
    #[default]
    NotStarted,
    Completed,
    Launched,
    RemoteHostStart,
    Running,
    Incomplete,
    Unknown,
    FailedKill,
    Removing,
    Cleaning,
    ArchiveRemoving,
    Deleted,
    /// Any other: users and scripts may write what they like.
    Other(String),
}

const STATES: [(&str, State); 16] = [
    ("ARCHIVED", State::Archived),
    ("STUCK", State::Stuck),
    ("KILLREQ", State::KillReq),
    ("KILLED", State::Killed),
    ("NOT_STARTED", State::NotStarted),
    ("COMPLETED", State::Completed),
    ("LAUNCHED", State::Launched),
    ("REMOTEHOSTSTART", State::RemoteHostStart),
    ("RUNNING", State::Running),
    ("INCOMPLETE", State::Incomplete),
    ("UNKNOWN", State::Unknown),
    ("FAILEDKILL", State::FailedKill),
    ("REMOVING", State::Removing),
    ("CLEANING", State::Cleaning),
    ("ARCHIVE_REMOVING", State::ArchiveRemoving),
    ("DELETED", State::Deleted),
];

/// How good what came of it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is its word")]
pub enum Status {
    /// Nothing known yet.
    #[default]
    NotAvailable,
    Pass,
    Skip,
    Warn,
    Waived,
    Check,
    StuckDead,
    Dead,
    Fail,
    PreqFail,
    PreqDiscarded,
    Abort,
    /// To be decided from test data.
    Auto,
    /// The same, and it is no better than WARN.
    AutoWarn,
    Started,
    ZeroItems,
    TimedOut,
    Blocked,
    TenStrikes,
    Killed,
    FailedToKill,
    /// Any other.
    Other(String),
}

const STATUSES: [(&str, Status); 21] = [
    ("n/a", Status::NotAvailable),
    ("PASS", Status::Pass),
    ("SKIP", Status::Skip),
    ("WARN", Status::Warn),
    ("WAIVED", Status::Waived),
    ("CHECK", Status::Check),
    ("STUCK/DEAD", Status::StuckDead),
    ("DEAD", Status::Dead),
    ("FAIL", Status::Fail),
    ("PREQ_FAIL", Status::PreqFail),
    ("PREQ_DISCARDED", Status::PreqDiscarded),
    ("ABORT", Status::Abort),
    ("AUTO", Status::Auto),
    ("AUTO-WARN", Status::AutoWarn),
    ("STARTED", Status::Started),
    ("ZERO_ITEMS", Status::ZeroItems),
    ("TIMED_OUT", Status::TimedOut),
    ("BLOCKED", Status::Blocked),
    ("TEN_STRIKES", Status::TenStrikes),
    ("KILLED", Status::Killed),
    ("FAILED TO KILL", Status::FailedToKill),
];

/// How many of [`STATES`] and [`STATUSES`], from their beginning, have a rank.
const RANKED_STATES: usize = 9;
const RANKED_STATUSES: usize = 12;

macro_rules! words {
    ($type:ident, $table:ident, $ranked:ident, $first_rank:literal) => {
        impl $type {
            /// As Megatest writes it.
            pub fn word(&self) -> &str {
                match self {
                    Self::Other(word) => word,
                    known => $table.iter().find(|(_, value)| value == known).map_or("", |(word, _)| word),
                }
            }

            /// How many words are known, and one more place for all others.
            pub(super) const PLACES: usize = $table.len() + 1;
            /// How many of the places, from the first, have a rank.
            pub(super) const RANKED: usize = $ranked;

            /// Its place among the words that are known; all others share the last.
            pub(super) fn place(&self) -> usize {
                $table.iter().position(|(_, value)| value == self).unwrap_or($table.len())
            }

            /// What is at each place.
            pub(super) fn at_places() -> impl Iterator<Item = Self> {
                $table.iter().map(|(_, value)| value.clone()).chain([Self::Other(String::new())])
            }

            /// Its rank: roll-up takes the highest. Words without one never win.
            pub fn rank(&self) -> u8 {
                let place = self.place();
                if place < $ranked { place as u8 + $first_rank } else { 0 }
            }
        }

        impl From<&str> for $type {
            fn from(word: &str) -> Self {
                let known = $table.iter().find(|(known, _)| *known == word);
                known.map_or_else(|| Self::Other(word.to_owned()), |(_, value)| value.clone())
            }
        }

        impl FromStr for $type {
            type Err = Infallible;

            fn from_str(word: &str) -> Result<Self, Infallible> {
                Ok(Self::from(word))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words!(State, STATES, RANKED_STATES, 0);
words!(Status, STATUSES, RANKED_STATUSES, 1);

impl State {
    /// The work of the record goes on, or is about to.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::RemoteHostStart | Self::Launched)
    }

    /// The record is on its way out, and counts for nothing.
    pub fn is_never_rolled_up(&self) -> bool {
        matches!(self, Self::Deleted | Self::Removing | Self::Cleaning | Self::ArchiveRemoving)
    }
}

impl Status {
    /// What depends on it may go on.
    pub fn is_well_ended(&self) -> bool {
        matches!(self, Self::Pass | Self::Warn | Self::Check | Self::Waived | Self::Skip)
    }

    /// A record that has not started may have it, and start yet.
    pub fn is_healthy(&self) -> bool {
        self.is_well_ended()
            || matches!(self, Self::NotAvailable | Self::Fail | Self::Dead)
            || matches!(self, Self::Other(word) if word == "na")
    }

    /// The exit code that logpro says it by, and a test's script too; `None` where there is none for it.
    pub fn logpro_exit(&self) -> Option<u8> {
        match self {
            Self::Pass => Some(0),
            Self::Fail => Some(1),
            Self::Warn => Some(2),
            Self::Check => Some(3),
            Self::Waived => Some(4),
            Self::Abort => Some(5),
            Self::Skip => Some(6),
            _ => None,
        }
    }

    /// What logpro says by an exit code.
    pub fn of_logpro_exit(code: i32) -> Self {
        match code {
            0 => Self::Pass,
            2 => Self::Warn,
            3 => Self::Check,
            4 => Self::Waived,
            5 => Self::Abort,
            6 => Self::Skip,
            _ => Self::Fail,
        }
    }

    /// The outcome of an attempt that came to this. A waiver is a warning there: who reads the record of an attempt
    /// must see that something was not right. `None`: it has not come to anything yet.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Self::Pass => Outcome::Pass,
            Self::Warn | Self::Waived => Outcome::Warn,
            Self::Skip => Outcome::Skip,
            Self::Check => Outcome::Check,
            Self::Fail => Outcome::Fail,
            Self::Abort => Outcome::Abort,
            Self::TimedOut => Outcome::Timeout,
            Self::Killed | Self::FailedToKill => Outcome::Cancelled,
            Self::StuckDead | Self::Dead | Self::TenStrikes => Outcome::Error,
            Self::NotAvailable
            | Self::PreqFail
            | Self::PreqDiscarded
            | Self::Auto
            | Self::AutoWarn
            | Self::Started
            | Self::ZeroItems
            | Self::Blocked
            | Self::Other(_) => return None,
        })
    }
}

/// A record of Megatest that has ended, as a verdict of ours; `None` where it has not ended, or in words of its own.
pub fn verdict(state: &State, status: &Status) -> Option<Verdict> {
    Some(match (state, status) {
        (_, Status::PreqFail | Status::PreqDiscarded | Status::Blocked) => Verdict::PrerequisiteFailed,
        (_, Status::ZeroItems) => Verdict::NoItems,
        (_, Status::TimedOut) => Verdict::Timeout,
        (State::NotStarted, Status::TenStrikes) | (State::Incomplete | State::Unknown | State::Stuck, _) => {
            Verdict::Error
        }
        (State::Killed | State::KillReq | State::FailedKill, _) => Verdict::Cancelled,
        (State::Completed | State::Archived, Status::Waived) => Verdict::KnownFailure,
        (State::Completed | State::Archived, status) => status.outcome()?.into(),
        _ => return None,
    })
}

/// A verdict of ours in Megatest's words. What only we tell apart (a crash, a flaky pass) is its nearest word there, so
/// that scripts which read Megatest's go on working; [`verdict`] of it need not be the verdict it was.
pub fn of_verdict(verdict: Verdict) -> (State, Status) {
    let status = match verdict {
        Verdict::Pass => Status::Pass,
        Verdict::Skip => Status::Skip,
        Verdict::KnownFailure => Status::Waived,
        // A flaky test passed, and a person should see that it did so late.
        Verdict::Warn | Verdict::Flaky => Status::Warn,
        Verdict::Check => Status::Check,
        Verdict::NoItems => return (State::NotStarted, Status::ZeroItems),
        Verdict::Cancelled => return (State::Killed, Status::Killed),
        // Megatest's own runs end in either state here; see the table of states.
        Verdict::PrerequisiteFailed => Status::PreqFail,
        // Megatest expects nothing, so a pass that was not expected is a failure in its words only if it fails the run.
        Verdict::UnexpectedPass | Verdict::Fail | Verdict::Timeout | Verdict::Crash => Status::Fail,
        // Lost with its agent or its lab: no sign of life.
        Verdict::Error => Status::Dead,
        Verdict::Abort => Status::Abort,
    };
    (State::Completed, status)
}

/// What may be run again by itself, as `allow-auto-rerun` and `rerunok` list it, with blanks or commas between:
/// `STATE/STATUS`, `STATE/`, `/STATUS`.
pub fn rerun_ok(text: &str) -> Vec<String> {
    text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_megatests() {
        let states = [
            "ARCHIVED",
            "STUCK",
            "KILLREQ",
            "KILLED",
            "NOT_STARTED",
            "COMPLETED",
            "LAUNCHED",
            "REMOTEHOSTSTART",
            "RUNNING",
        ];
        for (rank, word) in states.into_iter().enumerate() {
            assert_eq!(State::from(word).rank() as usize, rank, "{word}");
        }
        let statuses = [
            "n/a",
            "PASS",
            "SKIP",
            "WARN",
            "WAIVED",
            "CHECK",
            "STUCK/DEAD",
            "DEAD",
            "FAIL",
            "PREQ_FAIL",
            "PREQ_DISCARDED",
            "ABORT",
        ];
        for (place, word) in statuses.into_iter().enumerate() {
            assert_eq!(Status::from(word).rank() as usize, place + 1, "{word}");
        }
        for word in ["BOZZLEBLONKED", "INCOMPLETE", "FORCED"] {
            assert_eq!(State::from(word).rank(), 0);
            assert_eq!(Status::from(word).rank(), 0);
        }
        assert_eq!(Status::from("AUTO").rank(), 0);
    }

    #[test]
    fn every_word_is_read_back() {
        for (word, state) in STATES {
            assert_eq!((state.word(), &State::from(word)), (word, &state));
        }
        for (word, status) in STATUSES {
            assert_eq!((status.word(), &Status::from(word)), (word, &status));
        }
        assert_eq!(Status::from("my own").to_string(), "my own");
    }

    #[test]
    fn every_verdict_has_words_and_what_megatest_knows_too_comes_back() {
        for v in Verdict::ALL {
            let (state, status) = of_verdict(v);
            let back = verdict(&state, &status);
            match v {
                Verdict::Flaky => assert_eq!(back, Some(Verdict::Warn)),
                Verdict::UnexpectedPass | Verdict::Timeout | Verdict::Crash => {
                    assert_eq!(back, Some(Verdict::Fail));
                }
                v => assert_eq!(back, Some(v)),
            }
        }
        assert_eq!(verdict(&State::Running, &Status::Warn), None);
        assert_eq!(verdict(&State::Completed, &Status::from("FORCED")), None);
    }

    #[test]
    fn logpros_exit_codes_are_read_back() {
        for code in 0..7 {
            assert_eq!(Status::of_logpro_exit(code).logpro_exit(), Some(code as u8));
        }
        assert_eq!(Status::of_logpro_exit(7), Status::Fail);
        assert_eq!(Status::of_logpro_exit(-1), Status::Fail);
    }
}
