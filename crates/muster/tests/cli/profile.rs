//! Profilers round attempts: what they leave, what they tell, and that no verdict depends on them.

use crate::env::TestEnv;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const AREA: &str = r#"
[area]
name = "demo"
repositories = ["repo"]

[test.passes]
run = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 0.2"
[test.fails]
run = "echo out; echo err >&2; exit 3"
[test.crashes]
run = "kill -SEGV $$"
[test.out-of-time]
timeout = "1s"
run = "sleep 4242"
[test.is-not-there]
run = "no-such-program"
[test.steps]
steps = ["true", { name = "second", run = "sleep 0.1" }]
"#;

/// Each test with its verdict and what its attempt came to.
fn results(env: &TestEnv) -> Vec<String> {
    let view = env.run(&["results", "latest", "--output", "json"]);
    let view: serde_json::Value = serde_json::from_str(view.split("--- ").next().unwrap()).unwrap();
    let tests = view["tests"].as_array().unwrap().iter();
    let told = tests.map(|test| {
        let item = &test["items"][0];
        let attempt = &item["attempts"][0];
        format!("{} {} {} {}", test["name"], item["verdict"], attempt["outcome"], attempt["message"])
    });
    told.collect()
}

#[test]
fn what_profilers_do_changes_no_verdict_and_what_they_leave_is_kept() {
    let env = TestEnv::new();
    env.write("muster.toml", AREA);
    let run = |more: &[&str]| env.run(&[&["run", "--progress", "quiet"], more].concat());
    run(&[]);
    let plain = results(&env);
    let said = run(&["--profile", "proc-sampler"]);
    assert_eq!(results(&env), plain, "{said}");
    let work = env.area().join(".muster/runs/2/work");
    let plot = fs::read_to_string(work.join("passes#1/profile/proc-sampler.svg")).unwrap();
    assert!(plot.starts_with("<svg"), "{plot}");
    let table = fs::read_to_string(work.join("passes#1/profile/proc-sampler.csv")).unwrap();
    assert!(table.lines().count() > 2, "{table}");
    for step in ["step-1", "second"] {
        let left = work.join("steps#1/profile").join(step).join("proc-sampler.svg");
        assert!(
            left.exists(),
            "{}: {:?}",
            left.display(),
            fs::read_dir(work.join("steps#1/profile")).unwrap().collect::<Vec<_>>()
        );
    }
    // A log is as without, but for what is told below it.
    let log = env.run(&["log", "2/fails"]);
    assert!(log.contains("out\n") && log.contains("err\n") && !log.contains("profiler:"), "{log}");
}

#[test]
fn steps_on_a_slot_of_the_host_are_watched_as_its_processes_and_judged_as_without() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        &AREA.replace("[test.passes]", "[defaults]\nruns-on = \"device\"\n[test.passes]"),
    );
    // A shell tells in its own words that a program is not there.
    let run = |more: &[&str]| env.run(&[&["run", "--progress", "quiet", "!is-not-there"], more].concat());
    run(&[]);
    let plain = results(&env);
    assert_eq!(plain.len(), 5, "{plain:?}");
    let all = ["proc-sampler", "iostat", "strace"].map(|name| ["--profile", name]).concat();
    let said = run(&all);
    // Whom the driver was about to end is another.
    let ended = |line: &String| line.replace("running `/proc/self/exe` on", "running `sleep` on");
    assert_eq!(results(&env).iter().map(ended).collect::<Vec<_>>(), plain, "{said}");
    let work = env.area().join(".muster/runs/2/work");
    let left = |path: &str| {
        fs::read_to_string(work.join(path))
            .unwrap_or_else(|e| panic!("{path}: {e}\n{}", env.run(&["log", "passes"])))
    };
    assert!(left("passes#1/profile/run/proc-sampler.svg").starts_with("<svg"));
    assert!(left("passes#1/profile/run/proc-sampler.csv").lines().count() > 1);
    assert!(left("passes#1/profile/run/strace.txt").contains("calls"));
    assert!(left("passes#1/profile/run/iostat.txt").contains("Linux"));
    for step in ["step-1", "second"] {
        left(&format!("steps#1/profile/{step}/proc-sampler.csv"));
    }
    let log = env.run(&["log", "2/fails"]);
    assert!(log.contains("out\n") && log.contains("err\n") && !log.contains("profiler:"), "{log}");
}

#[test]
fn a_profiler_that_is_not_there_or_fails_is_told_of_and_nothing_else() {
    let env = TestEnv::new();
    env.write("muster.toml", AREA);
    env.write("bad/profile", "#!/bin/sh\necho watching; echo it broke >&2; exit 9\n");
    env.write("good/profile", "#!/bin/sh\ntrap 'echo ended >> $2/seen; exit 0' INT\necho $1 > $2/seen; echo watching; while :; do sleep 0.01; done\n");
    for name in ["bad", "good"] {
        let program = env.area().join(name).join("profile");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let said =
            env.run(&["package", "build", name, "--kind", "profiler", "--repo", "repo", "--version", "1"]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
    }
    let no_perf = env.home().join("bin");
    fs::create_dir_all(&no_perf).unwrap();
    for name in ["sh", "sleep", "true"] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), no_perf.join(name)).unwrap();
    }
    let mut command = env.command(&["run", "--progress", "quiet", "passes"]);
    for profiler in ["perf", "profiler:bad", "profiler:good@1"] {
        command.args(["--profile", profiler]);
    }
    let said = env.tell(&command.env("PATH", &no_perf).output().unwrap());
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let log = env.run(&["log", "passes"]);
    assert!(log.contains("`perf` did not watch it: there is no program `perf` on this host"), "{log}");
    assert!(log.contains("`profiler:bad` did not do its work: it broke"), "{log}");
    let seen = env.area().join(".muster/runs/1/work/passes#1/profile/good@1/seen");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.ends_with("ended\n") && seen.lines().count() == 2, "{seen}");
    let said = env.run(&["run", "--profile", "nothing"]);
    assert!(said.contains("there are iostat, perf, proc-sampler, strace"), "{said}");
}

#[test]
fn calls_of_the_system_are_counted_where_there_is_strace() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\nprofilers = [\"strace\"]\n[test.reads]\nprofilers = [\"iostat\"]\n\
         run = \"cat /dev/null; cat /dev/null; sleep 1.2\"\n[test.other]\nrun = \"true\"\n",
    );
    let said = env.run(&["run", "--progress", "quiet"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let counts = env.area().join(".muster/runs/1/work/reads#1/profile/strace.txt");
    let counts = fs::read_to_string(&counts).unwrap_or_else(|e| {
        panic!("{e}; `cargo xtask setup` installs strace, which this needs; {}", env.run(&["log", "reads"]))
    });
    assert!(counts.contains("execve") && counts.contains("read"), "{counts}");
    // What one test asks for watches that one alone.
    let disks = env.area().join(".muster/runs/1/work/reads#1/profile/iostat.txt");
    let disks = fs::read_to_string(&disks).unwrap_or_else(|e| {
        panic!("{e}; `cargo xtask setup` installs sysstat, which this needs; {}", env.run(&["log", "reads"]))
    });
    assert!(disks.contains("wkB/s"), "{disks}");
    let other = env.area().join(".muster/runs/1/work/other#1/profile");
    assert!(other.join("strace.txt").exists() && !other.join("iostat.txt").exists());
}
