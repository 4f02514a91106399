//! Reports a run to Buildbot: a build is forced whose properties say what the run came to.
//!
//! Forcing twice would make two builds, so each report has a reason of its own, by which it is looked for first.

use super::inbox::{Event, Verdict};
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;

/// How long Buildbot may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest answer that is looked at.
// Limit: one build set is some hundred bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A force scheduler of a master: `http://HOST:PORT/api/v2/forceschedulers/NAME`.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    http: Agent,
    scheduler: String,
    buildsets: String,
}

impl Reporter {
    /// The address is that of a force scheduler.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let url = url.trim_end_matches('/');
        let (api, name) = url
            .split_once("/forceschedulers/")
            .filter(|(api, name)| api.starts_with("http://") && !name.is_empty() && !name.contains('/'))
            .ok_or("the address of a force scheduler is `http://HOST:PORT/api/v2/forceschedulers/NAME`")?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_MAX))
            .max_redirects(0)
            .proxy(None)
            .build();
        let scheduler = format!("{api}/forceschedulers/{name}");
        Ok(Self { http: Agent::new_with_config(config), scheduler, buildsets: format!("{api}/buildsets") })
    }

    /// Reports once, however often it is called.
    pub(crate) fn report(&self, event: &Event, verdict: &Verdict) -> Result<(), String> {
        let reason = format!("muster run {}", event.run_id());
        let url = format!("{}?limit=1&reason={}", self.buildsets, reason.replace(' ', "%20"));
        let known = read(self.http.get(&url).call())?;
        let sets = known["buildsets"].as_array().ok_or("what Buildbot answers has no build sets")?;
        if !sets.is_empty() {
            return Ok(());
        }
        let Verdict { exit, run, summary } = verdict;
        let params = json!({
            "reason": reason,
            "muster_exit": exit.to_string(),
            "muster_summary": summary,
            "muster_run": run,
            "tested": event.build.title,
            "username": "muster@muster.invalid",
        });
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "force", "params": params});
        let request = self.http.post(&self.scheduler).header("content-type", "application/json");
        let answer = read(request.send(call.to_string()))?;
        match &answer["error"] {
            Value::Null => Ok(()),
            error => Err(format!("Buildbot refuses: {error}")),
        }
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, String> {
    let mut answer = answer.map_err(|e| e.to_string())?;
    let status = answer.status();
    let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let text = text.map_err(|e| e.to_string())?;
    if !status.is_success() {
        let said: String = text.chars().take(300).collect();
        return Err(format!("Buildbot answers {status}: {said}"));
    }
    serde_json::from_str(&text).map_err(|e| format!("what Buildbot answers is not JSON: {e}"))
}
