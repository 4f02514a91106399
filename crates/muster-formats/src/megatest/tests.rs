//! Areas as texts, read in a world that is a table.

mod more;

use super::ticket::{TICKET_VARIABLE, Ticket};
use super::{AreaContext, Looking, MegatestArea, NotRun, Printed, World, load, targets};
use crate::area::{Layer, LayerKind, LoadContext};
use expect_test::{Expect, expect};
use muster_core::definition::{AfterMode, Items, Kind, TestDef};
use muster_core::expr::Facts;
use muster_core::plan::{Plan, PlannedItems, plan};
use muster_core::select::Selection;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Files below `/area`; commands answer what is known of them.
#[derive(Default)]
struct Fake {
    files: BTreeMap<String, String>,
    ran: RefCell<Vec<String>>,
}

impl Fake {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| (format!("/area/{path}"), (*text).to_owned())).collect();
        Self { files, ran: RefCell::default() }
    }
}

impl World for Fake {
    fn text(&self, path: &str) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        let below = format!("{dir}/");
        let names = self.files.keys().filter_map(|p| p.strip_prefix(&below)?.split('/').next());
        let names: std::collections::BTreeSet<String> = names.map(str::to_owned).collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names.into_iter().collect()) }
    }

    fn shell(&self, line: &str, _: &str, env: &BTreeMap<String, String>) -> Result<Printed, NotRun> {
        self.ran.borrow_mut().push(line.to_owned());
        let printed = |text: &str| Ok(Printed { status: 0, text: text.to_owned() });
        match line.split_once(' ').map_or((line, ""), |(word, rest)| (word, rest)) {
            ("echo", rest) => printed(&format!("{rest}\n")),
            ("env", name) => printed(env.get(name).map_or("", String::as_str)),
            ("two-lines", _) => printed("a\nb\n"),
            ("fail", _) => Ok(Printed { status: 3, text: "lost".to_owned() }),
            ("slow", _) => Err(NotRun::Failed("it took longer than 60 seconds".to_owned())),
            _ => printed(""),
        }
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.ran.borrow_mut().push(format!("mkdir {path}"));
        Ok(())
    }

    fn cores(&self) -> u32 {
        4
    }

    fn host_name(&self) -> String {
        "here".to_owned()
    }
}

fn read(world: &dyn World, target: &str, layers: &[Layer<'_>]) -> Result<MegatestArea, String> {
    let target: Vec<String> = target.split('/').filter(|t| !t.is_empty()).map(str::to_owned).collect();
    let process_env: BTreeMap<String, String> =
        [("HOME", "/home/me"), ("USER", "me")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let files = |_: &str| Err(io::ErrorKind::NotFound.into());
    let context = LoadContext {
        area_name: "area",
        target: &target,
        process_env: &process_env,
        facts: &Facts::default(),
        files: &files,
    };
    let program = "/area/.muster/bin/megatest";
    let run_name = Some("w1");
    load(&AreaContext { load: &context, layers, dir: "/area", run_name, program, places: Some(4), world })
        .map_err(|errors| errors.iter().map(|e| format!("{e}\n")).collect())
}

/// The area, for the target `x/y` of two keys.
fn area(files: &[(&str, &str)]) -> MegatestArea {
    read(&Fake::new(files), "x/y", &[]).unwrap()
}

/// `megatest.config` with two keys and a link tree, and more.
fn main(more: &str) -> String {
    format!("[fields]\nOS TEXT\nFS TEXT\n[setup]\nlinktree #{{getenv MT_RUN_AREA_HOME}}/lt\n{more}")
}

fn warnings(area: &MegatestArea) -> String {
    area.loaded.warnings.iter().map(|w| format!("{w}\n")).collect()
}

fn var<'a>(area: &'a MegatestArea, name: &str) -> Option<&'a str> {
    area.loaded.area.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

fn test<'a>(area: &'a MegatestArea, name: &str) -> &'a TestDef {
    area.loaded.area.tests.iter().find(|t| t.name == name).unwrap()
}

fn ticket(test: &TestDef) -> Ticket {
    Ticket::parse(&test.env.iter().find(|(n, _)| n == TICKET_VARIABLE).unwrap().1).unwrap()
}

/// `test/item` of all that a pattern makes a run of.
fn planned(area: &MegatestArea, patt: &str) -> Vec<String> {
    let selection = Selection { testpatt: Some(patt.to_owned()), ..Selection::default() };
    let plan: Plan = plan(&area.loaded.area, &selection, &(), &|_| Ok(false)).unwrap();
    let names = plan.tests.iter().flat_map(|t| {
        let name = t.def.name.clone();
        match &t.items {
            PlannedItems::Listed(items) => items.iter().map(|i| format!("{name}/{}", i.path)).collect(),
            PlannedItems::Found(_) => vec![format!("{name}/?")],
        }
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn check_warnings(files: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&warnings(&area(files)));
}

#[test]
fn an_area_becomes_the_same_nouns_as_any_other() {
    let main = main(
        "max_concurrent_jobs 100000\nreruns 2\nruntimelim 1h 30m\n[jobgroups]\ndb 2\n[disks]\nd0 /disk\n[env-override]\nPATHS $HOME/a:#{getenv USER}\n",
    );
    let area = area(&[
        ("megatest.config", &main),
        ("runconfigs.config", "[default]\nLEVEL 1\n[x/y]\nLEVEL 2\n"),
        (
            "tests/build/testconfig",
            "[ezsteps]\nfetch fetch.sh\ncompile make -j 2\n[items]\nARCH arm x86\nMODE dbg rel\n\
             [requirements]\npriority 5\nruntimelim 5m\n[test_meta]\nowner ana\ntags smoke,net\njobgroup db\n\
             description Builds it \\\n  all\n[pre-launch-env-vars]\nTOOLS $HOME/tools\n",
        ),
        (
            "tests/report/testconfig",
            "[setup]\nrunscript report.sh\n[requirements]\nwaiton build\nmode toplevel\n",
        ),
    ]);
    assert_eq!(warnings(&area), "");
    let def = &area.loaded.area;
    assert_eq!(def.target, [("OS".to_owned(), "x".to_owned()), ("FS".to_owned(), "y".to_owned())]);
    assert_eq!(def.limits.jobs, Some(4), "no more than this machine has cores");
    assert_eq!(def.limits.groups["db"], 2);
    let names: Vec<&str> = def.env.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(
        names,
        [
            "LEVEL",
            "MT_MEGATEST",
            "MT_RUN_AREA_HOME",
            "MT_TESTSUITENAME",
            "MT_TARGET",
            "MT_LINKTREE",
            "MT_CONTOUR",
            "MT_RUNNAME",
            "MT_RUNPATH",
            "PATHS",
            "OS",
            "FS"
        ]
    );
    assert_eq!(var(&area, "LEVEL"), Some("2"));
    assert_eq!(var(&area, "PATHS"), Some("/home/me/a:me"));
    assert_eq!(var(&area, "MT_RUNPATH"), Some("/area/lt/x/y/w1"));
    let build = test(&area, "build");
    let Kind::Steps { steps, items: Items::Listed(items) } = &build.kind else { panic!("{build:?}") };
    assert_eq!(steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["fetch", "compile"]);
    assert_eq!(
        items.iter().map(|i| i.path.as_str()).collect::<Vec<_>>(),
        ["arm/dbg", "arm/rel", "x86/dbg", "x86/rel"]
    );
    assert_eq!((build.priority, build.limits.timeout), (5, Some(Duration::from_secs(300))));
    assert_eq!(
        (build.owner.as_str(), build.tags.as_slice()),
        ("ana", &["smoke".to_owned(), "net".to_owned()][..])
    );
    assert_eq!(build.description, "Builds it all");
    assert_eq!((build.needs.groups.as_slice(), build.retries.count), (&["db".to_owned()][..], 2));
    assert!(build.env.contains(&("TOOLS".to_owned(), "/home/me/tools".to_owned())));
    let ticket = ticket(build);
    assert_eq!(ticket.disks, [("d0".to_owned(), "/disk".to_owned())]);
    assert_eq!((ticket.first_step.as_str(), ticket.last_step.as_str()), ("fetch", "compile"));
    assert_eq!(ticket.item_vars, ["ARCH", "MODE"]);
    let report = test(&area, "report");
    assert_eq!(report.limits.timeout, Some(Duration::from_secs(5400)));
    assert_eq!(report.after[0].mode, AfterMode::Ended);
    assert_eq!(report.origin, "tests/report/testconfig:1");
}

#[test]
fn the_line_grammar_is_megatest_s() {
    let text = main(
        "[a]\nk 1\nl 2\nk 3\nempty\nkeeps blanks  \ntext first\n    second\n      deeper\n# a comment\n    lost\n[a]\nm 4 \\\n5\n[configf:settings trim-trailing-spaces yes]\ntrimmed x   \n",
    );
    let area = area(&[("megatest.config", &text)]);
    let section = area.main.iter().find(|s| s.name == "a").unwrap();
    let values: Vec<(&str, &str)> =
        section.values.iter().map(|v| (v.path.as_str(), v.value.as_str())).collect();
    assert_eq!(
        values,
        [
            ("l", "2"),
            ("k", "3"),
            ("empty", ""),
            ("keeps", "blanks  "),
            ("text", "first\nsecond\n  deeper"),
            ("m", "4 5"),
            ("trimmed", "x"),
        ]
    );
    expect![[r#"
        warning: this line begins with a blank and continues nothing; it is left out
          --> megatest.config:16:1
        16 |     lost
           | ^^^^^^^^
        hint: a key begins its line
    "#]]
    .assert_eq(&warnings(&area));
}

#[test]
fn values_are_computed_from_what_was_read_before() {
    let text = main(
        "[v]\na 1\nb #{get v a}#{g v a}\nc #{shell two-lines}\nd #{system fail}\ne #{shell fail}\nf #{mtrah}/x #{mtrah y}\n\
         g #{rp a/../b}#{realpath /c/.}\nh #{scheme (+ 5 6 7)}\ni #{get v #{scheme (conc \"a\" \"\")}}\nj [system env USER]\n\
         k #{gv USER}\nl #{sh echo \\\"q\\\"}\nm #{scm (create-directory \"made\" #t)}\n",
    );
    let world = Fake::new(&[("megatest.config", &text)]);
    let area = read(&world, "x/y", &[]).unwrap();
    let section = area.main.iter().find(|s| s.name == "v").unwrap();
    let values: Vec<&str> = section.values.iter().map(|v| v.value.as_str()).collect();
    assert_eq!(
        values,
        ["1", "11", "a b", "3", "", "/area/x /area/y", "/area/b/c", "18", "1", "me", "me", "\"q\"", "made",]
    );
    assert!(world.ran.borrow().contains(&"mkdir /area/made".to_owned()));
}

#[test]
fn nothing_is_run_while_an_area_is_looked_at_nor_in_comments_ever() {
    let text = main(
        "# #{shell rm -rf /}\n#{shell echo x} y\n[v]\na #{shell echo a}\nb [system echo b]\nc #{system echo c}\n[env-override]\nD `date`\n",
    );
    let files = [
        ("megatest.config", text.as_str()),
        ("tests/t/testconfig", "[ezsteps]\na true\n[items]\nI [system ls]\n"),
    ];
    let world = Fake::new(&files);
    let area = read(&Looking(&world), "x/y", &[]).unwrap();
    assert_eq!(*world.ran.borrow(), Vec::<String>::new());
    let section = area.main.iter().find(|s| s.name == "v").unwrap();
    assert_eq!(section.values[0].value, "#{( shell ) echo a}");
    assert!(matches!(test(&area, "t").kind, Kind::Steps { items: Items::Command(_), .. }));
    expect![[r#"
        warning: Megatest runs this although it is in a comment
         --> megatest.config:6:1
        6 | # #{shell rm -rf /}
          | ^^^^^^^^^^^^^^^^^^^
        hint: Muster does not
        warning: a command was not run, here and at 4 more places
         --> megatest.config:7:1
        7 | #{shell echo x} y
          | ^^^^^^^^^^^^^^^^^
        hint: nothing is run while an area is only looked at; `muster run` runs it
    "#]]
    .assert_eq(&warnings(&area));
    read(&world, "x/y", &[]).unwrap();
    assert!(world.ran.borrow().iter().all(|line| !line.contains("rm")));
}

#[test]
fn what_cannot_be_expanded_is_told_and_not_guessed() {
    let text = main(
        "[v]\na #{scheme (delete-file \"x\")}\nb #{shel ls}\nc #{get v nothing}\nd #{getenv NOTHING}\ne #{shell slow}\n",
    );
    let errors = read(&Fake::new(&[("megatest.config", &text)]), "x/y", &[]).unwrap_err();
    expect![[r#"
        error: this command could not be run
          --> megatest.config:11:1
        11 | e #{shell slow}
           | ^^^^^^^^^^^^^^^
          caused by: it took longer than 60 seconds
    "#]]
    .assert_eq(&errors);
    let text = text.replace("e #{shell slow}\n", "");
    check_warnings(
        &[("megatest.config", &text)],
        expect![[r#"
            warning: this Scheme is not evaluated: `delete-file` with such values is not among what Muster knows of Scheme
             --> megatest.config:7:1
            7 | a #{scheme (delete-file "x")}
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: say the same with `#{shell …}`, or write the value
            warning: `#{shel …}` is not among Megatest's functions; it stays as it is
             --> megatest.config:8:1
            8 | b #{shel ls}
              | ^^^^^^^^^^^^
            hint: did you mean `shell`?
            warning: up to here `[v]` has no `nothing`
             --> megatest.config:9:1
            9 | c #{get v nothing}
              | ^^^^^^^^^^^^^^^^^^
            hint: Megatest makes `#f` of it, and so does Muster
            warning: the environment has no `NOTHING`
              --> megatest.config:10:1
            10 | d #{getenv NOTHING}
               | ^^^^^^^^^^^^^^^^^^^
            hint: Megatest makes `#f` of it, and so does Muster
        "#]],
    );
}

#[test]
fn variables_are_those_of_the_target_and_wildcards_go_over_what_was_before() {
    let area = area(&[
        ("megatest.config", &main("[v]\nfrom #{getenv LEVEL}\n")),
        (
            "runconfigs.config",
            "[default]\nLEVEL 0\nBASE b\n!SECRET s\nEMPTY\n[x/y]\nLEVEL 1\nWILD exact\nSEEN #{rget SECRET}\n[x/%]\nWILD wild\n\
             [%/%]\nBOTH 2\n[/^z/]\nOTHER 1\n[z/z]\nCOSTLY #{shell rm}\n[mydefault]\nNOT 1\n[x/yy]\nNOT 2\n[x/y]\nAFTER 9\n",
        ),
    ]);
    let all =
        ["LEVEL", "BASE", "SECRET", "!SECRET", "EMPTY", "WILD", "SEEN", "BOTH", "OTHER", "NOT", "AFTER"];
    let found: Vec<String> = all.iter().filter_map(|n| Some(format!("{n}={}", var(&area, n)?))).collect();
    assert_eq!(found, ["LEVEL=1", "BASE=b", "EMPTY=", "WILD=wild", "SEEN=s", "BOTH=2", "AFTER=9"]);
    // The main file is read again with the target's variables.
    let section = area.main.iter().find(|s| s.name == "v").unwrap();
    assert_eq!(section.values[0].value, "1");
    let shown = area.loaded.show();
    let wild = shown.iter().find(|s| s.path == "env.WILD").unwrap();
    assert_eq!((wild.value.as_str(), wild.origin.as_str()), ("\"wild\"", "runconfigs.config:11"));
    expect![[r#"
        warning: to Megatest only the first `%` of a section's name is a wildcard
          --> runconfigs.config:12:1
        12 | [%/%]
           | ^^^^^
        hint: to Muster each is
    "#]]
    .assert_eq(&warnings(&area));
}

#[test]
fn an_unknown_target_has_what_is_for_all_and_the_sections_can_be_listed() {
    let files = [
        ("megatest.config", main("")),
        ("runconfigs.config", "[default]\nA 1\n[x/y]\nA 2\n[%/z]\nB #{shell rm}\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (*p, t.as_str())).collect();
    let world = Fake::new(&files);
    let other = read(&world, "p/q", &[]).unwrap();
    assert_eq!(var(&other, "A"), Some("1"));
    assert_eq!(var(&other, "B"), None);
    assert_eq!(targets("/area", &BTreeMap::new(), &world).unwrap(), ["default", "x/y", "%/z"]);
    assert_eq!(*world.ran.borrow(), Vec::<String>::new());
}

#[test]
fn a_target_must_fit_the_keys() {
    let files = [("megatest.config", main(""))];
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (*p, t.as_str())).collect();
    for target in ["", "x", "x/y/z", "x/.."] {
        assert!(read(&Fake::new(&files), target, &[]).is_err(), "{target}");
    }
    expect![[r#"
        error: this area needs a target: OS/FS
         --> megatest.config:1:1
        1 | [fields]
          | ^^^^^^^^
        hint: `--target OS/FS`; `[…]` in runconfigs.config are those there are
    "#]]
    .assert_eq(&read(&Fake::new(&files), "", &[]).unwrap_err());
}

#[test]
fn what_nobody_reads_is_told_with_the_nearest_that_is() {
    let text = main("launch_delay 1\n[Disks]\nd /d\n[tests-paths]\np /nowhere\n[include missing.config]\n");
    check_warnings(
        &[
            ("megatest.config", &text),
            (
                "tests/a/testconfig",
                "[ezsteps]\na true\n[requirements]\nruntimlim 5m\nwaiton a b nothing\nmode toplevl\n[requirements]\npriority high\n",
            ),
            ("tests/b/testconfig", "[requirement]\nwaiton a\n"),
        ],
        expect![[r#"
            warning: `launch_delay` in `[setup]` is not understood, by Megatest neither
             --> megatest.config:6:1
            6 | launch_delay 1
              | ^^^^^^^^^^^^^^
            hint: did you mean `launch-delay`?
            warning: `[Disks]` is a section of your own
             --> megatest.config:7:1
            7 | [Disks]
              | ^^^^^^^
            hint: did you mean `[disks]`?
            warning: `/nowhere` cannot be read, so no test is found there
              --> megatest.config:10:1
            10 | p /nowhere
               | ^^^^^^^^^^
              caused by: entity not found
            warning: `missing.config` cannot be read, so it is left out
              --> megatest.config:11:1
            11 | [include missing.config]
               | ^^^^^^^^^^^^^^^^^^^^^^^^
              caused by: entity not found
            warning: `runtimlim` in `[requirements]` is not understood, by Megatest neither
             --> tests/a/testconfig:4:1
            4 | runtimlim 5m
              | ^^^^^^^^^^^^
            hint: did you mean `runtimelim`?
            warning: `a` waits for itself; this is left out
             --> tests/a/testconfig:5:1
            5 | waiton a b nothing
              | ^^^^^^^^^^^^^^^^^^
            warning: unrecognised waiton testname `nothing`; it is left out
             --> tests/a/testconfig:5:1
            5 | waiton a b nothing
              | ^^^^^^^^^^^^^^^^^^
            warning: Megatest knows no mode `toplevl`
             --> tests/a/testconfig:6:1
            6 | mode toplevl
              | ^^^^^^^^^^^^
            hint: did you mean `toplevel`?
            warning: `high` is no number
             --> tests/a/testconfig:8:1
            8 | priority high
              | ^^^^^^^^^^^^^
            warning: `[requirement]` is a section of your own
             --> tests/b/testconfig:1:1
            1 | [requirement]
              | ^^^^^^^^^^^^^
            hint: did you mean `[requirements]`?
            warning: the test `b` does nothing, so it passes
             --> tests/b/testconfig:1:1
            1 | [requirement]
              | ^
            hint: steps stand in `[ezsteps]`, a script in `runscript` of `[setup]`
        "#]],
    );
}

#[test]
fn includes_carry_the_section_on_and_find_files_beside_themselves() {
    let area = area(&[
        ("megatest.config", &main("[v]\na 1\n[include more/v.config]\nd 4\n")),
        ("more/v.config", "b 2\n[include #{get v a}.config]\n"),
        ("more/1.config", "c 3\n"),
        ("tests/t/testconfig", "[ezsteps]\na true\n[include ../../more/req.config]\n"),
        ("more/req.config", "[requirements]\npriority 7\n"),
    ]);
    let section = area.main.iter().find(|s| s.name == "v").unwrap();
    assert_eq!(section.values.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(section.values[2].origin, "more/1.config:1");
    assert_eq!(test(&area, "t").priority, 7);
    assert!(area.files.contains(&"more/req.config".to_owned()));
}

#[test]
fn circles_and_floods_of_includes_end() {
    let circle = [
        ("megatest.config", main("[include a]\n")),
        ("a", "[include b]\n".to_owned()),
        ("b", "[include ./a]\n".to_owned()),
    ];
    let circle: Vec<(&str, &str)> = circle.iter().map(|(p, t)| (*p, t.as_str())).collect();
    let errors = read(&Fake::new(&circle), "x/y", &[]).unwrap_err();
    assert!(errors.contains("`a` includes itself") && errors.contains("megatest.config → a → b"), "{errors}");
    // Each file includes the next twice: without a limit this is 2^17 files.
    let mut files: Vec<(String, String)> = vec![("megatest.config".to_owned(), main("[include f0]\n"))];
    for n in 0..20 {
        files.push((format!("f{n}"), format!("[include f{}]\n[include f{}]\n", n + 1, n + 1)));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    assert!(read(&Fake::new(&files), "x/y", &[]).unwrap_err().contains("too"));
    let many = "#{getenv USER}".repeat(300);
    let long = main(&format!("[v]\na {many}\n"));
    assert!(read(&Fake::new(&[("megatest.config", &long)]), "x/y", &[]).unwrap_err().contains("too many"));
    let line = main(&format!("[v]\na {}\n", "x".repeat(2 << 20)));
    assert!(read(&Fake::new(&[("megatest.config", &line)]), "x/y", &[]).unwrap_err().contains("longer than"));
}

#[test]
fn rget_in_a_testconfig_takes_the_value_of_runconfigs() {
    let area = area(&[
        ("megatest.config", &main("")),
        ("runconfigs.config", "[x/y]\nPREQS a\n"),
        ("tests/a/testconfig", "[ezsteps]\na true\n"),
        ("tests/b/testconfig", "[ezsteps]\na true\n[requirements]\nwaiton #{rget PREQS}\n"),
    ]);
    assert_eq!(test(&area, "b").after[0].test, "a");
    assert!(warnings(&area).contains("Megatest finds nothing by `rget` outside of runconfigs"));
}

#[test]
fn modes_and_item_maps_become_what_tests_come_after() {
    let area = area(&[
        ("megatest.config", &main("")),
        ("tests/a/testconfig", "[ezsteps]\ns true\n[items]\nI 1 2\n"),
        ("tests/plain/testconfig", "[ezsteps]\ns true\n"),
        (
            "tests/b/testconfig",
            "[ezsteps]\ns true\n[items]\nI x/1 x/2\n[requirements]\nwaiton a plain\nmode itemwait exclusive\nitemmap .*/\n  ^0$ $1\n",
        ),
        ("tests/c/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton a\nmode itemmatch\nwaitor plain\n"),
    ]);
    let b = test(&area, "b");
    let AfterMode::MatchingItem { map } = &b.after[0].mode else { panic!("{b:?}") };
    let rules: Vec<(&str, &str)> = map.iter().map(|m| (m.pattern.as_str(), m.replacement.as_str())).collect();
    assert_eq!(rules, [(".*/", ""), ("^0$", "$$1")]);
    assert_eq!(b.after[1].mode, AfterMode::Passed, "there are no items to match");
    assert_eq!((b.after[2].test.as_str(), &b.after[2].mode), ("b", &AfterMode::Exclusive));
    assert_eq!(test(&area, "c").after[0].mode, AfterMode::Passed, "it has no items itself");
    // `waitor` pulls in and does not order.
    assert_eq!(planned(&area, "c"), ["a/1", "a/2", "c/", "plain/"]);
    assert_eq!(planned(&area, "b/x/2"), ["a/2", "b/x/2", "plain/"]);
}

#[test]
fn a_pattern_for_one_item_pulls_in_the_mapped_items_only() {
    let mut files = vec![("megatest.config".to_owned(), main(""))];
    for n in 1..=7 {
        let after = if n == 1 { String::new() } else { format!("waiton seq{}\n", n - 1) };
        files.push((
            format!("tests/seq{n}/testconfig"),
            format!(
                "[ezsteps]\ns true\n[items]\nI item.1 item.2 item.3\n[requirements]\n{after}mode itemwait\n"
            ),
        ));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let chain = area(&files);
    let one: Vec<String> = (1..=7).map(|n| format!("seq{n}/item.1")).collect();
    assert_eq!(planned(&chain, "seq7/item.1"), one);
    // The worked example of the manual: D/1/res needs C/1/aa, which needs A/aa/1.
    let maps = area(&[
        ("megatest.config", &main("")),
        ("tests/A/testconfig", "[ezsteps]\ns true\n[items]\nP aa bb\nQ 1 2\n"),
        (
            "tests/C/testconfig",
            "[ezsteps]\ns true\n[items]\nQ 1 2\nP aa bb\n[requirements]\nwaiton A\nmode itemwait\n[itemmap]\nA ^([^/]+)/([^/]+)$ \\2/\\1\n",
        ),
        (
            "tests/D/testconfig",
            "[ezsteps]\ns true\n[items]\nQ 1 2\nP res\n[requirements]\nwaiton C\nmode itemmatch\n[itemmap]\nC res aa\n",
        ),
    ]);
    assert_eq!(planned(&maps, "D/1/res"), ["A/aa/1", "C/1/aa", "D/1/res"]);
}

#[test]
fn lazy_items_are_asked_for_when_the_test_may_start() {
    let area = area(&[
        ("megatest.config", &main("")),
        (
            "tests/t/testconfig",
            "[ezsteps]\ns true\n[items]\nA [system ls $MT_RUNPATH]\nB 1 2\n[itemstable]\nC x y\n[requirements]\nwaiton u\n",
        ),
        ("tests/u/testconfig", "[ezsteps]\ns true\n[items]\n"),
        (
            "tests/v/testconfig",
            "[ezsteps]\ns true\n[items]\nA [system ls]\n[requirements]\nwaiton t\nmode itemwait\n",
        ),
    ]);
    let t = test(&area, "t");
    let Kind::Steps { items: Items::Command(_), .. } = &t.kind else { panic!("{t:?}") };
    let items = ticket(t).items.unwrap();
    assert_eq!((items.product.len(), items.table.len()), (2, 1));
    assert_eq!(planned(&area, "t"), ["t/?", "u/"]);
    // What all items of `t` leave may make those of `v`, which then wait one by one.
    let modes: Vec<&AfterMode> = test(&area, "v").after.iter().map(|a| &a.mode).collect();
    assert_eq!(modes, [&AfterMode::Ended, &AfterMode::MatchingItem { map: Vec::new() }]);
    assert!(warnings(&area).contains("`[items]` is empty"));
}

#[test]
fn what_only_the_item_knows_is_left_to_its_shell() {
    let text = "[ezsteps]\ns run #{getenv FRUIT} #{shell echo #{getenv FRUIT}}\n[disks]\nd /disk/#{getenv FRUIT}\n[pre-launch-env-vars]\nJUICE of #{getenv FRUIT}\n[items]\nFRUIT apple\n";
    let area = area(&[("megatest.config", &main("")), ("tests/t/testconfig", text)]);
    let t = test(&area, "t");
    assert_eq!(ticket(t).disks, [("d".to_owned(), "/disk/${FRUIT}".to_owned())]);
    assert_eq!(ticket(t).overrides, [("JUICE".to_owned(), "of ${FRUIT}".to_owned())]);
    let Kind::Steps { steps, .. } = &t.kind else { panic!("{t:?}") };
    let command = format!("{:?}", steps[0].command.line);
    assert!(command.contains("run ${FRUIT} #{( shell ) echo ${FRUIT}}"), "{command}");
    assert!(warnings(&area).contains("this depends on the item"));
}

#[test]
fn the_native_file_says_the_same_and_the_rest_is_told() {
    let area = area(&[
        ("megatest.config", &main("max_concurrent_jobs 3\n[jobgroups]\ndb 2\n")),
        ("runconfigs.config", "[x/y]\nLEVEL ${A}2\n"),
        (
            "tests/a/testconfig",
            "[ezsteps]\none echo ${LEVEL} \"q\"\ntwo make\n[items]\nI 1 2\nJ x\n[test_meta]\ntags t\njobgroup db\n[skip]\nprevrunning x\n",
        ),
        (
            "tests/b/testconfig",
            "[setup]\nrunscript b.sh\n[items]\nJ x\nI 1 2\n[requirements]\nwaiton a\nmode itemwait exclusive\npriority 3\nruntimelim 90s\nitemmap (.*)/(.*) \\2/\\1\n",
        ),
    ]);
    let native = super::native(&area, &Fake::default());
    let target = ["x".to_owned(), "y".to_owned()];
    let files = |_: &str| Err(io::ErrorKind::NotFound.into());
    let context = LoadContext {
        area_name: "area",
        target: &target,
        process_env: &BTreeMap::new(),
        facts: &Facts::default(),
        files: &files,
    };
    let layer = Layer { name: "muster.toml", text: &native.text, kind: LayerKind::Project };
    let read = crate::area::load(&[layer], &context).unwrap_or_else(|e| panic!("{}\n{}", e[0], native.text));
    let (own, theirs) = (&read.area, &area.loaded.area);
    assert_eq!((&own.name, &own.target), (&theirs.name, &theirs.target));
    // What all runs share is said in Megatest's file alone.
    assert_eq!(theirs.limits.jobs_of_all_runs, Some(3));
    let mut limits = theirs.limits.clone();
    limits.jobs_of_all_runs = None;
    assert_eq!(own.limits, limits);
    assert!(own.env.contains(&("LEVEL".to_owned(), "2".to_owned())), "{:?}", own.env);
    for (own, theirs) in own.tests.iter().zip(&theirs.tests) {
        assert_eq!(
            (&own.name, &own.after, own.priority, &own.tags),
            (&theirs.name, &theirs.after, theirs.priority, &theirs.tags)
        );
        assert_eq!((own.limits.timeout, &own.needs.groups), (theirs.limits.timeout, &theirs.needs.groups));
        let (Kind::Steps { steps, items }, Kind::Steps { steps: old, items: old_items }) =
            (&own.kind, &theirs.kind)
        else {
            panic!("{own:?}")
        };
        assert_eq!(items, old_items);
        assert_eq!(steps.len(), old.len());
    }
    assert_eq!(own.tests[0].dir, "tests/a");
    assert!(native.left_out.iter().any(|l| l == "of `a`: `[skip]`: prevrunning"), "{:?}", native.left_out);
}

#[test]
fn flags_hold_over_the_area_and_say_so() {
    let layers = [
        Layer { name: "--jobs", text: "limits.jobs = 9", kind: LayerKind::Flag },
        Layer { name: "--retries", text: "override.retries = 4", kind: LayerKind::Flag },
        Layer { name: "--set", text: "env.LEVEL = '3'", kind: LayerKind::Flag },
    ];
    let text = main("max_concurrent_jobs 2\n");
    let world = Fake::new(&[("megatest.config", &text), ("tests/t/testconfig", "[ezsteps]\ns true\n")]);
    let area = read(&world, "x/y", &layers).unwrap();
    assert_eq!(area.loaded.area.limits.jobs, Some(9));
    assert_eq!(test(&area, "t").retries.count, 4);
    assert_eq!(var(&area, "LEVEL"), Some("3"));
    let shown = area.loaded.show();
    let origin = |path: &str| shown.iter().find(|s| s.path == path).map(|s| s.origin.clone()).unwrap();
    assert_eq!(
        (origin("limits.jobs"), origin("test.t.retries")),
        ("--jobs".to_owned(), "--retries".to_owned())
    );
    assert_eq!(origin("test.t.steps.s"), "tests/t/testconfig:1");
}

proptest! {
    #[test]
    fn what_is_written_as_a_table_is_read_back(
        entries in proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_.-]{0,8}", "[!-~&&[^#{}\\\\]]([ -~&&[^#{}\\\\]]{0,20}[!-~&&[^#{}\\\\]])?", 1..12)
    ) {
        let lines: String = entries.iter().filter(|(_, v)| !v.starts_with('[')).map(|(k, v)| format!("{k} {v}\n")).collect();
        let text = main(&format!("[own]\n{lines}"));
        let area = area(&[("megatest.config", &text)]);
        let found: BTreeMap<String, String> = area
            .main
            .iter()
            .filter(|s| s.name == "own")
            .flat_map(|s| s.values.iter().map(|v| (v.path.clone(), v.value.clone())))
            .collect();
        let written: BTreeMap<String, String> = entries.into_iter().filter(|(_, v)| !v.starts_with('[')).collect();
        prop_assert_eq!(found, written);
    }

    #[test]
    fn no_text_is_too_strange(main_text in "([\\[\\]#{}%/a-z \\\\\n]{0,12}|\\[fields\\]\n|k v\n|\\[x/y\\]\n|#\\{get a b\\}|#\\{shell x\\}){0,12}") {
        let files = [("megatest.config", main_text.as_str()), ("runconfigs.config", &main_text), ("tests/t/testconfig", &main_text)];
        drop(read(&Fake::new(&files), "x/y", &[]));
        drop(read(&Fake::new(&files), "", &[]));
    }
}
