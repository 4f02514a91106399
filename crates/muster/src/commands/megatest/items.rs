//! `megatest -expand-items`: the items of a test that are known only once its prerequisites have ended, a
//! line of JSON each.

use crate::context::Context;
use crate::error::Complaint;
use crate::local::megatest::Machine;
use muster_core::outcome::ExitCode;
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket, Values};
use muster_formats::megatest::{Expanded, World as _, expand_items};
use std::collections::BTreeMap;
use std::io::Write as _;

pub(super) fn expand(context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut env: BTreeMap<String, String> = std::env::vars().collect();
    let text = env
        .get(TICKET_VARIABLE)
        .ok_or_else(|| Complaint::usage(format!("there is no {TICKET_VARIABLE} in the environment")))?;
    let ticket = Ticket::parse(text)?;
    let sections = ticket.items.unwrap_or_default();
    if !env.contains_key("MT_RUNNAME") {
        let run = format!("run-{}", env.get("MUSTER_RUN").map_or("", String::as_str));
        env.insert("MT_RUNPATH".to_owned(), format!("{}/{}/{run}", ticket.link_tree, ticket.target));
        env.insert("MT_RUNNAME".to_owned(), run);
    }
    let area = env.get("MUSTER_AREA_DIR").cloned().unwrap_or_default();
    let expanded = expand_items(&sections, &mut |name, values| -> Result<String, anyhow::Error> {
        let value = match values {
            Values::Text(text) => text.clone(),
            Values::Command(line) => {
                let printed = Machine.shell(line, &area, &env)?;
                if printed.status != 0 {
                    let said =
                        format!("the items of `{name}`: `{line}` ended with exit code {}", printed.status);
                    return Err(Complaint::lab(said).into());
                }
                printed.text
            }
        };
        // Commands see the variables of the lines before.
        env.insert(name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "));
        Ok(value)
    })?;
    let mut out = context.stdout();
    match expanded {
        Expanded::Items { items, left_out } => {
            for line in left_out {
                writeln!(context.stderr(), "{line}")?;
            }
            for item in items {
                let vars: serde_json::Map<String, serde_json::Value> =
                    item.vars.into_iter().map(|(k, v)| (k, v.into())).collect();
                writeln!(out, "{}", serde_json::json!({ "item": item.path, "env": vars }))?;
            }
            Ok(ExitCode::Passed)
        }
        Expanded::TooMany => Err(Complaint::usage("these are more than a million items").into()),
    }
}
