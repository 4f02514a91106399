//! Runs that are given a build, tests and a changeset by their URLs: here, and on a lab.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the packed tests say of the build they were given.
const TESTS: &str = "[area]\nname = \"packed\"\n\
    [test.build]\nrun = '''\n\
    test \"$(cat \"$MUSTER_BUILD_DIR/app/version\")\" = \"$(cat ./wanted)\"\n\
    test -f \"$MUSTER_BUILD\" && echo \"$MUSTER_BUILD_URL $MUSTER_BUILD_DIGEST\"\n\
    test \"$MUSTER_CHANGESET\" = 1d2c3b\n'''\n";

/// A build and tests for it, packed as CI packs them.
fn packed(dir: &Path) -> (PathBuf, PathBuf) {
    let put = |path: &str, text: &str| {
        std::fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.join(path), text).unwrap();
    };
    put("b/app/version", "7\n");
    put("t/tests-1.2/muster.toml", TESTS);
    put("t/tests-1.2/wanted", "7\n");
    let tar = |name: &str, from: &str| {
        let file = dir.join(name);
        let tar = Command::new("tar").arg("-czf").arg(&file).arg("-C").arg(dir.join(from)).arg(".").status();
        assert!(tar.unwrap().success());
        file
    };
    (tar("build.tar.gz", "b"), tar("tests.tgz", "t"))
}

/// Serves the files of a directory over HTTP; counts what is asked for. The first answer is cut off.
pub(crate) fn serve(dir: PathBuf) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let first = lines.next().unwrap_or_default();
            let _headers = lines.take_while(|l| !l.is_empty()).count();
            let path = first.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap();
            let nth = count.fetch_add(1, Ordering::Relaxed);
            let answer = match std::fs::read(dir.join(&path[1..])) {
                Ok(body) => {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let keep = if nth == 0 { body.len() / 2 } else { body.len() };
                    [head.as_bytes(), &body[..keep]].concat()
                }
                Err(_) => {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
                }
            };
            // Who asked may have gone away.
            let _sent = stream.write_all(&answer);
        }
    });
    (format!("http://ana:hush@{place}"), asked)
}

#[test]
fn a_build_and_packed_tests_are_fetched_and_given_to_the_tests_here() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    let (build, tests) = packed(&env.home());
    let (build, tests) = (format!("file:{}", build.display()), format!("file:{}", tests.display()));
    let args = ["run", "--progress", "plain", "--build", &build, "--tests", &tests, "--changeset", "1d2c3b"];
    let said = env.run(&[&args[..], &["--report", "json:out.json", "--report", "junit:out.xml"]].concat());
    assert!(said.contains("PASS") && said.ends_with("--- exit 0\n"), "{said}");
    assert!(said.contains("packed/1 of 1d2c3b, build build.tar.gz, tests tests.tgz"), "{said}");
    assert!(env.run(&["results"]).contains("of 1d2c3b, build build.tar.gz"), "the record says so too");
    let log = env.run(&["log", "build"]);
    let report = std::fs::read_to_string(env.area().join("out.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let digest = report["inputs"]["build"]["digest"].as_str().unwrap();
    assert!(log.contains(digest), "{log}");
    let bytes = std::fs::read(env.home().join("build.tar.gz")).unwrap();
    assert_eq!(digest, blake3::hash(&bytes).to_hex().as_str());
    let junit = std::fs::read_to_string(env.area().join("out.xml")).unwrap();
    assert!(junit.contains("name=\"changeset\" value=\"1d2c3b\"") && junit.contains(digest), "{junit}");
    let again = env.run(&["rerun", "1", "build"]);
    assert!(again.ends_with("--- exit 0\n"), "the same build is there for another attempt: {again}");
    for _ in 0..4 {
        assert!(env.run(&args).ends_with("--- exit 0\n"));
    }
    let gone = env.run(&["rerun", "1", "build"]);
    assert!(gone.contains("is not there any more") && gone.ends_with("--- exit 2\n"), "{gone}");
    let left = std::fs::read_dir(env.area().join(".muster")).unwrap();
    let left: Vec<_> = left.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("incoming")), "{left:?}");
}

#[test]
fn a_lab_is_given_them_once_and_what_is_secret_in_a_url_is_nowhere() {
    let env = TestEnv::new();
    std::fs::remove_file(env.area().join("muster.toml")).unwrap();
    packed(&env.home());
    let (site, asked) = serve(env.home());
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    lab.start_agent("two", &["--slots", "1"]);
    let (build, tests) = (format!("{site}/build.tar.gz?key=hush"), format!("{site}/tests.tgz"));
    let args = ["run", "--progress", "plain", "--build", &build, "--tests", &tests, "--changeset", "1d2c3b"];
    let said = env.tell(
        &lab.command(&[&args[..], &["--wait", "--report", "json:out.json"]].concat()).output().unwrap(),
    );
    assert!(said.contains("PASS") && said.ends_with("--- exit 0\n"), "{said}");
    assert_eq!(asked.load(Ordering::Relaxed), 3, "each once, and again what was cut off");
    let log = env.tell(&lab.command(&["log", "build"]).output().unwrap());
    let report = std::fs::read_to_string(env.area().join("out.json")).unwrap();
    assert!(report.contains("\"changeset\":\"1d2c3b\"") && log.contains("/build.tar.gz "), "{report}\n{log}");
    for text in [&said, &log, &report] {
        assert!(!text.contains("hush"), "{text}");
    }
    let database = std::fs::read(env.home().join("server/muster.db-wal")).unwrap_or_default();
    assert!(!database.windows(4).any(|w| w == b"hush"), "nor in the records");
}

#[test]
fn what_cannot_be_fetched_or_unpacked_is_told_and_nothing_is_recorded() {
    let env = TestEnv::new();
    packed(&env.home());
    let (site, _) = serve(env.home());
    std::fs::write(env.home().join("bad.tar.gz"), "<html>").unwrap();
    let file = |name: &str| format!("file:{}", env.home().join(name).display());
    for (flag, url, expected, code) in [
        ("--build", format!("{site}/none.zip"), "the server answers 404", 2),
        ("--build", "ftp://host/a.zip".to_owned(), "`ftp:` is not known", 2),
        ("--build", "file:a.zip".to_owned(), "absolute", 2),
        ("--build", file(""), "does not end with the name of a file", 2),
        ("--build", file("bad.tar.gz"), "cannot be unpacked", 2),
        ("--tests", file("build.tar.gz"), "there is no `muster.toml` in", 2),
        ("--tests", file("b/app/version"), "is not packed tests", 2),
    ] {
        let said = env.run(&["run", flag, &url]);
        assert!(said.contains(expected) && said.ends_with(&format!("--- exit {code}\n")), "{url}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
    let runs = env.run(&["runs"]);
    assert!(!runs.contains("demo/"), "{runs}");
}

#[test]
fn a_run_that_no_device_of_the_lab_can_run_is_withdrawn_and_ends_with_8() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    // An agent that is connected has not yet said which devices it has; until then one may come.
    while !env.tell(&lab.command(&["device", "list"]).output().unwrap()).contains("slot-1") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = env.tell(&lab.command(&["run", "--on", "labels.kind == \"phone\""]).output().unwrap());
    assert!(said.contains("cannot start as the lab is") && said.ends_with("--- exit 8\n"), "{said}");
    let queue = env.tell(&lab.command(&["queue"]).output().unwrap());
    assert!(!queue.contains("demo/1"), "{queue}");
}

#[test]
fn asking_again_with_the_same_id_joins_the_run_there_is() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    for _ in 0..2 {
        let args = ["run", "--id", "0192f3a4-0000-7000-8000-000000000001", "--progress", "plain"];
        let said = env.tell(&lab.command(&args).output().unwrap());
        assert!(said.contains("demo/1") && said.ends_with("--- exit 0\n"), "{said}");
    }
    let runs = env.tell(&lab.command(&["runs"]).output().unwrap());
    assert!(!runs.contains("demo/2"), "{runs}");
}

#[test]
fn a_build_is_fetched_over_https_from_a_server_that_is_known_and_from_no_other() {
    let env = TestEnv::new();
    let dir = env.home().join("web");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("app.bin"), "the build\n").unwrap();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.reads]\nrun = \"cat $MUSTER_BUILD\"\nstdout = \"the build\"\n",
    );
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let made = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=web",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ])
    .status()
    .expect("openssl is installed: `cargo xtask setup`");
    assert!(made.success());
    let accept = format!("127.0.0.1:{port}");
    let mut server =
        openssl(&["s_server", "-accept", &accept, "-cert", "cert.pem", "-key", "key.pem", "-WWW", "-quiet"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
    while TcpStream::connect(&accept).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let url = format!("https://{accept}/app.bin");
    let known = dir.join("cert.pem").display().to_string();
    let run = ["run", "--progress", "quiet", "--build", &url];
    let stranger = env.run(&run);
    let said = env.run(&[&run[..], &["--fetch-ca", &known]].concat());
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let config = env.home().join(".config/muster");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), format!("fetch-ca-file = \"{known}\"\n")).unwrap();
    let configured = env.run(&run);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(configured.ends_with("--- exit 0\n"), "{configured}");
    assert!(stranger.contains("build cannot be fetched") && stranger.ends_with("--- exit 2\n"), "{stranger}");
    let said = env.run(&[&run[..], &["--fetch-ca", "muster.toml"]].concat());
    assert!(said.contains("there is no certificate in it") && said.ends_with("--- exit 2\n"), "{said}");
}
