//! What runs came to, for people and programs: runs, their items, the attempts of an item, the history of a
//! test.

use super::State;
use super::answer::{Refusal, run_id};
use super::codes::problems;
use super::page::{LIMIT_MAX, Limit, Page, RunKey, escaped};
use axum::extract::{self, Path, Query};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use muster_api::Problem;
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use muster_formats::report::{wire, words};
use muster_store::{HistoryEntry, ItemFilter, ListedItem, RunFilter, Store as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

problems! {
    OfLists: "bad-query";
    OfRun: "bad-id", "no-such-run";
    OfResults: "bad-id", "bad-query", "no-such-run";
    OfItem: "bad-id", "no-such-run", "no-such-item";
    OfAttempts: "bad-id", "bad-query", "no-such-run", "no-such-item";
}

/// JSON of something that is borrowed.
pub(super) fn json(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("what is shown has a form in JSON");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Which runs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Runs {
    /// Only of this area
    area: Option<String>,
    /// Most runs of a page
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
    /// Only runs accepted before this one, a UUID
    #[param(value_type = Option<String>, format = "uuid")]
    after: Option<RunKey>,
}

/// The recorded runs, newest first
#[utoipa::path(get, path = "/runs", tag = "runs", operation_id = "list_runs", params(Runs), responses(
    (status = 200, description = "A page of runs, without their tests", body = ref("#/components/schemas/PageOfRun")),
    OfLists,
))]
pub(super) async fn runs(
    extract::State(state): extract::State<State>,
    Query(Runs { area, limit, after }): Query<Runs>,
) -> Result<Response, Refusal> {
    let path = area.as_ref().map_or("/runs".to_owned(), |area| format!("/runs?area={}", escaped(area)));
    let filter = RunFilter {
        area,
        before: after.map(|RunKey(run)| run),
        limit: limit.and_one(),
        ..RunFilter::default()
    };
    let mut found: Vec<RunView> = state.read(move |s| s.list_runs(&filter)).await?;
    let more = found.len() > limit.get();
    found.truncate(limit.get());
    let after = found.last().filter(|_| more).map(|run| RunKey(run.id));
    let shown = found.iter().map(|run| wire::Run::new(run, wire::Texts::None)).collect();
    Ok(json(&Page::new(shown, &path, limit, after)))
}

/// A run, without its tests
///
/// Its items are at `results`.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", operation_id = "get_run",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid")),
    responses((status = 200, description = "The run", body = ref("#/components/schemas/Run")), OfRun))]
pub(super) async fn run(
    extract::State(state): extract::State<State>,
    Path(run): Path<String>,
) -> Result<Response, Refusal> {
    let run = run_id(&run)?;
    let view = find_run(&state, run).await?;
    Ok(json(&wire::Run::new(&view, wire::Texts::None)))
}

/// A run without its tests.
pub(super) async fn find_run(state: &State, run: RunId) -> Result<RunView, Refusal> {
    // The last before the next id: a look at one row, however large the run is.
    let before = run.0.checked_add(1).map(RunId);
    let found =
        state.read(move |s| s.list_runs(&RunFilter { before, limit: 1, ..RunFilter::default() })).await?;
    found
        .into_iter()
        .find(|view| view.id == run)
        .ok_or_else(|| Problem::new(404, "no-such-run", "the server has no such run").into())
}

/// Which items.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Results {
    /// Which items: all, those that are not fine, or those and the ones that have not ended
    #[serde(default)]
    #[param(inline)]
    which: Which,
    /// Most items of a page
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
    /// Only items behind this one
    #[param(minimum = 0, maximum = 4294967295_u64)]
    after: Option<u32>,
}

#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Which {
    #[default]
    All,
    NotOk,
    Failed,
}

/// An item of a run in a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ListedItem")]
pub(super) struct Listed<'a> {
    /// Its number in the run, which is part of the paths of its attempts.
    item: u32,
    /// Its test.
    test: &'a str,
    /// All about it.
    #[serde(flatten)]
    about: wire::Item<'a>,
}

impl<'a> From<&'a ListedItem> for Listed<'a> {
    fn from(listed: &'a ListedItem) -> Self {
        let ListedItem { item, test, view } = listed;
        Self { item: item.0, test, about: wire::Item::new(view, wire::Texts::None) }
    }
}

/// What the items of a run came to, in plan order
///
/// Items that a suite tells while it runs follow those that were planned.
#[utoipa::path(get, path = "/runs/{run}/results", tag = "runs", operation_id = "list_results",
    params(("run" = String, Path, description = "The run's id, a UUID", format = "uuid"), Results),
    responses(
        (status = 200, description = "A page of items", body = ref("#/components/schemas/PageOfListedItem")),
        OfResults,
    ))]
pub(super) async fn results(
    extract::State(state): extract::State<State>,
    Path(text): Path<String>,
    Query(Results { which, limit, after }): Query<Results>,
) -> Result<Response, Refusal> {
    let run = run_id(&text)?;
    let (filter, word) = match which {
        Which::All => (ItemFilter::All, "all"),
        Which::NotOk => (ItemFilter::NotOk, "not-ok"),
        Which::Failed => (ItemFilter::Failed, "failed"),
    };
    // Behind the last number there is none.
    let found = match after.map_or(Some(0), |after| after.checked_add(1)) {
        Some(from) => state.read(move |s| s.list_items(run, filter, ItemIx(from), limit.and_one())).await?,
        None => Vec::new(),
    };
    let more = found.len() > limit.get();
    let shown = &found[..found.len().min(limit.get())];
    let after = shown.last().filter(|_| more).map(|listed| listed.item.0);
    let path = format!("/runs/{}/results?which={word}", words::run_uuid(run));
    Ok(json(&Page::new(shown.iter().map(Listed::from).collect(), &path, limit, after)))
}

/// An item of a run
#[utoipa::path(get, path = "/runs/{run}/items/{item}", tag = "runs", operation_id = "get_item",
    params(
        ("run" = String, Path, description = "The run's id, a UUID", format = "uuid"),
        ("item" = u32, Path, description = "The item's number in the run", maximum = 4294967295_u64),
    ),
    responses((status = 200, description = "The item", body = ref("#/components/schemas/ListedItem")), OfItem))]
pub(super) async fn item(
    extract::State(state): extract::State<State>,
    Path((run, item)): Path<(String, u32)>,
) -> Result<Response, Refusal> {
    let listed = find_item(&state, run_id(&run)?, item).await?;
    Ok(json(&Listed::from(&listed)))
}

async fn find_item(state: &State, run: RunId, item: u32) -> Result<ListedItem, Refusal> {
    let found = state.read(move |s| s.list_items(run, ItemFilter::All, ItemIx(item), 1)).await?;
    found.into_iter().find(|listed| listed.item.0 == item).ok_or_else(|| no_such_item(item))
}

/// An attempt that has ended.
pub(super) async fn find_attempt(
    state: &State,
    run: RunId,
    item: u32,
    attempt: u16,
) -> Result<AttemptView, Refusal> {
    let attempts = find_item(state, run, item).await?.view.attempts;
    attempts.into_iter().find(|known| known.number == attempt).ok_or_else(|| {
        Problem::new(404, "no-such-attempt", format!("item {item} has no attempt {attempt} that has ended"))
            .next("an attempt is recorded when it has ended; `attempts` of the item lists them")
            .into()
    })
}

fn no_such_item(item: u32) -> Refusal {
    Problem::new(404, "no-such-item", format!("the run has no item {item}"))
        .next("`results` of the run lists its items with their numbers")
        .into()
}

/// Which attempts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Attempts {
    /// Most attempts of a page
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
    /// Only attempts behind this one
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 0, maximum = 65535, default = 0)]
    after: u16,
}

/// The attempts of an item, from the first
#[utoipa::path(get, path = "/runs/{run}/items/{item}/attempts", tag = "runs", operation_id = "list_attempts",
    params(
        ("run" = String, Path, description = "The run's id, a UUID", format = "uuid"),
        ("item" = u32, Path, description = "The item's number in the run", maximum = 4294967295_u64),
        Attempts,
    ),
    responses(
        (status = 200, description = "A page of attempts that have ended",
         body = ref("#/components/schemas/PageOfNumberedAttempt")),
        OfAttempts,
    ))]
pub(super) async fn attempts(
    extract::State(state): extract::State<State>,
    Path((run, item)): Path<(String, u32)>,
    Query(Attempts { limit, after }): Query<Attempts>,
) -> Result<Response, Refusal> {
    let run = run_id(&run)?;
    let mut found = find_item(&state, run, item).await?.view.attempts;
    found.retain(|attempt| attempt.number > after);
    let more = found.len() > limit.get();
    let shown = &found[..found.len().min(limit.get())];
    let after = shown.last().filter(|_| more).map(|attempt| attempt.number);
    let path = format!("/runs/{}/items/{item}/attempts", words::run_uuid(run));
    let show = |attempt| wire::TestAttempt::new(attempt, wire::Texts::None);
    Ok(json(&Page::new(shown.iter().map(show).collect(), &path, limit, after)))
}

/// Whose history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct History {
    /// The area
    area: String,
    /// The test
    test: String,
    /// Only this item of it
    item: Option<String>,
    /// Most runs of a page
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
    /// Only runs accepted before this one, a UUID
    #[param(value_type = Option<String>, format = "uuid")]
    after: Option<RunKey>,
}

/// An attempt in the history of a test.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PastAttempt")]
pub(super) struct Past {
    /// The run's id, a UUID.
    run: String,
    /// The run's number in the area.
    number: u32,
    /// What the run was for.
    target: Vec<(String, String)>,
    /// The item's path; empty for a test without items.
    item: String,
    /// From 1.
    attempt: u16,
    /// What it came to.
    outcome: wire::Outcome,
    /// What its item came to in that run; `null` while it is open.
    verdict: Option<wire::Verdict>,
    /// When it began, RFC 3339.
    started: String,
    /// How long it took.
    duration_micros: u64,
}

impl From<HistoryEntry> for Past {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { run, number, target, path, attempt, outcome, verdict, started, duration } = entry;
        Self {
            run: words::run_uuid(run),
            number,
            target,
            item: path.to_string(),
            attempt,
            outcome: outcome.into(),
            verdict: verdict.map(wire::Verdict::from),
            started: words::timestamp(started),
            duration_micros: muster_core::time::micros(duration),
        }
    }
}

/// The attempts of a test in the newest runs, newest run first
///
/// A page has all attempts of its runs; the runs are counted.
#[utoipa::path(get, path = "/history", tag = "runs", operation_id = "list_history", params(History), responses(
    (status = 200, description = "A page of attempts", body = ref("#/components/schemas/PageOfPastAttempt")),
    OfLists,
))]
pub(super) async fn history(
    extract::State(state): extract::State<State>,
    Query(History { area, test, item, limit, after }): Query<History>,
) -> Result<Response, Refusal> {
    let mut path = format!("/history?area={}&test={}", escaped(&area), escaped(&test));
    if let Some(item) = &item {
        path = format!("{path}&item={}", escaped(item));
    }
    let before = after.map(|RunKey(run)| run);
    let mut found =
        state.read(move |s| s.list_history(&area, &test, item.as_deref(), before, limit.and_one())).await?;
    let mut runs: Vec<RunId> = found.iter().map(|entry| entry.run).collect();
    runs.dedup();
    let more = runs.len() > limit.get();
    runs.truncate(limit.get());
    let last = runs.last().copied();
    found.retain(|entry| last.is_some_and(|last| entry.run >= last));
    let after = last.filter(|_| more).map(RunKey);
    Ok(json(&Page::new(found.into_iter().map(Past::from).collect(), &path, limit, after)))
}

const _: () = assert!(LIMIT_MAX == 1000, "the parameters above say so");
