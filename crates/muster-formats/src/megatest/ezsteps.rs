//! What a test's steps come to in Megatest: exit codes with and without logpro, how steps are put together, and what
//! the record gets when they have ended.
//!
//! Exactly Megatest's, with what is odd about it: behind a step that warned, only a failure counts.

use super::status::{State, Status};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Its command ended with this code, and nothing looked at its log.
    Exit(i32),
    /// logpro looked at its log and ended with this code; that of the command does not count.
    Logpro(i32),
    /// A signal ended it.
    Signal,
}

impl StepEnd {
    /// What the step came to.
    pub fn status(self) -> Status {
        match self {
            Self::Exit(0) => Status::Pass,
            Self::Exit(_) | Self::Signal => Status::Fail,
            Self::Logpro(code) => Status::of_logpro_exit(code),
        }
    }

    /// Whether the step behind it runs.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Exit(0) | Self::Logpro(0 | 2))
    }
}

/// What the steps of a test come to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    overall: Status,
}

impl Default for Steps {
    fn default() -> Self {
        Self { overall: Status::Pass }
    }
}

impl Steps {
    /// Steps behind a `runscript` that ended with this code: it is what they start from.
    pub fn after_runscript(code: i32) -> Self {
        Self { overall: Status::of_logpro_exit(code) }
    }

    /// A step has ended. Whether the next one runs.
    pub fn receive(&mut self, end: StepEnd) -> bool {
        let step = end.status();
        match self.overall {
            Status::Pass => self.overall = step,
            Status::Warn if step == Status::Fail => self.overall = Status::Fail,
            _ => {}
        }
        end.goes_on()
    }

    /// What they come to: also the status of the record while more of them are to run.
    pub fn status(&self) -> &Status {
        &self.overall
    }

    /// What a record gets when its steps have ended; `None` where a script has given it a state of its own, which wins.
    /// `killed`: because somebody asked for it or its time was over.
    pub fn conclude(&self, state: &State, status: &Status, killed: bool) -> Option<(State, Status)> {
        if !matches!(state, State::Running | State::RemoteHostStart) {
            return None;
        }
        let concluded = match (&self.overall, status) {
            (Status::Pass, Status::Auto) => Status::Auto,
            (Status::Warn, Status::Auto) => Status::AutoWarn,
            (overall, _) => overall.clone(),
        };
        Some((if killed { State::Killed } else { State::Completed }, concluded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table of exit codes: without logpro, with it, and whether the next step runs.
    #[test]
    fn exit_codes_mean_what_they_mean_in_megatest() {
        let table = [
            (0, "PASS", true, "PASS", true),
            (1, "FAIL", false, "FAIL", false),
            (2, "FAIL", false, "WARN", true),
            (3, "FAIL", false, "CHECK", false),
            (4, "FAIL", false, "WAIVED", false),
            (5, "FAIL", false, "ABORT", false),
            (6, "FAIL", false, "SKIP", false),
            (7, "FAIL", false, "FAIL", false),
            (77, "FAIL", false, "FAIL", false),
            (255, "FAIL", false, "FAIL", false),
            (-1, "FAIL", false, "FAIL", false),
        ];
        for (code, plain, plain_on, logpro, logpro_on) in table {
            let (without, with) = (StepEnd::Exit(code), StepEnd::Logpro(code));
            assert_eq!(
                (without.status().word(), without.goes_on()),
                (plain, plain_on),
                "{code} without logpro"
            );
            assert_eq!((with.status().word(), with.goes_on()), (logpro, logpro_on), "{code} with logpro");
        }
        assert_eq!((StepEnd::Signal.status(), StepEnd::Signal.goes_on()), (Status::Fail, false));
    }

    #[test]
    fn steps_are_put_together_as_megatest_does_it() {
        let all = ["PASS", "WARN", "CHECK", "WAIVED", "ABORT", "SKIP", "FAIL"];
        for (before, step) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            let expected = match (before, step) {
                ("PASS", step) => step,
                ("WARN", "FAIL") => "FAIL",
                (before, _) => before,
            };
            let exit = |word: &str| i32::from(Status::from(word).logpro_exit().unwrap());
            let mut steps = Steps::after_runscript(exit(before));
            steps.receive(StepEnd::Logpro(exit(step)));
            assert_eq!(steps.status().word(), expected, "{before} then {step}");
        }
        let mut steps = Steps::default();
        assert!(steps.receive(StepEnd::Exit(0)));
        assert!(steps.receive(StepEnd::Logpro(2)));
        assert!(!steps.receive(StepEnd::Exit(2)));
        assert_eq!(*steps.status(), Status::Fail);
    }

    #[test]
    fn the_record_gets_what_the_steps_came_to_unless_a_script_said_otherwise() {
        let after = |codes: &[i32]| {
            let mut steps = Steps::default();
            for code in codes {
                steps.receive(StepEnd::Logpro(*code));
            }
            steps
        };
        let running = |codes: &[i32], status: &str| {
            after(codes).conclude(&State::Running, &status.into(), false).unwrap()
        };
        for (code, word) in
            [(0, "PASS"), (1, "FAIL"), (2, "WARN"), (3, "CHECK"), (4, "WAIVED"), (5, "ABORT"), (6, "SKIP")]
        {
            assert_eq!(running(&[code], "n/a"), (State::Completed, Status::from(word)));
        }
        assert_eq!(running(&[0], "AUTO"), (State::Completed, Status::Auto));
        assert_eq!(running(&[2], "AUTO"), (State::Completed, Status::AutoWarn));
        assert_eq!(running(&[1], "AUTO"), (State::Completed, Status::Fail));
        let steps = after(&[1]);
        let killed = steps.conclude(&State::RemoteHostStart, &Status::NotAvailable, true);
        assert_eq!(killed, Some((State::Killed, Status::Fail)));
        for own in ["COMPLETED", "BOZZLEBLONKED", "KILLREQ"] {
            assert_eq!(steps.conclude(&own.into(), &Status::Pass, false), None, "{own}");
        }
    }
}
