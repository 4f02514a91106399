-- What a run was given from outside, for those who list runs: it is in the spec too. NULL: nothing.
ALTER TABLE runs ADD COLUMN inputs BLOB;
