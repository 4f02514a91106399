//! What is published and installed: listed, shown, compared, verified, copied, taken away.

use super::installed::said;
use super::{FromArgs, IntoArgs, JsonArgs, OnDeviceArgs, Shelf, complain, find, size, tell_troubles};
use crate::context::Context;
use crate::error::Complaint;
use crate::far;
use crate::remote;
use crate::settings::state_dir;
use crate::terminal::text::{pad, plural};
use clap::Args;
use muster_api::{PackagesCollected, PrunePackages};
use muster_core::inputs::Needed;
use muster_core::outcome::ExitCode;
use muster_package::own::{
    Address, Change, Collected, DevicePlace, Manifest, Published, Pushed, Reference, Repository, Sources,
    What, changes,
};
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `muster package upload`.
#[derive(Args, Clone, Debug)]
pub(super) struct CopyArgs {
    /// What to publish there; everything if nothing is named
    #[arg(value_name = "PACKAGE")]
    packages: Vec<Reference>,
    /// The directory of the repository to publish it in, which is made, or the URL of a Muster server, whose store is
    /// meant; by default the store of the server that --server names
    #[arg(long, value_name = "DIR|URL")]
    to: Option<String>,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package fetch`.
#[derive(Args, Clone, Debug)]
pub(super) struct FetchArgs {
    /// What to bring here
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<Reference>,
    /// The directory of the repository to bring it to; by default the user's own
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package list`.
#[derive(Args, Clone, Debug)]
pub(super) struct ListArgs {
    /// What is installed, in place of what is published
    #[arg(long)]
    installed: bool,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    on: OnDeviceArgs,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package show`.
#[derive(Args, Clone, Debug)]
pub(super) struct ShowArgs {
    /// The package
    #[arg(value_name = "PACKAGE")]
    package: Reference,
    /// List its files, too
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package diff`.
#[derive(Args, Clone, Debug)]
pub(super) struct DiffArgs {
    /// The old one
    #[arg(value_name = "OLD")]
    old: Reference,
    /// The new one
    #[arg(value_name = "NEW")]
    new: Reference,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package verify`.
#[derive(Args, Clone, Debug)]
pub(super) struct VerifyArgs {
    /// What is installed, in place of a repository
    #[arg(long)]
    installed: bool,
    /// Take away what is damaged, so that it is written again when its package is published or copied again
    #[arg(long, conflicts_with = "installed")]
    drop: bool,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package remove`.
#[derive(Args, Clone, Debug)]
pub(super) struct RemoveArgs {
    /// The package; all versions if none is said
    #[arg(value_name = "PACKAGE")]
    package: Reference,
    /// Uninstall it, in place of taking it off a list
    #[arg(long)]
    installed: bool,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package prune`.
#[derive(Args, Clone, Debug)]
pub(super) struct PruneArgs {
    /// How many of each name and platform stay
    #[arg(long, value_name = "N", default_value_t = 5)]
    keep: usize,
    #[command(flatten)]
    from: FromArgs,
}

/// Arguments of `muster package gc`.
#[derive(Args, Clone, Debug)]
pub(super) struct GcArgs {
    /// What is installed and neither current, nor the one before, nor used
    #[arg(long)]
    installed: bool,
    /// With --installed: keep so many bytes of it, those used last
    #[arg(long, value_name = "BYTES", default_value_t = 0, conflicts_with = "on")]
    keep_bytes: u64,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    on: OnDeviceArgs,
    #[command(flatten)]
    from: FromArgs,
}

pub(super) fn upload(args: &CopyArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    // What a person has made is in their own repository, also where a lab is named.
    let from_own = args.from.repo.is_empty();
    let sources = if from_own { super::own_sources()? } else { args.from.sources(context)? };
    let packages: Vec<Published> = if args.packages.is_empty() {
        sources.list().map_err(complain)?.into_iter().map(|found| found.package).collect()
    } else {
        args.packages.iter().map(|wanted| find(&sources, wanted)).collect::<Result<_, _>>()?
    };
    let client = match args.to.as_deref() {
        None if context.server.is_some() => super::lab(context)?,
        None => {
            return Err(Complaint::usage("nothing says where to publish")
                .hint("name a directory or a server with `--to`, or a lab with `--server URL`")
                .into());
        }
        Some(Needed::LAB) => super::lab(context)?,
        Some(url) if url.contains("://") => remote::client(url, context)?,
        Some(dir) => return copy(&sources, packages, &context.dir.join(dir), args.from.json, context),
    };
    let mut told = Vec::new();
    for package in &packages {
        told.push(Sent::of(remote::store::publish(&client, &sources, package)?));
    }
    tell_troubles(&sources, context);
    args.from.json.print(&told, context, |out| told.iter().try_for_each(|sent| sent.tell(out)))?;
    Ok(ExitCode::Passed)
}

/// A package that was published in the store of a lab.
#[derive(Serialize)]
pub(super) struct Sent {
    #[serde(flatten)]
    pushed: Pushed,
    is_known: bool,
}

impl Sent {
    pub(super) fn of((pushed, is_known): (Pushed, bool)) -> Self {
        Self { pushed, is_known }
    }

    pub(super) fn tell(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let Pushed { package, chunks, chunks_sent, bytes_sent } = &self.pushed;
        let known = if self.is_known { ", which was published before" } else { "" };
        let sent = size(*bytes_sent);
        writeln!(out, "{}  {chunks_sent} of {chunks} chunks were new, {sent} sent{known}", package.title())
    }
}

pub(super) fn fetch(args: &FetchArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if args.from.repo.is_empty() && context.server.is_none() {
        return Err(Complaint::usage("nothing says where to fetch from")
            .hint("name a repository with `--repo`, or in MUSTER_REPO, or a lab with `--server URL`")
            .into());
    }
    let sources = args.from.sources(context)?;
    let packages = args.packages.iter().map(|wanted| find(&sources, wanted)).collect::<Result<_, _>>()?;
    let to = match &args.to {
        Some(to) => context.dir.join(to),
        None => state_dir("packages")?,
    };
    copy(&sources, packages, &to, args.from.json, context)
}

fn copy(
    sources: &Sources,
    packages: Vec<Published>,
    to: &std::path::Path,
    json: JsonArgs,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let repository = Repository::create(to).map_err(complain)?;
    let mut uploads = Vec::new();
    for package in packages {
        uploads.push(repository.copy(sources, &package).map_err(complain)?);
    }
    tell_troubles(sources, context);
    json.print(&uploads, context, |out| {
        for upload in &uploads {
            let (new, all) = (upload.chunks_new, upload.chunks);
            let written = size(upload.bytes_written);
            writeln!(out, "{}  {new} of {all} chunks were new, {written} written", upload.package.title())?;
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}

pub(super) fn list(args: &ListArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(address) = &args.on.on {
        let host = args.into.place(context)?;
        let all = far::with(address, |far| {
            DevicePlace::open(far, &host).and_then(|there| there.list()).map_err(complain)
        })?;
        args.from.json.print(&all, context, |out| {
            for entry in &all {
                let mark = match (entry.is_current, entry.is_last) {
                    (true, _) => "current",
                    (false, true) => "before",
                    (false, false) => "",
                };
                write!(out, "{}  {}  {}", pad(&entry.package.title(), 40), pad(mark, 7), entry.dir)?;
                match &entry.used_by[..] {
                    [] => writeln!(out)?,
                    holders => writeln!(out, "  used by {}", holders.join(", "))?,
                }
            }
            Ok(())
        })?;
        return Ok(ExitCode::Passed);
    }
    if args.installed {
        let all = args.into.place(context)?.list().map_err(complain)?;
        args.from.json.print(&all, context, |out| {
            for entry in &all {
                let mark = match (entry.is_current, entry.is_last) {
                    (true, _) => "current",
                    (false, true) => "before",
                    (false, false) => "",
                };
                let title = pad(&entry.package.title(), 40);
                writeln!(out, "{title}  {}  {}", pad(mark, 7), entry.dir.display())?;
            }
            Ok(())
        })?;
        return Ok(ExitCode::Passed);
    }
    let all: Vec<_> = args.from.sources(context)?.list().map_err(complain)?;
    let packages: Vec<_> = all.iter().map(|found| &found.package).collect();
    args.from.json.print(&packages, context, |out| {
        for package in &packages {
            let short = &package.digest.to_string()[..12];
            let version = if package.version.is_empty() { "-" } else { &package.version };
            let name = pad(&format!("{}:{}", package.kind, package.name), 32);
            let files = plural(package.files, "file", "files");
            write!(out, "{name}  {}  {short}  {} in {files}", pad(version, 12), size(package.bytes))?;
            if !package.platform.is_empty() {
                write!(out, "  for {}", package.platform)?;
            }
            writeln!(out)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}

/// A file as it is shown.
#[derive(Serialize)]
struct FileShown {
    path: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    bytes: u64,
    executable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// A package as it is shown.
#[derive(Serialize)]
struct PackageShown {
    package: Published,
    deps: Vec<Reference>,
    install: String,
    check: String,
    chunks: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<FileShown>>,
}

fn files(manifest: &Manifest) -> Vec<FileShown> {
    let shown = manifest.entries.iter().map(|entry| {
        let (kind, executable, to) = match &entry.what {
            What::File { executable, .. } => ("file", *executable, None),
            What::Link { to } => ("link", false, Some(to.bytes().escape_ascii().to_string())),
            What::Dir => ("directory", false, None),
        };
        let digest = entry.what.digest().map(|d| d.to_string());
        FileShown { path: entry.path.to_string(), kind, digest, bytes: entry.what.len(), executable, to }
    });
    shown.collect()
}

pub(super) fn show(args: &ShowArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let sources = args.from.sources(context)?;
    let package = find(&sources, &args.package)?;
    let (manifest, _) = sources.manifest(&package, None).map_err(complain)?;
    let about = manifest.about.clone();
    let shown = PackageShown {
        package,
        deps: about.deps,
        install: about.install,
        check: about.check,
        chunks: manifest.chunk_count(),
        files: args.files.then(|| files(&manifest)),
    };
    args.from.json.print(&shown, context, |out| {
        let package = &shown.package;
        writeln!(out, "{}", package.title())?;
        writeln!(out, "  digest    {}", package.digest)?;
        writeln!(out, "  holds     {} in {}", size(package.bytes), plural(package.files, "file", "files"))?;
        for (what, said) in
            [("platform", &package.platform), ("installs", &shown.install), ("checks", &shown.check)]
        {
            if !said.is_empty() {
                writeln!(out, "  {what:<8}  {said}")?;
            }
        }
        for dep in &shown.deps {
            writeln!(out, "  needs     {dep}")?;
        }
        for file in shown.files.iter().flatten() {
            let mode = if file.executable { "x" } else { "-" };
            let to = file.to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
            writeln!(out, "  {:<9} {mode} {:>12}  {}{to}", file.kind, file.bytes, file.path)?;
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}

pub(super) fn diff(args: &DiffArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let sources = args.from.sources(context)?;
    let manifest = |wanted: &Reference| -> Result<Manifest, anyhow::Error> {
        Ok(sources.manifest(&find(&sources, wanted)?, None).map_err(complain)?.0)
    };
    let all = changes(&manifest(&args.old)?, &manifest(&args.new)?);
    args.from.json.print(&all, context, |out| {
        for change in &all {
            match change {
                Change::Added { path, bytes } => writeln!(out, "+ {path}  {}", size(*bytes))?,
                Change::Removed { path, .. } => writeln!(out, "- {path}")?,
                Change::Changed { path, bytes } => writeln!(out, "! {path}  {}", size(*bytes))?,
            }
        }
        Ok(())
    })?;
    Ok(if all.is_empty() { ExitCode::Passed } else { ExitCode::Failed })
}

pub(super) fn verify(args: &VerifyArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let wrong: Vec<String> = if args.installed {
        let place = args.into.place(context)?;
        let mut wrong = Vec::new();
        for entry in place.list().map_err(complain)? {
            let damage = place.verify(&entry.package).map_err(complain)?;
            wrong.extend(damage.iter().map(|d| format!("{}: {}", entry.package.title(), said(d))));
        }
        wrong
    } else if args.drop || !is_elsewhere(&args.from, context) {
        match args.from.shelf(context)? {
            Shelf::Here(repository) if args.drop => repository.drop_damaged().map_err(complain)?,
            Shelf::Here(repository) => repository.verify().map_err(complain)?,
            Shelf::There(_) => {
                return Err(Complaint::usage("what is damaged is taken away where it is")
                    .hint("on the server's host: `muster package verify --drop --repo DATA/packages`")
                    .into());
            }
        }
    } else {
        // All of it is fetched, as those would who install it.
        let sources = args.from.sources(context)?;
        let packages = sources.list().map_err(complain)?;
        let wrong = packages.iter().filter_map(|found| {
            let error = sources.verify(&found.package).err()?;
            let why = std::error::Error::source(&error).map(|e| format!(": {e}")).unwrap_or_default();
            Some(format!("{}: {error}{why}", found.package.title()))
        });
        wrong.collect()
    };
    args.from.json.print(&wrong, context, |out| wrong.iter().try_for_each(|line| writeln!(out, "{line}")))?;
    Ok(if wrong.is_empty() { ExitCode::Passed } else { ExitCode::Failed })
}

/// Whether a repository is anywhere but in a directory of this host.
fn is_elsewhere(from: &FromArgs, context: &Context) -> bool {
    match &from.repo[..] {
        [] => context.server.is_some(),
        some => some.iter().any(|text| {
            let mirrors = Address::mirrors(text, &context.dir);
            text == Needed::LAB || mirrors.is_ok_and(|all| all.iter().any(Address::is_elsewhere))
        }),
    }
}

pub(super) fn remove(args: &RemoveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let gone: Vec<Published> = if args.installed {
        let gone = args.into.place(context)?.remove(&args.package).map_err(complain)?;
        gone.into_iter().map(|entry| entry.package).collect()
    } else {
        match args.from.shelf(context)? {
            Shelf::Here(repository) => repository.remove(&args.package).map_err(complain)?.removed,
            Shelf::There(client) => {
                let sources = Sources::new(vec![remote::store::source(&client)]);
                let all = sources.list().map_err(complain)?.into_iter().map(|found| found.package);
                let gone: Vec<Published> = all.filter(|package| package.is(&args.package)).collect();
                if gone.is_empty() {
                    // Says what there is in its place.
                    find(&sources, &args.package)?;
                }
                for package in &gone {
                    client.remove_package(package.digest).map_err(remote::complain)?;
                }
                gone
            }
        }
    };
    tell_gone(&gone, args.from.json, context)
}

pub(super) fn prune(args: &PruneArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let gone = match args.from.shelf(context)? {
        Shelf::Here(repository) => repository.prune(args.keep.max(1)).map_err(complain)?.removed,
        Shelf::There(client) => {
            let sources = Sources::new(vec![remote::store::source(&client)]);
            let before = sources.list().map_err(complain)?;
            let keep = u32::try_from(args.keep.max(1)).unwrap_or(u32::MAX);
            let pruned = client.prune_packages(PrunePackages { keep }).map_err(remote::complain)?;
            let is_gone =
                |p: &Published| pruned.removed.iter().any(|gone| gone.digest == p.digest.to_string());
            before.into_iter().map(|found| found.package).filter(is_gone).collect()
        }
    };
    tell_gone(&gone, args.from.json, context)
}

fn tell_gone(gone: &[Published], json: JsonArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    json.print(&gone, context, |out| {
        gone.iter().try_for_each(|package| writeln!(out, "removed {}", package.title()))
    })?;
    Ok(ExitCode::Passed)
}

pub(super) fn gc(args: &GcArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(address) = &args.on.on {
        let host = args.into.place(context)?;
        let gone = far::with(address, |far| {
            DevicePlace::open(far, &host).and_then(|there| there.collect()).map_err(complain)
        })?;
        return tell_gone(&gone, args.from.json, context);
    }
    let gone = if args.installed {
        args.into.place(context)?.collect(args.keep_bytes).map_err(complain)?
    } else {
        match args.from.shelf(context)? {
            Shelf::Here(repository) => repository.collect().map_err(complain)?,
            Shelf::There(client) => {
                let gone = client.collect_packages().map_err(remote::complain)?;
                let PackagesCollected { files, bytes, repacked, bytes_repacked } = gone;
                let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                Collected { files: count(files), bytes, repacked: count(repacked), bytes_repacked }
            }
        }
    };
    args.from.json.print(&gone, context, |out| {
        writeln!(out, "{} taken away, {}", plural(gone.files as u64, "file", "files"), size(gone.bytes))?;
        if gone.repacked > 0 {
            let packs = plural(gone.repacked as u64, "pack", "packs");
            writeln!(out, "what was needed of {packs} is packed anew, {}", size(gone.bytes_repacked))?;
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}
