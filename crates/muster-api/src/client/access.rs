//! Users, tokens, identities of agents, the audit log.

use super::{Client, ClientError};
use crate::access::{
    AgentInfo, AuditEntry, Certificate, CertificateRequest, NewToken, PutUser, Secret, User,
};
use muster_core::id::AgentId;

impl Client {
    /// The users of the server.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn users(&self) -> Result<Vec<User>, ClientError> {
        self.get_json("/users")
    }

    /// Makes a user, or says anew what it may do.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn put_user(&self, name: &str, user: &PutUser) -> Result<(), ClientError> {
        let url = self.url(&format!("/users/{name}"));
        self.heard(self.send_json(|http| http.put(&url), user)).map(drop)
    }

    /// Removes a user with its tokens.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove_user(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&format!("/users/{name}"))
    }

    /// Makes a token of a user.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new_token(&self, user: &str, token: &NewToken) -> Result<Secret, ClientError> {
        let url = self.url(&format!("/users/{user}/tokens"));
        self.read_json(self.heard(self.send_json(|http| http.post(&url), token))?)
    }

    /// Removes a token of a user.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn remove_token(&self, user: &str, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/users/{user}/tokens/{id}"))
    }

    /// Makes a token that agents join with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new_join_token(&self, token: &NewToken) -> Result<Secret, ClientError> {
        let url = self.url("/join-tokens");
        self.read_json(self.heard(self.send_json(|http| http.post(&url), token))?)
    }

    /// The agents that have joined.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn agents(&self) -> Result<Vec<AgentInfo>, ClientError> {
        self.get_json("/agents")
    }

    /// Takes the identity of an agent away: it may not speak any more, and not join again with the same key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn revoke_agent(&self, agent: AgentId) -> Result<(), ClientError> {
        self.delete(&format!("/agents/{}/identity", agent.0))
    }

    /// Asks for an agent's certificate: the first where `joins`, with a token to join with, else the next.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn certificate(
        &self,
        agent: AgentId,
        request: &CertificateRequest,
        joins: bool,
    ) -> Result<Certificate, ClientError> {
        let url = self.url(&format!("/agents/{}/identity", agent.0));
        let sent = self.send_json(|http| if joins { http.put(&url) } else { http.post(&url) }, request);
        self.read_json(self.heard(sent)?)
    }

    /// What was done, newest first: at most `limit` entries before the number `before`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditEntry>, ClientError> {
        let before = before.map(|b| format!("&before={b}")).unwrap_or_default();
        self.get_json(&format!("/audit?limit={limit}{before}"))
    }
}
