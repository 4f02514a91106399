-- Devices that people have taken out of scheduling.
CREATE TABLE holds (
    lab     INTEGER NOT NULL,
    device  INTEGER NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (lab, device)
) WITHOUT ROWID;
