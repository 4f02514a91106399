//! Runs tests for a build: `muster run` as anybody would call it, with an id that makes asking again harmless.

use super::inbox::{Event, Verdict};
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How tests are run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The lab.
    pub(crate) server: String,
    /// The area, where a build does not say where its tests are.
    pub(crate) area: Option<PathBuf>,
    pub(crate) on: Option<String>,
    /// Where output and reports go.
    pub(crate) dir: PathBuf,
}

/// How a run came out.
pub(crate) enum Ran {
    /// It ended.
    Ended(Verdict),
    /// Whether there is a run is not known: the lab did not answer. To be asked again, with the same id.
    Unknown(String),
}

impl Plan {
    /// Runs tests to their end.
    pub(crate) fn run(&self, event: &Event) -> io::Result<Ran> {
        let id = event.run_id();
        let dir = self.dir.join(event.key());
        fs::create_dir_all(&dir)?;
        let report = dir.join(format!("{id}.json"));
        let log = File::options().append(true).create(true).open(dir.join(format!("{id}.log")))?;
        let mut muster = Command::new(std::env::current_exe()?);
        muster.env("MUSTER_SERVER", &self.server).env_remove("MUSTER_OUTPUT");
        match &self.area {
            Some(area) if event.build.tests.is_none() => muster.current_dir(area),
            _ => muster.current_dir(&dir),
        };
        muster.args(["run", "--wait", "--progress", "plain", "--color", "never"]);
        muster.arg("--id").arg(id.to_string()).arg("--report").arg(format!("json:{}", report.display()));
        let Event { build, .. } = event;
        for (flag, value) in [
            ("--build", &build.build),
            ("--tests", &build.tests),
            ("--changeset", &build.changeset),
            ("--on", &self.on),
        ] {
            if let Some(value) = value {
                // In one word, so that a value is never taken for a flag.
                muster.arg(format!("{flag}={value}"));
            }
        }
        // Ctrl-C is for the bridge; the run goes on without it.
        muster.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let status = muster.status()?;
        let exit = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let view: Option<Value> = fs::read(&report).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let Some(view) = view else {
            // 3 and worse: the server was away or this process was killed; else it was told why not.
            if matches!(exit, 3 | 70 | 128..) {
                return Ok(Ran::Unknown(format!("`muster run` ended with {exit}")));
            }
            let summary = format!("nothing was run: exit code {exit}, see the bridge's log of {id}");
            return Ok(Ran::Ended(Verdict { exit, run: String::new(), summary }));
        };
        let run = view["address"].as_str().unwrap_or_default().to_owned();
        let counts: Vec<String> = view["counts"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(verdict, n)| format!("{n} {verdict}"))
            .collect();
        Ok(Ran::Ended(Verdict { exit, summary: format!("{run}: {}", counts.join(", ")), run }))
    }
}
