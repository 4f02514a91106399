//! Paths inside a package: bytes, relative, of plain names, without a way out.

use super::codec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Longest path in a package, in bytes.
// Limit: what systems take is 4096 with the directory in front.
pub(super) const PATH_BYTES_MAX: usize = 3_000;
/// Longest name in it.
// Limit: what file systems take.
const NAME_BYTES_MAX: usize = 255;

/// A path inside a package: any bytes that a file system takes as names, with `/` between them. It can be
/// made only of such.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// Checks it.
    ///
    /// # Errors
    /// It is absolute, empty, too long, or holds `.`, `..`, an empty name or NUL.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, &'static str> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > PATH_BYTES_MAX {
            return Err("its path is empty or too long");
        }
        for name in bytes.split(|b| *b == b'/') {
            match name {
                b"" => return Err("its path is absolute or holds an empty name"),
                b"." | b".." => return Err("its path holds `.` or `..`"),
                name if name.len() > NAME_BYTES_MAX => return Err("a name in its path is too long"),
                name if name.contains(&0) => return Err("its path holds NUL"),
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a path of the system, relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The directory it is in, empty at the top, and its name.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (b"", &self.0),
        }
    }

    /// Whether it is somewhere below the other.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0[..]).is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Where it is below a directory.
    pub fn below(&self, dir: &Path) -> PathBuf {
        dir.join(self.as_path())
    }
}

/// As trees are walked: what is in a directory comes right behind it.
impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        let low = |b: &u8| if *b == b'/' { 0 } else { *b };
        self.0.iter().map(low).cmp(other.0.iter().map(low))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is not text is shown so that no two paths look the same.
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        TreePath::new(codec::bytes(from, "a path inside a package")?).map_err(D::Error::custom)
    }
}

/// Where a link of a package leads: relative, and never out of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinkTarget(Vec<u8>);

impl LinkTarget {
    /// Where a link at this path leads to.
    ///
    /// # Errors
    /// It leads out of the package, or nowhere that can be written down.
    pub fn new(link: &TreePath, target: impl Into<Vec<u8>>) -> Result<Self, &'static str> {
        let target = Self(target.into());
        target.check(link)?;
        Ok(target)
    }

    /// The same for one that was read from outside.
    pub(super) fn check(&self, link: &TreePath) -> Result<(), &'static str> {
        let bytes = &self.0;
        if bytes.is_empty() || bytes.len() > PATH_BYTES_MAX || bytes.contains(&0) {
            return Err("it is a link to nothing");
        }
        if bytes[0] == b'/' {
            return Err("it is a link with an absolute path");
        }
        // A `..` behind a name goes up from where that name leads to, which may be a link: so all of them
        // must come first, and no more than there are directories above the link.
        let mut depth = link.bytes().iter().filter(|b| **b == b'/').count();
        let mut is_down = false;
        for name in bytes.split(|b| *b == b'/') {
            match name {
                b"" | b"." => {}
                b".." if is_down => return Err("it is a link that goes up again behind a name"),
                b".." => depth = depth.checked_sub(1).ok_or("it is a link that leads out of the package")?,
                _ => is_down = true,
            }
        }
        Ok(())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        codec::bytes(from, "where a link leads to").map(LinkTarget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_no_way_out() {
        for good in ["a", "a/b", ".a", "..a", "a b/\u{fc}", "a\nb"] {
            assert!(TreePath::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "a\0", &"x".repeat(256)] {
            assert!(TreePath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_in_a_directory_comes_right_behind_it() {
        let mut paths: Vec<_> =
            ["a-b", "a/b", "a", "a.c", "a/b/c"].map(|p| TreePath::new(p).unwrap()).to_vec();
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a-b", "a.c"]);
    }

    #[test]
    fn a_link_stays_inside() {
        let target = |link: &str, to: &str| LinkTarget::new(&TreePath::new(link).unwrap(), to);
        for (link, to) in [("a", "b"), ("a/b", "../c"), ("a/b", "./c/d"), ("a/b/c", "../../x"), ("a", "b/")] {
            assert!(target(link, to).is_ok(), "{link} -> {to}");
        }
        for (link, to) in [("a", ".."), ("a", "/etc"), ("a/b", "../../c"), ("a/b", "c/../.."), ("a", "")] {
            assert!(target(link, to).is_err(), "{link} -> {to}");
        }
    }
}
