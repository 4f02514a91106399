//! Archives of runs: what is put there, taken away, brought back and found damaged.

use crate::env::TestEnv;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn area(env: &TestEnv) {
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.loud]\nrun = \"seq 60000\"\n\
         [test.small]\nrun = \"seq 500\"\n[test.bad]\nrun = '''\nmkdir -p $MUSTER_WORK_DIR/deep\nseq 100000 > $MUSTER_WORK_DIR/same\necho kept > $MUSTER_WORK_DIR/deep/file.txt\nseq 9000; exit 1\n'''\n",
    );
}

fn says(env: &TestEnv, args: &[&str]) -> String {
    let said = env.command(args).output().unwrap();
    assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

fn json(env: &TestEnv, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&says(env, &[args, &["--output", "json"]].concat())).unwrap()
}

/// Every file below a directory, but for a run's lock.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().unwrap() != "lock" {
                all.insert(path.strip_prefix(dir).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

#[test]
fn the_files_of_runs_are_archived_once_taken_away_and_brought_back() {
    let env = TestEnv::new();
    area(&env);
    for _ in 0..2 {
        assert_eq!(env.command(&["run", "--progress", "quiet"]).output().unwrap().status.code(), Some(1));
    }
    let own = env.area().join(".muster/runs/1");
    let before = files(&own);
    assert!(before.keys().any(|p| p.ends_with("deep/file.txt")) && before.len() >= 2, "{:?}", before.keys());
    let log = says(&env, &["log", "1/loud"]);
    let small = says(&env, &["log", "1/small"]);

    let saved = json(&env, &["archive", "save", "1", "2"]);
    let written = |nth: usize| saved[nth]["bytes_written"].as_u64().unwrap();
    assert!(written(1) * 2 < written(0), "what both have is kept once: {saved}");
    assert_eq!(files(&own), before, "saving takes nothing away");

    says(&env, &["runs", "lock", "1"]);
    assert_eq!(env.command(&["archive", "save", "1", "--remove"]).output().unwrap().status.code(), Some(2));
    assert_eq!(files(&own), before, "a locked run is left as it is");
    says(&env, &["runs", "unlock", "1"]);
    // All is in the archive already: no second one is made, and this one is what files are taken away by.
    let would = says(&env, &["archive", "save", "1", "--remove", "--dry-run"]);
    assert!(
        would.contains("0 new to the archive") && would.contains("file.txt` would be removed"),
        "{would}"
    );
    assert!(!would.contains("output.seg"), "{would}");
    assert_eq!(files(&own), before);
    // As if a process had been killed that took files out.
    env.write(".muster/.muster-archive-left/work/files/0/0", "half");
    let removed = says(&env, &["archive", "save", "1", "--remove"]);
    assert!(!env.area().join(".muster/.muster-archive-left").exists());
    assert!(removed.contains("removed from where they were"), "{removed}");
    let left = |path: &Path| path == Path::new("output.seg");
    assert!(files(&own).keys().all(|p| left(p)), "{:?}", files(&own).keys());
    assert!(own.join("output.seg").exists(), "a run that is gone on with adds to it");
    let gone = env.command(&["log", "1/loud"]).output().unwrap();
    assert!(!gone.status.success());
    assert_eq!(says(&env, &["log", "1/small"]), small);
    // Every night again, which must hide nothing; nor does what came since.
    says(&env, &["archive", "save", "1", "--remove"]);
    env.write(".muster/runs/1/late", "late");
    let refused = env.command(&["archive", "save", "1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("restore it first"));
    std::fs::remove_file(own.join("late")).unwrap();
    let seg = std::fs::OpenOptions::new().append(true).open(own.join("output.seg")).unwrap();
    std::io::Write::write_all(&mut &seg, b"more").unwrap();
    let results = env.command(&["results", "1", "--output", "json"]).output().unwrap();
    assert_eq!(results.status.code(), Some(1), "the run failed, and its record is there");
    assert!(String::from_utf8(results.stdout).unwrap().contains("\"loud\""));

    let listed = json(&env, &["archive", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert!(says(&env, &["archive", "verify"]).lines().all(|l| l.contains("whole")));

    says(&env, &["archive", "get", "1", "*/file.txt", "--to", "got"]);
    let got = files(&env.area().join("got"));
    assert_eq!(got.values().collect::<Vec<_>>(), [b"kept\n"]);

    says(&env, &["archive", "restore", "1"]);
    let grown = files(&own);
    assert!(grown[Path::new("output.seg")].ends_with(b"more"), "it has come to have more, and keeps it");
    seg.set_len(before[Path::new("output.seg")].len() as u64).unwrap();
    assert_eq!(files(&own), before);
    assert_eq!(says(&env, &["log", "1/loud"]), log);
    // Once more changes nothing, and what was changed since is not written over.
    assert!(says(&env, &["archive", "restore", "1"]).contains("were there"));
    let changed = own.join(before.keys().find(|p| !left(p)).unwrap());
    std::fs::write(&changed, "mine").unwrap();
    let refused = env.command(&["archive", "restore", "1"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is in the way"));
    assert_eq!(std::fs::read(&changed).unwrap(), b"mine");
    assert!(says(&env, &["runs", "reduce", "1"]).contains("cold"), "both go together");
    says(&env, &["archive", "get", "1", "--to", "again"]);
    assert_eq!(files(&env.area().join("again")), before);
}

#[test]
fn a_damaged_archive_is_found_out_and_nothing_is_taken_from_it() {
    let env = TestEnv::new();
    area(&env);
    env.command(&["run", "--progress", "quiet"]).output().unwrap();
    let own = env.area().join(".muster/runs/1");
    says(&env, &["archive", "save", "1", "--archive", "kept"]);
    let packs = env.area().join("kept/packs");
    let mut packs = std::fs::read_dir(&packs).unwrap().map(|e| e.unwrap().path());
    let pack = packs.find(|path| path.extension().is_none()).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let found = env.command(&["archive", "verify", "--archive", "kept"]).output().unwrap();
    assert_eq!(found.status.code(), Some(3), "{}", String::from_utf8_lossy(&found.stdout));
    let before = files(&own);
    let refused = env.command(&["archive", "get", "1", "--to", "out", "--archive", "kept"]).output().unwrap();
    assert!(!refused.status.success());
    assert_eq!(files(&env.area().join("out")), BTreeMap::new());
    assert_eq!(files(&own), before);
}

#[test]
fn megatests_switch_archives_with_its_selectors() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write("megatest.config", "[fields]\nOS TEXT\n[setup]\nlinktree #{getenv MT_RUN_AREA_HOME}/lt\n[disks]\nd0 #{getenv MT_RUN_AREA_HOME}/disk\n");
    env.write("runconfigs.config", "[default]\n");
    for test in ["one", "two"] {
        env.write(&format!("tests/{test}/testconfig"), "[ezsteps]\nsay echo said > made.txt; seq 3000\n");
    }
    let megatest = |args: &[&str]| env.command(&[&["megatest"], args].concat()).output().unwrap();
    let ran = megatest(&["-run", "-target", "a", "-runname", "w1", "-testpatt", "%"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let made = env.area().join("disk/a/w1/one/made.txt");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "said\n");
    let selected = ["-target", "a", "-runname", "w%"];
    let archive = |what: &str| {
        let done = megatest(&[&["-archive", what], &selected[..]].concat());
        assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    archive("save-remove");
    assert!(!made.exists());
    archive("restore");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "said\n");
    // Of single tests: what is not theirs stays.
    let of = |what: &str, tests: &str| {
        megatest(&[&["-archive", what, "-testpatt", tests], &selected[..]].concat()).status.code()
    };
    let other = env.area().join("disk/a/w1/two/made.txt");
    assert_eq!((of("save-remove", "two"), made.exists(), other.exists()), (Some(0), true, false));
    assert_eq!((of("restore", "t%"), other.exists()), (Some(0), true));
    assert_eq!(of("restore", "none"), Some(2));
    archive("get");
    assert!(env.area().join("1/disk-1/one/made.txt").exists());
    let refused = megatest(&["-archive", "nonsense", "-runname", "w1"]);
    assert_eq!(refused.status.code(), Some(2));
}
