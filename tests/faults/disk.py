"""A small disk of a test's own: a file system in memory, which can be filled and freed from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.circle import ROOT

# Enough for the log of a test, and for the write-ahead log of SQLite, which takes 4 MB.
SIZE_MB = 16
_MOUNT = 'mount -t tmpfs -o size=${1}m none "$2" && echo mounted && exec cat'


class Disk:
    """A small file system over a folder, which only processes that are started in it can see."""

    def __init__(self, folder: Path, holder: int) -> None:
        self._namespace = f"/proc/{holder}/ns/mnt"
        # The folder as seen from outside. Not for SQLite, which resolves links by itself and goes astray.
        self.seen = Path(f"/proc/{holder}/root{folder}")

    def command(self, *words: str) -> tuple[str, ...]:
        return ("nsenter", f"--mount={self._namespace}", f"--wd={ROOT}", *words)

    def fill(self, leave: int = 0) -> None:
        """Takes all room but `leave` bytes."""
        with (self.seen / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        os.truncate(self.seen / "filler", (self.seen / "filler").stat().st_size - leave)

    def free(self) -> None:
        (self.seen / "filler").unlink()


@contextmanager
def disk(folder: Path, size_mb: int = SIZE_MB) -> Iterator[Disk]:
    """The file system, for as long as the context lasts; skips the test where none can be mounted."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        pytest.skip("no file system of our own: there is no unshare or nsenter")
    folder.mkdir(parents=True)
    command = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", str(size_mb), str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holder:
        assert holder.stdin and holder.stdout and holder.stderr
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip(f"no file system of our own: {holder.stderr.read().decode().strip()}")
        yield Disk(folder, holder.pid)  # at the end its input closes, which ends it and the file system
