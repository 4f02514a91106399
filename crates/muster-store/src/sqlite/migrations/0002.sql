-- Where a run may run, and its packed area. NULL: on the host it was asked for, as all runs before.
ALTER TABLE plans ADD COLUMN placement BLOB;
