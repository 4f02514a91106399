use super::*;
use muster_core::expr::Expr;

const EXPECTING: &str = r#"
[area]
keys = ["os"]
[test.plain]
run = "x"
[suite.s]
framework = "pytest"
status-files = ["${os}.status"]
[suite.s2]
framework = "pytest"
[[expect]]
test = ["s/a/b", "s/c*", "s/*d*e", "s"]
is = ["fail", "pass", "slow"]
reason = "bug 7"
[[expect]]
test = "s*/x"
is = "skip"
when = "os == 'windows' && host.os == 'linux' && target.os == os && env('HOME') != ''"
[[expect]]
test = "plain"
is = "crash"
when = "os == 'linux'"
"#;

const STATUS: &str = "[\n['os == linux', {\n  'i': [FAIL],\n  'j*': [SKIP],\n}],\n]\n";

fn expectations(target: &str) -> Vec<(String, ItemMatch, String, String)> {
    let world = World::target(target).with_file("linux.status", STATUS).with_file("windows.status", STATUS);
    let loaded = world.load(EXPECTING).unwrap_or_else(|e| panic!("{}", told(&e)));
    let mut all = Vec::new();
    for test in &loaded.area.tests {
        for e in &test.expectations {
            let mut words: Vec<_> = e.allowed.iter().map(|o| o.word()).collect();
            words.extend(e.skip.then_some("skip"));
            words.extend(e.slow.then_some("slow"));
            all.push((test.name.clone(), e.items.clone(), words.join(" "), e.origin.clone()));
        }
    }
    all
}

fn row(test: &str, items: ItemMatch, words: &str, origin: &str) -> (String, ItemMatch, String, String) {
    (test.into(), items, words.into(), origin.into())
}

#[test]
fn expectations_go_to_the_tests_they_name_where_their_condition_holds() {
    let always = [
        row("s", ItemMatch::Exact("a/b".into()), "fail pass slow", "muster.toml:11"),
        row("s", ItemMatch::Prefix("c".into()), "fail pass slow", "muster.toml:11"),
        row("s", ItemMatch::Glob("*d*e".into()), "fail pass slow", "muster.toml:11"),
        row("s", ItemMatch::Prefix(String::new()), "fail pass slow", "muster.toml:11"),
    ];
    let mut linux = vec![row("plain", ItemMatch::Prefix(String::new()), "crash", "muster.toml:19")];
    linux.extend(always.clone());
    linux.push(row("s", ItemMatch::Exact("i".into()), "fail", "linux.status:3"));
    linux.push(row("s", ItemMatch::Prefix("j".into()), "skip", "linux.status:4"));
    assert_eq!(expectations("linux"), linux);
    let mut windows = always.to_vec();
    windows.push(row("s", ItemMatch::Exact("x".into()), "skip", "muster.toml:15"));
    windows.push(row("s2", ItemMatch::Exact("x".into()), "skip", "muster.toml:15"));
    assert_eq!(expectations("windows"), windows);
}

#[test]
fn a_condition_sees_the_targets_value_before_the_machines() {
    let loaded = World::target("windows").with_file("windows.status", STATUS).load(EXPECTING).unwrap();
    let holds = |text: &str| Expr::parse(text).unwrap().eval_bool(&loaded.facts);
    assert_eq!(holds("os == 'windows' && target.os == 'windows' && host.os == 'linux'"), Ok(true));
    assert_eq!(holds("cores == 8 && host.cores == 8"), Ok(true));
}
