//! Readers against output that was captured from the real tools, cut into pieces at random.

use super::gtest::GtestReader;
use super::libtest::LibtestReader;
use super::pytest::PytestReader;
use super::{End, LaunchItem, Reader, Reported};
use muster_core::output::{Stream, text};
use proptest::prelude::*;
use std::time::Duration;

const LIBTEST: &str = include_str!("testdata/libtest-1.95.out");
const GTEST: &str = include_str!("testdata/gtest-1.12.out");
const PYTEST: &str = include_str!("testdata/pytest-9.jsonl");

fn items<'a>(names: &[&'a str]) -> Vec<LaunchItem<'a>> {
    names.iter().map(|n| LaunchItem { path: n, selector: n }).collect()
}

fn libtest_names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        LIBTEST.lines().filter_map(|l| l.strip_prefix("test ")?.split(" ... ").next()).collect();
    names.retain(|n| *n != "tests::zz" && !n.starts_with("result: "));
    names.into_iter().map(|n| n.strip_suffix(" - should panic").unwrap_or(n)).collect()
}

fn gtest_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = GTEST.lines().filter_map(|l| l.strip_prefix("[ RUN      ] ")).collect();
    names.dedup();
    names
}

fn pytest_names() -> Vec<String> {
    let events = PYTEST.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let mut names = Vec::new();
    for event in events {
        if event["e"] == "start" || event["e"] == "collect" {
            names.push(event["id"].as_str().unwrap().to_owned());
        }
    }
    names
}

/// Everything but the times, which depend on the pieces.
fn essence(all: &[Reported]) -> Vec<String> {
    all.iter()
        .map(|r| match r {
            Reported::Started { index, .. } => format!("{index} started"),
            Reported::Ended { index, end } => {
                let log = String::from_utf8_lossy(&text(&end.log, |_| true)).into_owned();
                format!("{index} {} {} {log:?}", end.outcome, end.message)
            }
        })
        .collect()
}

fn feed(mut reader: impl Reader, whole: &[u8], cuts: &[usize], report: bool, end: &End) -> Vec<Reported> {
    let mut places: Vec<usize> = cuts.iter().map(|c| c % (whole.len() + 1)).collect();
    places.extend([0, whole.len()]);
    places.sort_unstable();
    let mut out = Vec::new();
    for pair in places.windows(2) {
        let piece = &whole[pair[0]..pair[1]];
        if report {
            reader.report(Duration::ZERO, piece, &mut out);
        } else {
            reader.output(Stream::Stdout, Duration::ZERO, piece, &mut out);
        }
    }
    reader.ended(end, Duration::ZERO, &mut out);
    out
}

/// A reader, what it reads, and whether that comes on the report pipe.
type Case = (Box<dyn Fn() -> Box<dyn Reader>>, &'static str, bool, End);

fn cases() -> Vec<Case> {
    let pytest = pytest_names();
    vec![
        (
            Box::new(|| Box::new(LibtestReader::new(&items(&libtest_names()), 1 << 20))),
            LIBTEST,
            false,
            End::Exit(101),
        ),
        (
            Box::new(|| Box::new(GtestReader::new(&items(&gtest_names()), 1 << 20))),
            GTEST,
            false,
            End::Exit(1),
        ),
        (
            Box::new(move || {
                let names: Vec<&str> = pytest.iter().map(String::as_str).collect();
                Box::new(PytestReader::new(&items(&names), 1 << 20))
            }),
            PYTEST,
            true,
            End::Exit(1),
        ),
    ]
}

impl Reader for Box<dyn Reader> {
    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8], out: &mut Vec<Reported>) {
        self.as_mut().output(stream, at, bytes, out);
    }

    fn report(&mut self, at: Duration, bytes: &[u8], out: &mut Vec<Reported>) {
        self.as_mut().report(at, bytes, out);
    }

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        self.as_mut().ended(end, at, out);
    }
}

#[test]
fn the_captured_output_has_something_of_everything() {
    for (reader, whole, report, end) in cases() {
        let out = feed(reader(), whole.as_bytes(), &[], report, &end);
        let outcomes: Vec<String> = out
            .iter()
            .filter_map(|r| match r {
                Reported::Ended { end, .. } => Some(end.outcome.to_string()),
                Reported::Started { .. } => None,
            })
            .collect();
        for wanted in ["pass", "fail", "skip"] {
            assert!(outcomes.iter().any(|o| o == wanted), "no {wanted} in {outcomes:?}");
        }
        assert!(outcomes.iter().all(|o| o != "error" && o != "crash"), "{outcomes:?}");
    }
}

proptest! {
    #[test]
    fn where_reads_are_cut_changes_nothing(cuts in proptest::collection::vec(any::<usize>(), 0..200)) {
        for (reader, whole, report, end) in cases() {
            let at_once = feed(reader(), whole.as_bytes(), &[], report, &end);
            let in_pieces = feed(reader(), whole.as_bytes(), &cuts, report, &end);
            prop_assert_eq!(essence(&in_pieces), essence(&at_once));
        }
    }

    /// However much of the output there is when a signal ends the process: every item ends at most once,
    /// one at least is charged, and none is said to have passed that had not ended.
    #[test]
    fn a_process_that_dies_anywhere_is_never_a_success(cut in any::<usize>()) {
        for (reader, whole, report, _) in cases() {
            let part = &whole.as_bytes()[..cut % (whole.len() + 1)];
            let out = feed(reader(), part, &[], report, &End::Signal(9));
            let mut ended = std::collections::BTreeSet::new();
            let mut crashed = 0;
            for r in &out {
                if let Reported::Ended { index, end } = r {
                    prop_assert!(ended.insert(*index), "{index} ended twice");
                    crashed += usize::from(end.outcome == muster_core::outcome::Outcome::Crash);
                }
            }
            prop_assert!(!ended.is_empty());
            let all_crashed = ended.len() == crashed;
            let failed = out.iter().any(|r| matches!(r, Reported::Ended { end, .. } if !end.outcome.is_good()));
            prop_assert!(failed && (crashed <= 1 || all_crashed), "{crashed} of {}", ended.len());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        words in proptest::collection::vec(proptest::sample::select(vec![
            "test a ... ", "test b ... ", "ok", "FAILED", "\n", "\nfailures:\n", "---- a stdout ----\n", "    a\n",
            "test result: ok. ", "running 2 tests\n", "[ RUN      ] a\n", "[       OK ] a (1 ms)\n", "[  FAILED  ] b\n",
            "x: Failure\n", "{\"e\":\"start\",\"id\":\"a\"}\n", "{\"e\":\"finish\",\"id\":\"a\"}\n", "\u{fffd}", " ... ",
        ]), 0..40),
        end in proptest::sample::select(vec![End::Exit(0), End::Exit(1), End::Exit(101), End::Signal(6), End::Stopped("x".into())]),
    ) {
        let names = items(&["a", "b"]);
        let joined = words.concat();
        for whole in [bytes.as_slice(), joined.as_bytes()] {
            for out in [
                feed(LibtestReader::new(&names, 100), whole, &[3, 7], false, &end),
                feed(GtestReader::new(&names, 100), whole, &[3, 7], false, &end),
                feed(PytestReader::new(&names, 100), whole, &[3, 7], true, &end),
            ] {
                let ended: Vec<usize> = out
                    .iter()
                    .filter_map(|r| match r {
                        Reported::Ended { index, .. } => Some(*index),
                        Reported::Started { .. } => None,
                    })
                    .collect();
                prop_assert!(!ended.is_empty() && ended.len() <= 2);
                prop_assert!(ended.len() == 1 || ended[0] != ended[1]);
            }
        }
    }
}

/// Events as the plug-in writes them, without what does not matter here.
fn pytest_says(lines: &[&str]) -> Vec<String> {
    let phase = |id: &str, when: &str, outcome: &str| {
        format!(
            "{{\"e\":\"phase\",\"id\":\"{id}\",\"when\":\"{when}\",\"outcome\":\"{outcome}\",\"seconds\":0.5,\
             \"message\":\"why\",\"text\":\"\",\"sections\":[],\"xfail\":null,\"sub\":null}}\n"
        )
    };
    let event = |line: &&str| match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["end"] => "{\"e\":\"end\",\"exit\":1,\"foreign\":0}\n".to_owned(),
        [id, event @ ("start" | "finish")] => format!("{{\"e\":\"{event}\",\"id\":\"{id}\"}}\n"),
        [id, when, outcome] => phase(id, when, outcome),
        other => panic!("{other:?}"),
    };
    let text: String = lines.iter().map(event).collect();
    let names = items(&["a", "b"]);
    essence(&feed(PytestReader::new(&names, 1 << 10), text.as_bytes(), &[], true, &End::Exit(1)))
}

#[test]
fn tries_that_pytest_repeats_are_one_attempt_and_a_late_pass_is_marked() {
    let tries = |last: &str| {
        pytest_says(&[
            "a start",
            "a setup passed",
            "a call rerun",
            "a teardown passed",
            "a finish",
            "a start",
            "a setup passed",
            last,
            "a teardown passed",
            "a finish",
            "b start",
            "b call failed",
            "b finish",
            "end",
        ])
    };
    assert_eq!(tries("a call passed")[1], "0 warn passed after 1 failed try \"\"");
    assert_eq!(tries("a call failed")[1], "0 fail why \"\"");
}
