//! Suites and discoveries, run by a real agent process.

use crate::lab::{Lab, command, suite, test_def};
use muster_core::attempt::Cause;
use muster_core::definition::{
    Batch, Command, ExpectedOutput, Framework, Ignored, Items, Kind, Line, SuiteDef, TestDef,
};
use muster_core::exchange::{AttemptEnd, Found};
use muster_core::outcome::Outcome;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

/// What a discovery found; panics with its message if it found nothing.
fn found(lab: &mut Lab, def: TestDef) -> Found {
    lab.ask(def);
    lab.until_done();
    match lab.ends.values().last().unwrap() {
        AttemptEnd::Found(result, found) => {
            assert_eq!(result.outcome, Outcome::Pass);
            found.clone()
        }
        other => panic!("{other:?}"),
    }
}

/// Adds all that was found, as batches of the size that each group allows.
fn add_all(lab: &mut Lab, def: &TestDef, found: &Found) {
    for (group, number) in found.groups.iter().zip(0u32..) {
        let of_group: Vec<(&str, &str, u32)> = found
            .items
            .iter()
            .filter(|i| i.group == number)
            .map(|i| (i.path.as_str(), i.selector.as_str(), number))
            .collect();
        for batch in of_group.chunks(group.batch_max.max(1) as usize) {
            lab.add(def.clone(), found.groups.clone(), batch);
        }
    }
}

fn list(list: &str, run: &str) -> TestDef {
    let framework = Framework::List { list: Line::Shell(list.into()), run: Line::Shell(run.into()) };
    suite(SuiteDef::new(framework))
}

fn items_of(line: &str) -> TestDef {
    let command = Command { line: Line::Shell(line.into()), dir: None, env: vec![] };
    test_def("t", Kind::Steps { steps: vec![], items: Items::Command(command) })
}

#[test]
fn items_are_what_a_command_prints() {
    let mut lab = Lab::new(1);
    let found =
        found(&mut lab, items_of("echo \"one $AREA_VAR\"; echo '{\"item\": \"two\", \"env\": {\"N\": 2}}'"));
    let items: Vec<(&str, usize)> = found.items.iter().map(|i| (i.path.as_str(), i.vars.len())).collect();
    assert_eq!(items, [("one from the area", 0), ("two", 1)]);
}

#[test]
fn a_question_without_an_answer_says_why() {
    let mut lab = Lab::new(1);
    for def in [
        items_of("echo 'error: no board is plugged in' >&2; exit 3"),
        items_of("echo '{\"item\": 1}'"),
        items_of("/no/such/lister"),
        list("echo 'cannot open the list' >&2; exit 1", "true"),
    ] {
        lab.ask(def);
    }
    lab.until_done();
    let told: Vec<(Outcome, &str)> = lab.results().iter().map(|r| (r.outcome, r.message.as_str())).collect();
    assert_eq!(told[0].0, Outcome::Fail);
    assert!(told[0].1.ends_with("exited with code 3: error: no board is plugged in"), "{}", told[0].1);
    assert_eq!(told[1].0, Outcome::Fail);
    assert!(told[1].1.contains("line 1 of its output is no item"), "{}", told[1].1);
    assert_eq!(told[2].0, Outcome::Error);
    assert!(told[2].1.contains("/no/such/lister"), "{}", told[2].1);
    assert!(told[3].1.ends_with("exited with code 1: cannot open the list"), "{}", told[3].1);
    assert!(lab.printed(lab.results()[0]).contains("no board"), "the conversation is in the log");
}

#[test]
fn a_question_can_be_stopped() {
    let mut lab = Lab::new(1);
    let unit = lab.ask(items_of("echo one; sleep 1000"));
    lab.until_running(unit);
    lab.dropped = vec![unit];
    lab.until(|lab| !lab.ends.is_empty());
    assert_eq!(lab.results()[0].outcome, Outcome::Cancelled);
}

#[test]
fn files_are_found_and_compared_with_their_expected_output() {
    let mut lab = Lab::new(2);
    lab.write("tests/a.sh", "echo hello\n");
    lab.write("tests/a.out", "hello\n");
    lab.write("tests/b.sh", "echo hello\n");
    lab.write("tests/b.out", "good bye\n");
    lab.write("tests/sub/c.sh", "exit 3\n");
    let framework = Framework::Files {
        files: vec!["**/*.sh".into()],
        command: Line::Shell("sh {file}".into()),
        expected: Some("{dir}/{stem}.out".into()),
        pattern: false,
    };
    let def = TestDef { dir: "tests".into(), ..suite(SuiteDef::new(framework)) };
    let found = found(&mut lab, def.clone());
    assert_eq!(found.items.iter().map(|i| i.path.as_str()).collect::<Vec<_>>(), ["a", "b", "sub/c"]);
    let asked = lab.ends.len();
    add_all(&mut lab, &def, &found);
    lab.until_done();
    let mut told: Vec<(Outcome, &Cause)> =
        lab.results()[asked..].iter().map(|r| (r.outcome, &r.cause)).collect();
    told.sort_by_key(|(o, _)| *o);
    assert_eq!(
        told,
        [(Outcome::Pass, &Cause::Exit(0)), (Outcome::Fail, &Cause::Exit(3)), (Outcome::Fail, &Cause::Output)]
    );
}

#[test]
fn each_name_of_a_list_is_run() {
    let mut lab = Lab::new(2);
    let def = list("printf 'one\\ntwo\\n'", "test {item} = one");
    let found = found(&mut lab, def.clone());
    add_all(&mut lab, &def, &found);
    lab.until_done();
    let told: Vec<Outcome> = lab.results()[1..].iter().map(|r| r.outcome).collect();
    assert_eq!(told, [Outcome::Pass, Outcome::Fail]);
}

#[test]
fn a_unit_of_a_group_that_is_not_there_is_an_error_of_the_lab() {
    let mut lab = Lab::new(1);
    lab.add(list("true", "true"), vec![], &[("x", "x", 3)]);
    lab.until_done();
    assert_eq!(lab.results()[0].outcome, Outcome::Error);
}

#[test]
fn a_suite_whose_log_rule_is_no_pattern_is_an_error_that_names_it() {
    let mut lab = Lab::new(1);
    let mut def = command("true");
    def.pass.stdout = Some(ExpectedOutput::Text(String::new()));
    def.pass.log = vec![muster_core::definition::LogRule {
        pattern: "(".into(),
        means: muster_core::definition::LogMeaning::Fail,
        count: muster_core::definition::Count { min: 1, max: 1 },
        description: String::new(),
    }];
    lab.add(def, vec![], &[("", "", 0)]);
    lab.until_done();
    let result = lab.results()[0];
    assert_eq!(result.outcome, Outcome::Error);
    assert!(result.message.starts_with("log rule `(`: "), "{}", result.message);
}

/// A program that speaks googletest well enough: it lists five tests, of which one fails, one crashes and
/// one hangs.
const GTEST: &str = r#"#!/bin/sh
filter=; list=
for arg in "$@"; do case $arg in
  --gtest_filter=*) filter=${arg#--gtest_filter=} ;;
  --gtest_list_tests) list=1 ;;
esac; done
[ "$filter" ] || [ -z "$GTEST_FILTER" ] || filter=$GTEST_FILTER
if [ "$list" ]; then printf 'Suite.\n  Good\n  Bad\n  Crash\n  Hang\n  Last\n'; exit 0; fi
status=0
for name in $(echo "$filter" | tr ':' ' '); do
  echo "[ RUN      ] $name"
  case $name in
    *Bad) echo "x.cc:3: Failure"; echo "two is not three"; echo "[  FAILED  ] $name (1 ms)"; status=1 ;;
    *Crash) kill -SEGV $$ ;;
    *Hang) sleep 1000 ;;
    *) echo "[       OK ] $name (1 ms)" ;;
  esac
done
exit $status
"#;

#[test]
fn items_that_share_a_process_have_their_own_ends_and_limits() {
    let mut lab = Lab::new(1);
    lab.write("tests/prog", GTEST);
    fs::set_permissions(lab.dir.path().join("tests/prog"), fs::Permissions::from_mode(0o755)).unwrap();
    let framework = Framework::Gtest { programs: vec![vec!["tests/prog".into()]] };
    let mut def = suite(SuiteDef { batch: Batch::Most(5), ..SuiteDef::new(framework) });
    let found = found(&mut lab, def.clone());
    assert_eq!(found.items.len(), 5);
    let group = found.groups.clone();
    let items: Vec<(&str, &str, u32)> =
        found.items.iter().map(|i| (i.path.as_str(), i.selector.as_str(), i.group)).collect();

    // Good and Bad end, Crash takes the process down, the others are not reached.
    def.limits.timeout = Some(Duration::from_secs(1000));
    lab.add(def.clone(), group.clone(), &items);
    lab.until_done();
    let ends: Vec<String> = lab.ends.values().skip(1).map(told).collect();
    assert_eq!(ends[0], "pass ");
    assert!(ends[1].starts_with("fail ") && ends[1].contains("two is not three"), "{}", ends[1]);
    assert!(ends[2].starts_with("crash "), "{}", ends[2]);
    assert_eq!(ends[3..], ["not reached", "not reached"]);

    // An item that hangs is held to its own limit, not to that of all together.
    def.limits.timeout = Some(Duration::from_millis(300));
    def.limits.grace = Duration::from_millis(100);
    let before = lab.ends.len();
    lab.add(def, group, &[items[0], items[3], items[4]]);
    lab.until_done();
    let ends: Vec<&AttemptEnd> = lab.ends.values().skip(before).collect();
    assert_eq!(told(ends[0]), "pass ");
    let AttemptEnd::Ran(hung) = ends[1] else { panic!("{:?}", ends[1]) };
    assert_eq!(hung.cause, Cause::HardLimit(Duration::from_millis(300)), "{}", hung.message);
    assert_eq!(told(ends[2]), "not reached");
}

fn told(end: &AttemptEnd) -> String {
    match end {
        AttemptEnd::Ran(result) | AttemptEnd::Found(result, _) => {
            format!("{} {}", result.outcome, result.message)
        }
        AttemptEnd::NotReached => "not reached".to_owned(),
        AttemptEnd::Shut { why, .. } => why.clone(),
    }
}

#[test]
fn a_cargo_package_is_built_asked_and_run() {
    let mut lab = Lab::new(2);
    lab.write(
        "Cargo.toml",
        "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    lab.write(
        "src/lib.rs",
        "#[test]\nfn good() { println!(\"fine\"); }\n#[test]\nfn bad() { assert_eq!(1 + 1, 3, \"sums\"); }\n#[test]\n#[ignore]\nfn later() {}\n",
    );
    let framework = Framework::Cargo { args: vec![], binary_args: vec![], ignored: Ignored::Skip };
    let mut def = suite(SuiteDef::new(framework));
    // This test may itself be run by cargo, with a target directory of its own.
    def.env = vec![("CARGO_TARGET_DIR".into(), lab.dir.path().join("target").to_str().unwrap().into())];
    let found = found(&mut lab, def.clone());
    let run: Vec<&str> = found.items.iter().filter(|i| i.skip.is_none()).map(|i| i.path.as_str()).collect();
    assert_eq!(run.len(), 2, "{run:?}");
    let runnable =
        Found { items: found.items.into_iter().filter(|i| i.skip.is_none()).collect(), groups: found.groups };
    add_all(&mut lab, &def, &runnable);
    lab.until_done();
    let mut told: Vec<String> = lab.ends.values().skip(1).map(told).collect();
    told.sort();
    assert!(told[0].starts_with("fail ") && told[0].contains("sums"), "{told:?}");
    assert_eq!(told[1], "pass ");

    lab.write("src/lib.rs", "fn broken() -> u32 { \"text\" }\n");
    lab.ask(def);
    lab.until_done();
    let last = lab.results().pop().unwrap();
    assert_eq!(last.outcome, Outcome::Fail);
    assert!(last.message.contains("mismatched types"), "{}", last.message);
}
