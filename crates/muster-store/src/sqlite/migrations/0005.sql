-- What devices are worth.
CREATE TABLE health (
    lab     INTEGER NOT NULL,
    device  INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (lab, device)
) WITHOUT ROWID;

-- Devices that were added to hosts, or proposed.
CREATE TABLE registered (
    lab     INTEGER NOT NULL,
    host    TEXT NOT NULL,
    name    TEXT NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (lab, host, name)
) WITHOUT ROWID;
