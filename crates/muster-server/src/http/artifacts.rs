//! Files that attempts have left. They are blobs, asked for by the attempt they are of, so that whoever may see it
//! may see them.

use super::State;
use super::answer::{Refusal, run_id};
use super::blobs::{give, problem};
use super::codes::problems;
use super::results::find_attempt;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use muster_api::Problem;

problems! {
    OfArtifact: "bad-id", "no-such-run", "no-such-item", "no-such-attempt", "no-such-artifact",
        "range-not-satisfiable";
}

/// A file that an attempt has left, or a range of it
///
/// The attempt's `artifacts` lists them. It is whatever the test has written: nobody has looked at what is in it.
#[utoipa::path(get, path = "/runs/{run}/items/{item}/attempts/{attempt}/artifacts/{artifact}", tag = "runs",
    operation_id = "get_artifact",
    params(
        ("run" = String, Path, description = "The run's id, a UUID", format = "uuid"),
        ("item" = u32, Path, description = "The item's number in the run", maximum = 4294967295_u64),
        ("attempt" = u16, Path, description = "From 1", maximum = 65535),
        ("artifact" = String, Path, description = "Its path; a slash in it is written `%2F`"),
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        OfArtifact,
    ))]
pub(super) async fn artifact(
    extract::State(state): extract::State<State>,
    Path((run, item, attempt, artifact)): Path<(String, u32, u16, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let ended = find_attempt(&state, run_id(&run)?, item, attempt).await?;
    let known = ended.result.artifacts.as_ref().and_then(|kept| kept.find(&artifact));
    let Some(digest) = known.and_then(|file| file.digest) else {
        return Err(absent(format!("the attempt keeps no file `{artifact}`")));
    };
    let Some((file, len)) = state.blobs.find(digest).map_err(|e| problem(&e))? else {
        return Err(absent(format!("`{artifact}` is not here any more")));
    };
    let mut response = give(digest, file, len, &headers)?;
    // A page that a test has made is not this server's.
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn absent(said: String) -> Refusal {
    Problem::new(404, "no-such-artifact", said).next("`artifacts` of the attempt lists what it keeps").into()
}
