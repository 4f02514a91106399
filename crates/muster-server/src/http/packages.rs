//! The server's own store of packages: its files, as any web server would give them out; and what may be done to
//! it by those who may.
//!
//! ```text
//! POST lacking ─► PUT packs … ─► PUT manifests/DIGEST ─► kept: a run may need it ─► PUT published/DIGEST
//! ```

use super::State;
use super::answer::{Refusal, digest};
use super::codes::problems;
use super::guard::Audited;
use super::range::{body_of, wanted};
use crate::desk::{Ask, down};
use axum::body::{Body, Bytes};
use axum::extract::{self, Path, Query};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use muster_api::{PackageName, PackagePublished, PackagesCollected, PackagesRemoved, Problem, PrunePackages};
use muster_core::change::RunSpec;
use muster_core::digest::Digest;
use muster_core::inputs::Needed;
use muster_package::own::{
    ChunkId, PackageError, Published, Reference, Repository, SENT, TAKEN_INDEX_BYTES_MAX,
    TAKEN_PACK_BYTES_MAX, Wanted,
};
use muster_store::Store as _;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use tokio::sync::OwnedRwLockReadGuard;

problems! {
    OfFile: "no-such-package", "range-not-satisfiable";
    OfLacking: "bad-body@400", "too-long";
    OfPack: "bad-digest", "bad-query", "bad-package", "cut-off", "too-long", "no-room";
    OfManifest: "bad-digest", "bad-package", "chunks-lacking", "too-long", "no-room";
    OfPublish: "bad-digest", "no-such-package", "package-exists", "bad-package", "no-room";
    OfRemove: "bad-digest", "no-such-package", "bad-package", "no-room";
    OfPrune: "bad-body", "bad-package", "no-room", "too-long";
    OfCollect: "bad-package", "no-room";
}

/// The list of what is published, or the mark of a repository
///
/// `packages.jsonl` has a line of JSON for each package, and a last one with the digest of those before it. With this as its
/// address (`…/api/v1/packages`) the store is a repository like any other.
#[utoipa::path(get, path = "/packages/{file}", tag = "packages", operation_id = "get_package_list",
    params(
        ("file" = String, Path, description = "Its name", pattern = r"^(packages\.jsonl|muster-repository\.toml)$"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfFile,
    ))]
pub(super) async fn root_file(
    extract::State(state): extract::State<State>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !["packages.jsonl", "muster-repository.toml"].contains(&file.as_str()) {
        return Err(absent(&file));
    }
    give(&state, &file, &headers)
}

/// A manifest, compressed by Zstandard, or a range of it
#[utoipa::path(get, path = "/packages/manifests/{manifest}", tag = "packages", operation_id = "get_manifest",
    params(
        ("manifest" = String, Path, description = "The package's digest", pattern = "^[0-9a-f]{64}$"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfFile,
    ))]
pub(super) async fn manifest(
    extract::State(state): extract::State<State>,
    Path(manifest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    object(&state, "manifests", &manifest, &[&manifest], &headers)
}

/// Where the chunks of a package are
#[utoipa::path(get, path = "/packages/maps/{manifest}", tag = "packages", operation_id = "get_map",
    params(
        ("manifest" = String, Path, description = "The package's digest", pattern = "^[0-9a-f]{64}$"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfFile,
    ))]
pub(super) async fn map(
    extract::State(state): extract::State<State>,
    Path(manifest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    object(&state, "maps", &manifest, &[&manifest], &headers)
}

/// A pack of chunks, its index (`.index` behind the name), or a range of one
#[utoipa::path(get, path = "/packages/packs/{pack}", tag = "packages", operation_id = "get_pack",
    params(
        ("pack" = String, Path, description = "Its digest", pattern = r"^[0-9a-f]{64}(\.index)?$"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfFile,
    ))]
pub(super) async fn pack(
    extract::State(state): extract::State<State>,
    Path(pack): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = pack.strip_suffix(".index").unwrap_or(&pack);
    object(&state, "packs", &pack, &[name], &headers)
}

/// A manifest as what it has that an older one has not
#[utoipa::path(get, path = "/packages/patches/{patch}", tag = "packages", operation_id = "get_patch",
    params(
        ("patch" = String, Path, description = "Digests of the new and the old package", pattern = "^[0-9a-f]{64}-[0-9a-f]{64}$"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfFile,
    ))]
pub(super) async fn patch(
    extract::State(state): extract::State<State>,
    Path(patch): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (new, old) = patch.split_once('-').unwrap_or((&patch, ""));
    object(&state, "patches", &patch, &[new, old], &headers)
}

/// A file that is named by digests.
fn object(
    state: &State,
    dir: &str,
    name: &str,
    digests: &[&str],
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if digests.iter().any(|digest| digest.parse::<Digest>().is_err()) {
        return Err(absent(name));
    }
    give(state, &format!("{dir}/{name}"), headers)
}

fn give(state: &State, name: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let path = state.packages.repository.root().join(name);
    let broken = |source: io::Error| problem(&PackageError::Io { path: path.clone(), source });
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(absent(name)),
        Err(e) => return Err(broken(e).into()),
    };
    let meta = file.metadata().map_err(broken)?;
    // What is replaced is another file.
    let tag = format!("\"{:x}-{:x}-{:x}\"", meta.ino(), meta.mtime_nsec(), meta.len());
    let wanted = wanted(headers, meta.len(), &tag)?;
    let body = body_of(file, &wanted).map_err(broken)?;
    Ok(wanted.answer("application/octet-stream", body))
}

fn absent(name: &str) -> Refusal {
    Problem::new(404, "no-such-package", format!("`{name}` is not in this store"))
        .next("`packages.jsonl` lists what is published")
        .into()
}

/// Which chunks the store lacks
///
/// The body is the digests of chunks, 32 bytes each, one behind the other, and so is the answer.
#[utoipa::path(post, path = "/packages/lacking", tag = "packages", operation_id = "lacking_chunks",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "Those that are not here", body = Vec<u8>,
               content_type = "application/octet-stream"), OfLacking))]
pub(super) async fn lacking(
    extract::State(state): extract::State<State>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (chunks, rest) = body.as_chunks::<32>();
    if chunks.is_empty() || !rest.is_empty() {
        let said = "the body is no list of digests of 32 bytes each";
        return Err(Problem::new(400, "bad-body", said).next("send them one behind the other").into());
    }
    let chunks: Vec<ChunkId> = chunks.iter().map(|id| ChunkId(*id)).collect();
    let lacking = work(&state, move |repository| repository.lacking(&chunks)).await?;
    let bytes: Vec<u8> = lacking.iter().flat_map(|id| id.0).collect();
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// What is said of a pack that is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SentPack {
    /// Bytes of its index.
    index: u64,
}

/// Takes a pack of chunks in
///
/// The body is the pack's index and then the pack. Every chunk is verified; when this is answered it survives a power cut.
/// Chunks that no package needs go with the next collection. Sending a pack again does nothing.
#[utoipa::path(put, path = "/packages/packs/{pack}", tag = "packages", operation_id = "put_pack",
    params(
        ("pack" = String, Path, description = "Its digest", pattern = "^[0-9a-f]{64}$"),
        ("index" = u64, Query, description = "Bytes of the index", minimum = 1, maximum = 67108864),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is kept"),
        (status = 204, description = "It was here before"),
        OfPack,
    ))]
pub(super) async fn put_pack(
    extract::State(state): extract::State<State>,
    Path(pack): Path<String>,
    Query(SentPack { index: index_len }): Query<SentPack>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let pack = digest(&pack)?;
    if index_len == 0 {
        return Err(Problem::new(400, "bad-query", "a pack has an index").next("say how long it is").into());
    }
    if index_len > TAKEN_INDEX_BYTES_MAX {
        let said = format!("an index has at most {TAKEN_INDEX_BYTES_MAX} bytes");
        return Err(Problem::new(400, "bad-query", said).next("send it in several packs").into());
    }
    let no_room = |e: io::Error| Refusal::from(Problem { code: "no-room".to_owned(), ..down(&e) });
    let mut incoming = state.packages.begin().map_err(no_room)?;
    let (mut index, mut len) = (Vec::new(), 0);
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let broken =
            |e: axum::Error| Problem::new(408, "cut-off", format!("the pack ended in the middle: {e}"));
        let piece = piece.map_err(broken)?;
        let of_index = usize::try_from(index_len).unwrap_or(usize::MAX) - index.len();
        let (head, rest) = piece.split_at(of_index.min(piece.len()));
        index.extend_from_slice(head);
        len += rest.len() as u64;
        if len > TAKEN_PACK_BYTES_MAX {
            return Err(too_long(&format!("a pack has at most {TAKEN_PACK_BYTES_MAX} bytes")));
        }
        tokio::task::block_in_place(|| incoming.push(rest)).map_err(no_room)?;
    }
    let is_new = work(&state, move |repository| repository.take_pack(pack, &index, &incoming.path)).await?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// Takes the manifest of a package in
///
/// Compressed by Zstandard. All chunks of the package must be here. From then on it can be had by its digest, and a run may
/// need it; it is published by its name with another request. What is neither published nor needed by a run that is queued
/// or under way goes with the next collection.
#[utoipa::path(put, path = "/packages/manifests/{manifest}", tag = "packages", operation_id = "put_manifest",
    params(("manifest" = String, Path, description = "The package's digest", pattern = "^[0-9a-f]{64}$")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "The package is kept"), OfManifest))]
pub(super) async fn put_manifest(
    extract::State(state): extract::State<State>,
    Path(manifest): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let manifest = digest(&manifest)?;
    work(&state, move |repository| repository.take_manifest(manifest, &body)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Publishes a package that the store keeps
///
/// One version of a name and platform is published once. Publishing a package again makes it the newest of its name.
#[utoipa::path(put, path = "/packages/published/{manifest}", tag = "packages", operation_id = "publish_package",
    params(("manifest" = String, Path, description = "The package's digest", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, description = "It is on the list", body = ref("#/components/schemas/PackagePublished")),
              OfPublish))]
pub(super) async fn publish(
    extract::State(state): extract::State<State>,
    Path(manifest): Path<String>,
) -> Result<(Extension<Audited>, Json<PackagePublished>), Refusal> {
    let manifest = digest(&manifest)?;
    let _gate = state.packages.gate.read().await;
    let upload = work(&state, move |repository| repository.publish_kept(manifest)).await?;
    let name = name_of(&upload.package);
    Ok((Extension(Audited(name.package.clone())), Json(PackagePublished { name, known: upload.is_known })))
}

/// Takes a package off the list
///
/// Its bytes stay until the next collection, and for as long as a run needs them.
#[utoipa::path(delete, path = "/packages/published/{manifest}", tag = "packages", operation_id = "remove_package",
    params(("manifest" = String, Path, description = "The package's digest", pattern = "^[0-9a-f]{64}$")),
    responses((status = 204, description = "It is off the list"), OfRemove))]
pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    Path(manifest): Path<String>,
) -> Result<(Extension<Audited>, StatusCode), Refusal> {
    let manifest = digest(&manifest)?;
    let title = work(&state, move |repository| {
        let found = repository.list()?.into_iter().find(|p| p.digest == manifest);
        let package = found.ok_or_else(|| PackageError::Missing {
            what: format!("a published package `{manifest}`"),
            place: "this store".to_owned(),
        })?;
        repository.remove(&Reference { wanted: Wanted::Exactly(manifest), ..package.reference() })?;
        Ok(package.title())
    });
    Ok((Extension(Audited(title.await?)), StatusCode::NO_CONTENT))
}

/// Takes all but the newest packages of each name and platform off the list
#[utoipa::path(post, path = "/packages/prune", tag = "packages", operation_id = "prune_packages",
    request_body(content = ref("#/components/schemas/PrunePackages"), content_type = "application/json"),
    responses((status = 200, description = "What was taken off", body = ref("#/components/schemas/PackagesRemoved")),
              OfPrune))]
pub(super) async fn prune(
    extract::State(state): extract::State<State>,
    Json(PrunePackages { keep }): Json<PrunePackages>,
) -> Result<(Extension<Audited>, Json<PackagesRemoved>), Refusal> {
    if keep == 0 {
        return Err(Problem::new(422, "bad-body", "at least one of each name stays")
            .next("packages are removed one by one")
            .into());
    }
    let pruned = work(&state, move |repository| repository.prune(keep as usize)).await?;
    let removed: Vec<PackageName> = pruned.removed.iter().map(name_of).collect();
    let said = format!("{} removed, {keep} of each name kept", removed.len());
    Ok((Extension(Audited(said)), Json(PackagesRemoved { removed })))
}

/// Takes away what nothing needs any more
///
/// What a published package, or a run that is queued or under way, needs stays.
#[utoipa::path(post, path = "/packages/collect", tag = "packages", operation_id = "collect_packages",
    responses((status = 200, description = "What was taken away", body = ref("#/components/schemas/PackagesCollected")),
              OfCollect))]
pub(super) async fn collect(
    extract::State(state): extract::State<State>,
) -> Result<(Extension<Audited>, Json<PackagesCollected>), Refusal> {
    // Who is being admitted with a package is in the lab before this goes on, or finds that it is gone.
    let gate = Arc::clone(&state.packages.gate).write_owned().await;
    let view = state.desk.ask(Ask::View).await.unwrap_or_else(|| Err(super::agents::gone()))?;
    let runs: Vec<_> = view.runs.iter().map(|run| run.id).collect();
    let needed = state.read(move |store| {
        let mut all = Vec::new();
        for run in runs {
            let snapshot = store.load_run_snapshot(run)?;
            all.extend(snapshot.record.spec.inputs.packages.iter().map(|needed| needed.digest));
        }
        Ok(all)
    });
    let needed = needed.await?;
    let gone = work(&state, move |repository| {
        // It goes on when whoever asked for it hangs up, and nobody is admitted meanwhile.
        let _gate = gate;
        repository.collect_but(&needed)
    });
    let gone = gone.await?;
    let said = format!("{} files, {} bytes", gone.files, gone.bytes);
    let collected = PackagesCollected {
        files: gone.files as u64,
        bytes: gone.bytes,
        repacked: gone.repacked as u64,
        bytes_repacked: gone.bytes_repacked,
    };
    Ok((Extension(Audited(said)), Json(collected)))
}

/// What a run needs of this store is there for as long as the answer lives, which is until it is recorded that the
/// run needs it. A run that needs nothing of the store waits for nobody who tidies it up.
///
/// # Errors
/// A package that is to be had here alone is not here.
pub(super) async fn keep_packages(
    state: &State,
    spec: &RunSpec,
) -> Result<Option<OwnedRwLockReadGuard<()>>, Refusal> {
    let packages = &spec.inputs.packages;
    if !packages.iter().any(Needed::may_be_of_lab) {
        return Ok(None);
    }
    let gate = Arc::clone(&state.packages.gate).read_owned().await;
    for needed in packages.iter().filter(|needed| needed.is_of_lab_alone()) {
        if !state.packages.repository.keeps(needed.digest) {
            let said = format!("package `{}` ({}) is not here", needed.title(), needed.digest);
            return Err(Problem::new(409, "no-such-package", said)
                .next("upload it (`muster package upload`), then ask again")
                .into());
        }
    }
    Ok(Some(gate))
}

/// Does something with the store, off the threads that serve connections.
async fn work<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&Repository) -> Result<T, PackageError> + Send + 'static,
) -> Result<T, Refusal> {
    // The work goes on when whoever asked for it hangs up, so the place is its own.
    let place = Arc::clone(&state.packages.verifying).acquire_owned().await;
    let repository = state.packages.repository.clone();
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work(&repository)
    });
    match done.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(problem(&error).into()),
        Err(_) => Err(Problem::new(500, "bug", "the question made the server fail").into()),
    }
}

fn name_of(package: &Published) -> PackageName {
    PackageName { package: package.title(), digest: package.digest.to_string() }
}

fn too_long(said: &str) -> Refusal {
    Problem::new(413, "too-long", said).into()
}

fn problem(error: &PackageError) -> Problem {
    let said = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match error {
        PackageError::Missing { .. } => Problem::new(404, "no-such-package", said)
            .next("send its manifest first: `muster package upload` does all of it"),
        PackageError::Published { .. } => Problem::new(409, "package-exists", said)
            .next("what is published stays as it is: choose another version, or remove that one first"),
        PackageError::Lacking { .. } => {
            Problem::new(409, "chunks-lacking", said).next("ask which are lacking, send them, and ask again")
        }
        PackageError::Damaged { place, .. } if place == SENT => {
            Problem::new(422, "bad-package", said).next("send it again, as it is in a repository")
        }
        PackageError::Damaged { .. } => Problem::new(503, "record-unavailable", said)
            .next("`muster package verify --drop` on the server's host finds what is damaged there"),
        PackageError::Asked(_) | PackageError::Unpackable { .. } => Problem::new(422, "bad-package", said),
        PackageError::Io { .. }
        | PackageError::Device { .. }
        | PackageError::NoRoom { .. }
        | PackageError::Unreachable { .. }
        | PackageError::Incomplete { .. }
        | PackageError::Hook { .. } => {
            let Problem { next, .. } = down(error);
            Problem::new(503, "no-room", said).next(next)
        }
    }
}
