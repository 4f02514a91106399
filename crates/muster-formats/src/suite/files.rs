//! `files`: a glob, a command for each file, and the output it should print where that is written down.

use super::paths::{self, FileParts};
use super::template::{fill, fill_line};
use super::{Answer, Ask, Discovery, Judge, Launch, LaunchItem};
use muster_core::definition::{ExpectedOutput, Line, PassRule, TestDef};
use muster_core::exchange::{Found, FoundItem, Group};
use std::collections::HashSet;

/// The group whose files have no file of expected output.
const PLAIN: u32 = 0;
/// The group whose files have one.
const EXPECTED: u32 = 1;

pub(super) struct FilesDiscovery {
    dir: String,
    patterns: Vec<String>,
    expected: Option<String>,
    state: State,
}

enum State {
    Listing,
    /// These files are known; which of them have expected output is asked.
    Checking(Vec<String>),
}

impl FilesDiscovery {
    pub(super) fn new(def: &TestDef, patterns: &[String], expected: Option<&str>) -> Self {
        Self {
            dir: def.dir.clone(),
            patterns: patterns.to_vec(),
            expected: expected.map(str::to_owned),
            state: State::Listing,
        }
    }

    fn found(&self, files: &[String], expected: &HashSet<String>) -> Found {
        let cut = one_extension(&self.patterns);
        let mut items: Vec<FoundItem> = files
            .iter()
            .map(|file| {
                let parts = FileParts::of(file);
                let has =
                    self.expected.as_ref().is_some_and(|t| expected.contains(&fill(t, &parts.values())));
                FoundItem {
                    path: paths::clean(if cut { parts.name } else { file }),
                    group: if has { EXPECTED } else { PLAIN },
                    selector: file.clone(),
                    ..FoundItem::default()
                }
            })
            .collect();
        paths::make_unique(&mut items);
        let plain = Group { batch_max: 1, dir: self.dir.clone(), ..Group::default() };
        let with = Group { name: "expected output".to_owned(), ..plain.clone() };
        Found { groups: vec![plain, with], items }
    }
}

impl Discovery for FilesDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        let Some(Answer::Files(answer)) = answer else {
            return Ask::Glob { patterns: self.patterns.clone(), dir: self.dir.clone(), executable: false };
        };
        match (&self.state, &self.expected) {
            (State::Checking(files), _) => Ask::Done(Ok(self.found(files, &answer.into_iter().collect()))),
            (State::Listing, None) => Ask::Done(Ok(self.found(&answer, &HashSet::new()))),
            (State::Listing, Some(template)) => {
                let paths = answer.iter().map(|f| fill(template, &FileParts::of(f).values())).collect();
                self.state = State::Checking(answer);
                Ask::Existing { paths, dir: self.dir.clone() }
            }
        }
    }
}

/// Every pattern ends in the same literal extension, so item paths can do without it. Decided by the
/// patterns, not by the files, so that a new file never renames the items there are.
fn one_extension(patterns: &[String]) -> bool {
    let extension = |p: &str| -> Option<String> {
        let (_, ext) = p.rsplit('/').next()?.rsplit_once('.')?;
        (!ext.is_empty() && ext.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .then(|| ext.to_owned())
    };
    let mut all = patterns.iter().map(|p| extension(p));
    let first = all.next().flatten();
    first.is_some() && all.all(|e| e == first)
}

pub(super) fn launch(
    def: &TestDef,
    command: &Line,
    expected: Option<&str>,
    pattern: bool,
    group: &Group,
    items: &[LaunchItem<'_>],
) -> Launch {
    let file = items.first().map_or("", |i| i.selector);
    let parts = FileParts::of(file);
    let mut pass: PassRule = def.pass.clone();
    if let Some(template) = expected.filter(|_| !group.name.is_empty()) {
        // Expected output is named relative to the area, as in a test's own rule.
        let path = join(&def.dir, &fill(template, &parts.values()));
        pass.stdout = Some(if pattern { ExpectedOutput::Pattern(path) } else { ExpectedOutput::File(path) });
    }
    Launch {
        line: fill_line(command, &parts.values()),
        dir: group.dir.clone(),
        env: Vec::new(),
        unset: Vec::new(),
        report: false,
        judge: Judge::Process(pass),
    }
}

/// `path` within `dir`; an absolute path stays.
fn join(dir: &str, path: &str) -> String {
    if dir.is_empty() || path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", dir.trim_end_matches('/'))
    }
}
