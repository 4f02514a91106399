//! The `container` driver: a container on this host, by bubblewrap or podman.
//!
//! ```text
//! container:/                the host's own system, read-only, with a `/tmp` of its own     bwrap
//! container:/srv/rootfs      a directory that is the root, with changes in an overlay       bwrap, podman
//! container:localhost/app    an image                                                       podman
//! ```
//!
//! It is started at the first call and ends with the device, or is kept under a name (`?keep=NAME`) for
//! whoever opens it next. What is changed in it stays until it ends; `reboot` begins anew. Programs are
//! started in it by the engine, files are reached from outside by the root directory of its first process.
//!
//! Deliberately absent: building images, and limits of memory and processors, which are the attempt's.

mod bwrap;
mod live;
mod podman;

pub use bwrap::trouble as bwrap_trouble;
pub use podman::trouble as podman_trouble;

use crate::address::Options;
use crate::device::{Command, Device, Entry, Exec, Exit, Files, Info, Power, Process, Processes, Sink, Stat};
use crate::drivers::{Driver, Place};
use crate::error::DeviceError;
use crate::host::run;
use crate::until::Until;
use live::Live;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const DRIVER: Driver = Driver {
    scheme: "container",
    syntax: "container:IMAGE_OR_DIRECTORY",
    about: "a container on this host, by bubblewrap or podman",
    read: |rest| Ok(Box::new(Where::read(rest)?)),
};

/// What a container is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    /// The host's own system, read-only.
    Host,
    /// A directory of the host.
    Dir(PathBuf),
    /// An image, as podman knows it.
    Image(String),
}

/// Who starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Bwrap,
    Podman,
}

/// A container as an address tells it.
#[derive(Clone, Debug)]
struct Where {
    root: Root,
    /// The engine, where one is wanted.
    with: Option<Engine>,
    /// The network; none of its own if nothing is said.
    network: Option<String>,
    /// A directory of the host that is seen in it, read-only.
    bind: Option<String>,
    /// The name it is kept under.
    keep: Option<String>,
}

impl Where {
    fn read(rest: &str) -> Result<Self, String> {
        let (root, mut options) = Options::split(rest)?;
        let root = match root {
            "" => {
                return Err(
                    "after `container:` comes an image, a directory, or `/` for this host's own system"
                        .to_owned(),
                );
            }
            "/" => Root::Host,
            dir if dir.starts_with('/') => Root::Dir(PathBuf::from(dir.trim_end_matches('/'))),
            dir if dir.starts_with('.') => {
                return Err("write the whole path of the directory, from `/` on".to_owned());
            }
            image if image.starts_with('-') || image.contains(char::is_whitespace) => {
                return Err(format!("`{image}` is no name of an image"));
            }
            image => Root::Image(image.to_owned()),
        };
        let with = match options.take("with").as_deref() {
            None => None,
            Some("bwrap") => Some(Engine::Bwrap),
            Some("podman") => Some(Engine::Podman),
            Some(other) => return Err(format!("`with={other}`: there are `bwrap` and `podman`")),
        };
        let network = options.take("network");
        let bind = options.take("bind");
        if let Some(bind) = bind.as_ref().filter(|b| !b.starts_with('/') || b.contains([':', ','])) {
            return Err(format!("`bind={bind}`: write a whole path, without `:` and `,`"));
        }
        let keep = options.take("keep");
        if let Some(keep) = keep.as_ref().filter(|k| !is_name(k)) {
            return Err(format!("`keep={keep}`: a name has letters, digits, `-`, `_` and `.`"));
        }
        options.finish()?;
        match (&root, with) {
            (Root::Image(_), Some(Engine::Bwrap)) => {
                Err("bubblewrap knows no images, only directories".to_owned())
            }
            (Root::Host, Some(Engine::Podman)) => {
                Err("podman needs an image or a directory other than `/`".to_owned())
            }
            _ => Ok(Self { root, with, network, bind, keep }),
        }
    }

    /// The engines that could start it, the one to be preferred first.
    fn engines(&self) -> Vec<Engine> {
        match (&self.root, self.with) {
            (_, Some(engine)) => vec![engine],
            (Root::Host, None) => vec![Engine::Bwrap],
            (Root::Dir(_), None) => vec![Engine::Bwrap, Engine::Podman],
            (Root::Image(_), None) => vec![Engine::Podman],
        }
    }

    fn has_network(&self) -> bool {
        self.network.as_deref().is_some_and(|n| n != "none")
    }
}

/// Whether it can be a part of a path and an argument.
pub(crate) fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.len() <= 100 && !text.starts_with(['-', '.']) && text.chars().all(good)
}

impl Place for Where {
    fn written(&self) -> String {
        let root = match &self.root {
            Root::Host => "/".to_owned(),
            Root::Dir(dir) => dir.display().to_string(),
            Root::Image(image) => image.clone(),
        };
        let with = self.with.map(|engine| match engine {
            Engine::Bwrap => "bwrap".to_owned(),
            Engine::Podman => "podman".to_owned(),
        });
        let options = [
            ("with", with),
            ("network", self.network.clone()),
            ("bind", self.bind.clone()),
            ("keep", self.keep.clone()),
        ];
        format!("container:{root}{}", Options::written(options))
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        let address = self.written();
        Ok(Box::new(Container { place: self.clone(), address, live: Mutex::new(None) }))
    }
}

/// A container on this host.
struct Container {
    place: Where,
    address: String,
    live: Mutex<Option<Arc<Live>>>,
}

impl Container {
    /// The container, started if it is not there.
    fn live(&self, until: &Until) -> Result<Arc<Live>, DeviceError> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = &*live {
            if there.alive.still() {
                return Ok(Arc::clone(there));
            }
            *live = None;
            let source = io::Error::other("it has ended, with all that was in it; the next call begins anew");
            let doing = "nothing was asked of it".to_owned();
            return Err(DeviceError::Lost { device: self.address.clone(), doing, source });
        }
        let started = Arc::new(Live::find_or_start(&self.place, &self.address, until)?);
        *live = Some(Arc::clone(&started));
        Ok(started)
    }

    fn check(&self, doing: &str, until: &Until) -> Result<(), DeviceError> {
        until.check().map_err(|e| DeviceError::ended(&self.address, doing, e, until))
    }
}

impl Device for Container {
    fn driver(&self) -> &'static str {
        "container"
    }

    fn address(&self) -> &str {
        &self.address
    }

    crate::device::has!(exec: Exec, files: Files, processes: Processes, info: Info, power: Power);

    fn wants_fresh(&self) -> bool {
        self.place.keep.is_none()
    }

    fn probe(&self, until: &Until) -> Result<(), DeviceError> {
        self.check("asking whether it is there", until)?;
        self.live(until).map(drop)
    }

    fn lacks(&self, what: &str) -> DeviceError {
        DeviceError::Unsupported {
            driver: "container",
            device: self.address.clone(),
            what: what.to_owned(),
            why: "a container has no such thing".to_owned(),
        }
    }
}

impl Exec for Container {
    fn run(&self, command: &Command, sink: &mut dyn Sink, until: &Until) -> Result<Exit, DeviceError> {
        let live = self.live(until)?;
        run::split(command).map_err(|e| e.of(&self.address, command, until))?;
        if let Some(dir) = &command.dir
            && live.files.stat(dir, until)?.is_none_or(|s| s.kind != crate::device::Kind::Dir)
        {
            return Err(DeviceError::NotFound { device: self.address.clone(), path: dir.clone() });
        }
        let mark = run::mark();
        let mut start = live.command(command, &mark)?;
        let exit = run::run_as(&mut start, &mark, command, sink, until, None)
            .map_err(|e| e.of(&self.address, command, until))?;
        // What ends with the container is no program's doing.
        if live.alive.still() {
            return Ok(exit);
        }
        let source = io::Error::other("the container has ended");
        let doing = format!("running `{}`", command.args[0]);
        Err(DeviceError::Lost { device: self.address.clone(), doing, source })
    }

    fn tells_streams_apart(&self) -> bool {
        true
    }
}

impl Files for Container {
    fn push(&self, from: &mut dyn Read, size: u64, to: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.files.push(from, size, to, until)
    }

    fn pull(&self, from: &str, offset: u64, to: &mut dyn Write, until: &Until) -> Result<u64, DeviceError> {
        self.live(until)?.files.pull(from, offset, to, until)
    }

    fn list(&self, dir: &str, until: &Until) -> Result<Vec<Entry>, DeviceError> {
        self.live(until)?.files.list(dir, until)
    }

    fn stat(&self, path: &str, until: &Until) -> Result<Option<Stat>, DeviceError> {
        self.live(until)?.files.stat(path, until)
    }

    fn make_dir(&self, dir: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.files.make_dir(dir, until)
    }

    fn remove(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.files.remove(path, until)
    }

    fn make_executable(&self, path: &str, until: &Until) -> Result<(), DeviceError> {
        self.live(until)?.files.make_executable(path, until)
    }

    fn test_root(&self, until: &Until) -> Result<String, DeviceError> {
        self.live(until)?.files.test_root(until)
    }
}

impl Processes for Container {
    fn list(&self, until: &Until) -> Result<Vec<Process>, DeviceError> {
        let doing = "listing processes";
        self.check(doing, until)?;
        self.live(until)?.processes().map_err(|source| DeviceError::Lost {
            device: self.address.clone(),
            doing: doing.to_owned(),
            source,
        })
    }

    fn signal(&self, pid: u32, signal: i32, until: &Until) -> Result<(), DeviceError> {
        let refused = |said: String| DeviceError::Refused {
            device: self.address.clone(),
            doing: format!("signal {signal} for process {pid}"),
            said,
        };
        if pid == 0 || i32::try_from(pid).is_err() {
            return Err(refused("there is no process of this number".to_owned()));
        }
        let line =
            Command::new(["/bin/sh", "-c", "kill -\"$0\" \"$1\"", &signal.to_string(), &pid.to_string()]);
        let mut said = crate::device::Captured::default();
        match self.run(&line, &mut said, until)? {
            Exit::Code(0) => Ok(()),
            _ => Err(refused(String::from_utf8_lossy(&said.stderr).trim().to_owned())),
        }
    }
}

/// What can be asked for by name, in this order.
const FACTS: [&str; 6] = ["os", "arch", "engine", "root", "network", "init"];

impl Info for Container {
    fn all(&self, until: &Until) -> Result<Vec<(String, String)>, DeviceError> {
        FACTS.iter().map(|name| Ok(((*name).to_owned(), self.one(name, until)?))).collect()
    }

    fn one(&self, name: &str, until: &Until) -> Result<String, DeviceError> {
        let live = self.live(until)?;
        Ok(match name {
            "os" => live.os(until),
            "arch" => std::env::consts::ARCH.to_owned(),
            "engine" => live.engine(),
            "root" => match &self.place.root {
                Root::Host => "/ of this host, read-only".to_owned(),
                Root::Dir(dir) => dir.display().to_string(),
                Root::Image(image) => image.clone(),
            },
            "network" => self.place.network.clone().unwrap_or_else(|| "none".to_owned()),
            "init" => format!("process {} of this host", live.alive.pid),
            _ => {
                let what = format!("nothing is known under `{name}`; there are {}", FACTS.join(", "));
                return Err(DeviceError::Senseless { what });
            }
        })
    }
}

impl Power for Container {
    fn reboot(&self, until: &Until) -> Result<(), DeviceError> {
        self.reboot_only(until)?;
        self.live(until).map(drop)
    }

    fn reboot_only(&self, until: &Until) -> Result<(), DeviceError> {
        // One that is kept may have been started by another process.
        let live = self.live(until)?;
        let mut slot = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.end();
        *slot = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |rest: &str, written: &str| assert_eq!(Where::read(rest).unwrap().written(), written);
        check("/", "container:/");
        check("/srv/rootfs/", "container:/srv/rootfs");
        check("docker.io/library/debian:12", "container:docker.io/library/debian:12");
        check("/?keep=a&network=host", "container:/?network=host&keep=a");
        for wrong in
            ["", "./x", "-v", "/?with=docker", "x?with=bwrap", "/?with=podman", "/?keep=../x", "/?bind=x"]
        {
            assert!(Where::read(wrong).is_err(), "{wrong}");
        }
    }
}
