//! Our agent against raw bytes: every command, as the clients of old say it.

use crate::harness::{PROMPT, Place, Raw};
use std::net::Shutdown;

#[test]
fn each_command_answers_as_clients_expect() {
    let place = Place::new();
    let root = place.root();
    let root = root.to_str().unwrap();
    let mut raw = place.raw();
    let mut check = |line: &str, expected: &str| {
        let said = raw.ask(&line.replace("ROOT", root)).replace(root, "ROOT");
        assert_eq!(said, expected, "{line}");
    };
    let warns = |text: &str| format!("##AGENT-WARNING## {text}\n");
    check("ver", "MusterSUTAgent Version 1.20\n");
    check("VER", "MusterSUTAgent Version 1.20\n");
    check("testroot", "ROOT\n");
    check("isdir /", "TRUE\n");
    check("isdir ROOT", "TRUE\n");
    check("isdir ROOT/none", "ROOT/none: No such file or directory\n");
    check("isdir", &warns("Wrong number of arguments for isdir command!"));
    check("mkdr ROOT/a/b", "ROOT/a/b successfully created\n");
    check("mkdr ROOT/a/b", &warns("Could not create the directory ROOT/a/b: it exists"));
    check("ls ROOT/a", "b\n");
    check("ls ROOT/a/b", "<empty>\n");
    check("ls ROOT/none", &warns("ROOT/none: No such file or directory"));
    check("cwd", "/\n");
    check("cd ROOT/a", "");
    check("cwd", "ROOT/a\n");
    check("cd none", &warns("none: it is no directory that can be entered"));
    check("ls", "b\n");
    check("cd b/..", "");
    check("cwd", "ROOT/a\n");
    check("isdir b", "TRUE\n");
    check("isdir ROOT\\a\\b", "TRUE\n");
    check("push f 3\r\nabc", "900150983cd24fb0d6963f7d28e17f72\n");
    check("push 'with blank' 0\r\n", "d41d8cd98f00b204e9800998ecf8427e\n");
    check("hash f", "900150983cd24fb0d6963f7d28e17f72\n");
    check("hash none", &warns("none: No such file or directory"));
    check("cat f", "abc");
    check("cat b", &warns("ROOT/a/b: Is a directory (os error 21)"));
    check("pull f", "f,3\nabc");
    check("pull f 1", "f,2\nbc");
    check("pull f 1 1", "f,1\nb");
    check("pull f 0 0", "f,0\n");
    check("pull f 0 -1", "f,3\nabc");
    check("pull f 3", "f,0\n");
    check("pull f 99 5", "f,0\n");
    check("pull none", "##AGENT-WARNING## none,-1\nNo such file or directory\n");
    check("pull f x", "##AGENT-WARNING## f,-1\noffset and length are numbers\n");
    check("cp f g", "f copied to g\n");
    check("dd if=f of=h", "f copied to h\n");
    check("mv g i", "g moved to i\n");
    check("ls", "b\nf\nh\ni\nwith blank\n");
    check("rm i", "deleted i\n");
    check("rm i", &warns("i: No such file or directory"));
    check("rm b", &warns("b: Is a directory (os error 21)"));
    check("rmdr f", &warns("f: Not a directory (os error 20)"));
    check("chmod f", "Changed permissions on ROOT/a/f to 777\nchmod complete\n");
    check("dirw b", "[b] is writable\n");
    check("dirw f", &warns("f: it is no directory"));
    check("rmdr b", "deleted b\n");
    check("exec echo hi", "hi\nreturn code [0]\n");
    check("exec printf hi", "hi\nreturn code [0]\n");
    check("exec true", "\nreturn code [0]\n");
    check("exec sh -c 'exit 3'", "\nreturn code [3]\n");
    check("exec sh -c 'kill -9 $$'", "\nreturn code [137]\n");
    check("exec sh -c 'echo out; echo err >&2'", "out\nerr\nreturn code [0]\n");
    check("exec \"A=1,B=x y\" sh -c 'echo $A-$B'", "1-x y\nreturn code [0]\n");
    check("exec '' echo empty", "empty\nreturn code [0]\n");
    check("envrun A=2 sh -c 'echo $A'", "2\nreturn code [0]\n");
    check("exec PATH=/nowhere:$PATH sh -c 'echo ${PATH%%:*}'", "/nowhere\nreturn code [0]\n");
    check("exec pwd", "ROOT/a\nreturn code [0]\n");
    check("mkdr gone", "gone successfully created\n");
    check("cd gone", "");
    check("rmdr ROOT/a/gone", "deleted ROOT/a/gone\n");
    check("exec pwd", "/\nreturn code [0]\n");
    check("cd ROOT/a", "");
    check("execcwd ROOT pwd", "ROOT\nreturn code [0]\n");
    check("execcwdsu ROOT pwd", "ROOT\nreturn code [0]\n");
    check("execsu echo su", "su\nreturn code [0]\n");
    check("run echo run", "run\nreturn code [0]\n");
    check("execcwd ROOT/none pwd", &warns("ROOT/none: No such file or directory"));
    check("exec", &warns("Wrong number of arguments for exec command!"));
    check("exec no-such-program", "no-such-program: there is no such program\nreturn code [127]\n");
    check("exec printf 'a$>\\000b'", "a$>\\0b\nreturn code [0]\n");
    check("info rotation", "ROTATION:0\n");
    check("info id", "aa:bb:cc:dd:ee:ff\n");
    check("info nonsense", "");
    check("trace on", "");
    check("trace off", "");
    check("alrt on title text", "");
    check("settime 1 2", "Invalid argument(s)\n");
    check("kill no-such-process", &warns("Unable to kill no-such-process: there is no such process"));
    check("dead no-such-process", "no-such-process is hung or unresponsive\n");
    check("inst none", &warns("ROOT/a/none: No such file or directory"));
    check("frob", &warns("[frob] command with arg(s) = is currently not implemented."));
    check("frob a 'b c'", &warns("[frob] command with arg(s) = [a] [b c] is currently not implemented."));
    check("regd", &warns("[regd] command with arg(s) = is currently not implemented."));
    check("", "");
    check("   ", "");
}

#[test]
fn facts_have_the_forms_that_clients_take_apart() {
    let place = Place::new();
    let mut raw = place.raw();
    let uptime = raw.ask("info uptime");
    let words: Vec<&str> = uptime.split_whitespace().collect();
    assert_eq!(
        [words[1], words[3], words[5], words[7], words[9]],
        ["days", "hours", "minutes", "seconds", "ms"]
    );
    assert!(raw.ask("info uptimemillis").trim().parse::<u64>().unwrap() > 0);
    assert!(raw.ask("info sutuptimemillis").starts_with("SUTagent running for "));
    let time = raw.ask("info systime");
    assert_eq!(time.trim().len(), "2026/11/20 18:00:00:123".len(), "{time}");
    assert!(raw.ask("info memory").starts_with("PA:"));
    assert!(raw.ask("info screen").starts_with("X:"));
    assert_eq!(raw.ask("info power").lines().count(), 5);
    assert!(raw.ask("info disk").contains(" total, "));
    assert!(raw.ask("clok").trim().parse::<u64>().unwrap() > 1_700_000_000_000);
    assert!(raw.ask("tmpd").trim().ends_with("/tmp"));
    for line in raw.ask("ps").lines().chain(raw.ask("info process").lines()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields.len(), 3, "{line}");
        assert!(fields[0].parse::<u32>().is_ok() && fields[1].parse::<u32>().is_ok(), "{line}");
    }
    // What is asked without a word, in the order of old, and no warning among it.
    let all = raw.ask("info");
    assert!(all.starts_with("aa:bb:cc:dd:ee:ff\n") && !all.contains("##AGENT"), "{all}");
}

#[test]
fn a_process_is_killed_by_a_part_of_its_name() {
    let place = Place::new();
    let mut raw = place.raw();
    // A name that no other process of this host has.
    let name = format!("nap{}", std::process::id());
    let sleep =
        ["/bin/sleep", "/usr/bin/sleep"].into_iter().find(|p| std::path::Path::new(p).exists()).unwrap();
    std::fs::copy(sleep, place.root().join(&name)).unwrap();
    let mut child = std::process::Command::new(place.root().join(&name)).arg("86400").spawn().unwrap();
    while !raw.ask("ps").contains(&name) {
        std::thread::yield_now();
    }
    assert_eq!(raw.ask(&format!("dead {name}")), format!("{name} is ok\n"));
    let waiter = std::thread::spawn(move || child.wait().unwrap());
    assert_eq!(
        raw.ask(&format!("kill {}", &name[..name.len() - 1])),
        format!("Successfully killed {}\n\n", &name[..name.len() - 1])
    );
    assert!(!waiter.join().unwrap().success());
}

#[test]
fn lines_end_with_cr_or_lf_or_both_and_come_in_any_pieces() {
    let place = Place::new();
    let mut raw = place.raw();
    for end in ["\r", "\n", "\r\n"] {
        raw.send(format!("ver{end}").as_bytes());
        assert_eq!(raw.answer(), b"MusterSUTAgent Version 1.20\n");
    }
    // The payload is four bytes that look like line ends.
    let line = format!("push {}/x 4\r\n\r\n\r\n", place.root().display());
    for byte in line.as_bytes() {
        raw.send(&[*byte]);
    }
    assert_eq!(raw.answer().len(), 33);
    assert_eq!(std::fs::read(place.root().join("x")).unwrap(), b"\r\n\r\n");
    assert_eq!(raw.ask("ver"), "MusterSUTAgent Version 1.20\n");
}

#[test]
fn commands_may_come_before_the_answers_to_those_before_them() {
    let place = Place::new();
    let mut raw = place.raw();
    let root = place.root();
    let line = format!("cd {0}\r\npush f 5\r\ncd /\r\ncat f\r\nexec echo x\r\nquit\r\n", root.display());
    raw.send(line.as_bytes());
    let said = String::from_utf8(raw.rest()).unwrap();
    // Five bytes of the file are `cd /` and CR; the LF behind it is a blank line.
    let answers: Vec<&str> = said.split("$>\0").collect();
    assert_eq!(answers[0], "");
    assert_eq!(answers[1].len(), 33, "{said:?}");
    assert_eq!(answers[2..], ["", "cd /\r", "x\nreturn code [0]\n", "quit\n"]);
}

#[test]
fn quit_ends_the_connection_and_exit_the_agent() {
    let place = Place::new();
    let (mut one, mut other) = (place.raw(), place.raw());
    one.send(b"quit\r\n");
    assert_eq!(one.rest(), b"quit\n");
    assert_eq!(other.ask("ver"), "MusterSUTAgent Version 1.20\n");
    let mut third = place.raw();
    third.send(b"exit\r\n");
    assert_eq!(third.rest(), b"exit\n");
    assert_eq!(other.rest(), b"");
    let port = place.agent().command_addr().port();
    drop(place);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn the_working_directory_is_each_connections_own() {
    let place = Place::new();
    let (mut one, mut other) = (place.raw(), place.raw());
    one.ask(&format!("cd {}", place.root().display()));
    assert_eq!(other.ask("cwd"), "/\n");
}

#[test]
fn a_program_whose_client_has_gone_is_killed() {
    let place = Place::new();
    let mut raw = place.raw();
    raw.send(b"exec sh -c 'echo $$; sleep 86400 & echo $!; wait'\r\n");
    let mut said = String::new();
    while said.lines().count() < 2 || !said.ends_with('\n') {
        said.push(char::from(raw.read(1)[0]));
    }
    raw.tcp.shutdown(Shutdown::Both).unwrap();
    for pid in said.lines() {
        let status = format!("/proc/{pid}/status");
        // Hangs if it is left running; a zombie is its parent's business.
        while std::fs::read_to_string(&status).is_ok_and(|s| !s.contains("State:\tZ")) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn commands_are_logged_where_that_is_wanted() {
    let place = Place::with(|config| config.log_commands = true);
    std::fs::write(place.root().join("2001-01-01-sutcommands.txt"), "old").unwrap();
    let mut raw = place.raw();
    raw.ask("info os");
    let logs: Vec<_> = std::fs::read_dir(place.root()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert!(std::fs::read_to_string(&logs[0]).unwrap().ends_with(" info os\n"));
}

#[test]
fn an_agent_is_not_open_to_others_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::harness::config(dir.path());
    config.bind = std::net::Ipv4Addr::UNSPECIFIED.into();
    let error = muster_device::sut::Agent::start(config.clone()).err().unwrap();
    assert!(error.to_string().contains("whoever reaches"), "{error}");
    let place = Place::new();
    let mut config = crate::harness::config(dir.path());
    config.command_port = place.agent().command_addr().port();
    let error = muster_device::sut::Agent::start(config).err().unwrap();
    assert!(error.to_string().starts_with("cannot listen at"), "{error}");
}

#[test]
fn the_prompt_comes_first() {
    let place = Place::new();
    let mut raw = Raw::open(place.agent().command_addr().port());
    assert_eq!(raw.read(3), PROMPT);
}
