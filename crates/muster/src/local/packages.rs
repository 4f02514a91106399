//! The packages of an area: found, installed and shown to a run before anything of it starts.
//!
//! What is edited here wins over what is published (`--local`): the folder is made a package as it is now,
//! which costs what changed, and it is told and recorded that it was.

use super::area::Area;
use crate::commands::package::{complain, find, find_in, size, sources, tell_troubles};
use crate::commands::run::InputArgs;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::remote;
use crate::settings::{cache_dir, state_dir};
use muster_api::Client;
use muster_core::inputs::{Inputs, Needed};
use muster_package::own::{
    About, Address, InstallOptions, Installed, Lease, Place, Published, Reference, Repository, Source,
    Sources, Tree, Wanted, changes,
};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Packages that are installed for a run.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    needed: Vec<Needed>,
    installed: Vec<Installed>,
}

/// Finds and installs what an area asks for, with what that needs.
///
/// # Errors
/// A package cannot be had; nothing has been recorded then.
pub(crate) fn install(args: &InputArgs, area: &Area, context: &Context) -> Result<Packages, anyhow::Error> {
    let mut local = local_folders(&args.local, context)?;
    let mut packages = Packages::default();
    let asked_for = asked_for(args, area);
    if asked_for.is_empty() && local.is_empty() {
        return Ok(packages);
    }
    let sources = sources_of(args, area, context)?;
    let place = Place::open(&cache_dir("packages")?).map_err(complain)?;
    let mut waiting = references(&asked_for)?;
    waiting.reverse();
    let mut seen = HashMap::new();
    while let Some(wanted) = waiting.pop() {
        if is_seen(&mut seen, &wanted, context) {
            continue;
        }
        let folder = local.remove(&wanted.title());
        let (package, from) = match &folder {
            Some(folder) => make_of(folder, &wanted, &sources, context)?,
            None => (find(&sources, &wanted)?, Sources::default()),
        };
        let from = if folder.is_some() { &from } else { &sources };
        let installed = place.install(&package, from, InstallOptions::default()).map_err(complain)?;
        tell(&installed, context);
        waiting.extend(place.deps(package.digest).into_iter().rev());
        packages.needed.push(needed(&package, folder.as_deref(), sources.addresses()));
        packages.installed.push(installed);
    }
    none_left(&local)?;
    tell_troubles(&sources, context);
    Ok(packages)
}

/// Says which packages a run on a lab is to be given. The agents fetch them: those of repositories that are URLs
/// from there, all others from the lab's own store, where they are brought as far as they are not there.
///
/// # Errors
/// A package is not there, or the server does not take it.
pub(crate) fn resolve(
    args: &InputArgs,
    area: &Area,
    client: &Client,
    context: &Context,
) -> Result<Vec<Needed>, anyhow::Error> {
    let asked_for = asked_for(args, area);
    let mut local = local_folders(&args.local, context)?;
    if asked_for.is_empty() && local.is_empty() {
        return Ok(Vec::new());
    }
    let mut named = repositories(args, area)?;
    if !named.iter().any(|r| r == Needed::LAB) {
        named.push(Needed::LAB.to_owned());
    }
    let sources = sources(&named, args.fetch_ca.as_deref(), context)?;
    let is_reached = |text: &String| {
        let is_elsewhere =
            || Address::mirrors(text, &context.dir).is_ok_and(|all| all.iter().any(Address::is_elsewhere));
        text == Needed::LAB || is_elsewhere()
    };
    // Repositories that only this host has, as they are shown.
    let here: Vec<String> = named.iter().filter(|text| !is_reached(text)).cloned().collect();
    let is_here = |place: &str| {
        let mut dirs = here.iter().flat_map(|text| text.split('|'));
        dirs.any(|dir| Source::dir(context.dir.join(dir)).shown() == place)
    };
    let mut waiting = references(&asked_for)?;
    waiting.reverse();
    let mut seen = HashMap::new();
    let mut all: Vec<Needed> = Vec::new();
    while let Some(wanted) = waiting.pop() {
        if is_seen(&mut seen, &wanted, context) {
            continue;
        }
        let folder = local.remove(&wanted.title());
        let (package, manifest, from) = match &folder {
            Some(folder) => {
                let (package, own) = make_of(folder, &wanted, &sources, context)?;
                let manifest = own.manifest(&package, None).map_err(complain)?.0;
                bring(client, &own, &package, context)?;
                (package, manifest, vec![Needed::LAB.to_owned()])
            }
            None => {
                let found = find_in(&sources, &wanted)?;
                let manifest = sources.manifest(&found.package, None).map_err(complain)?.0;
                if is_here(&found.place) {
                    bring(client, &sources, &found.package, context)?;
                    (found.package, manifest, vec![Needed::LAB.to_owned()])
                } else {
                    // What moves on stands where it was found.
                    (found.package, manifest, sources.addresses().into_iter().filter(is_reached).collect())
                }
            }
        };
        waiting.extend(manifest.about.deps.into_iter().rev());
        all.push(needed(&package, folder.as_deref(), from));
    }
    none_left(&local)?;
    tell_troubles(&sources, context);
    Ok(all)
}

/// Brings a package to the lab's own store, for this run.
fn bring(
    client: &Client,
    from: &Sources,
    package: &Published,
    context: &Context,
) -> Result<(), anyhow::Error> {
    let pushed = remote::store::push(client, from, package)?;
    if pushed.chunks_sent > 0 && context.output != OutputMode::Quiet {
        let (title, sent, all) = (package.title(), pushed.chunks_sent, pushed.chunks);
        let line = format!("{title}: {sent} of {all} chunks sent to the lab, {}", size(pushed.bytes_sent));
        // Nobody is left to tell if standard error is closed.
        drop(writeln!(context.stderr(), "{line}"));
    }
    Ok(())
}

/// What watches each attempt: what the area names and what was typed, each once.
pub(crate) fn profilers(args: &InputArgs, area: &Area) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in area.loaded.area.profilers.iter().chain(&args.profile) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// The packages that an area asks for, with those that watch its attempts.
fn asked_for(args: &InputArgs, area: &Area) -> Vec<String> {
    let watch = profilers(args, area).into_iter().filter(|name| name.starts_with("profiler:"));
    area.loaded.area.packages.iter().cloned().chain(watch).collect()
}

/// Installs again what a recorded run was given, for more attempts of it.
///
/// # Errors
/// It is not there any more, and cannot be had again.
pub(crate) fn again(inputs: &Inputs, run_dir: &Path, context: &Context) -> Result<Packages, anyhow::Error> {
    let mut packages = Packages::default();
    if inputs.packages.is_empty() {
        return Ok(packages);
    }
    let place = Place::open(&cache_dir("packages")?).map_err(complain)?;
    for needed in &inputs.packages {
        let exactly = Needed { version: needed.digest.to_string(), ..needed.clone() };
        let wanted: Reference = exactly.title().parse().map_err(complain)?;
        let mut from = needed.from.clone();
        if !needed.local.is_empty() {
            from.insert(0, state_dir(LOCAL)?.display().to_string());
        }
        let sources = sources(&from, None, context)?;
        let there = place.list().map_err(complain)?.into_iter().find(|e| e.package.digest == needed.digest);
        let package = match there {
            Some(entry) => entry.package,
            None => find(&sources, &wanted)?,
        };
        let installed = place.install(&package, &sources, InstallOptions::default()).map_err(complain)?;
        tell(&installed, context);
        packages.needed.push(needed.clone());
        packages.installed.push(installed);
    }
    packages.show(run_dir)?;
    Ok(packages)
}

impl Packages {
    /// What is recorded of them.
    pub(crate) fn needed(&self) -> Vec<Needed> {
        self.needed.clone()
    }

    /// Lets the tests of a run find them, in its directory.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(crate) fn show(&self, run_dir: &Path) -> Result<(), anyhow::Error> {
        for (needed, installed) in self.needed.iter().zip(&self.installed) {
            installed.show_at(&run_dir.join(needed.dir())).map_err(complain)?;
        }
        Ok(())
    }

    /// While these live, nobody takes the packages away.
    pub(crate) fn into_leases(self) -> Vec<Lease> {
        self.installed.into_iter().map(|installed| installed.lease).collect()
    }
}

/// The repository of what is made of folders for one's own runs, in the user's state directory.
pub(crate) const LOCAL: &str = "packages-local";

fn references(texts: &[String]) -> Result<Vec<Reference>, anyhow::Error> {
    texts.iter().map(|text| text.parse().map_err(complain)).collect()
}

/// Where the packages of an area are had from: what was typed, else what the area says.
fn repositories(args: &InputArgs, area: &Area) -> Result<Vec<String>, anyhow::Error> {
    if !args.repo.is_empty() {
        return Ok(args.repo.clone());
    }
    let beside = |text: &String| {
        if text == Needed::LAB {
            return Ok(text.clone());
        }
        let all = Address::mirrors(text, &area.dir).map_err(complain)?;
        Ok(all.iter().map(Address::to_string).collect::<Vec<_>>().join("|"))
    };
    area.loaded.area.repositories.iter().map(beside).collect()
}

fn sources_of(args: &InputArgs, area: &Area, context: &Context) -> Result<Sources, anyhow::Error> {
    sources(&repositories(args, area)?, args.fetch_ca.as_deref(), context)
}

fn needed(package: &Published, folder: Option<&Path>, from: Vec<String>) -> Needed {
    Needed {
        kind: package.kind.word().to_owned(),
        name: package.name.clone(),
        version: package.version.clone(),
        digest: package.digest,
        local: folder.map(|f| f.display().to_string()).unwrap_or_default(),
        from,
    }
}

/// Whether a package of this name is had already. The first that asks has the say; who asks for another version is
/// told.
fn is_seen(seen: &mut HashMap<String, Reference>, wanted: &Reference, context: &Context) -> bool {
    match seen.entry(wanted.title()) {
        Entry::Vacant(entry) => {
            entry.insert(wanted.clone());
            false
        }
        Entry::Occupied(first) => {
            let first = first.get();
            if first != wanted && wanted.wanted != Wanted::Newest {
                drop(writeln!(context.stderr(), "warning: `{wanted}` is needed, and `{first}` is used"));
            }
            true
        }
    }
}

/// Refuses folders that nothing asks for.
fn none_left(local: &BTreeMap<String, PathBuf>) -> Result<(), anyhow::Error> {
    match local.keys().next() {
        None => Ok(()),
        Some(title) => Err(Complaint::usage(format!("no test of this area needs `{title}`"))
            .hint("`--local` is for packages that `muster.toml` names in `packages`")
            .into()),
    }
}

/// `PACKAGE=DIR …`, by `KIND:NAME`.
fn local_folders(typed: &[String], context: &Context) -> Result<BTreeMap<String, PathBuf>, anyhow::Error> {
    let mut all = BTreeMap::new();
    for text in typed {
        let (package, dir) = text.split_once('=').ok_or_else(|| {
            Complaint::usage(format!("`--local {text}` names no folder"))
                .hint("for instance `--local dep:chrome_test=../chrome_test`")
        })?;
        let wanted: Reference = package.parse().map_err(complain)?;
        let dir = context.dir.join(dir);
        if !dir.is_dir() {
            return Err(Complaint::usage(format!("`{}` is not a directory", dir.display())).into());
        }
        all.insert(wanted.title(), dir);
    }
    Ok(all)
}

/// Makes a package of a folder as it is now. What it needs and how it is set up is said by the published one.
fn make_of(
    folder: &Path,
    wanted: &Reference,
    sources: &Sources,
    context: &Context,
) -> Result<(Published, Sources), anyhow::Error> {
    let published = find(sources, wanted).ok();
    let published = published.and_then(|p| Some((p.title(), sources.manifest(&p, None).ok()?.0)));
    let about = match &published {
        Some((_, manifest)) => About { version: String::new(), ..manifest.about.clone() },
        None => About::new(wanted.kind, wanted.name.clone()),
    };
    let repository = Repository::create(&state_dir(LOCAL)?).map_err(complain)?;
    let upload = repository.build(&Tree::open(folder).map_err(complain)?, about).map_err(complain)?;
    let own = Sources::new(vec![repository.source()]);
    if context.output != OutputMode::Quiet {
        let mut line = format!("{} is made of `{}`", wanted.title(), folder.display());
        if let Some((title, theirs)) = published {
            let (ours, _) = own.manifest(&upload.package, None).map_err(complain)?;
            match changes(&theirs, &ours).len() {
                0 => write!(line, ", which is as {title}")?,
                n => write!(line, ", where {n} of {} files differ from {title}", upload.package.files)?,
            }
        }
        drop(writeln!(context.stderr(), "{line}"));
    }
    Ok((upload.package, own))
}

/// What had to be done is told; what was there is not.
fn tell(installed: &Installed, context: &Context) {
    let moved = &installed.moved;
    if moved.files_written == 0 || context.output == OutputMode::Quiet {
        return;
    }
    let (title, written) = (installed.package.title(), moved.files_written);
    let mended = if installed.damage.is_empty() { "" } else { "mended, " };
    let line = format!(
        "{title}: {mended}{written} of {} files written, {} fetched",
        moved.files,
        size(moved.traffic.bytes)
    );
    // Nobody is left to tell if standard error is closed.
    drop(writeln!(context.stderr(), "{line}"));
}
