//! `check`: an end, an output and a rule in, one line of judgement out.

mod log_rules;
mod measures;

use super::*;
use crate::definition::Proceed;
use crate::output::{Frame, Stream, push};
use expect_test::{Expect, expect};
use std::fmt::Write as _;

/// A log of lines, each of standard output unless it begins with `2>`.
fn log(text: &str) -> Vec<u8> {
    let mut log = Vec::new();
    for line in text.split_inclusive('\n') {
        let (stream, text) = match line.strip_prefix("2>") {
            Some(text) => (Stream::Stderr, text),
            None => (Stream::Stdout, line),
        };
        push(&mut log, Frame { stream, at_millis: 0, text: text.as_bytes() });
    }
    log
}

struct Case {
    rule: PassRule,
    ended: Ended,
    log: &'static str,
    file: Option<Result<&'static str, &'static str>>,
    measures: &'static str,
}

fn exit(code: i32, log: &'static str) -> Case {
    Case { rule: PassRule::default(), ended: Ended::Exit(code), log, file: None, measures: "" }
}

fn check(case: Case, expected: Expect) {
    let rule = CompiledRule::new(&case.rule).unwrap();
    let (outcome, cause) = rule.of_end(&case.ended);
    let log = log(case.log);
    let j = rule.judge(&Evidence {
        outcome,
        cause: &cause,
        log: &log,
        expected: case.file,
        measures: case.measures,
    });
    let mut shown = format!("{} {:?}: {}\n", j.outcome, j.cause, j.message);
    for m in &j.measures {
        let expected = m.expected.map_or_else(|| "-".into(), |e| e.to_string());
        let _ =
            writeln!(shown, "  {} {} {} {expected} {:?} {:?}", m.name, m.value, m.units, m.tolerance, m.good);
    }
    expected.assert_eq(&shown);
}

#[test]
fn the_exit_code_says_what_came_of_it() {
    check(
        exit(0, "all fine\n"),
        expect![[r#"
        pass Exit(0): 
    "#]],
    );
    check(
        exit(77, "checking\nno such device here\n"),
        expect![[r#"
        skip Exit(77): no such device here
    "#]],
    );
    check(
        exit(99, "2>the board is not powered\n"),
        expect![[r#"
        error Exit(99): the board is not powered
    "#]],
    );
    check(
        exit(3, ""),
        expect![[r#"
        fail Exit(3): exit code 3, nothing printed
    "#]],
    );
    check(
        exit(139, ""),
        expect![[r#"
        fail Exit(139): exit code 139 (128 + SIGSEGV), nothing printed
    "#]],
    );
}

#[test]
fn other_ends_say_so() {
    let of = |ended| Case { ended, ..exit(0, "step one\nstep two\n") };
    check(
        of(Ended::Signal(6)),
        expect![[r#"
        crash Signal(6): ended by SIGABRT: step two
    "#]],
    );
    check(
        of(Ended::Signal(40)),
        expect![[r#"
        crash Signal(40): ended by signal 40: step two
    "#]],
    );
    check(
        of(Ended::HardLimit(Duration::from_secs(90))),
        expect![[r#"
        timeout HardLimit(90s): did not end within 1m30s; last line: step two
    "#]],
    );
    check(
        of(Ended::SilenceLimit(Duration::from_millis(1500))),
        expect![[r#"
        timeout SilenceLimit(1.5s): printed nothing for 1.5s; last line: step two
    "#]],
    );
    check(
        of(Ended::Stopped("interrupted".into())),
        expect![[r#"
        cancelled Stopped("interrupted"): interrupted
    "#]],
    );
    check(
        of(Ended::NotStarted("`nope`: not found".into())),
        expect![[r#"
        error Lab("`nope`: not found"): `nope`: not found
    "#]],
    );
}

#[test]
fn a_rule_may_give_exit_codes_another_meaning() {
    let rule = PassRule {
        exit: vec![(1, Outcome::Pass), (0, Outcome::Fail), (3, Outcome::Warn)],
        ..Default::default()
    };
    let of = |code| Case { rule: rule.clone(), ..exit(code, "text\n") };
    check(
        of(1),
        expect![[r#"
        pass Exit(1): 
    "#]],
    );
    check(
        of(0),
        expect![[r#"
        fail Exit(0): text
    "#]],
    );
    check(
        of(3),
        expect![[r#"
        warn Exit(3): text
    "#]],
    );
}

#[test]
fn the_message_is_the_line_that_says_most() {
    let message = |text: &str| first_useful_line(&log(text)).unwrap_or_default();
    let cases = [
        // Rust, with the message on the line after the place.
        (
            "running 1 test\n2>thread 'main' (12) panicked at src/lib.rs:3:5:\n2>two is not three\n2>note: run with `RUST_BACKTRACE=1`\n",
            "two is not three (src/lib.rs:3:5)",
        ),
        // Standard output written between the two lines of a panic.
        ("2>thread 'a' panicked at x.rs:1:1:\nnoise\n2>boom\n", "boom (x.rs:1:1)"),
        (
            "2>Traceback (most recent call last):\n2>  File \"t.py\", line 3\n2>ValueError: bad number\n",
            "ValueError: bad number",
        ),
        (
            "cc -c a.c\n2>a.c:3:5: error: expected ';'\n2>make: *** [a.o] Error 1\n",
            "a.c:3:5: error: expected ';'",
        ),
        (
            "2>error[E0308]: mismatched types\n2>error: could not compile `x`\n",
            "error[E0308]: mismatched types",
        ),
        ("2>t: t.c:4: main: Assertion `x == 1' failed.\n", "t: t.c:4: main: Assertion `x == 1' failed."),
        ("starting\nFAIL: three\ndone\n", "FAIL: three"),
        ("2>sh: 1: nope: not found\nbye\n", "sh: 1: nope: not found"),
        ("one\n2>two\nthree\n", "two"),
        ("one\n\n   \n", "one"),
        ("2>\u{1b}[1;31merror\u{1b}[0m: red\tand\u{7} loud\n", "error: red and loud"),
        ("", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(message(text), expected, "{text:?}");
    }
    let long = "x".repeat(10_000);
    assert_eq!(message(&long).chars().count(), 400, "cut, and marked");
}

#[test]
fn durations_are_shown_as_people_write_them() {
    let words = [0, 250, 1000, 1500, 59_999, 60_000, 90_000, 3_600_000, 5_400_000, 86_400_000]
        .map(|ms| duration_words(Duration::from_millis(ms)));
    assert_eq!(words, ["0ms", "250ms", "1s", "1.5s", "59.999s", "1m", "1m30s", "1h", "1h30m", "24h"]);
}

#[test]
fn expected_text_is_compared_without_trailing_blanks() {
    let of = |log| Case {
        rule: PassRule {
            stdout: Some(ExpectedOutput::Text("one\ntwo  \n\nfour\n\n".into())),
            ..Default::default()
        },
        ..exit(0, log)
    };
    check(
        of("one \r\ntwo\n2>noise\n\nfour"),
        expect![[r#"
        pass Exit(0): 
    "#]],
    );
    check(
        of("one\n2\n\nfour\n"),
        expect![[r#"
        fail Output: standard output differs at line 2: expected `two`, got `2`
    "#]],
    );
    check(
        of("one\ntwo\n"),
        expect![[r#"
        fail Output: standard output ends after line 2: expected ``
    "#]],
    );
    check(
        of(""),
        expect![[r#"
        fail Output: standard output ends after line 0: expected `one`
    "#]],
    );
    check(
        of("one\ntwo\n\nfour\nfive\n"),
        expect![[r#"
        fail Output: standard output goes on at line 5: expected its end, got `five`
    "#]],
    );
    check(
        of("one\n two\n\nfour\n"),
        expect![[r#"
        fail Output: standard output differs at line 2: expected `two`, got ` two`
    "#]],
    );
}

#[test]
fn of_long_lines_the_place_where_they_part_is_shown() {
    let expected = format!("{}A{}", "=".repeat(500), "-".repeat(500));
    let got = format!("{}B{}", "=".repeat(500), "-".repeat(500));
    let rule =
        CompiledRule::new(&PassRule { stdout: Some(ExpectedOutput::Text(expected)), ..Default::default() })
            .unwrap();
    let j = rule.judge(&Evidence {
        outcome: Outcome::Pass,
        cause: &Cause::Exit(0),
        log: &log(&got),
        expected: None,
        measures: "",
    });
    assert!(j.message.contains("===A---") && j.message.contains("===B---"), "{}", j.message);
    assert!(j.message.len() < 500, "{}", j.message);
}

#[test]
fn expected_files_are_named_in_the_message() {
    let rule =
        |r: fn(String) -> ExpectedOutput| PassRule { stdout: Some(r("t.out".into())), ..Default::default() };
    let of = |rule: &PassRule, file, log| Case { rule: rule.clone(), file: Some(file), ..exit(0, log) };
    let file = rule(ExpectedOutput::File);
    check(
        of(&file, Ok("a\nb\n"), "a\nc\n"),
        expect![[r#"
        fail Output: standard output differs at line 2 (t.out:2): expected `b`, got `c`
    "#]],
    );
    check(
        of(&file, Err("no such file"), "a\n"),
        expect![[r#"
        fail Output: the expected output `t.out` cannot be read: no such file
    "#]],
    );
    let pattern = rule(ExpectedOutput::Pattern);
    let out = "# a comment\n\n*%(basename)s:{NUMBER}: Error: *\nthrow new *;\n";
    check(
        of(&pattern, Ok(out), "==12== valgrind\ndir/%(basename)s:12: Error: x\n\nthrow new E(1);\n"),
        expect![[r#"
        pass Exit(0): 
    "#]],
    );
    check(
        of(&pattern, Ok(out), "a%(basename)s:12: Error: x\nthrow new E(1)\n"),
        expect![[r#"
        fail Output: standard output differs at line 2 (t.out:4): expected `throw new *;`, got `throw new E(1)`
    "#]],
    );
}

#[test]
fn stars_and_numbers_match_what_they_should() {
    let matches = |pattern: &str, line: &str| {
        let rule = PassRule { stdout: Some(ExpectedOutput::Pattern("p".into())), ..Default::default() };
        let log = log(line);
        let e = Evidence {
            outcome: Outcome::Pass,
            cause: &Cause::Exit(0),
            log: &log,
            expected: Some(Ok(pattern)),
            measures: "",
        };
        CompiledRule::new(&rule).unwrap().judge(&e).outcome == Outcome::Pass
    };
    for (pattern, line, same) in [
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "abcd", false),
        ("a*b*c", "a-b-b-c", true),
        ("*", "anything", true),
        ("{NUMBER} ms", "12.5 ms", true),
        ("{NUMBER} ms", "12. ms", false),
        ("{NUMBER}.", "12.", true),
        ("{NUMBER} ms", "x ms", false),
        ("*{NUMBER}*x", "ab12cdx", true),
        ("{NUM", "{NUM", true),
        ("ä*ö", "ä…ö", true),
        ("a.c", "abc", false),
    ] {
        assert_eq!(matches(pattern, line), same, "{pattern} {line}");
    }
    let hostile = "*a".repeat(200) + "b";
    assert!(!matches(&hostile, &"a".repeat(5000)));
}

#[test]
fn steps_go_on_as_they_say_and_the_worst_that_counts_is_the_attempts() {
    let run = |steps: &[(Outcome, Proceed)]| {
        let mut progress = Progress::default();
        let mut ran = 0;
        for (outcome, proceed) in steps {
            ran += 1;
            if !progress.receive_step(*outcome, Cause::Exit(ran), *proceed) {
                break;
            }
        }
        (ran, progress.outcome, progress.step)
    };
    use Outcome::{Cancelled, Fail, Pass, Skip, Timeout, Warn};
    use Proceed::{Always, Ignored, Passed};
    assert_eq!(run(&[(Pass, Passed), (Pass, Passed)]), (2, Pass, 0));
    assert_eq!(run(&[(Fail, Passed), (Pass, Passed)]), (1, Fail, 0));
    assert_eq!(run(&[(Warn, Passed), (Pass, Passed)]), (2, Warn, 0));
    assert_eq!(run(&[(Skip, Passed), (Pass, Passed)]), (1, Skip, 0));
    assert_eq!(run(&[(Fail, Always), (Timeout, Always), (Pass, Passed)]), (3, Timeout, 1));
    assert_eq!(run(&[(Pass, Passed), (Fail, Ignored), (Pass, Passed)]), (3, Pass, 0));
    assert_eq!(run(&[(Fail, Ignored)]), (1, Pass, 0));
    assert_eq!(run(&[(Pass, Always), (Cancelled, Ignored), (Pass, Passed)]), (2, Cancelled, 1));
    assert_eq!(run(&[(Fail, Always), (Fail, Always)]), (2, Fail, 0));
}
