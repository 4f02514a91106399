//! `muster export`: records for other programs, as tables, as pages, as drawings.

mod gantt;
pub(crate) mod html;
pub(crate) mod refdb;
pub(crate) mod tables;

use crate::context::Context;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use muster_formats::export::Table;

/// Arguments of `muster export`.
#[derive(Args, Clone, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct ExportArgs {
    #[command(subcommand)]
    pub(crate) command: ExportCommand,
}

/// What is exported.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ExportCommand {
    /// Runs as a table, a row each
    Runs(tables::TableArgs),
    /// What the items of runs came to, a row each
    Results(tables::TableArgs),
    /// The steps of all attempts, a row each
    Steps(tables::TableArgs),
    /// Measured values (test data) of all attempts, a row each
    Data(tables::TableArgs),
    /// All four tables: sheets of one spreadsheet, or one after the other
    All(tables::TableArgs),
    /// Runs as a tree of plain pages with logs: index, run, test, item
    Html(html::HtmlArgs),
    /// When what of a run was at work, as a drawing
    Gantt(gantt::GanttArgs),
    /// A refdb, which is a spreadsheet as text files, in another format
    Refdb(refdb::RefdbArgs),
}

/// Exports.
pub(crate) fn run(args: &ExportArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match &args.command {
        ExportCommand::Runs(args) => tables::run(&[Table::Runs], args, context),
        ExportCommand::Results(args) => tables::run(&[Table::Results], args, context),
        ExportCommand::Steps(args) => tables::run(&[Table::Steps], args, context),
        ExportCommand::Data(args) => tables::run(&[Table::Data], args, context),
        ExportCommand::All(args) => tables::run(&Table::ALL, args, context),
        ExportCommand::Html(args) => html::run(args, context),
        ExportCommand::Gantt(args) => gantt::run(args, context),
        ExportCommand::Refdb(args) => refdb::run(args, context),
    }
}
