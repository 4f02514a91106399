//! The `qemu` driver with a real guest: Debian's cloud kernel, a busybox, and Muster's SUT agent.
//!
//! The agent in the guest is this very program, which `agent_of_the_guest` is for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod guest;
#[path = "../packages/mod.rs"]
#[expect(dead_code, reason = "other drivers use more of it")]
mod packages;

use muster_device::{
    Captured, Command, Device, DeviceAddress, DeviceError, Exit, Job, LineEnd, Until, Worker, contract,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(600))
}

fn open(address: &str) -> Box<dyn Device> {
    address.parse::<DeviceAddress>().unwrap().open().unwrap()
}

fn said(device: &dyn Device, line: &str) -> String {
    let mut captured = Captured::default();
    let exit = device.exec().unwrap().run(&Command::shell(line), &mut captured, &soon()).unwrap();
    assert_eq!(exit, Exit::Code(0), "{line}: {captured:?}");
    String::from_utf8(captured.stdout).unwrap()
}

/// One machine for all of it: a boot takes some seconds, and many on a host without an accelerator.
#[test]
fn a_guest_is_a_device() {
    let dir = tempfile::tempdir().unwrap();
    let machine = guest::make(dir.path());
    let device = open(&format!("qemu:{}", machine.display()));

    let accelerator = device.info().unwrap().one("accelerator", &soon()).unwrap();
    assert!(accelerator.starts_with("tcg: ") || accelerator.starts_with("kvm: "), "{accelerator}");
    assert!(device.screen().unwrap().screenshot(&soon()).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));

    // A busybox is all there is in it.
    packages::are_brought(&*device);

    // The disk is there, and what is written to it stays over a reboot but not over the supply.
    said(&*device, "printf marked | dd of=/dev/vda conv=notrunc 2>/dev/null; sync; echo x > /tmp/x");
    let boot = said(&*device, "cat /proc/sys/kernel/random/boot_id");
    device.power().unwrap().reboot(&soon()).unwrap();
    assert_ne!(said(&*device, "cat /proc/sys/kernel/random/boot_id"), boot);
    assert_eq!(said(&*device, "head -c 6 /dev/vda; ls /tmp/x 2>/dev/null || true"), "marked");
    assert_eq!(std::fs::read(dir.path().join("disk.img")).unwrap(), vec![0; 1 << 20]);

    // What is typed at the console arrives in the guest, and what the guest says there arrives here.
    let console = device.console().unwrap().connect(&soon()).unwrap();
    let (input, mut typed) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut typed, b"hello\n\x1d").unwrap();
    let mut heard = Vec::new();
    let end = console.pass(Some(std::os::fd::AsFd::as_fd(&input)), 0x1d, &mut heard, &soon()).unwrap();
    assert_eq!(end, LineEnd::Left);
    let mut sink = Until::within(Duration::from_millis(200));
    while !String::from_utf8_lossy(&heard).contains("the console heard hello") {
        console.pass(None, 0, &mut heard, &sink).unwrap();
        sink = Until::within(Duration::from_millis(200));
    }
    let log = device.info().unwrap().one("console-log", &soon()).unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains("the console heard hello"));

    let supply = device.supply().unwrap();
    assert!(supply.is_on(&soon()).unwrap());
    supply.off(&soon()).unwrap();
    assert!(!supply.is_on(&soon()).unwrap());
    let error = device.probe(&soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Lost { .. }), "{error:?}");
    supply.on(&soon()).unwrap();
    assert_eq!(said(&*device, "head -c 6 /dev/vda | tr '\\0' 0"), "000000");
    drop(device);
    assert!(!std::path::Path::new(&log).exists());
}

#[test]
fn a_guest_that_ends_before_it_answers_shows_its_console() {
    let dir = tempfile::tempdir().unwrap();
    // A disk of one sector alone is none that a BIOS starts from.
    let mut sector = vec![0; 1 << 20];
    // Says `M` on the serial port and writes to the port that ends QEMU.
    sector[..12].copy_from_slice(&[0xba, 0xf8, 0x03, 0xb0, b'M', 0xee, 0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee]);
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(dir.path().join("sector"), sector).unwrap();
    let text = "image = \"sector\"\nformat = \"raw\"\naccel = \"tcg\"\n\
                extra = [\"-device\", \"isa-debug-exit,iobase=0xf4,iosize=0x04\"]\n";
    std::fs::write(dir.path().join("ends.toml"), text).unwrap();
    let device = open(&format!("qemu:{}", dir.path().join("ends.toml").display()));
    let error = device.probe(&soon()).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("ended before it answered") && text.contains("\"M\""), "{text}");
}

/// The guest of a job is the same in all its steps, and no other job's. The promises are tried here, since what
/// keeps them behind a worker keeps them without one.
#[test]
fn a_guest_keeps_the_promises_of_every_driver_and_is_one_job_s_alone() {
    let dir = tempfile::tempdir().unwrap();
    let address: DeviceAddress = format!("qemu:{}", guest::make(dir.path()).display()).parse().unwrap();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (control, theirs) = UnixStream::pair().unwrap();
    let worker = Worker::new(address.clone());
    let thread = std::thread::spawn(move || worker.run(&listener, theirs).unwrap());
    let step = |job: &str, goes_on| address.open_at(&socket, &Job { id: job.to_owned(), goes_on });
    contract::check_all(&*step("1", false));
    let boot = "cat /proc/sys/kernel/random/boot_id";
    let first = said(&*step("1", true), boot);
    assert_eq!(said(&*step("1", true), boot), first);
    assert_ne!(said(&*step("2", false), boot), first);
    drop(control);
    thread.join().unwrap();
}

#[test]
#[ignore = "runs in the guest, as its agent"]
fn agent_of_the_guest() {
    guest::agent();
}
