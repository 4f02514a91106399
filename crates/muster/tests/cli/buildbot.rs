//! The example of Buildbot, on the real one: a master and its workers beside a lab with many devices on one
//! host. One master for all of it, since it takes seconds to start.

use crate::env::TestEnv;
use crate::lab::{Lab, says};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Results of Buildbot.
const SUCCESS: u64 = 0;
const FAILURE: u64 = 2;
const EXCEPTION: u64 = 4;
const RETRY: u64 = 5;
const CANCELLED: u64 = 6;

const WORKERS: [&str; 3] = ["winmo-test-1", "winmo-test-2", "builder-1"];

/// Tests of a build, packed. `@DIR@` is a directory they leave something in.
const TESTS: &str = "[area]\nname = \"winmo\"\n\
    [test.version]\nrun = 'cat \"$MUSTER_BUILD_DIR/version\"; grep -q good \"$MUSTER_BUILD_DIR/version\"'\n\
    [test.place]\nrun = 'echo \"$MUSTER_SLOT $MUSTER_DEVICE_ADDRESS $MUSTER_AREA_DIR $MUSTER_CHANGESET\" >> @DIR@/places'\n";
/// Goes on until it is let.
const WAITS: &str = "[area]\nname = \"winmo\"\n\
    [test.waits]\nrun = 'echo x >> @DIR@/started; while ! test -e @DIR@/go; do sleep 0.1; done'\n";

/// A master with its workers, all killed when it is dropped.
struct Buildbot {
    programs: PathBuf,
    dir: PathBuf,
    site: String,
    api: String,
    env: Vec<(String, String)>,
    running: Vec<Child>,
}

impl Buildbot {
    fn start(env: &TestEnv, lab: &Lab<'_>, bridge: &str) -> Self {
        let target = PathBuf::from(env!("CARGO_BIN_EXE_muster")).ancestors().nth(2).unwrap().to_owned();
        let programs = target.join("buildbot/bin");
        assert!(
            programs.join("buildbot").exists(),
            "Buildbot is not in `{}`: install it with `cargo xtask setup`",
            programs.display()
        );
        let (www, pb) = (free_port(), free_port());
        let dir = env.home().join("buildbot");
        std::fs::create_dir_all(dir.join("master/secrets")).unwrap();
        let site = env.home().join("site");
        let path = format!("{}:/usr/bin:/bin", programs.display());
        let vars = [
            ("PATH", path.as_str()),
            ("HOME", &env.home().display().to_string()),
            ("MUSTER_LAB", &lab.url()),
            ("MUSTER_BRIDGE", &format!("http://{bridge}/buildbot")),
            ("MUSTER_BUILDS", &format!("file:{}", site.display())),
            ("MUSTER_PROGRAM", env!("CARGO_BIN_EXE_muster")),
            ("MUSTER_WWW", &www.to_string()),
            ("MUSTER_PB", &pb.to_string()),
        ];
        let vars = vars.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        let site = format!("file:{}", site.display());
        let api = format!("http://127.0.0.1:{www}/api/v2");
        let mut all = Self { programs, dir, site, api, env: vars, running: Vec::new() };
        all.call("buildbot", &["create-master", "-q", "master"]);
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/buildbot");
        for file in ["master.cfg", "muster_buildbot.py"] {
            std::fs::copy(example.join(file), all.dir.join("master").join(file)).unwrap();
        }
        let secret = all.dir.join("master/secrets/muster-bridge");
        std::fs::write(&secret, "hush").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        all.spawn("buildbot", &["start", "--nodaemon", "master"]);
        let address = format!("127.0.0.1:{pb}");
        for worker in WORKERS {
            let create = ["-q", worker, &address, worker, "change-me"];
            all.call("buildbot-worker", &[&["create-worker"], &create[..]].concat());
            all.spawn("buildbot-worker", &["start", "--nodaemon", worker]);
        }
        wait_until("all workers are connected", || {
            let Some(answer) = all.find("/workers") else { return false };
            let workers = answer["workers"].as_array().unwrap();
            let connected = |w: &&Value| !w["connected_to"].as_array().unwrap().is_empty();
            workers.iter().filter(connected).count() == WORKERS.len()
        });
        all
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).current_dir(&self.dir).env_clear().envs(self.env.clone());
        let log = std::fs::File::options().append(true).create(true).open(self.dir.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    fn call(&self, program: &str, args: &[&str]) {
        let status = self.command(program, args).status().unwrap();
        assert!(status.success(), "{program} {args:?}: {}", self.said());
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        self.running.push(self.command(program, args).spawn().unwrap());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn find(&self, path: &str) -> Option<Value> {
        let mut answer = ureq::get(format!("{}{path}", self.api)).call().ok()?;
        serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
    }

    fn get(&self, path: &str) -> Value {
        self.find(path).unwrap_or_else(|| panic!("no answer for {path}:\n{}", self.said()))
    }

    fn ask(&self, path: &str, method: &str, params: &Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut answer = ureq::post(format!("{}{path}", self.api))
            .config()
            .http_status_as_error(false)
            .build()
            .header("content-type", "application/json")
            .send(call.to_string())
            .unwrap_or_else(|e| panic!("{path} {method}: {e}"));
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Forces a build; the number of its request.
    fn force(&self, builder: &str, properties: &[(&str, &str)]) -> u64 {
        let id = &self.get(&format!("/builders?name={builder}"))["builders"][0]["builderid"];
        let mut params =
            json!({"builderid": id.to_string(), "reason": "a test", "username": "test@muster.invalid"});
        for (name, value) in properties {
            params[name] = json!(value);
        }
        let done = self.ask("/forceschedulers/force", "force", &params);
        let requests = done["result"][1].as_object().unwrap_or_else(|| panic!("{done}"));
        requests.values().next().unwrap().as_u64().unwrap()
    }

    fn request(&self, request: u64) -> Value {
        self.get(&format!("/buildrequests/{request}"))["buildrequests"][0].clone()
    }

    /// The builds of a request, in order.
    fn builds(&self, request: u64) -> Vec<Value> {
        let answer = self.get(&format!("/buildrequests/{request}/builds?order=buildid"));
        answer["builds"].as_array().unwrap().clone()
    }

    /// Waits for the end of a request: what each of its builds came to.
    fn results(&self, request: u64) -> Vec<u64> {
        wait_until("a build has ended", || self.request(request)["complete"] == true);
        self.builds(request).iter().map(|b| b["results"].as_u64().unwrap()).collect()
    }

    /// The step of the last build of a request, and its logs.
    fn step(&self, request: u64) -> (Value, Vec<(String, String)>) {
        let build = self.builds(request).pop().unwrap()["buildid"].clone();
        let steps = self.get(&format!("/builds/{build}/steps?order=number"));
        let step = steps["steps"].as_array().unwrap().last().unwrap().clone();
        let logs = self.get(&format!("/steps/{}/logs", step["stepid"]));
        let log = |log: &Value| {
            let content = self.get(&format!("/logs/{}/contents", log["logid"]));
            let content = content["logchunks"][0]["content"].as_str().unwrap_or_default().to_owned();
            (log["name"].as_str().unwrap().to_owned(), content)
        };
        (step, logs["logs"].as_array().unwrap().iter().map(log).collect())
    }
}

impl Drop for Buildbot {
    fn drop(&mut self) {
        for child in &mut self.running {
            // It may be gone.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("this was waited for in vain: {what}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Packs these files as a tarball of the site.
fn pack(env: &TestEnv, name: &str, files: &[(&str, &str)]) {
    let (site, tree) = (env.home().join("site"), env.home().join(format!("site-{name}")));
    std::fs::create_dir_all(&site).unwrap();
    std::fs::create_dir_all(&tree).unwrap();
    for (file, text) in files {
        std::fs::write(tree.join(file), text.replace("@DIR@", &env.home().display().to_string())).unwrap();
    }
    let tar = Command::new("tar").arg("-czf").arg(site.join(name)).arg("-C").arg(&tree).arg(".").status();
    assert!(tar.unwrap().success());
}

fn start_bridge(env: &TestEnv, lab: &Lab<'_>, listen: &str, buildbot: &Buildbot) -> Child {
    let secret = buildbot.dir.join("master/secrets/muster-bridge").display().to_string();
    let (state, report) =
        (env.home().join("bridge"), format!("{}/forceschedulers/muster-results", buildbot.api));
    let mut bridge = lab
        .command(&[
            "bridge",
            "buildbot",
            "--listen",
            listen,
            "--secret-file",
            &secret,
            "--builder",
            "compile",
        ])
        .args(["--on", "labels.kind == \"winmo\"", "--report-to", &report, "--state"])
        .arg(&state)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    says(&mut bridge, "builds are taken at", None);
    bridge
}

#[test]
fn buildbot_runs_tests_on_a_lab_in_each_of_the_three_ways() {
    let env = TestEnv::new();
    pack(&env, "app.tar.gz", &[("version", "good\n")]);
    pack(&env, "bad.tar.gz", &[("version", "poor\n")]);
    pack(&env, "tests.tar.gz", &[("muster.toml", TESTS)]);
    pack(&env, "waits.tar.gz", &[("muster.toml", WAITS)]);
    // A machine that is busy with all of this may be silent for longer than a short lease lasts.
    let mut lab = Lab::with_lease(&env, "60s");
    lab.start_agent(
        "foopy",
        &[
            ["--device", "winmo-test-1:kind=winmo,address=local:"],
            ["--device", "winmo-test-2:kind=winmo,address=local:"],
            ["--device", "panda-1:kind=panda,address=local:"],
        ]
        .concat(),
    );
    let listen = format!("127.0.0.1:{}", free_port());
    let bb = Buildbot::start(&env, &lab, &listen);
    let url = |name: &str| format!("{}/{name}", bb.site);

    // Set-up 1: a worker for each device, all on one host and at once.
    let (one, two) = (bb.force("winmo-test-1", &[]), bb.force("winmo-test-2", &[]));
    let bad = bb.force("run-on-lab", &[("build_url", &url("bad.tar.gz"))]);
    // Nobody listens where the build is: nothing is known about the tests.
    let away = format!("http://127.0.0.1:{}/app.tar.gz", free_port());
    let lost = bb.force("run-on-lab", &[("build_url", &away)]);
    let nowhere = bb.force("run-on-lab", &[("on", "labels.kind == \"phone\"")]);
    assert_eq!((bb.results(one), bb.results(two)), (vec![SUCCESS], vec![SUCCESS]), "{}", bb.said());
    let places = std::fs::read_to_string(env.home().join("places")).unwrap();
    for device in ["winmo-test-1", "winmo-test-2"] {
        let mine = places.lines().find(|l| l.starts_with(device)).unwrap();
        assert!(mine.contains(" local: ") && mine.ends_with(" 1d2c3b"), "{places}");
        let junit = bb.dir.join(device).join(device).join("build/muster-junit.xml");
        let junit = std::fs::read_to_string(junit).unwrap();
        assert!(
            junit.contains(&format!("name=\"device\" value=\"{device}\"")),
            "{device} has a folder of its own"
        );
    }
    let (step, logs) = bb.step(one);
    assert!(step["state_string"].as_str().unwrap().contains("2 pass"), "{step}");
    let log = |name: &str| logs.iter().find(|(n, _)| n == name).map_or("", |(_, text)| text);
    assert!(log("stdio").contains("PASS") && log("events").contains("run-ended"), "{logs:?}");
    assert!(log("junit").contains("<testsuite") && log("report").contains("<html"), "{logs:?}");

    assert_eq!(bb.results(bad), [FAILURE], "the test said no");
    let (_, logs) = bb.step(bad);
    assert!(logs.iter().any(|(name, text)| name == "failed version" && text.contains("poor")), "{logs:?}");
    assert_eq!(bb.results(lost), [RETRY, RETRY, EXCEPTION], "the lab failed, and not for ever");
    assert_eq!(bb.results(nowhere), [EXCEPTION], "there is no such device");

    // Stopped by a person: the run on the lab stops too.
    let waits = bb.force("run-on-lab", &[("tests_url", &url("waits.tar.gz"))]);
    let started = env.home().join("started");
    wait_until("it runs", || started.exists());
    let build = bb.builds(waits).pop().unwrap()["buildid"].clone();
    bb.ask(&format!("/builds/{build}"), "stop", &json!({"reason": "a test"}));
    assert_eq!(bb.results(waits), [CANCELLED]);
    let queue = env.tell(&lab.command(&["queue"]).output().unwrap());
    assert!(!queue.contains("winmo/"), "{queue}");

    // Set-up 2: Buildbot's own steps, with a device that is reserved for them.
    let (good, bad) =
        (bb.force("device-steps", &[]), bb.force("device-steps", &[("app", "echo no; exit 7")]));
    let none = bb.force("device-steps", &[("on", "labels.kind == \"phone\"")]);
    let one = bb.force("device-command", &[]);
    let other = bb.force("device-command", &[("app", "echo no; exit 7")]);
    assert_eq!(bb.results(one), [SUCCESS], "{:?}", bb.step(one));
    assert_eq!(bb.results(other), [FAILURE], "the exit code is the program's");
    assert_eq!(bb.results(good), [SUCCESS], "{:?}", bb.step(good));
    let (_, logs) = bb.step(good);
    assert!(logs[0].1.contains("ran on the device"), "{logs:?}");
    assert_eq!(bb.results(bad), [FAILURE], "the exit code is the program's");
    assert_eq!(bb.results(none), [EXCEPTION]);
    let devices = env.tell(&lab.command(&["device", "list"]).output().unwrap());
    assert!(!devices.contains("somebody@"), "they were given back: {devices}");

    // Pull: what Buildbot announces is run once and reported once, through the death of the bridge.
    std::fs::remove_file(&started).unwrap();
    let mut bridge = start_bridge(&env, &lab, &listen, &bb);
    let reported = || {
        let id = &bb.get("/builders?name=muster-results")["builders"][0]["builderid"];
        let builds = bb.get(&format!("/builders/{id}/builds?complete=true&order=number"));
        builds["builds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["results"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    bb.results(bb.force("compile", &[("build_url", &url("bad.tar.gz"))]));
    wait_until("a failure is reported", || !reported().is_empty());
    assert_eq!(reported(), [FAILURE]);
    bb.results(bb.force("compile", &[("tests_url", &url("waits.tar.gz")), ("changeset", "5e5e5e")]));
    wait_until("it runs", || started.exists());
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    let mut bridge = start_bridge(&env, &lab, &listen, &bb);
    std::fs::write(env.home().join("go"), "").unwrap();
    wait_until("a pass is reported", || reported().len() == 2);
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    let mut bridge = start_bridge(&env, &lab, &listen, &bb);
    bb.results(bb.force("compile", &[]));
    wait_until("the next is reported", || reported().len() == 3);
    assert_eq!(reported(), [FAILURE, SUCCESS, SUCCESS], "each once");
    let runs = env.tell(&lab.command(&["runs"]).output().unwrap());
    let mut logs = Command::new("find");
    logs.arg(env.home()).args(["-name", "*-*.log", "-exec", "tail", "-n", "20", "{}", "+"]);
    let said = String::from_utf8(logs.output().unwrap().stdout).unwrap();
    assert_eq!(std::fs::read_to_string(&started).unwrap(), "x\n", "it ran once\n{runs}\n{said}");
    let (stranger, body) = (format!("http://{listen}/buildbot"), "{}");
    let refused = ureq::post(&stranger).header("authorization", "Basic eDp5").send(body);
    assert!(matches!(refused, Err(ureq::Error::StatusCode(401))), "{refused:?}");
    bridge.kill().unwrap();
    bridge.wait().unwrap();
}
