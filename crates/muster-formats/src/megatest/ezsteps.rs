//! What a step of a test comes to in Megatest: its exit code, with and without logpro.
//!
//! How steps are put together is Muster's own rule, the worst counts. Megatest has it so too, but for one thing: to it,
//! behind a step that warned only a failure counts, and a step that asks for a look at it is lost.

use super::status::Status;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// Its command ended with this code, and nothing looked at its log.
    Exit(i32),
    /// logpro looked at its log and ended with this code; that of the command does not count.
    Logpro(i32),
}

impl StepEnd {
    /// What the step came to.
    pub fn status(self) -> Status {
        match self {
            Self::Exit(0) => Status::Pass,
            Self::Exit(_) => Status::Fail,
            Self::Logpro(code) => Status::of_logpro_exit(code),
        }
    }

    /// Whether the step behind it runs.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Exit(0) | Self::Logpro(0 | 2))
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
    }
}
