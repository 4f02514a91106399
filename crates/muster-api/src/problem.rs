//! What went wrong, for programs and for people: problem documents (RFC 9457).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A problem document (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The request's id, as it is in the header `x-request-id` of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<str>>,
}

impl Problem {
    /// What problem documents are called in headers.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// A problem.
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let title = code.replace('-', " ");
        let detail = detail.into();
        Self { status, title, code: code.to_owned(), detail, next: String::new(), request: None }
    }

    /// With what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }
}
