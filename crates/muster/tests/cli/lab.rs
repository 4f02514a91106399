//! A lab of real processes: a server, agents, and `muster run` on it, through what may happen to them.

use crate::env::TestEnv;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server at a port of its own, and its agents. All are killed when it is dropped.
pub(crate) struct Lab<'a> {
    env: &'a TestEnv,
    lease: &'static str,
    listen: String,
    /// Where agents and commands ask: the server, or a proxy before it.
    ask: String,
    server: Option<Child>,
    /// Agents, and what else is to be ended with the lab.
    pub(crate) agents: Vec<Child>,
    /// A directory on a file system of its own, as this process can reach it.
    small_disk: Option<std::path::PathBuf>,
}

impl<'a> Lab<'a> {
    pub(crate) fn start(env: &'a TestEnv) -> Self {
        Self::with_lease(env, "5s")
    }

    pub(crate) fn with_lease(env: &'a TestEnv, lease: &'static str) -> Self {
        let mut lab = Self::prepare(env, lease);
        lab.start_server();
        lab
    }

    fn prepare(env: &'a TestEnv, lease: &'static str) -> Self {
        // Free a moment ago; nobody else on this machine is given it so soon.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let ask = listen.clone();
        Self { env, lease, listen, ask, server: None, agents: Vec::new(), small_disk: None }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.ask)
    }

    /// Where the server is.
    pub(crate) fn listen(&self) -> String {
        self.listen.clone()
    }

    /// Agents and commands that are started from now on ask here.
    pub(crate) fn ask_through(&mut self, proxy: String) {
        self.ask = proxy;
    }

    /// What the server has said to people.
    pub(crate) fn server_said(&self) -> String {
        std::fs::read_to_string(self.env.home().join("server-said")).unwrap_or_default()
    }

    pub(crate) fn server_id(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    fn server_command(&self) -> Command {
        let data = self.env.home().join("server").display().to_string();
        self.env.command(&["server", "--listen", &self.listen, "--data", &data, "--lease", self.lease])
    }

    pub(crate) fn start_server(&mut self) {
        let mut server = self.server_command().stderr(Stdio::piped()).spawn().unwrap();
        says(&mut server, "the lab is at ", Some(self.env.home().join("server-said")));
        self.server = Some(server);
    }

    fn agent_command(&self, name: &str, args: &[&str]) -> Command {
        let state = self.env.home().join(name).display().to_string();
        self.env.command(&[&["agent", "--server", &self.url(), "--state", &state][..], args].concat())
    }

    /// Starts an agent and waits until it is connected.
    pub(crate) fn start_agent(&mut self, name: &str, args: &[&str]) -> u32 {
        let mut agent = self.agent_command(name, args).stderr(Stdio::piped()).spawn().unwrap();
        says(&mut agent, "connected to ", Some(self.env.home().join(name).join("said")));
        let id = agent.id();
        self.agents.push(agent);
        id
    }

    /// A lab whose server has its data on a file system of so many MiB.
    pub(crate) fn start_on_small_disk(env: &'a TestEnv, mib: u32) -> Self {
        let mut lab = Self::prepare(env, "30s");
        let dir = env.home().join("server");
        let mut server =
            on_small_disk(&lab.server_command(), &dir, mib).stderr(Stdio::piped()).spawn().unwrap();
        says(&mut server, "the lab is at ", None);
        lab.small_disk = Some(format!("/proc/{}/root{}", server.id(), dir.display()).into());
        lab.server = Some(server);
        lab
    }

    /// Starts an agent that keeps what it fetches and what is printed on a file system of so many MiB.
    pub(crate) fn start_agent_on_small_disk(&mut self, name: &str, args: &[&str], mib: u32) {
        let dir = self.env.home().join(name);
        let command =
            on_small_disk(&self.agent_command(name, args), &dir, mib).stderr(Stdio::piped()).spawn();
        let mut agent = command.unwrap();
        says(&mut agent, "connected to ", Some(self.env.home().join(name).join("said")));
        self.small_disk = Some(format!("/proc/{}/root{}", agent.id(), dir.display()).into());
        self.agents.push(agent);
    }

    /// Fills the small file system to the last byte; the file that does, to be removed.
    pub(crate) fn fill_disk(&self) -> std::path::PathBuf {
        let path = self.small_disk.as_ref().unwrap().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [64 << 10, 1] {
            while std::io::Write::write_all(&mut file, &vec![b'x'; size]).is_ok() {}
        }
        path
    }

    /// The keeper of an agent's attempts, once there is one.
    pub(crate) fn keeper(&self, name: &str) -> u32 {
        let socket = self.env.home().join(name).join("keeper/socket");
        let start = std::time::Instant::now();
        loop {
            if start.elapsed() > Duration::from_secs(60) {
                let said =
                    std::fs::read_to_string(self.env.home().join(name).join("said")).unwrap_or_default();
                panic!("the agent `{name}` has no keeper; it said:\n{said}");
            }
            if let Ok(stream) = std::os::unix::net::UnixStream::connect(&socket) {
                let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
                return peer.pid.as_raw_pid().cast_unsigned();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub(crate) fn kill_agent(&mut self, id: u32) {
        let agent = self.agents.iter_mut().find(|a| a.id() == id).unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Kills an agent with the keeper of what it runs, as a power cut does.
    pub(crate) fn kill_agent_and_keeper(&mut self, name: &str, id: u32) {
        let keeper = self.keeper(name);
        self.kill_agent(id);
        signal("-KILL", keeper);
    }

    /// `muster --server … ARGS`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(args);
        command.env("MUSTER_SERVER", self.url());
        command
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain(&mut self.server) {
            // It may be gone.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

/// The same command with a small file system of its own at `dir`; whoever runs the tests may do so.
fn on_small_disk(command: &Command, dir: &std::path::Path, mib: u32) -> Command {
    std::fs::create_dir_all(dir).unwrap();
    let script = format!("mount -t tmpfs -o size={mib}m none \"$0\" && exec \"$@\"");
    let mut small = Command::new("unshare");
    small.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    small.arg(dir).arg(command.get_program()).args(command.get_args());
    small.current_dir(command.get_current_dir().unwrap()).env_clear();
    small.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    small
}

/// Reads what a child says until it has said this, and goes on reading so that it is never held up.
pub(crate) fn says(child: &mut Child, wanted: &str, log: Option<std::path::PathBuf>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    loop {
        let Some(line) = lines.next() else {
            panic!("`{wanted}` was waited for, but all that came is:\n{said}")
        };
        let line = line.unwrap();
        said.push_str(&line);
        said.push('\n');
        if line.contains(wanted) {
            break;
        }
    }
    std::thread::spawn(move || {
        let mut log = log.and_then(|path| std::fs::File::options().append(true).create(true).open(path).ok());
        for line in std::iter::once(Ok(said)).chain(lines).map_while(Result::ok) {
            if let Some(log) = &mut log {
                std::io::Write::write_all(log, format!("{line}\n").as_bytes()).unwrap();
            }
        }
    });
}

/// Verdict, attempts and message of each item, out of a JSON report.
pub(crate) fn items(env: &TestEnv, report: &str) -> BTreeMap<String, (String, usize, String)> {
    let text = std::fs::read(env.area().join(report)).unwrap();
    let view: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut all = BTreeMap::new();
    for test in view["tests"].as_array().unwrap() {
        for item in test["items"].as_array().unwrap() {
            let name = format!("{}/{}", test["name"].as_str().unwrap(), item["path"].as_str().unwrap());
            let attempts = item["attempts"].as_array().unwrap();
            let message = attempts.last().map_or("", |a| a["message"].as_str().unwrap());
            let verdict = item["verdict"].as_str().unwrap_or("open");
            all.insert(name, (verdict.to_owned(), attempts.len(), message.to_owned()));
        }
    }
    all
}

/// Lines of a file that the tests of an area append to.
pub(crate) fn lines(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whether a process is there and not dead; who adopts those that are left may never look after them.
pub(crate) fn lives(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

pub(crate) fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

pub(crate) fn processes_with(cookie: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|e| std::fs::read(e.ok()?.path().join("environ")).ok())
        .filter(|environ| environ.windows(cookie.len()).any(|w| w == cookie.as_bytes()))
        .count()
}

#[test]
fn a_run_on_a_lab_comes_to_what_it_comes_to_here() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n\
         [test.passes]\nrun = \"./hello.sh\"\nstdout = \"hello\\n\"\n\
         [test.fails]\nrun = \"echo no >&2; exit 1\"\n\
         [test.skips]\nrun = \"exit 77\"\n\
         [test.flaky]\nrun = \"test $MUSTER_ATTEMPT = 2\"\nretries = 1\n\
         [test.long]\nrun = \"seq 1 40000; exit 3\"\n\
         [test.found]\nrun = \"test $MUSTER_ITEM != b\"\nitems-from = \"printf 'a\\nb\\n'\"\nafter = \"passes\"\n\
         [test.after]\nrun = \"true\"\nafter = \"fails\"\n",
    );
    env.write("hello.sh", "#!/bin/sh\necho hello\n");
    let script = env.area().join("hello.sh");
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "2"]);
    lab.start_agent("two", &["--device", "board:kind=board"]);
    let args = ["run", "--progress", "quiet", "--report", "json:there.json", "--report", "tap:there.tap"];
    let there = lab.command(&args).output().unwrap();
    let args = ["run", "--progress", "quiet", "--report", "json:here.json", "--report", "tap:here.tap"];
    let here = env.command(&args).output().unwrap();
    assert_eq!(there.status.code(), Some(1), "{}", env.tell(&there));
    assert_eq!(here.status.code(), Some(1), "{}", env.tell(&here));
    assert_eq!(items(&env, "there.json"), items(&env, "here.json"));
    assert_eq!(items(&env, "there.json").len(), 9, "with the question for items");
    let tap = std::fs::read_to_string(env.area().join("there.tap")).unwrap();
    assert!(tap.contains("40000"), "the long output came over: {tap}");
}

#[test]
fn the_records_of_a_lab_are_looked_at_with_the_same_commands() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.good]\nrun = \"echo fine\"\n[test.bad]\nrun = \"seq 1 20000; echo no >&2; exit 1\"\n",
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    for area in ["demo", "demo"] {
        let said = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
        assert_eq!(said.status.code(), Some(1), "{area}: {}", env.tell(&said));
    }
    let ask = |args: &[&str]| env.tell(&lab.command(args).output().unwrap());
    let runs = ask(&["runs"]);
    assert!(runs.contains("1 failed, 1 passed") && runs.contains("--- exit 0"), "{runs}");
    let results = ask(&["results", "1"]);
    assert!(results.contains("demo/1 FAIL") && results.ends_with("--- exit 1\n"), "{results}");
    assert!(ask(&["log", "bad"]).contains("\n19999\n"), "of a file that the agent brought");
    assert_eq!(ask(&["log", "1/good"]), "fine\n--- exit 0\n");
    assert!(ask(&["why", "bad"]).contains("exit code 1"));
    assert!(ask(&["diff", "1", "2"]).contains("demo/1 → demo/2"));
    assert!(ask(&["history", "bad"]).contains("2 runs, 2 failed"));
    let said = ask(&["run", "--progress", "plain", "--failed-in", "latest"]);
    assert!(said.contains("demo/3: 1 test, 1 item"), "{said}");
    assert!(ask(&["results", "9"]).contains("has no run `9`"));
    assert!(!env.area().join(".muster").exists(), "nothing is recorded here");
}

#[test]
fn devices_and_queue_of_a_lab_can_be_listed() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.waits]\nrun = \"sleep 100\"\nitems = [\"1\", \"2\"]\n",
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", "b1:kind=board"]);
    let url = lab.url();
    let ask = |args: &[&str]| env.tell(&env.command(args).env("MUSTER_SERVER", &url).output().unwrap());
    // It is connected before it has said what it has.
    while !ask(&["device", "list"]).contains("idle") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ask(&["queue"]), "nothing is under way\n--- exit 0\n");
    ask(&["run", "--detach"]);
    ask(&["run", "--detach", "--on", "labels.kind == 'phone'"]);
    let list = ask(&["device", "list", "--output", "json"]);
    let devices: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!(devices[0]["state"], "busy");
    assert_eq!(devices[0]["labels"]["kind"], "board");
    assert_eq!(devices[0]["running"], "demo/1/waits/1");
    let queue = ask(&["queue"]);
    let why = ask(&["why", "2/waits/1"]);
    assert!(why.contains("none of the 1 devices that are there matches `labels.kind == 'phone'`"), "{why}");
    let why = ask(&["why", "1/waits/1"]);
    assert!(why.contains("it runs on `b1`"), "{why}");
    assert!(queue.contains("demo/1") && queue.contains("none of the 1 devices"), "{queue}");
    assert!(
        ask(&["device", "hold", "b1", "--reason", "its relay clicks"])
            .contains("demo/1/waits/1 still runs there")
    );
    let list = ask(&["device", "list"]);
    assert!(list.contains("its relay clicks") && list.contains("busy"), "{list}");
    assert!(ask(&["device", "hold", "b2", "--reason", "x"]).contains("the lab has no device `b2`"));
    lab.kill_server();
    lab.start_server();
    let list = ask(&["device", "list"]);
    assert!(list.contains("its relay clicks"), "a hold outlives the server: {list}");
    assert!(ask(&["device", "release", "b1"]).contains("is back"));
    assert!(!ask(&["device", "list"]).contains("its relay clicks"));
    let said = env.run(&["device", "list"]);
    assert!(said.contains("is about a lab") && said.contains("--- exit 2"), "{said}");
}

#[test]
fn the_order_of_the_queue_can_be_changed_and_outlives_the_server() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.waits]\nrun = \"sleep 100\"\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--device", "b1:kind=board"]);
    let url = lab.url();
    let ask = |args: &[&str]| {
        env.tell(&env.command(args).env("MUSTER_SERVER", &url).env("USER", "ana").output().unwrap())
    };
    while !ask(&["device", "list"]).contains("idle") {
        std::thread::sleep(Duration::from_millis(20));
    }
    ask(&["run", "--detach"]);
    ask(&["run", "--detach", "--priority", "2"]);
    let waits = ask(&["run", "--detach"]);
    assert!(
        waits.contains("demo/3 waits: every device is busy") && waits.contains("it may start in"),
        "{waits}"
    );
    let order = |ask: &dyn Fn(&[&str]) -> String| ask(&["queue", "--output", "quiet"]);
    assert_eq!(order(&ask), "demo/2\ndemo/3\ndemo/1\n--- exit 0\n", "what has least under way first");
    let moved = ask(&["queue", "move", "3", "--before", "demo/2", "--reason", "release today"]);
    assert_eq!(moved, "demo/3 is number 1 of 3\n--- exit 0\n");
    lab.kill_server();
    lab.start_server();
    while !ask(&["device", "list"]).contains("busy") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(order(&ask), "demo/3\ndemo/2\ndemo/1\n--- exit 0\n");
    let queue = ask(&["queue"]);
    assert!(queue.contains("before demo/2: release today") && queue.contains("ana"), "{queue}");
    let why = ask(&["why", "3/waits"]);
    assert!(why.contains("1 busy: `b1` (demo/1/waits"), "{why}");
    assert!(ask(&["queue", "move", "3", "--before", "3"]).contains("cannot be put before itself"));
    assert!(ask(&["queue", "move", "9", "--first"]).contains("no run `9` is under way"));
    let late = ask(&["run", "--start-within", "1s"]);
    assert!(late.contains("nothing of it was started") && late.ends_with("--- exit 7\n"), "{late}");
    let newer = ask(&["run", "--detach", "--supersede"]);
    assert!(newer.contains("demo/5"), "{newer}");
    assert_eq!(order(&ask), "demo/5\ndemo/1\n--- exit 0\n", "those that waited were superseded");
    let alone = env.run(&["run", "--priority", "1"]);
    assert!(alone.contains("`--priority` is for a lab"), "{alone}");
}

#[test]
fn events_of_a_run_are_for_everybody_and_go_on_where_they_were_cut() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.a]\nrun = \"true\"\nitems = [\"1\", \"2\"]\n");
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let said = lab.command(&["run", "--progress", "quiet", "--report", "json:out.json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    let view: serde_json::Value =
        serde_json::from_slice(&std::fs::read(env.area().join("out.json")).unwrap()).unwrap();
    let path = format!("/api/v1/runs/{}/events", view["id"].as_str().unwrap());
    let get = |listen: &str, last: &str| -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(listen).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n{last}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let all = get(&lab.listen, "");
    assert!(all.contains("content-type: text/event-stream"), "{all}");
    let ids: Vec<&str> = all.lines().filter_map(|l| l.strip_prefix("id: ")).collect();
    assert_eq!(all.matches("\"event\":\"item-ended\"").count(), 2, "{all}");
    assert!(all.contains("event: over\ndata: {\"stopped\":null}"), "{all}");
    let rest = get(&lab.listen, &format!("Last-Event-ID: {}\r\n", ids[ids.len() - 2]));
    assert_eq!(rest.matches("data: {\"schema\"").count(), 1, "only what came after: {rest}");
    let last = ids[0].to_owned();
    lab.kill_server();
    lab.start_server();
    let again = get(&lab.listen, &format!("Last-Event-ID: {last}\r\n"));
    let rest = all.split_once(&format!("id: {last}\n")).unwrap().1.split_once("\n\n").unwrap().1;
    let told =
        |text: &str| text.lines().filter(|l| l.starts_with("id: ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(told(&again), told(rest), "the numbers are those of the record, whoever serves it");
}

#[test]
fn a_test_of_a_lab_uses_its_device_by_the_address_it_is_given() {
    let env = TestEnv::new();
    let muster = env!("CARGO_BIN_EXE_muster");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.device]\nsteps = [\n\
             {{ name = \"push\", run = \"{muster} device push muster.toml $ROOT/it.toml\" }},\n\
             {{ name = \"exec\", run = \"{muster} device exec -- grep -q area $ROOT/it.toml\" }},\n]\n\
             env = {{ ROOT = \"{}\" }}\n",
            env.home().join("device").display()
        ),
    );
    let root = env.home().join("device");
    std::fs::create_dir_all(&root).unwrap();
    let root_text = root.display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let args = ["sut-agent", "--port", &port, "--data-port", "0", "--test-root", &root_text];
    let device = env.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut lab = Lab::start(&env);
    lab.agents.push(device);
    let address = format!("sut://127.0.0.1:{port}");
    let waited = env.command(&["device", "wait", "--on", &address, "--timeout", "30s"]).output().unwrap();
    assert!(waited.status.success(), "{}", env.tell(&waited));
    lab.start_agent("one", &["--device", &format!("phone:address={address}")]);
    let said = lab.command(&["run", "--progress", "verbose"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert!(root.join("it.toml").exists(), "it was pushed to the device");
}

#[test]
fn a_selector_chooses_the_device_and_tests_are_told_its_address() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.where]\nrun = \"echo $MUSTER_SLOT $MUSTER_DEVICE_ADDRESS >> $OUT\"\nitems = [\"1\", \"2\", \"3\"]\n");
    let out = env.home().join("out");
    let mut lab = Lab::start(&env);
    let mut agent = |name: &str, args: &[&str]| {
        // The agent's own environment is what its tests inherit.
        lab.start_agent(name, args)
    };
    agent("one", &["--slots", "3"]);
    agent("two", &["--device", "b1:kind=board,address=sut://10.0.0.7", "--label", "lab=east"]);
    let set = format!("env.OUT={}", out.display());
    let run =
        |on: &str| lab.command(&["run", "--progress", "quiet", "--set", &set, "--on", on]).output().unwrap();
    let said = run("labels.kind == 'board' && labels.lab == 'east'");
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert_eq!(lines(&out), ["b1 sut://10.0.0.7"; 3]);
    let said = run("labels.kind = 'board'");
    assert_eq!(said.status.code(), Some(2));
    let text = env.tell(&said);
    assert!(text.contains("the selector `labels.kind = 'board'` cannot be used"), "{text}");
    let said = lab.command(&["run", "--on", "labels.kind == 'phone'", "--detach"]).output().unwrap();
    let text = env.tell(&said);
    assert!(text.contains("none of the 4 devices that are there matches"), "{text}");
    assert!(text.starts_with("demo/3\n"), "{text}");
}

#[test]
fn a_server_killed_in_the_middle_loses_nothing_and_nothing_runs_twice() {
    let env = TestEnv::new();
    let ran = env.home().join("ran");
    let names: Vec<String> = (0..60).map(|n| format!("\"{n}\"")).collect();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.work]\nrun = \"echo $MUSTER_ITEM >> {}; sleep 0.1\"\nitems = [{}]\n",
            ran.display(),
            names.join(",")
        ),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "2"]);
    lab.start_agent("two", &["--slots", "1"]);
    let args = ["run", "--progress", "quiet", "--report", "json:out.json"];
    let run = lab.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    for pause in [300, 450, 700] {
        std::thread::sleep(Duration::from_millis(pause));
        lab.kill_server();
        std::thread::sleep(Duration::from_millis(pause / 2));
        lab.start_server();
    }
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    let items = items(&env, "out.json");
    assert_eq!(items.len(), 60);
    assert!(items.values().all(|(verdict, attempts, _)| verdict == "pass" && *attempts == 1), "{items:?}");
    let mut ran = lines(&ran);
    ran.sort();
    ran.dedup();
    assert_eq!(ran.len(), 60);
}

#[test]
fn the_work_of_an_agent_that_was_killed_is_done_by_another() {
    let env = TestEnv::new();
    let cookie = format!("lab-{}", std::process::id());
    let names: Vec<String> = (0..40).map(|n| format!("\"{n}\"")).collect();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[env]\nCOOKIE = \"{cookie}\"\n\
             [test.work]\nrun = \"(setsid sleep 100 &); sleep 0.1\"\nitems = [{}]\n",
            names.join(",")
        ),
    );
    let mut lab = Lab::start(&env);
    let first = lab.start_agent("one", &["--slots", "2"]);
    lab.start_agent("two", &["--slots", "2"]);
    let args = ["run", "--progress", "quiet", "--report", "json:out.json"];
    let run = lab.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    lab.kill_agent_and_keeper("one", first);
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    let items = items(&env, "out.json");
    assert_eq!(items.len(), 40);
    assert!(items.values().all(|(verdict, _, _)| verdict == "pass"), "{items:?}");
    // What fled from its tests is found by the next agent on the host.
    lab.start_agent("one", &["--slots", "2"]);
    while processes_with(&cookie) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_runs_goes_on_when_the_agent_is_killed_and_is_told_by_the_next_one() {
    let env = TestEnv::new();
    let dir = env.home().join("ran");
    std::fs::create_dir_all(&dir).unwrap();
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.work]\n\
             run = \"echo $MUSTER_ITEM >> {0}/$MUSTER_ITEM; seq 20000; while [ ! -e {0}/go ]; do sleep 0.05; done; seq 20000\"\n\
             items = [\"a\", \"b\"]\n",
            dir.display()
        ),
    );
    let mut lab = Lab::start(&env);
    let first = lab.start_agent("one", &["--slots", "2"]);
    let run = lab.command(&["run", "--progress", "quiet", "--report", "json:out.json"]).spawn().unwrap();
    while !(dir.join("a").exists() && dir.join("b").exists()) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let keeper = lab.keeper("one");
    lab.kill_agent(first);
    let second = lab.start_agent("one", &["--slots", "2"]);
    assert!(lives(keeper), "it goes on");
    // As a service manager ends it for a new version.
    signal("-TERM", second);
    let ended = lab.agents.iter_mut().find(|a| a.id() == second).unwrap().wait().unwrap();
    assert!(ended.success());
    std::fs::write(dir.join("go"), "").unwrap();
    // Its results wait.
    std::thread::sleep(Duration::from_millis(200));
    lab.start_agent("one", &["--slots", "2"]);
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    let items = items(&env, "out.json");
    assert!(items.values().all(|(verdict, attempts, _)| verdict == "pass" && *attempts == 1), "{items:?}");
    assert_eq!(lines(&dir.join("a")).len() + lines(&dir.join("b")).len(), 2, "nothing ran twice");
    let log = env.tell(&lab.command(&["log", "work/a"]).output().unwrap());
    let numbers: Vec<u32> = log.lines().filter_map(|l| l.parse().ok()).collect();
    let whole: Vec<u32> = (1..=20_000).chain(1..=20_000).collect();
    assert!(numbers == whole, "{} lines without a gap", numbers.len());
    // What nobody uses any more is ended by hand.
    let state = env.home().join("one").display().to_string();
    let said = env.run(&["agent", "--stop", "--state", &state]);
    assert_eq!(said, "ended\n--- exit 0\n");
    assert!(!lives(keeper));
    assert_eq!(env.run(&["agent", "--stop", "--state", &state]), "nothing runs\n--- exit 0\n");
}

#[test]
fn what_an_agent_process_that_hangs_was_running_is_ended_before_another_runs_it() {
    let env = TestEnv::new();
    let pid = env.home().join("pid").display().to_string();
    // The second to run it fails if the first still does.
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[test.alone]\n\
             run = \"if [ -e {pid} ]; then ! kill -0 $(cat {pid}); else echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000; fi\"\n"
        ),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let run = lab.command(&["run", "--progress", "quiet"]).stderr(Stdio::piped()).spawn().unwrap();
    while !std::path::Path::new(&pid).exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let process = lab.keeper("one");
    signal("-STOP", process);
    lab.start_agent("two", &["--slots", "1"]);
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert!(!lives(process), "the agent has ended it");
}

#[test]
fn an_agent_outlives_a_server_that_stands_still_for_longer_than_a_lease() {
    let env = TestEnv::new();
    let started = env.home().join("started");
    env.write(
        "muster.toml",
        &format!("[area]\nname = \"demo\"\n[test.work]\nrun = \"touch {}; sleep 1\"\n", started.display()),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let run = lab.command(&["run", "--progress", "quiet"]).stderr(Stdio::piped()).spawn().unwrap();
    while !started.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let server = lab.server.as_ref().unwrap().id();
    signal("-STOP", server);
    std::thread::sleep(Duration::from_secs(6));
    signal("-CONT", server);
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
    assert!(lab.agents[0].try_wait().unwrap().is_none(), "the agent is well");
}

#[test]
fn an_agent_that_comes_back_is_the_same_one_and_two_of_one_identity_are_not_let() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    let first = lab.start_agent("one", &["--slots", "1"]);
    let state = env.home().join("one").display().to_string();
    let url = lab.url();
    let said = env.run(&["agent", "--server", &url, "--state", &state]);
    assert!(said.contains("another agent uses"), "{said}");
    assert!(said.contains("--- exit 2"), "{said}");
    let id = std::fs::read_to_string(env.home().join("one/agent-id")).unwrap();
    lab.kill_agent(first);
    lab.start_agent("one", &["--slots", "1"]);
    assert_eq!(std::fs::read_to_string(env.home().join("one/agent-id")).unwrap(), id);
    let said = lab.command(&["run", "--progress", "quiet"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{}", env.tell(&said));
}

#[test]
fn ctrl_c_stops_the_run_on_the_lab() {
    let env = TestEnv::new();
    let cookie = format!("stop-{}", std::process::id());
    let started = env.home().join("started");
    env.write(
        "muster.toml",
        &format!(
            "[area]\nname = \"demo\"\n[env]\nCOOKIE = \"{cookie}\"\n[test.work]\nrun = \"touch {}; sleep 100\"\n",
            started.display()
        ),
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("one", &["--slots", "1"]);
    let run = lab.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap();
    while !started.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let said = run.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(130), "{}", env.tell(&said));
    while processes_with(&cookie) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_only_a_lab_can_do_says_so_and_a_server_that_is_not_there_is_told_plainly() {
    let env = TestEnv::new();
    let said = env.run(&["run", "--on", "labels.os == 'linux'"]);
    assert!(said.contains("`--on` is for a lab") && said.contains("--- exit 2"), "{said}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = env.run(&["--server", &format!("http://{nobody}"), "run"]);
    assert!(said.contains("cannot be reached") && said.contains("--- exit 3"), "{said}");
    let said = env.run(&["--server", "lab.example", "run"]);
    assert!(said.contains("is not an address") && said.contains("--- exit 2"), "{said}");
    let said = env.run(&["server", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("is not a loopback address") && said.contains("--- exit 2"), "{said}");
}
