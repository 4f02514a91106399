//! What is moved, and from where.

use crate::drive::{World, install, nodes, publish, read};
use crate::web::{Manner, Web};
use muster_package::exclude::Exclude;
use muster_package::own::{About, InstallOptions, Kind, Place, Repository, Sources, Tree, Verify};
use std::fs;
use std::path::PathBuf;

fn place(world: &World, name: &str) -> Place {
    Place::open(&world.path(name)).unwrap()
}

#[test]
fn what_has_not_changed_is_not_fetched_again() {
    let world = World::new();
    let web = Web::serve(world.repository.root(), Manner::Good);
    world.publish("1", &nodes(1));
    let sources = Sources::new(vec![web.source()]);
    let cold = install(&world.place, &sources, "dep:thing", Verify::Record).unwrap();
    assert_eq!(read(&cold.dir), nodes(1));
    assert!(cold.moved.traffic.bytes > 500_000, "{:?}", cold.moved);

    let sources = Sources::new(vec![web.source()]);
    let same = install(&world.place, &sources, "dep:thing", Verify::Record).unwrap();
    assert_eq!(same.moved.files_kept, 44);
    assert_eq!(same.moved.traffic.requests, 0, "{:?}", same.moved);

    let upload = world.publish("2", &nodes(2));
    assert!(upload.chunks_new <= 3, "{upload:?}");
    let sources = Sources::new(vec![web.source()]);
    let warm = install(&world.place, &sources, "dep:thing", Verify::Record).unwrap();
    assert_eq!(read(&warm.dir), nodes(2));
    assert_eq!(warm.moved.files_written, 3, "the two that changed, and the empty one: {:?}", warm.moved);
    assert!(warm.moved.traffic.bytes * 3 < cold.moved.traffic.bytes * 2, "{:?}", warm.moved);
    // Both are there, and each is right.
    assert!(world.place.verify(&cold.package).unwrap().is_empty());
    assert!(world.place.verify(&warm.package).unwrap().is_empty());
    // Back to the first: all of it is there.
    let sources = Sources::new(vec![web.source()]);
    let back = install(&world.place, &sources, "dep:thing@1", Verify::Record).unwrap();
    assert_eq!((back.moved.files_kept, back.moved.traffic.requests), (44, 0), "{:?}", back.moved);
}

#[test]
fn a_package_is_copied_from_one_repository_to_another() {
    let world = World::new();
    world.publish("1", &nodes(1));
    world.publish("2", &nodes(2));
    let other = Repository::create(&world.path("other")).unwrap();
    for package in world.repository.list().unwrap() {
        other.copy(&world.sources(), &package).unwrap();
    }
    assert_eq!(other.list().unwrap(), world.repository.list().unwrap());
    let place = place(&world, "place-2");
    let sources = Sources::new(vec![other.source()]);
    let installed = install(&place, &sources, "dep:thing@2", Verify::Record).unwrap();
    assert_eq!(read(&installed.dir), nodes(2));
}

#[test]
fn a_version_is_published_once() {
    let world = World::new();
    world.publish("1", &nodes(1));
    assert!(world.publish("1", &nodes(1)).is_known);
    let tree = Tree { dir: world.path("tree-1"), exclude: Exclude::default() };
    fs::write(world.path("tree-1/none"), "some").unwrap();
    let about = About { version: "1".to_owned(), ..About::new(Kind::Dep, "thing") };
    let said = world.repository.build(&tree, about).unwrap_err().to_string();
    assert!(said.starts_with("dep:thing@1 is published already, as "), "{said}");
}

#[test]
fn what_nobody_can_reach_is_collected_and_nothing_else() {
    let world = World::new();
    world.publish("1", &nodes(1));
    world.publish("2", &nodes(2));
    assert_eq!(world.repository.collect().unwrap().files, 0);
    assert_eq!(world.repository.prune(1).unwrap().removed.len(), 1);
    let gone = world.repository.collect().unwrap();
    assert_eq!(gone.files, 3, "a manifest, a map and a patch; the pack of the first is of use to the second");
    assert_eq!(read(&world.install("dep:thing").unwrap().dir), nodes(2));
    world.repository.remove(&"dep:thing".parse().unwrap()).unwrap();
    world.repository.collect().unwrap();
    let left: Vec<PathBuf> = ["packs", "maps", "manifests", "patches", "incoming"]
        .iter()
        .flat_map(|d| fs::read_dir(world.repository.root().join(d)).unwrap())
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn what_is_used_is_not_taken_away() {
    let world = World::new();
    let mut used = Vec::new();
    for version in 1..=4 {
        world.publish(&version.to_string(), &nodes(version));
        used.push(world.install("dep:thing").unwrap());
    }
    world.place.collect(0).unwrap();
    assert!(used.iter().all(|i| i.dir.is_dir()));
    used.truncate(1);
    world.place.collect(0).unwrap();
    let left: Vec<_> = world.place.list().unwrap().into_iter().map(|e| e.package.version).collect();
    assert_eq!(left.len(), 3, "the one that is used, the current one and the last: {left:?}");
    assert!(!left.contains(&"2".to_owned()));
    drop(used);
    world.place.collect(0).unwrap();
    assert_eq!(world.place.list().unwrap().len(), 2);
}

#[test]
fn a_cache_of_the_same_host_serves_another_place() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let first = world.install("dep:thing").unwrap();
    let second = place(&world, "place-2");
    let sources = world.sources();
    let options = InstallOptions { cache: Some(&world.place), ..InstallOptions::default() };
    let installed = second.install(&first.package, &sources, options).unwrap();
    assert_eq!(read(&installed.dir), nodes(1));
    assert_eq!(installed.moved.files_written, 1, "the empty file: {:?}", installed.moved);
}

#[test]
fn hooks_are_run_and_a_failing_one_leaves_what_was_there() {
    let world = World::new();
    let build = |version: &str, install: &str, check: &str| {
        let dir = world.path(version);
        crate::drive::write(&dir, &nodes(1));
        let tree = Tree { dir, exclude: Exclude::default() };
        let (install, check) = (install.to_owned(), check.to_owned());
        let about = About { version: version.to_owned(), install, check, ..About::new(Kind::Dep, "thing") };
        world.repository.build(&tree, about).unwrap();
    };
    build("1", "echo made > made", "test -f made && test -d \"$MUSTER_PACKAGE_DIR\"");
    let first = world.install("dep:thing").unwrap();
    assert_eq!(fs::read_to_string(first.dir.join("made")).unwrap(), "made\n");
    assert_eq!(world.install("dep:thing").unwrap().moved.files_kept, 44);
    build("2", "", "echo it needs more than this machine has; exit 3");
    let said = world.install("dep:thing").unwrap_err().to_string();
    assert!(said.contains("check hook of `dep:thing@2` failed: it needs more"), "{said}");
    assert_eq!(fs::read_link(world.path("place/dep/thing")).unwrap().file_name(), first.dir.file_name());
}

#[test]
fn two_installers_at_once_get_the_same_and_different_packages() {
    let world = World::new();
    for version in 1..=3 {
        world.publish(&version.to_string(), &nodes(version));
    }
    std::thread::scope(|scope| {
        for n in 0..9_u64 {
            let world = &world;
            scope.spawn(move || {
                let version = n % 3 + 1;
                let installed = world.install(&format!("dep:thing@{version}")).unwrap();
                assert_eq!(read(&installed.dir), nodes(version));
            });
        }
    });
    assert_eq!(fs::read_dir(world.path("place/incoming")).unwrap().count(), 0);
}

#[test]
fn what_does_not_fit_leaves_what_was_there() {
    // A file system of 6 MB, where it may be made.
    let world = World::new();
    let small = world.path("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m", "none"])
        .arg(&small)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(mounted.is_ok_and(|m| m.success()), "needs the right to mount a tmpfs");
    let done = std::panic::catch_unwind(|| {
        world.publish("1", &nodes(1));
        let place = Place::open(&small).unwrap();
        let first = install(&place, &world.sources(), "dep:thing", Verify::Record).unwrap();
        let big = crate::drive::Nodes::from([(
            b"big".to_vec(),
            crate::drive::file(crate::drive::noise(8 << 20, 1)),
        )]);
        publish(&world.repository, &world.path("big"), "2", &big);
        let said = install(&place, &world.sources(), "dep:thing", Verify::Record).unwrap_err().to_string();
        assert!(said.contains("bytes free, and"), "{said}");
        assert!(place.verify(&first.package).unwrap().is_empty());
        assert_eq!(fs::read_link(small.join("dep/thing")).unwrap().file_name(), first.dir.file_name());
    });
    let unmounted = std::process::Command::new("umount").arg(&small).status().unwrap();
    assert!(unmounted.success());
    done.unwrap();
}
