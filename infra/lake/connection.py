"""A connection to DuckDB with the lake attached: where catalog and files are, and how they are reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import duckdb

from infra.errors import LakeError, Unstorable
from infra.sections import S3Settings
from infra.settings import Settings

POSTGRES = "postgres:"

# Extensions come from wheels, or from what was installed on purpose: never from the network by themselves.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

# What to do about an error of DuckDB, by a part of its message.
_NEXT_STEPS = {
    "locked": "Another process holds the catalog: try again.",
    "lock timeout": "Another collector holds the catalog: look whether one of them hangs.",
    "No snapshot found": "That version was never written, or has been expired: choose a later one.",
    "httpfs": "Files on S3 need an extension (`pip install nightshift[s3]`).",
    "postgres_scanner": "A catalog in PostgreSQL needs an extension (`pip install nightshift[postgres]`).",
    "xtension": "Install this room's extra (`pip install nightshift[collector]`).",
    "read-only": "Only the collector writes: open the lake with writable=True there.",
    "Conversion Error": "Pass values of the types that the query names.",
    "onnection": "Look whether PostgreSQL runs, and at lake.catalog.",
    "HTTP": "Look whether the S3 store runs, and at lake.files and lake.s3.",
}


def plain() -> duckdb.DuckDBPyConnection:
    """A connection with nothing attached."""
    connection = duckdb.connect(":memory:", config=_CONFIG)
    # It would be drawn on stdout after two seconds, even into a pipe.
    connection.execute("SET enable_progress_bar = false")
    return connection


def attached(settings: Settings, *, writable: bool, snapshot: int | None) -> duckdb.DuckDBPyConnection:
    """A connection whose current database is the lake of `settings`; its owner closes it.

    Raises:
        LakeError: there is no lake yet, no such snapshot, or it cannot be reached.
    """
    with explained(f"The lake {settings.lake_catalog} cannot be opened"):
        connection = plain()
        try:
            _attach(connection, settings, writable, snapshot)
        except BaseException:
            connection.close()
            raise
    return connection


def _attach(
    connection: duckdb.DuckDBPyConnection, settings: Settings, writable: bool, snapshot: int | None
) -> None:
    catalog, options = _catalog(settings.lake_catalog, writable)
    load(connection, "ducklake")
    if catalog.startswith(POSTGRES):
        load(connection, "postgres_scanner")
    else:
        load(connection, "sqlite_scanner")
        # A scan that threads may share opens a connection of its own, beside the transaction that reads the
        # catalog: a query beside a flush then finds the rows that move neither there nor in a file.
        connection.execute("SET GLOBAL sqlite_disable_multithreaded_scans = true")
    folder = settings.lake_files
    if folder.startswith("s3://"):
        _reach_s3(connection, settings.lake.s3)
    local = folder if "://" in folder else str(Path(folder).absolute())
    # Files are named relative to the data path, so the whole data folder may be moved.
    options = [f"DATA_PATH {quoted(local)}", "OVERRIDE_DATA_PATH true", *options]
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot:d}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"ATTACH {quoted('ducklake:' + catalog)} AS lake ({', '.join(options)})")
    connection.execute("USE lake")


def _catalog(catalog: str, writable: bool) -> tuple[str, list[str]]:
    """The catalog as DuckLake wants it named, and how to attach it.

    `postgres:…` is a PostgreSQL connection string, everything else a SQLite file.
    """
    options = [] if writable else ["READ_ONLY", "CREATE_IF_NOT_EXISTS false"]
    if catalog.startswith(POSTGRES):
        return catalog, options
    if writable:
        Path(catalog).parent.mkdir(parents=True, exist_ok=True)
    elif not Path(catalog).is_file():
        raise LakeError(f"There is no lake at {catalog} yet: start the collector, which creates it.")
    # Without these two, a writer and a reader wait for each other: p99 1 to 2 s instead of 64 ms.
    return f"sqlite:{catalog}", [*options, "META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 5000"]


def _reach_s3(connection: duckdb.DuckDBPyConnection, s3: S3Settings) -> None:
    load(connection, "httpfs")
    options = [
        "TYPE s3",
        f"KEY_ID {quoted(s3.key_id)}",
        f"SECRET {quoted(s3.secret.get_secret_value())}",
        f"REGION {quoted(s3.region)}",
        f"URL_STYLE {quoted(s3.url_style)}",
        f"USE_SSL {str(s3.use_ssl).lower()}",
        *([f"ENDPOINT {quoted(s3.endpoint)}"] if s3.endpoint else []),
    ]
    connection.execute(f"CREATE SECRET ({', '.join(options)})")


def load(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Loads an extension from its wheel, in place: nothing is copied, so a read-only home is fine.

    Without the wheel, DuckDB looks where `INSTALL` put it.
    """
    module = f"duckdb_extension_{name}"
    if find_spec(module):
        file = files(module) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        connection.execute(f"LOAD {quoted(str(file))}")
    else:
        connection.execute(f"LOAD {name}")


def quoted(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns DuckDB's errors into ours: `Unstorable` where it is the values' fault."""
    try:
        yield
    except duckdb.Error as err:
        first = str(err).strip().splitlines()[0].rstrip(".")
        kind = Unstorable if isinstance(err, (duckdb.DataError, duckdb.InvalidInputException)) else LakeError
        raise kind(f"{what}: {first}. {_next_step(err)}") from err


def _next_step(err: duckdb.Error) -> str:
    said = str(err)
    for sign, step in _NEXT_STEPS.items():
        if sign in said:
            return step
    return "Check that the disk has room and that the lake's folder can be read and written."
