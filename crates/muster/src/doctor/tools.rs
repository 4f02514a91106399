//! The tools that the area's suites need.

use super::Finding;
use muster_core::definition::{AreaDef, Framework, Kind, Line};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const WHAT: &str = "tool";

pub(super) fn look(area: &AreaDef, area_dir: &Path) -> Vec<Finding> {
    // By what is asked, so that each tool is tried once.
    let mut wanted: BTreeMap<Vec<String>, (&str, &'static str)> = BTreeMap::new();
    for test in &area.tests {
        let Kind::Suite(suite) = &test.kind else { continue };
        for (question, fix) in questions(&suite.framework) {
            wanted.entry(question).or_insert((&test.name, fix));
        }
    }
    wanted.into_iter().map(|(question, (test, fix))| ask(&question, test, fix, area_dir)).collect()
}

/// What is asked of the tools of a framework: a command that must end well, and how to mend it.
fn questions(framework: &Framework) -> Vec<(Vec<String>, &'static str)> {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    match framework {
        Framework::Cargo { .. } => {
            vec![(words(&["cargo", "--version"]), "curl https://sh.rustup.rs -sSf | sh")]
        }
        Framework::Pytest { command, .. } => {
            let mut question =
                if command.is_empty() { words(&["python3", "-m", "pytest"]) } else { command.clone() };
            question.push("--version".to_owned());
            vec![(question, "python3 -m pip install pytest")]
        }
        Framework::Ctest { .. } => {
            vec![(words(&["ctest", "--version"]), "install cmake: `sudo apt install cmake`")]
        }
        Framework::Tap { interpreter, .. } => interpreter
            .first()
            .map(|i| (vec![i.clone()], "install it, or correct `interpreter` in muster.toml"))
            .into_iter()
            .collect(),
        Framework::Autotest { command, .. } => program(&Line::Argv(command.clone())),
        Framework::List { list, .. } => program(list),
        Framework::Files { command, .. } => program(command),
        // Built by the area itself, perhaps by a test that comes before.
        Framework::Gtest { .. } => Vec::new(),
    }
}

/// The program of a command, where that is plain to see.
fn program(line: &Line) -> Vec<(Vec<String>, &'static str)> {
    match line {
        Line::Argv(argv) => argv
            .first()
            .filter(|p| !p.contains(['{', '/']))
            .map(|p| (vec![p.clone()], "install it, or correct the command in muster.toml"))
            .into_iter()
            .collect(),
        Line::Shell(_) => Vec::new(),
    }
}

/// A question of one word is only whether the program is there.
fn ask(question: &[String], test: &str, fix: &str, area_dir: &Path) -> Finding {
    let Some((program, args)) = question.split_first() else {
        return Finding::ok(WHAT, "nothing is needed");
    };
    let Some(path) = find(program, area_dir) else {
        return Finding::bad(WHAT, format!("`{program}`, which `{test}` needs, is not there"), fix);
    };
    if args.is_empty() {
        return Finding::ok(WHAT, format!("`{program}` is {}", path.display()));
    }
    let said = Command::new(&path).args(args).current_dir(area_dir).stdin(Stdio::null()).output();
    let typed = question.join(" ");
    match said {
        Ok(out) if out.status.success() => {
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let text =
                if text.trim().is_empty() { String::from_utf8_lossy(&out.stderr).into_owned() } else { text };
            Finding::ok(WHAT, muster_formats::report::text::one_line(&text, 80))
        }
        Ok(out) => {
            let text = String::from_utf8_lossy(&out.stderr);
            let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
            let last = muster_formats::report::text::one_line(last, 120);
            Finding::bad(WHAT, format!("`{typed}`, which `{test}` needs, fails: {last}"), fix)
        }
        Err(e) => Finding::bad(WHAT, format!("`{typed}`, which `{test}` needs, cannot be started: {e}"), fix),
    }
}

fn find(program: &str, area_dir: &Path) -> Option<PathBuf> {
    let runs = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(area_dir.join(program)).filter(|p| runs(p));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| runs(p))
}
