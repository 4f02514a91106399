//! `muster package autotest`: Autotest's packages and repositories, as its packager and its clients have them.

pub(super) mod fetched;
mod packed;
mod published;

use super::JsonArgs;
use crate::context::Context;
use crate::error::Complaint;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use muster_package::autotest::{BadName, Limits, Location, PackageName};

/// Arguments of `muster package autotest`.
#[derive(Args, Clone, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "\
PACKAGE is TYPE:NAME, as in `test:sleeptest`, `dep:libaio`, `profiler:iostat`; the client is `client:autotest`.

A repository is a directory, `ssh://[USER@]HOST[:PORT]/PATH`, or `http://HOST[:PORT]/PATH`, which is written where the
web server takes files (PUT and DELETE).

Examples:
  muster package autotest upload test:sleeptest client:autotest --top /usr/local/autotest --to /srv/packages
  muster package autotest install test:sleeptest --repo http://lab/packages --autodir /usr/local/autotest
  muster package autotest verify --repo /srv/packages
  muster package autotest prune --repo /srv/packages/custom --older-than 40d --dry-run"
)]
pub(super) struct AutotestArgs {
    #[command(subcommand)]
    command: AutotestCommand,
}

/// What to do with them.
#[derive(Subcommand, Clone, Debug)]
enum AutotestCommand {
    /// Make packages of folders; the same folder gives the same bytes
    Build(packed::BuildArgs),
    /// Make packages, or take files as they are, and publish them in repositories
    Upload(packed::UploadArgs),
    /// Fetch files of repositories into a directory, where they changed
    Fetch(fetched::FetchArgs),
    /// Install packages into a client's directory, where they changed
    Install(fetched::InstallArgs),
    /// List what a repository has
    List(published::ListArgs),
    /// Read every file of a repository and say what is damaged; exit code 1 if anything is
    Verify(published::VerifyArgs),
    /// Take files out of repositories
    Remove(published::RemoveArgs),
    /// Take what was published long ago out of a repository
    Prune(published::PruneArgs),
    /// The same as `muster package stage`
    #[command(hide = true)]
    Stage(fetched::StageArgs),
}

/// Does what is asked.
pub(super) fn run(args: AutotestArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        AutotestCommand::Build(args) => packed::build(&args, context),
        AutotestCommand::Upload(args) => packed::upload(&args, context),
        AutotestCommand::Fetch(args) => fetched::fetch(&args, context),
        AutotestCommand::Install(args) => fetched::install(&args, context),
        AutotestCommand::List(args) => published::list(&args, context),
        AutotestCommand::Verify(args) => published::verify(&args, context),
        AutotestCommand::Remove(args) => published::remove(&args, context),
        AutotestCommand::Prune(args) => published::prune(&args, context),
        AutotestCommand::Stage(args) => fetched::stage(&args, context),
    }
}

/// Where a repository is: directories are seen from where the program works.
fn location(text: &str, context: &Context) -> Result<Location, anyhow::Error> {
    match text.parse() {
        Ok(Location::Dir(dir)) => Ok(Location::Dir(context.dir.join(dir))),
        Ok(other) => Ok(other),
        Err(e) => Err(Complaint::usage(e.to_string()).into()),
    }
}

fn locations(texts: &[String], context: &Context) -> Result<Vec<Location>, anyhow::Error> {
    texts.iter().map(|text| location(text, context)).collect()
}

/// The file that is meant by a package or by its own name.
fn file(text: &str) -> Result<String, BadName> {
    match text.parse::<PackageName>() {
        Ok(name) => Ok(name.file()),
        Err(BadName::Text(_)) => Ok(text.to_owned()),
        Err(e) => Err(e),
    }
}

fn bad_name(error: BadName) -> anyhow::Error {
    Complaint::usage(error.to_string()).into()
}

/// How repositories elsewhere are asked.
fn limits(context: &Context) -> Limits {
    Limits { ca_file: context.fetch_ca(None), ..Limits::default() }
}
