//! What holds a test up that could start: hours, tokens, disks, a command that is asked; and two runs that share.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Asks again until the answer is there. Without a limit: the test command has one.
fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start(env: &TestEnv, args: &[&str]) -> Child {
    env.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A shell line that writes what runs beside it: how many had begun and not ended, itself included.
const COUNTS: &str = "mkdir -p on; touch on/$$; ls on | wc -l >> beside; sleep 0.3; rm on/$$";

#[test]
fn tokens_are_shared_by_runs_that_run_at_the_same_time() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[limits]\njobs = 4\ntokens = {{ matlab = 2 }}\n\
             [test.a]\nrun = \"{COUNTS}\"\nmatrix = {{ n = [1, 2, 3, 4] }}\nneeds = {{ tokens = {{ matlab = 1 }} }}\n"
        ),
    );
    let mut runs: Vec<Child> = (0..2).map(|_| start(&env, &["run"])).collect();
    for run in &mut runs {
        assert!(run.wait().unwrap().success());
    }
    let beside = std::fs::read_to_string(env.area().join("beside")).unwrap();
    let counts: Vec<u32> = beside.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(counts.len(), 8, "{beside}");
    assert!(counts.iter().all(|n| *n <= 2), "more than two at once: {beside}");
}

#[test]
fn a_lab_has_so_many_tokens_as_its_server_is_told_whatever_areas_say() {
    let env = TestEnv::new();
    let on = env.home().join("on");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[limits]\ntokens = {{ matlab = 9 }}\n\
             [test.a]\nrun = \"mkdir {0} && sleep 0.2 && rmdir {0}\"\nmatrix = {{ n = [1, 2, 3] }}\n\
             needs = {{ tokens = {{ matlab = 1 }} }}\n",
            on.display()
        ),
    );
    let mut lab = Lab::start(&env);
    lab.kill_server();
    let dirs = std::fs::read_dir(env.home()).unwrap().flatten().map(|e| e.path());
    let data: Vec<_> = dirs.filter(|d| d.join("records").is_dir()).collect();
    std::fs::write(data[0].join("server.toml"), "[tokens]\nmatlab = 1\n").unwrap();
    lab.start_server();
    lab.start_agent("rack1", &["--slots", "3"]);
    let said = env.tell(&lab.command(&["run"]).output().unwrap());
    assert!(said.ends_with("--- exit 0\n"), "two at once: {said}");
}

#[test]
fn the_places_of_a_run_that_is_killed_are_free_again() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[limits]\ngroups = { db = 1 }\n\
         [test.long]\nrun = \"touch begun; exec sleep 1000\"\nneeds = { group = \"db\" }\n\
         [test.short]\nrun = \"true\"\nneeds = { group = \"db\" }\n",
    );
    let mut first = start(&env, &["run", "long"]);
    wait_for(|| env.area().join("begun").exists().then_some(()));
    let mut second = start(&env, &["run", "short", "--progress", "plain"]);
    // Who asks is told what it waits for, from the process that works on it.
    let why = wait_for(|| Some(env.run(&["why", "short"])).filter(|why| why.contains("other runs have")));
    assert!(why.contains("other runs have the places of group `db`"), "{why}");
    first.kill().unwrap();
    first.wait().unwrap();
    let said = second.wait_with_output_of(&env);
    assert!(said.contains("waiting  other runs have the places of group `db`"), "{said}");
    assert!(said.ends_with("--- exit 0\n"), "{said}");
}

trait Told {
    fn wait_with_output_of(&mut self, env: &TestEnv) -> String;
}

impl Told for Child {
    fn wait_with_output_of(&mut self, env: &TestEnv) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        std::io::Read::read_to_end(self.stdout.as_mut().unwrap(), &mut out).unwrap();
        std::io::Read::read_to_end(self.stderr.as_mut().unwrap(), &mut err).unwrap();
        let status = self.wait().unwrap();
        env.tell(&std::process::Output { status, stdout: out, stderr: err })
    }
}

/// Asks before each test whether the file `go` is there.
const LIMITED: &str = "\
[area]
name = \"demo\"

[test.asks]
run = \"cat go\"

[test.asks.needs.launch-limiter]
command = \"test -e go || { echo asking; echo 'no licence is left'; exit 1; }\"
every = \"100ms\"

[test.other]
run = \"true\"
";

#[test]
fn a_command_says_whether_a_test_may_start_and_why_not() {
    let env = TestEnv::new();
    env.write("muster.toml", LIMITED);
    let mut run = start(&env, &["run", "--progress", "plain"]);
    let why = wait_for(|| Some(env.run(&["why", "asks"])).filter(|why| why.contains("licence")));
    assert!(why.contains("no licence is left, says `test -e go"), "{why}");
    // Those who watch are told once it has taken a while.
    std::thread::sleep(Duration::from_millis(1_500));
    env.write("go", "gone\n");
    let said = run.wait_with_output_of(&env);
    assert_eq!(said.matches("does not let it start: no licence is left").count(), 1, "{said}");
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    // It was not tried meanwhile: asking is no attempt.
    assert!(!env.run(&["why", "asks"]).contains("#2"), "{said}");
    assert_eq!(env.run(&["log", "asks"]), "gone\n--- exit 0\n");
}

#[test]
fn a_lab_asks_the_host_that_would_run_the_test() {
    let env = TestEnv::new();
    let go = env.home().join("go");
    env.write("muster.toml", &LIMITED.replace("test -e go", &format!("test -e {}", go.display())));
    env.write("go", "gone\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("agent-1", &["--slots", "2"]);
    let url = lab.url();
    let mut run = start(&env, &["--server", &url, "run", "--progress", "plain"]);
    let why = wait_for(|| {
        Some(env.run(&["--server", &url, "why", "asks"])).filter(|why| why.contains("does not let it start"))
    });
    assert!(why.contains("no licence is left"), "{why}");
    std::fs::write(&go, "").unwrap();
    let said = run.wait_with_output_of(&env);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
}

#[test]
fn hours_are_planned_for_and_waited_for() {
    let env = TestEnv::new();
    // Of two halves of the day one is far.
    let hour: u32 =
        String::from_utf8(std::process::Command::new("date").args(["-u", "+%H"]).output().unwrap().stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
    let closed = format!("{:02}:00-{:02}:00", (hour + 6) % 24, (hour + 8) % 24);
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[limits]\ntimezone = \"UTC\"\n[test.night]\nrun = \"true\"\nneeds = {{ window = \"{closed}\" }}\n"
        ),
    );
    let plan = env.run(&["plan"]);
    assert!(plan.contains(&format!("waits: it starts only at these hours: {closed} (UTC)")), "{plan}");
    let shown = env.run(&["config", "show", "--origin"]);
    assert!(shown.contains(&format!("window = \"{closed}\"")), "{shown}");
    let mut run = start(&env, &["run", "--progress", "plain"]);
    let why = wait_for(|| Some(env.run(&["why", "night"])).filter(|why| why.contains("these hours")));
    assert!(why.contains(&closed) && why.contains("they begin"), "{why}");
    interrupt(&run);
    let said = run.wait_with_output_of(&env);
    assert!(said.contains("waiting  it starts only at these hours"), "{said}");
    assert!(said.ends_with("--- exit 130\n"), "{said}");
}

/// As Ctrl-C does it.
fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

#[test]
fn what_can_never_open_is_an_error_of_the_configuration() {
    let env = TestEnv::new();
    for (limits, needs, part) in [
        ("tokens = { t = 2 }", "tokens = { t = 3 }", "it takes 3 tokens `t`, and there are 2"),
        ("tokens = { tok = 2 }", "tokens = { tik = 1 }", "no token is named `tik`"),
        ("", "window = \"Mon-Fri 25:00-26:00\"", "names no hours of the week"),
        ("timezone = \"Middle/Earth\"", "window = \"Mon\"", "the system knows no time zone `Middle/Earth`"),
        ("", "launch-limiter = { every = \"1s\" }", "this has no `command`"),
    ] {
        env.write(
            "muster.toml",
            &format!("[area]\nname = \"demo\"\n[limits]\n{limits}\n[test.a]\nrun = \"true\"\nneeds = {{ {needs} }}\n"),
        );
        let said = env.run(&["config", "check"]);
        assert!(said.contains(part) && said.ends_with("--- exit 2\n"), "{said}");
    }
}

#[test]
fn a_disk_that_is_too_full_holds_a_test_up() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.big]\nrun = \"true\"\nneeds = { disk = { \"/\" = \"4000TiB\" } }\n",
    );
    let run = start(&env, &["run", "--progress", "quiet"]);
    let why = wait_for(|| Some(env.run(&["why", "big"])).filter(|why| why.contains("are free on")));
    assert!(why.contains("on `/`, and it needs 4096000.0 GiB"), "{why}");
    interrupt(&run);
    let mut run = run;
    run.wait_with_output_of(&env);
}

#[test]
fn a_megatest_area_has_the_same_gates() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write("megatest.config", "[fields]\nOS TEXT\n[setup]\nlinktree #{mtrah links}\n[tokens]\nmatlab 1\n");
    env.write(
        "tests/asks/testconfig",
        "[ezsteps]\ns true\n[requirements]\nlaunchlimiter ./may-launch\ntokens matlab\nlaunch-window 00:00-24:00\n",
    );
    env.write("tests/asks/may-launch", "#!/bin/sh\necho asked >> $MT_RUN_AREA_HOME/asked\n");
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(env.area().join("tests/asks/may-launch"))
        .status()
        .unwrap();
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(std::fs::read_to_string(env.area().join("asked")).unwrap(), "asked\n");
}
