//! Streams that go on for as long as somebody watches: they end when whoever watches is not who it was, because its
//! token was removed or has expired, it was removed, or it has other roles. Who still may watches anew.

use super::guard::who_has;
use crate::access::{Access, Who};
use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;

/// The paths whose answers are such streams. All say something now and then, so that none outlives its reader's right
/// for long.
pub(super) const STREAMS: [&str; 3] = ["/events", "/runs/{run}/events", "/runs/{run}/watch"];

/// The same answer, to the last piece at which `token` still is this one's.
pub(super) fn while_known(response: Response, access: Arc<Access>, token: String, who: Who) -> Response {
    let (parts, body) = response.into_parts();
    let state = (body.into_data_stream(), access, token, who);
    let pieces = stream::unfold(state, |(mut pieces, access, token, who)| async move {
        let piece = pieces.next().await?;
        // Looked up at each piece: nothing that happens after a removal is told.
        let still = tokio::task::block_in_place(|| who_has(&access, &token));
        (still.as_ref() == Some(&who)).then_some((piece, (pieces, access, token, who)))
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}
