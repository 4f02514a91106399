//! Writes a package. The same folder gives the same bytes on every machine, whoever owns it and whenever its
//! files were touched, so an MD5 that differs means that something differs.
//!
//! What comes out is what `tar -cjf` with the member `.` gives, as Autotest's clients and GNU tar expect it.

use super::checksums::Md5;
use super::name::{Kind, PackageName};
use super::tree::{self, Member, Node, TreeError};
use crate::exclude::{self, BadPattern, Exclude};
use bzip2::Compression;
use bzip2::write::BzEncoder;
use md5::Digest as _;
use muster_core::digest::Digest;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};
use thiserror::Error;

/// The time of every member: the first of 1980, which GNU tar does not complain about.
const MTIME: u64 = 315_532_800;

/// What a package is built from.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is to be called.
    pub name: PackageName,
    /// The folder.
    pub dir: PathBuf,
    /// What is left out, besides what the folder itself says and what is left out of every package.
    pub exclude: Exclude,
    /// Files that are put at its root from elsewhere: `global_config.ini`, which lies beside the client.
    pub extra: Vec<PathBuf>,
}

/// A package that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// What Autotest knows it by.
    pub md5: Md5,
    /// What Muster knows the same bytes by.
    pub digest: Digest,
    /// How long it is.
    pub bytes: u64,
    /// How long it is unpacked.
    pub unpacked_bytes: u64,
    /// Files, directories and links in it.
    pub members: usize,
}

/// Why there is no package.
#[derive(Debug, Error)]
pub enum PackError {
    /// The folder cannot be read, or holds what belongs in no package.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A pattern is none.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The package cannot be written.
    #[error("`{}` cannot be written: {why}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// What the system says.
        #[source]
        why: io::Error,
    },
    /// A file was written to while it was packed.
    #[error("`{}` changed while it was packed; build it again when nobody writes to it", .0.display())]
    Changed(PathBuf),
    /// A file from elsewhere has no name, or one that is taken.
    #[error("`{}` cannot be put at the root of the package: there is a file of that name", .0.display())]
    Extra(PathBuf),
}

/// What is left out of a package of this type, whatever else is.
fn always(name: &PackageName) -> Result<Exclude, BadPattern> {
    let file = name.file();
    // One that lies in its own source was left behind by an earlier build, and is not part of it.
    let (tarball, sidecar) = (format!("/{file}"), format!("/{file}.checksum"));
    let mut patterns = vec![&*tarball, &*sidecar, ".checksum"];
    if name.kind() == Kind::Client {
        // Tests, dependencies and profilers have packages of their own; their empty directories stay.
        patterns.extend(["deps/*", "tests/*", "site_tests/*", "profilers/*/", "**/*.pyc", "**/__pycache__/"]);
    }
    Ok(Exclude::always().and(Exclude::new(patterns)?))
}

/// Builds a package into a file, which has its name only when all of it is there.
///
/// # Errors
/// [`PackError`]
pub fn build(source: &Source, to: &Path) -> Result<Built, PackError> {
    let mut exclude = always(&source.name)?.and(source.exclude.clone());
    let own = source.dir.join(exclude::FILE);
    match fs::read_to_string(&own) {
        Ok(text) => exclude = exclude.and(Exclude::read(&text)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(TreeError::Io { path: own, why }.into()),
    }
    let mut members = Vec::new();
    for member in tree::walk(&source.dir, &exclude)? {
        members.push((source.dir.join(&member.path), member));
    }
    for extra in &source.extra {
        let taken = || PackError::Extra(extra.clone());
        let path = PathBuf::from(extra.file_name().ok_or_else(taken)?);
        if members.iter().any(|(_, member)| member.path == path) {
            return Err(taken());
        }
        let meta = fs::metadata(extra).map_err(|why| TreeError::Io { path: extra.clone(), why })?;
        if !meta.is_file() {
            return Err(TreeError::Refused { path: extra.clone(), what: "no file".to_owned() }.into());
        }
        members.push((extra.clone(), Member { path, node: Node::File { mode: 0o644, bytes: meta.len() } }));
    }
    let failed = |why| PackError::Write { path: to.to_owned(), why };
    let dir = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut partial = super::files::partial(dir, to).map_err(failed)?;
    let mut counted = Counted::new(BufWriter::new(partial.as_file_mut()));
    write(&members, &mut counted, to)?;
    let (md5, digest, bytes) = counted.finish().map_err(failed)?;
    super::files::publish(partial, to).map_err(failed)?;
    let size = |member: &Member| match &member.node {
        Node::File { bytes, .. } => *bytes,
        Node::Dir { .. } | Node::Link { .. } => 0,
    };
    let unpacked_bytes = members.iter().map(|(_, member)| size(member)).sum();
    Ok(Built { md5, digest, bytes, unpacked_bytes, members: members.len() })
}

fn write(members: &[(PathBuf, Member)], to: &mut impl Write, path: &Path) -> Result<(), PackError> {
    let failed = |why| PackError::Write { path: path.to_owned(), why };
    let mut tar = tar::Builder::new(BzEncoder::new(to, Compression::best()));
    append(&mut tar, b"./", EntryType::Directory, 0o755, 0, io::empty()).map_err(failed)?;
    for (from, Member { path, node }) in members {
        let mut name = b"./".to_vec();
        name.extend(path.as_os_str().as_bytes());
        let done = match node {
            Node::Dir { mode } => {
                name.push(b'/');
                append(&mut tar, &name, EntryType::Directory, *mode, 0, io::empty())
            }
            Node::Link { to } => append_link(&mut tar, &name, to),
            Node::File { mode, bytes } => {
                let read = |why| TreeError::Io { path: from.clone(), why };
                let file = File::open(from).map_err(read)?;
                let mut exact = Exact { file, left: *bytes, is_other: false };
                let done = append(&mut tar, &name, EntryType::Regular, *mode, *bytes, &mut exact);
                if exact.is_other || exact.has_more() {
                    return Err(PackError::Changed(from.clone()));
                }
                done
            }
        };
        done.map_err(failed)?;
    }
    tar.into_inner().and_then(BzEncoder::finish).map(drop).map_err(failed)
}

fn header(name: &[u8], kind: EntryType, mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    let slot = &mut header.as_old_mut().name;
    let fits = name.len().min(slot.len());
    slot[..fits].copy_from_slice(&name[..fits]);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A name that does not fit into its field comes in a member before it.
fn append_long<W: Write>(tar: &mut tar::Builder<W>, kind: EntryType, text: &[u8]) -> io::Result<()> {
    // Limit: the fields of both names have room for so many bytes.
    if text.len() <= 100 {
        return Ok(());
    }
    let mut long = header(b"././@LongLink", kind, 0o644, text.len() as u64 + 1);
    long.set_cksum();
    tar.append(&long, text.chain(&b"\0"[..]))
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &[u8],
    kind: EntryType,
    mode: u32,
    bytes: u64,
    content: impl io::Read,
) -> io::Result<()> {
    append_long(tar, EntryType::GNULongName, name)?;
    let mut header = header(name, kind, mode, bytes);
    header.set_cksum();
    tar.append(&header, content)
}

fn append_link<W: Write>(tar: &mut tar::Builder<W>, name: &[u8], to: &Path) -> io::Result<()> {
    let to = to.as_os_str().as_bytes();
    append_long(tar, EntryType::GNULongLink, to)?;
    append_long(tar, EntryType::GNULongName, name)?;
    let mut header = header(name, EntryType::Symlink, 0o777, 0);
    header.set_link_name_literal(&to[..to.len().min(100)])?;
    header.set_cksum();
    tar.append(&header, io::empty())
}

/// Exactly so many bytes of a file, with zeros for those that are gone: the archive stays well-formed until
/// whoever builds it looks.
struct Exact {
    file: File,
    left: u64,
    is_other: bool,
}

impl Exact {
    fn has_more(&mut self) -> bool {
        self.left == 0 && !matches!(self.file.read(&mut [0]), Ok(0))
    }
}

impl io::Read for &mut Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let mut n = if self.is_other { 0 } else { self.file.read(&mut buffer[..room])? };
        if n == 0 {
            self.is_other = true;
            buffer[..room].fill(0);
            n = room;
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// Names the bytes that go through it.
struct Counted<W> {
    to: W,
    md5: md5::Md5,
    blake3: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Counted<W> {
    fn new(to: W) -> Self {
        Self { to, md5: md5::Md5::new(), blake3: blake3::Hasher::new(), bytes: 0 }
    }

    fn finish(mut self) -> io::Result<(Md5, Digest, u64)> {
        self.to.flush()?;
        Ok((Md5(self.md5.finalize().into()), Digest(self.blake3.finalize().into()), self.bytes))
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.md5.update(&bytes[..n]);
        self.blake3.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
