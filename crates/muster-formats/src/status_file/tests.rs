use super::*;
use expect_test::{Expect, expect};
use muster_core::definition::ItemMatch;
use proptest::prelude::*;

/// One of each construct, taken from the habits of V8's own files.
const BROAD: &str = include_str!("testdata/broad.status");

fn facts(pairs: &[(&str, &str)]) -> Facts {
    let mut facts = Facts::default();
    for (name, value) in pairs {
        match *value {
            "true" => facts.set(*name, true),
            "false" => facts.set(*name, false),
            text => facts.set(*name, text),
        }
    }
    facts
}

const X64: [(&str, &str); 3] = [("arch", "x86_64"), ("mode", "release"), ("os", "linux")];

fn shown(text: &str, facts: &Facts) -> String {
    match expectations("f.status", text, facts) {
        Ok(all) => all.iter().map(line).collect(),
        Err(errors) => errors.iter().map(|e| format!("{e}\n")).collect(),
    }
}

fn line(e: &Expectation) -> String {
    let items = match &e.items {
        ItemMatch::Exact(path) => path.clone(),
        ItemMatch::Prefix(prefix) => format!("{prefix}*"),
        ItemMatch::Glob(glob) => format!("glob {glob}"),
    };
    let mut words: Vec<String> = e.allowed.iter().map(ToString::to_string).collect();
    words.extend(e.skip.then(|| "SKIP".to_owned()));
    words.extend(e.slow.then(|| "SLOW".to_owned()));
    let reason = if e.reason.is_empty() { String::new() } else { format!(" ({})", e.reason) };
    format!("{items}: {}{reason} @{}\n", words.join(" "), e.origin)
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&shown(text, &facts(&X64)));
}

#[test]
fn a_broad_file_is_decided_for_one_world() {
    expect![[r#"
        bugs/*: fail timeout @f.status:7
        single: SKIP (SKIP) @f.status:11
        list: SKIP (SKIP) @f.status:12
        double-quoted: pass fail @f.status:13
        mixed'quotes: pass @f.status:14
        regress/regress-1: pass SLOW @f.status:17
        regress/regress-2: pass @f.status:18
        regress/regress-3: SLOW @f.status:19
        shorthand/fail-ok: fail (OKAY: not to be fixed) @f.status:21
        shorthand/pass-or-fail: pass fail @f.status:22
        shorthand/sloppy: pass fail @f.status:23
        modifiers/only: SLOW @f.status:24
        modifiers/old: pass @f.status:25
        flagged: pass @f.status:26
        crashes: timeout crash @f.status:27
        joined/strings: SLOW @f.status:59
    "#]]
    .assert_eq(&shown(BROAD, &facts(&X64)));
}

#[test]
fn the_same_file_is_decided_for_another_world() {
    let other =
        [("arch", "arm"), ("mode", "debug"), ("os", "macos"), ("gc_stress", "true"), ("variant", "stress")];
    expect![[r#"
        bugs/*: fail timeout @f.status:7
        single: SKIP (SKIP) @f.status:11
        list: SKIP (SKIP) @f.status:12
        double-quoted: pass fail @f.status:13
        mixed'quotes: pass @f.status:14
        regress/regress-1: pass SKIP SLOW (SKIP) @f.status:17
        regress/regress-2: pass timeout SKIP SLOW (SKIP) @f.status:18
        regress/regress-3: fail SLOW (OKAY: not to be fixed) @f.status:19
        shorthand/fail-ok: fail (OKAY: not to be fixed) @f.status:21
        shorthand/pass-or-fail: pass fail @f.status:22
        shorthand/sloppy: pass fail @f.status:23
        modifiers/only: SKIP SLOW (FAST_VARIANTS) @f.status:24
        modifiers/old: pass @f.status:25
        flagged: pass @f.status:26
        crashes: timeout crash @f.status:27
        unicode-test: SKIP (SKIP) @f.status:40
        sieve: fail @f.status:44
        only/elsewhere: SKIP (SKIP) @f.status:48
        es6/*: SKIP (SKIP) @f.status:63
        flagged: fail @f.status:64
        sieve: timeout @f.status:68
    "#]]
    .assert_eq(&shown(BROAD, &facts(&other)));
}

#[test]
fn rules_that_depend_on_the_variant_have_a_table_for_each() {
    let file = StatusFile::parse(BROAD).unwrap();
    let tables = file.tables(&World::new(&facts(&X64))).unwrap();
    let shown: String = tables
        .variants
        .iter()
        .filter(|(_, rules)| !rules.is_empty())
        .map(|(variant, rules)| {
            let keys: Vec<String> = rules.iter().map(|r| format!("{} {:?}", r.key, r.words)).collect();
            format!("{variant}: {}\n", keys.join(", "))
        })
        .collect();
    expect![[r#"
        asm_wasm: not-default {Skip}
        fullcode: not-default {Skip}
        nooptimization: not-default {Skip}
        noturbofan: not-default {Skip}
        noturbofan_stress: not-default {Skip}
        stress: es6/* {Skip}, flagged {Fail}, not-default {Skip}
        turbofan: not-default {Skip}
        turbofan_opt: not-default {Skip}
        wasm_traps: not-default {Skip}
    "#]]
    .assert_eq(&shown);
    assert_eq!(tables.variants.len(), 10);
}

#[test]
fn flags_are_kept_for_exact_rules() {
    let tables = StatusFile::parse(BROAD).unwrap().tables(&World::new(&facts(&X64))).unwrap();
    expect![[r#"
        [
            ItemFlags {
                item: "flagged",
                flags: [
                    "--allow-natives-syntax",
                    "--expose-gc",
                    "--harmony-foo",
                ],
            },
        ]
    "#]]
    .assert_debug_eq(&tables.evaluated("f", None).flags);
}

#[test]
fn a_certain_failure_beats_a_pass_that_only_stands_beside_a_modifier() {
    check(
        "[[ALWAYS, {'a': [PASS, SLOW]}], [ALWAYS, {'a': FAIL}]]",
        expect![[r#"
        a: fail SLOW @f.status:1
    "#]],
    );
    check(
        "[[ALWAYS, {'a': FAIL}], [ALWAYS, {'a': [PASS, SLOW]}]]",
        expect![[r#"
        a: fail SLOW @f.status:1
    "#]],
    );
    check(
        "[[ALWAYS, {'a': [PASS, FAIL]}], [ALWAYS, {'a': FAIL}]]",
        expect![[r#"
        a: pass fail @f.status:1
    "#]],
    );
    check(
        "[[ALWAYS, {'a': PASS}], [ALWAYS, {'a': TIMEOUT}]]",
        expect![[r#"
        a: pass timeout @f.status:1
    "#]],
    );
    // Prefix rules are merged only with themselves.
    check(
        "[[ALWAYS, {'a*': [PASS, SLOW]}], [ALWAYS, {'ab': FAIL, 'a*': FAIL}]]",
        expect![[r#"
        a*: fail SLOW @f.status:1
        ab: fail @f.status:1
    "#]],
    );
}

#[test]
fn the_last_of_equal_keys_in_a_section_counts() {
    check(
        "[[ALWAYS, {'a': SKIP, 'a': FAIL}]]",
        expect![[r#"
        a: fail @f.status:1
    "#]],
    );
}

#[test]
fn conditions_have_pythons_precedence() {
    let holds = |condition: &str| {
        let text = format!("[[\"{condition}\", {{'a': SKIP}}]]");
        match expectations("f", &text, &facts(&X64)) {
            Ok(all) => (!all.is_empty()).to_string(),
            Err(e) => e[0].wrong.to_string(),
        }
    };
    let table: String = [
        "arch == x64",
        "arch == x64 and mode == debug or system == linux",
        "arch == x64 and (mode == debug or system == macos)",
        "not arch == arm",
        "not (arch == x64) or not asan",
        "not asan and not tsan",
        "arch in [arm, arm64, x64]",
        "arch not in [arm, arm64, x64,]",
        "arch in []",
        "not arch in [arm]",
        "asan == False",
        "True",
        "byteorder == little",
        "arch == 'x64'",
        "predictable != True and isolates == False",
        // What must be an error.
        "arch",
        "debug",
        "arch == True",
        "arch in x64",
        "asan in [True]",
        "asan or debug",
        "arhc == x64",
        "arch == x64 == True",
        "arch = x64",
        "arch == x64 and",
        "(arch == x64",
        "arch == [x64",
        "",
        "arch == __import__('os')",
        "mode == debug if asan else True",
        "1 < 2",
    ]
    .iter()
    .map(|c| format!("{c} → {}\n", holds(c)))
    .collect();
    expect![[r#"
        arch == x64 → true
        arch == x64 and mode == debug or system == linux → true
        arch == x64 and (mode == debug or system == macos) → false
        not arch == arm → true
        not (arch == x64) or not asan → true
        not asan and not tsan → true
        arch in [arm, arm64, x64] → true
        arch not in [arm, arm64, x64,] → false
        arch in [] → false
        not arch in [arm] → true
        asan == False → true
        True → true
        byteorder == little → true
        arch == 'x64' → true
        predictable != True and isolates == False → true
        arch → this is the text `x64`, where true or false is needed; compare it, as in `mode == debug`
        debug → this is the text `debug`, where true or false is needed; compare it, as in `mode == debug`
        arch == True → the text `x64` and `True` can never be equal
        arch in x64 → after `in` comes a list: `arch in [arm, arm64]`
        asan in [True] → `False` and a list can never be equal
        asan or debug → this is the text `debug`, where true or false is needed; compare it, as in `mode == debug`
        arhc == x64 → nothing is known of `arhc`; did you mean `arch`?
        arch == x64 == True → expected the end of the condition, found `==`
        arch = x64 → `=` has no meaning here
        arch == x64 and → expected a name or a value, found the end of the condition
        (arch == x64 → expected `)`, found the end of the condition
        arch == [x64 → expected `,` or `]`, found the end of the condition
         → expected a name or a value, found the end of the condition
        arch == __import__('os') → expected the end of the condition, found `(`
        mode == debug if asan else True → expected the end of the condition, found `if`
        1 < 2 → `<` has no meaning here
    "#]].assert_eq(&table);
}

#[test]
fn errors_point_at_the_place() {
    check(
        "",
        expect![[r#"
        1:1: expected `[`, with which a status file begins, found the end of the file
    "#]],
    );
    check(
        "[\n  [ALWAYS, {\n    'a': FIAL,\n  }],\n]",
        expect![[r#"
        3:10: `FIAL` is no outcome; did you mean `FAIL`?
    "#]],
    );
    check(
        "[[ALWAYS, {'a': [PASS, SLOW\n}]]",
        expect![[r#"
        2:1: expected `,` or `]`, found `}`
    "#]],
    );
    check(
        "[['arch == x64 and\tnonsense', {'a': SKIP}]]",
        expect![[r#"
        1:20: nothing is known of `nonsense`; a text stands in quotes: `'nonsense'`
    "#]],
    );
    check(
        "[['arch == ' 'debugg', {'a': SKIP}]]",
        expect![[r#"
        1:15: nothing is known of `debugg`; did you mean `debug`?
    "#]],
    );
    check(
        "[['debug', {}], ['asan and mode', {}], [ALWAYS, {'a': [['moed == debug', FAIL]]}]]",
        expect![[r#"
        1:3: this is the text `debug`, where true or false is needed; compare it, as in `mode == debug`
        1:28: this is the text `release`, where true or false is needed; compare it, as in `mode == debug`
        1:58: nothing is known of `moed`; did you mean `mode`?
    "#]],
    );
    check(
        "[[ALWAYS, {'a': [['variant == stress', FAIL]]}]]",
        expect![[r#"
        1:19: `variant` may stand in a section's condition only
    "#]],
    );
    check(
        "[[ALWAYS, {a: FAIL}]]",
        expect![[r#"
        1:12: expected a quoted name, found `a`
    "#]],
    );
    check(
        "[[ALWAYS, {'': FAIL}]]",
        expect![[r#"
        1:12: this rule has no name
    "#]],
    );
    check(
        "[[ALWAYS, {'a': 'what'}]]",
        expect![[r#"
        1:17: `"what"` is no outcome; flags begin with `Flags: ` or `--`
    "#]],
    );
    check(
        "[[ALWAYS, {'a: FAIL}]]",
        expect![[r#"
        1:12: this quoted text does not end
    "#]],
    );
    check(
        "[[SOMETIMES, {}]]",
        expect![[r#"
        1:3: expected `ALWAYS` or a quoted condition, found `SOMETIMES`
    "#]],
    );
    check(
        "[[ALWAYS, {'a': ALWAYS}]]",
        expect![[r#"
        1:17: `ALWAYS` is no outcome
    "#]],
    );
    check(
        "[[ALWAYS, {}]] more",
        expect![[r#"
        1:16: expected the end of the file, found `more`
    "#]],
    );
    check(
        "[[ALWAYS, {'a': FAIL; }]]",
        expect![[r#"
        1:21: `;` has no meaning here
    "#]],
    );
}

#[test]
fn mistakes_come_to_light_in_every_variant_once_and_where_nothing_depends_on_them() {
    check(
        "[['variant == stress and foo', {}], ['asan and bar == 1', {'a': [['baz', FAIL]]}]]",
        expect![[r#"
        1:26: nothing is known of `foo`; a text stands in quotes: `'foo'`
        1:48: nothing is known of `bar`; a text stands in quotes: `'bar'`
        1:68: nothing is known of `baz`; a text stands in quotes: `'baz'`
    "#]],
    );
}

#[test]
fn a_deep_condition_is_an_error_and_not_an_overflow() {
    let deep = format!("[['{}asan{}', {{}}]]", "(".repeat(100_000), ")".repeat(100_000));
    check(
        &deep,
        expect![[r#"
        1:69: this is nested too deeply
    "#]],
    );
    let nots = format!("[['{} asan', {{}}]]", "not ".repeat(100_000));
    check(
        &nots,
        expect![[r#"
        1:264: this is nested too deeply
    "#]],
    );
}

#[test]
fn without_facts_architecture_and_mode_are_unknown() {
    expect![[r#"
        1:4: nothing is known of `arch`; a text stands in quotes: `'arch'`
    "#]]
    .assert_eq(&shown("[['arch == x64 or mode == debug', {}]]", &Facts::default()));
}

#[test]
fn values_of_the_target_are_words_too() {
    let mut own = facts(&X64);
    own.set("board", "rock5b");
    expect![[r#"
        1:33: nothing is known of `pixel`; a text stands in quotes: `'pixel'`
    "#]]
    .assert_eq(&shown("[['board == rock5b and board != pixel', {'a': SKIP}]]", &own));
}

#[test]
fn no_variants_skips_in_all_but_the_default() {
    let text = "[[ALWAYS, {'a': [NO_VARIANTS], 'b': [FAST_VARIANTS, FAIL]}]]";
    let with = |variant: &str| {
        let mut facts = facts(&X64);
        facts.set("variant", variant);
        shown(text, &facts)
    };
    expect![[r#"
        b: fail @f.status:1
    "#]]
    .assert_eq(&with("default"));
    expect![[r#"
        a: SKIP (NO_VARIANTS) @f.status:1
        b: fail @f.status:1
    "#]]
    .assert_eq(&with("turbofan"));
    expect![[r#"
        a: SKIP (NO_VARIANTS) @f.status:1
        b: fail SKIP (FAST_VARIANTS) @f.status:1
    "#]]
    .assert_eq(&with("stress"));
}

#[test]
fn the_lint_finds_what_is_hardly_meant() {
    let text = "[[ALWAYS, {'mjsunit/a': SKIP, 'b.js': SKIP, 'c*d': SKIP, 'e': SKIP, 'e': FAIL, 'f*': PASS, 'g**': PASS}]]";
    let complaints = StatusFile::parse(text).unwrap().lint(Some("mjsunit"));
    let shown: String = complaints.iter().map(|c| format!("{c}\n")).collect();
    expect![[r#"
        1:12: `mjsunit/a` begins with the suite's name, which names do not
        1:31: `b.js` ends in `.js`, which names do not
        1:45: `c*d` has a `*` that is not its last character, which then means only itself
        1:69: `e` is there twice in this section; only the last one counts
        1:92: `g**` has a `*` that is not its last character, which then means only itself
    "#]]
    .assert_eq(&shown);
}

#[test]
fn rules_for_no_item_are_found() {
    let all =
        expectations("f", "[[ALWAYS, {'a': FAIL, 'gone': FAIL, 'b/*': FAIL, 'c/*': FAIL}]]", &facts(&X64))
            .unwrap();
    let unused: String = unused(&all, ["a", "b", "b/x", "cc"]).into_iter().map(line).collect();
    expect![[r#"
        gone: fail @f:1
        c/*: fail @f:1
    "#]]
    .assert_eq(&unused);
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,80}") {
        drop(expectations("f", &text, &facts(&X64)));
    }

    #[test]
    fn any_heap_of_its_own_words_is_read_without_a_panic(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "[", "]", "{", "}", "(", ")", ",", ":", "ALWAYS", "'a'", "'a*'", "FAIL", "PASS", "SKIP", "'Flags: --x'",
            "'arch == x64'", "'variant == stress'", "'not asan'", "\"arch in [x64, arm]\"", "# c\n", "\n", "'", "\\",
        ]), 0..40),
    ) {
        let text = format!("[[ALWAYS, {{ {} }}]]", words.join(" "));
        drop(expectations("f", &text, &facts(&X64)));
        drop(expectations("f", &words.join(""), &facts(&X64)));
    }

    #[test]
    fn any_condition_is_decided_without_a_panic(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "arch", "x64", "asan", "variant", "==", "!=", "in", "not", "and", "or", "(", ")", "[", "]", ",", "True",
            "False", "'x64'", "nonsense", "=",
        ]), 0..16),
    ) {
        let text = format!("[[\"{}\", {{'a': FAIL}}]]", words.join(" "));
        if let Err(errors) = expectations("f", &text, &facts(&X64)) {
            for error in errors {
                prop_assert_eq!(error.pos.line, 1);
                prop_assert!(error.pos.column >= 1 && (error.pos.column as usize) <= text.chars().count() + 1);
            }
        }
    }

    /// What is generated as a tree of true and false means the same after it has been written and read.
    #[test]
    fn conditions_mean_what_they_say(tree in tree()) {
        let (text, value) = tree;
        let read = expectations("f", &format!("[[\"{text}\", {{'a': FAIL}}]]"), &facts(&X64));
        prop_assert_eq!(read.map(|all| all.len() == 1), Ok(value), "{}", text);
    }
}

/// A condition and what it comes to on the machine of [`X64`].
fn tree() -> impl Strategy<Value = (String, bool)> {
    let leaf = proptest::sample::select(vec![
        ("arch == x64", true),
        ("arch != x64", false),
        ("asan", false),
        ("asan == False", true),
        ("arch in [arm, x64]", true),
        ("mode not in [release]", false),
    ])
    .prop_map(|(text, value)| (text.to_owned(), value));
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(t, v)| (format!("not ({t})"), !v)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) and ({b})"), x && y)),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) or ({b})"), x || y)),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|((a, x), (b, y), (c, z))| (format!("({a}) or ({b}) and ({c})"), x || (y && z))),
        ]
    })
}
