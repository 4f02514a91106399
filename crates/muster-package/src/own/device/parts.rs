//! Files on their way to a device: archives that are small enough to lie beside what they become.

use crate::own::error::{At as _, PackageError};
use crate::own::manifest::{Entry, Manifest, What};
use crate::own::place::Place;
use muster_core::digest::Digest;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use tar::{Builder, EntryType, Header};

/// Bytes of files in one archive, unless one alone is more.
// Limit: the device needs so much beside what is unpacked.
pub(super) const PART_BYTES: u64 = 16 << 20;

/// What files take that are on their way at the same time: never more than this.
pub(super) fn bytes_on_the_way(manifest: &Manifest) -> u64 {
    let longest = manifest.entries.iter().map(|e| e.what.len()).max().unwrap_or(0);
    manifest.bytes().min(PART_BYTES.max(longest))
}

/// Bytes of a file of a package that are brought.
pub(super) struct Parcel {
    /// What they are called where they are unpacked.
    pub(super) name: PathBuf,
    /// The file, by its entry.
    pub(super) entry: usize,
    /// Where in it they begin.
    pub(super) from: u64,
    /// How many.
    pub(super) len: u64,
}

impl Parcel {
    /// All of a file, under its own name.
    pub(super) fn whole(manifest: &Manifest, entry: usize) -> Self {
        let Entry { path, what } = &manifest.entries[entry];
        Self { name: path.as_path().to_owned(), entry, from: 0, len: what.len() }
    }
}

/// Archives of these, each in a file that has no name, with its length.
pub(super) fn each(
    place: &Place,
    digest: Digest,
    manifest: &Manifest,
    parcels: &[Parcel],
    mut take: impl FnMut(File, u64) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let tree = place.tree(digest);
    let mut rest = parcels;
    while !rest.is_empty() {
        let dir = place.incoming();
        let mut archive = Builder::new(tempfile::tempfile_in(&dir).at(&dir)?);
        let mut bytes = 0;
        while let Some((Parcel { name, entry, from, len }, others)) = rest.split_first() {
            let entry = &manifest.entries[*entry];
            if bytes > 0 && bytes + len > PART_BYTES {
                break;
            }
            let What::File { executable, .. } = entry.what else { continue };
            let path = entry.path.below(&tree);
            let mut file = File::open(&path).at(&path)?;
            if file.metadata().at(&path)?.len() != entry.what.len() {
                let what = format!("`{}`", entry.path);
                return Err(PackageError::damaged(what, place.shown(), "its length is another"));
            }
            file.seek(SeekFrom::Start(*from)).at(&path)?;
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(crate::own::write::mode(executable));
            header.set_size(*len);
            for set in [Header::set_uid, Header::set_gid, Header::set_mtime] {
                set(&mut header, 0);
            }
            archive.append_data(&mut header, name, file.take(*len)).at(&path)?;
            bytes += len;
            rest = others;
        }
        let mut file = archive.into_inner().at(&dir)?;
        let len = file.seek(SeekFrom::End(0)).at(&dir)?;
        file.seek(SeekFrom::Start(0)).at(&dir)?;
        take(file, len)?;
    }
    Ok(())
}
