//! The `fake` driver: a device that is not there, for trying out a set-up, and what it does when devices fail.
//!
//! Its programs are simulated, or run on this host; its files are in a directory of this host. It does what
//! every driver does until its script says otherwise: a fault is slow, hangs, cuts the connection, tells
//! nonsense, spoils bytes, or dies until it is rebooted. What happens depends on the calls it was given and
//! on a seed, never on the clock or on chance, so that a story can be told again.
//!
//! Deliberately absent: confinement. A program that is not simulated can do what Muster can.

mod device;
mod script;
mod state;

use crate::address::Options;
use crate::device::Device;
use crate::drivers::{Driver, Place};
pub use device::Fake;
use rustix::process::geteuid;
pub use script::{Fault, Operation, Program, Script, What};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const DRIVER: Driver =
    Driver { scheme: "fake", syntax: "fake:NAME", about: "no device, with the faults of a script", read };

/// What the address says.
#[derive(Clone, Debug, Default)]
struct At {
    name: String,
    dir: Option<PathBuf>,
    script: Option<PathBuf>,
    seed: Option<u64>,
    kind: Option<String>,
    slow: Option<Duration>,
    flaky: Option<u32>,
    fails_every: Option<u64>,
    dies_after: Option<u64>,
    broken: Option<What>,
}

fn read(rest: &str) -> Result<Box<dyn Place>, String> {
    let (name, mut options) = Options::split(rest)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        return Err("after `fake:` comes a name of letters, digits, `-`, `_` and `.`".to_owned());
    }
    let at = At {
        name: name.to_owned(),
        dir: options.take("dir").map(PathBuf::from),
        script: options.take("script").map(PathBuf::from),
        seed: options.parse("seed", "number")?,
        kind: options.take("kind"),
        slow: options.duration("slow")?,
        flaky: options.parse("flaky", "percentage")?,
        fails_every: options.parse("fails-every", "number")?,
        dies_after: options.parse("dies-after", "number")?,
        broken: options.take("broken").map(|word| What::read(&word)).transpose()?,
    };
    options.finish()?;
    if at.flaky.is_some_and(|percent| percent > 100) || at.fails_every == Some(0) {
        return Err("`flaky` is at most 100 percent, and `fails-every` at least 1".to_owned());
    }
    Ok(Box::new(at))
}

impl Place for At {
    fn written(&self) -> String {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        let options = Options::written([
            ("dir", path(&self.dir)),
            ("script", path(&self.script)),
            ("seed", self.seed.map(|n| n.to_string())),
            ("kind", self.kind.clone()),
            ("slow", self.slow.map(|d| format!("{}ms", d.as_millis()))),
            ("flaky", self.flaky.map(|n| n.to_string())),
            ("fails-every", self.fails_every.map(|n| n.to_string())),
            ("dies-after", self.dies_after.map(|n| n.to_string())),
            ("broken", self.broken.map(|what| what.word().to_owned())),
        ]);
        format!("fake:{}{options}", self.name)
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        let mut script = match &self.script {
            Some(file) => Script::load(file)?,
            None => Script::default(),
        };
        script.seed = self.seed.unwrap_or(script.seed);
        script.kind = self.kind.clone().unwrap_or(script.kind);
        script.fault.extend(self.faults());
        let dir = self.dir.clone().unwrap_or_else(|| usual_dir(&self.name));
        Ok(Box::new(Fake::new(&self.name, &self.written(), script, &dir)?))
    }
}

impl At {
    /// The faults that are named in the address itself.
    fn faults(&self) -> Vec<Fault> {
        let slow = self.slow.map(|takes| Fault { takes, ..Fault::new(Operation::Any, What::Slow) });
        let flaky =
            self.flaky.map(|chance| Fault { chance, ..Fault::new(Operation::Exec, What::Disconnect) });
        let every =
            self.fails_every.map(|every| Fault { every, ..Fault::new(Operation::Exec, What::Disconnect) });
        let dies = self.dies_after.map(|after| Fault { after, ..Fault::new(Operation::Exec, What::Die) });
        let broken = self.broken.map(|what| Fault::new(Operation::Exec, what));
        [slow, flaky, every, dies, broken].into_iter().flatten().collect()
    }
}

/// Where a fake device keeps its files and what it remembers.
fn usual_dir(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("muster-fake-{}", geteuid().as_raw())).join(Path::new(name))
}

#[cfg(test)]
mod tests {
    use crate::DeviceAddress;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |text: &str, written: &str| {
            let address: DeviceAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        };
        check("fake:phone-1", "fake:phone-1");
        check("fake:p?flaky=30&slow=1.5s", "fake:p?slow=1500ms&flaky=30");
        check("fake:p?broken=garbage&dir=/a", "fake:p?dir=/a&broken=garbage");
        for text in
            ["fake:", "fake:..", "fake:a/b", "fake:p?flaky=101", "fake:p?broken=maybe", "fake:p?slow=x"]
        {
            assert!(text.parse::<DeviceAddress>().is_err(), "{text}");
        }
    }
}
