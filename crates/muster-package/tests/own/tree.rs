//! A folder, its package, and the folder again.

use crate::drive::{Node, Nodes, World, file, nodes, noise, read, write};
use muster_package::exclude::Exclude;
use muster_package::own::{About, Kind, PackageError, Tree, build};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

fn digest(dir: &std::path::Path) -> String {
    let tree = Tree { dir: dir.to_owned(), exclude: Exclude::default() };
    build(&tree, About::new(Kind::Dep, "thing")).unwrap().manifest.digest().to_string()
}

#[test]
fn what_is_installed_is_what_was_packed() {
    let world = World::new();
    let nodes = nodes(1);
    world.publish("1", &nodes);
    let installed = world.install("dep:thing").unwrap();
    assert_eq!(read(&installed.dir), nodes);
    assert_eq!(read(&world.path("place/dep/thing")), nodes, "by its name, too");
    assert_eq!(installed.moved.files_written, 44);
}

#[test]
fn single_files_are_picked_and_hardly_more_is_fetched() {
    let world = World::new();
    let mut nodes = nodes(1);
    nodes.insert(b"large".to_vec(), file(noise(6 << 20, 5)));
    let package = world.publish("1", &nodes).package;
    let pick = |wanted: &[u8], to: &str| {
        let sources = world.sources();
        let to = world.path(to);
        let picked = sources.pick(&package, |entry| entry.path.bytes() == wanted, &to).unwrap();
        assert_eq!(picked, read(&to).len());
        (read(&to), sources.traffic().bytes)
    };
    let (large, all) = pick(b"large", "got-large");
    assert!(large == Nodes::from([(b"large".to_vec(), nodes[&b"large"[..]].clone())]));
    for (nth, (path, node)) in nodes.iter().filter(|(path, _)| *path != b"large").enumerate() {
        let (got, bytes) = pick(path, &format!("got-{nth}"));
        assert_eq!(got, Nodes::from([(path.clone(), node.clone())]));
        assert!(bytes * 2 < all, "{bytes} of {all}");
    }
    assert_eq!(pick(b"absent", "got-absent").0, Nodes::new());
}

#[test]
fn a_folder_is_the_same_package_whenever_and_however_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    write(&first, &nodes(1));
    // In another order, at another time, with another umask.
    for (path, node) in nodes(1).into_iter().rev() {
        write(&second, &Nodes::from([(path, node)]));
    }
    for entry in fs::read_dir(&second).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.is_symlink() {
            let mode = fs::metadata(&path).unwrap().mode();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o700)).unwrap();
            let opened = fs::File::options().write(true).open(&path).unwrap();
            opened.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        }
    }
    assert_eq!(digest(&first), digest(&second));
    fs::write(second.join("none"), "x").unwrap();
    assert_ne!(digest(&first), digest(&second));
}

#[test]
fn the_digest_of_a_package_is_a_promise() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &nodes(1));
    assert_eq!(digest(dir.path()), "d453f26ab5088444089404918abb2852df83fb6bf79d76f0f0b79cb804ae5c24");
}

#[test]
fn holes_are_holes_again_wherever_they_came_from() {
    let world = World::new();
    let tree = world.path("tree-1");
    fs::create_dir(&tree).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise(100_000, 1), 20 << 20).unwrap();
    let written = fs::read(tree.join("sparse")).unwrap();
    let of_sparse = digest(&tree);
    world.publish("1", &Nodes::new());
    let installed = world.install("dep:thing").unwrap();
    let meta = fs::metadata(installed.dir.join("sparse")).unwrap();
    assert_eq!(fs::read(installed.dir.join("sparse")).unwrap(), written);
    assert!(meta.blocks() * 512 < 2 << 20, "{} blocks for 100 kB of data", meta.blocks());
    // Zeros that were written are the same as zeros that never were.
    fs::write(tree.join("sparse"), &written).unwrap();
    assert_eq!(digest(&tree), of_sparse);
}

#[test]
fn what_cannot_be_in_a_package_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |make: &dyn Fn(&std::path::Path)| {
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        make(&tree.join("bad"));
        let built =
            build(&Tree { dir: tree.clone(), exclude: Exclude::default() }, About::new(Kind::Dep, "thing"));
        fs::remove_dir_all(&tree).unwrap();
        match built {
            Err(PackageError::Unpackable { path, why }) => format!("{path} {why}"),
            other => panic!("{other:?}"),
        }
    };
    let link = |to: &'static str| refused(&move |at| std::os::unix::fs::symlink(to, at).unwrap());
    assert_eq!(link("/etc/passwd"), "bad it is a link with an absolute path");
    assert_eq!(link("../x"), "bad it is a link that leads out of the package");
    let pipe = |at: &std::path::Path| {
        let made = std::process::Command::new("mkfifo").arg(at).status().unwrap();
        assert!(made.success());
    };
    assert_eq!(refused(&pipe), "bad it is a device, a pipe or a socket");
    let setuid = |at: &std::path::Path| {
        fs::write(at, "").unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o4755)).unwrap();
    };
    assert_eq!(refused(&setuid), "bad it is set-user-id or set-group-id");
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    // Any bytes but `/` and NUL, often such as shells and archives stumble over.
    let odd =
        prop::sample::select(vec![" ", "-", "--", "\n", "a b", "\\", "*", "é", "%2e", "...", "\t", "'"]);
    prop_oneof![
        odd.prop_map(|s| s.as_bytes().to_vec()),
        prop::collection::vec(prop_oneof![1_u8..=46, 48_u8..=255], 1..12),
    ]
    .prop_filter("a name", |n| {
        n != b"." && n != b".." && n != b".git" && n != b".pack_exclude" && n != b".muster"
    })
}

fn node() -> impl Strategy<Value = Node> {
    let bytes = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..200),
        (0_u64..4, 120_000_usize..400_000).prop_map(|(seed, len)| noise(len, seed)),
        (0_usize..300_000).prop_map(|len| vec![0; len]),
    ];
    prop_oneof![
        6 => (any::<bool>(), bytes).prop_map(|(executable, bytes)| Node::File { executable, bytes }),
        1 => name().prop_map(Node::Link),
        1 => Just(Node::Dir),
    ]
}

fn any_nodes() -> impl Strategy<Value = Nodes> {
    prop::collection::vec((prop::collection::vec(name(), 1..4), node()), 0..20).prop_map(|all| {
        let mut nodes = Nodes::new();
        for (names, node) in all {
            let path = names.join(&b'/');
            let below = [&path[..], b"/"].concat();
            let clashes = nodes.keys().any(|k: &Vec<u8>| {
                *k == path || k.starts_with(&below) || path.starts_with(&[&k[..], b"/"].concat())
            });
            if !clashes {
                nodes.insert(path, node);
            }
        }
        nodes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_folder_comes_back_as_it_was(first in any_nodes(), second in any_nodes()) {
        let world = World::new();
        world.publish("1", &first);
        prop_assert_eq!(read(&world.install("dep:thing").unwrap().dir), first.clone());
        // And from one to another, with what the first has of it.
        let mut both = second;
        for (path, node) in first {
            let below = [&path[..], b"/"].concat();
            let clashes = both.keys().any(|k| {
                *k == path || k.starts_with(&below) || path.starts_with(&[&k[..], b"/"].concat())
            });
            if !clashes {
                both.insert(path, node);
            }
        }
        world.publish("2", &both);
        prop_assert_eq!(read(&world.install("dep:thing@2").unwrap().dir), both);
    }
}

#[test]
fn exclusions_are_anchored_at_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = Nodes::from([
        (b"deps/a".to_vec(), file("1")),
        (b"lib/deps/b".to_vec(), file("2")),
        (b"lib/x.pyc".to_vec(), file("3")),
        (b".git/HEAD".to_vec(), file("4")),
    ]);
    write(dir.path(), &nodes);
    let tree = Tree { dir: dir.path().to_owned(), exclude: Exclude::new(["deps/*", "**/*.pyc"]).unwrap() };
    let built = build(&tree, About::new(Kind::Dep, "thing")).unwrap();
    let paths: Vec<_> = built.manifest.entries.iter().map(|e| e.path.to_string()).collect();
    assert_eq!(paths, ["deps", "lib/deps/b"], "the directory that was emptied is there, and empty");
}
