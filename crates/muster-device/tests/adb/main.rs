//! The `adb` driver keeps the promises of every driver, through a real adb server.
//!
//! The device behind the server is a fake: see [`adbd`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adbd;
#[path = "../packages/mod.rs"]
#[expect(dead_code, reason = "other drivers use more of it")]
mod packages;

use adbd::Adbd;
use muster_device::{Device, DeviceAddress, DeviceError, Until, contract};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

/// A real adb server on a port of its own, and a fake device that it is connected to.
struct Lab {
    server: Child,
    port: u16,
    adbd: Adbd,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new("adb");
        server.args(["-P", &port.to_string(), "nodaemon", "server"]);
        // It writes keys to its home, and looks for emulators on ports up to this one.
        server.env("HOME", dir.path()).env("TMPDIR", dir.path()).env("ADB_LOCAL_TRANSPORT_MAX_PORT", "5553");
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = server.spawn().expect("`cargo xtask setup` installs adb, which this needs");
        let lab = Self { server, port, adbd: Adbd::start(dir.path()), _dir: dir };
        while !lab.adb(&["connect", &lab.serial()]).contains("connected to") {
            std::thread::sleep(Duration::from_millis(50));
        }
        lab
    }

    fn adb(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            // Or the client would start a server of its own.
            return String::new();
        }
        let output = Command::new("adb").args(["-P", &port]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn serial(&self) -> String {
        format!("127.0.0.1:{}", self.adbd.port())
    }

    fn open(&self) -> Box<dyn Device> {
        self.open_serial(&self.serial())
    }

    fn open_serial(&self, serial: &str) -> Box<dyn Device> {
        let address = format!("adb:{serial}@127.0.0.1:{}", self.port);
        address.parse::<DeviceAddress>().unwrap().open().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

#[test]
fn a_device_behind_an_adb_server_is_a_device() {
    let lab = Lab::new();
    // The fake is such that the real client can use it as well.
    let said = lab.adb(&["-s", &lab.serial(), "shell", "echo it; echo works >&2; exit 3"]);
    assert_eq!(said, "it\n");
    contract::check_all(&*lab.open());
}

#[test]
fn packages_are_brought_to_a_device_behind_an_adb_server() {
    let lab = Lab::new();
    let root = tempfile::tempdir().unwrap();
    let address = format!("adb:{}@127.0.0.1:{}?root={}", lab.serial(), lab.port, root.path().display());
    packages::are_brought(&*address.parse::<DeviceAddress>().unwrap().open().unwrap());
}

#[test]
fn a_reboot_ends_when_android_has_started_again() {
    let lab = Lab::new();
    let device = lab.open();
    let boots = lab.adbd.boots();
    device.power().unwrap().reboot(&soon()).unwrap();
    assert_eq!(lab.adbd.boots(), boots + 1);
    assert!(lab.adbd.has_booted());
    device.probe(&soon()).unwrap();
}

#[test]
fn packages_and_the_screen_are_androids_own() {
    let lab = Lab::new();
    let device = lab.open();
    let packages = device.packages().unwrap();
    let path = format!("{}/app.apk", device.files().unwrap().test_root(&soon()).unwrap());
    device.files().unwrap().push(&mut &b"apk"[..], 3, &path, &soon()).unwrap();
    packages.install(&path, &soon()).unwrap();
    packages.uninstall("app", &soon()).unwrap();
    // The package manager ends with 0 when it says no.
    let error = packages.uninstall("app", &soon()).unwrap_err();
    assert!(matches!(&error, DeviceError::Refused { said, .. } if said.starts_with("Failure")), "{error:?}");
    device.files().unwrap().remove(&path, &soon()).unwrap();
    let picture = device.screen().unwrap().screenshot(&soon()).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n\r\n\n"), "{picture:?}");
    assert_eq!(device.info().unwrap().one("os", &soon()).unwrap(), "Android 15");
}

#[test]
fn a_device_that_is_not_there_is_the_labs_fault() {
    let lab = Lab::new();
    let error = lab.open_serial("no-such").probe(&soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Unreachable { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("not found"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere: DeviceAddress = format!("adb:x@127.0.0.1:{free}").parse().unwrap();
    let error = nowhere.open().unwrap().probe(&soon()).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("start-server"), "{error:?}");
}
