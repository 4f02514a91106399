//! What of a folder does not get into its package, in whichever format.
//!
//! Patterns begin at the root of the folder, always: `tests/*` leaves the `tests` of a library alone, which a
//! pattern of `tar` would have emptied. `*` stops at a `/`, `**` does not. What lies in a directory that is
//! left out is left out.

use globset::GlobBuilder;
use std::path::Path;
use thiserror::Error;

/// A file of patterns in the folder itself, one a line; `#` begins a comment.
pub const FILE: &str = ".pack_exclude";

/// Patterns of what is left out.
#[derive(Clone, Debug, Default)]
pub struct Exclude(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// A `/` at its end means that only directories are meant.
    only_dirs: bool,
    glob: globset::GlobMatcher,
}

/// A pattern that is none.
#[derive(Debug, Error)]
#[error("`{pattern}` is no pattern: {why}")]
pub struct BadPattern {
    pattern: String,
    why: String,
}

impl Exclude {
    /// These patterns.
    ///
    /// # Errors
    /// One is none.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        patterns.into_iter().map(Pattern::new).collect::<Result<_, _>>().map(Self)
    }

    /// The patterns in the text of a file.
    ///
    /// # Errors
    /// One is none.
    pub fn read(text: &str) -> Result<Self, BadPattern> {
        Self::new(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')))
    }

    /// What is left out of every package, whoever builds it: the records of version control and of Muster, and the file
    /// of patterns itself.
    pub(crate) fn always() -> Self {
        Self::new([FILE, ".muster", "**/.git"]).expect("these are patterns")
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Which pattern leaves out what is at this path from the root of the folder.
    pub fn leaves_out(&self, path: &Path, is_dir: bool) -> Option<&str> {
        let hit = self.0.iter().find(|p| (is_dir || !p.only_dirs) && p.glob.is_match(path));
        hit.map(|pattern| pattern.text.as_str())
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, BadPattern> {
        let bad = |why: String| BadPattern { pattern: text.to_owned(), why };
        let (inner, only_dirs) = match text.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (text, false),
        };
        let inner = inner.strip_prefix("./").unwrap_or(inner);
        let rooted = inner.strip_prefix('/').unwrap_or(inner);
        if rooted.is_empty() || rooted.split('/').any(|part| part == "..") {
            return Err(bad("it has to name something in the folder".to_owned()));
        }
        let glob = GlobBuilder::new(rooted).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|e| bad(e.kind().to_string()))?.compile_matcher();
        Ok(Self { text: text.to_owned(), only_dirs, glob })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(patterns: &[&str], path: &str) -> bool {
        let exclude = Exclude::new(patterns.iter().copied()).unwrap();
        exclude.leaves_out(Path::new(path.trim_end_matches('/')), path.ends_with('/')).is_some()
    }

    #[test]
    fn patterns_begin_at_the_root() {
        assert!(out(&["tests/*"], "tests/a/"));
        assert!(!out(&["tests/*"], "tests/"));
        assert!(!out(&["tests/*"], "lib/tests/a"), "a nested directory of that name is left alone");
        assert!(out(&["/a"], "a") && !out(&["/a"], "b/a"));
        assert!(out(&["./a"], "a") && !out(&["a"], "b/a"));
        assert!(!out(&["*.pyc"], "x/a.pyc"));
        assert!(out(&["**/*.pyc"], "a.pyc") && out(&["**/*.pyc"], "x/y/a.pyc"));
        assert!(
            out(&["profilers/*/"], "profilers/iostat/") && !out(&["profilers/*/"], "profilers/__init__.py")
        );
    }

    #[test]
    fn the_file_of_patterns_has_comments_and_no_way_out() {
        let exclude = Exclude::read("# built\n\n**/*.o\n  /core  \n").unwrap();
        assert_eq!(exclude.leaves_out(Path::new("a/b.o"), false), Some("**/*.o"));
        assert_eq!(exclude.leaves_out(Path::new("core"), false), Some("/core"));
        for bad in ["", "/", "../x", "a/../b", "[", "{a"] {
            assert!(Exclude::new([bad]).is_err(), "{bad:?}");
        }
    }
}
