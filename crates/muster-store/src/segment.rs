//! The segment file of a run: outputs too long for a row, one after the other, appended only.
//!
//! An entry is `MSEG`, the CRC-32 of the frames and their length (u32 and u64, little endian), then the
//! frames. Rows refer to entries by offset, and are written after the entry is durable; what a crash
//! leaves at the end without a row is never read and does no harm.

use crate::crc::crc32;
use crate::error::StoreError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub(crate) const FILE: &str = "output.seg";
const MAGIC: [u8; 4] = *b"MSEG";
const HEAD_LEN: u64 = 16;

/// A segment file being appended to, with what a transaction has not written yet.
pub(crate) struct Segment {
    file: File,
    path: PathBuf,
    /// Where the pending bytes will go.
    end: u64,
    pending: Vec<u8>,
}

impl Segment {
    /// Opens the file, making it and its directory durably where needed. `root` exists.
    pub(crate) fn open(root: &Path, run_dir: &Path) -> Result<Self, StoreError> {
        let path = run_dir.join(FILE);
        std::fs::create_dir_all(run_dir).map_err(io_error("make the directory of", &path))?;
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        if is_new {
            // The names on the way to the file have to last as well.
            for dir in run_dir.ancestors().take_while(|d| d.starts_with(root)) {
                File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))?;
            }
        }
        Ok(Self { file, path, end: 0, pending: Vec::new() })
    }

    /// Adds frames to what is pending and says where their entry will be. To be called with the
    /// database's write lock held: another process may have appended before.
    pub(crate) fn push(&mut self, frames: &[u8]) -> Result<u64, StoreError> {
        if self.pending.is_empty() {
            self.end = self.file.metadata().map_err(io_error("measure", &self.path))?.len();
        }
        let offset = self.end + self.pending.len() as u64;
        self.pending.extend_from_slice(&MAGIC);
        self.pending.extend_from_slice(&crc32(frames).to_le_bytes());
        self.pending.extend_from_slice(&(frames.len() as u64).to_le_bytes());
        self.pending.extend_from_slice(frames);
        Ok(offset)
    }

    /// Writes what is pending; it is durable when this returns. On failure the file is as before.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let written = self.file.write_all_at(&pending, self.end).and_then(|()| self.file.sync_data());
        written.map_err(|source| {
            // Best effort: a tail without rows is harmless.
            drop(self.file.set_len(self.end));
            io_error("write", &self.path)(source)
        })
    }
}

/// The frames of an entry, whole and verified.
pub(crate) fn read(run_dir: &Path, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
    let (entry, crc) = Entry::open(run_dir, offset, len)?;
    let frames = entry.bytes(0, len)?;
    match crc32(&frames) == crc {
        true => Ok(frames),
        false => Err(entry.damaged("does not have its checksum")),
    }
}

/// Part of the frames of an entry, not verified.
pub(crate) fn read_range(
    run_dir: &Path,
    offset: u64,
    len: u64,
    from: u64,
    want: u64,
) -> Result<Vec<u8>, StoreError> {
    let (entry, _) = Entry::open(run_dir, offset, len)?;
    let from = from.min(len);
    entry.bytes(from, want.min(len - from))
}

struct Entry {
    file: File,
    path: PathBuf,
    offset: u64,
}

impl Entry {
    /// Opens the file and verifies the entry's head; the checksum comes with it.
    fn open(run_dir: &Path, offset: u64, len: u64) -> Result<(Self, u32), StoreError> {
        let path = run_dir.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::OutputGone { path, what: "the file does not exist".to_owned() });
            }
            Err(source) => return Err(io_error("open", &path)(source)),
        };
        let entry = Self { file, path, offset };
        let size = entry.file.metadata().map_err(io_error("measure", &entry.path))?.len();
        let end = offset.checked_add(HEAD_LEN).and_then(|o| o.checked_add(len));
        if end.is_none_or(|end| end > size) {
            return Err(entry.damaged("is cut off"));
        }
        let mut head = [0; HEAD_LEN as usize];
        entry.file.read_exact_at(&mut head, offset).map_err(io_error("read", &entry.path))?;
        let [m0, m1, m2, m3, c0, c1, c2, c3, rest @ ..] = head;
        if [m0, m1, m2, m3] != MAGIC || u64::from_le_bytes(rest) != len {
            return Err(entry.damaged("does not begin as it should"));
        }
        Ok((entry, u32::from_le_bytes([c0, c1, c2, c3])))
    }

    fn bytes(&self, from: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        // The entry lies within the file, so this is not more than there is.
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.damaged("is too long"))?];
        let at = self.offset + HEAD_LEN + from;
        self.file.read_exact_at(&mut bytes, at).map_err(io_error("read", &self.path))?;
        Ok(bytes)
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            what: format!("the entry at offset {} {what}", self.offset),
            todo: "this output is lost, other records are not; run the item again for a new one",
        }
    }
}

/// What the system said, with the file it was about.
pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Io { doing, path, source },
    }
}
