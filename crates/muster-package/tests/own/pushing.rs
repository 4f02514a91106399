//! Packages pushed to a repository by what it lacks, and everything that may come in their place.

use crate::drive::{Nodes, World, file, noise, read, write};
use muster_core::digest::Digest;
use muster_package::exclude::Exclude;
use muster_package::own::{
    About, ChunkId, InstallOptions, Kind, PackageError, Published, Repository, Sources, Taker, Tree,
};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A pack that came: its name, its index, its bytes.
type Came = (Digest, Vec<u8>, Vec<u8>);

/// A repository that is pushed to; what came is remembered.
struct Far {
    repository: Repository,
    incoming: PathBuf,
    packs: Mutex<Vec<Came>>,
    manifests: Mutex<Vec<(Digest, Vec<u8>)>>,
    /// Collects once, when the first manifest comes.
    collects: AtomicBool,
}

impl Far {
    fn new(dir: &Path) -> Self {
        let incoming = dir.join("far.incoming");
        std::fs::create_dir_all(&incoming).unwrap();
        Self {
            repository: Repository::create(&dir.join("far")).unwrap(),
            incoming,
            packs: Mutex::default(),
            manifests: Mutex::default(),
            collects: AtomicBool::new(false),
        }
    }

    fn take_pack(&self, pack: Digest, index: &[u8], bytes: &[u8]) -> Result<bool, PackageError> {
        let path = self.incoming.join("pack");
        std::fs::write(&path, bytes).unwrap();
        self.repository.take_pack(pack, index, &path)
    }
}

impl Taker for Far {
    fn lacking(&self, chunks: &[ChunkId]) -> Result<Vec<ChunkId>, PackageError> {
        self.repository.lacking(chunks)
    }

    fn put_pack(&self, pack: Digest, index: &[u8], mut file: &File, bytes: u64) -> Result<(), PackageError> {
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, bytes);
        self.packs.lock().unwrap().push((pack, index.to_vec(), all.clone()));
        self.take_pack(pack, index, &all).map(drop)
    }

    fn put_manifest(&self, manifest: Digest, packed: &[u8]) -> Result<(), PackageError> {
        self.manifests.lock().unwrap().push((manifest, packed.to_vec()));
        if self.collects.swap(false, Ordering::Relaxed) {
            self.repository.collect().unwrap();
        }
        self.repository.take_manifest(manifest, packed).map(drop)
    }
}

fn tree(seed: u64) -> Nodes {
    let mut nodes = Nodes::new();
    for n in 0..40_u64 {
        // One of them differs from version to version.
        let seed = if n == 7 { seed } else { 0 };
        nodes.insert(format!("f{n}").into_bytes(), file(noise(3_000, 100 * seed + n)));
    }
    nodes
}

#[test]
fn only_what_the_other_side_lacks_is_sent_and_it_is_published_when_that_is_said() {
    let world = World::new();
    let far = Far::new(world.dir.path());
    let first = world.publish("1", &tree(1)).package;
    let second = world.publish("2", &tree(2)).package;
    let pushed = world.sources().push(&first, &far).unwrap();
    assert_eq!((pushed.chunks, pushed.chunks_sent), (40, 40));
    let pushed = world.sources().push(&second, &far).unwrap();
    assert_eq!((pushed.chunks, pushed.chunks_sent), (40, 1));
    assert!(pushed.bytes_sent < 8_000, "{}", pushed.bytes_sent);
    let pushed = world.sources().push(&second, &far).unwrap();
    assert_eq!(pushed.chunks_sent, 0, "pushing it again sends nothing");

    // Kept, and on no list; found by its digest all the same.
    assert_eq!(far.repository.list().unwrap(), []);
    let there = Sources::new(vec![far.repository.source()]);
    let known = there.known(second.digest).unwrap();
    assert_eq!(known, second);
    let installed = world.place.install(&known, &there, InstallOptions::default()).unwrap();
    assert_eq!(read(&installed.dir), tree(2));

    // A run needs the first alone: the second goes, and what is published stays.
    let gone = far.repository.collect_but(&[first.digest]).unwrap();
    assert!(gone.files > 0);
    assert!(far.repository.keeps(first.digest) && !far.repository.keeps(second.digest));
    let upload = far.repository.publish_kept(first.digest).unwrap();
    assert!(!upload.is_known && upload.package == first);
    assert!(far.repository.publish_kept(first.digest).unwrap().is_known, "it is the same again");
    far.repository.collect().unwrap();
    assert_eq!(far.repository.list().unwrap(), std::slice::from_ref(&first));
    assert_eq!(far.repository.verify().unwrap(), [""; 0]);
    there_is_all_of(&far, &first);
    let missing = far.repository.publish_kept(second.digest).unwrap_err();
    assert!(matches!(missing, PackageError::Missing { .. }), "{missing}");
}

fn there_is_all_of(far: &Far, package: &Published) {
    Sources::new(vec![far.repository.source()]).verify(package).unwrap();
}

#[test]
fn what_is_taken_away_while_it_is_pushed_is_pushed_again() {
    let world = World::new();
    let far = Far::new(world.dir.path());
    far.collects.store(true, Ordering::Relaxed);
    let package = world.publish("1", &tree(1)).package;
    let pushed = world.sources().push(&package, &far).unwrap();
    assert_eq!((pushed.chunks_sent, far.packs.lock().unwrap().len()), (80, 2));
    there_is_all_of(&far, &package);
}

#[test]
fn another_package_of_the_same_version_is_not_published() {
    let world = World::new();
    let far = Far::new(world.dir.path());
    let first = world.publish("1", &tree(1)).package;
    world.sources().push(&first, &far).unwrap();
    far.repository.publish_kept(first.digest).unwrap();
    let other = Repository::create(&world.path("other")).unwrap();
    write(&world.path("tree"), &tree(2));
    let tree = Tree { dir: world.path("tree"), exclude: Exclude::default() };
    let about = About { version: "1".to_owned(), ..About::new(Kind::Dep, "thing") };
    // Made for a run, it is on no list at home either.
    let made = other.make(&tree, about).unwrap();
    assert_eq!(other.list().unwrap(), []);
    Sources::new(vec![other.source()]).push(&made, &far).unwrap();
    let clash = far.repository.publish_kept(made.digest).unwrap_err();
    assert!(matches!(clash, PackageError::Published { .. }), "{clash}");
    assert_eq!(far.repository.list().unwrap(), [first]);
}

#[test]
fn nothing_that_is_not_what_it_says_is_taken_in() {
    let world = World::new();
    let far = Far::new(world.dir.path());
    let package = world.publish("1", &tree(1)).package;
    world.sources().push(&package, &far).unwrap();
    let (pack, index, bytes) = far.packs.lock().unwrap()[0].clone();
    let (manifest, packed) = far.manifests.lock().unwrap()[0].clone();

    let empty = Far::new(&world.path("empty"));
    // Without its chunks a manifest is not taken.
    let lacking = empty.repository.take_manifest(manifest, &packed).unwrap_err();
    assert!(matches!(lacking, PackageError::Lacking { chunks: 40, .. }), "{lacking}");
    let refused = |taken: Result<bool, PackageError>, what: &str| {
        assert!(matches!(taken, Err(PackageError::Damaged { .. })), "{what}: {taken:?}");
    };
    for at in (0..bytes.len()).step_by(997) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        refused(empty.take_pack(pack, &index, &bad), &format!("byte {at} of the pack"));
        // Also under the name that it then has: its index promises other bytes.
        let name = Digest(*blake3::hash(&bad).as_bytes());
        refused(empty.take_pack(name, &index, &bad), &format!("byte {at} of a renamed pack"));
    }
    for at in (0..index.len()).step_by(97) {
        let mut bad = index.clone();
        bad[at] ^= 1;
        refused(empty.take_pack(pack, &bad, &bytes), &format!("byte {at} of the index"));
    }
    refused(empty.take_pack(pack, &index, &bytes[..bytes.len() - 1]), "a pack that is cut");
    refused(empty.take_pack(pack, &index, &[&bytes[..], b"x"].concat()), "a pack with more behind it");
    refused(empty.take_pack(pack, b"", &bytes), "no index");
    refused(empty.take_pack(Digest([0; 32]), &index, &bytes), "another name");
    for at in 0..packed.len() {
        let mut bad = packed.clone();
        bad[at] ^= 1;
        let taken = far.repository.take_manifest(manifest, &bad).map(drop);
        // Some bits of its frame mean nothing; then it is what it should be.
        assert!(matches!(taken, Ok(()) | Err(PackageError::Damaged { .. })), "byte {at}: {taken:?}");
    }
    let other = far.repository.take_manifest(Digest([1; 32]), &packed).unwrap_err();
    assert!(matches!(other, PackageError::Damaged { .. }), "{other}");
    assert_eq!(std::fs::read_dir(empty.repository.root().join("packs")).unwrap().count(), 0);
    assert!(empty.take_pack(pack, &index, &bytes).unwrap(), "the true one is");
    assert!(!empty.take_pack(pack, &index, &bytes).unwrap(), "and is there then");
    empty.repository.take_manifest(manifest, &packed).unwrap();
    there_is_all_of(&empty, &package);
}
