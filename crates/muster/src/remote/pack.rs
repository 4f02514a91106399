//! Packs an area and brings it to the server, unless it is there already.
//!
//! What git ignores is left out, and so are `.git`, `.muster` and what a `.musterignore` names. The same
//! files come to the same bytes, so that an area that has not changed is sent once.

use super::complain;
use crate::context::RECORDS;
use crate::error::Complaint;
use ignore::WalkBuilder;
use muster_api::Client;
use muster_core::digest::Digest;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Packs the area in this directory and makes sure that the server has it.
///
/// # Errors
/// A file cannot be read, or the server does not take it.
pub(super) fn send(client: &Client, area_dir: &Path) -> Result<Digest, anyhow::Error> {
    let unreadable = |e: io::Error| {
        Complaint::lab(format!("the area in `{}` cannot be packed", area_dir.display())).because(e).hint(
            "files that tests do not need can be left out: name them in `.musterignore`, as in `.gitignore`",
        )
    };
    let mut file = tempfile::tempfile().map_err(unreadable)?;
    let digest = pack(area_dir, &file).map_err(unreadable)?;
    if !client.has_blob(digest).map_err(complain)? {
        let len = file.stream_position().map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        client.put_blob(digest, &file, len).map_err(complain)?;
    }
    Ok(digest)
}

fn pack(area_dir: &Path, file: &File) -> io::Result<Digest> {
    let hashing = Hashing { inner: BufWriter::new(file), hash: blake3::Hasher::new() };
    let mut tar = Builder::new(zstd::Encoder::new(hashing, 3)?);
    let walk = WalkBuilder::new(area_dir)
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .add_custom_ignore_filename(".musterignore")
        .sort_by_file_name(Ord::cmp)
        .filter_entry(|e| e.depth() != 1 || (e.file_name() != ".git" && e.file_name() != RECORDS))
        .build();
    for entry in walk {
        let entry = entry.map_err(io::Error::other)?;
        let Ok(name) = entry.path().strip_prefix(area_dir) else { continue };
        if !name.as_os_str().is_empty() {
            add(&mut tar, entry.path(), name)
                .map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", name.display())))?;
        }
    }
    let mut hashing = tar.into_inner()?.finish()?;
    hashing.flush()?;
    Ok(Digest(*hashing.hash.finalize().as_bytes()))
}

/// Adds a file, directory or link; sockets and the like are left out.
fn add<W: Write>(tar: &mut Builder<W>, path: &Path, name: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let mut header = Header::new_gnu();
    header.set_metadata(&meta);
    // Whose they are here means nothing there.
    header.set_uid(0);
    header.set_gid(0);
    if meta.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, fs::read_link(path)?)
    } else if meta.is_dir() {
        header.set_size(0);
        tar.append_data(&mut header, name, io::empty())
    } else if meta.is_file() {
        let mut file = File::open(path)?;
        // It may grow meanwhile; what it had when it was looked at is packed.
        tar.append_data(&mut header, name, io::Read::take(&mut file, meta.len()))
    } else {
        Ok(())
    }
}

/// Passes bytes on and keeps their digest.
struct Hashing<W> {
    inner: W,
    hash: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let file = tempfile::tempfile().unwrap();
        pack(dir, &file).unwrap();
        (&file).rewind().unwrap();
        let mut archive = tar::Archive::new(zstd::Decoder::new(&file).unwrap());
        let entries = archive.entries().unwrap();
        entries.map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_git_or_we_ignore_is_left_out_and_hidden_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for file in
            [".git/config", ".muster/muster.db", "muster.toml", "sub/.hidden", "target/big", "huge.bin"]
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        fs::write(dir.path().join(".gitignore"), "/target\n").unwrap();
        fs::write(dir.path().join(".musterignore"), "*.bin\n").unwrap();
        assert_eq!(names(dir.path()), [".gitignore", ".musterignore", "muster.toml", "sub", "sub/.hidden"]);
    }

    #[test]
    fn the_same_files_come_to_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "b").unwrap();
        fs::write(dir.path().join("a"), "a").unwrap();
        let digest = || pack(dir.path(), &tempfile::tempfile().unwrap()).unwrap();
        let first = digest();
        assert_eq!(first, digest());
        fs::write(dir.path().join("a"), "other").unwrap();
        assert_ne!(first, digest());
    }
}
