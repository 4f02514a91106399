//! What people do with runs.

use super::{Client, ClientError, TAKEN_MAX};
use muster_core::id::RunId;
use serde::Serialize;

impl Client {
    /// Does something with a run that people do: `lock`, `unlock`, `comment`, `set`, `kill`, `remove`, with what that takes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn keep<T: Serialize>(&self, run: RunId, what: &str, body: &T) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body).expect("what people say has a form in JSON");
        let url = self.run_url(run, &format!("/{what}"));
        let sent = self.call(|http| {
            let request = http.post(&url).header("content-type", "application/json");
            request.config().timeout_global(Some(TAKEN_MAX)).build().send(&body[..])
        });
        self.heard(sent).map(drop)
    }
}
