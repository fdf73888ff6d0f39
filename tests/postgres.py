"""A real PostgreSQL for tests, from the system's package: one server a session, a database for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0
# PostgreSQL refuses to run as root; its package brings this user.
_USER = "postgres"
# Crashes of our processes are tested, not of the machine.
_QUICK = ("-c", "fsync=off", "-c", "max_connections=200")


def _program(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps off the PATH; empty without one."""
    found = [str(file) for file in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return shutil.which(name) or (found[-1] if found else "")


def missing() -> str:
    """Why PostgreSQL cannot be started here, or nothing."""
    return "" if _program("initdb") else "no initdb: install the system's package postgresql"


class Server:
    """A server on loopback, with its data under `folder`, which may be stopped and started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._user = _USER if os.getuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder.with_suffix(".log")
        folder.mkdir(parents=True)
        if self._user:
            shutil.chown(folder, self._user)
            for parent in folder.parents:  # pytest's folders are their owner's alone
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._run("initdb", "-D", str(folder / "data"), "-U", "nightshift", "--auth=trust", "--no-sync")

    def start(self) -> None:
        """Again, where another program's connection holds the port for a moment."""
        deadline = time.monotonic() + START_S
        while self._ask("SELECT 1").returncode:
            if self._process is None or self._process.poll() is not None:
                self._process = self._begin()
            assert time.monotonic() < deadline, f"PostgreSQL does not answer: {self._log.read_text()[-2000:]}"
            time.sleep(0.1)

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [_program("postgres"), "-D", str(self._folder / "data"), *_QUICK, *self._place()]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, user=self._user, cwd="/", stderr=log)

    def stop(self) -> None:
        """At once, whoever is connected."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(2)  # SIGINT: a fast shutdown
            self._process.wait(START_S)

    def database(self, name: str) -> str:
        """The catalog setting for a new, empty database."""
        done = self._ask(f"CREATE DATABASE {name}")
        assert not done.returncode, done.stderr
        return f"postgres:host=127.0.0.1 port={self._port} user=nightshift dbname={name}"

    def _place(self) -> list[str]:
        return ["-p", str(self._port), "-h", "127.0.0.1", "-k", ""]

    def _ask(self, sql: str) -> subprocess.CompletedProcess[bytes]:
        place = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "nightshift", "-d", "postgres"]
        return subprocess.run(
            [_program("psql"), *place, "-Atc", sql], check=False, capture_output=True, cwd="/"
        )

    def _run(self, name: str, *arguments: str) -> None:
        command = [_program(name), *arguments]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd="/")


@contextmanager
def running(folder: Path, port: int) -> Iterator[Server]:
    """A server that runs, and is stopped in the end."""
    server = Server(folder, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
