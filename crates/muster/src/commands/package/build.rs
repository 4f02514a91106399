//! `muster package build`: a package of a folder, as it is or as it was at a git revision.

use super::{FromArgs, complain, size};
use crate::context::Context;
use crate::error::Complaint;
use crate::settings::state_dir;
use crate::terminal::text::plural;
use clap::Args;
use muster_core::expr::Expr;
use muster_core::outcome::ExitCode;
use muster_package::exclude::{self, BadPattern, Exclude};
use muster_package::own::{self, About, Kind, Reference, Repository, Tree};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Arguments of `muster package build`.
#[derive(Args, Clone, Debug)]
pub(super) struct BuildArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What it is for: client, test, dep, profiler or build
    #[arg(long, value_name = "KIND")]
    kind: Kind,
    /// Its name; by default that of the folder
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its version; one is published once
    #[arg(long, value_name = "VERSION", default_value = "")]
    version: String,
    /// The folder as it is at this git revision, and not as it is now
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Leave this out: a pattern anchored at the folder, as those in its `.pack_exclude`
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// A package that it needs
    #[arg(long = "dep", value_name = "PACKAGE")]
    deps: Vec<Reference>,
    /// For which hosts it is: CEL over their facts, e.g. `os == "linux" && arch == "aarch64"`
    #[arg(long, value_name = "CEL", default_value = "")]
    platform: String,
    /// A line for the shell, run in the package after it was unpacked
    #[arg(long, value_name = "LINE", default_value = "")]
    install_hook: String,
    /// A line for the shell that says by its exit code whether the package works on a host
    #[arg(long, value_name = "LINE", default_value = "")]
    check_hook: String,
    /// Print what the package would be, and publish nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    from: FromArgs,
}

/// Builds and publishes.
pub(super) fn run(args: BuildArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let dir = context.dir.join(&args.folder);
    if !dir.is_dir() {
        return Err(Complaint::usage(format!("`{}` is not a directory", dir.display())).into());
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => dir.canonicalize()?.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    if !args.platform.is_empty() {
        Expr::parse(&args.platform).and_then(|expr| expr.check(&crate::local::area::facts())).map_err(
            |e| Complaint::usage("`--platform` is no condition over the facts of a host").because(e),
        )?;
    }
    let mut deps = args.deps.clone();
    deps.sort();
    deps.dedup();
    let about = About {
        version: args.version.clone(),
        deps,
        platform: args.platform.clone(),
        install: args.install_hook.clone(),
        check: args.check_hook.clone(),
        ..About::new(args.kind, name)
    };
    let checked_out = args.rev.as_deref().map(|rev| at_revision(&dir, rev)).transpose()?;
    let dir = checked_out.as_ref().map_or(dir.as_path(), TempDir::path);
    let tree = tree(dir, &args.exclude)?;
    if args.dry_run {
        let built = own::build(&tree, about).map_err(complain)?;
        let digest = built.manifest.digest();
        let value = serde_json::json!({
            "package": built.manifest.about.reference().to_string(),
            "digest": digest,
            "files": built.manifest.files(),
            "bytes": built.manifest.bytes(),
        });
        args.from.json.print(&value, context, |out| writeln!(out, "{digest}"))?;
        return Ok(ExitCode::Passed);
    }
    let root = match &args.from.repo[..] {
        [] => state_dir("packages")?,
        [one] if !one.contains("://") => context.dir.join(one),
        _ => {
            return Err(Complaint::usage("a package is published in the directory of one repository").into());
        }
    };
    let repository = Repository::create(&root).map_err(complain)?;
    let upload = repository.build(&tree, about).map_err(complain)?;
    args.from.json.print(&upload, context, |out| {
        let package = &upload.package;
        writeln!(out, "{}", package.title())?;
        writeln!(out, "  digest  {}", package.digest)?;
        writeln!(out, "  holds   {} in {}", size(package.bytes), plural(package.files, "file", "files"))?;
        let known = if upload.is_known { ", which was published before" } else { "" };
        let (new, all) = (upload.chunks_new, upload.chunks);
        writeln!(out, "  new     {new} of {all} chunks, {} written{known}", size(upload.bytes_written))
    })?;
    Ok(ExitCode::Passed)
}

/// A folder with what is left out of it, by its own file and by patterns that were typed.
pub(super) fn tree(dir: &Path, typed: &[String]) -> Result<Tree, anyhow::Error> {
    let file = dir.join(exclude::FILE);
    let own = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => {
            return Err(Complaint::usage(format!("cannot read `{}`", file.display())).because(e).into());
        }
    };
    let own = Exclude::read(&own)
        .map_err(|e: BadPattern| Complaint::usage(e.to_string()).because(file.display().to_string()))?;
    let typed =
        Exclude::new(typed.iter().map(String::as_str)).map_err(|e| Complaint::usage(e.to_string()))?;
    Ok(Tree { dir: dir.to_owned(), exclude: own.and(typed) })
}

/// The folder at a revision, in a directory that goes away.
fn at_revision(dir: &Path, rev: &str) -> Result<TempDir, anyhow::Error> {
    let failed =
        |why: String| Complaint::usage(format!("git has no `{rev}` of `{}`", dir.display())).because(why);
    if rev.starts_with('-') {
        return Err(failed("a revision does not begin with `-`".to_owned()).into());
    }
    let into = tempfile::tempdir()?;
    let mut git = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["archive", "--format=tar", rev])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("git cannot be started: {e}")))?;
    let packed = into.path().join(".tar");
    let mut file = std::fs::File::create_new(&packed)?;
    std::io::copy(&mut git.stdout.take().expect("it was asked for"), &mut file)?;
    let ended = git.wait_with_output()?;
    if !ended.status.success() {
        return Err(failed(String::from_utf8_lossy(&ended.stderr).trim().to_owned()).into());
    }
    drop(file);
    muster_agent::unpack::unpack(&packed, muster_core::inputs::Packing::Tar, &into.path().join("tree"))
        .map_err(|e| failed(format!("what it has packed {e}")))?;
    let tree = tempfile::tempdir()?;
    std::fs::remove_dir(tree.path())?;
    std::fs::rename(into.path().join("tree"), tree.path())?;
    Ok(tree)
}
