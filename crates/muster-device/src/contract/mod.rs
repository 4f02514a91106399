//! What every driver must do, as checks that run against any device.
//!
//! ```ignore
//! let device: Box<dyn Device> = address.open()?;
//! for case in muster_device::contract::all() {
//!     (case.check)(&*device);
//! }
//! ```
//!
//! A check panics where the promise is broken. It works in a directory of its own below the device's
//! [`test_root`](crate::Files::test_root), and needs a shell and the usual small programs there. What a
//! driver says it cannot do is passed over; what it says it can must be right.

mod exec;
mod files;
mod life;

use crate::device::{Captured, Command, Device, Exit, Files};
use crate::until::Until;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One promise.
pub struct Case {
    /// As a sentence, with underscores.
    pub name: &'static str,
    /// Panics where it is broken.
    pub check: fn(&dyn Device),
}

/// Every promise.
pub fn all() -> Vec<Case> {
    let mut all = exec::cases();
    all.extend(files::cases());
    all.extend(life::cases());
    all
}

/// Runs every promise and says which broke.
pub fn check_all(device: &dyn Device) {
    let mut broken = Vec::new();
    for case in all() {
        let check = std::panic::AssertUnwindSafe(|| (case.check)(device));
        if std::panic::catch_unwind(check).is_err() {
            broken.push(case.name);
        }
    }
    assert!(broken.is_empty(), "`{}` breaks promises: {broken:#?}", device.driver());
}

/// Longer than any call here takes on a busy machine: it only ends what hangs.
fn soon() -> Until {
    Until::within(Duration::from_secs(600))
}

/// Runs a program and returns all it said.
fn run(device: &dyn Device, command: &Command) -> (Exit, Captured) {
    let mut captured = Captured::default();
    let exit = device.exec().unwrap().run(command, &mut captured, &soon()).unwrap();
    (exit, captured)
}

/// What a line for the shell prints.
fn said(device: &dyn Device, line: &str) -> String {
    let (exit, captured) = run(device, &Command::shell(line));
    assert_eq!(exit, Exit::Code(0), "{line}: {captured:?}");
    String::from_utf8(captured.stdout).unwrap()
}

/// A directory on the device that is removed in the end.
struct Place<'a> {
    files: &'a dyn Files,
    path: String,
}

impl<'a> Place<'a> {
    fn new(device: &'a dyn Device) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let files = device.files().unwrap();
        let root = files.test_root(&soon()).unwrap();
        let (pid, n) = (std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let path = format!("{root}/contract-{pid}-{n}");
        files.make_dir(&path, &soon()).unwrap();
        Self { files, path }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.at(name);
        self.files.push(&mut &*bytes, bytes.len() as u64, &path, &soon()).unwrap();
        path
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let n = self.files.pull(path, 0, &mut bytes, &soon()).unwrap();
        assert_eq!(n, bytes.len() as u64);
        bytes
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // A check that has failed already says more than this would.
        drop(self.files.remove(&self.path, &soon()));
    }
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) fn cases() -> Vec<super::Case> {
            vec![$(super::Case { name: stringify!($name), check: $name }),*]
        }
    };
}
use cases;
