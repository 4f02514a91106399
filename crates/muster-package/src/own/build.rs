//! Makes a package of a folder: reads each file once, on all cores, and hands on the chunks that are not
//! known yet, packed.

use super::about::About;
use super::chunk::{self, ChunkId, Chunking, Piece};
use super::error::{At as _, PackageError};
use super::manifest::{Entry, Manifest, What};
use super::pack::{Frame, Packer};
use super::parallel;
use super::tree_path::{LinkTarget, TreePath};
use crate::exclude::{self, BadPattern, Exclude};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes of files that one thread reads at a time.
pub(super) const BATCH_BYTES: u64 = 2 << 20;
/// Files that it reads at a time.
const BATCH_FILES: usize = 512;
/// New bytes of a batch that are worth a frame of their own; fewer are put together with those of others.
const FRAME_BYTES_MIN: usize = 512 << 10;

/// A folder of which a package is made.
#[derive(Debug)]
pub struct Tree {
    /// The folder.
    pub dir: PathBuf,
    /// What of it is left out.
    pub exclude: Exclude,
}

impl Tree {
    /// A folder with what its own `.pack_exclude` leaves out.
    ///
    /// # Errors
    /// That file cannot be read, or has a pattern that is none.
    pub fn open(dir: &Path) -> Result<Self, PackageError> {
        let file = dir.join(exclude::FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e).at(&file),
        };
        let wrong = |e: BadPattern| PackageError::Asked(format!("`{}`: {e}", file.display()));
        Ok(Self { dir: dir.to_owned(), exclude: Exclude::read(&text).map_err(wrong)? })
    }
}

/// A package that was made.
#[derive(Debug)]
pub struct Built {
    /// What it is.
    pub manifest: Manifest,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

/// Says what a folder comes to as a package, and keeps nothing else of it.
///
/// # Errors
/// [`PackageError`]: a file cannot be read, or cannot be in a package.
pub fn build(tree: &Tree, about: About) -> Result<Built, PackageError> {
    build_into(tree, about, &|_| true, &mut |_| Ok(()))
}

/// The same; chunks that are not known go on to `take`, in frames.
pub(super) fn build_into(
    tree: &Tree,
    about: About,
    is_known: &(dyn Fn(&ChunkId) -> bool + Sync),
    take: &mut dyn FnMut(Frame) -> Result<(), PackageError>,
) -> Result<Built, PackageError> {
    about.check().map_err(PackageError::Asked)?;
    let chunking = Chunking::default();
    let found = walk(tree)?;
    let reader =
        Reader { tree, found: &found, chunking: &chunking, is_known, claimed: Mutex::new(HashSet::new()) };
    let mut pieces: Vec<Vec<Piece>> = vec![Vec::new(); found.len()];
    let mut loose = Loose::default();
    let mut packer = Packer::default();
    parallel::ordered(
        jobs(&found, &chunking).into_iter(),
        Packer::default,
        |packer, job| reader.read(packer, &job),
        |done: Read| {
            for (at, piece) in done.pieces {
                chunk::push(&mut pieces[at], piece);
            }
            done.frames.into_iter().try_for_each(&mut *take)?;
            loose.append(done.loose);
            if loose.bytes.len() >= FRAME_BYTES_MIN { take(loose.pack(&mut packer)) } else { Ok(()) }
        },
    )?;
    if !loose.chunks.is_empty() {
        take(loose.pack(&mut packer))?;
    }
    let entries = found.into_iter().zip(pieces).map(|(found, pieces)| {
        let what = match found.what {
            FoundWhat::File { executable, .. } => What::File { executable, pieces },
            FoundWhat::Link(to) => What::Link { to },
            FoundWhat::Dir => What::Dir,
        };
        Entry { path: found.path, what }
    });
    let manifest = Manifest { about, chunking, entries: entries.collect() };
    manifest.check().map_err(PackageError::Asked)?;
    let bytes = manifest.encode();
    Ok(Built { manifest, bytes })
}

/// Something in the folder.
struct Found {
    path: TreePath,
    what: FoundWhat,
}

enum FoundWhat {
    File { executable: bool, len: u64 },
    Link(LinkTarget),
    Dir,
}

/// All that is packed of the folder, in the order of a manifest.
fn walk(tree: &Tree) -> Result<Vec<Found>, PackageError> {
    let exclude = Exclude::always().and(tree.exclude.clone());
    let mut found = Vec::new();
    let mut dirs: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(dir) = dirs.pop() {
        let path = tree.dir.join(std::ffi::OsStr::from_bytes(&dir));
        let mut is_empty = true;
        for entry in fs::read_dir(&path).at(&path)? {
            let entry = entry.at(&path)?;
            let mut bytes = dir.clone();
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(entry.file_name().as_bytes());
            let meta = entry.metadata().at(&entry.path())?;
            let inside = Path::new(std::ffi::OsStr::from_bytes(&bytes));
            if exclude.leaves_out(inside, meta.is_dir()).is_some() {
                continue;
            }
            is_empty = false;
            let refuse = |why| PackageError::Unpackable { path: bytes.escape_ascii().to_string(), why };
            if meta.is_dir() {
                dirs.push(bytes);
                continue;
            }
            let path = TreePath::new(bytes.clone()).map_err(refuse)?;
            let what = if meta.is_symlink() {
                let to = fs::read_link(entry.path()).at(&entry.path())?.into_os_string().into_vec();
                FoundWhat::Link(LinkTarget::new(&path, to).map_err(refuse)?)
            } else if meta.is_file() {
                if meta.mode() & 0o6000 != 0 {
                    return Err(refuse("it is set-user-id or set-group-id"));
                }
                FoundWhat::File { executable: meta.mode() & 0o100 != 0, len: meta.len() }
            } else {
                return Err(refuse("it is a device, a pipe or a socket"));
            };
            found.push(Found { path, what });
        }
        if is_empty && !dir.is_empty() {
            let refuse = |why| PackageError::Unpackable { path: dir.escape_ascii().to_string(), why };
            let path = TreePath::new(dir.clone()).map_err(refuse)?;
            found.push(Found { path, what: FoundWhat::Dir });
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What one thread reads at a time.
enum Job {
    /// Short files, by their places.
    Files(Vec<usize>),
    /// A section of a long one.
    Section { file: usize, at: u64, len: usize },
}

fn jobs(found: &[Found], chunking: &Chunking) -> Vec<Job> {
    let mut jobs = Vec::new();
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    for (at, found) in found.iter().enumerate() {
        let FoundWhat::File { len, .. } = found.what else { continue };
        if len > u64::from(chunking.whole_max) {
            let section = u64::from(chunking.section);
            for part in 0..len.div_ceil(section) {
                let begin = part * section;
                let len = usize::try_from(section.min(len - begin)).expect("a section is short");
                jobs.push(Job::Section { file: at, at: begin, len });
            }
            continue;
        }
        batch.push(at);
        batch_bytes += len;
        if batch_bytes >= BATCH_BYTES || batch.len() == BATCH_FILES {
            jobs.push(Job::Files(std::mem::take(&mut batch)));
            batch_bytes = 0;
        }
    }
    jobs.push(Job::Files(batch));
    jobs
}

/// What came of a job.
struct Read {
    /// With the places of their files.
    pieces: Vec<(usize, Piece)>,
    frames: Vec<Frame>,
    loose: Loose,
}

/// New chunks, one after the other.
#[derive(Default)]
struct Loose {
    bytes: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

impl Loose {
    fn append(&mut self, other: Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.chunks.extend(other.chunks);
    }

    fn pack(&mut self, packer: &mut Packer) -> Frame {
        let frame = packer.pack(&self.bytes, std::mem::take(&mut self.chunks));
        self.bytes.clear();
        frame
    }
}

struct Reader<'a> {
    tree: &'a Tree,
    found: &'a [Found],
    chunking: &'a Chunking,
    is_known: &'a (dyn Fn(&ChunkId) -> bool + Sync),
    /// New chunks that some thread packs.
    claimed: Mutex<HashSet<ChunkId>>,
}

impl Reader<'_> {
    fn read(&self, packer: &mut Packer, job: &Job) -> Result<Read, PackageError> {
        let mut read = Read { pieces: Vec::new(), frames: Vec::new(), loose: Loose::default() };
        match job {
            Job::Files(files) => {
                let mut bytes = Vec::new();
                for &at in files {
                    let path = self.found[at].path.below(&self.tree.dir);
                    bytes.clear();
                    // Limit: a file that grows meanwhile has an end.
                    let most = u64::from(self.chunking.whole_max) + 1;
                    let opened = File::open(&path).at(&path)?;
                    opened.take(most).read_to_end(&mut bytes).at(&path)?;
                    if bytes.len() as u64 == most {
                        return Err(self.changed(at));
                    }
                    if !bytes.is_empty() {
                        let len = u32::try_from(bytes.len()).expect("it is short");
                        self.add(at, Piece::Data { id: ChunkId::of(&bytes), len }, &bytes, packer, &mut read);
                    }
                }
            }
            Job::Section { file, at, len } => {
                let path = self.found[*file].path.below(&self.tree.dir);
                let opened = File::open(&path).at(&path)?;
                let end = at + *len as u64;
                // What the file system knows to be zeros need not be read.
                let data = rustix::fs::seek(&opened, rustix::fs::SeekFrom::Data(*at)).unwrap_or(u64::MAX);
                let mut bytes = vec![0; *len];
                if data < end || opened.metadata().at(&path)?.len() < end {
                    opened.read_exact_at(&mut bytes, *at).map_err(|_| self.changed(*file))?;
                }
                self.chunking.cut(&bytes, |piece, bytes| self.add(*file, piece, bytes, packer, &mut read));
            }
        }
        if read.loose.bytes.len() >= FRAME_BYTES_MIN {
            read.frames.push(read.loose.pack(packer));
        }
        Ok(read)
    }

    fn add(&self, at: usize, piece: Piece, bytes: &[u8], packer: &mut Packer, read: &mut Read) {
        read.pieces.push((at, piece));
        let Piece::Data { id, len } = piece else { return };
        let is_new =
            !(self.is_known)(&id) && self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if !is_new {
            return;
        }
        read.loose.bytes.extend_from_slice(bytes);
        read.loose.chunks.push((id, len));
        if read.loose.bytes.len() as u64 >= BATCH_BYTES {
            read.frames.push(read.loose.pack(packer));
        }
    }

    fn changed(&self, at: usize) -> PackageError {
        let path = self.found[at].path.to_string();
        PackageError::Unpackable { path, why: "it was changed while it was read" }
    }
}
