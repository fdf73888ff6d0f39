"""The record: DuckLake, which is DuckDB's SQL over Parquet files with a transactional catalog.

The only importer of duckdb. One process writes (the collector), others read at the same time. Rows are
only appended; what they mean is the business of the queries in `infra/sql`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from infra import sql
from infra.errors import LakeError
from infra.eventlog.base import Partition
from infra.settings import Settings

Row = Mapping[str, object]

# Extensions come from wheels, or from what was installed on purpose: never from the network by themselves.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

# What to do about an error of DuckDB, by a part of its message.
_NEXT_STEPS = {
    "locked": "Another process holds the catalog: try again, and run one collector only.",
    "No snapshot found": "That version was never written, or has been expired: choose a later one.",
    "xtension": "Install this room's extra (`pip install nightshift[collector]`).",
    "read-only": "Only the collector writes: open the lake with writable=True there.",
    "Conversion Error": "Pass values of the types that the query names.",
}


class Lake:
    """One connection to the record; calls from several threads take turns. A context manager.

    A table with an `event_id` holds each id once. The check costs little however long the record grows:
    ids are ULIDs, so a batch's ids lie close together in time, and DuckLake's statistics let it skip every
    file whose ids end before them. An old id that comes again widens the range and costs one scan of the
    `event_id` column; it is never missed.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Takes a connection that has the lake attached as its current database; see `open`."""
        self._connection = connection
        self._lock = threading.Lock()
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
        with _explained(f"The lake {settings.lake_catalog} cannot be opened"):
            connection = duckdb.connect(":memory:", config=_CONFIG)
        try:
            _attach(connection, settings, writable, snapshot)
            lake = cls(connection)
            lake._check_schema(writable)
            if writable:
                lake._migrate()
            return lake
        except BaseException:
            connection.close()
            raise

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
        with self._lock, _explained(f"The query {name!r} failed"):
            return _read(self._connection.execute(query.sql, params or None))

    def append(self, rows: Mapping[str, Sequence[Row]], offsets: Mapping[Partition, int]) -> dict[str, int]:
        """Writes rows by table and the partitions' next offsets in ONE transaction: all or nothing.

        A row may leave columns out. Returns how many rows of each table were new: a row whose `event_id`
        the table holds already, or that came earlier in the same batch, is not written again.

        Raises:
            LakeError: nothing was written, unless the catalog broke off in the middle of the commit; then
                `offsets` tells.
        """
        moved = [
            {"at": datetime.now(UTC), "topic": part.topic, "partition": part.number, "next_offset": offset}
            for part, offset in offsets.items()
        ]
        with self._lock, _explained("The lake did not take a batch"), self._transaction():
            stored = {table: self._insert(table, some) for table, some in rows.items() if some}
            if moved:
                self._insert("offsets", moved)
        return stored

    def offsets(self) -> dict[Partition, int]:
        """The next offset to read of each partition; a partition never read is missing."""
        found = self.query("offsets")
        return {Partition(row["topic"], row["partition"]): row["next_offset"] for row in found}

    def snapshot(self) -> int:
        """The number of the version that a query would read now."""
        return int(self.query("snapshot")[0]["id"])

    def compact(self) -> None:
        """Moves rows that small commits left in the catalog to Parquet, and merges small files.

        Older snapshots stay readable. Without it, some hundred commits a day make queries slow (1,000 files:
        a second for one over all interactions; merging 500 takes half a second).
        """
        with self._lock, _explained("The lake's files cannot be merged"):
            self._connection.execute("CALL ducklake_flush_inlined_data('lake')")
            self._connection.execute("CALL ducklake_merge_adjacent_files('lake')")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        """Inserts the rows that are new to the table, column by column; how many those were."""
        types = self._types(table)
        if "event_id" in types:
            rows = self._new(table, rows)
        unknown = {column for row in rows for column in row} - types.keys()
        assert not unknown, f"{table} has no columns {unknown}"
        if rows:
            names = ", ".join(f'"{column}"' for column in types)
            lists = ", ".join(f"unnest(${column}::{kind}[])" for column, kind in types.items())
            values = {column: [row.get(column) for row in rows] for column in types}
            self._connection.execute(f'INSERT INTO "{table}" ({names}) SELECT {lists}', values)
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
        with _explained("The lake's schema cannot be read"):
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
        for step in sql.migrations()[self._version() :]:
            with _explained(f"The lake's schema did not take {step.name}"), self._transaction():
                self._connection.execute(step.sql)
                reached = {"at": datetime.now(UTC), "version": step.version, "name": step.name}
                self._insert("schema_version", [reached])


def _attach(
    connection: duckdb.DuckDBPyConnection, settings: Settings, writable: bool, snapshot: int | None
) -> None:
    """Makes the lake the connection's current database.

    The catalog's setting decides its kind: `postgres:…` is a PostgreSQL connection string, everything else
    a SQLite file.
    """
    catalog = settings.lake_catalog
    folder = settings.lake_files
    local = folder if "://" in folder else str(Path(folder).absolute())
    # Files are named relative to the data path, so the whole data folder may be moved.
    options = [f"DATA_PATH {_quoted(local)}", "OVERRIDE_DATA_PATH true"]
    if catalog.startswith("postgres:"):
        extension = "postgres_scanner"
    else:
        extension = "sqlite_scanner"
        if writable:
            Path(catalog).parent.mkdir(parents=True, exist_ok=True)
        elif not Path(catalog).is_file():
            raise LakeError(f"There is no lake at {catalog} yet: start the collector, which creates it.")
        catalog = f"sqlite:{catalog}"
        # Without these two, a writer and a reader wait for each other: p99 1 to 2 s instead of 64 ms.
        options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 5000"]
    if not writable:
        options += ["READ_ONLY", "CREATE_IF_NOT_EXISTS false"]
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot:d}")
    with _explained(f"The lake {settings.lake_catalog} cannot be opened"):
        for name in ("ducklake", extension):
            _load(connection, name)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {_quoted('ducklake:' + catalog)} AS lake ({', '.join(options)})")
        connection.execute("USE lake")


def _load(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Loads an extension from its wheel, in place: nothing is copied, so a read-only home is fine.

    Without the wheel, DuckDB looks where `INSTALL` put it.
    """
    module = f"duckdb_extension_{name}"
    if find_spec(module):
        file = files(module) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        connection.execute(f"LOAD {_quoted(str(file))}")
    else:
        connection.execute(f"LOAD {name}")


def _quoted(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns DuckDB's errors into ours."""
    try:
        yield
    except duckdb.Error as err:
        first = str(err).strip().splitlines()[0].rstrip(".")
        raise LakeError(f"{what}: {first}. {_next_step(err)}") from err


def _next_step(err: duckdb.Error) -> str:
    said = str(err)
    for sign, step in _NEXT_STEPS.items():
        if sign in said:
            return step
    return "Check that the disk has room and that the lake's folder can be read and written."


def _read(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """All rows as dictionaries, with the standard library's UTC in place of the driver's."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]


def _plain(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
