"""The SQLite file of one topic of the local event log: its place, its table, its statements."""

from __future__ import annotations

import math
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")

# AUTOINCREMENT keeps offsets growing when old rows are removed.
_SCHEMA = """CREATE TABLE IF NOT EXISTS records (
    "offset" INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value BLOB NOT NULL, at REAL NOT NULL
)"""
# The offset that the next record gets.
END = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'records'), -1) + 1"
INSERT = 'INSERT INTO records ("offset", key, value, at) VALUES (?, ?, ?, ?)'
READ = 'SELECT "offset", key, value, at FROM records WHERE "offset" >= ? ORDER BY "offset" LIMIT ?'

_DELETE = """DELETE FROM records WHERE "offset" IN (
    SELECT "offset" FROM records WHERE "offset" < ? AND at < ? ORDER BY "offset" LIMIT ?
)"""
# Records removed in one transaction, which takes about a millisecond, and the seconds that others get then.
_STEP = 200
_STEP_PAUSE_S = 0.002


def path(folder: Path, topic: str) -> Path:
    return folder / f"{topic}.sqlite"


def connect(file: Path, busy_s: float = 5.0) -> sqlite3.Connection:
    """Opens a topic's file and makes sure of its table. Any thread may use it, one at a time.

    Raises:
        sqlite3.Error: the file cannot be opened, or another process holds it for over `busy_s` seconds.
    """
    connection = sqlite3.connect(file, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection, busy_s)
        # FULL: each commit is on the disk, not only in the system's cache, before it is acknowledged.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """SQLite does not wait by itself when two connections change a new file's journal at one time."""
    deadline = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


class Backlog(NamedTuple):
    """What a file, or several, hold: records, bytes that they take, when the oldest came (0 without one)."""

    records: int = 0
    bytes: int = 0
    oldest_at: float = 0.0

    @property
    def age_s(self) -> float:
        """Seconds since the oldest came; 0 without one."""
        return time.time() - self.oldest_at if self.records else 0.0

    def __add__(self, other: object) -> Backlog:
        if not isinstance(other, Backlog):
            return NotImplemented
        times = [at for at in (self.oldest_at, other.oldest_at) if at]
        return Backlog(self.records + other.records, self.bytes + other.bytes, min(times, default=0.0))


def backlog(file: Path) -> Backlog:
    """What the file holds; nothing while it does not exist. Raises sqlite3.Error as `connect` does."""
    if not file.exists():
        return Backlog()
    with closing(connect(file)) as connection:
        ((end,),) = connection.execute(END)
        first = connection.execute(READ, (0, 1)).fetchone()
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return Backlog(end - first[0], (pages - free) * size, first[3]) if first else Backlog()


def delete(file: Path, offset: int, before: float = math.inf) -> int:
    """Removes the records below an offset that came before a time; how many. Their space is used again.

    In small transactions with pauses between them, so that no append waits for more than some milliseconds.

    Raises:
        sqlite3.Error: as `connect` does.
    """
    if not file.exists():
        return 0
    removed = 0
    with closing(connect(file)) as connection:
        # What a power cut brings back is deleted again, so no commit needs to wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
        while some := connection.execute(_DELETE, (offset, before, _STEP)).rowcount:
            removed += some
            time.sleep(_STEP_PAUSE_S)
    return removed


def bad_name(name: str) -> str:
    """Why a topic or a group cannot have this name, or nothing."""
    if _NAME.fullmatch(name):
        return ""
    return f"{name!r} cannot name a topic or a group: use a-z, 0-9, '.', '_' and '-', at most 100 characters."
