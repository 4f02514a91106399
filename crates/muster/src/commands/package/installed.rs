//! `muster package install`: packages on this host.

use super::{FromArgs, IntoArgs, OnDeviceArgs, complain, find, size, tell_troubles};
use crate::context::Context;
use crate::device_step::in_part;
use crate::far;
use crate::terminal::text::plural;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_package::own::{
    Damage, Delivered, DevicePlace, InstallOptions, Moved, Published, Reference, Verify,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Arguments of `muster package install`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is installed and right stays. A file that is installed already, in this version or another, is linked and not
fetched. The package appears at DIR/KIND/NAME when all of it is there; what was there before is kept as well.
Packages that it needs are installed, too.

With --on they are installed here first, and from here on the device, which needs a shell and `tar`:
it is brought the files that it has in no other version, and where it has `dd`, only the parts of a
long file that changed. Each time it reads what it has.")]
pub(super) struct InstallArgs {
    /// What to install
    #[arg(value_name = "PACKAGE", required = true)]
    packages: Vec<Reference>,
    #[command(flatten)]
    into: IntoArgs,
    #[command(flatten)]
    on: OnDeviceArgs,
    /// Read every byte of what is installed, and do not rely on times and lengths
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    from: FromArgs,
}

/// A package that was installed.
#[derive(Serialize)]
struct Told {
    package: Published,
    dir: PathBuf,
    moved: Moved,
    damage: Vec<Damage>,
}

/// Installs.
pub(super) fn run(args: &InstallArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let sources = args.from.sources(context)?;
    let place = args.into.place(context)?;
    let verify = if args.verify { Verify::Bytes } else { Verify::Record };
    let mut told: Vec<Told> = Vec::new();
    let mut waiting: Vec<Reference> = args.packages.iter().rev().cloned().collect();
    let mut seen = BTreeSet::new();
    while let Some(wanted) = waiting.pop() {
        if !seen.insert(wanted.clone()) {
            continue;
        }
        let package = find(&sources, &wanted)?;
        let options = InstallOptions { verify, ..InstallOptions::default() };
        let installed = place.install(&package, &sources, options).map_err(complain)?;
        waiting.extend(installed.deps.into_iter().rev());
        let (dir, moved, damage) = (installed.dir, installed.moved, installed.damage);
        told.push(Told { package, dir, moved, damage });
    }
    tell_troubles(&sources, context);
    if let Some(address) = &args.on.on {
        let wanted: Vec<_> = told.iter().map(|told| told.package.digest).collect();
        let all = far::with(address, |far| {
            DevicePlace::open(far, &place).and_then(|there| there.install(&wanted)).map_err(complain)
        })?;
        args.from.json.print(&all, context, |out| {
            for delivered in &all {
                writeln!(out, "{}", delivered.package.title())?;
                writeln!(out, "  {}", delivered.dir)?;
                mended(out, &delivered.damage)?;
                writeln!(out, "  {}", brought(delivered))?;
                for gone in &delivered.evicted {
                    writeln!(out, "  taken away to make room: {}", gone.title())?;
                }
            }
            Ok(())
        })?;
        return Ok(ExitCode::Passed);
    }
    args.from.json.print(&told, context, |out| {
        for Told { package, dir, moved, damage } in &told {
            writeln!(out, "{}", package.title())?;
            writeln!(out, "  {}", dir.display())?;
            mended(out, damage)?;
            writeln!(out, "  {}", summary(moved))?;
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}

fn mended(out: &mut dyn std::io::Write, damage: &[Damage]) -> std::io::Result<()> {
    if damage.is_empty() {
        return Ok(());
    }
    let mended = damage.iter().take(3).map(said).collect::<Vec<_>>().join(", ");
    let more = if damage.len() > 3 { ", …" } else { "" };
    writeln!(out, "  mended: {mended}{more}")
}

/// What was brought to a device, in one line.
fn brought(delivered: &Delivered) -> String {
    let Delivered { files, files_taken, files_brought, files_patched, bytes_brought, bytes_sent, .. } =
        delivered;
    if *files_brought + *files_taken == 0 {
        return format!("unchanged, {}", plural(*files as u64, "file", "files"));
    }
    format!(
        "{} brought ({}{}), {files_taken} were there; {} sent",
        plural(*files_brought as u64, "file", "files"),
        size(*bytes_brought),
        in_part(*files_patched),
        size(*bytes_sent)
    )
}

/// What had to be done, in one line.
pub(super) fn summary(moved: &Moved) -> String {
    if moved.files_written + moved.files_reused == 0 && moved.files_kept == moved.files {
        return format!("unchanged, {}", plural(moved.files as u64, "file", "files"));
    }
    format!(
        "{} written ({}), {} of other versions; {} fetched",
        plural(moved.files_written as u64, "file", "files"),
        size(moved.bytes_written),
        moved.files_reused,
        size(moved.traffic.bytes)
    )
}

/// What is wrong with something installed.
pub(super) fn said(damage: &Damage) -> String {
    match damage {
        Damage::Missing(path) => format!("`{path}` is missing"),
        Damage::Changed(path) => format!("`{path}` was changed"),
        Damage::Extra(path) => format!("`{path}` should not be there"),
    }
}
