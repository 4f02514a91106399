//! Fetches a packed area and unpacks it, and the build that goes with it. Hostile until proven otherwise:
//! nothing of it gets outside its directory, and it is what its name says or it is not used.

use super::lend::{self, Lending};
use super::store::lab_store;
use super::{Done, Mail};
use crate::unpack::{self, Tree, UnpackError};
use muster_api::{Client, ClientError};
use muster_core::digest::Digest;
use muster_core::id::RunId;
use muster_core::inputs::{Needed, Package};
use muster_package::own::{Address, InstallOptions, Lease, PackageError, Place, Reach, Reference, Sources};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Tries at fetching, a second apart.
const TRIES: u32 = 5;
#[derive(Debug, Error)]
enum SourceError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("what is packed {0}")]
    Unpack(#[from] UnpackError),
    #[error("what is packed {}", UnpackError::from_io(.0))]
    Io(#[from] io::Error),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("what was to be package `{wanted}` is `{got}`")]
    OtherPackage { wanted: String, got: String },
    #[error("the build has a name that is none: {0:?}")]
    Name(String),
    #[error("what is packed arrived damaged: it should be {wanted} and is {got}")]
    Digest { wanted: Digest, got: Digest },
}

/// Where the host keeps packages, and by what those are known that they are fetched from.
#[derive(Clone, Debug)]
pub(super) struct Packages {
    pub(super) dir: PathBuf,
    pub(super) fetch_ca: Option<PathBuf>,
    /// Other agents, which may have them.
    pub(super) lending: Lending,
}

/// Fetches on a thread of its own, and tells when it is done.
pub(super) fn fetch(
    client: Client,
    run: RunId,
    wanted: Wanted,
    (dir, packages): (PathBuf, Packages),
    mail: Mail,
) {
    let (failed, area) = (mail.clone(), wanted.area);
    let work = move || {
        let mut result = fetch_all(&client, &wanted, &dir, &packages, &mail);
        for _ in 1..TRIES {
            let passes = match &result {
                Ok(_) => false,
                Err(SourceError::Client(e)) => e.may_pass(),
                Err(SourceError::Package(e)) => matches!(e, PackageError::Unreachable { .. }),
                Err(SourceError::Digest { .. } | SourceError::Io(_)) => true,
                Err(SourceError::Unpack(e)) => e.may_pass(),
                Err(SourceError::Name(_) | SourceError::OtherPackage { .. }) => false,
            };
            if !passes {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            result = fetch_all(&client, &wanted, &dir, &packages, &mail);
        }
        mail.send(Done::Fetched(run, wanted.area, result.map_err(|e| e.to_string())));
    };
    if let Err(e) = std::thread::Builder::new().name("fetch".into()).spawn(work) {
        let why = format!("no thread can be started to fetch the packed area: {e}");
        failed.send(Done::Fetched(run, area, Err(why)));
    }
}

/// By what the directory of an unpacked area is known: enough of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source(u64);

impl Source {
    /// Of this packed area.
    pub(super) fn of(area: Digest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = area.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The name of its directory, in that of the run.
    pub(super) fn dir(self) -> String {
        format!("area-{:016x}", self.0)
    }
}

/// The area that is unpacked in a run's directory; of several, the last. It gets its name when it is whole.
pub(super) fn unpacked(run_dir: &Path) -> Option<Source> {
    let entries = fs::read_dir(run_dir).into_iter().flatten().flatten();
    let areas = entries.filter_map(|entry| {
        let name = entry.file_name();
        let digits = name.to_str()?.strip_prefix("area-").filter(|digits| digits.len() == 16)?;
        let source = u64::from_str_radix(digits, 16).ok().map(Source)?;
        let meta = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
        Some((meta.modified().ok()?, source))
    });
    areas.max_by_key(|(at, _)| *at).map(|(_, source)| source)
}

/// What a run needs before anything of it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The packed area.
    pub(super) area: Digest,
    /// What is tested.
    pub(super) build: Option<Package>,
    /// What its tests find installed.
    pub(super) packages: Vec<Needed>,
}

fn fetch_all(
    client: &Client,
    wanted: &Wanted,
    run_dir: &Path,
    packages: &Packages,
    mail: &Mail,
) -> Result<Vec<Lease>, SourceError> {
    if let Some(build) = &wanted.build {
        fetch_build(client, build, run_dir)?;
    }
    // The area is last: a run whose area is there has all that it needs.
    let leases = install(client, &wanted.packages, run_dir, packages, mail)?;
    let body = client.get_blob(wanted.area)?;
    unpack(
        Hashing { inner: body, hash: blake3::Hasher::new() },
        wanted.area,
        &run_dir.join(Source::of(wanted.area).dir()),
    )?;
    Ok(leases)
}

/// Installs what the run's tests are told is there: exactly what whoever asked for the run has found, from the
/// repositories that it named. The host keeps it for the next.
fn install(
    client: &Client,
    needed: &[Needed],
    run_dir: &Path,
    packages: &Packages,
    mail: &Mail,
) -> Result<Vec<Lease>, SourceError> {
    let mut leases = Vec::new();
    if needed.is_empty() {
        return Ok(leases);
    }
    let place = Place::open(&packages.dir)?;
    let there = place.list()?;
    let is_there = |one: &&Needed| there.iter().any(|entry| entry.package.digest == one.digest);
    let lacking = needed.iter().filter(|one| !is_there(one)).map(|one| one.digest).collect();
    let lenders = packages.lending.lenders(lacking);
    for one in needed {
        let exactly = Needed { version: one.digest.to_string(), ..one.clone() };
        // Whatever it was called: what comes of it are paths.
        let wanted: Reference = exactly.title().parse()?;
        // Who is near is asked first. It is believed as little as any repository.
        let near = lenders.iter().filter(|lender| lender.packages.contains(&one.digest));
        let near = Sources::new(near.filter_map(|lender| lend::source(&lender.address)).collect());
        let sources = near.and(sources(client, &one.from, run_dir, packages)?);
        let known = there.iter().find(|entry| entry.package.is(&wanted));
        let package = match known {
            Some(entry) => entry.package.clone(),
            // What was asked for is known by its digest; whether it is published is nothing to this run.
            None => match sources.known(one.digest) {
                Ok(package) => package,
                // Packages of folders in git are made when they are asked for by their names.
                Err(_) => sources.find(&wanted, &|_| Ok(true))?.package,
            },
        };
        if !package.is(&wanted) {
            let (wanted, got) = (wanted.title(), package.title());
            return Err(SourceError::OtherPackage { wanted, got });
        }
        let installed = place.install(&package, &sources, InstallOptions::default())?;
        if installed.moved.files_written > 0 {
            let from = sources.traffic_of_each().into_iter().map(|(place, moved)| (place, moved.bytes));
            mail.send(Done::Installed(package.title(), from.filter(|(_, bytes)| *bytes > 0).collect()));
            packages.lending.changed();
        }
        installed.show_at(&run_dir.join(one.dir()))?;
        leases.push(installed.lease);
    }
    Ok(leases)
}

/// What is at these addresses, as far as this host can reach it.
fn sources(
    client: &Client,
    from: &[String],
    run_dir: &Path,
    packages: &Packages,
) -> Result<Sources, PackageError> {
    let reach = Reach { ca_file: packages.fetch_ca.clone(), ..Reach::new(packages.dir.join("git")) };
    let mut all = Sources::default();
    for text in from {
        let one = if text == Needed::LAB {
            Sources::new(vec![lab_store(client)])
        } else {
            let text = elsewhere(std::slice::from_ref(text));
            Sources::at(text.iter().map(String::as_str), run_dir, &reach)?
        };
        all = all.and(one);
    }
    Ok(all)
}

/// Those of these repositories that are not directories of the host that asked, mirror by mirror.
fn elsewhere(from: &[String]) -> Vec<String> {
    let is_elsewhere =
        |text: &&str| Address::parse(text, Path::new("/")).is_ok_and(|address| address.is_elsewhere());
    let mirrors = from.iter().map(|text| text.split('|').filter(is_elsewhere).collect::<Vec<_>>().join("|"));
    mirrors.filter(|text| !text.is_empty()).collect()
}

/// Puts the build where the run's tests are told it is.
fn fetch_build(client: &Client, build: &Package, run_dir: &Path) -> Result<(), SourceError> {
    if !Package::is_name(&build.name) {
        return Err(SourceError::Name(build.name.clone()));
    }
    let file = run_dir.join(build.file());
    if file.exists() {
        // Of an earlier try: it has its name only when it is whole.
        return Ok(());
    }
    unpack::begin_build(run_dir)?;
    let partial = run_dir.join("build.partial");
    let mut body = Hashing { inner: client.get_blob(build.digest)?, hash: blake3::Hasher::new() };
    io::copy(&mut body, &mut File::create(&partial)?)?;
    body.must_be(build.digest)?;
    Ok(unpack::place_build(&partial, build, run_dir)?)
}

/// Unpacks into a directory beside, which takes the name when it is whole and what it should be.
fn unpack<R: Read>(body: Hashing<R>, source: Digest, dir: &Path) -> Result<(), SourceError> {
    let partial = dir.with_extension("partial");
    let done = unpack_beside(body, source, dir, &partial);
    if done.is_err() {
        // Perhaps the disk is full of it. What cannot be removed now is removed at the next try.
        let _left = fs::remove_dir_all(&partial);
    }
    done
}

fn unpack_beside<R: Read>(
    mut body: Hashing<R>,
    source: Digest,
    dir: &Path,
    partial: &Path,
) -> Result<(), SourceError> {
    for old in [partial, dir] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(partial)?;
    let mut tree = Tree::new(partial);
    tree.add_tar(zstd::Decoder::new(&mut body)?)?;
    // What comes behind the archive's end belongs to the digest too.
    io::copy(&mut body, &mut io::sink())?;
    body.must_be(source)?;
    Ok(fs::rename(partial, dir)?)
}

/// Passes bytes on and keeps their digest.
struct Hashing<R> {
    inner: R,
    hash: blake3::Hasher,
}

impl<R> Hashing<R> {
    /// What was read is what it should be.
    fn must_be(&self, wanted: Digest) -> Result<(), SourceError> {
        let got = Digest(*self.hash.finalize().as_bytes());
        if got == wanted { Ok(()) } else { Err(SourceError::Digest { wanted, got }) }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{EntryType, Header};

    /// A packed tree: type, path, content or target.
    fn packed(members: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (kind, path, content) in members {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            header.set_size(if link { 0 } else { content.len() as u64 });
            // Written by hand: the library would refuse to make what is to be refused.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            if link {
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            if !link {
                tar.extend_from_slice(content.as_bytes());
                tar.resize(tar.len().next_multiple_of(512), 0);
            }
        }
        tar.resize(tar.len() + 1024, 0);
        zstd::encode_all(&tar[..], 1).unwrap()
    }

    fn unpack_here(bytes: &[u8], name: Digest, dir: &Path) -> Result<(), SourceError> {
        unpack(Hashing { inner: bytes, hash: blake3::Hasher::new() }, name, dir)
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn an_area_is_unpacked_whole_with_its_links_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let area = dir.path().join("area");
        let bytes = packed(&[
            (EntryType::Directory, "sub", ""),
            (EntryType::Regular, "sub/run.sh", "#!/bin/sh\n"),
            (EntryType::Symlink, "sub/link", "../muster.toml"),
            (EntryType::Regular, "muster.toml", "[area]"),
        ]);
        unpack_here(&bytes, digest(&bytes), &area).unwrap();
        assert_eq!(fs::read_to_string(area.join("sub/link")).unwrap(), "[area]");
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(area.join("sub/run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn nothing_gets_outside_and_nothing_strange_gets_in() {
        for (kind, path, content) in [
            (EntryType::Regular, "../out", "x"),
            (EntryType::Regular, "a/../../out", "x"),
            (EntryType::Regular, "/tmp/out", "x"),
            (EntryType::Symlink, "link", "/etc/passwd"),
            (EntryType::Symlink, "a/link", "../../out"),
            (EntryType::Link, "hard", "../out"),
            (EntryType::Fifo, "fifo", ""),
            (EntryType::Char, "device", ""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let bytes = packed(&[(EntryType::Regular, "good", "x"), (kind, path, content)]);
            let done = unpack_here(&bytes, digest(&bytes), &dir.path().join("area"));
            assert!(matches!(done, Err(SourceError::Unpack(UnpackError::Member(_)))), "{path}: {done:?}");
            assert!(!dir.path().join("area").exists(), "{path}");
            assert!(!dir.path().join("area.partial").exists(), "{path}: the disk is given back");
            assert!(!dir.path().join("out").exists(), "{path}");
        }
    }

    #[test]
    fn what_is_not_what_its_name_says_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let area = dir.path().join("area");
        let bytes = packed(&[(EntryType::Regular, "good", "x")]);
        let done = unpack_here(&bytes, Digest([0; 32]), &area);
        assert!(matches!(done, Err(SourceError::Digest { .. })), "{done:?}");
        assert!(!area.exists());
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(unpack_here(&bytes[..cut], digest(&bytes), &area).is_err(), "cut at {cut}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing of it is left");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_says_what_the_system_said() {
        let dir = tempfile::tempdir().unwrap();
        // A file where a directory has to be.
        let bytes = packed(&[(EntryType::Regular, "a", "x"), (EntryType::Regular, "a/b", "x")]);
        let error = unpack_here(&bytes, digest(&bytes), &dir.path().join("area")).unwrap_err();
        assert!(error.to_string().contains("os error"), "{error}");
    }
}
