//! What of a folder is left out of a package. Patterns are anchored at the folder, always: `deps/*` is what
//! is in the folder's own `deps`, and in no other. `*` stops at a `/`, `**` does not. What is left out of a
//! directory is left out with all that is in it.

use super::error::PackageError;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The file in a folder that names what is left out, a pattern on each line; itself never packed.
pub const EXCLUDE_FILE: &str = ".pack_exclude";

/// What is left out.
#[derive(Clone, Debug)]
pub struct Exclude(GlobSet);

impl Exclude {
    /// By these patterns. Blank lines and those that begin with `#` mean nothing.
    ///
    /// # Errors
    /// One is no pattern.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PackageError> {
        let mut all = GlobSetBuilder::new();
        for line in patterns {
            let pattern = line.trim();
            if pattern.is_empty() || pattern.starts_with('#') {
                continue;
            }
            let anchored = pattern.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
            all.add(glob(anchored).map_err(|e| {
                PackageError::Asked(format!("`{pattern}` is no pattern of what is left out: {}", e.kind()))
            })?);
        }
        let all = all.build().map_err(|e| PackageError::Asked(format!("the patterns are too much: {e}")))?;
        Ok(Self(all))
    }

    /// Whether what is at this path, relative to the folder, is left out. Records of version control and of
    /// Muster always are.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
        name == b".git"
            || path == b".muster"
            || path == EXCLUDE_FILE.as_bytes()
            || self.0.is_match(Path::new(OsStr::from_bytes(path)))
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_anchored() {
        let exclude = Exclude::new(["# notes", "", "deps/*", "**/*.pyc", "/build/", "./log"]).unwrap();
        for out in ["deps/y", "a.pyc", "lib/a/b.pyc", "build", "log", ".git", "sub/.git", ".pack_exclude"] {
            assert!(exclude.leaves_out(out.as_bytes()), "{out}");
        }
        for kept in ["deps", "lib/deps/y", "deps/y/z", "lib/build", "lib/log", ".gitignore", "sub/.muster"] {
            assert!(!exclude.leaves_out(kept.as_bytes()), "{kept}");
        }
    }
}
