//! Blobs: whether one is there, taking one in, giving one out.

use super::State;
use super::answer::{Refusal, digest};
use crate::blobs::BlobError;
use crate::desk::down;
use axum::body::Body;
use axum::extract::{self, Path};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use muster_api::Problem;
use std::io::Read as _;

/// Longest blob that is taken.
const BLOB_BYTES_MAX: u64 = 16 << 30;
/// How much of one is held in memory at a time.
const PIECE: usize = 256 << 10;

pub(super) async fn has(
    extract::State(state): extract::State<State>,
    Path(blob): Path<String>,
) -> Result<Response, Refusal> {
    match state.blobs.find(digest(&blob)?).map_err(|e| problem(&e))? {
        Some((_, len)) => Ok(([(header::CONTENT_LENGTH, len)], ()).into_response()),
        None => Ok(StatusCode::NOT_FOUND.into_response()),
    }
}

pub(super) async fn get(
    extract::State(state): extract::State<State>,
    Path(blob): Path<String>,
) -> Result<Response, Refusal> {
    let Some((file, len)) = state.blobs.find(digest(&blob)?).map_err(|e| problem(&e))? else {
        return Err(Problem::new(404, "no-such-blob", format!("blob {blob} is not here")).into());
    };
    let pieces = stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut piece = vec![0; PIECE];
        match tokio::task::block_in_place(|| file.read(&mut piece)) {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok(piece), Some(file)))
            }
            Err(e) => Some((Err(e), None)),
        }
    });
    let kind = (header::CONTENT_TYPE, "application/octet-stream".to_owned());
    Ok(([kind, (header::CONTENT_LENGTH, len.to_string())], Body::from_stream(pieces)).into_response())
}

/// Takes one in. When this is answered it survives a power cut.
pub(super) async fn put(
    extract::State(state): extract::State<State>,
    Path(blob): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let blob = digest(&blob)?;
    if state.blobs.find(blob).map_err(|e| problem(&e))?.is_some() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let mut incoming = state.blobs.begin(blob, BLOB_BYTES_MAX).map_err(|e| problem(&e))?;
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let broken =
            |e: axum::Error| Problem::new(408, "cut-off", format!("the blob ended in the middle: {e}"));
        let chunk = chunk.map_err(broken)?;
        tokio::task::block_in_place(|| incoming.push(&chunk)).map_err(|e| problem(&e))?;
    }
    tokio::task::block_in_place(|| incoming.finish()).map_err(|e| problem(&e))?;
    Ok(StatusCode::CREATED)
}

fn problem(error: &BlobError) -> Problem {
    match error {
        BlobError::Other { .. } => Problem::new(422, "wrong-digest", error.to_string()).next("send it again"),
        BlobError::TooLong { .. } => Problem::new(413, "too-long", error.to_string()),
        BlobError::Io { .. } => Problem { code: "no-room".to_owned(), ..down(error) },
    }
}
