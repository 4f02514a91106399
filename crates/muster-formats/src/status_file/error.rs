//! What can be wrong with a status file, and where.

/// A place in the file, from 1. Columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {wrong}", pos.line, pos.column)]
pub struct StatusError {
    /// Where.
    pub pos: Pos,
    /// What.
    pub wrong: Wrong,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A character that no status file has.
    #[error("`{0}` has no meaning here")]
    Character(char),
    /// A quoted text that does not end on its line.
    #[error("this quoted text does not end")]
    OpenQuote,
    /// Something else was to come here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was to come.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// A bare word that is no outcome and no modifier.
    #[error("`{word}` is no outcome{}", hinted(known.as_ref()))]
    Outcome {
        /// The word.
        word: String,
        /// The nearest word that is one.
        known: Option<String>,
    },
    /// A quoted text among the outcomes that is neither flags nor an outcome.
    #[error("`{0:?}` is no outcome; flags begin with `Flags: ` or `--`")]
    Text(String),
    /// An empty key.
    #[error("this rule has no name")]
    EmptyKey,
    /// A name in a condition that nothing is known of.
    #[error("nothing is known of `{name}`{}", hinted_or_quoted(known.as_ref(), name))]
    Name {
        /// The name.
        name: String,
        /// The nearest name that is known.
        known: Option<String>,
    },
    /// A condition, or an operand, that is text: most often a word on its own, such as `debug`.
    #[error("this is {0}, where true or false is needed; compare it, as in `mode == debug`")]
    NotABool(String),
    /// Things of different kinds were compared.
    #[error("{left} and {right} can never be equal")]
    Comparison {
        /// One side.
        left: String,
        /// The other.
        right: String,
    },
    /// `in` without a list after it.
    #[error("after `in` comes a list: `arch in [arm, arm64]`")]
    NotAList,
    /// `variant` in the condition of an item.
    #[error("`variant` may stand in a section's condition only")]
    NestedVariant,
    /// Too many brackets within each other.
    #[error("this is nested too deeply")]
    Depth,
}

fn hinted(known: Option<&String>) -> String {
    known.map_or(String::new(), |k| format!("; did you mean `{k}`?"))
}

fn hinted_or_quoted(known: Option<&String>, name: &str) -> String {
    match known {
        Some(_) => hinted(known),
        None => format!("; a text stands in quotes: `'{name}'`"),
    }
}

/// The nearest of the known words, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|k| (strsim::jaro_winkler(word, k), k)).filter(|(s, _)| *s > 0.8);
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k.to_owned())
}
