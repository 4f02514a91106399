//! `muster device list`: the devices of a lab, and what they do.

use crate::context::{Context, OutputMode};
use crate::remote::lab_view;
use crate::terminal::style::{self, DIM, INFO, WARN};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::add;
use anstyle::Style;
use clap::Args;
use muster_core::change::Registration;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::{DeviceState, DeviceView, HealthView};
use std::io::Write as _;

/// Arguments of `muster device list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Only devices in this state
    #[arg(long, value_name = "STATE", value_parser = ["idle", "busy", "suspect", "away"])]
    state: Option<String>,
    /// Only devices that get no work for their health
    #[arg(long)]
    unfit: bool,
    /// What was added or has announced itself, in place of what agents have
    #[arg(long, conflicts_with_all = ["state", "unfit"])]
    proposed: bool,
}

/// Lists them.
pub(super) fn run(args: &ListArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let view = lab_view("device list", context)?;
    if args.proposed {
        return proposed(&view.registered, context);
    }
    let mut devices = view.devices;
    devices.retain(|d| args.state.as_ref().is_none_or(|s| s == d.state.word()));
    devices.retain(|d| !args.unfit || d.health.unfit.is_some());
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, &devices)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {
            for device in &devices {
                writeln!(out, "{}", device.name)?;
            }
        }
        OutputMode::Human => {
            for line in table(&devices).lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

/// What was added or has announced itself.
fn proposed(registered: &[Registration], context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, registered)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {
            for device in registered {
                writeln!(out, "{}", device.name)?;
            }
        }
        OutputMode::Human => {
            let mut table = Table::new(&[
                ("device", Column::Left),
                ("host", Column::Left),
                ("address", Column::Left),
                ("used", Column::Left),
                ("from", Column::Shrink),
                ("labels", Column::Cut),
            ]);
            for Registration { host, name, address, labels, by, since: _, adopted } in registered {
                let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                table.row(vec![
                    name.as_str().into(),
                    Cell::new(host.as_str(), DIM),
                    address.as_str().into(),
                    if adopted.is_some() { "yes".into() } else { Cell::new("proposed", WARN) },
                    by.as_str().into(),
                    labels.join(" ").into(),
                ]);
            }
            for line in table.lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn table(devices: &[DeviceView]) -> Table {
    let mut table = Table::new(&[
        ("device", Column::Left),
        ("host", Column::Left),
        ("pool", Column::Left),
        ("state", Column::Left),
        ("health", Column::Left),
        ("held by", Column::Shrink),
        ("runs", Column::Shrink),
        ("failed only here", Column::Shrink),
        ("labels", Column::Cut),
    ]);
    for device in devices {
        let DeviceView {
            name,
            host,
            labels,
            state,
            running,
            queued,
            hold,
            health,
            trouble,
            pool,
            blamed,
            blamed_for,
            id: _,
        } = device;
        let mut runs = running.clone().unwrap_or_default();
        if *queued > 0 {
            add!(runs, " and {queued} more");
        }
        let failed = match blamed {
            0 => String::new(),
            1 => blamed_for.clone(),
            n => format!("{blamed_for}, {n} times"),
        };
        let labels: Vec<String> =
            labels.iter().filter(|(k, _)| *k != "host").map(|(k, v)| format!("{k}={v}")).collect();
        table.row(vec![
            name.as_str().into(),
            Cell::new(host.as_str(), DIM),
            Cell::new(pool.as_str(), DIM),
            Cell::new(state.word(), style_of(*state)),
            health_cell(health, trouble),
            Cell::new(hold.as_ref().map(|h| format!("{}: {}", h.by, h.reason)).unwrap_or_default(), WARN),
            runs.into(),
            Cell::new(failed, WARN),
            labels.join(" ").into(),
        ]);
    }
    table
}

/// What it is worth, if anything is known, and why it gets no work.
fn health_cell(health: &HealthView, trouble: &[String]) -> Cell {
    if let Some(trouble) = trouble.first() {
        return Cell::new(format!("self-check: {trouble}"), style::of(Verdict::Error));
    }
    match (health.word.as_str(), &health.unfit) {
        (word, Some(_)) => Cell::new(word, style::of(Verdict::Fail)),
        ("unknown", None) => "".into(),
        ("good", None) => Cell::new("good", style::of(Verdict::Pass)),
        (word, None) => Cell::new(word, style::of(Verdict::Warn)),
    }
}

fn style_of(state: DeviceState) -> Style {
    match state {
        DeviceState::Idle => style::of(Verdict::Pass),
        DeviceState::Busy => INFO,
        DeviceState::Suspect => style::of(Verdict::Warn),
        DeviceState::Away => style::of(Verdict::Cancelled),
    }
}
