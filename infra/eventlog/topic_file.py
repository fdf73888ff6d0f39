"""The SQLite file of one topic of the local event log: its place, its table, its statements."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")

# AUTOINCREMENT keeps offsets growing even if old rows should be removed one day.
_SCHEMA = """CREATE TABLE IF NOT EXISTS records (
    "offset" INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value BLOB NOT NULL, at REAL NOT NULL
)"""
# The offset that the next record gets.
END = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'records'), -1) + 1"
INSERT = 'INSERT INTO records ("offset", key, value, at) VALUES (?, ?, ?, ?)'
READ = 'SELECT "offset", key, value, at FROM records WHERE "offset" >= ? ORDER BY "offset" LIMIT ?'


def path(folder: Path, topic: str) -> Path:
    return folder / f"{topic}.sqlite"


def connect(file: Path, busy_s: float = 5.0) -> sqlite3.Connection:
    """Opens a topic's file and makes sure of its table. Any thread may use it, one at a time.

    Raises:
        sqlite3.Error: the file cannot be opened, or another process holds it for over `busy_s` seconds.
    """
    connection = sqlite3.connect(file, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: each commit is on the disk, not only in the system's cache, before it is acknowledged.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def bad_name(name: str) -> str:
    """Why a topic or a group cannot have this name, or nothing."""
    if _NAME.fullmatch(name):
        return ""
    return f"{name!r} cannot name a topic or a group: use a-z, 0-9, '.', '_' and '-', at most 100 characters."
