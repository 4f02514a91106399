//! Records as tables, for programs that read tables: CSV, JSON, S-expressions, refdb, spreadsheets.
//!
//! ```text
//! RunView ─ tables ─► names and rows of cells ─► Sink: Csv, Json, Sexpr, Refdb, Ods
//! ```
//!
//! Rows go through one by one, so that a table of a million rows costs no memory (but as refdb, which is many small
//! files). The first cell of a row is its name, and no two rows of a table have the same.

mod ods;
mod sinks;
mod tables;

pub use ods::{Ods, ROWS_MAX};
pub use sinks::{Csv, Json, Refdb, Sexpr};
pub use tables::Table;

use crate::report::text::clean;
use crate::report::words;
use muster_core::time::Time;
use std::borrow::Cow;
use std::io;

/// A value in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing is known.
    Empty,
    /// Text, which is never taken for anything else.
    Text(String),
    /// A count.
    Whole(u64),
    /// A number; seconds, where it is a duration.
    Number(f64),
    /// A moment.
    Time(Time),
}

impl Cell {
    /// As text; empty for nothing. Times are as RFC 3339 has them, in UTC.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Whole(n) => Cow::Owned(n.to_string()),
            Self::Number(n) => Cow::Owned(n.to_string()),
            Self::Time(time) => Cow::Owned(words::timestamp(*time)),
        }
    }
}

/// Without terminal codes, control characters and what turns the direction of reading, as in all reports.
impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(clean(text)) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<std::time::Duration> for Cell {
    fn from(duration: std::time::Duration) -> Self {
        // Microseconds are what is recorded.
        Self::Number(duration.as_micros() as f64 / 1e6)
    }
}

/// Takes tables in, one after the other: for each its columns, its rows, its end.
pub trait Sink {
    /// A table begins.
    ///
    /// # Errors
    /// What is below cannot be written.
    fn begin(&mut self, table: &str, columns: &[Cow<'static, str>]) -> io::Result<()>;

    /// A row of it, with a cell for each column.
    ///
    /// # Errors
    /// What is below cannot be written, or the format has no room for it.
    fn row(&mut self, row: &[Cell]) -> io::Result<()>;

    /// The table ends.
    ///
    /// # Errors
    /// What is below cannot be written.
    fn end(&mut self) -> io::Result<()>;

    /// There are no more tables.
    ///
    /// # Errors
    /// What is below cannot be written.
    fn finish(&mut self) -> io::Result<()>;
}
