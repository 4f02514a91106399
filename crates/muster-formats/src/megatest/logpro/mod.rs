//! logpro's rule files: which lines of a log mean what, and what the log as a whole comes to.
//!
//! ```text
//! rule file ─► sexpr ─► rules ─► program ─┐
//!                       (patterns)        ├─► evaluation ─► report: status, exit code, values, first lines
//!                       log, in pieces ───┘        └─► page: the log in colours, with links
//! ```
//!
//! A log is read once, in pieces of any size, and never held. Rule files are Scheme to logpro; here they are data, and
//! what would have to be evaluated is refused with its file and line. Hooks are told, not run: what to do with a
//! command is the caller's decision.

mod dat;
mod evaluate;
mod page;
mod pattern;
mod program;
mod rules;

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;

pub use evaluate::{Evaluation, Finding, Fired, Hit, Report, TriggerReport, Value};
pub use page::Page;
pub use pattern::Pattern;
pub use program::Program;
pub use rules::{
    Check, Hook, HookEvent, Kind, Op, Place, Problem, Rule, Rules, Section, Source, Trigger, WHOLE_LOG,
};
