//! The description of the interface (OpenAPI 3.1): paths as `utoipa` reads them off the handlers, bodies as
//! `schemars` reads them off the types.
//!
//! The JSON that Muster writes had schemas before it had a server, and OpenAPI 3.1 speaks the same dialect; so a
//! type is described in one way only, and the description names it by reference.

use super::access::{Agents, AuditEntries, Users};
use super::codes;
use super::events::ServerSentEvent;
use super::page::Page;
use super::results::{Listed, Past};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use muster_api::access::{NewToken, PutUser, Secret};
use muster_api::{
    About, CommentRun, HoldDevice, KillItems, LockRun, MoveRun, PackagePublished, PackagesCollected,
    PackagesRemoved, Problem, PrunePackages, RemoveRun, RenewHold, SetResults, Stop, Why,
};
use muster_formats::report::wire;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::OnceLock;
use utoipa::openapi::OpenApi;

const ABOUT: &str = "\
The interface of a Muster server, for people and programs. Where something is wrong the answer is a problem document \
(RFC 9457) with a `code` for programs, a `detail` and what to do next for people, and the request's id, which is in \
the header `x-request-id` of every answer too.

Lists come in pages: `next` is where the following one is. What is created has an id that whoever asks has chosen, so \
that asking again does no harm. Between agents, command line and server there are further paths with bodies in CBOR \
(`application/cbor`), which are Muster's own: `POST /api/v1/agents/{agent}/exchange`, \
`DELETE /api/v1/agents/{agent}/sessions/{session}`, `PUT /api/v1/agents/{agent}/lends`, \
`POST /api/v1/agents/{agent}/lenders`, `PUT /api/v1/runs/{run}/outputs/{place}`, \
`GET /api/v1/runs/{run}/watch` (`application/cbor-seq`), `GET /api/v1/lab` and `POST /api/v1/records`.";

/// The description, made once.
pub(super) fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let (_, api) = super::paths().split_for_parts();
        let mut text = serde_json::to_string_pretty(&describe(&api)).expect("a description is plain JSON");
        text.push('\n');
        text
    })
}

/// Problems that may come from any path.
const COMMON: [&str; 10] = [
    "not-from-here",
    "no-credentials",
    "bad-token",
    "expired-token",
    "missing-role",
    "too-many",
    "access-unavailable",
    "bug",
    "record-unavailable",
    "shutting-down",
];

/// What this server can be asked, as OpenAPI 3.1
#[utoipa::path(get, path = "/openapi.json", tag = "server", operation_id = "openapi", responses(
    (status = 200, description = "This description", body = serde_json::Value),
))]
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}

fn describe(api: &OpenApi) -> Value {
    let mut api = serde_json::to_value(api).expect("a description is plain JSON");
    api["info"] = json!({
        "title": "Muster",
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        "description": ABOUT,
    });
    api["tags"] = json!([
        { "name": "server", "description": "Who answers." },
        { "name": "runs", "description": "Runs, what they came to, what they printed." },
        { "name": "lab", "description": "Devices, and what waits for them." },
        { "name": "access", "description": "Who may ask for what, and what people did. For admins." },
        { "name": "packages", "description": "The lab's own store of packages." },
        { "name": "blobs", "description": "Bytes named by their digest." },
    ]);
    // These may come from any path.
    let common = codes::responses(&COMMON);
    let common = serde_json::to_value(common).expect("a description is plain JSON");
    let paths = api["paths"].as_object_mut().expect("it has paths");
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(serde_json::Map::values_mut)
    {
        let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { continue };
        for (status, response) in common.as_object().into_iter().flatten() {
            match responses.get_mut(status).and_then(|known| known.get_mut("description")) {
                Some(Value::String(said)) => {
                    let more = response["description"].as_str().unwrap_or_default();
                    write!(said, "; {more}").expect("a string takes all");
                }
                _ => drop(responses.insert(status.clone(), response.clone())),
            }
        }
    }
    api["components"] = json!({ "schemas": schemas() });
    api
}

/// What is sent to the server is described as it reads it, what it answers as it writes it: a field that may be left
/// out of a request is there in every answer.
fn schemas() -> Value {
    macro_rules! described {
        ($settings:expr, $($kind:ty),+ $(,)?) => {{
            let mut settings = $settings;
            settings.definitions_path = "/components/schemas".into();
            let mut generator = settings.into_generator();
            $( generator.subschema_for::<$kind>(); )+
            generator.take_definitions(true)
        }};
    }
    let asked = described!(
        SchemaSettings::draft2020_12().for_deserialize(),
        CommentRun,
        HoldDevice,
        KillItems,
        LockRun,
        MoveRun,
        NewToken,
        PrunePackages,
        PutUser,
        RemoveRun,
        RenewHold,
        SetResults,
        Stop,
    );
    let mut all = described!(
        SchemaSettings::draft2020_12().for_serialize(),
        About,
        Problem,
        Why,
        wire::Device,
        wire::EventLine<'static>,
        Listed<'static>,
        Page<wire::Run<'static>>,
        Page<Listed<'static>>,
        Page<wire::TestAttempt<'static>>,
        Page<Past>,
        Page<wire::Device>,
        Page<wire::QueuedRun>,
        ServerSentEvent,
        wire::LabEventLine,
        Secret,
        Users,
        Agents,
        AuditEntries,
        PackagePublished,
        PackagesRemoved,
        PackagesCollected,
    );
    for (name, schema) in asked {
        let other = all.insert(name, schema.clone());
        debug_assert!(other.is_none_or(|other| other == schema), "one name for two: {schema}");
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_api::PREFIX;
    use std::path::PathBuf;

    const HEAD: &str = "\
# The interface over HTTP

<!-- Generated from the program: `UPDATE_GENERATED=1 cargo test -p muster-server openapi` writes it. -->

A [lab](../guides/lab.md)'s server answers people and programs in JSON under `/api/v1`.
[`openapi.json`](openapi.json) describes it (OpenAPI 3.1): every path, parameter, body and problem.
A server gives its own at `/api/v1/openapi.json`.

```console
$ curl -s http://127.0.0.1:7117/api/v1/runs?limit=1
{\"list\":[{\"schema\":\"muster.run/1\",\"id\":\"019aa1b2-…\",\"address\":\"hello/1\",\"state\":\"ended\",\"verdict\":\"pass\",…}],\"next\":\"/api/v1/runs?limit=1&after=019aa1b2-…\"}
```

## What holds everywhere

- *Problems.* Where something is wrong the answer is `application/problem+json` (RFC 9457): `status`, `title`, `code`, `detail`, `next` and `request`.
  `code` is for programs and never changes its meaning; `next` is what to do.
- *Request ids.* Every answer has `x-request-id`: the one that was sent, if it is up to 64 letters, digits, `-`, `_` and `.`, else a new one.
- *Asking again.* Everything that is created is put under an id that whoever asks has chosen: a run's UUID, a blob's digest, the device that is held.
  The same request again gives the same answer; another body under a run's id is refused (`run-exists`).
- *Who asks.* A server that is [initialised](access.md) speaks TLS and wants a token: `Authorization: Bearer TOKEN`.
  Without one it answers 401 (`no-credentials`), to one without the role 403 (`missing-role`), to who asks too often 429 (`too-many`) with `retry-after`.
- *Pages.* Lists take `limit` (1 to 1000, else 50) and `after`, and answer `{\"list\": […], \"next\": …}`.
  `next` is the path of the following page, or `null`.
  A page begins behind a key, so nothing is shown twice or left out because something was added.
- *Ranges.* Blobs and logs have an `etag` and take one range (`Range: bytes=…`, `If-Range`).
- *Queries are strict.* An unknown parameter is a problem (`bad-query`), not ignored.
- *New things may come.* Fields, events, codes and words of enumerations may be added: skip what is unknown.
  What would break a reader gets another path.
- Moments are RFC 3339 in UTC, spans are microseconds, ids of runs are UUIDs.

Nothing here can be edited by two people at once, so there is no `If-Match`.

## Paths
";

    fn page(api: &Value) -> String {
        let mut page = HEAD.to_owned();
        page.push_str("\n| Path | | Problems |\n|---|---|---|\n");
        for (path, item) in api["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(!summary.is_empty(), "{method} {path} says what it does");
                let mut codes: Vec<&str> = Vec::new();
                for (status, response) in operation["responses"].as_object().unwrap() {
                    if status.starts_with('4') {
                        let said = response["description"].as_str().unwrap();
                        let coded =
                            said.split("; ").filter_map(|part| part.strip_prefix('`')?.split('`').next());
                        codes.extend(coded.filter(|code| !COMMON.contains(code)));
                    }
                }
                codes.sort_unstable();
                codes.dedup();
                let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
                let method = method.to_uppercase();
                writeln!(page, "| `{method} {path}` | {summary} | {} |", codes.join(", ")).unwrap();
            }
        }
        page.push_str(
            "\nAny path may also answer `not-from-here`, `bug`, `record-unavailable` and `shutting-down`.\n",
        );
        page.push_str("Agents and the command line use further paths, with CBOR, which are Muster's own; `openapi.json` names them.\n");
        page.push_str("Events are described in [the event stream](event-stream.md).\n");
        page.push_str("\n## Codes\n\n| Code | Status | Meaning |\n|---|---|---|\n");
        for (code, statuses, meaning) in codes::CODES {
            let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
            writeln!(page, "| `{code}` | {} | {meaning} |", statuses.join(", ")).unwrap();
        }
        page
    }

    fn kept(name: &str, made: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "docs/reference/{name} is not what the program says: UPDATE_GENERATED=1 cargo test -p muster-server openapi"
        );
    }

    #[test]
    fn the_checked_in_openapi_is_that_of_the_program() {
        kept("openapi.json", text());
        kept("http-api.md", &page(&serde_json::from_str(text()).unwrap()));
    }

    #[test]
    fn every_reference_in_the_openapi_leads_somewhere_and_every_path_is_below_the_prefix() {
        let api: Value = serde_json::from_str(text()).unwrap();
        assert_eq!(api["openapi"], "3.1.0");
        for reference in text().split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(api.pointer(reference).is_some(), "{reference}");
        }
        for path in api["paths"].as_object().unwrap().keys() {
            assert!(path.starts_with(PREFIX), "{path}");
        }
    }

    #[test]
    fn codes_are_sorted_and_each_is_there_once() {
        assert!(codes::CODES.is_sorted_by_key(|(code, ..)| *code));
    }
}
