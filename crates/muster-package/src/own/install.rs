//! Installs a package on this host's disk: finds out what is there, and carries out what the plan in core says.
//! What was there stays until all of the new one is whole, and stays if this fails.

use super::about::Reference;
use super::chunk::Piece;
use super::error::{At as _, PackageError};
use super::fetch::Traffic;
use super::fingerprint::{Record, Verify};
use super::lock::write_soon;
use super::manifest::{Manifest, What};
use super::names::Published;
use super::place::{Lease, Place, remove};
use super::reuse::{self, Old, Reuse};
use super::source::Sources;
use super::tree_path::TreePath;
use super::verify::{self, Damage};
use super::write::Writer;
use muster_core::install::files::{self, Have, Step, Taken, Target};
use rustix::fs::{CWD, RenameFlags};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How something is installed.
#[derive(Clone, Copy, Default)]
pub struct InstallOptions<'a> {
    /// How it is made sure of that what is there is right.
    pub verify: Verify,
    /// Another place of the same host whose packages may be used.
    pub cache: Option<&'a Place>,
    /// Told before each step, by name.
    pub on_step: Option<&'a (dyn Fn(&'static str) + Sync)>,
}

/// A package that is installed.
#[derive(Debug)]
pub struct Installed {
    /// What it is.
    pub package: Published,
    /// Its files.
    pub dir: PathBuf,
    /// What had to be done.
    pub moved: Moved,
    /// What was wrong with what was there.
    pub damage: Vec<Damage>,
    /// What it needs.
    pub deps: Vec<Reference>,
    /// It stays as long as this lives.
    pub lease: Lease,
}

impl Installed {
    /// Makes a link to its files at another path, in place of one that is there.
    ///
    /// # Errors
    /// There is something else, or the directory cannot be written to.
    pub fn show_at(&self, link: &Path) -> Result<(), PackageError> {
        if let Some(dir) = link.parent() {
            fs::create_dir_all(dir).at(dir)?;
        }
        if fs::symlink_metadata(link).is_ok_and(|m| m.is_symlink()) {
            fs::remove_file(link).at(link)?;
        }
        std::os::unix::fs::symlink(&self.dir, link).at(link)
    }
}

/// What had to be done to install something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Files of it.
    pub files: usize,
    /// Files that were there and right, and stayed.
    pub files_kept: usize,
    /// Files taken from other packages that are installed.
    pub files_reused: usize,
    /// Files that were written.
    pub files_written: usize,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// What came from repositories.
    pub traffic: Traffic,
}

/// What each file needs beside its bytes.
// Limit: a guess at what a file system takes.
pub(super) const FILE_OVERHEAD: u64 = 4_096 + 512;
/// How long a hook may take.
const HOOK_SECS_MAX: u64 = 600;

impl Place {
    /// Installs a package, or finds that it is.
    ///
    /// # Errors
    /// [`PackageError`]; what was installed before is as it was.
    pub fn install(
        &self,
        package: &Published,
        sources: &Sources,
        options: InstallOptions<'_>,
    ) -> Result<Installed, PackageError> {
        let lease = self.lease(package.digest)?;
        let before = sources.traffic();
        let done = |moved: Moved, damage, deps| {
            let after = sources.traffic();
            let traffic =
                Traffic { bytes: after.bytes - before.bytes, requests: after.requests - before.requests };
            self.touch(package.digest);
            let moved = Moved { traffic, ..moved };
            Installed { package: package.clone(), dir: self.tree(package.digest), moved, damage, deps, lease }
        };
        if let Some(deps) = self.as_recorded(package, options.verify) {
            let moved = self.carry_out(Target::Recorded, package, sources, options)?;
            return Ok(done(moved, Vec::new(), deps));
        }
        options.step("lock");
        let _lock = self.install_lock(package.digest)?;
        // Somebody else may have done it meanwhile.
        let (target, damage) = if self.as_recorded(package, options.verify).is_some() {
            (Target::Recorded, Vec::new())
        } else {
            self.look(package, options)?
        };
        let moved = self.carry_out(target, package, sources, options)?;
        Ok(done(moved, damage, self.deps(package.digest)))
    }

    /// What a package needs that is there as it was recorded; `None` where it is not.
    fn as_recorded(&self, package: &Published, verify: Verify) -> Option<Vec<Reference>> {
        let record = self.record(package.digest).filter(|_| verify == Verify::Record)?;
        let is_so = record.is_of_this_boot()
            && record.package == *package
            && record.suspects(&self.tree(package.digest)).is_none();
        is_so.then_some(record.deps)
    }

    /// What is wrong with what is installed, found by reading it.
    ///
    /// # Errors
    /// It is not installed.
    pub fn verify(&self, package: &Published) -> Result<Vec<Damage>, PackageError> {
        let missing =
            || PackageError::Missing { what: format!("`{}`", package.title()), place: self.shown() };
        self.record(package.digest).ok_or_else(missing)?;
        let (manifest, _) = self.manifest(package.digest).ok_or_else(missing)?;
        Ok(damage_of(&self.tree(package.digest), &manifest, None))
    }

    /// Reads what the record does not vouch for, and says what is there and what is wrong with it.
    fn look(
        &self,
        package: &Published,
        options: InstallOptions<'_>,
    ) -> Result<(Target, Vec<Damage>), PackageError> {
        let tree = self.tree(package.digest);
        let Some((manifest, _)) = self.manifest(package.digest).filter(|_| tree.is_dir()) else {
            return Ok((Target::Other, Vec::new()));
        };
        options.step("verify");
        let record = self.record(package.digest);
        let trusted = record.filter(|r| options.verify == Verify::Record && r.is_of_this_boot());
        let damage = damage_of(&tree, &manifest, trusted.as_ref());
        if !damage.is_empty() {
            return Ok((Target::Other, damage));
        }
        if trusted.is_none() {
            // Whether the hooks were run is not known.
            return Ok((Target::Unrecorded, damage));
        }
        self.write_record(&tree, &manifest, package)?;
        Ok((Target::Recorded, damage))
    }

    /// What may be used, and the manifest, which is fetched where it is not there.
    fn ground(
        &self,
        target: Target,
        package: &Published,
        sources: &Sources,
        options: InstallOptions<'_>,
    ) -> Result<Ground, PackageError> {
        let mut olds = Vec::new();
        let mut base = None;
        if target == Target::Other {
            options.step("look");
            for (place, digest) in std::iter::once(self)
                .chain(options.cache)
                .flat_map(|place| place.relatives(package).into_iter().map(move |digest| (place, digest)))
            {
                let tree = place.tree(digest);
                if let Some((manifest, bytes)) = place.manifest(digest).filter(|_| tree.is_dir()) {
                    olds.push(Old::look(tree, manifest, place.record(digest).as_ref()));
                    base.get_or_insert((digest, bytes));
                }
            }
        }
        options.step("manifest");
        let (manifest, bytes) = match self.manifest(package.digest) {
            Some(own) => own,
            None => sources.manifest(package, base.as_ref().map(|(d, b)| (*d, &b[..])))?,
        };
        // What an install of it had that was killed is used again, as far as it is right.
        let (incoming, left) = (self.incoming_tree(package.digest), self.left_tree(package.digest));
        if incoming.exists() {
            remove(&left);
            fs::rename(&incoming, &left).at(&left)?;
        }
        if left.is_dir() {
            olds.push(Old::left(left, manifest.clone()));
        }
        Ok(Ground { manifest, bytes, olds })
    }

    /// Does what the plan says.
    fn carry_out(
        &self,
        target: Target,
        package: &Published,
        sources: &Sources,
        options: InstallOptions<'_>,
    ) -> Result<Moved, PackageError> {
        let is_named = self.current(package.kind, &package.name) == Some(package.digest);
        if target == Target::Recorded {
            // The plan is made without the manifest: nothing of it is to be moved.
            let have = Have { target, is_named, trees: Vec::new(), free_bytes: None };
            if !files::plan::<(), ()>(&[], &have).is_empty() {
                self.set_current(package)?;
            }
            return Ok(kept(package));
        }
        let ground = self.ground(target, package, sources, options)?;
        let Ground { manifest, bytes, olds } = &ground;
        let (want, entries) = ground.want();
        let usable: Vec<Vec<_>> = olds.iter().map(|old| old.usable().collect()).collect();
        let trees = usable.iter().map(|all| all.iter().map(|(_, e)| (&e.path, &e.what)).collect()).collect();
        let have = Have { target, is_named, trees, free_bytes: Some(self.free()?) };
        let (tree, incoming) = (self.tree(package.digest), self.incoming_tree(package.digest));
        let mut moved = kept(package);
        let mut writing = None;
        let mut step = |step: Step| -> Result<(), PackageError> {
            match step {
                Step::MakeRoom { bytes } => self.make_room(bytes)?,
                Step::Stage => {
                    write_soon(&self.manifest_file(package.digest), bytes, &self.incoming())?;
                    options.step("directories");
                    writing =
                        Some((Writer::begin(incoming.clone(), manifest)?, Reuse::default(), Vec::new()));
                }
                Step::Take(taken) => {
                    options.step("reuse");
                    let (writer, reuse, failed) = writing.as_mut().expect("it was begun");
                    let mut files = vec![None; manifest.entries.len()];
                    for Taken { file, tree, from } in taken {
                        files[entries[file]] = Some((tree, usable[tree][from].0));
                    }
                    *reuse = Reuse::of(olds, manifest, files);
                    *failed = reuse::place(writer, olds, reuse)?;
                }
                Step::Bring(_) => {
                    let (writer, reuse, failed) = writing.as_ref().expect("it was begun");
                    moved = bring(writer, olds, reuse, failed, package, sources, options)?;
                }
                Step::Swap => {
                    options.step("swap");
                    swap_in(&incoming, &tree)?;
                }
                Step::Prepare => {
                    options.step("hooks");
                    self.run_hooks(&tree, manifest)?;
                }
                Step::Record => {
                    options.step("record");
                    self.write_record(&tree, manifest, package)?;
                }
                Step::Name => {
                    options.step("name");
                    self.set_current(package)?;
                }
            }
            Ok(())
        };
        let done = files::plan(&want, &have).into_iter().try_for_each(&mut step);
        if incoming.exists() {
            remove(&incoming);
        }
        done?;
        remove(&self.left_tree(package.digest));
        options.step("done");
        Ok(moved)
    }

    /// Makes sure that so many bytes more are free, by taking away what nobody needs.
    fn make_room(&self, bytes: u64) -> Result<(), PackageError> {
        let needed = self.free()?.saturating_add(bytes);
        self.collect(0)?;
        let free = self.free()?;
        if free < needed {
            return Err(PackageError::NoRoom { dir: self.root().to_owned(), needed, free });
        }
        Ok(())
    }

    fn write_record(
        &self,
        tree: &Path,
        manifest: &Manifest,
        package: &Published,
    ) -> Result<(), PackageError> {
        let record = Record::of(tree, manifest, package)?;
        write_soon(&self.record_file(package.digest), &record.encode(), &self.incoming())
    }

    fn run_hooks(&self, tree: &Path, manifest: &Manifest) -> Result<(), PackageError> {
        let about = &manifest.about;
        for (hook, line) in [("install", &about.install), ("check", &about.check)] {
            if !line.is_empty() {
                run_hook(tree, line).map_err(|why| PackageError::Hook {
                    hook,
                    package: format!("`{}`", about.reference()),
                    why,
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn shown(&self) -> String {
        format!("`{}`", self.root().display())
    }
}

/// What an install stands on.
struct Ground {
    manifest: Manifest,
    bytes: Vec<u8>,
    olds: Vec<Old>,
}

impl Ground {
    /// The files of the package, and the places of their entries.
    fn want(&self) -> (Vec<files::File<&TreePath, &What>>, Vec<usize>) {
        let is_data = |p: &&Piece| matches!(p, Piece::Data { .. });
        let all = self.manifest.entries.iter().enumerate().filter_map(|(at, entry)| {
            let What::File { pieces, .. } = &entry.what else { return None };
            let bytes = pieces.iter().filter(is_data).map(Piece::len).sum::<u64>() + FILE_OVERHEAD;
            Some((files::File { path: &entry.path, content: &entry.what, bytes }, at))
        });
        all.unzip()
    }
}

fn kept(package: &Published) -> Moved {
    let files = usize::try_from(package.files).unwrap_or(usize::MAX);
    Moved { files, files_kept: files, ..Moved::default() }
}

/// Writes what is not used again: from chunks of old files where they have them, and fetched where not.
fn bring(
    writer: &Writer<'_>,
    olds: &[Old],
    reuse: &Reuse,
    failed: &[usize],
    package: &Published,
    sources: &Sources,
    options: InstallOptions<'_>,
) -> Result<Moved, PackageError> {
    let manifest = writer.manifest;
    let is_reused = |entry: &usize| reuse.files[*entry].is_some() && !failed.contains(entry);
    for entry in failed {
        remove(&writer.path(*entry));
    }
    let written: Vec<usize> = (0..manifest.entries.len()).filter(|entry| !is_reused(entry)).collect();
    writer.prepare(&written)?;
    let chunks = manifest.chunks();
    let targets = writer.targets(&written, &chunks);
    let is_file = |entry: &&usize| matches!(manifest.entries[**entry].what, What::File { .. });
    let files_written = written.iter().filter(is_file).count();
    let bytes_of =
        |(number, of_it): (&u32, &Vec<_>)| u64::from(chunks[*number as usize].1) * of_it.len() as u64;
    let bytes_written = targets.iter().map(bytes_of).sum();
    options.step("fetch");
    let mut wanted = vec![false; chunks.len()];
    for (number, of_it) in &targets {
        let (id, len) = chunks[*number as usize];
        match reuse::chunk(olds, reuse, id, len) {
            Some(bytes) => writer.put(of_it, &bytes)?,
            None => wanted[*number as usize] = true,
        }
    }
    if wanted.contains(&true) {
        sources.fetch(package, &chunks, &wanted, &|number, bytes| writer.put(&targets[&number], bytes))?;
    }
    options.step("finish");
    writer.finish(&written)?;
    let files = manifest.files();
    let files_reused = files - files_written;
    Ok(Moved { files, files_reused, files_written, bytes_written, ..Moved::default() })
}

impl InstallOptions<'_> {
    fn step(&self, name: &'static str) {
        if let Some(on_step) = self.on_step {
            on_step(name);
        }
    }
}

/// What is wrong with a tree: all of it is read, or what its record does not vouch for.
fn damage_of(tree: &Path, manifest: &Manifest, record: Option<&Record>) -> Vec<Damage> {
    let suspects = record.map(|r| r.suspects(tree));
    let entries: Vec<_> = match &suspects {
        None => manifest.entries.iter().collect(),
        Some(suspects) => {
            let names: std::collections::HashSet<_> = suspects.names.iter().collect();
            let is_suspect = |path| names.contains(path);
            let is_dir = |what: &What| matches!(what, What::Dir);
            manifest.entries.iter().filter(|e| is_suspect(&e.path) || is_dir(&e.what)).collect()
        }
    };
    let mut damage: Vec<_> = verify::read(tree, &entries).into_iter().map(|(_, damage)| damage).collect();
    if suspects.is_none_or(|s| s.is_reshaped) && manifest.about.install.is_empty() {
        damage.extend(verify::extras(tree, manifest));
    }
    damage.sort();
    damage
}

/// Puts a tree where another may be, in one step; the other is gone afterwards.
fn swap_in(incoming: &Path, tree: &Path) -> Result<(), PackageError> {
    match rustix::fs::renameat_with(CWD, incoming, CWD, tree, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => {
            rustix::fs::renameat_with(CWD, incoming, CWD, tree, RenameFlags::EXCHANGE).at(tree)?;
            remove(incoming);
            Ok(())
        }
        // A file system that cannot do it: what is there was found damaged.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            remove(tree);
            fs::rename(incoming, tree).at(tree)
        }
        Err(error) => Err(error).at(tree),
    }
}

/// Runs a line of a package in its directory.
fn run_hook(tree: &Path, line: &str) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command.arg(HOOK_SECS_MAX.to_string()).args(["sh", "-c", line]).current_dir(tree);
    command.env("MUSTER_PACKAGE_DIR", tree).stdin(Stdio::null());
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it printed nothing");
    Err(format!("{} ({})", last.trim(), output.status))
}
