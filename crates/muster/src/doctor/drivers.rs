//! The programs by which devices are reached. Nothing else needs them, so what is not there is only told.

use super::Finding;
use std::path::Path;

/// A driver, the program it starts, and the Debian package that has it.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("ssh", "ssh", "openssh-client"),
    ("adb", "adb", "adb"),
    ("qemu", "qemu-system-x86_64", "qemu-system-x86 qemu-utils"),
];

pub(super) fn look() -> Vec<Finding> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|dir| is_program(&dir.join(program)));
    let found = |(driver, program, package): (&str, &str, &str)| {
        if is_there(program) {
            return Finding::ok(
                "drivers",
                format!("`{driver}` devices are reached by `{program}`, which is here"),
            );
        }
        let why = format!("`{driver}` devices cannot be reached: there is no `{program}`");
        Finding { fix: Some(format!("apt-get install {package}")), ..Finding::ok("drivers", why) }
    };
    PROGRAMS.into_iter().map(found).collect()
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}
