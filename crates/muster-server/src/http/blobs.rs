//! Blobs: whether one is there, taking one in, giving one out.

use super::State;
use super::answer::{Refusal, digest};
use super::codes::problems;
use super::range::{Wanted, body_of, wanted};
use crate::blobs::BlobError;
use crate::desk::down;
use axum::body::Body;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use muster_api::Problem;
use muster_core::digest::Digest;
use std::fs::File;

/// Longest blob that is taken.
const BLOB_BYTES_MAX: u64 = 16 << 30;

problems! {
    OfHas: "bad-digest", "no-such-blob@404";
    OfGet: "bad-digest", "no-such-blob@404", "range-not-satisfiable";
    OfPut: "bad-digest", "cut-off", "too-long", "wrong-digest", "no-room";
}

/// Whether a blob is here
#[utoipa::path(head, path = "/blobs/{blob}", tag = "blobs", operation_id = "has_blob",
    params(("blob" = String, Path, description = "Its BLAKE3 digest", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, description = "It is"), OfHas))]
pub(super) async fn has(
    extract::State(state): extract::State<State>,
    Path(blob): Path<String>,
) -> Result<Response, Refusal> {
    match state.blobs.find(digest(&blob)?).map_err(|e| problem(&e))? {
        Some((_, len)) => Ok(([(header::CONTENT_LENGTH, len)], ()).into_response()),
        None => Err(absent(&blob)),
    }
}

fn absent(blob: &str) -> Refusal {
    Problem::new(404, "no-such-blob", format!("blob {blob} is not here")).into()
}

/// A blob, or a range of it
#[utoipa::path(get, path = "/blobs/{blob}", tag = "blobs", operation_id = "get_blob",
    params(
        ("blob" = String, Path, description = "Its BLAKE3 digest", pattern = "^[0-9a-f]{64}$"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfGet,
    ))]
pub(super) async fn get(
    extract::State(state): extract::State<State>,
    Path(blob): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = digest(&blob)?;
    let Some((file, len)) = state.blobs.find(name).map_err(|e| problem(&e))? else {
        return Err(absent(&blob));
    };
    give(name, file, len, &headers)
}

/// Answers with a blob, or the range of it that is wanted.
pub(super) fn give(name: Digest, file: File, len: u64, headers: &HeaderMap) -> Result<Response, Refusal> {
    let wanted: Wanted = wanted(headers, len, &format!("\"{name}\""))?;
    let broken = |source| Refusal::from(down(&BlobError::Io { dir: name.to_string().into(), source }));
    let body = body_of(file, &wanted).map_err(broken)?;
    Ok(wanted.answer("application/octet-stream", body))
}

/// Takes a blob in
///
/// When this is answered it survives a power cut. Sending a blob that is here again does nothing.
#[utoipa::path(put, path = "/blobs/{blob}", tag = "blobs", operation_id = "put_blob",
    params(("blob" = String, Path, description = "Its BLAKE3 digest", pattern = "^[0-9a-f]{64}$")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is kept"),
        (status = 204, description = "It was here before"),
        OfPut,
    ))]
pub(super) async fn put(
    extract::State(state): extract::State<State>,
    Path(blob): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let blob = digest(&blob)?;
    let mut stream = body.into_data_stream();
    if state.blobs.find(blob).map_err(|e| problem(&e))?.is_some() {
        // Whoever is still sending would take an answer that comes before for a broken connection.
        while stream.next().await.is_some_and(|chunk| chunk.is_ok()) {}
        return Ok(StatusCode::NO_CONTENT);
    }
    let mut incoming = state.blobs.begin(blob, BLOB_BYTES_MAX).map_err(|e| problem(&e))?;
    while let Some(chunk) = stream.next().await {
        let broken =
            |e: axum::Error| Problem::new(408, "cut-off", format!("the blob ended in the middle: {e}"));
        let chunk = chunk.map_err(broken)?;
        tokio::task::block_in_place(|| incoming.push(&chunk)).map_err(|e| problem(&e))?;
    }
    tokio::task::block_in_place(|| incoming.finish()).map_err(|e| problem(&e))?;
    Ok(StatusCode::CREATED)
}

pub(super) fn problem(error: &BlobError) -> Problem {
    match error {
        BlobError::Other { .. } => Problem::new(422, "wrong-digest", error.to_string()).next("send it again"),
        BlobError::TooLong { .. } => Problem::new(413, "too-long", error.to_string()),
        BlobError::Io { .. } => Problem { code: "no-room".to_owned(), ..down(error) },
    }
}
