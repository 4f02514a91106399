use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.set("os", "linux");
    facts.set("arch", "arm64");
    facts.set("cores", 8);
    facts.set("asan", false);
    let target: BTreeMap<_, _> = [("mode".to_owned(), Fact::from("debug"))].into();
    facts.set("target", target);
    facts.set_env([("CI".to_owned(), "yes".to_owned())].into());
    facts
}

fn tell(result: Result<impl fmt::Display, ExprError>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(e) => {
            let hint = e.hint.as_ref().map_or(String::new(), |h| format!("; {h}"));
            format!("at {}: {e}{hint}", e.at)
        }
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&tell(Expr::parse(text).and_then(|e| e.eval_bool(&facts()))));
}

#[test]
fn a_condition_is_decided_by_the_facts() {
    for (text, expected) in [
        ("os == 'linux'", true),
        ("os == 'linux' && target.mode == \"debug\" && cores >= 4", true),
        ("!asan && !(arch in ['x64', 'arm64'])", false),
        ("env('CI') != '' && env('NOBODY_SET_THIS') == ''", true),
        ("arch.startsWith('arm')", true),
        ("arch.matches('^arm(64)?$')", true),
        ("['arm64', 'x64'].exists(a, a == arch)", true),
        ("has(target.mode) && !has(target.other)", true),
        ("cores > 4 ? true : false", true),
    ] {
        assert_eq!(Expr::parse(text).and_then(|e| e.eval_bool(&facts())), Ok(expected), "{text}");
    }
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_known_one() {
    check("oss == 'linux'", expect!["at 0: unknown name `oss`; did you mean `os`?"]);
    check("os == 'linux' && croes > 3", expect!["at 17: unknown name `croes`; did you mean `cores`?"]);
    check("target.mod == 'debug'", expect!["at 6: `target` has no `mod`; did you mean `mode`?"]);
    check("arch.beginsWith('arm')", expect!["at 15: unknown function `beginsWith`"]);
    check(
        "arch.startWith('arm')",
        expect!["at 14: unknown function `startWith`; did you mean `startsWith`?"],
    );
    check(
        "os == windows",
        expect![[
            r#"at 6: unknown name `windows`; a text is written `"windows"`; known names: arch, asan, cores, os, target"#
        ]],
    );
    check("'ä' == 'ö' || oss == 'x'", expect!["at 16: unknown name `oss`; did you mean `os`?"]);
}

#[test]
fn a_name_nobody_reaches_is_still_an_error() {
    check("true || oss == 'linux'", expect!["at 8: unknown name `oss`; did you mean `os`?"]);
}

#[test]
fn what_is_not_an_expression_says_where() {
    check("", expect!["at 0: the expression is empty"]);
    check("os == ", expect!["at 6: not a CEL expression: mismatched input end of the expression"]);
    check(
        "os = 'linux'",
        expect!["at 3: not a CEL expression: token recognition error at: '= '; equality is written `==`"],
    );
    check(
        "os == 'linux' and asan",
        expect![
            "at 14: not a CEL expression: mismatched input 'and'; write `&&`, `||` and `!` for and, or and not"
        ],
    );
    check("os == 'linux", expect!["at 6: not a CEL expression: token recognition error at: ''linux'"]);
    check("'ä' == 'ö' && && true", expect!["at 16: not a CEL expression: extraneous input '&&'"]);
    check("'ä' ==\n 'ö' ^ true", expect!["at 14: not a CEL expression: token recognition error at: '^'"]);
    check("(os == 'linux'", expect!["at 14: not a CEL expression: missing ')' at end of the expression"]);
}

#[test]
fn what_is_neither_true_nor_false_is_an_error() {
    check("os", expect!["at 0: the result is a value of type string, neither true nor false"]);
    check("cores + 1", expect!["at 0: the result is a value of type int, neither true nor false"]);
    check("cores == 'x'.size() / 0", expect!["at 0: division by zero"]);
    check("os && asan", expect!["false"]);
    check("os < 3", expect!["at 0: `<` cannot be applied to (string, int)"]);
}

#[test]
fn an_expression_is_stored_as_its_text() {
    let expr = Expr::parse("os == 'linux'").unwrap();
    let text = serde_json::to_string(&expr).unwrap();
    assert_eq!(text, "\"os == 'linux'\"");
    assert_eq!(serde_json::from_str::<Expr>(&text).unwrap(), expr);
    assert!(serde_json::from_str::<Expr>("\"os ==\"").is_err());
}

#[test]
fn an_expression_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Expr>();
    shared::<TagExpr>();
    shared::<Facts>();
}

#[test]
fn hostile_expressions_are_refused_or_answered_on_a_small_stack() {
    let many = |s: &str, n: usize| s.repeat(n);
    let hostile = vec![
        many("(", 1000) + "1" + &many(")", 1000),
        many("[", 2000),
        many("!", 2000) + "true",
        many("-", 2000) + "1",
        many("1+", 1000) + "1",
        many("true&&", 340) + "true",
        many("a.", 1000) + "a",
        many("true?true:", 200) + "true",
        many("(", 8) + "true" + &many(")", 8),
        many("(1+1+", 4) + "1" + &many(")", 4) + " == 1",
        many("!", 16) + "true",
        many("!(", 8) + "true" + &many(")", 8),
        many("true && ", 99) + "true",
        many("true?true:", 16) + "true",
        many("1+", 14) + "1 == 1",
        many("1 in ", 38) + "1",
        "a".to_owned() + &many(".a", 200),
        many("a", 5000),
        many("{1:", 600),
        many("size(", 400),
        many("[1].map(x,", 100) + "1" + &many(")", 100),
        "[1,2,3].map(a,[1,2,3].map(b,[1,2,3].map(c,1)))==[]".into(),
        many("'", 2001),
        "\u{0}".into(),
        "ä == '😀' && 🎉".into(),
        "\"\\U0010FFFF\\x\"".into(),
        "9223372036854775807 + 1 == 0".into(),
        "-9223372036854775808 == 0 || 99999999999999999999 > 1".into(),
        "1e999 > 0.0 && 1 % 0 == 0".into(),
    ];
    let run = move || {
        for text in &hostile {
            drop(Expr::parse(text).and_then(|e| e.eval_bool(&facts())));
            drop(TagExpr::parse(text).map(|e| e.matches(&["a"])));
        }
    };
    #[expect(clippy::disallowed_types, reason = "the only way to a stack of a known size")]
    let small = std::thread::Builder::new().stack_size(2 << 20);
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn loops_within_loops_within_loops_are_refused() {
    check("[1].all(a,[1].all(b,[1].all(c,true)))", expect!["at 27: the expression is nested too deeply"]);
    check("[1].all(a,[1].all(b,true))", expect!["true"]);
}

fn tags_match(text: &str, tags: &[&str]) -> String {
    tell(TagExpr::parse(text).map(|e| e.matches(tags)))
}

#[test]
fn a_tag_expression_is_true_where_the_words_are_tags() {
    for (text, tags, expected) in [
        ("fast", &["fast"][..], "true"),
        ("fast && !gpu", &["fast"], "true"),
        ("fast && !gpu", &["fast", "gpu"], "false"),
        ("slow-io || needs.gpu", &["needs.gpu"], "true"),
        ("!slow-io", &["slow-io"], "false"),
        ("slow-io", &["slow_io"], "false"),
        ("team:core && (a || b)", &["team:core", "b"], "true"),
        ("\"two words\" in tags", &["two words"], "true"),
        ("\"ä\" in tags && b-c", &["ä", "b-c"], "true"),
        ("true", &[], "true"),
        ("anything", &[], "false"),
    ] {
        assert_eq!(tags_match(text, tags), expected, "{text} {tags:?}");
    }
}

#[test]
fn what_has_no_meaning_between_tags_is_an_error() {
    expect![[r#"at 5: a comparison has no meaning in a tag expression; a tag expression has words, `&&`, `||`, `!`, brackets, and `"any text" in tags`"#]].assert_eq(&tags_match("fast == 3", &[]));
    expect![
        "at 5: not a CEL expression: mismatched input 'and'; write `&&`, `||` and `!` for and, or and not"
    ]
    .assert_eq(&tags_match("fast and gpu", &[]));
    expect![[r#"at 5: arithmetic has no meaning in a tag expression; a tag expression has words, `&&`, `||`, `!`, brackets, and `"any text" in tags`"#]].assert_eq(&tags_match("fast - gpu", &[]));
    expect![[r#"at 11: this operator or function has no meaning in a tag expression; a tag expression has words, `&&`, `||`, `!`, brackets, and `"any text" in tags`"#]].assert_eq(&tags_match("size(tags) > 2", &[]));
}

#[test]
fn tags_no_test_has_are_told_with_the_nearest() {
    let expr = TagExpr::parse("fsat && !gpu && other").unwrap();
    let unknown = expr.unknown(&["fast", "gpu"]);
    assert_eq!(unknown, [("fsat", Some("did you mean `fast`?".into())), ("other", None)]);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z0-9()\\[\\]{}!&|=<>+*/%?:.,'\"\\\\ \\-\n\u{e4}\u{1f600}]{0,60}") {
        drop(Expr::parse(&text).and_then(|e| e.eval_bool(&facts())));
        drop(TagExpr::parse(&text).map(|e| e.matches(&["a"])));
    }

    #[test]
    fn no_piece_of_an_expression_makes_it_panic(cut in 0usize..70, insert in "\\PC{0,3}") {
        let text = "os == 'linux' && (cores > 3 || [1, 2].exists(x, x == cores)) ? asan : !asan";
        let at = cut.min(text.len());
        let mutated = format!("{}{insert}{}", &text[..at], &text[(at + 1).min(text.len())..]);
        if let Err(e) = Expr::parse(&mutated).and_then(|e| e.eval_bool(&facts())) {
            prop_assert!(mutated.is_char_boundary(e.at), "{mutated:?} {e:?}");
        }
    }
}
