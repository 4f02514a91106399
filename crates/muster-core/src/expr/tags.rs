//! Expressions over tags: `fast && !gpu`.
//!
//! The language is CEL's boolean part. A word is true for a test that has that tag; here `-`, `.` and `:`
//! belong to a word, because tags are written so and arithmetic on tags has no meaning. The list is there
//! too: `"any text at all" in tags`.

use super::{ExprError, ExprErrorKind, compile, limits, literal_text, nearest, offset};
use cel::Program;
use cel::common::ast::{Expr as Node, IdedExpr, LiteralValue, operators};
use std::fmt;
use std::sync::Arc;

/// A parsed expression over tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagExpr {
    text: Arc<str>,
    root: Tree,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tree {
    Always(bool),
    Tag(String),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
}

impl TagExpr {
    /// Parses a tag expression.
    ///
    /// # Errors
    /// As [`super::Expr::parse`]; and for what has no meaning between tags, such as numbers and calls.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        limits::check_text(text)?;
        let plain = plain_words(text);
        let program = compile(&plain)?;
        let root = Reader { program: &program, plain: &plain, text }.tree(program.expression())?;
        Ok(Self { text: text.into(), root })
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a test with these tags is meant.
    pub fn matches<T: AsRef<str>>(&self, tags: &[T]) -> bool {
        self.root.matches(tags)
    }

    /// The tags it names, in the order written; for telling people about those no test has.
    pub fn tags(&self) -> Vec<&str> {
        let mut tags = Vec::new();
        self.root.tags(&mut tags);
        tags
    }

    /// A hint for each tag it names that is not among `known`.
    pub fn unknown<'a>(&'a self, known: &[&str]) -> Vec<(&'a str, Option<String>)> {
        let tags = self.tags().into_iter().filter(|t| !known.contains(t));
        tags.map(|t| (t, nearest(t, known.iter().copied()))).collect()
    }
}

impl fmt::Display for TagExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Tree {
    fn matches<T: AsRef<str>>(&self, tags: &[T]) -> bool {
        match self {
            Self::Always(b) => *b,
            Self::Tag(tag) => tags.iter().any(|t| t.as_ref() == tag),
            Self::Not(inner) => !inner.matches(tags),
            Self::And(both) => both.iter().all(|t| t.matches(tags)),
            Self::Or(both) => both.iter().any(|t| t.matches(tags)),
        }
    }

    fn tags<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Always(_) => {}
            Self::Tag(tag) => into.push(tag),
            Self::Not(inner) => inner.tags(into),
            Self::And(both) | Self::Or(both) => both.iter().for_each(|t| t.tags(into)),
        }
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// The text with `-`, `.` and `:` inside words made `_`: same length, so offsets still tell the word.
fn plain_words(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = bytes.to_vec();
    let mut quote = None;
    for i in 0..bytes.len() {
        match (quote, bytes[i]) {
            (Some(q), b) if b == q => quote = None,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'\'')) => quote = Some(b),
            (None, b'-' | b'.' | b':') => {
                let inside = i > 0 && is_word(plain[i - 1]) && bytes.get(i + 1).is_some_and(|b| is_word(*b));
                if inside {
                    plain[i] = b'_';
                }
            }
            (None, _) => {}
        }
    }
    // Only ASCII bytes were replaced by ASCII bytes.
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

struct Reader<'a> {
    program: &'a Program,
    plain: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn tree(&self, node: &IdedExpr) -> Result<Tree, ExprError> {
        let what = match &node.expr {
            Node::Ident(name) => return Ok(Tree::Tag(self.word(node.id, name))),
            Node::Literal(LiteralValue::Boolean(b)) => return Ok(Tree::Always(*b.inner())),
            Node::Literal(LiteralValue::String(_)) => "a text",
            Node::Literal(_) => "a number",
            Node::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (operators::LOGICAL_NOT, [a]) => return Ok(Tree::Not(Box::new(self.tree(a)?))),
                (operators::LOGICAL_AND, [a, b]) => {
                    return Ok(Tree::And(Box::new([self.tree(a)?, self.tree(b)?])));
                }
                (operators::LOGICAL_OR, [a, b]) => {
                    return Ok(Tree::Or(Box::new([self.tree(a)?, self.tree(b)?])));
                }
                (operators::IN, [tag, list]) => match (literal_text(tag), &list.expr) {
                    (Some(tag), Node::Ident(name)) if name == "tags" => return Ok(Tree::Tag(tag.into())),
                    _ => "`in` other than `\"…\" in tags`",
                },
                (operators::SUBSTRACT | operators::ADD | operators::MULTIPLY | operators::DIVIDE, _) => {
                    "arithmetic"
                }
                (operators::EQUALS | operators::NOT_EQUALS, _) => "a comparison",
                _ => "this operator or function",
            },
            Node::Unspecified | Node::Comprehension(_) => "a loop",
            Node::List(_) | Node::Map(_) | Node::Struct(_) => "a list or map",
            Node::Select(_) => "a field",
        };
        let hint = "a tag expression has words, `&&`, `||`, `!`, brackets, and `\"any text\" in tags`";
        let at = offset(self.program, self.plain, node.id);
        Err(ExprError { kind: ExprErrorKind::NotATagExpression(what), at, hint: Some(hint.into()) })
    }

    /// The word as it was written where the parser read `name`.
    fn word(&self, id: u64, name: &str) -> String {
        let at = offset(self.program, self.plain, id);
        let here = self.plain.get(at..).is_some_and(|rest| rest.starts_with(name));
        here.then(|| self.text.get(at..at + name.len())).flatten().unwrap_or(name).to_owned()
    }
}
