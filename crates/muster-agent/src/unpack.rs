//! Unpacks what comes from outside. Hostile until proven otherwise: nothing gets outside the directory it is
//! unpacked to, no device, no set-user-id bit, and no more than fits.

use flate2::read::MultiGzDecoder;
use muster_core::inputs::{Package, Packing};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, EntryType};
use thiserror::Error;

/// Most bytes that are unpacked to one directory.
// Limit: a few kilobytes can unpack to any number.
const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// Most members of it.
// Limit: empty files cost no bytes, and all the disk's inodes.
const MEMBERS_MAX: u32 = 4_000_000;

/// Why something is not unpacked. Each is the end of a sentence about what is packed.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The system, or the archive is damaged.
    #[error("cannot be unpacked: {}", with_causes(.0))]
    Io(#[from] io::Error),
    /// It holds what is not allowed.
    #[error("holds `{0}`, which is not allowed")]
    Member(String),
    /// It is too large.
    #[error("unpacks to more than {UNPACKED_BYTES_MAX} bytes or {MEMBERS_MAX} files")]
    TooLarge,
}

impl UnpackError {
    /// Whether it may be different at the next try.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Io(_) => true,
            Self::Member(_) | Self::TooLarge => false,
        }
    }

    /// The same sentence about an error of the system.
    pub(crate) fn from_io(error: &io::Error) -> String {
        format!("cannot be unpacked: {}", with_causes(error))
    }
}

/// A directory that is filled.
pub(crate) struct Tree<'a> {
    dir: &'a Path,
    bytes_left: u64,
    members_left: u32,
    /// The directory of the last member, with nothing but directories on the way there.
    plain: PathBuf,
}

/// Makes room for a build in the directory of its run, without what an earlier try left.
///
/// # Errors
/// The directory cannot be written to.
pub fn begin_build(run_dir: &Path) -> io::Result<()> {
    for old in ["build", "build.d"] {
        let old = run_dir.join(old);
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(run_dir)
}

/// Puts a build that was fetched where tests look for it, and unpacks it beside. The file gets its name last,
/// so that it is there only when all of it is.
///
/// # Errors
/// [`UnpackError`]
pub fn place_build(fetched: &Path, build: &Package, run_dir: &Path) -> Result<(), UnpackError> {
    if Packing::of(&build.name) != Packing::Plain {
        unpack(fetched, Packing::of(&build.name), &run_dir.join("build.d"))?;
    }
    fs::create_dir_all(run_dir.join("build"))?;
    Ok(fs::rename(fetched, run_dir.join(build.file()))?)
}

/// Unpacks a file to a directory, which is made. Where this fails nothing of it is left.
///
/// # Errors
/// [`UnpackError`]
pub fn unpack(file: &Path, packing: Packing, dir: &Path) -> Result<(), UnpackError> {
    unpack_at_most(file, packing, dir, UNPACKED_BYTES_MAX)
}

/// The same where there is less room.
///
/// # Errors
/// [`UnpackError`]
pub fn unpack_at_most(file: &Path, packing: Packing, dir: &Path, bytes_max: u64) -> Result<(), UnpackError> {
    fs::create_dir_all(dir)?;
    let done = (|| {
        let file = BufReader::with_capacity(1 << 16, File::open(file)?);
        let mut tree = Tree { bytes_left: bytes_max, ..Tree::new(dir) };
        match packing {
            Packing::Tar => tree.add_tar(file),
            Packing::TarGz => tree.add_tar(MultiGzDecoder::new(file)),
            Packing::TarZst => tree.add_tar(zstd::Decoder::with_buffer(file)?),
            Packing::Zip => tree.add_zip(file.into_inner()),
            Packing::Plain => Err(UnpackError::Io(io::Error::other("it is not packed"))),
        }
    })();
    if done.is_err() {
        // Perhaps the disk is full of it.
        let _left = fs::remove_dir_all(dir);
    }
    done
}

impl<'a> Tree<'a> {
    pub(crate) fn new(dir: &'a Path) -> Self {
        Self { dir, bytes_left: UNPACKED_BYTES_MAX, members_left: MEMBERS_MAX, plain: PathBuf::new() }
    }

    pub(crate) fn add_tar<R: Read>(&mut self, from: R) -> Result<(), UnpackError> {
        let mut archive = Archive::new(from);
        archive.set_preserve_mtime(true);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let refuse = || UnpackError::Member(path.display().to_string());
            let kind = entry.header().entry_type();
            // Archives of whole directories begin with `./`.
            if !(is_inside(&path) || kind == EntryType::Directory && is_here(&path)) {
                return Err(refuse());
            }
            // Behind a link the path says nothing of where it leads.
            if self.is_behind_link(&path)? {
                return Err(refuse());
            }
            match kind {
                EntryType::Regular | EntryType::Directory => {}
                // What `git archive` says of the commit.
                EntryType::XGlobalHeader => continue,
                EntryType::Symlink => {
                    let to = entry.link_name()?.ok_or_else(refuse)?;
                    if !stays_inside(&path, &to) {
                        return Err(refuse());
                    }
                }
                EntryType::Link => {
                    if !entry.link_name()?.is_some_and(|to| is_inside(&to)) {
                        return Err(refuse());
                    }
                }
                _ => return Err(refuse()),
            }
            self.count(entry.size())?;
            if !is_here(&path) && !entry.unpack_in(self.dir)? {
                return Err(refuse());
            }
        }
        Ok(())
    }

    fn add_zip(&mut self, from: File) -> Result<(), UnpackError> {
        let broken = |e: zip::result::ZipError| io::Error::new(io::ErrorKind::InvalidData, e);
        let mut archive = zip::ZipArchive::new(from).map_err(broken)?;
        // Links are made when all else is there, so that nothing is written through one.
        let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            let path = PathBuf::from(&name);
            let refuse = || UnpackError::Member(name.clone());
            if !is_inside(&path) || name.contains('\\') {
                return Err(refuse());
            }
            self.count(entry.size())?;
            let to = self.dir.join(&path);
            if entry.is_dir() {
                fs::create_dir_all(&to)?;
                continue;
            }
            fs::create_dir_all(to.parent().expect("it is inside"))?;
            let mode = entry.unix_mode();
            // The format of the type is that of `stat`.
            match mode.map(|m| m & 0o170_000) {
                Some(0o120_000) => {
                    let mut target = String::new();
                    entry.by_ref().take(4096).read_to_string(&mut target)?;
                    if !stays_inside(&path, Path::new(&target)) {
                        return Err(refuse());
                    }
                    links.push((to, target.into()));
                    continue;
                }
                None | Some(0 | 0o100_000) => {}
                Some(_) => return Err(refuse()),
            }
            let mut file = File::create(&to)?;
            // What it says of its size is counted; it may say anything.
            let size = entry.size();
            if io::copy(&mut entry.by_ref().take(size.saturating_add(1)), &mut file)? > size {
                return Err(refuse());
            }
            if let Some(mode) = mode {
                file.set_permissions(fs::Permissions::from_mode(mode & 0o777 | 0o600))?;
            }
        }
        for (at, to) in links {
            symlink(to, at)?;
        }
        Ok(())
    }

    /// Whether a directory on the way to this path is a link.
    fn is_behind_link(&mut self, path: &Path) -> io::Result<bool> {
        let Some(parent) = path.parent().filter(|parent| *parent != self.plain) else { return Ok(false) };
        let mut at = self.dir.to_owned();
        for name in parent.components() {
            at.push(name);
            match fs::symlink_metadata(&at) {
                Ok(there) if there.is_symlink() => return Ok(true),
                Ok(_) => {}
                // What is not there yet will be made, as a directory.
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                Err(e) => return Err(e),
            }
        }
        self.plain = parent.to_owned();
        Ok(false)
    }

    fn count(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(UnpackError::TooLarge)?;
        self.members_left = self.members_left.checked_sub(1).ok_or(UnpackError::TooLarge)?;
        Ok(())
    }
}

/// The path of a member, without a way out.
fn is_inside(path: &Path) -> bool {
    let mut names = 0;
    for component in path.components() {
        match component {
            Component::Normal(_) => names += 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    names > 0
}

/// The directory itself.
fn is_here(path: &Path) -> bool {
    path.components().all(|c| c == Component::CurDir)
}

/// Whether a link at `path`, which is behind no link itself, leads to a place in the same tree. A `..` behind a name
/// goes up from where that name leads, which may be a link, so there is none.
fn stays_inside(path: &Path, to: &Path) -> bool {
    let normal = |c: &Component<'_>| matches!(c, Component::Normal(_));
    let mut depth = path.components().filter(normal).count().saturating_sub(1);
    let mut named = false;
    for component in to.components() {
        match component {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 && !named => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// What happened, down to what the system said: it is that which people can mend.
fn with_causes(error: &io::Error) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A tree of files, packed by the programs that everybody packs with.
    fn packed(dir: &Path, name: &str) -> PathBuf {
        let tree = dir.join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tree.join("sub/run.sh"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("sub/run.sh", tree.join("link")).unwrap();
        fs::hard_link(tree.join("sub/run.sh"), tree.join("twin")).unwrap();
        let file = dir.join(name);
        let python = "import sys, os, stat, zipfile\n\
            with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n\
            \x20   z.write('sub'); z.write('sub/run.sh'); z.write('sub/run.sh', 'twin')\n\
            \x20   i = zipfile.ZipInfo('link'); i.create_system = 3\n\
            \x20   i.external_attr = (stat.S_IFLNK | 0o777) << 16; z.writestr(i, 'sub/run.sh')\n";
        let mut command = match Packing::of(name) {
            Packing::Zip => {
                let mut python3 = Command::new("python3");
                python3.args(["-c", python]).arg(&file);
                python3
            }
            Packing::TarZst => {
                // GNU tar calls a program that need not be there.
                let made =
                    Command::new("tar").arg("-cf").arg(dir.join("t")).arg(".").current_dir(&tree).status();
                assert!(made.unwrap().success());
                fs::write(&file, zstd::encode_all(File::open(dir.join("t")).unwrap(), 3).unwrap()).unwrap();
                return file;
            }
            Packing::Plain | Packing::Tar | Packing::TarGz => {
                let mut tar = Command::new("tar");
                tar.arg("-caf").arg(&file).arg(".");
                tar
            }
        };
        assert!(command.current_dir(&tree).status().unwrap().success());
        file
    }

    #[test]
    fn what_everybody_packs_is_unpacked_with_links_and_modes_but_not_as_another_user() {
        for name in ["a.tar", "a.tar.gz", "a.tgz", "a.tar.zst", "a.zip"] {
            let dir = tempfile::tempdir().unwrap();
            let file = packed(dir.path(), name);
            let to = dir.path().join("out");
            unpack(&file, Packing::of(name), &to).unwrap_or_else(|e| panic!("{name} {e}"));
            for path in ["sub/run.sh", "link", "twin"] {
                assert_eq!(fs::read_to_string(to.join(path)).unwrap(), "#!/bin/sh\n", "{name}: {path}");
            }
            assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("sub/run.sh"), "{name}");
            let mode = fs::metadata(to.join("sub/run.sh")).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755, "{name}");
        }
    }

    #[test]
    fn a_build_is_where_tests_are_told_it_is() {
        for (name, dir) in [("app.apk", "build"), ("app.tar.gz", "build.d")] {
            let run = tempfile::tempdir().unwrap();
            let digest = muster_core::digest::Digest([0; 32]);
            let build =
                Package { url: String::new(), name: name.into(), digest, bytes: 0, root: String::new() };
            let fetched = match Packing::of(name) {
                Packing::Plain => {
                    fs::write(run.path().join("fetched"), "app").unwrap();
                    run.path().join("fetched")
                }
                _ => packed(run.path(), "fetched.tar.gz"),
            };
            place_build(&fetched, &build, run.path()).unwrap();
            assert!(run.path().join(build.file()).is_file());
            assert_eq!(build.dir(), dir);
            assert!(run.path().join(dir).is_dir());
            begin_build(run.path()).unwrap();
            assert!(!run.path().join(dir).exists(), "the next try begins anew");
        }
    }

    #[test]
    fn a_zip_that_leads_outside_is_refused_and_nothing_of_it_is_left() {
        for (name, link) in
            [("../out", ""), ("/tmp/muster-out", ""), ("a\\..\\out", ""), ("l", "../out"), ("l", "/etc")]
        {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("a.zip");
            let python = "import sys, stat, zipfile\n\
                with zipfile.ZipFile(sys.argv[1], 'w') as z:\n\
                \x20   z.writestr('good', 'x')\n\
                \x20   i = zipfile.ZipInfo('x'); i.filename = sys.argv[2]; i.create_system = 3\n\
                \x20   if sys.argv[3]: i.external_attr = (stat.S_IFLNK | 0o777) << 16\n\
                \x20   z.writestr(i, sys.argv[3])\n";
            let made = Command::new("python3").args(["-c", python]).arg(&file).args([name, link]).status();
            assert!(made.unwrap().success());
            let to = dir.path().join("sub/tree");
            let done = unpack(&file, Packing::Zip, &to);
            assert!(matches!(done, Err(UnpackError::Member(_))), "{name} {link}: {done:?}");
            assert!(!to.exists(), "{name} {link}");
            assert!(!dir.path().join("sub/out").exists(), "{name} {link}");
        }
    }

    #[test]
    fn links_of_a_tar_do_not_add_up_to_a_way_out() {
        // Each of these is inside by its own words.
        let ways: [&[(&str, &str)]; 3] = [
            &[("s/t/l", "../.."), ("x", "s/t/l/../y")],
            &[("a/b/l", "../.."), ("a/b/l/x", "../../..")],
            &[("l", "."), ("l/x", "..")],
        ];
        for links in ways {
            let dir = tempfile::tempdir().unwrap();
            let mut tar = tar::Builder::new(Vec::new());
            for (path, to) in links {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, path, to).unwrap();
            }
            let file = dir.path().join("a.tar");
            fs::write(&file, tar.into_inner().unwrap()).unwrap();
            let done = unpack(&file, Packing::of("a.tar"), &dir.path().join("sub/tree"));
            assert!(matches!(done, Err(UnpackError::Member(_))), "{links:?}: {done:?}");
        }
    }

    #[test]
    fn what_is_no_archive_is_told_as_one_that_is_damaged() {
        for name in ["a.tar", "a.tar.gz", "a.tar.zst", "a.zip"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(name);
            fs::write(&file, "<html>not found</html>".repeat(100)).unwrap();
            let done = unpack(&file, Packing::of(name), &dir.path().join("out"));
            assert!(matches!(done, Err(UnpackError::Io(_))), "{name}: {done:?}");
        }
    }
}
