//! What the guest does, passed on to the driver that reaches it.

use super::Qemu;
use crate::device::{Command, Entry, Exec, Exit, Files, Info, Packages, Process, Processes, Sink, Stat};
use crate::error::DeviceError;
use crate::tree::Moved;
use crate::until::Until;
use std::io::{Read, Write};
use std::path::Path;

impl Exec for Qemu {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        self.live(until)?.inside.exec()?.run(command, sink, until)
    }

    fn tells_streams_apart(&self) -> bool {
        let running = self.running(&Until::within(std::time::Duration::from_secs(1)));
        running.ok().flatten().is_none_or(|live| live.inside.exec().is_ok_and(Exec::tells_streams_apart))
    }
}

impl Files for Qemu {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.files()?.push(from, size, to, until)
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        self.live(until)?.inside.files()?.pull(from, offset, to, until)
    }

    fn push_path(&self, from: &Path, to: &str, until: &Until) -> Result<Moved, DeviceError> {
        self.live(until)?.inside.files()?.push_path(from, to, until)
    }

    fn pull_path(&self, from: &str, to: &Path, until: &Until) -> Result<Moved, DeviceError> {
        self.live(until)?.inside.files()?.pull_path(from, to, until)
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        self.live(until)?.inside.files()?.list(dir, until)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        self.live(until)?.inside.files()?.stat(path, until)
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.files()?.make_dir(dir, until)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.files()?.remove(path, until)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.files()?.make_executable(path, until)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        self.live(until)?.inside.files()?.test_root(until)
    }
}

impl Processes for Qemu {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        self.live(until)?.inside.processes()?.list(until)
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.processes()?.signal(pid, signal, until)
    }
}

impl Info for Qemu {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        let mut all = self.live(until)?.inside.info()?.all(until)?;
        for name in ["accelerator", "console-log"] {
            all.push((name.to_owned(), self.one(name, until)?));
        }
        Ok(all)
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let live = self.live(until)?;
        match name {
            "accelerator" => Ok(live.accel.clone()),
            "console-log" => Ok(live.at("console.log").display().to_string()),
            _ => live.inside.info()?.one(name, until),
        }
    }
}

impl Packages for Qemu {
    fn install(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.packages()?.install(path, until)
    }

    fn uninstall(&self, name: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.inside.packages()?.uninstall(name, until)
    }
}
