//! Installs a package: finds out what is there, takes what it can from that, fetches the rest, and swaps it in
//! when all of it is whole. What was there stays until then, and stays if this fails.

use super::chunk::Piece;
use super::error::{At as _, PackageError};
use super::fetch::Traffic;
use super::fingerprint::{Record, Verify};
use super::lock::{unused, write_file};
use super::manifest::{Manifest, What};
use super::names::Published;
use super::place::{Lease, Place, remove};
use super::reuse::{self, Old, Reuse};
use super::source::Sources;
use super::verify::{self, Damage};
use super::write::{Targets, Writer};
use rustix::fs::{CWD, RenameFlags};
use serde::Serialize;
use std::collections::HashMap;
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
const FILE_OVERHEAD: u64 = 4_096 + 512;
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
        let done = |moved: Moved, damage| {
            let after = sources.traffic();
            let traffic =
                Traffic { bytes: after.bytes - before.bytes, requests: after.requests - before.requests };
            self.touch(package.digest);
            let moved = Moved { traffic, ..moved };
            Installed { package: package.clone(), dir: self.tree(package.digest), moved, damage, lease }
        };
        let kept = |package: &Published| {
            let files = usize::try_from(package.files).unwrap_or(usize::MAX);
            Moved { files, files_kept: files, ..Moved::default() }
        };
        if self.is_as_recorded(package, options.verify) {
            self.set_current(package)?;
            return Ok(done(kept(package), Vec::new()));
        }
        options.step("lock");
        let _lock = self.install_lock(package.digest)?;
        // Somebody else may have done it meanwhile.
        if self.is_as_recorded(package, options.verify) {
            self.set_current(package)?;
            return Ok(done(kept(package), Vec::new()));
        }
        let Some(damage) = self.mend_record(package, options)? else {
            self.set_current(package)?;
            return Ok(done(kept(package), Vec::new()));
        };
        let moved = self.put(package, sources, options)?;
        Ok(done(moved, damage))
    }

    fn is_as_recorded(&self, package: &Published, verify: Verify) -> bool {
        verify == Verify::Record
            && self.record(package.digest).is_some_and(|record| {
                record.is_of_this_boot()
                    && record.package == *package
                    && record.suspects(&self.tree(package.digest)).is_none()
            })
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

    /// Reads what the record does not vouch for. `None`: all of it is right, and recorded again.
    fn mend_record(
        &self,
        package: &Published,
        options: InstallOptions<'_>,
    ) -> Result<Option<Vec<Damage>>, PackageError> {
        let tree = self.tree(package.digest);
        let Some((manifest, _)) = self.manifest(package.digest) else { return Ok(Some(Vec::new())) };
        if !tree.is_dir() {
            return Ok(Some(Vec::new()));
        }
        options.step("verify");
        let record = self.record(package.digest);
        let trusted = record.filter(|r| options.verify == Verify::Record && r.is_of_this_boot());
        let damage = damage_of(&tree, &manifest, trusted.as_ref());
        if !damage.is_empty() {
            return Ok(Some(damage));
        }
        if !(manifest.about.install.is_empty() && manifest.about.check.is_empty()) && trusted.is_none() {
            // Whether they were run is not known.
            self.run_hooks(&tree, &manifest)?;
        }
        self.write_record(&tree, &manifest, package)?;
        Ok(None)
    }

    /// Puts it together beside what is there, and swaps it in.
    fn put(
        &self,
        package: &Published,
        sources: &Sources,
        options: InstallOptions<'_>,
    ) -> Result<Moved, PackageError> {
        options.step("look");
        let mut olds = Vec::new();
        let mut base = None;
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
        options.step("manifest");
        let own = self.manifest(package.digest);
        let (manifest, bytes) = match own {
            Some(own) => own,
            None => sources.manifest(package, base.as_ref().map(|(d, b)| (*d, &b[..])))?,
        };
        let reuse = Reuse::of(&olds, &manifest);
        self.make_room(&manifest, &reuse)?;
        write_file(&self.manifest_file(package.digest), &bytes, &self.incoming())?;

        let incoming = unused(&self.incoming(), "tree");
        let put = (|| {
            options.step("directories");
            let writer = Writer::begin(incoming.clone(), &manifest)?;
            options.step("reuse");
            let moved = self.fill(&writer, &olds, &reuse, package, sources, options)?;
            let tree = self.tree(package.digest);
            options.step("swap");
            swap_in(&incoming, &tree)?;
            options.step("hooks");
            self.run_hooks(&tree, &manifest)?;
            options.step("record");
            self.write_record(&tree, &manifest, package)?;
            Ok(moved)
        })();
        if incoming.exists() {
            remove(&incoming);
        }
        let moved = put?;
        options.step("name");
        self.set_current(package)?;
        options.step("done");
        Ok(moved)
    }

    fn fill(
        &self,
        writer: &Writer<'_>,
        olds: &[Old],
        reuse: &Reuse,
        package: &Published,
        sources: &Sources,
        options: InstallOptions<'_>,
    ) -> Result<Moved, PackageError> {
        let manifest = writer.manifest;
        let failed = reuse::place(writer, olds, reuse)?;
        let is_reused = |entry: &usize| reuse.files[*entry].is_some() && !failed.contains(entry);
        for entry in &failed {
            remove(&writer.path(*entry));
        }
        let written: Vec<usize> = (0..manifest.entries.len()).filter(|entry| !is_reused(entry)).collect();
        writer.prepare(&written)?;
        let chunks = manifest.chunks();
        let numbers: HashMap<_, u32> =
            chunks.iter().zip(0..).map(|((id, _), number)| (*id, number)).collect();
        let mut targets = Targets::new();
        let (mut files_written, mut bytes_written) = (0, 0);
        for entry in &written {
            let What::File { pieces, .. } = &manifest.entries[*entry].what else { continue };
            files_written += 1;
            let mut at = 0;
            for piece in pieces {
                if let Piece::Data { id, len } = piece {
                    targets.entry(numbers[id]).or_default().push((*entry, at));
                    bytes_written += u64::from(*len);
                }
                at += piece.len();
            }
        }
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
            sources
                .fetch(package, &chunks, &wanted, &|number, bytes| writer.put(&targets[&number], bytes))?;
        }
        options.step("finish");
        writer.finish(&written)?;
        let files = manifest.files();
        Ok(Moved {
            files,
            files_reused: files - files_written,
            files_written,
            bytes_written,
            ..Moved::default()
        })
    }

    /// Makes sure that it fits, by taking away what nobody needs.
    fn make_room(&self, manifest: &Manifest, reuse: &Reuse) -> Result<(), PackageError> {
        let mut needed = 0_u64;
        for (entry, found) in manifest.entries.iter().zip(&reuse.files) {
            let What::File { pieces, .. } = &entry.what else { continue };
            let is_data = |p: &&Piece| matches!(p, Piece::Data { .. });
            if found.is_none() {
                needed += pieces.iter().filter(is_data).map(Piece::len).sum::<u64>() + FILE_OVERHEAD;
            }
        }
        if self.free()? < needed {
            self.collect(0)?;
        }
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
        write_file(&self.record_file(package.digest), &record.encode(), &self.incoming())
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
