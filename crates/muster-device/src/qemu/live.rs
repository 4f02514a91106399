//! A virtual machine that runs: started, found again where it is kept, waited for, and ended.

use super::accel;
use super::config::Machine;
use super::qmp;
use crate::address::DeviceAddress;
use crate::device::{Captured, Command, Device, Exit};
use crate::error::DeviceError;
use crate::host::run;
use crate::host::rundir::{Alive, RunDir, which};
use crate::until::{Ended, Until};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Runs QEMU, and ends it when the input ends: also when the process that has the other end was killed.
const KEEPER: &str = "exec 3<&0; \"$@\" </dev/null & q=$!; (cat <&3 >/dev/null; kill -9 $q) & wait $q";

/// Most bytes of the console that are kept, twice.
// Limit: a guest that prints for ever must not fill the host's disk.
const CONSOLE_BYTES_MAX: u64 = 16 << 20;
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(200);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// How long QEMU may take to be there with its monitor.
const START_MAX: Duration = Duration::from_secs(60);

/// What is written down of one that is kept.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The address it was started by.
    address: String,
    alive: Alive,
    accel: String,
}

/// A virtual machine that runs.
pub(super) struct Live {
    pub(super) alive: Alive,
    /// The guest.
    pub(super) inside: Box<dyn Device>,
    /// The accelerator, and why that one.
    pub(super) accel: String,
    child: Mutex<Option<Child>>,
    /// Dropped last: it has the disk and the sockets.
    dir: RunDir,
}

/// The directory of a machine.
pub(super) fn directory(machine: &Machine) -> io::Result<RunDir> {
    match &machine.keep {
        Some(name) => RunDir::kept("qemu", name),
        None => RunDir::temporary("qemu"),
    }
}

/// One that is kept and runs.
pub(super) fn find(machine: &Machine, address: &str, until: &Until) -> Result<Option<Live>, DeviceError> {
    if machine.keep.is_none() {
        return Ok(None);
    }
    let unreachable = |source| DeviceError::Unreachable { device: address.to_owned(), source };
    let dir = directory(machine).map_err(unreachable)?;
    let text = fs::read(dir.at("record")).unwrap_or_default();
    let Some(record) = serde_json::from_slice::<Record>(&text).ok().filter(|r| r.alive.still()) else {
        return Ok(None);
    };
    if record.address != address {
        let said = format!(
            "under this name `{}` is kept; take another name, or switch that one off",
            record.address
        );
        return Err(DeviceError::Refused {
            device: address.to_owned(),
            doing: "starting it".to_owned(),
            said,
        });
    }
    let inside = inside(machine, &dir, until).map_err(unreachable)?;
    Ok(Some(Live { alive: record.alive, inside, accel: record.accel, child: Mutex::new(None), dir }))
}

/// Starts one, and waits until the guest answers.
pub(super) fn start(machine: &Machine, address: &str, until: &Until) -> Result<Live, DeviceError> {
    let unreachable = |source| DeviceError::Unreachable { device: address.to_owned(), source };
    let dir = directory(machine).map_err(unreachable)?;
    // Held until it is there, so that it is started once.
    let lock = dir.lock().map_err(unreachable)?;
    if let Some(there) = find(machine, address, until)? {
        return Ok(there);
    }
    let accel = match &machine.accel {
        Some(name) => format!("{name}: it was asked for"),
        None => {
            let choice = accel::choose(machine.arch(), until);
            let choice = choice.map_err(|e| DeviceError::ended(address, "trying accelerators", e, until))?;
            format!("{}: {}", choice.name, choice.why)
        }
    };
    let (alive, child) = spawn(machine, &dir, &accel, until).map_err(|e| match e {
        Ended::Io(source) => unreachable(source),
        ended => DeviceError::ended(address, "starting it", ended, until),
    })?;
    let inside = inside(machine, &dir, until).map_err(|e| {
        alive.kill();
        unreachable(e)
    })?;
    if dir.is_kept() {
        let record = Record { address: address.to_owned(), alive, accel: accel.clone() };
        let text = serde_json::to_vec(&record).expect("a record is plain data");
        fs::write(dir.at("record"), text).map_err(unreachable)?;
    }
    drop(lock);
    let live = Live { alive, inside, accel, child: Mutex::new(child), dir };
    live.wait(address, &until.at_most(machine.boot()))?;
    Ok(live)
}

/// The guest as a device.
fn inside(machine: &Machine, dir: &RunDir, until: &Until) -> io::Result<Box<dyn Device>> {
    let told = qmp::line(&dir.at("monitor"), "info usernet", until)?;
    let port = qmp::forwarded_port(&told)
        .ok_or_else(|| io::Error::other(format!("QEMU tells no port that leads to the guest: {told}")))?;
    let address: DeviceAddress = machine.inside(port).parse().map_err(io::Error::other)?;
    address.open()
}

/// Starts QEMU, and returns when its monitor is there.
fn spawn(
    machine: &Machine,
    dir: &RunDir,
    accel: &str,
    until: &Until,
) -> Result<(Alive, Option<Child>), Ended> {
    let words = words(machine, dir, accel, until)?;
    for stale in ["pid", "monitor", "console"] {
        drop(fs::remove_file(dir.at(stale)));
    }
    let said = File::create(dir.at("said")).map_err(Ended::Io)?;
    let mut start = std::process::Command::new("/bin/sh");
    if dir.is_kept() {
        start.args(["-c", "exec \"$@\"", "sh"]).stdin(Stdio::null());
    } else {
        start.args(["-c", KEEPER, "sh"]).stdin(Stdio::piped());
    }
    start.args(words).process_group(0).stdout(Stdio::null()).stderr(said);
    let mut child = start.spawn().map_err(Ended::Io)?;
    let until = until.at_most(START_MAX);
    loop {
        let pid = fs::read_to_string(dir.at("pid")).ok().and_then(|text| text.trim().parse().ok());
        // That the monitor's socket is there does not say yet that it listens.
        let listens = || UnixStream::connect(dir.at("monitor")).is_ok();
        if let Some(alive) = pid.and_then(Alive::of).filter(|_| listens()) {
            return Ok((alive, Some(child)));
        }
        let over = child.try_wait().map_err(Ended::Io)?.is_some();
        if over {
            let said = fs::read_to_string(dir.at("said")).unwrap_or_default();
            return Err(Ended::Io(io::Error::other(format!("QEMU did not start: {}", said.trim()))));
        }
        if let Err(e) = until.sleep(Duration::from_millis(20)) {
            // Its keeper ends with the pipe, and QEMU with the keeper.
            drop(child.kill());
            drop(child.wait());
            return Err(e);
        }
    }
}

/// A path as a value of QEMU's options.
fn value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The words by which QEMU is started.
fn words(machine: &Machine, dir: &RunDir, accel: &str, until: &Until) -> Result<Vec<String>, Ended> {
    let qemu = format!("qemu-system-{}", machine.arch());
    if which(&qemu).is_none() {
        let hint = format!(
            "there is no program `{qemu}` on this host; on Debian it is in a package `qemu-system-…`"
        );
        return Err(Ended::Io(io::Error::other(hint)));
    }
    let accel = accel.split(':').next().unwrap_or("tcg");
    let x86 = machine.arch() == "x86_64";
    let kind = machine.machine.as_deref().unwrap_or(if x86 { "q35" } else { "virt" });
    let mut all = vec![qemu];
    let mut add = |name: &str, value: String| all.extend([name.to_owned(), value]);
    add("-accel", accel.to_owned());
    add("-machine", kind.to_owned());
    if accel == "kvm" {
        add("-cpu", "host".to_owned());
    }
    add("-m", machine.memory.clone().unwrap_or_else(|| "512M".to_owned()));
    add("-smp", machine.cpus.unwrap_or(1).to_string());
    add("-display", "none".to_owned());
    if x86 {
        add("-vga", "std".to_owned());
    }
    for (name, path) in [("-kernel", &machine.kernel), ("-initrd", &machine.initrd)] {
        if let Some(path) = path {
            add(name, path.display().to_string());
        }
    }
    if let Some(append) = &machine.append {
        add("-append", append.clone());
    }
    if let Some(image) = &machine.image {
        let overlay = overlay(machine, image, dir, until)?;
        add("-drive", format!("file={overlay},format=qcow2,if=virtio,cache=unsafe"));
    }
    let lock = if machine.network.as_deref() == Some("user") { "off" } else { "on" };
    let forward = format!("hostfwd=tcp:127.0.0.1:0-:{}", machine.guest_port());
    add("-nic", format!("user,model=virtio-net-pci,restrict={lock},{forward}"));
    let (console, log) = (value(&dir.at("console")), value(&dir.at("console.log")));
    add(
        "-chardev",
        format!("socket,id=console,path={console},server=on,wait=off,logfile={log},logappend=on"),
    );
    add("-serial", "chardev:console".to_owned());
    add("-qmp", format!("unix:{},server=on,wait=off", value(&dir.at("monitor"))));
    add("-pidfile", dir.at("pid").display().to_string());
    all.extend(["-nodefaults", "-no-user-config"].map(str::to_owned));
    all.extend(machine.extra.iter().cloned());
    Ok(all)
}

/// A disk that has only what is changed.
fn overlay(machine: &Machine, image: &Path, dir: &RunDir, until: &Until) -> Result<String, Ended> {
    let file = dir.at("disk.qcow2");
    drop(fs::remove_file(&file));
    let image = image.display().to_string();
    let format = match &machine.format {
        Some(format) => format.clone(),
        None => {
            #[derive(Deserialize)]
            struct Told {
                format: String,
            }
            let told = tool(&["qemu-img", "info", "--output=json", &image], until)?;
            let told: Told = serde_json::from_str(&told).map_err(|e| Ended::Io(io::Error::other(e)))?;
            told.format
        }
    };
    let path = file.display().to_string();
    tool(&["qemu-img", "create", "-q", "-f", "qcow2", "-b", &image, "-F", &format, &path], until)?;
    Ok(value(&file))
}

fn tool(words: &[&str], until: &Until) -> Result<String, Ended> {
    let mut said = Captured::default();
    match run::run(&Command::new(words.iter().copied()), &mut said, until, None) {
        Ok(Exit::Code(0)) => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
        Ok(_) => Err(Ended::Io(io::Error::other(String::from_utf8_lossy(&said.stderr).trim().to_owned()))),
        Err(run::RunError::Deadline) => Err(Ended::Deadline),
        Err(run::RunError::Cancelled) => Err(Ended::Cancelled),
        Err(_) => Err(Ended::Io(io::Error::other(format!("`{}` cannot be run", words[0])))),
    }
}

impl Live {
    /// Waits until the guest answers.
    pub(super) fn wait(&self, address: &str, until: &Until) -> Result<(), DeviceError> {
        loop {
            self.trim_console();
            match self.inside.probe(&until.at_most(LOOK_MAX)) {
                Ok(()) => return Ok(()),
                Err(e @ DeviceError::Cancelled { .. }) => return Err(e),
                Err(_) => {}
            }
            let console = || format!("; the console ends with {:?}", self.console_end());
            if !self.alive.still() {
                let said = fs::read_to_string(self.dir.at("said")).unwrap_or_default();
                let why = format!("the machine ended before it answered: {}{}", said.trim(), console());
                return Err(DeviceError::Unreachable {
                    device: address.to_owned(),
                    source: io::Error::other(why),
                });
            }
            match until.sleep(LOOK) {
                Ok(()) => {}
                Err(Ended::Deadline) => {
                    let why =
                        format!("the guest did not answer in {} s{}", until.given().as_secs(), console());
                    let source = io::Error::new(io::ErrorKind::TimedOut, why);
                    return Err(DeviceError::Unreachable { device: address.to_owned(), source });
                }
                Err(other) => return Err(DeviceError::ended(address, "waiting for the guest", other, until)),
            }
        }
    }

    /// Its last words.
    fn console_end(&self) -> String {
        let text = fs::read(self.dir.at("console.log")).unwrap_or_default();
        let end = &text[text.len().saturating_sub(300)..];
        String::from_utf8_lossy(end).trim().to_owned()
    }

    /// Puts what the console has said away where it is much, and what was put away before goes.
    pub(super) fn trim_console(&self) {
        let log = self.dir.at("console.log");
        if fs::metadata(&log).is_ok_and(|m| m.len() > CONSOLE_BYTES_MAX)
            && fs::copy(&log, self.dir.at("console.old")).is_ok()
        {
            // QEMU appends, so it goes on from the beginning.
            drop(File::options().write(true).truncate(true).open(&log));
        }
    }

    pub(super) fn monitor(&self) -> std::path::PathBuf {
        self.dir.at("monitor")
    }

    pub(super) fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.at(name)
    }

    /// Ends it as pulling the plug does. What was changed on its disk is gone.
    pub(super) fn end(&self) {
        self.alive.kill();
        drop(fs::remove_file(self.dir.at("record")));
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            drop(child.stdin.take());
            // What it was started for has ended.
            drop(child.wait());
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if !self.dir.is_kept() {
            self.end();
        }
    }
}
