//! The sums by which a device tells files apart, computed here: each by the name of the program that has it there.

use crate::own::codec;
use crate::own::error::{At as _, PackageError};
use crate::own::lock::write_file;
use crate::own::manifest::{Manifest, What};
use crate::own::parallel;
use crate::own::place::Place;
use md5::{Digest as _, Md5};
use muster_core::digest::Digest;
use ring::digest::{Context, SHA256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};

const MAGIC: &[u8] = b"muster device sums 1\n";

/// A program that sums up files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Sha256,
    Md5,
    /// A CRC and the length: enough against damage, not against malice.
    Cksum,
}

impl Tool {
    /// The best first.
    pub(super) const ALL: [Self; 3] = [Self::Sha256, Self::Md5, Self::Cksum];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256sum",
            Self::Md5 => "md5sum",
            Self::Cksum => "cksum",
        }
    }

    /// What it says of a file, out of a line that it printed.
    pub(super) fn read(self, line: &str) -> Option<String> {
        let mut words = line.trim_start_matches('\\').split_whitespace();
        let first = words.next()?;
        let is_hex = |len| first.len() == len && first.bytes().all(|b| b.is_ascii_hexdigit());
        match self {
            Self::Sha256 => is_hex(64).then(|| first.to_ascii_lowercase()),
            Self::Md5 => is_hex(32).then(|| first.to_ascii_lowercase()),
            Self::Cksum => {
                let (crc, len): (u32, u64) = (first.parse().ok()?, words.next()?.parse().ok()?);
                Some(format!("{crc} {len}"))
            }
        }
    }

    /// Sums up what is written to it.
    pub(super) fn begin(self) -> Summing {
        match self {
            Self::Sha256 => Summing::Sha256(Context::new(&SHA256)),
            Self::Md5 => Summing::Md5(Md5::new()),
            Self::Cksum => Summing::Cksum { crc: 0, len: 0 },
        }
    }

    pub(super) fn of(self, bytes: &[u8]) -> String {
        let mut summing = self.begin();
        summing.take(bytes);
        summing.end()
    }

    fn of_reader(self, mut from: impl Read) -> io::Result<String> {
        let mut summing = self.begin();
        io::copy(&mut from, &mut summing)?;
        Ok(summing.end())
    }
}

/// A sum that is not known yet.
pub(super) enum Summing {
    Sha256(Context),
    Md5(Md5),
    Cksum { crc: u32, len: u64 },
}

impl Summing {
    fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
            Self::Cksum { crc, len } => {
                *crc = bytes.iter().fold(*crc, |crc, byte| crc_of(crc, *byte));
                *len += bytes.len() as u64;
            }
        }
    }

    pub(super) fn end(self) -> String {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                // A string takes all that is written to it.
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        match self {
            Self::Sha256(hash) => hex(hash.finish().as_ref()),
            Self::Md5(hash) => hex(hash.finalize().as_slice()),
            Self::Cksum { crc, len } => {
                // POSIX: the length, lowest byte first and no more bytes than it has, is summed up, too.
                let (mut crc, mut rest) = (crc, len);
                while rest > 0 {
                    crc = crc_of(crc, rest.to_le_bytes()[0]);
                    rest >>= 8;
                }
                format!("{} {len}", !crc)
            }
        }
    }
}

impl Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

fn crc_of(crc: u32, byte: u8) -> u32 {
    (crc << 8) ^ CRC[usize::from((crc >> 24) as u8 ^ byte)]
}

/// The sums of an installed package's files, by its entries; those of links and directories are empty. They are
/// kept beside it.
pub(super) fn of_package(
    place: &Place,
    digest: Digest,
    manifest: &Manifest,
    tool: Tool,
) -> Result<Vec<String>, PackageError> {
    let dir = place.root().join("sums");
    let file = dir.join(format!("{digest}.{}", tool.word()));
    let kept = fs::read(&file).ok().and_then(|b| codec::unseal_own::<Vec<String>>(MAGIC, &b).ok());
    if let Some(kept) = kept.filter(|kept| kept.len() == manifest.entries.len()) {
        return Ok(kept);
    }
    let tree = place.tree(digest);
    let sums = parallel::each(&manifest.entries, 16, |_, entry| match entry.what {
        What::File { .. } => {
            let path = entry.path.below(&tree);
            tool.of_reader(File::open(&path).at(&path)?).at(&path)
        }
        What::Link { .. } | What::Dir => Ok(String::new()),
    })?;
    fs::create_dir_all(&dir).at(&dir)?;
    write_file(&file, &codec::seal(MAGIC, &sums), &place.incoming())?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn sums_are_those_of_the_programs() {
        for tool in Tool::ALL {
            for bytes in [&b""[..], b"a", &[0xa5; 300], &[0; 70_000]] {
                let mut child = Command::new(tool.word())
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("coreutils are installed");
                child.stdin.take().unwrap().write_all(bytes).unwrap();
                let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
                assert_eq!(tool.read(&said), Some(tool.of(bytes)), "{}: {said}", tool.word());
            }
        }
    }

    #[test]
    fn what_is_no_sum_is_none() {
        for tool in Tool::ALL {
            for line in ["", "sha256sum: a: No such file", "12", "zz  a", &"g".repeat(64)] {
                assert_eq!(tool.read(line), None, "{line}");
            }
        }
        assert!(Tool::Sha256.read(&format!("\\{}  a\\nb", "AB".repeat(32))).is_some());
    }
}
