//! From a run to the exit code of the command that made it or looks at it.

use muster_core::lab::{NOT_STARTED, RUN_TIME_LIMIT};
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::RunView;

/// What made the run stop before its end, if anything did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM or SIGHUP.
    Terminated,
}

/// The exit code of the command that executed a run. `reason`: why the run was stopped, if it was. `again`:
/// it was a rerun of some items, whose verdicts are these.
pub(crate) fn of_execution(
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
    if reason == NOT_STARTED {
        return ExitCode::NotStarted;
    }
    let again_is_ok = again.is_some_and(|again| !again.is_empty() && again.iter().all(|v| v.is_ok()));
    if again_is_ok && !run.is_ok() { ExitCode::Outstanding } else { of_record(run) }
}

/// What a run's record says by itself: the exit code of a command that shows the run.
pub(crate) fn of_record(run: &RunView) -> ExitCode {
    if run.counts.total() == 0 {
        ExitCode::NothingRan
    } else if run.only_lab_failed() {
        ExitCode::Lab
    } else if run.has_passed() {
        ExitCode::Passed
    } else {
        ExitCode::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::fixtures::{item, run_of, test};
    use muster_core::definition::UnexpectedPass as Policy;
    use muster_core::view::RunState;

    fn run(verdicts: &[Verdict]) -> RunView {
        run_of(1, vec![test("t", verdicts.iter().map(|v| item(v.word(), *v)).collect())])
    }

    fn code(run: &RunView) -> ExitCode {
        let code = of_record(run);
        assert_eq!(of_execution(run, None, "", None), code, "whoever ran it is told the same");
        code
    }

    #[test]
    fn a_run_is_passed_failed_empty_or_only_the_labs_failure() {
        use Verdict::*;
        for (verdicts, expected) in [
            (&[][..], ExitCode::NothingRan),
            (&[Pass, Skip, KnownFailure, Warn, Flaky, Check, NoItems], ExitCode::Passed),
            (&[Pass, Fail], ExitCode::Failed),
            (&[Pass, UnexpectedPass], ExitCode::Failed),
            (&[Pass, Error], ExitCode::Lab),
            (&[Error, PrerequisiteFailed, Cancelled], ExitCode::Lab),
            (&[Error, Fail], ExitCode::Failed),
            (&[Error, UnexpectedPass], ExitCode::Failed),
            (&[Abort, PrerequisiteFailed], ExitCode::Failed),
            (&[Pass, Cancelled], ExitCode::Failed),
        ] {
            assert_eq!(code(&run(verdicts)), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn an_unexpected_pass_that_is_only_reported_changes_nothing() {
        use Verdict::*;
        for (verdicts, expected) in [
            (&[Pass, UnexpectedPass][..], ExitCode::Passed),
            (&[Fail, UnexpectedPass], ExitCode::Failed),
            (&[Error, UnexpectedPass], ExitCode::Lab),
        ] {
            let mut run = run(verdicts);
            run.unexpected_pass = Policy::Report;
            assert_eq!(code(&run), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn what_was_stopped_has_not_passed_and_whoever_stopped_it_is_told_so() {
        let mut run = run(&[Verdict::Pass]);
        run.state = RunState::Stopped;
        assert_eq!(code(&run), ExitCode::Failed);
        run.state = RunState::Active;
        assert_eq!(code(&run), ExitCode::Failed, "killed");
        for (stopped, reason, expected) in [
            (Some(Stopped::Interrupted), "interrupted (Ctrl-C)", ExitCode::Interrupted),
            (Some(Stopped::Terminated), RUN_TIME_LIMIT, ExitCode::Terminated),
            (None, RUN_TIME_LIMIT, ExitCode::RunTimeLimit),
            (None, NOT_STARTED, ExitCode::NotStarted),
        ] {
            assert_eq!(of_execution(&run, stopped, reason, None), expected);
        }
    }

    #[test]
    fn a_rerun_that_passes_says_what_is_outstanding() {
        use Verdict::{Fail, Pass};
        let again = |run: &RunView, verdicts: &[Verdict]| of_execution(run, None, "", Some(verdicts));
        assert_eq!(again(&run(&[Pass, Fail]), &[Pass]), ExitCode::Outstanding);
        assert_eq!(again(&run(&[Pass, Fail]), &[Fail]), ExitCode::Failed);
        assert_eq!(again(&run(&[Pass, Fail]), &[]), ExitCode::Failed, "nothing was run again");
        assert_eq!(again(&run(&[Pass, Pass]), &[Pass]), ExitCode::Passed);
    }
}
