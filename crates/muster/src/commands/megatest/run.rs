//! `megatest -run`: `muster run`, as Megatest is asked for it.

use super::again;
use super::args::Args;
use super::code::{self, Code};
use crate::commands;
use crate::commands::run::{InputArgs, LabArgs, RunArgs};
use crate::commands::typed::{ExecArgs, SelectArgs, TargetArgs};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::megatest;
use muster_core::outcome::ExitCode;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let dir = context.area_dir()?;
    let target = args.get("reqtarg").or(args.get("target")).map(str::to_owned);
    let target = target.or_else(|| std::env::var("MT_TARGET").ok().filter(|t| !t.is_empty()));
    if let Some(required) = args.get("reqtarg")
        && !megatest::targets(&dir).iter().any(|t| t == required)
    {
        return Err(Complaint::usage(format!("runconfigs.config has no section `[{required}]`"))
            .because(Code::NO_TARGET)
            .hint("`-reqtarg` asks for one of its sections; `-target` takes any values")
            .into());
    }
    let Some(name) = args.get("runname").map(str::to_owned) else {
        return Err(Complaint::usage("a run needs a name")
            .because(Code::NO_RUN_NAME)
            .hint("`-runname w49.2a`")
            .into());
    };
    let itempatt = args.get("itempatt").map(|i| format!("/{i}")).unwrap_or_default();
    let testpatt = args.get("runtests").or(args.get("testpatt")).map(|t| format!("{t}{itempatt}"));
    let testpatt = testpatt.filter(|_| !args.has("force-modepatt"));
    // What is said by a flag holds over what the area says.
    let is_wrong = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '#' | ',');
    if let Some(wrong) = args.get("contour").filter(|c| matches!(*c, "." | "..") || c.contains(is_wrong)) {
        return Err(Complaint::usage(format!("`{wrong}` cannot be the name of a contour"))
            .hint("it is the name of a directory in the tree of links, without blanks and `/`, `#`, `,`")
            .into());
    }
    let contour = args.get("contour").map(|c| format!("env.MT_CONTOUR = {}", toml::Value::from(c)));
    let settings = set_vars(args)?.into_iter().chain(contour).collect();
    let exec = ExecArgs { settings, ..ExecArgs::default() };
    let select = SelectArgs {
        testpatt,
        tagexpr: args.get("tagexpr").map(str::to_owned),
        modepatt: args.get("modepatt").map(str::to_owned),
        ..SelectArgs::default()
    };
    // The same name and target is the same run: what of it is open goes on, and what it has not is added.
    if let Some(known) = again::find(&name, target.as_deref().unwrap_or_default(), context)? {
        return honest(again::go_on(&known, args, &select, &exec, context)?);
    }
    let code = commands::run::run(
        RunArgs {
            select,
            target: TargetArgs { target },
            name: Some(name),
            exec,
            inputs: InputArgs::default(),
            lab: LabArgs::default(),
        },
        context,
    )?;
    honest(code)
}

/// `-setvars A=1,B=2`: variables of the run, over those of the files.
fn set_vars(args: &Args) -> Result<Vec<String>, anyhow::Error> {
    let all = args.get("setvars").unwrap_or_default();
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let one = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if is_name(name.trim()) => {
            Ok(format!("env.{} = {}", name.trim(), toml::Value::String(value.to_owned())))
        }
        _ => Err(Complaint::usage(format!("`{pair}` sets no variable")).hint("`-setvars A=1,B=2`").into()),
    };
    all.split(',').filter(|pair| !pair.trim().is_empty()).map(one).collect()
}

/// The exit code, or Megatest's own, which says nothing of the tests.
pub(super) fn honest(code: ExitCode) -> Result<ExitCode, anyhow::Error> {
    let of_tests =
        matches!(code, ExitCode::Failed | ExitCode::Outstanding | ExitCode::NothingRan | ExitCode::Lab);
    Ok(if code::are_asked_for() && of_tests { ExitCode::Passed } else { code })
}
