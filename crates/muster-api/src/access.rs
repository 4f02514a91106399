//! Who may ask a server for what: roles, grants, and what is said about users, tokens, agents and the audit log.
//!
//! What a grant allows is decided here, so that server and command line mean the same by it. Whether somebody
//! is who they say they are is the server's business.

use muster_core::select::wildcard;
use muster_core::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What somebody may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look at runs, records, devices and the queue.
    Viewer,
    /// Ask for runs, and stop their own.
    Submitter,
    /// Hold and reserve devices, stop runs of others.
    Operator,
    /// Users, tokens, agents, the audit log.
    Admin,
}

impl Role {
    /// All of them, from the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Submitter, Self::Operator, Self::Admin];

    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A role, and where it holds. Written `ROLE`, `ROLE:AREA` or `ROLE:AREA@POOL`; `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// In areas whose name matches this.
    pub area: String,
    /// On devices of pools whose name matches this.
    pub pool: String,
}

impl Grant {
    /// A role everywhere.
    pub fn everywhere(role: Role) -> Self {
        Self { role, area: "*".to_owned(), pool: "*".to_owned() }
    }

    /// Whether it gives this role in this area.
    pub fn is_for_area(&self, role: Role, area: &str) -> bool {
        self.role >= role && wildcard(&self.area, area)
    }

    /// Whether it gives this role on the devices of this pool.
    pub fn is_for_pool(&self, role: Role, pool: &str) -> bool {
        self.role >= role && wildcard(&self.pool, pool)
    }
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, place) = text.split_once(':').unwrap_or((text, "*"));
        let (area, pool) = place.split_once('@').unwrap_or((place, "*"));
        let words: Vec<&str> = Role::ALL.iter().map(|r| r.word()).collect();
        let Some(role) = Role::ALL.into_iter().find(|r| r.word() == role) else {
            return Err(format!("`{role}` is no role: there are {}", words.join(", ")));
        };
        for (what, text) in [("area", area), ("pool", pool)] {
            if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == ',') {
                return Err(format!("`{text}` is no pattern for the name of an {what}; `*` is any"));
            }
        }
        Ok(Self { role, area: area.to_owned(), pool: pool.to_owned() })
    }
}

impl TryFrom<String> for Grant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.to_string()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, area, pool } = self;
        f.write_str(role.word())?;
        match (area.as_str(), pool.as_str()) {
            ("*", "*") => Ok(()),
            (area, "*") => write!(f, ":{area}"),
            (area, pool) => write!(f, ":{area}@{pool}"),
        }
    }
}

/// A user of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its name.
    pub name: String,
    /// What it may do.
    #[schemars(with = "Vec<String>")]
    pub grants: Vec<Grant>,
    /// Since when it is known.
    #[schemars(with = "u64")]
    pub created: Time,
    /// Its tokens, without what makes them secret.
    pub tokens: Vec<TokenInfo>,
}

/// Whether a user may be called so: 1 to 64 letters, digits and `.`, `_`, `-`, `@`, of which the first is a letter
/// or digit.
pub fn is_user_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good)
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenInfo {
    /// The part of it that is no secret.
    pub id: String,
    /// When it was made.
    #[schemars(with = "u64")]
    pub created: Time,
    /// When it ends; `None`: when it is removed.
    #[schemars(with = "Option<u64>")]
    pub expires: Option<Time>,
    /// When it was last used, to the minute.
    #[schemars(with = "Option<u64>")]
    pub used: Option<Time>,
}

/// What a user is to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PutUser {
    /// All that it may do.
    #[schemars(with = "Vec<String>")]
    pub grants: Vec<Grant>,
}

/// A token is asked for, a user's or one to join with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// It ends after so many seconds.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// Agents that may join with it; of no meaning for a user's.
    #[serde(default)]
    pub uses: Option<u32>,
}

/// A token, told once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// The token. Whoever has it is its user.
    pub token: String,
    /// The certificate of the lab's authority (PEM), by which the server is known.
    pub ca: String,
}

/// An agent of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// The agent.
    pub agent: u64,
    /// The host it joined from, as it says.
    pub host: String,
    /// When it joined.
    #[schemars(with = "u64")]
    pub joined: Time,
    /// The token it joined with.
    pub by: String,
    /// When its certificate ends, unless it is renewed.
    #[schemars(with = "u64")]
    pub expires: Time,
    /// Since when it may not speak any more.
    #[schemars(with = "Option<u64>")]
    pub revoked: Option<Time>,
}

/// An agent asks for a certificate: its first, with a join token, or the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// Its host.
    pub host: String,
    /// Its public key: a point of P-256, uncompressed, in hexadecimal digits.
    pub public_key: String,
}

/// An agent's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// In PEM.
    pub certificate: String,
    /// When it was made, by the server's clock.
    pub made: Time,
    /// When it ends.
    pub expires: Time,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number; grows.
    pub seq: u64,
    /// When it was asked for.
    #[schemars(with = "u64")]
    pub at: Time,
    /// Who asked: `ana`, or `agent 7`.
    pub who: String,
    /// From where.
    pub from: String,
    /// What: `run.submit`.
    pub action: String,
    /// On what.
    pub object: String,
    /// What came of it. `None`: the server ended before it knew.
    pub outcome: Option<Outcome>,
}

/// What came of what somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The HTTP status of the answer; 0 for what was done beside the server.
    pub status: u16,
    /// The code of a refusal, or what was done in a few words.
    pub said: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_role_and_where_it_holds() {
        for text in ["viewer", "submitter:nightly*", "operator:*@phones", "admin"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        for bad in ["", "root", "viewer:", "viewer:a@", "viewer:a b", "Viewer", "viewer:a,b"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_includes_the_lesser_ones_in_its_areas_and_pools_alone() {
        let grant: Grant = "operator:nightly*@phones".parse().unwrap();
        assert!(grant.is_for_area(Role::Viewer, "nightly-2"));
        assert!(grant.is_for_area(Role::Operator, "nightly"));
        assert!(!grant.is_for_area(Role::Admin, "nightly"));
        assert!(!grant.is_for_area(Role::Viewer, "release"));
        assert!(grant.is_for_pool(Role::Submitter, "phones"));
        assert!(!grant.is_for_pool(Role::Submitter, "boards"));
    }
}
