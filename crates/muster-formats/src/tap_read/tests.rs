use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::fmt::Write as _;

fn read(text: &str) -> String {
    let mut reader = TapReader::default();
    let mut shown = String::new();
    for line in text.lines() {
        match reader.line(line) {
            Heard::Point(p) => {
                let directive = match p.directive {
                    Directive::None => String::new(),
                    Directive::Skip(why) => format!(" skip({why})"),
                    Directive::Todo(why) => format!(" todo({why})"),
                };
                let ok = if p.ok { "ok" } else { "not ok" };
                writeln!(shown, "{} {ok} {:?}{directive}", p.number, p.description).unwrap();
            }
            Heard::Message(message) => writeln!(shown, "  message {message:?}").unwrap(),
            Heard::Nothing => {}
        }
    }
    shown + &format!("{:?}\n", reader.sum())
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&read(text));
}

#[test]
fn points_have_numbers_descriptions_and_directives() {
    let text = "TAP version 14\n1..11\nok 1 - first\nok 2 second\nnot ok 3 - third # TODO later\nok 4 # SKIP no net\nok\n\
                ok 6 - a \\# that is not one # skip\nok 7 - issue #12 fixed\nok 8 - # TODO\nok 9 - 5 apples\nok 10 - x # skipped: why\n\
                ok 11 - # todont\n";
    check(
        text,
        expect![[r##"
        1 ok "first"
        2 ok "second"
        3 not ok "third" todo(later)
        4 ok "" skip(no net)
        5 ok ""
        6 ok "a # that is not one" skip()
        7 ok "issue #12 fixed"
        8 ok "" todo()
        9 ok "5 apples"
        10 ok "x" skip(why)
        11 ok "# todont"
        Pass
    "##]],
    );
}

#[test]
fn what_is_not_whole_fails() {
    check(
        "",
        expect![[r#"
        Fail("it printed no TAP")
    "#]],
    );
    check(
        "hello\nokay\nnotok 1\n",
        expect![[r#"
        Fail("it printed no TAP")
    "#]],
    );
    check(
        "1..3\nok 1\nok 2\n",
        expect![[r#"
        1 ok ""
        2 ok ""
        Fail("it planned 3 tests and ran 2")
    "#]],
    );
    check(
        "1..1\nok 1\nok 2\n",
        expect![[r#"
        1 ok ""
        2 ok ""
        Fail("it planned 1 test and ran 2")
    "#]],
    );
    check(
        "ok 1\n",
        expect![[r#"
        1 ok ""
        Fail("there is no plan, so it may have ended early")
    "#]],
    );
    check(
        "1..2\nok 1\nok 1\n",
        expect![[r#"
        1 ok ""
        1 ok ""
        Fail("test 1 was reported twice")
    "#]],
    );
    check(
        "1..2\nok 1\nok 3\n",
        expect![[r#"
        1 ok ""
        3 ok ""
        Fail("test 3 is outside the plan 1..2")
    "#]],
    );
    check(
        "1..1\nok 1\n1..1\n",
        expect![[r#"
        1 ok ""
        Fail("there are two plans")
    "#]],
    );
    check(
        "1..2\nnot ok 1 - a\n",
        expect![[r#"
        1 not ok "a"
        Fail("test 1 of 1 failed; it planned 2 tests and ran 1")
    "#]],
    );
    check(
        "1..1\nok 99999999999999999999\n",
        expect![[r#"
            18446744073709551615 ok ""
            Fail("test 18446744073709551615 is outside the plan 1..1")
        "#]],
    );
}

#[test]
fn failures_are_counted_and_the_plan_may_come_last() {
    check(
        "ok 1\nnot ok 2 - two\nnot ok 3\n1..3\n",
        expect![[r#"
        1 ok ""
        2 not ok "two"
        3 not ok ""
        Fail("tests 2, 3 of 3 failed")
    "#]],
    );
    check(
        "not ok\nnot ok\nnot ok\nnot ok\nnot ok\nnot ok\n1..6\n",
        expect![[r#"
        1 not ok ""
        2 not ok ""
        3 not ok ""
        4 not ok ""
        5 not ok ""
        6 not ok ""
        Fail("tests 1, 2, 3, 4, 5, … of 6 failed")
    "#]],
    );
    check(
        "1..2\nok 2\nok 1\n",
        expect![[r#"
        2 ok ""
        1 ok ""
        Pass
    "#]],
    );
}

#[test]
fn everything_may_be_skipped_or_stopped() {
    check(
        "1..0 # SKIP no compiler\n",
        expect![[r#"
        SkipAll("no compiler")
    "#]],
    );
    check(
        "1..0 # Skipped: no compiler\n",
        expect![[r#"
        SkipAll("no compiler")
    "#]],
    );
    check(
        "1..0\n",
        expect![[r#"
        SkipAll("")
    "#]],
    );
    check(
        "1..3\nok 1\nBail out! the disk is full\nok 2\n",
        expect![[r#"
        1 ok ""
        2 ok ""
        BailOut("the disk is full")
    "#]],
    );
    check(
        "1..3\n    Bail out!\n",
        expect![[r#"
        BailOut("")
    "#]],
    );
}

#[test]
fn subtests_and_diagnostics_are_not_points() {
    let text = "TAP version 14\n1..2\n# Subtest: inner\n    1..2\n    ok 1\n    not ok 2\n        ok 1 - deeper\nnot ok 1 - inner\n  ---\n  \
                message: 'it broke'\n  data:\n    message: not this\n  ok 7\n  ...\nok 2 - outer\n  ---\n  message: \"fine\"\n  ...\n";
    check(
        text,
        expect![[r#"
        1 not ok "inner"
          message "it broke"
        2 ok "outer"
          message "fine"
        Fail("test 1 of 2 failed")
    "#]],
    );
}

#[test]
fn a_yaml_block_that_never_ends_hides_no_failure() {
    check(
        "1..2\nok 1\n  ---\n  message: open\nok 2\n",
        expect![[r#"
        1 ok ""
          message "open"
        2 ok ""
        Pass
    "#]],
    );
}

#[test]
fn windows_line_ends_and_blanks_do_not_matter() {
    check(
        "1..2\r\nok 1 - a  \r\nnot ok\t2 - b # TODO x\r\n",
        expect![[r#"
        1 ok "a"
        2 not ok "b" todo(x)
        Pass
    "#]],
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "(ok|not ok|1\\.\\.|#|---|\\.\\.\\.|Bail out!| |\n|\\\\|SKIP|todo|[0-9]|\\PC){0,60}") {
        read(&text);
    }
}
