//! What went wrong, for programs and for people: problem documents (RFC 9457).

use serde::{Deserialize, Serialize};

/// A problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem in a few words.
    pub title: String,
    /// A word for programs that never changes its meaning: `no-such-run`.
    pub code: String,
    /// What is wrong with this request.
    pub detail: String,
    /// What to do next; empty where there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub next: String,
}

impl Problem {
    /// What problem documents are called in headers.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// A problem.
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let title = code.replace('-', " ");
        Self { status, title, code: code.to_owned(), detail: detail.into(), next: String::new() }
    }

    /// With what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }
}
