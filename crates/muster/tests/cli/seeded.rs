//! Commands that look at records, on records made by hand.

use crate::env::TestEnv;
use expect_test::{Expect, expect};

fn check(args: &[&str], expected: Expect) {
    let env = TestEnv::new();
    env.seed();
    expected.assert_eq(&env.run(args));
}

#[test]
fn runs_are_listed_newest_first() {
    check(
        &["runs"],
        expect![[r#"
        run  name  target  started               took  came to  items
          2  rc1   linux   2026-11-20 18:02:00  12.4s  FAIL     1 failed, 1 blocked, 1 passed
          1        linux   2026-11-20 18:01:00  12.4s  PASS     1 flaky, 2 passed
        --- exit 0
    "#]],
    );
}

#[test]
fn a_run_whose_process_was_killed_is_told_from_one_that_runs() {
    let env = TestEnv::new();
    env.seed();
    env.seed_killed();
    expect![[r#"
        run  target  started              came to  items
          3  linux   2026-11-20 18:03:00  KILLED   3 not ended
        --- exit 0
    "#]]
    .assert_eq(&env.run(&["runs", "-n", "1"]));
    expect![[r#"
        demo/3 KILLED
          its process ended without saying so; muster resume 3 goes on with it
          OPEN  net/ping
          OPEN  net/tls
          OPEN  deploy
        --- exit 0
    "#]]
    .assert_eq(&env.run(&["why", "3"]));
    expect![[r#"
        --- stderr
        error: attempt 1 of demo/3/net/ping came to no end and left no log
        hint: its run is no longer worked on; `muster resume 3` goes on with it
        --- exit 4
    "#]]
    .assert_eq(&env.run(&["log", "net/ping"]));
}

#[test]
fn results_are_of_the_latest_run_and_end_like_it() {
    check(
        &["results"],
        expect![[r#"
        demo/2 FAIL rc1 for linux, started 2026-11-20 18:02:00, took 12.4s: 1 failed, 1 blocked, 1 passed
        FAIL     680ms  net/ping  exit code 1: error: host is down
        PASS     680ms  net/tls
        BLOCKED         deploy    `net` came to `fail`
        --- exit 1
    "#]],
    );
    check(
        &["results", "--failed"],
        expect![[r#"
        demo/2 FAIL rc1 for linux, started 2026-11-20 18:02:00, took 12.4s: 1 failed, 1 blocked, 1 passed
        FAIL     680ms  net/ping  exit code 1: error: host is down
        BLOCKED         deploy    `net` came to `fail`
        --- exit 1
    "#]],
    );
    check(
        &["results", "-2", "--flaky"],
        expect![[r#"
        demo/1 PASS for linux, started 2026-11-20 18:01:00, took 12.4s: 1 flaky, 2 passed
        FLAKY  340ms  net/tls  ×2  fail, then pass
        --- exit 0
    "#]],
    );
    check(
        &["results", "1", "--test", "net", "--output", "quiet"],
        expect![[r#"
        --- exit 0
    "#]],
    );
}

#[test]
fn a_run_can_be_pointed_at_in_several_ways() {
    let env = TestEnv::new();
    env.seed();
    let second = env.run(&["results", "2"]);
    for run in ["latest", "-1", "rc1"] {
        assert_eq!(env.run(&["results", run]), second, "{run}");
    }
    expect![[r#"
        --- stderr
        error: area `demo` has no run `9`
        hint: `muster runs` lists them
        --- exit 2
    "#]]
    .assert_eq(&env.run(&["results", "9"]));
}

#[test]
fn results_for_programs_are_one_document() {
    let env = TestEnv::new();
    env.seed();
    let said = env.command(&["results", "1", "--json"]).output().unwrap();
    let run: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(run["address"], "demo/1");
    assert_eq!(run["tests"][0]["items"][1]["verdict"], "flaky");
}

#[test]
fn a_log_is_that_of_the_last_attempt_unless_another_is_named() {
    check(
        &["log", "net/ping"],
        expect![[r#"
        looking
        error: host is down
        --- exit 0
    "#]],
    );
    check(
        &["log", "demo/1/net/tls#1", "--stderr"],
        expect![[r#"
        error: host is down
        --- exit 0
    "#]],
    );
    check(
        &["log", "-2/net/tls", "--attempt", "2", "--timestamps"],
        expect![[r#"
            0.003 out looking
            1.250 out [32mfine[0m
        --- exit 0
    "#]],
    );
    check(
        &["log", "net/ping", "--step", "judge"],
        expect![[r#"
        error: host is down
        --- exit 0
    "#]],
    );
    check(
        &["log", "net/ping", "--output", "json"],
        expect![[r#"
        {"stream":"stdout","at_millis":3,"text":"looking\n"}
        {"stream":"stderr","at_millis":1250,"text":"error: host is down\n"}
        --- exit 0
    "#]],
    );
}

#[test]
fn a_log_that_is_not_there_says_why() {
    check(
        &["log", "deploy"],
        expect![[r#"
        --- stderr
        error: demo/2/deploy was not run: `net` came to `fail`
        hint: `muster why demo/2/deploy` tells more
        --- exit 4
    "#]],
    );
    check(
        &["log", "net/pong"],
        expect![[r#"
        --- stderr
        error: `net` has no item `pong` in demo/2
        hint: did you mean `net/ping`?
        --- exit 2
    "#]],
    );
    check(
        &["log", "net"],
        expect![[r#"
        --- stderr
        error: `net` has 2 items in demo/2: name one
        hint: for instance net/ping; `muster results 2 --test net` lists them
        --- exit 2
    "#]],
    );
    check(
        &["log", "ned/ping"],
        expect![[r#"
        --- stderr
        error: demo/2 has no test `ned`
        hint: did you mean `net`?
        --- exit 2
    "#]],
    );
    check(
        &["log", "net/ping#3"],
        expect![[r#"
        --- stderr
        error: demo/2/net/ping has no attempt 3: 1 was made
        --- exit 2
    "#]],
    );
    check(
        &["log", "net/ping", "--step", "x"],
        expect![[r#"
        --- stderr
        error: the attempt has no step `x`
        hint: it has `look`, `judge`
        --- exit 2
    "#]],
    );
    check(
        &["log", "2"],
        expect![[r#"
        --- stderr
        error: `2` is a run: name a test or an item of it
        hint: `muster results 2` lists them
        --- exit 2
    "#]],
    );
}

#[test]
fn why_tells_all_that_is_recorded() {
    check(
        &["why", "net/ping"],
        expect![[r#"
        demo/2/net/ping FAIL
          it ran and said no
          exit code 1: error: host is down

          checks          checks net
          owner           ana
          defined in      muster.toml:4
          tags            smoke
          is run because  every test was asked for
          limits          10m00s an attempt
          retries         up to 1; a pass after a failure counts as flaky

          attempt 1 fail in 680ms on slot-1, 2026-11-20 18:02:01
            cause     exit code 1
            used      cpu 12ms user, 3ms system; memory 9.0 MiB
            step      look pass in 4ms, exit code 0
            step      judge fail in 300ms, exit code 1
            measured  round-trip = 1.5 ms, expected 1 ± 0.5 ok
            muster log demo/2/net/ping#1
        --- exit 0
    "#]],
    );
    check(
        &["why", "deploy"],
        expect![[r#"
        demo/2/deploy BLOCKED
          it was not run, because something it comes after did not do what it must: `net` came to `fail`

          checks          checks deploy
          owner           ana
          defined in      muster.toml:4
          tags            smoke
          is run because  every test was asked for
          limits          10m00s an attempt
          retries         up to 1; a pass after a failure counts as flaky
          comes after     all of `net`: fail (ping fail)
        --- exit 0
    "#]],
    );
    check(
        &["why", "2"],
        expect![[r#"
        demo/2 FAIL
          FAIL     net/ping  exit code 1: error: host is down
          BLOCKED  deploy    `net` came to `fail`
        --- exit 0
    "#]],
    );
}

#[test]
fn two_runs_are_compared() {
    check(
        &["diff", "1", "2"],
        expect![[r#"
        demo/1 for linux → demo/2 for linux
        newly failing (2)
          BLOCKED  deploy    was pass  `net` came to `fail`
          FAIL     net/ping  was pass  exit code 1: error: host is down
        changed (1)
          PASS  net/tls  was flaky
        0 items are as they were
        --- exit 1
    "#]],
    );
    check(
        &["diff", "2", "1"],
        expect![[r#"
        demo/2 for linux → demo/1 for linux
        fixed (2)
          PASS  deploy    was prerequisite-failed
          PASS  net/ping  was fail
        changed (1)
          FLAKY  net/tls  was pass
        0 items are as they were
        --- exit 0
    "#]],
    );
}

#[test]
fn history_shows_outcomes_durations_and_how_flaky_a_test_is() {
    check(
        &["history", "net/tls"],
        expect![[r#"
        net/tls  2 runs, 0 failed, 1 flaky
        came to     f.
        took        ▅█
                    340ms to 680ms, median when it passed 510ms
        flake rate  50 % [9.5 % – 91 %], of 2 judged

        run  started              target  came to   took  attempts
          2  2026-11-20 18:02:01  linux   PASS     680ms
          1  2026-11-20 18:01:01  linux   FLAKY    340ms  fail, pass
        --- exit 0
    "#]],
    );
    check(
        &["history", "net"],
        expect![[r#"
            net  2 items in 2 runs, 2 of them failed or flaked
            runs  item  median  failed  flake rate, 95 %
              f.  tls    510ms          50 % [9.5 % – 91 %]
              .F  ping   340ms       1  0 % [0 % – 66 %]
            --- exit 0
        "#]],
    );
    check(
        &["history", "nat"],
        expect![[r#"
        --- stderr
        error: nothing is recorded of `nat`
        hint: `muster results` lists tests and items
        --- exit 2
    "#]],
    );
}

#[test]
fn a_run_is_found_by_the_name_that_is_printed() {
    let env = TestEnv::new();
    env.seed();
    for name in ["demo/1", "demo/-2", "1"] {
        let said = env.run(&["results", name]);
        assert!(said.starts_with("demo/1 PASS"), "{name}: {said}");
    }
    assert!(env.run(&["results", "demo/rc1"]).starts_with("demo/2 FAIL rc1"));
    assert!(env.run(&["diff", "demo/1", "demo/2"]).starts_with("demo/1"));
    assert!(env.run(&["results", "other/1"]).contains("area `demo` has no run `other/1`"));
}
