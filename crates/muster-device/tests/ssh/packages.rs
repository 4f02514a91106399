//! Packages on a host behind ssh, with the programs of busybox alone, and with connections that are cut.

use crate::harness::Host;
use crate::trees::with_busybox;
use muster_device::ssh::{Ssh, Target};
use std::path::Path;
use std::time::Duration;

#[path = "../packages/mod.rs"]
mod brought;

fn device(host: &Host) -> Ssh {
    let root = host.path("root of it");
    std::fs::create_dir_all(&root).unwrap();
    Ssh::new(Target { test_root: Some(root.display().to_string()), ..host.target() }).unwrap()
}

#[test]
fn packages_are_brought_to_a_host_that_has_busybox_alone() {
    let host = Host::new();
    with_busybox(
        &host,
        &[
            "sh", "cat", "wc", "find", "mv", "mkdir", "rm", "rmdir", "stat", "tar", "chmod", "grep", "tail",
            "printf", "ln", "cp", "ls", "df", "touch", "md5sum", "readlink",
        ],
    );
    brought::are_brought(&device(&host));
}

#[test]
fn a_connection_that_is_cut_at_any_moment_leaves_the_version_before() {
    let host = Host::new();
    let world = brought::World::new();
    let old = world.deliver("0", &device(&host)).unwrap();
    let mut was_cut = 0;
    for round in 1..=8_u64 {
        let version = round.to_string();
        let made = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(round * round * 25));
                host.cut();
            });
            world.deliver(&version, &device(&host))
        });
        was_cut += u32::from(made.is_err());
        assert!(round > 2 || brought::is_whole(Path::new(&old.dir), "0"));
        let made = world.deliver(&version, &device(&host)).unwrap_or_else(|e| panic!("{round}: {e:?}"));
        assert!(brought::is_whole(Path::new(&made.dir), &version), "{round}");
    }
    assert!(was_cut > 0, "no connection was ever cut");
}
