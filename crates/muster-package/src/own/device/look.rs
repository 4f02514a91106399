//! What a device says of a tree: it reads every file of a package there, and the answer is held against what
//! this host knows of the package.
//!
//! One script for each package, in the order of its entries, so that what comes back are marks and sums alone:
//! no names, which a device could write in several ways. It can be run on any tree: what another version has at
//! the same paths is found by it, too. It is also the record that the device keeps.

use super::lines::{Lines, path};
use super::sums::Tool;
use crate::own::fingerprint::dirs_of;
use crate::own::manifest::{Manifest, What};
use crate::own::names::Published;
use crate::own::tree_path::TreePath;
use std::collections::HashSet;

/// The first line of a record.
pub(super) const MAGIC: &str = "# muster device record 1";

/// What every such script begins with: $1 is the tree. `d`, `f`, `l` say what directories, files and links are;
/// `m` says it of files without reading them, `g` of one whose name a program could write in several ways.
const HEAD: &str = r#"LC_ALL=C; export LC_ALL
cd "$1" || exit 9
m() { for p; do if [ -f "$p" ] && [ ! -L "$p" ]; then if [ -x "$p" ]; then echo x; else echo f; fi; else echo -; fi; done; }
d() { for p; do if [ -d "$p" ] && [ ! -L "$p" ]; then echo d; else echo -; fi; done; }
f() {
m "$@"; n=$#
while [ "$n" -gt 0 ]; do
if [ -f "$1" ] && [ ! -L "$1" ]; then set -- "$@" "$1"; fi
shift; n=$((n-1))
done
[ "$#" -eq 0 ] || SUM "$@" 2>/dev/null
echo .
}
g() { m "$1"; if [ -f "$1" ] && [ ! -L "$1" ]; then SUM < "$1"; fi; echo .; }
"#;

/// Links, where the device has `readlink`, and where it has not. What is compared ends with a dot, since the
/// shell takes line breaks off the end.
const LINKS: [&str; 2] = [
    r#"l() { if [ -L "$1" ] && [ "$(readlink "$1"; echo .)" = "$2
." ]; then echo l; else echo -; fi; }
"#,
    r#"l() { if [ -L "$1" ]; then case "$(ls -ld "$1"; echo .)" in *" -> $2
.") echo l;; *) echo -;; esac; else echo -; fi; }
"#,
];

/// How many things are in it, so that what should not be there is noticed.
const TAIL: &str = r#"n=0
w() {
for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
if [ -L "$e" ]; then n=$((n+1))
elif [ -d "$e" ]; then n=$((n+1)); w "$e"
elif [ -e "$e" ]; then n=$((n+1)); fi
done
}
w .
echo "n $n"
echo end
"#;

/// What a device has to look with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eyes {
    pub(super) tool: Option<Tool>,
    pub(super) readlink: bool,
}

/// The lines by which a device looks at a tree, and how their answer is read.
pub(super) struct Check {
    pub(super) script: Vec<u8>,
    tool: Option<Tool>,
    asked: Vec<Asked>,
    dirs: Vec<Option<TreePath>>,
    /// Which directory each entry is in; its own for a directory.
    dir_of: Vec<usize>,
    count: u64,
}

enum Asked {
    /// Directories, by their places.
    Dirs(Vec<usize>),
    /// Files; whether they were read.
    Files(Vec<usize>, bool),
    Link(usize),
}

/// What a file is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileSeen {
    pub(super) executable: bool,
    /// Empty where it was not read.
    pub(super) sum: String,
}

/// What is in a tree.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By the package's entries; `None` where there is no such file that is in a real directory.
    pub(super) files: Vec<Option<FileSeen>>,
    /// Links and directories of the package that are not there.
    pub(super) missing: Vec<usize>,
    /// Something is there that is not of the package.
    pub(super) has_more: bool,
}

impl Check {
    /// For a package. `read`: whether the device is to read a file, by its entry; others are only looked for.
    pub(super) fn new(
        package: &Published,
        manifest: &Manifest,
        eyes: Eyes,
        read: &dyn Fn(usize) -> bool,
    ) -> Self {
        let about = serde_json::to_string(package).expect("it has nothing that JSON has not");
        let mut lines = Lines::new(&format!("{MAGIC}\n# {about}\n"));
        let sum = eyes.tool.map_or("false", Tool::word);
        lines.line(HEAD.replace("SUM", sum).trim_end());
        lines.line(LINKS[usize::from(!eyes.readlink)].trim_end());
        let dirs = dirs_of(manifest);
        let mut asked = Vec::new();
        let below: Vec<usize> = (0..dirs.len()).filter(|at| dirs[*at].path.is_some()).collect();
        let words: Vec<Vec<u8>> =
            below.iter().filter_map(|at| Some(path("", dirs[*at].path.as_ref()?))).collect();
        let mut at = 0;
        for count in lines.calls("d", &words, None) {
            asked.push(Asked::Dirs(below[at..at + count].to_vec()));
            at += count;
        }
        let (mut plain, mut looked, mut odd, mut links) = (vec![], vec![], vec![], vec![]);
        for (at, entry) in manifest.entries.iter().enumerate() {
            match &entry.what {
                What::Dir => {}
                What::Link { to } => links.push((at, to)),
                What::File { .. } if eyes.tool.is_none() || !read(at) => looked.push(at),
                What::File { .. }
                    if entry.path.bytes().iter().any(|b| matches!(b, b'\\' | b'\n' | b'\r')) =>
                {
                    odd.push(at);
                }
                What::File { .. } => plain.push(at),
            }
        }
        for (name, all, is_read) in [("f", &plain, true), ("m", &looked, false)] {
            let words: Vec<Vec<u8>> = all.iter().map(|at| path("", &manifest.entries[*at].path)).collect();
            let mut at = 0;
            for count in lines.calls(name, &words, None) {
                asked.push(Asked::Files(all[at..at + count].to_vec(), is_read));
                at += count;
            }
        }
        for at in odd {
            lines.call("g", [&*path("", &manifest.entries[at].path)]);
            asked.push(Asked::Files(vec![at], true));
        }
        for (at, to) in links {
            lines.call("l", [&*path("", &manifest.entries[at].path), to.bytes()]);
            asked.push(Asked::Link(at));
        }
        lines.line(TAIL.trim_end());
        let mut dir_of = vec![0; manifest.entries.len()];
        for (at, dir) in dirs.iter().enumerate() {
            dir.entries.iter().for_each(|entry| dir_of[*entry] = at);
        }
        let is_listed = |entry: &&crate::own::Entry| !matches!(entry.what, What::Dir);
        let count = manifest.entries.iter().filter(is_listed).count() + below.len();
        let dirs = dirs.into_iter().map(|dir| dir.path).collect();
        Self { script: lines.bytes(), tool: eyes.tool, asked, dirs, dir_of, count: count as u64 }
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn read(&self, said: &[u8]) -> Result<Seen, String> {
        let said = String::from_utf8_lossy(said);
        let mut lines = said.lines().map(str::trim_end);
        let mut next = || lines.next().ok_or_else(|| "it ends too early".to_owned());
        let mut seen = Seen { files: vec![None; self.dir_of.len()], ..Seen::default() };
        let mut wrong_dirs: HashSet<usize> = HashSet::new();
        for asked in &self.asked {
            match asked {
                Asked::Dirs(all) => {
                    for at in all {
                        match next()? {
                            "d" => {}
                            "-" => drop(wrong_dirs.insert(*at)),
                            other => return Err(format!("`{}` of a directory", other.escape_debug())),
                        }
                    }
                }
                Asked::Link(at) => match next()? {
                    "l" => {}
                    "-" => seen.missing.push(*at),
                    other => return Err(format!("`{}` of a link", other.escape_debug())),
                },
                Asked::Files(all, is_read) => {
                    let mut there = Vec::new();
                    for at in all {
                        match next()? {
                            "-" => {}
                            mark @ ("x" | "f") => there.push((*at, mark == "x")),
                            other => return Err(format!("`{}` of a file", other.escape_debug())),
                        }
                    }
                    let mut sums = Vec::new();
                    if *is_read {
                        loop {
                            match next()? {
                                "." => break,
                                line => sums.push(self.tool.and_then(|tool| tool.read(line))),
                            }
                        }
                        // One that cannot be read has no line: which it was is not known.
                        if sums.len() != there.len() {
                            continue;
                        }
                    } else {
                        sums = vec![Some(String::new()); there.len()];
                    }
                    for ((at, executable), sum) in there.into_iter().zip(sums) {
                        seen.files[at] = sum.map(|sum| FileSeen { executable, sum });
                    }
                }
            }
        }
        let count = next()?;
        let count: u64 = count
            .strip_prefix("n ")
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| format!("`{}` of how much there is", count.escape_debug()))?;
        if next()? != "end" {
            return Err("it does not end where it should".to_owned());
        }
        seen.has_more = count > self.count;
        self.forget_below(&wrong_dirs, &mut seen);
        Ok(seen)
    }

    /// What is in a directory that is none, but a link to one, is not in the package.
    fn forget_below(&self, wrong: &HashSet<usize>, seen: &mut Seen) {
        if wrong.is_empty() {
            return;
        }
        let is_below = |dir: usize| {
            let Some(path) = &self.dirs[dir] else { return false };
            wrong
                .iter()
                .any(|at| *at == dir || self.dirs[*at].as_ref().is_some_and(|above| path.is_below(above)))
        };
        for (at, dir) in self.dir_of.iter().enumerate() {
            if is_below(*dir) {
                seen.files[at] = None;
                seen.missing.push(at);
            }
        }
        seen.has_more = true;
    }
}
