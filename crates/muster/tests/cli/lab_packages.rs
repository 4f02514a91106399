//! The store of packages of a lab's own server: filled, used by its hosts, tidied up; and folders that win.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::path::Path;
use std::process::Stdio;

fn area(env: &TestEnv, area_keys: &str) {
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\npackages = [\"dep:tool\"]\n{area_keys}\n\
             [test.greets]\nrun = 'cat \"$MUSTER_PACKAGE_DEP_TOOL/greeting\"'\n"
        ),
    );
}

fn tool(env: &TestEnv, greeting: &str) {
    env.write("tool/greeting", greeting);
    for n in 0..30 {
        env.write(&format!("tool/data/f{n}"), &format!("{n}\n").repeat(100));
    }
}

struct Asked<'a> {
    env: &'a TestEnv,
    lab: Lab<'a>,
}

impl Asked<'_> {
    /// `muster --server … ARGS`.
    fn ask(&self, args: &[&str]) -> String {
        self.env.tell(&self.lab.command(args).output().unwrap())
    }

    /// Runs the area and says what its test has printed.
    fn greeting(&self, args: &[&str]) -> (String, String) {
        let said = self.ask(&[&["run", "--progress", "plain"], args].concat());
        assert!(said.contains("PASS"), "{said}");
        (said, self.ask(&["log", "greets"]))
    }
}

#[test]
fn a_lab_keeps_packages_and_its_hosts_have_them_from_there() {
    let env = &TestEnv::new();
    tool(env, "first");
    area(env, "");
    let mut lab = Lab::start(env);
    lab.start_agent("one", &["--slots", "1"]);
    let lab = Asked { env, lab };
    let said = lab.ask(&["run"]);
    assert!(said.contains("error: `dep:tool` is not in the lab's store at `http://127.0.0.1:"), "{said}");

    // From one's own repository, by what is lacking there.
    let build = |version: &str| {
        env.run(&["package", "build", "tool", "--kind", "dep", "--version", version]);
    };
    build("1");
    let said = lab.ask(&["package", "upload", "dep:tool"]);
    assert!(
        said.starts_with("dep:tool@1  31 of 31 chunks were new, ") && said.ends_with("exit 0\n"),
        "{said}"
    );
    let (_, log) = lab.greeting(&[]);
    assert!(log.contains("first"), "{log}");
    tool(env, "second");
    build("2");
    let url = lab.lab.url();
    let said = env.run(&["package", "upload", "dep:tool", "--to", &url]);
    assert!(said.starts_with("dep:tool@2  1 of 31 chunks were new, "), "{said}");
    let said = env.run(&["package", "upload", "dep:tool", "--to", &url]);
    assert!(said.contains("0 of 31 chunks were new") && said.contains("published before"), "{said}");
    let (said, log) = lab.greeting(&[]);
    assert!(log.contains("second"), "{said}{log}");
    let results = lab.ask(&["results", "--output", "json"]);
    assert!(results.contains("\"version\":\"2\""), "{results}");

    // By one command, and looked at as any repository.
    tool(env, "third");
    let said = lab.ask(&["package", "build", "tool", "--kind", "dep", "--version", "3"]);
    assert!(said.starts_with("dep:tool@3  1 of 31 chunks"), "{said}");
    tool(env, "another third");
    let said = lab.ask(&["package", "build", "tool", "--kind", "dep", "--version", "3"]);
    assert!(said.contains("error: dep:tool@3 is published already") && said.ends_with("exit 2\n"), "{said}");
    assert!(said.contains("hint: what is published stays as it is"), "{said}");
    let said = lab.ask(&["package", "list"]);
    assert_eq!(said.lines().filter(|l| l.starts_with("dep:tool ")).count(), 3, "{said}");
    let said = lab.ask(&["package", "diff", "dep:tool@1", "dep:tool@3"]);
    assert!(said.starts_with("! greeting"), "{said}");
    assert_eq!(lab.ask(&["package", "verify"]), "--- exit 0\n");
    let said = lab.ask(&["package", "install", "dep:tool@1", "--into", "place"]);
    assert!(said.contains("31 files written"), "{said}");

    // Tidied up.
    assert_eq!(lab.ask(&["package", "remove", "dep:tool@1"]), "removed dep:tool@1\n--- exit 0\n");
    let said = lab.ask(&["package", "remove", "dep:tool@1"]);
    assert!(said.contains("error: `dep:tool@1` is not in the lab's store"), "{said}");
    assert_eq!(lab.ask(&["package", "prune", "--keep", "1"]), "removed dep:tool@2\n--- exit 0\n");
    assert!(lab.ask(&["package", "gc"]).contains("taken away"));
    assert_eq!(lab.ask(&["package", "verify"]), "--- exit 0\n");
    let (_, log) = lab.greeting(&[]);
    assert!(log.contains("third"), "{log}");
    let data = env.home().join("server/packages").display().to_string();
    assert_eq!(env.run(&["package", "verify", "--repo", &data]), "--- exit 0\n", "it is a repository");
}

/// As Autotest's servers keep it with a host: the repository of the build that is on a device.
#[test]
fn a_test_is_told_of_the_repository_of_the_build_on_its_device() {
    let env = &TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.tells]\nrun = 'echo \"has ${MUSTER_JOB_REPO_URL-none} on $MUSTER_SLOT\"'\n",
    );
    let mut lab = Lab::start(env);
    let url = "http://devserver:8082/static/R7/autotest/packages";
    let board = format!("board:address=local:,job_repo_url={url}");
    lab.start_agent("one", &["--device", &board, "--device", "bare:address=local:"]);
    let lab = Asked { env, lab };
    for (device, expected) in [("board", url), ("bare", "none")] {
        let said = lab.ask(&["run", "--progress", "plain", "--on", &format!("name == \"{device}\"")]);
        assert!(said.contains("PASS"), "{said}");
        let log = lab.ask(&["log", "tells"]);
        assert!(log.contains(&format!("has {expected} on {device}")), "{log}");
    }
}

#[test]
fn an_area_can_name_the_lab_among_its_repositories() {
    let env = &TestEnv::new();
    tool(env, "of the area");
    env.run(&["package", "build", "tool", "--kind", "dep", "--version", "1", "--repo", "repo"]);
    area(env, "repositories = [\"repo\", \"lab\"]\n");
    let said = env.run(&["run", "--progress", "plain"]);
    assert!(said.contains("PASS"), "where there is no lab, the others are asked: {said}");
    let mut lab = Lab::start(env);
    lab.start_agent("one", &["--slots", "1"]);
    let lab = Asked { env, lab };
    // What is in a directory of this host is brought to the lab for the run, and published nowhere.
    let (said, log) = lab.greeting(&[]);
    assert!(said.contains("dep:tool@1: 31 of 31 chunks sent to the lab"), "{said}");
    assert!(log.contains("of the area"), "{log}");
    assert_eq!(lab.ask(&["package", "list"]), "--- exit 0\n");
    let (said, _) = lab.greeting(&[]);
    assert!(!said.contains("chunks sent"), "{said}");
    // The area's own comes first, the lab's behind it.
    tool(env, "of the lab");
    lab.ask(&["package", "build", "tool", "--kind", "dep", "--version", "2"]);
    let (_, log) = lab.greeting(&[]);
    assert!(log.contains("of the area"), "{log}");
    let (_, log) = lab.greeting(&["--repo", "lab"]);
    assert!(log.contains("of the lab"), "{log}");
    area(env, "repositories = [\"lab\"]\n");
    let said = env.run(&["run"]);
    assert!(said.contains("error: `lab` is the store of a lab, and no lab is named"), "{said}");
}

#[test]
fn an_edited_folder_wins_on_a_lab_and_only_what_changed_is_sent() {
    let env = &TestEnv::new();
    tool(env, "published");
    area(env, "");
    let mut lab = Lab::start(env);
    lab.start_agent("one", &["--slots", "1"]);
    let lab = Asked { env, lab };
    lab.ask(&["package", "build", "tool", "--kind", "dep", "--version", "1"]);
    assert!(lab.greeting(&[]).1.contains("published"));

    tool(env, "edited");
    let (said, log) = lab.greeting(&["--local", "dep:tool=tool"]);
    assert!(said.contains("dep:tool is made of `ROOT/area/tool`, where 1 of 31 files differ"), "{said}");
    assert!(said.contains(": 1 of 31 chunks sent to the lab"), "{said}");
    assert!(log.contains("edited"), "{log}");
    let results = lab.ask(&["results", "--output", "json"]);
    assert!(results.contains("\"local\":\"ROOT/area/tool\""), "the record says where it was: {results}");
    let said = lab.ask(&["results"]);
    assert!(said.contains("dep:tool (local)"), "{said}");
    // Nothing was published, and a rerun has what its run had.
    assert_eq!(lab.ask(&["package", "list"]).lines().count(), 2);
    tool(env, "edited again");
    let said = lab.ask(&["rerun", "latest", "greets"]);
    assert!(said.contains("PASS"), "{said}");
    let log = lab.ask(&["log", "greets"]);
    assert!(log.contains("edited") && !log.contains("again"), "{log}");
    assert!(lab.greeting(&[]).1.contains("published"));
    let said = lab.ask(&["run", "--local", "dep:other=tool"]);
    assert!(said.contains("error: no test of this area needs `dep:other`"), "{said}");
}

#[test]
fn what_a_run_needs_stays_until_it_is_over() {
    let env = &TestEnv::new();
    tool(env, "needed");
    area(env, "");
    let mut lab = Lab::start(env);
    lab.start_agent("one", &["--slots", "1"]);
    let mut lab = Asked { env, lab };
    lab.ask(&["package", "build", "tool", "--kind", "dep", "--version", "1"]);
    // Nothing of it can start yet.
    let said = lab.ask(&["run", "--detach", "--on", "labels.kind == 'late'"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(lab.ask(&["package", "remove", "dep:tool"]), "removed dep:tool@1\n--- exit 0\n");
    let packs = || std::fs::read_dir(env.home().join("server/packages/packs")).unwrap().count();
    lab.ask(&["package", "gc"]);
    assert!(packs() > 0, "a queued run needs it");
    // Also when the server has forgotten all but its records.
    lab.lab.kill_server();
    lab.lab.start_server();
    lab.ask(&["package", "gc"]);
    assert!(packs() > 0);
    lab.lab.start_agent("late", &["--slots", "1", "--label", "kind=late"]);
    let said = lab.ask(&["resume", "latest", "--progress", "plain"]);
    assert!(said.contains("PASS") || said.contains("has ended"), "{said}");
    assert!(lab.ask(&["log", "greets"]).contains("needed"));
    lab.ask(&["package", "gc"]);
    assert_eq!(packs(), 0, "it is over, and nothing needs it");
    // What was asked for again needs it again, and is told so.
    let said = lab.ask(&["rerun", "latest", "greets"]);
    assert!(said.contains("error: package `dep:tool@1`") && said.contains("is not here"), "{said}");
}

#[test]
fn an_upload_goes_on_where_a_killed_server_left_it() {
    let env = &TestEnv::new();
    let mut state = 7_u64;
    let mut noise = vec![0_u8; 70 << 20];
    noise.fill_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    env.write("big/README", "big");
    std::fs::write(env.area().join("big/noise"), noise).unwrap();
    env.run(&["package", "build", "big", "--kind", "dep", "--version", "1"]);
    let mut lab = Lab::start(env);
    let mut upload = lab.command(&["package", "upload", "dep:big"]);
    let upload = upload.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let packs = env.home().join("server/packages/packs");
    let count = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    while count(&packs) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    lab.kill_server();
    lab.start_server();
    // It asks again by itself, or is asked again.
    let _ended = upload.unwrap().wait_with_output().unwrap();
    let lab = Asked { env, lab };
    let said = lab.ask(&["package", "upload", "dep:big"]);
    assert!(said.starts_with("dep:big@1  ") && said.ends_with("exit 0\n"), "{said}");
    assert_eq!(lab.ask(&["package", "verify"]), "--- exit 0\n");
    assert_eq!(count(&env.home().join("server/packages.incoming")), 0);
    let data = env.home().join("server/packages").display().to_string();
    assert_eq!(env.run(&["package", "verify", "--repo", &data]), "--- exit 0\n");
}

/// What an agent has said of a package that it installed.
fn installed(env: &TestEnv, agent: &str, package: &str) -> String {
    let said = std::fs::read_to_string(env.home().join(agent).join("said")).unwrap();
    let line = said.lines().rev().find(|l| l.starts_with(&format!("{package} is installed: ")));
    line.unwrap_or_else(|| panic!("{agent} has not installed {package}:\n{said}")).to_owned()
}

#[test]
fn agents_have_packages_from_one_another_and_one_that_lies_or_dies_hurts_nobody() {
    let env = &TestEnv::new();
    tool(env, "hello");
    let lines: String = (0..40_000).map(|n| format!("{}\n", n * 7_919 % 99_991)).collect();
    env.write("tool/data/lines", &lines);
    area(env, "");
    let lab = Lab::start(env);
    let mut lab = Asked { env, lab };
    lab.ask(&["package", "build", "tool", "--kind", "dep", "--version", "1"]);
    let run = |lab: &mut Asked<'_>, name: &str| {
        let id = lab.lab.start_agent(name, &["--slots", "1", "--label", &format!("kind={name}")]);
        let (_, log) = lab.greeting(&["--on", &format!("labels.kind == '{name}'")]);
        assert!(log.contains("hello"), "{log}");
        (id, installed(env, name, "dep:tool@1"))
    };
    let (one, from) = run(&mut lab, "one");
    assert!(from.contains("from the lab's store") && !from.contains("the agent at"), "{from}");
    let (two, from) = run(&mut lab, "two");
    assert!(from.contains("from the agent at 127.0.0.1:") && !from.contains("the lab's store"), "{from}");

    // One lies, one is dead: the rest comes from the lab, and it is right.
    let trees = env.home().join("one/packages/trees");
    let tree = std::fs::read_dir(trees).unwrap().next().unwrap().unwrap().path();
    for name in ["greeting", "data/lines"] {
        let path = tree.join(name);
        let spoiled = std::fs::read(&path).unwrap().iter().map(|b| b ^ 1).collect::<Vec<u8>>();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(&path, spoiled).unwrap();
    }
    lab.lab.kill_agent_and_keeper("two", two);
    let (three, from) = run(&mut lab, "three");
    assert!(from.contains("from the lab's store"), "{from}");
    let there = env.home().join("three/packages/dep/tool/data/lines");
    assert_eq!(std::fs::read_to_string(there).unwrap(), lines);

    // One stands still, another does not lend at all.
    lab.lab.kill_agent_and_keeper("three", three);
    crate::lab::signal("-STOP", one);
    let (_, from) = run(&mut lab, "four");
    assert!(from.contains("from the lab's store"), "{from}");
    crate::lab::signal("-CONT", one);
}
