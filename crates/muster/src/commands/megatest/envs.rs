//! `megatest -env2file`, `-envcap`, `-envdelta`: environments as files, and what changed from one to another.

use super::args::Args;
use super::job::scripts;
use crate::context::Context;
use crate::error::Complaint;
use muster_core::outcome::ExitCode;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where environments are kept by name, in the directory at hand.
const DIR: &str = "envdat";

type Env = BTreeMap<String, String>;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let cannot =
        |path: &Path, e| Complaint::lab(format!("`{}` cannot be written", path.display())).because(e);
    let env: Env = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    if let Some(file) = args.get("env2file") {
        for (text, end) in scripts(&env, &[]).into_iter().zip(["sh", "csh"]) {
            let path = context.dir.join(format!("{file}.{end}"));
            fs::write(&path, text).map_err(|e| cannot(&path, e))?;
        }
    }
    if let Some(name) = args.get("envcap") {
        let path = place(name, context)?;
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(context.dir.join(DIR))?;
            fs::write(&path, serde_json::to_string_pretty(&env)?)
        };
        write().map_err(|e| cannot(&path, e))?;
    }
    if let Some(names) = args.get("envdelta") {
        let (before, after) = names.split_once('-').ok_or_else(|| {
            Complaint::usage(format!("`{names}` names no two environments")).hint("`-envdelta BEFORE-AFTER`")
        })?;
        let text =
            delta(&read(before, context)?, &read(after, context)?, args.get("dumpmode").unwrap_or("bash"))?;
        match args.get("o") {
            None => context.stdout().write_all(text.as_bytes())?,
            Some(file) => {
                let path = context.dir.join(file);
                fs::write(&path, text).map_err(|e| cannot(&path, e))?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn place(name: &str, context: &Context) -> Result<PathBuf, anyhow::Error> {
    if name.is_empty() || name.contains(['/', '-']) || name.starts_with('.') {
        return Err(Complaint::usage(format!("`{name}` cannot be the name of an environment"))
            .hint("a name has none of `/` and `-`, and does not begin with a dot")
            .into());
    }
    Ok(context.dir.join(DIR).join(format!("{name}.json")))
}

fn read(name: &str, context: &Context) -> Result<Env, anyhow::Error> {
    let path = place(name, context)?;
    let text = fs::read_to_string(&path).map_err(|e| {
        Complaint::usage(format!("there is no environment `{name}`"))
            .because(e)
            .hint(format!("`megatest -envcap {name}` keeps the one at hand"))
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// What has to be set and unset to come from one to the other.
fn delta(before: &Env, after: &Env, mode: &str) -> Result<String, anyhow::Error> {
    // What is one process's is not another's.
    let is_own = |name: &str| matches!(name, "PWD" | "OLDPWD" | "SHLVL" | "_");
    let set: Env = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value) && !is_own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let gone = before.keys().filter(|name| !after.contains_key(*name) && !is_own(name));
    let [sh, csh] = scripts(&set, &[]);
    let (mut text, unset) = match mode {
        "bash" => (sh, "unset"),
        "csh" => (csh, "unsetenv"),
        "config" | "ini" => {
            let mut text = "[env-override]\n".to_owned();
            for (name, value) in &set {
                // Writing to a string cannot fail.
                writeln!(text, "{name} {}", value.replace('\n', " ")).ok();
            }
            (text, "# no longer set:")
        }
        _ => {
            return Err(Complaint::usage(format!("`-dumpmode {mode}` is none of a difference's"))
                .hint("`bash`, `csh`, `config` or `ini`")
                .into());
        }
    };
    for name in gone {
        writeln!(text, "{unset} {name}").ok();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_what_to_set_and_what_to_unset() {
        let env = |all: &[(&str, &str)]| -> Env {
            all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let (a, b) =
            (env(&[("A", "1"), ("B", "2"), ("PWD", "/x")]), env(&[("B", "it's"), ("C", "3"), ("PWD", "/y")]));
        assert_eq!(delta(&a, &b, "bash").unwrap(), "export B='it'\\''s'\nexport C='3'\nunset A\n");
        assert_eq!(delta(&a, &b, "csh").unwrap(), "setenv B 'it'\\''s'\nsetenv C '3'\nunsetenv A\n");
        assert_eq!(delta(&a, &b, "ini").unwrap(), "[env-override]\nB it's\nC 3\n# no longer set: A\n");
        assert_eq!(delta(&a, &a, "bash").unwrap(), "");
        assert!(delta(&a, &b, "perl").is_err());
    }
}
