//! Areas and tests that are begun by flags and by questions.

use crate::env::TestEnv;
use std::io::Write as _;
use std::process::Stdio;

fn empty() -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Calls it with these lines to read.
fn answered(env: &TestEnv, args: &[&str], lines: &str) -> String {
    let mut child = env
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    env.tell(&child.wait_with_output().unwrap())
}

#[test]
fn a_new_area_with_a_new_test_is_good_and_runs() {
    let env = empty();
    let said = env.run(&["new", "area", "--name", "fresh"]);
    assert!(said.starts_with("wrote ROOT/area/muster.toml\n") && said.ends_with("--- exit 0\n"), "{said}");
    let test =
        ["new", "test", "greets", "--run", "echo \"$WHO\"", "--items", "WHO=ana,bob", "--timeout", "5s"];
    assert!(env.run(&test).ends_with("--- exit 0\n"));
    let steps = [
        "new", "test", "steps", "--step", "one=true", "--step", "two=true", "--after", "greets", "--tags",
        "a,b",
    ];
    assert!(env.run(&steps).ends_with("--- exit 0\n"));
    assert_eq!(env.run(&["config", "check"]), "fresh: 2 tests\n--- exit 0\n");
    assert!(env.run(&["run"]).ends_with("--- exit 0\n"));
    assert!(env.run(&["log", "greets/bob"]).contains("bob"));
}

#[test]
fn nothing_that_is_there_is_overwritten_or_spoiled() {
    let env = TestEnv::new();
    let before = read(&env, "muster.toml");
    let said = env.run(&["new", "area"]);
    assert!(said.contains("is there already") && said.ends_with("--- exit 2\n"), "{said}");
    // A test of that name is there; a name that is none; what comes after nothing.
    for args in [
        ["boot", "--run", "true", "--owner", "x"],
        ["a b", "--run", "true", "--owner", "x"],
        ["t", "--run", "true", "--after", "none"],
    ] {
        let said = env.run(&[&["new", "test"], args.as_slice()].concat());
        assert!(said.ends_with("--- exit 2\n"), "{args:?}: {said}");
        assert_eq!(read(&env, "muster.toml"), before, "{args:?}");
    }
    let said = env.run(&["new", "test"]);
    assert!(said.contains("a test needs a name") && said.ends_with("--- exit 2\n"), "{said}");
}

#[test]
fn what_no_flag_says_is_asked_for() {
    let env = empty();
    let said = answered(&env, &["new", "area", "--ask"], "asked\nos\n");
    assert!(said.contains("name of the area [area]: ") && said.ends_with("--- exit 0\n"), "{said}");
    assert!(read(&env, "muster.toml").contains("name = \"asked\"\nkeys = [\"os\"]\n"));
    let answers = "boot\n./boot.sh\nBOARD=a,b\n\nBoots.\nana\nsmoke\n5m\n";
    let said = answered(&env, &["new", "test", "--ask", "-t", "linux"], answers);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let text = read(&env, "muster.toml");
    for line in
        ["[test.boot]", "run = \"./boot.sh\"", "timeout = \"5m\"", "owner = \"ana\"", "tags = [\"smoke\"]"]
    {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert_eq!(env.run(&["config", "check", "-t", "linux"]), "asked: 1 test\n--- exit 0\n");
}

#[test]
fn an_area_as_megatest_has_them_is_begun_and_runs() {
    let env = empty();
    let said = answered(&env, &["megatest", "-create-megatest-area"], "");
    assert!(said.contains("wrote ROOT/area/megatest.config\nwrote ROOT/area/runconfigs.config\n"), "{said}");
    let said = env.run(&["new", "test", "first", "--run", "echo $LEVEL > out.txt", "--owner", "ana"]);
    assert!(said.starts_with("wrote ROOT/area/tests/first/testconfig\n"), "{said}");
    let second = ["new", "test", "second", "--step", "one=true", "--items", "N=1,2", "--after", "first"];
    assert!(env.run(&second).ends_with("--- exit 0\n"));
    let said = answered(&env, &["megatest", "-create-test", "third"], "");
    assert!(said.contains("something to run") && said.ends_with("--- exit 2\n"), "{said}");
    assert_eq!(env.run(&["config", "check", "-t", "linux"]), "area: 2 tests\n--- exit 0\n");
    assert!(env.run(&["run", "-t", "linux", "-n", "w1"]).ends_with("--- exit 0\n"));
    assert_eq!(read(&env, "links/linux/w1/first/out.txt"), "1\n");
    let again = env.run(&["new", "test", "first", "--run", "true"]);
    assert!(again.contains("is there already") && again.ends_with("--- exit 2\n"), "{again}");
}
