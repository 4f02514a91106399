//! What holds for every command: help, errors, exit codes, output that nobody reads.

use crate::env::TestEnv;
use expect_test::expect;
use std::process::Stdio;

#[test]
fn init_writes_what_can_be_run_and_never_over_what_is_there() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write("Makefile", "check:\n\t@echo fine\n");
    let said = env.run(&["init"]);
    assert!(
        said.contains("wrote ROOT/area/muster.toml") && said.contains("the Makefile's own tests"),
        "{said}"
    );
    assert!(env.run(&["config", "check"]).ends_with("--- exit 0\n"));
    assert!(env.run(&["run", "--progress", "quiet"]).ends_with("--- exit 0\n"));
    let said = env.run(&["init"]);
    assert!(said.contains("is there already") && said.ends_with("--- exit 2\n"), "{said}");
    assert!(env.run(&["init", "--print"]).contains("[test.make]"));
}

#[test]
fn a_misspelt_command_is_a_usage_error_with_a_suggestion() {
    expect![[r#"
        --- stderr
        error: unrecognized subcommand 'rnu'

          tip: a similar subcommand exists: 'runs'

        Usage: muster [OPTIONS] <COMMAND>

        For more information, try '--help'.
        --- exit 2
    "#]]
    .assert_eq(&TestEnv::new().run(&["rnu"]));
}

#[test]
fn a_misspelt_flag_is_not_taken_for_an_address() {
    expect![[r#"
        --- stderr
        error: unexpected argument '--folow' found

          tip: a similar argument exists: '--follow'

        Usage: muster log --follow <ADDRESS>

        For more information, try '--help'.
        --- exit 2
    "#]]
    .assert_eq(&TestEnv::new().run(&["log", "--folow", "boot"]));
}

#[test]
fn no_area_says_where_it_was_looked_for() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    expect![[r#"
        --- stderr
        error: there is no `muster.toml` in `ROOT/area` or above it
        hint: write one (see docs/reference/muster-toml.md), or name the area's directory with `-C DIR`
        --- exit 2
    "#]]
    .assert_eq(&env.run(&["results"]));
}

#[test]
fn a_directory_that_is_not_there_is_a_usage_error() {
    expect![[r#"
        --- stderr
        error: `ROOT/area/nowhere` is not a directory
        --- exit 2
    "#]]
    .assert_eq(&TestEnv::new().run(&["-C", "nowhere", "runs"]));
}

#[test]
fn an_area_in_which_nothing_was_run_says_so() {
    expect![[r#"
        --- stderr
        error: nothing has been run here yet
        hint: `muster run` runs and records the tests of this area
        --- exit 4
    "#]]
    .assert_eq(&TestEnv::new().run(&["runs"]));
}

#[test]
fn the_users_settings_are_checked_and_can_be_left_out() {
    let env = TestEnv::new();
    env.seed();
    let dir = env.home().join(".config/muster");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.toml"), "colour = \"always\"\n").unwrap();
    expect![[r#"
        --- stderr
        error: `ROOT/home/.config/muster/config.toml` is not understood
          caused by: TOML parse error at line 1, column 1
          |
        1 | colour = "always"
          | ^^^^^^
        unknown field `colour`, expected one of `output`, `color`, `progress`, `jobs`, `servers`, `areas`, `fetch-ca-file`, `limits`, `defaults`
        hint: known keys are `output`, `color`, `progress`, `jobs`, `fetch-ca-file`, `[areas]`, `[servers]`, `[limits]` and `[defaults]`; `--no-config` goes without the file
        --- exit 2
    "#]].assert_eq(&env.run(&["runs"]));
    assert!(env.run(&["--no-config", "runs"]).ends_with("--- exit 0\n"));
    let mut command = env.command(&["runs"]);
    assert_eq!(command.env("MUSTER_NO_CONFIG", "1").output().unwrap().status.code(), Some(0));
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_users_settings() {
    let env = TestEnv::new();
    env.seed();
    let dir = env.home().join(".config/muster");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.toml"), "output = \"quiet\"\n").unwrap();
    assert_eq!(env.run(&["runs"]), "2\n1\n--- exit 0\n");
    let said = env.command(&["runs"]).env("MUSTER_OUTPUT", "json").output().unwrap();
    assert!(env.tell(&said).starts_with("[{"));
    let said = env.command(&["runs", "--output", "quiet"]).env("MUSTER_OUTPUT", "json").output().unwrap();
    assert_eq!(env.tell(&said), "2\n1\n--- exit 0\n");
}

#[test]
fn colours_are_used_when_asked_for_and_not_when_forbidden() {
    let env = TestEnv::new();
    env.seed();
    let has_color = |args: &[&str], vars: &[(&str, &str)]| {
        let said = env.command(args).envs(vars.iter().copied()).output().unwrap();
        said.stdout.contains(&0x1b)
    };
    assert!(!has_color(&["runs"], &[]), "a pipe has none");
    assert!(has_color(&["runs", "--color", "always"], &[]));
    assert!(has_color(&["runs"], &[("CLICOLOR_FORCE", "1")]));
    assert!(has_color(&["runs"], &[("MUSTER_COLOR", "always")]));
    assert!(!has_color(&["runs"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(!has_color(&["runs", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let env = TestEnv::new();
    env.seed();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let said = env.command(&["results"]).stdout(Stdio::from(writer)).output();
    let said = said.unwrap();
    assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn completions_come_for_each_shell() {
    let env = TestEnv::new();
    for (shell, sign) in [("bash", "_muster()"), ("zsh", "#compdef muster"), ("fish", "complete -c muster")] {
        let said = env.run(&["completions", shell]);
        assert!(said.contains(sign) && said.contains("rerun"), "{shell}: {said}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let env = TestEnv::new();
    assert_eq!(env.run(&["man", "pages"]), "--- exit 0\n");
    for page in ["muster.1", "muster-run.1", "muster-config-show.1", "muster-why.1"] {
        let text = std::fs::read_to_string(env.area().join("pages").join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn the_doctor_looks_at_the_machine_and_at_the_tools_of_the_area() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n\n[test.py]\nsuite = \"pytest\"\ncommand = [\"no-such-python\"]\n",
    );
    let said = env.command(&["doctor", "--output", "json"]).output().unwrap();
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&said.stdout).unwrap();
    let whats: Vec<&str> = findings.iter().map(|f| f["what"].as_str().unwrap()).collect();
    for what in ["disk", "records", "file system", "open files", "processes", "cgroups", "clock"] {
        assert!(whats.contains(&what), "{what} is missing in {whats:?}");
    }
    for finding in &findings {
        assert_eq!(finding["level"] == "ok", finding["fix"].is_null(), "{finding}");
    }
}

#[test]
fn an_empty_pattern_does_not_run_everything() {
    let env = TestEnv::new();
    for command in [&["run", ""][..], &["plan", ","], &["rerun", "1", " "]] {
        let said = env.run(command);
        assert!(said.contains("an empty pattern names no test"), "{said}");
        assert!(said.ends_with("--- exit 2\n"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_text_says_where_it_is_none() {
    let env = TestEnv::new();
    std::fs::write(env.area().join("muster.toml"), b"[test.a]\nrun = \"\xc3\xa9 \xff\"\n").unwrap();
    expect![[r#"
        --- stderr
        error: cannot read `ROOT/area/muster.toml`
          caused by: line 2, column 10 is not UTF-8
        --- exit 2
    "#]]
    .assert_eq(&env.run(&["config", "check"]));
}

#[test]
fn a_pattern_that_fits_nothing_says_what_was_asked_for() {
    let env = TestEnv::new();
    env.write("muster.toml", "[test.boot]\nrun = \"true\"\nitems = [\"a,b\", \"c\"]\n");
    expect![[r#"
        --- stderr
        error: nothing to run: no test is selected by `boot/d` and `--tags fast`
        hint: `muster plan` lists the tests
        --- exit 4
    "#]]
    .assert_eq(&env.run(&["run", "boot/d", "--tags", "fast"]));
    expect![[r#"
        --- stderr
        error: no test is called `b`
        hint: commas join patterns: for a comma in an item's name write `*`
        --- exit 2
    "#]]
    .assert_eq(&env.run(&["run", "boot/a,b"]));
    assert!(env.run(&["run", "boot/a*b"]).ends_with("--- exit 0\n"));
}
