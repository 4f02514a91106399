//! Which tests a change in the sources may concern, as git tells it.
//!
//! A test with a directory of its own is concerned by changes below it; a test without one by any change
//! of the area. A change of the configuration concerns everything. Rather one test too many than one too
//! few.

use crate::error::Complaint;
use muster_core::definition::AreaDef;
use std::path::Path;
use std::process::Command;

/// What is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// All tests are.
    pub(crate) is_everything: bool,
    /// These tests are.
    pub(crate) tests: Vec<String>,
}

/// Asks git what has changed since a revision, committed or not, and says which tests that concerns.
///
/// # Errors
/// The area is not in a git checkout, or the revision is not known.
pub(crate) fn tests_changed_since(
    dir: &Path,
    area: &AreaDef,
    revision: &str,
) -> Result<Changed, anyhow::Error> {
    if revision.starts_with('-') {
        return Err(Complaint::usage(format!("`{revision}` is not a git revision")).into());
    }
    let mut files = git(dir, &["diff", "--name-only", "-z", "--relative", revision, "--"])?;
    files.extend(git(dir, &["ls-files", "--others", "--exclude-standard", "-z"])?);
    Ok(concerned(area, &files))
}

fn concerned(area: &AreaDef, files: &[String]) -> Changed {
    let configuration =
        |f: &String| f == "muster.toml" || f == ".config/muster.toml" || f.ends_with(".status");
    if files.iter().any(configuration) {
        return Changed { is_everything: true, tests: Vec::new() };
    }
    let tests = area
        .tests
        .iter()
        .filter(|test| {
            let dir = test.dir.trim_end_matches('/');
            let outside = dir.starts_with("..") || dir.starts_with('/');
            files.iter().any(|file| {
                dir.is_empty()
                    || dir == "."
                    || outside
                    || file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
            })
        })
        .map(|test| test.name.clone())
        .collect();
    Changed { is_everything: false, tests }
}

fn git(dir: &Path, args: &[&str]) -> Result<Vec<String>, anyhow::Error> {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().map_err(|e| {
        Complaint::usage("cannot ask git what has changed")
            .because(e)
            .hint("install git, or leave out `--changed-since`")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("git failed").to_owned();
        return Err(Complaint::usage(format!("git cannot say what has changed: {first}")).into());
    }
    Ok(output
        .stdout
        .split(|b| *b == 0)
        .filter(|f| !f.is_empty())
        .map(|f| String::from_utf8_lossy(f).into_owned())
        .collect())
}
