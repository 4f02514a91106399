//! Promises about programs.

use super::{Place, cases, run, said, soon};
use crate::device::{Captured, Command, Device, Exit};
use crate::error::{DeviceError, Fault};
use crate::until::{Cancel, Until};
use muster_core::output::Stream;
use std::time::Duration;

cases![
    exit_codes_are_true,
    a_signal_is_told,
    output_arrives_to_the_byte,
    output_without_a_last_line_break_is_whole,
    much_output_arrives_whole,
    streams_are_told_apart_where_the_driver_says_so,
    output_arrives_while_the_program_runs,
    arguments_arrive_as_they_are,
    variables_arrive_as_they_are,
    a_program_works_where_it_is_told_to,
    a_directory_that_is_not_there_is_an_error,
    a_program_reads_its_input,
    a_program_that_does_not_read_its_input_ends_all_the_same,
    a_program_that_is_not_there_ends_with_127,
    a_program_that_cannot_be_run_ends_with_126,
    a_time_limit_kills_all_of_a_program,
    a_cancelled_program_is_killed,
    a_deadline_that_is_over_is_the_labs_fault,
    a_sink_that_takes_no_more_ends_the_program,
    what_a_program_leaves_running_is_not_waited_for,
    calls_run_at_the_same_time,
];

fn exit_codes_are_true(device: &dyn Device) {
    for code in [0, 1, 2, 3, 77, 99, 124, 126, 127, 255] {
        let (exit, said) = run(device, &Command::shell(&format!("echo x; exit {code}")));
        assert_eq!(exit, Exit::Code(code));
        assert_eq!(said.stdout, b"x\n");
        let (exit, said) = run(device, &Command::shell(&format!("exit {code}")));
        assert_eq!(exit, Exit::Code(code));
        assert_eq!(said, Captured::default());
    }
}

fn a_signal_is_told(device: &dyn Device) {
    let (exit, _) = run(device, &Command::shell("kill -SEGV $$"));
    // A driver that can only tell codes tells them as shells do.
    assert!(matches!(exit, Exit::Signal(11) | Exit::Code(139)), "{exit:?}");
}

fn output_arrives_to_the_byte(device: &dyn Device) {
    let place = Place::new(device);
    let mut bytes: Vec<u8> = (0..=255).collect();
    // What would look like the end of an answer, an error, an exit code, and line ends of all kinds.
    bytes.extend_from_slice(b"$>\0\n##AGENT-WARNING## no\nreturn code [7]\n$>\0$>\r\n\r\r\n\n$>\0");
    let path = place.put("bytes", &bytes);
    let (exit, said) = run(device, &Command::new(["cat", &path]));
    assert_eq!((exit, said.stdout), (Exit::Code(0), bytes));
    let (exit, said) = run(device, &Command::shell("printf '##AGENT-WARNING## no'; exit 4"));
    assert_eq!((exit, &*said.stdout), (Exit::Code(4), &b"##AGENT-WARNING## no"[..]));
}

fn output_without_a_last_line_break_is_whole(device: &dyn Device) {
    let (exit, said) = run(device, &Command::shell("printf abc; exit 5"));
    assert_eq!((exit, &*said.stdout), (Exit::Code(5), &b"abc"[..]));
    let (_, said) = run(device, &Command::shell("printf 'abc\\n\\n'"));
    assert_eq!(said.stdout, b"abc\n\n");
}

fn much_output_arrives_whole(device: &dyn Device) {
    let (exit, said) =
        run(device, &Command::shell("i=0; while [ $i -lt 200000 ]; do echo $i; i=$((i+1)); done"));
    assert_eq!(exit, Exit::Code(0));
    let expected: String = (0..200_000).map(|i| format!("{i}\n")).collect();
    assert!(said.stdout == expected.as_bytes(), "{} bytes arrived", said.stdout.len());
}

fn streams_are_told_apart_where_the_driver_says_so(device: &dyn Device) {
    let (_, said) = run(device, &Command::shell("echo out; echo err >&2"));
    if device.exec().unwrap().tells_streams_apart() {
        assert_eq!((&*said.stdout, &*said.stderr), (&b"out\n"[..], &b"err\n"[..]));
    } else {
        assert_eq!((said.stdout.len(), said.stderr.len()), (8, 0));
    }
}

fn output_arrives_while_the_program_runs(device: &dyn Device) {
    let place = Place::new(device);
    let flag = place.at("flag");
    // It ends only after what it has printed first has arrived here.
    let line = format!("echo first; while [ ! -d {flag} ]; do sleep 0.01; done; echo last");
    let mut all = Vec::new();
    let mut sink = |_: Stream, bytes: &[u8]| {
        if all.is_empty() {
            place.files.make_dir(&flag, &soon()).map_err(std::io::Error::other)?;
        }
        all.extend_from_slice(bytes);
        Ok(())
    };
    let exit = device.exec().unwrap().run(&Command::shell(&line), &mut sink, &soon()).unwrap();
    assert_eq!((exit, &*all), (Exit::Code(0), &b"first\nlast\n"[..]));
}

/// Texts that some quoting or other would spoil.
const HOSTILE: [&str; 16] = [
    "",
    " ",
    "a b",
    "'",
    "\"",
    "\\'",
    "a'b\"c\\",
    "$HOME",
    "$(id)",
    "`id`",
    "a=b",
    "*",
    "ä€😀",
    "a\tb",
    "a\nb\r\n",
    "%s\\n",
];

fn arguments_arrive_as_they_are(device: &dyn Device) {
    let mut command = Command::new(["printf", "<%s>"]);
    command.args.extend(HOSTILE.map(str::to_owned));
    let (exit, said) = run(device, &command);
    let expected: String = HOSTILE.iter().map(|a| format!("<{a}>")).collect();
    assert_eq!((exit, String::from_utf8(said.stdout).unwrap()), (Exit::Code(0), expected));
}

fn variables_arrive_as_they_are(device: &dyn Device) {
    let mut command =
        Command::new(["sh", "-c", "for n in $NAMES; do eval \"printf '<%s>' \\\"\\$$n\\\"\"; done"]);
    let names: Vec<String> = (0..HOSTILE.len()).map(|n| format!("V{n}")).collect();
    command.env = names.iter().cloned().zip(HOSTILE.map(str::to_owned)).collect();
    command.env.push(("COMMAS".to_owned(), "a,b=c,d".to_owned()));
    command.env.push(("NAMES".to_owned(), format!("{} COMMAS", names.join(" "))));
    let (exit, said) = run(device, &command);
    let expected: String = HOSTILE.iter().chain(&["a,b=c,d"]).map(|a| format!("<{a}>")).collect();
    assert_eq!((exit, String::from_utf8(said.stdout).unwrap()), (Exit::Code(0), expected));
}

fn a_program_works_where_it_is_told_to(device: &dyn Device) {
    let place = Place::new(device);
    let dir = place.at("with a blank, and more");
    place.files.make_dir(&dir, &soon()).unwrap();
    let command = Command { dir: Some(dir.clone()), ..Command::shell("pwd; : > here") };
    let (exit, said) = run(device, &command);
    assert_eq!((exit, String::from_utf8(said.stdout).unwrap()), (Exit::Code(0), format!("{dir}\n")));
    assert!(place.files.stat(&format!("{dir}/here"), &soon()).unwrap().is_some());
}

fn a_directory_that_is_not_there_is_an_error(device: &dyn Device) {
    let place = Place::new(device);
    let command = Command { dir: Some(place.at("none")), ..Command::new(["pwd"]) };
    let error = device.exec().unwrap().run(&command, &mut Captured::default(), &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::NotFound { .. }), "{error:?}");
}

fn a_program_reads_its_input(device: &dyn Device) {
    let stdin: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let command = Command { stdin: stdin.clone(), ..Command::new(["cat"]) };
    let (exit, said) = run(device, &command);
    assert!(exit == Exit::Code(0) && said.stdout == stdin);
    let (exit, said) = run(device, &Command::new(["cat"]));
    assert_eq!((exit, said), (Exit::Code(0), Captured::default()));
}

fn a_program_that_does_not_read_its_input_ends_all_the_same(device: &dyn Device) {
    let command = Command { stdin: vec![b'x'; 1 << 20], ..Command::shell("exec <&-; exit 3") };
    assert_eq!(run(device, &command).0, Exit::Code(3));
}

fn a_program_that_is_not_there_ends_with_127(device: &dyn Device) {
    assert_eq!(run(device, &Command::new(["muster-no-such-program"])).0, Exit::Code(127));
    assert_eq!(run(device, &Command::new(["/no/such program"])).0, Exit::Code(127));
}

fn a_program_that_cannot_be_run_ends_with_126(device: &dyn Device) {
    let place = Place::new(device);
    let path = place.put("data", b"no program\n");
    assert_eq!(run(device, &Command::new([path])).0, Exit::Code(126));
}

/// A line that starts a grandchild, tells its number and waits for ever.
const FAMILY: &str = "sleep 86400 & echo $!; sleep 86400";

/// Waits until a process is gone; a test that hangs here has found one that was left running.
fn wait_until_gone(device: &dyn Device, pid: &str) {
    while said(device, &format!("kill -0 {pid} 2>/dev/null && cat /proc/{pid}/stat || echo gone"))
        .split(") ")
        .nth(1)
        .is_some_and(|rest| !rest.starts_with('Z'))
    {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn a_time_limit_kills_all_of_a_program(device: &dyn Device) {
    let command = Command { time_limit: Some(Duration::from_millis(700)), ..Command::shell(FAMILY) };
    let (exit, captured) = run(device, &command);
    assert_eq!(exit, Exit::TimeLimit);
    // On a machine too busy to start it in time nothing was printed, and nothing is to be looked for.
    let pid = String::from_utf8(captured.stdout).unwrap();
    if !pid.is_empty() {
        wait_until_gone(device, pid.trim());
    }
    let command = Command { time_limit: Some(Duration::from_secs(3600)), ..Command::shell("exit 9") };
    assert_eq!(run(device, &command).0, Exit::Code(9));
}

fn a_cancelled_program_is_killed(device: &dyn Device) {
    let cancel = Cancel::new().unwrap();
    let mut pid = String::new();
    let mut sink = |_: Stream, bytes: &[u8]| {
        pid.push_str(std::str::from_utf8(bytes).unwrap());
        if pid.ends_with('\n') {
            cancel.cancel();
        }
        Ok(())
    };
    let error =
        device.exec().unwrap().run(&Command::shell(FAMILY), &mut sink, &soon().or(&cancel)).unwrap_err();
    assert!(matches!(error, DeviceError::Cancelled { .. }), "{error:?}");
    wait_until_gone(device, pid.trim());
}

fn a_deadline_that_is_over_is_the_labs_fault(device: &dyn Device) {
    let until = Until::within(Duration::from_millis(100));
    let exec = device.exec().unwrap();
    let error = exec.run(&Command::new(["sleep", "86400"]), &mut Captured::default(), &until).unwrap_err();
    assert!(matches!(error, DeviceError::Timeout { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Lab);
    assert_eq!(said(device, "echo still there"), "still there\n");
}

fn a_sink_that_takes_no_more_ends_the_program(device: &dyn Device) {
    let mut sink = |_: Stream, _: &[u8]| Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    let line = "echo x; sleep 86400";
    let error = device.exec().unwrap().run(&Command::shell(line), &mut sink, &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Output { .. }), "{error:?}");
    assert_eq!(said(device, "echo still there"), "still there\n");
}

fn what_a_program_leaves_running_is_not_waited_for(device: &dyn Device) {
    let pid = said(device, "sleep 86400 & echo $!");
    let pid = pid.trim();
    assert_eq!(said(device, &format!("kill -0 {pid} && echo runs")), "runs\n");
    said(device, &format!("kill -9 {pid}"));
}

fn calls_run_at_the_same_time(device: &dyn Device) {
    let place = Place::new(device);
    let wait_for = |flag: &str| format!("while [ ! -e {} ]; do sleep 0.01; done", place.at(flag));
    // Each waits for what the other does.
    let lines = [
        format!(": > {}; {}", place.at("a"), wait_for("b")),
        format!("{}; : > {}", wait_for("a"), place.at("b")),
    ];
    std::thread::scope(|scope| {
        for line in &lines {
            scope.spawn(move || assert_eq!(said(device, line), ""));
        }
    });
}
