-- What happened in a lab, in order, for those who watch it. Old rows go; numbers are never used again.
CREATE TABLE happened (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    lab     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    body    BLOB NOT NULL
);
