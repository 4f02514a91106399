//! Files, by the sync service: four letters, a length or a number, bytes.

use super::Adb;
use crate::device::{Captured, Command, Entry, Exit, Kind, Stat};
use crate::error::DeviceError;
use crate::host::files::read_some;
use crate::stream::Stream;
use crate::until::Until;
use std::io::{Read, Write};

/// Most bytes in a piece of a file.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// Longest path the service takes.
const PATH_BYTES_MAX: usize = 1024;
/// Letters and a number.
const HEAD_BYTES: usize = 8;

/// What permission bits with the kind of file say, and the rest.
pub(super) fn stat_of(mode: u32, size: Option<u64>, modified_secs: Option<i64>) -> Stat {
    let kind = match mode & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Dir,
        0o120_000 => Kind::Link,
        _ => Kind::Other,
    };
    Stat {
        kind,
        size: size.filter(|_| kind == Kind::File),
        mode: Some(mode & 0o7777),
        modified_millis: modified_secs.map(|secs| secs * 1000),
    }
}

impl Adb {
    /// A session of the service that has been asked for something about a path.
    fn sync(&self, letters: [u8; 4], path: &str, doing: &str, until: &Until) -> Result<Stream, DeviceError> {
        if path.len() > PATH_BYTES_MAX {
            return Err(DeviceError::Senseless {
                what: format!("a path of {} bytes; adb takes no more than {PATH_BYTES_MAX}", path.len()),
            });
        }
        let mut stream = self.service("sync:", until)?;
        let line = [&letters, &(path.len() as u32).to_le_bytes()[..], path.as_bytes()].concat();
        stream.send_all(&line, until).map_err(|e| self.ended(doing, e, until))?;
        Ok(stream)
    }

    fn head(&self, stream: &mut Stream, doing: &str, until: &Until) -> Result<([u8; 4], usize), DeviceError> {
        let head = self.take(stream, HEAD_BYTES, doing, until)?;
        let mut letters = [0; 4];
        letters.copy_from_slice(&head[..4]);
        let number = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        Ok((letters, usize::try_from(number).unwrap_or(usize::MAX)))
    }

    /// What the service says when it says no.
    fn no(
        &self,
        stream: &mut Stream,
        length: usize,
        path: &str,
        doing: &str,
        until: &Until,
    ) -> Result<DeviceError, DeviceError> {
        let said = self.take(stream, length, doing, until)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let (device, path) = (self.address.clone(), path.to_owned());
        Ok(if said.ends_with("No such file or directory") {
            DeviceError::NotFound { device, path }
        } else if said.ends_with("No space left on device") {
            DeviceError::Full { device, path }
        } else {
            self.refused(doing, said)
        })
    }

    /// Writes a file in place.
    pub(super) fn send(
        &self,
        from: &mut dyn Read,
        size: u64,
        to: &str,
        mode: u32,
        until: &Until,
    ) -> Result<(), DeviceError> {
        let doing = format!("writing `{to}`");
        let ended = |e| self.ended(&doing, e, until);
        let mut stream = self.sync(*b"SEND", &format!("{to},{}", mode | 0o100_000), &doing, until)?;
        let mut piece = vec![0; HEAD_BYTES + PIECE_BYTES_MAX];
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
            let n = read_some(from, &mut piece[HEAD_BYTES..HEAD_BYTES + want])?;
            piece[..4].copy_from_slice(b"DATA");
            piece[4..HEAD_BYTES].copy_from_slice(&(n as u32).to_le_bytes());
            // It speaks before the end only to say no.
            if !stream.send(&piece[..HEAD_BYTES + n], true, until).map_err(ended)? {
                break;
            }
            left -= n as u64;
        }
        if left == 0 {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let secs = now.map_or(0, |d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
            let done = [&b"DONE"[..], &secs.to_le_bytes()].concat();
            stream.send_all(&done, until).map_err(ended)?;
        }
        match self.head(&mut stream, &doing, until)? {
            ([b'O', b'K', b'A', b'Y'], _) if left == 0 => Ok(()),
            ([b'F', b'A', b'I', b'L'], length) => Err(self.no(&mut stream, length, to, &doing, until)?),
            (other, _) => Err(self.nonsense(&doing, format!("{:?}", String::from_utf8_lossy(&other)))),
        }
    }

    /// Reads a whole file.
    pub(super) fn receive(&self, from: &str, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        let doing = format!("reading `{from}`");
        let mut stream = self.sync(*b"RECV", from, &doing, until)?;
        let mut moved = 0;
        loop {
            match self.head(&mut stream, &doing, until)? {
                ([b'D', b'A', b'T', b'A'], length) => {
                    let bytes = self.take(&mut stream, length, &doing, until)?;
                    to.write_all(&bytes)
                        .map_err(|source| DeviceError::Output { device: self.address.clone(), source })?;
                    moved += bytes.len() as u64;
                }
                ([b'D', b'O', b'N', b'E'], _) => return Ok(moved),
                ([b'F', b'A', b'I', b'L'], length) => {
                    return Err(self.no(&mut stream, length, from, &doing, until)?);
                }
                (other, _) => {
                    return Err(self.nonsense(&doing, format!("{:?}", String::from_utf8_lossy(&other))));
                }
            }
        }
    }

    /// Reads a file from an offset on, which the service cannot.
    pub(super) fn tail(
        &self,
        from: &str,
        offset: u64,
        to: &mut dyn Write,
        until: &Until,
    ) -> Result<u64, DeviceError> {
        let (mut moved, mut said) = (0, Captured::default());
        let mut sink = |stream: muster_core::output::Stream, bytes: &[u8]| {
            if stream == muster_core::output::Stream::Stdout {
                moved += bytes.len() as u64;
                return to.write_all(bytes);
            }
            said.stderr.extend_from_slice(bytes);
            Ok(())
        };
        let begin = format!("+{}", offset.saturating_add(1));
        match self.run_line(&Command::new(["tail", "-c", &begin, from]), &mut sink, until)? {
            Exit::Code(0) => Ok(moved),
            _ => {
                let said = String::from_utf8_lossy(&said.stderr).trim().to_owned();
                Err(self.refused(&format!("reading `{from}`"), said))
            }
        }
    }

    /// What is in a directory.
    // Limit: the service tells sizes in 32 bits; those of longer files are left out by nobody but `stat`.
    pub(super) fn entries(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        let doing = format!("listing `{dir}`");
        let mut stream = self.sync(*b"LIST", dir, &doing, until)?;
        let mut entries = Vec::new();
        loop {
            let head = self.take(&mut stream, 20, &doing, until)?;
            let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            match &head[..4] {
                b"DENT" => {}
                b"DONE" => break,
                other => return Err(self.nonsense(&doing, format!("{:?}", String::from_utf8_lossy(other)))),
            }
            let length = usize::try_from(number(16)).unwrap_or(usize::MAX);
            let name = self.take(&mut stream, length, &doing, until)?;
            let name = String::from_utf8_lossy(&name).into_owned();
            if name != "." && name != ".." {
                let stat = stat_of(number(4), Some(number(8).into()), Some(number(12).into()));
                entries.push(Entry { name, stat });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}
