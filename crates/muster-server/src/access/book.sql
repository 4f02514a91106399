CREATE TABLE users (
    name    TEXT PRIMARY KEY,
    grants  TEXT NOT NULL,      -- JSON
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id      TEXT PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    digest  BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    used    INTEGER
) STRICT;
CREATE INDEX tokens_of ON tokens (user);

CREATE TABLE join_tokens (
    id      TEXT PRIMARY KEY,
    digest  BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    uses    INTEGER             -- how many more may join; NULL: any number
) STRICT;

CREATE TABLE agents (
    agent   INTEGER PRIMARY KEY,
    host    TEXT NOT NULL,
    key     BLOB NOT NULL UNIQUE,
    joined  INTEGER NOT NULL,
    token   TEXT NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER
) STRICT;

CREATE TABLE certificates (
    digest  BLOB PRIMARY KEY,
    agent   INTEGER NOT NULL REFERENCES agents (agent),
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_of ON certificates (agent);

CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT NOT NULL,
    address TEXT NOT NULL,
    action  TEXT NOT NULL,
    object  TEXT NOT NULL
) STRICT;

-- What came of it, recorded apart: nothing of the log is ever changed.
CREATE TABLE audit_outcomes (
    seq     INTEGER PRIMARY KEY REFERENCES audit (seq),
    status  INTEGER NOT NULL,
    said    TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END;
CREATE TRIGGER outcomes_stay BEFORE UPDATE ON audit_outcomes BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END;
CREATE TRIGGER outcomes_are_kept BEFORE DELETE ON audit_outcomes BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END;

PRAGMA user_version = 1;
