//! What a virtual machine is made of, from a file or from the options of an address.

use crate::address::Options;
use crate::container::is_name;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a guest may take to answer, if nothing is said.
const BOOT: Duration = Duration::from_secs(300);

/// A virtual machine. The keys of the file are those of the address, with `-` for `_`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Machine {
    /// A disk. It is read and never written: changes go into an overlay.
    pub(super) image: Option<PathBuf>,
    /// The format of the disk; asked of `qemu-img` if nothing is said.
    pub(super) format: Option<String>,
    pub(super) kernel: Option<PathBuf>,
    pub(super) initrd: Option<PathBuf>,
    /// The command line of the kernel.
    pub(super) append: Option<String>,
    /// As QEMU takes it: `512M`.
    pub(super) memory: Option<String>,
    pub(super) cpus: Option<u32>,
    pub(super) arch: Option<String>,
    /// QEMU's type of machine.
    pub(super) machine: Option<String>,
    /// `kvm` or `tcg`; the one that is found to be better if nothing is said.
    pub(super) accel: Option<String>,
    /// The address of the guest as a device, with `{port}` for the port on this host that leads to it.
    pub(super) inside: Option<String>,
    /// The port in the guest that it is reached by.
    pub(super) port: Option<u16>,
    /// `user` lets the guest out by this host; otherwise it only is reached.
    pub(super) network: Option<String>,
    /// How long it may take until the guest answers.
    #[serde(deserialize_with = "duration")]
    pub(super) boot: Option<Duration>,
    /// Further words for QEMU; only in a file.
    pub(super) extra: Vec<String>,
    /// The name it is kept under.
    pub(super) keep: Option<String>,
}

fn duration<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    read.map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no duration; write e.g. `90s`")))
}

impl Machine {
    /// The machine of a file. Paths in it are beside it.
    pub(super) fn of_file(file: &Path) -> Result<Self, String> {
        let cannot = |e: &dyn std::fmt::Display| format!("`{}` cannot be used: {e}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| cannot(&e))?;
        let mut machine: Self = toml::from_str(&text).map_err(|e| cannot(&e))?;
        let beside = file.parent().unwrap_or(Path::new("/"));
        for path in [&mut machine.image, &mut machine.kernel, &mut machine.initrd].into_iter().flatten() {
            *path = beside.join(&*path);
        }
        machine.checked().map_err(|e| cannot(&e))
    }

    /// The machine of the options of an address.
    pub(super) fn of_options(options: &mut Options) -> Result<Self, String> {
        let machine = Self {
            image: options.take("image").map(PathBuf::from),
            format: options.take("format"),
            kernel: options.take("kernel").map(PathBuf::from),
            initrd: options.take("initrd").map(PathBuf::from),
            append: options.take("append"),
            memory: options.take("memory"),
            cpus: options.parse("cpus", "number")?,
            arch: options.take("arch"),
            machine: options.take("machine"),
            accel: options.take("accel"),
            inside: options.take("inside"),
            port: options.parse("port", "port")?,
            network: options.take("network"),
            boot: options.duration("boot")?,
            extra: Vec::new(),
            keep: options.take("keep"),
        };
        for path in [&machine.image, &machine.kernel, &machine.initrd].into_iter().flatten() {
            if !path.is_absolute() {
                return Err(format!("`{}`: write a whole path", path.display()));
            }
        }
        machine.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if self.image.is_none() && self.kernel.is_none() {
            return Err("a machine needs an `image` or a `kernel`".to_owned());
        }
        if self.kernel.is_none() && (self.initrd.is_some() || self.append.is_some()) {
            return Err("`initrd` and `append` are for a `kernel`".to_owned());
        }
        for (name, value) in
            [("arch", &self.arch), ("memory", &self.memory), ("keep", &self.keep), ("format", &self.format)]
        {
            if let Some(value) = value.as_ref().filter(|v| !is_name(v)) {
                return Err(format!("`{name}={value}`: letters, digits, `-`, `_` and `.` are allowed"));
            }
        }
        if let Some(accel) = self.accel.as_ref().filter(|a| !["kvm", "tcg"].contains(&a.as_str())) {
            return Err(format!("`accel={accel}`: there are `kvm` and `tcg`"));
        }
        if let Some(network) = self.network.as_ref().filter(|n| !["none", "user"].contains(&n.as_str())) {
            return Err(format!("`network={network}`: there are `none` and `user`"));
        }
        if self.inside.as_ref().is_some_and(|inside| !inside.contains("{port}")) {
            return Err(
                "`inside` needs `{port}` where the port comes: `ssh://root@127.0.0.1:{port}`".to_owned()
            );
        }
        Ok(self)
    }

    /// The options of an address that has all that is in no file.
    pub(super) fn written(&self) -> String {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string());
        let boot = self.boot.map(|boot| format!("{}ms", boot.as_millis()));
        Options::written([
            ("image", path(&self.image)),
            ("format", self.format.clone()),
            ("kernel", path(&self.kernel)),
            ("initrd", path(&self.initrd)),
            ("append", self.append.clone()),
            ("memory", self.memory.clone()),
            ("cpus", self.cpus.map(|n| n.to_string())),
            ("arch", self.arch.clone()),
            ("machine", self.machine.clone()),
            ("accel", self.accel.clone()),
            ("inside", self.inside.clone()),
            ("port", self.port.map(|n| n.to_string())),
            ("network", self.network.clone()),
            ("boot", boot),
            ("keep", self.keep.clone()),
        ])
    }

    pub(super) fn arch(&self) -> &str {
        self.arch.as_deref().unwrap_or(std::env::consts::ARCH)
    }

    pub(super) fn boot(&self) -> Duration {
        self.boot.unwrap_or(BOOT)
    }

    /// The address of the guest, reached by this port.
    pub(super) fn inside(&self, port: u16) -> String {
        let inside = self.inside.as_deref().unwrap_or("sut://127.0.0.1:{port}");
        inside.replace("{port}", &port.to_string())
    }

    /// The port in the guest.
    pub(super) fn guest_port(&self) -> u16 {
        let ssh = self.inside.as_ref().is_some_and(|inside| inside.starts_with("ssh:"));
        self.port.unwrap_or(if ssh { 22 } else { crate::sut::COMMAND_PORT })
    }
}
