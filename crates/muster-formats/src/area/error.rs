//! What is wrong with a configuration, and where: `error`, the place with its line, `hint`.

use super::source::{Pos, Sources};
use std::fmt;

/// Whether the configuration can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but is hardly what was meant.
    Warning,
}

/// One thing that is wrong with a configuration. [`fmt::Display`] prints it for people, several lines
/// without the last line's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name as it was given; `environment` or a flag for what came from there.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, counted in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// Why, where something else is behind it.
    pub cause: Option<String>,
    /// What would be right.
    pub hint: Option<String>,
    /// The line and the part that is meant.
    pub snippet: Option<Snippet>,
}

/// A line of a configuration with the part that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The line; of a long one only the part around the mark. Control characters are replaced.
    pub text: String,
    /// First marked character, from 0.
    pub from: usize,
    /// How many characters are marked; at least 1.
    pub len: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}", self.message)?;
        let line = self.line.to_string();
        let margin = line.len();
        write!(f, "\n{:margin$}--> {}:{line}:{}", "", self.file, self.column)?;
        if let Some(snippet) = &self.snippet {
            write!(f, "\n{line} | {}", snippet.text)?;
            write!(f, "\n{:margin$} | {:from$}{}", "", "", "^".repeat(snippet.len), from = snippet.from)?;
        }
        if let Some(cause) = &self.cause {
            write!(f, "\n  caused by: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A complaint before its place has been looked up.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) severity: Severity,
    pub(crate) pos: Pos,
    pub(crate) message: String,
    pub(crate) cause: Option<String>,
    pub(crate) hint: Option<String>,
    /// The place in a text that is not one of the sources.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// A place in a text that is named by a configuration and is none itself.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    file: String,
    line: usize,
    column: usize,
    text: String,
}

impl Elsewhere {
    /// The place with its line; both numbers count from 1.
    pub(crate) fn new(file: &str, text: &str, line: u32, column: u32) -> Self {
        let (line, column) = ((line as usize).max(1), (column as usize).max(1));
        let text = text.lines().nth(line - 1).unwrap_or("").to_owned();
        Self { file: file.to_owned(), line, column, text }
    }
}

impl Complaint {
    /// Says that the place is in another text.
    pub(crate) fn elsewhere(&mut self, place: Elsewhere) -> &mut Self {
        self.elsewhere = Some(place);
        self
    }

    /// Adds what would be right.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what would be right, where that is known.
    pub(crate) fn maybe_hint(&mut self, hint: Option<String>) -> &mut Self {
        self.hint = hint.or(self.hint.take());
        self
    }

    /// Adds what is behind it.
    pub(crate) fn cause(&mut self, cause: impl Into<String>) -> &mut Self {
        self.cause = Some(cause.into());
        self
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    list: Vec<Complaint>,
    /// Names compared so far in search of suggestions.
    compared: usize,
}

impl Complaints {
    pub(crate) fn error(&mut self, pos: Pos, message: impl Into<String>) -> &mut Complaint {
        self.add(Severity::Error, pos, message.into())
    }

    pub(crate) fn warning(&mut self, pos: Pos, message: impl Into<String>) -> &mut Complaint {
        self.add(Severity::Warning, pos, message.into())
    }

    fn add(&mut self, severity: Severity, pos: Pos, message: String) -> &mut Complaint {
        let index = self.list.len();
        self.list.push(Complaint { severity, pos, message, cause: None, hint: None, elsewhere: None });
        &mut self.list[index]
    }

    /// The nearest of `known`, as a hint.
    pub(crate) fn nearest<'a>(
        &mut self,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        // Limit: comparing is quadratic in the length of names, and ten thousand wrong names among ten
        // thousand right ones would take seconds. The first suggestions are the ones that are read.
        const COMPARED_MAX: usize = 1_000_000;
        const BYTES_MAX: usize = 100;
        if wrong.len() > BYTES_MAX || self.compared > COMPARED_MAX {
            return None;
        }
        let near = known.into_iter().inspect(|_| self.compared += 1).filter(|k| k.len() <= BYTES_MAX);
        let scored = near.map(|k| (strsim::jaro_winkler(wrong, k), k)).filter(|(score, _)| *score > 0.8);
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, k)| format!("did you mean `{k}`?"))
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|c| c.severity == Severity::Error)
    }

    /// Adds what would be right to the latest, where it has nothing.
    pub(crate) fn last_hint(&mut self, hint: &str) {
        if let Some(last) = self.list.last_mut().filter(|c| c.hint.is_none()) {
            last.hint = Some(hint.to_owned());
        }
    }

    /// Errors and warnings for people, in the order of the texts.
    pub(crate) fn finish(mut self, sources: &Sources) -> (Vec<ConfigError>, Vec<ConfigError>) {
        self.list.sort_by_key(|c| (c.pos.source, c.pos.start));
        let told = self.list.into_iter().map(|c| tell(c, sources));
        told.partition(|e| e.severity == Severity::Error)
    }
}

/// Longest snippet, in characters.
const SNIPPET_CHARS_MAX: usize = 110;

fn tell(c: Complaint, sources: &Sources) -> ConfigError {
    let Complaint { severity, pos, message, cause, hint, elsewhere } = c;
    let (file, line, column, snippet) = match elsewhere {
        Some(Elsewhere { file, line, column, text }) => {
            let word = text.chars().skip(column - 1).take_while(|c| c.is_alphanumeric() || *c == '_').count();
            let snippet = snippet(&text, column, word);
            (file, line, column, snippet)
        }
        None => {
            let source = sources.get(pos.source);
            let (line, column, text) = source.place(pos.start);
            let marked = sources.slice(pos);
            let marked = marked.split('\n').next().unwrap_or("").trim_end();
            (source.name.to_string(), line, column, snippet(text, column, marked.chars().count()))
        }
    };
    ConfigError {
        severity,
        file: clean(file),
        line,
        column,
        message: clean(message),
        cause: cause.map(clean),
        hint: hint.map(clean),
        snippet,
    }
}

/// Texts come from files: none of them may speak to the terminal.
fn clean(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The part of a line round a mark, fit for a terminal.
fn snippet(text: &str, column: usize, len: usize) -> Option<Snippet> {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let skip = (column - 1).saturating_sub(SNIPPET_CHARS_MAX / 2);
    let skip = if chars.len() > SNIPPET_CHARS_MAX { skip } else { 0 };
    let text: String = chars.iter().skip(skip).take(SNIPPET_CHARS_MAX).collect();
    let from = column - 1 - skip;
    let room = text.chars().count().saturating_sub(from).max(1);
    let text = text.trim_end().to_owned();
    (!text.trim().is_empty()).then(|| Snippet { text, from, len: len.clamp(1, room) })
}
