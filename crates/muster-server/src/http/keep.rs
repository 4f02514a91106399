//! What people do with runs: lock and unlock them, comment, set what items came to, remove.
//!
//! The lab's thread does it: it alone writes the records, and knows which runs are under way.

use super::State;
use super::agents::gone;
use super::answer::{OfRun, Refusal, Said, TEXT_BYTES_MAX, Words};
use super::codes::problems;
use super::results::find_run;
use crate::access::Who;
use crate::desk::{Ask, Keep, now};
use crate::retention::finish_removals;
use axum::Extension;
use axum::extract;
use axum::http::StatusCode;
use muster_api::access::Role;
use muster_api::{CommentRun, ItemName, KillItems, LockRun, Problem, RemoveRun, SetResults};
use muster_core::id::{ItemIx, RunId};
use muster_core::note::{Note, NoteKind, Setting, Spot, killed_by, spots};
use muster_core::outcome::Verdict;
use muster_store::{Extent, Removal, Store as _};
use std::collections::HashMap;

problems! {
    OfLock: "not-understood", "bad-id", "no-such-run", "bad-body@415", "bad-note", "run-locked", "too-long";
    OfComment: "not-understood", "bad-id", "no-such-run", "no-such-item", "bad-body@415", "bad-note", "too-long";
    OfSet: "not-understood", "bad-id", "no-such-run", "no-such-item", "bad-body@415", "bad-note", "run-active", "run-locked", "too-long";
    OfKill: "not-understood", "bad-id", "no-such-run", "no-such-item", "bad-body@415", "bad-note", "too-long";
    OfRemove: "not-understood", "bad-id", "no-such-run", "bad-body@415", "bad-note", "run-active", "run-locked", "too-long";
}

/// Who says what.
macro_rules! words {
    ($($message:ty: $text:ident),+ $(,)?) => {$(
        impl Words for $message {
            fn words(&mut self) -> (&mut String, &str) {
                (&mut self.by, &self.$text)
            }
        }
    )+};
}
words!(LockRun: reason, CommentRun: text, SetResults: reason, RemoveRun: reason, KillItems: reason);

/// Locks a run
///
/// From then on it is not run again, changed or removed. What of it is under way goes on.
#[utoipa::path(post, path = "/runs/{run}/lock", tag = "runs", operation_id = "lock_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    request_body(content = ref("#/components/schemas/LockRun"), content_type = "application/json"),
    responses((status = 204, description = "It is locked, and that is recorded"), OfLock))]
pub(super) async fn lock(
    extract::State(state): extract::State<State>,
    OfRun(run): OfRun,
    Said(LockRun { by, reason }): Said<LockRun>,
) -> Result<StatusCode, Refusal> {
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
    OfRun(run): OfRun,
    Said(LockRun { by, reason }): Said<LockRun>,
) -> Result<StatusCode, Refusal> {
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
    OfRun(run): OfRun,
    Said(CommentRun { by, text, items }): Said<CommentRun>,
) -> Result<StatusCode, Refusal> {
    if text.trim().is_empty() {
        return Err(bad_note("a comment is not empty").into());
    }
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
    OfRun(run): OfRun,
    Said(SetResults { by, reason, items, to, word }): Said<SetResults>,
) -> Result<StatusCode, Refusal> {
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
    OfRun(run): OfRun,
    Said(RemoveRun { by, reason, keep_records }): Said<RemoveRun>,
) -> Result<StatusCode, Refusal> {
    let extent = if keep_records { Extent::Files } else { Extent::Run };
    let removal = Removal { by, at: now(), reason, extent, files: Vec::new() };
    keep(&state, run, Keep::Remove(removal)).await?;
    // It is gone; its files may take a while. If this is cut off, the server does it when it starts again.
    finish_removals(state.records.clone()).await?;
    Ok(StatusCode::NO_CONTENT)
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
    OfRun(run): OfRun,
    Said(KillItems { by, reason, items }): Said<KillItems>,
) -> Result<StatusCode, Refusal> {
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
