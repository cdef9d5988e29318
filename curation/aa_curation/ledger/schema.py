"""The tables of a ledger in SQLite.

A corpus of a million clips is one file that answers by column: a funnel is a count over an index, a
clip a look at one row, another threshold a pass over the column of checks. Every change is a
transaction, so that a kill or a power cut leaves the state before it or after it.
"""

from __future__ import annotations

import sqlite3

from aa_curation.ledger.records import CorpusHead, to_json

VERSION = 2
_SCHEMA = """
CREATE TABLE head (content TEXT NOT NULL);
CREATE TABLE events (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE fetches (source_id TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE surveys (
  source_id TEXT PRIMARY KEY, source_sha256 TEXT NOT NULL, packets_sha256 TEXT NOT NULL,
  content TEXT NOT NULL
);
CREATE INDEX surveys_by_source ON surveys (source_sha256);
CREATE INDEX surveys_by_packets ON surveys (packets_sha256);
CREATE TABLE planned (clip_id TEXT PRIMARY KEY, source_id TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX planned_by_source ON planned (source_id);
CREATE TABLE reasons (code INTEGER PRIMARY KEY, reason TEXT NOT NULL UNIQUE);
CREATE TABLE clips (
  clip_id TEXT PRIMARY KEY, source_id TEXT NOT NULL,
  status TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, measured REAL, threshold REAL,
  detail TEXT NOT NULL, seconds REAL NOT NULL,
  owner TEXT NOT NULL, consent TEXT NOT NULL, uploader TEXT NOT NULL, person TEXT NOT NULL,
  split TEXT, licence TEXT, duration_s REAL,
  mp4_sha256 TEXT NOT NULL, pose_sha256 TEXT NOT NULL, clip TEXT, signature BLOB, checks BLOB
);
CREATE INDEX clips_by_reason ON clips (status, reason);
CREATE INDEX clips_by_source ON clips (source_id);
CREATE TABLE replaced (
  number INTEGER PRIMARY KEY, clip_id TEXT, status TEXT, stage TEXT, reason TEXT, measured REAL,
  threshold REAL
);
CREATE TRIGGER clips_updated BEFORE UPDATE ON clips BEGIN
  INSERT INTO replaced (clip_id, status, stage, reason, measured, threshold)
  VALUES (old.clip_id, old.status, old.stage, old.reason, old.measured, old.threshold);
END;
CREATE TRIGGER clips_deleted BEFORE DELETE ON clips BEGIN
  INSERT INTO replaced (clip_id, status, stage, reason, measured, threshold)
  VALUES (old.clip_id, old.status, old.stage, old.reason, old.measured, old.threshold);
END;
CREATE TABLE shard_of (clip_id TEXT PRIMARY KEY, shard TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE packed (
  shard TEXT PRIMARY KEY, num_bytes INTEGER NOT NULL, clips_sha256 TEXT NOT NULL
) WITHOUT ROWID;
"""
# Accepted, or only out because of another clip.
IN_QUESTION = (
    "signature IS NOT NULL AND (status = 'accepted' OR reason IN ('near_duplicate', 'split_leak'))"
)
# Of version 2: the blocks of a run, and near duplicates that are searched for new clips alone.
_NEW_IN_2 = f"""
CREATE INDEX clips_in_question ON clips (source_id, split, uploader, person) WHERE {IN_QUESTION};
CREATE TABLE blocks (source_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE closed_blocks (number INTEGER PRIMARY KEY);
CREATE TABLE alike (
  first TEXT NOT NULL, second TEXT NOT NULL, distance REAL NOT NULL, PRIMARY KEY (first, second)
) WITHOUT ROWID;
CREATE INDEX alike_by_second ON alike (second);
CREATE TABLE alike_by (bounds TEXT NOT NULL);
CREATE TABLE unsearched (clip_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER signature_added AFTER INSERT ON clips WHEN new.signature IS NOT NULL BEGIN
  INSERT OR IGNORE INTO unsearched VALUES (new.clip_id);
END;
CREATE TRIGGER signature_changed AFTER UPDATE OF signature ON clips
WHEN new.signature IS NOT old.signature BEGIN
  INSERT OR IGNORE INTO unsearched VALUES (new.clip_id);
END;
"""
_UPGRADE_1 = """
DROP TABLE alike; DROP TABLE alike_by; DROP TRIGGER signature_added; DROP TRIGGER signature_changed;
"""
# What a file of version 1 that may only be read lacks.
_FOR_READING_1 = """
CREATE TEMP TABLE blocks (source_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE closed_blocks (number INTEGER PRIMARY KEY);
CREATE TEMP TABLE unsearched (clip_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


def new_tables(path: str, head: CorpusHead) -> sqlite3.Connection:
    """Make the tables of an empty ledger; at "" they lie in a temporary file."""
    db = sqlite3.connect(path, timeout=60)
    db.executescript(f"PRAGMA user_version = {VERSION}; BEGIN; {_SCHEMA} {_NEW_IN_2} COMMIT;")
    db.execute("INSERT INTO head VALUES (?)", (to_json(head),))
    return db


def upgrade(db: sqlite3.Connection) -> None:
    """Bring a file of version 1 to this one: near duplicates are searched once more."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 1:
        script = f"BEGIN; {_UPGRADE_1} {_NEW_IN_2} PRAGMA user_version = {VERSION}; COMMIT;"
        db.executescript(script)


def complete_for_reading(db: sqlite3.Connection) -> None:
    """Give a file of version 1 the tables that it lacks, empty and outside of it."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'blocks'").fetchone():
        db.executescript(_FOR_READING_1)
