//! What Buildbot's `HttpStatusPush` sends, taken in. It is answered when the build is on disk.

use super::inbox::{Build, Event, Inbox};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest announcement.
// Limit: a build's properties are some kilobytes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Longest text of a property that is taken.
// Limit: it becomes an argument of a program.
const TEXT_BYTES_MAX: usize = 4096;

/// Buildbot's results that are worth a test: SUCCESS and WARNINGS.
const GOOD: [i64; 2] = [0, 1];

/// Which builds are taken, and what is taken of them.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Names of builders; empty for all.
    pub(crate) builders: Vec<String>,
    /// The properties that say where build and tests are.
    pub(crate) build: String,
    pub(crate) tests: String,
}

/// What the paths share.
pub(crate) struct Hook {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) wanted: Wanted,
    /// The digest of the header that those who know the secret send.
    pub(crate) authorization: blake3::Hash,
    /// Is told of what is new.
    pub(crate) tell: Box<dyn Fn(Event) + Send + Sync>,
}

/// The one path there is.
pub(crate) fn router(hook: Hook) -> Router {
    let limit = DefaultBodyLimit::max(BODY_BYTES_MAX);
    Router::new().route("/buildbot", post(take)).layer(limit).with_state(Arc::new(hook))
}

async fn take(State(hook): State<Arc<Hook>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let said = headers.get(header::AUTHORIZATION).map_or(&b""[..], |h| h.as_bytes());
    // Digests are compared in constant time.
    if blake3::hash(said) != hook.authorization {
        return (StatusCode::UNAUTHORIZED, "the secret is another one\n".to_owned());
    }
    let build = match read(&body, &hook.wanted) {
        Ok(Some(build)) => build,
        Ok(None) => return (StatusCode::OK, "not wanted\n".to_owned()),
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")),
    };
    let title = build.title.clone();
    let taken = tokio::task::spawn_blocking(move || -> std::io::Result<bool> {
        let event = hook.inbox.take(build)?;
        let is_new = event.is_some();
        event.into_iter().for_each(&hook.tell);
        Ok(is_new)
    });
    match taken.await {
        Ok(Ok(true)) => (StatusCode::OK, format!("{title} is taken\n")),
        Ok(Ok(false)) => (StatusCode::OK, format!("{title} is known\n")),
        Ok(Err(e)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{title} cannot be kept: {e}\n")),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a bug in Muster\n".to_owned()),
    }
}

/// The part of a build of Buildbot that matters here.
#[derive(Deserialize)]
struct Announced {
    url: String,
    number: u64,
    complete: bool,
    results: Option<i64>,
    builder: Builder,
    complete_at: Option<Value>,
    #[serde(default)]
    properties: BTreeMap<String, (Value, Value)>,
}

#[derive(Deserialize)]
struct Builder {
    name: String,
}

/// A build, if it is wanted.
fn read(body: &[u8], wanted: &Wanted) -> Result<Option<Build>, String> {
    let announced: Announced =
        serde_json::from_slice(body).map_err(|e| format!("this is no build of Buildbot: {e}"))?;
    let Announced { url, number, complete, results, builder, complete_at, properties } = announced;
    let named = wanted.builders.is_empty() || wanted.builders.contains(&builder.name);
    if !(complete && named && results.is_some_and(|r| GOOD.contains(&r))) {
        return Ok(None);
    }
    let property = |name: &str| -> Result<Option<String>, String> {
        match properties.get(name).map(|(value, _source)| value) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text.len() <= TEXT_BYTES_MAX && !text.contains('\0') => {
                Ok(Some(text.clone()))
            }
            Some(_) => Err(format!("the property `{name}` is no text of a reasonable length")),
        }
    };
    let seconds = complete_at.as_ref().and_then(Value::as_f64).unwrap_or_default();
    let changeset = match property("got_revision")? {
        Some(revision) => Some(revision),
        None => property("revision")?,
    };
    Ok(Some(Build {
        identity: url,
        title: format!("{}/{number}", builder.name),
        // Before 1970 and beyond the year 10000 is nonsense, which does no harm.
        ended_millis: (seconds * 1000.0).clamp(0.0, 253_402_300_800_000.0) as u64,
        build: property(&wanted.build)?,
        tests: property(&wanted.tests)?,
        changeset,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { builders: vec!["compile".into()], build: "build_url".into(), tests: "tests_url".into() }
    }

    fn announced(builder: &str, complete: bool, results: i64, revision: &str) -> String {
        format!(
            "{{\"url\": \"http://bb/#/builders/1/builds/7\", \"number\": 7, \"complete\": {complete}, \
             \"results\": {results}, \"builder\": {{\"name\": \"{builder}\", \"tags\": []}}, \
             \"complete_at\": 1795197600, \"properties\": {{\"build_url\": [\"http://b/7.zip\", \"x\"], \
             \"revision\": [{revision}, \"Force\"], \"workername\": [\"w\", \"Worker\"]}}}}"
        )
    }

    #[test]
    fn a_good_build_of_a_wanted_builder_is_taken_and_no_other() {
        let build = read(announced("compile", true, 0, "\"1d2c3b\"").as_bytes(), &wanted()).unwrap().unwrap();
        assert_eq!(build.identity, "http://bb/#/builders/1/builds/7");
        assert_eq!(build.title, "compile/7");
        assert_eq!(build.build.as_deref(), Some("http://b/7.zip"));
        assert_eq!(build.tests, None);
        assert_eq!(build.changeset.as_deref(), Some("1d2c3b"));
        assert_eq!(build.ended_millis, 1_795_197_600_000);
        for other in [("lint", true, 0), ("compile", false, 0), ("compile", true, 2)] {
            let body = announced(other.0, other.1, other.2, "null");
            assert_eq!(read(body.as_bytes(), &wanted()), Ok(None), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_build_is_refused() {
        for body in ["", "{}", "[]", "{\"url\": 1}", &announced("compile", true, 0, "7")] {
            assert!(read(body.as_bytes(), &wanted()).is_err(), "{body}");
        }
        let long = format!("\"{}\"", "x".repeat(TEXT_BYTES_MAX + 1));
        assert!(read(announced("compile", true, 0, &long).as_bytes(), &wanted()).is_err());
    }
}
