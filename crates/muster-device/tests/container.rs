//! The `container` driver keeps the promises of every driver: bubblewrap with the host's own system and with
//! a directory, podman with an image and with a directory.
//!
//! Directory and image are a busybox, made here.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use muster_device::{Captured, Command, Device, DeviceAddress, DeviceError, Exit, Until, contract};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(300))
}

fn open(address: &str) -> Box<dyn Device> {
    address.parse::<DeviceAddress>().unwrap().open().unwrap()
}

fn run(device: &dyn Device, line: &str) -> (Exit, Captured) {
    let mut captured = Captured::default();
    let exit = device.exec().unwrap().run(&Command::shell(line), &mut captured, &soon()).unwrap();
    (exit, captured)
}

fn said(device: &dyn Device, line: &str) -> String {
    let (exit, captured) = run(device, line);
    assert_eq!(exit, Exit::Code(0), "{line}: {captured:?}");
    String::from_utf8(captured.stdout).unwrap()
}

/// A system that is one busybox.
fn rootfs() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let busybox = Path::new("/bin/busybox");
    assert!(busybox.exists(), "`cargo xtask setup` installs busybox-static, which this needs");
    for name in ["bin", "etc", "tmp", "root", "proc", "dev", "sys"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::fs::copy(busybox, dir.path().join("bin/busybox")).unwrap();
    // That of `busybox`, which some have instead, needs libraries.
    let needed = std::process::Command::new("ldd").arg(busybox).output().unwrap();
    for library in String::from_utf8(needed.stdout).unwrap().split_whitespace().filter(|w| w.starts_with('/'))
    {
        let to = dir.path().join(library.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(library, to).unwrap();
    }
    let list = std::process::Command::new(busybox).arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines().filter(|n| *n != "busybox") {
        symlink("busybox", dir.path().join("bin").join(name)).unwrap();
    }
    std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    std::fs::write(dir.path().join("etc/os-release"), "PRETTY_NAME=\"Busybox of a test\"\n").unwrap();
    dir
}

#[test]
fn bubblewrap_with_the_hosts_own_system_is_a_device() {
    contract::check_all(&*open("container:/"));
}

#[test]
fn bubblewrap_with_a_directory_is_a_device() {
    let rootfs = rootfs();
    let device = open(&format!("container:{}?with=bwrap", rootfs.path().display()));
    contract::check_all(&*device);
    assert_eq!(device.info().unwrap().one("os", &soon()).unwrap(), "Busybox of a test");
}

#[test]
fn the_hosts_own_system_cannot_be_changed_from_a_container() {
    let device = open("container:/");
    for line in
        [": > /etc/muster-was-here", "mount -o remount,rw /", "mount -t tmpfs x /mnt", "rm -rf /usr/bin/env"]
    {
        assert_ne!(run(&*device, line).0, Exit::Code(0), "{line}");
    }
    assert_eq!(
        said(
            &*device,
            "ls -A /root /home | grep -v :; grep ^Cap /proc/self/status | grep -v '0000000000000000$' || true"
        ),
        "\n"
    );
    let error = device.files().unwrap().push(&mut &b"x"[..], 1, "/etc/muster-was-here", &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Refused { .. }), "{error:?}");
}

#[test]
fn what_is_done_in_a_container_stays_until_it_is_rebooted() {
    let rootfs = rootfs();
    for engine in ["bwrap", "podman"] {
        let device = open(&format!("container:{}?with={engine}", rootfs.path().display()));
        device.files().unwrap().push(&mut &b"x"[..], 1, "/etc/made", &soon()).unwrap();
        said(&*device, ": > /etc/passwd; sleep 86400 & echo $! > /root/pid");
        assert_eq!(said(&*device, "cat /etc/made; kill -0 $(cat /root/pid) && echo runs"), "xruns\n");
        device.power().unwrap().reboot(&soon()).unwrap();
        assert_eq!(
            said(&*device, "ls /root /etc/made 2>&1; true"),
            "ls: /etc/made: No such file or directory\n/root:\n"
        );
        assert!(said(&*device, "cat /etc/passwd").starts_with("root:"));
    }
    assert_ne!(std::fs::read(rootfs.path().join("etc/passwd")).unwrap(), b"");
    assert!(!rootfs.path().join("etc/made").exists());
}

#[test]
fn a_container_that_is_kept_is_found_by_who_opens_it_next() {
    let rootfs = rootfs();
    for engine in ["bwrap", "podman"] {
        let name = format!("test-{}-{engine}", std::process::id());
        let address = format!("container:{}?with={engine}&keep={name}", rootfs.path().display());
        said(&*open(&address), "echo here > /root/made");
        let device = open(&address);
        assert_eq!(said(&*device, "cat /root/made"), "here\n");
        let other =
            open(&format!("container:{}?with={engine}&network=host&keep={name}", rootfs.path().display()));
        let error = other.probe(&soon()).unwrap_err();
        assert!(matches!(error, DeviceError::Refused { .. }), "{error:?}");
        device.power().unwrap().reboot_only(&soon()).unwrap();
        assert_eq!(said(&*open(&address), "ls /root"), "");
        open(&address).power().unwrap().reboot_only(&soon()).unwrap();
    }
}

#[test]
fn what_runs_in_a_container_ends_with_the_device() {
    let device = open("container:/");
    let init = device.info().unwrap().one("init", &soon()).unwrap();
    let pid: u32 = init.split_whitespace().nth(1).unwrap().parse().unwrap();
    said(&*device, "setsid sleep 86400 & :");
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    drop(device);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn podman_with_an_image_is_a_device() {
    let rootfs = rootfs();
    let image = format!("localhost/muster-test-{}", std::process::id());
    let tar = format!("tar -C '{}' -c . | podman import --quiet - {image}", rootfs.path().display());
    let made = std::process::Command::new("sh").args(["-c", &tar]).output().unwrap();
    assert!(made.status.success(), "`cargo xtask setup` installs podman, which this needs: {made:?}");
    let device = open(&format!("container:{image}"));
    contract::check_all(&*device);
    drop(device);
    let left =
        std::process::Command::new("podman").args(["ps", "-a", "--format", "{{.Image}}"]).output().unwrap();
    assert!(!String::from_utf8(left.stdout).unwrap().contains(&image));
    std::process::Command::new("podman").args(["rmi", &image]).output().unwrap();
}

#[test]
fn what_cannot_be_started_says_why() {
    let error = open("container:/no/such/rootfs").probe(&soon()).unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("there is no directory `/no/such/rootfs`"), "{text}");
    let error = open("container:/?network=bridge").probe(&soon()).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(text, "bubblewrap: it has `network=none` and `network=host`, not `bridge`");
}
