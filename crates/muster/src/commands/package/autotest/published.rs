//! What repositories have: listed, verified, taken out.

use super::packed::complain;
use super::{JsonArgs, bad_name, file, limits, location, locations};
use crate::commands::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::terminal::text::plural;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_package::autotest::{self, Checksums, Location, Sources};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster package autotest list`.
#[derive(Args, Clone, Debug)]
pub(super) struct ListArgs {
    /// The repository
    #[arg(long, value_name = "REPOSITORY")]
    repo: String,
    #[command(flatten)]
    json: JsonArgs,
}

/// Arguments of `muster package autotest verify`.
#[derive(Args, Clone, Debug)]
pub(super) struct VerifyArgs {
    /// The repository
    #[arg(long, value_name = "REPOSITORY")]
    repo: String,
    #[command(flatten)]
    json: JsonArgs,
}

/// Arguments of `muster package autotest remove`.
#[derive(Args, Clone, Debug)]
pub(super) struct RemoveArgs {
    /// What to take out; a file by its own name
    #[arg(value_name = "PACKAGE|FILE", required = true)]
    what: Vec<String>,
    /// Repositories to take it out of: directories, `ssh://HOST/PATH`, or `http://HOST/PATH`
    #[arg(long, value_name = "REPOSITORY", required = true, value_delimiter = ',')]
    repo: Vec<String>,
    /// Tell devices that have this version to use it no more
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    json: JsonArgs,
}

/// Arguments of `muster package autotest prune`.
#[derive(Args, Clone, Debug)]
pub(super) struct PruneArgs {
    /// The repository, a directory of this host
    #[arg(long, value_name = "DIR")]
    repo: String,
    /// What was published longer ago than this, e.g. `40d`
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Duration,
    /// Keep this, however old it is
    #[arg(long, value_name = "PACKAGE|FILE")]
    keep: Vec<String>,
    /// Say what would be taken out, and take nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
}

/// In days, as Autotest's `custom_max_age` is, or shorter.
fn age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        None => duration(text).map_err(|_| "an age is `40d`, or a duration as `12h`".to_owned()),
    }
}

fn sums(at: &Location, context: &Context) -> Result<Checksums, anyhow::Error> {
    let mut sources = Sources::new([at.clone()], limits(context));
    let sums = sources.list().map_err(|e| Complaint::lab(e.to_string()))?;
    for (repository, remark) in sources.remarks() {
        writeln!(context.stderr(), "warning: `{repository}`: {remark}")?;
    }
    Ok(sums)
}

/// Lists what a repository has.
pub(super) fn list(args: &ListArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let sums = sums(&location(&args.repo, context)?, context)?;
    let value: Vec<_> = sums.iter().map(|(file, md5)| json!({ "file": file, "md5": md5 })).collect();
    let text = if sums.is_empty() { String::new() } else { sums.write() };
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::Passed)
}

/// Reads everything that a repository has.
pub(super) fn verify(args: &VerifyArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let at = location(&args.repo, context)?;
    let sums = sums(&at, context)?;
    let wrong = autotest::verify(&at, &sums, &limits(context)).map_err(|e| complain(&e))?;
    let value: Vec<_> = wrong.iter().map(|d| json!({ "file": d.file, "why": d.why })).collect();
    let mut text = String::new();
    for damage in &wrong {
        writeln!(text, "{}: {}", damage.file, damage.why)?;
    }
    if wrong.is_empty() {
        writeln!(text, "{} are as the list says", plural(sums.len() as u64, "file", "files"))?;
    }
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(if wrong.is_empty() { ExitCode::Passed } else { ExitCode::Failed })
}

/// Takes files out of repositories.
pub(super) fn remove(args: &RemoveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let (mut value, mut text) = (Vec::new(), String::new());
    for at in locations(&args.repo, context)? {
        for what in &args.what {
            let file = file(what).map_err(bad_name)?;
            let removed =
                autotest::remove(&at, &file, args.revoke, &limits(context)).map_err(|e| complain(&e))?;
            writeln!(text, "removed  {file}  {at}")?;
            value.push(json!({ "repository": at.to_string(), "file": file, "md5": removed.md5 }));
        }
    }
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::Passed)
}

/// Takes what is old out of a repository.
pub(super) fn prune(args: &PruneArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let at = location(&args.repo, context)?;
    let keep: BTreeSet<String> =
        args.keep.iter().map(|what| file(what)).collect::<Result<_, _>>().map_err(bad_name)?;
    let pruned = autotest::prune(&at, args.older_than, &keep, args.dry_run).map_err(|e| complain(&e))?;
    let word = if args.dry_run { "would be removed" } else { "removed" };
    let mut text = String::new();
    for file in &pruned {
        writeln!(text, "{word}  {}", file.file)?;
    }
    let value: Vec<_> =
        pruned.iter().map(|r| json!({ "file": r.file, "md5": r.md5, "bytes": r.bytes })).collect();
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::Passed)
}
