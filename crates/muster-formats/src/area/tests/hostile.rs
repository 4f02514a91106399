use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

const GOOD: &str = r#"
include = ["more.toml"]
[area]
name = "x"
keys = ["os"]
[vars]
a = "1"
b = "${a}"
[env]
P = "${env:HOME}/${b}"
[target."linux*"]
env = { P = "${P}:x" }
[limits]
jobs = 3
groups = { db = 1 }
[defaults]
timeout = "1m30s"
[test.t]
steps = ["x ${a}", { name = "n", cmd = ["y"], continue = "always" }]
matrix = { A = ["1", 2], B = [true] }
exclude = [{ A = 1 }]
after = [{ test = "s", mode = "matching-item", map = [["a(.)", "$1"]] }]
log = [{ pattern = "x+", means = "fail" }]
needs = { group = "db" }
skip-when = "os == 'linux' && cores > 3"
[suite.s]
framework = "pytest"
[[expect]]
test = "s/*"
is = ["fail", "slow"]
when = "os in ['a', 'b']"
"#;

fn load_any(text: &str) {
    let world = World::target("linux").with_file("more.toml", "[test.more]\nrun = 'x'");
    match world.load(text) {
        Ok(loaded) => drop(loaded.show()),
        Err(errors) => {
            assert!(!errors.is_empty());
            for e in &errors {
                assert!(e.line >= 1 && e.column >= 1, "{e:?}");
                assert!(!e.to_string().contains('\u{1b}'), "{e:?}");
            }
        }
    }
}

#[test]
fn the_text_that_is_mutated_is_right() {
    let world = World::target("linux").with_file("more.toml", "[test.more]\nrun = 'x'");
    world.load(GOOD).unwrap_or_else(|e| panic!("{}", told(&e)));
}

#[test]
fn every_prefix_of_a_text_loads_or_is_refused() {
    for (end, _) in GOOD.char_indices() {
        load_any(&GOOD[..end]);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        load_any(&text);
    }

    #[test]
    fn no_mutation_makes_it_panic(
        edits in proptest::collection::vec((0usize..900, 0usize..12, "[\\[\\]{}=\"'.,\n$a-z0-9\u{e4}\u{1b}/*#-]{0,6}"), 1..5),
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, remove, insert) in edits {
            let at = at.min(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        load_any(&text.into_iter().collect::<String>());
    }
}

#[test]
fn values_cannot_grow_without_bound() {
    let mut text = String::from("[vars]\nv0 = 'xxxxxxxxxxxxxxxx'\n");
    for i in 1..40 {
        let before = format!("${{v{}}}", i - 1);
        writeln!(text, "v{i} = '{}'", before.repeat(10)).unwrap();
    }
    let errors = World::default().load(&text).unwrap_err();
    assert!(errors[0].message.contains("64 KiB"), "{}", told(&errors));
}

#[test]
fn long_chains_and_deep_nesting_are_refused_on_a_small_stack() {
    let run = || {
        let mut chain = String::from("[vars]\nv0 = 'x'\n");
        for i in 1..5000 {
            writeln!(chain, "v{i} = '${{v{}}}'", i - 1).unwrap();
        }
        // In this order each value is known before it is needed; in the other it would be a deep recursion.
        assert!(World::default().load(&chain).is_ok());
        let mut lines: Vec<&str> = chain.lines().skip(1).collect();
        lines.reverse();
        let backwards = format!("[vars]\n{}", lines.join("\n"));
        assert!(World::default().load(&backwards).is_err());
        load_any(&format!("x = {}", "[".repeat(100_000)));
        load_any(&format!("x = {}", "{a=".repeat(100_000)));
        load_any(&format!("{} = 1", ["a"; 50_000].join(".")));
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_long_chain_of_tests_is_no_deep_recursion() {
    let mut text = String::from("[test.t0]\nrun = 'x'\n");
    for i in 1..5000 {
        write!(text, "[test.t{i}]\nrun = 'x'\nafter = 't{}'\n", i - 1).unwrap();
    }
    assert_eq!(load_good(&text).area.tests.len(), 5000);
    let ring = format!("{text}[test.end]\nrun = 'x'\nafter = 't4999'\n").replacen(
        "run = 'x'",
        "run = 'x'\nafter = 'end'",
        1,
    );
    let errors = World::default().load(&ring).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].message.len() < 500, "{}", errors[0].message);
}
