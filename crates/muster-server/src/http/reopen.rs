//! Going on with a run that is over.

use super::State;
use super::agents::gone;
use super::answer::{Cbor, OfRun, Refusal, read};
use super::guard::Audited;
use super::packages::keep_packages;
use super::results::find_run;
use super::runs::must_have_blobs;
use crate::access::Who;
use crate::desk::Ask;
use crate::retention::finish_removals;
use axum::Extension;
use axum::body::Bytes;
use axum::extract;
use muster_api::{Reopen, Reopened};
use muster_core::view::RunView;

/// A run that is over goes on. What its user may was perhaps changed since, so who asks now is looked up again.
pub(super) async fn reopen(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    OfRun(run): OfRun,
    body: Bytes,
) -> Result<(Extension<Audited>, Cbor<Reopened>), Refusal> {
    let mut reopen: Reopen = read("a run that goes on", &body)?;
    let RunView { area, number, .. } = find_run(&state, run).await?;
    let spec = &mut reopen.submit.spec;
    spec.placement.pools = match (&state.access, &who) {
        (Some(access), Who::User { .. }) => Some(access.pools_for(&who, &area)),
        _ => None,
    };
    must_have_blobs(&state, spec)?;
    // It begins with nothing of what was taken away; that may take a while, and nobody else waits for it.
    let is_to_lose_files = || state.read(move |store| store.is_to_lose_files(number));
    if is_to_lose_files().await? {
        let done = finish_removals(state.records.clone()).await;
        if is_to_lose_files().await? {
            done?;
        }
    }
    let _kept = keep_packages(&state, spec).await?;
    let reopened = state.desk.ask(|answer| Ask::Reopen(run, Box::new(reopen), answer)).await;
    let reopened = reopened.unwrap_or_else(|| Err(gone()))?;
    Ok((Extension(Audited(format!("{area}/{}", reopened.accepted.number))), Cbor(reopened)))
}
