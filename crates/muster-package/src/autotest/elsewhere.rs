//! A repository on another host, as far as it is written to.

use super::checksums::{Checksums, Md5};
use super::get::Limits;
use std::fs::File;
use std::io;

/// How often the list is read and written again where somebody else was faster.
// Limit: each time somebody else made progress.
pub(super) const CHANGES_MAX: u32 = 20;

/// What takes files. What it cannot do for anybody is [`io::ErrorKind::Unsupported`].
pub(super) trait Elsewhere {
    /// How many bytes may be written there, where that can be known.
    fn free_bytes(&self, limits: &Limits) -> io::Result<Option<u64>>;

    /// The list there.
    fn list(&self, limits: &Limits) -> io::Result<Checksums>;

    /// Whether a file that is listed as this is still there.
    fn has(&self, name: &str, md5: Md5, bytes: u64, limits: &Limits) -> io::Result<bool>;

    /// Puts a file there, whole, and makes sure that it is.
    fn put(&self, name: &str, from: &File, md5: Md5, limits: &Limits) -> io::Result<()>;

    /// Takes a file away, and says whether it was there.
    fn take_away(&self, name: &str, limits: &Limits) -> io::Result<bool>;

    /// Changes the list there. The change is made again where somebody else was faster.
    fn update(&self, limits: &Limits, change: &mut dyn FnMut(&mut Checksums)) -> io::Result<()>;
}

/// Others were faster each time.
pub(super) fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "others change the list all the time")
}
