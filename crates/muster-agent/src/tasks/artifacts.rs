//! What an attempt left in its working directory, as a list. Files are not read here: whoever carries them to
//! a server does that, and on this machine they stay where they are.

use muster_core::artifact::{Artifact, Artifacts, TOO_MANY};
use muster_formats::report::words;
use std::fmt::Write as _;
use std::fs::{self, DirEntry};
use std::path::Path;

/// Most directories and files that are looked at.
// Limit: an attempt may leave millions, and its slot waits for this list.
const SEEN_MAX: usize = 20_000;

/// Lists what is in this directory of the run's. Links are not followed, and what is no file is left out.
pub(super) fn list(run_dir: &str, dir: String) -> Artifacts {
    let root = Path::new(run_dir).join(&dir);
    let mut all = Artifacts::new(dir);
    let (mut open, mut seen, mut names) = (vec![String::new()], 0, 0);
    while let Some(parent) = open.pop() {
        let entries = match fs::read_dir(root.join(&parent)) {
            Ok(entries) => entries,
            Err(e) => {
                all.leave_out(shown(&parent), format!("the directory cannot be read: {e}"));
                continue;
            }
        };
        let mut entries: Vec<DirEntry> = entries.flatten().take(SEEN_MAX + 1).collect();
        entries.sort_by_key(DirEntry::file_name);
        let mut dirs = Vec::new();
        for entry in &entries {
            seen += 1;
            if seen > SEEN_MAX {
                all.leave_out(shown(&parent), format!("only the first {SEEN_MAX} files were looked at"));
                return sorted(all);
            }
            match look(&parent, entry) {
                Ok(Look::Dir(path)) => dirs.push(path),
                Ok(Look::File(file)) => {
                    names += file.path.len();
                    if all.files.len() < Artifacts::FILES_MAX && names <= Artifacts::NAMES_BYTES_MAX {
                        all.files.push(file);
                    } else {
                        all.leave_out(file.path, TOO_MANY);
                    }
                }
                Err((path, why)) => all.leave_out(path, why),
            }
        }
        open.extend(dirs.into_iter().rev());
    }
    sorted(all)
}

enum Look {
    Dir(String),
    File(Artifact),
}

fn look(parent: &str, entry: &DirEntry) -> Result<Look, (String, String)> {
    let name = entry.file_name();
    let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
    let Some(known) = name.to_str() else {
        return Err((path(&name.to_string_lossy()), "its name is not UTF-8".to_owned()));
    };
    let path = path(known);
    // Of the entry itself, wherever it may lead.
    let meta = entry.metadata().map_err(|e| (path.clone(), format!("it cannot be looked at: {e}")))?;
    let kind = meta.file_type();
    if kind.is_dir() {
        Ok(Look::Dir(path))
    } else if kind.is_file() {
        Ok(Look::File(Artifact { path, bytes: meta.len(), digest: None }))
    } else {
        let what = if kind.is_symlink() { "a symbolic link" } else { "a device, pipe or socket" };
        Err((path, format!("it is {what}")))
    }
}

fn sorted(mut all: Artifacts) -> Artifacts {
    all.files.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn shown(parent: &str) -> &str {
    if parent.is_empty() { "." } else { parent }
}

/// What the log of the attempt says of it.
pub(super) fn remark(kept: &Artifacts, address: &str) -> String {
    let mut text = match kept.files.len() {
        0 => "nothing that it left in its working directory can be kept".to_owned(),
        n => format!(
            "kept what it left in its working directory: {n} {} ({}), see `muster artifacts {}`",
            if n == 1 { "file" } else { "files" },
            words::bytes(kept.bytes()),
            words::shell_word(address)
        ),
    };
    if let Some(first) = kept.left_out.first() {
        let _written = write!(text, "; left out: {} ({})", first.path.escape_debug(), first.why);
        if kept.left_out_count() > 1 {
            let _written = write!(text, " and {} more", kept.left_out_count() - 1);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn files_are_listed_and_what_is_none_is_named_with_the_reason() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("work/t#1");
        fs::create_dir_all(dir.join("sub/deep")).unwrap();
        fs::write(dir.join("sub/deep/core"), "core").unwrap();
        fs::write(dir.join("b"), "").unwrap();
        fs::write(dir.join("a"), "12").unwrap();
        fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("linked-dir")).unwrap();
        let all = list(run.path().to_str().unwrap(), "work/t#1".to_owned());
        let files: Vec<(&str, u64)> = all.files.iter().map(|f| (f.path.as_str(), f.bytes)).collect();
        assert_eq!(files, [("a", 2), ("b", 0), ("sub/deep/core", 4)]);
        let mut left: Vec<&str> = all.left_out.iter().map(|l| l.path.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["link", "linked-dir", "\u{fffd}"]);
        let said = remark(&all, "area/1/t#1");
        assert!(said.contains("3 files (6 B), see `muster artifacts area/1/t#1`; left out: "), "{said}");
        assert!(said.ends_with("and 2 more"), "{said}");
    }

    #[test]
    fn of_too_many_files_the_first_are_kept_and_the_rest_is_counted() {
        let run = tempfile::tempdir().unwrap();
        let dir = run.path().join("work/t");
        fs::create_dir_all(&dir).unwrap();
        (0..1010).for_each(|n| fs::write(dir.join(format!("f{n}")), "x").unwrap());
        let all = list(run.path().to_str().unwrap(), "work/t".to_owned());
        assert_eq!((all.files.len(), all.left_out_count()), (1000, 10));
        assert_eq!(all.clone().tamed(), all);
    }
}
