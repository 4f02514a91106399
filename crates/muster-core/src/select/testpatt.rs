//! Selecting as Megatest does: test patterns and tag patterns. One matcher for planning and for looking
//! things up; Megatest itself has two that disagree.
//!
//! `test`, `test/item`, several with commas. In each part `%` is any text (and letters of both cases are
//! one), else `*` is any text, a leading `~` takes the opposite, and the rest is a regular expression that
//! must match the whole part.

use regex::{Regex, RegexBuilder};

/// A test pattern made ready for asking.
#[derive(Debug)]
pub struct TestPatt(Vec<(Part, Option<Part>)>);

/// One side of the `/`, or a tag's pattern.
#[derive(Debug)]
struct Part {
    regex: Regex,
    negated: bool,
}

impl Part {
    fn new(text: &str) -> Self {
        let (text, negated) = match text.strip_prefix('~') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let any_case = text.contains('%');
        let sign = if any_case { '%' } else { '*' };
        let build = |parts: Vec<String>| {
            let pattern = format!("^(?:{})$", parts.join(".*"));
            // Limit: a pattern of a stranger's does not take all memory.
            RegexBuilder::new(&pattern)
                .case_insensitive(any_case)
                .dot_matches_new_line(true)
                .size_limit(1 << 20)
                .build()
        };
        let parts = || text.split(sign);
        // What is no regular expression means itself.
        let regex = build(parts().map(str::to_owned).collect())
            .or_else(|_| build(parts().map(regex::escape).collect()))
            .unwrap_or_else(|_| Regex::new("$^.").expect("matches nothing"));
        Self { regex, negated }
    }

    fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text) != self.negated
    }
}

impl TestPatt {
    /// Reads a pattern. Empty members of its list are dropped, and an empty list matches nothing.
    pub fn new(text: &str) -> Self {
        let members = text.split(',').map(str::trim).filter(|m| !m.is_empty());
        Self(
            members
                .map(|member| match member.split_once('/') {
                    Some((test, item)) => (Part::new(test), Some(Part::new(item))),
                    None => (Part::new(member), None),
                })
                .collect(),
        )
    }

    /// Whether some record of this test may match.
    pub fn matches_test(&self, test: &str) -> bool {
        self.0.iter().any(|(t, _)| t.matches(test))
    }

    /// Whether the record of this item does; an empty path is the test itself.
    pub fn matches(&self, test: &str, item: &str) -> bool {
        self.0.iter().any(|(t, i)| t.matches(test) && i.as_ref().is_none_or(|i| i.matches(item)))
    }
}

/// Patterns of tags with commas between, made ready.
#[derive(Debug)]
pub struct TagPatt(Vec<Part>);

impl TagPatt {
    /// Reads them.
    pub fn new(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(Part::new).collect())
    }

    /// Whether any tag matches any pattern.
    pub fn matches(&self, tags: &[String]) -> bool {
        self.0.iter().any(|p| tags.iter().any(|t| p.matches(t)))
    }
}

/// Whether one part of a pattern matches a text.
pub fn part_matches(pattern: &str, text: &str) -> bool {
    !pattern.is_empty() && Part::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_match_as_megatest_s_own_table_says() {
        let cases = [
            ("abc", "abc", true),
            ("~abc", "abcd", true),
            ("~abc", "abc", false),
            ("a*c", "ABC", false),
            ("a%c", "ABC", true),
            ("a.c", "abc", true),
            ("[ab]", "b", true),
            ("abc", "abcd", false),
            ("a[", "a[", true),
            ("", "", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(part_matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn whole_patterns_match_as_megatest_s_own_table_says() {
        let cases = [
            ("abc", "abc", "", true),
            ("abc/%", "abc", "", true),
            ("ab%/c%", "abcd", "cde", true),
            ("~abc/c%", "abc", "cde", false),
            ("abc/~c%", "abc", "cde", false),
            ("a,b/c,%/d", "a", "", true),
            ("%/,%/a", "abc", "", true),
            ("%/,%/a", "def", "a", true),
            ("%/,%/a", "ghi", "b", false),
            ("%", "a", "", true),
            ("%", "a", "b", true),
            ("%/", "a", "", true),
            ("%/", "a", "b", false),
            ("%abc%", "abc", "abc", true),
            ("", "a", "", false),
            (",,", "a", "", false),
            ("a/b/c", "a", "b/c", true),
            ("test", "test", "any/item", true),
            ("test/", "test", "any/item", false),
        ];
        for (pattern, test, item, expected) in cases {
            assert_eq!(TestPatt::new(pattern).matches(test, item), expected, "{pattern} on {test}/{item}");
        }
    }

    #[test]
    fn a_test_has_the_tags_if_one_matches_one() {
        let tags = ["smoke".to_owned(), "net2".to_owned()];
        assert!(TagPatt::new("slow,smoke").matches(&tags));
        assert!(TagPatt::new("NET%").matches(&tags));
        assert!(!TagPatt::new("net").matches(&tags));
        assert!(!TagPatt::new("").matches(&tags));
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_everything_matches_percent(name in "[a-z][a-z0-9_]{0,12}", item in "[a-z0-9/]{0,12}") {
            let patt = format!("{name}/%");
            prop_assert!(TestPatt::new(&patt).matches(&name, &item));
            prop_assert!(TestPatt::new("%").matches(&name, &item));
            let opposite = format!("~{name}");
            prop_assert!(!TestPatt::new(&opposite).matches(&name, &item));
        }

        #[test]
        fn no_pattern_is_too_strange(pattern in ".{0,60}", text in ".{0,20}") {
            TestPatt::new(&pattern).matches(&text, &text);
        }
    }
}
