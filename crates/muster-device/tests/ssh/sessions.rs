//! What runs, what is cut, and what is left.

use crate::harness::{Host, said, soon};
use muster_core::output::Stream;
use muster_device::ssh::{Ssh, Target};
use muster_device::{Command, Device as _, Exec as _, Exit, Power as _, contract};
use std::path::Path;

#[test]
fn the_driver_keeps_the_promises_of_every_driver() {
    let host = Host::new();
    std::fs::create_dir(host.path("tests")).unwrap();
    let root = host.path("tests").to_str().unwrap().to_owned();
    let device = Ssh::new(Target { test_root: Some(root), ..host.target() }).unwrap();
    contract::check_all(&device);
    let left: Vec<_> = std::fs::read_dir(host.path("tests")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_code_of_ssh_is_not_the_code_of_a_program() {
    let host = Host::new();
    let device = host.device();
    assert_eq!(said(&device, "echo x; exit 255"), (Exit::Code(255), "x\n".to_owned()));
    assert_eq!(said(&device, "exit 139").0, Exit::Code(139));
    assert_eq!(said(&device, "kill -SEGV $$").0, Exit::Signal(11));
    assert_eq!(said(&device, "kill -TERM $$").0, Exit::Signal(15));
    host.cut();
    host.refuse(1);
    // It depends on who notices first, the connection or the call.
    let error = device.probe(&soon()).unwrap_err();
    assert!(["lost", "unreachable"].contains(&error.code()), "{error}");
    host.refuse(0);
    device.probe(&soon()).unwrap();
}

#[test]
fn a_connection_that_is_cut_is_the_labs_fault_and_nothing_is_left_running() {
    let host = Host::new();
    let device = host.device();
    let mut pids = String::new();
    let mut sink = |_: Stream, bytes: &[u8]| {
        pids.push_str(std::str::from_utf8(bytes).unwrap());
        if pids.ends_with('\n') {
            host.cut();
        }
        Ok(())
    };
    // Neither the session nor the family tells that the second belongs to the program.
    let line = "setsid sleep 86400 >/dev/null 2>&1 & echo $$ $!; exec sleep 86400";
    let error = device.run(&Command::shell(line), &mut sink, &soon()).unwrap_err();
    assert_eq!(error.code(), "lost", "{error}");
    for pid in pids.split_whitespace() {
        while Path::new(&format!("/proc/{pid}")).exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    device.probe(&soon()).unwrap();
}

#[test]
fn a_device_is_rebooted_and_waited_for() {
    let host = Host::new();
    let id = host.path("boot_id");
    std::fs::write(&id, "first").unwrap();
    let id = id.to_str().unwrap().to_owned();
    // The shell's parent is `sshd`: it ends in the middle of this, as at a reboot.
    let reboot = format!("echo second >{id}; kill -9 $PPID");
    let device = Ssh::new(Target { reboot: Some(reboot), boot_id: Some(id), ..host.target() }).unwrap();
    device.probe(&soon()).unwrap();
    // It is away for a while.
    host.refuse(3);
    device.reboot(&soon()).unwrap();
    assert!(host.accepted() >= 5, "{}", host.accepted());
    assert_eq!(said(&device, "echo back").1, "back\n");
}

#[test]
fn a_reboot_that_is_refused_is_told() {
    let host = Host::new();
    let reboot = Some("echo 'not now' >&2; exit 1".to_owned());
    let device = Ssh::new(Target { reboot, ..host.target() }).unwrap();
    let error = device.reboot(&soon()).unwrap_err();
    assert_eq!(error.code(), "refused");
    assert!(error.to_string().ends_with("not now"), "{error}");
}

#[test]
fn calls_share_a_connection_and_take_more_where_one_is_full() {
    let host = Host::new();
    let device = host.device();
    for _ in 0..5 {
        device.probe(&soon()).unwrap();
    }
    assert_eq!(host.accepted(), 1);
    std::fs::create_dir(host.path("here")).unwrap();
    let all = 12;
    // Each waits until all are there.
    let line = format!(
        "cd {}; : >$$; while [ \"$(ls | wc -l)\" -lt {all} ]; do sleep 0.05; done",
        host.path("here").display()
    );
    std::thread::scope(|scope| {
        for _ in 0..all {
            scope.spawn(|| assert_eq!(said(&device, &line).0, Exit::Code(0)));
        }
    });
    assert!(host.accepted() < all, "{}", host.accepted());
}

#[test]
fn a_device_leaves_neither_connection_nor_socket() {
    let host = Host::new();
    let device = host.device();
    device.probe(&soon()).unwrap();
    // The socket is named in the command line of the connection.
    let wanted = format!("Port={}", host.target().port.unwrap());
    let connections = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter(|e| {
            std::fs::read(e.path().join("cmdline"))
                .is_ok_and(|line| line.split(|b| *b == 0).any(|word| word == wanted.as_bytes()))
        })
        .count()
    };
    assert_eq!(connections(), 1);
    drop(device);
    while connections() > 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_program_may_run_as_another_user() {
    let host = Host::new();
    let device = host.device();
    let as_user = |user: &str| Command { user: Some(user.to_owned()), ..Command::new(["id", "-un"]) };
    let mut out = muster_device::Captured::default();
    let (_, me) = said(&device, "id -un");
    assert_eq!(device.run(&as_user(me.trim()), &mut out, &soon()).unwrap(), Exit::Code(0));
    assert_eq!(out.stdout, me.as_bytes());
    assert_eq!(device.run(&as_user("no such user"), &mut out, &soon()).unwrap_err().code(), "refused");
    if me == "root\n" {
        out.stdout.clear();
        assert_eq!(device.run(&as_user("nobody"), &mut out, &soon()).unwrap(), Exit::Code(0));
        assert_eq!(out.stdout, b"nobody\n");
    }
}

#[test]
fn greetings_of_the_login_shell_are_no_output() {
    let host = Host::new();
    let config = std::fs::read_to_string(host.path("sshd_config")).unwrap();
    // What a `.bashrc` that talks does.
    let forced = "ForceCommand echo Welcome; echo to the lab >&2; sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
    std::fs::write(host.path("sshd_config"), format!("{config}{forced}")).unwrap();
    assert_eq!(said(&host.device(), "echo x"), (Exit::Code(0), "x\n".to_owned()));
}
