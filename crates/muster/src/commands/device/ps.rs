//! `muster device ps`: lists the processes of a device.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use crate::terminal::table::{Column, Table};
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device ps`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    on: OnArgs,
    /// Only processes with this in their name
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Lists.
pub(super) fn run(args: &PsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let list = call.device.processes().and_then(|p| p.list(&call.until));
    let mut list = list.map_err(|e| call.told(e, context))?;
    if let Some(name) = &args.name {
        list.retain(|p| p.name.contains(name));
    }
    call.print(&list, context, |out| {
        let mut table = Table::new(&[
            ("pid", Column::Right),
            ("uid", Column::Right),
            ("name", Column::Left),
            ("command", Column::Cut),
        ]);
        for p in &list {
            let uid = p.uid.map(|uid| uid.to_string()).unwrap_or_default();
            let command = p.command.clone().unwrap_or_default();
            table.row(vec![p.pid.to_string().into(), uid.into(), p.name.as_str().into(), command.into()]);
        }
        table.lines(context.stdout_width()).iter().try_for_each(|line| writeln!(out, "{line}"))
    })?;
    Ok(ExitCode::Passed)
}
