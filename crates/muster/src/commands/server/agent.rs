//! `muster server agent`: the agents that have joined a lab.

use super::DataArgs;
use super::office::Office;
use crate::context::{Context, OutputMode};
use crate::terminal::style::DIM;
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::moment;
use clap::{Args, Subcommand};
use muster_api::access::AgentInfo;
use muster_core::id::AgentId;
use muster_core::outcome::ExitCode;
use std::io::Write as _;

/// Arguments of `muster server agent`.
#[derive(Args, Clone, Debug)]
pub(super) struct AgentArgs {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AgentCommand {
    /// List the agents that have joined
    List(ListArgs),
    /// Take the identity of an agent away: it may not speak any more
    Revoke(RevokeArgs),
}

#[derive(Args, Clone, Debug)]
struct ListArgs {
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args, Clone, Debug)]
struct RevokeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Its number, as `list` shows it
    #[arg(value_name = "AGENT")]
    agent: u64,
}

pub(super) fn run(args: AgentArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        AgentCommand::List(ListArgs { data }) => list(&Office::open(&data, context)?.agents()?, context)?,
        AgentCommand::Revoke(RevokeArgs { data, agent }) => {
            Office::open(&data, context)?.revoke_agent(AgentId(agent))?;
            writeln!(
                context.stderr(),
                "agent {agent} may not speak any more; what it has is given to others when its lease ends"
            )?;
        }
    }
    Ok(ExitCode::Passed)
}

fn list(agents: &[AgentInfo], context: &Context) -> Result<(), anyhow::Error> {
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, agents)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {
            for agent in agents {
                writeln!(out, "{}", agent.agent)?;
            }
        }
        OutputMode::Human if agents.is_empty() => writeln!(out, "no agent has joined")?,
        OutputMode::Human => {
            let mut table = Table::new(&[
                ("agent", Column::Left),
                ("host", Column::Shrink),
                ("joined", Column::Left),
                ("with", Column::Left),
                ("identity", Column::Left),
            ]);
            for AgentInfo { agent, host, joined, by, expires, revoked } in agents {
                let identity = match revoked {
                    Some(at) => format!("revoked {}", moment(*at)),
                    None => format!("until {}", moment(*expires)),
                };
                table.row(vec![
                    agent.to_string().into(),
                    host.as_str().into(),
                    Cell::new(moment(*joined), DIM),
                    Cell::new(by.as_str(), DIM),
                    identity.into(),
                ]);
            }
            for line in table.lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}
