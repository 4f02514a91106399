//! Runs: asked for, stopped; the outputs that agents bring.

use super::State;
use super::agents::gone;
use super::answer::{Cbor, OfRun, Refusal, Said, Told, Words, read, run_id};
use super::codes::problems;
use super::guard::Audited;
use super::packages::keep_packages;
use crate::access::Who;
use crate::blobs::sync_dir;
use crate::desk::{Ask, down, now};
use axum::body::{Body, Bytes};
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use muster_api::access::Role;
use muster_api::{Accepted, MoveRun, Problem, QueuePlace, Stop, Submit, Why};
use muster_core::change::{MoveTo, Moved, RunSpec};
use muster_core::id::{ItemIx, UnitId};
use muster_store::Store as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Longest output that is taken.
// Limit: tests have output quotas; this is for those that have a generous one.
const OUTPUT_BYTES_MAX: u64 = 8 << 30;

problems! {
    OfSubmit: "not-understood", "bad-id", "no-such-blob@409", "no-such-package@409", "run-exists", "too-long", "bad-plan", "bad-selector";
    OfStop: "not-understood", "bad-id", "no-such-run", "bad-body@415", "too-long";
    OfMove: "not-understood", "bad-id", "no-such-run", "bad-body@415", "bad-move", "before-itself", "too-long";
    OfWhy: "bad-id", "no-such-run", "no-such-item";
}

/// Asks for a run
///
/// When this is answered the run is recorded. The id is chosen by whoever asks; asking again with the same id and
/// body gives the same answer. The body is a plan as `muster run --server` makes it, between Muster's own parts; its
/// packed area is put among the blobs before.
#[utoipa::path(put, path = "/runs/{run}", tag = "runs", operation_id = "submit_run",
    params(("run" = String, Path, description = "The run's id, a UUIDv7", format = "uuid")),
    request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, description = "Its number and when it may start", body = Vec<u8>,
               content_type = "application/cbor"), OfSubmit))]
pub(super) async fn submit(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    OfRun(run): OfRun,
    body: Bytes,
) -> Result<(Extension<Audited>, Cbor<Accepted>), Refusal> {
    let mut submit: Submit = read("a run", &body)?;
    let area = submit.spec.area.clone();
    who.need(Role::Submitter, Some(&area))?;
    // Nothing of it has run, so no step can have come to anything.
    submit.spec.parts.clear();
    let placement = &mut submit.spec.placement;
    if let (Some(access), Who::User { name, .. }) = (&state.access, &who) {
        name.as_ref().clone_into(&mut placement.user);
        placement.pools = Some(access.pools_for(&who, &area));
        if placement.priority > 0 {
            // Before everybody else's: that is for those who may reorder the queue.
            who.need(Role::Operator, Some(&area))?;
        }
    }
    must_have_blobs(&state, &submit.spec)?;
    let _kept = keep_packages(&state, &submit.spec).await?;
    let accepted = state.desk.ask(|answer| Ask::Submit(run, Box::new(submit), answer)).await;
    let accepted = accepted.unwrap_or_else(|| Err(gone()))?;
    Ok((Extension(Audited(format!("{area}/{}", accepted.number))), Cbor(accepted)))
}

/// Refuses what cannot be carried out because something that it needs is not here.
pub(super) fn must_have_blobs(state: &State, spec: &RunSpec) -> Result<(), Refusal> {
    let build = spec.inputs.build.as_ref().map(|build| ("build", build.digest));
    let area = spec.placement.source.map(|area| ("packed area", area));
    for (what, blob) in area.into_iter().chain(build) {
        if state.blobs.find(blob).map_err(|e| down(&e))?.is_none() {
            return Err(Problem::new(409, "no-such-blob", format!("the {what} {blob} is not here"))
                .next("put the blob first, then ask again with the same id")
                .into());
        }
    }
    Ok(())
}

/// Asks that nothing more of a run be started
///
/// What runs is ended; with `kill`, without grace.
#[utoipa::path(post, path = "/runs/{run}/stop", tag = "runs", operation_id = "stop_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/Stop"), content_type = "application/json"),
    responses((status = 204, description = "It is being stopped, and that is recorded"), OfStop))]
pub(super) async fn stop(
    extract::State(state): extract::State<State>,
    OfRun(run): OfRun,
    Told(stop): Told<Stop>,
) -> Result<StatusCode, Refusal> {
    let stopped = state.desk.ask(|answer| Ask::Stop(run, stop, answer)).await;
    stopped.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}

impl Words for MoveRun {
    fn words(&mut self) -> (&mut String, &str) {
        (&mut self.by, &self.reason)
    }

    const CODE: &'static str = "bad-move";
}

/// Changes a run's place in the queue
///
/// What runs goes on; the order is that in which free devices are given. Who moved what, when and why is recorded.
#[utoipa::path(post, path = "/runs/{run}/move", tag = "runs", operation_id = "move_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/MoveRun"), content_type = "application/json"),
    responses((status = 204, description = "It is moved, and that is recorded"), OfMove))]
pub(super) async fn move_run(
    extract::State(state): extract::State<State>,
    OfRun(run): OfRun,
    Said(MoveRun { by, reason, to }): Said<MoveRun>,
) -> Result<StatusCode, Refusal> {
    let to = match to {
        QueuePlace::First => MoveTo::First,
        QueuePlace::Before(other) => MoveTo::Before(run_id(&other)?),
        QueuePlace::Priority(priority) => MoveTo::Priority(priority),
        QueuePlace::Back => MoveTo::Back,
    };
    let moved = Moved { by, reason, at: now(), to };
    let done = state.desk.ask(|answer| Ask::Move(run, moved, answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why an item is not running, or that it is
#[utoipa::path(get, path = "/runs/{run}/items/{item}/why", tag = "runs", operation_id = "why",
    params(
        ("run" = String, Path, description = "The run's id, a UUID", format = "uuid"),
        ("item" = u32, Path, description = "The item's number in the run", maximum = 4294967295_u64),
    ),
    responses((status = 200, description = "Why", body = ref("#/components/schemas/Why")), OfWhy))]
pub(super) async fn why(
    extract::State(state): extract::State<State>,
    Path((run, item)): Path<(String, u32)>,
) -> Result<Json<Why>, Refusal> {
    let run = run_id(&run)?;
    let why = state.desk.ask(|answer| Ask::Why(run, ItemIx(item), answer)).await;
    Ok(Json(why.unwrap_or_else(|| Err(gone()))?))
}

/// An agent brings the file of a long output. When this is answered it survives a power cut.
pub(super) async fn put_output(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path((run, place)): Path<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let unit = checked(&place)?;
    let number = state.read(move |store| Ok(store.load_run_snapshot(run)?.record.number)).await?;
    let path = state.records.join("runs").join(number.to_string()).join(&place);
    let io =
        |e: io::Error| Refusal::from(Problem::new(503, "no-room", format!("`{place}` cannot be kept: {e}")));
    let dir = path.parent().expect("a checked place has a directory").to_owned();
    if let Who::Agent(agent) = who {
        let of = state.desk.ask(|answer| Ask::AgentOf(unit, answer)).await.unwrap_or_else(|| Err(gone()))?;
        // Of a unit that is nobody's any more, what is there stays.
        if of.map_or_else(|| path.exists(), |of| of != agent) {
            return Err(Problem::new(403, "not-this-agent", "this output is not this agent's").into());
        }
    }
    fs::create_dir_all(&dir).map_err(io)?;
    let partial = Partial(path.with_extension(format!("{:x}.partial", crate::desk::now().0)));
    let mut file = File::create_new(&partial.0).map_err(io)?;
    let (mut stream, mut len) = (body.into_data_stream(), 0u64);
    while let Some(chunk) = stream.next().await {
        let broken =
            |e: axum::Error| Problem::new(408, "cut-off", format!("the output ended in the middle: {e}"));
        let chunk = chunk.map_err(broken)?;
        len += chunk.len() as u64;
        if len > OUTPUT_BYTES_MAX {
            return Err(Problem::new(
                413,
                "too-long",
                format!("an output has at most {OUTPUT_BYTES_MAX} bytes"),
            )
            .into());
        }
        tokio::task::block_in_place(|| file.write_all(&chunk)).map_err(io)?;
    }
    let keep = || {
        file.sync_all()?;
        fs::rename(&partial.0, &path)?;
        sync_dir(&dir)
    };
    tokio::task::block_in_place(keep).map_err(io)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A file on its way, removed where it did not arrive.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // It has another name once it is whole.
        let _gone = fs::remove_file(&self.0);
    }
}

/// The unit whose output has this place, as agents name them: `out/N/UNIT-PART.frames`, and nothing else.
pub(super) fn checked(place: &str) -> Result<UnitId, Refusal> {
    let number =
        |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    let good = place
        .strip_prefix("out/")
        .and_then(|rest| rest.strip_suffix(".frames"))
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(group, name)| Some((group, name.split_once('-')?)))
        .filter(|(group, (unit, part))| number(group) && number(unit) && number(part))
        .and_then(|(_, (unit, _))| unit.parse().ok());
    good.map(UnitId).ok_or_else(|| {
        Problem::new(400, "bad-place", format!("`{place}` is not the place of an output")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_can_be_nowhere_but_where_outputs_are() {
        checked("out/4/4711-0.frames").unwrap();
        for bad in [
            "",
            "out/4/4711-0.frame",
            "out/../4711-0.frames",
            "/out/4/4711-0.frames",
            "out/4/../../x-0.frames",
            "out/4/4711-0/../x.frames",
            "out//1-0.frames",
            "segment",
            "out/4/1-0.frames/out/4/1-0.frames",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
