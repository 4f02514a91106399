//! A device that a file describes: its own driver's promises, and power and console by programs and ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use muster_device::{Device, DeviceAddress, DeviceError, LineEnd, Until, contract};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

fn described(dir: &Path, text: &str) -> Box<dyn Device> {
    let file = dir.join("board.toml");
    std::fs::write(&file, text).unwrap();
    format!("file:{}", file.display()).parse::<DeviceAddress>().unwrap().open().unwrap()
}

#[test]
fn it_is_the_device_of_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let device = described(dir.path(), "address = \"local:\"\n");
    contract::check_all(&*device);
    let error = device.supply().err().unwrap();
    assert!(matches!(error, DeviceError::Unsupported { driver: "file", .. }), "{error:?}");
}

#[test]
fn its_supply_is_switched_by_programs_whose_words_no_shell_sees() {
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("is on; $(reboot)");
    let text = format!(
        "address = \"local:\"\n[power]\non = [\"touch\", '{0}']\noff = [\"rm\", '{0}']\n\
         cycle = [\"touch\", '{0}', '{0}.cycled']\nstatus = [\"test\", \"-e\", '{0}']\n",
        flag.display()
    );
    let device = described(dir.path(), &text);
    let supply = device.supply().unwrap();
    assert!(!supply.is_on(&soon()).unwrap());
    supply.on(&soon()).unwrap();
    assert!(flag.exists() && supply.is_on(&soon()).unwrap());
    supply.off(&soon()).unwrap();
    assert!(!flag.exists());
    // What the program says arrives with whoever asked.
    let error = supply.off(&soon()).unwrap_err();
    assert!(
        matches!(&error, DeviceError::Refused { said, .. } if said.contains("No such file")),
        "{error:?}"
    );
    supply.cycle(&soon()).unwrap();
    assert!(dir.path().join("is on; $(reboot).cycled").exists());
}

#[test]
fn its_console_is_a_port_or_a_program() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut typed = [0; 4];
        tcp.read_exact(&mut typed).unwrap();
        tcp.write_all(b"heard ").unwrap();
        tcp.write_all(&typed).unwrap();
    });
    for console in [
        format!("tcp = \"127.0.0.1:{port}\""),
        "command = [\"sh\", \"-c\", \"read x; echo heard $x\"]".to_owned(),
    ] {
        let device = described(dir.path(), &format!("address = \"local:\"\n[console]\n{console}\n"));
        let line = device.console().unwrap().connect(&soon()).unwrap();
        let (input, mut typed) = std::io::pipe().unwrap();
        typed.write_all(b"it\n\n").unwrap();
        let mut heard = Vec::new();
        let end = line.pass(Some(input.as_fd()), 0x1d, &mut heard, &soon()).unwrap();
        assert_eq!((end, String::from_utf8(heard).unwrap().trim_end()), (LineEnd::Closed, "heard it"));
    }
    server.join().unwrap();
}

#[test]
fn a_file_with_a_mistake_is_told_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("board.toml");
    for text in [
        "",
        "address = \"nowhere\"",
        "address = \"local:\"\npovver = 1",
        "address = \"file:x\"",
        "address = \"local:\"\n[power]\non = []\noff = [\"x\"]",
        "address = \"local:\"\n[console]\ntcp = \"x\"",
    ] {
        std::fs::write(&file, text).unwrap();
        let error = format!("file:{}", file.display()).parse::<DeviceAddress>().unwrap_err().to_string();
        assert!(error.contains("board.toml"), "{text}: {error}");
    }
}
