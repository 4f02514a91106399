//! V8-style status files: which outcomes are expected of which items, under which conditions.
//!
//! ```text
//! file      := '[' section* ']'
//! section   := '[' condition ',' '{' (key ':' outcomes ',')* '}' ']'
//! condition := the bare word ALWAYS | quoted boolean expression
//! key       := quoted name; a trailing '*' makes it a prefix rule
//! outcomes  := outcome | '[' item* ']'
//! item      := outcome | '[' condition ',' outcome+ ']'
//! outcome   := bare word, or quoted text ("Flags: …", or "--flag")
//! ```
//!
//! The source of the grammar and of the merging rules is V8's `tools/testrunner/local/statusfile.py`
//! (2017). Files are Python literals there; here they are parsed, and conditions too: nothing is
//! executed. Whether a named item exists is not asked ([`unused`] tells afterwards).

mod condition;
mod error;
mod lex;
mod lint;
mod parse;
mod rules;
mod words;
mod world;

pub use error::{Pos, StatusError, Wrong};
pub use lint::{Complaint, unused};
pub use rules::{Evaluated, ItemFlags, Rule, Tables};
pub use words::Keyword;
pub use world::{Value, World};

use condition::Condition;
use muster_core::definition::Expectation;
use muster_core::expr::Facts;
use words::Outcomes;

/// A status file that has been read but not yet decided for a world.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusFile {
    sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq)]
struct Section {
    condition: Condition,
    rules: Vec<RawRule>,
}

#[derive(Clone, Debug, PartialEq)]
struct RawRule {
    key: String,
    pos: Pos,
    items: Vec<RawItem>,
}

#[derive(Clone, Debug, PartialEq)]
enum RawItem {
    Plain(Outcomes),
    When(Condition, Vec<Outcomes>),
}

impl StatusFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The first place where the text is no status file.
    pub fn parse(text: &str) -> Result<Self, StatusError> {
        parse::file(text)
    }

    /// Decides all conditions, once for each variant where they depend on it.
    ///
    /// # Errors
    /// Every condition that names something unknown, or that is not true or false.
    pub fn tables(&self, world: &World) -> Result<Tables, Vec<StatusError>> {
        rules::tables(self, world)
    }

    /// What is hardly meant, though it is allowed (V8's presubmit check). `suite`: a name that keys
    /// must not begin with, because they are relative to it.
    pub fn lint(&self, suite: Option<&str>) -> Vec<Complaint> {
        lint::lint(self, suite)
    }
}

/// What a file says for these facts: its general rules, and those of the variant that the fact
/// `variant` names. `path` is what people know the file by.
///
/// # Errors
/// All that is wrong with it: the first place where it cannot be read, or every condition that cannot
/// be decided.
pub fn expectations(path: &str, text: &str, facts: &Facts) -> Result<Vec<Expectation>, Vec<StatusError>> {
    let world = World::new(facts);
    let file = StatusFile::parse(text).map_err(|e| vec![e])?;
    Ok(file.tables(&world)?.evaluated(path, world.variant()).expectations)
}

#[cfg(test)]
mod tests;
