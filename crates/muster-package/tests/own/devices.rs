//! Packages on devices that have a shell and `tar`: what is moved, what is mended, what a lost connection leaves.

use crate::drive::{Node, World, file, nodes, read};
use crate::far::{Cut, Device};
use muster_core::digest::Digest;
use muster_package::own::{Delivered, DevicePlace, PackageError};
use std::fs;
use std::path::Path;

const SUMS: [&str; 5] = ["sha256sum", "md5sum", "cksum", "readlink", "dd"];

fn package(world: &World, version: &str, seed: u64) -> Digest {
    world.publish(version, &nodes(seed));
    world.install(&format!("dep:thing@{version}")).unwrap().package.digest
}

fn deliver(device: &Device, world: &World, packages: &[Digest]) -> Result<Vec<Delivered>, PackageError> {
    DevicePlace::open(device, &world.place)?.install(packages)
}

fn one(device: &Device, world: &World, package: Digest) -> Delivered {
    let mut all = deliver(device, world, &[package]).unwrap_or_else(|e| panic!("{e}: {e:?}"));
    all.pop().unwrap()
}

/// Makes what is installed writable, as who tests as root has it anyhow.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_device_is_brought_what_it_lacks_whatever_it_has_to_read_with() {
    let all = [&SUMS[..], &["sha256sum"], &["md5sum", "readlink"], &["cksum"], &[]];
    for (at, programs) in all.into_iter().map(Some).chain([None]).enumerate() {
        let world = World::new();
        let (v1, v2) = (package(&world, "1", 1), package(&world, "2", 2));
        let dir = world.path(&format!("device{at}"));
        let device = programs.map_or_else(|| Device::busybox(&dir), |more| Device::new(&dir, more));
        let first = one(&device, &world, v1);
        assert_eq!(read(Path::new(&first.dir)), nodes(1), "{programs:?}");
        assert_eq!((first.files_brought, first.files_taken), (first.files, 0));
        // Nothing changed: nothing is brought, and but for the questions nothing is sent.
        let again = one(&device, &world, v1);
        assert_eq!((again.files_brought, again.files_taken, again.damage.len()), (0, 0, 0), "{programs:?}");
        if again.read_by.is_some() {
            assert_eq!(again.bytes_sent, 0, "{programs:?}");
        }
        // Two files differ.
        let second = one(&device, &world, v2);
        assert_eq!(read(Path::new(&second.dir)), nodes(2));
        assert_eq!((second.files_brought, second.files_taken), (2, second.files - 2), "{programs:?}");
        let has_dd = programs.is_none_or(|programs| programs.contains(&"dd"));
        assert_eq!(second.files_patched, usize::from(has_dd), "{programs:?}: the long one");
        assert_eq!(read(Path::new(&first.dir)), nodes(1), "the version before stays");
        let reads_here = programs == Some(&[]);
        assert_eq!(device.pulled.get() > 0, reads_here, "{programs:?}");
        let list = DevicePlace::open(&device, &world.place).unwrap().list().unwrap();
        let shown: Vec<_> = list.iter().map(|e| (e.package.digest, e.is_current, e.is_last)).collect();
        assert_eq!(shown, [(v2, true, false), (v1, false, true)]);
    }
}

/// A long file of which little is new: what moves is what is new, whatever it was put between, and holes do not.
#[test]
fn of_a_long_file_only_what_changed_is_sent() {
    let world = World::new();
    let long = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = crate::drive::noise(8 << 20, 3);
        bytes[2 << 20..4 << 20].fill(0);
        change(&mut bytes);
        let mut all = nodes(1);
        all.insert(b"dir1/it's long".to_vec(), Node::File { executable: true, bytes });
        all
    };
    let versions = [
        long(&|_| ()),
        long(&|bytes| bytes[5_000_000] ^= 1),
        long(&|bytes| drop(bytes.splice(1_000_000..1_000_000, *b"put in"))),
        // Another beginning, another end, and a hole that grows.
        long(&|bytes| {
            drop(bytes.drain(..300_000));
            bytes.extend(crate::drive::noise(100_000, 4));
            bytes[3 << 20..5 << 20].fill(0);
        }),
    ];
    let packages: Vec<Digest> = versions
        .iter()
        .enumerate()
        .map(|(at, nodes)| {
            world.publish(&at.to_string(), nodes);
            world.install(&format!("dep:thing@{at}")).unwrap().package.digest
        })
        .collect();
    let with_dd = [Device::new(&world.path("one"), &SUMS), Device::busybox(&world.path("two"))];
    for (at, device) in with_dd.iter().enumerate() {
        for (package, nodes) in packages.iter().zip(&versions) {
            let made = one(device, &world, *package);
            assert_eq!(read(Path::new(&made.dir)), *nodes, "{at}: {made:?}");
            if *package != packages[0] {
                assert_eq!((made.files_brought, made.files_patched), (1, 1), "{at}: {made:?}");
                assert!(made.bytes_sent < 2 << 20, "{at}: less than a quarter: {made:?}");
            }
        }
    }
    // Where there is no `dd`, or one that is none, all of it is brought.
    let bad = ["", "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho something else\n"];
    for (at, dd) in bad.iter().enumerate() {
        let device = Device::new(&world.path(&format!("bad{at}")), &SUMS);
        let file = world.path(&format!("bad{at}/bin/dd"));
        fs::remove_file(&file).unwrap();
        if !dd.is_empty() {
            fs::write(&file, dd).unwrap();
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        one(&device, &world, packages[0]);
        let made = one(&device, &world, packages[1]);
        assert_eq!(read(Path::new(&made.dir)), versions[1], "{dd}");
        assert_eq!((made.files_brought, made.files_patched), (1, 0), "{dd}: {made:?}");
        assert!(made.bytes_brought >= 8 << 20, "{dd}: {made:?}");
    }
}

#[test]
fn damage_is_found_by_reading_and_mended() {
    let world = World::new();
    let v1 = package(&world, "1", 1);
    let device = Device::busybox(&world.path("device"));
    let dir = one(&device, &world, v1).dir;
    let tree = Path::new(&dir);
    let record = device.packages().join("records").join(v1.to_string());
    let damages: [(&str, &dyn Fn()); 9] = [
        ("a byte", &|| overwrite(&tree.join("dir1/file1"), &b"file 0\n".repeat(50))),
        ("a file that is gone", &|| fs::remove_file(tree.join("none")).unwrap()),
        ("a mode", &|| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o444)).unwrap();
        }),
        ("a link", &|| {
            fs::remove_file(tree.join("link")).unwrap();
            std::os::unix::fs::symlink("none", tree.join("link")).unwrap();
        }),
        ("something else", &|| fs::write(tree.join("dir2/.more"), "").unwrap()),
        ("a directory that is gone", &|| fs::remove_dir(tree.join("void/deep")).unwrap()),
        ("a directory that is a link", &|| {
            fs::rename(tree.join("dir3"), device.packages().join("dir3")).unwrap();
            std::os::unix::fs::symlink(device.packages().join("dir3"), tree.join("dir3")).unwrap();
        }),
        ("a record that says something else", &|| overwrite(&record, b"echo end\n")),
        ("no record", &|| fs::remove_file(&record).unwrap()),
    ];
    for (what, damage) in damages {
        damage();
        let mended = one(&device, &world, v1);
        assert_eq!(read(tree), nodes(1), "{what}");
        let is_of_record = what.contains("record");
        assert_eq!(mended.damage.is_empty(), is_of_record, "{what}: {:?}", mended.damage);
        assert!(mended.files_brought <= mended.files - 30, "{what}: what is right stays");
        let again = one(&device, &world, v1);
        assert_eq!((again.bytes_sent, again.damage.len()), (0, 0), "{what}");
    }
}

#[test]
fn a_connection_that_is_lost_at_any_step_leaves_what_was_there_and_the_next_install_makes_it_whole() {
    let world = World::new();
    let (v1, v2) = (package(&world, "1", 1), package(&world, "2", 2));
    for has_old in [true, false] {
        for how in [Cut::Before, Cut::Within, Cut::After] {
            let mut at = 0;
            loop {
                let dir = tempfile::tempdir().unwrap();
                let device = Device::new(dir.path(), &SUMS);
                if has_old {
                    one(&device, &world, v1);
                }
                device.calls.set(0);
                device.cut.set(Some((at, how)));
                let ended = deliver(&device, &world, &[v2]);
                let was_cut = ended.is_err();
                device.cut.set(None);
                let told = format!("{has_old} {how:?} {at}");
                let tree = |digest: Digest| device.packages().join(format!("trees/{digest}"));
                if has_old {
                    assert_eq!(read(&tree(v1)), nodes(1), "{told}");
                }
                // A package that is there is there whole.
                if tree(v2).exists() {
                    assert_eq!(read(&tree(v2)), nodes(2), "{told}");
                }
                let name = device.packages().join("names/dep-thing");
                if let Ok(name) = fs::read_to_string(&name) {
                    let current: Digest = name.split_whitespace().next().unwrap().parse().unwrap();
                    assert!(tree(current).exists(), "{told}: a name leads to what is there");
                }
                let made = one(&device, &world, v2);
                assert_eq!(read(Path::new(&made.dir)), nodes(2), "{told}");
                let incoming: Vec<_> = fs::read_dir(device.packages().join("incoming")).unwrap().collect();
                assert!(incoming.is_empty(), "{told}: {incoming:?} is left");
                if !was_cut {
                    break;
                }
                at += 1;
            }
            assert!(at >= 8, "only {at} calls");
        }
    }
}

#[test]
fn what_came_before_the_connection_was_lost_is_not_brought_again() {
    let world = World::new();
    let mut large = nodes(1);
    for n in 0..5_u64 {
        large.insert(format!("large{n}").into_bytes(), file(crate::drive::noise(9 << 20, n)));
    }
    world.publish("9", &large);
    let v9 = world.install("dep:thing@9").unwrap().package.digest;
    let device = Device::new(&world.path("device"), &SUMS);
    // Behind the second part.
    let mut at = 6;
    loop {
        device.calls.set(0);
        device.cut.set(Some((at, Cut::Before)));
        deliver(&device, &world, &[v9]).unwrap_err();
        let left = device.packages().join("incoming");
        let here = fs::read_dir(left).unwrap().next().unwrap().unwrap().path();
        if here.join(v9.to_string()).join("large1").exists() {
            break;
        }
        at += 1;
    }
    device.cut.set(None);
    let made = one(&device, &world, v9);
    assert!(made.files_taken > 0 && made.files_brought < made.files, "{made:?}");
    assert!(made.bytes_brought < 5 * (9 << 20), "{made:?}");
    assert_eq!(read(Path::new(&made.dir)), large);
}

#[test]
fn what_arrives_damaged_is_not_installed() {
    let world = World::new();
    let (v1, v2) = (package(&world, "1", 1), package(&world, "2", 2));
    let device = Device::new(&world.path("device"), &SUMS);
    let old = one(&device, &world, v1);
    device.spoils.set(true);
    let error = deliver(&device, &world, &[v2]).unwrap_err();
    assert_eq!(read(Path::new(&old.dir)), nodes(1), "{error}");
    assert!(!device.packages().join(format!("trees/{v2}")).exists());
    device.spoils.set(false);
    one(&device, &world, v2);
}

#[test]
fn two_hosts_that_install_at_once_leave_what_both_wanted() {
    let world = World::new();
    let packages = [package(&world, "1", 1), package(&world, "2", 2)];
    let dir = world.path("device");
    Device::new(&dir, &SUMS);
    for round in 0..4 {
        let _old = fs::remove_dir_all(dir.join("root of it"));
        std::thread::scope(|scope| {
            for at in 0..4_usize {
                let (dir, repository) = (&dir, &world.repository);
                scope.spawn(move || {
                    // Another host has another place.
                    let place = dir.join(format!("host{round}-{at}"));
                    let place = muster_package::own::Place::open(&place).unwrap();
                    let sources = muster_package::own::Sources::new(vec![repository.source()]);
                    let version = at % 2 + 1;
                    let verify = muster_package::own::Verify::Record;
                    let thing = format!("dep:thing@{version}");
                    let package = crate::drive::install(&place, &sources, &thing, verify).unwrap();
                    let device = Device::at(dir);
                    let far = DevicePlace::open(&device, &place).unwrap();
                    let made = far.install(&[package.package.digest]).unwrap_or_else(|e| panic!("{e:?}"));
                    assert_eq!(read(Path::new(&made[0].dir)), nodes(version as u64));
                });
            }
        });
        let device = Device::at(&dir);
        for (at, digest) in packages.iter().enumerate() {
            let tree = device.packages().join(format!("trees/{digest}"));
            assert_eq!(read(&tree), nodes(at as u64 + 1));
        }
        let list = DevicePlace::open(&device, &world.place).unwrap().list().unwrap();
        assert_eq!(list.iter().filter(|e| e.is_current).count(), 1, "{list:?}");
    }
}

#[test]
fn room_is_made_by_what_nobody_needs_and_what_is_used_stays() {
    let world = World::new();
    let all: Vec<Digest> = (1..=5).map(|n| package(&world, &n.to_string(), n)).collect();
    let device = Device::new(&world.path("device"), &SUMS);
    for digest in &all[..3] {
        one(&device, &world, *digest);
    }
    let tree = |n: usize| device.packages().join(format!("trees/{}", all[n])).exists();
    DevicePlace::open(&device, &world.place).unwrap().hold("a job", &all[..1]).unwrap();
    one(&device, &world, all[3]);
    // The fourth is current, the third was so before, the first is used.
    let gone = DevicePlace::open(&device, &world.place).unwrap().collect().unwrap();
    assert_eq!(gone.iter().map(|p| p.digest).collect::<Vec<_>>(), [all[1]]);
    assert_eq!([0, 1, 2, 3].map(tree), [true, false, true, true]);
    DevicePlace::open(&device, &world.place).unwrap().hold("a job", &[]).unwrap();

    // A device that is full says so; then as much is taken away as is needed and no more, and what is to be
    // replaced stays until it is.
    let full = |free: u64| {
        let bin = world.path("device/bin/df");
        let _old = fs::remove_file(&bin);
        let line = format!(
            "#!/bin/sh\necho head\n[ -e '{}' ] && echo 'a 1 1 {free} 1% /' || echo 'a 1 1 999999 1% /'\n",
            device.packages().join(format!("trees/{}", all[0])).display()
        );
        fs::write(&bin, line).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    };
    full(3);
    let made = one(&device, &world, all[4]);
    assert_eq!(made.evicted.iter().map(|p| p.digest).collect::<Vec<_>>(), [all[0]], "{made:?}");
    assert_eq!(read(Path::new(&made.dir)), nodes(5));
    assert_eq!([2, 3, 4].map(tree), [true, true, true]);
}

#[test]
fn a_full_device_keeps_what_works_and_says_how_much_is_needed() {
    let world = World::new();
    let (v1, v2) = (package(&world, "1", 1), package(&world, "2", 2));
    let device = Device::new(&world.path("device"), &SUMS);
    let old = one(&device, &world, v1);
    let bin = world.path("device/bin/df");
    fs::remove_file(&bin).unwrap();
    fs::write(&bin, "#!/bin/sh\necho 'a 1 1 2 1% /'\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    let error = deliver(&device, &world, &[v2]).unwrap_err();
    assert!(matches!(error, PackageError::NoRoom { free: 2048, .. }), "{error:?}");
    assert_eq!(read(Path::new(&old.dir)), nodes(1));
    assert_eq!(one(&device, &world, v1).bytes_sent, 0, "it is used as it is");
}

#[test]
fn odd_names_arrive_as_they_are() {
    let world = World::new();
    let mut odd = nodes(3);
    for name in [
        &b"-rf"[..],
        b"a b",
        b"$x",
        b"it's",
        b"back\\slash",
        b"new\nline",
        b"*",
        b" ",
        b"d*r/[x]",
        b"\xff\xfe",
    ] {
        odd.insert(name.to_vec(), Node::File { executable: true, bytes: name.to_vec() });
        odd.insert([b"link to ", name].concat(), Node::Link(name.to_vec()));
    }
    odd.insert([&b"deep/".repeat(40)[..], &b"n".repeat(200)].concat(), file("long"));
    odd.insert(b"dangling".to_vec(), Node::Link(b"nothing\n\n".to_vec()));
    world.publish("odd", &odd);
    let digest = world.install("dep:thing@odd").unwrap().package.digest;
    for (at, device) in
        [Device::new(&world.path("one"), &SUMS), Device::busybox(&world.path("two"))].iter().enumerate()
    {
        let made = one(device, &world, digest);
        assert_eq!(read(Path::new(&made.dir)), odd, "{at}");
        let again = one(device, &world, digest);
        assert_eq!((again.bytes_sent, again.damage.len()), (0, 0), "{at}: {again:?}");
    }
}
