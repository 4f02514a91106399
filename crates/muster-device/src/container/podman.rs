//! Containers by podman: images, users, limits; a third of a second to start.
//!
//! What podman assumes of a host is not everywhere so. Where it does not start with its own choice, it is
//! tried with other cgroup managers and runtimes, and with limits no higher than this process may set.

use super::live::{How, INIT, NotStarted, Started, wait_until_up};
use super::{Root, Where};
use crate::device::{Captured, Command, Exit};
use crate::host::run::{self, MARK, RunError};
use crate::host::rundir::{RunDir, which};
use crate::until::{Ended, Until};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

/// How a container is entered and ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// podman, with the choices it has started with.
    podman: Vec<String>,
    name: String,
}

/// Choices to be tried one after the other, and whether limits are lowered.
const CHOICES: [(&[&str], bool); 4] = [
    (&[], false),
    (&[], true),
    (&["--cgroup-manager=cgroupfs"], true),
    (&["--cgroup-manager=cgroupfs", "--runtime=runc"], true),
];

/// What is low enough for podman, which has lowered its own before it starts anything.
const LIMITS: [(&str, Resource, u64); 2] =
    [("nofile", Resource::Nofile, 1 << 20), ("nproc", Resource::Nproc, 1 << 15)];

/// How long the removal of a container may take.
const REMOVE_MAX: Duration = Duration::from_secs(60);

pub(super) fn start(place: &Where, dir: &RunDir, until: &Until) -> Result<Started, NotStarted> {
    if which("podman").is_none() {
        return Err(NotStarted::Said(
            "there is no program `podman` on this host; apt install podman".to_owned(),
        ));
    }
    let root: Vec<String> = match &place.root {
        Root::Image(image) => {
            match tool(&["podman", "image", "exists", image], until) {
                Ok(_) => {}
                // By podman's own rules of where to look, and only where they allow it.
                Err(NotStarted::Said(_)) => drop(tool(&["podman", "pull", "--quiet", image], until)?),
                Err(ended @ NotStarted::Ended(_)) => return Err(ended),
            }
            vec![image.clone()]
        }
        Root::Dir(dir) => vec!["--rootfs".to_owned(), format!("{}:O", dir.display())],
        Root::Host => return Err(NotStarted::Said("it needs an image or a directory".to_owned())),
    };
    let name = match &place.keep {
        Some(name) => format!("muster-kept-{name}"),
        None => format!("muster-{}", run::mark().replace('.', "-")),
    };
    let mut said = String::new();
    for (choice, lower) in CHOICES {
        let mut podman = vec!["podman".to_owned()];
        podman.extend(choice.iter().map(|w| (*w).to_owned()));
        let entry = Entry { podman, name: name.clone() };
        // What a failed start, or one that was killed, has left under this name.
        entry.remove();
        match entry.start(place, &root, lower, dir, until) {
            Err(NotStarted::Said(why)) => {
                // The first answer is about podman as it is set up here.
                if said.is_empty() {
                    said = why;
                }
            }
            other => return other,
        }
    }
    Err(NotStarted::Said(said))
}

/// Runs podman; an error if it says no.
fn tool(words: &[&str], until: &Until) -> Result<String, NotStarted> {
    let mut said = Captured::default();
    let ended = run::run(&Command::new(words.iter().copied()), &mut said, until, None);
    let exit = ended.map_err(|e| match e {
        RunError::Deadline => NotStarted::Ended(Ended::Deadline),
        RunError::Cancelled => NotStarted::Ended(Ended::Cancelled),
        RunError::Io(e) => NotStarted::Said(e.to_string()),
        _ => NotStarted::Said("podman could not be run".to_owned()),
    })?;
    if exit == Exit::Code(0) {
        return Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned());
    }
    Err(NotStarted::Said(String::from_utf8_lossy(&said.stderr).trim().to_owned()))
}

impl Entry {
    fn start(
        &self,
        place: &Where,
        root: &[String],
        lower: bool,
        dir: &RunDir,
        until: &Until,
    ) -> Result<Started, NotStarted> {
        let mut start = std::process::Command::new(&self.podman[0]);
        start.args(&self.podman[1..]).args(["run", "--rm", "--interactive", "--name", &self.name]);
        start.args(["--network", place.network.as_deref().unwrap_or("none")]);
        if let Some(bind) = &place.bind {
            start.args(["--volume", &format!("{bind}:{bind}:ro")]);
        }
        if lower {
            for (name, resource, most) in LIMITS {
                let most = getrlimit(resource).maximum.map_or(most, |own| own.min(most));
                start.args(["--ulimit", &format!("{name}={most}:{most}")]);
            }
        }
        if dir.is_kept() {
            start.arg("--detach");
        }
        start.args(["--entrypoint", "[\"/bin/sh\", \"-c\"]"]).args(root).arg(INIT).process_group(0);
        let child = if dir.is_kept() {
            let words: Vec<String> = std::iter::once(start.get_program())
                .chain(start.get_args())
                .map(|w| w.to_string_lossy().into_owned())
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            tool(&words, until)?;
            None
        } else {
            start.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = start.spawn()?;
            wait_until_up(&mut child, until)?;
            Some(child)
        };
        let mut words: Vec<&str> = self.podman.iter().map(String::as_str).collect();
        words.extend(["inspect", "--format", "{{.State.Pid}}", &self.name]);
        let told = tool(&words, until)?;
        let pid = told.parse().ok().filter(|pid| *pid != 0);
        let pid = pid.ok_or_else(|| NotStarted::Said(format!("its process is told as `{told}`")))?;
        Ok(Started { pid, child, how: How::Podman(self.clone()) })
    }

    pub(super) fn words(&self) -> &[String] {
        &self.podman
    }

    pub(super) fn command(&self, command: &Command, mark: &str) -> std::process::Command {
        let mut start = std::process::Command::new(&self.podman[0]);
        start.args(&self.podman[1..]).arg("exec");
        if !command.stdin.is_empty() {
            start.arg("--interactive");
        }
        start.arg(format!("--env={MARK}={mark}"));
        for (name, value) in &command.env {
            // By name only, so that values are in no list of processes; but podman itself would mind some.
            if minded(name) {
                start.arg(format!("--env={name}={value}"));
            } else {
                start.env(name, value).arg(format!("--env={name}"));
            }
        }
        if let Some(dir) = &command.dir {
            start.args(["--workdir", dir]);
        }
        if let Some(user) = &command.user {
            start.args(["--user", user]);
        }
        start.arg(&self.name).args(&command.args);
        start
    }

    /// Removes it, if it is there.
    pub(super) fn remove(&self) {
        let mut words: Vec<&str> = self.podman.iter().map(String::as_str).collect();
        words.extend(["rm", "--force", "--ignore", "--time=0", &self.name]);
        // What cannot be removed is told when the next is to have its name.
        drop(tool(&words, &Until::within(REMOVE_MAX)));
    }
}

/// Whether podman, or what it starts on the host, takes this variable for itself.
fn minded(name: &str) -> bool {
    const ITS: [&str; 9] =
        ["CONTAINER", "XDG_", "LD_", "GODEBUG", "DBUS_", "STORAGE_", "REGISTRY_", "NOTIFY_", "LISTEN_"];
    ["PATH", "HOME", "TMPDIR", "USER"].contains(&name)
        || name.starts_with('_')
        || ITS.iter().any(|its| name.starts_with(its))
}

/// What keeps podman from working here, and what to do; nothing if it answers.
pub fn trouble() -> Option<(String, String)> {
    if which("podman").is_none() {
        return Some(("podman is not installed".to_owned(), "apt install podman".to_owned()));
    }
    let format = "{{.Host.OCIRuntime.Name}} {{.Host.CgroupsVersion}}";
    match tool(&["podman", "info", "--format", format], &Until::within(Duration::from_secs(10))) {
        Ok(told) if told == "crun v1" && which("runc").is_none() => {
            let why = "podman's runtime is `crun`, which refuses hosts whose cgroups are of both kinds";
            Some((why.to_owned(), "apt install runc".to_owned()))
        }
        Ok(_) => None,
        Err(NotStarted::Said(said)) => {
            Some((format!("podman does not work: {said}"), "podman info".to_owned()))
        }
        Err(NotStarted::Ended(_)) => Some(("podman does not answer".to_owned(), "podman info".to_owned())),
    }
}
