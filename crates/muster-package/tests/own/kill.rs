//! `kill -9` at every step of an install: what was there works until the new one does, and the next install
//! makes it whole.

use crate::drive::{World, install, nodes, read};
use muster_package::own::{InstallOptions, Place, Repository, Sources, Verify};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the child works, and at which step it is killed.
const DIR: &str = "MUSTER_TEST_KILL_DIR";
const STEP: &str = "MUSTER_TEST_KILL_STEP";

#[test]
#[ignore = "the process that is killed, started by the test below"]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    let at: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let sources = Sources::new(vec![Repository::open(&dir.join("repository")).unwrap().source()]);
    let found = sources.find(&"dep:thing@2".parse().unwrap(), &|_| Ok(true)).unwrap();
    let count = AtomicUsize::new(0);
    let step = |name: &'static str| {
        if count.fetch_add(1, Ordering::SeqCst) == at {
            println!("{name}");
            let me = std::process::id().to_string();
            Command::new("kill").args(["-9", &me]).status().unwrap();
        }
    };
    let options = InstallOptions { on_step: Some(&step), ..InstallOptions::default() };
    Place::open(&dir.join("place")).unwrap().install(&found.package, &sources, options).unwrap();
}

#[test]
fn an_install_that_is_killed_at_any_step_leaves_what_was_there_and_is_made_whole_later() {
    let mut finished = 0;
    for has_old in [true, false] {
        for at in 0.. {
            let world = World::new();
            world.publish("1", &nodes(1));
            world.publish("2", &nodes(2));
            if has_old {
                world.install("dep:thing@1").unwrap();
            }
            let ended = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "kill::child_that_is_killed", "--ignored", "--nocapture"])
                .env(DIR, world.dir.path())
                .env(STEP, at.to_string())
                .output()
                .unwrap();
            let was_killed = ended.status.signal() == Some(9);
            assert!(was_killed || ended.status.success(), "{ended:?}");
            let name = world.path("place/dep/thing");
            match (name.exists(), has_old) {
                (true, true) => {
                    let there = read(&name);
                    assert!(there == nodes(1) || there == nodes(2), "step {at}: it is one of the two, whole");
                }
                (true, false) => assert_eq!(read(&name), nodes(2), "step {at}"),
                (false, _) => assert!(!has_old, "step {at}: what was there is there"),
            }
            let installed = install(&world.place, &world.sources(), "dep:thing@2", Verify::Record).unwrap();
            if was_killed && ended.stdout.ends_with(b"finish\n") {
                // All had come by then.
                assert_eq!(
                    (installed.moved.traffic.bytes, installed.moved.bytes_written),
                    (0, 0),
                    "step {at}"
                );
                finished += 1;
            }
            assert_eq!(std::fs::read_dir(world.path("place/incoming")).unwrap().count(), 0, "step {at}");
            assert_eq!(read(&installed.dir), nodes(2), "step {at}");
            assert!(world.place.verify(&installed.package).unwrap().is_empty());
            if !was_killed {
                assert!(at >= 10, "only {at} steps");
                break;
            }
        }
    }
    assert_eq!(finished, 2, "what was fetched is used, though it was killed before it was in its place");
}
