//! Logs judged by logpro's rules: for themselves, and of the tests of an area.

use crate::env::TestEnv;
use std::fs::{self, File};

const RULES: &str = r#"
(expect:required in "LogFileBody" = 1 "it ended" #/^done$/)
(expect:warning in "LogFileBody" = 0 "slow" #/slow/)
(expect:error in "LogFileBody" = 0 "broken" #/error/)
(expect:value in "LogFileBody" 5 1 "volt" #/(\S+) V/)
"#;

#[test]
fn a_log_is_judged_with_logpros_arguments_and_exit_codes() {
    let env = TestEnv::new();
    env.write("t.logpro", RULES);
    env.write("waivers.logpro", r#"(expect:waive in "LogFileBody" = 0 "bug 7" #/error 7/)"#);
    env.write("broken.logpro", "(expect:error)");
    for (log, args, exit, said) in [
        ("5 V\ndone\n", &["t.logpro", "t.html"][..], 0, "PASS"),
        ("5 V\nslow\ndone\n", &["t.logpro", "t.html"], 2, "WARN: slow: slow"),
        ("5 V\nerror 7\ndone\n", &["t.logpro", "t.html"], 1, "FAIL: broken: error 7"),
        ("5 V\nerror 7\ndone\n", &["t.logpro", "t.html", "waivers.logpro"], 4, "WAIVED: bug 7: error 7"),
        ("", &["broken.logpro", "t.html"], 1, ""),
        ("", &["none.logpro", "-"], 1, ""),
    ] {
        env.write("t.log", log);
        let mut command = env.command(&[]);
        command.arg("logpro").args(args).stdin(File::open(env.area().join("t.log")).unwrap());
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{args:?} {log:?}: {told}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), said, "{args:?} {log:?}");
    }
    let page = fs::read_to_string(env.area().join("t.html")).unwrap();
    assert!(page.contains("bug 7: error 7"), "{page}");
    let dat = fs::read_to_string(env.area().join("t.dat")).unwrap();
    assert!(dat.ends_with("[final]\nexit-code 4\nexit-status WAIVED\nmessage bug 7: error 7\n\n"), "{dat}");
}

#[test]
fn rule_files_judge_the_tests_of_an_area() {
    let env = TestEnv::new();
    env.write("rules/t.logpro", RULES);
    env.write(
        "muster.toml",
        r#"
        [test.fails]
        run = "echo 5 V; echo error 3; echo done"
        logpro = "rules/t.logpro"

        [test.steps]
        steps = [{ name = "one", run = "echo 4.5 V; echo done; exit 2", logpro = { rules = "rules/t.logpro", exit-counts = false } }]
        "#,
    );
    let output = env.command(&["run"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("broken: error 3") && told.contains("1 passed"), "{told}");
    let page = env.area().join(".muster/runs/1/work/fails#1/logpro.html");
    assert!(fs::read_to_string(page).unwrap().contains("broken: error 3"));
    let json = env.command(&["results", "--output", "json"]).output().unwrap();
    let json = String::from_utf8_lossy(&json.stdout).into_owned();
    assert!(json.contains("\"one/volt\"") && json.contains("4.5"), "{json}");
}
