-- The other devices of a lease that several share, in order, as a compact list. NULL: none.
ALTER TABLE leases ADD COLUMN others BLOB;
