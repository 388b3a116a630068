//! Every statement, in one place.
//!
//! A batch is stored in three trips to the connection's thread, whatever its size: one begins and loads, one changes, one commits. Each trip costs more than
//! most statements. Rows travel as one JSON array (`json_each`) and their blobs in one buffer, of which each row names its piece (`substr`, which counts
//! from 1); beside `VALUES` lists of varying length this keeps every text in the statement cache.

/// `WARR`: what stands in the file's header so that no other program's database is taken for ours.
pub(crate) const APPLICATION_ID: i64 = 0x5741_5252;
/// The version of the tables below.
pub(crate) const USER_VERSION: i64 = 1;

/// The tables, made once. Entries and records have a rowid, as rows of many bytes want one; counters and members do not.
pub(crate) const CREATE: &str = "
PRAGMA application_id = 1463898706;
PRAGMA user_version = 1;
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    size INTEGER NOT NULL CHECK (size >= 0),
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    last_at INTEGER,
    frontier BLOB NOT NULL
) STRICT;
CREATE TABLE entries (
    key TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL CHECK (version >= 1),
    value BLOB NOT NULL
) STRICT;
CREATE TABLE counters (
    key TEXT PRIMARY KEY,
    amount TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE members (
    key TEXT PRIMARY KEY,
    holders INTEGER NOT NULL CHECK (holders >= 1)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    place INTEGER PRIMARY KEY CHECK (place >= 0),
    id TEXT NOT NULL UNIQUE,
    linked_to TEXT,
    leaf BLOB NOT NULL CHECK (length(leaf) = 32),
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX records_by_link ON records (linked_to, place) WHERE linked_to IS NOT NULL;
CREATE TABLE bodies (
    commitment BLOB NOT NULL UNIQUE CHECK (length(commitment) = 32),
    owner TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY CHECK (size >= 0),
    note TEXT NOT NULL
) STRICT;
";

/// The first head: epoch, frontier.
pub(crate) const CREATE_HEAD: &str =
    "INSERT INTO head (one, revision, size, epoch, last_at, frontier) VALUES (1, 0, 0, ?1, NULL, ?2)";

/// Begins a transaction that takes no lock yet.
pub(crate) const BEGIN_READING: &str = "BEGIN";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

pub(crate) const HEAD: &str = "SELECT revision, size, epoch, last_at, frontier FROM head";

/// One statement, hence one snapshot. Columns: what the row is (`Part`), its key, and up to four values of it.
/// Parameters: keys of entries, of counters, of members.
pub(crate) const READ: &str = "
SELECT 0 AS part, NULL AS key, revision AS a, size AS b, epoch AS c, last_at AS d, frontier AS bytes FROM head
UNION ALL SELECT 1, key, version, NULL, NULL, NULL, value FROM entries WHERE key IN (SELECT value FROM json_each(?1))
UNION ALL SELECT 2, key, amount, NULL, NULL, NULL, NULL FROM counters WHERE key IN (SELECT value FROM json_each(?2))
UNION ALL SELECT 3, key, holders, NULL, NULL, NULL, NULL FROM members WHERE key IN (SELECT value FROM json_each(?3))";

/// Takes the write lock and reads what a batch touches, in the same columns; of entries the version only. Last parameter: ids of records.
pub(crate) const BEGIN_AND_LOAD: &str = "
BEGIN IMMEDIATE;
SELECT 0 AS part, NULL AS key, revision AS a, size AS b, epoch AS c, last_at AS d, frontier AS bytes FROM head
UNION ALL SELECT 1, key, version, NULL, NULL, NULL, NULL FROM entries WHERE key IN (SELECT value FROM json_each(?1))
UNION ALL SELECT 2, key, amount, NULL, NULL, NULL, NULL FROM counters WHERE key IN (SELECT value FROM json_each(?2))
UNION ALL SELECT 3, key, holders, NULL, NULL, NULL, NULL FROM members WHERE key IN (SELECT value FROM json_each(?3))
UNION ALL SELECT 4, id, place, NULL, NULL, NULL, NULL FROM records WHERE id IN (SELECT value FROM json_each(?4))";

/// Everything that a batch changes, in one trip. Statements without rows find nothing to do, which costs less than a text for each combination would.
///
/// Parameters are taken in turn, as sqlx counts those without a number on over all statements:
/// keys of entries that go; bytes, and rows `[key, version, from, length]` of entries; keys of counters that go; rows `[key, amount]`; keys of members that go;
/// rows `[key, holders]`; bytes, and rows `[place, id, linked_to, leaf, from, length]` of records; bytes, and rows `[owner, commitment, from, length]` of bodies;
/// the new head, and the revision that it follows. It gives one row if the head was at that.
pub(crate) const CHANGE: &str = "
DELETE FROM entries WHERE key IN (SELECT value FROM json_each(?));
INSERT INTO entries (key, version, value)
SELECT value ->> 0, value ->> 1, substr(?, value ->> 2, value ->> 3) FROM json_each(?) WHERE true
ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value;
DELETE FROM counters WHERE key IN (SELECT value FROM json_each(?));
INSERT INTO counters (key, amount) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
ON CONFLICT (key) DO UPDATE SET amount = excluded.amount;
DELETE FROM members WHERE key IN (SELECT value FROM json_each(?));
INSERT INTO members (key, holders) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
ON CONFLICT (key) DO UPDATE SET holders = excluded.holders;
INSERT INTO records (place, id, linked_to, leaf, bytes)
SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), substr(?, value ->> 4, value ->> 5) FROM json_each(?);
INSERT INTO bodies (commitment, owner, sealed)
SELECT unhex(value ->> 1), value ->> 0, substr(?, value ->> 2, value ->> 3) FROM json_each(?) WHERE true
ON CONFLICT (commitment) DO NOTHING;
UPDATE head SET revision = ?, size = ?, epoch = ?, last_at = ?, frontier = ? WHERE revision = ? RETURNING revision";

/// Keys after the first and before the second, rows, bytes. The inner query looks at lengths only.
pub(crate) const SCAN: &str = "
SELECT key, version, value FROM entries WHERE key IN (
    SELECT key FROM (
        SELECT key, sum(length(value)) OVER (ORDER BY key) - length(value) AS before
        FROM entries WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3
    ) WHERE before < ?4
) ORDER BY key";

/// From a place on, rows, bytes.
pub(crate) const RECORDS: &str = "
SELECT place, leaf, bytes FROM records WHERE place IN (
    SELECT place FROM (
        SELECT place, sum(length(bytes)) OVER (ORDER BY place) - length(bytes) AS before
        FROM records WHERE place >= ?1 ORDER BY place LIMIT ?2
    ) WHERE before < ?3
) ORDER BY place";

/// From a place on, rows, bytes, the id that they are linked to.
pub(crate) const LINKED: &str = "
SELECT place, leaf, bytes FROM records WHERE place IN (
    SELECT place FROM (
        SELECT place, sum(length(bytes)) OVER (ORDER BY place) - length(bytes) AS before
        FROM records WHERE linked_to = ?4 AND place >= ?1 ORDER BY place LIMIT ?2
    ) WHERE before < ?3
) ORDER BY place";

pub(crate) const FIND: &str = "SELECT place, leaf, bytes FROM records WHERE id = ?1";
pub(crate) const LEAVES: &str = "SELECT place, leaf FROM records WHERE place >= ?1 ORDER BY place LIMIT ?2";
pub(crate) const BODY: &str = "SELECT owner, sealed FROM bodies WHERE commitment = ?1";
pub(crate) const CHECKPOINTS: &str =
    "SELECT size, note FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT ?2";
pub(crate) const LAST_CHECKPOINT: &str = "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1";
pub(crate) const PUT_CHECKPOINT: &str = "INSERT INTO checkpoints (size, note) VALUES (?1, ?2)";
