//! Packages on a device, by its driver: the same for each of them.

use muster_device::{Captured, Command, Device, Exit, Until};
use muster_package::exclude::Exclude;
use muster_package::own::{
    About, Delivered, DevicePlace, Far, FarError, InstallOptions, Kind, PackageError, Place, Repository,
    Said, Sources, Tree,
};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

struct Reached<'a>(&'a dyn Device);

fn until() -> Until {
    Until::within(Duration::from_secs(600))
}

impl Far for Reached<'_> {
    fn shown(&self) -> String {
        self.0.address().to_owned()
    }

    fn root(&self) -> Result<String, FarError> {
        Ok(self.0.files()?.test_root(&until())?)
    }

    fn run(&self, words: &[&str]) -> Result<Said, FarError> {
        let mut said = Captured::default();
        let command = Command::new(words.iter().copied());
        let Exit::Code(code) = self.0.exec()?.run(&command, &mut said, &until())? else {
            return Err("it was ended".into());
        };
        Ok(Said { code, out: said.stdout, err: said.stderr })
    }

    fn push(&self, from: &mut dyn Read, bytes: u64, to: &str) -> Result<(), FarError> {
        Ok(self.0.files()?.push(from, bytes, to, &until())?)
    }

    fn pull(&self, from: &str, to: &mut dyn Write) -> Result<(), FarError> {
        self.0.files()?.pull(from, 0, to, &until())?;
        Ok(())
    }
}

/// A folder, the packages that were made of it, and a host that has them.
pub(crate) struct World {
    dir: tempfile::TempDir,
    repository: Repository,
    host: Place,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::create(&dir.path().join("repository")).unwrap();
        let host = Place::open(&dir.path().join("host")).unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("it's $x/empty")).unwrap();
        for n in 0..30 {
            fs::write(tree.join(format!("it's $x/{n}")), format!("{n}\n").repeat(n)).unwrap();
        }
        fs::write(tree.join("large"), [7, 0, 255, 10].repeat(100_000)).unwrap();
        std::os::unix::fs::symlink("it's $x/3", tree.join("link")).unwrap();
        fs::write(tree.join("run"), "#!/bin/sh\ncat \"${0%/*}/version\" \"${0%/*}/link\"\n").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(tree.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, repository, host }
    }

    /// Makes a package of it, and brings it to a device.
    pub(crate) fn deliver(&self, version: &str, device: &dyn Device) -> Result<Delivered, PackageError> {
        let tree = self.dir.path().join("tree");
        fs::write(tree.join("version"), format!("{version}\n")).unwrap();
        let about = About { version: version.to_owned(), ..About::new(Kind::Dep, "thing") };
        let package = self.repository.build(&Tree { dir: tree, exclude: Exclude::default() }, about)?.package;
        let sources = Sources::new(vec![self.repository.source()]);
        self.host.install(&package, &sources, InstallOptions::default())?;
        let far = Reached(device);
        Ok(DevicePlace::open(&far, &self.host)?.install(&[package.digest])?.remove(0))
    }

    /// Runs what was brought.
    pub(crate) fn check(&self, version: &str, device: &dyn Device, dir: &str) {
        let said = Reached(device).run(&[&format!("{dir}/run")]).unwrap();
        let text = String::from_utf8_lossy(&said.out).replace('\r', "");
        assert_eq!((said.code, &*text), (0, &*format!("{version}\n3\n3\n3\n")), "{said:?}");
    }
}

/// A device is brought what it lacks, and no more.
pub(crate) fn are_brought(device: &dyn Device) {
    let world = World::new();
    let deliver = |version: &str| world.deliver(version, device).unwrap_or_else(|e| panic!("{e}: {e:?}"));
    let first = deliver("1");
    assert_eq!((first.files_brought, first.files_taken, first.files), (33, 0, 33));
    world.check("1", device, &first.dir);
    let again = deliver("1");
    assert_eq!((again.files_brought, again.bytes_sent, &again.damage[..]), (0, 0, &[][..]), "{again:?}");
    let second = deliver("2");
    assert_eq!((second.files_brought, second.files_taken), (1, 32), "{second:?}");
    world.check("2", device, &second.dir);
    world.check("1", device, &first.dir);
    // What another version has is taken from there, and what none has is brought.
    for (damage, brought) in [("rm -f version", 1), ("echo x > more", 0), ("rm -f run && mkdir run", 0)] {
        let line = format!("cd '{}' && {damage}", second.dir);
        let said = Reached(device).run(&["sh", "-c", &line]).unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        let mended = deliver("2");
        assert_eq!((mended.files_brought, mended.damage.len()), (brought, 1), "{damage}: {mended:?}");
        world.check("2", device, &mended.dir);
    }
}

/// What is at a path of this host is a package of that version, whole.
pub(crate) fn is_whole(dir: &Path, version: &str) -> bool {
    fs::read_to_string(dir.join("version")).is_ok_and(|text| text == format!("{version}\n"))
        && fs::read(dir.join("large")).is_ok_and(|bytes| bytes == [7, 0, 255, 10].repeat(100_000))
}
