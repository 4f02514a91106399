//! Our client against agents that are not ours: fakes that answer as those did, quirks and all.
//!
//! Each has the same small world: a directory that is a real one, and a real shell.

use crate::harness::PROMPT;
use muster_device::sut::{Client, Variant};
use muster_device::{
    Captured, Command, DeviceError, Exec as _, Exit, Files as _, Kind, Packages as _, Until,
};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

/// Which agent it plays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plays {
    Java,
    Negatus,
    /// The first one, for other systems: warns of what is not there, has no shell.
    C,
}

struct Fake {
    plays: Plays,
    dir: tempfile::TempDir,
    port: u16,
    /// Every line it was sent.
    heard: Mutex<Vec<String>>,
}

impl Fake {
    fn start(plays: Plays) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Arc::new(Self { plays, dir: tempfile::tempdir().unwrap(), port, heard: Mutex::default() });
        let own = Arc::clone(&fake);
        // It serves until the test's process ends.
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let own = Arc::clone(&own);
                std::thread::spawn(move || drop(own.serve(tcp)));
            }
        });
        fake
    }

    fn client(&self) -> Client {
        Client::new("127.0.0.1", self.port)
    }

    fn root(&self) -> String {
        self.dir.path().to_str().unwrap().to_owned()
    }

    fn serve(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        let mut input = BufReader::new(tcp.try_clone()?);
        tcp.write_all(PROMPT)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            self.heard.lock().unwrap().push(text.clone());
            let words: Vec<&str> = text.split_whitespace().collect();
            match *words {
                ["push", path, size] => {
                    let Ok(file) = std::fs::File::create(path) else {
                        // Both forget the bytes that follow, and take them for commands.
                        self.answer(&mut tcp, "##AGENT-WARNING## unable to open file")?;
                        continue;
                    };
                    std::io::copy(&mut (&mut input).take(size.parse().unwrap()), &mut { file })?;
                    let said = std::process::Command::new("md5sum").arg(path).output()?;
                    let hash = String::from_utf8_lossy(&said.stdout)[..32].to_owned();
                    // One sends a line break too many.
                    let extra = if self.plays == Plays::Negatus { "\n" } else { "" };
                    self.answer(&mut tcp, &format!("{extra}{hash}"))?;
                }
                ["pull", path, ref offset @ ..] => match std::fs::read(path) {
                    Ok(bytes) => {
                        let at = offset.first().map_or(0, |o| o.parse().unwrap_or(0)).min(bytes.len());
                        tcp.write_all(format!("{path},{}\n", bytes.len() - at).as_bytes())?;
                        tcp.write_all(&bytes[at..])?;
                        tcp.write_all(PROMPT)?;
                    }
                    Err(_) => {
                        let said = format!("##AGENT-WARNING## {path},-1\nNo such file or directory\n");
                        tcp.write_all(said.as_bytes())?;
                        tcp.write_all(PROMPT)?;
                    }
                },
                ["exec" | "execsu", ref args @ ..] => self.exec(&mut tcp, args)?,
                _ => {
                    let said = self.simple(&words);
                    self.answer(&mut tcp, &said)?;
                }
            }
        }
    }

    fn answer(&self, tcp: &mut TcpStream, text: &str) -> std::io::Result<()> {
        let mut said = text.as_bytes().to_vec();
        // One sends a line break also where there is nothing to be said.
        if !said.is_empty() || self.plays == Plays::Negatus {
            said.push(b'\n');
        }
        tcp.write_all(&said)?;
        // Text and prompt may arrive apart.
        tcp.write_all(PROMPT)
    }

    fn simple(&self, words: &[&str]) -> String {
        let negatus = self.plays == Plays::Negatus;
        match *words {
            ["ver"] => match self.plays {
                Plays::Java => "SUTAgentAndroid Version 1.18",
                Plays::Negatus => "SUTAgentNegatus Version 0.02",
                Plays::C => "SUTAgentC Version 1.02",
            }
            .to_owned(),
            ["testroot"] => self.root(),
            ["isdir", path] => match (std::path::Path::new(path).metadata(), self.plays) {
                (Ok(meta), _) => if meta.is_dir() { "TRUE" } else { "FALSE" }.to_owned(),
                (Err(_), Plays::Java) => format!("{path}: No such file or directory"),
                (Err(_), Plays::Negatus) => "FALSE".to_owned(),
                (Err(_), Plays::C) => format!("##AGENT-WARNING## {path} not found"),
            },
            ["ls", path] => {
                let names =
                    std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
                let names: Vec<String> = names.collect();
                if names.is_empty() && !negatus { "<empty>".to_owned() } else { names.join("\n") }
            }
            ["mkdr", path] => match std::fs::create_dir(path) {
                Ok(()) => format!("{path} successfully created"),
                Err(_) => format!("##AGENT-WARNING## Could not create the directory {path}"),
            },
            ["rm", path] => {
                drop(std::fs::remove_file(path));
                format!("deleted {path}")
            }
            ["rmdr", path] => {
                drop(std::fs::remove_dir_all(path));
                format!("Deleting file(s) from {path}")
            }
            ["hash", path] => {
                let said = std::process::Command::new("md5sum").arg(path).output().unwrap();
                String::from_utf8_lossy(&said.stdout).chars().take(32).collect()
            }
            ["ps"] if negatus => "417\t10012\tb2g\n1\t0\tinit".to_owned(),
            ["ps"] => "10012\t417\torg.mozilla.fennec\n0\t1\t/init with blanks".to_owned(),
            ["inst", path] if path.ends_with("good.apk") => {
                "pkg: x\nSuccess\ninstallation complete [0]\ninstallation complete [0]".to_owned()
            }
            ["inst", _] => "Failure [INSTALL_FAILED]\ninstallation complete [1]".to_owned(),
            ["uninstall", "good"] => "Success\nuninst complete [0]".to_owned(),
            ["uninstall", _] => "Failure\nuninst complete [1]".to_owned(),
            ["info", "os"] => "tegra-eng 2.2".to_owned(),
            ["info", _] => {
                if negatus {
                    "##AGENT-WARNING## unknown".to_owned()
                } else {
                    String::new()
                }
            }
            _ => format!("##AGENT-WARNING## [{}] is currently not implemented.", words.join(" ")),
        }
    }

    fn exec(&self, tcp: &mut TcpStream, args: &[&str]) -> std::io::Result<()> {
        if self.plays == Plays::C && args[0] == "sh" {
            return self.answer(tcp, "##AGENT-WARNING## no such program");
        }
        let said = std::process::Command::new(args[0]).args(&args[1..]).output()?;
        let mut out = said.stdout;
        if self.plays != Plays::Negatus {
            out.extend(said.stderr);
        }
        if self.plays == Plays::Java {
            out = out.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
        }
        use std::os::unix::process::ExitStatusExt as _;
        let code = match self.plays {
            Plays::Negatus => said.status.into_raw(),
            _ => said.status.code().unwrap_or(255),
        };
        out.extend_from_slice(format!("return code [{code}]\n").as_bytes());
        tcp.write_all(&out)?;
        tcp.write_all(PROMPT)
    }
}

fn run(client: &Client, command: &Command) -> (Exit, String) {
    let mut said = Captured::default();
    let exit = client.run(command, &mut said, &soon()).unwrap();
    assert_eq!(said.stderr, b"");
    (exit, String::from_utf8(said.stdout).unwrap())
}

#[test]
fn the_agents_are_known_for_what_they_are() {
    let variant = |plays| Fake::start(plays).client().variant(&soon()).unwrap();
    assert_eq!(variant(Plays::Java), Variant::Java(1, 18));
    assert_eq!(variant(Plays::Negatus), Variant::Negatus);
    assert_eq!(variant(Plays::C), Variant::Other("SUTAgentC Version 1.02".to_owned()));
}

#[test]
fn programs_run_as_they_should_on_agents_that_spoil_words() {
    for plays in [Plays::Java, Plays::Negatus] {
        let fake = Fake::start(plays);
        let client = fake.client();
        for code in [0, 1, 7, 77, 255] {
            assert_eq!(
                run(&client, &Command::shell(&format!("exit {code}"))),
                (Exit::Code(code), String::new())
            );
        }
        let words = ["", "a b", "'", "\"", "$HOME", "a,b=c", "`id`", "ä\n", "\\"];
        let mut command = Command::new(["printf", "<%s>"]);
        command.args.extend(words.map(str::to_owned));
        let expected: String = words.iter().map(|w| format!("<{w}>")).collect();
        assert_eq!(run(&client, &command), (Exit::Code(0), expected));
        let command = Command {
            env: vec![("A".to_owned(), "1,2 'x'".to_owned())],
            dir: Some(fake.root()),
            stdin: b"input".to_vec(),
            ..Command::shell("echo \"$A\"; pwd; cat; printf '\\n\\r\\n'; exit 3")
        };
        assert_eq!(run(&client, &command), (Exit::Code(3), format!("1,2 'x'\n{}\ninput\n\r\n", fake.root())));
        let many = run(&client, &Command::shell("i=0; while [ $i -lt 5000 ]; do echo $i; i=$((i+1)); done"));
        assert_eq!(many.1, (0..5000).map(|i| format!("{i}\n")).collect::<String>());
        let error = Command { dir: Some(format!("{}/none", fake.root())), ..Command::new(["pwd"]) };
        let error = client.run(&error, &mut Captured::default(), &soon()).unwrap_err();
        assert!(matches!(error, DeviceError::NotFound { .. }), "{error:?}");
        // Nothing is left of all that.
        let left: Vec<_> =
            std::fs::read_dir(fake.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_program_is_killed_though_the_agent_does_not_know_how() {
    for plays in [Plays::Java, Plays::Negatus] {
        let fake = Fake::start(plays);
        let pid = fake.dir.path().join("pid");
        let line = format!("sleep 86400 & echo $! > {}; wait", pid.display());
        let limit = Some(Duration::from_secs(2));
        let command = Command { time_limit: limit, ..Command::shell(&line) };
        assert_eq!(run(&fake.client(), &command), (Exit::TimeLimit, String::new()));
        let Ok(pid) = std::fs::read_to_string(&pid) else { continue };
        let status = format!("/proc/{}/status", pid.trim());
        // Hangs if it was left running.
        while std::fs::read_to_string(&status).is_ok_and(|s| !s.contains("State:\tZ")) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_wait_status_with_a_signal_is_a_signal() {
    let fake = Fake::start(Plays::Negatus);
    assert_eq!(run(&fake.client(), &Command::shell("kill -9 $$")).0, Exit::Signal(9));
}

#[test]
fn without_a_shell_only_plain_words_are_run() {
    let fake = Fake::start(Plays::C);
    let client = fake.client();
    assert_eq!(run(&client, &Command::new(["echo", "plain"])), (Exit::Code(0), "plain\n".to_owned()));
    for command in [
        Command::new(["echo", "a b"]),
        Command::new(["A=1", "env"]),
        Command { dir: Some(fake.root()), ..Command::new(["pwd"]) },
        Command { stdin: vec![1], ..Command::new(["cat"]) },
        Command { user: Some("root".to_owned()), ..Command::new(["id"]) },
    ] {
        let error = client.run(&command, &mut Captured::default(), &soon()).unwrap_err();
        assert!(matches!(error, DeviceError::Unsupported { .. }), "{error:?}");
    }
}

#[test]
fn files_are_moved_with_what_each_agent_can() {
    for plays in [Plays::Java, Plays::Negatus, Plays::C] {
        let fake = Fake::start(plays);
        let (client, root) = (fake.client(), fake.root());
        let deep = format!("{root}/a/b/c");
        client.make_dir(&deep, &soon()).unwrap();
        client.make_dir(&deep, &soon()).unwrap();
        let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).chain(*b"$>\0\n$>\0").collect();
        let path = format!("{deep}/f,1");
        client.push(&mut &*bytes, bytes.len() as u64, &path, &soon()).unwrap();
        client.push(&mut &b""[..], 0, &format!("{deep}/empty"), &soon()).unwrap();
        let mut got = Vec::new();
        assert_eq!(client.pull(&path, 0, &mut got, &soon()).unwrap(), bytes.len() as u64);
        assert!(got == bytes);
        got.clear();
        client.pull(&path, bytes.len() as u64 - 3, &mut got, &soon()).unwrap();
        assert_eq!(got, b"$>\0");
        let list = client.list(&deep, &soon()).unwrap();
        let names: Vec<_> = list.iter().map(|e| (&*e.name, e.stat.kind)).collect();
        assert_eq!(names, [("empty", Kind::File), ("f,1", Kind::File)]);
        assert_eq!(client.list(&root, &soon()).unwrap()[0].stat.kind, Kind::Dir);
        assert_eq!(client.stat(&format!("{root}/none"), &soon()).unwrap(), None);
        assert_eq!(client.stat(&path, &soon()).unwrap().unwrap().kind, Kind::File);
        for path in [&path, &deep] {
            client.remove(path, &soon()).unwrap();
            assert!(matches!(client.remove(path, &soon()), Err(DeviceError::NotFound { .. })));
        }
        assert!(matches!(client.pull(&path, 0, &mut got, &soon()), Err(DeviceError::NotFound { .. })));
        assert_eq!(client.list(&format!("{root}/a/b"), &soon()).unwrap(), []);
    }
}

#[test]
fn a_file_that_would_be_refused_is_not_sent() {
    let fake = Fake::start(Plays::Negatus);
    let client = fake.client();
    let hostile = b"mkdr oops\r\n".repeat(100);
    let none = format!("{}/none/f", fake.root());
    let error = client.push(&mut &*hostile, hostile.len() as u64, &none, &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::NotFound { .. }), "{error:?}");
    let error = client.push(&mut &*hostile, hostile.len() as u64, &fake.root(), &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Refused { .. }), "{error:?}");
    let blank = format!("{}/with blank", fake.root());
    let error = client.push(&mut &b"x"[..], 1, &blank, &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Unsupported { .. }), "{error:?}");
    let heard = fake.heard.lock().unwrap().clone();
    assert!(heard.iter().all(|l| !l.starts_with("push") && !l.starts_with("mkdr")), "{heard:?}");
}

#[test]
fn what_a_refused_file_did_to_the_conversation_is_not_seen_again() {
    let fake = Fake::start(Plays::Negatus);
    let client = fake.client();
    let locked = PathBuf::from(fake.root()).join("f");
    // A link into nowhere passes every question that is asked before.
    std::os::unix::fs::symlink("/no/such/dir/f", &locked).unwrap();
    let lines = b"ver\r\n".repeat(50);
    let error = client.push(&mut &*lines, lines.len() as u64, locked.to_str().unwrap(), &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Refused { .. }), "{error:?}");
    assert_eq!(client.test_root(&soon()).unwrap(), fake.root());
}

#[test]
fn processes_and_packages_are_understood() {
    for plays in [Plays::Java, Plays::Negatus] {
        let fake = Fake::start(plays);
        let client = fake.client();
        let list = client.list_processes();
        let pid_and_uid: Vec<_> = list.iter().map(|p| (p.pid, p.uid, p.name.as_str())).collect();
        let (last, first) =
            if plays == Plays::Java { ("org.mozilla.fennec", "init") } else { ("b2g", "init") };
        assert_eq!(pid_and_uid, [(1, Some(0), first), (417, Some(10012), last)]);
        client.install("/x/good.apk", &soon()).unwrap();
        client.uninstall("good", &soon()).unwrap();
        let error = client.install("/x/bad.apk", &soon()).unwrap_err();
        assert!(error.to_string().contains("INSTALL_FAILED"), "{error}");
        assert!(client.uninstall("bad", &soon()).is_err());
    }
}

trait ListProcesses {
    fn list_processes(&self) -> Vec<muster_device::Process>;
}

impl ListProcesses for Client {
    fn list_processes(&self) -> Vec<muster_device::Process> {
        muster_device::Processes::list(self, &soon()).unwrap()
    }
}

/// An agent that says exactly this, whatever it hears.
fn scripted(answers: Vec<Vec<u8>>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let answers = answers.clone();
            std::thread::spawn(move || {
                let mut input = BufReader::new(tcp.try_clone().unwrap());
                let mut tcp = tcp;
                for answer in answers {
                    // What cannot be said any more is not heard.
                    if tcp.write_all(&answer).is_err() || input.read_until(b'\n', &mut Vec::new()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Client::new("127.0.0.1", port)
}

#[test]
fn nonsense_is_the_labs_fault_and_never_believed() {
    let with = |answer: &[u8]| {
        scripted(vec![PROMPT.to_vec(), b"SUTAgentAndroid Version 1.18\n$>\0".to_vec(), answer.to_vec()])
    };
    for answer in [
        &b""[..],
        b"##",
        b"f,\n",
        b"f,x\n$>\0",
        b"no header\n$>\0",
        b"f,10\nshort$>\0",
        b"f,2\nab$>",
        b"f,1\nab$>\0",
    ] {
        let mut got = Vec::new();
        let until = Until::within(Duration::from_millis(400));
        let error = with(answer).pull("/f", 0, &mut got, &until).unwrap_err();
        assert_eq!(error.fault(), muster_device::Fault::Lab, "{answer:?}: {error}");
    }
    let error = with(b"\n$>\0").test_root(&soon()).unwrap_err();
    assert_eq!(error.code(), "protocol", "{error}");
    let ours = |answer: &[u8]| {
        scripted(vec![PROMPT.to_vec(), b"MusterSUTAgent Version 1.20\n$>\0".to_vec(), answer.to_vec()])
    };
    for answer in [
        &b".\xff\xff\xff\xff"[..],
        b"o\0\x01\0\x01",
        b".\0\0\0\x02{}$>\0",
        b".\0\0\0\x09\"nothing\"xxx",
        b"z\0\0\0\x01a.\0\0\0\x09\"nothing\"$>\0",
        b".\0\0\0\x09\"nothing\"$>\0",
        b"!\0\0\0\x02[]$>\0",
    ] {
        let until = Until::within(Duration::from_millis(400));
        let error = ours(answer).stat("/f", &until).unwrap_err();
        assert!(["protocol", "lost", "timeout"].contains(&error.code()), "{answer:?}: {error}");
    }
}

#[test]
fn an_agent_that_gives_up_waiting_is_not_taken_for_success() {
    let client = scripted(vec![
        PROMPT.to_vec(),
        b"SUTAgentC Version 1.02\n$>\0".to_vec(),
        b"##AGENT-WARNING## no sh\n$>\0".to_vec(),
        PROMPT.to_vec(),
    ]);
    let error = client.run(&Command::new(["sleep", "600"]), &mut Captured::default(), &soon()).unwrap_err();
    assert!(error.to_string().contains("gave up waiting"), "{error}");
}

#[test]
fn a_prompt_in_the_output_does_not_end_it() {
    let client = scripted(vec![
        PROMPT.to_vec(),
        b"SUTAgentC Version 1.02\n$>\0".to_vec(),
        b"##AGENT-WARNING## no sh\n$>\0".to_vec(),
        b"a\n$>\0b\nreturn code [5]\nc\nreturn code [4]\n$>\0".to_vec(),
    ]);
    let mut said = Captured::default();
    let exit = client.run(&Command::new(["odd"]), &mut said, &soon()).unwrap();
    assert_eq!((exit, &*said.stdout), (Exit::Code(4), &b"a\n$>\0b\nreturn code [5]\nc\n"[..]));
}
