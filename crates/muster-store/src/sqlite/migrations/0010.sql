-- Files that an attempt left and that are kept. NULL: none.
ALTER TABLE records ADD COLUMN artifacts BLOB;
ALTER TABLE late ADD COLUMN artifacts BLOB;
