"""Whose turn it is to write the lake: one process at a time, whichever machine it runs on.

Two DuckLake transactions that only append never conflict, so two collectors that both hold a record could
both commit it. In turns, each sees what the one before has committed. They also spare a SQLite catalog its
"database is locked" and a PostgreSQL one its retries.

A turn ends with its process, however that ends. A process that is only stopped keeps it: nobody else may
write until it goes on or is killed, since it could commit the moment it wakes.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import duckdb

from infra.errors import LakeError
from infra.lake.connection import POSTGRES, load, plain, quoted

# Longer than any transaction but the daily upkeep's on a large record, which takes many short turns.
_PATIENCE_S = 60.0
_LOOK_S = 0.002
# Names our lock among those that others may hold in the same database ("night" in ASCII).
_KEY = 0x6E69676874


class Turns(Protocol):
    """The right to write, which one process has at a time."""

    def take(self) -> AbstractContextManager[None]:
        """Waits for the turn and holds it.

        Raises:
            LakeError: it was not given within a minute.
            duckdb.Error: the catalog does not answer.
        """

    def close(self) -> None: ...


def turns(catalog: str) -> Turns:
    """The turns of the writers of a catalog."""
    if catalog.startswith(POSTGRES):
        return PostgresTurns(catalog.removeprefix(POSTGRES))
    return FileTurns(Path(catalog + ".turn"))


class FileTurns:
    """On one machine: a lock on a file beside the catalog, which the system frees."""

    def __init__(self, file: Path, patience_s: float = _PATIENCE_S) -> None:
        self._file = file
        self._patience_s = patience_s

    @contextmanager
    def take(self) -> Iterator[None]:
        """See `Turns.take`."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as err:
            raise LakeError(f"{self._file} cannot be written ({err}): check the disk.") from err
        try:
            self._wait(lock)
            yield
        finally:
            os.close(lock)

    def _wait(self, lock: int) -> None:
        deadline = time.monotonic() + self._patience_s
        while True:
            with suppress(BlockingIOError):
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.monotonic() > deadline:
                raise LakeError(
                    f"Another process has been writing the lake for {self._patience_s:g} s ({self._file} is "
                    "locked): look whether it hangs."
                )
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Nothing is held between turns."""


class PostgresTurns:
    """On many machines: an advisory lock of a transaction in the catalog's database, which the server frees.

    It has a connection of its own, apart from the lake's, and gives turns in the order they were asked for.
    """

    def __init__(self, dsn: str, patience_s: float = _PATIENCE_S) -> None:
        self._dsn = dsn
        self._patience_s = patience_s
        self._connection: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def take(self) -> Iterator[None]:
        """See `Turns.take`."""
        connection = self._connect()
        connection.execute("BEGIN")
        try:
            self._ask(f"set_config('lock_timeout', '{self._patience_s:g}s', true)")
            # While it writes, this connection of ours does nothing: no server may take that for a fault.
            self._ask("set_config('idle_in_transaction_session_timeout', '0', true)")
            self._ask(f"pg_advisory_xact_lock({_KEY})::text")
            yield
        finally:
            with suppress(duckdb.Error):  # a connection that broke has given the turn back
                connection.execute("ROLLBACK")

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            connection = plain()
            try:
                load(connection, "postgres_scanner")
                connection.execute(f"ATTACH {quoted(self._dsn)} AS turn (TYPE postgres, READ_ONLY)")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _ask(self, function: str) -> None:
        connection = self._connect()
        connection.execute(f"FROM postgres_query('turn', {quoted('SELECT ' + function)})").fetchall()
