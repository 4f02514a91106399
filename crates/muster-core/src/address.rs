//! The printed address of everything a person may point at: `AREA/RUN/TEST/ITEM#ATTEMPT`, the same on the
//! command line, in logs, in reports and in pages.
//!
//! ```text
//! address = [[area "/"] run "/"] test ["/" item] ["#" [attempt]]
//!         | [area "/"] run
//! run     = number | name | "latest" | "-" number        (-1 is the latest, -2 the one before it)
//! attempt = number from 1
//! ```
//!
//! Leading parts may be left out; what is meant then depends on the [`Scope`] it is read in. An item path
//! may itself contain `/`. What ends like an attempt and is none is printed with a `#` behind it.
//!
//! This module only reads and writes the text. Whether such a run or test exists is the store's business.

use std::fmt;
use thiserror::Error;

/// How a person names a run of an area.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunRef {
    /// Its number in the area, from 1.
    Number(u32),
    /// Counted back from the latest, which is 1.
    Back(u32),
    /// Its name; the latest run of that name.
    Name(String),
}

/// A person's pointer at a run, a test, an item, or an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address {
    /// The area; `None`: the one at hand.
    pub area: Option<String>,
    /// The run; `None`: the latest.
    pub run: Option<RunRef>,
    /// The test; `None`: the address is the run's.
    pub test: Option<String>,
    /// The item's path; empty for the test itself.
    pub item: String,
    /// The attempt, from 1; `None`: the last, or all, as the reader needs.
    pub attempt: Option<u16>,
}

/// What the parts left out of an address are read against.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The area at hand.
    pub area: &'a str,
    /// Whether the area has a run of this name. Numbers, `latest` and `-1` need not be asked for.
    pub is_run_name: &'a dyn Fn(&str) -> bool,
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing was given.
    #[error("an address is empty")]
    Empty,
    /// Attempts are counted from 1 to 65535.
    #[error("`{0}` is no attempt: attempts are counted from 1")]
    Attempt(String),
    /// Runs are counted from 1.
    #[error("`{0}` is no run: runs are counted from 1, and back from the latest with `-1`")]
    Run(String),
    /// Two slashes, or one at the front.
    #[error("`{0}` names no test")]
    NoTest(String),
}

impl RunRef {
    /// The latest run.
    pub const LATEST: Self = Self::Back(1);

    /// Reads a run where nothing else can be meant, so any other word is a name.
    ///
    /// # Errors
    /// The text is empty or counts from 0.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match Self::parse_plain(text)? {
            Some(run) => Ok(run),
            None if text.is_empty() => Err(AddressError::Empty),
            None => Ok(Self::Name(text.to_owned())),
        }
    }

    /// Reads what is a run whatever runs there are: a number, `latest`, `-1`. `None` for other words.
    fn parse_plain(text: &str) -> Result<Option<Self>, AddressError> {
        if text == "latest" {
            return Ok(Some(Self::LATEST));
        }
        let (digits, back) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(None);
        }
        match digits.parse() {
            Ok(0) | Err(_) => Err(AddressError::Run(text.to_owned())),
            Ok(n) if back => Ok(Some(Self::Back(n))),
            Ok(n) => Ok(Some(Self::Number(n))),
        }
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Back(1) => f.write_str("latest"),
            Self::Back(n) => write!(f, "-{n}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Address {
    /// Reads an address. The first reading that fits is taken: `AREA/RUN`, `RUN`, then `TEST`; so a test
    /// whose name is a number needs its run in front of it.
    ///
    /// # Errors
    /// The text has no test where one must be, or counts something from 0.
    pub fn parse(text: &str, scope: Scope<'_>) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (path, attempt) = split_attempt(text)?;
        let is_run = |word: &str| -> Result<Option<RunRef>, AddressError> {
            Ok(match RunRef::parse_plain(word)? {
                Some(run) => Some(run),
                None if (scope.is_run_name)(word) => Some(RunRef::Name(word.to_owned())),
                None => None,
            })
        };
        let mut address = Self { attempt, ..Self::default() };
        let (first, rest) = cut(path);
        let mut left = Some(path);
        if let Some(rest) = rest
            && first == scope.area
            // `x/0` in area `x` is an item of a test `x`, if it is anything.
            && let Ok(Some(run)) = is_run(cut(rest).0)
        {
            address.area = Some(first.to_owned());
            address.run = Some(run);
            left = cut(rest).1;
        } else if let Some(run) = is_run(first)? {
            address.run = Some(run);
            left = rest;
        }
        let Some(left) = left else {
            return if attempt.is_none() { Ok(address) } else { Err(AddressError::NoTest(text.to_owned())) };
        };
        let (test, item) = cut(left);
        if test.is_empty() {
            return Err(AddressError::NoTest(text.to_owned()));
        }
        address.test = Some(test.to_owned());
        address.item = item.unwrap_or_default().to_owned();
        Ok(address)
    }

    /// The address of an item, with all its parts.
    pub fn of_item(area: &str, run: u32, test: &str, item: &str) -> Self {
        Self {
            area: Some(area.to_owned()),
            run: Some(RunRef::Number(run)),
            test: Some(test.to_owned()),
            item: item.to_owned(),
            attempt: None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(area) = &self.area {
            write!(f, "{area}/")?;
        }
        if let Some(run) = &self.run {
            write!(f, "{run}")?;
        }
        let Some(test) = &self.test else { return Ok(()) };
        if self.run.is_some() {
            f.write_str("/")?;
        }
        f.write_str(test)?;
        if !self.item.is_empty() {
            write!(f, "/{}", self.item)?;
        }
        let last = if self.item.is_empty() { test } else { &self.item };
        match self.attempt {
            Some(attempt) => write!(f, "#{attempt}"),
            None if looks_like_attempt(last) => f.write_str("#"),
            None => Ok(()),
        }
    }
}

/// `TEST/ITEM`, or `TEST` where there is no item.
pub fn item_name(test: &str, item: &str) -> String {
    if item.is_empty() { test.to_owned() } else { format!("{test}/{item}") }
}

/// The first part of a path, and the rest if a slash follows.
fn cut(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

/// Takes `#N`, or the `#` that only says that what precedes it is no attempt, off the end.
fn split_attempt(text: &str) -> Result<(&str, Option<u16>), AddressError> {
    if !looks_like_attempt(text) {
        return Ok((text, None));
    }
    let Some((path, number)) = text.rsplit_once('#') else { return Ok((text, None)) };
    match number {
        "" => Ok((path, None)),
        _ => match number.parse() {
            Ok(0) | Err(_) => Err(AddressError::Attempt(format!("#{number}"))),
            Ok(n) => Ok((path, Some(n))),
        },
    }
}

fn looks_like_attempt(text: &str) -> bool {
    text.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn scope() -> Scope<'static> {
        Scope { area: "nightly", is_run_name: &|name| name == "rc1" }
    }

    fn check(text: &str, expected: Expect) {
        let read = match Address::parse(text, scope()) {
            Ok(a) => format!(
                "area={} run={} test={} item={} attempt={}",
                a.area.unwrap_or_default(),
                a.run.map_or_else(String::new, |r| format!("{r:?}")),
                a.test.unwrap_or_default(),
                a.item,
                a.attempt.map_or_else(String::new, |n| n.to_string())
            ),
            Err(e) => format!("error: {e}"),
        };
        expected.assert_eq(&read);
    }

    #[test]
    fn all_parts_are_read() {
        check(
            "nightly/42/boot/arm64/fast#2",
            expect!["area=nightly run=Number(42) test=boot item=arm64/fast attempt=2"],
        );
        check("nightly/rc1/boot", expect![[r#"area=nightly run=Name("rc1") test=boot item= attempt="#]]);
    }

    #[test]
    fn leading_parts_may_be_left_out() {
        check("42/boot/arm64", expect!["area= run=Number(42) test=boot item=arm64 attempt="]);
        check("latest/boot", expect!["area= run=Back(1) test=boot item= attempt="]);
        check("-2/boot#1", expect!["area= run=Back(2) test=boot item= attempt=1"]);
        check("rc1/boot", expect![[r#"area= run=Name("rc1") test=boot item= attempt="#]]);
        check("boot/arm64", expect!["area= run= test=boot item=arm64 attempt="]);
        check("boot", expect!["area= run= test=boot item= attempt="]);
    }

    #[test]
    fn a_run_alone_is_an_address() {
        check("42", expect!["area= run=Number(42) test= item= attempt="]);
        check("nightly/42", expect!["area=nightly run=Number(42) test= item= attempt="]);
        check("rc1", expect![[r#"area= run=Name("rc1") test= item= attempt="#]]);
    }

    #[test]
    fn an_item_that_is_a_number_belongs_to_its_test() {
        check("boot/7", expect!["area= run= test=boot item=7 attempt="]);
        check("nightly/7", expect!["area=nightly run=Number(7) test= item= attempt="]);
        check("1/nightly/7", expect!["area= run=Number(1) test=nightly item=7 attempt="]);
        check("42/43", expect!["area= run=Number(42) test=43 item= attempt="]);
    }

    #[test]
    fn an_item_may_hold_any_sign() {
        check(
            "t/tests/test_x.py::test_y[a/b#c]",
            expect!["area= run= test=t item=tests/test_x.py::test_y[a/b#c] attempt="],
        );
        check("t/x#3#", expect!["area= run= test=t item=x#3 attempt="]);
        check("t/x#3#1", expect!["area= run= test=t item=x#3 attempt=1"]);
        check("t//abs", expect!["area= run= test=t item=/abs attempt="]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        check("", expect!["error: an address is empty"]);
        check("/boot", expect!["error: `/boot` names no test"]);
        check("42//x", expect!["error: `42//x` names no test"]);
        check("42#1", expect!["error: `42#1` names no test"]);
        check("boot#0", expect!["error: `#0` is no attempt: attempts are counted from 1"]);
        check("boot#70000", expect!["error: `#70000` is no attempt: attempts are counted from 1"]);
        check(
            "0/boot",
            expect!["error: `0` is no run: runs are counted from 1, and back from the latest with `-1`"],
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            run in prop_oneof![
                (1..u32::MAX).prop_map(RunRef::Number),
                (1..u32::MAX).prop_map(RunRef::Back),
                Just(RunRef::Name("rc1".to_owned())),
            ],
            with_area: bool,
            test in "[a-z0-9_.-]{1,8}",
            item in ".{0,12}|[a-z#/0-9]{0,8}",
            attempt in proptest::option::of(1..u16::MAX),
        ) {
            let area = with_area.then(|| "nightly".to_owned());
            let address = Address { area, run: Some(run), test: Some(test), item, attempt };
            prop_assert_eq!(Address::parse(&address.to_string(), scope()), Ok(address));
        }

        #[test]
        fn no_text_is_misread_into_a_panic(text in ".{0,24}|[0-9#/a-]{0,12}") {
            if let Ok(address) = Address::parse(&text, scope()) {
                prop_assert!(address.run.is_some() || address.test.is_some());
            }
        }
    }
}
