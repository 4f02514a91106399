//! Devices and the drivers that talk to them.
//!
//! ```text
//! DeviceAddress ──open──► dyn Device ──exec(), files(), power() …──► a capability, or "this driver lacks it"
//!                            │
//!                            ├── file        one of these, with the power and console a file tells of
//!                            ├── local       this host
//!                            ├── qemu        a virtual machine on this host
//!                            ├── adb         a phone, through an adb server
//!                            ├── container   bubblewrap or podman on this host
//!                            ├── ssh         a host that the system's `ssh` reaches
//!                            ├── ext, unix   a driver of the lab's own, in any language
//!                            ├── fake        nothing, with scripted faults
//!                            └── sut         an agent of the SUT protocol, Mozilla's or sut::agent
//! ```
//!
//! A [`Worker`] has a device open from one process that uses it to the next, and [`DeviceAddress::open_at`] is
//! how those reach it.
//!
//! Calls block and always have an [`Until`]. An error says whose [`Fault`] it is: the lab's says nothing
//! about what was tested. Every driver passes one suite, `contract`.
//!
//! Deliberately absent: leases and scheduling (the lab's), records, printing, configuration files. The
//! server never links this crate.

mod adb;
mod address;
mod console;
pub mod container;
#[cfg(any(test, feature = "contract"))]
#[expect(clippy::unwrap_used, reason = "checks panic")]
pub mod contract;
mod described;
mod device;
mod drivers;
mod error;
pub mod ext;
pub mod fake;
mod host;
mod local;
mod qemu;
mod redfish;
pub mod ssh;
mod stream;
pub mod sut;
mod tree;
mod until;
mod worker;

pub use address::{AddressError, DeviceAddress};
pub use console::{ConsoleLine, LineEnd};
pub use device::{
    Captured, Command, Console, Device, Entry, Exec, Exit, Files, Info, Kind, Packages, Power, Process,
    Processes, Screen, Sink, Stat, Supply,
};
pub use drivers::{DRIVERS, Driver};
pub use error::{DeviceError, Fault};
pub use host::processes::user_name;
pub use local::Local;
pub use tree::Moved;
pub use until::{Cancel, Until};
pub use worker::{Job, Worker};
