//! The job of one attempt of a Megatest test: its run directory, the link to it, and its environment.

use super::record::Record;
use muster_agent::copy_tree;
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket};
use muster_formats::megatest::{ITEM_DIR_VARIABLE, echoed};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The job that this process is a part of.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    /// The item's path; empty where the test has none.
    pub(super) item: String,
    /// The link to the run directory, in the tree of links.
    pub(super) link: PathBuf,
    pub(super) run_dir: PathBuf,
    /// All that the test's commands find in their environment.
    pub(super) env: BTreeMap<String, String>,
}

impl Job {
    /// The job that the environment tells of; with `set_up`, made ready from the start.
    pub(super) fn find(set_up: bool) -> Result<Self, anyhow::Error> {
        let mut env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let get = |name: &str| env.get(name).cloned().unwrap_or_default();
        let text = env.get(TICKET_VARIABLE).ok_or_else(|| {
            anyhow::anyhow!("there is no {TICKET_VARIABLE} in the environment: this is no test's process")
        })?;
        let ticket = Ticket::parse(text)?;
        let (test, item) = (get("MT_TEST_NAME"), get("MUSTER_ITEM"));
        let run_name = ticket.run_name.clone().unwrap_or_else(|| format!("run-{}", get("MUSTER_RUN")));
        let run_path = format!("{}/{}/{run_name}", ticket.link_tree, ticket.target);
        // An item above others has a directory of its own.
        let dir = env.get(ITEM_DIR_VARIABLE).filter(|_| !item.is_empty()).unwrap_or(&item);
        let below = if dir.is_empty() { test } else { format!("{test}/{dir}") };
        let link = Path::new(&run_path).join(&below);
        let info: Vec<String> =
            ticket.item_vars.iter().map(|name| format!("({name} {:?})", get(name))).collect();
        env.insert("MT_RUNNAME".to_owned(), run_name.clone());
        env.insert("MT_RUNPATH".to_owned(), run_path);
        env.insert("MT_ITEMPATH".to_owned(), item.clone());
        env.insert("MT_ITEM_INFO".to_owned(), format!("({})", info.join(" ")));
        for (name, value) in &ticket.overrides {
            let value = expanded(value, &env)
                .map_err(|e| e.context(format!("the value of `{name}` in `[pre-launch-env-overrides]`")))?;
            env.insert(name.clone(), value);
        }
        let mut job = Self { ticket, item, run_dir: PathBuf::new(), link, env };
        job.run_dir = match (fs::canonicalize(&job.link), set_up) {
            // A further attempt goes where the first one was.
            (Ok(dir), _) => dir,
            (Err(_), true) => job.new_run_dir(&run_name, &below)?,
            (Err(e), false) => {
                return Err(anyhow::Error::from(e).context(format!("`{}` is not there", job.link.display())));
            }
        };
        let dir = job.run_dir.to_string_lossy().into_owned();
        job.env.insert("MT_TEST_RUN_DIR".to_owned(), dir);
        let path = job.env.get("PATH").cloned().unwrap_or_default();
        // The test's own scripts are found, and so is `megatest`.
        let own = job.env.get("MT_MEGATEST").and_then(|p| Path::new(p).parent()).map(Path::to_path_buf);
        let own = own.map_or_else(String::new, |dir| format!("{}:", dir.display()));
        job.env.insert("PATH".to_owned(), format!("{own}{path}:."));
        if set_up {
            job.set_up()?;
        }
        Ok(job)
    }

    /// A run directory on the disk with most space.
    fn new_run_dir(&self, run_name: &str, below: &str) -> Result<PathBuf, anyhow::Error> {
        let mut best: Option<(u64, PathBuf)> = None;
        let mut refused = Vec::new();
        for (name, path) in &self.ticket.disks {
            let path = self.expanded(path).map_err(|e| e.context(format!("the disk `{name}`")))?;
            let disk = PathBuf::from(&path);
            if !disk.is_absolute() {
                refused.push(format!("`{name}` is at `{path}`, which is no absolute path"));
                continue;
            }
            if let Err(e) = fs::create_dir_all(&disk) {
                refused.push(format!("`{name}`: `{path}` cannot be made: {e}"));
                continue;
            }
            match self.free_blocks(&disk) {
                Ok(free) if free < self.ticket.min_space => {
                    refused.push(format!("`{name}` has only {free} blocks of 1024 bytes left"));
                }
                Ok(free) if best.as_ref().is_none_or(|(most, _)| free > *most) => best = Some((free, disk)),
                Ok(_) => {}
                Err(e) => refused.push(format!("`{name}`: {e}")),
            }
        }
        let (_, disk) = best
            .ok_or_else(|| anyhow::anyhow!("no disk can have the run directory: {}", refused.join("; ")))?;
        let dir = disk.join(&self.ticket.target).join(run_name).join(below);
        fs::create_dir_all(&dir)?;
        if let Some(parent) = self.link.parent() {
            fs::create_dir_all(parent)?;
        }
        // Where the disk is the tree of links itself, the directory is its own link.
        if !self.link.exists() {
            drop(fs::remove_file(&self.link));
            std::os::unix::fs::symlink(&dir, &self.link)?;
        }
        Ok(fs::canonicalize(&dir)?)
    }

    /// Free space of a disk in blocks of 1024 bytes, as the system or the area's own script tells.
    fn free_blocks(&self, disk: &Path) -> io::Result<u64> {
        let Some(script) = &self.ticket.free_space else {
            let of = rustix::fs::statvfs(disk)?;
            return Ok(of.f_bavail.saturating_mul(of.f_frsize) / 1024);
        };
        let output = Command::new("/bin/sh")
            .args(["-c", &format!("{script} \"$1\""), "free-space-script"])
            .arg(disk)
            .envs(&self.env)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let first = said.lines().next().unwrap_or_default().trim();
        let number = first.parse().ok().filter(|_| output.status.success());
        number.ok_or_else(|| {
            io::Error::other(format!("`{script}` says `{first}`, which is no number of blocks"))
        })
    }

    /// A text of the area's with its variables filled in.
    pub(super) fn expanded(&self, text: &str) -> Result<String, anyhow::Error> {
        expanded(text, &self.env)
    }

    /// Brings the test's files, and writes what helps to run it by hand.
    fn set_up(&self) -> Result<(), anyhow::Error> {
        let source = Path::new(&self.ticket.source);
        match &self.ticket.copy {
            None => copy_tree(source, &self.run_dir)
                .map_err(|e| anyhow::Error::from(e).context("the test's files cannot be copied"))?,
            Some(command) => {
                let target = self.run_dir.to_string_lossy();
                let line =
                    command.replace("TEST_SRC_PATH", &self.ticket.source).replace("TEST_TARG_PATH", &target);
                let status = Command::new("/bin/sh").args(["-c", &line]).envs(&self.env).status()?;
                anyhow::ensure!(status.success(), "the copy command `{line}` failed ({status})");
            }
        }
        for (step, rules) in &self.ticket.logpro {
            let file = self.run_dir.join(format!("{step}.logpro"));
            if !source.join(format!("{step}.logpro")).exists() {
                fs::write(file, rules)?;
            }
        }
        Record::clear(&self.run_dir, self.env.get("MUSTER_ATTEMPT").map_or("1", String::as_str))?;
        self.dump_env()?;
        Ok(())
    }

    /// `megatest.sh` and `megatest.csh`: the environment, to run the test by hand.
    fn dump_env(&self) -> io::Result<()> {
        let [sh, csh] = scripts(&self.env, &self.ticket.hidden);
        fs::write(self.run_dir.join("megatest.sh"), sh)?;
        fs::write(self.run_dir.join("megatest.csh"), csh)
    }
}

/// What a shell's `echo` makes of a value; a shell is asked where there are commands in it.
fn expanded(value: &str, env: &BTreeMap<String, String>) -> Result<String, anyhow::Error> {
    if let Some(text) = echoed(value, env) {
        return Ok(text);
    }
    let output =
        Command::new("/bin/sh").args(["-c", &format!("echo {value}")]).env_clear().envs(env).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "a shell cannot read `{value}`: {}",
        said.lines().next().unwrap_or("it does not say why")
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
}

/// Scripts for `sh` and `csh` that set an environment; variables that are hidden are comments.
pub(super) fn scripts(env: &BTreeMap<String, String>, hidden: &[String]) -> [String; 2] {
    let (mut sh, mut csh) = (String::new(), String::new());
    for (name, value) in env {
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        // What is one process's is not another's.
        if !is_name || matches!(name.as_str(), "PWD" | "SHLVL" | "_" | "OLDPWD") {
            continue;
        }
        let mark = if hidden.contains(name) { "# " } else { "" };
        let quoted = format!("'{}'", value.replace('\'', "'\\''").replace('\n', " "));
        // Writing to a string cannot fail.
        writeln!(sh, "{mark}export {name}={quoted}").ok();
        writeln!(csh, "{mark}setenv {name} {}", quoted.replace('!', "\\!")).ok();
    }
    [sh, csh]
}
