//! `megatest -diff-rep`: two runs compared, as `muster diff` compares them.

use super::again::find;
use super::args::Args;
use crate::commands::diff::{Format, HowArgs, tell};
use crate::context::Context;
use crate::error::Complaint;
use crate::records::Records;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_formats::compare::address;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let before = side(args, "src-target", "src-runname", context)?;
    let target = if args.has("reqtarg") { "reqtarg" } else { "target" };
    let after = side(args, target, "runname", context)?;
    let addresses = args.get("diff-email").map(|list| list.split(',').map(|to| address(to.trim())).collect());
    let to: Vec<String> = addresses
        .unwrap_or_else(|| Ok(Vec::new()))
        .map_err(|e: muster_formats::compare::BadAddress| Complaint::usage(e.to_string()))?;
    let html = args.get("diff-html");
    if !to.is_empty() && html.is_some() {
        return Err(Complaint::usage("`-diff-email` and `-diff-html` are two reports: ask for one").into());
    }
    let format = match html {
        Some(_) => Format::Html,
        // Megatest calls sendmail itself; here that is one word more.
        None if !to.is_empty() => Format::Mail,
        None => Format::Text,
    };
    let how = HowArgs { format: Some(format), out: html.map(Into::into), to, ..HowArgs::default() };
    tell(Records::open(context)?, &before, &after, &how, context)
}

fn side(args: &Args, target: &str, name: &str, context: &Context) -> Result<RunView, anyhow::Error> {
    let (Some(target_is), Some(name_is)) = (args.get(target), args.get(name)) else {
        return Err(Complaint::usage(format!("a comparison needs `-{target}` and `-{name}`"))
            .hint("-diff-rep -src-target a/b -src-runname w1 -target a/b -runname w2")
            .into());
    };
    find(name_is, target_is, context)?.ok_or_else(|| {
        Complaint::usage(format!("there is no run `{name_is}` for `{target_is}`"))
            .hint("`megatest -list-runs %` lists them")
            .into()
    })
}
