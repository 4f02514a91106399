//! Which accelerator is used, found out by booting.
//!
//! That `/dev/kvm` is there says little: on hosts that are virtual themselves it may open, and then run
//! guests slower than emulation does, or never boot them. So a sector of code is booted under each, which
//! counts for a while, says so on the serial port, and ends the machine. What is found holds until the host
//! is booted again, or QEMU changes.

use crate::device::{Captured, Command, Exit};
use crate::host::run;
use crate::host::rundir::{RunDir, which};
use crate::until::{Ended, Until};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Counts down from 2^25, then writes to the port that ends QEMU.
const CODE: [u8; 26] = [
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xb0, b'M', 0xee, // mov al, 'M'; out dx, al
    0x66, 0xb9, 0x00, 0x00, 0x00, 0x02, // mov ecx, 1 << 25
    0x66, 0x49, // dec ecx
    0x75, 0xfc, // jnz -4
    0xba, 0xf4, 0x00, // mov dx, 0xf4
    0xb0, 0x10, 0xee, // mov al, 0x10; out dx, al
    0xf4, 0xeb, 0xfd, // hlt; jmp -3
    0x00,
];
/// What QEMU ends with when 0x10 is written to that port.
const CODE_OF_END: i32 = 0x10 << 1 | 1;

/// How long emulation may take, which always works.
const TCG_MAX: Duration = Duration::from_secs(60);
/// How long an accelerator may take that deserves the name. One that does not takes a minute.
const KVM_MAX: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    /// As QEMU names it.
    pub(super) name: String,
    /// Why.
    pub(super) why: String,
    /// When the QEMU that it was tried with was changed.
    qemu_changed: i64,
}

/// The accelerator for guests of this architecture.
pub(super) fn choose(arch: &str, until: &Until) -> Result<Choice, Ended> {
    let qemu = format!("qemu-system-{arch}");
    let changed = which(&qemu).and_then(|path| path.metadata().ok()).map_or(0, |m| m.mtime());
    let choice = |name: &str, why: String| Choice { name: name.to_owned(), why, qemu_changed: changed };
    if arch != "x86_64" || std::env::consts::ARCH != "x86_64" {
        return Ok(choice("tcg", "only x86_64 is tried".to_owned()));
    }
    if let Err(e) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(choice("tcg", format!("/dev/kvm cannot be opened: {e}")));
    }
    // Where it cannot be written down it is found out again.
    let dir = RunDir::kept("qemu", "accelerator").and_then(|dir| Ok((dir.lock()?, dir))).ok();
    let file = dir.as_ref().map(|(_, dir)| dir.at(arch));
    let known = file.as_ref().and_then(|file| std::fs::read(file).ok());
    let known = known.and_then(|text| serde_json::from_slice::<Choice>(&text).ok());
    if let Some(known) = known.filter(|known| known.qemu_changed == changed) {
        return Ok(known);
    }
    let tcg = boot(&qemu, "tcg", TCG_MAX, until)?;
    // On a busy host both are slow.
    let limit = tcg.map_or(KVM_MAX, |tcg| KVM_MAX.max(tcg * 3 / 2));
    let found = match (boot(&qemu, "kvm", limit, until)?, tcg) {
        (Some(kvm), _) => choice("kvm", format!("it booted in {:.2} s", kvm.as_secs_f64())),
        (None, Some(tcg)) => choice(
            "tcg",
            format!(
                "/dev/kvm is there, but did not boot within {:.1} s what emulation boots in {:.2} s",
                limit.as_secs_f64(),
                tcg.as_secs_f64()
            ),
        ),
        // Neither: that is no answer to be kept.
        (None, None) => return Ok(choice("tcg", "neither booted in time".to_owned())),
    };
    if let (Some(file), Ok(text)) = (file, serde_json::to_vec(&found)) {
        drop(std::fs::write(file, text));
    }
    Ok(found)
}

/// How long a boot takes; nothing if it is not done within the limit.
fn boot(qemu: &str, accel: &str, limit: Duration, until: &Until) -> Result<Option<Duration>, Ended> {
    let dir = RunDir::temporary("probe").map_err(Ended::Io)?;
    let sector = dir.at("sector");
    write_sector(&sector).map_err(Ended::Io)?;
    let drive = format!("file={},format=raw,if=ide", sector.display());
    let words =
        ["-accel", accel, "-machine", "pc", "-m", "16", "-display", "none", "-nodefaults", "-no-user-config"];
    let exit = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-drive", &drive, "-serial", "stdio"];
    let args = [qemu].into_iter().chain(words).chain(exit);
    let command = Command { time_limit: Some(limit), ..Command::new(args) };
    let begun = Instant::now();
    let mut said = Captured::default();
    match run::run(&command, &mut said, until, None) {
        Ok(Exit::Code(CODE_OF_END)) => Ok(Some(begun.elapsed())),
        Err(run::RunError::Deadline) => Err(Ended::Deadline),
        Err(run::RunError::Cancelled) => Err(Ended::Cancelled),
        _ => Ok(None),
    }
}

fn write_sector(file: &Path) -> std::io::Result<()> {
    let mut sector = [0; 512];
    sector[..CODE.len()].copy_from_slice(&CODE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(file, sector)
}
