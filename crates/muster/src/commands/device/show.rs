//! `muster device show`, `explain` and `history`: one device of a lab.

use super::hold::{WhichArgs, find};
use crate::context::{Context, OutputMode};
use crate::remote::{client, complain, need_server};
use crate::terminal::style::{DIM, HEAD, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::moment;
use clap::Args;
use muster_core::health::{Ends, Found, Health, Task};
use muster_core::outcome::ExitCode;
use muster_core::view::DeviceDetail;
use serde::Serialize;
use std::io::Write as _;

/// Which device.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    which: WhichArgs,
}

fn detail(command: &str, args: &ShowArgs, context: &Context) -> Result<DeviceDetail, anyhow::Error> {
    let device = find(command, &args.which, context)?;
    client(need_server(command, context)?, context)?.device(device.id).map_err(complain)
}

fn json(what: &impl Serialize, context: &Context) -> Result<(), anyhow::Error> {
    let mut out = context.stdout();
    serde_json::to_writer(&mut out, what)?;
    Ok(writeln!(out)?)
}

/// All that is known of it.
pub(super) fn run(args: &ShowArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let detail = detail("device show", args, context)?;
    if context.output == OutputMode::Json {
        json(&detail, context)?;
        return Ok(ExitCode::Passed);
    }
    let mut table = Table::new(&[("", Column::Right), ("", Column::Cut)]);
    for (what, is) in facts(&detail) {
        table.row(vec![Cell::new(what, DIM), is.into()]);
    }
    let mut out = context.stdout();
    writeln!(out, "{} on {}", paint(HEAD, &detail.device.name), detail.device.host)?;
    for line in table.lines(usize::MAX) {
        writeln!(out, "{}", line.trim_end())?;
    }
    if !detail.health.history.is_empty() {
        writeln!(out)?;
        write_history(&detail, context)?;
    }
    Ok(ExitCode::Passed)
}

fn facts(detail: &DeviceDetail) -> Vec<(&'static str, String)> {
    let DeviceDetail { device, health, next_check, why } = detail;
    let mut facts = vec![("state", device.state.word().to_owned())];
    facts.extend(device.running.clone().map(|r| ("runs", r)));
    facts.push(("health", device.health.word.clone()));
    facts.extend(health.health.evidence().map(|e| ("because", shown(&e.what, &e.address))));
    if let Health::Quarantined(quarantine) = &health.health {
        facts.push(("by", format!("{} since {}", quarantine.by, moment(quarantine.since))));
        let check = match quarantine.ends {
            Ends::Check => "when it passes a check",
            Ends::Person => "when a person releases it",
        };
        let time = quarantine.until.map(|until| format!(", at the latest {}", moment(until)));
        facts.push(("ends", format!("{check}{}", time.unwrap_or_default())));
    }
    facts.extend(device.health.kind.clone().map(|k| ("kind", k)));
    if let Some(checked) = &health.checked {
        let found = match checked.found {
            Found::Good => "good",
            Found::Bad => "bad",
            Found::Unsure => "no answer",
        };
        facts.push(("checked", shown(&format!("{} {found}", moment(checked.at)), &checked.address)));
    }
    match &health.task {
        Task::Rest => facts.extend(next_check.map(|at| ("next", moment(at)))),
        Task::Due(errand) => facts.push(("next", format!("now: {}", errand.why))),
        Task::UnderWay { errand, address, .. } => facts.push(("check", shown(&errand.why, address))),
    }
    for tried in &health.repairs {
        let times =
            if tried.times == 0 { String::new() } else { format!(", {} since it was good", tried.times) };
        facts.push(("repair", format!("{} at {}{times}", tried.repair, moment(tried.at))));
    }
    facts.extend(device.hold.as_ref().map(|h| ("held by", format!("{}: {}", h.by, h.reason))));
    facts.extend(why.iter().map(|w| ("no work", w.clone())));
    facts.extend(device.labels.iter().map(|(k, v)| ("label", format!("{k}={v}"))));
    facts
}

/// What was seen, and where.
fn shown(what: &str, address: &str) -> String {
    if address.is_empty() { what.to_owned() } else { format!("{what} ({address})") }
}

/// Why it gets no work.
pub(super) fn explain(args: &ShowArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let detail = detail("device explain", args, context)?;
    if context.output == OutputMode::Json {
        json(&detail.why, context)?;
        return Ok(ExitCode::Passed);
    }
    let (name, program) = (&detail.device.name, context.program());
    let mut out = context.stdout();
    if detail.why.is_empty() {
        writeln!(out, "{name} gets work; it is {}", detail.device.state.word())?;
    } else {
        writeln!(out, "{name} gets no work")?;
    }
    for why in &detail.why {
        writeln!(out, "  {why}")?;
    }
    let evidence = detail.health.health.evidence().map(|e| e.address.as_str()).filter(|a| !a.is_empty());
    if let Some(address) = evidence {
        writeln!(
            out,
            "\n   look {program} results {}",
            address.split('/').take(2).collect::<Vec<_>>().join("/")
        )?;
    }
    if detail.device.hold.is_some() || matches!(detail.health.health, Health::Quarantined(_)) {
        writeln!(out, "release {program} device release {name}")?;
    }
    Ok(ExitCode::Passed)
}

/// What has happened to it.
pub(super) fn history(args: &ShowArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let detail = detail("device history", args, context)?;
    if context.output == OutputMode::Json {
        json(&detail.health.history, context)?;
    } else if detail.health.history.is_empty() {
        writeln!(context.stdout(), "nothing has happened to {}", detail.device.name)?;
    } else {
        write_history(&detail, context)?;
    }
    Ok(ExitCode::Passed)
}

fn write_history(detail: &DeviceDetail, context: &Context) -> Result<(), anyhow::Error> {
    let columns = [("", Column::Left), ("", Column::Left), ("", Column::Left), ("", Column::Left)];
    let mut table = Table::new(&columns);
    for entry in &detail.health.history {
        table.row(vec![
            Cell::new(moment(entry.at), DIM),
            entry.health.as_str().into(),
            entry.what.as_str().into(),
            Cell::new(entry.address.as_str(), DIM),
        ]);
    }
    let mut out = context.stdout();
    for line in table.lines(usize::MAX) {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
