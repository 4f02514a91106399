use super::*;
use expect_test::expect;
use std::time::Duration;

const LAYERED: &str = r#"
[area]
keys = ["os", { name = "mode", values = ["debug", "release"], default = "release" }]
[vars]
level = 1
out = "build/${mode}-${level}"
[env]
OUT = "${out}"
FLAGS = "-O"
[target."linux/*"]
env = { FLAGS = "${FLAGS} -linux" }
[target."*/debug"]
env = { FLAGS = "-g" }
vars = { level = 2 }
defaults = { timeout = "2m" }
limits = { jobs = 3 }
[target."linux/debug"]
env = { FLAGS = "${FLAGS} -both" }
[limits]
jobs = 8
groups = { db = 1, net = 2 }
[defaults]
timeout = "1m"
retries = 1
tags = ["all"]
[test.plain]
run = "x"
[test.own]
run = "x"
timeout = "9s"
tags = ["mine"]
env = { FLAGS = "${FLAGS} -own", DIR = "${OUT}/${level}" }
"#;

#[test]
fn the_more_specific_target_section_wins() {
    let flags = |target: &str| {
        let loaded = World::target(target).load(LAYERED).unwrap();
        loaded.area.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(flags("mac/release"), "OUT=build/release-1 FLAGS=-O");
    assert_eq!(flags("mac"), "OUT=build/release-1 FLAGS=-O");
    assert_eq!(flags("linux/release"), "OUT=build/release-1 FLAGS=-O -linux");
    assert_eq!(flags("mac/debug"), "OUT=build/debug-2 FLAGS=-g");
    // `linux/*` is as specific as `*/debug` but for the leftmost part, so it wins, and names what it replaces.
    assert_eq!(flags("linux/debug"), "OUT=build/debug-2 FLAGS=-g -linux -both");
}

#[test]
fn a_test_wins_over_defaults_and_flags_win_over_a_test() {
    let user = Layer {
        name: "config.toml",
        text: "color = 'never'\n[limits]\njobs = 1\nload = 2\n[limits.groups]\ndb = 9\nusb = 4\n[defaults]\ngrace = '1s'\ntimeout = '7s'",
        kind: LayerKind::User,
    };
    let project = Layer { name: "muster.toml", text: LAYERED, kind: LayerKind::Project };
    let flag = Layer { name: "--jobs", text: "limits.jobs = 5", kind: LayerKind::Flag };
    let retries = Layer { name: "--retries", text: "override.retries = 4", kind: LayerKind::Flag };
    let world =
        World::target("linux/debug").with_env("MUSTER_TEST_TIMEOUT", "77s").with_env("MUSTER_JOBS", "6");
    let area = world.load_layers(&[flag, project, user, retries]).unwrap().area;
    assert_eq!(area.limits.jobs, Some(5));
    assert_eq!(area.limits.load_max, Some(2.0));
    let groups: Vec<_> = area.limits.groups.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(groups, ["db=1", "net=2", "usb=4"]);
    for test in &area.tests {
        assert_eq!(test.limits.timeout, Some(Duration::from_secs(77)));
        assert_eq!(test.limits.grace, Duration::from_secs(1));
        assert_eq!(test.retries.count, 4);
    }
    let area = World::target("linux/debug").load_layers(&[user, project]).unwrap().area;
    assert_eq!(area.limits.jobs, Some(3));
    assert_eq!(area.tests[0].limits.timeout, Some(Duration::from_secs(120)));
    assert_eq!(area.tests[1].limits.timeout, Some(Duration::from_secs(9)));
    assert_eq!([area.tests[0].tags.join(" "), area.tests[1].tags.join(" ")], ["all", "mine"]);
    assert_eq!(area.tests[1].env[0], ("FLAGS".into(), "-g -linux -both -own".into()));
    assert_eq!(area.tests[1].env[1], ("DIR".into(), "build/debug-2/2".into()));
}

#[test]
fn every_value_tells_where_it_comes_from() {
    let project = Layer { name: "muster.toml", text: LAYERED, kind: LayerKind::Project };
    let flag = Layer { name: "--retries", text: "override.retries = 4", kind: LayerKind::Flag };
    let world = World::target("linux/debug").with_env("MUSTER_JOBS", "6");
    let loaded = world.load_layers(&[project, flag]).unwrap();
    let shown: String =
        loaded.show().iter().map(|s| format!("{} = {}  # {}\n", s.path, s.value, s.origin)).collect();
    expect![[r#"
        area.name = "area"  # default
        area.unexpected-pass = "fail"  # default
        target.os = "linux"  # target
        target.mode = "debug"  # target
        vars.level = "2"  # muster.toml:14
        vars.out = "build/debug-2"  # muster.toml:6
        env.OUT = "build/debug-2"  # muster.toml:8
        env.FLAGS = "-g -linux -both"  # muster.toml:18
        limits.jobs = 6  # MUSTER_JOBS
        limits.groups.db = 1  # muster.toml:21
        limits.groups.net = 2  # muster.toml:21
        limits.load = "none"  # default
        limits.disk-free = "0"  # default
        limits.run-timeout = "none"  # default
        records.allow-runs = true  # default
        records.hot-runs = 1000  # default
        records.hot-for = "none"  # default
        records.move-to = "none"  # default
        test.plain.run = "x"  # muster.toml:26
        test.plain.timeout = "2m"  # muster.toml:15
        test.plain.silence = "none"  # default
        test.plain.grace = "5s"  # default
        test.plain.output-limit = "16MiB"  # default
        test.plain.retries = 4  # --retries
        test.plain.priority = 0  # default
        test.plain.tags = ["all"]  # muster.toml:25
        test.own.run = "x"  # muster.toml:28
        test.own.timeout = "9s"  # muster.toml:30
        test.own.silence = "none"  # default
        test.own.grace = "5s"  # default
        test.own.output-limit = "16MiB"  # default
        test.own.retries = 4  # --retries
        test.own.priority = 0  # default
        test.own.tags = ["mine"]  # muster.toml:31
        test.own.env.FLAGS = "-g -linux -both -own"  # muster.toml:32
        test.own.env.DIR = "build/debug-2/2"  # muster.toml:32
    "#]]
    .assert_eq(&shown);
}

#[test]
fn included_files_are_below_the_one_that_includes_them() {
    let world = World::default()
        .with_file("more.toml", "include = ['base.toml']\n[vars]\nx = 'more'\n[test.b]\nrun = 'b ${x}'")
        .with_file("base.toml", "[vars]\nx = 'base'\ny = '${x}'\n[defaults]\nowner = 'base'");
    let loaded = world.load("include = ['more.toml']\n[vars]\nx = 'top'\n[test.a]\nrun = 'a ${y}'").unwrap();
    let tests = &loaded.area.tests;
    assert_eq!((shell_line(&tests[0]), shell_line(&tests[1])), ("b top", "a top"));
    assert_eq!([tests[0].origin.as_str(), tests[1].origin.as_str()], ["more.toml:4", "muster.toml:4"]);
    assert_eq!(tests[1].owner, "base");
}

#[test]
fn what_an_item_knows_is_left_to_the_shell() {
    let test = only_test(
        "[vars]\nv = 1\n[env]\nE = 2\n[test.t]\nmatrix = { ARCH = ['a'] }\n\
         run = 'echo ${v} ${E} ${ARCH} ${item} ${MUSTER_RUN} $HOME $${HOME} ${HOME:-x} ${#v} $$ ${env:HOME} ${env:NONE:-none} ${area}'",
    );
    assert_eq!(
        shell_line(&test),
        "echo 1 2 ${ARCH} ${MUSTER_ITEM} ${MUSTER_RUN} $HOME ${HOME} ${HOME:-x} ${#v} $$ /home/ana none area"
    );
}

#[test]
fn an_area_without_keys_needs_no_target_and_a_key_may_have_a_default() {
    assert_eq!(load_good("").area.target, []);
    let loaded =
        World::default().load("[area]\nname = 'x'\nkeys = [{ name = 'os', default = 'any' }]").unwrap();
    assert_eq!(loaded.area.target, [("os".into(), "any".into())]);
    assert_eq!(loaded.area.name, "x");
}

#[test]
fn an_areas_name_is_its_directorys_made_fit() {
    use crate::area::limits::fit_name;
    for (directory, name) in
        [("demo", "demo"), ("my area", "my-area"), ("", "area"), ("--", "area"), ("a,b/c", "a-b-c")]
    {
        assert_eq!(fit_name(directory), name);
    }
}

#[test]
fn byte_order_mark_and_line_ends_of_other_systems_are_read() {
    let loaded = load_good("\u{feff}[test.t]\r\nrun = 'x'\r\n[test.u]\r\nrun = 'y'\r\n");
    assert_eq!(loaded.area.tests[1].origin, "muster.toml:3");
}
