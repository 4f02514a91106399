//! `packages.revoked`: versions that must not be used any more, though a device may have them in its cache.
//!
//! It is Muster's own, beside `packages.checksum` and of the same form; Autotest's clients do not ask for it.
//! A package that was merely removed is not fetched any more; what has it keeps it.

use super::checksums::Md5;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Its name.
pub const FILE: &str = "packages.revoked";

/// Versions that must not be used any more, with the files they had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked(BTreeMap<Md5, String>);

impl Revoked {
    /// Reads such a file. Lines that are none are left out.
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let line = |line: &str| {
            let (sum, name) = line.split_once(' ')?;
            Some((sum.parse().ok()?, name.trim().to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// As it is written.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for (sum, name) in &self.0 {
            writeln!(text, "{sum} {name}").expect("writing to a string does not fail");
        }
        text
    }

    /// Whether this is one of them.
    pub fn has(&self, md5: Md5) -> bool {
        self.0.contains_key(&md5)
    }

    /// Adds one.
    pub fn insert(&mut self, md5: Md5, file: &str) {
        self.0.insert(md5, file.to_owned());
    }

    /// Takes one back.
    pub fn remove(&mut self, md5: Md5) -> bool {
        self.0.remove(&md5).is_some()
    }
}
