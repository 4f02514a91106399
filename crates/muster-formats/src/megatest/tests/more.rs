//! Sub-runs, waivers, copy commands, odd files, and what an import names.

use super::super::{native, outline};
use super::*;
use crate::megatest::ticket::SubRun;

const STEP: &str = "[ezsteps]\ns true\n";

#[test]
fn a_mark_at_the_beginning_of_a_file_is_no_part_of_it() {
    let text = format!("\u{feff}{}", main("[include more.config]\n"));
    let area = area(&[
        ("megatest.config", &text),
        ("more.config", "\u{feff}[v]\nk 1\n"),
        ("tests/t/testconfig", "\u{feff}[ezsteps]\ns true\n"),
    ]);
    assert_eq!(warnings(&area), "");
    assert_eq!(area.loaded.area.target[0].0, "OS");
    assert!(area.main.iter().any(|s| s.name == "v"));
    assert_eq!(test(&area, "t").name, "t");
}

#[test]
fn a_value_that_a_shell_cannot_read_is_told_with_its_place() {
    let files = [("megatest.config", main("[env-override]\nA ok\nB unclosed $(\n"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (*p, t.as_str())).collect();
    struct Failing(Fake);
    impl World for Failing {
        fn text(&self, path: &str) -> io::Result<String> {
            self.0.text(path)
        }
        fn names(&self, dir: &str) -> io::Result<Vec<String>> {
            self.0.names(dir)
        }
        fn shell(&self, _: &str, _: &str, _: &BTreeMap<String, String>) -> Result<Printed, NotRun> {
            Ok(Printed { status: 2, text: String::new() })
        }
        fn make_dir(&self, path: &str) -> io::Result<()> {
            self.0.make_dir(path)
        }
        fn cores(&self) -> u32 {
            1
        }
        fn host_name(&self) -> String {
            String::new()
        }
    }
    let area = read(&Failing(Fake::new(&files)), "x/y", &[]).unwrap();
    expect![[r#"
        warning: a shell that reads this value ends with exit code 2
         --> megatest.config:8:1
        8 | B unclosed $(
          | ^^^^^^^^^^^^^
        hint: what is exported goes through a shell's `echo`: `\$`, `\(` and the like stand for themselves
    "#]]
    .assert_eq(&warnings(&area));
    assert_eq!(var(&area, "B"), Some(""));
}

#[test]
fn tests_that_wait_for_each_other_are_told_with_the_line() {
    let waits = |names: &str| format!("{STEP}[requirements]\nwaiton {names}\n");
    let (a, b, c, d) = (waits("b"), waits("plain c"), waits("a"), waits("a"));
    check_warnings(
        &[
            ("megatest.config", &main("")),
            ("tests/a/testconfig", &a),
            ("tests/b/testconfig", &b),
            ("tests/c/testconfig", &c),
            ("tests/d/testconfig", &d),
            ("tests/plain/testconfig", STEP),
        ],
        expect![[r#"
            warning: these tests wait for each other: a → b → c → a
             --> tests/a/testconfig:4:1
            4 | waiton b
              | ^^^^^^^^
            hint: none of them can ever start; a run without them can be planned
        "#]],
    );
}

#[test]
fn an_area_can_be_looked_at_without_a_target() {
    let text = main("[disks]\nd #{mtrah runs}\n");
    let world = Fake::new(&[
        ("megatest.config", &text),
        ("tests/b/testconfig", STEP),
        ("tests/a/testconfig", STEP),
        ("tests/nothing/readme", ""),
    ]);
    let seen = outline("/area", &BTreeMap::new(), &world).unwrap();
    assert_eq!(seen.keys, ["OS", "FS"]);
    assert_eq!(seen.disks, [("d".to_owned(), "/area/runs".to_owned())]);
    assert_eq!(seen.tests, ["a", "b"]);
    let without = main("");
    let bare = Fake::new(&[("megatest.config", &without)]);
    assert_eq!(outline("/area", &BTreeMap::new(), &bare).unwrap().disks[0].1, "/area/runs");
}

#[test]
fn items_above_others_are_told_their_directory() {
    let text = format!("{STEP}[items]\nI a a/b c\n");
    let area = area(&[("megatest.config", &main("")), ("tests/t/testconfig", &text)]);
    let Kind::Steps { items: Items::Listed(items), .. } = &test(&area, "t").kind else { panic!() };
    let vars: Vec<usize> = items.iter().map(|i| i.vars.len()).collect();
    assert_eq!(vars, [2, 1, 1]);
    assert_eq!(items[0].vars[1], ("MT_ITEM_DIR".to_owned(), "a.item".to_owned()));
}

#[test]
fn a_sub_run_waivers_and_copy_commands_are_in_the_ticket() {
    let text = main(
        "waivercommentpatt ^bug\ntestcopycmd cp -r TEST_SRC_PATH/. TEST_TARG_PATH\n[testcopy]\nfast% ln -s TEST_SRC_PATH/* TEST_TARG_PATH\n\
         [testrollup]\nt summary.sh all\n",
    );
    let t = "[subrun]\nrun-area $MT_TEST_RUN_DIR/sub\ntarget a/b\ntest-patt x,y/%\ncontour quick\nlogpro ;;\n  (expect:error in \"LogFileBody\" = 0 \"e\" #/err/)\n\
             [ezsteps]\nfirst true\n[waivers]\nbug_7 diff *.txt\nbug_8 nothing *.txt\n";
    let area =
        area(&[("megatest.config", &text), ("tests/t/testconfig", t), ("tests/fast1/testconfig", STEP)]);
    let (t, fast) = (ticket(test(&area, "t")), ticket(test(&area, "fast1")));
    assert_eq!(
        t.subrun,
        Some(SubRun {
            area: "$MT_TEST_RUN_DIR/sub".to_owned(),
            target: "a/b".to_owned(),
            testpatt: "x,y/%".to_owned(),
            contour: "quick".to_owned(),
            ..SubRun::default()
        })
    );
    assert_eq!((t.first_step.as_str(), t.last_step.as_str()), ("first", "subrun"));
    assert!(t.logpro.iter().any(|(step, rules)| step == "subrun" && rules.contains("expect:error")));
    assert_eq!(t.waivers, [("bug_7".to_owned(), "diff *.txt".to_owned())]);
    assert_eq!(t.waiver_comment.as_deref(), Some("^bug"));
    assert_eq!(t.copy.as_deref(), Some("cp -r TEST_SRC_PATH/. TEST_TARG_PATH"));
    assert_eq!(fast.copy.as_deref(), Some("ln -s TEST_SRC_PATH/* TEST_TARG_PATH"));
    assert_eq!((t.rollup.as_deref(), fast.rollup.as_deref()), (Some("summary.sh all"), None));
    let said = warnings(&area);
    assert!(said.contains("`[waiver_rules]` has no `nothing`"), "{said}");
    let twice = [
        ("megatest.config", text.as_str()),
        ("tests/twice/testconfig", "[ezsteps]\nsubrun true\n[subrun]\nrun-area x\n"),
    ];
    let errors = read(&Fake::new(&twice), "x/y", &[]).unwrap_err();
    assert!(errors.contains("`subrun` is what the step of that name is called already"), "{errors}");
}

/// Every section and key that Megatest reads is in this area, and each is either in the file that the import writes or
/// named among what it leaves out.
#[test]
fn an_import_names_all_that_it_leaves_out() {
    let text = "[fields]\nOS TEXT\nFS TEXT\n[setup]\nlinktree /lt\narea-name net\nmax_concurrent_jobs 3\nreruns 1\nruntimelim 2h\n\
         waivercommentpatt ^bug\ntestcopycmd cp\nblacklistvars SECRET\nminspace 7\nallow-auto-rerun X\n\
         [disks]\nd0 /disk\n[jobtools]\nlauncher nbfake\nmaxload 2\n[jobgroups]\ndb 2\n[env-override]\nA 1\nB #{shell date}\n\
         [validvalues]\ncleanrerun-states STUCK\n[triggers]\n/FAIL mailme\n[testrollup]\nfull sum.sh\n[testcopy]\n% cp\n\
         [runs]\npre-hook before.sh\npost-hook after.sh\n[archive]\nbup bup\n[host-types]\ngeneral nbfake\n[server]\nport 1\n";
    let full = "[setup]\nrunscript unit.sh\n[ezsteps]\nplain make\nown own.sh 1\ncalls megatest -step x :state start :status 0\ncomputed echo #{shell date}\n\
         [items]\nI 1 2\n[itemstable]\nI 3\n[itemmap]\nother x y\n[requirements]\nwaiton other\nmode itemwait\nitemmap a b\npriority 4\nruntimelim 5m\nwaitor other\ndiskspace 1G\n\
         [skip]\nfileexists x\n[disks]\nd1 /disk1\n[waivers]\nbug_7 diff *.txt\n[waiver_rules]\ncmp cmp %file1% %file2%\n[triggers]\nCOMPLETED/ t.sh\n\
         [pre-launch-env-vars]\nE 1\nF #{getenv I}\n[pre-launch-env-overrides]\nG 2\n[subrun]\nrun-area /other\n\
         [test_meta]\nauthor ana\nowner bob\ndescription all of it\ntags one,two\njobgroup db\nreviewed 2019\n[logpro]\nplain ;; x\n";
    let world = Fake::new(&[
        ("megatest.config", text),
        ("runconfigs.config", "[default]\nTESTPATT full\n!HIDDEN 1\nLEVEL 2\n[x/y]\nLEVEL 3\n"),
        ("tests/full/testconfig", full),
        ("tests/full/unit.sh", "#!/bin/sh\n# calls\nmegatest -test-status :state COMPLETED :status PASS\n"),
        ("tests/full/own.sh", "#!/bin/sh\necho megatester\n"),
        ("tests/other/testconfig", "[ezsteps]\ns true\n[items]\nI [system ls]\n"),
    ]);
    let area = read(&Looking(&world), "x/y", &[]).unwrap();
    let made = native(&area, &world);
    let said = made.left_out.join("\n");
    let carried = [
        "name = \"net\"",
        "keys = [\"OS\", \"FS\"]",
        "jobs = 3",
        "load = 2.0",
        "db = 2",
        "A = \"1\"",
        "LEVEL = \"3\"",
        "owner = \"bob\"",
        "description = \"all of it\"",
        "tags = [\"one\", \"two\"]",
        "group = [\"db\"]",
        "priority = 4",
        "timeout = \"5m\"",
        "retries = 1",
        "E = \"1\"",
        "make",
        "PATH=\\\"$PATH:.\\\"; unit.sh",
        "PATH=\\\"$PATH:.\\\"; own.sh 1",
    ];
    // The writer quotes as it likes.
    let flat = made.text.replace("'", "\"");
    for part in carried {
        let plain = part.replace("\\\"", "\"");
        assert!(flat.contains(part) || flat.contains(&plain), "{part} is not in\n{}", made.text);
    }
    let named = [
        "linktree",
        "waivercommentpatt",
        "testcopycmd",
        "blacklistvars",
        "minspace",
        "allow-auto-rerun",
        "`[disks]`: d0",
        "`[jobtools]`: launcher",
        "`[validvalues]`: cleanrerun-states",
        "megatest.config: `[triggers]`: /FAIL",
        "`[testrollup]`: full",
        "`[testcopy]`: %",
        "pre-hook of runs: `before.sh`",
        "post-hook of runs: `after.sh`",
        "`[archive]`: bup",
        "`[host-types]`: general",
        "`[server]`: port",
        "the value of `B`, which is computed when it is read",
        "`!HIDDEN` of runconfigs.config",
        "TESTPATT selects nothing: what ran was `full`",
        "variables are those of the target `x/y`",
        "of `full`: `[requirements]`: waitor, diskspace",
        "of `full`: `[skip]`: fileexists",
        "of `full`: `[disks]`: d1",
        "of `full`: `[waivers]`: bug_7",
        "of `full`: `[waiver_rules]`: cmp",
        "of `full`: `[triggers]`: COMPLETED/",
        "of `full`: `[pre-launch-env-overrides]`: G",
        "of `full`: `[subrun]`: run-area",
        "of `full`: `[test_meta]`: reviewed",
        "of `full`: `[test_meta]`: author",
        "of `full`: `[logpro]`: plain",
        "of `full`: the value of `F`, which is made of the item's variables",
        "of `full`: its step `calls` calls `megatest`",
        "of `full`: what its step `computed` runs is computed",
        "of `full`: its file `unit.sh` calls `megatest`",
        "the items of `other` are made by commands",
    ];
    for part in named {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(!said.contains("own.sh` calls"), "{said}");
    // Whatever section Megatest knows and this area has, nothing of it is left without a word.
    for section in
        area.main.iter().filter(|s| crate::megatest::known::MAIN_SECTIONS.contains(&s.name.as_str()))
    {
        for key in section.values.iter().map(|v| v.path.as_str()) {
            let is_told = made.text.contains(key) || said.contains(key);
            let is_known = [
                "max_concurrent_jobs",
                "area-name",
                "reruns",
                "runtimelim",
                "maxload",
                "pre-hook",
                "post-hook",
            ];
            assert!(is_told || is_known.contains(&key), "[{}] {key}", section.name);
        }
    }
}

#[test]
fn disks_have_to_have_the_space_that_a_test_asks_for() {
    let t = |value: &str| format!("{STEP}[requirements]\ndiskspace {value}\n");
    let area = area(&[
        ("megatest.config", &main("minspace 100\n")),
        ("tests/own/testconfig", &t("2M")),
        ("tests/others/testconfig", &t("/tmp>5G,/path/two>200M")),
        ("tests/little/testconfig", &t("1K much")),
    ]);
    let space = |name: &str| ticket(test(&area, name)).min_space;
    assert_eq!((space("own"), space("others"), space("little")), (2048, 100, 100));
    let disks = &test(&area, "others").needs.disks;
    assert_eq!((disks["/tmp"], disks["/path/two"]), (5 << 30, 200 << 20));
    let said = warnings(&area);
    assert!(said.contains("`much` is no free space"), "{said}");
}
