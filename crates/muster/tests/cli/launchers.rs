//! Megatest tests whose steps other programs start: one that waits, one that does not, one that fails, one that loses
//! its job, and `ssh` with a real server.

use crate::env::TestEnv;
use std::process::{Command, Stdio};

#[path = "../../../muster-package/tests/shared/sshd.rs"]
#[expect(dead_code, reason = "its addresses are for packages")]
pub(crate) mod sshd;

/// An area whose steps are started by this.
fn area(jobtools: &str, more: &str, steps: &str) -> TestEnv {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    env.write(
        "megatest.config",
        &format!(
            "[fields]\nOS TEXT\n[setup]\nlinktree #{{mtrah links}}\n[jobtools]\nuse-launchers yes\n{jobtools}\n{more}"
        ),
    );
    env.write("tests/t/testconfig", &format!("[ezsteps]\n{steps}"));
    env
}

/// A program of the area.
fn program(env: &TestEnv, name: &str, text: &str) {
    env.write(name, text);
    assert!(Command::new("chmod").arg("+x").arg(env.area().join(name)).status().unwrap().success());
}

fn log(env: &TestEnv, step: &str) -> String {
    std::fs::read_to_string(env.area().join(format!("links/linux/w1/t/{step}.log"))).unwrap()
}

#[test]
fn a_launcher_that_returns_at_once_hands_a_step_on_and_its_end_is_heard() {
    let env =
        area("launcher #{mtrah detach}", "", "one echo \"by $BY and $MT_TEST_NAME\"\ntwo sh -c 'exit 7'\n");
    program(&env, "detach", "#!/bin/sh\nBY=detach\nexport BY\nnohup \"$@\" > /dev/null 2>&1 &\n");
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.contains("exit code 7") && said.ends_with("--- exit 1\n"), "{said}");
    assert_eq!(log(&env, "one"), "by detach and t\n");
}

#[test]
fn a_launcher_that_fails_is_the_labs_fault_and_says_why() {
    let env = area("launcher #{mtrah full}", "", "one true\n");
    program(&env, "full", "#!/bin/sh\necho the queue is closed\nexit 3\n");
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.contains("the queue is closed") && said.ends_with("--- exit 3\n"), "{said}");
}

#[test]
fn a_job_that_is_not_heard_of_for_its_lease_is_lost() {
    let env = area("launcher #{mtrah lose}\nlaunch-lease 2s", "", "one sleep 1000\n");
    // It begins, and its host dies.
    program(
        &env,
        "lose",
        "#!/bin/sh\nsetsid \"$@\" > /dev/null 2>&1 &\njob=$!\nwhile ! ls links/*/*/t/.muster/launch-one/alive ../../../../links > /dev/null 2>&1; do sleep 0.1; [ -e .muster/launch-one/alive ] && break; done\nkill -s KILL -- -$job\n",
    );
    let said = env.run(&["run", "-t", "linux", "-n", "w1"]);
    assert!(said.ends_with("--- exit 3\n"), "{said}");
    let log = env.run(&["log", "t"]);
    assert!(log.contains("was not heard of for 2 s"), "{log}");
}

#[test]
fn a_job_ends_with_the_run_that_wanted_it() {
    let env = area(
        "launcher #{mtrah detach}\nlaunch-lease 2s",
        "",
        "one touch $MT_RUN_AREA_HOME/begun; sleep 1000\n",
    );
    program(&env, "detach", "#!/bin/sh\nnohup setsid \"$@\" > /dev/null 2>&1 &\n");
    let mut run = env.command(&["run", "-t", "linux", "-n", "w1"]).stderr(Stdio::null()).spawn().unwrap();
    while !env.area().join("begun").exists() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

#[test]
fn tests_go_to_the_host_that_their_pattern_says_over_ssh() {
    let host = sshd::Host::new();
    let env = area(
        "launcher false",
        "[host-types]\nboard ssh board\nany #MTLOWESTLOAD nowhere board\n[launchers]\nt board\nother any\n",
        "one echo \"by ${SSH_CONNECTION:+ssh}\"\n",
    );
    env.write("tests/other/testconfig", "[ezsteps]\none echo \"by ${SSH_CONNECTION:+ssh}\"; exit 5\n");
    let ssh = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", host.path("ssh_config").display());
    program(&env, "bin/ssh", &ssh);
    let path = format!("{}:/usr/bin:/bin", env.area().join("bin").display());
    let run = env.command(&["run", "-t", "linux", "-n", "w1"]).env("PATH", path).output().unwrap();
    let said = env.tell(&run);
    assert!(said.contains("FAIL") && said.ends_with("--- exit 1\n"), "{said}");
    assert_eq!(log(&env, "one"), "by ssh\n");
    assert!(host.connections() >= 3);
}
