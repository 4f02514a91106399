//! Repositories behind `ssh`, with a real `sshd` on loopback for each test.

use crate::sshd::Host;
use crate::world::{built, files, limits, published};
use muster_package::autotest::{
    Autodir, Cache, Checksums, How, Location, Options, Put, Sources, remove, upload, verify,
};
use std::fs;
use std::path::Path;

const FILE: &str = "test-x.tar.bz2";

fn location(host: &Host, name: &str) -> Location {
    host.address(name).parse().unwrap()
}

fn sums(repository: &Path) -> Checksums {
    Checksums::read(&fs::read(repository.join("packages.checksum")).unwrap()).unwrap().0
}

#[test]
fn a_repository_behind_ssh_is_written_read_and_emptied() {
    let host = Host::new();
    // What a shell could take for something else.
    let name = "it's a $(repository)";
    let (repository, at) = (host.path(name), location(&host, name));
    files(&host.path("from"), &[("x.py", "1")]);
    let package = built("test:x", &host.path("from"), &host.path("out"));
    let file = [host.path("out").join(FILE)];
    let put = || upload(&at, &file, 0, &limits()).unwrap();
    assert_eq!(put(), [(FILE.to_owned(), Put::Moved)]);
    assert_eq!(put(), [(FILE.to_owned(), Put::Unchanged)]);
    let mut names: Vec<_> = fs::read_dir(&repository).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["packages.checksum", FILE]);
    assert_eq!(sums(&repository).get(FILE), Some(package.md5));
    assert_eq!(verify(&at, &sums(&repository), &limits()).unwrap(), []);

    let autodir = Autodir::open(&host.path("autotest")).unwrap();
    let install = || {
        let mut from = Sources::new([at.clone()], limits());
        autodir.install(&"test:x".parse().unwrap(), &mut from, &Options::default()).unwrap()
    };
    assert_eq!((install().how, install().how), (How::New, How::Unchanged));

    remove(&at, FILE, false, &limits()).unwrap();
    assert!(
        !repository.join(FILE).exists() && sums(&repository).is_empty(),
        "the file too, not the entry alone"
    );
    assert!(remove(&at, FILE, false, &limits()).is_err());
}

/// Row 12 on a host that is not this one: entries come from two sides at once.
#[test]
fn row_12_packagers_on_two_hosts_lose_nothing() {
    let host = Host::new();
    let (repository, at) = (host.path("r"), location(&host, "r"));
    published(&repository, "test:first", "1");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..10 {
                published(&repository, &format!("test:here{n}"), "1");
            }
        });
        for n in 0..3 {
            let name = format!("there{n}");
            files(&host.path(&name), &[("x.py", "1")]);
            built(&format!("test:{name}"), &host.path(&name), &host.path("out"));
            upload(&at, &[host.path("out").join(format!("test-{name}.tar.bz2"))], 0, &limits()).unwrap();
        }
    });
    assert_eq!(sums(&repository).len(), 14);
    assert_eq!(verify(&at, &sums(&repository), &limits()).unwrap(), []);
}

#[test]
fn without_a_list_only_what_changed_moves() {
    let host = Host::new();
    published(&host.path("r"), "test:x", "1");
    fs::remove_file(host.path("r/packages.checksum")).unwrap();
    let cache = Cache::open(&host.path("cache")).unwrap();
    let fetch = || Sources::new([location(&host, "r")], limits()).fetch(FILE, &cache).unwrap().moved;
    assert_eq!((fetch(), fetch()), (true, false));
}

#[test]
fn a_host_that_is_not_known_is_not_spoken_to() {
    let host = Host::new();
    fs::write(host.path("known_hosts"), "").unwrap();
    files(&host.path("from"), &[("x.py", "1")]);
    built("test:x", &host.path("from"), &host.path("out"));
    let file = [host.path("out").join(FILE)];
    let why = upload(&location(&host, "r"), &file, 0, &limits()).unwrap_err().to_string();
    assert!(why.contains("Host key verification failed"), "{why}");
    let cache = Cache::open(&host.path("cache")).unwrap();
    let why = Sources::new([location(&host, "r")], limits()).fetch(FILE, &cache).unwrap_err().to_string();
    assert!(why.contains("Host key verification failed"), "{why}");
    assert!(host.connections() > 0, "it was there");
}
