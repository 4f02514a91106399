//! `muster device info`: what is known of a device.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use crate::terminal::style::{DIM, paint};
use crate::terminal::text::{pad, visible};
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device info`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    on: OnArgs,
    /// Only this, as `os` or `uptime`, or `test-root` for the directory that tests may write to
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Asks.
pub(super) fn run(args: &InfoArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    if let Some(name) = &args.name {
        let value = if name == "test-root" {
            call.device.files().and_then(|files| files.test_root(&call.until))
        } else {
            call.device.info().and_then(|info| info.one(name, &call.until))
        };
        let value = value.map_err(|e| call.told(e, context))?;
        call.print(&value, context, |out| {
            value.lines().try_for_each(|line| writeln!(out, "{}", visible(line.trim_end())))
        })?;
        return Ok(ExitCode::Passed);
    }
    let all = call.device.info().and_then(|info| info.all(&call.until));
    let all = all.map_err(|e| call.told(e, context))?;
    let map: serde_json::Map<String, serde_json::Value> =
        all.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let wide = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    call.print(&map, context, |out| {
        for (name, value) in &all {
            for (n, line) in value.lines().enumerate() {
                let name = if n == 0 { name.as_str() } else { "" };
                writeln!(out, "{}  {}", paint(DIM, pad(name, wide)), visible(line.trim()))?;
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}
