//! The readers of what repositories send, each alone: for the fuzzer, and for the test that replays what it
//! found. Seals are put on here, since nobody who has a wrong one gets any further.

use super::chunk::ChunkId;
use super::codec;
use super::names;
use super::pack::{self, Map, PackIndex, Unpacker};
use serde::Deserialize;

/// The list of what is published, without its last line.
///
/// # Errors
/// What is wrong with it.
pub fn names(body: &[u8]) -> Result<(), String> {
    let seal = blake3::hash(body).to_hex();
    let list = names::decode(&[body, format!("{{\"blake3\":\"{seal}\"}}\n").as_bytes()].concat())?;
    let again = names::decode(&names::encode(&list))?;
    if again == list { Ok(()) } else { Err("it is another when it is written and read".to_owned()) }
}

/// An index of a pack, without its digest.
///
/// # Errors
/// What is wrong with it.
pub fn index(body: &[u8]) -> Result<(), String> {
    let sealed = codec::sealed(pack::INDEX_MAGIC, body);
    let index = PackIndex::decode(&sealed)?;
    assert!(index.encode() == sealed, "there is one way to write it");
    Ok(())
}

/// A map without its digest, the lengths of the chunks of its package, and the bytes of a frame, which is
/// unpacked as each of those that the map names.
///
/// # Errors
/// What is wrong with it.
pub fn frames(bytes: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Input<'a> {
        map: &'a [u8],
        lens: Vec<u16>,
        packed: &'a [u8],
    }
    let Input { map, lens, packed } = postcard::from_bytes(bytes).map_err(|e| e.to_string())?;
    let map = Map::decode(&codec::sealed(pack::MAP_MAGIC, map), lens.len())?;
    let chunks: Vec<(ChunkId, u32)> =
        lens.iter().map(|len| (ChunkId::of(&vec![b'x'; usize::from(*len)]), u32::from(*len))).collect();
    let mut unpacker = Unpacker::default();
    for frame in map.packs.iter().flat_map(|p| &p.frames) {
        let take = |number: u32, bytes: &[u8]| {
            let (id, len) = chunks[number as usize];
            assert!(ChunkId::of(bytes) == id && bytes.len() == len as usize, "it is what it is taken for");
            Ok::<_, ()>(())
        };
        unpacker.unpack(frame, packed, &chunks, |_| true, take).map_err(|e| e.unwrap_or_default())?;
    }
    Ok(())
}

/// A manifest as a patch of another: the other, and the patch.
///
/// # Errors
/// What is wrong with it.
pub fn patch(bytes: &[u8]) -> Result<(), String> {
    let (old, patch): (&[u8], &[u8]) = postcard::from_bytes(bytes).map_err(|e| e.to_string())?;
    super::source::apply_patch(patch, old).map(drop).map_err(|e| e.to_string())
}
