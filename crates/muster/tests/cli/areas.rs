//! Several areas in one view, and Megatest's `mtutil` over them.

use crate::env::TestEnv;

/// A hub that names two areas beside it, each a Megatest area with a test.
fn hub() -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        "[fields]\nOS TEXT\n[areas]\nalpha path=alpha\nbeta path=beta; \ngone path=gone\nodd path=beta; targtrans=upper\n\
         [contours]\nquick areas=alpha; selector=fast\nall areas=alpha,beta\nfn areafn=every\n",
    );
    for area in ["alpha", "beta"] {
        let main = "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n";
        env.write(&format!("{area}/megatest.config"), main);
        env.write(
            &format!("{area}/tests/one/testconfig"),
            "[ezsteps]\ns echo $MT_CONTOUR > $MT_RUN_AREA_HOME/contour\n[test_meta]\ntags fast\n",
        );
        env.write(&format!("{area}/tests/two/testconfig"), "[ezsteps]\ns false\n[test_meta]\ntags slow\n");
    }
    env
}

#[test]
fn mtutil_runs_in_the_areas_of_a_contour_and_their_runs_are_one_list() {
    let env = hub();
    let said = env.run(&["mtutil", "run", "-contour", "quick", "-target", "linux", "-run-name", "w1"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(std::fs::read_to_string(env.area().join("alpha/contour")).unwrap(), "quick\n");
    assert!(!env.area().join("beta/.muster").exists());
    // All that is asked for, in both; one test of each fails.
    let said = env.run(&["mtutil", "run", "-area", "alpha,beta", "-target", "linux", "-run-name", "w2"]);
    assert!(said.ends_with("--- exit 1\n"), "{said}");
    let runs = env.run(&["runs", "--all-areas", "--output", "json"]);
    let runs: serde_json::Value = serde_json::from_str(runs.split("--- ").next().unwrap()).unwrap();
    let seen: Vec<String> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {}", r["tag"].as_str().unwrap(), r["run"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, ["beta w2", "alpha w2", "alpha w1"], "{runs}");
    let totals = env.run(&["runs", "--all-areas", "--totals"]);
    let line =
        |area: &str| totals.lines().find(|l| l.starts_with(area)).unwrap_or_else(|| panic!("{totals}"));
    assert_eq!(
        line("alpha").split_whitespace().take(5).collect::<Vec<_>>(),
        ["alpha", "linux", "2", "1", "2"]
    );
    assert_eq!(line("beta").split_whitespace().take(5).collect::<Vec<_>>(), ["beta", "linux", "1", "1", "1"]);
    let listed = env.run(&["mtutil", "list", "-area", "beta", "-run-name", "w%"]);
    assert!(listed.contains("Run: linux/w2"), "{listed}");
}

#[test]
fn what_mtutil_does_not_do_is_told_with_the_reason() {
    let env = hub();
    for (args, part) in [
        (&["process"][..], "works on packets, which Muster does not keep"),
        (&["run", "-area", "odd", "-run-name", "w"], "`targtrans` of the area `odd` is a function of Scheme"),
        (&["run", "-area", "none", "-run-name", "w"], "no area is named `none`"),
        (&["run", "-contour", "fn"], "chooses its areas by a function of Scheme"),
        (&["run", "-contour", "none"], "no contour is named `none`"),
        (&["fly"], "`fly` is no action of mtutil's"),
    ] {
        let said = env.run(&[&["mtutil"], args].concat());
        assert!(said.contains(part) && said.ends_with("--- exit 2\n"), "{said}");
    }
    assert!(env.run(&["mtutil", "show", "contours"]).starts_with("quick areas=alpha; selector=fast\n"));
}

#[test]
fn areas_of_the_user_s_own_are_listed_wherever_one_stands() {
    let env = TestEnv::new();
    env.seed();
    let config = env.home().join(".config/muster");
    std::fs::create_dir_all(&config).unwrap();
    let text = format!("[areas]\nnightly = \"{}\"\n", env.area().display());
    std::fs::write(config.join("config.toml"), text).unwrap();
    let elsewhere = env.home().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let said = env.tell(&env.command(&["runs", "--all-areas"]).current_dir(&elsewhere).output().unwrap());
    assert!(said.contains("nightly") && said.contains("rc1"), "{said}");
    let said = env.run(&["runs", "--totals"]);
    assert!(said.ends_with("--- exit 2\n"), "{said}");
    // Some of them by a tag that they have.
    let text = format!("[areas]\nnightly = {{ path = \"{}\", tags = [\"asic\"] }}\n", env.area().display());
    std::fs::write(config.join("config.toml"), text).unwrap();
    for (tag, code) in [("asic", 0), ("night*", 0), ("none,asic", 0), ("none", 2)] {
        let mut command = env.command(&["runs", "--all-areas", "--area-tag", tag]);
        let said = env.tell(&command.current_dir(&elsewhere).output().unwrap());
        assert_eq!(said.contains("rc1"), code == 0, "{tag}: {said}");
        assert!(said.ends_with(&format!("--- exit {code}\n")), "{said}");
    }
}
