//! What the tests share: folders, repositories and places in a directory that goes away.

use muster_package::exclude::Exclude;
use muster_package::own::{
    About, InstallOptions, Installed, Kind, PackageError, Place, Reference, Repository, Source, Sources,
    Tree, Upload, Verify,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Something in a folder, as far as a package keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File { executable: bool, bytes: Vec<u8> },
    Link(Vec<u8>),
    Dir,
}

pub(crate) type Nodes = BTreeMap<Vec<u8>, Node>;

pub(crate) fn file(bytes: impl Into<Vec<u8>>) -> Node {
    Node::File { executable: false, bytes: bytes.into() }
}

/// Writes a folder.
pub(crate) fn write(dir: &Path, nodes: &Nodes) {
    fs::create_dir_all(dir).unwrap();
    for (path, node) in nodes {
        let path = dir.join(OsString::from_vec(path.clone()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::File { executable, bytes } => {
                fs::write(&path, bytes).unwrap();
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            Node::Link(to) => {
                let _absent = fs::remove_file(&path);
                std::os::unix::fs::symlink(OsString::from_vec(to.clone()), &path).unwrap();
            }
            Node::Dir => fs::create_dir_all(&path).unwrap(),
        }
    }
}

/// Reads a folder. Directories are there only where they are empty.
pub(crate) fn read(dir: &Path) -> Nodes {
    let mut nodes = Nodes::new();
    read_into(dir, b"", &mut nodes);
    nodes
}

fn read_into(dir: &Path, above: &[u8], nodes: &mut Nodes) {
    let mut is_empty = true;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        is_empty = false;
        let name = entry.file_name().into_vec();
        let path = if above.is_empty() { name } else { [above, b"/", &name].concat() };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read_into(&entry.path(), &path, nodes);
        } else if kind.is_symlink() {
            nodes.insert(path, Node::Link(fs::read_link(entry.path()).unwrap().into_os_string().into_vec()));
        } else {
            let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            nodes.insert(path, Node::File { executable, bytes: fs::read(entry.path()).unwrap() });
        }
    }
    if is_empty && !above.is_empty() {
        nodes.insert(above.to_vec(), Node::Dir);
    }
}

/// A folder, a repository and a place.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) repository: Repository,
    pub(crate) place: Place,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::create(&dir.path().join("repository")).unwrap();
        let place = Place::open(&dir.path().join("place")).unwrap();
        Self { dir, repository, place }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Publishes a folder of these as `dep:thing`.
    pub(crate) fn publish(&self, version: &str, nodes: &Nodes) -> Upload {
        publish(&self.repository, &self.path(&format!("tree-{version}")), version, nodes)
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources::new(vec![self.repository.source()])
    }

    pub(crate) fn install(&self, what: &str) -> Result<Installed, PackageError> {
        install(&self.place, &self.sources(), what, Verify::Record)
    }
}

pub(crate) fn publish(repository: &Repository, dir: &Path, version: &str, nodes: &Nodes) -> Upload {
    write(dir, nodes);
    let tree = Tree { dir: dir.to_owned(), exclude: Exclude::default() };
    let about = About { version: version.to_owned(), ..About::new(Kind::Dep, "thing") };
    repository.build(&tree, about).unwrap()
}

pub(crate) fn install(
    place: &Place,
    sources: &Sources,
    what: &str,
    verify: Verify,
) -> Result<Installed, PackageError> {
    let wanted: Reference = what.parse().unwrap();
    let found = sources.find(&wanted, &|_| Ok(true))?;
    place.install(&found.package, sources, InstallOptions { verify, ..InstallOptions::default() })
}

pub(crate) fn source(dir: &Path) -> Source {
    Source::dir(dir.to_owned())
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Some small files and a long one.
pub(crate) fn nodes(seed: u64) -> Nodes {
    let mut nodes = Nodes::new();
    for n in 0..40_u64 {
        nodes.insert(format!("dir{}/file{n}", n % 4).into_bytes(), file(format!("file {n}\n").repeat(50)));
    }
    nodes.insert(b"dir1/changed".to_vec(), file(format!("{seed}")));
    nodes.insert(b"run".to_vec(), Node::File { executable: true, bytes: b"#!/bin/sh\n".to_vec() });
    nodes.insert(b"link".to_vec(), Node::Link(b"dir1/changed".to_vec()));
    nodes.insert(b"none".to_vec(), file(""));
    nodes.insert(b"void/deep".to_vec(), Node::Dir);
    let mut long = noise(700_000, 7);
    long[150_000..350_000].fill(0);
    long[600_000] ^= seed as u8;
    nodes.insert(b"long".to_vec(), file(long));
    nodes
}
