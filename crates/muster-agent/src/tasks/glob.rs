//! The file system questions of a discovery: which files match, which exist.
//!
//! Patterns stay beneath their directory: absolute ones and those with `..` are refused.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};
use thiserror::Error;

/// Most files a question may have for an answer.
// Limit: a pattern that matches a whole disk is a mistake.
const FILES_MAX: usize = 1_000_000;

/// Patterns that cannot be answered.
#[derive(Debug, Error)]
pub(super) enum GlobError {
    #[error("the pattern `{0}` leads out of the test's directory")]
    Outside(String),
    #[error("the pattern `{pattern}` is none: {source}")]
    Pattern { pattern: String, source: glob::PatternError },
    #[error("the patterns match more than {FILES_MAX} files")]
    TooMany,
    #[error("the directory `{0}` is not UTF-8")]
    Directory(String),
}

/// Files beneath `dir` that match any of the patterns: relative paths, sorted, each once. Directories that
/// cannot be read and names that are not UTF-8 are left out.
pub(super) fn files(dir: &Path, patterns: &[String], executable: bool) -> Result<Vec<String>, GlobError> {
    let base = dir.to_str().ok_or_else(|| GlobError::Directory(dir.display().to_string()))?;
    let mut found = BTreeSet::new();
    for pattern in patterns {
        let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
        let leads_out = |c| matches!(c, Component::ParentDir | Component::RootDir | Component::Prefix(_));
        if Path::new(pattern).components().any(leads_out) {
            return Err(GlobError::Outside(pattern.to_owned()));
        }
        let whole = format!("{}/{pattern}", glob::Pattern::escape(base));
        let paths = glob::glob(&whole)
            .map_err(|source| GlobError::Pattern { pattern: pattern.to_owned(), source })?;
        for path in paths.flatten() {
            let Some(relative) = path.strip_prefix(dir).ok().and_then(Path::to_str) else { continue };
            let is_wanted = fs::metadata(&path)
                .is_ok_and(|m| m.is_file() && (!executable || m.permissions().mode() & 0o111 != 0));
            if is_wanted {
                found.insert(relative.to_owned());
                if found.len() > FILES_MAX {
                    return Err(GlobError::TooMany);
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Those of these paths, relative to `dir`, at which there is a file: sorted, each once.
pub(super) fn existing(dir: &Path, paths: Vec<String>) -> Vec<String> {
    let there: BTreeSet<String> = paths.into_iter().filter(|p| dir.join(p).is_file()).collect();
    there.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("a[b]*").tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn patterns(all: &[&str]) -> Vec<String> {
        all.iter().map(|p| (*p).to_owned()).collect()
    }

    #[test]
    fn files_are_found_beneath_the_directory_sorted_and_once() {
        let dir = tree(&["b.sh", "a.sh", "sub/c.sh", "sub/deep/d.sh", "x.txt", "dir.sh/inner"]);
        let found = files(dir.path(), &patterns(&["*.sh", "./a*", "**/*.sh"]), false).unwrap();
        assert_eq!(found, ["a.sh", "b.sh", "sub/c.sh", "sub/deep/d.sh"]);
        assert_eq!(files(dir.path(), &patterns(&["nothing*"]), false).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn only_files_that_may_be_executed_where_that_is_asked() {
        let dir = tree(&["a", "b"]);
        fs::set_permissions(dir.path().join("b"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(files(dir.path(), &patterns(&["*"]), true).unwrap(), ["b"]);
    }

    #[test]
    fn patterns_do_not_lead_out() {
        let dir = tree(&["a"]);
        for pattern in ["/etc/*", "../*", "x/../../*", "./../*"] {
            let error = files(dir.path(), &patterns(&[pattern]), false).unwrap_err();
            assert!(matches!(error, GlobError::Outside(_)), "{pattern}: {error}");
        }
        let error = files(dir.path(), &patterns(&["a[b"]), false).unwrap_err();
        assert!(error.to_string().starts_with("the pattern `a[b` is none: "), "{error}");
    }

    #[test]
    fn existing_files_are_told_from_others() {
        let dir = tree(&["a", "d/x"]);
        assert_eq!(existing(dir.path(), patterns(&["d/x", "b", "a", "d", "a"])), ["a", "d/x"]);
    }
}
