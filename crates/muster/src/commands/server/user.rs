//! `muster server user`: who may use the lab, and their tokens.

use super::init::user_name;
use super::office::Office;
use super::{DataArgs, OutArgs};
use crate::commands::typed::long_duration;
use crate::context::{Context, OutputMode};
use crate::terminal::style::DIM;
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::moment;
use clap::{Args, Subcommand};
use muster_api::access::{Grant, User};
use muster_api::trust::Trust;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster server user`.
#[derive(Args, Clone, Debug)]
pub(super) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum UserCommand {
    /// Make a user, or say anew what it may do
    Add(AddArgs),
    /// List users, what they may do, and their tokens
    List(ListArgs),
    /// Remove a user with its tokens
    Remove(RemoveArgs),
    /// Make a token of a user, or remove one
    Token(TokenArgs),
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A grant is ROLE, ROLE:AREA or ROLE:AREA@POOL; `*` stands for any text. Each role includes those before it:
  viewer     looks at runs, records, devices and the queue
  submitter  asks for runs, and stops its own
  operator   holds and reserves devices, stops runs of others
  admin      says who may use the lab

  muster server user add ana --grant submitter
  muster server user add ci --grant viewer --grant 'submitter:nightly*'")]
struct AddArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What it is called
    #[arg(value_name = "NAME", value_parser = user_name)]
    name: String,
    /// What it may do, and where; may be given several times
    #[arg(long = "grant", value_name = "GRANT", required = true)]
    grants: Vec<Grant>,
}

#[derive(Args, Clone, Debug)]
struct ListArgs {
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Args, Clone, Debug)]
struct RemoveArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What it is called
    #[arg(value_name = "NAME", value_parser = user_name)]
    name: String,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The file holds the token and the certificate by which the server is known; it is all that its user needs:

  muster server user token ana --out ana.token
  muster --server https://lab.example:7117 --token-file ana.token run")]
struct TokenArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What the user is called
    #[arg(value_name = "NAME", value_parser = user_name)]
    name: String,
    /// It ends after this long [default: when it is removed]
    #[arg(long = "for", value_name = "DURATION", value_parser = long_duration)]
    lasts: Option<Duration>,
    /// Remove this one instead; `muster server user list` lists them
    #[arg(long, value_name = "ID", conflicts_with_all = ["lasts", "out", "print"])]
    remove: Option<String>,
    #[command(flatten)]
    out: OutArgs,
}

pub(super) fn run(args: UserArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        UserCommand::Add(AddArgs { data, name, grants }) => {
            Office::open(&data, context)?.put_user(&name, grants.clone())?;
            let may: Vec<String> = grants.iter().map(ToString::to_string).collect();
            writeln!(context.stderr(), "{name} is {}", may.join(", "))?;
        }
        UserCommand::List(ListArgs { data }) => list(&Office::open(&data, context)?.users()?, context)?,
        UserCommand::Remove(RemoveArgs { data, name }) => {
            Office::open(&data, context)?.remove_user(&name)?;
            writeln!(context.stderr(), "{name} is removed, with its tokens; its runs go on")?;
        }
        UserCommand::Token(TokenArgs { data, name, remove: Some(id), .. }) => {
            Office::open(&data, context)?.remove_token(&name, &id)?;
            writeln!(context.stderr(), "token {id} of {name} is removed")?;
        }
        UserCommand::Token(TokenArgs { data, name, lasts, remove: None, out }) => {
            let secret = Office::open(&data, context)?.new_token(&name, lasts)?;
            let text = Trust::token_file(&format!("muster: user {name}"), &secret.token, &secret.ca);
            if let Some(path) = out.write(&format!("{name}.token"), &text, context)? {
                writeln!(context.stderr(), "a token of {name} is in {}", path.display())?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn list(users: &[User], context: &Context) -> Result<(), anyhow::Error> {
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, users)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {
            for user in users {
                writeln!(out, "{}", user.name)?;
            }
        }
        OutputMode::Human => {
            let mut table = Table::new(&[
                ("user", Column::Left),
                ("may", Column::Cut),
                ("token", Column::Left),
                ("made", Column::Left),
                ("ends", Column::Left),
                ("used", Column::Left),
            ]);
            for user in users {
                let may: Vec<String> = user.grants.iter().map(ToString::to_string).collect();
                let (mut name, mut may) = (user.name.clone(), may.join(", "));
                if user.tokens.is_empty() {
                    let none = || Cell::new("", DIM);
                    table.row(vec![name.into(), may.into(), Cell::new("none", DIM), none(), none(), none()]);
                    continue;
                }
                for token in &user.tokens {
                    table.row(vec![
                        std::mem::take(&mut name).into(),
                        std::mem::take(&mut may).into(),
                        token.id.as_str().into(),
                        Cell::new(moment(token.created), DIM),
                        Cell::new(token.expires.map_or_else(|| "never".to_owned(), moment), DIM),
                        Cell::new(token.used.map_or_else(|| "never".to_owned(), moment), DIM),
                    ]);
                }
            }
            for line in table.lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}
