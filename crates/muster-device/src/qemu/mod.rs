//! The `qemu` driver: a virtual machine on this host, and the guest in it as a device.
//!
//! ```text
//! qemu driver ──► QEMU: overlay, accelerator, monitor, console
//!      └── inside ──► a forwarded port ──► sut or ssh in the guest
//! ```
//!
//! The machine is started at the first call and ends with the device, or is kept under a name. What the guest
//! does is done by another driver, by default `sut`; this one has what only the outside can do: the supply,
//! the console, the screen, a fresh disk. The image is never written: its changes are in an overlay that goes
//! when the machine is switched off.
//!
//! Deliberately absent: making images, networks between machines, snapshots of running ones.

mod accel;
mod config;
mod guest;
mod live;
mod qmp;

use crate::address::Options;
use crate::console::ConsoleLine;
use crate::device::{Console, Device, Power, Screen, Supply};
use crate::drivers::{Driver, Place};
use crate::error::DeviceError;
use crate::until::Until;
use config::Machine;
use live::Live;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const DRIVER: Driver = Driver {
    scheme: "qemu",
    syntax: "qemu:FILE.toml",
    about: "a virtual machine on this host",
    read: |rest| Ok(Box::new(Where::read(rest)?)),
};

/// A machine as an address tells it.
struct Where {
    machine: Machine,
    address: String,
}

impl Where {
    fn read(rest: &str) -> Result<Self, String> {
        let (place, mut options) = Options::split(rest)?;
        let (machine, address) = if place.is_empty() || place == "//" {
            let machine = Machine::of_options(&mut options)?;
            let address = format!("qemu:{}", machine.written());
            (machine, address)
        } else {
            let file = std::path::absolute(PathBuf::from(place)).map_err(|e| format!("`{place}`: {e}"))?;
            let mut machine = Machine::of_file(&file)?;
            let keep = options.take("keep");
            if let Some(keep) = keep.as_ref().filter(|k| !crate::container::is_name(k)) {
                return Err(format!("`keep={keep}`: a name has letters, digits, `-`, `_` and `.`"));
            }
            let address = format!("qemu:{}{}", file.display(), Options::written([("keep", keep.clone())]));
            machine.keep = keep.or(machine.keep);
            (machine, address)
        };
        options.finish()?;
        Ok(Self { machine, address })
    }
}

impl Place for Where {
    fn written(&self) -> String {
        self.address.clone()
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        let live = Mutex::new(Slot::NotAsked);
        Ok(Box::new(Qemu { machine: self.machine.clone(), address: self.address.clone(), live }))
    }
}

/// A virtual machine.
struct Qemu {
    machine: Machine,
    address: String,
    live: Mutex<Slot>,
}

/// What this device has of the machine.
enum Slot {
    /// Nothing was asked of it.
    NotAsked,
    /// It was switched off, and is left so until it is switched on.
    Off,
    Running(Arc<Live>),
}

impl Qemu {
    /// The machine, started if nobody has switched it off.
    fn live(&self, until: &Until) -> Result<Arc<Live>, DeviceError> {
        let mut slot = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Slot::Off => Err(self.lost("it was switched off")),
            Slot::Running(live) if live.alive.still() => {
                live.trim_console();
                Ok(Arc::clone(live))
            }
            Slot::Running(_) => {
                *slot = Slot::NotAsked;
                Err(self.lost("the machine has ended; the next call starts it anew"))
            }
            Slot::NotAsked => {
                let started = Arc::new(live::start(&self.machine, &self.address, until)?);
                *slot = Slot::Running(Arc::clone(&started));
                Ok(started)
            }
        }
    }

    /// The machine if it runs.
    fn running(&self, until: &Until) -> Result<Option<Arc<Live>>, DeviceError> {
        let mut slot = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::NotAsked = *slot
            && let Some(found) = live::find(&self.machine, &self.address, until)?
        {
            *slot = Slot::Running(Arc::new(found));
        }
        Ok(match &*slot {
            Slot::Running(live) if live.alive.still() => Some(Arc::clone(live)),
            _ => None,
        })
    }

    fn lost(&self, why: &str) -> DeviceError {
        let doing = "nothing was asked of it".to_owned();
        DeviceError::Lost { device: self.address.clone(), doing, source: io::Error::other(why.to_owned()) }
    }

    /// Something is said to the monitor.
    fn monitor<C: qapi::Command>(
        &self,
        live: &Live,
        doing: &str,
        command: &C,
        until: &Until,
    ) -> Result<C::Ok, DeviceError> {
        qmp::say(&live.monitor(), command, until).map_err(|source| DeviceError::Lost {
            device: self.address.clone(),
            doing: doing.to_owned(),
            source,
        })
    }
}

impl Device for Qemu {
    fn driver(&self) -> &'static str {
        "qemu"
    }

    fn address(&self) -> &str {
        &self.address
    }

    crate::device::has!(
        exec: Exec, files: Files, processes: Processes, info: Info, power: Power, supply: Supply, console: Console, screen: Screen, packages: Packages
    );

    fn wants_fresh(&self) -> bool {
        self.machine.keep.is_none()
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        let doing = "asking whether it is there";
        until.check().map_err(|e| DeviceError::ended(&self.address, doing, e, until))?;
        self.live(until)?.inside.probe(until)
    }
}

impl Power for Qemu {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        self.reboot_only(until)?;
        self.live(until)?.wait(&self.address, until)
    }

    /// Presses the button for it: the guest is not asked.
    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        let live = self.live(until)?;
        self.monitor(&live, "rebooting", &qapi::qmp::system_reset {}, until).map(drop)
    }
}

impl Supply for Qemu {
    fn on(&self, until: &Until) -> Result<(), DeviceError> {
        {
            let mut slot = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            if let Slot::Off = *slot {
                *slot = Slot::NotAsked;
            }
        }
        self.live(until).map(drop)
    }

    fn off(&self, until: &Until) -> Result<(), DeviceError> {
        let running = self.running(until)?;
        let mut slot = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = running {
            live.end();
        }
        *slot = Slot::Off;
        Ok(())
    }

    fn is_on(&self, until: &Until) -> Result<bool, DeviceError> {
        Ok(self.running(until)?.is_some())
    }
}

impl Console for Qemu {
    fn connect(&self, until: &Until) -> Result<ConsoleLine, DeviceError> {
        let live = self.live(until)?;
        let socket = UnixStream::connect(live.at("console"));
        socket
            .map(ConsoleLine::of_socket)
            .map_err(|source| DeviceError::Unreachable { device: self.address.clone(), source })
    }
}

impl Screen for Qemu {
    fn screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        let live = self.live(until)?;
        let (doing, file) = ("taking a screenshot", live.at("screen.png"));
        let command = qapi::qmp::screendump {
            device: None,
            format: Some(qapi::qmp::ImageFormat::png),
            head: None,
            filename: file.display().to_string(),
        };
        self.monitor(&live, doing, &command, until)?;
        std::fs::read(&file).map_err(|source| DeviceError::Here { doing: "read", path: file, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |rest: &str, written: &str| assert_eq!(Where::read(rest).unwrap().written(), written);
        check("//?image=/a.qcow2&memory=1G", "qemu:?image=/a.qcow2&memory=1G");
        check("?kernel=/k&append=a%20b&keep=x", "qemu:?kernel=/k&append=a%20b&keep=x");
        for wrong in [
            "",
            "//",
            "?image=a",
            "?initrd=/i",
            "?image=/a&accel=hvf",
            "?image=/a&cpus=x",
            "?image=/a&boot=1",
            "?image=/a&inside=ssh://x",
            "?image=/a&extra=x",
            "/no/such/file.toml",
        ] {
            assert!(Where::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_says_the_same_with_paths_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("board.toml");
        std::fs::write(&file, "image = \"disk.img\"\nboot = \"90s\"\nextra = [\"-device\", \"x\"]\n")
            .unwrap();
        let place = Where::read(&format!("{}?keep=b1", file.display())).unwrap();
        assert_eq!(place.machine.image, Some(dir.path().join("disk.img")));
        assert_eq!(place.machine.boot(), std::time::Duration::from_secs(90));
        assert_eq!(place.written(), format!("qemu:{}?keep=b1", file.display()));
        std::fs::write(&file, "imago = \"disk.img\"\n").unwrap();
        assert!(Where::read(&file.display().to_string()).err().unwrap().contains("imago"));
    }
}
