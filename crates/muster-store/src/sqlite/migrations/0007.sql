-- What people said of runs' places in the queue.
CREATE TABLE moves (
    rid     INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (rid, seq)
) WITHOUT ROWID;
-- The devices an item failed on and is not tried on again while another is there. NULL: none.
ALTER TABLE records ADD COLUMN failed_on BLOB;
