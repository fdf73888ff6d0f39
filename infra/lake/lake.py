"""Reading and writing the record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import duckdb
from pydantic_core import to_json

from infra import sql
from infra.errors import LakeError, Unstorable
from infra.eventlog.base import LOCAL, Partition
from infra.lake.connection import attached, explained
from infra.lake.turns import Turns, turns
from infra.settings import Settings

Row = Mapping[str, object]


class Lake:
    """One connection to the record, which several threads may use. A context manager.

    Several processes read at the same time; those that write take turns.

    A table with an `event_id` holds each id once. The check costs little however long the record grows:
    ids are ULIDs, so a batch's ids lie close together in time, and DuckLake's statistics let it skip every
    file whose ids end before them. An old id that comes again widens the range and costs one scan of the
    `event_id` column; it is never missed.
    """

    def __init__(self, connect: Callable[[], duckdb.DuckDBPyConnection], writers: Turns) -> None:
        """`connect` gives connections that have the lake attached as their current database; see `open`."""
        self._connect = connect
        self._connection = connect()
        self._broken = False
        self._closed = False
        self._lock = threading.Lock()
        self._turns = writers
        self._writing = threading.RLock()
        self._depth = 0
        self._queries = sql.queries()
        self._columns: dict[str, dict[str, str]] = {}

    @classmethod
    def open(cls, settings: Settings, *, writable: bool = False, snapshot: int | None = None) -> Lake:
        """Opens the lake of `settings`, as it is now and will be, or fixed as it was at `snapshot`.

        `writable` creates it where there is none and brings its schema up to date.

        Raises:
            LakeError: there is no lake yet, no such snapshot, it cannot be read, or its schema is of a
                newer program.
        """
        assert not (writable and snapshot is not None), "a snapshot is for reading"
        connect = partial(attached, settings, writable=writable, snapshot=snapshot)
        writers = turns(settings.lake_catalog)
        # The first to attach creates the catalog's tables, which two at once cannot.
        with explained("The lake's catalog cannot be opened"), writers.take() if writable else nullcontext():
            lake = cls(connect, writers)
        try:
            lake._check_schema(writable)
            if writable:
                lake._migrate()
        except BaseException:
            lake.close()
            raise
        return lake

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Holds the right to write: until the end, other processes' writers wait. May be nested.

        Each writing call takes it by itself; take it around several that must see no other's in between.

        Raises:
            LakeError: another process has held it for a minute, or the catalog does not answer.
        """
        with self._writing:
            if self._depth:
                yield
                return
            with explained("The lake's catalog gave no turn to write"), self._turns.take():
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    def query(self, name: str, /, **params: object) -> list[dict[str, Any]]:
        """The rows of a named query. Times are UTC, JSON columns are text.

        Raises:
            LakeError: an unknown name, missing or unknown parameters, or the lake cannot be read now.
        """
        if name not in self._queries:
            raise LakeError(
                f"There is no query {name!r} in infra/sql; known are {', '.join(sorted(self._queries))}."
            )
        query = self._queries[name]
        if query.parameters != params.keys():
            raise LakeError(
                f"The query {name!r} takes {sorted(query.parameters)}, but got {sorted(params)}: "
                "pass exactly those."
            )
        what = f"The query {name!r} failed"
        try:
            return self._fetch(what, query, params)
        except Unstorable:
            raise
        except LakeError:
            # PostgreSQL was restarted; or another process moved rows from the catalog to a file, after which
            # DuckLake 1.5 looks for them in vain until it is attached anew (ducklake#1413).
            return self._fetch(what, query, params)

    def append(
        self, rows: Mapping[str, Sequence[Row]], offsets: Mapping[Partition, int], log: str = LOCAL
    ) -> dict[str, int]:
        """Writes rows by table and the next offsets of a log in ONE transaction: all or nothing.

        A row may leave columns out. Returns how many rows of each table were new: a row whose `event_id`
        the table holds already, or that came earlier in the same batch, is not written again.

        Raises:
            Unstorable: a value does not fit; nothing was written.
            LakeError: nothing was written, unless the catalog broke off in the middle of the commit; then
                `offsets` tells.
        """
        now = datetime.now(UTC)
        moved = [
            {"at": now, "log": log, "topic": part.topic, "partition": part.number, "next_offset": offset}
            for part, offset in offsets.items()
        ]
        with self.turn(), self._using("The lake did not take a batch"), self._transaction():
            stored = {table: self._insert(table, some) for table, some in rows.items() if some}
            if moved:
                self._insert("offsets", moved)
        return stored

    def offsets(self, log: str = LOCAL) -> dict[Partition, int]:
        """The next offset to read of each partition of a log; a partition never read is missing."""
        found = self.query("offsets", log=log)
        return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in found}

    def snapshot(self) -> int:
        """The number of the version that a query would read now."""
        return int(self.query("snapshot")[0]["id"])

    def compact(self) -> None:
        """Moves rows that small commits left in the catalog to Parquet, and merges small files.

        Older snapshots stay readable. Without it, some hundred commits a day make queries slow (1,000 files:
        a second for one over all interactions; merging 500 takes half a second).
        """
        with self.turn(), self._using("The lake's files cannot be merged"):
            self._connection.execute("CALL ducklake_flush_inlined_data('lake')")
            self._connection.execute("CALL ducklake_merge_adjacent_files('lake')")

    def close(self) -> None:
        self._closed = True
        self._connection.close()
        self._turns.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, what: str, query: sql.Query, params: Mapping[str, object]) -> list[dict[str, Any]]:
        with self._using(what):
            return _read(self._connection.execute(query.sql, params or None))

    @contextmanager
    def _using(self, what: str) -> Iterator[None]:
        """The connection for one thread. One that failed is replaced for the next."""
        with self._lock, explained(what):
            if self._closed:
                raise LakeError(f"{what}: this lake is closed.")
            if self._broken:
                self._connection.close()
                self._connection = self._connect()
                self._broken = False
            try:
                yield
            except duckdb.Error:
                self._broken = True
                raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT has ended the transaction already; then there is nothing to roll back.
            with suppress(duckdb.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _insert(self, table: str, rows: Sequence[Row]) -> int:
        """Inserts the rows that are new to the table; how many those were."""
        types = self._types(table)
        if "event_id" in types:
            rows = self._new(table, rows)
        unknown = set[str]().union(*rows) - types.keys()
        assert not unknown, f"{table} has no columns {unknown}"
        if rows:
            # As JSON a row costs a sixth of what it costs value by value.
            kinds = ", ".join(f'"{column}":"{kind}"' for column, kind in types.items())
            self._connection.execute(
                f"INSERT INTO \"{table}\" BY NAME SELECT unnest(from_json_strict(row, '{{{kinds}}}')) "  # noqa: S608
                "FROM (SELECT unnest($rows::VARCHAR[]) AS row)",
                {"rows": [_text(table, row, types) for row in rows]},
            )
        return len(rows)

    def _new(self, table: str, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows whose event id neither the table nor an earlier row has."""
        first = {str(row["event_id"]): row for row in reversed(rows)}
        lowest, highest = min(first), max(first)
        known = self._connection.execute(
            f'SELECT event_id FROM "{table}" WHERE event_id BETWEEN $lowest AND $highest',  # noqa: S608
            {"lowest": lowest, "highest": highest},
        ).fetchall()
        for (event_id,) in known:
            first.pop(event_id, None)
        return list(reversed(first.values()))

    def _types(self, table: str) -> Mapping[str, str]:
        """The table's columns with their SQL types, in order."""
        if table not in self._columns:
            found = self._connection.execute(f'DESCRIBE "{table}"').fetchall()
            self._columns[table] = {row[0]: row[1] for row in found}
        return self._columns[table]

    def _version(self) -> int:
        """The version of the schema; 0 where there is none."""
        with self._using("The lake's schema cannot be read"):
            made = ("schema_version",) in self._connection.execute("SHOW TABLES").fetchall()
        return int(self.query("schema")[0]["version"]) if made else 0

    def _check_schema(self, writable: bool) -> None:
        version, known = self._version(), len(sql.migrations())
        state = f"The lake's schema is at version {version}, this program knows {known}"
        if version > known:
            raise LakeError(f"{state}: upgrade it.")
        if version < known and not writable:
            raise LakeError(f"{state}: start the collector, which brings the lake up to date.")

    def _migrate(self) -> None:
        """Takes the steps that are missing, each in one transaction with the version it reaches."""
        if self._version() == len(sql.migrations()):
            return
        with self.turn():
            self._take_steps()

    def _take_steps(self) -> None:
        for step in sql.migrations()[self._version() :]:
            with self._using(f"The lake's schema did not take {step.name}"), self._transaction():
                self._connection.execute(step.sql)
                reached = {"at": datetime.now(UTC), "version": step.version, "name": step.name}
                self._insert("schema_version", [reached])
        self.compact()  # rows of older schemas leave the catalog before other processes know their place


def _text(table: str, row: Row, columns: Iterable[str]) -> str:
    """A row with all `columns` as JSON."""
    whole = {column: row.get(column) for column in columns}
    try:
        return to_json(whole, inf_nan_mode="strings").decode()
    except ValueError as err:  # half a surrogate pair
        raise Unstorable(f"A row of {table} cannot be written: {err}.") from err


def _read(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """All rows as dictionaries, with the standard library's UTC in place of the driver's."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]


def _plain(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
