//! What can go wrong with records. Each variant names the object, and where a person can do something
//! about it, the message says what.

use muster_core::id::RunId;
use muster_core::note::Lock;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A promise the store could not keep. After an error nothing of the verb has been done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store there.
    #[error("there are no records in `{}`", .path.display())]
    NoStore {
        /// The store's directory.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {doing} `{}`", .path.display())]
    Io {
        /// What was being done: `open`, `write`.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No room is left. Nothing was recorded; the store is as it was before.
    #[error("no space left for the records in `{}`: free some and run again", .path.display())]
    Full {
        /// The database or segment file.
        path: PathBuf,
    },
    /// Another process kept the store locked for longer than we wait.
    #[error("`{}` was locked by another process for more than {waited:?}", .path.display())]
    Busy {
        /// The database file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// A file is not what was written to it.
    #[error("`{}` is damaged: {what}; {todo}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and, in a segment, at which offset.
        what: String,
        /// What a person can do.
        todo: &'static str,
    },
    /// A later Muster wrote this database.
    #[error(
        "`{}` was written by a newer Muster (its records have version {found}, this program knows up to \
         {known}): use that one, or another directory", .path.display()
    )]
    TooNew {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The highest version this program knows.
        known: u32,
    },
    /// The database refused in a way that is none of the above.
    #[error("cannot {doing} the database `{}`", .path.display())]
    Database {
        /// What was being done: `open`, `commit to`.
        doing: &'static str,
        /// The database file.
        path: PathBuf,
        /// Its answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value cannot be written in the record's form. A bug.
    #[error("cannot encode {what}")]
    Encode {
        /// Which value.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such run (any more).
    #[error("there is no {run} in the records")]
    UnknownRun {
        /// The run asked for.
        run: RunId,
    },
    /// The run has not ended, and what was asked for is for runs that are over.
    #[error("{run} has not ended")]
    NotOver {
        /// The run.
        run: RunId,
    },
    /// The run is being executed right now.
    #[error("{run} is being executed by another process{}", pid.map(|p| format!(" ({p})")).unwrap_or_default())]
    RunAlive {
        /// The run.
        run: RunId,
        /// The process, as it called itself.
        pid: Option<u32>,
    },
    /// A person has locked the run.
    #[error("{run} is {lock}")]
    Locked {
        /// The run.
        run: RunId,
        /// Who, and why.
        lock: Lock,
    },
    /// Another run has this number. Ask [`Store::reserve_number`](crate::Store::reserve_number) first.
    #[error("the number of `{area}/{number}` is taken by another run")]
    NumberTaken {
        /// The area.
        area: String,
        /// The number.
        number: u32,
    },
    /// A change does not go with what is recorded: an attempt recorded twice, an item of no run. A bug
    /// of whoever decided it.
    #[error("a change contradicts the records of {run}: {what}")]
    Contradiction {
        /// The run.
        run: RunId,
        /// What does not go together.
        what: String,
    },
    /// The file of an attempt's output is not there or shorter than recorded.
    #[error("the output in `{}` is gone or cut: {what}", .path.display())]
    OutputGone {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// An output's path leads out of its run's directory.
    #[error("the output path `{path}` leads out of its run's directory")]
    OutputOutside {
        /// The path as recorded.
        path: String,
    },
    /// The records are kept by somebody who was asked and did not answer with them.
    #[error("the records cannot be asked")]
    Elsewhere {
        /// What came instead.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was opened for reading.
    #[error("the records in `{}` were opened for reading only", .path.display())]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
}
