//! The agent of a run: this program started a second time, and once more where that ends before the run.

use super::area::hostname;
use super::session::now;
use super::signals::Signals;
use crate::error::Complaint;
use muster_agent::process::{AgentProcess, ChildError, Setup};
use muster_core::exchange::DeviceOffer;
use muster_core::id::{AgentId, SessionId};
use muster_core::lab::{Gone, Input};
use muster_core::outcome::ExitCode;
use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// The hidden command that makes this program the agent process of another.
pub(crate) const AGENT_COMMAND: &str = "__agent";

/// The agent of a `muster run` is always the same one.
const AGENT: AgentId = AgentId(1);

/// Limit: how often a run gets another agent. The lab gives an item up that keeps ending them.
const REPLACED_MAX: u32 = 20;

/// An agent process, and what is needed to start another in its place.
pub(crate) struct Agent {
    /// The one that is spoken with.
    pub(crate) process: AgentProcess,
    setup: Setup,
    replaced: u32,
}

/// Is the agent process: until the one that started it ends, or, where a directory is given, the keeper of
/// that agent's attempts.
///
/// # Errors
/// Standard input is no connection, what comes over it cannot be understood, or the directory cannot be used.
pub(crate) fn be_agent() -> Result<ExitCode, anyhow::Error> {
    let vars = std::env::vars_os().map(|(name, value)| match name == "PATH" {
        true => (name, with_own_place(value)),
        false => (name, value),
    });
    let env = muster_agent::tasks::inherited(vars);
    match std::env::args_os().nth(2) {
        Some(state_dir) => {
            let stop = Signals::terminate()?;
            muster_agent::process::keep(Path::new(&state_dir), env, stop.as_fd())?;
        }
        None => muster_agent::process::run(muster_agent::process::socket_from_stdin()?, env)?,
    }
    Ok(ExitCode::Passed)
}

/// A search path that leads to this program too, last of all: checks of devices and steps of tests call it, also where
/// it was started from a place that nobody looks at.
pub(crate) fn with_own_place(path: OsString) -> OsString {
    let Some(own) = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())) else {
        return path;
    };
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if !places.contains(&own) {
        places.push(own);
    }
    // A place that no path can name is left out.
    std::env::join_paths(places).unwrap_or(path)
}

impl Agent {
    /// Starts one with a device for each of so many attempts at once. To be called early, so that it is
    /// ready when the plan is.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(area_dir: &Path, jobs: u32) -> Result<Self, anyhow::Error> {
        let setup = Setup {
            agent: AGENT,
            session: SessionId(now().0),
            host: hostname(),
            devices: (1..=jobs).map(|n| DeviceOffer::named(format!("slot-{n}"))).collect(),
            threads: None,
            cgroups: true,
            area_dir: area_dir.to_string_lossy().into_owned(),
            minds_lease: false,
        };
        Ok(Self { process: spawn(&setup)?, setup, replaced: 0 })
    }

    /// What the lab is to be told when the process has ended.
    pub(crate) fn gone(&self) -> Input {
        Input::AgentGone { agent: AGENT, session: self.setup.session, how: Gone::Died }
    }

    /// Kills what a process that has ended left running and starts another in its place; how it ended.
    ///
    /// # Errors
    /// It has been done too often, or cannot be done.
    pub(crate) fn replace(&mut self) -> Result<ExitStatus, anyhow::Error> {
        let cannot = |e| Complaint::lab("the agent process cannot be waited for").because(e);
        let status = self.process.end().map_err(cannot)?;
        self.process.kill_rest().map_err(cannot)?;
        if self.replaced == REPLACED_MAX {
            let times = self.replaced + 1;
            let said = format!("the agent process ended {times} times in this run, at last with {status}");
            return Err(Complaint::lab(said)
                .hint(
                    "look for a test that kills its parent process; what had ended is recorded, and \
                     `muster resume` goes on from there",
                )
                .into());
        }
        self.replaced += 1;
        // Sessions grow, also where the clock was set back.
        self.setup.session = SessionId(now().0.max(self.setup.session.0 + 1));
        self.process = spawn(&self.setup)?;
        Ok(status)
    }
}

fn spawn(setup: &Setup) -> Result<AgentProcess, anyhow::Error> {
    let exe = std::env::current_exe()
        .map_err(|e| Complaint::lab("cannot find this program's own file to start the agent").because(e))?;
    AgentProcess::spawn(&exe, &[AGENT_COMMAND], setup.clone())
        .map_err(|e: ChildError| Complaint::lab("cannot start the agent process").because(e).into())
}
