"""Changes a ledger as somebody could who may write its database: `tamper.py DATABASE CHANGE`. Of the standard library only."""

import hashlib
import sqlite3
import sys

DATABASE, CHANGE = sys.argv[1:]


def leaf_of(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def flip(data, at):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def record(db, place):
    return db.execute("SELECT bytes, leaf FROM records WHERE place = ?", (place,)).fetchone()


def put(db, place, entry, leaf):
    db.execute("UPDATE records SET bytes = ?, leaf = ? WHERE place = ?", (entry, leaf, place))


def changed_byte(db):
    entry, leaf = record(db, 5)
    put(db, 5, flip(entry, len(entry) // 2), leaf)


def changed_leaf(db):
    entry, leaf = record(db, 5)
    put(db, 5, entry, flip(leaf, 7))


def changed_record_with_its_leaf(db):
    place, entry = next(
        (place, entry) for place, entry in db.execute("SELECT place, bytes FROM records WHERE place > 3") if b"alice" in entry)
    forged = entry.replace(b"alice", b"carol")
    put(db, place, forged, leaf_of(forged))


def removed_record(db):
    db.execute("DELETE FROM records WHERE place = 5")


def removed_record_and_closed_the_gap(db):
    removed_record(db)
    for (place,) in db.execute("SELECT place FROM records WHERE place > 5 ORDER BY place").fetchall():
        db.execute("UPDATE records SET place = ? WHERE place = ?", (place - 1, place))
    db.execute("UPDATE head SET size = size - 1")


def truncated_tail(db):
    db.execute("DELETE FROM records WHERE place >= (SELECT size FROM head) - 3")


def truncated_tail_with_the_head(db):
    truncated_tail(db)
    db.execute("UPDATE head SET size = size - 3")


def swapped_records(db):
    one, other = record(db, 5), record(db, 6)
    put(db, 5, *other)
    put(db, 6, *one)


def appended_record(db):
    size = db.execute("SELECT size FROM head").fetchone()[0]
    entry, leaf = record(db, 5)
    db.execute("INSERT INTO records (place, id, linked_to, leaf, bytes) VALUES (?, 'forged', NULL, ?, ?)", (size, leaf, entry))


def longer_head(db):
    db.execute("UPDATE head SET size = size + 1")


def changed_frontier(db):
    frontier = db.execute("SELECT frontier FROM head").fetchone()[0]
    db.execute("UPDATE head SET frontier = ?", (flip(frontier, len(frontier) - 1),))


def last_note(db):
    return db.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()


def forged_root(db):
    size, note = last_note(db)
    lines = note.split("\n")
    lines[2] = ("B" if lines[2][0] == "A" else "A") + lines[2][1:]
    db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", ("\n".join(lines), size))


def forged_size(db):
    size, note = last_note(db)
    db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note.replace(f"\n{size}\n", f"\n{size - 1}\n"), size))


def forged_signature(db):
    size, note = last_note(db)
    at = len(note) - 10
    other = "B" if note[at] == "A" else "A"
    db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note[:at] + other + note[at + 1:], size))


def unsigned_checkpoint(db):
    size, note = last_note(db)
    db.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note[:note.index("\n\n") + 2], size))


def moved_checkpoint(db):
    size, _ = last_note(db)
    db.execute("UPDATE checkpoints SET size = ? WHERE size = ?", (size - 1, size))


def removed_last_checkpoint(db):
    db.execute("DELETE FROM checkpoints WHERE size = ?", (last_note(db)[0],))


def removed_checkpoints(db):
    db.execute("DELETE FROM checkpoints")


def rolled_back_to_the_first_checkpoint(db):
    first = db.execute("SELECT min(size) FROM checkpoints").fetchone()[0]
    db.execute("DELETE FROM checkpoints WHERE size > ?", (first,))
    db.execute("DELETE FROM records WHERE place >= ?", (first,))
    db.execute("UPDATE head SET size = ?", (first,))


def emptied(db):
    for table in ("checkpoints", "records"):
        db.execute(f"DELETE FROM {table}")
    db.execute("UPDATE head SET size = 0, revision = 0, last_at = NULL")


def unreadable_record(db):
    entry = b"\xff" * 40
    put(db, 5, entry, leaf_of(entry))


with sqlite3.connect(DATABASE) as database:
    globals()[CHANGE](database)
database.close()
