//! What is installed in one place is given to another as a repository gives it, and believed as little.

use crate::drive::{World, nodes, noise, read};
use muster_package::own::{InstallOptions, Lender, NotHad, Place, Source, Sources};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// What is installed in a place, as a source.
fn source_of(place: &Place) -> Source {
    let lender = Arc::new(Lender::new(place.clone()));
    Source::through("peer", "a peer", move |name, part| {
        let lent = lender.open(name, part.clone());
        let lent = lent.map_err(|e| NotHad { why: e.to_string(), may_pass: false })?;
        Ok(lent.map(|lent| {
            assert!(part.is_none_or(|part| part == lent.part), "it is the part that was asked for");
            lent.bytes
        }))
    })
}

#[test]
fn a_package_comes_from_a_place_as_from_a_repository() {
    let world = World::new();
    let mut tree = nodes(1);
    // Several frames, one of them of a chunk that is longer than most.
    tree.insert(b"much".to_vec(), crate::drive::file(noise(5_000_000, 3)));
    let first = world.publish("1", &tree).package;
    let second = world.publish("2", &nodes(2)).package;
    world.install("dep:thing@1").unwrap();

    let other = Place::open(&world.path("other")).unwrap();
    let sources = Sources::new(vec![source_of(&world.place)]);
    let known = sources.known(first.digest).unwrap();
    assert_eq!(known, first);
    let installed = other.install(&known, &sources, InstallOptions::default()).unwrap();
    assert_eq!(read(&installed.dir), tree);
    assert!(installed.moved.traffic.bytes > 5_000_000);
    assert!(sources.known(second.digest).is_err(), "what is not installed is not there");
    // One that needs some of it only asks for that.
    let third = Place::open(&world.path("third")).unwrap();
    let both = Sources::new(vec![source_of(&world.place), world.repository.source()]);
    third.install(&second, &both, InstallOptions::default()).unwrap();
    third.install(&first, &both, InstallOptions::default()).unwrap();
    let of_each = both.traffic_of_each();
    assert!(of_each[0].1.bytes > 5_000_000 && of_each[0].1.bytes < 6_500_000, "{of_each:?}");
}

fn spoil(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(file, bytes).unwrap();
}

/// A file, and what becomes of it.
type Spoiler = (&'static str, fn(&mut Vec<u8>));

#[test]
fn what_was_changed_in_a_place_is_noticed_by_whoever_fetches_and_had_from_elsewhere() {
    let spoilers: [Spoiler; 4] = [
        ("dir2/file2", |bytes| bytes[3] ^= 1),
        ("dir2/file2", Vec::clear),
        ("long", |bytes| bytes.truncate(400_000)),
        ("long", |bytes| bytes[500_000] ^= 1),
    ];
    for (name, spoiler) in spoilers {
        let world = World::new();
        let package = world.publish("1", &nodes(1)).package;
        let there = world.install("dep:thing").unwrap();
        spoil(&there.dir.join(name), spoiler);
        let other = Place::open(&world.path("other")).unwrap();
        let alone = Sources::new(vec![source_of(&world.place)]);
        let failed = other.install(&package, &alone, InstallOptions::default());
        assert!(failed.is_err(), "{name}");
        assert!(other.list().unwrap().is_empty(), "{name}: nothing of it is installed");
        let with_help = Sources::new(vec![source_of(&world.place), world.repository.source()]);
        let installed = other.install(&package, &with_help, InstallOptions::default()).unwrap();
        assert_eq!(read(&installed.dir), nodes(1), "{name}");
        assert!(!with_help.troubles().is_empty(), "{name}: and it is told");
    }
}

#[test]
fn what_a_link_leads_to_is_not_given() {
    for name in ["dir2/file2", "dir2"] {
        let world = World::new();
        let package = world.publish("1", &nodes(1)).package;
        let there = world.install("dep:thing").unwrap();
        let (linked, outside) = (there.dir.join(name), world.path("outside"));
        // It is what it should be, so nothing but the link is wrong with it.
        fs::rename(&linked, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &linked).unwrap();
        let other = Place::open(&world.path("other")).unwrap();
        let alone = Sources::new(vec![source_of(&world.place)]);
        assert!(other.install(&package, &alone, InstallOptions::default()).is_err(), "{name}");
    }
}
