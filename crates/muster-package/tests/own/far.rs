//! A device behind a shell of this host, with the programs that a test lets it have, and faults.

use muster_package::own::{Far, FarError, Said};
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a call is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before it reaches the device.
    Before,
    /// In the middle: half of a file, or a shell that is killed.
    Within,
    /// When the device has done it, and cannot say so any more.
    After,
}

/// A device.
pub(crate) struct Device {
    root: PathBuf,
    /// The only directory its programs are in.
    bin: PathBuf,
    shell: PathBuf,
    pub(crate) calls: Cell<usize>,
    /// The call at which the connection is lost; those behind it fail as well.
    pub(crate) cut: Cell<Option<(usize, Cut)>>,
    /// Files that arrive are damaged.
    pub(crate) spoils: Cell<bool>,
    pub(crate) pulled: Cell<usize>,
}

/// What a device of the tests has at least: a shell, `tar`, and what no system is without.
const PROGRAMS: [&str; 14] =
    ["sh", "tar", "mkdir", "rm", "mv", "ln", "cp", "cat", "ls", "df", "touch", "find", "chmod", "sleep"];

impl Device {
    /// With the programs of this host: those that no system is without, and these.
    pub(crate) fn new(dir: &Path, more: &[&str]) -> Self {
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in PROGRAMS.iter().chain(more) {
            let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
            let found = found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no `{name}` here"));
            std::os::unix::fs::symlink(found, bin.join(name)).unwrap();
        }
        Self::of(dir, bin.clone(), bin.join("sh"))
    }

    /// With busybox and nothing else.
    pub(crate) fn busybox(dir: &Path) -> Self {
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "`cargo xtask setup` installs busybox-static, which this needs");
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        let list = Command::new(busybox).arg("--list").output().unwrap();
        for name in String::from_utf8(list.stdout).unwrap().lines().filter(|n| *n != "busybox") {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        Self::of(dir, bin.clone(), bin.join("sh"))
    }

    /// One that was made before.
    pub(crate) fn at(dir: &Path) -> Self {
        Self::of(dir, dir.join("bin"), dir.join("bin/sh"))
    }

    fn of(dir: &Path, bin: PathBuf, shell: PathBuf) -> Self {
        let root = dir.join("root of it");
        fs::create_dir_all(&root).unwrap();
        let (calls, cut) = (Cell::new(0), Cell::new(None));
        Self { root, bin, shell, calls, cut, spoils: Cell::new(false), pulled: Cell::new(0) }
    }

    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("muster-packages")
    }

    fn call(&self) -> Result<Option<Cut>, FarError> {
        let call = self.calls.replace(self.calls.get() + 1);
        match self.cut.get() {
            Some((at, Cut::Before)) if call == at => Err("the connection is lost".into()),
            Some((at, how)) if call == at => Ok(Some(how)),
            Some((at, _)) if call > at => Err("there is no connection".into()),
            _ => Ok(None),
        }
    }
}

impl Far for Device {
    fn shown(&self) -> String {
        format!("test:{}", self.root.display())
    }

    fn root(&self) -> Result<String, FarError> {
        Ok(self.root.display().to_string())
    }

    fn run(&self, words: &[&str]) -> Result<Said, FarError> {
        let cut = self.call()?;
        assert_eq!(words[0], "sh", "it is asked for a shell and nothing else");
        let mut command = Command::new(&self.shell);
        command.args(&words[1..]).env_clear().env("PATH", &self.bin);
        if cut == Some(Cut::Within) {
            // It gets as far as it does.
            command.env("MUSTER_TEST_SLOW", "1");
            let mut child = command.stdout(std::process::Stdio::null()).spawn()?;
            std::thread::sleep(std::time::Duration::from_millis(2));
            child.kill()?;
            child.wait()?;
            return Err("the connection was lost".into());
        }
        let output = command.output()?;
        if cut == Some(Cut::After) {
            return Err("the connection was lost".into());
        }
        let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
        Ok(Said { code, out: output.stdout, err: output.stderr })
    }

    fn push(&self, from: &mut dyn Read, bytes: u64, to: &str) -> Result<(), FarError> {
        let cut = self.call()?;
        let mut all = Vec::new();
        from.read_to_end(&mut all)?;
        assert_eq!(all.len() as u64, bytes);
        if cut == Some(Cut::Within) {
            all.truncate(all.len() / 2);
        }
        if self.spoils.get() && all.len() > 600 {
            // In the bytes of the first file of an archive.
            all[520] ^= 1;
        }
        fs::write(to, &all)?;
        if cut.is_some() { Err("the connection was lost".into()) } else { Ok(()) }
    }

    fn pull(&self, from: &str, to: &mut dyn Write) -> Result<(), FarError> {
        self.call()?;
        self.pulled.set(self.pulled.get() + 1);
        Ok(to.write_all(&fs::read(from)?)?)
    }
}
