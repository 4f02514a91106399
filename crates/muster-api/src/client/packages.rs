//! The server's own store of packages: files of a repository to read, chunks and manifests to bring, the list of
//! what is published.

use super::{ANSWER_MAX, Client, ClientError};
use crate::{
    CBOR, Lender, Lends, LendsHeard, Needs, PackagePublished, PackagesCollected, PackagesRemoved,
    PrunePackages, to_cbor,
};
use muster_core::digest::Digest;
use muster_core::id::AgentId;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::ops::Range;
use std::time::Duration;
use ureq::SendBody;
use ureq::http::{StatusCode, header};

/// How long the server may take to send a file or a part of one.
const FILE_MAX: Duration = Duration::from_secs(120);
/// How long it may take to look through what it keeps.
const COLLECT_MAX: Duration = Duration::from_secs(3_600);

impl Client {
    /// A file of the store, or a part of it; `None` where there is none. What is read is not checked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn package_file(
        &self,
        name: &str,
        part: Option<Range<u64>>,
    ) -> Result<Option<Box<dyn Read>>, ClientError> {
        let url = self.url(&format!("/packages/{name}"));
        let sent = self.call(|http| {
            let mut request = http.get(&url);
            if let Some(part) = &part {
                let range = format!("bytes={}-{}", part.start, part.end.saturating_sub(1));
                request = request.header("range", range);
            }
            let request = request.config().timeout_recv_response(Some(ANSWER_MAX));
            request.timeout_recv_body(Some(FILE_MAX)).build().call()
        });
        let answer = match self.heard(sent) {
            Ok(answer) => answer,
            Err(ClientError::Refused(problem)) if problem.status == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let not_understood =
            |why: &str| ClientError::NotUnderstood { server: self.server.clone(), why: why.to_owned() };
        match (answer.status(), part) {
            (StatusCode::OK, None) => {}
            (StatusCode::PARTIAL_CONTENT, Some(part)) => {
                let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
                if !range.is_some_and(|range| range.starts_with(&format!("bytes {}-", part.start))) {
                    return Err(not_understood("it answers with another part of a file"));
                }
            }
            _ => return Err(not_understood("it answers with another part of a file")),
        }
        Ok(Some(Box::new(answer.into_body().into_with_config().limit(u64::MAX).reader())))
    }

    /// Those of these chunks that the store lacks.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn lacking_chunks(&self, chunks: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, ClientError> {
        let url = self.url("/packages/lacking");
        let sent = self.call(|http| {
            let request = http.post(&url).header("content-type", "application/octet-stream").config();
            request.timeout_recv_response(Some(ANSWER_MAX)).build().send(chunks.as_flattened())
        });
        let mut answer = self.heard(sent)?;
        let most = chunks.as_flattened().len() as u64;
        let bytes = answer.body_mut().with_config().limit(most + 1).read_to_vec();
        let bytes = bytes.map_err(|e| self.broken(e))?;
        let (lacking, rest) = bytes.as_chunks::<32>();
        if rest.is_empty() {
            return Ok(lacking.to_vec());
        }
        let why = "it answers with a part of a digest".to_owned();
        Err(ClientError::NotUnderstood { server: self.server.clone(), why })
    }

    /// Gives the store a pack of this many bytes, with its index. When this returns it has it safe.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_pack(
        &self,
        pack: Digest,
        index: &[u8],
        mut file: &File,
        bytes: u64,
    ) -> Result<(), ClientError> {
        let url = self.url(&format!("/packages/packs/{pack}?index={}", index.len()));
        let sent = self.call(|http| {
            file.rewind()?;
            let mut body = io::Cursor::new(index).chain(file);
            let request = http.put(&url).header("content-length", index.len() as u64 + bytes);
            request.send(SendBody::from_reader(&mut body))
        });
        self.heard(sent).map(drop)
    }

    /// Gives the store a manifest, compressed. When this returns it keeps the package.
    ///
    /// # Errors
    /// [`ClientError`]; `chunks-lacking`: it has not all of its chunks (any more).
    pub fn put_manifest(&self, manifest: Digest, packed: &[u8]) -> Result<(), ClientError> {
        let url = self.url(&format!("/packages/manifests/{manifest}"));
        let sent = self.call(|http| {
            let request = http.put(&url).header("content-type", "application/octet-stream").config();
            request.timeout_recv_response(Some(ANSWER_MAX)).build().send(packed)
        });
        self.heard(sent).map(drop)
    }

    /// Publishes a package that the store keeps.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn publish_package(&self, manifest: Digest) -> Result<PackagePublished, ClientError> {
        let url = self.url(&format!("/packages/published/{manifest}"));
        let sent =
            self.call(|http| http.put(&url).config().timeout_global(Some(ANSWER_MAX)).build().send_empty());
        self.read_json(self.heard(sent)?)
    }

    /// Takes a package off the list.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove_package(&self, manifest: Digest) -> Result<(), ClientError> {
        self.delete(&format!("/packages/published/{manifest}"))
    }

    /// Takes all but the newest of each name off the list.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn prune_packages(&self, prune: PrunePackages) -> Result<PackagesRemoved, ClientError> {
        let url = self.url("/packages/prune");
        self.read_json(self.heard(self.send_json(|http| http.post(&url), &prune))?)
    }

    /// Takes away what no published package and no run that is under way needs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn collect_packages(&self) -> Result<PackagesCollected, ClientError> {
        let url = self.url("/packages/collect");
        let sent =
            self.call(|http| http.post(&url).config().timeout_global(Some(COLLECT_MAX)).build().send_empty());
        self.read_json(self.heard(sent)?)
    }

    /// An agent says what others can have from it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn lends(&self, agent: AgentId, lends: &Lends) -> Result<LendsHeard, ClientError> {
        let url = self.url(&format!("/agents/{}/lends", agent.0));
        let sent = self.call(|http| {
            let request = http.put(&url).header("content-type", CBOR).config();
            request.timeout_global(Some(ANSWER_MAX)).build().send(&to_cbor(lends)[..])
        });
        self.read(self.heard(sent)?)
    }

    /// Other agents that have what an agent needs.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn lenders(&self, agent: AgentId, needs: &Needs) -> Result<Vec<Lender>, ClientError> {
        let url = self.url(&format!("/agents/{}/lenders", agent.0));
        let sent = self.call(|http| {
            let request = http.post(&url).header("content-type", CBOR).config();
            request.timeout_global(Some(ANSWER_MAX)).build().send(&to_cbor(needs)[..])
        });
        self.read(self.heard(sent)?)
    }
}
