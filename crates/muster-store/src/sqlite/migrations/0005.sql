-- What devices are worth.
CREATE TABLE health (
    lab     INTEGER NOT NULL,
    device  INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (lab, device)
) WITHOUT ROWID;
