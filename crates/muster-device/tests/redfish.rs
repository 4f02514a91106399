//! A supply that is switched over Redfish, on the emulator of OpenStack's bare metal project, with TLS and a password.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use muster_device::{Device, DeviceAddress, DeviceError, Until};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SYSTEM: &str = "27946b59-9e44-4fa7-8e91-f3527a1ef094";

/// A management controller with one system, killed when it is dropped.
struct Controller {
    program: Child,
    dir: tempfile::TempDir,
    port: u16,
}

fn run(command: &mut Command) -> String {
    let said = command.stdin(Stdio::null()).output().unwrap();
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

impl Controller {
    fn start() -> Self {
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
        let bin = target.join("redfish/bin");
        let emulator = bin.join("sushy-emulator");
        assert!(emulator.exists(), "`{}` is not there: `cargo xtask setup` installs it", emulator.display());
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(file("key.pem"))
            .arg("-out")
            .arg(file("ca.pem")));
        let hash = "import bcrypt; print(bcrypt.hashpw(b'hush', bcrypt.gensalt(4)).decode())";
        let hash = run(Command::new(bin.join("python")).args(["-c", hash]));
        std::fs::write(file("users"), format!("lab:{hash}")).unwrap();
        std::fs::write(file("password"), "hush\n").unwrap();
        std::fs::create_dir(file("state")).unwrap();
        let config = format!(
            "SUSHY_EMULATOR_AUTH_FILE = '{users}'\nSUSHY_EMULATOR_STATE_DIR = '{state}'\n\
             SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{SYSTEM}', 'name': 'board-1', 'power_state': 'Off', 'nics': []}}]\n",
            users = file("users").display(),
            state = file("state").display(),
        );
        std::fs::write(file("config"), config).unwrap();
        // Free a moment ago; nobody else on this machine is given it so soon.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut program = Command::new(emulator);
        program.args(["--fake", "-i", "127.0.0.1", "-p", &port.to_string(), "--config"]).arg(file("config"));
        program.arg("--ssl-certificate").arg(file("ca.pem")).arg("--ssl-key").arg(file("key.pem"));
        program.env("TMPDIR", dir.path());
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let controller = Self { program: program.spawn().unwrap(), port, dir };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        controller
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A device whose supply this switches, with more in its table.
    fn device(&self, more: &str) -> Box<dyn Device> {
        let url = format!("https://127.0.0.1:{}/redfish/v1/Systems/{SYSTEM}", self.port);
        described(self.dir.path(), &format!("[redfish]\nurl = \"{url}\"\n{more}")).unwrap().open().unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may be gone.
        let _killed = self.program.kill();
        let _ended = self.program.wait();
    }
}

fn described(dir: &Path, text: &str) -> Result<DeviceAddress, String> {
    let file = dir.join("board.toml");
    std::fs::write(&file, format!("address = \"local:\"\n{text}")).unwrap();
    format!("file:{}", file.display()).parse().map_err(|e: muster_device::AddressError| e.to_string())
}

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

#[test]
fn a_controller_switches_the_supply_and_is_believed_when_it_has() {
    let controller = Controller::start();
    let device = controller.device("user = \"lab\"\npassword-file = \"password\"\nca-file = \"ca.pem\"");
    let supply = device.supply().unwrap();
    assert!(!supply.is_on(&soon()).unwrap());
    supply.on(&soon()).unwrap();
    assert!(supply.is_on(&soon()).unwrap(), "the controller says yes before it has done it");
    supply.on(&soon()).unwrap();
    supply.cycle(&soon()).unwrap();
    assert!(supply.is_on(&soon()).unwrap());
    supply.off(&soon()).unwrap();
    assert!(!supply.is_on(&soon()).unwrap());

    std::fs::write(controller.file("password"), "wrong").unwrap();
    let error = supply.on(&soon()).unwrap_err();
    assert!(matches!(&error, DeviceError::Refused { said, .. } if said.contains("401")), "{error:?}");
    // Nobody vouches for it.
    let device = controller.device("");
    let error = device.supply().unwrap().is_on(&soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Unreachable { .. }), "{error:?}");
}

#[test]
fn what_cannot_be_a_controller_is_told_with_the_name_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("[redfish]\nurl = \"bmc-1\"", "https://HOST"),
        (
            "[redfish]\nurl = \"http://10.0.0.7/redfish/v1/Systems/1\"\nuser = \"lab\"\npassword-file = \"p\"",
            "in the clear",
        ),
        ("[redfish]\nurl = \"https://bmc-1/redfish/v1/Systems/1\"\nuser = \"lab\"", "belong together"),
        ("[redfish]\nurl = \"https://bmc-1/\"\npassword = \"hush\"", "unknown field"),
        ("[redfish]\nurl = \"https://bmc-1/\"\n[power]\non = [\"a\"]\noff = [\"b\"]", "not by both"),
    ] {
        let error = described(dir.path(), text).unwrap_err();
        assert!(error.contains("board.toml") && error.contains(why), "{text}: {error}");
    }
}
