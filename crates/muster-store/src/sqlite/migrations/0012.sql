-- What people said of runs, in order.
CREATE TABLE notes (
    rid     INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (rid, seq)
) WITHOUT ROWID;
-- Who has locked a run, for those who list runs. NULL: nobody.
ALTER TABLE runs ADD COLUMN locked BLOB;
-- Runs that were removed, and files of runs that are there. What of it is still to go is in `files`; NULL: nothing.
CREATE TABLE removed (
    seq     INTEGER PRIMARY KEY,
    area    TEXT NOT NULL,
    number  INTEGER NOT NULL,
    whole   INTEGER NOT NULL,           -- 1: with its record
    body    BLOB NOT NULL,
    files   BLOB
);
CREATE INDEX removed_runs ON removed (number) WHERE whole = 1;
CREATE INDEX removed_left ON removed (seq) WHERE files IS NOT NULL;
