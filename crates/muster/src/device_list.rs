//! Looks for files on a device by patterns, as a suite that runs there asks for its items.
//!
//! What a device says about names is not believed: one that could lead elsewhere, or that would be two lines of an
//! answer, is left out.

use glob::{MatchOptions, Pattern};
use muster_device::{DeviceError, Entry, Files, Kind, Until};
use std::collections::BTreeSet;

/// Deepest directory, and most entries, that are looked at.
// Limit: each directory is a question to the device; what is larger is no directory of tests.
const DEPTH_MAX: usize = 32;
const ENTRIES_MAX: usize = 100_000;

/// As the shell reads patterns: `*` stays within a directory, `**` does not.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Files beneath `base` that match any of the patterns: relative paths, sorted, each once. Links are left out.
/// `executable`: only those that may be executed, where the device tells.
///
/// # Errors
/// A pattern is none or leads out, there is too much, or the device's.
pub(crate) fn files(
    device: &dyn Files,
    base: &str,
    patterns: &[String],
    executable: bool,
    until: &Until,
) -> Result<Vec<String>, anyhow::Error> {
    let mut found = BTreeSet::new();
    let mut seen = 0;
    for text in patterns {
        let text = text.strip_prefix("./").unwrap_or(text);
        if text.starts_with('/') || text.split('/').any(|part| part == "..") {
            anyhow::bail!("the pattern `{text}` leads out of the suite's directory");
        }
        let pattern = Pattern::new(text).map_err(|e| anyhow::anyhow!("the pattern `{text}` is none: {e}"))?;
        let parts: Vec<&str> = text.split('/').collect();
        // What is written out need not be looked for.
        let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '['])).count();
        let start = parts[..plain.min(parts.len() - 1)].join("/");
        let deepest = if parts.contains(&"**") { DEPTH_MAX } else { parts.len() };
        let mut open = vec![start];
        while let Some(dir) = open.pop() {
            let place = if dir.is_empty() { base.to_owned() } else { format!("{base}/{dir}") };
            let entries = match device.list(&place, until) {
                Ok(entries) => entries,
                Err(DeviceError::NotFound { .. }) => continue,
                Err(e) => return Err(e.into()),
            };
            seen += entries.len();
            if seen > ENTRIES_MAX {
                anyhow::bail!(
                    "there are more than {ENTRIES_MAX} files on the device to look at for `{text}`"
                );
            }
            for Entry { name, stat } in entries.into_iter().filter(|entry| is_name(&entry.name)) {
                let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                match stat.kind {
                    Kind::Dir if path.split('/').count() < deepest => open.push(path),
                    Kind::File if pattern.matches_with(&path, OPTIONS) => {
                        if !executable || stat.mode.is_none_or(|mode| mode & 0o111 != 0) {
                            found.insert(path);
                        }
                    }
                    Kind::Dir | Kind::File | Kind::Link | Kind::Other => {}
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\n', '\r', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_device::DeviceAddress;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn find(
        base: &std::path::Path,
        patterns: &[&str],
        executable: bool,
    ) -> Result<Vec<String>, anyhow::Error> {
        let device = "local:".parse::<DeviceAddress>().unwrap().open().unwrap();
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        let until = Until::within(Duration::from_secs(60));
        files(device.files().unwrap(), base.to_str().unwrap(), &patterns, executable, &until)
    }

    #[test]
    fn files_on_a_device_are_found_as_on_the_host() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b.sh", "a.sh", "sub/c.sh", "sub/deep/d.sh", "x.txt", "dir.sh/inner", "two\nlines.sh"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::set_permissions(dir.path().join("b.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("a.sh", dir.path().join("link.sh")).unwrap();
        assert_eq!(find(dir.path(), &["*.sh"], false).unwrap(), ["a.sh", "b.sh"]);
        assert_eq!(find(dir.path(), &["./sub/*.sh"], false).unwrap(), ["sub/c.sh"]);
        let all = ["a.sh", "b.sh", "sub/c.sh", "sub/deep/d.sh"];
        assert_eq!(find(dir.path(), &["a*", "**/*.sh"], false).unwrap(), all);
        assert_eq!(find(dir.path(), &["*.sh"], true).unwrap(), ["b.sh"]);
        assert_eq!(find(dir.path(), &["x.txt", "absent/*"], false).unwrap(), ["x.txt"]);
        for pattern in ["/etc/*", "../*", "sub/../../*", "a[b"] {
            assert!(find(dir.path(), &[pattern], false).is_err(), "{pattern}");
        }
    }
}
