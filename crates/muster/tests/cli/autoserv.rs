//! `muster autoserv` beside an unmodified Autotest client, and beside small programs that speak as it does and
//! misbehave.

use crate::env::TestEnv;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HINT: &str = "cargo xtask setup; it needs a Python 2.7: PYTHON2 names one, or `pyenv install 2.7.18`";

/// Where the set-up put Autotest: `python`, and the unpacked release.
fn autotest() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("autotest");
    assert!(dir.join("release/client/job.py").exists(), "Autotest is not in {}: {HINT}", dir.display());
    dir
}

/// A server's tree with two tests of its own; what one says is given.
fn sources(env: &TestEnv, body: &str) -> PathBuf {
    let top = env.home().join("top");
    fs::create_dir_all(&top).unwrap();
    for part in ["client", "global_config.ini"] {
        let copied =
            Command::new("cp").arg("-r").arg(autotest().join("release").join(part)).arg(&top).status();
        assert!(copied.unwrap().success());
    }
    let test = |name: &str, body: &str| {
        let dir = top.join("client/tests").join(name);
        fs::create_dir_all(&dir).unwrap();
        let text = format!(
            "from autotest.client import test\nfrom autotest.client.shared import error\n\
             class {name}(test.test):\n    version = 1\n    def run_once(self, n=0):\n        {body}\n"
        );
        fs::write(dir.join(format!("{name}.py")), text).unwrap();
    };
    test("measures", "self.write_perf_keyval({'n': n})");
    test("other", body);
    top
}

struct Site<'a> {
    env: &'a TestEnv,
    top: PathBuf,
    results: usize,
}

impl Site<'_> {
    fn run(&mut self, control: &str, more: &[&str]) -> (Output, PathBuf) {
        self.results += 1;
        let results = self.env.home().join(format!("results-{}", self.results));
        let file = self.env.home().join("control");
        fs::write(&file, control).unwrap();
        let python = autotest().join("python");
        let autodir = self.env.home().join("device/autotest");
        let mut command = self.env.command(&["autoserv", "--timeout", "10m"]);
        command.arg("--sources").arg(&self.top).arg("--python").arg(&python).arg("--autodir").arg(&autodir);
        command.arg("--results").arg(&results).args(more).arg(&file);
        (command.output().unwrap(), results)
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn an_unmodified_client_runs_a_job_and_is_sent_only_what_it_needs() {
    let env = TestEnv::new();
    let top = sources(&env, "raise error.TestFail('it is broken')");
    let mut site = Site { env: &env, top, results: 0 };
    let (ran, results) = site.run("job.run_test('measures', n=int(args[0]))\n", &["--arg", "7"]);
    assert_eq!(ran.status.code(), Some(0), "{}", env.tell(&ran));
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(out.contains("\tEND GOOD\tmeasures\tmeasures\t"), "{out}");
    assert_eq!(out, text(&results.join("status.log")), "what was told is recorded");
    let requests = text(&results.join("requests.log"));
    assert!(requests.contains("test-measures.tar.bz2: sent: "), "{requests}");
    assert_eq!(text(&results.join("measures/results/keyval")).trim(), "n{perf}=7");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("1 GOOD"), "{}", env.tell(&ran));

    // The client is there, and so is the package.
    let (ran, results) = site.run("job.run_test('measures')\njob.run_test('other')\n", &[]);
    assert_eq!(ran.status.code(), Some(1), "{}", env.tell(&ran));
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(err.contains(", which is there") && err.contains("1 FAIL, 1 GOOD"), "{err}");
    let requests = text(&results.join("requests.log"));
    assert!(!requests.contains("test-measures.tar.bz2: sent"), "{requests}");
    assert!(requests.contains("test-other.tar.bz2: sent"), "{requests}");
    assert!(text(&results.join("status.log")).contains("it is broken"), "{}", env.tell(&ran));

    // Edited sources win, without being asked for.
    let edited = site.top.join("client/tests/other/other.py");
    fs::write(&edited, text(&edited).replace("raise error.TestFail('it is broken')", "pass")).unwrap();
    let (ran, results) = site.run("job.run_test('other')\n", &[]);
    let requests = text(&results.join("requests.log"));
    assert_eq!(ran.status.code(), Some(0), "{}\n{requests}", env.tell(&ran));
    assert!(requests.contains("test-other.tar.bz2: sent"), "{requests}");
}

#[test]
fn a_package_that_is_nowhere_is_an_error_of_the_test_and_hangs_nobody() {
    let env = TestEnv::new();
    let top = sources(&env, "pass");
    let mut site = Site { env: &env, top, results: 0 };
    let (ran, results) = site.run("job.run_test('nowhere')\njob.run_test('other')\n", &[]);
    assert_eq!(ran.status.code(), Some(1), "{}", env.tell(&ran));
    let requests = text(&results.join("requests.log"));
    assert!(requests.contains("test-nowhere.tar.bz2: failed: "), "{requests}");
    let log = text(&results.join("status.log"));
    assert!(log.contains("ERROR\tnowhere\t") && log.contains("END GOOD\tother\t"), "{log}");
    // A second job does not write into the results of the first.
    site.results = 0;
    let (ran, _) = site.run("", &[]);
    assert_eq!(ran.status.code(), Some(2), "{}", env.tell(&ran));
}

/// The same client on a host that only `ssh` reaches.
#[test]
fn a_job_runs_on_a_host_behind_ssh() {
    let env = TestEnv::new();
    let host = crate::launchers::sshd::Host::new();
    let on = format!("ssh://board?config={}", host.path("ssh_config").display());
    let top = sources(&env, "raise error.TestFail('it is broken')");
    let mut site = Site { env: &env, top, results: 0 };
    let control = "job.run_test('measures', n=5)\njob.run_test('other')\n";
    for is_there in [false, true] {
        let (ran, results) = site.run(control, &["--on", &on]);
        assert_eq!(ran.status.code(), Some(1), "{}", env.tell(&ran));
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(err.contains("1 FAIL, 1 GOOD") && err.contains(", which is there") == is_there, "{err}");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), text(&results.join("status.log")));
        let requests = text(&results.join("requests.log"));
        assert_eq!(requests.contains("test-other.tar.bz2: sent: "), !is_there, "{requests}");
        assert_eq!(text(&results.join("measures/results/keyval")).trim(), "n{perf}=5");
        assert!(results.join("sysinfo").is_dir() && results.join("measures/sysinfo").is_dir());
    }
    assert!(host.connections() > 0, "it was asked");
}

/// Python's own web server, ended when it is dropped.
struct Web(std::process::Child, String);

impl Web {
    fn serve(dir: &Path) -> Self {
        use std::io::BufRead as _;
        let code = "import http.server as h, functools, sys\n\
            class Quiet(h.SimpleHTTPRequestHandler):\n\
            \x20   def log_message(self, *a): pass\n\
            s = h.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=sys.argv[1]))\n\
            print(s.server_port, flush=True); s.serve_forever()";
        let mut python = Command::new("python3");
        let mut child =
            python.args(["-c", code]).arg(dir).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, format!("http://127.0.0.1:{}", port.trim()))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The repository of the device's build, then those that are named in their order, then what is pushed.
#[test]
fn a_client_that_fetches_itself_asks_the_repository_of_the_build_first_and_its_server_last() {
    let env = TestEnv::new();
    let top = sources(&env, "pass");
    let mut webs = Vec::new();
    for (name, tests) in
        [("one", &["measures", "second"][..]), ("two", &["second"]), ("build", &["measures"])]
    {
        let at = env.home().join(name);
        for test in tests {
            let dir = env.home().join("of").join(name).join(test);
            fs::create_dir_all(&dir).unwrap();
            let text = format!(
                "from autotest.client import test\nclass {test}(test.test):\n    version = 1\n    \
                 def run_once(self):\n        self.write_attr_keyval({{'from': '{name}'}})\n"
            );
            fs::write(dir.join(format!("{test}.py")), text).unwrap();
            let (dir, at) = (dir.display().to_string(), at.display().to_string());
            let package = format!("test:{test}");
            let upload = ["package", "autotest", "upload", &package, "--dir", &dir, "--to", &at];
            let said = env.run(&[&upload[..], &["--keep-free", "0"]].concat());
            assert!(said.ends_with("--- exit 0\n"), "{said}");
        }
        // A client of this release dies of its first install of what is listed.
        fs::remove_file(at.join("packages.checksum")).unwrap();
        webs.push(Web::serve(&at));
    }
    let mut site = Site { env: &env, top, results: 0 };
    let more = ["--pull", "--packages", &webs[0].1, "--packages", &webs[1].1, "--job-repo-url", &webs[2].1];
    let control = "job.run_test('measures')\njob.run_test('second')\njob.run_test('other')\n";
    let (ran, results) = site.run(control, &more);
    let requests = text(&results.join("requests.log"));
    assert_eq!(ran.status.code(), Some(0), "{}\n{requests}", env.tell(&ran));
    assert_eq!(text(&results.join("measures/results/keyval")).trim(), "from{attr}=build");
    assert_eq!(text(&results.join("second/results/keyval")).trim(), "from{attr}=one");
    assert!(requests.contains("test-other.tar.bz2: sent"), "only what they have not: {requests}");
    assert!(!requests.contains("test-measures") && !requests.contains("test-second"), "{requests}");
}

/// What the misbehaving clients have in common.
const STUB: &str = r#"
import os, sys, time
def say(text): os.write(3, (text + "\n").encode())
def status(text): say("AUTOTEST_STATUS::" + text)
asked = 0
def ask(what, wait=True):
    global asked
    asked += 1
    fifo = os.path.join(os.environ["AUTODIR"], "fifo-%d" % asked)
    os.mkfifo(fifo)
    say(what + ":" + fifo)
    if wait:
        with open(fifo) as f: f.read(1)
def end(word="GOOD"): status("END %s\t----\t----\ttimestamp=1\tlocaltime=x\t" % word)
"#;

/// Runs a stub as the client.
fn stub(env: &TestEnv, body: &str, more: &[&str]) -> (Output, PathBuf) {
    let autodir = env.home().join("stub");
    fs::create_dir_all(&autodir).unwrap();
    let program = autodir.join("autotest-local");
    fs::write(&program, format!("{STUB}\n{body}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let control = env.home().join("control");
    fs::write(&control, "").unwrap();
    let results = env.home().join("results");
    let usual = ["--python", "python3", "--timeout", "5m"];
    let usual = usual.chunks(2).filter(|pair| !more.contains(&pair[0])).flatten();
    let mut command = env.command(&["autoserv", "--no-install"]);
    command.args(usual).args(more);
    command.arg("--autodir").arg(&autodir).arg("--results").arg(&results).arg(&control);
    (command.output().unwrap(), results)
}

/// Row 26: a client that is killed while it waits leaves its pipe, and blocked its server.
#[test]
fn row_26_a_client_that_does_not_wait_for_its_answer_holds_nobody_up() {
    let env = TestEnv::new();
    // The pipe is there and nobody reads; it is gone; the next request is answered all the same.
    let body = "ask('AUTOTEST_TEST_COMPLETE', wait=False)\n\
        os.unlink(os.environ['AUTODIR'] + '/fifo-1')\n\
        ask('AUTOTEST_FETCH_PACKAGE:test-x.tar.bz2:' + os.environ['AUTODIR'] + '/packages/test-x.tar.bz2')\n\
        ask('AUTOTEST_TEST_COMPLETE')\nend()";
    let (ran, results) = stub(&env, body, &[]);
    assert_eq!(ran.status.code(), Some(0), "{}", env.tell(&ran));
    let requests = text(&results.join("requests.log"));
    assert_eq!(requests.lines().count(), 3, "each request has a result: {requests}");
}

#[test]
fn a_client_gets_nothing_put_outside_its_directory_and_no_file_of_another_name() {
    let env = TestEnv::new();
    let outside = env.home().join("outside");
    let body = format!(
        "d = os.environ['AUTODIR']\n\
         for to in ['{0}', d + '/../outside', d + 'x/outside']:\n\
         \x20   ask('AUTOTEST_FETCH_PACKAGE:packages.checksum:' + to)\n\
         for name in ['../../etc/passwd', '$(touch {0}).tar.bz2', '']:\n\
         \x20   ask('AUTOTEST_FETCH_PACKAGE:' + name + ':' + d + '/packages/x')\n\
         ask('AUTOTEST_FETCH_PACKAGE:packages.checksum:' + d + '/packages.checksum')\n\
         assert open(d + '/packages.checksum').read() == '\\n'\nend()",
        outside.display()
    );
    let (ran, results) = stub(&env, &body, &[]);
    let requests = text(&results.join("requests.log"));
    let said = text(&results.join("debug/client.log"));
    assert_eq!(ran.status.code(), Some(0), "{}\n{requests}\n{said}", env.tell(&ran));
    assert!(!outside.exists());
    assert_eq!(requests.lines().filter(|l| l.contains(": failed: ")).count(), 6, "{requests}");
}

#[test]
fn a_client_that_dies_hangs_or_is_not_there_is_the_labs_fault() {
    let env = TestEnv::new();
    let (ran, results) =
        stub(&env, "status('START\\t----\\t----\\ttimestamp=1\\t'); print('oh'); sys.exit(4)", &[]);
    assert_eq!(ran.status.code(), Some(3), "{}", env.tell(&ran));
    assert!(env.tell(&ran).contains("ended with 4 before its job did"), "{}", env.tell(&ran));
    assert_eq!(text(&results.join("debug/client.log")), "oh\n");
    fs::remove_dir_all(&results).unwrap();

    let (ran, results) = stub(&env, "time.sleep(1000)", &["--timeout", "2s"]);
    assert_eq!(ran.status.code(), Some(124), "{}", env.tell(&ran));
    fs::remove_dir_all(&results).unwrap();

    let (ran, results) = stub(&env, "", &["--python", "no-such-python"]);
    assert_eq!(ran.status.code(), Some(3), "{}", env.tell(&ran));
    assert!(env.tell(&ran).contains("there is no `no-such-python`"), "{}", env.tell(&ran));
    fs::remove_dir_all(&results).unwrap();

    // Parallel branches are told one after the other, and an aborted job is a failure.
    let body = "say('AUTOTEST_STATUS:1:\\tEND GOOD\\tb\\tb\\tt=1\\t'); say('AUTOTEST_STATUS:0:\\tEND GOOD\\ta\\ta\\tt=1\\t')\n\
        end('ABORT')";
    let (ran, _) = stub(&env, body, &[]);
    assert_eq!(ran.status.code(), Some(1), "{}", env.tell(&ran));
    let out = String::from_utf8_lossy(&ran.stdout);
    let order: Vec<&str> = out.lines().filter_map(|line| line.trim_start().split('\t').nth(1)).collect();
    assert_eq!(order, ["a", "b", "----"], "{out}");
}

#[test]
fn a_job_goes_on_after_a_reboot_of_its_device() {
    let env = TestEnv::new();
    // The device's boot is told by a `cat` that reads a file of the test's.
    let bin = env.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let boot = env.home().join("boot");
    fs::write(&boot, "first").unwrap();
    let cat = format!("#!/bin/sh\nexec /bin/cat {}\n", boot.display());
    fs::write(bin.join("cat"), cat).unwrap();
    fs::set_permissions(bin.join("cat"), fs::Permissions::from_mode(0o755)).unwrap();
    let body = format!(
        "if '-c' in sys.argv: end(); sys.exit(0)\n\
         status('\\tGOOD\\t----\\treboot.start\\ttimestamp=1\\t')\n\
         open('{}', 'w').write('second')\nsys.exit(5)",
        boot.display()
    );
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let autodir = env.home().join("stub");
    fs::create_dir_all(&autodir).unwrap();
    fs::write(autodir.join("autotest-local"), format!("{STUB}\n{body}\n")).unwrap();
    fs::write(env.home().join("control"), "").unwrap();
    let mut command = env.command(&["autoserv", "--no-install", "--python", "python3", "--timeout", "5m"]);
    command.env("PATH", path).arg("--autodir").arg(&autodir).arg("--results").arg(env.home().join("results"));
    let ran = command.arg(env.home().join("control")).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", env.tell(&ran));
    assert_eq!(String::from_utf8_lossy(&ran.stdout).lines().count(), 2, "{}", env.tell(&ran));
}

#[test]
fn control_files_are_items_of_a_suite_and_their_tests_are_steps_with_values() {
    let env = TestEnv::new();
    let top = sources(&env, "raise error.TestFail('it is broken')");
    let muster = env.command(&[]).get_program().to_string_lossy().into_owned();
    let area = format!(
        "[area]\nname = \"autotest\"\n[suite.jobs]\nframework = \"autotest\"\nfiles = \"jobs/*\"\n\
         command = [\"{muster}\", \"autoserv\"]\ntimeout = \"10m\"\nneeds.group = \"one\"\n\
         args = [\"--sources\", \"{}\", \"--python\", \"{}\", \"--autodir\", \"{}\"]\n\
         [limits.groups]\none = 1\n",
        top.display(),
        autotest().join("python").display(),
        env.home().join("device/autotest").display()
    );
    let jobs = env.home().join("area/jobs");
    fs::create_dir_all(&jobs).unwrap();
    fs::write(env.home().join("area/muster.toml"), area).unwrap();
    fs::write(jobs.join("good"), "job.run_test('measures', n=41)\n").unwrap();
    fs::write(jobs.join("mixed"), "job.run_test('measures', n=1)\njob.run_test('other')\n").unwrap();
    let dir = env.home().join("area").display().to_string();
    let report = env.home().join("report.json");
    let json = format!("json:{}", report.display());
    let ran = env.command(&["-C", &dir, "run", "--report", &json]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{}", env.tell(&ran));
    let report: serde_json::Value = serde_json::from_str(&text(&report)).unwrap();
    let item = |path: &str| {
        let items = report["tests"][0]["items"].as_array().unwrap();
        items.iter().find(|i| i["path"] == path).unwrap_or_else(|| panic!("{path}: {report:#}"))["attempts"]
            [0]
        .clone()
    };
    let good = item("jobs/good");
    assert_eq!(good["outcome"], "pass", "{good:#}");
    let value = |name: &str| {
        let all = good["measures"].as_array().unwrap();
        all.iter().find(|m| m["name"] == name).unwrap_or_else(|| panic!("{name}: {good:#}"))["value"].clone()
    };
    assert_eq!(value("measures.n"), 41.0);
    assert!(value("measures.keyval.sysinfo-memtotal-in-kb").as_f64().unwrap() > 1e5, "{good:#}");
    // What the client left is kept, whatever it came to.
    let kept = env.tell(&env.command(&["-C", &dir, "artifacts", "1/jobs/jobs/good"]).output().unwrap());
    assert!(kept.contains("autoserv-results/measures/sysinfo/"), "{kept}");
    let mixed = item("jobs/mixed");
    assert_eq!(mixed["message"], "other FAIL: it is broken", "{mixed:#}");
    let steps: Vec<_> =
        mixed["steps"].as_array().unwrap().iter().map(|s| (&s["name"], &s["outcome"])).collect();
    assert_eq!(steps.len(), 2, "{mixed:#}");
}

/// A lab's own device, which only `ssh` reaches, and the repository of the build on it.
#[test]
fn control_files_run_on_the_device_that_a_lab_gives_them_with_the_packages_of_its_build() {
    let env = TestEnv::new();
    let host = crate::launchers::sshd::Host::new();
    let top = sources(&env, "pass");
    let build = env.home().join("build");
    for package in ["client:autotest", "test:measures"] {
        let (top, build) = (top.display().to_string(), build.display().to_string());
        let upload = ["package", "autotest", "upload", package, "--top", &top, "--to", &build];
        let said = env.run(&[&upload[..], &["--keep-free", "0"]].concat());
        assert!(said.ends_with("--- exit 0\n"), "{said}");
    }
    let web = Web::serve(&build);
    let muster = env.command(&[]).get_program().to_string_lossy().into_owned();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"autotest\"\n[suite.jobs]\nframework = \"autotest\"\nfiles = \"jobs/*\"\n\
             command = [\"{muster}\", \"autoserv\"]\ntimeout = \"10m\"\n\
             args = [\"--python\", \"{}\", \"--autodir\", \"{}\"]\n",
            autotest().join("python").display(),
            env.home().join("device/autotest").display()
        ),
    );
    env.write("jobs/good", "job.run_test('measures', n=6)\n");
    let mut lab = crate::lab::Lab::start(&env);
    let config = host.path("ssh_config").display().to_string();
    let device = format!("board7:address=ssh://board?config={config},job_repo_url={}", web.1);
    lab.start_agent("one", &["--device", &device]);
    let ran = lab.command(&["run", "--progress", "plain", "--report", "json:r.json"]).output().unwrap();
    let said = env.tell(&ran);
    let log = env.tell(&lab.command(&["log", "jobs/jobs/good"]).output().unwrap());
    assert_eq!(ran.status.code(), Some(0), "{said}{log}");
    let report = text(&env.area().join("r.json"));
    assert!(report.contains("\"measures.n\"") && report.contains("sysinfo-memtotal-in-kb"), "{report}");
    let kept = env.tell(&lab.command(&["artifacts", "1/jobs/jobs/good"]).output().unwrap());
    assert!(kept.contains("autoserv-results/requests.log"), "{kept}");
    assert!(host.connections() > 0, "the device was asked");
}

#[test]
fn a_job_that_another_server_has_run_is_told_as_one_of_ours_is() {
    let env = TestEnv::new();
    let muster = env.command(&[]).get_program().to_string_lossy().into_owned();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"old\"\n[suite.jobs]\nframework = \"autotest\"\nfiles = \"results/*/status.log\"\n\
             command = [\"{muster}\", \"autoserv\"]\nargs = [\"--import\"]\n"
        ),
    );
    let log = |word: &str, end: &str| {
        format!(
            "START\t----\t----\ttimestamp=1\tlocaltime=x\t\n\tSTART\tdisk\tdisk\ttimestamp=2\tlocaltime=x\t\n\
             \t\t{word}\tdisk\tdisk\ttimestamp=5\tlocaltime=x\tit is so\n\
             \tEND {word}\tdisk\tdisk\ttimestamp=5\tlocaltime=x\t\n{end}"
        )
    };
    let end = "END GOOD\t----\t----\ttimestamp=6\tlocaltime=x\t\n";
    env.write("results/1/status.log", &log("GOOD", end));
    env.write("results/1/disk/results/keyval", "seeks{perf}=7\nkind{attr}=ssd\n");
    env.write("results/1/disk/keyval", "version=1\nsysinfo-memtotal-in-kb=2048\n");
    env.write("results/2/status.log", &log("FAIL", end));
    env.write("results/3/status.log", &log("GOOD", ""));
    let said = env.run(&["run", "--progress", "quiet", "--report", "json:r.json"]);
    let report: serde_json::Value = serde_json::from_str(&text(&env.area().join("r.json"))).unwrap();
    // The question for the items is none of them.
    let items = report["tests"][0]["items"].as_array().unwrap().iter().filter(|item| item["path"] != "");
    let items: Vec<_> = items.collect();
    let told: Vec<_> = items
        .iter()
        .map(|item| {
            let attempt = &item["attempts"][0];
            (
                item["path"].as_str().unwrap(),
                attempt["outcome"].as_str().unwrap(),
                attempt["measures"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told.iter().map(|(_, outcome, _)| *outcome).collect::<Vec<_>>(),
        ["pass", "fail", "error"],
        "{said}"
    );
    let values: Vec<_> =
        told[0].2.as_array().unwrap().iter().map(|m| (m["name"].clone(), m["value"].clone())).collect();
    let value = |name: &str, value: f64| (serde_json::json!(name), serde_json::json!(value));
    assert_eq!(values, [value("disk.seeks", 7.0), value("disk.keyval.sysinfo-memtotal-in-kb", 2048.0)]);
    assert_eq!(items[0]["attempts"][0]["steps"][0]["name"], "disk");
}

#[test]
fn a_control_file_for_a_server_is_refused_with_what_to_do() {
    let env = TestEnv::new();
    env.write("control.srv", "AUTHOR = 'ana'\nTEST_TYPE = \"Server\"  # of two hosts\njob.parallel()\n");
    let said = env.run(&["autoserv", "--packages", "none", "control.srv"]);
    assert!(said.contains("is for a server") && said.contains("--import"), "{said}");
    assert!(said.ends_with("--- exit 2\n"), "{said}");
}
