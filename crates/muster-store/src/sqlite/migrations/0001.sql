-- Version 1. A file is never edited once a release has written it: later ones are added.

-- Id counters of each lab: the highest ever used.
CREATE TABLE labs (
    lab     INTEGER PRIMARY KEY,
    device  INTEGER NOT NULL,
    lease   INTEGER NOT NULL,
    unit    INTEGER NOT NULL
);

CREATE TABLE agents (
    lab     INTEGER NOT NULL,
    agent   INTEGER NOT NULL,
    session INTEGER NOT NULL,
    host    TEXT NOT NULL,
    devices BLOB NOT NULL,
    PRIMARY KEY (lab, agent)
) WITHOUT ROWID;

CREATE TABLE leases (
    lab     INTEGER NOT NULL,
    lease   INTEGER NOT NULL,
    device  INTEGER NOT NULL,
    PRIMARY KEY (lab, lease)
) WITHOUT ROWID;

-- One row for all units sent to a device at once. Results do not change it: what has one is known from
-- `records`. It goes when nothing is left of it, or with its lease.
CREATE TABLE sent (
    lab     INTEGER NOT NULL,
    lease   INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    units   BLOB NOT NULL,
    PRIMARY KEY (lab, lease, seq)
) WITHOUT ROWID;

CREATE TABLE runs (
    rid     INTEGER PRIMARY KEY,
    id      BLOB NOT NULL UNIQUE,       -- 16 bytes, big endian: sorts by time of creation
    lab     INTEGER NOT NULL,           -- whose it is
    area    TEXT NOT NULL,
    number  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    target  BLOB NOT NULL,
    host    TEXT NOT NULL,
    created INTEGER NOT NULL,           -- microseconds since 1970, as all times
    state   INTEGER NOT NULL,           -- 0 active, 1 ended, 2 stopped
    ended   INTEGER,
    reason  TEXT,
    unexpected_pass INTEGER NOT NULL,   -- 0 fail, 1 report
    items   INTEGER NOT NULL,           -- kept, so that listing need not count
    counts  BLOB NOT NULL,              -- the same: items by verdict
    UNIQUE (area, number)
);
CREATE INDEX runs_by_area ON runs (area, id);
CREATE INDEX runs_active ON runs (lab) WHERE state = 0;

-- What is large of a run. Views need the outline alone, so it comes first.
CREATE TABLE plans (
    rid     INTEGER PRIMARY KEY,
    outline BLOB NOT NULL,
    spec    BLOB NOT NULL,
    plan    BLOB NOT NULL
);

CREATE TABLE expansions (
    id      INTEGER PRIMARY KEY,        -- rid << 32 | place among the run's expansions
    outline BLOB NOT NULL,
    body    BLOB NOT NULL
);

-- The last answer to a question for items that was asked more than once.
CREATE TABLE found_again (
    id      INTEGER PRIMARY KEY,        -- rid << 32 | test
    body    BLOB NOT NULL
);

-- What happened to items, in order: one row per attempt, and one per change without an attempt
-- (attempt 0). The last row of an item says what it amounts to. Appended only, so that a commit touches
-- few pages however many items a run has.
CREATE TABLE records (
    id      INTEGER PRIMARY KEY,        -- rid << 32 | place in the run
    item    INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    verdict INTEGER,                    -- of the item
    outcome INTEGER,                    -- of the attempt
    nanos   INTEGER,
    started INTEGER,
    attempts INTEGER NOT NULL,
    tries   INTEGER NOT NULL,
    lab_errors INTEGER NOT NULL,
    failed  INTEGER NOT NULL,
    bad     INTEGER,                    -- rid, where this is its item's last row and the verdict is bad
    reason  TEXT,
    body    BLOB,
    output  BLOB                        -- frames of a short output
);
CREATE INDEX records_bad ON records (bad) WHERE bad IS NOT NULL;

CREATE TABLE late (
    rid     INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    item    INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    lease   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    nanos   INTEGER NOT NULL,
    started INTEGER NOT NULL,
    body    BLOB NOT NULL,
    output  BLOB,
    PRIMARY KEY (rid, seq)
) WITHOUT ROWID;
