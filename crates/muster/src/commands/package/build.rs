//! `muster package build`: a package of a folder, as it is or as it was at a git revision.

use super::published::Sent;
use super::{FromArgs, complain, size};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::packages::LOCAL;
use crate::remote;
use crate::settings::state_dir;
use crate::terminal::text::plural;
use clap::Args;
use muster_core::expr::Expr;
use muster_core::outcome::ExitCode;
use muster_package::exclude::Exclude;
use muster_package::own::{self, About, Address, Checkout, Kind, Reference, Repository, Sources, Tree};
use std::path::{Path, PathBuf};

/// Arguments of `muster package build`.
#[derive(Args, Clone, Debug)]
pub(super) struct BuildArgs {
    /// The folder, or one of a git repository: git+URL//DIR@REV
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
    let typed = args.folder.to_string_lossy();
    let (dir, checkout, usual_name) = match Address::parse(&typed, &context.dir).map_err(complain)? {
        Address::Git(place) if args.rev.is_none() => {
            let reach = super::reach(args.from.fetch_ca.as_deref(), context)?;
            let checkout = Checkout::of(&place, &reach).map_err(complain)?;
            (checkout.folder(), Some(checkout), place.name().to_owned())
        }
        Address::Git(place) => {
            let hint = format!("write `{}`", place.at(args.rev.as_deref().unwrap_or_default()));
            return Err(Complaint::usage("the revision of a git repository stands in its address")
                .hint(hint)
                .into());
        }
        Address::Dir(dir) if dir.is_dir() => {
            let at_revision = args.rev.as_deref().map(|rev| Checkout::of_folder(&dir, rev));
            let name = dir.canonicalize()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (dir, at_revision.transpose().map_err(complain)?, name)
        }
        Address::Dir(dir) => {
            return Err(Complaint::usage(format!("`{}` is not a directory", dir.display())).into());
        }
        Address::Web(_) | Address::Ssh(_) | Address::Named(_) => {
            let hint = "a folder of this host, or `git+URL//DIR@REV`";
            return Err(Complaint::usage(format!("no package is made of `{typed}`")).hint(hint).into());
        }
    };
    let name = args.name.clone().unwrap_or(usual_name);
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
    let dir = checkout.as_ref().map_or(dir, Checkout::folder);
    let tree = tree(&dir, &args.exclude)?;
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
    if args.from.is_lab(context) {
        return to_lab(&args, &tree, about, context);
    }
    let root = match args.from.named_dir(context)? {
        Some(dir) => dir,
        None => state_dir("packages")?,
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

/// Publishes in the store of a lab. What was made before for it is not made again.
fn to_lab(args: &BuildArgs, tree: &Tree, about: About, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let client = super::lab(context)?;
    let repository = Repository::create(&state_dir(LOCAL)?).map_err(complain)?;
    let package = repository.make(tree, about).map_err(complain)?;
    let own = Sources::new(vec![repository.source()]);
    let sent = Sent::of(remote::store::publish(&client, &own, &package)?);
    args.from.json.print(&sent, context, |out| sent.tell(out))?;
    Ok(ExitCode::Passed)
}

/// A folder with what is left out of it, by its own file and by patterns that were typed.
fn tree(dir: &Path, typed: &[String]) -> Result<Tree, anyhow::Error> {
    let Tree { dir, exclude } = Tree::open(dir).map_err(complain)?;
    let typed =
        Exclude::new(typed.iter().map(String::as_str)).map_err(|e| Complaint::usage(e.to_string()))?;
    Ok(Tree { dir, exclude: exclude.and(typed) })
}
