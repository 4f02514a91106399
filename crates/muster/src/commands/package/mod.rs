//! `muster package`: packages built, published, fetched, installed and looked at.

mod autotest;
mod build;
mod installed;
mod published;

use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::area::facts;
use crate::remote;
use crate::settings::{cache_dir, state_dir};
use clap::{Args, Subcommand};
use muster_api::Client;
use muster_core::expr::Expr;
use muster_core::inputs::Needed;
use muster_core::outcome::ExitCode;
use muster_device::DeviceAddress;
use muster_package::own::{
    Address, Found, PackageError, Place, Published, Reach, Reference, Repository, Source, Sources,
};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `muster package`.
#[derive(Args, Clone, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "\
PACKAGE is KIND:NAME, with @VERSION or @DIGEST behind it where one is meant; without, the newest that fits this
host. KIND is client, test, dep, profiler or build.

A repository is a directory; the URL of one that any web server gives out (https: or http:); one of another host
(ssh://HOST/PATH or HOST:/PATH); or git+URL//DIR@REV, where KIND:NAME is the folder KIND/NAME or KINDs/NAME of a git
repository. Mirrors of one repository have `|` between them. `lab` is the store of the server that --server names.
Without --repo and MUSTER_REPO it is that store where a server is named, else `muster/packages` in the user's state directory
(~/.local/state).

Examples:
  muster package build dep/chrome --kind dep --name chrome_test --version 1.2
  muster package upload dep:chrome_test --to /srv/packages
  muster --server http://lab:7117 package upload dep:chrome_test
  muster package install dep:chrome_test --repo http://lab/packages
  muster package diff dep:chrome_test@1.1 dep:chrome_test@1.2"
)]
pub(crate) struct PackageArgs {
    #[command(subcommand)]
    command: PackageCommand,
}

/// What to do with packages.
#[derive(Subcommand, Clone, Debug)]
enum PackageCommand {
    /// Make a package of a folder and publish it
    Build(Box<build::BuildArgs>),
    /// Publish a package of one repository in another
    Upload(published::CopyArgs),
    /// Bring a package to a repository of this host from others
    Fetch(published::FetchArgs),
    /// Install packages, or find that they are
    Install(installed::InstallArgs),
    /// List what is published, or installed
    List(published::ListArgs),
    /// Print what a package is
    Show(published::ShowArgs),
    /// Say how one package differs from another; exit code 1 if it does
    Diff(published::DiffArgs),
    /// Read everything and say what is damaged; exit code 1 if anything is
    Verify(published::VerifyArgs),
    /// Take packages off the list of a repository, or uninstall them
    Remove(published::RemoveArgs),
    /// Take all but the newest of each name off the list
    Prune(published::PruneArgs),
    /// Take away what nothing needs any more
    Gc(published::GcArgs),
    /// Have the server of a build bring its Autotest packages near, and wait until they are there
    Stage(autotest::fetched::StageArgs),
    /// Autotest's packages and repositories, as its packager and its clients have them
    Autotest(autotest::AutotestArgs),
}

/// Does what is asked.
pub(crate) fn run(args: PackageArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        PackageCommand::Build(args) => build::run(*args, context),
        PackageCommand::Upload(args) => published::upload(&args, context),
        PackageCommand::Fetch(args) => published::fetch(&args, context),
        PackageCommand::Install(args) => installed::run(&args, context),
        PackageCommand::List(args) => published::list(&args, context),
        PackageCommand::Show(args) => published::show(&args, context),
        PackageCommand::Diff(args) => published::diff(&args, context),
        PackageCommand::Verify(args) => published::verify(&args, context),
        PackageCommand::Remove(args) => published::remove(&args, context),
        PackageCommand::Prune(args) => published::prune(&args, context),
        PackageCommand::Gc(args) => published::gc(&args, context),
        PackageCommand::Stage(args) => autotest::fetched::stage(&args, context),
        PackageCommand::Autotest(args) => autotest::run(args, context),
    }
}

/// Where packages are had from.
#[derive(Args, Clone, Debug, Default)]
struct FromArgs {
    /// Directories or addresses of repositories, or `lab`, in the order in which they are asked
    #[arg(long, value_name = "DIR|URL", env = "MUSTER_REPO", hide_env_values = true, value_delimiter = ',')]
    repo: Vec<String>,
    /// By what web servers are known that packages are fetched from: the certificate of their authority [default: what
    /// the system trusts]
    #[arg(long, value_name = "FILE", env = "MUSTER_FETCH_CA_FILE", hide_env_values = true)]
    fetch_ca: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
}

/// How to print.
#[derive(Args, Clone, Copy, Debug, Default)]
struct JsonArgs {
    /// Print JSON; as `--output json`
    #[arg(long)]
    json: bool,
}

impl FromArgs {
    fn sources(&self, context: &Context) -> Result<Sources, anyhow::Error> {
        sources(&self.repo, self.fetch_ca.as_deref(), context)
    }

    /// Whether the store of a lab is meant, and no other.
    fn is_lab(&self, context: &Context) -> bool {
        match &self.repo[..] {
            [] => context.server.is_some(),
            [one] => one == Needed::LAB,
            _ => false,
        }
    }

    /// The directory that was named of the one repository that is changed or looked at; `None`: the user's own.
    fn named_dir(&self, context: &Context) -> Result<Option<PathBuf>, anyhow::Error> {
        match &self.repo[..] {
            [] => Ok(None),
            [one] => match Address::parse(one, &context.dir).map_err(complain)? {
                Address::Dir(dir) => Ok(Some(dir)),
                Address::Web(_) | Address::Ssh(_) | Address::Git(_) | Address::Named(_) => {
                    Err(Complaint::usage("a repository is changed in its directory, not by its URL")
                        .hint("the store of a lab is changed by its server: `--server URL`, without `--repo`")
                        .into())
                }
            },
            _ => Err(Complaint::usage("name one repository to change").into()),
        }
    }

    /// The one repository that is changed or looked at.
    fn shelf(&self, context: &Context) -> Result<Shelf, anyhow::Error> {
        if self.is_lab(context) {
            return lab(context).map(Shelf::There);
        }
        let root = match self.named_dir(context)? {
            Some(dir) => dir,
            None => state_dir("packages")?,
        };
        let repository = Repository::open(&root).ok_or_else(|| {
            let hint = if root.join(muster_package::autotest::checksums::FILE).exists() {
                "it is one of Autotest's, which `muster package autotest` works with"
            } else {
                "`muster package build DIR --repo …` makes one"
            };
            Complaint::usage(format!("`{}` is no repository of packages", root.display())).hint(hint)
        })?;
        Ok(Shelf::Here(repository))
    }
}

/// Where packages are published.
enum Shelf {
    /// A directory.
    Here(Repository),
    /// The store of a lab's own server.
    There(Client),
}

/// The server whose store is meant.
fn lab(context: &Context) -> Result<Client, anyhow::Error> {
    let server = context.server.as_deref().ok_or_else(|| {
        Complaint::usage(format!("`{}` is the store of a lab, and no lab is named", Needed::LAB)).hint(
            "name its server with `--server URL`, or in MUSTER_SERVER; a directory of this name is `./lab`",
        )
    })?;
    remote::client(server, context)
}

/// Repositories as they were typed; by default the lab's own store where a lab is named, else the user's own.
/// Where none is, the store of a lab is left out if there are others.
pub(crate) fn sources(
    typed: &[String],
    fetch_ca: Option<&Path>,
    context: &Context,
) -> Result<Sources, anyhow::Error> {
    let of_lab = || Ok::<_, anyhow::Error>(Sources::new(vec![remote::store::source(&lab(context)?)]));
    if typed.is_empty() {
        return if context.server.is_some() { of_lab() } else { own_sources() };
    }
    let is_only = typed.iter().all(|text| text == Needed::LAB);
    let reach = reach(fetch_ca, context)?;
    let mut all = Sources::default();
    for text in typed {
        let one = if text != Needed::LAB {
            Sources::at([text.as_str()], &context.dir, &reach).map_err(complain)?
        } else if context.server.is_some() || is_only {
            of_lab()?
        } else {
            continue;
        };
        all = all.and(one);
    }
    Ok(all)
}

/// The user's own repository.
fn own_sources() -> Result<Sources, anyhow::Error> {
    Ok(Sources::new(vec![Source::dir(state_dir("packages")?)]))
}

/// How repositories elsewhere are asked.
fn reach(fetch_ca: Option<&Path>, context: &Context) -> Result<Reach, anyhow::Error> {
    Ok(Reach { ca_file: context.fetch_ca(fetch_ca), ..Reach::new(cache_dir("git")?) })
}

/// Where packages are installed on this host.
#[derive(Args, Clone, Debug, Default)]
struct IntoArgs {
    /// Where packages are installed; by default `muster/packages` in the user's cache directory
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl IntoArgs {
    fn place(&self, context: &Context) -> Result<Place, anyhow::Error> {
        let root = match &self.into {
            Some(dir) => context.dir.join(dir),
            None => cache_dir("packages")?,
        };
        Place::open(&root).map_err(complain)
    }
}

/// A device that packages are installed on, in place of this host.
#[derive(Args, Clone, Debug, Default)]
struct OnDeviceArgs {
    /// On this device, in place of this host: `ssh://ana@box`; see `muster device --help`
    #[arg(long, value_name = "ADDRESS")]
    on: Option<DeviceAddress>,
}

/// Finds a package that fits this host.
pub(crate) fn find(sources: &Sources, wanted: &Reference) -> Result<Published, anyhow::Error> {
    Ok(find_in(sources, wanted)?.package)
}

/// The same, with where it is.
pub(crate) fn find_in(sources: &Sources, wanted: &Reference) -> Result<Found, anyhow::Error> {
    let facts = facts();
    let fits = |platform: &str| {
        let expr = Expr::parse(platform).map_err(|e| e.to_string())?;
        expr.eval_bool(&facts).map_err(|e| e.to_string())
    };
    sources.find(wanted, &fits).map_err(complain)
}

/// An error of packages, as the program tells it.
pub(crate) fn complain(error: PackageError) -> anyhow::Error {
    let hint = match &error {
        PackageError::Missing { .. } => Some("`muster package list` lists what is published"),
        PackageError::Published { .. } => {
            Some("what is published stays as it is: choose another version, or remove that one first")
        }
        PackageError::Incomplete { .. } | PackageError::Damaged { .. } => Some(
            "name another repository that has it, or publish it again after `muster package verify --drop`",
        ),
        PackageError::NoRoom { .. } => Some("`muster package gc --installed` makes room"),
        PackageError::Unpackable { .. } => {
            Some("leave it out: name it in `.pack_exclude`, or by `--exclude`")
        }
        PackageError::Device { .. }
        | PackageError::Unreachable { .. }
        | PackageError::Lacking { .. }
        | PackageError::Io { .. }
        | PackageError::Hook { .. }
        | PackageError::Asked(_) => None,
    };
    let code = if error.is_askers_fault() { ExitCode::Usage } else { ExitCode::Lab };
    let mut complaint = Complaint::new(code, error.to_string());
    if let Some(source) = std::error::Error::source(&error) {
        complaint = complaint.because(source.to_string());
    }
    if let Some(hint) = hint {
        complaint = complaint.hint(hint);
    }
    complaint.into()
}

impl JsonArgs {
    fn is_wanted(self, context: &Context) -> bool {
        self.json || context.output == OutputMode::Json
    }

    /// Prints a value as JSON, or what people have of it.
    fn print<T: Serialize>(
        self,
        value: &T,
        context: &Context,
        human: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(), anyhow::Error> {
        let mut out = context.stdout();
        if self.is_wanted(context) {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else if context.output != OutputMode::Quiet {
            human(&mut out)?;
        }
        Ok(())
    }
}

/// Tells what was found damaged or did not answer, though all went well in the end.
pub(crate) fn tell_troubles(sources: &Sources, context: &Context) {
    let mut err = context.stderr();
    for trouble in sources.troubles() {
        // Nobody is left to tell if standard error is closed.
        drop(writeln!(err, "warning: {trouble}"));
    }
}

/// Bytes for people: `12.3 MB`.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let n = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n / 1e6),
        _ => format!("{:.1} GB", n / 1e9),
    }
}
