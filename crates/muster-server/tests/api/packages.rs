//! The store of packages: read as a repository is, filled piece by piece, and tidied up without taking from runs.

use crate::asking_again::submit;
use crate::site::{Site, run_id};
use muster_api::trust::Trust;
use muster_api::{Client, ClientError, PrunePackages};
use muster_core::digest::Digest;
use muster_package::exclude::Exclude;
use muster_package::own::{
    About, Address, ChunkId, Kind, PackageError, Published, Reach, Repository, Source, Sources, Taker, Tree,
};
use std::fs::File;
use std::path::Path;

struct Far<'a>(&'a Client);

fn heard<T>(answer: Result<T, ClientError>) -> Result<T, PackageError> {
    answer.map_err(|e| PackageError::Asked(format!("{}: {e}", e.code().unwrap_or_default())))
}

impl Taker for Far<'_> {
    fn lacking(&self, chunks: &[ChunkId]) -> Result<Vec<ChunkId>, PackageError> {
        let ids: Vec<_> = chunks.iter().map(|id| id.0).collect();
        Ok(heard(self.0.lacking_chunks(&ids))?.into_iter().map(ChunkId).collect())
    }

    fn put_pack(&self, pack: Digest, index: &[u8], file: &File, bytes: u64) -> Result<(), PackageError> {
        heard(self.0.put_pack(pack, index, file, bytes))
    }

    fn put_manifest(&self, manifest: Digest, packed: &[u8]) -> Result<(), PackageError> {
        heard(self.0.put_manifest(manifest, packed))
    }
}

/// Makes `dep:thing` of a folder with some files, of which one says the version.
fn make(dir: &Path, version: &str) -> (Published, Sources) {
    let tree = dir.join(format!("tree-{version}"));
    std::fs::create_dir_all(&tree).unwrap();
    for n in 0..20 {
        std::fs::write(tree.join(format!("f{n}")), format!("{n}\n").repeat(200)).unwrap();
    }
    std::fs::write(tree.join("version"), version).unwrap();
    let repository = Repository::create(&dir.join("own")).unwrap();
    let about = About { version: version.to_owned(), ..About::new(Kind::Dep, "thing") };
    let package = repository.make(&Tree { dir: tree, exclude: Exclude::default() }, about).unwrap();
    (package, Sources::new(vec![repository.source()]))
}

#[test]
fn a_package_is_brought_published_and_read_by_the_reader_of_every_repository() {
    let site = Site::with_runs(1);
    let client = Client::new(&site.url(), &Trust::default()).unwrap();
    let (first, own) = make(site.dir.path(), "1");
    let pushed = own.push(&first, &Far(&client)).unwrap();
    assert_eq!((pushed.chunks, pushed.chunks_sent), (21, 21));
    assert!(!client.publish_package(first.digest).unwrap().known);
    assert!(client.publish_package(first.digest).unwrap().known);
    let (second, own) = make(site.dir.path(), "2");
    assert_eq!(own.push(&second, &Far(&client)).unwrap().chunks_sent, 1);
    let done = client.publish_package(second.digest).unwrap();
    assert_eq!((done.name.package.as_str(), done.known), ("dep:thing@2", false));

    // As a plain repository behind a URL, and as a folder that was copied.
    let url = format!("{}/api/v1/packages", site.url());
    let by_http =
        Sources::new(vec![Source::at(Address::Web(url), &Reach::new(site.dir.path().join("git"))).unwrap()]);
    let folder = Sources::new(vec![Source::dir(site.dir.path().join("packages"))]);
    for there in [&by_http, &folder] {
        let found: Vec<_> = there.list().unwrap().into_iter().map(|found| found.package).collect();
        assert_eq!(found, [first.clone(), second.clone()]);
        there.verify(&first).unwrap();
        there.verify(&second).unwrap();
    }
    // What an older version has is told as a patch of it.
    let patch = site.get(&format!("/api/v1/packages/patches/{}-{}", second.digest, first.digest));
    assert_eq!(patch.status, 200);

    // Ranges, and their ends.
    let path = format!("/api/v1/packages/maps/{}", first.digest);
    let whole = site.get(&path);
    let part = site.ask("GET", &path, &[("range", "bytes=3-9")], b"");
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[3..10]));
    assert_eq!(
        site.ask("GET", &path, &[("range", "bytes=9999999-")], b"").json()["code"],
        "range-not-satisfiable"
    );
    let other = [("range", "bytes=3-9"), ("if-range", "\"another\"")];
    assert_eq!(site.ask("GET", &path, &other, b"").status, 200);

    // Taken off the list, then away.
    assert_eq!(client.prune_packages(PrunePackages { keep: 1 }).unwrap().removed[0].package, "dep:thing@1");
    assert!(client.collect_packages().unwrap().files > 0);
    assert_eq!(site.get(&path).json()["code"], "no-such-package");
    client.remove_package(second.digest).unwrap();
    let gone = client.remove_package(second.digest).unwrap_err();
    assert_eq!(gone.code(), Some("no-such-package"));
}

#[test]
fn what_is_wrong_is_refused_with_a_code_and_nothing_of_it_is_kept() {
    let site = Site::with_runs(1);
    let digest = "ab".repeat(32);
    let ask = |method: &str, path: &str, body: &[u8]| {
        let answer = site.ask(method, &format!("/api/v1/packages/{path}"), &[], body);
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        (answer.status, code)
    };
    for (method, path, body, status, code) in [
        ("GET", "other.txt".to_owned(), &b""[..], 404, "no-such-package"),
        ("GET", "lock".to_owned(), b"", 404, "no-such-package"),
        ("GET", "packs/..%2f..%2frecords%2fmuster.db".to_owned(), b"", 404, "no-such-package"),
        ("GET", format!("packs/{digest}"), b"", 404, "no-such-package"),
        ("GET", format!("patches/{digest}"), b"", 404, "no-such-package"),
        ("POST", "lacking".to_owned(), b"short", 400, "bad-body"),
        ("PUT", format!("packs/{digest}"), b"x", 400, "bad-query"),
        ("PUT", format!("packs/{digest}?index=0"), b"x", 400, "bad-query"),
        ("PUT", format!("packs/{digest}?index=99999999999"), b"x", 400, "bad-query"),
        ("PUT", format!("packs/{digest}?index=4"), b"index and pack", 422, "bad-package"),
        ("PUT", format!("packs/{digest}?index=4000"), b"shorter than its index", 422, "bad-package"),
        ("PUT", "packs/x?index=4".to_owned(), b"x", 400, "bad-digest"),
        ("PUT", format!("manifests/{digest}"), b"no manifest", 422, "bad-package"),
        ("PUT", format!("published/{digest}"), b"", 404, "no-such-package"),
        ("DELETE", format!("published/{digest}"), b"", 404, "no-such-package"),
    ] {
        assert_eq!(ask(method, &path, body), (status, code.to_owned()), "{method} {path}");
    }
    for dir in ["packages/packs", "packages/manifests", "packages.incoming"] {
        assert_eq!(std::fs::read_dir(site.dir.path().join(dir)).unwrap().count(), 0, "{dir}");
    }
}

#[test]
fn a_manifest_whose_chunks_are_not_there_waits_for_them() {
    let site = Site::with_runs(1);
    let client = Client::new(&site.url(), &Trust::default()).unwrap();
    let (package, _) = make(site.dir.path(), "1");
    let packed = std::fs::read(site.dir.path().join(format!("own/manifests/{}", package.digest))).unwrap();
    let refused = client.put_manifest(package.digest, &packed).unwrap_err();
    assert_eq!(refused.code(), Some("chunks-lacking"));
    assert!(refused.to_string().contains("needs 21 chunks"), "{refused}");
}

#[test]
fn a_run_that_needs_nothing_of_the_store_does_not_wait_until_it_is_tidied_up() {
    let site = Site::with_runs(1);
    let lock = File::options().write(true).open(site.dir.path().join("packages/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let client = || Client::new(&site.url(), &Trust::default()).unwrap();
    std::thread::scope(|scope| {
        let tidies = scope.spawn(|| client().collect_packages());
        // So that it has begun, and waits for the lock.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let answered = client().submit(run_id(2), &submit("area"));
        drop(lock);
        assert_eq!(answered.unwrap().number, 2);
        tidies.join().unwrap().unwrap();
    });
}
