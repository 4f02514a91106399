//! Going on with a run that is over.

use super::State;
use super::agents::gone;
use super::answer::{Cbor, Refusal, read, run_id};
use super::guard::Said;
use super::packages::keep_packages;
use super::runs::must_have_blobs;
use crate::access::Who;
use crate::desk::Ask;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{self, Path};
use muster_api::{Reopen, Reopened};

/// A run that is over goes on. What its user may was perhaps changed since, so who asks now is looked up again.
pub(super) async fn reopen(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    body: Bytes,
) -> Result<(Extension<Said>, Cbor<Reopened>), Refusal> {
    let run = run_id(&run)?;
    let mut reopen: Reopen = read("a run that goes on", &body)?;
    let area = super::results::find_run(&state, run).await?.area;
    let spec = &mut reopen.submit.spec;
    spec.placement.pools = match (&state.access, &who) {
        (Some(access), Who::User { .. }) => Some(access.pools_for(&who, &area)),
        _ => None,
    };
    must_have_blobs(&state, spec)?;
    let _kept = keep_packages(&state, spec).await?;
    let reopened = state.desk.ask(|answer| Ask::Reopen(run, Box::new(reopen), answer)).await;
    let reopened = reopened.unwrap_or_else(|| Err(gone()))?;
    Ok((Extension(Said(format!("{area}/{}", reopened.accepted.number))), Cbor(reopened)))
}
