//! Packages that are fetched, installed, staged.

use super::{JsonArgs, bad_name, file, limits, location, locations};
use crate::commands::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::install::Otherwise;
use muster_core::outcome::ExitCode;
use muster_package::autotest::{
    Autodir, Cache, How, InstallError, Installed, Limits, Location, Md5, Options, PACKAGES, PackageName,
    Sources, StageError, StagedBuild, UrlTest,
};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Where files are had from.
#[derive(Args, Clone, Debug, Default)]
struct FromArgs {
    /// Repositories, in the order in which they are asked
    #[arg(long, value_name = "REPOSITORY", value_delimiter = ',')]
    repo: Vec<String>,
    /// The repository of the build on the device: it is asked first
    #[arg(long, value_name = "URL")]
    job_repo_url: Option<String>,
}

impl FromArgs {
    fn sources(&self, context: &Context) -> Result<Sources, anyhow::Error> {
        let mut all = Vec::new();
        if let Some(url) = &self.job_repo_url {
            let build: StagedBuild = url.parse().map_err(|e| Complaint::usage(format!("{e}")))?;
            all.push(location(&build.to_string(), context)?);
        }
        all.extend(locations(&self.repo, context)?);
        Ok(Sources::new(all, limits(context)))
    }
}

/// Arguments of `muster package autotest fetch`.
#[derive(Args, Clone, Debug)]
pub(super) struct FetchArgs {
    /// What to fetch; a file by its own name
    #[arg(value_name = "PACKAGE|FILE", required = true)]
    what: Vec<String>,
    #[command(flatten)]
    from: FromArgs,
    /// The directory to fetch them to
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// Arguments of `muster package autotest install`.
#[derive(Args, Clone, Debug)]
pub(super) struct InstallArgs {
    /// What to install; a test also by the URL of its package
    #[arg(value_name = "PACKAGE|URL", required = true)]
    what: Vec<String>,
    #[command(flatten)]
    from: FromArgs,
    /// The client's directory
    #[arg(long, value_name = "DIR", default_value = "/usr/local/autotest")]
    autodir: PathBuf,
    /// Only the version with this MD5
    #[arg(long, value_name = "MD5", value_parser = md5)]
    only: Option<Md5>,
    /// Fail where a package cannot be had, though an earlier version of it is installed
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    json: JsonArgs,
}

/// Arguments of `muster package stage`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A build server keeps far more than it has at hand. This asks the one at URL for what belongs to one build, and waits until it
is there; then it is a repository like any other.

Examples:
  muster package stage http://devserver:8082/static/board-release/R21-2461.0.0/autotest/packages
  muster package autotest install test:sleeptest --job-repo-url http://devserver:8082/static/board-release/R21-2461.0.0/autotest/packages")]
pub(in crate::commands::package) struct StageArgs {
    /// The repository of the build: `http://HOST[:PORT]/static/BUILD/autotest/packages`
    #[arg(value_name = "URL")]
    url: String,
    /// What of the build to stage
    #[arg(long, value_name = "NAME", default_value = PACKAGES, value_delimiter = ',')]
    artifact: Vec<String>,
    /// The archive that the server has builds from
    #[arg(long, value_name = "URL", default_value = "gs://chromeos-image-archive")]
    archive: String,
    /// How often the server is asked whether it is done
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    every: Duration,
    /// How long it is waited for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    timeout: Duration,
}

fn md5(text: &str) -> Result<Md5, String> {
    text.parse().map_err(|e| format!("{e}"))
}

/// Fetches files.
pub(super) fn fetch(args: &FetchArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut sources = args.from.sources(context)?;
    let dir = context.dir.join(&args.into);
    let cache = Cache::open(&dir)
        .map_err(|e| Complaint::lab(format!("`{}` cannot be used", dir.display())).because(e))?;
    let (mut value, mut text) = (Vec::new(), String::new());
    for what in &args.what {
        let file = file(what).map_err(bad_name)?;
        let fetched = sources.fetch(&file, &cache).map_err(|e| {
            tell_remarks(&sources, context);
            Complaint::lab(e.to_string()).hint("`muster package autotest list` lists what a repository has")
        })?;
        let word = if fetched.moved { "fetched" } else { "unchanged" };
        writeln!(text, "{word:9}  {}  {}", cache.path(&file).display(), fetched.repository)?;
        value.push(json!({
            "file": cache.path(&file), "repository": fetched.repository, "did": word,
            "md5": fetched.is.md5, "digest": fetched.is.digest, "bytes": fetched.is.bytes,
        }));
    }
    tell_remarks(&sources, context);
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::Passed)
}

/// Installs packages.
pub(super) fn install(args: &InstallArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut sources = args.from.sources(context)?;
    let autodir = Autodir::open(&context.dir.join(&args.autodir)).map_err(|e| complain(&e))?;
    let mut err = context.stderr();
    if autodir.forbids_programs().unwrap_or(false) {
        let dir = args.autodir.display();
        writeln!(err, "warning: nothing in `{dir}` can be executed: its file system is mounted `noexec`")?;
    }
    let otherwise = if args.strict { Otherwise::Fail } else { Otherwise::KeepLastGood };
    let options = Options { otherwise, only: args.only, ..Options::default() };
    let (mut value, mut text) = (Vec::new(), String::new());
    for what in &args.what {
        let installed = match UrlTest::of(what) {
            Some(test) => {
                let place = test.url.rsplit_once('/').map_or("", |(place, _)| place);
                let place: Location = location(place, context)?;
                let mut sources = Sources::new([place], limits(context));
                autodir.install_url(&test, &mut sources, &options)
            }
            None => {
                let name: PackageName = what.parse().map_err(bad_name)?;
                autodir.install(&name, &mut sources, &options)
            }
        };
        let installed = installed.map_err(|e| complain(&e))?;
        let word = match &installed.how {
            How::New => "installed",
            How::Unchanged => "unchanged",
            How::LastGood(why) => {
                writeln!(err, "warning: `{what}` stays as it was installed before: {why}")?;
                "kept"
            }
        };
        for shadow in &installed.shadows {
            let (shadow, dir) = (shadow.display(), installed.dir.display());
            writeln!(err, "warning: an Autotest client may run `{shadow}` in place of `{dir}`; remove it")?;
        }
        let Installed { dir, md5, digest, repository, moved_bytes, .. } = &installed;
        writeln!(text, "{word:9}  {what}  {md5}  {}", dir.display())?;
        value.push(json!({
            "package": what, "did": word, "dir": dir, "md5": md5, "digest": digest,
            "repository": repository, "moved_bytes": moved_bytes, "shadows": installed.shadows,
        }));
    }
    drop(err);
    tell_remarks(&sources, context);
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::Passed)
}

/// Has a build staged.
pub(in crate::commands::package) fn stage(
    args: &StageArgs,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let build: StagedBuild = args.url.parse().map_err(|e| Complaint::usage(format!("{e}")))?;
    let artifacts: Vec<&str> = args.artifact.iter().map(String::as_str).collect();
    let limits = Limits { total: args.timeout, ..limits(context) };
    build.stage(&args.archive, &artifacts, &limits, args.every).map_err(|e| match e {
        StageError::Refused { .. } | StageError::TooSlow { .. } => Complaint::lab(e.to_string()),
    })?;
    writeln!(context.stdout(), "{build}")?;
    Ok(ExitCode::Passed)
}

fn complain(error: &InstallError) -> anyhow::Error {
    Complaint::lab(error.to_string()).into()
}

/// Tells what is strange about repositories, though all went well.
fn tell_remarks(sources: &Sources, context: &Context) {
    let mut err = context.stderr();
    for (repository, remark) in sources.remarks() {
        // Nobody is left to tell if standard error is closed.
        drop(writeln!(err, "warning: `{repository}`: {remark}"));
    }
}
