-- What grows has named fields now: the spec holds the placement, the plan its definitions alone.
ALTER TABLE plans DROP COLUMN placement;
ALTER TABLE plans ADD COLUMN items BLOB;
