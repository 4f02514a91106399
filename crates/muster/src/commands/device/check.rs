//! `muster device check`: a device of a lab is checked now.

use super::hold::{WhichArgs, find};
use crate::context::Context;
use crate::remote::{client, complain, need_server, whoever};
use clap::Args;
use muster_api::By;
use muster_core::health::{Found, Task};
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster device check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The verifiers of the device's kind are run on it as soon as it is free, and where they fail the kind's repairs
are tried. Kinds are written in `kinds.toml` in the server's directory.

Exit codes with --wait: 0 it is good, 1 it is not, 3 the check came to no answer.")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Wait until it was checked, and repaired if need be
    #[arg(long)]
    wait: bool,
}

/// Between two looks at the device.
const PAUSE: Duration = Duration::from_millis(200);

/// Has it checked.
pub(super) fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let device = find("device check", &args.which, context)?;
    let client = client(need_server("device check", context)?, context)?;
    client.check_device(device.id, &By { by: whoever() }).map_err(complain)?;
    let mut out = context.stdout();
    if !args.wait {
        writeln!(out, "{} on {} is to be checked", device.name, device.host)?;
        return Ok(ExitCode::Passed);
    }
    let detail = loop {
        let detail = client.device(device.id).map_err(complain)?;
        if detail.health.task == Task::Rest {
            break detail;
        }
        std::thread::sleep(PAUSE);
    };
    let checked = detail.health.checked;
    let address = checked.as_ref().map_or("", |c| c.address.as_str());
    let word = &detail.device.health.word;
    writeln!(out, "{} on {} is {word} ({address})", device.name, device.host)?;
    if let Some(evidence) = detail.health.health.evidence() {
        writeln!(out, "{}", evidence.what)?;
    }
    Ok(match checked.map(|c| c.found) {
        Some(Found::Good) => ExitCode::Passed,
        Some(Found::Bad) => ExitCode::Failed,
        Some(Found::Unsure) | None => ExitCode::Lab,
    })
}
