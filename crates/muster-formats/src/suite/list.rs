//! `list`: any command that prints names, one per line; any command that runs one.

use super::template::{fill_line, shown};
use super::{Answer, Ask, Discovery, DiscoveryError, End, Judge, Launch, LaunchItem, SuiteCommand, paths};
use muster_core::definition::{Line, TestDef};
use muster_core::exchange::{Found, FoundItem, Group};

pub(super) struct ListDiscovery {
    line: Line,
}

impl ListDiscovery {
    pub(super) fn new(line: &Line) -> Self {
        Self { line: line.clone() }
    }
}

impl Discovery for ListDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        match answer {
            Some(Answer::Ran { end: End::Exit(0), stdout, .. }) => Ask::Done(Ok(parse(&stdout))),
            Some(Answer::Ran { end, stderr, .. }) => Ask::Done(Err(DiscoveryError::Failed {
                command: shown(&self.line),
                end,
                detail: super::tail(&stderr),
            })),
            None | Some(Answer::Files(_)) => Ask::Run(SuiteCommand::plain(self.line.clone())),
        }
    }
}

/// One name per line. Blanks around a name, empty lines and lines that begin with `#` do not count.
fn parse(stdout: &[u8]) -> Found {
    let text = String::from_utf8_lossy(stdout);
    let names = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let mut seen = std::collections::HashSet::new();
    let items = names
        .filter(|n| seen.insert(*n))
        .map(|n| FoundItem { path: paths::clean(n), selector: n.to_owned(), ..FoundItem::default() })
        .collect();
    Found { groups: vec![Group { batch_max: 1, ..Group::default() }], items }
}

pub(super) fn launch(def: &TestDef, run: &Line, group: &Group, items: &[LaunchItem<'_>]) -> Launch {
    let selector = items.first().map_or("", |i| i.selector);
    Launch {
        line: fill_line(run, &[("item", selector)]),
        dir: group.dir.clone(),
        env: vec![("MUSTER_ITEM".to_owned(), selector.to_owned())],
        unset: Vec::new(),
        report: false,
        judge: Judge::Process(def.pass.clone()),
    }
}
