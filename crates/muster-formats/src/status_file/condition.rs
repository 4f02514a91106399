//! Conditions: the few operators of Python that status files use, and nothing else.
//!
//! ```text
//! or      := and ('or' and)*
//! and     := not ('and' not)*
//! not     := 'not' not | compare
//! compare := value (('==' | '!=' | 'in' | 'not' 'in') value)?
//! value   := NAME | 'text' | True | False | '(' or ')' | '[' (value ',')* ']'
//! ```
//!
//! Stricter than Python in three ways, to catch mistakes: every name must be known even where the
//! result does not depend on it; `and`, `or` and `not` take only true and false; what can never be
//! equal is not compared.

use super::error::{Pos, StatusError, Wrong, nearest};
use super::lex::Quoted;
use super::world::{Value, World};

/// Limit: brackets and `not`s within each other.
const DEPTH_MAX: u32 = 64;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// The bare word.
    Always,
    /// An expression, and where it begins.
    When(Expr, Pos),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Name(String, Pos),
    Text(String),
    Bool(bool),
    List(Vec<Self>),
    Not(Box<Self>, Pos),
    /// All must be true.
    And(Vec<(Self, Pos)>),
    /// One must be true.
    Or(Vec<(Self, Pos)>),
    Compare {
        how: Compare,
        left: Box<Self>,
        right: Box<Self>,
        pos: Pos,
    },
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    In,
    NotIn,
}

impl Condition {
    /// It depends on the variant.
    pub(super) fn mentions_variant(&self) -> bool {
        match self {
            Self::Always => false,
            Self::When(expr, _) => expr.mentions("variant"),
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, world: &World, variant: Option<&str>) -> Result<bool, StatusError> {
        match self {
            Self::Always => Ok(true),
            Self::When(expr, pos) => truth(expr, *pos, world, variant),
        }
    }
}

impl Expr {
    fn mentions(&self, name: &str) -> bool {
        match self {
            Self::Name(n, _) => n == name,
            Self::Text(_) | Self::Bool(_) => false,
            Self::List(all) => all.iter().any(|e| e.mentions(name)),
            Self::Not(e, _) => e.mentions(name),
            Self::And(all) | Self::Or(all) => all.iter().any(|(e, _)| e.mentions(name)),
            Self::Compare { left, right, .. } => left.mentions(name) || right.mentions(name),
        }
    }
}

/// What an expression comes to.
enum Answer {
    Bool(bool),
    Text(String),
    List(Vec<String>),
}

impl Answer {
    fn shown(&self) -> String {
        match self {
            Self::Bool(true) => "`True`".to_owned(),
            Self::Bool(false) => "`False`".to_owned(),
            Self::Text(text) => format!("the text `{text}`"),
            Self::List(_) => "a list".to_owned(),
        }
    }
}

fn truth(expr: &Expr, pos: Pos, world: &World, variant: Option<&str>) -> Result<bool, StatusError> {
    match answer(expr, world, variant)? {
        Answer::Bool(b) => Ok(b),
        other => Err(StatusError { pos, wrong: Wrong::NotABool(other.shown()) }),
    }
}

fn answer(expr: &Expr, world: &World, variant: Option<&str>) -> Result<Answer, StatusError> {
    // Everything is looked at, also where the result is already certain: names must be right everywhere.
    let count_true = |all: &[(Expr, Pos)]| -> Result<usize, StatusError> {
        all.iter().try_fold(0, |n, (e, pos)| Ok(n + usize::from(truth(e, *pos, world, variant)?)))
    };
    Ok(match expr {
        Expr::Name(name, pos) => match (name.as_str(), variant) {
            ("variant", Some(variant)) => Answer::Text(variant.to_owned()),
            _ => match world.get(name) {
                Some(Value::Bool(b)) => Answer::Bool(*b),
                Some(Value::Text(text)) => Answer::Text(text.clone()),
                None => {
                    let known = nearest(name, world.names());
                    return Err(StatusError { pos: *pos, wrong: Wrong::Name { name: name.clone(), known } });
                }
            },
        },
        Expr::Text(text) => Answer::Text(text.clone()),
        Expr::Bool(b) => Answer::Bool(*b),
        Expr::List(all) => {
            let mut texts = Vec::with_capacity(all.len());
            for one in all {
                match answer(one, world, variant)? {
                    Answer::Text(text) => texts.push(text),
                    Answer::Bool(b) => texts.push(if b { "True" } else { "False" }.to_owned()),
                    Answer::List(inner) => texts.extend(inner),
                }
            }
            Answer::List(texts)
        }
        Expr::Not(inner, pos) => Answer::Bool(!truth(inner, *pos, world, variant)?),
        Expr::And(all) => Answer::Bool(count_true(all)? == all.len()),
        Expr::Or(all) => Answer::Bool(count_true(all)? > 0),
        Expr::Compare { how, left, right, pos } => {
            let (left, right) = (answer(left, world, variant)?, answer(right, world, variant)?);
            Answer::Bool(compare(*how, &left, &right).map_err(|wrong| StatusError { pos: *pos, wrong })?)
        }
    })
}

fn compare(how: Compare, left: &Answer, right: &Answer) -> Result<bool, Wrong> {
    let never = || Wrong::Comparison { left: left.shown(), right: right.shown() };
    match (how, left, right) {
        (Compare::Equal, Answer::Bool(l), Answer::Bool(r)) => Ok(l == r),
        (Compare::NotEqual, Answer::Bool(l), Answer::Bool(r)) => Ok(l != r),
        (Compare::Equal, Answer::Text(l), Answer::Text(r)) => Ok(l == r),
        (Compare::NotEqual, Answer::Text(l), Answer::Text(r)) => Ok(l != r),
        (Compare::Equal | Compare::NotEqual, _, _) => Err(never()),
        (Compare::In, Answer::Text(l), Answer::List(r)) => Ok(r.contains(l)),
        (Compare::NotIn, Answer::Text(l), Answer::List(r)) => Ok(!r.contains(l)),
        (Compare::In | Compare::NotIn, _, Answer::List(_)) => Err(never()),
        (Compare::In | Compare::NotIn, _, Answer::Bool(_) | Answer::Text(_)) => Err(Wrong::NotAList),
    }
}

/// Reads an expression out of a quoted text.
pub(super) fn parse(quoted: &Quoted, start: Pos) -> Result<Expr, StatusError> {
    let mut parser = Parser { words: words(quoted, start)?, at: 0, depth: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.expected("the end of the condition")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Word {
    Name(String),
    Text(String),
    Mark(&'static str),
}

struct Parser {
    /// The last is only the place of the end.
    words: Vec<(Option<Word>, Pos)>,
    at: usize,
    depth: u32,
}

fn words(quoted: &Quoted, start: Pos) -> Result<Vec<(Option<Word>, Pos)>, StatusError> {
    let chars: Vec<char> = quoted.text.chars().collect();
    let place = |i: usize| quoted.places.get(i).or(quoted.places.last()).copied().unwrap_or(start);
    let mut words = Vec::new();
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        let pos = place(i);
        let word = match c {
            c if c.is_whitespace() => {
                i += 1;
                continue;
            }
            '(' | ')' | '[' | ']' | ',' => {
                i += 1;
                Word::Mark(["(", ")", "[", "]", ","].into_iter().find(|m| m.starts_with(c)).unwrap_or(","))
            }
            '=' | '!' if chars.get(i + 1) == Some(&'=') => {
                i += 2;
                Word::Mark(if c == '=' { "==" } else { "!=" })
            }
            '\'' | '"' => {
                let len = chars[i + 1..].iter().position(|d| *d == c);
                let len = len.ok_or(StatusError { pos, wrong: Wrong::OpenQuote })?;
                let text = chars[i + 1..i + 1 + len].iter().collect();
                i += len + 2;
                Word::Text(text)
            }
            c if c.is_alphanumeric() || c == '_' => {
                let rest = chars[i..].iter();
                let name: String = rest.take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                i += name.chars().count();
                Word::Name(name)
            }
            c => return Err(StatusError { pos, wrong: Wrong::Character(c) }),
        };
        words.push((Some(word), pos));
    }
    words.push((None, place(chars.len())));
    Ok(words)
}

impl Parser {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.at).and_then(|(w, _)| w.as_ref())
    }

    fn pos(&self) -> Pos {
        self.words.get(self.at).map_or(Pos::default(), |(_, pos)| *pos)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let hit = match self.peek() {
            Some(Word::Name(name)) => name == wanted,
            Some(Word::Mark(mark)) => *mark == wanted,
            Some(Word::Text(_)) | None => false,
        };
        self.at += usize::from(hit);
        hit
    }

    fn expected(&self, expected: &'static str) -> StatusError {
        let found = match self.peek() {
            Some(Word::Name(name)) => format!("`{name}`"),
            Some(Word::Text(text)) => format!("`{text:?}`"),
            Some(Word::Mark(mark)) => format!("`{mark}`"),
            None => "the end of the condition".to_owned(),
        };
        StatusError { pos: self.pos(), wrong: Wrong::Expected { expected, found } }
    }

    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, StatusError>) -> Result<T, StatusError> {
        if self.depth == DEPTH_MAX {
            return Err(StatusError { pos: self.pos(), wrong: Wrong::Depth });
        }
        self.depth += 1;
        let done = f(self);
        self.depth -= 1;
        done
    }

    fn several(
        &mut self,
        word: &str,
        one: fn(&mut Self) -> Result<Expr, StatusError>,
        all: fn(Vec<(Expr, Pos)>) -> Expr,
    ) -> Result<Expr, StatusError> {
        let pos = self.pos();
        let first = one(self)?;
        let mut list = vec![(first, pos)];
        while self.take(word) {
            let pos = self.pos();
            list.push((one(self)?, pos));
        }
        Ok(match <[(Expr, Pos); 1]>::try_from(list) {
            Ok([(only, _)]) => only,
            Err(list) => all(list),
        })
    }

    fn or(&mut self) -> Result<Expr, StatusError> {
        self.several("or", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr, StatusError> {
        self.several("and", Self::not, Expr::And)
    }

    fn not(&mut self) -> Result<Expr, StatusError> {
        if self.take("not") {
            let pos = self.pos();
            return Ok(Expr::Not(Box::new(self.deeper(Self::not)?), pos));
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<Expr, StatusError> {
        let left = self.value()?;
        let pos = self.pos();
        let how = if self.take("==") {
            Compare::Equal
        } else if self.take("!=") {
            Compare::NotEqual
        } else if self.take("in") {
            Compare::In
        } else if self.take("not") {
            if !self.take("in") {
                return Err(self.expected("`in`"));
            }
            Compare::NotIn
        } else {
            return Ok(left);
        };
        let right = self.value()?;
        Ok(Expr::Compare { how, left: Box::new(left), right: Box::new(right), pos })
    }

    fn value(&mut self) -> Result<Expr, StatusError> {
        let pos = self.pos();
        if self.take("(") {
            let inner = self.deeper(Self::or)?;
            return if self.take(")") { Ok(inner) } else { Err(self.expected("`)`")) };
        }
        if self.take("[") {
            let mut all = Vec::new();
            while !self.take("]") {
                all.push(self.deeper(Self::value)?);
                if !self.take(",") && !matches!(self.peek(), Some(Word::Mark("]"))) {
                    return Err(self.expected("`,` or `]`"));
                }
            }
            return Ok(Expr::List(all));
        }
        let expr = match self.peek() {
            Some(Word::Text(text)) => Expr::Text(text.clone()),
            Some(Word::Name(name)) => match name.as_str() {
                "True" => Expr::Bool(true),
                "False" => Expr::Bool(false),
                "and" | "or" | "not" | "in" => return Err(self.expected("a name or a value")),
                _ => Expr::Name(name.clone(), pos),
            },
            Some(Word::Mark(_)) | None => return Err(self.expected("a name or a value")),
        };
        self.at += 1;
        Ok(expr)
    }
}
