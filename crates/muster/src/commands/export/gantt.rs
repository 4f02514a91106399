//! `muster export gantt`: when what of a run was at work, as a drawing.

use crate::commands::typed::run_ref;
use crate::context::Context;
use crate::error::Complaint;
use crate::records::Records;
use crate::whole_file;
use clap::{Args, ValueEnum};
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use muster_formats::report::html::{Lanes, gantt};
use muster_store::ItemFilter;
use std::path::PathBuf;

/// Arguments of `muster export gantt`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: muster export gantt -1 --by device -o run.svg")]
pub(crate) struct GanttArgs {
    /// The run
    #[arg(value_name = "RUN", default_value = "latest", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) run: RunRef,
    /// What has a lane of its own
    #[arg(long, value_name = "WHAT", value_enum, default_value = "test")]
    pub(crate) by: By,
    /// As a drawing alone, or in a page
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "svg")]
    pub(crate) format: Format,
    /// Write it to this file, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What has a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Each test
    Test,
    /// Each device
    Device,
}

/// What the drawing is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// SVG
    Svg,
    /// A page that holds it
    Html,
}

/// Draws it.
pub(crate) fn run(args: &GanttArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open(context)?;
    let run = records.load(&records.find_run(&args.run)?, ItemFilter::All)?;
    let lanes = match args.by {
        By::Test => Lanes::Tests,
        By::Device => Lanes::Devices,
    };
    let drawing = gantt(&run, lanes).ok_or_else(|| {
        Complaint::new(ExitCode::NothingRan, format!("nothing of {} was ever started", run.address()))
    })?;
    let text = match args.format {
        Format::Svg => format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{drawing}\n"),
        Format::Html => format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>When what ran</title></head><body>{drawing}</body></html>\n"
        ),
    };
    whole_file::write_or_print(args.out.as_deref(), text.as_bytes(), context)?;
    Ok(ExitCode::Passed)
}
