//! Who asks, and whether they may.

use muster_api::Problem;
use muster_api::access::{Grant, Role};
use muster_core::id::AgentId;
use std::fmt;
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Who {
    /// Somebody of this host: the lab is not initialised and open to it.
    Anybody,
    /// Nobody has said.
    Stranger,
    /// A user.
    User {
        /// Its name.
        name: Arc<str>,
        /// What it may do.
        grants: Arc<[Grant]>,
    },
    /// An agent.
    Agent(AgentId),
    /// Whoever has this token to join with.
    Joiner(Arc<str>),
}

impl Who {
    /// Whether this is somebody with a role: in an area, or in any.
    pub(crate) fn has(&self, role: Role, area: Option<&str>) -> bool {
        match self {
            Self::Anybody => true,
            Self::User { grants, .. } => match area {
                Some(area) => grants.iter().any(|g| g.is_for_area(role, area)),
                None => grants.iter().any(|g| g.role >= role),
            },
            Self::Stranger | Self::Agent(_) | Self::Joiner(_) => false,
        }
    }

    /// Whether it has a role in all areas, so that nobody need look which it is.
    pub(crate) fn has_everywhere(&self, role: Role) -> bool {
        match self {
            Self::User { grants, .. } => grants.iter().any(|g| g.role >= role && g.area == "*"),
            Self::Anybody => true,
            Self::Stranger | Self::Agent(_) | Self::Joiner(_) => false,
        }
    }

    /// Refuses who has not a role.
    pub(crate) fn need(&self, role: Role, area: Option<&str>) -> Result<(), Problem> {
        if self.has(role, area) {
            return Ok(());
        }
        Err(self.lacks(role, area))
    }

    /// The refusal of who has not a role.
    pub(crate) fn lacks(&self, role: Role, area: Option<&str>) -> Problem {
        let role = role.word();
        let place = area.map(|a| format!(" in area `{a}`")).unwrap_or_default();
        let said = format!("{self} is not `{role}`{place}");
        let grant = area.map_or_else(|| role.to_owned(), |a| format!("{role}:{a}"));
        match self {
            Self::User { name, .. } => Problem::new(403, "missing-role", said).next(format!(
                "an admin of the lab can grant it: `muster server user add {name} --grant {grant}` (beside what it has)"
            )),
            Self::Anybody | Self::Stranger | Self::Agent(_) | Self::Joiner(_) => {
                Problem::new(403, "missing-role", said).next("this is for users: ask with a user's token file")
            }
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Stranger => f.write_str("a stranger"),
            Self::User { name, .. } => f.write_str(name),
            Self::Agent(agent) => agent.fmt(f),
            Self::Joiner(token) => write!(f, "join token {token}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_hold_where_they_were_granted() {
        let grants = ["viewer", "submitter:nightly*"].map(|g| g.parse().unwrap());
        let ana = Who::User { name: "ana".into(), grants: grants.into() };
        assert!(ana.has(Role::Viewer, Some("release")) && ana.has_everywhere(Role::Viewer));
        assert!(ana.has(Role::Submitter, None) && !ana.has_everywhere(Role::Submitter));
        assert!(ana.need(Role::Submitter, Some("nightly-arm")).is_ok());
        let refused = ana.need(Role::Submitter, Some("release")).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (403, "missing-role"));
        assert!(refused.detail.contains("ana is not `submitter` in area `release`"), "{}", refused.detail);
        for other in [Who::Agent(AgentId(1)), Who::Stranger, Who::Joiner("x".into())] {
            assert!(!other.has(Role::Viewer, None), "{other}");
        }
    }
}
