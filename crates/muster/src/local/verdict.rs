//! How a run ends for whoever called: the exit code.

use muster_core::lab::RUN_TIME_LIMIT;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::{RunState, RunView};

/// What made the run stop before its end, if anything did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM or SIGHUP.
    Terminated,
}

/// The exit code of a run that is over. `again`: it was a rerun of some items, whose verdicts are these.
pub(crate) fn exit_code(
    run: &RunView,
    stopped: Option<Stopped>,
    reason: &str,
    again: Option<&[Verdict]>,
) -> ExitCode {
    match stopped {
        Some(Stopped::Interrupted) => return ExitCode::Interrupted,
        Some(Stopped::Terminated) => return ExitCode::Terminated,
        None => {}
    }
    if reason == RUN_TIME_LIMIT {
        return ExitCode::RunTimeLimit;
    }
    let lab_only = |errors: u32, failed: u32| errors > 0 && errors == failed;
    if let Some(again) = again {
        let failed = again.iter().filter(|v| !v.is_ok()).count();
        if failed == 0 && !again.is_empty() && !run.is_ok() {
            return ExitCode::Outstanding;
        }
    }
    if run.counts.total() == 0 {
        return ExitCode::NothingRan;
    }
    if lab_only(run.counts.get(Verdict::Error), run.counts.failed()) {
        return ExitCode::Lab;
    }
    if run.is_ok() && run.state != RunState::Stopped { ExitCode::Passed } else { ExitCode::Failed }
}
