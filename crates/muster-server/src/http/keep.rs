//! What people do with runs: lock and unlock them, comment, set what items came to, remove.
//!
//! The lab's thread does it: it alone writes the records, and knows which runs are under way.

use super::State;
use super::agents::gone;
use super::answer::{Refusal, read_either, run_id};
use super::codes::problems;
use super::devices::name_of;
use super::results::find_run;
use crate::access::Who;
use crate::desk::{Ask, Keep, LAB, down, now};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, StatusCode};
use muster_api::access::Role;
use muster_api::{CommentRun, ItemName, KillItems, LockRun, Problem, RemoveRun, SetResults};
use muster_core::id::{ItemIx, RunId};
use muster_core::note::{Note, NoteKind, Setting, Spot, killed_by, spots};
use muster_core::outcome::Verdict;
use muster_store::{Extent, Removal, Sqlite, Store as _};
use std::collections::HashMap;

/// Longest text of a person.
const TEXT_BYTES_MAX: usize = 1_000;

problems! {
    OfLock: "not-understood", "bad-id", "no-such-run", "bad-body@415", "bad-note", "run-locked", "too-long";
    OfComment: "not-understood", "bad-id", "no-such-run", "no-such-item", "bad-body@415", "bad-note", "too-long";
    OfSet: "not-understood", "bad-id", "no-such-run", "no-such-item", "bad-body@415", "bad-note", "run-active", "run-locked", "too-long";
    OfKill: "not-understood", "bad-id", "no-such-run", "no-such-item", "bad-body@415", "bad-note", "too-long";
    OfRemove: "not-understood", "bad-id", "no-such-run", "bad-body@415", "bad-note", "run-active", "run-locked", "too-long";
}

/// Locks a run
///
/// From then on it is not run again, changed or removed. What of it is under way goes on.
#[utoipa::path(post, path = "/runs/{run}/lock", tag = "runs", operation_id = "lock_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/LockRun"), content_type = "application/json"),
    responses((status = 204, description = "It is locked, and that is recorded"), OfLock))]
pub(super) async fn lock(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let LockRun { by, reason } = read_either("a lock", &headers, &body)?;
    let by = said_by(&who, by, &reason)?;
    if let Some(lock) = find_run(&state, run).await?.said.locked {
        return Err(locked(&lock.to_string()).into());
    }
    say(&state, run, by, reason, vec![NoteKind::Locked]).await
}

/// Unlocks a run
///
/// Who has locked it may, and operators of its area.
#[utoipa::path(post, path = "/runs/{run}/unlock", tag = "runs", operation_id = "unlock_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/LockRun"), content_type = "application/json"),
    responses((status = 204, description = "It is not locked any more, and that is recorded"), OfLock))]
pub(super) async fn unlock(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let LockRun { by, reason } = read_either("a lock", &headers, &body)?;
    let by = said_by(&who, by, &reason)?;
    let head = find_run(&state, run).await?;
    match head.said.locked {
        None => return Ok(StatusCode::NO_CONTENT),
        Some(lock) if state.access.is_some() && lock.by != by => {
            who.need(Role::Operator, Some(&head.area))?;
        }
        Some(_) => {}
    }
    say(&state, run, by, reason, vec![NoteKind::Unlocked]).await
}

/// Comments on a run or on items of it
#[utoipa::path(post, path = "/runs/{run}/comment", tag = "runs", operation_id = "comment_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/CommentRun"), content_type = "application/json"),
    responses((status = 204, description = "It is recorded"), OfComment))]
pub(super) async fn comment(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let CommentRun { by, text, items } = read_either("a comment", &headers, &body)?;
    if text.trim().is_empty() {
        return Err(bad_note("a comment is not empty").into());
    }
    let by = said_by(&who, by, &text)?;
    places(&state, run, &items).await?;
    let comments: Vec<NoteKind> = match items.is_empty() {
        true => vec![NoteKind::Comment { on: None }],
        false => items.into_iter().map(|on| NoteKind::Comment { on: Some(on.into()) }).collect(),
    };
    say(&state, run, by, text, comments).await
}

/// Sets what items of a run came to
///
/// For a run that is over. Attempts stay as they are, and what was so before is kept with who changed it and why.
#[utoipa::path(post, path = "/runs/{run}/set", tag = "runs", operation_id = "set_results",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/SetResults"), content_type = "application/json"),
    responses((status = 204, description = "They are set, and that is recorded"), OfSet))]
pub(super) async fn set(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let SetResults { by, reason, items, to, word } = read_either("results", &headers, &body)?;
    let by = said_by(&who, by, &reason)?;
    let verdict = |word: String| {
        Verdict::from_word(&word).ok_or_else(|| {
            let all: Vec<&str> = Verdict::ALL.into_iter().map(Verdict::word).collect();
            bad_note(&format!("`{}` is no verdict", word.escape_default()))
                .next(format!("they are {}", all.join(", ")))
        })
    };
    let to = to.map(verdict).transpose()?;
    if word.len() > TEXT_BYTES_MAX {
        return Err(bad_note(&format!("`word` has at most {TEXT_BYTES_MAX} bytes")).into());
    }
    let items = places(&state, run, &items).await?;
    let setting = Setting { items, to, word, by, reason, at: now() };
    keep(&state, run, Keep::Set(setting)).await
}

/// Removes a run
///
/// With its record, or only its files. Its number is not used again, and who removed it is kept.
#[utoipa::path(post, path = "/runs/{run}/remove", tag = "runs", operation_id = "remove_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/RemoveRun"), content_type = "application/json"),
    responses((status = 204, description = "It is gone, and that is recorded"), OfRemove))]
pub(super) async fn remove(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let RemoveRun { by, reason, keep_records } = read_either("a removal", &headers, &body)?;
    let by = said_by(&who, by, &reason)?;
    let extent = if keep_records { Extent::Files } else { Extent::Run };
    let removal = Removal { by, at: now(), reason, extent, files: Vec::new() };
    keep(&state, run, Keep::Remove(removal)).await?;
    // It is gone; its files may take a while. If this is cut off, the server does it when it starts again.
    let records = state.records.clone();
    let files = tokio::task::spawn_blocking(move || Sqlite::open(&records, LAB)?.finish_removals());
    match files.await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(e)) => Err(down(&e).into()),
        Err(_) => Err(Problem::new(500, "bug", "the files of the run could not be taken away").into()),
    }
}

/// Ends items of a run that is under way
///
/// What waits ends at once, what runs when it is ended; the run goes on with the others.
#[utoipa::path(post, path = "/runs/{run}/kill", tag = "runs", operation_id = "kill_items",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/KillItems"), content_type = "application/json"),
    responses((status = 204, description = "They are being ended"), OfKill))]
pub(super) async fn kill(
    extract::State(state): extract::State<State>,
    Extension(who): Extension<Who>,
    Path(run): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let run = run_id(&run)?;
    let KillItems { by, reason, items } = read_either("a kill", &headers, &body)?;
    let by = said_by(&who, by, &reason)?;
    let items = places(&state, run, &items).await?;
    let reason = killed_by(&by, &reason);
    let done = state.desk.ask(|answer| Ask::Kill(run, items, reason, answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn say(
    state: &State,
    run: RunId,
    by: String,
    text: String,
    kinds: Vec<NoteKind>,
) -> Result<StatusCode, Refusal> {
    let at = now();
    let note = |what| Note { by: by.clone(), at, text: text.clone(), what };
    keep(state, run, Keep::Say(kinds.into_iter().map(note).collect())).await
}

async fn keep(state: &State, run: RunId, what: Keep) -> Result<StatusCode, Refusal> {
    let done = state.desk.ask(|answer| Ask::Keep(run, Box::new(what), answer)).await;
    done.unwrap_or_else(|| Err(gone()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who says it; a text that nobody says is refused.
fn said_by(who: &Who, by: String, text: &str) -> Result<String, Problem> {
    if by.trim().is_empty() || by.len() > TEXT_BYTES_MAX || text.len() > TEXT_BYTES_MAX {
        let said =
            format!("`by` is a text of 1 to {TEXT_BYTES_MAX} bytes, and what is said has at most as many");
        return Err(bad_note(&said).next("say who does this"));
    }
    Ok(name_of(who, by))
}

fn bad_note(said: &str) -> Problem {
    Problem::new(422, "bad-note", said).next("say who does it, and why; `/api/v1/openapi.json` has the words")
}

pub(crate) fn locked(said: &str) -> Problem {
    Problem::new(409, "run-locked", format!("the run is {said}"))
        .next("who has locked it, or an operator, unlocks it: `muster runs unlock RUN`")
}

/// Where the items are in the run.
async fn places(state: &State, run: RunId, items: &[ItemName]) -> Result<Vec<ItemIx>, Refusal> {
    let snapshot = state.read(move |store| store.load_run_snapshot(run)).await?;
    let known: HashMap<Spot, ItemIx> =
        spots(&snapshot).into_iter().zip(0u32..).filter_map(|(s, ix)| Some((s?, ItemIx(ix)))).collect();
    let place = |name: &ItemName| {
        let spot = Spot::from(name.clone());
        known.get(&spot).copied().ok_or_else(|| {
            Problem::new(
                404,
                "no-such-item",
                format!("the run has no item `{}`", spot.to_string().escape_default()),
            )
            .next("its results list what it has")
        })
    };
    Ok(items.iter().map(place).collect::<Result<_, _>>()?)
}
