//! A folder as a package has it: what is in it, in one order, on every machine.
//!
//! What no reader of packages would accept is told when a package is made of it, not when it is installed.

use crate::exclude::Exclude;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// Most files, directories and links in a package.
// Limit: empty files cost no bytes, and all the disk's inodes.
pub const MEMBERS_MAX: usize = 1_000_000;
/// Deepest directory in a package.
// Limit: what walks a tree has a stack.
const DEPTH_MAX: usize = 200;

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is, from the root of the folder.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
}

/// What something in a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir {
        /// Who may do what with it.
        mode: u32,
    },
    /// A file.
    File {
        /// Who may do what with it.
        mode: u32,
        /// How long it is.
        bytes: u64,
    },
    /// A symbolic link.
    Link {
        /// Where to.
        to: PathBuf,
    },
}

/// Why a folder cannot be read.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The system says no.
    #[error("`{}` cannot be read: {why}", path.display())]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// What the system says.
        #[source]
        why: io::Error,
    },
    /// Something that belongs in no package.
    #[error("`{}` is {what}, which belongs in no package", path.display())]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// More than a package can have.
    #[error("there is more than {MEMBERS_MAX} files in it, or it is deeper than {DEPTH_MAX} directories")]
    TooLarge,
}

/// Everything in a folder but what is left out: directories before what is in them, sorted by name.
///
/// # Errors
/// [`TreeError`]
pub fn walk(root: &Path, exclude: &Exclude) -> Result<Vec<Member>, TreeError> {
    let mut members = Vec::new();
    walk_dir(root, Path::new(""), exclude, 0, &mut members)?;
    Ok(members)
}

fn walk_dir(
    root: &Path,
    dir: &Path,
    exclude: &Exclude,
    depth: usize,
    members: &mut Vec<Member>,
) -> Result<(), TreeError> {
    let at = root.join(dir);
    let failed = |why| TreeError::Io { path: at.clone(), why };
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(&at).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for name in names {
        let path = dir.join(&name);
        let full = root.join(&path);
        let failed = |why| TreeError::Io { path: full.clone(), why };
        let meta = fs::symlink_metadata(&full).map_err(failed)?;
        if exclude.leaves_out(&path, meta.is_dir()).is_some() {
            continue;
        }
        if members.len() >= MEMBERS_MAX || depth >= DEPTH_MAX {
            return Err(TreeError::TooLarge);
        }
        let refused = |what: &str| TreeError::Refused { path: full.clone(), what: what.to_owned() };
        let mode = meta.mode();
        if meta.is_dir() {
            members.push(Member { path: path.clone(), node: Node::Dir { mode: dir_mode(mode) } });
            walk_dir(root, &path, exclude, depth + 1, members)?;
        } else if meta.is_file() {
            if mode & 0o6000 != 0 {
                return Err(refused("a program that runs as another user (set-user-id)"));
            }
            members.push(Member { path, node: Node::File { mode: file_mode(mode), bytes: meta.len() } });
        } else if meta.is_symlink() {
            let to = fs::read_link(&full).map_err(failed)?;
            if !stays_inside(&path, &to) {
                return Err(refused(&format!("a link that leads out of it, to `{}`", to.display())));
            }
            members.push(Member { path, node: Node::Link { to } });
        } else {
            return Err(refused(special(&meta)));
        }
    }
    Ok(())
}

fn special(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

/// What of a file's mode is kept. Whoever installed it can always read it.
pub(crate) fn file_mode(mode: u32) -> u32 {
    mode & 0o777 | 0o400
}

/// What of a directory's mode is kept. Whoever installed it can always remove it.
pub(crate) fn dir_mode(mode: u32) -> u32 {
    mode & 0o777 | 0o700
}

/// Whether a link at this path leads to a place in the same tree, whatever other links are in it: it goes up
/// first, no further than the root, and then only down. A `..` behind a name could follow another link, and
/// go up from where that leads.
pub(crate) fn stays_inside(path: &Path, to: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let (mut goes_down, mut is_empty) = (false, true);
    for component in to.components() {
        is_empty = false;
        match component {
            Component::Normal(_) => goes_down = true,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 && !goes_down => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !is_empty
}

/// What each member of a folder is, by its path: mode and digest of a file, where a link leads to. Times and
/// owners have no part in it.
///
/// # Errors
/// [`TreeError`]
pub fn listing(root: &Path) -> Result<BTreeMap<String, String>, TreeError> {
    let members = walk(root, &Exclude::default())?;
    members
        .into_iter()
        .map(|m| Ok((m.path.as_os_str().as_bytes().escape_ascii().to_string(), m.told(root)?)))
        .collect()
}

/// Whether all that is listed is in a folder as it is listed. What else is there is not looked at: tests build
/// in their own folders.
///
/// # Errors
/// [`TreeError`], of what is there and cannot be read.
pub fn is_whole(root: &Path, listing: &BTreeMap<String, String>) -> Result<bool, TreeError> {
    let mut left = listing.len();
    for member in walk(root, &Exclude::default())? {
        if let Some(was) = listing.get(&member.path.as_os_str().as_bytes().escape_ascii().to_string()) {
            if *was != member.told(root)? {
                return Ok(false);
            }
            left -= 1;
        }
    }
    Ok(left == 0)
}

impl Member {
    fn told(&self, root: &Path) -> Result<String, TreeError> {
        Ok(match &self.node {
            Node::Dir { mode } => format!("dir {mode:o}"),
            Node::Link { to } => format!("link {}", to.as_os_str().as_bytes().escape_ascii()),
            Node::File { mode, .. } => {
                let path = root.join(&self.path);
                let hash = hash_file(&path).map_err(|why| TreeError::Io { path, why })?;
                format!("file {mode:o} {hash}")
            }
        })
    }
}

fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut file = File::open(path)?;
    let mut hash = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hash.finalize()),
            Ok(n) => {
                hash.update(&buffer[..n]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_goes_up_first_and_then_only_down() {
        let inside = |path: &str, to: &str| stays_inside(Path::new(path), Path::new(to));
        for (path, to) in [("l", "a"), ("l", "./a/b"), ("d/l", "../a"), ("d/e/l", "../../a"), ("d/l", "..")] {
            assert!(inside(path, to), "{path} {to}");
        }
        for (path, to) in [
            ("l", ""),
            ("l", ".."),
            ("l", "../a"),
            ("l", "/a"),
            ("d/l", "../../a"),
            // Where `d/e/l` leads to the root, this leads out of it.
            ("b", "d/e/l/../x"),
            ("d/l", "a/../b"),
        ] {
            assert!(!inside(path, to), "{path} {to}");
        }
    }
}
