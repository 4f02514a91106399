//! `muster device ls`: lists a directory of a device.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use crate::terminal::text::visible;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::{Entry, Kind};

/// Arguments of `muster device ls`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The directory [default: the device's directory for tests]
    #[arg(value_name = "DIR")]
    path: Option<String>,
    /// Sizes and permissions too, where the device tells
    #[arg(short, long)]
    long: bool,
}

/// Lists.
pub(super) fn run(args: &LsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let list = call.device.files().and_then(|files| {
        let dir = match &args.path {
            Some(dir) => dir.clone(),
            None => files.test_root(&call.until)?,
        };
        files.list(&dir, &call.until)
    });
    let list = list.map_err(|e| call.told(e, context))?;
    call.print(&list, context, |out| {
        list.iter().try_for_each(|entry| writeln!(out, "{}", line(entry, args.long)))
    })?;
    Ok(ExitCode::Passed)
}

fn line(entry: &Entry, long: bool) -> String {
    let name = visible(&entry.name);
    let sign = if entry.stat.kind == Kind::Dir { "/" } else { "" };
    if !long {
        return format!("{name}{sign}");
    }
    let mode = entry.stat.mode.map_or_else(|| "-".to_owned(), |m| format!("{m:04o}"));
    let size = entry.stat.size.map_or_else(|| "-".to_owned(), |s| s.to_string());
    format!("{mode:>5} {size:>12} {name}{sign}")
}
