//! Installs a package on a device: looks, asks the plan what is to be done, does it, and looks again where another
//! was faster.

use super::lines::{Lines, path};
use super::look::{Check, FileSeen, Seen};
use super::parts::{self, Parcel};
use super::patch::Patch;
use super::place::{DevicePlace, Probe, TIDY, failed, name};
use super::sums::{self, Tool};
use crate::own::error::PackageError;
use crate::own::fingerprint::dirs_of;
use crate::own::install::FILE_OVERHEAD;
use crate::own::manifest::{Manifest, What};
use crate::own::names::Published;
use crate::own::tree_path::TreePath;
use crate::own::verify::Damage;
use muster_core::digest::Digest;
use muster_core::install::files::{self, File, Have, Step, Taken, Target};
use serde::Serialize;
use std::collections::BTreeSet;

/// How often it is looked again: because another host was faster, or room was made.
const ROUNDS_MAX: usize = 5;
/// The exit code by which the device says so.
const RACED: i32 = 6;

/// Makes directories and links, and takes files that are there. Links between trees are tried first; a file
/// system that has none copies.
const PUT: &str = r#"umask 022
cd "$1" || exit 9
rm -rf "$2" && mkdir "$2" || exit 8
cd "$2" || exit 9
m() { mkdir "$@" || exit 8; }
s() { ln -s -- "$2" "$1" || exit 8; }
o() { ln "$1" "$2" 2>/dev/null || cp -p "$1" "$2" || exit 8; }
t() {
for o; do :; done
ln "$@" 2>/dev/null && return
for p; do [ "$p" = "$o" ] || [ -e "$o/${p##*/}" ] || cp -p "$p" "$o/" || exit 8; done
}
"#;

/// Puts what was put together into its place: $3 is the package, $4 whether there was something when it was looked.
const SWAP: &str = r#"cd "$1" || exit 9
if [ -d "trees/$3" ]; then
[ "$4" = there ] || exit 6
rm -f "records/$3" && rm -rf "incoming/$2/gone" && mv "trees/$3" "incoming/$2/gone" || exit 8
fi
if ! said=$(mv "incoming/$2/$3" trees/ 2>&1); then
# Another has put it there since it was looked.
[ -d "trees/$3" ] && exit 6
echo "$said" >&2; exit 8
fi
rm -rf "incoming/$2/gone"
"#;

/// Writes down that it is whole.
const RECORD: &str = "cd \"$1\" && mv -f \"incoming/$2/check\" \"records/$3\"";

/// Lets a name lead to it: $4 is the name, $5 what it led to.
const NAME: &str = r#"cd "$1" || exit 9
echo "$3 $5" > "incoming/$2/name" && mv -f "incoming/$2/name" "names/$4"
"#;

/// What was done to install something on a device.
#[derive(Clone, Debug, Serialize)]
pub struct Delivered {
    /// What it is.
    pub package: Published,
    /// Where its files are on the device.
    pub dir: String,
    /// Files of it.
    pub files: usize,
    /// Files that the device had in other versions, or of an install that was cut off.
    pub files_taken: usize,
    /// Files that were brought.
    pub files_brought: usize,
    /// Those among them of which only parts were, since the device had others of it.
    pub files_patched: usize,
    /// Bytes of files that were brought.
    pub bytes_brought: u64,
    /// All bytes that were sent.
    pub bytes_sent: u64,
    /// What was wrong with what was there.
    pub damage: Vec<Damage>,
    /// What was taken away to make room.
    pub evicted: Vec<Published>,
    /// The program by which the device reads files; none where they are read here.
    pub read_by: Option<&'static str>,
}

/// A package on its way.
pub(super) struct Way<'a> {
    pub(super) manifest: &'a Manifest,
    check: Check,
    /// What its files are, by its entries.
    sums: Vec<String>,
    /// The check is there, to become the record.
    has_check: bool,
    /// The trees that were looked at.
    pub(super) trees: Vec<Looked>,
    was_there: bool,
}

/// A tree of the device that was looked at.
pub(super) struct Looked {
    /// Where it is.
    pub(super) path: String,
    /// The other version that it is, as it was recorded.
    pub(super) of: Option<Digest>,
}

impl DevicePlace<'_> {
    /// Installs packages that this host has, or finds that they are.
    ///
    /// # Errors
    /// [`PackageError`]; what was installed before is as it was.
    pub fn install(&self, packages: &[Digest]) -> Result<Vec<Delivered>, PackageError> {
        let wanted: BTreeSet<Digest> = packages.iter().copied().collect();
        let all = packages.iter().map(|digest| self.install_one(*digest, &wanted)).collect();
        if let Err(error) = &all
            && !matches!(error, PackageError::Device { .. })
        {
            // Perhaps the device is full of it. What is left of one that was cut off is used by the next.
            let _left = self.clean();
        }
        all
    }

    fn install_one(&self, digest: Digest, wanted: &BTreeSet<Digest>) -> Result<Delivered, PackageError> {
        let missing = || PackageError::Missing { what: format!("`{digest}`"), place: self.host.shown() };
        let package = self.host.record(digest).ok_or_else(missing)?.package;
        let (manifest, _) = self.host.manifest(digest).ok_or_else(missing)?;
        let sent = self.sent.get();
        let mut done = Delivered {
            package,
            dir: self.tree(digest),
            files: manifest.files(),
            files_taken: 0,
            files_brought: 0,
            files_patched: 0,
            bytes_brought: 0,
            bytes_sent: 0,
            damage: Vec::new(),
            evicted: Vec::new(),
            read_by: None,
        };
        for _ in 0..ROUNDS_MAX {
            let probe = self.probe(&[digest])?;
            if !probe.has_tar {
                return Err(failed(self.far, "install packages", "it has no `tar`".into()));
            }
            done.read_by = probe.tool.map(Tool::word);
            let sums = self.sums(digest, &manifest, &probe)?;
            let check = Check::new(&done.package, &manifest, probe.eyes(), &|_| true);
            let (has_check, trees, was_there) = (false, Vec::new(), probe.trees.contains(&digest));
            let mut way = Way { manifest: &manifest, check, sums, has_check, trees, was_there };
            let have = self.look(&mut way, &mut done, &probe)?;
            if self.carry_out(&mut way, &mut done, &probe, &have, wanted)? {
                done.bytes_sent = self.sent.get() - sent;
                return Ok(done);
            }
        }
        let why = format!("others change the same, and were faster {ROUNDS_MAX} times");
        Err(failed(self.far, "install packages", why.into()))
    }

    fn sums(&self, digest: Digest, manifest: &Manifest, probe: &Probe) -> Result<Vec<String>, PackageError> {
        // Where the device cannot read them, they are brought back and read here.
        sums::of_package(self.host, digest, manifest, probe.tool.unwrap_or(Tool::Sha256))
    }

    /// What is there.
    fn look(
        &self,
        way: &mut Way<'_>,
        done: &mut Delivered,
        probe: &Probe,
    ) -> Result<Have<usize, FileSeen>, PackageError> {
        let digest = done.package.digest;
        let is_recorded = probe.records.iter().any(|p| p.digest == digest);
        let named = probe.names.get(&name(&done.package));
        let mut have = Have {
            target: Target::Other,
            is_named: named.is_some_and(|(current, _)| *current == digest),
            trees: Vec::new(),
            free_bytes: probe.free.map(|free| free.saturating_sub(parts::bytes_on_the_way(way.manifest))),
        };
        let known = probe.tool.map(|tool| tool.of(&way.check.script));
        let has_record = known.is_some() && probe.record_sums.get(&digest) == known.as_ref();
        let see = |way: &mut Way<'_>, tree: String, of: Option<Digest>| -> Result<Seen, PackageError> {
            let script = if has_record {
                format!("{}/records/{digest}", self.root)
            } else {
                self.send_check(way)?;
                self.incoming("check")
            };
            let seen = self.see(&way.check, &script, &tree, probe, way.manifest)?;
            way.trees.push(Looked { path: tree, of });
            Ok(seen)
        };
        let mut take = |seen: Seen| {
            let there = seen.files.into_iter().enumerate();
            have.trees.push(there.filter_map(|(at, seen)| Some((at, seen?))).collect());
        };
        if way.was_there {
            let seen = see(way, self.tree(digest), None)?;
            let damage = damage(way, &seen);
            if damage.is_empty() {
                have.target = if is_recorded { Target::Recorded } else { Target::Unrecorded };
                return Ok(have);
            }
            if is_recorded {
                done.damage.extend(damage);
            }
            take(seen);
        }
        if probe.has_left {
            take(see(way, self.incoming("old"), None)?);
        }
        let others = named.into_iter().flat_map(|(current, last)| [Some(*current), *last]).flatten();
        for other in others.filter(|other| *other != digest && probe.trees.contains(other)) {
            take(see(way, self.tree(other), Some(other))?);
        }
        Ok(have)
    }

    fn send_check(&self, way: &mut Way<'_>) -> Result<(), PackageError> {
        if !way.has_check {
            self.push("send what it is to look at", &way.check.script, &self.incoming("check"))?;
            way.has_check = true;
        }
        Ok(())
    }

    /// Has the device look at a tree.
    fn see(
        &self,
        check: &Check,
        script: &str,
        tree: &str,
        probe: &Probe,
        manifest: &Manifest,
    ) -> Result<Seen, PackageError> {
        let doing = "look at its files";
        let said = self.script(doing, script, &[tree])?;
        let said = self.done(doing, said)?;
        let mut seen = check.read(&said.out).map_err(|what| self.nonsense(doing, &what))?;
        if probe.tool.is_none() {
            for (entry, seen) in manifest.entries.iter().zip(&mut seen.files) {
                if let Some(file) = seen {
                    file.sum = self.sum_here(tree, &entry.path)?;
                }
            }
        }
        Ok(seen)
    }

    /// Brings a file back and reads it here.
    fn sum_here(&self, tree: &str, file: &TreePath) -> Result<String, PackageError> {
        let doing = "bring files back to read them, since it has no `sha256sum`, `md5sum` or `cksum`,";
        let name = std::str::from_utf8(file.bytes())
            .map_err(|_| failed(self.far, doing, format!("{file:?} is no text").into()))?;
        let mut summing = Tool::Sha256.begin();
        self.far.pull(&format!("{tree}/{name}"), &mut summing).map_err(|e| failed(self.far, doing, e))?;
        Ok(summing.end())
    }

    /// Does what is planned. False: another was faster, and it is looked again.
    fn carry_out(
        &self,
        way: &mut Way<'_>,
        done: &mut Delivered,
        probe: &Probe,
        have: &Have<usize, FileSeen>,
        wanted: &BTreeSet<Digest>,
    ) -> Result<bool, PackageError> {
        let digest = done.package.digest.to_string();
        let want = want(way);
        let entries: Vec<usize> = want.iter().map(|file| file.path).collect();
        let steps = files::plan(&want, have);
        let words = [&*self.root, &*self.me, &*digest];
        for step in &steps {
            match step {
                Step::MakeRoom { bytes } => {
                    let needed = bytes.saturating_add(probe.free.unwrap_or(0));
                    let gone = self.make_room(probe, needed, wanted)?;
                    // What was to be taken may be gone.
                    if !gone.is_empty() {
                        done.evicted.extend(gone);
                        return Ok(false);
                    }
                }
                // With what is taken, in one go.
                Step::Stage => {}
                Step::Take(taken) => {
                    self.put(way, &digest, &entries, taken, have)?;
                    done.files_taken = taken.len();
                }
                Step::Bring(brought) => {
                    let brought: Vec<usize> = brought.iter().map(|file| entries[*file]).collect();
                    self.bring(way, done, &brought, have, probe)?;
                }
                Step::Swap => {
                    let was_there = if way.was_there { "there" } else { "absent" };
                    let doing = "put it into its place";
                    let words = ["sh", "-c", SWAP, "sh", &*self.root, &*self.me, &*digest, was_there];
                    let said = self.far.run(&words).map_err(|e| failed(self.far, doing, e))?;
                    if said.code == RACED {
                        return Ok(false);
                    }
                    self.done(doing, said)?;
                }
                Step::Prepare => self.prepare(way, done)?,
                Step::Record => {
                    self.send_check(way)?;
                    self.shell("write down what is installed", RECORD, words)?;
                }
                Step::Name => {
                    let name = name(&done.package);
                    let last = probe
                        .names
                        .get(&name)
                        .map(|(c, l)| if *c == done.package.digest { *l } else { Some(*c) });
                    let last = last.flatten().map(|last| last.to_string()).unwrap_or_default();
                    self.shell("name it", NAME, words.into_iter().chain([&*name, &*last]))?;
                }
            }
        }
        self.shell("tidy up", &format!("touch \"$1/records/$3\"; {TIDY}"), words)?;
        Ok(true)
    }

    /// Makes its directories and links beside its place, and takes what is there.
    fn put(
        &self,
        way: &Way<'_>,
        digest: &str,
        entries: &[usize],
        taken: &[Taken],
        have: &Have<usize, FileSeen>,
    ) -> Result<(), PackageError> {
        let mut lines = Lines::new(PUT);
        let dirs = dirs_of(way.manifest);
        let made: Vec<Vec<u8>> =
            dirs.iter().filter_map(|dir| dir.path.as_ref()).map(|dir| path("", dir)).collect();
        lines.calls("m", &made, None);
        // Files of one directory that keep their names go at once.
        let mut group: (Vec<Vec<u8>>, Vec<u8>) = (Vec::new(), Vec::new());
        for Taken { file, tree, from } in taken {
            let to = &way.manifest.entries[entries[*file]].path;
            let from = &way.manifest.entries[have.trees[*tree][*from].0].path;
            let old = path(&way.trees[*tree].path, from);
            let dir = [b"./", to.split().0].concat();
            if from.split().1 != to.split().1 {
                lines.call("o", [&*old, &*path("", to)]);
                continue;
            }
            if group.1 != dir {
                lines.calls("t", &std::mem::take(&mut group.0), Some(&group.1));
                group.1 = dir;
            }
            group.0.push(old);
        }
        lines.calls("t", &group.0, Some(&group.1));
        for entry in &way.manifest.entries {
            if let What::Link { to } = &entry.what {
                lines.call("s", [&*path("", &entry.path), to.bytes()]);
            }
        }
        let (script, doing) = (self.incoming("put"), "put it together");
        self.push(doing, &lines.bytes(), &script)?;
        let said = self.script(doing, &script, &[&self.incoming(""), digest])?;
        self.done(doing, said).map(drop)
    }

    /// Brings files, and has what was put together read.
    fn bring(
        &self,
        way: &Way<'_>,
        done: &mut Delivered,
        brought: &[usize],
        have: &Have<usize, FileSeen>,
        probe: &Probe,
    ) -> Result<(), PackageError> {
        let patches = self.patches(way, brought, have, probe);
        let in_parts: BTreeSet<usize> = patches.iter().map(|patch| patch.entry).collect();
        let whole: Vec<usize> = brought.iter().filter(|at| !in_parts.contains(at)).copied().collect();
        let in_parts: Vec<usize> = in_parts.into_iter().collect();
        done.files_brought = brought.len();
        done.files_patched = patches.len();
        done.bytes_brought = patches.iter().map(Patch::brought).sum();
        self.bring_whole(way, done, &whole)?;
        let can_make = self.make(way, done.package.digest, &patches)?;
        let mut wrong = if can_make { self.read_back(way, done, brought, probe)? } else { Vec::new() };
        // Its `dd` is none, or what it had was changed since it was read.
        let is_made = can_make && wrong.is_empty();
        if !patches.is_empty() && !is_made {
            done.files_patched = 0;
            self.bring_whole(way, done, &in_parts)?;
            wrong = self.read_back(way, done, brought, probe)?;
        }
        match wrong.first() {
            None => Ok(()),
            Some(Damage::Missing(path) | Damage::Changed(path) | Damage::Extra(path)) => {
                let what = format!("`{path}` of `{}`", done.package.title());
                let place = format!("`{}`", self.far.shown());
                Err(PackageError::damaged(what, place, "it is not what was brought there"))
            }
        }
    }

    fn bring_whole(&self, way: &Way<'_>, done: &mut Delivered, files: &[usize]) -> Result<(), PackageError> {
        let parcels: Vec<Parcel> = files.iter().map(|at| Parcel::whole(way.manifest, *at)).collect();
        done.bytes_brought += parcels.iter().map(|parcel| parcel.len).sum::<u64>();
        let tree = self.incoming(&done.package.digest.to_string());
        self.bring_parcels(done.package.digest, way.manifest, &parcels, &tree)
    }

    /// Brings bytes of files into a directory there.
    pub(super) fn bring_parcels(
        &self,
        digest: Digest,
        manifest: &Manifest,
        parcels: &[Parcel],
        dir: &str,
    ) -> Result<(), PackageError> {
        let part = self.incoming("part");
        parts::each(self.host, digest, manifest, parcels, |mut file, bytes| {
            self.push_from("bring files", &mut file, bytes, &part)?;
            let unpack = "umask 022; tar -xomf \"$1\" -C \"$2\" && rm -f \"$1\"";
            self.shell("unpack files", unpack, [&*part, dir]).map(drop)
        })
    }

    /// Has what was put together read, as far as it was brought: what is wrong with it.
    fn read_back(
        &self,
        way: &Way<'_>,
        done: &Delivered,
        brought: &[usize],
        probe: &Probe,
    ) -> Result<Vec<Damage>, PackageError> {
        let tree = self.incoming(&done.package.digest.to_string());
        let is_new: BTreeSet<usize> = brought.iter().copied().collect();
        let check = Check::new(&done.package, way.manifest, probe.eyes(), &|at| is_new.contains(&at));
        let (script, doing) = (self.incoming("verify"), "read what was put together");
        self.push(doing, &check.script, &script)?;
        let said = self.script(doing, &script, &[&tree])?;
        let said = self.done(doing, said)?;
        let mut seen = check.read(&said.out).map_err(|what| self.nonsense(doing, &what))?;
        for (at, file) in seen.files.iter_mut().enumerate() {
            let Some(file) = file else { continue };
            if !is_new.contains(&at) {
                // It was read a moment ago, where it was taken from.
                file.sum.clone_from(&way.sums[at]);
            } else if probe.tool.is_none() {
                file.sum = self.sum_here(&tree, &way.manifest.entries[at].path)?;
            }
        }
        Ok(damage(way, &seen))
    }

    /// Runs the package's own lines there.
    fn prepare(&self, way: &Way<'_>, done: &Delivered) -> Result<(), PackageError> {
        let about = &way.manifest.about;
        for (hook, line) in [("install", &about.install), ("check", &about.check)] {
            if line.is_empty() {
                continue;
            }
            let doing = "run a hook";
            let lines =
                "cd \"$1\" || exit 9; MUSTER_PACKAGE_DIR=$1; export MUSTER_PACKAGE_DIR; exec sh -c \"$2\"";
            let words = ["sh", "-c", lines, "sh", &*done.dir, &**line];
            let said = self.far.run(&words).map_err(|e| failed(self.far, doing, e))?;
            if said.code != 0 {
                let text = [said.out, said.err].concat();
                let text = String::from_utf8_lossy(&text);
                let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it printed nothing");
                return Err(PackageError::Hook {
                    hook,
                    package: format!("`{}` on `{}`", about.reference(), self.far.shown()),
                    why: format!("{} (exit code {})", last.trim(), said.code),
                });
            }
        }
        Ok(())
    }
}

/// The files of a package, by the places of their entries.
fn want(way: &Way<'_>) -> Vec<File<usize, FileSeen>> {
    let entries = way.manifest.entries.iter().zip(&way.sums).enumerate();
    let files = entries.filter_map(|(at, (entry, sum))| match entry.what {
        What::File { executable, .. } => {
            let content = FileSeen { executable, sum: sum.clone() };
            Some(File { path: at, content, bytes: entry.what.len() + FILE_OVERHEAD })
        }
        What::Link { .. } | What::Dir => None,
    });
    files.collect()
}

/// What is wrong with what was seen.
fn damage(way: &Way<'_>, seen: &Seen) -> Vec<Damage> {
    let mut all = BTreeSet::new();
    for (at, entry) in way.manifest.entries.iter().enumerate() {
        let What::File { executable, .. } = entry.what else { continue };
        match &seen.files[at] {
            None => drop(all.insert(Damage::Missing(entry.path.to_string()))),
            Some(file) if file.executable != executable || file.sum != way.sums[at] => {
                all.insert(Damage::Changed(entry.path.to_string()));
            }
            Some(_) => {}
        }
    }
    for at in &seen.missing {
        all.insert(Damage::Missing(way.manifest.entries[*at].path.to_string()));
    }
    if seen.has_more {
        all.insert(Damage::Extra("something else".to_owned()));
    }
    all.into_iter().collect()
}
