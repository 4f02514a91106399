//! Files that attempts leave: the same on this machine and on a lab, whatever dies between the host that has them
//! and the record.

use crate::env::TestEnv;
use crate::lab::{Lab, lines};
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// `leaves` fails and leaves a file, one in a directory, one that is too large for a lab, and a link out.
const AREA: &str = r#"
[area]
name = "art"

[test.leaves]
run = "sh leaves.sh"

[test.good]
run = "echo x > $MUSTER_WORK_DIR/gone"
"#;

const LEAVES: &str = r#"#!/bin/sh
cd "$MUSTER_WORK_DIR" || exit 99
mkdir -p out/deep
printf 'count\n' > 'out/deep/a b%2F"<&'
printf '<b>hello</b>' > page.html
ln -s /etc/passwd out/link
exit 1
"#;

fn area(env: &TestEnv) {
    env.write("muster.toml", AREA);
    env.write("leaves.sh", LEAVES);
}

/// What is the same wherever it ran: list, one file, all files, reports.
fn check(env: &TestEnv, muster: &dyn Fn(&[&str]) -> Command, on_lab: bool) {
    let said = |args: &[&str]| -> Output { muster(args).output().unwrap() };
    let told = |args: &[&str]| env.tell(&said(args));
    let args = ["run", "--progress", "quiet", "--report", "json:r.json", "--report", "junit:r.xml"];
    let run = said(&[&args[..], &["--report", "html:r.html"]].concat());
    assert_eq!(run.status.code(), Some(1), "{}", env.tell(&run));

    let list = told(&["artifacts", "leaves"]);
    assert!(list.contains("art/1/leaves#1 left 2 files (18 B), 1 left out"), "{list}");
    assert!(list.contains("out/deep/a b%2F\"<&") && list.contains("page.html"), "{list}");
    assert!(list.contains("left out: out/link: it is a symbolic link"), "{list}");
    let one = said(&["artifacts", "leaves#1", "out/deep/a b%2F\"<&"]);
    assert_eq!(one.stdout, b"count\n", "{}", env.tell(&one));
    let into = env.home().join("into");
    let copied = said(&["artifacts", "1/leaves", "--into", into.to_str().unwrap()]);
    assert_eq!(copied.status.code(), Some(0), "{}", env.tell(&copied));
    assert_eq!(fs::read_to_string(into.join("out/deep/a b%2F\"<&")).unwrap(), "count\n");
    assert_eq!(fs::read_to_string(into.join("page.html")).unwrap(), "<b>hello</b>");
    assert!(!into.join("out/link").exists());
    fs::remove_dir_all(&into).unwrap();
    let part = said(&["artifacts", "leaves", "out/", "--into", into.to_str().unwrap()]);
    assert_eq!(part.status.code(), Some(0), "{}", env.tell(&part));
    assert!(into.join("out/deep").exists() && !into.join("page.html").exists());
    fs::remove_dir_all(&into).unwrap();

    let wrong = said(&["artifacts", "leaves", "page.htm"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(env.tell(&wrong).contains("did you mean `page.html`?"), "{}", env.tell(&wrong));
    let good = said(&["artifacts", "good"]);
    assert_eq!(good.status.code(), Some(4));
    assert!(env.tell(&good).contains("nothing is kept of what art/1/good#1 left"), "{}", env.tell(&good));

    assert!(told(&["log", "leaves"]).contains("2 files (18 B), see `muster artifacts art/1/leaves#1`"));
    assert!(told(&["why", "leaves"]).contains("2 files (18 B), 1 left out: muster artifacts"));
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(env.area().join("r.json")).unwrap()).unwrap();
    let item = |name: &str| {
        let tests = json["tests"].as_array().unwrap();
        tests.iter().find(|t| t["name"] == name).unwrap()["items"][0]["attempts"][0].clone()
    };
    assert!(item("good")["artifacts"].is_null());
    let kept = item("leaves")["artifacts"].clone();
    assert_eq!(kept["left_out"][0]["path"], "out/link", "{kept}");
    let file = &kept["files"][1];
    assert_eq!((&file["path"], &file["bytes"]), (&"page.html".into(), &12.into()), "{kept}");
    let digest = blake3::hash(b"<b>hello</b>").to_hex().to_string();
    assert_eq!(file["digest"].as_str(), on_lab.then_some(digest.as_str()), "{kept}");
    let junit = fs::read_to_string(env.area().join("r.xml")).unwrap();
    assert!(junit.contains(r#"<property name="artifact" value="page.html"/>"#), "{junit}");
    assert!(junit.contains(r#"value="out/deep/a b%2F&quot;&lt;&amp;""#), "{junit}");
    let html = fs::read_to_string(env.area().join("r.html")).unwrap();
    assert!(
        html.contains("a b%2F&quot;&lt;&amp;") && html.contains("muster artifacts art/1/leaves#1"),
        "{html}"
    );
}

#[test]
fn what_a_failed_attempt_left_here_can_be_listed_and_had() {
    let env = TestEnv::new();
    area(&env);
    check(&env, &|args| env.command(args), false);
}

#[test]
fn what_a_failed_attempt_left_on_a_host_of_a_lab_comes_to_the_record() {
    let env = TestEnv::new();
    area(&env);
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "2"]);
    check(&env, &|args| lab.command(args), true);
    // Nothing of it stays on the host.
    let kept =
        Command::new("find").arg(env.home().join("one")).args(["-name", "page.html"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
}

#[test]
fn what_is_too_large_for_the_lab_is_left_out_and_that_is_said() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"art\"\n[test.big]\n\
         run = \"cd $MUSTER_WORK_DIR && truncate -s 2G core && echo small > trace && exit 1\"\n",
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &[]);
    let run = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", env.tell(&run));
    let list = env.tell(&lab.command(&["artifacts", "big"]).output().unwrap());
    assert!(list.contains("left 1 file (6 B), 1 left out"), "{list}");
    assert!(
        list.contains("left out: core: it has 2.0 GiB, and all files of an attempt have 1.0 GiB at most"),
        "{list}"
    );
}

#[test]
fn a_file_that_somebody_still_writes_to_holds_up_nobody() {
    let env = TestEnv::new();
    let log = env.home().join("daemon.log");
    fs::write(&log, vec![b'x'; 8 << 20]).unwrap();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"art\"\n[test.live]\nrun = \"ln {0} $MUSTER_WORK_DIR/live.log && echo small > \
             $MUSTER_WORK_DIR/trace && .muster-absent\"\n",
            log.display()
        ),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &[]);
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let long = vec![b'y'; 12 << 20];
        while is_over.try_recv().is_err() {
            // Longer and shorter, in turn.
            fs::write(&log, &long).unwrap();
            fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(1000).unwrap();
        }
    });
    let run = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
    over.send(()).unwrap();
    writer.join().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", env.tell(&run));
    let trace = lab.command(&["artifacts", "live", "trace"]).output().unwrap();
    assert_eq!(trace.stdout, b"small\n", "{}", env.tell(&trace));
}

#[test]
fn what_was_left_survives_a_killed_agent_and_a_killed_server_once() {
    let env = TestEnv::new();
    let marks = env.home().join("marks");
    // So much that it is on its way for a while.
    let run = format!(
        "cd $MUSTER_WORK_DIR && head -c 30000000 /dev/urandom > core && b3=$(cksum < core) && \
         for n in $(seq 50); do head -c 100000 /dev/urandom > part-$n; done && \
         echo $MUSTER_ITEM $MUSTER_ATTEMPT $b3 >> {} && exit 1",
        marks.display()
    );
    let items: Vec<String> = (0..6).map(|n| format!("\"{n}\"")).collect();
    env.write(
        "muster.toml",
        &format!("[area]\nname = \"art\"\n[test.t]\nitems = [{}]\nrun = '''{run}'''\n", items.join(",")),
    );
    let mut lab = Lab::with_lease(&env, "60s");
    let mut agent = lab.start_agent("one", &["--slots", "2"]);
    let mut run = lab.command(&["run", "--progress", "quiet"]);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for round in 0..5 {
        while lines(&marks).len() <= round {
            std::thread::sleep(Duration::from_millis(5));
        }
        // The files of one have begun to go.
        std::thread::sleep(Duration::from_millis(30 * round as u64));
        if round % 2 == 0 {
            lab.kill_server();
            lab.start_server();
        } else {
            lab.kill_agent(agent);
            agent = lab.start_agent("one", &["--slots", "2"]);
        }
    }
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", env.tell(&said));
    let marks = lines(&marks);
    assert_eq!(marks.len(), 6, "each ran once: {marks:?}");
    for mark in marks {
        let (address, sum) = mark.split_once(" 1 ").unwrap();
        let into = env.home().join("into").join(address);
        let args = ["artifacts", &format!("t/{address}"), "--into", into.to_str().unwrap()];
        let got = lab.command(&args).output().unwrap();
        assert_eq!(got.status.code(), Some(0), "{}", env.tell(&got));
        assert_eq!(fs::read_dir(&into).unwrap().count(), 51);
        let core = fs::File::open(into.join("core")).unwrap();
        let known = Command::new("cksum").stdin(core).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&known.stdout).trim(), sum, "{address}");
    }
}
