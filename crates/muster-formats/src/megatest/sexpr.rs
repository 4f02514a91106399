//! S-expressions as Scheme programs write them, read as data: nothing is evaluated.
//!
//! Enough for rule files and data: lists, strings, numbers, symbols, keywords (`expires:`), `#t` and `#f`, regular
//! expressions (`#/…/i`), quotes, and all three sorts of comments. What else Scheme has is refused with its line.

use thiserror::Error;

/// Deepest nesting of lists.
// Limit: reading and dropping recurse; a file of brackets must not take the stack.
const DEPTH_MAX: usize = 100;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// What it is.
    pub value: Value,
    /// Its line, from 1.
    pub line: u32,
}

/// What a datum is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `name`
    Symbol(String),
    /// `name:` or `#:name`, without the colon.
    Keyword(String),
    /// `"text"`
    Text(String),
    /// `1`, `-0.5`, `110e9`, and as it was written.
    Number(f64, String),
    /// `#/source/flags`; `\/` in it is a plain `/`.
    Regex {
        /// Between the slashes.
        source: String,
        /// Behind them.
        flags: String,
    },
    /// `#t` or `#f`
    Bool(bool),
    /// `(…)` or `[…]`
    List(Vec<Datum>),
    /// `'datum`
    Quoted(Box<Datum>),
}

/// Text that is no S-expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub problem: String,
}

/// All data of a text.
///
/// # Errors
/// A list or text is not closed, or something is written that is none of the above.
pub fn read(text: &str) -> Result<Vec<Datum>, SyntaxError> {
    let mut reader = Reader { rest: text, line: 1, depth: 0 };
    let mut data = Vec::new();
    while let Some(datum) = reader.datum()? {
        data.push(datum);
    }
    match reader.rest.chars().next() {
        None => Ok(data),
        Some(bracket) => Err(reader.error(format!("`{bracket}` closes nothing"))),
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, problem: problem.into() }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += u32::from(c == '\n');
        Some(c)
    }

    /// Takes as many bytes, which hold no line feed.
    fn take_str(&mut self, len: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        head
    }

    /// The next datum; `None` at the end of the text and before a closing bracket.
    fn datum(&mut self) -> Result<Option<Datum>, SyntaxError> {
        self.skip_blanks()?;
        let line = self.line;
        let Some(c) = self.rest.chars().next() else { return Ok(None) };
        let value = match c {
            ')' | ']' => return Ok(None),
            '(' | '[' => {
                self.take();
                Value::List(self.list(line, if c == '(' { ')' } else { ']' })?)
            }
            '"' => {
                self.take();
                Value::Text(self.text(line)?)
            }
            '\'' => {
                self.take();
                self.descend()?;
                let quoted = self.datum()?.ok_or_else(|| self.error("nothing is quoted by `'`"))?;
                self.depth -= 1;
                Value::Quoted(Box::new(quoted))
            }
            '`' | ',' => return Err(self.error(format!("`{c}` is Scheme, and nothing is evaluated here"))),
            '#' if self.rest.starts_with("#/") => {
                self.take_str(2);
                self.regex(line)?
            }
            _ => self.word()?,
        };
        Ok(Some(Datum { value, line }))
    }

    fn descend(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("lists are nested more than {DEPTH_MAX} deep")));
        }
        Ok(())
    }

    fn list(&mut self, began: u32, close: char) -> Result<Vec<Datum>, SyntaxError> {
        self.descend()?;
        let mut data = Vec::new();
        while let Some(datum) = self.datum()? {
            data.push(datum);
        }
        match self.take() {
            Some(c) if c == close => {}
            Some(c) => {
                return Err(
                    self.error(format!("`{c}` closes the list of line {began}, which `{close}` must"))
                );
            }
            None => return Err(SyntaxError { line: began, problem: "this list is not closed".to_owned() }),
        }
        self.depth -= 1;
        Ok(data)
    }

    fn text(&mut self, began: u32) -> Result<String, SyntaxError> {
        let mut text = String::new();
        loop {
            let c = self.take();
            let escaped = match c {
                None => {
                    return Err(SyntaxError { line: began, problem: "this text is not closed".to_owned() });
                }
                Some('"') => return Ok(text),
                Some('\\') => self.take(),
                Some(c) => {
                    text.push(c);
                    continue;
                }
            };
            text.push(match escaped {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('a') => '\x07',
                Some('x') => {
                    let digits = self.rest.bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
                    let code = u8::from_str_radix(self.take_str(digits), 16);
                    char::from(code.map_err(|_| self.error("`\\x` wants two hexadecimal digits"))?)
                }
                Some('\n') => {
                    // The line goes on behind the blanks of the next one.
                    let blanks = self.rest.bytes().take_while(|b| matches!(b, b' ' | b'\t')).count();
                    self.take_str(blanks);
                    continue;
                }
                Some(c) => c,
                None => continue,
            });
        }
    }

    fn regex(&mut self, began: u32) -> Result<Value, SyntaxError> {
        let mut source = String::new();
        loop {
            match self.take() {
                None | Some('\n') => {
                    let problem = "this regular expression is not closed by `/` on its line".to_owned();
                    return Err(SyntaxError { line: began, problem });
                }
                Some('/') => break,
                Some('\\') => match self.take() {
                    Some('/') => source.push('/'),
                    Some(c) => source.extend(['\\', c]),
                    None => {}
                },
                Some(c) => source.push(c),
            }
        }
        let flags = self.rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        Ok(Value::Regex { source, flags: self.take_str(flags).to_owned() })
    }

    fn word(&mut self) -> Result<Value, SyntaxError> {
        let ends = |c: char| c.is_whitespace() || "()[]\";'".contains(c);
        let len = self.rest.find(ends).unwrap_or(self.rest.len());
        let word = self.take_str(len);
        let number = || {
            word.parse().ok().filter(|n: &f64| n.is_finite() && word.contains(|c: char| c.is_ascii_digit()))
        };
        Ok(match word {
            "#t" | "#true" => Value::Bool(true),
            "#f" | "#false" => Value::Bool(false),
            _ if let Some(name) = word.strip_prefix("#:").filter(|n| !n.is_empty()) => {
                Value::Keyword(name.to_owned())
            }
            _ if word.starts_with('#') => {
                return Err(self.error(format!("`{word}` is Scheme, and nothing is evaluated here")));
            }
            _ if let Some(n) = number() => Value::Number(n, word.to_owned()),
            _ => match word.strip_suffix(':').filter(|n| !n.is_empty()) {
                Some(name) => Value::Keyword(name.to_owned()),
                None => Value::Symbol(word.to_owned()),
            },
        })
    }

    /// Blanks and comments: `; to the end of the line`, `#| nested |#`, `#;datum`.
    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            if self.rest.starts_with(char::is_whitespace) {
                self.take();
            } else if self.rest.starts_with(';') || self.rest.starts_with("#!") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.take_str(end);
            } else if self.rest.starts_with("#|") {
                self.block_comment()?;
            } else if self.rest.starts_with("#;") {
                self.take_str(2);
                self.descend()?;
                let _left_out = self.datum()?;
                self.depth -= 1;
            } else {
                return Ok(());
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), SyntaxError> {
        let began = self.line;
        let mut open = 0;
        loop {
            if self.rest.starts_with("#|") {
                self.take_str(2);
                open += 1;
            } else if self.rest.starts_with("|#") {
                self.take_str(2);
                open -= 1;
                if open == 0 {
                    return Ok(());
                }
            } else if self.take().is_none() {
                return Err(SyntaxError { line: began, problem: "this comment is not closed".to_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Value {
        let mut data = read(text).unwrap();
        assert_eq!(data.len(), 1, "{text}");
        data.remove(0).value
    }

    #[test]
    fn everything_that_rule_files_are_made_of_is_read() {
        assert_eq!(one("expect:error"), Value::Symbol("expect:error".into()));
        assert_eq!(one("expires:"), Value::Keyword("expires".into()));
        assert_eq!(one("#:expires"), Value::Keyword("expires".into()));
        assert_eq!(one("<="), Value::Symbol("<=".into()));
        assert_eq!(one("-"), Value::Symbol("-".into()));
        assert_eq!(one("110e9"), Value::Number(110e9, "110e9".into()));
        assert_eq!(one("-.5"), Value::Number(-0.5, "-.5".into()));
        assert_eq!(one(r#""a \"b\" \\ \x41""#), Value::Text("a \"b\" \\ A".into()));
        assert_eq!(one(r"#/a\/b \d+/i"), Value::Regex { source: r"a/b \d+".into(), flags: "i".into() });
        assert_eq!(one("#f ; and a comment"), Value::Bool(false));
        assert_eq!(one("#| a #| b |# c |# #t"), Value::Bool(true));
        assert_eq!(one("#;(left out #/x/) nan"), Value::Symbol("nan".into()), "a word, no number");
    }

    #[test]
    fn lists_know_their_lines() {
        let data = read(";; rules\n(a\n  (b)) ; c\n'(d)").unwrap();
        let Value::List(a) = &data[0].value else { panic!("{data:?}") };
        assert_eq!((data[0].line, a[1].line, data[1].line), (2, 3, 4));
        assert!(matches!(&data[1].value, Value::Quoted(_)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, problem) in [
            ("\n(a", 2, "this list is not closed"),
            ("a\n)", 2, "`)` closes nothing"),
            ("(a]", 1, "`]` closes the list of line 1, which `)` must"),
            ("\"a\n", 1, "this text is not closed"),
            ("#/a\n/", 1, "this regular expression is not closed by `/` on its line"),
            ("\n#|", 2, "this comment is not closed"),
            ("`a", 1, "``` is Scheme, and nothing is evaluated here"),
            ("#\\a", 1, "`#\\a` is Scheme, and nothing is evaluated here"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.line, error.problem.as_str()), (line, problem), "{text:?}");
        }
        assert!(read(&"(".repeat(100_000)).is_err());
        assert!(read(&"'".repeat(100_000)).is_err());
        assert!(read(&"#;".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_takes_the_reader_down(text in r##"[()\[\]'"#/;|a:.0-9\\\n é]{0,60}"##) {
            let _any = read(&text);
        }
    }
}
