//! Which tests a change in the sources may concern, as git tells it.
//!
//! A test with a directory of its own is concerned by changes below it; a test without one by any change
//! of the checkout, for what it tests may lie beside the area. A change of the configuration concerns
//! everything. Rather one test too many than one too few.

use super::area::Area;
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
pub(crate) fn tests_changed_since(area: &Area, revision: &str) -> Result<Changed, anyhow::Error> {
    if revision.starts_with('-') {
        return Err(Complaint::usage(format!("`{revision}` is not a git revision")).into());
    }
    // Where the area is in its checkout: `tests/`, or nothing. Outside of one, this fails with a reason.
    let prefix = git(&area.dir, &["rev-parse", "--show-prefix"])?;
    let prefix = String::from_utf8_lossy(&prefix).trim_end_matches('\n').to_owned();
    // Of a file that was moved both places count; what the user has configured for his eyes does not.
    let diff =
        ["diff", "--name-only", "--no-renames", "--no-relative", "--no-ext-diff", "-z", revision, "--"];
    let mut files = names(&git(&area.dir, &diff)?);
    let new = ["ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", ":/"];
    files.extend(names(&git(&area.dir, &new)?));
    let configuration: Vec<String> = area.configuration.iter().map(|f| join(&prefix, f)).collect();
    Ok(concerned(&area.loaded.area, &prefix, &configuration, &files))
}

/// All paths are relative to the top of the checkout.
fn concerned(area: &AreaDef, prefix: &str, configuration: &[String], files: &[String]) -> Changed {
    if files.iter().any(|f| configuration.contains(f)) {
        return Changed { is_everything: true, tests: Vec::new() };
    }
    let is_concerned = |dir: &str| {
        if dir.is_empty() || dir == "." || dir.starts_with('/') {
            return !files.is_empty();
        }
        let dir = join(prefix, dir);
        let below = |path: &str, top: &str| path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
        // A submodule is told as a file, and the directory may lie in it.
        dir.is_empty() || files.iter().any(|f| *f == dir || below(f, &dir) || below(&dir, f))
    };
    let tests = area.tests.iter().filter(|t| is_concerned(&t.dir)).map(|t| t.name.clone());
    Changed { is_everything: false, tests: tests.collect() }
}

/// A path from the area, as one from the top of its checkout.
fn join(prefix: &str, path: &str) -> String {
    let mut parts: Vec<&str> = prefix.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The names that git prints with `-z`.
fn names(output: &[u8]) -> Vec<String> {
    output
        .split(|b| *b == 0)
        .filter(|f| !f.is_empty())
        .map(|f| String::from_utf8_lossy(f).into_owned())
        .collect()
}

fn git(dir: &Path, args: &[&str]) -> Result<Vec<u8>, anyhow::Error> {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().map_err(|e| {
        Complaint::usage("cannot ask git what has changed")
            .because(e)
            .hint("install git, or leave out `--changed-since`")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // It may warn before it says what is wrong.
        let told = |l: &&str| l.starts_with("fatal:") || l.starts_with("error:");
        let first = said.lines().find(told).or(said.lines().next()).unwrap_or("git failed").to_owned();
        return Err(Complaint::usage(format!("git cannot say what has changed: {first}")).into());
    }
    Ok(output.stdout)
}
