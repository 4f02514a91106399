//! `muster config`: whether the configuration can be used, what it amounts to, what may be written in it.

use super::typed::TargetArgs;
use crate::context::{Context, OutputMode};
use crate::local::area::{Purpose, load};
use crate::terminal::style::{DIM, HEAD, INFO, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use serde::Serialize;
use std::io::Write as _;

/// Arguments of `muster config`.
#[derive(Args, Clone, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ConfigCommand {
    /// Say all that is wrong with it
    Check {
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print every value that holds
    Show {
        #[command(flatten)]
        target: TargetArgs,
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
        /// Only values whose path begins with this, e.g. `limits` or `test.boot`
        #[arg(value_name = "PATH")]
        path: Option<String>,
    },
    /// Print the JSON schema of `muster.toml`
    Schema,
}

#[derive(Serialize)]
struct JsonValue<'a> {
    path: &'a str,
    value: &'a str,
    origin: &'a str,
}

/// Checks, shows or describes the configuration.
pub(crate) fn run(args: &ConfigArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    match &args.command {
        ConfigCommand::Check { target } => {
            let area = load(context, None, target.target.as_deref(), &[], Purpose::Look)?;
            let def = &area.loaded.area;
            if context.output == OutputMode::Human {
                let tests = text::plural(def.tests.len() as u64, "test", "tests");
                let warnings = match area.loaded.warnings.len() {
                    0 => String::new(),
                    n => format!(", {}", text::plural(n as u64, "warning", "warnings")),
                };
                writeln!(out, "{}: {tests}{warnings}", paint(HEAD, text::visible(&def.name)))?;
            }
        }
        ConfigCommand::Show { target, origin, path } => {
            let area = load(context, None, target.target.as_deref(), &[], Purpose::Look)?;
            let mut shown = area.loaded.show();
            if let Some(path) = path {
                shown.retain(|s| is_below(&s.path, path));
            }
            match context.output {
                OutputMode::Json => {
                    let all: Vec<JsonValue<'_>> = shown
                        .iter()
                        .map(|s| JsonValue { path: &s.path, value: &s.value, origin: &s.origin })
                        .collect();
                    serde_json::to_writer(&mut out, &all)?;
                    writeln!(out)?;
                }
                OutputMode::Human | OutputMode::Quiet if *origin => {
                    let mut table = Table::new(&[("", Column::Shrink), ("", Column::Left)]);
                    for s in &shown {
                        let from = if s.origin == "default" { DIM } else { INFO };
                        table.row(vec![
                            format!("{} = {}", s.path, s.value).into(),
                            Cell::new(s.origin.as_str(), from),
                        ]);
                    }
                    for line in table.lines(context.stdout_width()) {
                        writeln!(out, "{line}")?;
                    }
                }
                OutputMode::Human | OutputMode::Quiet => {
                    for s in &shown {
                        writeln!(out, "{} = {}", text::visible(&s.path), text::visible(&s.value))?;
                    }
                }
            }
        }
        ConfigCommand::Schema => writeln!(out, "{}", muster_formats::area::json_schema().trim_end())?,
    }
    Ok(ExitCode::Passed)
}

/// `test.boot` is above `test.boot.timeout` and not above `test.bootstrap`.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above.trim_end_matches('.'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
