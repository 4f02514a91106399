//! Rule files as people write them, on logs as tests print them.

use super::*;
use expect_test::{Expect, expect};
use jiff::civil::date;
use muster_core::output::Stream;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::sync::LazyLock;

fn program(rules: &str) -> Program {
    let rules = Rules::read(&[("t.logpro", rules)]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    Program::new(rules, date(2026, 11, 21)).unwrap()
}

/// What a log comes to, and what each rule found.
fn check(rules: &str, log: &str, expected: Expect) {
    let program = program(rules);
    let report = program.evaluate(log.as_bytes());
    let mut text = String::new();
    for remark in &program.rules().remarks {
        writeln!(text, "remark {remark}").unwrap();
    }
    writeln!(text, "{} {} {}", report.exit_code(), report.status, report.message).unwrap();
    for (rule, finding) in program.rules().rules.iter().zip(&report.findings) {
        let hits: Vec<u64> = finding.hits.iter().map(|h| h.line).collect();
        let held = if finding.expired {
            "expired"
        } else if finding.held {
            "ok"
        } else {
            "NOT OK"
        };
        write!(text, "{}: {held} {hits:?}", rule.description).unwrap();
        for value in &finding.values {
            write!(text, " {}{}", value.text, if value.good { "" } else { "!" }).unwrap();
        }
        text.push('\n');
    }
    for fired in &report.fired {
        writeln!(text, "hook `{}` by {} at {}", fired.command, fired.rule, fired.line).unwrap();
    }
    expected.assert_eq(&text);
}

/// The rules that every new test begins with.
const USUAL: &str = r#"
;; You should have at least one expect:required. This ensures that your process ran
(expect:required in "LogFileBody" > 0 "It ran" #/^Starting/)
(expect:ignore in "LogFileBody" < 99 "Ignore the word error in comments" #/^\/\/.*error/)
(expect:warning in "LogFileBody" = 0 "Any warning" #/warn/i)
(expect:error in "LogFileBody" = 0 "Any error" (list #/ERROR/ #/error/)) ;; but disallow any other errors
"#;

#[test]
fn a_line_is_credited_to_the_first_rule_that_matches() {
    check(
        USUAL,
        "Starting\n// no error here\nwarning: error ahead\nfine\n",
        expect![[r#"
            2 WARN Any warning: warning: error ahead
            It ran: ok [1]
            Ignore the word error in comments: ok [2]
            Any warning: NOT OK [3]
            Any error: ok []
        "#]],
    );
    check(
        USUAL,
        "Starting\r\nERROR: one\r\n",
        expect![[r#"
            1 FAIL Any error: ERROR: one
            It ran: ok [1]
            Ignore the word error in comments: ok []
            Any warning: ok []
            Any error: NOT OK [2]
        "#]],
    );
    check(
        USUAL,
        "",
        expect![[r#"
            1 FAIL It ran: 0 lines, wanted > 0
            It ran: NOT OK []
            Ignore the word error in comments: ok []
            Any warning: ok []
            Any error: ok []
        "#]],
    );
}

#[test]
fn sections_run_from_trigger_to_trigger_and_may_come_again() {
    let rules = r#"
        (section "Init" "begin" "end")
        (trigger "begin" #/^== begin/)
        (trigger "end" #/^== end/)
        (trigger:non-required "never" #/^== never/)
        (expect:error in "Init" = 0 "within" #/bad/)
        (expect:error not-in "Init" <= 1 "without" #/bad/)
        (expect:note in "LogFileBody" >= 0 "marks" #/^==/)
    "#;
    check(
        rules,
        "bad\n== begin\nok\n== end bad\nbad\n== begin\nbad",
        expect![[r#"
            1 FAIL within: == end bad
            within: NOT OK [4, 7]
            without: NOT OK [1, 5]
            marks: ok [2, 6]
        "#]],
    );
    check(
        rules,
        "== begin\n",
        expect![[r#"
            1 FAIL the trigger `end` never fired
            within: ok []
            without: ok []
            marks: ok [1]
        "#]],
    );
}

#[test]
fn a_trigger_at_both_ends_opens_and_closes_in_turn() {
    check(
        r#"(trigger "mark" #/^---/) (section "S" "mark" "mark") (expect:error in "S" = 0 "in it" #/x/)"#,
        "x\n---\nx\n---\nx\n---\nx\n",
        expect![[r#"
            1 FAIL in it: x
            in it: NOT OK [3, 7]
        "#]],
    );
}

#[test]
fn values_are_taken_from_groups_and_compared() {
    check(
        r#"
        (expect:value in "LogFileBody" 1.9 0.1 "Output voltage" #/Measured voltage output:\s*([\d\.\+\-e]+)v/)
        (expect:value in "LogFileBody" 110e9 > "Frequency" #/(Freq|freq):\s*([\d\.\+\-e]+)\s+Hz/ match: 2)
        (expect:value in "LogFileBody" 5 <= "Missing" #/nothing (\d+)/)
        "#,
        "Measured voltage output: 1.89v\nFreq: 1.2e11 Hz\nfreq: 1e11 Hz\nfreq: e Hz\n",
        expect![[r#"
            1 FAIL Frequency: 1e11 is not > 110000000000
            Output voltage: ok [1] 1.89
            Frequency: NOT OK [2, 3, 4] 1.2e11 1e11! e!
            Missing: NOT OK []
        "#]],
    );
}

/// Skip before abort before check before failures before warnings before waivers.
#[test]
fn the_exit_code_is_that_of_what_weighs_most() {
    let kinds = [("skip", 6), ("abort", 5), ("check", 3), ("error", 1), ("warning", 2), ("waive", 4)];
    let rules: String = kinds
        .iter()
        .map(|(kind, _)| format!("(expect:{kind} in \"LogFileBody\" = 0 \"{kind}\" #/<{kind}>/)\n"))
        .collect();
    let program = program(&rules);
    for (i, (_, exit)) in kinds.iter().enumerate() {
        // This one and all that weigh less, in either order of lines.
        let mut lines: Vec<String> = kinds[i..].iter().map(|(kind, _)| format!("<{kind}>\n")).collect();
        assert_eq!(program.evaluate(lines.concat().as_bytes()).exit_code(), *exit, "{lines:?}");
        lines.reverse();
        assert_eq!(program.evaluate(lines.concat().as_bytes()).exit_code(), *exit, "{lines:?}");
    }
    assert_eq!(program.evaluate(b"nothing\n").exit_code(), 0);
    check(
        r#"(expect:required-warn in "LogFileBody" = 1 "once" "once")
           (expect:ignore in "LogFileBody" < 1 "never decides" #/x/)
           (expect:note in "LogFileBody" = 7 "nor does this" #/y/)"#,
        "x\n",
        expect![[r#"
            2 WARN once: 0 lines, wanted = 1
            once: NOT OK []
            never decides: NOT OK [1]
            nor does this: NOT OK []
        "#]],
    );
}

#[test]
fn a_rule_ends_the_day_after_it_expires() {
    let rule = |day: &str| {
        format!(
            r#"(expect:ignore in "LogFileBody" >= 0 "known" #/error 12/ expires: "{day}")
               (expect:error in "LogFileBody" = 0 "any" #/error/)"#
        )
    };
    for (day, exit) in [("11/21/2026", 0), ("11/20/2026", 1), ("1/5/2027", 0)] {
        assert_eq!(program(&rule(day)).evaluate(b"error 12\n").exit_code(), exit, "{day}");
    }
}

#[test]
fn waivers_are_read_first() {
    let waivers = r#"(expect:waive in "LogFileBody" = 0 "bug 7" #/error 7/)"#;
    let rules = Rules::read(&[("waivers.logpro", waivers), ("t.logpro", USUAL)]).unwrap();
    let report = Program::new(rules, date(2026, 1, 1)).unwrap().evaluate(b"Starting\nerror 7\n");
    assert_eq!((report.exit_code(), report.message.as_str()), (4, "bug 7: error 7"));
}

#[test]
fn hooks_are_told_and_not_run() {
    check(
        r#"
        (hook:first-error "mail -s broken me")
        (hook:value "store #{value}")
        (expect:error in "LogFileBody" = 0 "one" #/E1/)
        (expect:error in "LogFileBody" = 0 "two" #/E2/ hook: "two")
        (expect:value in "LogFileBody" 1 1 "n" #/n=(\d+)/)
        "#,
        "E2\nE1\nE2\nn=1\nn=2\n",
        expect![[r#"
            1 FAIL one: E1
            one: NOT OK [2]
            two: NOT OK [1, 3]
            n: ok [4, 5] 1 2
            hook `mail -s broken me` by two at 1
            hook `two` by two at 1
            hook `store #{value}` by n at 4
            hook `store #{value}` by n at 5
        "#]],
    );
}

#[test]
fn what_is_likely_not_meant_is_remarked() {
    check(
        r#"(expect:skip in "LogFileBody" > 0 "skip" #/SKIP/)
           (expect:required in "Nowhere" >= 0 "weak" #/x/)
           (section "S" "a" "b")"#,
        "SKIP\n",
        expect![[r#"
            remark t.logpro:3: there is no trigger `a`
            remark t.logpro:3: there is no trigger `b`
            remark t.logpro:1: `> 0` wants such lines: skip is what comes of it where there are none
            remark t.logpro:2: there is no section `Nowhere`
            remark t.logpro:2: `>= 0` holds also where nothing matches
            0 PASS 
            skip: ok [1]
            weak: ok []
        "#]],
    );
}

#[test]
fn every_problem_of_a_rule_file_is_told_with_its_place() {
    let rules = r#"
(define x 1)
(expect:error in "LogFileBody" = 0 "x" #/a\Kb/)
(expect:errors in "LogFileBody" = 0 "x" #/a/)
(expect:error at "LogFileBody" = 0 "x" #/a/)
(expect:error in "LogFileBody" == 0 "x" #/a/)
(expect:error in "LogFileBody" = some "x" #/a/)
(expect:error in "LogFileBody" = 0 #/a/)
(expect:error in "LogFileBody" = 0 "x" (map f y))
(expect:error in "LogFileBody" = 0 "x" #/a/ expires: "2026-11-21")
(expect:value in "LogFileBody" 1 ~ "x" #/(a)/)
(expect:value in "LogFileBody" 1 1 "x" #/a/)
(expect:error in "LogFileBody" = 0 "x" #/a/ colour: "red")
(trigger "t")
loose
(hook:first-error (system "rm"))
(expect:error in "LogFileBody" = 0 (conc "x" 1) (list (regexp "A" #t) "b"))
"#;
    let problems: String = Rules::read(&[("t.logpro", rules)])
        .unwrap_err()
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    expect![[r#"
        t.logpro:2: `define` is neither a rule nor a trigger, section or hook, and Scheme is not evaluated here
        t.logpro:3: the regular expression `a\Kb` cannot be used: `\K` has no counterpart
        t.logpro:4: there is no `expect:errors`, but error, warning, warn, required, required-warn, ignore, note, check, abort, skip, waive, waived and value
        t.logpro:5: `at` is neither `in` nor `not-in`
        t.logpro:6: `==` is none of `=`, `<`, `>`, `<=`, `>=`
        t.logpro:7: a number of lines is missing here
        t.logpro:8: a description in quotes is missing here
        t.logpro:9: a regular expression such as `#/error/i` is missing here
        t.logpro:10: `2026-11-21` is no date such as "12/31/2026"
        t.logpro:11: `~` is not a tolerance: a number from 0, or `<`, `<=`, `>`, `>=`
        t.logpro:12: `#/a/` has no group 1 to take the value from
        t.logpro:13: expect:error has no `colour:` of this sort
        t.logpro:14: a regular expression is missing
        t.logpro:15: this is no rule: rules are lists, such as `(expect:error in "LogFileBody" = 0 …)`
        t.logpro:16: a command in quotes is missing here
    "#]].assert_eq(&problems);
    let open = Rules::read(&[("a.logpro", ""), ("b.logpro", "\n(")]).unwrap_err();
    assert_eq!(open[0].to_string(), "b.logpro:2: this list is not closed");
}

fn page(rules: &str, log: &[u8], most: u64) -> String {
    let program = program(rules);
    let mut out = Vec::new();
    let mut evaluation = Evaluation::new(&program, Some(Page::new(&mut out, "a <log>", most).unwrap()));
    evaluation.feed(Stream::Stdout, log).unwrap();
    evaluation.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_page_shows_the_log_with_links() {
    let page = page(USUAL, b"Starting\nfine\nERROR 1\nERROR 2\n", u64::MAX);
    let log = page.split_once("<pre>").unwrap().1.split_once("</pre>").unwrap().0;
    expect![[r##"

        <i id="1"></i><b class="required" id="r0-1">Starting <a href="#r0">required</a><a href="#r0-2">↓</a></b>
        <i id="2"></i>fine
        <i id="3"></i><b class="error" id="r3-1">ERROR 1 <a href="#r3">error</a><a href="#r3-2">↓</a></b>
        <i id="4"></i><b class="error" id="r3-2">ERROR 2 <a href="#r3">error</a><a href="#r3-1">↑</a><a href="#r3-3">↓</a></b>
    "##]]
    .assert_eq(log);
    assert!(page.contains(r#"<span class="status FAIL">FAIL</span>"#), "{page}");
    assert!(page.contains("<title>a &lt;log&gt;</title>"), "{page}");
}

#[test]
fn a_hostile_line_is_text_on_the_page() {
    let hostile = "\"'><script>alert(1)</script>&amp; \x1b[31mred\x1b[0m \u{202e}x \0 \u{9b}m \r\n";
    let rules = r#"(expect:error in "LogFileBody" = 0 "<img src=x onerror=alert(1)>" #/<script>/)"#;
    for log in [hostile.to_owned(), format!("{}\n", hostile.replace("script", "b"))] {
        let page = page(rules, &[log.as_bytes(), b"\xff\xfe<i>\n"].concat(), u64::MAX);
        for markup in ["<script", "<img", "<i>", "\x1b", "\u{202e}", "\0"] {
            assert!(!page.contains(markup), "{markup:?} in {page}");
        }
        assert!(page.contains("&quot;&#39;&gt;&lt;"), "{page}");
        assert!(page.contains("default-src 'none'"), "{page}");
    }
}

#[test]
fn of_a_long_log_the_page_keeps_what_is_some_rules() {
    let mut log = "fine and dandy\n".repeat(1000);
    log.push_str("ERROR here\n");
    log.push_str(&"fine\n".repeat(5));
    let page = page(USUAL, log.as_bytes(), 100);
    assert!(page.contains("993 lines left out here"), "{page}");
    assert!(page.contains("<i id=\"1001\">") && page.contains("ERROR here"));
    assert!(page.contains("5 lines left out here"));
    assert!(page.len() < 10_000, "{}", page.len());
}

#[test]
fn a_line_without_end_is_not_held() {
    let program = program(USUAL);
    let mut evaluation = Evaluation::<Vec<u8>>::new(&program, None);
    evaluation.feed(Stream::Stdout, b"Starting\n").unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        evaluation.feed(Stream::Stdout, &piece).unwrap();
    }
    evaluation.feed(Stream::Stdout, b"error\nwarn\n").unwrap();
    let report = evaluation.finish().unwrap();
    assert_eq!(
        (report.lines, report.exit_code()),
        (3, 2),
        "what is beyond the limit of a line is not looked at"
    );
}

#[test]
fn each_stream_has_its_own_lines() {
    let program = program(r#"(expect:required in "LogFileBody" = 1 "both" #/^one whole$/)"#);
    let mut evaluation = Evaluation::<Vec<u8>>::new(&program, None);
    for (stream, text) in [
        (Stream::Stdout, "one "),
        (Stream::Stderr, "in between\n"),
        (Stream::Muster, "one whole\n"),
        (Stream::Stdout, "whole\n"),
    ] {
        evaluation.feed(stream, text.as_bytes()).unwrap();
    }
    assert_eq!(evaluation.finish().unwrap().exit_code(), 0);
}

#[test]
fn a_pattern_that_would_take_too_long_is_told() {
    let program = program(r#"(expect:error in "LogFileBody" = 0 "slow" #/^(\w+ ?)*\1$/)"#);
    let report = program.evaluate(format!("{}!\n", "a".repeat(60)).as_bytes());
    assert_eq!(report.exit_code(), 1);
    assert_eq!(report.message, "slow: 1 lines could not be decided; the pattern is too costly");
}

#[test]
fn the_dat_file_has_a_section_for_each_rule() {
    let program = program(
        r#"(expect:error in "LogFileBody" = 0 "e" #/bad/)
           (expect:value in "LogFileBody" 10 2 "v" #/v=(\S+)/)"#,
    );
    let report = program.evaluate(b"v=11\nbad [x]\n");
    expect![[r#"
        [rule-1]
        operator =
        section LogFileBody
        desc e
        status FAIL
        expected 0
        measured 1
        type error
        tolerance
        pass 0
        fail 1

        [rule-2]
        operator 10 ± 2
        section LogFileBody
        desc v
        status PASS
        expected 10
        measured 11
        type value
        tolerance 2
        pass 1
        fail 0

        [final]
        exit-code 1
        exit-status FAIL
        message e: bad [x]

    "#]]
    .assert_eq(&report.dat(&program));
}

/// The same rules, with patterns that are found fast, one line at a time, and by the slower engine.
static WAYS: LazyLock<[Program; 3]> = LazyLock::new(|| {
    let by_line = r#"(expect:note in "LogFileBody" >= 0 "all" #/^/)"#;
    let slow = r#"(expect:note in "LogFileBody" >= 0 "slow" #/q(?!q)/)"#;
    ["", by_line, slow].map(|extra| {
        program(&format!(
            r#"
            (trigger:non-required "on" #/^on\b/) (trigger:non-required "off" #/off$/)
            (section "S" "on" "off")
            (expect:ignore in "LogFileBody" >= 0 "i" #/ignore.*error/)
            (expect:error in "S" = 0 "e" #/error/)
            (expect:warning not-in "S" < 3 "w" (list #/error/i #/w[^x]rn/))
            (expect:value in "LogFileBody" 3 <= "v" #/v\s*=\s*(\d+)/)
            {extra}"#
        ))
    })
});

proptest! {
    #[test]
    fn a_log_comes_to_the_same_however_it_is_cut_and_looked_at(
        words in proptest::collection::vec("(on|off|error|Error|ignore|warn|v=7|v = 1|w\n?|q|é|\r|\n|\n| )", 0..60),
        cuts in proptest::collection::vec(0usize..200, 0..8),
    ) {
        let log = words.concat();
        let mut reports = Vec::new();
        for program in &*WAYS {
            let whole = program.evaluate(log.as_bytes());
            let mut evaluation = Evaluation::new(program, Some(Page::new(Vec::new(), "", 100).unwrap()));
            let mut rest = log.as_bytes();
            for cut in &cuts {
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                evaluation.feed(Stream::Stdout, head).unwrap();
                rest = tail;
            }
            evaluation.feed(Stream::Stdout, rest).unwrap();
            prop_assert_eq!(&evaluation.finish().unwrap(), &whole);
            let findings = whole.findings[..4].to_vec();
            prop_assert_eq!(whole.lines as usize, log.lines().count());
            reports.push((whole.status, whole.triggers, findings));
        }
        prop_assert_eq!(&reports[0], &reports[1]);
        prop_assert_eq!(&reports[0], &reports[2]);
    }

    #[test]
    fn no_rule_file_takes_the_reader_down(text in r#"(\(|\)|expect:error|in|"LogFileBody"|=|[0-9]|#/[a-z\[\]{}()\\*+?|^$.]{0,9}/| |section|trigger|list){0,25}"#) {
        if let Ok(rules) = Rules::read(&[("x", &text)])
            && let Ok(program) = Program::new(rules, date(2026, 1, 1))
        {
            program.evaluate(b"some line\nand (another)\n");
        }
    }
}
