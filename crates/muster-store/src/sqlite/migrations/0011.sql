-- Bytes that the file of a run takes in the cold tier. NULL: what is recorded of it is here.
ALTER TABLE runs ADD COLUMN cold INTEGER;
-- Runs that could go there.
CREATE INDEX runs_hot ON runs (area, id) WHERE cold IS NULL AND state <> 0;
-- Runs that are in another area now, and which.
CREATE TABLE moved (
    id      BLOB PRIMARY KEY,
    area    TEXT NOT NULL,
    number  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    to_dir  TEXT NOT NULL,
    to_area TEXT NOT NULL,
    to_number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX moved_by_number ON moved (area, number);
