//! Packages made of folders, and published.

use super::{JsonArgs, bad_name, limits, locations};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_package::autotest::{
    self, BadName, Built, Kind, PackError, PackageName, PublishError, Put, Source,
};
use muster_package::exclude::Exclude;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where the folders are.
#[derive(Args, Clone, Debug, Default)]
struct FromArgs {
    /// The server's tree: packages are made of `client` and what is in its `tests`, `site_tests`, `deps` and
    /// `profilers`
    #[arg(long, value_name = "DIR", default_value = "/usr/local/autotest")]
    top: PathBuf,
    /// The folder itself, for one package
    #[arg(long, value_name = "DIR", conflicts_with = "top")]
    dir: Option<PathBuf>,
    /// Leave this out: a pattern anchored at the folder, as those in its `.pack_exclude`
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
}

/// Arguments of `muster package autotest build`.
#[derive(Args, Clone, Debug)]
pub(super) struct BuildArgs {
    /// What to make
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<String>,
    #[command(flatten)]
    from: FromArgs,
    /// The directory to put them in
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// Arguments of `muster package autotest upload`.
#[derive(Args, Clone, Debug)]
pub(super) struct UploadArgs {
    /// What to make and publish; a file that is there is published as it is
    #[arg(value_name = "PACKAGE|FILE", required_unless_present = "all")]
    what: Vec<String>,
    /// The client and all tests, dependencies and profilers of the tree
    #[arg(long, conflicts_with_all = ["what", "dir"])]
    all: bool,
    /// Repositories to publish them in: directories, `ssh://HOST/PATH`, or `http://HOST/PATH` where the server takes files
    #[arg(long, value_name = "REPOSITORY", required = true, value_delimiter = ',')]
    to: Vec<String>,
    /// Gigabytes that have to stay free there; what a web server has free is not known
    #[arg(long, value_name = "GB", default_value_t = 1)]
    keep_free: u64,
    #[command(flatten)]
    from: FromArgs,
    #[command(flatten)]
    json: JsonArgs,
}

impl FromArgs {
    fn source(&self, name: &PackageName, context: &Context) -> Result<Source, anyhow::Error> {
        let client = context.dir.join(&self.top).join("client");
        let first_of = |dirs: &[&str]| {
            let all: Vec<PathBuf> = dirs.iter().map(|dir| client.join(dir).join(name.name())).collect();
            all.iter().find(|dir| dir.is_dir()).or(all.first()).expect("there is one").clone()
        };
        let dir = match (&self.dir, name.kind()) {
            (Some(dir), _) => context.dir.join(dir),
            (None, Kind::Client) => client.clone(),
            (None, Kind::Test) => first_of(&["tests", "site_tests"]),
            (None, Kind::Dep) => first_of(&["deps"]),
            (None, Kind::Profiler) => first_of(&["profilers"]),
        };
        if !dir.is_dir() {
            return Err(Complaint::usage(format!(
                "there is no `{name}`: `{}` is no directory",
                dir.display()
            ))
            .hint("name the server's tree by `--top`, or the folder by `--dir`")
            .into());
        }
        // It lies beside the client, and goes with it.
        let config = dir.with_file_name("global_config.ini");
        let extra = if name.kind() == Kind::Client && config.is_file() { vec![config] } else { Vec::new() };
        let exclude = Exclude::new(self.exclude.iter().map(String::as_str));
        let exclude = exclude.map_err(|e| Complaint::usage(e.to_string()))?;
        Ok(Source { name: name.clone(), dir, exclude, extra })
    }

    fn build(&self, name: &PackageName, out: &Path, context: &Context) -> Result<Built, anyhow::Error> {
        let source = self.source(name, context)?;
        autotest::build(&source, &out.join(name.file())).map_err(|error| {
            let complaint = match &error {
                PackError::Write { .. } => Complaint::lab(error.to_string()),
                PackError::Tree(_) | PackError::Pattern(_) | PackError::Changed(_) | PackError::Extra(_) => {
                    Complaint::usage(format!("`{name}` cannot be packed: {error}"))
                        .hint("leave it out: name it in `.pack_exclude`, or by `--exclude`")
                }
            };
            complaint.into()
        })
    }

    /// Everything in the tree that is a package, the client first.
    fn all(&self, context: &Context) -> Result<Vec<PackageName>, anyhow::Error> {
        let client = context.dir.join(&self.top).join("client");
        let mut names = vec![PackageName::client()];
        let dirs = [
            (Kind::Test, "tests"),
            (Kind::Test, "site_tests"),
            (Kind::Dep, "deps"),
            (Kind::Profiler, "profilers"),
        ];
        for (kind, dir) in dirs {
            let Ok(entries) = std::fs::read_dir(client.join(dir)) else { continue };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                if entry.file_type()?.is_dir() {
                    names.push(PackageName::new(kind, &name.to_string_lossy()).map_err(bad_name)?);
                }
            }
        }
        names[1..].sort();
        names.dedup();
        Ok(names)
    }
}

/// Makes packages.
pub(super) fn build(args: &BuildArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if args.from.dir.is_some() && args.packages.len() != 1 {
        return Err(Complaint::usage("of one folder one package is made").into());
    }
    let (mut value, mut text) = (Vec::new(), String::new());
    for name in &args.packages {
        let name: PackageName = name.parse().map_err(bad_name)?;
        let built = args.from.build(&name, &context.dir.join(&args.out), context)?;
        writeln!(text, "{} {}", built.md5, name.file())?;
        value.push(json!({
            "package": name.to_string(), "file": name.file(), "md5": built.md5, "digest": built.digest,
            "bytes": built.bytes, "unpacked_bytes": built.unpacked_bytes, "members": built.members,
        }));
    }
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::Passed)
}

/// Makes packages and publishes them, with files that are there.
pub(super) fn upload(args: &UploadArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let targets = locations(&args.to, context)?;
    let out = tempfile::tempdir()?;
    let mut files = Vec::new();
    let mut names = if args.all { args.from.all(context)? } else { Vec::new() };
    for what in &args.what {
        let path = context.dir.join(what);
        match what.parse() {
            Ok(name) => names.push(name),
            Err(BadName::Text(_)) if path.is_file() => files.push(path),
            Err(BadName::Text(_)) => {
                return Err(Complaint::usage(format!("`{what}` is neither a package nor a file"))
                    .hint("a package is written `TYPE:NAME`, as in `test:sleeptest`")
                    .into());
            }
            Err(error) => return Err(bad_name(error)),
        }
    }
    for name in &names {
        args.from.build(name, out.path(), context)?;
        files.push(out.path().join(name.file()));
    }
    let (mut value, mut text, mut code) = (Vec::new(), String::new(), ExitCode::Passed);
    for target in &targets {
        // One that cannot be written to keeps no other from it.
        match autotest::upload(target, &files, args.keep_free.saturating_mul(1_000_000_000), &limits(context))
        {
            Ok(done) => {
                for (file, put) in done {
                    let word = match put {
                        Put::Moved => "uploaded",
                        Put::Unchanged => "unchanged",
                    };
                    writeln!(text, "{word:9}  {file}  {target}")?;
                    value.push(json!({ "repository": target.to_string(), "file": file, "did": word }));
                }
            }
            Err(error) => {
                value.push(json!({ "repository": target.to_string(), "error": error.to_string() }));
                let complaint = complain(&error);
                drop(writeln!(context.stderr(), "error: {complaint:#}"));
                code = if matches!(error, PublishError::Io { .. } | PublishError::NoRoom { .. }) {
                    ExitCode::Lab
                } else {
                    ExitCode::Usage
                };
            }
        }
    }
    args.json.print(&value, context, |out| out.write_all(text.as_bytes()))?;
    if code == ExitCode::Passed { Ok(code) } else { Err(Complaint::said(code).into()) }
}

/// An error of publishing, as the program tells it.
pub(super) fn complain(error: &PublishError) -> anyhow::Error {
    let complaint = match error {
        PublishError::Io { .. } | PublishError::NoRoom { .. } => Complaint::lab(error.to_string()),
        PublishError::Refused { .. }
        | PublishError::Elsewhere(_)
        | PublishError::Name(_)
        | PublishError::Absent { .. } => Complaint::usage(error.to_string()),
    };
    complaint.into()
}
