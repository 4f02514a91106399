//! What is taken away of a repository, and what is packed anew, also where that is killed.

use crate::drive::{Nodes, World, file, install, noise, read};
use crate::web::{Manner, Web};
use muster_package::own::{Place, Repository, Sources, Verify};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Forty files that do not compress; all but one in ten are other ones in each version.
fn mostly_new(version: u64) -> Nodes {
    let seed = |n: u64| if n.is_multiple_of(10) { n } else { n + 1000 * version };
    (0..40).map(|n| (format!("file{n}").into_bytes(), file(noise(20_000, seed(n))))).collect()
}

fn bytes(root: &Path) -> u64 {
    fs::read_dir(root.join("packs")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn a_pack_of_which_little_is_needed_is_packed_anew() {
    let world = World::new();
    world.publish("1", &mostly_new(1));
    world.publish("2", &mostly_new(2));
    let before = bytes(world.repository.root());
    assert_eq!(world.repository.collect().unwrap().repacked, 0, "all of it is needed");
    world.repository.prune(1).unwrap();
    // Who asked where things are before that, and fetches after it.
    let web = Web::serve(world.repository.root(), Manner::Good);
    let late = Sources::new(vec![web.source()]);
    late.list().unwrap();
    let gone = world.repository.collect().unwrap();
    assert_eq!(gone.repacked, 1, "{gone:?}");
    let after = bytes(world.repository.root());
    assert!(after < before * 6 / 10, "{before} bytes, then {after}: {gone:?}");
    assert_eq!(world.repository.verify().unwrap(), Vec::<String>::new());
    assert_eq!(world.repository.collect().unwrap().files, 0, "and that was all");
    assert_eq!(read(&install(&world.place, &late, "dep:thing", Verify::Record).unwrap().dir), mostly_new(2));
    // What is published later finds what was packed anew.
    let next = world.publish("3", &mostly_new(3));
    assert_eq!(next.chunks - next.chunks_new, 4, "{next:?}");
    assert_eq!(read(&world.install("dep:thing@3").unwrap().dir), mostly_new(3));
}

const DIR: &str = "MUSTER_TEST_COLLECT_DIR";
const STEP: &str = "MUSTER_TEST_COLLECT_STEP";

#[test]
#[ignore = "the process that is killed, started by the test below"]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let at: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let count = AtomicUsize::new(0);
    let step = |_: &str| {
        if count.fetch_add(1, Ordering::SeqCst) == at {
            Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
        }
    };
    Repository::open(Path::new(&dir)).unwrap().collect_in_steps(&step).unwrap();
}

#[test]
fn packing_anew_that_is_killed_at_any_step_loses_nothing() {
    for at in 0.. {
        let world = World::new();
        for version in 1..=3 {
            world.publish(&version.to_string(), &mostly_new(version));
        }
        world.repository.remove(&"dep:thing@1".parse().unwrap()).unwrap();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "collect::child_that_is_killed", "--ignored"])
            .env(DIR, world.repository.root())
            .env(STEP, at.to_string())
            .output()
            .unwrap();
        let was_killed = ended.status.signal() == Some(9);
        assert!(was_killed || ended.status.success(), "{ended:?}");
        for version in 2..=3 {
            let place = tempfile::tempdir_in(world.dir.path()).unwrap();
            let place = Place::open(place.path()).unwrap();
            let installed =
                install(&place, &world.sources(), &format!("dep:thing@{version}"), Verify::Record);
            assert_eq!(read(&installed.unwrap().dir), mostly_new(version), "step {at}");
        }
        world.repository.collect().unwrap();
        assert_eq!(world.repository.verify().unwrap(), Vec::<String>::new(), "step {at}");
        assert_eq!(world.repository.collect().unwrap().files, 0, "step {at}");
        if !was_killed {
            assert!(at >= 6, "only {at} steps");
            break;
        }
    }
}
