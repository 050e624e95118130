-- A catalog as schema version 1 left it, made once by version 0.1.0 of sluice. Never changed: tests open it with the
-- current code.
PRAGMA application_id = 1397506900;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE delivery (  uid INTEGER PRIMARY KEY,  name TEXT NOT NULL UNIQUE,  source_stream_uid INTEGER NOT NULL,  direct_put INTEGER NOT NULL,  from_config INTEGER NOT NULL,  version INTEGER NOT NULL,  created_ms INTEGER NOT NULL,  updated_ms INTEGER NOT NULL,  deleting INTEGER NOT NULL,  settings_json TEXT NOT NULL) STRICT;
INSERT INTO "delivery" VALUES(4,'archive',1,0,1,1,1763845384567,1763845384567,0,'{"sink":"file:///out/"}');
CREATE TABLE shard (  uid INTEGER PRIMARY KEY,  stream_uid INTEGER NOT NULL REFERENCES stream (uid),  idx INTEGER NOT NULL,  state INTEGER NOT NULL,  first_hash BLOB NOT NULL CHECK (length(first_hash) = 16),  last_hash BLOB NOT NULL CHECK (length(last_hash) = 16),  parent INTEGER NOT NULL,  adjacent_parent INTEGER NOT NULL,  created_ms INTEGER NOT NULL,  first_counter INTEGER NOT NULL,  end_counter INTEGER NOT NULL,  UNIQUE (stream_uid, idx)) STRICT;
INSERT INTO "shard" VALUES(2,1,0,1,X'00000000000000000000000000000000',X'7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF',-1,-1,1763845384000,0,-1);
INSERT INTO "shard" VALUES(3,1,1,1,X'80000000000000000000000000000000',X'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF',-1,-1,1763845384000,0,-1);
CREATE TABLE stream (  uid INTEGER PRIMARY KEY,  name TEXT NOT NULL UNIQUE,  status INTEGER NOT NULL,  mode INTEGER NOT NULL,  internal INTEGER NOT NULL,  created_ms INTEGER NOT NULL,  retention_ms INTEGER NOT NULL,  retention_bytes INTEGER NOT NULL,  record_bytes_max INTEGER NOT NULL,  next_shard_index INTEGER NOT NULL) STRICT;
INSERT INTO "stream" VALUES(1,'orders',1,0,0,1763845384567,86400000,-1,1048576,2);
CREATE TABLE uid (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL) STRICT;
INSERT INTO "uid" VALUES(1,5);
CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "value" VALUES('data_uid',X'01020304');
COMMIT;
