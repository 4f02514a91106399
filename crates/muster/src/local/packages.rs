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
use muster_core::plan::Plan;
use muster_package::own::{
    About, Address, InstallOptions, Installed, Lease, Place, Published, Reference, Repository, Source,
    Sources, Tree, Wanted, changes,
};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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
pub(crate) fn install(
    args: &InputArgs,
    area: &Area,
    plan: &Plan,
    context: &Context,
) -> Result<Packages, anyhow::Error> {
    let mut local = local_folders(&args.local, context)?;
    let mut packages = Packages::default();
    let mut asked_for = AskedFor::new(args, area, plan)?;
    if asked_for.is_empty() && local.is_empty() {
        return Ok(packages);
    }
    let sources = sources_of(args, area, context)?;
    packages.install_asked(&mut asked_for, &mut local, &sources, context)?;
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
    plan: &Plan,
    client: &Client,
    context: &Context,
) -> Result<Vec<Needed>, anyhow::Error> {
    resolve_beside(&[], args, area, plan, client, context)
}

/// The same for a run that goes on: it has what it was given, and what its area has come to need since.
///
/// # Errors
/// As above.
pub(crate) fn resolve_beside(
    given: &[Needed],
    args: &InputArgs,
    area: &Area,
    plan: &Plan,
    client: &Client,
    context: &Context,
) -> Result<Vec<Needed>, anyhow::Error> {
    let mut asked_for = AskedFor::new(args, area, plan)?;
    let mut local = local_folders(&args.local, context)?;
    if asked_for.is_empty() && local.is_empty() {
        return Ok(given.to_vec());
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
    let mut all: Vec<Needed> = given.to_vec();
    for needed in given {
        // One that was taken off the list meanwhile is kept for this run, and needs what it needed.
        let there = exactly(needed).and_then(|wanted| find(&sources, &wanted)).ok();
        let manifest = there.and_then(|package| sources.manifest(&package, None).ok());
        let deps = manifest.map(|(manifest, _)| manifest.about.deps).unwrap_or_default();
        asked_for.given(needed, &deps)?;
    }
    while let Some(wanted) = asked_for.next(context) {
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
        asked_for.found(&wanted, manifest.about.deps);
        all.push(needed(&package, folder.as_deref(), from));
    }
    none_left(&local)?;
    asked_for.say_whose(&mut all);
    tell_troubles(&sources, context);
    Ok(all)
}

/// The packages that a run of these tests would be given now; nothing is brought or installed.
///
/// # Errors
/// One cannot be found.
pub(crate) fn look(area: &Area, plan: &Plan, context: &Context) -> Result<Vec<Needed>, anyhow::Error> {
    let args = InputArgs::default();
    let mut asked_for = AskedFor::new(&args, area, plan)?;
    if asked_for.is_empty() {
        return Ok(Vec::new());
    }
    let mut named = repositories(&args, area)?;
    if context.server.is_some() && !named.iter().any(|r| r == Needed::LAB) {
        named.push(Needed::LAB.to_owned());
    }
    let sources = sources(&named, None, context)?;
    let mut all = Vec::new();
    while let Some(wanted) = asked_for.next(context) {
        let package = find(&sources, &wanted)?;
        asked_for.found(&wanted, sources.manifest(&package, None).map_err(complain)?.0.about.deps);
        all.push(needed(&package, None, Vec::new()));
    }
    asked_for.say_whose(&mut all);
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

/// What watches each attempt of a run: what the area names and what was typed, each once.
pub(crate) fn profilers(args: &InputArgs, area: &Area) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in area.loaded.area.profilers.iter().chain(&args.profile) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// What is asked for, by the area and by the planned tests; and what of it was found.
struct AskedFor {
    /// What is still to be found, the next last.
    waiting: Vec<Reference>,
    /// The first that asked for a name, by `KIND:NAME`.
    seen: HashMap<String, Reference>,
    /// Who asks for what: a test, or all.
    by: Vec<(String, Option<String>)>,
    /// What was found needs these.
    deps: HashMap<String, Vec<String>>,
}

impl AskedFor {
    fn new(args: &InputArgs, area: &Area, plan: &Plan) -> Result<Self, anyhow::Error> {
        let is_package = |name: &&String| name.starts_with("profiler:");
        let watch = profilers(args, area);
        let own = |text: &String, test: Option<&String>| {
            text.parse::<Reference>().map(|wanted| (wanted, test.cloned())).map_err(complain)
        };
        let area_s = area.loaded.area.packages.iter().chain(watch.iter().filter(is_package));
        let mut all: Vec<_> = area_s.map(|text| own(text, None)).collect::<Result<_, _>>()?;
        for def in plan.tests.iter().map(|test| &test.def) {
            for text in def.packages.iter().chain(def.profilers.iter().filter(is_package)) {
                all.push(own(text, Some(&def.name))?);
            }
        }
        let by = all.iter().map(|(wanted, test)| (wanted.title(), test.clone())).collect();
        let waiting = all.into_iter().rev().map(|(wanted, _)| wanted).collect();
        Ok(Self { waiting, seen: HashMap::new(), by, deps: HashMap::new() })
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// It was given before, and needs these.
    fn given(&mut self, needed: &Needed, deps: &[Reference]) -> Result<(), anyhow::Error> {
        let wanted: Reference = needed.title().parse().map_err(complain)?;
        self.deps.insert(wanted.title(), deps.iter().map(Reference::title).collect());
        self.seen.insert(wanted.title(), wanted);
        Ok(())
    }

    /// What is to be found next. The first that asks for a name has the say; who asks for another version of it is
    /// told.
    fn next(&mut self, context: &Context) -> Option<Reference> {
        while let Some(wanted) = self.waiting.pop() {
            match self.seen.entry(wanted.title()) {
                Entry::Vacant(entry) => {
                    entry.insert(wanted.clone());
                    return Some(wanted);
                }
                Entry::Occupied(first) => {
                    let first = first.get();
                    if *first != wanted && wanted.wanted != Wanted::Newest {
                        drop(writeln!(
                            context.stderr(),
                            "warning: `{wanted}` is needed, and `{first}` is used"
                        ));
                    }
                }
            }
        }
        None
    }

    /// It was found, and needs these.
    fn found(&mut self, wanted: &Reference, deps: Vec<Reference>) {
        self.deps.insert(wanted.title(), deps.iter().map(Reference::title).collect());
        self.waiting.extend(deps.into_iter().rev());
    }

    /// Says of each package which tests need it, where not all of them do.
    fn say_whose(&self, all: &mut [Needed]) {
        let mut whose: HashMap<&str, BTreeSet<Option<&str>>> = HashMap::new();
        for (title, test) in &self.by {
            let mut below = vec![title.as_str()];
            while let Some(title) = below.pop() {
                if whose.entry(title).or_default().insert(test.as_deref()) {
                    below.extend(self.deps.get(title).into_iter().flatten().map(String::as_str));
                }
            }
        }
        for needed in all {
            // What nobody asks for any more stays for those who did.
            let Some(by) = whose.get(format!("{}:{}", needed.kind, needed.name).as_str()) else { continue };
            let tests = Some(by).filter(|by| !by.contains(&None)).into_iter().flatten().flatten();
            needed.tests = tests.map(|test| (*test).to_owned()).collect();
        }
    }
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
        let wanted = exactly(needed)?;
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

/// This package and no other of its name.
fn exactly(needed: &Needed) -> Result<Reference, anyhow::Error> {
    let exactly = Needed { version: needed.digest.to_string(), ..needed.clone() };
    exactly.title().parse().map_err(complain)
}

impl Packages {
    /// Finds and installs what is asked for, with what that needs.
    fn install_asked(
        &mut self,
        asked_for: &mut AskedFor,
        local: &mut BTreeMap<String, PathBuf>,
        sources: &Sources,
        context: &Context,
    ) -> Result<(), anyhow::Error> {
        let place = Place::open(&cache_dir("packages")?).map_err(complain)?;
        while let Some(wanted) = asked_for.next(context) {
            let folder = local.remove(&wanted.title());
            let (package, from) = match &folder {
                Some(folder) => make_of(folder, &wanted, sources, context)?,
                None => (find(sources, &wanted)?, Sources::default()),
            };
            let from = if folder.is_some() { &from } else { sources };
            let installed = place.install(&package, from, InstallOptions::default()).map_err(complain)?;
            tell(&installed, context);
            asked_for.found(&wanted, installed.deps.clone());
            self.needed.push(needed(&package, folder.as_deref(), sources.addresses()));
            self.installed.push(installed);
        }
        asked_for.say_whose(&mut self.needed);
        Ok(())
    }

    /// Beside what a recorded run was given, what its area has come to need since.
    ///
    /// # Errors
    /// A package cannot be had.
    pub(crate) fn add(
        &mut self,
        area: &Area,
        plan: &Plan,
        run_dir: &Path,
        context: &Context,
    ) -> Result<(), anyhow::Error> {
        let args = InputArgs::default();
        let mut asked_for = AskedFor::new(&args, area, plan)?;
        if asked_for.is_empty() {
            return Ok(());
        }
        for (needed, installed) in self.needed.iter().zip(&self.installed) {
            asked_for.given(needed, &installed.deps)?;
        }
        let sources = sources_of(&args, area, context)?;
        self.install_asked(&mut asked_for, &mut BTreeMap::new(), &sources, context)?;
        tell_troubles(&sources, context);
        self.show(run_dir)
    }

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
        tests: Vec::new(),
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
