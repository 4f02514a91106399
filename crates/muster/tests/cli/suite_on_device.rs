//! Suites that are asked for their items and run on the device itself.

use crate::env::TestEnv;
use crate::lab::{Lab, items};
use crate::on_device::{device, is_empty};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is brought is all that is there, so that nothing of the area is used in place of it.
const AREA: &str = r#"
[area]
name = "dev"

[env]
GREETING = "hello"

[defaults]
runs-on = "device"

[suite.files]
framework = "files"
push = { from = "cases", to = "c" }
files = "c/*.in"
run = "test ! -e muster.toml && sort {file}"
expected = "cases/{stem}.out"

[suite.list]
framework = "list"
push = "names"
list = "cat names; echo $GREETING"
run = "echo $MUSTER_ITEM; echo {item} > kept; test {item} != bad"
pull = "kept"

[suite.tap]
framework = "tap"
push = "t"
programs = ["t/*.t"]

[suite.gtest]
framework = "gtest"
push = "prog"
programs = ["./prog"]
batch = 3

[suite.pytest]
framework = "pytest"
push = "test_it.py"
command = ["PYTHON", "-m", "pytest"]
args = ["-p", "no:cacheprovider"]
"#;

const PYTEST: &str = "
import os, time, pytest

def test_good(): pass
def test_bad(): assert os.environ['GREETING'] == 'bye'
@pytest.mark.skip(reason='not today')
def test_skipped(): pass
def test_here(): assert not os.path.exists('muster.toml') and 'MUSTER_AREA_DIR' not in os.environ
";

const GTEST: &str = r#"
#include <gtest/gtest.h>
#include <stdlib.h>
TEST(A, Good) {}
TEST(A, Bad) { EXPECT_EQ(1, 2); }
TEST(A, Crashes) { abort(); }
TEST(A, Later) { EXPECT_STREQ(getenv("GREETING"), "hello"); }
TEST(B, Other) { std::cout << "on " << getenv("MUSTER_SLOT") << std::endl; }
"#;

/// The interpreter that pytest is installed for.
fn python() -> String {
    let said = Command::new("python3").args(["-c", "import pytest, sys; print(sys.executable)"]).output();
    let said = said.expect("`cargo xtask setup` installs pytest");
    assert!(said.status.success(), "`cargo xtask setup` installs pytest");
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// Built once for all tests.
fn gtest_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (source, program) = (dir.join("device_suite.cc"), dir.join("device_suite"));
        if std::fs::read_to_string(&source).is_ok_and(|known| known == GTEST) && program.exists() {
            return program;
        }
        std::fs::write(&source, GTEST).unwrap();
        let args = ["-std=c++17", "-o", program.to_str().unwrap(), source.to_str().unwrap()];
        let libraries = ["-lgtest", "-lgtest_main", "-lpthread"];
        let done = Command::new("g++").args(args).args(libraries).output();
        let done = done.expect("`cargo xtask setup` installs g++ and libgtest-dev");
        assert!(done.status.success(), "cargo xtask setup? {}", String::from_utf8_lossy(&done.stderr));
        program
    })
}

fn area(env: &TestEnv) {
    env.write("muster.toml", &AREA.replace("PYTHON", &python()));
    env.write("cases/one.in", "b\na\n");
    env.write("cases/one.out", "a\nb\n");
    env.write("cases/two.in", "b\na\n");
    env.write("cases/two.out", "b\na\n");
    env.write("cases/three.in", "");
    env.write("names", "good\nbad\n");
    env.write("t/one.t", "#!/bin/sh\necho 1..2\necho ok 1 - first\necho not ok 2 - second\n");
    env.write("t/no-program.t", "not executable\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(env.area().join("t/one.t"), executable).unwrap();
    std::fs::copy(gtest_program(), env.area().join("prog")).unwrap();
    env.write("test_it.py", PYTEST);
}

fn check(env: &TestEnv, said: &std::process::Output) {
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(said));
    let all = items(env, "r.json");
    let told = format!("{all:#?}\n{}", env.tell(said));
    let verdicts = [
        ("files/c/one", "pass"),
        ("files/c/two", "fail"),
        ("files/c/three", "pass"),
        ("list/good", "pass"),
        ("list/hello", "pass"),
        ("list/bad", "fail"),
        ("tap/t/one.t", "fail"),
        ("gtest/A.Good", "pass"),
        ("gtest/A.Bad", "fail"),
        ("gtest/A.Crashes", "crash"),
        ("gtest/A.Later", "pass"),
        ("gtest/B.Other", "pass"),
        ("pytest/test_it.py::test_good", "pass"),
        ("pytest/test_it.py::test_bad", "fail"),
        ("pytest/test_it.py::test_skipped", "skip"),
        ("pytest/test_it.py::test_here", "pass"),
    ];
    for (item, verdict) in verdicts {
        let (known, attempts, message) =
            all.get(item).unwrap_or_else(|| panic!("{item} is missing in {told}"));
        assert_eq!((known.as_str(), *attempts), (verdict, 1), "{item}: {message}\n{told}");
    }
    assert!(!all.contains_key("tap/t/no-program.t"), "{told}");
    assert!(all["gtest/A.Bad"].2.contains("device_suite.cc"), "{told}");
    assert!(all["tap/t/one.t"].2.contains("second"), "{told}");
}

#[test]
fn suites_run_on_a_slot_of_this_host_as_on_a_device() {
    let env = TestEnv::new();
    area(&env);
    let args = ["run", "--progress", "quiet", "--report", "json:r.json"];
    check(&env, &env.command(&args).output().unwrap());
    let kept = env.command(&["artifacts", "list/good", "kept"]).output().unwrap();
    assert_eq!(kept.stdout, b"good\n", "{}", env.tell(&kept));
}

#[test]
fn suites_of_a_lab_are_asked_for_their_items_and_run_on_the_device() {
    let env = TestEnv::new();
    area(&env);
    let (device, address, root) = device(&env);
    let mut lab = Lab::start(&env);
    lab.agents.push(device);
    lab.start_agent("one", &["--device", &format!("phone:address={address}")]);
    let args = ["run", "--progress", "quiet", "--report", "json:r.json"];
    check(&env, &lab.command(&args).output().unwrap());
    let kept = lab.command(&["artifacts", "list/good", "kept"]).output().unwrap();
    assert_eq!(kept.stdout, b"good\n", "{}", env.tell(&kept));
    assert!(env.tell(&lab.command(&["log", "gtest/B.Other"]).output().unwrap()).contains("on phone"));
    assert!(is_empty(&root), "nothing is left on the device");
}

#[test]
fn what_was_reported_before_a_crash_counts_and_what_was_not_reached_is_run() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        &"[area]\nname = \"dev\"\n[suite.py]\nframework = \"pytest\"\nruns-on = \"device\"\npush = \"test_it.py\"\n\
         command = [\"PYTHON\", \"-m\", \"pytest\"]\nargs = [\"-p\", \"no:cacheprovider\"]\nbatch = 3\n"
            .replace("PYTHON", &python()),
    );
    let text = "import os\ndef test_a(): pass\ndef test_b(): os.kill(os.getpid(), 11)\ndef test_c(): pass\n";
    env.write("test_it.py", text);
    let args = ["run", "--jobs", "1", "--progress", "quiet", "--report", "json:r.json"];
    let said = env.command(&args).output().unwrap();
    let all = items(&env, "r.json");
    let told = format!("{all:#?}\n{}", env.tell(&said));
    let verdict = |name: &str| all.get(&format!("py/test_it.py::test_{name}")).map(|item| item.0.as_str());
    assert_eq!(["a", "b", "c"].map(verdict), ["pass", "crash", "pass"].map(Some), "{told}");
}

#[test]
fn what_cannot_run_on_a_device_is_refused_with_its_place() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"dev\"\n\n[suite.unit]\nframework = \"cargo\"\nruns-on = \"device\"\n",
    );
    let said = env.command(&["run"]).output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    let told = env.tell(&said);
    assert!(told.contains("muster.toml:6:"), "{told}");
    assert!(told.contains("the cargo suite `unit` cannot run on a device: cargo builds"), "{told}");
}
