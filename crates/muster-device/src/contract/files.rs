//! Promises about files.

use super::{Place, cases, run, said, soon};
use crate::device::{Command, Device, Exit, Kind};
use crate::error::DeviceError;
use crate::tree::Moved;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

cases![
    files_arrive_to_the_byte,
    names_are_free,
    a_file_is_read_from_an_offset,
    a_file_is_replaced_whole,
    a_file_that_is_not_there_is_an_error,
    a_file_without_a_directory_is_an_error_and_does_no_harm,
    a_file_does_not_take_the_place_of_a_directory,
    a_file_that_becomes_shorter_is_an_error_and_does_no_harm,
    directories_tell_what_is_in_them,
    paths_tell_what_they_lead_to,
    directories_are_made_with_those_above,
    what_is_removed_is_gone,
    a_link_is_removed_and_not_followed,
    programs_can_be_pushed_and_run,
    trees_go_there_and_come_back,
    a_file_goes_into_a_directory,
];

fn bytes(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|n| ((n * 31) >> 3) as u8).collect();
    // What looks like the end of an answer, at the end and where it may be read by itself.
    for at in [0, len / 2, len.saturating_sub(3)] {
        if let Some(place) = bytes.get_mut(at..at + 3) {
            place.copy_from_slice(b"$>\0");
        }
    }
    bytes
}

fn files_arrive_to_the_byte(device: &dyn Device) {
    let place = Place::new(device);
    for len in [0, 1, 2, 3, 1023, 1024, 1025, 65_536, 3_000_000] {
        let bytes = bytes(len);
        let path = place.put("f", &bytes);
        assert!(place.get(&path) == bytes, "{len} bytes");
    }
    let path = place.put("command", b"rm f\r\nmkdr oops\r\n");
    assert_eq!(place.get(&path), b"rm f\r\nmkdr oops\r\n");
    assert!(place.files.stat(&place.at("f"), &soon()).unwrap().is_some());
}

fn names_are_free(device: &dyn Device) {
    let place = Place::new(device);
    let names = ["a b", "a,b", "'", "\"", "$x", "ä€", "-n", "#", "<empty>", "a'b\"c d\\", "a=b", ".dot"];
    for name in names {
        let path = place.put(name, name.as_bytes());
        assert_eq!(place.get(&path), name.as_bytes());
        let stat = place.files.stat(&path, &soon()).unwrap().unwrap();
        assert_eq!(stat.kind, Kind::File, "{name}");
    }
    let list = place.files.list(&place.path, &soon()).unwrap();
    let mut found: Vec<&str> = list.iter().map(|e| &*e.name).collect();
    let mut names = names.to_vec();
    found.sort_unstable();
    names.sort_unstable();
    assert_eq!(found, names);
    for name in names {
        place.files.remove(&place.at(name), &soon()).unwrap();
    }
    assert_eq!(place.files.list(&place.path, &soon()).unwrap(), []);
}

fn a_file_is_read_from_an_offset(device: &dyn Device) {
    let place = Place::new(device);
    let path = place.put("f", b"0123456789");
    for (offset, expected) in [(0, "0123456789"), (4, "456789"), (9, "9"), (10, ""), (1 << 40, "")] {
        let mut got = Vec::new();
        let n = place.files.pull(&path, offset, &mut got, &soon()).unwrap();
        assert_eq!((n, &*got), (expected.len() as u64, expected.as_bytes()));
    }
}

fn a_file_is_replaced_whole(device: &dyn Device) {
    let place = Place::new(device);
    place.put("f", &bytes(100_000));
    let path = place.put("f", b"short");
    assert_eq!(place.get(&path), b"short");
}

fn a_file_that_is_not_there_is_an_error(device: &dyn Device) {
    let place = Place::new(device);
    let mut got = Vec::new();
    let error = place.files.pull(&place.at("none"), 0, &mut got, &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::NotFound { .. }), "{error:?}");
    assert!(place.files.pull(&place.path, 0, &mut got, &soon()).is_err());
    assert!(got.is_empty());
    assert!(place.files.list(&place.at("none"), &soon()).is_err());
    assert!(place.files.make_executable(&place.at("none"), &soon()).is_err());
}

fn a_file_without_a_directory_is_an_error_and_does_no_harm(device: &dyn Device) {
    let place = Place::new(device);
    let victim = place.put("victim", b"x");
    // If the rest of a refused file were taken for commands, this one would do harm.
    let hostile = format!("\r\nrm {victim}\r\nexec rm {victim}\r\n").repeat(2000);
    let to = place.at("none/f");
    let push = place.files.push(&mut hostile.as_bytes(), hostile.len() as u64, &to, &soon());
    assert!(matches!(push, Err(DeviceError::NotFound { .. } | DeviceError::Refused { .. })), "{push:?}");
    assert_eq!(place.get(&victim), b"x");
    assert_eq!(said(device, "echo in step"), "in step\n");
}

fn a_file_does_not_take_the_place_of_a_directory(device: &dyn Device) {
    let place = Place::new(device);
    place.files.make_dir(&place.at("d"), &soon()).unwrap();
    assert!(place.files.push(&mut &b"x"[..], 1, &place.at("d"), &soon()).is_err());
    assert_eq!(place.files.stat(&place.at("d"), &soon()).unwrap().unwrap().kind, Kind::Dir);
}

fn a_file_that_becomes_shorter_is_an_error_and_does_no_harm(device: &dyn Device) {
    let place = Place::new(device);
    let path = place.put("f", b"old");
    let error = place.files.push(&mut &b"new"[..], 500_000, &path, &soon()).unwrap_err();
    assert!(matches!(error, DeviceError::Here { .. }), "{error:?}");
    // The device may notice a little later than we do.
    assert_eq!(place.get(&path), b"old");
    assert_eq!(said(device, "echo in step"), "in step\n");
}

fn directories_tell_what_is_in_them(device: &dyn Device) {
    let place = Place::new(device);
    assert_eq!(place.files.list(&place.path, &soon()).unwrap(), []);
    place.put("b", b"12345");
    place.files.make_dir(&place.at("a"), &soon()).unwrap();
    let list = place.files.list(&place.path, &soon()).unwrap();
    let seen: Vec<_> = list.iter().map(|e| (&*e.name, e.stat.kind)).collect();
    assert_eq!(seen, [("a", Kind::Dir), ("b", Kind::File)]);
    assert!(list[1].stat.size.is_none_or(|size| size == 5));
    let error = place.files.list(&place.at("b"), &soon());
    assert!(error.is_err(), "{error:?}");
}

fn paths_tell_what_they_lead_to(device: &dyn Device) {
    let place = Place::new(device);
    let path = place.put("f", b"12345");
    let stat = place.files.stat(&path, &soon()).unwrap().unwrap();
    assert_eq!(stat.kind, Kind::File);
    assert!(stat.size.is_none_or(|size| size == 5));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    // A device's clock may be wrong, but not by a lifetime.
    let age = stat.modified_millis.map(|m| (i128::from(m) - now.cast_signed()).abs());
    assert!(age.is_none_or(|age| age < 1000 * 60 * 60 * 24 * 365 * 80), "{age:?}");
    assert_eq!(place.files.stat(&place.path, &soon()).unwrap().unwrap().kind, Kind::Dir);
    assert_eq!(place.files.stat("/", &soon()).unwrap().unwrap().kind, Kind::Dir);
    assert_eq!(place.files.stat(&place.at("none"), &soon()).unwrap(), None);
    assert_eq!(place.files.stat(&place.at("f/x"), &soon()).unwrap(), None);
}

fn directories_are_made_with_those_above(device: &dyn Device) {
    let place = Place::new(device);
    let deep = place.at("a/b b/c");
    place.files.make_dir(&deep, &soon()).unwrap();
    place.files.make_dir(&deep, &soon()).unwrap();
    assert_eq!(place.files.stat(&deep, &soon()).unwrap().unwrap().kind, Kind::Dir);
    let file = place.put("f", b"");
    assert!(place.files.make_dir(&file, &soon()).is_err());
    assert!(place.files.make_dir(&format!("{file}/d"), &soon()).is_err());
}

fn what_is_removed_is_gone(device: &dyn Device) {
    let place = Place::new(device);
    place.files.make_dir(&place.at("a/b/c"), &soon()).unwrap();
    place.put("a/b/f", b"x");
    place.put("g", b"x");
    for name in ["a", "g"] {
        place.files.remove(&place.at(name), &soon()).unwrap();
        assert_eq!(place.files.stat(&place.at(name), &soon()).unwrap(), None);
        let error = place.files.remove(&place.at(name), &soon()).unwrap_err();
        assert!(matches!(error, DeviceError::NotFound { .. }), "{error:?}");
    }
}

fn a_link_is_removed_and_not_followed(device: &dyn Device) {
    let place = Place::new(device);
    place.files.make_dir(&place.at("kept"), &soon()).unwrap();
    let kept = place.put("kept/f", b"x");
    place.files.make_dir(&place.at("d"), &soon()).unwrap();
    said(device, &format!("ln -s {0}/kept {0}/d/link", place.path));
    place.files.remove(&place.at("d"), &soon()).unwrap();
    assert_eq!(place.get(&kept), b"x");
}

fn programs_can_be_pushed_and_run(device: &dyn Device) {
    let place = Place::new(device);
    let path = place.put("program", b"#!/bin/sh\necho \"$1\"\nexit 6\n");
    place.files.make_executable(&path, &soon()).unwrap();
    let (exit, said) = run(device, &Command::new([&*path, "it runs"]));
    assert_eq!((exit, &*said.stdout), (Exit::Code(6), &b"it runs\n"[..]));
}

fn trees_go_there_and_come_back(device: &dyn Device) {
    let place = Place::new(device);
    let here = std::env::temp_dir().join(format!("{}-here", place.path.rsplit('/').next().unwrap()));
    let (from, back) = (here.join("from"), here.join("back"));
    fs::create_dir_all(from.join("a b/empty")).unwrap();
    fs::write(from.join("a b/f,1"), bytes(70_000)).unwrap();
    fs::write(from.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(from.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("program", from.join("link")).unwrap();
    let moved = place.files.push_path(&from, &place.at("tree"), &soon()).unwrap();
    assert_eq!(moved, Moved { files: 3, dirs: 3, bytes: 70_020, left_out: 0 });
    said(device, &format!("ln -s program {}", place.at("tree/other-link")));
    let moved = place.files.pull_path(&place.at("tree"), &back, &soon()).unwrap();
    assert_eq!((moved.files, moved.dirs, moved.bytes), (3, 3, 70_020));
    assert_eq!(fs::read(back.join("a b/f,1")).unwrap(), bytes(70_000));
    assert!(back.join("a b/empty").is_dir());
    assert_eq!(fs::read(back.join("link")).unwrap(), b"#!/bin/sh\n");
    assert!(!back.join("other-link").exists());
    let mode = fs::metadata(back.join("program")).unwrap().permissions().mode();
    let stat = place.files.stat(&place.at("tree/program"), &soon()).unwrap().unwrap();
    assert!(stat.mode.is_none() || mode & 0o100 != 0);
    fs::remove_dir_all(here).unwrap();
}

fn a_file_goes_into_a_directory(device: &dyn Device) {
    let place = Place::new(device);
    let here = std::env::temp_dir().join(format!("{}-file", place.path.rsplit('/').next().unwrap()));
    fs::create_dir(&here).unwrap();
    fs::write(here.join("f"), b"x").unwrap();
    place.files.push_path(&here.join("f"), &place.path, &soon()).unwrap();
    place.files.push_path(&here.join("f"), &place.at("new/g"), &soon()).unwrap();
    assert_eq!((place.get(&place.at("f")), place.get(&place.at("new/g"))), (b"x".to_vec(), b"x".to_vec()));
    fs::remove_file(here.join("f")).unwrap();
    place.files.pull_path(&place.at("new/g"), &here, &soon()).unwrap();
    place.files.pull_path(&place.at("new/g"), &here.join("h"), &soon()).unwrap();
    assert!(place.files.pull_path(&place.at("none"), &here.join("i"), &soon()).is_err());
    let mut names: Vec<_> = fs::read_dir(&here).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["g", "h"]);
    fs::remove_dir_all(here).unwrap();
}
