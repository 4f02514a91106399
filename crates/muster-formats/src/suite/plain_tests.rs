//! The two suites whose items are plain processes: `files` and `list`.

use super::*;
use muster_core::definition::{ExpectedOutput, Kind};
use muster_core::exchange::FoundItem;

fn def(framework: Framework, dir: &str) -> TestDef {
    TestDef {
        pass: PassRule { exit: vec![(3, Outcome::Skip)], ..PassRule::default() },
        dir: dir.into(),
        ..TestDef::new("suite", Kind::Suite(SuiteDef::new(framework)))
    }
}

fn suite(def: &TestDef) -> &SuiteDef {
    match &def.kind {
        Kind::Suite(suite) => suite,
        Kind::Steps { .. } => panic!("made above as a suite"),
    }
}

fn files(patterns: &[&str], command: Line, expected: Option<&str>, pattern: bool) -> TestDef {
    let files = patterns.iter().map(|p| (*p).to_owned()).collect();
    def(Framework::Files { files, command, expected: expected.map(str::to_owned), pattern }, "cases")
}

/// Answers a files discovery out of a list of files.
fn find(def: &TestDef, there: &[&str]) -> Found {
    let mut discovery = discovery(def, suite(def));
    let mut answer = None;
    loop {
        answer = Some(match discovery.next(answer.take()) {
            Ask::Done(found) => return found.unwrap(),
            Ask::Run(command) => panic!("files runs nothing: {command:?}"),
            Ask::Glob { dir, executable, .. } => {
                assert_eq!((dir.as_str(), executable), ("cases", false));
                Answer::Files(
                    there.iter().filter(|f| !f.ends_with(".out")).map(|f| (*f).to_owned()).collect(),
                )
            }
            Ask::Existing { mut paths, dir } => {
                assert_eq!(dir, "cases");
                paths.retain(|p| there.contains(&p.as_str()));
                Answer::Files(paths)
            }
        });
    }
}

fn started(def: &TestDef, found: &Found, item: &FoundItem) -> (Line, PassRule) {
    let given = [LaunchItem { path: &item.path, selector: &item.selector }];
    let launch = launch(def, suite(def), &found.groups[item.group as usize], &given);
    match launch.judge {
        Judge::Process(rule) => (launch.line, rule),
        Judge::Reader(_) => panic!("files are plain processes"),
    }
}

#[test]
fn each_file_is_an_item_and_expected_output_is_taken_where_it_is() {
    let def =
        files(&["**/*.in"], Line::Shell("tool <{file} {stem} {dir}".into()), Some("{dir}/{stem}.out"), false);
    let found =
        find(&def, &["a b.in", "a b.out", "./a b.out", "deep/er/it's.in", "deep/er/it's.out", "lone.in"]);
    let paths: Vec<&str> = found.items.iter().map(|i| i.path.as_str()).collect();
    assert_eq!(paths, ["a b", "deep/er/it's", "lone"]);

    let (line, rule) = started(&def, &found, &found.items[1]);
    assert_eq!(line, Line::Shell(r"tool <'deep/er/it'\''s.in' 'it'\''s' deep/er".into()));
    assert_eq!(rule.stdout, Some(ExpectedOutput::File("cases/deep/er/it's.out".into())));
    assert_eq!(rule.exit, def.pass.exit, "the test's own rule stays in force");

    let (_, rule) = started(&def, &found, &found.items[2]);
    assert_eq!(rule.stdout, None);
}

#[test]
fn patterns_without_one_extension_keep_it_in_the_item_path() {
    let line = Line::Argv(vec!["run".into(), "{name}".into(), "{file}".into()]);
    let def = files(&["*.js", "*.mjs"], line, Some("{name}.expected"), true);
    let found = find(&def, &["a.js", "a.mjs", "a.expected"]);
    let paths: Vec<&str> = found.items.iter().map(|i| i.path.as_str()).collect();
    // The list of files that are there stands for a glob that knows no better.
    assert_eq!(paths, ["a.js", "a.mjs", "a.expected"]);
    let (line, rule) = started(&def, &found, &found.items[1]);
    assert_eq!(line, Line::Argv(vec!["run".into(), "a".into(), "a.mjs".into()]));
    assert_eq!(rule.stdout, Some(ExpectedOutput::Pattern("cases/a.expected".into())));
}

fn list() -> TestDef {
    let framework =
        Framework::List { list: Line::Shell("names".into()), run: Line::Shell("one {item}".into()) };
    def(framework, "")
}

fn answered(def: &TestDef, end: End, stdout: &str) -> Result<Found, DiscoveryError> {
    let mut discovery = discovery(def, suite(def));
    assert!(matches!(discovery.next(None), Ask::Run(c) if c.line == Line::Shell("names".into())));
    let (stdout, stderr) = (stdout.into(), b"one\ncannot list\n".to_vec());
    match discovery.next(Some(Answer::Ran { end, stdout, stderr, report: Vec::new() })) {
        Ask::Done(found) => found,
        other => panic!("one command is enough: {other:?}"),
    }
}

#[test]
fn a_list_has_one_name_on_each_line() {
    let def = list();
    let found =
        answered(&def, End::Exit(0), "# names\n\n first \r\nsecond/part two\nfirst\nbell\u{7}\n").unwrap();
    let paths: Vec<&str> = found.items.iter().map(|i| i.path.as_str()).collect();
    assert_eq!(paths, ["first", "second/part two", "bell\\u{7}"]);
    let item = &found.items[1];
    let given = [LaunchItem { path: &item.path, selector: &item.selector }];
    let launch = launch(&def, suite(&def), &found.groups[0], &given);
    assert_eq!(launch.line, Line::Shell("one 'second/part two'".into()));
    assert_eq!(launch.env, [("MUSTER_ITEM".to_owned(), "second/part two".to_owned())]);
}

#[test]
fn a_list_that_fails_says_what_it_said() {
    let error = answered(&list(), End::Exit(2), "half\n").unwrap_err();
    assert_eq!(error.to_string(), "`names` exited with code 2: one\ncannot list");
}
