//! Where it is decided who may use a lab: the data directory at hand, or its server.

use super::DataArgs;
use super::init::complain;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::session::now;
use crate::remote;
use muster_api::Client;
use muster_api::access::{AgentInfo, AuditEntry, Grant, NewToken, PutUser, Secret, User};
use muster_core::id::AgentId;
use muster_server::{Book, BookError};
use std::time::Duration;

/// How long a token to join with lasts, unless it is said.
const JOIN_LASTS: Duration = Duration::from_secs(3_600);

/// One of them.
pub(super) enum Office {
    /// The data directory at hand, also beside the server that uses it.
    Here { book: Box<Book>, ca: String },
    /// A server.
    There(Client),
}

impl Office {
    pub(super) fn open(data: &DataArgs, context: &Context) -> Result<Self, anyhow::Error> {
        match &context.server {
            Some(server) if data.data.is_none() => Ok(Self::There(remote::client(server, context)?)),
            Some(_) | None => {
                let (book, ca) = muster_server::open_book(&data.dir(context)?).map_err(complain)?;
                Ok(Self::Here { book: Box::new(book), ca })
            }
        }
    }

    pub(super) fn users(&self) -> Result<Vec<User>, anyhow::Error> {
        match self {
            Self::Here { book, .. } => Ok(book.list_users()?),
            Self::There(client) => client.users().map_err(remote::complain),
        }
    }

    pub(super) fn put_user(&self, name: &str, grants: Vec<Grant>) -> Result<(), anyhow::Error> {
        match self {
            Self::Here { book, .. } => {
                let said: Vec<String> = grants.iter().map(ToString::to_string).collect();
                audited(book, "user.put", name, |book| {
                    Ok((book.put_user(name, &grants, now())?, said.join(" ")))
                })
            }
            Self::There(client) => client.put_user(name, &PutUser { grants }).map_err(remote::complain),
        }
    }

    pub(super) fn remove_user(&self, name: &str) -> Result<(), anyhow::Error> {
        match self {
            Self::Here { book, .. } => {
                audited(book, "user.remove", name, |book| found(book.remove_user(name)))?
                    .ok_or_else(|| no_user(name))
            }
            Self::There(client) => client.remove_user(name).map_err(remote::complain),
        }
    }

    pub(super) fn new_token(&self, user: &str, lasts: Option<Duration>) -> Result<Secret, anyhow::Error> {
        match self {
            Self::Here { book, ca } => {
                let made = audited(book, "token.make", user, |book| {
                    let token = book.new_token(user, lasts, now())?;
                    let said = token.as_deref().map_or("no-such-user", id_of).to_owned();
                    Ok((token, said))
                });
                let token = made?.ok_or_else(|| no_user(user))?;
                Ok(Secret { token, ca: ca.clone() })
            }
            Self::There(client) => {
                let asked = NewToken { seconds: lasts.map(|l| l.as_secs()), uses: None };
                client.new_token(user, &asked).map_err(remote::complain)
            }
        }
    }

    pub(super) fn remove_token(&self, user: &str, id: &str) -> Result<(), anyhow::Error> {
        match self {
            Self::Here { book, .. } => {
                let object = format!("{user} {id}");
                let removed =
                    audited(book, "token.remove", &object, |book| found(book.remove_token(user, id)));
                removed?.ok_or_else(|| {
                    Complaint::usage(format!("`{user}` has no token `{id}`"))
                        .hint("`muster server user list` lists them")
                        .into()
                })
            }
            Self::There(client) => client.remove_token(user, id).map_err(remote::complain),
        }
    }

    pub(super) fn new_join_token(
        &self,
        lasts: Option<Duration>,
        uses: Option<u32>,
    ) -> Result<Secret, anyhow::Error> {
        match self {
            Self::Here { book, ca } => {
                let token = audited(book, "join-token.make", "", |book| {
                    let token = book.new_join_token(lasts.unwrap_or(JOIN_LASTS), uses, now())?;
                    let said = id_of(&token).to_owned();
                    Ok((token, said))
                })?;
                Ok(Secret { token, ca: ca.clone() })
            }
            Self::There(client) => {
                let asked = NewToken { seconds: lasts.map(|l| l.as_secs()), uses };
                client.new_join_token(&asked).map_err(remote::complain)
            }
        }
    }

    pub(super) fn agents(&self) -> Result<Vec<AgentInfo>, anyhow::Error> {
        match self {
            Self::Here { book, .. } => Ok(book.list_agents()?),
            Self::There(client) => client.agents().map_err(remote::complain),
        }
    }

    pub(super) fn revoke_agent(&self, agent: AgentId) -> Result<(), anyhow::Error> {
        match self {
            Self::Here { book, .. } => {
                let object = agent.to_string();
                let revoked =
                    audited(book, "agent.revoke", &object, |book| found(book.revoke_agent(agent, now())));
                revoked?.ok_or_else(|| {
                    Complaint::usage(format!("no {agent} has joined"))
                        .hint("`muster server agent list` lists them")
                        .into()
                })
            }
            Self::There(client) => client.revoke_agent(agent).map_err(remote::complain),
        }
    }

    pub(super) fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, anyhow::Error> {
        match self {
            Self::Here { book, .. } => Ok(book.list_audit(before, limit)?),
            Self::There(client) => client.audit(before, limit).map_err(remote::complain),
        }
    }
}

/// What was or was not there, and what the audit log says of it.
fn found(done: Result<bool, BookError>) -> Result<(Option<()>, String), BookError> {
    done.map(|there| if there { (Some(()), String::new()) } else { (None, "not-there".to_owned()) })
}

/// Does something that the audit log tells of.
fn audited<T>(
    book: &Book,
    action: &str,
    object: &str,
    act: impl FnOnce(&Book) -> Result<(T, String), BookError>,
) -> Result<T, anyhow::Error> {
    let seq = book.audit(now(), &remote::whoever(), "the data directory", action, object)?;
    let (done, said) = act(book)?;
    book.audit_outcome(seq, 0, &said)?;
    Ok(done)
}

/// The part of a token that is no secret.
fn id_of(token: &str) -> &str {
    token.rsplit_once('-').map_or("", |(head, _)| head)
}

fn no_user(name: &str) -> anyhow::Error {
    Complaint::usage(format!("there is no user `{name}`"))
        .hint(format!("`muster server user add {name} --grant submitter` makes one"))
        .into()
}
