//! Words, brackets and strings of a status file: the part of Python's literals that such files use.

use super::error::{Pos, StatusError, Wrong};

/// A piece of the file and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) pos: Pos,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// One of `[]{}:,()`.
    Mark(char),
    /// A bare word.
    Word(String),
    /// A quoted text.
    Quoted(Quoted),
    /// The end of the file.
    End,
}

impl TokenKind {
    /// For error messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Mark(c) => format!("`{c}`"),
            Self::Word(w) => format!("`{w}`"),
            Self::Quoted(q) => format!("`{:?}`", q.text),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

/// A quoted text, and where each of its characters stands, so that what is wrong inside can be pointed at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quoted {
    pub(super) text: String,
    pub(super) places: Vec<Pos>,
}

/// Takes the whole text apart. Comments and blanks go; strings beside each other become one, as in Python.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, StatusError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut chars = Chars { rest: text.chars().peekable(), pos: Pos { line: 1, column: 1 } };
    let mut tokens: Vec<Token> = Vec::new();
    while let Some(&c) = chars.rest.peek() {
        let pos = chars.pos;
        let kind = match c {
            '#' => {
                while chars.rest.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
                continue;
            }
            c if c.is_whitespace() => {
                chars.next();
                continue;
            }
            '\\' => {
                // The line goes on in the next one.
                chars.next();
                if chars.rest.next_if_eq(&'\r').is_some() {
                    chars.pos.column += 1;
                }
                match chars.next() {
                    Some('\n') => continue,
                    _ => return Err(StatusError { pos, wrong: Wrong::Character('\\') }),
                }
            }
            '[' | ']' | '{' | '}' | '(' | ')' | ':' | ',' => {
                chars.next();
                TokenKind::Mark(c)
            }
            '\'' | '"' => {
                let quoted = chars.quoted(pos)?;
                if let Some(Token { kind: TokenKind::Quoted(before), .. }) = tokens.last_mut() {
                    before.text.push_str(&quoted.text);
                    before.places.extend(quoted.places);
                    continue;
                }
                TokenKind::Quoted(quoted)
            }
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::new();
                while let Some(c) = chars.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    chars.pos.column += 1;
                    word.push(c);
                }
                TokenKind::Word(word)
            }
            c => return Err(StatusError { pos, wrong: Wrong::Character(c) }),
        };
        tokens.push(Token { kind, pos });
    }
    tokens.push(Token { kind: TokenKind::End, pos: chars.pos });
    Ok(tokens)
}

struct Chars<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    pos: Pos,
}

impl Chars<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.pos = Pos { line: self.pos.line + 1, column: 1 };
        } else {
            self.pos.column += 1;
        }
        Some(c)
    }

    fn quoted(&mut self, start: Pos) -> Result<Quoted, StatusError> {
        let open = StatusError { pos: start, wrong: Wrong::OpenQuote };
        let quote = self.next();
        let mut quoted = Quoted { text: String::new(), places: Vec::new() };
        loop {
            let pos = self.pos;
            let mut c = match self.next() {
                None | Some('\n') => return Err(open),
                c if c == quote => return Ok(quoted),
                Some(c) => c,
            };
            if c == '\\' {
                c = match self.next() {
                    None => return Err(open),
                    // The line goes on in the next one.
                    Some('\n') => continue,
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(c @ ('\\' | '\'' | '"')) => c,
                    // As in Python, any other backslash is itself.
                    Some(other) => {
                        quoted.text.push('\\');
                        quoted.places.push(pos);
                        other
                    }
                };
            }
            quoted.text.push(c);
            quoted.places.push(pos);
        }
    }
}
