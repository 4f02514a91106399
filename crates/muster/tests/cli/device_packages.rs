//! Packages on devices through their drivers: what each of them has to do to bring what is lacking, and tests that
//! find what they need where they run.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::fs;
use std::path::PathBuf;
use std::process::Child;

fn build(env: &TestEnv, version: &str) {
    let build = ["package", "build", "tool", "--kind", "dep", "--repo", "repo", "--version", version];
    let said = env.run(&build);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
}

fn tool(env: &TestEnv) {
    env.write("tool/bin/greet", "#!/bin/sh\necho \"$1 from $(cat \"${0%/*}/../words\")\"\n");
    use std::os::unix::fs::PermissionsExt as _;
    let greet = env.area().join("tool/bin/greet");
    fs::set_permissions(greet, fs::Permissions::from_mode(0o755)).unwrap();
    env.write("tool/words", "version 1\n");
    for n in 0..20 {
        env.write(&format!("tool/data/{n}"), &format!("{n}\n").repeat(100));
    }
    build(env, "1");
}

/// Installs, installs again, and installs another version, in which one file differs.
fn deliver_to(env: &TestEnv, address: &str) {
    let install = |more: &[&str]| {
        env.run(&[&["package", "install", "dep:tool", "--repo", "repo", "--on", address], more].concat())
    };
    let said = install(&[]);
    assert!(said.contains("22 files brought") && said.ends_with("--- exit 0\n"), "{address}: {said}");
    let said = install(&[]);
    assert!(said.contains("unchanged, 22 files"), "{address}: {said}");
    env.write("tool/words", "version 2\n");
    build(env, "2");
    let said = install(&[]);
    assert!(said.contains("1 file brought (10 B), 21 were there"), "{address}: {said}");
    let root = env.area().parent().unwrap().display().to_string();
    let dir = said.lines().nth(1).unwrap().trim().replace("ROOT", &root);
    let said = env.run(&["device", "exec", "--on", address, "--", &format!("{dir}/bin/greet"), "hello"]);
    assert!(said.contains("hello from version 2"), "{address}: {said}");
    let said = env.run(&["package", "list", "--on", address]);
    assert!(said.contains("dep:tool@2") && said.contains("current") && said.contains("before"), "{said}");
    // What was damaged there is found by reading it, and mended.
    let damage = format!("rm -f {dir}/words && echo other > {dir}/words");
    let said = env.run(&["device", "exec", "--on", address, "--", "sh", "-c", &damage]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let said = install(&[]);
    assert!(said.contains("mended: `words` was changed") && said.contains("1 file brought"), "{said}");
    assert!(env.run(&["package", "gc", "--installed", "--on", address]).ends_with("--- exit 0\n"));
}

/// A device with an agent of the SUT protocol, and its directory for tests.
fn sut(env: &TestEnv) -> (Child, String, PathBuf) {
    crate::on_device::device(env)
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_device_with_a_sut_agent_is_brought_what_it_lacks() {
    let env = TestEnv::new();
    tool(&env);
    let (agent, address, _) = sut(&env);
    let _agent = Ended(agent);
    deliver_to(&env, &address);
}

#[test]
fn a_container_that_is_kept_is_brought_what_it_lacks() {
    let env = TestEnv::new();
    tool(&env);
    // What is below the directory that it shares with this host stays.
    let root = env.home().join("of-the-box");
    fs::create_dir_all(&root).unwrap();
    let address = format!("container:/?bind={0}&keep=packages-{1}", root.display(), std::process::id());
    deliver_to(&env, &address);
    // It ends, and a fresh one is started by who asks next.
    let said = env.run(&["device", "reboot", "--no-wait", "--on", &address]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
}

#[test]
fn a_fake_device_that_loses_its_connection_is_told_of_and_keeps_what_it_has() {
    let env = TestEnv::new();
    tool(&env);
    deliver_to(&env, &format!("fake:box?dir={}", env.home().join("box").display()));
    env.write("lossy.toml", "[[fault]]\non = \"push\"\ndo = \"disconnect\"\nafter = 1\ntimes = 1\n");
    let (script, dir) = (env.area().join("lossy.toml"), env.home().join("lossy"));
    let address = format!("fake:lossy?script={}&dir={}", script.display(), dir.display());
    let install = || env.run(&["package", "install", "dep:tool", "--repo", "repo", "--on", &address]);
    let said = install();
    assert!(said.contains("error: device `fake:lossy") && said.contains("went away"), "{said}");
    let said = install();
    assert!(said.contains("22 files") && said.ends_with("--- exit 0\n"), "{said}");
}

#[test]
fn tests_find_their_packages_on_the_device_they_run_on() {
    let env = TestEnv::new();
    tool(&env);
    let (site, _) = crate::given::serve(env.area());
    let site = site.replace("ana:hush@", "");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\npackages = [\"dep:tool\"]\nrepositories = [\"{site}/repo\"]\n\n\
             [test.greets]\nruns-on = \"device\"\nsteps = [\n\
             '\"$MUSTER_PACKAGE_DEP_TOOL/bin/greet\" one',\n\
             {{ name = \"two\", run = '\"$MUSTER_PACKAGES/dep/tool/bin/greet\" two; echo $MUSTER_PACKAGE_DEP_TOOL' }},\n]\n"
        ),
    );
    let (device, address, root) = sut(&env);
    let mut lab = Lab::start(&env);
    lab.agents.push(device);
    lab.start_agent("one", &["--device", &format!("phone:address={address}")]);
    let run = || {
        let said = env.tell(&lab.command(&["run", "--progress", "plain"]).output().unwrap());
        assert!(said.ends_with("--- exit 0\n"), "{said}");
        env.tell(&lab.command(&["log", "greets"]).output().unwrap())
    };
    let log = run();
    for part in ["dep:tool@1", "22 files of 22 brought", "one from version 1", "two from version 1"] {
        assert!(log.contains(part), "`{part}` is not in:\n{log}");
    }
    assert!(
        log.contains(
            &format!("{}/muster-packages/trees/", root.display())
                .replace(&*env.home().parent().unwrap().to_string_lossy(), "ROOT")
        ),
        "{log}"
    );
    assert!(run().contains("unchanged, 22 files, 0 bytes sent"));
    env.write("tool/words", "version 2\n");
    build(&env, "2");
    let log = run();
    assert!(log.contains("1 file of 22 brought (10 bytes), 21 were there"), "{log}");
    assert!(log.contains("one from version 2"), "{log}");
    let uses = root.join("muster-packages/uses");
    assert_eq!(fs::read_dir(uses).unwrap().count(), 0, "nobody uses them any more");
}

/// A profiler that says whom it watches, and that it was ended.
const WATCH: &str = "#!/bin/sh
trap 'echo ended >> \"$2/seen\"; exit 0' INT TERM
echo \"$1\" > \"$2/seen\"
echo watching
while :; do sleep 0.1; done
";

#[test]
fn a_test_has_packages_and_profilers_of_its_own_on_its_device_and_others_have_not() {
    let env = TestEnv::new();
    tool(&env);
    for (name, program) in [("watch", WATCH), ("broken", "#!/bin/sh\necho it broke >&2\nexit 9\n")] {
        env.write(&format!("{name}/profile"), program);
        use std::os::unix::fs::PermissionsExt as _;
        let program = env.area().join(name).join("profile");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let said = env.run(&["package", "build", name, "--kind", "profiler", "--repo", "repo"]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
    }
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\nrepositories = [\"repo\"]\n\n[defaults]\nruns-on = \"device\"\n\n\
         [test.greets]\npackages = [\"dep:tool\"]\n\
         profilers = [\"profiler:watch\", \"profiler:broken\", \"proc-sampler\"]\n\
         run = 'echo \"I am $$\"; \"$MUSTER_PACKAGE_DEP_TOOL/bin/greet\" one; exit 3'\n\n\
         [test.plain]\nrun = 'echo \"<${MUSTER_PACKAGES-none}> <${MUSTER_PACKAGE_DEP_TOOL-none}>\"'\n",
    );
    let (device, address, root) = sut(&env);
    let mut lab = Lab::start(&env);
    lab.agents.push(device);
    lab.start_agent("one", &["--device", &format!("phone:address={address}")]);
    let told = |args: &[&str]| env.tell(&lab.command(args).output().unwrap());
    let said = told(&["run", "--progress", "quiet"]);
    assert!(said.contains("1 failed, 1 passed"), "{said}");
    let log = told(&["log", "plain"]);
    assert!(log.contains("<none> <none>") && !log.contains("brought"), "{log}");
    let log = told(&["log", "greets"]);
    assert!(log.contains("one from version 1") && log.contains("22 files of 22 brought"), "{log}");
    assert!(log.contains("`broken` did not do its work on the device: it broke (code 9)"), "{log}");
    let list = told(&["artifacts", "greets"]);
    assert!(list.contains("profile/run/proc-sampler.svg"), "{list}\n{log}");
    let seen = told(&["artifacts", "greets", "profile/run/watch/seen"]);
    let number = log.split("I am ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(seen.starts_with(&format!("{number}\nended\n")), "{seen}\n{log}");
    assert!(!root.join("muster-phone").exists(), "nothing stays on the device");
    let json = told(&["results", "latest", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.split("--- ").next().unwrap()).unwrap();
    let needed = json["inputs"]["packages"].as_array().unwrap();
    assert!(needed.iter().all(|package| package["tests"] == serde_json::json!(["greets"])), "{needed:?}");
}
