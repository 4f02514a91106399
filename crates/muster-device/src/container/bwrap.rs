//! Containers by bubblewrap: namespaces and nothing else, started in some milliseconds, without root.
//!
//! The container is one `bwrap` whose first process waits; programs enter it by `nsenter`. There they would
//! have all rights within its user namespace, with which the host's own system could be made writable again,
//! so that one is entered without any. A directory has an overlay that nobody else sees.

use super::live::{How, INIT, NotStarted, PATH, Started, wait_until_up};
use super::{Root, Where};
use crate::device::Command;
use crate::error::DeviceError;
use crate::host::files::HostFiles;
use crate::host::rundir::{RunDir, which};
use crate::until::Until;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

/// How a container is entered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The words before the program's own.
    words: Vec<String>,
}

/// Directories of the host's own system that are not shown: people's files, and doors to services.
const HIDDEN: [&str; 3] = ["/home", "/root", "/run"];

pub(super) fn start(place: &Where, dir: &RunDir, until: &Until) -> Result<Started, NotStarted> {
    let tool = |name: &str| {
        let path = which(name).map(|p| p.to_string_lossy().into_owned());
        path.ok_or_else(|| NotStarted::Said(format!("there is no program `{name}` on this host")))
    };
    let (bwrap, nsenter) = (tool("bwrap")?, tool("nsenter")?);
    if let Some(other) = place.network.as_ref().filter(|n| !["none", "host"].contains(&n.as_str())) {
        return Err(NotStarted::Said(format!("it has `network=none` and `network=host`, not `{other}`")));
    }
    let (mut words, root, mut enter) = match &place.root {
        Root::Host => {
            let mut root = words(&["--unshare-user", "--uid", "0", "--gid", "0", "--ro-bind", "/", "/"]);
            for hidden in HIDDEN.into_iter().filter(|d| Path::new(d).is_dir()) {
                root.extend(words(&["--tmpfs", hidden]));
            }
            let tmp = dir.fresh("tmp")?.display().to_string();
            root.extend(words(&["--bind", &tmp, "/tmp"]));
            let setpriv = tool("setpriv")?;
            let without =
                ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--"];
            let enter = [vec![setpriv], words(&without)].concat();
            (vec![bwrap], root, enter)
        }
        Root::Dir(root) => {
            let layers = [root.clone(), dir.fresh("changes")?, dir.fresh("work")?, dir.fresh("root")?];
            let layers = layers.map(|d| d.display().to_string());
            if let Some(odd) = layers.iter().find(|d| d.contains([',', ':', '\\'])) {
                return Err(NotStarted::Said(format!(
                    "an overlay cannot have `{odd}`, for its `,`, `:` or `\\`"
                )));
            }
            let overlay = "mount -t overlay overlay -o \"lowerdir=$1,upperdir=$2,workdir=$3\" \"$4\" && \
                           shift 4 && exec \"$@\"";
            let mut first = words(&["--user", "--map-root-user", "--mount", "sh", "-c", overlay, "sh"]);
            first.insert(0, tool("unshare")?);
            first.extend(layers.iter().cloned());
            first.push(bwrap);
            (first, words(&["--bind", &layers[3], "/", "--dir", "/tmp"]), Vec::new())
        }
        Root::Image(_) => return Err(NotStarted::Said("it knows no images".to_owned())),
    };
    words.extend(root);
    words.extend(self::words(&[
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]));
    if let Some(bind) = &place.bind {
        words.extend(self::words(&["--ro-bind", bind, bind]));
    }
    if !place.has_network() {
        words.push("--unshare-net".to_owned());
    }
    words.extend(self::words(&["--chdir", "/", "--info-fd", "1", "--", "/bin/sh", "-c", INIT]));

    let mut start = std::process::Command::new(&words[0]);
    start.args(&words[1..]).env("PATH", PATH).process_group(0);
    start.stdin(input(dir)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start.spawn()?;
    wait_until_up(&mut child, until).map_err(|e| match e {
        NotStarted::Said(said) => NotStarted::Said(with_hint(&said)),
        ended @ NotStarted::Ended(_) => ended,
    })?;
    let pid = told_pid(child.stdout.take())?;
    let mut into = vec![nsenter, format!("--target={pid}")];
    into.extend(self::words(&["--user", "--preserve-credentials", "--mount", "--pid", "--ipc", "--uts"]));
    if !place.has_network() {
        into.push("--net".to_owned());
    }
    into.push("--".to_owned());
    into.append(&mut enter);
    Ok(Started { pid, child: Some(child), how: How::Bwrap(Entry { words: into }) })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// What the first process waits for the end of: a pipe of ours, or, to stay, a pipe it has open itself.
fn input(dir: &RunDir) -> std::io::Result<Stdio> {
    if !dir.is_kept() {
        return Ok(Stdio::piped());
    }
    let path = dir.at("input");
    drop(std::fs::remove_file(&path));
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    Ok(File::options().read(true).write(true).open(path)?.into())
}

/// The number of the container's first process, of which bubblewrap tells before it starts.
fn told_pid(pipe: Option<std::process::ChildStdout>) -> Result<u32, NotStarted> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "child-pid")]
        child_pid: u32,
    }
    let mut text = vec![0; 4096];
    let n = pipe.map_or(Ok(0), |mut pipe| pipe.read(&mut text))?;
    let told: Result<Told, _> = serde_json::from_slice(&text[..n]);
    told.map(|t| t.child_pid).map_err(|e| NotStarted::Said(format!("it did not tell its process: {e}")))
}

impl Entry {
    pub(super) fn command(
        &self,
        command: &Command,
        files: &HostFiles,
    ) -> Result<std::process::Command, DeviceError> {
        if let Some(user) = command.user.as_ref().filter(|u| !["root", "0"].contains(&u.as_str())) {
            return Err(DeviceError::Unsupported {
                driver: "container",
                device: files.device.clone(),
                what: format!("run programs as `{user}`"),
                why: "in a container of bubblewrap there is only root".to_owned(),
            });
        }
        let mut start = std::process::Command::new(&self.words[0]);
        start.args(&self.words[1..]);
        if let Some(dir) = &command.dir {
            start.args(["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", dir]);
        }
        start.args(&command.args).env_clear().env("PATH", PATH).env("HOME", "/root").env("USER", "root");
        start.envs(command.env.iter().map(|(k, v)| (k, v)));
        Ok(start)
    }
}

/// What it said, and what may help where the kernel does not let anybody make namespaces.
fn with_hint(said: &str) -> String {
    let said = if said.is_empty() { "it ended without a word" } else { said };
    match forbidden() {
        Some((why, fix)) => format!("{said} ({why}; {fix})"),
        None => said.to_owned(),
    }
}

/// Whether user namespaces are forbidden here, and by what.
fn forbidden() -> Option<(&'static str, &'static str)> {
    let is = |file: &str, value: &str| std::fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return Some(("this kernel allows no user namespaces", "sysctl user.max_user_namespaces=15000"));
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some(("user namespaces are root's alone here", "sysctl kernel.unprivileged_userns_clone=1"));
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let fix = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for bwrap";
        return Some(("AppArmor restricts user namespaces here", fix));
    }
    None
}

/// What keeps bubblewrap from starting containers here, and what to do; nothing if it starts one.
pub fn trouble() -> Option<(String, String)> {
    let Some(bwrap) = which("bwrap") else {
        return Some(("bubblewrap is not installed".to_owned(), "apt install bubblewrap".to_owned()));
    };
    let tried = std::process::Command::new(bwrap)
        .args(["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let (why, fix) = forbidden().unwrap_or((&said, "use `container:` with podman, or another host"));
            Some((format!("bubblewrap cannot start a container: {why}"), fix.to_owned()))
        }
        Err(e) => Some((
            format!("bubblewrap cannot be started: {e}"),
            "apt install --reinstall bubblewrap".to_owned(),
        )),
    }
}
