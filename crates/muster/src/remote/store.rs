//! The store of packages of a lab's own server, as commands use it: to fetch from, to publish in, to tidy up.

use super::complain;
use muster_api::{Client, ClientError};
use muster_core::digest::Digest;
use muster_package::own::{ChunkId, PackageError, Published, Pushed, Source, Sources, Taker};
use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// How often a package is brought anew where it is taken away before it is published.
const TRIES: u32 = 3;

/// To fetch from it.
pub(crate) fn source(client: &Client) -> Source {
    muster_agent::remote::lab_store(client)
}

/// Brings a package to it, which keeps it for whoever needs it, and tells nobody.
///
/// # Errors
/// It cannot be read here, or the server does not take it.
pub(crate) fn push(client: &Client, from: &Sources, package: &Published) -> Result<Pushed, anyhow::Error> {
    let store = Store { client, refused: Mutex::default() };
    from.push(package, &store).map_err(|error| {
        match store.refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(refused) => complain(refused),
            None => crate::commands::package::complain(error),
        }
    })
}

/// Brings a package to it and publishes it. Whether it was published before.
///
/// # Errors
/// As above.
pub(crate) fn publish(
    client: &Client,
    from: &Sources,
    package: &Published,
) -> Result<(Pushed, bool), anyhow::Error> {
    let mut tries = TRIES;
    loop {
        let pushed = push(client, from, package)?;
        tries -= 1;
        match client.publish_package(package.digest) {
            // A collection came between the two.
            Err(e) if e.code() == Some("no-such-package") && tries > 0 => {}
            done => return Ok((pushed, done.map_err(complain)?.known)),
        }
    }
}

/// The store, as one that takes packages in.
struct Store<'a> {
    client: &'a Client,
    /// What the server said when it did not.
    refused: Mutex<Option<ClientError>>,
}

impl Store<'_> {
    fn heard<T>(&self, answer: Result<T, ClientError>, digest: Option<Digest>) -> Result<T, PackageError> {
        answer.map_err(|error| {
            if let (Some("chunks-lacking"), Some(digest)) = (error.code(), digest) {
                return PackageError::Lacking { package: digest.to_string(), chunks: 1 };
            }
            let (place, why) = (self.client.server().to_owned(), error.to_string());
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            PackageError::Unreachable { place, why }
        })
    }
}

impl Taker for Store<'_> {
    fn lacking(&self, chunks: &[ChunkId]) -> Result<Vec<ChunkId>, PackageError> {
        let ids: Vec<[u8; 32]> = chunks.iter().map(|id| id.0).collect();
        let lacking = self.heard(again(|| self.client.lacking_chunks(&ids)), None)?;
        Ok(lacking.into_iter().map(ChunkId).collect())
    }

    fn put_pack(&self, pack: Digest, index: &[u8], file: &File, bytes: u64) -> Result<(), PackageError> {
        self.heard(again(|| self.client.put_pack(pack, index, file, bytes)), None)
    }

    fn put_manifest(&self, manifest: Digest, packed: &[u8]) -> Result<(), PackageError> {
        self.heard(again(|| self.client.put_manifest(manifest, packed)), Some(manifest))
    }
}

/// Asks again what may pass: whatever was heard before does no harm.
fn again<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match ask() {
            Err(e) if e.may_pass() && tries > 0 => std::thread::sleep(std::time::Duration::from_secs(1)),
            answer => return answer,
        }
    }
}
