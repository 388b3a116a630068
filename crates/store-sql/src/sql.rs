//! Every statement, in one place. Each is prepared once a connection.

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

/// Moves the write-ahead log into the file. Its first column says whether it could not.
pub(crate) const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Begins a transaction that takes no lock yet.
pub(crate) const BEGIN_READING: &str = "BEGIN";
/// Begins a transaction that takes the write lock.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

pub(crate) const HEAD: &str = "SELECT revision, size, epoch, last_at, frontier FROM head";
/// The new head, and the revision that it follows.
pub(crate) const MOVE_HEAD: &str =
    "UPDATE head SET revision = ?1, size = ?2, epoch = ?3, last_at = ?4, frontier = ?5 WHERE revision = ?6";

pub(crate) const ENTRY: &str = "SELECT version, value FROM entries WHERE key = ?1";
pub(crate) const VERSION: &str = "SELECT version FROM entries WHERE key = ?1";
pub(crate) const PUT_ENTRY: &str = "INSERT INTO entries (key, version, value) VALUES (?1, ?2, ?3)
ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value";
pub(crate) const DELETE_ENTRY: &str = "DELETE FROM entries WHERE key = ?1";

pub(crate) const COUNTER: &str = "SELECT amount FROM counters WHERE key = ?1";
pub(crate) const PUT_COUNTER: &str = "INSERT INTO counters (key, amount) VALUES (?1, ?2)
ON CONFLICT (key) DO UPDATE SET amount = excluded.amount";
pub(crate) const DELETE_COUNTER: &str = "DELETE FROM counters WHERE key = ?1";

pub(crate) const HOLDERS: &str = "SELECT holders FROM members WHERE key = ?1";
pub(crate) const PUT_MEMBER: &str = "INSERT INTO members (key, holders) VALUES (?1, ?2)
ON CONFLICT (key) DO UPDATE SET holders = excluded.holders";
pub(crate) const DELETE_MEMBER: &str = "DELETE FROM members WHERE key = ?1";

pub(crate) const HAS_RECORD: &str = "SELECT id FROM records WHERE id = ?1";
pub(crate) const PUT_RECORD: &str =
    "INSERT INTO records (place, id, linked_to, leaf, bytes) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(crate) const PUT_BODY: &str = "INSERT INTO bodies (commitment, owner, sealed) VALUES (?1, ?2, ?3)
ON CONFLICT (commitment) DO NOTHING";

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
