//! Reads a package. Every byte of it is taken for hostile: nothing gets outside the directory it is unpacked
//! to, nothing becomes a device or runs as another user, and no more is written than fits.
//!
//! Symbolic links are made when everything else is there. So while files are written there is no link in the
//! tree that a path could go through, and the directory is one that nobody else writes to.

use super::tree::{self, MEMBERS_MAX};
use bzip2::read::MultiBzDecoder;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};
use tar::{Archive, EntryType, Header, PaxExtensions};
use thiserror::Error;

/// Most bytes that are unpacked, unless the caller allows fewer.
// Limit: a few kilobytes can unpack to any number.
pub const BYTES_MAX: u64 = 64 << 30;
/// Longest name of a member, and longest block of what describes one.
// Limit: what the kernel takes as a path, and room for extended attributes, which are not kept.
const NAME_BYTES_MAX: u64 = 4096;
const PAX_BYTES_MAX: u64 = 1 << 18;
/// Most bytes behind the end of the archive.
// Limit: `tar` fills up its last record, which is 10 KiB unless somebody asks for more.
const BEHIND_BYTES_MAX: u64 = 16 << 20;

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// How much of it are files.
    pub bytes: u64,
    /// Files, directories and links.
    pub members: usize,
}

/// Why something is not unpacked. Each is the end of a sentence about a package.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// It ends too early, or is none.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It holds what is not allowed.
    #[error("holds `{name}`, which is {what}")]
    Refused {
        /// The name of the member.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// It is too large.
    #[error("unpacks to more than {0} bytes or {MEMBERS_MAX} files")]
    TooLarge(u64),
    /// What is in it cannot be written here.
    #[error("cannot be unpacked to `{}`: {why}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        #[source]
        why: io::Error,
    },
}

/// Unpacks `.tar.bz2`, of any number of streams, to a directory that is empty and this process's alone.
/// Owners are not restored. Where this fails the directory has some of it.
///
/// # Errors
/// [`UnpackError`]
pub fn unpack(from: impl Read, into: &Path, bytes_max: u64) -> Result<Unpacked, UnpackError> {
    let mut archive = Archive::new(Seen { inner: MultiBzDecoder::new(from), at_end: false });
    let mut tree = Tree { into, bytes_max, made: Unpacked::default(), dirs: BTreeMap::new(), links: vec![] };
    let mut described = Described::default();
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let header = entry.header().clone();
        match header.entry_type() {
            EntryType::GNULongName => described.name = Some(long_name(&mut entry)?),
            EntryType::GNULongLink => described.link = Some(long_name(&mut entry)?),
            EntryType::XHeader => described.read_pax(&mut entry)?,
            // What `git archive` says of the commit, and what holds for all members: nothing that is kept.
            EntryType::XGlobalHeader => {}
            _ => tree.add(&header, std::mem::take(&mut described), &mut entry)?,
        }
    }
    let mut rest = archive.into_inner();
    if rest.at_end {
        return Err(UnpackError::Damaged("it is cut short".to_owned()));
    }
    // Behind the archive are zeros, and the check of the last stream.
    let behind = io::copy(&mut (&mut rest).take(BEHIND_BYTES_MAX), &mut io::sink()).map_err(damaged)?;
    if behind == BEHIND_BYTES_MAX {
        return Err(UnpackError::Damaged("it goes on behind its end".to_owned()));
    }
    tree.finish()
}

fn damaged(error: impl std::fmt::Display) -> UnpackError {
    UnpackError::Damaged(error.to_string())
}

/// Sees the end of what it reads. An archive says itself where it ends, so whoever reads on to the end of the
/// file has found one that was cut.
struct Seen<R> {
    inner: R,
    at_end: bool,
}

impl<R: Read> Read for Seen<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.at_end |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

/// What members before a member say of it.
#[derive(Default)]
struct Described {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Described {
    fn read_pax(&mut self, entry: &mut impl Read) -> Result<(), UnpackError> {
        let block = limited(entry, PAX_BYTES_MAX)?;
        for record in PaxExtensions::new(&block) {
            let record = record.map_err(damaged)?;
            let value = record.value_bytes().to_vec();
            match record.key_bytes() {
                b"path" => self.name = Some(value),
                b"linkpath" => self.link = Some(value),
                b"size" => return Err(refused(&value, "a file of more than 8 GiB")),
                key if key.starts_with(b"GNU.sparse.") => return Err(refused(&value, SPARSE)),
                _ => {}
            }
        }
        Ok(())
    }
}

const SPARSE: &str = "a sparse file: pack it without `--sparse`";

fn refused(name: &[u8], what: &'static str) -> UnpackError {
    UnpackError::Refused { name: String::from_utf8_lossy(name).into_owned(), what }
}

fn limited(entry: &mut impl Read, max: u64) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = Vec::new();
    entry.take(max + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > max {
        return Err(UnpackError::Damaged(format!("it has a name of more than {max} bytes")));
    }
    Ok(bytes)
}

fn long_name(entry: &mut impl Read) -> Result<Vec<u8>, UnpackError> {
    let mut name = limited(entry, NAME_BYTES_MAX)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// A directory that is filled.
struct Tree<'a> {
    into: &'a Path,
    bytes_max: u64,
    made: Unpacked,
    /// Who may do what with directories, which is set when all that is in them is there.
    dirs: BTreeMap<PathBuf, u32>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Tree<'_> {
    fn add(
        &mut self,
        header: &Header,
        described: Described,
        content: &mut impl Read,
    ) -> Result<(), UnpackError> {
        let name = described.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let refuse = |what| refused(&name, what);
        let path = inside(&name).ok_or_else(|| refuse("a path that leads out of the package"))?;
        let bytes = header.entry_size().map_err(damaged)?;
        let mode = header.mode().map_err(damaged)?;
        self.count(bytes)?;
        // Before there was a type for them, directories were files whose name ends so.
        let is_dir = header.entry_type() == EntryType::Directory
            || header.entry_type() == EntryType::Regular && name.ends_with(b"/");
        if path.as_os_str().is_empty() {
            return if is_dir { Ok(()) } else { Err(refuse("the package itself, and not a directory")) };
        }
        let at = self.into.join(&path);
        if is_dir {
            self.make_dir(&path).map_err(|e| clash(e, &name, &at))?;
            self.dirs.insert(path, tree::dir_mode(mode));
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.make_dir(parent).map_err(|e| clash(e, &name, &at))?;
        let link = || described.link.clone().or_else(|| header.link_name_bytes().map(|l| l.into_owned()));
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                if mode & 0o6000 != 0 {
                    return Err(refuse("a program that runs as another user (set-user-id)"));
                }
                let mut options = OpenOptions::new();
                let made = options.write(true).create_new(true).mode(0o600).open(&at);
                let mut file = made.map_err(|e| clash(e, &name, &at))?;
                fill(&mut file, content, bytes, &at)?;
                let failed = |why| UnpackError::Write { path: at.clone(), why };
                file.set_permissions(Permissions::from_mode(tree::file_mode(mode))).map_err(failed)?;
                let mtime = header.mtime().ok().map(Duration::from_secs);
                if let Some(mtime) = mtime.and_then(|t| SystemTime::UNIX_EPOCH.checked_add(t)) {
                    // A time that this file system cannot keep is none that anybody needs.
                    drop(file.set_modified(mtime));
                }
            }
            EntryType::Link => {
                let to = link().as_deref().and_then(inside);
                let to = to.filter(|to| !to.as_os_str().is_empty());
                let to = to.ok_or_else(|| refuse("a link that leads out of the package"))?;
                match fs::hard_link(self.into.join(to), &at) {
                    Ok(()) => {}
                    Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                        return Err(refuse("a link to something that is not before it"));
                    }
                    Err(e) => return Err(clash(e, &name, &at)),
                }
            }
            EntryType::Symlink => {
                let to = link().map(|to| PathBuf::from(OsStr::from_bytes(&to)));
                let to = to.filter(|to| tree::stays_inside(&path, to));
                let to = to.ok_or_else(|| refuse("a link that leads out of the package"))?;
                self.links.push((path, to));
            }
            EntryType::Char | EntryType::Block => return Err(refuse("a device")),
            EntryType::Fifo => return Err(refuse("a named pipe")),
            EntryType::GNUSparse => return Err(refuse(SPARSE)),
            _ => return Err(refuse("nothing that a package has")),
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.made.bytes = self.made.bytes.saturating_add(bytes);
        self.made.members += 1;
        let too_large = self.made.bytes > self.bytes_max || self.made.members > MEMBERS_MAX;
        if too_large { Err(UnpackError::TooLarge(self.bytes_max)) } else { Ok(()) }
    }

    fn make_dir(&mut self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || self.dirs.contains_key(dir) {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.into.join(dir))?;
        for dir in dir.ancestors().filter(|d| !d.as_os_str().is_empty()) {
            self.dirs.entry(dir.to_owned()).or_insert(0o755);
        }
        Ok(())
    }

    fn finish(self) -> Result<Unpacked, UnpackError> {
        for (path, to) in &self.links {
            let at = self.into.join(path);
            symlink(to, &at).map_err(|e| clash(e, path.as_os_str().as_bytes(), &at))?;
        }
        // What is deeper comes first, as long as its parents can be gone through.
        for (path, mode) in self.dirs.iter().rev() {
            let at = self.into.join(path);
            fs::set_permissions(&at, Permissions::from_mode(*mode))
                .map_err(|why| UnpackError::Write { path: at, why })?;
        }
        Ok(self.made)
    }
}

fn fill(file: &mut File, content: &mut impl Read, bytes: u64, at: &Path) -> Result<(), UnpackError> {
    let mut buffer = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let n = match content.read(&mut buffer[..room]) {
            Ok(0) => return Err(UnpackError::Damaged("it is cut short".to_owned())),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(damaged(e)),
        };
        let written = io::Write::write_all(file, &buffer[..n]);
        written.map_err(|why| UnpackError::Write { path: at.to_owned(), why })?;
        left -= n as u64;
    }
    Ok(())
}

/// Two members of one name, or one below another that is no directory, are the package's fault.
fn clash(error: io::Error, name: &[u8], at: &Path) -> UnpackError {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            refused(name, "there twice")
        }
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => {
            refused(name, "a name that this system cannot have")
        }
        _ => UnpackError::Write { path: at.to_owned(), why: error },
    }
}

/// The path of a member below the root, without `.`; empty for the root itself. `None`: it leads outside.
fn inside(name: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    // Limit: as deep as a folder may be that a package is built of.
    (!name.is_empty() && !name.contains(&0) && path.components().count() <= 200).then_some(path)
}
