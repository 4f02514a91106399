//! `muster results set`: another verdict than items came to, said by a person.

use crate::commands::runs::tell;
use crate::commands::typed::{pattern, run_ref};
use crate::context::Context;
use crate::error::Complaint;
use crate::keeper::Keeper;
use crate::terminal::text;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::note::Spot;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::select::Selection;

/// The word for a verdict that is to be found anew.
const OPEN: &str = "open";

/// Arguments of `muster results set`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Attempts and logs stay as they are, and what an item came to before is kept with who set it, when and why:
`muster why` tells it. `open` makes items run again when the run goes on (`muster resume`).

  muster results set 42 net/tls --to known-failure --reason 'the vendor mends it in 2.1'
  muster results set latest '*' --was cancelled --to open --dry-run")]
pub(crate) struct SetArgs {
    /// The run: its number, its name, `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    run: RunRef,
    /// Tests and items, as in `muster run`
    #[arg(value_name = "PATTERN", value_parser = pattern, required_unless_present = "testpatt")]
    patterns: Vec<String>,
    /// Tests and items as Megatest has them: `%` for any text, `~` for the opposite, commas join
    #[arg(long, value_name = "PATT")]
    testpatt: Option<String>,
    /// Only items that came to one of these, with commas between
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = verdict_or_open)]
    was: Vec<Word>,
    /// What they come to from now on: `pass`, `fail`, `skip`, `known-failure`, …, or `open`
    #[arg(long, value_name = "VERDICT", value_parser = verdict_or_open)]
    to: Word,
    /// Why, for others
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Say what would be set, and set nothing
    #[arg(long)]
    dry_run: bool,
}

/// A verdict, or that there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(Option<Verdict>);

fn verdict_or_open(text: &str) -> Result<Word, String> {
    match Verdict::from_word(text) {
        Some(verdict) => Ok(Word(Some(verdict))),
        None if text == OPEN => Ok(Word(None)),
        None => {
            let all: Vec<&str> = Verdict::ALL.into_iter().map(Verdict::word).collect();
            Err(format!("verdicts are {}, and `{OPEN}`", all.join(", ")))
        }
    }
}

/// Sets.
pub(super) fn run(args: &SetArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut keeper = Keeper::open(context)?;
    let run = keeper.find(std::slice::from_ref(&args.run))?.remove(0);
    let Word(to) = args.to;
    let selection = Selection {
        patterns: args.patterns.clone(),
        testpatt: args.testpatt.clone(),
        ..Selection::default()
    };
    let mut chosen = keeper.choose(&run, &selection)?;
    chosen.retain(|c| c.verdict != to && (args.was.is_empty() || args.was.contains(&Word(c.verdict))));
    if chosen.is_empty() {
        let said = format!("no item of {} is to be set", run.address());
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint(format!("`{} results {}` shows what it came to", context.program(), run.number))
            .into());
    }
    let word = |verdict: Option<Verdict>| verdict.map_or(OPEN, Verdict::word);
    if args.dry_run {
        for c in &chosen {
            tell(
                context,
                &format!("{}/{}: {} would be {}", run.address(), c.spot, word(c.verdict), word(to)),
            )?;
        }
        return Ok(ExitCode::Passed);
    }
    let spots: Vec<Spot> = chosen.iter().map(|c| c.spot.clone()).collect();
    keeper.set(&run, spots, to, "", &args.reason)?;
    let items = text::plural(chosen.len() as u64, "item", "items");
    tell(context, &format!("{items} of {} set to {}", run.address(), word(to)))?;
    Ok(ExitCode::Passed)
}
