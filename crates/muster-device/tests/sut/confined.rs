//! An agent that is held in a directory lets nobody out of it.

use crate::harness::Place;
use muster_device::{DeviceError, Files as _, Until};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

/// An agent held in `inside`, beside which is `outside` with a file.
fn place() -> (Place, tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap();
    for name in ["inside/tests", "outside"] {
        std::fs::create_dir_all(top.join(name)).unwrap();
    }
    std::fs::write(top.join("outside/secret"), "secret").unwrap();
    symlink("../outside", top.join("inside/way-out")).unwrap();
    symlink(top.join("outside/secret"), top.join("inside/absolute")).unwrap();
    symlink("/proc/self/root", top.join("inside/magic")).unwrap();
    symlink("tests", top.join("inside/within")).unwrap();
    let place = Place::with(|config| {
        config.root = Some(top.join("inside"));
        config.test_root = top.join("inside/tests");
    });
    (place, dir, top)
}

#[test]
fn no_path_and_no_link_leads_out() {
    let (place, _dir, top) = place();
    let client = place.client();
    let top = top.to_str().unwrap();
    let outside = [
        format!("{top}/outside/secret"),
        format!("{top}/inside/../outside/secret"),
        format!("{top}/inside/way-out/secret"),
        format!("{top}/inside/magic{top}/outside/secret"),
        format!("{top}/inside/tests/../../outside/secret"),
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
    ];
    let mut raw = place.raw();
    let link = format!("{top}/inside/absolute");
    assert!(client.pull(&link, 0, &mut Vec::new(), &soon()).is_err());
    assert!(raw.ask(&format!("chmod {link}")).starts_with("##AGENT-WARNING##"));
    for path in &outside {
        let mut got = Vec::new();
        assert!(client.pull(path, 0, &mut got, &soon()).is_err() && got.is_empty(), "{path}");
        assert!(client.push(&mut &b"x"[..], 1, &format!("{path}-new"), &soon()).is_err(), "{path}");
        assert!(client.make_executable(path, &soon()).is_err(), "{path}");
        for line in [
            format!("hash {path}"),
            format!("cat {path}"),
            format!("cp {path} {top}/inside/copy"),
            format!("mv {path} {top}/inside/moved"),
            format!("cp {top}/inside/tests/f {path}-new"),
            format!("mkdr {path}-new"),
            format!("rmdr {path}"),
            format!("chmod {path}"),
            format!("time {path}"),
            format!("pull {path}"),
            format!("push {path}-new 1\r\nx"),
        ] {
            let said = raw.ask(&line);
            assert!(said.starts_with("##AGENT-WARNING##"), "{line}: {said}");
        }
        assert_ne!(raw.ask(&format!("isdir {path}")), "TRUE\n", "{path}");
    }
    // The links themselves may go; what they lead to stays.
    for name in ["absolute", "way-out", "magic"] {
        client.remove(&format!("{top}/inside/{name}"), &soon()).unwrap();
    }
    assert_eq!(std::fs::read(format!("{top}/outside/secret")).unwrap(), b"secret");
    let left: Vec<_> = std::fs::read_dir(format!("{top}/outside")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn what_is_inside_works_and_what_is_above_can_be_seen_to_be_there() {
    let (place, _dir, top) = place();
    let top = top.to_str().unwrap();
    let mut raw = place.raw();
    assert_eq!(raw.ask("cwd"), format!("{top}/inside\n"));
    assert_eq!(raw.ask("isdir /"), "TRUE\n");
    assert_eq!(raw.ask(&format!("isdir {top}")), "TRUE\n");
    assert_eq!(raw.ask("push within/f 1\r\nx").len(), 33);
    assert_eq!(raw.ask("cat tests/f"), "x");
    assert!(raw.ask("ls /").starts_with("##AGENT-WARNING##"));
    let error = place.client().list("/", &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Refused { .. }), "{error:?}");
    let error = place.client().remove(&format!("{top}/inside"), &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Refused { .. }), "{error:?}");
    assert!(raw.ask("unzp x.zip").starts_with("##AGENT-WARNING##"));
}

#[test]
fn a_test_root_outside_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::harness::config(dir.path());
    std::fs::create_dir(dir.path().join("other")).unwrap();
    config.root = Some(dir.path().join("other"));
    let error = muster_device::sut::Agent::start(config).err().unwrap().to_string();
    assert!(error.contains("is not in"), "{error}");
}
