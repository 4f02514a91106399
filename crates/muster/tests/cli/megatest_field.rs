//! An area as they grow in ten years, in Megatest's own style, with what its documents and samples are known for; run
//! from end to end, and compared with what Megatest makes of each.

use crate::env::TestEnv;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// The files, by path; a name that ends with `.sh` or has no dot in `bin` is a program.
const FILES: &[(&str, &str)] = &[
    (
        "megatest.config",
        "# written in 2012, copied since\n\
         # was: #{shell touch $MT_RUN_AREA_HOME/ran-in-a-comment}\n\
         [fields]\nOS TEXT\nFS TEXT\nREL TEXT\n\n\
         [setup]\n# the tree of links\nlinktree #{mtrah }/links\nmax_concurrent_jobs 100000\nlaunch_delay 0.1\nruntimelim 1h 30m\nreruns 0\nwaivercommentpatt ^(HSD|bug)\n\n\
         [include config/#{getenv OS}.config]\n\
         [include not/there.config]\n\
         [jobtools]\nuseshell yes\nlauncher nbfake\nmaxload 100\n\n\
         [jobgroups]\nheavy 1\n\n\
         [tests-paths]\n1 #{get setup extra}\n\n\
         [disks]\ndisk0 #{rp runs/../runs}\n\n\
         [env-override]\nSPECIAL_ENV_VARS overwritten by $OS\nSUM #{scheme (+ 5 6 7)}\nBACKTICK `echo back`\n\n\
         [runs]\npre-hook echo before $MT_TARGET > hooks\npost-hook echo after >> hooks\n\n\
         [triggers]\n/FAIL #{mtrah bin/told.sh} failed\n\n\
         [testrollup]\nproduct cat */*/where > all.txt\n\n\
         [scriptinc bin/more.sh]\n",
    ),
    ("config/linux.config", "extra #{mtrah more-tests}\n[validvalues]\nstatus LOOKATME\n"),
    (
        "runconfigs.config",
        "[default]\nLISTED 1 2\nCOLOUR red\n!PRIVATE deep\nFROM_PRIVATE #{rget PRIVATE}\nDATE [system echo today]\n\n\
         [linux/nfs/none]\nCOLOUR blue\n\n\
         [linux/%/none]\nWILD from-wildcard\nCOLOUR green\n\n\
         [/^linux/]\nREGEX yes\n\n\
         [bsd/nfs/none]\nCOLOUR #{shell touch ran-for-another-target}\n\n\
         [DEFAULT]\nCOLOUR never\n\n\
         [default]\nREOPENED yes\nTESTPATT %\n",
    ),
    ("bin/more.sh", "#!/bin/sh\nprintf '[generated]\\nkey made by a script\\n'\n"),
    ("bin/told.sh", "#!/bin/sh\necho \"$1 $5 $6\" >> \"$MT_RUN_AREA_HOME/told\"\n"),
    // Steps, one with rules that make of an exit code what they like.
    (
        "tests/steps/testconfig",
        "[ezsteps]\n\
         fetch echo \"$COLOUR $WILD $REGEX $REOPENED $FROM_PRIVATE $DATE ${PRIVATE-unset}\"\n\
         check echo 'value is 12'; echo careful; exit 7\n\
         env echo \"$SPECIAL_ENV_VARS|$SUM|$BACKTICK|$HERE\"\n\n\
         [logpro]\ncheck ;; rules begin here\n\
        \x20 (expect:value in \"LogFileBody\" 10 5 \"about ten\" #/value is (\\d+)/)\n\
        \x20 (expect:warning in \"LogFileBody\" = 0 \"no worries\" #/careful/)\n\n\
         [pre-launch-env-vars]\nHERE in-$MT_TEST_NAME\n\n\
         [requirements]\nruntimlim 1m\n[requirements]\npriority 9\n\n\
         [test_meta]\nauthor matt\nowner bob\ndescription Steps, and a description \\\n  over lines\ntags first,quick\nreviewed 1/1/2011\n",
    ),
    // Items: a product and a table together, values with a slash.
    (
        "tests/product/testconfig",
        "[ezsteps]\nwhere echo \"$MT_ITEMPATH\" | tee where\n\n\
         [items]\nARCH arm/v7 x86\nMODE #{getenv LISTED}\n\n[itemstable]\nARCH t1 t2\nMODE 9\n\n[test_meta]\njobgroup heavy\n",
    ),
    // Item by item, with a map that turns the parts round.
    (
        "tests/mapped/testconfig",
        "[ezsteps]\nlook cat \"$MT_RUNPATH/product/$ARCH/$MODE/where\"\n\n\
         [items]\nMODE 1 2\nARCH x86\n\n\
         [requirements]\nwaiton product\nmode itemmatch\nitemmap (.*)/(.*) \\2/\\1\n",
    ),
    // Items out of the results of an earlier test.
    (
        "tests/lazy/testconfig",
        "[ezsteps]\nsay echo $FOUND\n[items]\nFOUND [system ls $MT_RUNPATH/product]\n[requirements]\nwaiton product\n",
    ),
    ("tests/noitems/testconfig", "[ezsteps]\ns true\n[items]\nNONE\n"),
    // A failure, what waits for it, and what runs all the same.
    (
        "tests/fails/testconfig",
        "[ezsteps]\nfirst true\nsecond echo 'error: broken'; exit 3\nthird touch never\n",
    ),
    ("tests/needs/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton fails unheard-of\n"),
    ("tests/needs_more/testconfig", "[ezsteps]\ns true\n[requirements]\nwaiton needs\n"),
    (
        "tests/summary/testconfig",
        "[ezsteps]\ns ls -R $MT_RUNPATH > all\n[requirements]\nwaiton fails product #{get more waits}\nmode toplevel\n[more]\nwaits steps\n",
    ),
    // Scripts that say what they are.
    ("tests/script/testconfig", "[setup]\nrunscript main.sh\n[requirements]\nwaiton\n"),
    (
        "tests/script/main.sh",
        "#!/bin/sh\nmegatest -step one :state start :status 0\n$MT_MEGATEST -step one :state end :status 0 -m ok\n\
         megatest -runstep two -logpro two.logpro cat data\n\
         megatest -set-values :category net :variable speed :value 1.0e2 :expected 99 :tol 2 :units MB\n\
         megatest -test-status :state COMPLETED :status AUTO\n",
    ),
    ("tests/script/two.logpro", "(expect:required in \"LogFileBody\" > 0 \"there\" #/line/)\n"),
    ("tests/script/data", "a line\n"),
    (
        "tests/auto_fails/testconfig",
        "[ezsteps]\ns printf 'a,b,5,1,1\\nc,d,1,1,0\\n' | megatest -load-test-data; megatest -test-status :state COMPLETED :status AUTO\n",
    ),
    (
        "tests/blocktestxz/testconfig",
        "[ezsteps]\ns megatest -test-status :state COMPLETED :status LOOKATME -m odd\n",
    ),
    ("tests/exit_codes/testconfig", "[setup]\nrunscript code.sh\n[items]\nCODE 0 2 3 5 6 9\n"),
    ("tests/exit_codes/code.sh", "#!/bin/sh\nexit $CODE\n"),
    ("tests/skipped/testconfig", "[ezsteps]\ns false\n[skip]\nfileexists #{mtrah }/megatest.config\n"),
    ("tests/slow/testconfig", "[ezsteps]\ns sleep 1000\n[requirements]\nruntimelim 1s\n"),
    (
        "tests/exclusive/testconfig",
        "[ezsteps]\ns mkdir $MT_RUN_AREA_HOME/alone && sleep 0.2 && rmdir $MT_RUN_AREA_HOME/alone\n[items]\nI 1 2 3\n[requirements]\nmode exclusive\n",
    ),
    (
        "tests/launch/testconfig",
        "[ezsteps]\ns echo $LATE; pwd\n[pre-launch-env-overrides]\nLATE of-$I\n[items]\nI x\n",
    ),
    ("tests/without_mt/testconfig", "[ezsteps]\ns {subrun=true} env\n"),
    // A whole area inside of a test's directory.
    (
        "tests/nested/testconfig",
        "[subrun]\nrun-area $MT_TEST_RUN_DIR/area\ntarget #{getenv OS}\nrun-name inner\n",
    ),
    (
        "tests/nested/area/megatest.config",
        "[fields]\nPLATFORM TEXT\n[setup]\nlinktree #{getenv MT_RUN_AREA_HOME}/lt\n",
    ),
    ("tests/nested/area/tests/leaf/testconfig", "[ezsteps]\ns echo $PLATFORM $MT_RUN_AREA_HOME\n"),
    ("more-tests/elsewhere/testconfig", "[ezsteps]\ns pwd\n"),
    ("more-tests/steps/testconfig", "[include ../../tests/steps/testconfig]\n"),
    ("tests/notes.txt", "no test\n"),
    ("tests/empty/readme", "no test either\n"),
];

fn area() -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    for (path, text) in FILES {
        env.write(path, text);
        if path.ends_with(".sh") {
            std::fs::set_permissions(env.area().join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    // A test that is a link to one elsewhere.
    symlink(env.area().join("more-tests/elsewhere"), env.area().join("tests/linked")).unwrap();
    env
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn listed(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("  Test: ")?.split_once(" State: ")?;
        let (state, rest) = rest.split_once(" Status: ")?;
        let status = rest.split(" Runtime:").next()?;
        Some((name.trim().to_owned(), format!("{}/{}", state.trim(), status.trim())))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn an_old_area_runs_from_end_to_end_as_megatest_runs_it() {
    let env = area();
    // Looking tells what is odd, and runs nothing.
    let said = env.command(&["config", "check", "-t", "linux/nfs/none"]).env("OS", "linux").output().unwrap();
    let said = env.tell(&said);
    for odd in [
        "Megatest runs this although it is in a comment",
        "`launch_delay` in `[setup]` is not understood, by Megatest neither",
        "`runtimlim` in `[requirements]` is not understood",
        "unrecognised waiton testname `unheard-of`",
        "`[DEFAULT]` is not `[default]`",
        "`not/there.config` cannot be read",
    ] {
        assert!(said.contains(odd), "{odd} is not in {said}");
    }
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(!env.area().join("hooks").exists());

    let run = ["megatest", "-run", "-target", "linux/nfs/none", "-runname", "w49.2a", "-testpatt", "%"];
    let ran = env.tell(&env.command(&run).env("OS", "linux").output().unwrap());
    assert!(ran.ends_with("--- exit 1\n"), "{ran}");
    for never in ["ran-in-a-comment", "ran-for-another-target"] {
        assert!(!env.area().join(never).exists(), "{never}");
    }
    let all = listed(&env.run(&["megatest", "-list-runs", "w49%"]));
    let expected = [
        ("steps", "COMPLETED/WARN"),
        ("product", "COMPLETED/PASS"),
        ("product(arm/v7/1)", "COMPLETED/PASS"),
        ("product(x86/2)", "COMPLETED/PASS"),
        ("product(t1/9)", "COMPLETED/PASS"),
        ("product(t2/-)", "COMPLETED/PASS"),
        ("mapped(1/x86)", "COMPLETED/PASS"),
        ("mapped(2/x86)", "COMPLETED/PASS"),
        ("lazy", "COMPLETED/PASS"),
        ("lazy(x86)", "COMPLETED/PASS"),
        ("lazy(t1)", "COMPLETED/PASS"),
        ("noitems", "NOT_STARTED/ZERO_ITEMS"),
        ("fails", "COMPLETED/FAIL"),
        ("needs", "COMPLETED/PREQ_FAIL"),
        ("needs_more", "COMPLETED/PREQ_FAIL"),
        ("summary", "COMPLETED/PASS"),
        ("script", "COMPLETED/PASS"),
        ("auto_fails", "COMPLETED/FAIL"),
        ("blocktestxz", "COMPLETED/LOOKATME"),
        ("exit_codes", "COMPLETED/ABORT"),
        ("exit_codes(0)", "COMPLETED/PASS"),
        ("exit_codes(2)", "COMPLETED/WARN"),
        ("exit_codes(3)", "COMPLETED/CHECK"),
        ("exit_codes(5)", "COMPLETED/ABORT"),
        ("exit_codes(6)", "COMPLETED/SKIP"),
        ("exit_codes(9)", "COMPLETED/FAIL"),
        ("skipped", "COMPLETED/SKIP"),
        ("slow", "COMPLETED/FAIL"),
        ("exclusive", "COMPLETED/PASS"),
        ("launch(x)", "COMPLETED/PASS"),
        ("without_mt", "COMPLETED/PASS"),
        ("nested", "COMPLETED/PASS"),
        ("elsewhere", "COMPLETED/PASS"),
        ("linked", "COMPLETED/PASS"),
    ];
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(test, status)| all.get(*test).map(String::as_str) != Some(status))
        .map(|(test, status)| format!("{test}: expected {status}, is {:?}", all.get(*test)))
        .collect();
    assert!(wrong.is_empty(), "{}\n{ran}", wrong.join("\n"));
    assert!(!all.contains_key("empty") && !all.contains_key("notes.txt"), "{all:?}");

    // Each value comes from where Megatest takes it.
    let at = |path: &str| read(&env, &format!("links/linux/nfs/none/w49.2a/{path}"));
    assert_eq!(at("steps/fetch.log"), "green from-wildcard yes yes deep today unset\n");
    assert_eq!(at("steps/env.log"), "overwritten by linux|18|back|in-steps\n");
    assert_eq!(at("product/arm/v7/2/where"), "arm/v7/2\n");
    assert_eq!(at("mapped/2/x86/look.log"), "x86/2\n");
    assert_eq!(at("launch/x/s.log").lines().next(), Some("of-x"));
    assert!(!at("without_mt/s.log").lines().any(|l| l.starts_with("MT_")), "{}", at("without_mt/s.log"));
    assert!(at("product/all.txt").contains("x86/1\n"));
    assert!(at("steps/check.html").contains("value is 12"));
    assert!(at("nested/area/lt/linux/inner/leaf/s.log").starts_with("linux "));
    assert!(!env.area().join("links/linux/nfs/none/w49.2a/fails/never").exists());
    assert_eq!(read(&env, "hooks"), "before linux/nfs/none\nafter\n");
    let told = read(&env, "told");
    for test in ["failed fails ", "failed slow ", "failed auto_fails ", "failed exit_codes 9"] {
        assert_eq!(told.lines().filter(|l| *l == test).count(), 1, "{test:?} in\n{told}");
    }
    // Values that the tests measured, and steps that scripts told of, are in Muster's own record.
    let why = env.run(&["why", "w49.2a/script"]);
    for part in ["runscript/one pass", "runscript/two pass", "net/speed = 100 MB"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
    let first = env.run(&["why", "w49.2a/needs_more"]);
    assert!(first.contains("needs"), "{first}");

    // What failed runs again, in the same run; what passed does not.
    env.write("tests/fails/testconfig", "[ezsteps]\nfirst true\n");
    let again = [
        "megatest",
        "-run",
        "-target",
        "linux/nfs/none",
        "-runname",
        "w49.2a",
        "-rerun-clean",
        "-testpatt",
        "fails,needs%",
    ];
    env.command(&again).env("OS", "linux").output().unwrap();
    let all = listed(&env.run(&["megatest", "-list-runs", "w49%"]));
    for test in ["fails", "needs", "needs_more"] {
        assert_eq!(all[test], "COMPLETED/PASS", "{all:?}");
    }
}
