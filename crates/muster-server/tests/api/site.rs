//! A server with records, and how it is asked.

use crate::events::events;
use muster_core::attempt::Output;
use muster_core::change::{Change, RunPhase};
use muster_core::id::RunId;
use muster_core::outcome::Outcome;
use muster_core::output::{Frame, Stream, push};
use muster_core::time::Time;
use muster_server::{AccessConfig, Server, ServerConfig};
use muster_store::contract::{attempt, record};
use muster_store::{LabKey, Sqlite, Store as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Site {
    server: Option<Server>,
    pub(crate) dir: tempfile::TempDir,
    http: ureq::Agent,
}

/// What a server answers.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Site {
    /// A server that has run so many runs of the area `area`; item 1 of each (`unit/a`) failed at first.
    pub(crate) fn with_runs(runs: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Sqlite::open(&dir.path().join("records"), LabKey(7)).unwrap();
        (1..=runs).for_each(|number| record_run(&mut store, number));
        drop(store);
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: dir.path().to_owned(),
            lease: Duration::from_secs(60),
            access: AccessConfig::default(),
            tokens: Default::default(),
        };
        let server = Server::start(config).unwrap();
        let http = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
        Self { server: Some(server), dir, http: http.build().new_agent() }
    }

    /// Ends the server and puts another in its place.
    pub(crate) fn restart(&mut self, start: impl FnOnce() -> Server) {
        self.server.take().unwrap().end();
        self.server = Some(start());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.as_ref().unwrap().address())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            [] => self.http.run(request.body(()).unwrap()),
            body => self.http.run(request.body(body).unwrap()),
        };
        let mut answer = answer.unwrap();
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_owned();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().iter().map(|(k, v)| (k.to_string(), text(v))).collect(),
            body: answer.body_mut().read_to_vec().unwrap(),
        }
    }

    /// The first numbered events of a stream that does not end.
    pub(crate) fn first_events(&self, path: &str, after: u64, wanted: usize) -> Vec<(String, String)> {
        let request =
            self.http.get(format!("{}{path}", self.url())).header("last-event-id", after.to_string());
        let mut lines = BufReader::new(request.call().unwrap().into_body().into_reader()).lines();
        let mut text = String::new();
        loop {
            let numbered: Vec<(String, String)> =
                events(&text).into_iter().filter(|(number, _)| !number.is_empty()).collect();
            if numbered.len() == wanted && text.ends_with("\n\n") {
                return numbered;
            }
            text.push_str(&lines.next().expect("there is more").unwrap());
            text.push('\n');
        }
    }

    /// Follows a list to its end; the number of pages is checked.
    pub(crate) fn list(&self, path: &str, pages: usize) -> Vec<Value> {
        let (mut all, mut next, mut seen) = (Vec::new(), Some(path.to_owned()), 0);
        while let Some(path) = next {
            let page = self.get(&path);
            assert_eq!(page.status, 200, "{path}: {}", page.text());
            let page = page.json();
            all.extend(page["list"].as_array().unwrap().iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
            seen += 1;
        }
        assert_eq!(seen, pages, "pages of {path}");
        all
    }
}

/// Ids of runs grow with their numbers.
pub(crate) fn run_id(number: u32) -> RunId {
    RunId(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number))
}

/// As it is in paths.
pub(crate) fn uuid(number: u32) -> String {
    let hex = format!("{:032x}", run_id(number).0);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// What the first attempt of item 1 prints: a megabyte of numbered lines, each second one to standard error.
pub(crate) fn long_text(wanted: impl Fn(usize) -> bool) -> String {
    (0..100_000usize).filter(|n| wanted(*n)).map(|n| format!("{n:09}\n")).collect()
}

pub(crate) fn record_run(store: &mut Sqlite, number: u32) {
    let run = run_id(number);
    let mut known = (*record(run.0, "area", number)).clone();
    known.id = run;
    let mut changes = vec![Change::RunCreated(Arc::new(known))];
    let mut first = attempt(run.0, 1, 1, Outcome::Fail);
    if let Change::AttemptEnded { result, record, .. } = &mut first {
        let mut log = Vec::new();
        for n in 0..100_000usize {
            let (stream, text) = ([Stream::Stdout, Stream::Stderr][n % 2], format!("{n:09}\n"));
            push(&mut log, Frame { stream, at_millis: n as u64, text: text.as_bytes() });
        }
        // Only one of them, or a test of many runs would write for long.
        if number == 1 {
            Arc::make_mut(result).output = Output::Inline(log);
        }
        record.verdict = None;
    }
    changes.push(first);
    changes.push(attempt(run.0, 1, 2, Outcome::Pass));
    changes.extend([0, 2, 3].map(|item| attempt(run.0, item, 1, Outcome::Pass)));
    changes.push(attempt(run.0, 4, 1, Outcome::Fail));
    let at = Time(1_700_000_100_000_000);
    changes.push(Change::RunState { run, phase: RunPhase::Ended { at } });
    store.commit(&changes).unwrap();
}
