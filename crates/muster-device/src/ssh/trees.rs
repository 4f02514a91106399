//! Whole directories, as one stream of `tar` each way: a session for each file would cost more than the file.
//!
//! What is pushed is unpacked beside its place, counted, and put there when it is whole. What is pulled is
//! unpacked here, file by file, and what the device says about names is not believed. A device without `tar` is
//! served file by file.

use super::device::Ssh;
use super::files::{HAS_SUMS, NO_TAR, sums};
use super::script;
use crate::device::{Device as _, Sink};
use crate::error::DeviceError;
use crate::sut::agent::hex;
use crate::sut::words::shell_quote;
use crate::tree::{Coming, DEPTH_MAX, Moved, Walk, Walked, here, name_of};
use crate::until::Until;
use md5::{Digest as _, Md5};
use muster_core::output::Stream;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::slice;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use tar::{Archive, Builder, EntryType, Header};

/// What archives are made of.
const BLOCK: u64 = 512;

/// Pieces of a stream that wait to be unpacked.
// Limit: of some 256 KiB each.
const PIECES_MAX: usize = 16;

impl Ssh {
    /// Pushes what is in a directory of this host.
    pub(super) fn push_dir(&self, from: &Path, to: &str, until: &Until) -> Result<Moved, DeviceError> {
        let Walk { entries, moved } = Walk::of(from)?;
        let mut size = 2 * BLOCK;
        for entry in &entries {
            size += header(entry).map_err(|e| here("pack", &entry.path, e))?.len() as u64;
            size += entry.size.unwrap_or(0).next_multiple_of(BLOCK);
        }
        // A directory that is there already gets the files one directory at a time. Some `find` take the braces
        // for theirs wherever they stand.
        let lines = format!(
            "command -v tar >/dev/null || exit {NO_TAR}
             if [ -d \"$p\" ]; then t=\"$p\"/{part}; else mkdir -p \"${{p%/*}}/\" || exit 1; t=${{p%/*}}/{part}; fi
             mkdir \"$t\" || exit 1
             trap 'rm -rf \"$t\"' EXIT
             tar -xomf - -C \"$t\" || exit 1
             n=$(find \"$t\" -type f -exec cat {{}} + | wc -c)
             if [ \"$n\" -ne {bytes} ]; then echo \"$n of {bytes} bytes arrived\" >&2; exit 1; fi
             if {HAS_SUMS}; then find \"$t\" -type f -exec md5sum {{}} + || exit 1; fi
             if ! [ -d \"$p\" ]; then mv \"$t\" \"$p\"; exit; fi
             cd \"$t\" && find . -type d -exec sh -c 'o=\"{{\"\"}}\"; for d; do
               mkdir -p \"$0/$d\" || exit 1
               find \"$d/.\" ! -name . -prune -type f -exec \
                 sh -c \"mv -f \\\"\\$@\\\" \\\"\\$0\\\"\" \"$0/$d\" \"$o\" + || exit 1
             done' \"$p\" {{}} +",
            part = shell_quote(&format!(".{}.part", script::nonce())),
            bytes = moved.bytes,
        );
        let to = if to == "/" { to } else { to.trim_end_matches('/') };
        let mut packed = Packed::new(&entries);
        let said = self.about(to, &lines, Some((&mut packed, size)), &format!("writing `{to}`"), until)?;
        let (mut sent, mut found) = (packed.sums, sums(&said));
        sent.sort_unstable();
        found.sort_unstable();
        // A device without `md5sum` is believed.
        if !found.is_empty() && found != sent {
            let wrong = sent.iter().filter(|sum| found.binary_search(sum).is_err()).count().max(1);
            return Err(self.damaged(to, format!("{wrong} of its files are not what was sent, by their MD5")));
        }
        Ok(moved)
    }

    /// Pulls what is in a directory of the device.
    pub(super) fn pull_dir(&self, from: &str, to: &Path, until: &Until) -> Result<Moved, DeviceError> {
        let lines = format!(
            "command -v tar >/dev/null || exit {NO_TAR}
             cd \"$p\" && exec tar -cf - ."
        );
        let doing = format!("reading `{from}`");
        let (pieces, come) = sync_channel(PIECES_MAX);
        thread::scope(|scope| {
            let unpacker = scope
                .spawn(|| unpack(Incoming { come, piece: Vec::new(), at: 0 }, (self.address(), from), to));
            let mut sink = Outgoing(pieces);
            let told = self.about_to(from, &lines, None, &mut sink, &doing, until);
            drop(sink);
            let unpacked = unpacker.join().expect("a thread that panics has aborted");
            match told {
                // Why nobody takes it any more says more.
                Err(DeviceError::Output { .. }) if unpacked.is_err() => unpacked,
                // It is what it was at some moment, as with any other way of copying.
                Err(DeviceError::Refused { said, .. }) if only_changed(&said) => unpacked,
                Err(e) => Err(e),
                Ok(()) => unpacked,
            }
        })
    }
}

/// Whether all that `tar` complains of is that somebody writes to what it reads.
fn only_changed(said: &str) -> bool {
    !said.is_empty() && said.lines().all(|line| line.ends_with("file changed as we read it"))
}

/// What is before the bytes of an entry.
fn header(entry: &Walked) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_entry_type(if entry.size.is_some() { EntryType::Regular } else { EntryType::Directory });
    header.set_mode(if entry.size.is_none() || entry.executable { 0o755 } else { 0o644 });
    header.set_size(entry.size.unwrap_or(0));
    for set in [Header::set_uid, Header::set_gid, Header::set_mtime] {
        set(&mut header, 0);
    }
    let mut blocks = Builder::new(Vec::new());
    let name = if entry.name.is_empty() { "." } else { &entry.name };
    blocks.append_data(&mut header, name, io::empty())?;
    Ok(blocks.get_ref().clone())
}

/// An archive that is made while it is read.
struct Packed<'a> {
    entries: slice::Iter<'a, Walked>,
    /// What comes before the file, and how much of it was read.
    block: Vec<u8>,
    at: usize,
    file: Option<(File, &'a Walked, u64)>,
    /// Of what was read of it, and of the files before it.
    md5: Md5,
    sums: Vec<String>,
    ended: bool,
}

impl<'a> Packed<'a> {
    fn new(entries: &'a [Walked]) -> Self {
        let (md5, sums) = (Md5::new(), Vec::new());
        Self { entries: entries.iter(), block: Vec::new(), at: 0, file: None, md5, sums, ended: false }
    }

    /// What comes when the block and the file are read; whether anything does.
    fn go_on(&mut self) -> io::Result<bool> {
        self.at = 0;
        if let Some((_, entry, _)) = self.file.take() {
            let size = entry.size.unwrap_or(0);
            self.sums.push(hex(&self.md5.finalize_reset()));
            self.block = vec![0; (size.next_multiple_of(BLOCK) - size) as usize];
        } else if let Some(entry) = self.entries.next() {
            self.block = header(entry)?;
            if let Some(size) = entry.size {
                let file = File::open(&entry.path).map_err(|e| about(entry, &e))?;
                self.file = Some((file, entry, size));
            }
        } else {
            self.block = if self.ended { Vec::new() } else { vec![0; 2 * BLOCK as usize] };
            return Ok(!std::mem::replace(&mut self.ended, true));
        }
        Ok(true)
    }
}

fn about(entry: &Walked, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("`{}`: {e}", entry.path.display()))
}

impl Packed<'_> {
    /// Some bytes of the block or the file; none where both are read.
    fn some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.block.len() {
            let n = (self.block.len() - self.at).min(buffer.len());
            buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
            self.at += n;
            return Ok(n);
        }
        let Some((file, entry, left)) = self.file.as_mut().filter(|(_, _, left)| *left > 0) else {
            return Ok(0);
        };
        let want = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let n = file.read(&mut buffer[..want]).map_err(|e| about(entry, &e))?;
        if n == 0 {
            let shorter = io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter");
            return Err(about(entry, &shorter));
        }
        *left -= n as u64;
        self.md5.update(&buffer[..n]);
        Ok(n)
    }
}

impl Read for Packed<'_> {
    /// As much as fits: many small files are written to the connection at once.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.some(&mut buffer[filled..])? {
                0 if !self.go_on()? => break,
                n => filled += n,
            }
        }
        Ok(filled)
    }
}

/// Pieces of a stream, for the thread that unpacks it.
struct Outgoing(SyncSender<Vec<u8>>);

impl Sink for Outgoing {
    fn take(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
        self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Incoming {
    come: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Ok(piece) = self.come.recv() else { return Ok(0) };
            (self.piece, self.at) = (piece, 0);
        }
        let n = (self.piece.len() - self.at).min(buffer.len());
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Makes directories and files of an archive in a directory of this host, and nothing else. It is of this device
/// and called so there.
fn unpack(mut archive: impl Read, (device, from): (&str, &str), to: &Path) -> Result<Moved, DeviceError> {
    let mut moved = Moved::default();
    let nonsense = |e: io::Error| DeviceError::Senseless {
        what: format!("what the device tells of `{from}` is no archive: {e}"),
    };
    fs::create_dir_all(to).map_err(|e| here("create", to, e))?;
    for entry in Archive::new(&mut archive).entries().map_err(nonsense)? {
        let mut entry = entry.map_err(nonsense)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut path = to.to_owned();
        let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
        for (depth, part) in parts.enumerate() {
            if depth == DEPTH_MAX {
                let what = format!("`{from}` on the device is nested more than {DEPTH_MAX} deep");
                return Err(DeviceError::Senseless { what });
            }
            path.push(name_of(part)?);
        }
        match entry.header().entry_type() {
            EntryType::Directory => {
                fs::create_dir_all(&path).map_err(|e| here("create", &path, e))?;
                moved.dirs += 1;
            }
            EntryType::Regular | EntryType::Continuous => {
                if let Some(above) = path.parent() {
                    fs::create_dir_all(above).map_err(|e| here("create", above, e))?;
                }
                let coming = Coming::new(&path)?;
                let bytes = io::copy(&mut entry, &mut &coming.file).map_err(|e| here("write", &path, e))?;
                if bytes != entry.size() {
                    return Err(DeviceError::Damaged {
                        device: device.to_owned(),
                        path: name,
                        what: format!("{bytes} of {} bytes arrived", entry.size()),
                    });
                }
                coming.finish(entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0))?;
                moved.files += 1;
                moved.bytes += bytes;
            }
            _ => moved.left_out += 1,
        }
    }
    // Behind its end an archive is filled up to a round length. Who sends that must find somebody who takes it.
    io::copy(&mut archive, &mut io::sink()).map_err(nonsense)?;
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive whose names nothing has looked at.
    fn hostile(names: &[(&str, EntryType)]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, kind) in names {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o6755);
            header.set_size(if *kind == EntryType::Regular { 1 } else { 0 });
            if *kind == EntryType::Symlink {
                header.set_link_name("/tmp").unwrap();
            }
            header.set_cksum();
            archive.extend_from_slice(header.as_bytes());
            if *kind == EntryType::Regular {
                archive.extend_from_slice(&[b'x'; BLOCK as usize]);
            }
        }
        archive.extend_from_slice(&[0; 2 * BLOCK as usize]);
        archive
    }

    #[test]
    fn nothing_of_a_hostile_archive_leaves_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        for name in ["../x", "a/../../x", "/../x"] {
            let error = unpack(&*hostile(&[(name, EntryType::Regular)]), ("d:", "/d"), &to).unwrap_err();
            assert_eq!(error.code(), "senseless", "{name}");
        }
        // A link is not made, so that what is said to be behind it is in a directory.
        let through = [("l", EntryType::Symlink), ("l/x", EntryType::Regular), ("/y", EntryType::Regular)];
        let moved = unpack(&*hostile(&through), ("d:", "/d"), &to).unwrap();
        assert_eq!((moved.files, moved.left_out), (2, 1));
        assert!(to.join("l/x").is_file() && to.join("y").is_file() && !to.join("l").is_symlink());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(to.join("y")).unwrap().permissions().mode() & 0o7000, 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_fills_up_an_archive_behind_its_end_is_taken_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut filled = hostile(&[("f", EntryType::Regular)]);
        filled.resize(20 * BLOCK as usize, 0);
        let mut rest = &*filled;
        assert_eq!(unpack(&mut rest, ("d:", "/d"), dir.path()).unwrap().files, 1);
        assert!(rest.is_empty(), "{} bytes find nobody", rest.len());
    }

    #[test]
    fn an_archive_that_is_cut_or_is_none_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let whole = hostile(&[("f", EntryType::Regular)]);
        assert!(unpack(&whole[..512], ("d:", "/d"), dir.path()).is_err());
        assert!(unpack(&whole[..100], ("d:", "/d"), dir.path()).is_err());
        assert!(unpack(&[b'x'; 4096][..], ("d:", "/d"), dir.path()).is_err());
        assert!(!dir.path().join("f").exists());
    }

    #[test]
    fn what_is_packed_is_as_long_as_was_said_and_can_be_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        let deep = from.join("d".repeat(80)).join("e".repeat(80));
        fs::create_dir_all(&deep).unwrap();
        for (name, size) in [("none", 0), ("one", 1), ("block", 512), ("more", 513)] {
            fs::write(deep.join(name), vec![b'x'; size]).unwrap();
        }
        let Walk { entries, moved } = Walk::of(&from).unwrap();
        let mut archive = Vec::new();
        Packed::new(&entries).read_to_end(&mut archive).unwrap();
        let to = dir.path().join("to");
        assert_eq!(unpack(&*archive, ("d:", "/d"), &to).unwrap(), moved);
        let read =
            |name: &str| fs::read(to.join("d".repeat(80)).join("e".repeat(80)).join(name)).unwrap().len();
        assert_eq!((read("none"), read("one"), read("block"), read("more")), (0, 1, 512, 513));
    }
}
