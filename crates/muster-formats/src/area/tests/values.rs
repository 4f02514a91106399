use super::*;
use crate::area::scalar::{format_duration, format_size, parse_duration, parse_size};
use muster_core::definition::*;
use muster_core::outcome::Outcome;
use std::time::Duration;

#[test]
fn durations_are_written_with_units() {
    for (text, millis) in [
        ("90s", 90_000),
        ("1m30s", 90_000),
        ("1m 30s", 90_000),
        ("2h", 7_200_000),
        ("500ms", 500),
        ("1.5s", 1_500),
        ("0s", 0),
        ("1d", 86_400_000),
    ] {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "90", "s", "1s1m", "1s1s", "-1s", "1e3s", "1x", "99999999999d", "1..5s", "20y", "∞s"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
    for millis in [0, 1, 999, 1_000, 61_001, 3_600_000, 90_061_500] {
        let d = Duration::from_millis(millis);
        assert_eq!(parse_duration(&format_duration(d)), Some(d), "{}", format_duration(d));
    }
}

#[test]
fn sizes_are_written_with_units() {
    for (text, bytes) in
        [("512MiB", 512 << 20), ("2GB", 2_000_000_000), ("7", 7), ("1.5KiB", 1536), ("10 kB", 10_000)]
    {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "MiB", "1 mib", "-1", "99999999999TiB", "1.2.3MB", "1e3"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
    for bytes in [0, 1, 1023, 1024, 3 << 30, (5 << 40) + 1] {
        assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
    }
}

#[test]
fn a_test_says_all_that_a_definition_can_hold() {
    let test = only_test(
        r#"
        [limits.groups]
        db = 2
        [test.boot]
        cmd = ["boot", "--fast"]
        description = "Boots."
        timeout = "2m"
        silence = "30s"
        grace = "1s"
        output-limit = "1MiB"
        retries = { count = 2, delay = "3s", flaky = "fail", on = ["timeout", "crash"] }
        skip-when = "os == 'windows'"
        needs = { disk-free = "2GiB", load = 1.5, group = "db" }
        priority = -3
        tags = ["fast", "x-y", "fast"]
        owner = "ana"
        dir = "sub"
        env = { B = "2", A = 1 }
        exit = { 2 = "warn", "124" = "timeout" }
        stdout = "ok"
        log = [
            { pattern = "^done$", means = "pass", count = 1, description = "says done" },
            { pattern = "WARN", means = "warn", min = 2 },
            { pattern = "x", means = "fail", max = 3 },
            { pattern = "ERR", means = "fail" },
        ]
        measure = [
            { name = "latency", expected = 10, tolerance = 0.5, units = "ms" },
            { name = "size", expected = 9, tolerance = "<=" },
            { name = "seen" },
        ]
        "#,
    );
    let rule = |pattern: &str, means, min, max, description: &str| LogRule {
        pattern: pattern.into(),
        means,
        count: Count { min, max },
        description: description.into(),
    };
    let measure = |name: &str, expected, tolerance, units: &str| MeasureRule {
        name: name.into(),
        expected,
        tolerance,
        units: units.into(),
    };
    let step = Step::new("run", Line::Argv(vec!["boot".into(), "--fast".into()]));
    let expected = TestDef {
        limits: Limits {
            timeout: Some(Duration::from_secs(120)),
            silence: Some(Duration::from_secs(30)),
            grace: Duration::from_secs(1),
            output_bytes_max: 1 << 20,
        },
        retries: Retries {
            count: 2,
            delay: Duration::from_secs(3),
            flaky: FlakyPolicy::Fail,
            on: vec![Outcome::Timeout, Outcome::Crash],
        },
        skip_when: Some("os == 'windows'".into()),
        needs: Needs {
            disk_free_bytes_min: 2 << 30,
            load_max: Some(1.5),
            groups: vec!["db".into()],
            ..Needs::default()
        },
        priority: -3,
        tags: vec!["fast".into(), "x-y".into()],
        owner: "ana".into(),
        description: "Boots.".into(),
        pass: PassRule {
            exit: vec![(2, Outcome::Warn), (124, Outcome::Timeout)],
            stdout: Some(ExpectedOutput::Text("ok".into())),
            log: vec![
                rule("^done$", LogMeaning::Pass, 1, 1, "says done"),
                rule("WARN", LogMeaning::Warn, 2, u32::MAX, ""),
                rule("x", LogMeaning::Fail, 0, 3, ""),
                rule("ERR", LogMeaning::Fail, 1, u32::MAX, ""),
            ],
            measures: vec![
                measure("latency", Some(10.0), Tolerance::Within(0.5), "ms"),
                measure("size", Some(9.0), Tolerance::LessOrEqual, ""),
                measure("seen", None, Tolerance::Within(0.0), ""),
            ],
            logpro: None,
        },
        env: vec![("B".into(), "2".into()), ("A".into(), "1".into())],
        dir: "sub".into(),
        origin: "muster.toml:4".into(),
        ..TestDef::new("boot", Kind::Steps { steps: vec![step], items: Items::None })
    };
    assert_eq!(test, expected);
}

#[test]
fn a_test_asks_for_packages_and_profilers_of_its_own_or_has_those_of_the_defaults() {
    let text = "[defaults]\nprofilers = ['proc-sampler']\n[test.t]\nrun = 'x'\npackages = ['dep:a@1']\n";
    let test = only_test(text);
    assert_eq!(test.packages, ["dep:a@1"]);
    assert_eq!(test.profilers, ["proc-sampler"]);
    let wrong = World::default().load("[test.t]\nrun='x'\npackages = ['a']\nprofilers = ['b']\n");
    let said = told(&wrong.unwrap_err());
    assert!(said.contains("`a` is not a package") && said.contains("there is no profiler `b`"), "{said}");
}

#[test]
fn rule_files_of_logpro_are_taken_up_with_the_test_and_its_steps() {
    let world = World::default().with_file("a.logpro", "(hook:value \"a\")").with_file("b.logpro", "; b");
    let area = "[test.t]\nlogpro = ['a.logpro', 'b.logpro']\n\
        steps = [{ run = 'x', logpro = { rules = 'b.logpro', exit-counts = false } }, 'y']\n";
    let loaded = world.load(area).unwrap_or_else(|errors| panic!("{}", told(&errors)));
    let test = &loaded.area.tests[0];
    let file = |path: &str, text: &str| RuleFile { path: path.into(), text: text.into() };
    let (a, b) = (file("a.logpro", "(hook:value \"a\")"), file("b.logpro", "; b"));
    assert_eq!(test.pass.logpro, Some(LogproRules { files: vec![a, b.clone()], exit_counts: true }));
    let Kind::Steps { steps, .. } = &test.kind else { panic!() };
    assert_eq!(steps[0].logpro, Some(LogproRules { files: vec![b], exit_counts: false }));
    assert_eq!(steps[1].logpro, None);
}

#[test]
fn a_matrix_is_every_combination_with_the_first_variable_varying_slowest() {
    let test = only_test(
        r#"
        [test.t]
        run = "x"
        matrix = { ARCH = ["arm64", "x86"], LEVEL = [1, 2.50, true] }
        exclude = [{ ARCH = "x86", LEVEL = 1 }]
        include = [{ LEVEL = 9, ARCH = "riscv" }]
        "#,
    );
    let paths = ["arm64/1", "arm64/2.50", "arm64/true", "x86/2.50", "x86/true", "riscv/9"];
    assert_eq!(item_paths(&test), paths);
    let Kind::Steps { items: Items::Listed(items), .. } = &test.kind else { panic!() };
    assert_eq!(items[5].vars, [("ARCH".into(), "riscv".into()), ("LEVEL".into(), "9".into())]);
}

#[test]
fn a_table_is_written_by_rows_or_by_columns() {
    let rows = only_test("[test.t]\nrun='x'\ntable = [{ A = 1, B = 'x/y' }, { B = 'z', A = 2 }]");
    assert_eq!(item_paths(&rows), ["1/x/y", "2/z"]);
    let columns = only_test("[test.t]\nrun='x'\ntable = { A = [1, 2], B = ['x/y', 'z'] }");
    assert_eq!(rows.kind, columns.kind);
    let both = only_test("[test.t]\nrun='x'\nmatrix = { A = [1] }\ntable = [{ A = 2 }]\nitems = ['three']");
    assert_eq!(item_paths(&both), ["1", "2", "three"]);
}

#[test]
fn items_may_be_asked_for_later() {
    let test = only_test("[test.t]\nrun='x'\nitems-from = 'ls ${env:HOME} | head ${COUNT:-3}'");
    let Kind::Steps { items: Items::Command(command), .. } = &test.kind else { panic!() };
    assert_eq!(command.line, Line::Shell("ls /home/ana | head ${COUNT:-3}".into()));
}

#[test]
fn a_matrix_without_values_has_no_items_and_warns() {
    let loaded = load_good("[test.t]\nrun='x'\nmatrix = { A = [] }");
    assert!(item_paths(&loaded.area.tests[0]).is_empty());
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
}

#[test]
fn steps_have_names_places_and_a_rule_for_going_on() {
    let test = only_test(
        r#"
        [test.t]
        env = { OUT = "out" }
        steps = [
            "make",
            { name = "check", cmd = ["./check", "${OUT}"], env = { OUT = "${OUT}/2" }, dir = "d", timeout = "5s", continue = "always" },
            { run = "tidy ${OUT}", continue = "ignored" },
        ]
        "#,
    );
    let Kind::Steps { steps, .. } = &test.kind else { panic!() };
    let names: Vec<_> = steps.iter().map(|s| (s.name.as_str(), s.proceed)).collect();
    let expected = [("step-1", Proceed::Passed), ("check", Proceed::Always), ("step-3", Proceed::Ignored)];
    assert_eq!(names, expected);
    assert_eq!(steps[1].command.line, Line::Argv(vec!["./check".into(), "out".into()]));
    assert_eq!(steps[1].command.env, [("OUT".into(), "out/2".into())]);
    assert_eq!(steps[1].command.dir.as_deref(), Some("d"));
    assert_eq!(steps[1].timeout, Some(Duration::from_secs(5)));
}

#[test]
fn every_mode_of_after_can_be_said() {
    let loaded = load_good(
        r#"
        [test.a]
        run = "a"
        [test.b]
        run = "b"
        after = "a"
        [test.c]
        run = "c"
        after = ["a", { test = "b", mode = "ended" }, { test = "c", mode = "exclusive" }]
        [test.d]
        run = "d"
        after = { test = "c", map = [["x$", "y"], ["^(.)/(.)$", '\2/\1']] }
        "#,
    );
    let after = |test: &str, mode| After { test: test.into(), mode };
    let map = |pattern: &str, replacement: &str| ItemMap {
        pattern: pattern.into(),
        replacement: replacement.into(),
    };
    let all: Vec<_> = loaded.area.tests.iter().map(|t| t.after.clone()).collect();
    assert_eq!(all[1], [after("a", AfterMode::Passed)]);
    let three =
        [after("a", AfterMode::Passed), after("b", AfterMode::Ended), after("c", AfterMode::Exclusive)];
    assert_eq!(all[2], three);
    let mapped = AfterMode::MatchingItem { map: vec![map("x$", "y"), map("^(.)/(.)$", r"\2/\1")] };
    assert_eq!(all[3], [after("c", mapped)]);
}

#[test]
fn every_framework_can_be_said() {
    let loaded = load_good(
        r#"
        [vars]
        out = "build"
        [suite.c]
        framework = "cargo"
        args = ["-p", "x"]
        binary-args = ["--nocapture"]
        ignored = "include"
        batch = "single"
        [suite.p]
        framework = "pytest"
        args = ["tests"]
        [suite.g]
        framework = "gtest"
        programs = ["${out}/a", ["${out}/b", "--x"]]
        batch = 50
        [suite.ct]
        framework = "ctest"
        build-dir = "${out}"
        [suite.t]
        framework = "tap"
        programs = ["t/*.t"]
        interpreter = ["perl"]
        [suite.a]
        framework = "autotest"
        files = "**/control"
        args = ["--sources", "."]
        [suite.f]
        framework = "files"
        files = "t/**/*.in"
        run = "./tool {file} ${item}"
        expected = "{dir}/{stem}.out"
        pattern = true
        [suite.l]
        framework = "list"
        list = ["./names"]
        cmd = ["./one", "{item}"]
        timeout = "3s"
        "#,
    );
    let s = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let suites = loaded.area.tests.iter().map(|t| match &t.kind {
        Kind::Suite(suite) => suite.clone(),
        Kind::Steps { .. } => panic!("{}", t.name),
    });
    let suites: Vec<SuiteDef> = suites.collect();
    let frameworks: Vec<Framework> = suites.iter().map(|s| s.framework.clone()).collect();
    let expected = vec![
        Framework::Cargo {
            args: s(&["-p", "x"]),
            binary_args: s(&["--nocapture"]),
            ignored: Ignored::Include,
        },
        Framework::Pytest { command: s(&["python3", "-m", "pytest"]), args: s(&["tests"]) },
        Framework::Gtest { programs: vec![s(&["build/a"]), s(&["build/b", "--x"])] },
        Framework::Ctest { build_dir: "build".into(), args: vec![] },
        Framework::Tap { programs: s(&["t/*.t"]), interpreter: s(&["perl"]) },
        Framework::Autotest {
            controls: s(&["**/control"]),
            command: s(&["muster", "autoserv", "--sources", "."]),
        },
        Framework::Files {
            files: s(&["t/**/*.in"]),
            command: Line::Shell("./tool {file} ${MUSTER_ITEM}".into()),
            expected: Some("{dir}/{stem}.out".into()),
            pattern: true,
        },
        Framework::List { list: Line::Argv(s(&["./names"])), run: Line::Argv(s(&["./one", "{item}"])) },
    ];
    assert_eq!(frameworks, expected);
    assert_eq!(
        [suites[0].batch, suites[1].batch, suites[2].batch],
        [Batch::Single, Batch::Auto, Batch::Most(50)]
    );
    assert_eq!(loaded.area.tests[7].limits.timeout, Some(Duration::from_secs(3)));
}

#[test]
fn tests_and_suites_stay_in_the_order_written() {
    let text = "[test.z]\nrun='x'\n[suite.m]\nframework='pytest'\n[test.a]\nrun='x'\n[suite.b]\nframework='pytest'\n";
    let names: Vec<_> = load_good(text).area.tests.iter().map(|t| t.name.clone()).collect();
    assert_eq!(names, ["z", "m", "a", "b"]);
}

#[test]
fn line_ends_of_another_system_do_not_get_into_commands() {
    let test = only_test("[test.t]\r\nrun = \"\"\"\r\nmake\r\n./check\r\n\"\"\"\r\n");
    assert_eq!(shell_line(&test), "make\n./check\n");
    let meant = only_test("[test.t]\r\nrun = \"printf 'a\\r\\n'\"\r\n");
    assert_eq!(shell_line(&meant), "printf 'a\r\n'");
}

#[test]
fn a_test_says_which_devices_it_needs_at_once() {
    let test = only_test(
        r#"
        [test.mesh]
        run = "./mesh"
        [test.mesh.needs]
        same-host = true
        [test.mesh.needs.devices]
        router = " labels.kind == 'router' "
        node = { on = "has(labels.mesh)", count = 2 }
        any = {}
        "#,
    );
    let NeededDevices { roles, same_host } = test.needs.devices;
    assert!(same_host);
    let roles: Vec<_> = roles.iter().map(|r| (r.name.as_str(), r.selector.as_str())).collect();
    let node = "has(labels.mesh)";
    assert_eq!(
        roles,
        [("router", "labels.kind == 'router'"), ("node-1", node), ("node-2", node), ("any", "")]
    );
}

#[test]
fn a_step_runs_on_one_of_several_devices_by_its_name() {
    let test = only_test(
        r#"
        [defaults]
        runs-on = "host"
        [test.call]
        runs-on = "node-2"
        needs = { devices = { caller = "", node = { count = 2 } } }
        steps = [
            { run = "1", runs-on = "caller" },
            { run = "2", runs-on = "device" },
            { run = "3", runs-on = "host" },
            { run = "4", runs-on = "node-1" },
            "5",
        ]
        "#,
    );
    let Kind::Steps { steps, .. } = &test.kind else { panic!("it has steps") };
    let places: Vec<_> = steps.iter().map(|step| step.place).collect();
    let (first, second) = (Place::Other(1), Place::Other(2));
    assert_eq!(places, [Place::Device, Place::Device, Place::Host, first, second]);
    assert_eq!(Vec::from_iter(test.devices_used()), [0, 1, 2]);
}
