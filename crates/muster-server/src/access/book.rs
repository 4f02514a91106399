//! The book of an initialised server: users, tokens, agents, and what people did.
//!
//! A database of its own beside the records, so that commands on the data directory and the server can use it
//! at the same time: what one writes holds for the next question to the other.

use super::token::{self, Fresh};
use super::who::Who;
use muster_api::access::{AgentInfo, AuditEntry, Grant, Outcome, TokenInfo, User};
use muster_api::trust::{JOIN_TOKEN, USER_TOKEN};
use muster_core::id::AgentId;
use muster_core::time::Time;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Its file.
const FILE: &str = "book.sqlite";
/// The version of its tables.
const VERSION: i64 = 1;
/// How long another process may hold it.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// How exactly it is remembered when a token was used.
const USED_EVERY: Duration = Duration::from_secs(60);
/// Longest text of an entry of the audit log.
const SAID_CHARS_MAX: usize = 500;

/// Why the book cannot be used.
#[derive(Debug, Error)]
pub enum BookError {
    /// The database.
    #[error("the book of users cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// It is of another version of Muster.
    #[error("the book of users has version {0}, which this program does not know")]
    Version(i64),
    /// The system.
    #[error("the system gives no random numbers")]
    Random,
}

type Done<T> = Result<T, BookError>;

/// The book.
#[derive(Debug)]
pub struct Book {
    /// Two, so that who asks does not wait for who writes.
    reader: Mutex<Connection>,
    writer: Mutex<Connection>,
}

/// What is known of a secret that was sent.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    Is(Who),
    Expired,
    Not,
}

impl Book {
    /// Makes an empty one.
    pub(super) fn create(dir: &Path) -> Done<Self> {
        let connection = connect(dir)?;
        connection.execute_batch(include_str!("book.sql"))?;
        drop(connection);
        Self::open(dir)
    }

    pub(super) fn open(dir: &Path) -> Done<Self> {
        let (reader, writer) = (connect(dir)?, connect(dir)?);
        let version: i64 = reader.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            return Err(BookError::Version(version));
        }
        Ok(Self { reader: Mutex::new(reader), writer: Mutex::new(writer) })
    }

    fn read(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All users, by name.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn list_users(&self) -> Done<Vec<User>> {
        let book = self.read();
        let mut users = book.prepare_cached("SELECT name, grants, created FROM users ORDER BY name")?;
        let mut tokens = book.prepare_cached(
            "SELECT id, created, expires, used FROM tokens WHERE user = ?1 ORDER BY created, id",
        )?;
        let user = |row: &Row<'_>| {
            let name: String = row.get(0)?;
            let token = |row: &Row<'_>| {
                Ok(TokenInfo {
                    id: row.get(0)?,
                    created: time(row, 1)?,
                    expires: maybe_time(row, 2)?,
                    used: maybe_time(row, 3)?,
                })
            };
            let tokens = tokens.query_map([&name], token)?.collect::<Result<_, _>>()?;
            Ok(User { name, grants: grants(row, 1)?, created: time(row, 2)?, tokens })
        };
        Ok(users.query_map([], user)?.collect::<Result<_, _>>()?)
    }

    /// Makes a user, or says anew what it may do.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn put_user(&self, name: &str, grants: &[Grant], now: Time) -> Done<()> {
        let grants = serde_json::to_string(grants).expect("grants have a form in JSON");
        self.write().execute(
            "INSERT INTO users VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET grants = ?2",
            params![name, grants, micros(now)],
        )?;
        Ok(())
    }

    /// Removes a user with its tokens; whether there was one.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn remove_user(&self, name: &str) -> Done<bool> {
        Ok(self.write().execute("DELETE FROM users WHERE name = ?1", [name])? > 0)
    }

    /// Makes a token of a user, told here and never again; `None` if there is no such user.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn new_token(&self, user: &str, lasts: Option<Duration>, now: Time) -> Done<Option<String>> {
        let Fresh { id, digest, text } = token::fresh(USER_TOKEN).ok_or(BookError::Random)?;
        let made = self.write().execute(
            "INSERT INTO tokens SELECT ?1, name, ?2, ?3, ?4, NULL FROM users WHERE name = ?5",
            params![id, digest, micros(now), lasts.map(|l| micros(now + l)), user],
        )?;
        Ok((made > 0).then_some(text))
    }

    /// Removes a token of a user; whether there was one.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn remove_token(&self, user: &str, id: &str) -> Done<bool> {
        Ok(self.write().execute("DELETE FROM tokens WHERE user = ?1 AND id = ?2", [user, id])? > 0)
    }

    /// Makes a token that agents join with.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn new_join_token(&self, lasts: Duration, uses: Option<u32>, now: Time) -> Done<String> {
        let Fresh { id, digest, text } = token::fresh(JOIN_TOKEN).ok_or(BookError::Random)?;
        let book = self.write();
        book.execute("DELETE FROM join_tokens WHERE expires < ?1", [micros(now)])?;
        book.execute(
            "INSERT INTO join_tokens VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id, digest, micros(now), micros(now + lasts), uses],
        )?;
        Ok(text)
    }

    /// Whose token this is.
    pub(super) fn find_token(&self, text: &str, now: Time) -> Done<Known> {
        let Some((id, digest)) = token::parse(USER_TOKEN, text) else { return Ok(Known::Not) };
        let found = self
            .read()
            .prepare_cached(
                "SELECT digest, expires, used, name, grants FROM tokens JOIN users ON name = user WHERE id = ?1",
            )?
            .query_row([id], |row| {
                let of: [u8; 32] = row.get(0)?;
                let name: String = row.get(3)?;
                Ok((of, maybe_time(row, 1)?, maybe_time(row, 2)?, name, grants(row, 4)?))
            })
            .optional()?;
        // Digests are compared in constant time.
        let Some((_, expires, used, name, grants)) = found.filter(|(of, ..)| digest == *of) else {
            return Ok(Known::Not);
        };
        if expires.is_some_and(|e| e <= now) {
            return Ok(Known::Expired);
        }
        if used.is_none_or(|u| now.since(u) >= USED_EVERY) {
            self.write().execute("UPDATE tokens SET used = ?1 WHERE id = ?2", params![micros(now), id])?;
        }
        Ok(Known::Is(Who::User { name: name.into(), grants: grants.into() }))
    }

    /// Whether one may join with this token.
    pub(super) fn find_join_token(&self, text: &str, now: Time) -> Done<Known> {
        let Some((id, digest)) = token::parse(JOIN_TOKEN, text) else { return Ok(Known::Not) };
        let found = self
            .read()
            .prepare_cached("SELECT digest, expires, uses FROM join_tokens WHERE id = ?1")?
            .query_row([id], |row| {
                let uses: Option<u32> = row.get(2)?;
                Ok((row.get::<_, [u8; 32]>(0)?, time(row, 1)?, uses))
            })
            .optional()?;
        Ok(match found.filter(|(of, ..)| digest == *of) {
            None => Known::Not,
            Some((_, expires, uses)) if expires <= now || uses == Some(0) => Known::Expired,
            Some(_) => Known::Is(Who::Joiner(id.into())),
        })
    }

    /// An agent has joined with this key and has this certificate. False if it has another key, was revoked, the
    /// key is another agent's, or nobody may join with the token any more.
    #[expect(clippy::too_many_arguments, reason = "a row of the book")]
    pub(super) fn enter_agent(
        &self,
        agent: AgentId,
        host: &str,
        key: &[u8],
        token: &str,
        certificate: &[u8; 32],
        expires: Time,
        now: Time,
    ) -> Done<bool> {
        let mut book = self.write();
        let all = book.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = all
            .query_row(
                "SELECT agent = ?1 AND key = ?2 AND revoked IS NULL FROM agents WHERE agent = ?1 OR key = ?2",
                params![number(agent), key],
                |row| row.get::<_, bool>(0),
            )
            .optional()?;
        let used = all.execute(
            "UPDATE join_tokens SET uses = uses - 1 WHERE id = ?1 AND expires > ?2 AND uses IS NOT 0",
            params![token, micros(now)],
        )?;
        if used == 0 || known == Some(false) {
            return Ok(false);
        }
        all.execute(
            "INSERT INTO agents VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)
             ON CONFLICT (agent) DO UPDATE SET host = ?2, token = ?5, expires = ?6",
            params![number(agent), host, key, micros(now), token, micros(expires)],
        )?;
        certified(&all, agent, certificate, expires, now)?;
        all.commit()?;
        Ok(true)
    }

    /// An agent has a new certificate, for a new key or the same; earlier ones hold until they end. False if it was
    /// revoked, or the key is another agent's.
    pub(super) fn renew_agent(
        &self,
        agent: AgentId,
        key: &[u8],
        certificate: &[u8; 32],
        expires: Time,
        now: Time,
    ) -> Done<bool> {
        let mut book = self.write();
        let all = book.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let renewed = all.execute(
            "UPDATE OR IGNORE agents SET key = ?2, expires = ?3 WHERE agent = ?1 AND revoked IS NULL",
            params![number(agent), key, micros(expires)],
        )?;
        if renewed == 0 {
            return Ok(false);
        }
        certified(&all, agent, certificate, expires, now)?;
        all.commit()?;
        Ok(true)
    }

    /// Whose certificate this is; `None` where it has ended, was revoked, or never was.
    pub(super) fn find_certificate(&self, digest: &[u8; 32], now: Time) -> Done<Option<AgentId>> {
        let book = self.read();
        let mut query = book.prepare_cached(
            "SELECT agent FROM certificates JOIN agents USING (agent)
             WHERE digest = ?1 AND certificates.expires > ?2 AND revoked IS NULL",
        )?;
        let agent = query.query_row(params![digest, micros(now)], |row| row.get::<_, i64>(0)).optional()?;
        Ok(agent.map(|a| AgentId(a.cast_unsigned())))
    }

    /// All agents that have joined, by when.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn list_agents(&self) -> Done<Vec<AgentInfo>> {
        let book = self.read();
        let mut query = book.prepare_cached(
            "SELECT agent, host, joined, token, expires, revoked FROM agents ORDER BY joined, agent",
        )?;
        let agent = |row: &Row<'_>| {
            Ok(AgentInfo {
                agent: row.get::<_, i64>(0)?.cast_unsigned(),
                host: row.get(1)?,
                joined: time(row, 2)?,
                by: row.get(3)?,
                expires: time(row, 4)?,
                revoked: maybe_time(row, 5)?,
            })
        };
        Ok(query.query_map([], agent)?.collect::<Result<_, _>>()?)
    }

    /// Takes the identity of an agent away; whether there was one. It stays in the book, so that its key is never
    /// taken again.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn revoke_agent(&self, agent: AgentId, now: Time) -> Done<bool> {
        let sql = "UPDATE agents SET revoked = coalesce(revoked, ?2) WHERE agent = ?1";
        Ok(self.write().execute(sql, params![number(agent), micros(now)])? > 0)
    }

    /// How many have lost their identity.
    ///
    /// # Errors
    /// [`BookError`].
    pub(crate) fn count_revoked_agents(&self) -> Done<u64> {
        let book = self.read();
        let mut query = book.prepare_cached("SELECT count(*) FROM agents WHERE revoked IS NOT NULL")?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Somebody is about to do something. When this returns it is recorded for good.
    ///
    /// # Errors
    /// [`BookError`]; then it must not be done.
    pub fn audit(&self, at: Time, who: &str, from: &str, action: &str, object: &str) -> Done<u64> {
        let book = self.write();
        book.prepare_cached(
            "INSERT INTO audit (at, who, address, action, object) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![micros(at), who, from, action, short(object)])?;
        Ok(book.last_insert_rowid().cast_unsigned())
    }

    /// What came of it.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn audit_outcome(&self, seq: u64, status: u16, said: &str) -> Done<()> {
        self.write().prepare_cached("INSERT INTO audit_outcomes VALUES (?1, ?2, ?3)")?.execute(params![
            seq.cast_signed(),
            status,
            short(said)
        ])?;
        Ok(())
    }

    /// What was done, newest first: at most `limit` entries before the number `before`.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn list_audit(&self, before: Option<u64>, limit: u32) -> Done<Vec<AuditEntry>> {
        let book = self.read();
        let mut query = book.prepare_cached(
            "SELECT seq, at, who, address, action, object, status, said
             FROM audit LEFT JOIN audit_outcomes USING (seq) WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
        )?;
        let entry = |row: &Row<'_>| {
            let status: Option<u16> = row.get(6)?;
            let said: Option<String> = row.get(7)?;
            Ok(AuditEntry {
                seq: row.get::<_, i64>(0)?.cast_unsigned(),
                at: time(row, 1)?,
                who: row.get(2)?,
                from: row.get(3)?,
                action: row.get(4)?,
                object: row.get(5)?,
                outcome: status.zip(said).map(|(status, said)| Outcome { status, said }),
            })
        };
        let before = before.map_or(i64::MAX, |b| i64::try_from(b).unwrap_or(i64::MAX));
        Ok(query.query_map(params![before, limit], entry)?.collect::<Result<_, _>>()?)
    }
}

fn connect(dir: &Path) -> Done<Connection> {
    let connection = Connection::open(dir.join(FILE))?;
    connection.busy_timeout(BUSY_MAX)?;
    // What was said to be done survives a power cut.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

/// An agent has a certificate; those that have ended are forgotten.
fn certified(
    book: &Connection,
    agent: AgentId,
    digest: &[u8; 32],
    expires: Time,
    now: Time,
) -> Result<(), rusqlite::Error> {
    book.execute(
        "DELETE FROM certificates WHERE agent = ?1 AND expires <= ?2",
        params![number(agent), micros(now)],
    )?;
    let sql = "INSERT INTO certificates VALUES (?1, ?2, ?3)";
    book.execute(sql, params![digest, number(agent), micros(expires)]).map(drop)
}

fn number(agent: AgentId) -> i64 {
    agent.0.cast_signed()
}

fn micros(at: Time) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn time(row: &Row<'_>, column: usize) -> Result<Time, rusqlite::Error> {
    Ok(Time(row.get::<_, i64>(column)?.cast_unsigned()))
}

fn maybe_time(row: &Row<'_>, column: usize) -> Result<Option<Time>, rusqlite::Error> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|at| Time(at.cast_unsigned())))
}

fn grants(row: &Row<'_>, column: usize) -> Result<Vec<Grant>, rusqlite::Error> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, e.into()))
}

/// What others say is kept short, and on one line.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn book() -> (tempfile::TempDir, Book) {
        let dir = tempfile::tempdir().unwrap();
        let book = Book::create(dir.path()).unwrap();
        (dir, book)
    }

    fn grants() -> Vec<Grant> {
        vec!["submitter:demo".parse().unwrap()]
    }

    #[test]
    fn a_token_is_its_user_until_it_ends_or_is_removed() {
        let (_dir, book) = book();
        book.put_user("ana", &grants(), NOW).unwrap();
        let lasting = book.new_token("ana", None, NOW).unwrap().unwrap();
        let short = book.new_token("ana", Some(HOUR), NOW).unwrap().unwrap();
        assert_eq!(book.new_token("ben", None, NOW).unwrap(), None);
        let ana = Known::Is(Who::User { name: "ana".into(), grants: grants().into() });
        assert_eq!(book.find_token(&lasting, NOW).unwrap(), ana);
        assert_eq!(book.find_token(&short, NOW).unwrap(), ana);
        assert_eq!(book.find_token(&short, NOW + HOUR).unwrap(), Known::Expired);
        let mut guessed = lasting.clone();
        let last = if guessed.pop() == Some('0') { '1' } else { '0' };
        guessed.push(last);
        assert_eq!(book.find_token(&guessed, NOW).unwrap(), Known::Not);
        let known = &book.list_users().unwrap()[0];
        assert_eq!((known.tokens.len(), known.tokens[0].used), (2, Some(NOW)));
        let id = lasting.split('-').nth(2).unwrap();
        assert!(book.remove_token("ana", id).unwrap());
        assert_eq!(book.find_token(&lasting, NOW).unwrap(), Known::Not);
        assert!(book.remove_user("ana").unwrap());
        assert_eq!(book.find_token(&short, NOW).unwrap(), Known::Not, "its tokens go with the user");
    }

    #[test]
    fn an_agent_keeps_its_key_and_nobody_takes_its_name() {
        let (_dir, book) = book();
        let join = |uses| {
            let text = book.new_join_token(HOUR, uses, NOW).unwrap();
            let Known::Is(Who::Joiner(id)) = book.find_join_token(&text, NOW).unwrap() else {
                panic!("it was just made")
            };
            assert_eq!(book.find_join_token(&text, NOW + HOUR).unwrap(), Known::Expired);
            id
        };
        let any = join(None);
        let enter = |agent, key: &[u8], token: &str, digest| {
            book.enter_agent(AgentId(agent), "east", key, token, &[digest; 32], NOW + HOUR, NOW).unwrap()
        };
        assert!(enter(1, b"one", &any, 1));
        assert!(enter(1, b"one", &any, 2), "it may join again with its own key");
        assert!(!enter(1, b"two", &any, 3), "another may not take its number");
        assert!(!enter(2, b"one", &any, 4), "nor its key");
        let once = join(Some(1));
        assert!(enter(2, b"two", &once, 5));
        assert!(!enter(3, b"three", &once, 6), "the token was for one");
        assert_eq!(book.find_certificate(&[2; 32], NOW).unwrap(), Some(AgentId(1)));
        assert_eq!(book.find_certificate(&[3; 32], NOW).unwrap(), None);
        assert_eq!(book.find_certificate(&[2; 32], NOW + HOUR).unwrap(), None);
        assert!(book.renew_agent(AgentId(1), b"new", &[7; 32], NOW + 2 * HOUR, NOW).unwrap());
        assert!(!book.renew_agent(AgentId(1), b"two", &[8; 32], NOW + 2 * HOUR, NOW).unwrap());
        assert_eq!(book.find_certificate(&[7; 32], NOW + HOUR).unwrap(), Some(AgentId(1)));
        assert_eq!(book.count_revoked_agents().unwrap(), 0);
        assert!(book.revoke_agent(AgentId(1), NOW).unwrap());
        assert!(book.revoke_agent(AgentId(1), NOW).unwrap(), "again is as once");
        assert_eq!(book.count_revoked_agents().unwrap(), 1);
        assert_eq!(book.find_certificate(&[7; 32], NOW).unwrap(), None);
        assert!(!enter(1, b"new", &any, 9), "who was revoked stays so");
        assert!(!book.renew_agent(AgentId(1), b"x", &[9; 32], NOW + HOUR, NOW).unwrap());
    }

    #[test]
    fn the_audit_log_is_paged_and_cannot_be_changed() {
        let (_dir, book) = book();
        for n in 0..5 {
            let seq =
                book.audit(NOW, "ana", "127.0.0.1", "run.stop", &format!("demo/{n}\n\x1b[31m")).unwrap();
            if n != 3 {
                book.audit_outcome(seq, 204, "").unwrap();
            }
        }
        let page = book.list_audit(None, 2).unwrap();
        assert_eq!(page.iter().map(|e| e.seq).collect::<Vec<_>>(), [5, 4]);
        assert!(page[0].object.starts_with("demo/4") && !page[0].object.contains('\x1b'));
        assert_eq!((page[0].outcome.as_ref().unwrap().status, &page[1].outcome), (204, &None));
        assert_eq!(book.list_audit(Some(4), 10).unwrap().len(), 3);
        for sql in ["DELETE FROM audit", "UPDATE audit SET who = 'ben'", "DELETE FROM audit_outcomes"] {
            assert!(book.write().execute(sql, []).unwrap_err().to_string().contains("not changed"), "{sql}");
        }
    }
}
