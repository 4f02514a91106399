//! What is published in a repository: a line of JSON for each package, and a last one with the digest of all
//! those before it. Later lines are newer.

use super::about::{Kind, Reference, Wanted};
use super::manifest::Manifest;
use muster_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// The file in a repository.
pub(super) const NAMES_FILE: &str = "packages.jsonl";
/// Longest list that is read.
// Limit: it is held in memory.
pub(super) const NAMES_BYTES_MAX: u64 = 64 << 20;

/// A package that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// What it is for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// For which devices it is: CEL; empty for all.
    pub platform: String,
    /// What it is.
    pub digest: Digest,
    /// Bytes of its files.
    pub bytes: u64,
    /// Number of its files.
    pub files: u64,
}

impl Published {
    /// What a manifest of this digest is, as it is listed.
    pub(super) fn of(manifest: &Manifest, digest: Digest) -> Self {
        let about = &manifest.about;
        Self {
            kind: about.kind,
            name: about.name.clone(),
            version: about.version.clone(),
            platform: about.platform.clone(),
            digest,
            bytes: manifest.bytes(),
            files: manifest.files() as u64,
        }
    }

    /// Kind, name and version as they are asked for.
    pub fn reference(&self) -> Reference {
        let wanted =
            if self.version.is_empty() { Wanted::Newest } else { Wanted::Version(self.version.clone()) };
        Reference { kind: self.kind, name: self.name.clone(), wanted }
    }

    /// Whether it is one of those that are asked for.
    pub fn is(&self, wanted: &Reference) -> bool {
        let is_it = match &wanted.wanted {
            Wanted::Newest => true,
            Wanted::Version(version) => *version == self.version,
            Wanted::Exactly(digest) => *digest == self.digest,
        };
        is_it && self.kind == wanted.kind && self.name == wanted.name
    }

    /// `KIND:NAME@VERSION`, or with the digest where there is no version.
    pub fn title(&self) -> String {
        match self.version.as_str() {
            "" => format!("{}:{}@{}", self.kind, self.name, self.digest),
            version => format!("{}:{}@{version}", self.kind, self.name),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    blake3: Digest,
}

/// The file's text.
pub(super) fn encode(list: &[Published]) -> Vec<u8> {
    let mut text = Vec::new();
    for published in list {
        serde_json::to_writer(&mut text, published).expect("it has nothing that JSON has not");
        text.push(b'\n');
    }
    let seal = Seal { blake3: Digest(*blake3::hash(&text).as_bytes()) };
    serde_json::to_writer(&mut text, &seal).expect("it has nothing that JSON has not");
    text.push(b'\n');
    text
}

/// Reads the file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(text: &[u8]) -> Result<Vec<Published>, String> {
    let body = text.strip_suffix(b"\n").ok_or("it is cut short")?;
    let at = body.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let (list, seal) = body.split_at(at);
    let seal: Seal = serde_json::from_slice(seal).map_err(|_| "it does not end with its digest")?;
    if blake3::hash(list).as_bytes() != &seal.blake3.0 {
        return Err("its bytes are not those that were written".to_owned());
    }
    let lines = list.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let list: Vec<Published> =
        lines.map(|l| serde_json::from_slice(l).map_err(|e| e.to_string())).collect::<Result<_, _>>()?;
    for published in &list {
        // What comes of these becomes paths.
        published.reference().to_string().parse::<Reference>().map_err(|e| e.to_string())?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_that_changes_is_noticed() {
        let digest = Digest([7; 32]);
        let one = Published {
            kind: Kind::Dep,
            name: "a".to_owned(),
            version: "1".to_owned(),
            platform: String::new(),
            digest,
            bytes: 1,
            files: 1,
        };
        let two = Published { version: "2".to_owned(), ..one.clone() };
        let text = encode(&[one.clone(), two.clone()]);
        assert_eq!(decode(&text).unwrap(), [one, two]);
        assert_eq!(decode(&encode(&[])).unwrap(), []);
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "byte {at}");
            assert!(decode(&text[..at]).is_err(), "cut at {at}");
        }
    }
}
