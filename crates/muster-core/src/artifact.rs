//! Artifacts: files that an attempt left and that are kept. What they are called comes from tests and agents
//! elsewhere, so that a name is believed only as far as it is one.

use crate::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is kept of an attempt's working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Where they are on the host that ran the attempt: a path in the run's directory there.
    pub dir: String,
    /// The files, by path.
    pub files: Vec<Artifact>,
    /// What is not kept.
    pub left_out: Vec<LeftOut>,
    /// How many more are not kept than are named.
    pub unnamed: u64,
}

/// A file that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its path in the working directory, with `/`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The blob it is with the server. `None`: a file in the run's directory.
    pub digest: Option<Digest>,
}

/// Something that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its path in the working directory.
    pub path: String,
    /// Why.
    pub why: String,
}

impl Artifacts {
    /// Most files of an attempt.
    // Limit: their list travels with the result, and is shown as a whole.
    pub const FILES_MAX: usize = 1000;
    /// Most bytes that the names of an attempt's files have together.
    pub const NAMES_BYTES_MAX: usize = 64 << 10;
    /// Most of those left out that are named.
    const NAMED_MAX: usize = 20;
    /// Longest name, and longest reason, of what is left out.
    const TEXT_BYTES_MAX: usize = 1000;

    /// Those that are kept in this directory: none so far.
    pub fn new(dir: String) -> Self {
        Self { dir, ..Self::default() }
    }

    /// One more is not kept.
    pub fn leave_out(&mut self, path: impl Into<String>, why: impl Into<String>) {
        if self.left_out.len() >= Self::NAMED_MAX {
            self.unnamed = self.unnamed.saturating_add(1);
            return;
        }
        let cut = |mut text: String| {
            text.truncate(text.floor_char_boundary(Self::TEXT_BYTES_MAX));
            text
        };
        self.left_out.push(LeftOut { path: cut(path.into()), why: cut(why.into()) });
    }

    /// How many are not kept.
    pub fn left_out_count(&self) -> u64 {
        self.unnamed.saturating_add(self.left_out.len() as u64)
    }

    /// Nothing is kept, and nothing could have been.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.left_out_count() == 0
    }

    /// The bytes of all that is kept.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The file of this path.
    pub fn find(&self, path: &str) -> Option<&Artifact> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The same as far as it can be believed, where somebody else says it: paths that are none, doubles and what
    /// exceeds the limits are left out.
    #[must_use]
    pub fn tamed(self) -> Self {
        let Self { dir, files, left_out, unnamed } = self;
        let mut tamed = Self::new(if is_path(&dir) { dir } else { String::new() });
        let (mut seen, mut names) = (BTreeSet::new(), 0);
        for file in files {
            names += file.path.len();
            if !is_path(&file.path) {
                tamed.leave_out(file.path, "its name is not one of a file in a directory");
            } else if tamed.files.len() >= Self::FILES_MAX || names > Self::NAMES_BYTES_MAX {
                tamed.leave_out(file.path, TOO_MANY);
            } else if seen.insert(file.path.clone()) {
                tamed.files.push(file);
            }
        }
        for LeftOut { path, why } in left_out {
            tamed.leave_out(path, why);
        }
        tamed.unnamed = tamed.unnamed.saturating_add(unnamed);
        tamed
    }
}

/// Why a file is left out that comes after [`Artifacts::FILES_MAX`] others.
pub const TOO_MANY: &str = "an attempt keeps 1000 files at most";

/// Whether a text is the path of a file in a directory, and of none outside.
pub fn is_path(text: &str) -> bool {
    // Limit: what systems allow.
    const BYTES_MAX: usize = 4095;
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.contains('\0');
    text.len() <= BYTES_MAX && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Artifact {
        Artifact { path: path.to_owned(), bytes: 1, digest: None }
    }

    #[test]
    fn a_path_leads_nowhere_but_into_its_directory() {
        for good in ["a", "a/b", "...", "a b", "-", "ü/x\ny"] {
            assert!(is_path(good), "{good:?}");
        }
        for bad in
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.", "a\0b", &"x/".repeat(4000)]
        {
            assert!(!is_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_others_say_is_believed_as_far_as_it_can_be() {
        let mut said = Artifacts::new("../..".to_owned());
        said.files = vec![file("a"), file("../b"), file("a"), file("c/d")];
        said.leave_out("e", "why");
        let tamed = said.tamed();
        assert_eq!(tamed.dir, "");
        assert_eq!(tamed.files, [file("a"), file("c/d")]);
        let left: Vec<&str> = tamed.left_out.iter().map(|l| l.path.as_str()).collect();
        assert_eq!(left, ["../b", "e"]);
    }

    #[test]
    fn of_too_many_those_beyond_are_counted() {
        let mut said = Artifacts::new("work/t".to_owned());
        said.files = (0..1100).map(|n| file(&n.to_string())).collect();
        let tamed = said.tamed();
        assert_eq!((tamed.files.len(), tamed.left_out_count(), tamed.left_out.len()), (1000, 100, 20));
        assert_eq!(tamed.clone().tamed(), tamed);
    }
}
