//! Rules that lines of the log match.

use super::*;
use crate::definition::{Count, LogRule};

fn log_rule(pattern: &str, means: LogMeaning, min: u32, max: u32) -> LogRule {
    LogRule { pattern: pattern.into(), means, count: Count { min, max }, description: String::new() }
}

fn log_rules(rules: &[LogRule], code: i32, log: &'static str) -> Case {
    Case { rule: PassRule { log: rules.to_vec(), ..Default::default() }, ..exit(code, log) }
}

#[test]
fn a_line_is_credited_to_the_first_rule_that_matches() {
    let rules = [
        log_rule("benign error", LogMeaning::Ignore, 1, u32::MAX),
        log_rule("^warn", LogMeaning::Warn, 1, u32::MAX),
        log_rule("error", LogMeaning::Fail, 1, u32::MAX),
    ];
    check(
        log_rules(&rules, 0, "benign error\n"),
        expect![[r#"
        pass Exit(0): 
    "#]],
    );
    check(
        log_rules(&rules, 0, "benign error\n2>warn: hot\n"),
        expect![[r#"
        warn LogRule("^warn"): warn: hot
    "#]],
    );
    check(
        log_rules(&rules, 0, "warn: hot\n2>an error: 5\nan error: 6\n"),
        expect![[r#"
        fail LogRule("error"): an error: 5
    "#]],
    );
}

#[test]
fn required_lines_must_be_there_in_the_right_number() {
    let mut required = log_rule("^ok [0-9]+$", LogMeaning::Pass, 2, 2);
    check(
        log_rules(&[required.clone()], 0, "ok 1\nok 2\n"),
        expect![[r#"
        pass Exit(0): 
    "#]],
    );
    check(
        log_rules(&[required.clone()], 0, "ok 1\nok x\n"),
        expect![[r#"
        fail LogRule("^ok [0-9]+$"): exactly 2 lines must match `^ok [0-9]+$`, found 1
    "#]],
    );
    required.description = "both parts".into();
    check(
        log_rules(&[required.clone()], 0, ""),
        expect![[r#"
        fail LogRule("both parts"): both parts: exactly 2 lines must match `^ok [0-9]+$`, found none
    "#]],
    );
    check(
        log_rules(&[required.clone()], 77, ""),
        expect![[r#"
        skip Exit(77): 
    "#]],
    );
    check(
        log_rules(&[required], 1, "2>error: no\n"),
        expect![[r#"
        fail Exit(1): error: no
    "#]],
    );
    check(
        log_rules(&[log_rule("x", LogMeaning::Pass, 1, u32::MAX)], 0, ""),
        expect![[r#"
        fail LogRule("x"): at least 1 line must match `x`, found none
    "#]],
    );
}

#[test]
fn skip_rules_hold_unless_it_failed_and_abort_is_worse_than_fail() {
    let skip = log_rule("no gpu", LogMeaning::Skip, 1, u32::MAX);
    let rules = [
        skip.clone(),
        log_rule("must be there", LogMeaning::Pass, 1, u32::MAX),
        log_rule("bad", LogMeaning::Fail, 1, u32::MAX),
        log_rule("stop everything", LogMeaning::Abort, 1, u32::MAX),
        log_rule("look", LogMeaning::Check, 1, u32::MAX),
    ];
    check(
        log_rules(&rules, 0, "no gpu found\n"),
        expect![[r#"
        skip LogRule("no gpu"): no gpu found
    "#]],
    );
    check(
        log_rules(&rules, 0, "no gpu found\nbad\n"),
        expect![[r#"
        fail LogRule("bad"): bad
    "#]],
    );
    check(
        log_rules(&rules, 2, "no gpu found\n"),
        expect![[r#"
        fail Exit(2): no gpu found
    "#]],
    );
    check(
        log_rules(&rules, 1, "stop everything now\n"),
        expect![[r#"
        abort LogRule("stop everything"): stop everything now
    "#]],
    );
    check(
        log_rules(&rules, 0, "must be there, look\nlook\n"),
        expect![[r#"
        check LogRule("look"): look
    "#]],
    );
    let case = Case { ended: Ended::Stopped("by hand".into()), ..log_rules(&[skip], 0, "no gpu\n") };
    check(
        case,
        expect![[r#"
        cancelled Stopped("by hand"): by hand
    "#]],
    );
}

#[test]
fn a_rule_may_hold_because_too_few_lines_match() {
    check(
        log_rules(&[log_rule("beat", LogMeaning::Warn, 0, 1)], 0, "x\n"),
        expect![[r#"
        warn LogRule("beat"): no line matches `beat`
    "#]],
    );
    check(
        log_rules(&[log_rule("beat", LogMeaning::Warn, 0, 1)], 0, "beat\nbeat\n"),
        expect![[r#"
        pass Exit(0): 
    "#]],
    );
}

#[test]
fn lines_are_whole_even_where_streams_and_reads_cut_them() {
    let mut log = Vec::new();
    for (stream, text) in [
        (Stream::Stdout, "he"),
        (Stream::Stderr, "mid\nd"),
        (Stream::Muster, "step\n"),
        (Stream::Stdout, "llo\r\nwor"),
        (Stream::Stderr, "le\n"),
        (Stream::Stdout, "ld"),
    ] {
        push(&mut log, Frame { stream, at_millis: 0, text: text.as_bytes() });
    }
    let mut lines = Vec::new();
    for_each_line(&log, |_, line| lines.push(String::from_utf8_lossy(line).into_owned()));
    assert_eq!(lines, ["mid", "hello", "dle", "world"]);
}

#[test]
fn rules_work_on_output_that_is_not_utf_8() {
    let mut bytes = Vec::new();
    push(&mut bytes, Frame { stream: Stream::Stdout, at_millis: 0, text: b"\xff\xfe error \xc3\n" });
    let rule = PassRule { log: vec![log_rule("error", LogMeaning::Fail, 1, 9)], ..Default::default() };
    let j = CompiledRule::new(&rule).unwrap().judge(&Evidence {
        outcome: Outcome::Pass,
        cause: &Cause::Exit(0),
        log: &bytes,
        expected: None,
        measures: "",
    });
    assert_eq!((j.outcome, j.message.as_str()), (Outcome::Fail, "\u{fffd}\u{fffd} error \u{fffd}"));
}

#[test]
fn a_pattern_that_is_no_regular_expression_is_named() {
    let rule = PassRule { log: vec![log_rule("a(b", LogMeaning::Fail, 1, 9)], ..Default::default() };
    let error = CompiledRule::new(&rule).unwrap_err().to_string();
    assert!(error.starts_with("log rule `a(b`: "), "{error}");
}
