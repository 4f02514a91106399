//! Measured values, and what is expected of them.

use super::*;
use crate::definition::{MeasureRule, Tolerance};

fn measures(rules: Vec<MeasureRule>, text: &'static str) -> Case {
    Case { rule: PassRule { measures: rules, ..Default::default() }, measures: text, ..exit(0, "") }
}

fn measure_rule(name: &str, expected: Option<f64>, tolerance: Tolerance) -> MeasureRule {
    MeasureRule { name: name.into(), expected, tolerance, units: String::new() }
}

#[test]
fn measured_values_carry_their_own_expectations() {
    check(
        measures(
            vec![],
            "# values\n\n{\"name\": \"a\", \"value\": 10.5, \"expected\": 10, \"tolerance\": 0.5, \"units\": \"ms\"}\n{\"name\":\"b\",\"value\":1e9}\n{\"name\":\"c\",\"value\":3,\"expected\":3,\"tolerance\":\"<=\"}\n",
        ),
        expect![[r#"
            pass Exit(0): 
              a 10.5 ms 10 "0.5" Some(true)
              b 1000000000  - "" None
              c 3  3 "<=" Some(true)
        "#]],
    );
    check(
        measures(
            vec![],
            "{\"name\":\"a\",\"value\":3,\"expected\":3,\"tolerance\":\"<\"}\n{\"name\":\"b\",\"value\":4.5,\"expected\":3,\"tolerance\":1,\"units\":\"V\"}",
        ),
        expect![[r#"
            fail Measure("a"): a is 3, expected < 3
              a 3  3 "<" Some(false)
              b 4.5 V 3 "1" Some(false)
        "#]],
    );
    check(
        measures(vec![], "{\"name\":\"a\",\"value\":2,\"expected\":3}\n"),
        expect![[r#"
        fail Measure("a"): a is 2, expected 3
          a 2  3 "" Some(false)
    "#]],
    );
}

#[test]
fn a_rule_adds_expectations_and_demands_that_values_are_there() {
    let rules = vec![
        measure_rule("a", Some(5.0), Tolerance::GreaterOrEqual),
        measure_rule("b", None, Tolerance::Less),
    ];
    check(
        measures(rules.clone(), "{\"name\":\"a\",\"value\":5}\n{\"name\":\"b\",\"value\":1}\n"),
        expect![[r#"
        pass Exit(0): 
          a 5  5 ">=" Some(true)
          b 1  - "" None
    "#]],
    );
    check(
        measures(rules.clone(), "{\"name\":\"a\",\"value\":4}\n"),
        expect![[r#"
        fail Measure("a"): a is 4, expected >= 5
          a 4  5 ">=" Some(false)
    "#]],
    );
    check(
        measures(rules.clone(), "{\"name\":\"a\",\"value\":7}\n"),
        expect![[r#"
        fail Measure("b"): the value `b` was not measured
          a 7  5 ">=" Some(true)
    "#]],
    );
    check(
        measures(rules.clone(), "{\"name\":\"a\",\"value\":7}\n{\"name\":\"b\",\"value\":NaN}\n"),
        expect![[r#"
        fail Measure("line 2"): line 2 of the measured values: expected value
          a 7  5 ">=" Some(true)
    "#]],
    );
    check(
        Case { ended: Ended::Exit(77), ..measures(rules.clone(), "") },
        expect![[r#"
        skip Exit(77): 
    "#]],
    );
    check(
        Case { ended: Ended::Exit(1), ..measures(rules, "{\"name\":\"a\",\"value\":7}\n") },
        expect![[r#"
        fail Exit(1): exit code 1, nothing printed
          a 7  5 ">=" Some(true)
    "#]],
    );
}

#[test]
fn lines_of_measured_values_that_make_no_sense_fail_and_are_named() {
    for (text, problem) in [
        (
            "{\"name\":\"a\",\"value\":\"NaN\"}",
            "line 1 of the measured values: `value` is `NaN`, not a number",
        ),
        ("\n{\"name\":\"a\",\"value\":null}", "line 2 of the measured values: `value` is null, not a number"),
        ("{\"name\":\"a\"}", "line 1 of the measured values: missing field `value`"),
        ("{\"name\":\"a\",", "line 1 of the measured values: EOF while parsing a value"),
        ("{\"name\":\"\",\"value\":1}", "line 1 of the measured values: the name is empty"),
        (
            "{\"name\":\"a\",\"value\":1,\"expected\":1,\"tolerance\":\"about\"}",
            "line 1 of the measured values: the tolerance of `a` is `about`: a number from 0, `<`, `<=`, `>` or `>=`",
        ),
        (
            "{\"name\":\"a\",\"value\":1,\"expected\":1,\"tolerance\":-1}",
            "line 1 of the measured values: the tolerance of `a` is `-1`: a number from 0, `<`, `<=`, `>` or `>=`",
        ),
        (
            "just text",
            "line 1 of the measured values: `just text` is neither a JSON object nor `category,variable,value,…`",
        ),
        ("c,v,\"1", "line 1 of the measured values: a quote is not closed"),
        ("c,v,inf", "line 1 of the measured values: `value` is `inf`, not a number"),
        ("{\"name\":\"a\",\"value\":1e999}", "line 1 of the measured values: number out of range"),
    ] {
        let rule = CompiledRule::new(&PassRule::default()).unwrap();
        let e = Evidence {
            outcome: Outcome::Pass,
            cause: &Cause::Exit(0),
            log: &[],
            expected: None,
            measures: text,
        };
        let j = rule.judge(&e);
        assert_eq!((j.outcome, j.message.as_str()), (Outcome::Fail, problem), "{text}");
    }
}

#[test]
fn megatests_nine_columns_are_read() {
    check(
        measures(
            vec![],
            "category,variable,value,expected,tol,units,comment,status,type\nfoo,bar, 1.2, 1.9, >\nfoo,rab, 1.0e9, 10e9, 1e10, \"m,s\", \"a \"\"c\"\"\"\nfoo,bla, 1.2, 1.9, <, V, , pass\nfoo,word,1,high\nfoo,given,1,2,about,,,n/a\n",
        ),
        expect![[r#"
            fail Measure("foo/bar"): foo/bar is 1.2, expected > 1.9
              foo/bar 1.2  1.9 ">" Some(false)
              foo/rab 1000000000 m,s 10000000000 "1e10" Some(true)
              foo/bla 1.2 V 1.9 "<" Some(true)
              foo/word 1  - "" None
        "#]],
    );
    check(
        measures(vec![], "foo,bar,1,1,x,,,fail"),
        expect![[r#"
        fail Measure("foo/bar"): foo/bar is 1, expected 1
          foo/bar 1  1 "x" Some(false)
    "#]],
    );
    check(
        measures(vec![], "a,b,1\na,b,2\n"),
        expect![[r#"
        pass Exit(0): 
          a/b 2  - "" None
    "#]],
    );
}
