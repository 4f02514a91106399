//! Rules of the house that no compiler checks.

use anyhow::bail;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Longest file of ours, without its inline tests.
const LINES_MAX: usize = 700;

/// Which of our crates each crate may use: the fences of ARCHITECTURE.md.
const FENCES: [(&str, &[&str]); 10] = [
    ("muster-core", &[]),
    ("muster-formats", &["muster-core"]),
    ("muster-api", &["muster-core"]),
    ("muster-store", &["muster-core"]),
    ("muster-device", &["muster-core"]),
    ("muster-package", &["muster-core"]),
    ("muster-agent", &["muster-core", "muster-formats", "muster-api", "muster-package"]),
    ("muster-server", &["muster-core", "muster-formats", "muster-api", "muster-store", "muster-package"]),
    ("muster-sim", &["muster-core", "muster-store", "muster-server", "muster-agent"]),
    (
        "muster",
        &[
            "muster-core",
            "muster-formats",
            "muster-api",
            "muster-store",
            "muster-agent",
            "muster-server",
            "muster-device",
            "muster-package",
        ],
    ),
];

/// What must not be left in the sources.
const LEFT_OVERS: [&str; 4] = ["todo!(", "unimplemented!(", "FIXME", "XXX"];

pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut wrong = String::new();
    fences(root, &mut wrong)?;
    fuzz_lock(root, &mut wrong)?;
    for file in sources(root)? {
        let text = std::fs::read_to_string(&file)?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        if name.starts_with("xtask/src/tidy.rs") {
            continue;
        }
        source(&name, &text, &mut wrong);
    }
    documents(root, &mut wrong)?;
    if wrong.is_empty() { Ok(()) } else { bail!("untidy:\n{wrong}") }
}

fn fences(root: &Path, wrong: &mut String) -> anyhow::Result<()> {
    for (name, allowed) in FENCES {
        let manifest = std::fs::read_to_string(root.join("crates").join(name).join("Cargo.toml"))?;
        let manifest: toml::Table = manifest.parse()?;
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten();
        for (used, _) in dependencies.filter(|(used, _)| used.starts_with("muster")) {
            if !allowed.contains(&used.as_str()) {
                writeln!(
                    wrong,
                    "  crates/{name}/Cargo.toml: `{used}` is behind a fence (see ARCHITECTURE.md)"
                )?;
            }
        }
    }
    Ok(())
}

/// The fuzzer is built apart from everything else, so that nothing notices when its lock file is of an earlier set of
/// dependencies.
fn fuzz_lock(root: &Path, wrong: &mut String) -> anyhow::Result<()> {
    let lock: toml::Table = std::fs::read_to_string(root.join("fuzz/Cargo.lock"))?.parse()?;
    let locked =
        |of: &toml::Value, key| of.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let name = package.get("name").and_then(toml::Value::as_str).unwrap_or_default();
        let manifest = match FENCES.iter().find(|(known, _)| *known == name) {
            Some((name, _)) => root.join("crates").join(name).join("Cargo.toml"),
            None if name == "muster-fuzz" => root.join("fuzz/Cargo.toml"),
            None => continue,
        };
        // `NAME`, or `NAME VERSION` where there are several.
        let has: Vec<String> = locked(package, "dependencies")
            .iter()
            .filter_map(|used| Some(used.as_str()?.split(' ').next()?.to_owned()))
            .collect();
        let manifest: toml::Table = std::fs::read_to_string(manifest)?.parse()?;
        let uses = manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten();
        let is_optional =
            |how: &toml::Value| how.get("optional").and_then(toml::Value::as_bool) == Some(true);
        for (used, _) in uses.filter(|(used, how)| !is_optional(how) && !has.contains(used)) {
            writeln!(
                wrong,
                "  fuzz/Cargo.lock: `{name}` uses `{used}` now; `cargo update --workspace --offline --manifest-path \
                 fuzz/Cargo.toml` writes it anew"
            )?;
        }
    }
    Ok(())
}

fn source(name: &str, text: &str, wrong: &mut String) {
    let own = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = own.lines().count();
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
    if lines > LINES_MAX && !is_test {
        writeln!(wrong, "  {name}: {lines} lines without tests; split it (at most {LINES_MAX})").ok();
    }
    if !is_test && name.ends_with(".rs") && !text.trim_start().starts_with("//!") {
        writeln!(wrong, "  {name}:1: begins without a module comment that says what it is for").ok();
    }
    for (n, line) in text.lines().enumerate() {
        for left in LEFT_OVERS {
            if line.contains(left) {
                writeln!(wrong, "  {name}:{}: `{left}` was left behind", n + 1).ok();
            }
        }
        if line.trim() == "#[ignore]" && !name.contains("/tests/real/") {
            writeln!(wrong, "  {name}:{}: a test is ignored without a reason", n + 1).ok();
        }
        if line.ends_with([' ', '\t']) && !line.trim_start().starts_with("//") && !is_test {
            writeln!(wrong, "  {name}:{}: blanks at the end of the line", n + 1).ok();
        }
    }
}

/// Every link between our documents leads somewhere.
fn documents(root: &Path, wrong: &mut String) -> anyhow::Result<()> {
    let mut files = vec![];
    walk(&root.join("docs"), "md", &mut files)?;
    walk(&root.join("examples"), "md", &mut files)?;
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        files.push(root.join(name));
    }
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            let outside =
                target.is_empty() || target.contains("://") || target.contains(' ') || target.contains('`');
            let from = file.parent().unwrap_or(root);
            if !outside && !from.join(target).exists() {
                let name = file.strip_prefix(root).unwrap_or(&file).display();
                writeln!(wrong, "  {name}: the link to `{target}` leads nowhere")?;
            }
        }
    }
    Ok(())
}

fn sources(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    walk(&root.join("crates"), "rs", &mut files)?;
    walk(&root.join("xtask"), "rs", &mut files)?;
    Ok(files)
}

fn walk(dir: &Path, extension: &str, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // What examples fetch and records are not ours.
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") && name != "fetched" {
            walk(&path, extension, files)?;
        } else if path.extension().is_some_and(|e| e == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
