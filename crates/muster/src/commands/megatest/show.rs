//! `megatest -show-config` and `-show-runconfig`: what holds for a target. And the help.

use super::args::Args;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::{Purpose, load};
use muster_core::outcome::ExitCode;
use muster_formats::area::Shown;
use muster_formats::megatest::ShownSection;
use serde_json::{Map, Value};
use std::io::Write as _;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let target = args.get("reqtarg").or(args.get("target"));
    let area = load(context, None, target, &[], Purpose::Look)?;
    let megatest = area
        .megatest
        .ok_or_else(|| Complaint::usage("this is no Megatest area").hint("`muster config show` shows it"))?;
    let all = if args.has("show-runconfig") { megatest.runconfigs } else { megatest.main };
    let mut out = context.stdout();
    let section = args.get("section");
    let var = args.get("var");
    if let (Some(section), Some(var)) = (section, var) {
        let found = all.iter().find(|s| s.name == section);
        let found = found.and_then(|s| s.values.iter().find(|v| v.path == var));
        let found =
            found.ok_or_else(|| Complaint::usage(format!("`[{section}]` has no `{var}` for this target")))?;
        writeln!(out, "{}", found.value)?;
        return Ok(ExitCode::Passed);
    }
    let wanted = all.iter().filter(|s| section.is_none_or(|name| name == s.name));
    match args.get("dumpmode") {
        Some("json") => {
            let values = |list: &[Shown]| -> Map<String, Value> {
                list.iter().map(|v| (v.path.clone(), v.value.clone().into())).collect()
            };
            let map: Map<String, Value> =
                wanted.map(|s| (s.name.clone(), values(&s.values).into())).collect();
            writeln!(out, "{}", Value::Object(map))?;
        }
        None | Some("ini") => {
            // As at debug level 9, each line says where it comes from.
            let with_origin = args.get("debug").is_some_and(|level| level.split(',').any(|l| l == "9"));
            for ShownSection { name, values } in wanted {
                writeln!(out, "[{name}]")?;
                for Shown { path: key, value, origin } in values {
                    let value = value.replace('\n', "\n    ");
                    match with_origin {
                        true => writeln!(out, "{key} {value}  # {origin}")?,
                        false => writeln!(out, "{key} {value}")?,
                    }
                }
                writeln!(out)?;
            }
        }
        Some("sexp" | "sexpr") => {
            let text = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let all = wanted.map(|ShownSection { name, values }| {
                let values = values.iter().map(|v| format!(" ({} {})", text(&v.path), text(&v.value)));
                format!("({}{})", text(name), values.collect::<String>())
            });
            writeln!(out, "({})", all.collect::<Vec<_>>().join("\n "))?;
        }
        Some(mode) => {
            return Err(Complaint::usage(format!("`-dumpmode {mode}` is not done by Muster yet"))
                .hint("`json`, `ini` or `sexp`")
                .into());
        }
    }
    Ok(ExitCode::Passed)
}

pub(super) fn help(context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    writeln!(
        out,
        "\
megatest, as carried out by Muster {}

Runs
  -run -target a/b/c -runname NAME [-testpatt PATT] [-tagexpr TAGS] [-modepatt VAR]
  -rerun FAIL,CHECK | -rerun-clean | -rerun-all [-preclean]   with -run, for a run that is there
  -reqtarg a/b/c        as -target, but runconfigs must have such a section
  -list-runs PATT       [-target PATT] [-testpatt PATT] [-dumpmode json|csv|sexpr|ods]
                        [-fields runs:a,b+tests:c,d] [-sort FIELD] [-o FILE]
  -run-wait             [-target PATT] [-runname PATT]; until nothing of these is under way
  -test-paths, -test-files GLOB   [-target PATT] [-runname PATT] [-testpatt PATT]; the newest last
  -list-run-time, -list-test-time   [-target-patt PATT] [-run-patt PATT] [-dumpmode plain-text|csv|json]
  -testdata-csv [CATEGORY/]VARIABLE, -extract-ods FILE   [-target PATT] [-runname PATT] [-testpatt PATT]
  -diff-rep -src-target a/b -src-runname w1 -target a/b -runname w2 [-diff-html FILE | -diff-email ADDRESS]
  -generate-html, -generate-html-structure   [-o DIR]
  -refdb2dat DIR        [-dumpmode sexpr|csv|json|ods] [-o FILE]

The area
  -create-megatest-area, -create-test NAME
  -list-targets, -list-tests, -list-disks, -show-keys
  -show-config, -show-runconfig  -target a/b/c [-section S] [-var V] [-dumpmode json|ini|sexp] [-debug 9]

In the scripts of a test
  -step NAME :state start|end :status X [-setlog FILE] [-m TEXT]
  -runstep NAME [-logpro FILE] COMMAND…
  -test-status :state S :status T [-m TEXT] [-setlog FILE]
  -load-test-data < FILE, -set-values :category C :variable V :value X :expected Y :tol Z :units U
  -setlog FILE, -set-toplog FILE, -summarize-items, -show-cmdinfo

`muster --help` lists all that Muster does with an area and its runs; docs/reference/megatest.md has every switch.",
        env!("CARGO_PKG_VERSION")
    )?;
    Ok(ExitCode::Passed)
}
