//! Damage × place: whatever is flipped, cut or lost is noticed, healed from elsewhere or told, and never
//! installed.

use crate::drive::{World, install, nodes, read, source};
use muster_package::exclude::Exclude;
use muster_package::own::{Manifest, Place, Repository, Sources, Verify};
use std::fs;
use std::path::{Path, PathBuf};

/// All files of a repository that are fetched.
fn objects(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from("packages.jsonl")];
    for dir in ["manifests", "maps", "packs", "patches"] {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            all.push(Path::new(dir).join(entry.unwrap().file_name()));
        }
    }
    all.sort();
    all
}

const DAMAGES: [&str; 4] = ["flipped", "cut", "gone", "empty"];

fn damage(file: &Path, how: &str) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    match how {
        "flipped" => bytes[middle] ^= 0x10,
        "cut" => bytes.truncate(middle),
        "gone" => return fs::remove_file(file).unwrap(),
        _ => bytes.clear(),
    }
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for dir in ["manifests", "maps", "packs", "patches", "incoming"] {
        fs::create_dir_all(to.join(dir)).unwrap();
    }
    for object in objects(from).into_iter().chain(["muster-repository.toml".into()]) {
        fs::copy(from.join(&object), to.join(&object)).unwrap();
    }
}

#[test]
fn every_damage_of_a_repository_is_healed_from_its_mirror_or_told() {
    let world = World::new();
    world.publish("1", &nodes(1));
    world.publish("2", &nodes(2));
    let before = world.install("dep:thing@1").unwrap();
    let (mut healed, mut told) = (0, 0);
    for object in objects(world.repository.root()) {
        for how in DAMAGES {
            let bad = tempfile::tempdir_in(world.dir.path()).unwrap();
            copy(world.repository.root(), bad.path());
            damage(&bad.path().join(&object), how);
            for (has_mirror, has_old) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut all = vec![source(bad.path())];
                if has_mirror {
                    all.push(world.repository.source());
                }
                let sources = Sources::new(all);
                let dir = tempfile::tempdir_in(world.dir.path()).unwrap();
                let place = Place::open(dir.path()).unwrap();
                if has_old {
                    install(&place, &world.sources(), "dep:thing@1", Verify::Record).unwrap();
                }
                let which = format!("{} {how}, mirror {has_mirror}, old {has_old}", object.display());
                match install(&place, &sources, "dep:thing@2", Verify::Record) {
                    Ok(installed) => {
                        assert_eq!(read(&installed.dir), nodes(2), "{which}");
                        healed += 1;
                    }
                    Err(error) => {
                        assert!(!has_mirror, "{which}: {error}");
                        told += 1;
                        let names = place.list().unwrap();
                        assert!(
                            names.iter().all(|e| e.package.version == "1"),
                            "{which}: nothing bad is there"
                        );
                        assert_eq!(names.len(), usize::from(has_old), "{which}: what was there stays");
                    }
                }
            }
        }
    }
    assert!(healed > 50 && told > 20, "{healed} healed, {told} told");
    drop(before);
}

#[test]
fn a_repository_says_what_of_it_is_damaged_and_is_mended_by_publishing_again() {
    let world = World::new();
    world.publish("1", &nodes(1));
    assert_eq!(world.repository.verify().unwrap(), Vec::<String>::new());
    for object in objects(world.repository.root()) {
        if object.starts_with("packages.jsonl") {
            continue;
        }
        for how in DAMAGES {
            let bad = tempfile::tempdir_in(world.dir.path()).unwrap();
            copy(world.repository.root(), bad.path());
            damage(&bad.path().join(&object), how);
            let repository = Repository::open(bad.path()).unwrap();
            let which = format!("{} {how}", object.display());
            assert_ne!(repository.verify().unwrap(), Vec::<String>::new(), "{which}");
            repository.drop_damaged().unwrap();
            crate::drive::publish(
                &repository,
                &bad.path().join("../tree-1"),
                "1",
                &crate::drive::Nodes::new(),
            );
            assert_eq!(repository.verify().unwrap(), Vec::<String>::new(), "{which}");
        }
    }
}

/// What is done to something installed, in words and in deed.
type Spoil<'a> = (&'a str, Box<dyn Fn() + 'a>);

#[test]
fn every_damage_of_what_is_installed_is_noticed_and_mended() {
    let world = World::new();
    world.publish("1", &nodes(1));
    let dir = world.install("dep:thing").unwrap().dir;
    let spoil: Vec<Spoil<'_>> = vec![
        (
            "changed",
            Box::new(|| {
                fs::remove_file(dir.join("dir1/file1")).unwrap();
                fs::write(dir.join("dir1/file1"), "other").unwrap();
            }),
        ),
        (
            "changed in place, with its times",
            Box::new(|| {
                use std::os::unix::fs::PermissionsExt as _;
                let path = dir.join("dir1/file5");
                let (bytes, meta) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap());
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                fs::write(&path, vec![b'x'; bytes.len()]).unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.set_modified(meta.modified().unwrap()).unwrap();
            }),
        ),
        ("gone", Box::new(|| fs::remove_file(dir.join("dir2/file2")).unwrap())),
        ("extra", Box::new(|| fs::write(dir.join("dir3/__pycache__"), "x").unwrap())),
        (
            "a link in place of a file",
            Box::new(|| {
                fs::remove_file(dir.join("none")).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", dir.join("none")).unwrap();
            }),
        ),
        (
            "a link elsewhere",
            Box::new(|| {
                fs::remove_file(dir.join("link")).unwrap();
                std::os::unix::fs::symlink("/etc", dir.join("link")).unwrap();
            }),
        ),
        ("a directory gone", Box::new(|| fs::remove_dir_all(dir.join("dir0")).unwrap())),
        (
            "a directory is a link",
            Box::new(|| {
                fs::remove_dir_all(dir.join("void")).unwrap();
                std::os::unix::fs::symlink("/tmp", dir.join("void")).unwrap();
            }),
        ),
        ("an empty directory gone", Box::new(|| fs::remove_dir(dir.join("void/deep")).unwrap())),
        ("all of it gone", Box::new(|| fs::remove_dir_all(&dir).unwrap())),
        (
            "its record cut",
            Box::new(|| {
                let record =
                    fs::read_dir(world.path("place/records")).unwrap().next().unwrap().unwrap().path();
                let bytes = fs::read(&record).unwrap();
                fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
                fs::write(dir.join("extra"), "x").unwrap();
            }),
        ),
        (
            "its manifest flipped",
            Box::new(|| {
                let file =
                    fs::read_dir(world.path("place/manifests")).unwrap().next().unwrap().unwrap().path();
                damage(&file, "flipped");
                fs::write(dir.join("extra"), "x").unwrap();
            }),
        ),
    ];
    for (what, spoil) in spoil {
        spoil();
        let mended = world.install("dep:thing").unwrap();
        assert_eq!(read(&mended.dir), nodes(1), "{what}");
        let again = world.install("dep:thing").unwrap();
        assert_eq!(again.moved.files_kept, 44, "{what}: and then it is as recorded");
    }
}

/// A corpus of manifests that are not what they should be, kept beside the tests.
#[test]
fn hostile_manifests_are_refused() {
    use muster_package::own::{About, Entry, Kind, TreePath, What};
    let empty = |path: &str| Entry {
        path: TreePath::new(path).unwrap(),
        what: What::File { executable: false, pieces: Vec::new() },
    };
    let manifest = |entries: Vec<Entry>| Manifest {
        about: About::new(Kind::Dep, "thing"),
        chunking: muster_package::own::Chunking::default(),
        entries,
    };
    let refused = |entries| Manifest::decode(&manifest(entries).encode()).unwrap_err();
    assert!(Manifest::decode(&manifest(vec![empty("a")]).encode()).is_ok());
    assert!(refused(vec![empty("b"), empty("a")]).contains("out of order"));
    assert!(refused(vec![empty("a"), empty("a")]).contains("twice"));
    assert!(refused(vec![empty("a"), empty("a/b")]).contains("no directory"));
    // What the types do not let us write is written by hand: one path in place of another of its length.
    let bytes = manifest(vec![empty("aaaaaaaa/passwd")]).encode();
    for bad in ["../../../passwd", "/etc/aaa/passwd", "aaaa//aa/passwd", "aaaaa/./passwd", "aaaaaaaa/passw\0"]
    {
        let swapped = replace(&bytes, b"aaaaaaaa/passwd", bad.as_bytes());
        assert_ne!(swapped, bytes);
        assert!(Manifest::decode(&swapped).is_err(), "{bad}");
    }
    let mut link = manifest(vec![Entry {
        path: TreePath::new("a").unwrap(),
        what: What::Link {
            to: muster_package::own::LinkTarget::new(&TreePath::new("a").unwrap(), "bbbb").unwrap(),
        },
    }])
    .encode();
    link = replace(&link, b"bbbb", b"../b");
    assert!(Manifest::decode(&link).unwrap_err().contains("leads out"));
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
#[ignore = "writes the corpus, where the format has changed"]
fn write_the_corpus() {
    use crate::drive::{Nodes, file, write};
    use muster_package::own::{About, Kind, Tree, build};
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own/corpus");
    let odd = Nodes::from([
        (b"-rf".to_vec(), file("1")),
        (b"a b\n/\xff\xfe".to_vec(), file("")),
        (b"a/b/c/d".to_vec(), crate::drive::Node::Link(b"../../../-rf".to_vec())),
    ]);
    for (name, nodes) in [("empty", Nodes::new()), ("odd", odd), ("usual", nodes(1))] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &nodes);
        let about = About {
            version: "1.0".to_owned(),
            deps: vec!["dep:lib@2".parse().unwrap(), "profiler:perf".parse().unwrap()],
            platform: "labels.os == 'linux'".to_owned(),
            ..About::new(Kind::Test, "corpus")
        };
        let tree = Tree { dir: dir.path().to_owned(), exclude: Exclude::default() };
        fs::write(corpus.join(name), build(&tree, about).unwrap().bytes).unwrap();
    }
}

#[test]
fn mutated_manifests_are_read_or_refused_and_never_more() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own/corpus");
    let mut count = 0;
    for entry in fs::read_dir(&corpus).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        Manifest::decode(&bytes).unwrap();
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below.max(1)
        };
        for _ in 0..4_000 {
            let mut mutated = bytes.clone();
            for _ in 0..1 + random(4) {
                if mutated.is_empty() {
                    break;
                }
                let at = random(mutated.len());
                match random(4) {
                    0 => mutated[at] ^= 1 << random(8),
                    1 => mutated[at] = [0, 0x7f, 0x80, 0xff][random(4)],
                    2 => drop(mutated.remove(at)),
                    _ => mutated.truncate(at.max(1)),
                }
            }
            if let Ok(manifest) = Manifest::decode(&mutated) {
                assert_eq!(manifest.encode(), mutated, "there is one way to write a manifest");
                count += 1;
            }
        }
    }
    assert!(count > 0, "some mutations are good manifests of other packages");
}
