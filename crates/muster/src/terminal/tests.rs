//! What each way of showing progress says of the same run.

use super::emit::Emit;
use super::fixtures::{START, item, result, run_of, test};
use super::summary::Looks;
use super::{Interrupt, Watcher, dots, json, plain, quiet};
use expect_test::{Expect, expect};
use muster_core::event::{Event, Told};
use muster_core::id::RunId;
use muster_core::outcome::{Counts, Outcome, Verdict};
use muster_core::view::{RunState, RunView};
use muster_formats::report::InlineLogs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes somebody wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn looks() -> Looks {
    Looks { width: 80, program: "muster".to_owned(), logs: Arc::new(InlineLogs) }
}

fn told(millis: u64, event: Event) -> Told {
    Told { at: START + Duration::from_millis(millis), run: RunId(42), event }
}

/// The run that all of them are shown.
fn run() -> RunView {
    run_of(
        42,
        vec![
            test("build", vec![item("", Verdict::Pass)]),
            test(
                "net",
                vec![
                    item("dns", Verdict::Pass),
                    item("ping/ipv6", Verdict::Fail),
                    item("tls", Verdict::Flaky),
                    item("slow", Verdict::Timeout),
                    item("odd", Verdict::UnexpectedPass),
                    item("known", Verdict::KnownFailure),
                ],
            ),
            test("deploy", vec![item("", Verdict::PrerequisiteFailed)]),
        ],
    )
}

/// Its events, as the lab tells them.
fn events(run: &RunView) -> Vec<Told> {
    let mut all = vec![told(
        0,
        Event::RunStarted {
            address: run.address().into(),
            name: "rc1".into(),
            target: run.target.clone(),
            tests: 3,
            items: 2,
            undiscovered: 1,
        },
    )];
    let mut at = 100;
    for test in &run.tests {
        if test.items.len() > 1 {
            all.push(told(
                at,
                Event::AttemptEnded {
                    test: test.name.as_str().into(),
                    item: "".into(),
                    attempt: 1,
                    device: "box".into(),
                    discovery: true,
                    result: Arc::new(result(Outcome::Pass, "")),
                    retried: false,
                },
            ));
            all.push(told(
                at,
                Event::ItemEnded {
                    test: test.name.as_str().into(),
                    item: "".into(),
                    verdict: Verdict::Pass,
                    attempts: 1,
                    reason: "".into(),
                },
            ));
            all.push(told(
                at,
                Event::ItemsFound { test: test.name.as_str().into(), items: test.items.len() as u32 },
            ));
        }
        for item in &test.items {
            let (name, path): (Arc<str>, Arc<str>) = (test.name.as_str().into(), item.path.as_str().into());
            for attempt in &item.attempts {
                let device: Arc<str> = attempt.device.as_str().into();
                let started = Event::AttemptStarted {
                    test: name.clone(),
                    item: path.clone(),
                    attempt: attempt.number,
                    device: device.clone(),
                };
                all.push(told(at, started));
                at += 340;
                let ended = Event::AttemptEnded {
                    test: name.clone(),
                    item: path.clone(),
                    attempt: attempt.number,
                    device,
                    discovery: false,
                    result: attempt.result.clone(),
                    retried: usize::from(attempt.number) < item.attempts.len(),
                };
                all.push(told(at, ended));
            }
            all.push(told(
                at,
                Event::ItemEnded {
                    test: name,
                    item: path,
                    verdict: item.verdict.unwrap(),
                    attempts: item.attempts.len() as u16,
                    reason: item.reason.as_str().into(),
                },
            ));
        }
        let ended = Event::TestEnded {
            test: test.name.as_str().into(),
            verdict: test.verdict.unwrap(),
            counts: test.counts,
        };
        all.push(told(at, ended));
    }
    let ended = Event::RunEnded { verdict: run.verdict(), counts: run.counts, stopped: false };
    all.push(told(at, ended));
    all
}

fn check(make: impl FnOnce(Written) -> Box<dyn Watcher>, expected: Expect) {
    let written = Written::default();
    let mut watcher = make(written.clone());
    let run = run();
    for event in events(&run) {
        watcher.told(&event);
    }
    watcher.tick(START + Duration::from_secs(12), None);
    watcher.finished(&run, "");
    drop(watcher);
    let text = written.text();
    assert!(!text.contains('\x1b'), "no colour was asked for");
    expected.assert_eq(&text);
}

fn emit(written: Written) -> Emit {
    Emit::new(Box::new(written), false)
}

#[test]
fn plain_lines_tell_of_tests_and_of_items_that_need_a_person() {
    check(
        |w| Box::new(plain::Plain::new(emit(w), looks(), plain::Detail::Tests)),
        expect![[r#"
            demo/42 rc1 for linux: 3 tests, 8 items
               PASS   440ms  build
               FAIL   340ms  net/ping/ipv6
                             exit code 1: error: it is broken
              FLAKY          net/tls
                             exit code 1: error: it is broken
            TIMEOUT   340ms  net/slow
                             did not end within 10s: error: it is broken
              XPASS          net/odd
            TIMEOUT   2.82s  net  1 timed out, 1 failed, 1 unexpected pass, 1 flaky, 1 known failure, 1 passed
            BLOCKED          deploy
            ────────────────────────────────────────────────────────────────────────────────
            failed
               FAIL   340ms  net/ping/ipv6
                             exit code 1: error: it is broken
            TIMEOUT   340ms  net/slow
                             did not end within 10s: error: it is broken
            passed unexpectedly
              XPASS   340ms  net/odd
            not run because of these
            BLOCKED          deploy
                             `build` came to `fail`
            flaky
              FLAKY   340ms  net/tls
                             fail, then pass
            slowest 340ms build, 340ms net/dns, 340ms net/ping/ipv6
               FAIL   12.4s  demo/42 for linux
                             1 timed out, 1 failed, 1 unexpected pass, 1 blocked, 1 flaky, 1 known failure, 2 passed

               look muster log demo/42/net/ping/ipv6
                why muster why demo/42/net/ping/ipv6
              again muster rerun 42 --failed
        "#]],
    );
}

#[test]
fn verbose_lines_tell_of_every_attempt_with_the_output_of_those_that_failed() {
    check(
        |w| Box::new(plain::Plain::new(emit(w), looks(), plain::Detail::Attempts)),
        expect![[r#"
            demo/42 rc1 for linux: 3 tests, 8 items
               PASS   340ms  build
                             on box, cpu 15ms, memory 9.0 MiB
               PASS   340ms  net (items)
                             on box, cpu 15ms, memory 9.0 MiB
               PASS   340ms  net/dns
                             on box, cpu 15ms, memory 9.0 MiB
               FAIL   340ms  net/ping/ipv6
                             on box, cpu 15ms, memory 9.0 MiB
                             exit code 1
                           │ starting
                           │ error: it is broken
              RETRY   340ms  net/tls#1
                             on box, cpu 15ms, memory 9.0 MiB
                             exit code 1
                           │ starting
                           │ error: it is broken
               PASS   340ms  net/tls#2
                             on box, cpu 15ms, memory 9.0 MiB
              FLAKY          net/tls
                             exit code 1
            TIMEOUT   340ms  net/slow
                             on box, cpu 15ms, memory 9.0 MiB
                             did not end within 10s
                           │ starting
                           │ error: it is broken
               PASS   340ms  net/odd
                             on box, cpu 15ms, memory 9.0 MiB
              XPASS          net/odd
               FAIL   340ms  net/known
                             on box, cpu 15ms, memory 9.0 MiB
                             exit code 1
                           │ starting
                           │ error: it is broken
              KNOWN          net/known
                             exit code 1
            TIMEOUT   2.82s  net  1 timed out, 1 failed, 1 unexpected pass, 1 flaky, 1 known failure, 1 passed
            BLOCKED          deploy
                             `build` came to `fail`
            ────────────────────────────────────────────────────────────────────────────────
            failed
               FAIL   340ms  net/ping/ipv6
                             exit code 1: error: it is broken
            TIMEOUT   340ms  net/slow
                             did not end within 10s: error: it is broken
            passed unexpectedly
              XPASS   340ms  net/odd
            not run because of these
            BLOCKED          deploy
                             `build` came to `fail`
            flaky
              FLAKY   340ms  net/tls
                             fail, then pass
            slowest 340ms build, 340ms net/dns, 340ms net/ping/ipv6
               FAIL   12.4s  demo/42 for linux
                             1 timed out, 1 failed, 1 unexpected pass, 1 blocked, 1 flaky, 1 known failure, 2 passed

               look muster log demo/42/net/ping/ipv6
                why muster why demo/42/net/ping/ipv6
              again muster rerun 42 --failed
        "#]],
    );
}

#[test]
fn dots_are_a_sign_for_each_item() {
    check(
        |w| Box::new(dots::Dots::new(emit(w), looks())),
        expect![[r#"
        demo/42 rc1 for linux: 3 tests, 8 items
        ..FfTXkb                                                              8
        ────────────────────────────────────────────────────────────────────────────────
        failed
           FAIL   340ms  net/ping/ipv6
                         exit code 1: error: it is broken
        TIMEOUT   340ms  net/slow
                         did not end within 10s: error: it is broken
        passed unexpectedly
          XPASS   340ms  net/odd
        not run because of these
        BLOCKED          deploy
                         `build` came to `fail`
        flaky
          FLAKY   340ms  net/tls
                         fail, then pass
        slowest 340ms build, 340ms net/dns, 340ms net/ping/ipv6
           FAIL   12.4s  demo/42 for linux
                         1 timed out, 1 failed, 1 unexpected pass, 1 blocked, 1 flaky, 1 known failure, 2 passed

           look muster log demo/42/net/ping/ipv6
            why muster why demo/42/net/ping/ipv6
          again muster rerun 42 --failed
    "#]],
    );
}

#[test]
fn the_quiet_one_speaks_only_of_what_is_wrong() {
    check(
        |w| Box::new(quiet::Quiet::new(emit(w), looks())),
        expect![[r#"
        ────────────────────────────────────────────────────────────────────────────────
        failed
           FAIL   340ms  net/ping/ipv6
                         exit code 1: error: it is broken
        TIMEOUT   340ms  net/slow
                         did not end within 10s: error: it is broken
        passed unexpectedly
          XPASS   340ms  net/odd
        not run because of these
        BLOCKED          deploy
                         `build` came to `fail`
        flaky
          FLAKY   340ms  net/tls
                         fail, then pass
           FAIL   12.4s  demo/42 for linux
                         1 timed out, 1 failed, 1 unexpected pass, 1 blocked, 1 flaky, 1 known failure, 2 passed

           look muster log demo/42/net/ping/ipv6
            why muster why demo/42/net/ping/ipv6
          again muster rerun 42 --failed
    "#]],
    );
    let written = Written::default();
    let mut watcher = quiet::Quiet::new(emit(written.clone()), looks());
    watcher.interrupted(Interrupt::Stopping);
    watcher.finished(&run_of(1, vec![test("t", vec![item("", Verdict::Pass)])]), "");
    assert_eq!(written.text(), "");
}

#[test]
fn programs_get_each_event_as_a_line_of_json() {
    let written = Written::default();
    let mut watcher = json::Json::new(Box::new(written.clone()), Emit::new(Box::new(std::io::sink()), false));
    let run = run();
    for event in events(&run) {
        watcher.told(&event);
    }
    watcher.finished(&run, "");
    let text = written.text();
    assert_eq!(text.lines().count(), events(&run).len());
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_run_in_which_all_is_well_takes_two_lines() {
    let tests = vec![test("t", ["a", "b", "c", "d"].map(|p| item(p, Verdict::Pass)).to_vec())];
    let lines = looks().summary(&run_of(7, tests), "", &[]);
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn what_a_list_leaves_out_is_had_by_a_command_that_is_there() {
    use clap::Parser as _;
    let all =
        |prefix: &str, verdict| (0..50).map(|n| item(&format!("{prefix}{n}"), verdict)).collect::<Vec<_>>();
    let verdicts =
        [Verdict::Fail, Verdict::PrerequisiteFailed, Verdict::UnexpectedPass, Verdict::Flaky, Verdict::Warn];
    let items = verdicts.iter().flat_map(|v| all(v.word(), *v)).collect();
    let text = looks().summary(&run_of(7, vec![test("t", items)]), "", &[]).join("\n");
    let text = anstream::adapter::strip_str(&text).to_string();
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("and ")?.split_once(": "))
        .map(|(_, c)| c)
        .collect();
    assert_eq!(commands.len(), verdicts.len(), "{text}");
    for command in commands {
        if let Err(error) = crate::cli::Cli::try_parse_from(command.split(' ')) {
            panic!("`{command}` cannot be typed: {error}");
        }
    }
}

#[test]
fn a_stopped_run_says_why_and_how_to_go_on() {
    let mut run = run_of(7, vec![test("t", vec![item("a", Verdict::Pass)])]);
    run.state = RunState::Stopped;
    run.items = 40;
    let text = looks().summary(&run, "the run's time limit was reached", &[]).join("\n");
    expect![[r#"
        ────────────────────────────────────────────────────────────────────────────────
        stopped the run's time limit was reached
        STOPPED   12.4s  demo/7 for linux: 1 passed, 39 not ended

          go on muster resume 7"#]]
    .assert_eq(&anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn a_sign_of_life_comes_after_a_long_silence() {
    let written = Written::default();
    let mut watcher = plain::Plain::new(emit(written.clone()), looks(), plain::Detail::Tests);
    let run = run();
    watcher.told(&events(&run)[0]);
    watcher.told(&told(
        0,
        Event::AttemptStarted { test: "build".into(), item: "".into(), attempt: 1, device: "box".into() },
    ));
    for secs in 0..35 {
        watcher.tick(START + Duration::from_secs(secs), Some(Duration::from_secs(60 - secs)));
    }
    expect![[r#"
        demo/42 rc1 for linux: 3 tests, 2 items, 1 test is yet to be asked for theirs
                    15s  0 of 2+ items, 1 running (build for 15s), about 45s left
                    30s  0 of 2+ items, 1 running (build for 30s), about 30s left
    "#]]
    .assert_eq(&written.text());
}

#[test]
fn a_reader_who_goes_away_does_not_disturb_the_run() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let run = run();
    let mut watchers: Vec<Box<dyn Watcher>> = vec![
        Box::new(plain::Plain::new(Emit::new(Box::new(Gone), true), looks(), plain::Detail::Attempts)),
        Box::new(dots::Dots::new(Emit::new(Box::new(Gone), true), looks())),
        Box::new(json::Json::new(Box::new(Gone), Emit::new(Box::new(Gone), false))),
    ];
    for watcher in &mut watchers {
        for event in events(&run) {
            watcher.told(&event);
            watcher.tick(event.at, None);
        }
        watcher.finished(&run, "");
    }
}

#[test]
fn a_run_that_goes_on_counts_what_had_ended() {
    let written = Written::default();
    let mut watcher = plain::Plain::new(emit(written.clone()), looks(), plain::Detail::Tests);
    let mut before = Counts::default();
    (0..30).for_each(|_| before.add(Verdict::Pass));
    watcher.goes_on(before);
    let started = Event::RunStarted {
        address: "demo/42".into(),
        name: "".into(),
        target: Vec::new(),
        tests: 1,
        items: 40,
        undiscovered: 0,
    };
    watcher.told(&told(0, started));
    watcher.tick(START, None);
    watcher.tick(START + Duration::from_secs(20), None);
    assert!(written.text().contains("30 of 40 items"), "{}", written.text());
}
