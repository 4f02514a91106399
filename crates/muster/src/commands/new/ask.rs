//! Questions on a terminal, for what no flag said.

use super::AskArgs;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Asks, or takes what is usual.
pub(super) struct Asker<'c> {
    is_asking: bool,
    context: &'c Context,
}

/// Longest answer.
// Limit: answers are names and command lines.
const ANSWER_BYTES_MAX: usize = 64 << 10;

impl<'c> Asker<'c> {
    pub(super) fn new(args: AskArgs, context: &'c Context) -> Self {
        let there = io::stdin().is_terminal() && context.output == OutputMode::Human;
        Self { is_asking: args.ask || (there && !args.no_ask), context }
    }

    /// What was said, else what is answered, else what is usual.
    pub(super) fn unless(
        &self,
        said: Option<String>,
        question: &str,
        usual: &str,
    ) -> Result<String, anyhow::Error> {
        if let Some(said) = said {
            return Ok(said);
        }
        if !self.is_asking {
            return Ok(usual.to_owned());
        }
        let mut err = self.context.stderr();
        let shown = if usual.is_empty() { String::new() } else { format!(" [{usual}]") };
        write!(err, "{question}{shown}: ")?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(Complaint::usage("an answer is one line of a person").into());
        }
        let answer = answer.trim();
        Ok(if answer.is_empty() { usual.to_owned() } else { answer.to_owned() })
    }
}
