//! How objects are written: a first line that says what they are, then postcard. What is read is written
//! again and compared, so that there is one way to write each thing and its digest names it.

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserializer, Serialize};
use std::fmt;

/// The canonical bytes of an object.
pub(super) fn encode<T: Serialize>(magic: &[u8], object: &T) -> Vec<u8> {
    let bytes = magic.to_vec();
    postcard::to_extend(object, bytes).expect("what we write has nothing that cannot be written")
}

/// Reads what [`encode`] wrote, and nothing else.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode<T: Serialize + DeserializeOwned>(magic: &[u8], bytes: &[u8]) -> Result<T, String> {
    let rest = bytes
        .strip_prefix(magic)
        .ok_or_else(|| format!("it does not begin with `{}`", String::from_utf8_lossy(magic).trim_end()))?;
    let object: T = postcard::from_bytes(rest).map_err(|e| format!("it cannot be read ({e})"))?;
    if encode(magic, &object) != bytes {
        return Err("it is not written in the one way that it may be".to_owned());
    }
    Ok(object)
}

/// Bytes that are written in one piece.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D, what: &'static str) -> Result<Vec<u8>, D::Error> {
    struct Bytes(&'static str);
    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    from.deserialize_bytes(Bytes(what))
}

/// The same with the digest of all of it behind, for what is not named by its own.
pub(super) fn seal<T: Serialize>(magic: &[u8], object: &T) -> Vec<u8> {
    with_digest(encode(magic, object))
}

/// What is written of an object, made to look as [`seal`] does.
pub(super) fn sealed(magic: &[u8], written: &[u8]) -> Vec<u8> {
    with_digest([magic, written].concat())
}

fn with_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = *blake3::hash(&bytes).as_bytes();
    bytes.extend_from_slice(&digest);
    bytes
}

/// Reads what [`seal`] wrote.
///
/// # Errors
/// What is wrong with it.
pub(super) fn unseal<T: Serialize + DeserializeOwned>(magic: &[u8], bytes: &[u8]) -> Result<T, String> {
    let (inner, digest) = bytes.split_last_chunk::<32>().ok_or("it is cut short")?;
    if blake3::hash(inner).as_bytes() != digest {
        return Err("its bytes are not those that were written".to_owned());
    }
    decode(magic, inner)
}

/// The same for what this program has written for itself: it is taken as it is if its digest is right.
///
/// # Errors
/// What is wrong with it.
pub(super) fn unseal_own<T: DeserializeOwned>(magic: &[u8], bytes: &[u8]) -> Result<T, String> {
    let (inner, digest) = bytes.split_last_chunk::<32>().ok_or("it is cut short")?;
    if blake3::hash(inner).as_bytes() != digest {
        return Err("its bytes are not those that were written".to_owned());
    }
    let rest = inner.strip_prefix(magic).ok_or("it is something else")?;
    postcard::from_bytes(rest).map_err(|e| format!("it cannot be read ({e})"))
}
