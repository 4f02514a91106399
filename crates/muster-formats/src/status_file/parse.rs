//! Tokens to sections.

use super::condition::{self, Condition};
use super::error::{Pos, StatusError, Wrong};
use super::lex::{Quoted, Token, TokenKind, lex};
use super::words::{Outcomes, bare, quoted};
use super::{RawItem, RawRule, Section, StatusFile};

pub(super) fn file(text: &str) -> Result<StatusFile, StatusError> {
    let mut parser = Parser { tokens: lex(text)?, at: 0 };
    parser.mark('[', "`[`, with which a status file begins")?;
    let sections = parser.list(']', "`,` or `]`", Parser::section)?;
    match parser.kind() {
        TokenKind::End => Ok(StatusFile { sections }),
        _ => Err(parser.expected("the end of the file")),
    }
}

struct Parser {
    /// The last is [`TokenKind::End`], which is never taken.
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn token(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> &TokenKind {
        &self.token().kind
    }

    fn pos(&self) -> Pos {
        self.token().pos
    }

    fn expected(&self, expected: &'static str) -> StatusError {
        StatusError { pos: self.pos(), wrong: Wrong::Expected { expected, found: self.kind().shown() } }
    }

    fn take(&mut self, mark: char) -> bool {
        let hit = *self.kind() == TokenKind::Mark(mark);
        self.at += usize::from(hit);
        hit
    }

    fn mark(&mut self, mark: char, expected: &'static str) -> Result<(), StatusError> {
        if self.take(mark) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// Things with commas between them, a last comma allowed, up to the closing mark.
    fn list<T>(
        &mut self,
        close: char,
        expected: &'static str,
        mut one: impl FnMut(&mut Self) -> Result<T, StatusError>,
    ) -> Result<Vec<T>, StatusError> {
        let mut all = Vec::new();
        while !self.take(close) {
            all.push(one(self)?);
            if !self.take(',') && *self.kind() != TokenKind::Mark(close) {
                return Err(self.expected(expected));
            }
        }
        Ok(all)
    }

    fn section(&mut self) -> Result<Section, StatusError> {
        self.mark('[', "`[`, with which a section begins")?;
        let condition = self.condition()?;
        self.mark(',', "`,` after the condition")?;
        self.mark('{', "`{`, with which the rules begin")?;
        let rules = self.list('}', "`,` or `}`", Self::rule)?;
        self.take(',');
        self.mark(']', "`]` after the rules")?;
        Ok(Section { condition, rules })
    }

    fn condition(&mut self) -> Result<Condition, StatusError> {
        let pos = self.pos();
        let condition = match self.kind() {
            TokenKind::Word(word) if word == "ALWAYS" => Condition::Always,
            TokenKind::Quoted(text) => Condition::When(condition::parse(text, pos)?, pos),
            TokenKind::Mark(_) | TokenKind::Word(_) | TokenKind::End => {
                return Err(self.expected("`ALWAYS` or a quoted condition"));
            }
        };
        self.at += 1;
        Ok(condition)
    }

    fn rule(&mut self) -> Result<RawRule, StatusError> {
        let pos = self.pos();
        let TokenKind::Quoted(Quoted { text: key, .. }) = self.kind() else {
            return Err(self.expected("a quoted name"));
        };
        let key = key.clone();
        if key.is_empty() {
            return Err(StatusError { pos, wrong: Wrong::EmptyKey });
        }
        self.at += 1;
        self.mark(':', "`:` after the name")?;
        let items = if self.take('[') {
            self.list(']', "`,` or `]`", Self::item)?
        } else {
            vec![RawItem::Plain(self.outcome()?)]
        };
        Ok(RawRule { key, pos, items })
    }

    fn item(&mut self) -> Result<RawItem, StatusError> {
        if !self.take('[') {
            return Ok(RawItem::Plain(self.outcome()?));
        }
        let pos = self.pos();
        let condition = self.condition()?;
        if condition.mentions_variant() {
            return Err(StatusError { pos, wrong: Wrong::NestedVariant });
        }
        self.mark(',', "`,` after the condition")?;
        let outcomes = self.list(']', "`,` or `]`", Self::outcome)?;
        Ok(RawItem::When(condition, outcomes))
    }

    fn outcome(&mut self) -> Result<Outcomes, StatusError> {
        let pos = self.pos();
        let outcomes = match self.kind() {
            TokenKind::Word(word) => bare(word, pos)?,
            TokenKind::Quoted(text) => quoted(&text.text, pos)?,
            TokenKind::Mark(_) | TokenKind::End => return Err(self.expected("an outcome")),
        };
        self.at += 1;
        Ok(outcomes)
    }
}
