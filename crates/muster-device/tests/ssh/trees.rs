//! Whole directories, with the `tar` of this host, with that of busybox, and without any.

use crate::harness::{Host, said, soon};
use muster_device::{Device as _, DeviceError, Files as _, Moved};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// Programs of a device that is a busybox.
const PROGRAMS: &[&str] = &[
    "sh", "cat", "wc", "find", "mv", "mkdir", "rm", "rmdir", "stat", "tar", "chmod", "grep", "tail", "printf",
];

/// The device finds these programs, all of them those of busybox.
pub(crate) fn with_busybox(host: &Host, programs: &[&str]) {
    let bin = host.path("bin");
    fs::create_dir(&bin).unwrap();
    assert!(
        Path::new("/bin/busybox").exists(),
        "`cargo xtask setup` installs busybox-static, which this needs"
    );
    for name in programs {
        symlink("/bin/busybox", bin.join(name)).unwrap();
    }
    let config = fs::read_to_string(host.path("sshd_config")).unwrap();
    let path = format!("SetEnv PATH={} ", bin.display());
    fs::write(host.path("sshd_config"), config.replace("SetEnv ", &path)).unwrap();
    let found = said(&host.device(), "command -v wc; command -v tar; true").1;
    let all = ["wc", "tar"].into_iter().filter(|name| programs.contains(name));
    let all: String = all.map(|name| format!("{}\n", bin.join(name).display())).collect();
    assert_eq!(found, all);
}

fn check_trees(host: &Host) {
    let device = host.device();
    let here = host.path("here");
    let odd = "it's \"odd\" $x `y` *";
    fs::create_dir_all(here.join("empty")).unwrap();
    fs::create_dir_all(here.join(odd)).unwrap();
    fs::write(here.join(odd).join(odd), vec![b'x'; 100_000]).unwrap();
    fs::write(here.join("none"), "").unwrap();
    fs::write(here.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(here.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let moved = Moved { files: 3, dirs: 3, bytes: 100_010, left_out: 0 };

    let there = host.path("above/there");
    let path = there.to_str().unwrap();
    let files = device.files().unwrap();
    assert_eq!(files.push_path(&here, path, &soon()).unwrap(), moved);
    assert_eq!(fs::read(there.join(odd).join(odd)).unwrap(), vec![b'x'; 100_000]);
    assert!(there.join("empty").is_dir());
    let mode = |name: &str| fs::metadata(there.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("program") & 0o100, mode("none") & 0o100), (0o100, 0));

    // What is there already stays, unless it is replaced.
    fs::write(there.join("empty/other"), "stays").unwrap();
    fs::write(here.join("none"), "some").unwrap();
    let moved = Moved { bytes: 100_014, ..moved };
    assert_eq!(files.push_path(&here, &format!("{path}/"), &soon()).unwrap(), moved);
    assert_eq!(fs::read(there.join("none")).unwrap(), b"some");
    assert_eq!(fs::read(there.join("empty/other")).unwrap(), b"stays");
    let names = |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(&host.path("above")), ["there"], "nothing is left beside it");
    assert_eq!(names(&there).len(), 4, "{:?}", names(&there));

    symlink("/etc", there.join("link")).unwrap();
    let back = host.path("back");
    let moved = files.pull_path(path, &back, &soon()).unwrap();
    assert_eq!(moved, Moved { files: 4, dirs: 3, bytes: 100_019, left_out: 1 });
    assert_eq!(fs::read(back.join(odd).join(odd)).unwrap(), vec![b'x'; 100_000]);
    assert!(!back.join("link").is_symlink());
    assert_ne!(fs::metadata(back.join("program")).unwrap().permissions().mode() & 0o100, 0);

    let missing = files.pull_path(&format!("{path}/missing"), &back, &soon()).unwrap_err();
    assert_eq!(missing.code(), "not-found");
    // A file is in the way.
    let refused = files.push_path(&here, &format!("{path}/none"), &soon()).unwrap_err();
    assert_eq!(refused.code(), "refused", "{refused}");
    assert_eq!(fs::read(there.join("none")).unwrap(), b"some");
}

#[test]
fn whole_directories_come_and_go() {
    check_trees(&Host::new());
}

#[test]
fn whole_directories_come_and_go_where_the_device_is_a_busybox() {
    let host = Host::new();
    with_busybox(&host, PROGRAMS);
    check_trees(&host);
}

#[test]
fn whole_directories_come_and_go_where_there_is_no_tar() {
    let host = Host::new();
    let without: Vec<&str> = PROGRAMS.iter().copied().filter(|name| *name != "tar").collect();
    with_busybox(&host, &without);
    check_trees(&host);
}

#[test]
fn a_connection_that_is_cut_leaves_what_was_there() {
    let host = Host::new();
    let device = host.device();
    let (here, there) = (host.path("here"), host.path("there"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    fs::write(there.join("a"), "before").unwrap();
    fs::write(here.join("a"), "after").unwrap();
    // It never ends: whoever reads it is the device, until the connection is cut.
    fs::File::create(here.join("z")).unwrap().set_len(1 << 40).unwrap();
    std::thread::scope(|scope| {
        let push = scope.spawn(|| device.push_path(&here, there.to_str().unwrap(), &soon()));
        while !fs::read_dir(&there).unwrap().any(|e| e.unwrap().path().join("z").exists()) {
            assert!(!push.is_finished());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        host.cut();
        let error = push.join().unwrap().unwrap_err();
        assert_eq!(error.fault(), muster_device::Fault::Lab, "{error}");
    });
    assert_eq!(fs::read(there.join("a")).unwrap(), b"before");
}

#[test]
fn what_the_device_has_damaged_is_noticed_although_it_is_as_long_as_it_should_be() {
    let host = Host::new();
    with_busybox(&host, &[PROGRAMS, &["md5sum"]].concat());
    // A device whose memory is bad: what is written there, in whichever way, has other letters.
    let here = host.path("here");
    fs::create_dir(&here).unwrap();
    fs::write(here.join("file"), "aaaa").unwrap();
    let device = host.device();
    let files = device.files().unwrap();
    let (file, tree) = (host.path("there"), host.path("tree"));
    let (at, tree_at) = (file.to_str().unwrap(), tree.to_str().unwrap());
    files.push_path(&here.join("file"), at, &soon()).unwrap();
    files.push_path(&here, tree_at, &soon()).unwrap();
    for (program, damage) in [
        ("cat", "/bin/busybox cat \"$@\" | /bin/busybox sed s/aa/ab/"),
        ("tar", "cd \"$4\" && /bin/busybox tar -xomf - && /bin/busybox sed -i s/aa/ab/ file"),
    ] {
        let path = host.path("bin").join(program);
        fs::remove_file(&path).unwrap();
        fs::write(&path, format!("#!/bin/busybox sh\n{damage}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let refused = files.push_path(&here.join("file"), at, &soon()).unwrap_err();
    assert!(matches!(refused, DeviceError::Damaged { .. }), "{refused:?}");
    assert!(!file.exists(), "nobody takes it for what it should be");
    let refused = files.push_path(&here, tree_at, &soon()).unwrap_err();
    assert!(refused.to_string().contains("1 of its files are not what was sent"), "{refused:?}");
    // Without a way to see it there is none.
    fs::remove_file(host.path("bin/md5sum")).unwrap();
    files.push_path(&here.join("file"), at, &soon()).unwrap();
}
