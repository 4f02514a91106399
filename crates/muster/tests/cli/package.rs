//! `muster package`: from a folder to a place where tests find it, and what is told on the way.

use crate::env::TestEnv;
use std::fs;

/// Numbers that differ from build to build are not looked at.
fn without_digests(text: &str) -> String {
    let is_digest = |word: &&str| word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut text = text.to_owned();
    while let Some(digest) =
        text.split(|c: char| !c.is_ascii_alphanumeric()).find(is_digest).map(str::to_owned)
    {
        text = text.replace(&digest, "DIGEST");
    }
    text
}

#[test]
fn a_package_goes_from_a_folder_to_where_tests_find_it() {
    let env = TestEnv::new();
    env.write("login/run.sh", "#!/bin/sh\necho hello\n");
    env.write("login/data/users", "ana\n");
    env.write("login/deps/big", "not packed\n");
    env.write("login/.pack_exclude", "deps\n");
    let build = ["package", "build", "login", "--kind", "test", "--version", "1", "--repo", "repo"];
    let said = env.run(&[&build[..], &["--dep", "dep:lib"]].concat());
    assert!(said.starts_with("test:login@1\n  digest  ") && said.contains("25 B in 2 files"), "{said}");

    // What it needs is installed with it, or it is told that it cannot be.
    let install = ["package", "install", "test:login", "--repo", "repo", "--into", "place"];
    let said = env.run(&install);
    assert_eq!(
        said,
        "--- stderr\nerror: `dep:lib` is not in `ROOT/area/repo`\nhint: `muster package list` lists what is \
         published\n--- exit 2\n"
    );
    env.write("lib/lib.so", "lib");
    env.run(&["package", "build", "lib", "--kind", "dep", "--repo", "repo"]);
    let said = env.run(&install);
    assert!(said.contains("unchanged, 2 files\ndep:lib@") && said.contains("1 file written (3 B)"), "{said}");
    assert_eq!(fs::read_to_string(env.area().join("place/test/login/data/users")).unwrap(), "ana\n");
    assert!(!env.area().join("place/test/login/deps").exists());

    // A second version: what differs, and what is moved.
    env.write("login/data/users", "ana\nbob\n");
    env.run(&["package", "build", "login", "--kind", "test", "--version", "2", "--repo", "repo"]);
    let said = env.run(&["package", "diff", "test:login@1", "test:login@2", "--repo", "repo"]);
    assert_eq!(said, "! data/users  8 B\n--- exit 1\n");
    let said = env.run(&install);
    assert!(said.contains("1 file written (8 B), 1 of other versions"), "{said}");
    let said = env.run(&["package", "list", "--installed", "--into", "place"]);
    assert!(said.contains("current") && said.contains("before"), "{said}");

    let said = env.run(&["package", "list", "--repo", "repo"]);
    assert_eq!(
        without_digests(&said),
        "test:login                        1             DIGEST  25 B in 2 files\n\
         dep:lib                           -             DIGEST  3 B in 1 file\n\
         test:login                        2             DIGEST  29 B in 2 files\n--- exit 0\n"
    );
    let said = env.run(&["package", "show", "test:login", "--files", "--repo", "repo", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(said.split("---").next().unwrap()).unwrap();
    assert_eq!(shown["package"]["version"], "2");
    assert_eq!(shown["files"][0]["path"], "data/users");

    // Damage of what is installed is told, and mended by installing again.
    fs::remove_file(env.area().join("place/test/login/run.sh")).unwrap();
    let said = env.run(&["package", "verify", "--installed", "--into", "place"]);
    assert_eq!(
        said.replace("test:login@1: `run.sh` is missing\n", ""),
        "test:login@2: `run.sh` is missing\n--- exit 1\n"
    );
    let said = env.run(&install);
    assert!(said.contains("mended: `run.sh` is missing"), "{said}");

    // It is taken off the list, and its bytes go.
    assert_eq!(
        env.run(&["package", "prune", "--keep", "1", "--repo", "repo"]),
        "removed test:login@1\n--- exit 0\n"
    );
    assert!(env.run(&["package", "gc", "--repo", "repo"]).contains("taken away"));
    assert_eq!(env.run(&["package", "verify", "--repo", "repo"]), "--- exit 0\n");
}

#[test]
fn a_folder_is_packed_as_it_was_at_a_revision() {
    let env = TestEnv::new();
    env.write("dep/file", "committed\n");
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).current_dir(env.area());
        assert!(git.env("HOME", env.home()).output().unwrap().status.success());
    };
    git(&["init", "-q"]);
    git(&["add", "dep"]);
    git(&["commit", "-qm", "first"]);
    let digest = |args: &[&str]| {
        let build = ["package", "build", "dep", "--kind", "dep", "--dry-run"];
        let said = env.run(&[&build[..], args].concat());
        assert!(said.ends_with("--- exit 0\n"), "{said}");
        said
    };
    let committed = digest(&[]);
    env.write("dep/file", "edited\n");
    env.write("dep/other", "new\n");
    assert_ne!(digest(&[]), committed);
    assert_eq!(digest(&["--rev", "HEAD"]), committed);
    let said = env.run(&["package", "build", "dep", "--kind", "dep", "--rev", "none"]);
    assert!(said.contains("error: the revision `none` is not in `ROOT/area/dep`"), "{said}");
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let env = TestEnv::new();
    env.write("dep/file", "x");
    for (args, said) in [
        (
            &["package", "build", "nowhere", "--kind", "dep"][..],
            "error: `ROOT/area/nowhere` is not a directory",
        ),
        (&["package", "build", "dep", "--kind", "deps"], "`deps` is no kind of package"),
        (&["package", "build", "dep", "--kind", "dep", "--name", "a/b"], "`a/b` is no name of a package"),
        (&["package", "build", "dep", "--kind", "dep", "--platform", "os =="], "is no condition"),
        (&["package", "build", "dep", "--kind", "dep", "--repo", "."], "is no repository, and holds"),
        (&["package", "install", "dep"], "`dep` is not a package: write KIND:NAME, such as `dep:dep`"),
        (&["package", "gc", "--repo", "http://127.0.0.1:9/x"], "is changed in its directory"),
    ] {
        let told = env.run(args);
        assert!(told.contains(said) && told.ends_with("--- exit 2\n"), "{told}");
    }
}

#[test]
fn tests_find_the_packages_of_their_area_and_edited_folders_win() {
    let env = TestEnv::new();
    env.write("tool/greeting", "published\n");
    env.write("tool/other", "the same\n");
    env.write("lib/lib.so", "lib");
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\npackages = [\"dep:tool-kit\"]\nrepositories = [\"repo\"]\n\n\
         [test.greets]\nrun = 'cat \"$MUSTER_PACKAGE_DEP_TOOL_KIT/greeting\" \"$MUSTER_PACKAGES/dep/lib/lib.so\"'\n",
    );
    let run = |args: &[&str]| env.run(&[&["run", "--progress", "quiet"], args].concat());
    let said = run(&[]);
    assert!(said.contains("no repository") || said.contains("packages.jsonl"), "{said}");
    env.run(&["package", "build", "lib", "--kind", "dep", "--repo", "repo"]);
    let tool = ["package", "build", "tool", "--kind", "dep", "--name", "tool-kit", "--version", "1"];
    env.run(&[&tool[..], &["--dep", "dep:lib", "--repo", "repo"]].concat());

    let said = run(&[]);
    assert!(said.contains("dep:tool-kit@1: 2 of 2 files written"), "{said}");
    assert!(said.contains("--- exit 0"), "{said}");
    let log = env.run(&["log", "greets"]);
    assert!(log.contains("published\nlib"), "{log}");
    // What was installed is recorded, with its digest.
    let results = env.run(&["results", "--output", "json"]);
    assert!(results.contains("\"name\":\"tool-kit\"") && results.contains("\"version\":\"1\""), "{results}");
    // Nothing changed: nothing is written.
    assert!(!run(&[]).contains("written"));

    // An edited folder wins, and it is told.
    env.write("tool/greeting", "edited\n");
    let said = run(&["--local", "dep:tool-kit=tool"]);
    assert!(said.contains("dep:tool-kit is made of `ROOT/area/tool`, where 1 of 2 files differ"), "{said}");
    assert!(said.contains(": 1 of 2 files written"), "{said}");
    assert!(env.run(&["log", "greets"]).contains("edited\nlib"));
    // A rerun has what its run had, and a new run what is published.
    env.write("tool/greeting", "edited again\n");
    env.run(&["rerun", "latest", "greets"]);
    assert!(env.run(&["log", "greets"]).contains("edited\nlib"));
    run(&[]);
    assert!(env.run(&["log", "greets"]).contains("published\nlib"));
    let said = run(&["--local", "dep:other=tool"]);
    assert!(said.contains("error: no test of this area needs `dep:other`"), "{said}");
}

type Ask<'a> = dyn Fn(&[&str]) -> String + 'a;

/// An area that needs a package from its second version on.
fn area_that_came_to_need(env: &TestEnv, needs: &str) {
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\nrepositories = [\"repo\"]\npackages = [\"dep:base\"]\n\
             [test.greets]\n{needs}run = 'cat \"$MUSTER_PACKAGE_DEP_BASE/text\" \"$MUSTER_PACKAGE_DEP_TOOL/text\"'\n\
             [test.lonely]\nrun = 'test -z \"$MUSTER_PACKAGE_DEP_TOOL\"'\n"
        ),
    );
}

#[test]
fn a_rerun_has_what_its_run_had_and_packages_that_were_added_since() {
    let env = TestEnv::new();
    let build = |name: &str, version: &str| {
        env.write(&format!("{name}/text"), &format!("{name} {version}\n"));
        let build = ["package", "build", name, "--kind", "dep", "--repo", "repo", "--version", version];
        assert!(env.run(&build).ends_with("--- exit 0\n"));
    };
    for name in ["base", "tool"] {
        build(name, "1");
    }
    let mut lab = crate::lab::Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let here = |args: &[&str]| env.run(args);
    let there = |args: &[&str]| env.tell(&lab.command(args).output().unwrap());
    let both: [&Ask<'_>; 2] = [&here, &there];
    area_that_came_to_need(&env, "");
    for ask in both {
        let said = ask(&["run", "--progress", "plain"]);
        assert!(said.ends_with("--- exit 1\n"), "{said}");
    }
    build("base", "2");
    area_that_came_to_need(&env, "packages = [\"dep:tool\"]\n");
    for ask in both {
        let said = ask(&["rerun", "latest", "greets", "lonely", "--progress", "plain"]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
        let log = ask(&["log", "greets"]);
        assert!(log.contains("base 1\ntool 1\n"), "{log}");
        let results = ask(&["results", "--output", "json"]);
        assert!(results.contains("\"name\":\"tool\""), "it is recorded: {results}");
        // And once more, without asking for anything.
        let said = ask(&["rerun", "latest", "greets", "--progress", "plain"]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
    }
}

#[test]
fn the_hosts_of_a_lab_install_what_an_area_needs_from_its_repository() {
    let env = TestEnv::new();
    env.write("tool/greeting", "from afar\n");
    env.run(&["package", "build", "tool", "--kind", "dep", "--version", "1", "--repo", "repo"]);
    let (site, asked) = crate::given::serve(env.area());
    let site = site.replace("ana:hush@", "");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\npackages = [\"dep:tool\"]\nrepositories = [\"{site}/repo\"]\n\n\
             [test.greets]\nrun = 'cat \"$MUSTER_PACKAGE_DEP_TOOL/greeting\"'\n"
        ),
    );
    let mut lab = crate::lab::Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let run = || env.tell(&lab.command(&["run", "--progress", "plain"]).output().unwrap());
    let said = run();
    assert!(said.contains("PASS") && said.ends_with("--- exit 0\n"), "{said}");
    let log = env.tell(&lab.command(&["log", "greets"]).output().unwrap());
    assert!(log.contains("from afar"), "{log}");
    let fetched = asked.load(std::sync::atomic::Ordering::Relaxed);
    let said = run();
    assert!(said.contains("PASS"), "{said}");
    let again = asked.load(std::sync::atomic::Ordering::Relaxed) - fetched;
    assert!(again <= 2, "who asks looks for it, and the host has it: {again} of {fetched} requests");
}
