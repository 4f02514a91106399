//! A lab that knows who asks: real TLS on loopback, users, agents with identities of their own, and what
//! somebody may try who is none of them.

use crate::env::TestEnv;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that was initialised, and its agents. All are killed when it is dropped.
struct Lab<'a> {
    env: &'a TestEnv,
    name: &'static str,
    listen: String,
    children: Vec<Child>,
}

impl<'a> Lab<'a> {
    fn start(env: &'a TestEnv) -> Self {
        Self::start_as(env, "server", "")
    }

    /// Another data directory, with these lines in its `server.toml`.
    fn start_as(env: &'a TestEnv, name: &'static str, settings: &str) -> Self {
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut lab = Self { env, name, listen, children: Vec::new() };
        let said = lab.admin(&["init", "--host", "127.0.0.1"], &[]);
        assert!(said.contains("is initialised") && said.contains("--- exit 0"), "{said}");
        let path = env.home().join(name).join("server.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}{settings}")).unwrap();
        lab.serve();
        lab
    }

    fn data(&self) -> String {
        self.env.home().join(self.name).display().to_string()
    }

    fn serve(&mut self) {
        let args = ["server", "--listen", &self.listen, "--data", &self.data(), "--lease", "5s"];
        let mut server = self.env.command(&args).stderr(Stdio::piped()).spawn().unwrap();
        said_until(&mut server, "the lab is at https://");
        self.children.push(server);
    }

    /// `muster server COMMAND --data … ARGS`.
    fn admin(&self, command: &[&str], args: &[&str]) -> String {
        let data = self.data();
        self.env.run(&[&["server"], command, &["--data", &data], args].concat())
    }

    fn url(&self) -> String {
        format!("https://{}", self.listen)
    }

    /// A user with these grants: the file of its token.
    fn user(&self, name: &str, grants: &[&str]) -> String {
        let flags: Vec<&str> = grants.iter().flat_map(|g| ["--grant", g]).collect();
        let said = self.admin(&["user", "add", name], &flags);
        assert!(said.contains("--- exit 0"), "{said}");
        let file = self.env.home().join(format!("{name}.token")).display().to_string();
        let said = self.admin(&["user", "token", name], &["--out", &file]);
        assert!(said.contains("--- exit 0"), "{said}");
        file
    }

    fn admin_token(&self) -> String {
        format!("{}/admin.token", self.data())
    }

    /// A token to join with.
    fn join_token(&self, args: &[&str]) -> String {
        let file = self.env.home().join(format!("join-{}", self.children.len())).display().to_string();
        // A test may make several.
        let _gone = std::fs::remove_file(&file);
        let said = self.admin(&["join-token", "--out", &file], args);
        assert!(said.contains("--- exit 0"), "{said}");
        file
    }

    fn agent(&self, state: &str, args: &[&str]) -> Command {
        let (url, state) = (self.url(), self.env.home().join(state).display().to_string());
        self.env.command(&[&["agent", "--server", &url, "--state", &state, "--slots", "1"], args].concat())
    }

    /// Starts an agent and waits until it is connected.
    fn start_agent(&mut self, state: &str, args: &[&str]) -> u32 {
        let mut agent = self.agent(state, args).stderr(Stdio::piped()).spawn().unwrap();
        said_until(&mut agent, "connected to ");
        let id = agent.id();
        self.children.push(agent);
        // It is connected before it has said what it has.
        while !self.ask(&self.admin_token(), &["device", "list"]).contains("idle") {
            std::thread::sleep(Duration::from_millis(50));
        }
        id
    }

    fn kill(&mut self, id: u32) {
        let child = self.children.iter_mut().find(|c| c.id() == id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `muster --server … --token-file FILE ARGS`.
    fn ask(&self, token: &str, args: &[&str]) -> String {
        let mut command = self.env.command(args);
        self.env
            .tell(&command.env("MUSTER_SERVER", self.url()).env("MUSTER_TOKEN_FILE", token).output().unwrap())
    }

    /// A request by hand, with curl: status and body.
    fn curl(&self, path: &str, args: &[&str]) -> (u16, String) {
        let ca = self.env.home().join("ca.pem");
        std::fs::copy(self.env.home().join(self.name).join("access/ca.pem"), &ca).unwrap();
        let said = Command::new("curl")
            .args(["-s", "--cacert", &ca.display().to_string(), "-w", "\n%{http_code}"])
            .args(args)
            .arg(format!("{}/api/v1{path}", self.url()))
            .output()
            .expect("curl is installed: `cargo xtask setup`");
        let text = String::from_utf8(said.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may be gone.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Reads what a child says until it has said this, and goes on reading so that it is never held up.
fn said_until(child: &mut Child, wanted: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    loop {
        let Some(line) = lines.next() else {
            panic!("`{wanted}` was waited for, but all that came is:\n{said}")
        };
        said.push_str(&line.unwrap());
        said.push('\n');
        if said.contains(wanted) {
            break;
        }
    }
    std::thread::spawn(move || lines.for_each(drop));
}

/// The token in a token file.
fn secret(file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().find(|l| l.starts_with("muster-")).unwrap().to_owned()
}

#[test]
fn a_run_goes_through_tls_from_a_user_to_an_agent_that_joined_and_all_of_it_is_in_the_audit_log() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.good]\nrun = \"seq 1 40000\"\n");
    let mut lab = Lab::start(&env);
    let token = lab.user("ana", &["submitter"]);
    let join = lab.join_token(&["--uses", "1"]);
    let agent = lab.start_agent("one", &["--join-token-file", &join]);
    let said = lab.ask(&token, &["run", "--progress", "quiet"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    assert!(lab.ask(&token, &["log", "good"]).contains("\n40000\n"), "the agent brought its long output");
    // It comes back without the token, as the same one.
    lab.kill(agent);
    lab.start_agent("one", &[]);
    let said = lab.ask(&token, &["run", "--progress", "quiet"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(env.home().join(path)).unwrap().permissions().mode() & 0o777
    };
    for path in ["one/identity.key", "server/access/ca.key", "server/admin.token", "ana.token"] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
    assert_eq!(mode("server/access"), 0o700);
    let log = lab.ask(&lab.admin_token(), &["server", "audit", "--output", "json"]);
    let entries: Vec<serde_json::Value> = log.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let told: Vec<(&str, &str, &str)> = entries
        .iter()
        .rev()
        .map(|e| {
            (
                e["who"].as_str().unwrap(),
                e["action"].as_str().unwrap(),
                e["outcome"]["said"].as_str().unwrap(),
            )
        })
        .collect();
    let runs: Vec<_> = told.iter().filter(|(_, action, _)| *action == "run.submit").collect();
    assert_eq!(runs, [&("ana", "run.submit", "demo/1"), &("ana", "run.submit", "demo/2")], "{told:?}");
    assert!(
        told.iter().any(|(who, action, _)| who.starts_with("join token") && *action == "agent.join"),
        "{told:?}"
    );
    assert!(told.iter().any(|(_, action, said)| *action == "user.put" && *said == "submitter"), "{told:?}");
    let queue = lab.ask(&token, &["runs", "--output", "json"]);
    assert!(!log.contains(&secret(&token)) && !queue.contains(&secret(&token)));
}

#[test]
fn who_is_not_known_is_told_so_and_gets_nothing() {
    let env = TestEnv::new();
    let lab = Lab::start(&env);
    let token = lab.user("ana", &["submitter"]);
    // No token at all.
    for (method, path) in [
        ("GET", ""),
        ("GET", "/lab"),
        ("PUT", "/runs/0190000000007000800000000000000a"),
        ("POST", "/records"),
        ("GET", "/users"),
    ] {
        let (status, body) = lab.curl(path, &["-X", method]);
        assert_eq!(status, 401, "{method} {path}: {body}");
        assert!(body.contains("no-credentials") && body.contains("--token-file"), "{body}");
    }
    let said = env.tell(&env.command(&["device", "list"]).env("MUSTER_SERVER", lab.url()).output().unwrap());
    assert!(said.contains("nothing says by what") && said.ends_with("--- exit 2\n"), "{said}");
    // A token that was guessed, and one that was removed.
    let text = std::fs::read_to_string(&token).unwrap();
    let (guess, last) = (secret(&token), if secret(&token).ends_with('0') { "1" } else { "0" });
    let guess = format!("{}{last}", &guess[..guess.len() - 1]);
    let guessed = env.home().join("guessed").display().to_string();
    std::fs::write(&guessed, text.replace(&secret(&token), &guess)).unwrap();
    let said = lab.ask(&guessed, &["device", "list"]);
    assert!(said.contains("this token is not known here") && said.ends_with("--- exit 2\n"), "{said}");
    assert!(said.contains("warning: others may read the token in `ROOT/home/guessed`"), "{said}");
    assert!(lab.ask(&token, &["device", "list"]).ends_with("--- exit 0\n"));
    let id = secret(&token).split('-').nth(2).unwrap().to_owned();
    let said = lab.admin(&["user", "token", "ana"], &["--remove", &id]);
    assert!(said.contains("is removed"), "{said}");
    let said = lab.ask(&token, &["device", "list"]);
    assert!(
        said.contains("or was removed") && said.ends_with("--- exit 2\n"),
        "at once, beside the server: {said}"
    );
    let short = env.home().join("short").display().to_string();
    lab.admin(&["user", "token", "ana"], &["--for", "1s", "--out", &short]);
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(lab.ask(&short, &["device", "list"]).contains("this token has expired"));
    let log = lab.admin(&["audit"], &["--output", "json"]);
    assert!(
        log.contains("\"sign-in\"") && log.contains("bad-token") && log.contains("expired-token"),
        "{log}"
    );
    assert!(!log.contains(&guess), "what was sent is not written down");
}

#[test]
fn a_role_is_what_it_says_and_where_it_says_it() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.waits]\nrun = \"sleep 100\"\n");
    let mut lab = Lab::start(&env);
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join]);
    let viewer = lab.user("vera", &["viewer"]);
    let submitter = lab.user("sam", &["submitter:demo"]);
    let other = lab.user("olga", &["submitter:other"]);
    let said = lab.ask(&viewer, &["run", "--detach"]);
    assert!(said.contains("vera is not `submitter`") && said.ends_with("--- exit 2\n"), "{said}");
    assert!(said.contains("muster server user add vera --grant submitter"), "{said}");
    let said = lab.ask(&other, &["run", "--detach"]);
    assert!(said.contains("olga is not `submitter` in area `demo`"), "{said}");
    let said = lab.ask(&submitter, &["run", "--detach"]);
    assert!(said.starts_with("demo/1\n"), "{said}");
    assert!(lab.ask(&viewer, &["queue"]).contains("demo/1"), "a viewer looks");
    assert!(lab.ask(&viewer, &["results", "1"]).contains("demo/1"));
    let said = lab.ask(&other, &["queue"]);
    assert!(said.contains("nothing is under way"), "not into other areas: {said}");
    let said = lab.ask(&other, &["results", "1"]);
    assert!(said.contains("is not `viewer` in area `demo`"), "{said}");
    let runs = lab.ask(&submitter, &["queue", "--output", "json"]);
    let runs: serde_json::Value = serde_json::from_str(runs.lines().next().unwrap()).unwrap();
    assert_eq!(runs[0]["user"], "sam", "who asked is who signed in");
    // Who stops a run: whose it is, or an operator.
    let runs = lab.ask(&submitter, &["runs", "--output", "json"]);
    let runs: serde_json::Value = serde_json::from_str(runs.lines().next().unwrap()).unwrap();
    let runs = if runs.is_array() { runs[0].clone() } else { runs };
    let stop = format!("/runs/{}/stop", runs["id"].as_str().unwrap());
    let stop = |token: &str| {
        let authorization = format!("authorization: Bearer {}", secret(token));
        let json = ["-H", "content-type: application/json", "-d", "{\"reason\":\"enough\",\"kill\":true}"];
        lab.curl(&stop, &[&["-X", "POST", "-H", &authorization], &json[..]].concat()).0
    };
    assert_eq!(stop(&viewer), 403);
    assert_eq!(stop(&lab.user("sue", &["submitter"])), 403, "not another's");
    let reopen = format!("/runs/{}/reopen", runs["id"].as_str().unwrap());
    for token in [&viewer, &other, &lab.user("sid", &["submitter"])] {
        let authorization = format!("authorization: Bearer {}", secret(token));
        let (status, body) = lab.curl(&reopen, &["-X", "POST", "-H", &authorization]);
        assert_eq!(status, 403, "nor does one who may not stop it go on with it: {body}");
    }
    assert_eq!(stop(&submitter), 204);
    let said = lab.ask(&submitter, &["reserve", "true", "--for", "1h"]);
    assert!(said.contains("sam is not `operator`") && said.ends_with("--- exit 2\n"), "{said}");
    let operator = lab.user("otto", &["operator"]);
    let said = lab.ask(&operator, &["device", "hold", "slot-1", "--reason", "x"]);
    assert!(said.contains("is held"), "{said}");
    let list = lab.ask(&viewer, &["device", "list", "--output", "json"]);
    let devices: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!(devices[0]["hold"]["by"], "otto", "not what the program says of its user");
    for args in [&["server", "user", "list"][..], &["server", "audit"], &["server", "join-token", "--print"]]
    {
        let said = lab.ask(&operator, args);
        assert!(said.contains("otto is not `admin`") && said.ends_with("--- exit 2\n"), "{said}");
    }
    let admin = lab.admin_token();
    assert!(lab.ask(&admin, &["server", "user", "list"]).contains("submitter:demo"));
    let log = lab.ask(&admin, &["server", "audit", "--output", "json"]);
    assert!(log.contains("slot-1@") && log.contains("device.hold") && log.contains("missing-role"), "{log}");
}

#[test]
fn who_may_submit_everywhere_may_publish_and_it_is_in_the_audit_log() {
    let env = TestEnv::new();
    env.write("tool/greeting", "hello\n");
    env.write(
        "muster.toml",
        "[area]\nname = \"nightly\"\npackages = [\"dep:tool\"]\n\
         [test.greets]\nrun = 'cat \"$MUSTER_PACKAGE_DEP_TOOL/greeting\"'\n",
    );
    let mut lab = Lab::start(&env);
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join]);
    let viewer = lab.user("vera", &["viewer"]);
    let of_area = lab.user("nina", &["submitter:nightly"]);
    let submitter = lab.user("sam", &["submitter"]);
    let operator = lab.user("olga", &["operator"]);
    let build = ["package", "build", "tool", "--kind", "dep", "--version", "1"];
    let said = lab.ask(&viewer, &build);
    assert!(said.contains("error: vera is not `submitter`") && said.ends_with("exit 2\n"), "{said}");
    let said = lab.ask(&of_area, &build);
    assert!(said.contains("nina is `submitter` in some areas alone, and this concerns all"), "{said}");
    assert_eq!(lab.ask(&viewer, &["package", "list"]), "--- exit 0\n");
    // For a run of its own area it may bring one along all the same.
    let said = lab.ask(&of_area, &["run", "--progress", "plain", "--local", "dep:tool=tool"]);
    assert!(said.contains("PASS"), "{said}");
    let said = lab.ask(&submitter, &build);
    assert!(said.starts_with("dep:tool@1  0 of 1 chunks were new"), "{said}");
    assert!(
        lab.ask(&of_area, &["run", "--progress", "plain"]).contains("PASS"),
        "the agent has it with its identity"
    );
    let said = lab.ask(&submitter, &["package", "remove", "dep:tool"]);
    assert!(said.contains("error: sam is not `operator`"), "{said}");
    let said = lab.ask(&operator, &["package", "remove", "dep:tool"]);
    assert!(said.contains("removed dep:tool@1"), "{said}");
    assert!(lab.ask(&operator, &["package", "gc"]).contains("taken away"));
    let audit = lab.ask(&lab.admin_token(), &["server", "audit"]);
    for (who, action, of) in [
        ("sam", "package.publish", "done: dep:t"),
        ("olga", "package.remove", "done: dep:t"),
        ("olga", "package.gc", "done: "),
    ] {
        let is_it = |line: &&str| [who, action, of].iter().all(|word| line.contains(word));
        assert!(audit.lines().any(|line| is_it(&line)), "{who} {action} {of}: {audit}");
    }
    // Nobody unknown gets as much as the list.
    assert_eq!(lab.curl("/packages/packages.jsonl", &[]).0, 401);
}

#[test]
fn of_what_happens_in_the_lab_one_is_told_what_one_may_look_at() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.good]\nrun = \"true\"\n");
    let pools = "[pool.release]\ndevices = 'labels.kind == \"r\"'\nusers = ['rel-*']\n";
    let mut lab = Lab::start_as(&env, "server", pools);
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join, "--label", "kind=r"]);
    let (release, all) = (lab.user("rel-1", &["submitter:demo@release"]), lab.user("vera", &["viewer"]));
    let other = lab.user("olga", &["operator:other"]);
    let said = lab.ask(&release, &["run", "--progress", "quiet"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let events = |token: &str| lab.ask(token, &["events", "--since", "0", "--no-follow"]);
    for token in [&release, &all] {
        let said = events(token);
        assert!(said.contains("demo/1 by rel-1") && said.contains("demo/1: pass"), "{said}");
        assert!(said.contains("slot-1 on"), "{said}");
    }
    let said = events(&other);
    assert!(!said.contains("demo") && said.contains("slot-1 on"), "no runs of other areas: {said}");
    let path = |name: &str| env.home().join("one").join(name).display().to_string();
    let (key, certificate) = (path("identity.key"), path("identity.pem"));
    let (status, _) = lab.curl("/events?follow=false", &["--key", &key, "--cert", &certificate]);
    assert_eq!(status, 403, "agents look at nothing");
    let (status, body) = lab.curl("/events?follow=false", &[]);
    assert_eq!((status, body.contains("no-credentials")), (401, true), "{body}");
}

#[test]
fn nothing_more_is_told_to_somebody_who_was_removed() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join]);
    let vera = lab.user("vera", &["viewer"]);
    let mut events = env.command(&["events", "--since", "0"]);
    events.env("MUSTER_SERVER", lab.url()).env("MUSTER_TOKEN_FILE", &vera);
    let mut events = events.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(events.stdout.take().unwrap()).lines();
    let first = told.find(|line| line.as_ref().is_ok_and(|l| l.contains("device-appeared")));
    assert!(first.is_some(), "it is told what happened");
    lab.admin(&["user", "remove"], &["vera"]);
    let said = lab.ask(&lab.admin_token(), &["device", "hold", "slot-1", "--reason", "secret"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let rest: Vec<String> = told.map_while(Result::ok).collect();
    assert!(!rest.iter().any(|line| line.contains("secret")), "{rest:?}");
    let ended = events.wait().unwrap();
    assert!(!ended.success());
}

#[test]
fn who_adds_a_device_is_who_signed_in_and_an_agent_that_may_not_adopt_says_what_to_type() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    let operator = lab.user("otto", &["operator"]);
    let registered = |lab: &Lab<'_>| {
        let said = lab.ask(&operator, &["device", "list", "--proposed"]);
        assert!(said.ends_with("--- exit 0\n"), "{said}");
        said
    };
    let join = lab.join_token(&[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let announce = ["--announce", &port.to_string(), "--adopt", "--join-token-file", &join];
    let mut agent = lab.agent("one", &announce).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(agent.stderr.take().unwrap()).lines().map_while(Result::ok);
    lab.children.push(agent);
    assert!(lines.by_ref().any(|line| line.starts_with("connected to ")));
    let mut device = TcpStream::connect(port).unwrap();
    writeln!(device, "register NAME=phone&IPADDR=127.0.0.1&CMDPORT=20701&OS=x").unwrap();
    let said = lines.by_ref().find(|line| line.contains("`phone`")).expect("it says so");
    let wanted = format!("muster --server {} device adopt phone", lab.url());
    assert!(said.contains("is proposed and not used") && said.contains(&wanted), "{said}");
    std::thread::spawn(move || lines.for_each(drop));
    let list = registered(&lab);
    assert!(list.contains("phone") && list.contains("proposed"), "{list}");
    assert!(list.contains("agent-"), "who heard it is said by who signed in: {list}");
    // What the program says of its user counts for nothing.
    let by = |path: &str, body: &str| {
        let authorization = format!("authorization: Bearer {}", secret(&operator));
        let json = ["-X", "POST", "-H", "content-type: application/json", "-H", &authorization, "-d", body];
        let (status, said) = lab.curl(path, &json);
        assert_eq!(status, 204, "{said}");
    };
    by("/lab/added", "{\"name\":\"b1\",\"address\":\"sut://10.0.0.1\",\"host\":\"h\",\"by\":\"eve\"}");
    let host = list.lines().find(|l| l.starts_with("phone")).unwrap().split_whitespace().nth(1).unwrap();
    by(
        "/lab/adopted",
        &format!("{{\"name\":\"phone\",\"host\":\"{host}\",\"to\":\"{host}\",\"by\":\"eve\"}}"),
    );
    let list = registered(&lab);
    assert!(list.contains("otto") && !list.contains("eve"), "{list}");
}

#[test]
fn an_agent_speaks_for_itself_alone_and_not_at_all_once_it_is_revoked() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    let said = env.tell(&lab.agent("none", &[]).output().unwrap());
    assert!(said.contains("has not joined") && said.ends_with("--- exit 2\n"), "{said}");
    let user = lab.user("ana", &["admin"]);
    let said = env.tell(&lab.agent("none", &["--join-token-file", &user]).output().unwrap());
    assert!(said.contains("joins with a token made for that") && said.ends_with("--- exit 2\n"), "{said}");
    let join = lab.join_token(&["--uses", "1"]);
    let first = lab.start_agent("one", &["--join-token-file", &join]);
    let said = env.tell(&lab.agent("two", &["--join-token-file", &join]).output().unwrap());
    assert!(said.contains("expired") && said.ends_with("--- exit 2\n"), "it was for one: {said}");
    // With the key and certificate of the first, by hand.
    let path = |name: &str| env.home().join("one").join(name).display().to_string();
    let id = std::fs::read_to_string(path("agent-id")).unwrap().trim().to_owned();
    let (key, certificate) = (path("identity.key"), path("identity.pem"));
    let as_agent = ["--key", key.as_str(), "--cert", certificate.as_str()];
    let (status, _) = lab.curl("", &as_agent);
    assert_eq!(status, 200, "it is known");
    for (method, place) in [
        ("POST", "/agents/12345/exchange"),
        ("POST", "/agents/12345/identity"),
        ("DELETE", "/agents/12345/sessions/1"),
        ("PUT", "/runs/0190000000007000800000000000000a"),
        ("GET", "/lab"),
        ("GET", "/agents"),
        ("PUT", "/users/eve"),
        ("POST", "/join-tokens"),
    ] {
        let json = ["-X", method, "-H", "content-type: application/json"];
        let (status, body) = lab.curl(place, &[&as_agent[..], &json].concat());
        assert_eq!(status, 403, "{method} {place}: {body}");
    }
    // It brings what attempts left, under the digest it has and no other.
    let (status, body) =
        lab.curl(&format!("/blobs/{}", "0".repeat(64)), &[&as_agent[..], &["-X", "PUT"]].concat());
    assert_eq!(status, 422, "{body}");
    // Somebody with a token to join with cannot take its number.
    let join = lab.join_token(&[]);
    let authorization = format!("authorization: Bearer {}", secret(&join));
    let body = format!("{{\"host\":\"evil\",\"public_key\":\"04{}\"}}", "ab".repeat(64));
    let place = format!("/agents/{id}/identity");
    let json = ["-X", "PUT", "-H", "content-type: application/json", "-H", &authorization, "-d", &body];
    let (status, said) = lab.curl(&place, &json);
    assert_eq!((status, said.contains("agent-exists")), (409, true), "{said}");
    let (status, _) = lab.curl("/lab", &["-H", &authorization]);
    assert_eq!(status, 403, "and do nothing else");
    let list = lab.admin(&["agent", "list"], &[]);
    assert!(list.contains(&id) && list.contains("until "), "{list}");
    let said = lab.ask(&user, &["server", "agent", "revoke", &id]);
    assert!(said.contains("may not speak any more"), "{said}");
    let (status, said) = lab.curl("", &as_agent);
    assert_eq!((status, said.contains("agent-unknown")), (401, true), "{said}");
    let agent = lab.children.iter_mut().find(|c| c.id() == first).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(3), "it ends when it hears that");
    let join = lab.join_token(&[]);
    let said = env.tell(&lab.agent("one", &["--join-token-file", &join]).output().unwrap());
    assert!(said.contains("or was revoked"), "and it cannot come back by itself: {said}");
    assert!(lab.admin(&["agent", "list"], &[]).contains("revoked "));
}

#[test]
fn a_pool_is_for_those_who_may_use_it() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.good]\nrun = \"true\"\n");
    let pools = "[pool.release]\ndevices = 'labels.kind == \"r\"'\nusers = ['rel-*']\n[pool.boards]\ndevices = 'labels.kind == \"b\"'\n";
    let mut lab = Lab::start_as(&env, "server", pools);
    let (ben, rel) =
        (lab.user("ben", &["submitter"]), lab.user("rel-1", &["submitter:*@release", "operator:*@boards"]));
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join, "--label", "kind=r"]);
    let said = lab.ask(&ben, &["run", "--detach"]);
    assert!(said.contains("is in the pool `release`, which ben may not use"), "{said}");
    let said = lab.ask(&ben, &["why", "1/good"]);
    assert!(said.contains("is in the pool `release`"), "{said}");
    let said = lab.ask(&rel, &["run", "--progress", "quiet"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    let said = lab.ask(&rel, &["device", "hold", "slot-1", "--reason", "x"]);
    assert!(said.contains("is not `operator` in pool `release`") && said.ends_with("--- exit 2\n"), "{said}");
    let list = lab.ask(&rel, &["device", "list"]);
    assert!(list.contains("release"), "{list}");
}

#[test]
fn a_certificate_is_renewed_before_it_ends() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.good]\nrun = \"true\"\n");
    let mut lab = Lab::start_as(&env, "server", "agent-certificate = \"10s\"\n");
    let token = lab.user("ana", &["submitter"]);
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join]);
    let path = env.home().join("one/identity.pem");
    let first = std::fs::read_to_string(&path).unwrap();
    std::thread::sleep(Duration::from_secs(12));
    assert_ne!(std::fs::read_to_string(&path).unwrap(), first);
    let said = lab.ask(&token, &["run", "--progress", "quiet"]);
    assert!(said.ends_with("--- exit 0\n"), "{said}");
    // The first one has ended by now.
    let old = env.home().join("old.pem").display().to_string();
    std::fs::write(&old, first).unwrap();
    let key = env.home().join("one/identity.key").display().to_string();
    let (status, _) = lab.curl("", &["--key", &key, "--cert", &old]);
    assert_eq!(status, 0, "TLS refuses it");
}

#[test]
fn a_server_of_another_lab_gets_no_token_and_a_stranger_s_certificate_is_none() {
    let env = TestEnv::new();
    let lab = Lab::start(&env);
    let evil = Lab::start_as(&env, "evil", "");
    let token = lab.user("ana", &["submitter"]);
    let said = evil.ask(&token, &["device", "list"]);
    assert!(said.contains("not of the lab's authority") && said.ends_with("--- exit 2\n"), "{said}");
    let port = lab.listen.rsplit_once(':').unwrap().1;
    let mut command = env.command(&["--server", &format!("https://127.0.0.2:{port}"), "device", "list"]);
    let said = env.tell(&command.env("MUSTER_TOKEN_FILE", &token).output().unwrap());
    assert!(said.ends_with("--- exit 3\n") || said.contains("is for other names"), "{said}");
    // In the clear nothing is sent, and nothing is answered but where to ask.
    let said =
        env.run(&["--server", &format!("http://{}", lab.listen), "--token-file", &token, "device", "list"]);
    assert!(said.contains("a secret is not sent to") && said.ends_with("--- exit 2\n"), "{said}");
    let said = env.run(&["--server", &format!("http://{}", lab.listen), "device", "list"]);
    assert!(said.contains("speaks TLS alone") && said.ends_with("--- exit 2\n"), "{said}");
    let said = env.run(&[
        "--server",
        &lab.url(),
        "--ca",
        &env.home().join("server/access/ca.pem").display().to_string(),
        "device",
        "list",
    ]);
    assert!(said.contains("answers only those it knows") && said.ends_with("--- exit 2\n"), "{said}");
    // The key of an agent of another lab.
    let join = evil.join_token(&[]);
    let mut evil = evil;
    evil.start_agent("spy", &["--join-token-file", &join]);
    let path = |name: &str| env.home().join("spy").join(name).display().to_string();
    let (status, _) = lab.curl("", &["--key", &path("identity.key"), "--cert", &path("identity.pem")]);
    assert_eq!(status, 0, "TLS refuses it");
}

#[test]
fn tokens_are_neither_in_arguments_nor_in_the_environment_nor_in_files_of_the_server() {
    let env = TestEnv::new();
    env.write("muster.toml", "[area]\nname = \"demo\"\n[test.env]\nrun = \"env; sleep 2\"\n");
    let mut lab = Lab::start(&env);
    let token = lab.user("ana", &["submitter"]);
    let join = lab.join_token(&[]);
    lab.start_agent("one", &["--join-token-file", &join]);
    let mut command = env.command(&["run", "--progress", "verbose"]);
    command.env("MUSTER_SERVER", lab.url()).env("MUSTER_TOKEN_FILE", &token);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let secrets: Vec<String> =
        [&token, &join, &lab.admin_token()].map(|f| secret(f).rsplit_once('-').unwrap().1.to_owned()).into();
    let found = |text: &[u8]| secrets.iter().any(|s| text.windows(s.len()).any(|w| w == s.as_bytes()));
    for _ in 0..20 {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            for file in ["cmdline", "environ"] {
                let text = std::fs::read(process.path().join(file)).unwrap_or_default();
                assert!(!found(&text), "{}", process.path().join(file).display());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = run.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", env.tell(&said));
    assert!(!found(&said.stderr) && !found(&said.stdout));
    let log = lab.ask(&token, &["log", "env"]);
    assert!(!log.contains("MUSTER_TOKEN_FILE"), "tests do not even learn where it is: {log}");
    let mut dirs = vec![env.home().join("server"), env.home().join("one")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else if entry.file_name() != "admin.token" {
                assert!(
                    !found(&std::fs::read(entry.path()).unwrap_or_default()),
                    "{}",
                    entry.path().display()
                );
            }
        }
    }
}

#[test]
fn who_guesses_is_slowed_down_and_others_are_not() {
    let env = TestEnv::new();
    let lab = Lab::start(&env);
    let token = lab.user("ana", &["viewer"]);
    let mut refused = Vec::new();
    for _ in 0..30 {
        let (status, _) = lab.curl("/lab", &[]);
        refused.push(status);
    }
    assert!(refused.contains(&401) && refused.ends_with(&[429]), "{refused:?}");
    let (_, head) = lab.curl("/lab", &["-D", "-"]);
    assert!(head.to_lowercase().contains("retry-after: "), "{head}");
    assert!(lab.ask(&token, &["device", "list"]).ends_with("--- exit 0\n"), "from the same address");
}

#[test]
fn what_is_too_long_or_comes_too_slowly_is_not_waited_for() {
    let env = TestEnv::new();
    let lab = Lab::start(&env);
    let token = lab.user("ana", &["operator"]);
    let authorization = format!("authorization: Bearer {}", secret(&token));
    let long = "x".repeat(100_000);
    let path = env.home().join("long");
    std::fs::write(&path, long).unwrap();
    let data = format!("@{}", path.display());
    let json =
        ["-X", "PUT", "-H", "content-type: application/json", "-H", &authorization, "--data-binary", &data];
    let (status, body) = lab.curl("/devices/1/hold", &json);
    assert_eq!((status, body.contains("too-long")), (413, true), "{body}");
    let chunked = [&json[..], &["-H", "transfer-encoding: chunked"]].concat();
    let (status, body) = lab.curl("/devices/1/hold", &chunked);
    assert_eq!(status, 413, "also without its length: {body}");
    // Many connections that say nothing do not keep others out.
    let idle: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&lab.listen).unwrap()).collect();
    assert!(lab.ask(&token, &["device", "list"]).ends_with("--- exit 0\n"));
    let mut first = &idle[0];
    first.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut byte = [0];
    assert!(matches!(first.read(&mut byte), Ok(0) | Err(_)), "and are ended");
    // What is neither TLS nor HTTP is no trouble either.
    let mut odd = TcpStream::connect(&lab.listen).unwrap();
    odd.write_all(&[0x16, 3, 1, 255, 255, 0, 0, 0]).unwrap();
    drop(odd);
    assert!(lab.ask(&token, &["device", "list"]).ends_with("--- exit 0\n"));
}

#[test]
fn without_keys_a_server_stays_on_this_host_and_with_them_it_is_set_up_once() {
    let env = TestEnv::new();
    let said = env.run(&["server", "--listen", "0.0.0.0:0", "--data", "data"]);
    assert!(
        said.contains("is not a loopback address") && said.contains("muster server init --data"),
        "{said}"
    );
    let said = env.run(&["server", "user", "list", "--data", "data"]);
    assert!(said.contains("is not initialised") && said.ends_with("--- exit 2\n"), "{said}");
    let said = env.run(&["server", "init", "--data", "data", "--host", "lab.example"]);
    assert!(said.contains("https://lab.example:7117") && said.ends_with("--- exit 0\n"), "{said}");
    assert!(!said.contains("muster-user-"), "the token is not printed: {said}");
    let said = env.run(&["server", "init", "--data", "data"]);
    assert!(said.contains("is initialised already") && said.ends_with("--- exit 2\n"), "{said}");
    env.write("data/server.toml", "host = [\"x\"]\n");
    let said = env.run(&["server", "--listen", "127.0.0.1:0", "--data", "data"]);
    assert!(said.contains("unknown field `host`") && said.contains("did you mean `hosts`?"), "{said}");
    assert!(said.ends_with("--- exit 2\n"), "{said}");
}
