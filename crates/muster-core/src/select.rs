//! Which tests and items a person means: patterns, tags, shards, and what has failed or changed.

use serde::{Deserialize, Serialize};

/// What was asked for. All parts must agree (and); an empty part asks for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Patterns as typed: `test`, `test/item`, `*` for any text, a leading `!` takes away, commas join.
    pub patterns: Vec<String>,
    /// A tag expression (CEL; each identifier is true if the test has that tag).
    pub tags: Option<String>,
    /// One part of several.
    pub shard: Option<Shard>,
    /// Only these items: the failed ones of another run, say. `(test, item path)`, sorted.
    pub only: Option<Vec<(String, String)>>,
}

/// One part of several, by a stable hash of test and item: the union of all parts is the whole, and no
/// item is in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 1.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}
