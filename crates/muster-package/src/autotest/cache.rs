//! Packages that were fetched: the directory `packages` of an *autodir*, where an Autotest client keeps its own.
//!
//! What is in a file is measured, each time; beside it is written where it came from, so that a repository
//! without a list of sums can be asked whether it has another version.

use super::checksums::Md5;
use super::files;
use super::get::Version;
use md5::Digest as _;
use muster_core::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// The directory of what is known of the files, in that of the files.
const RECORDS: &str = ".fetched";

/// A directory of packages.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What Autotest knows them by.
    pub md5: Md5,
    /// What Muster knows them by.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
}

/// Where a file came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) repository: String,
    pub(super) md5: Md5,
    pub(super) version: Version,
}

impl Cache {
    /// The cache in this directory, which is made.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir.join(RECORDS))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Where a file is, or would be.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// What is there under this name.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn measure(&self, file: &str) -> io::Result<Option<Measured>> {
        match File::open(self.path(file)) {
            Ok(file) => measure(file).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where it came from, if what is there is still that.
    pub(super) fn record(&self, file: &str, is: &Measured) -> Option<Record> {
        let text = fs::read(self.record_path(file)).ok()?;
        serde_json::from_slice(&text).ok().filter(|record: &Record| record.md5 == is.md5)
    }

    fn record_path(&self, file: &str) -> PathBuf {
        self.dir.join(RECORDS).join(format!("{file}.json"))
    }

    /// A file to fetch to, which becomes this one when it is kept.
    pub(super) fn begin(&self, file: &str) -> io::Result<NamedTempFile> {
        files::partial(&self.dir, &self.path(file))
    }

    pub(super) fn keep(&self, fetched: NamedTempFile, file: &str, record: &Record) -> io::Result<()> {
        files::publish(fetched, &self.path(file))?;
        // Where this is lost, it is fetched once more.
        files::write(&self.record_path(file), &serde_json::to_vec(record)?)
    }

    /// Forgets a file.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, file: &str) -> io::Result<()> {
        for path in [self.path(file), self.record_path(file)] {
            match fs::remove_file(path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Removes what was fetched longest ago until so many bytes are free, and says how many that are. What is
    /// to be kept is kept.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn evict(&self, bytes: u64, keep: &BTreeSet<String>) -> io::Result<u64> {
        let mut there: Vec<(SystemTime, u64, String)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if meta.is_file() && name != super::checksums::FILE && !keep.contains(&name) {
                there.push((meta.modified()?, meta.len(), name));
            }
        }
        there.sort();
        let mut freed = 0;
        for (_, size, name) in there {
            if freed >= bytes {
                break;
            }
            self.remove(&name)?;
            freed += size;
        }
        Ok(freed)
    }
}

/// What a file is.
pub(super) fn measure(mut file: File) -> io::Result<Measured> {
    let (mut md5, mut blake3, mut bytes) = (md5::Md5::new(), blake3::Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                md5.update(&buffer[..n]);
                blake3.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Measured { md5: Md5(md5.finalize().into()), digest: Digest(blake3.finalize().into()), bytes })
}
