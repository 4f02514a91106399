//! Regular expressions of rule files: from the way Scheme's irregex reads them to the way ours do.
//!
//! Most are the same in both. The differences are rewritten, so that every pattern means what it did; look-around and
//! back-references go to a second, slower engine; what has no counterpart is refused by name.
//!
//! A log is looked at line by line, and a line never holds its line feed. So whatever could match one (`[^x]`, `\s`)
//! is written so that it cannot: then a pattern finds the same in a whole block of lines as in each line by itself.

use fancy_regex::{BytesMode, Regex as FancyRegex};
use regex::bytes::{Regex, RegexBuilder};
use std::fmt::Write as _;

/// A regular expression of a rule file.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was written, without its slashes.
    pub source: String,
    /// What was behind them.
    pub flags: String,
    pub(super) engine: Engine,
}

/// What looks for a pattern.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    /// One pass, whatever the line; several go together.
    Plain {
        /// In our grammar.
        text: String,
        regex: Regex,
    },
    /// May try again and again; for look-around and back-references.
    Backtracking(Box<FancyRegex>),
}

/// Most work for one pattern on one line by the slower engine, in its steps.
// Limit: a hostile line must not hold the judge up; a pattern that reaches it is told.
const BACKTRACK_MAX: usize = 200_000;

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, &self.flags) == (&other.source, &other.flags)
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is no regular expression, too large a one, or one that has no counterpart here: in words.
    pub fn new(source: &str, flags: &str) -> Result<Self, String> {
        let mut prefix = String::new();
        for flag in flags.chars() {
            match flag {
                'i' | 'x' if !prefix.contains(flag) => prefix.push(flag),
                // A line is one line to both, and bytes beyond ASCII are looked for as they are.
                'i' | 'x' | 's' | 'm' | 'l' | 'u' => {}
                other => return Err(format!("the flag `{other}` has no counterpart")),
            }
        }
        let extended = prefix.contains('x');
        if !prefix.is_empty() {
            prefix = format!("(?{prefix})");
        }
        let engine = match rewrite(source, Dialect::Plain, extended) {
            Ok(text) => {
                let text = prefix + &text;
                let regex = builder(&text).build().map_err(|e| in_words(&e))?;
                Engine::Plain { text, regex }
            }
            Err(Refused::NeedsBacktracking) => {
                let text =
                    rewrite(source, Dialect::Backtracking, extended).map_err(|refused| match refused {
                        Refused::Because(why) => why,
                        Refused::NeedsBacktracking => "it has no counterpart".to_owned(),
                    })?;
                let mut regex = fancy_regex::RegexBuilder::new(&(prefix + &text));
                regex.bytes_mode(BytesMode::Ascii).multi_line(true).backtrack_limit(BACKTRACK_MAX);
                Engine::Backtracking(Box::new(regex.build().map_err(|e| e.to_string())?))
            }
            Err(Refused::Because(why)) => return Err(why),
        };
        Ok(Self { source: source.to_owned(), flags: flags.to_owned(), engine })
    }

    /// As rule files write it.
    pub fn written(&self) -> String {
        format!("#/{}/{}", self.source.replace('/', "\\/"), self.flags)
    }

    /// Whether it finds something in a line.
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.capture(line, 0).is_some()
    }

    /// A group's text in a line: `None` where the pattern does not match or the group took no part.
    pub(super) fn capture(&self, line: &[u8], group: usize) -> Option<String> {
        match &self.engine {
            Engine::Plain { regex, .. } => {
                let group = regex.captures(line)?.get(group)?;
                Some(String::from_utf8_lossy(group.as_bytes()).into_owned())
            }
            Engine::Backtracking(regex) => {
                let group = regex.captures(line).ok()??.get(group)?;
                Some(String::from_utf8_lossy(group.as_bytes()).into_owned())
            }
        }
    }

    /// How many groups it has, the whole match not counted.
    pub(super) fn groups(&self) -> usize {
        match &self.engine {
            Engine::Plain { regex, .. } => regex.captures_len() - 1,
            Engine::Backtracking(regex) => regex.captures_len() - 1,
        }
    }
}

/// How patterns are compiled: bytes, and ASCII classes.
pub(super) fn builder(text: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(text);
    builder.unicode(false).multi_line(true);
    builder
}

/// What is wrong with a pattern, in one line.
pub(super) fn in_words(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Plain,
    Backtracking,
}

#[derive(Debug)]
enum Refused {
    NeedsBacktracking,
    Because(String),
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

fn rewrite(source: &str, dialect: Dialect, extended: bool) -> Result<String, Refused> {
    let mut rewriter =
        Rewriter { rest: source, out: String::with_capacity(source.len() + 16), dialect, extended };
    while let Some(c) = rewriter.take() {
        rewriter.outside(c)?;
    }
    if extended {
        // A comment at the end must not take what is put behind the pattern.
        rewriter.out.push('\n');
    }
    Ok(rewriter.out)
}

struct Rewriter<'a> {
    rest: &'a str,
    out: String,
    dialect: Dialect,
    extended: bool,
}

impl Rewriter<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn plain(&self) -> bool {
        self.dialect == Dialect::Plain
    }

    fn backtracks(&self) -> Result<(), Refused> {
        if self.plain() { Err(Refused::NeedsBacktracking) } else { Ok(()) }
    }

    /// A character outside brackets.
    fn outside(&mut self, c: char) -> Result<(), Refused> {
        match c {
            '\\' => return self.escape(),
            '[' => return self.class(),
            '(' if self.eat("?") => return self.group(),
            '{' => match repetition(self.rest) {
                Some((len, text)) if !self.out.is_empty() => {
                    self.rest = &self.rest[len..];
                    self.out.push_str(&text);
                }
                _ => self.out.push_str("\\{"),
            },
            '}' => self.out.push_str("\\}"),
            c => self.character(c),
        }
        Ok(())
    }

    /// A character that stands for itself or is the same in both grammars.
    fn character(&mut self, c: char) {
        if !c.is_ascii() && self.plain() {
            self.out.extend(["(?u:", c.encode_utf8(&mut [0; 4]), ")"]);
        } else {
            self.out.push(c);
        }
    }

    /// A character that means nothing but itself.
    fn literal(&mut self, c: char) {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != '<' && c != '>' {
            self.out.push('\\');
        }
        self.character(c);
    }

    fn escape(&mut self) -> Result<(), Refused> {
        let Some(c) = self.take() else { return Err("it ends with a backslash".to_owned().into()) };
        match c {
            '1'..='9' => {
                self.backtracks()?;
                self.out.extend(['\\', c]);
            }
            '0' => self.out.push_str("\\x00"),
            'd' => self.out.push_str("[0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            's' => self.out.push_str("[\\t\\x0B\\x0C\\r ]"),
            'D' => self.out.push_str("[^0-9\\n]"),
            'W' => self.out.push_str("[^0-9A-Za-z_\\n]"),
            'S' => self.out.push_str("[^\\t\\n\\x0B\\x0C\\r ]"),
            'h' => self.out.push_str("[\\t ]"),
            'b' | 'B' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.out.extend(['\\', c]),
            'A' => self.out.push('^'),
            'z' | 'Z' => self.out.push('$'),
            'e' => self.out.push_str("\\x1B"),
            'x' => self.hexadecimal()?,
            '<' => self.out.push_str(if self.plain() { "\\<" } else { "\\b(?=\\w)" }),
            '>' => self.out.push_str(if self.plain() { "\\>" } else { "\\b(?<=\\w)" }),
            'Q' => {
                let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                for c in quoted.chars() {
                    self.literal(c);
                }
                self.rest = rest;
            }
            c if c.is_ascii_alphabetic() => return Err(format!("`\\{c}` has no counterpart").into()),
            c => self.literal(c),
        }
        Ok(())
    }

    /// Behind `\x`.
    fn hexadecimal(&mut self) -> Result<(), Refused> {
        let braces = self.eat("{");
        let most = if braces { 6 } else { 2 };
        let len = self.rest.bytes().take(most).take_while(u8::is_ascii_hexdigit).count();
        let code = u32::from_str_radix(&self.rest[..len], 16);
        let code = code.ok().filter(|c| *c < 0x80 || !self.plain() || !braces);
        let code = code.ok_or("`\\x` wants hexadecimal digits of a byte".to_owned())?;
        self.rest = &self.rest[len..];
        if braces && !self.eat("}") {
            return Err("`\\x{` is not closed".to_owned().into());
        }
        // Writing to a text cannot fail.
        let _written = if self.plain() {
            write!(self.out, "\\x{code:02X}")
        } else {
            write!(self.out, "\\x{{{code:X}}}")
        };
        Ok(())
    }

    /// Behind `(?`.
    fn group(&mut self) -> Result<(), Refused> {
        for around in ["=", "!", "<=", "<!", ">"] {
            if self.eat(around) {
                self.backtracks()?;
                self.out.extend(["(?", around]);
                return Ok(());
            }
        }
        if self.eat("#") {
            let (_, rest) = self.rest.split_once(')').ok_or("the comment `(?#` is not closed".to_owned())?;
            self.rest = rest;
            return Ok(());
        }
        if self.eat("<") || self.eat("P<") {
            self.out.push_str("(?<");
            return Ok(());
        }
        let end = self.rest.find([':', ')']).ok_or("`(?` is not closed".to_owned())?;
        let flags = &self.rest[..end];
        let closes = self.rest[end..].starts_with(')');
        if let Some(other) = flags.chars().find(|c| !"ixsmu-".contains(*c)) {
            return Err(format!("`(?{other}` has no counterpart").into());
        }
        let kept: String = flags.chars().filter(|c| "ix-".contains(*c)).collect();
        let kept = kept.trim_end_matches('-');
        self.rest = &self.rest[end + 1..];
        match (closes, kept) {
            (true, "") => {}
            (true, kept) => self.out.extend(["(?", kept, ")"]),
            (false, kept) => self.out.extend(["(?", kept, ":"]),
        }
        Ok(())
    }

    /// Behind `[`.
    fn class(&mut self) -> Result<(), Refused> {
        let negated = self.eat("^");
        let mut items = String::new();
        let mut beyond_ascii = false;
        // Whether a line feed would be in it.
        let mut line_feed = false;
        let mut first = true;
        loop {
            let c = self.take().ok_or("a `[` is not closed".to_owned())?;
            match c {
                ']' if !first => break,
                '[' if self.rest.starts_with(':') => {
                    let (name, rest) =
                        self.rest[1..].split_once(":]").ok_or("`[:` is not closed".to_owned())?;
                    line_feed |= matches!(name, "space" | "cntrl") || name.starts_with('^');
                    items.extend(["[:", name, ":]"]);
                    self.rest = rest;
                    self.hyphen_after_set(&mut items);
                }
                '\\' => {
                    let c = self.take().ok_or("a `[` is not closed".to_owned())?;
                    match c {
                        'd' => items.push_str("0-9"),
                        'w' => items.push_str("0-9A-Za-z_"),
                        's' => items.push_str("\\t\\x0B\\x0C\\r "),
                        'D' => items.push_str("[^0-9]"),
                        'W' => items.push_str("[^0-9A-Za-z_]"),
                        'S' => items.push_str("[^\\t\\n\\x0B\\x0C\\r ]"),
                        'h' => items.push_str("\\t "),
                        'b' => items.push_str("\\x08"),
                        'e' => items.push_str("\\x1B"),
                        'a' | 'f' | 't' | 'n' | 'r' | 'v' => items.extend(['\\', c]),
                        '0' => items.push_str("\\x00"),
                        'x' => {
                            let mark = self.out.len();
                            self.hexadecimal()?;
                            items.push_str(&self.out.split_off(mark));
                        }
                        c if c.is_ascii_alphanumeric() => {
                            return Err(format!("`\\{c}` between brackets has no counterpart").into());
                        }
                        c if c.is_ascii() => items.extend(['\\', c]),
                        c => {
                            beyond_ascii = true;
                            items.push(c);
                        }
                    }
                    line_feed |= matches!(c, 'D' | 'W' | 'n');
                    if "dwsDWSh".contains(c) {
                        self.hyphen_after_set(&mut items);
                    }
                }
                '[' | ']' | '&' | '~' | '#' => items.extend(['\\', c]),
                '-' if self.rest.starts_with('-') => items.push_str("\\-"),
                ' ' if self.extended => items.push_str("\\x20"),
                c => {
                    beyond_ascii |= !c.is_ascii();
                    items.push(c);
                }
            }
            first = false;
        }
        let unicode = beyond_ascii && self.plain();
        self.out.push_str(if unicode { "(?u:" } else { "" });
        match (negated, line_feed) {
            (true, _) => self.out.extend(["[^", &items, "\\n]"]),
            (false, true) => self.out.extend(["[", &items, "&&[^\\n]]"]),
            (false, false) => self.out.extend(["[", &items, "]"]),
        }
        self.out.push_str(if unicode { ")" } else { "" });
        Ok(())
    }

    /// A hyphen behind a set (`[\w-.]`) begins no range.
    fn hyphen_after_set(&mut self, items: &mut String) {
        if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            self.rest = &self.rest[1..];
            items.push_str("\\-");
        }
    }
}

/// How far a repetition goes that begins behind `{`, and how we write it; `None` where the brace is one.
fn repetition(rest: &str) -> Option<(usize, String)> {
    let end = rest.find('}')?;
    let (min, max) = match rest[..end].split_once(',') {
        None => (&rest[..end], None),
        Some((min, max)) => (min, Some(max)),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(min) || !max.is_none_or(digits) || (min.is_empty() && max.is_none_or(str::is_empty)) {
        return None;
    }
    let min = if min.is_empty() { "0" } else { min };
    let text = max.map_or_else(|| format!("{{{min}}}"), |max| format!("{{{min},{max}}}"));
    Some((end + 1, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, flags: &str, line: &str) -> bool {
        Pattern::new(source, flags)
            .unwrap_or_else(|e| panic!("{source}: {e}"))
            .capture(line.as_bytes(), 0)
            .is_some()
    }

    #[test]
    fn patterns_mean_what_they_do_in_scheme() {
        for (source, flags, yes, no) in [
            ("error", "i", "ERROR: x", "eror"),
            (r"^\s*#", "", "  # comment", "x # comment"),
            (r"a{2}b", "", "aab", "ab"),
            (r"a{,2}b$", "", "ab", "abc"),
            // Braces that repeat nothing are braces.
            (r"{ *}", "", "int main() {  }", "{x}"),
            (r"${HOME}", "", "", "${HOME}"),
            (r"x{y}", "", "x{y}", "xy"),
            // Brackets within brackets are themselves.
            (r"[a[b]", "", "[", "c"),
            (r"[]x]+$", "", "]x]", "y"),
            (r"[^]]", "", "x", "]"),
            (r"[a&&b]", "", "&", "c"),
            (r"[a--]", "", "-", "c"),
            (r"^[\w-.]+$", "", "a-b.c", "a b"),
            (r"[[:digit:]]+", "", "x1", "x"),
            (r"[\d\.\+\-e]+v", "", "1.9e+0v", "v"),
            (r"\/path\/to", "", "/path/to", "path"),
            (r"\<word\>", "", "a word b", "swords"),
            (r"\Qa.b\E$", "", "xa.b", "axb"),
            (r"tab\there", "", "tab\there", "tab here"),
            (r"x # a comment", "x", "x", "#"),
            (r"x(?#comment)y", "", "xy", "x"),
            (r"(?i:a)b", "", "Ab", "AB"),
            (r"(?s)a.b", "", "a.b", "ab"),
            (r"é+", "", "éé", "e"),
            (r"[éà]$", "", "cà", "c"),
            (r"\w$", "", "a", "é"),
            // The slower engine.
            (r"error(?! free)", "", "error here", "error free"),
            (r"(?<!no )error", "", "an error", "no error"),
            (r"(\w+) \1", "", "the the", "the cat"),
            (r"\bERROR\b(?=:)", "", "ERROR: x", "ERRORS: x"),
        ] {
            if !yes.is_empty() {
                assert!(found(source, flags, yes), "{source} in {yes:?}");
            }
            if source != r"${HOME}" {
                assert!(!found(source, flags, no), "{source} in {no:?}");
            }
        }
    }

    #[test]
    fn nothing_reaches_beyond_its_line() {
        for source in [
            r"a[^x]*b",
            r"a\s+b",
            r"a\W+b",
            r"a\D*b",
            r"a[\W]*b",
            r"a[[:space:]]*b",
            r"a[[:cntrl:]]b",
            r"a.*b",
        ] {
            assert!(!found(source, "", "a\nb"), "{source}");
        }
        assert!(found("^b$", "", "a\nb\nc"), "lines begin and end within a block");
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        for (source, flags, why) in [
            (r"\Ka", "", r"`\K` has no counterpart"),
            (r"\p{L}", "", r"`\p` has no counterpart"),
            (r"(?(1)a|b)", "", "`(?(` has no counterpart"),
            (r"[a", "", "a `[` is not closed"),
            (r"a\", "", "it ends with a backslash"),
            (r"a", "g", "the flag `g` has no counterpart"),
            (r"(a", "", "unclosed group"),
            (r"*a", "", "repetition operator missing expression"),
        ] {
            assert_eq!(Pattern::new(source, flags).unwrap_err(), why, "{source}");
        }
        let large = Pattern::new("((a{1000}){1000}){1000}", "").unwrap_err();
        assert!(large.contains("size limit"), "{large}");
    }
}
