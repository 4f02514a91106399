//! Which tests and items a person means: patterns, tags, shards, and what has failed or changed.
//!
//! A pattern is `TEST`, `TEST/ITEM`, with `*` for any text (also across `/`), a leading `!` to take away,
//! and commas between several. What is selected is what any pattern names (everything, if none does so
//! without `!`), less what any `!` pattern names. The parts of a [`Selection`] must all agree.

pub mod testpatt;

use crate::expr::{ExprError, TagExpr};
use serde::{Deserialize, Serialize};
use std::fmt;
use testpatt::{TagPatt, TestPatt};

/// What was asked for. All parts must agree (and); an empty part asks for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Patterns as typed: `test`, `test/item`, `*` for any text, a leading `!` takes away, commas join.
    pub patterns: Vec<String>,
    /// A tag expression (CEL; each identifier is true if the test has that tag).
    pub tags: Option<String>,
    /// One part of several.
    pub shard: Option<Shard>,
    /// Only these items: the failed ones of another run, say. `(test, item path)`, sorted. An empty path
    /// is the test itself, with whatever items it has: it had none, or could not be asked for them.
    pub only: Option<Vec<(String, String)>>,
    /// A test pattern as Megatest has them: see [`testpatt`].
    #[serde(default)]
    pub testpatt: Option<String>,
    /// Patterns of tags as Megatest has them, with commas between; any may match.
    #[serde(default)]
    pub tagpatt: Option<String>,
}

/// One part of several, by a stable hash of test and item: the union of all parts is the whole, and no
/// item is in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 1.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

/// A selection that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A shard that is not `i/n` with 1 ≤ i ≤ n.
    #[error("`{0}` is not a shard: write `i/n` with 1 ≤ i ≤ n, as in `2/5`")]
    Shard(String),
    /// A tag expression that does not parse.
    #[error("the tag expression `{text}` cannot be read: {error}")]
    Tags {
        /// As typed.
        text: String,
        /// Why.
        error: ExprError,
    },
    /// A pattern without a test's name.
    #[error("`{0}` names no test: write `test`, `test/item` or `!test`")]
    Pattern(String),
}

impl Shard {
    /// Reads `i/n`.
    ///
    /// # Errors
    /// [`SelectError::Shard`] if it is anything else.
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        let wrong = || SelectError::Shard(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let shard =
            Self { index: index.parse().map_err(|_| wrong())?, count: count.parse().map_err(|_| wrong())? };
        if shard.index == 0 || shard.index > shard.count { Err(wrong()) } else { Ok(shard) }
    }

    fn holds(self, test: &str, item: &str) -> bool {
        stable_hash(test, item) % u64::from(self.count) == u64::from(self.index - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A selection made ready for asking.
#[derive(Debug)]
pub struct Selector {
    wanted: Vec<Term>,
    taken_away: Vec<Term>,
    tags: Option<TagExpr>,
    shard: Option<Shard>,
    only: Option<Vec<(String, String)>>,
    testpatt: Option<TestPatt>,
    tagpatt: Option<TagPatt>,
}

#[derive(Debug)]
struct Term {
    test: String,
    item: Option<String>,
}

impl Selector {
    /// Makes a selection ready.
    ///
    /// # Errors
    /// If a pattern or the tag expression cannot be read.
    pub fn new(selection: &Selection) -> Result<Self, SelectError> {
        let (mut wanted, mut taken_away) = (Vec::new(), Vec::new());
        for text in selection.patterns.iter().flat_map(|p| p.split(',')).map(str::trim) {
            if text.is_empty() {
                continue;
            }
            let (list, body) = match text.strip_prefix('!') {
                Some(body) => (&mut taken_away, body),
                None => (&mut wanted, text),
            };
            let (test, item) = match body.split_once('/') {
                Some((test, item)) => (test, Some(item.to_owned())),
                None => (body, None),
            };
            if test.is_empty() {
                return Err(SelectError::Pattern(text.to_owned()));
            }
            list.push(Term { test: test.to_owned(), item });
        }
        let tags = match &selection.tags {
            None => None,
            Some(text) => {
                Some(TagExpr::parse(text).map_err(|error| SelectError::Tags { text: text.clone(), error })?)
            }
        };
        Ok(Self {
            wanted,
            taken_away,
            tags,
            shard: selection.shard,
            only: selection.only.clone(),
            testpatt: selection.testpatt.as_deref().map(TestPatt::new),
            tagpatt: selection.tagpatt.as_deref().map(TagPatt::new),
        })
    }

    /// Whether some item of the test may be selected.
    pub fn test(&self, name: &str, tags: &[String]) -> bool {
        let named = self.wanted.is_empty() || self.wanted.iter().any(|t| wildcard(&t.test, name));
        let gone = self.taken_away.iter().any(|t| t.item.is_none() && wildcard(&t.test, name));
        let listed = self.only.as_ref().is_none_or(|only| {
            let from = only.partition_point(|(t, _)| t.as_str() < name);
            only.get(from).is_some_and(|(t, _)| t == name)
        });
        named
            && !gone
            && listed
            && self.tags.as_ref().is_none_or(|expr| expr.matches(tags))
            && self.testpatt.as_ref().is_none_or(|p| p.matches_test(name))
            && self.tagpatt.as_ref().is_none_or(|p| p.matches(tags))
    }

    /// Whether an item is selected, given that [`test`](Self::test) holds for its test.
    pub fn item(&self, test: &str, item: &str) -> bool {
        let hit = |t: &Term| wildcard(&t.test, test) && t.item.as_ref().is_none_or(|p| wildcard(p, item));
        (self.wanted.is_empty() || self.wanted.iter().any(hit))
            && !self.taken_away.iter().any(hit)
            && self.testpatt.as_ref().is_none_or(|p| p.matches(test, item))
            && self.shard.is_none_or(|s| s.holds(test, item))
            && self.only.as_ref().is_none_or(|only| {
                let has = |item| only.binary_search_by(|(t, i)| (t.as_str(), i.as_str()).cmp(&(test, item)));
                has(item).is_ok() || has("").is_ok()
            })
    }

    /// Whether every item of every test is selected.
    pub fn is_everything(&self) -> bool {
        self.wanted.is_empty()
            && self.taken_away.is_empty()
            && self.tags.is_none()
            && self.shard.is_none()
            && self.only.is_none()
            && self.testpatt.is_none()
            && self.tagpatt.is_none()
    }

    /// Patterns whose test part matches none of the names: most likely misspelt.
    pub fn unmatched<'a>(&'a self, names: &[&str]) -> Vec<&'a str> {
        self.wanted
            .iter()
            .chain(&self.taken_away)
            .filter(|t| !names.iter().any(|n| wildcard(&t.test, n)))
            .map(|t| t.test.as_str())
            .collect()
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any text.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// FNV-1a with a final mix; the same on every machine and in every version, since shards depend on it.
fn stable_hash(test: &str, item: &str) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    for b in test.bytes().chain([0]).chain(item.bytes()) {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(patterns: &str, test: &str, item: &str) -> bool {
        let s = Selector::new(&Selection { patterns: vec![patterns.to_owned()], ..Selection::default() })
            .unwrap();
        s.test(test, &[]) && s.item(test, item)
    }

    #[test]
    fn patterns_select_tests_and_items() {
        let cases = [
            ("", "a", "", true),
            ("a", "a", "x/y", true),
            ("a", "ab", "", false),
            ("a*", "ab", "", true),
            ("a/x", "a", "x", true),
            ("a/x", "a", "x/y", false),
            ("a/x*", "a", "x/y", true),
            ("a/*y", "a", "x/y", true),
            ("a/", "a", "", true),
            ("a/", "a", "x", false),
            ("!a", "b", "", true),
            ("!a", "a", "x", false),
            ("a,!a/x", "a", "x", false),
            ("a,!a/x", "a", "y", true),
            ("a, b", "b", "", true),
            ("*/x", "anything", "x", true),
        ];
        for (patterns, test, item, expected) in cases {
            assert_eq!(selects(patterns, test, item), expected, "{patterns} on {test}/{item}");
        }
    }

    #[test]
    fn shards_are_disjoint_and_their_union_is_the_whole() {
        for count in 1..=7 {
            for n in 0..500 {
                let item = format!("item{n}");
                let holders = (1..=count).filter(|&index| Shard { index, count }.holds("t", &item)).count();
                assert_eq!(holders, 1);
            }
        }
        // The hash is part of the interface: these must not change between versions.
        assert_eq!(stable_hash("boot", "arm64"), 5_280_472_248_027_111_159);
        assert_eq!(Shard::parse("0/3"), Err(SelectError::Shard("0/3".into())));
        assert_eq!(Shard::parse("4/3"), Err(SelectError::Shard("4/3".into())));
    }

    #[test]
    fn an_item_that_was_the_test_itself_stands_for_all_items_it_has_now() {
        let only = vec![("asked".to_owned(), String::new()), ("listed".to_owned(), "a".to_owned())];
        let s = Selector::new(&Selection { only: Some(only), ..Selection::default() }).unwrap();
        assert!(s.test("asked", &[]) && s.item("asked", "") && s.item("asked", "found/now"));
        assert!(s.test("listed", &[]) && s.item("listed", "a") && !s.item("listed", "b"));
        assert!(!s.test("other", &[]));
    }

    #[test]
    fn a_pattern_that_names_no_test_is_told() {
        let s = Selector::new(&Selection { patterns: vec!["boot,lnit/x".into()], ..Selection::default() })
            .unwrap();
        assert_eq!(s.unmatched(&["boot", "lint"]), ["lnit"]);
    }
}
