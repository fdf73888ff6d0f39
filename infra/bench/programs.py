"""Programs that a measurement starts and ends, and when they are ready."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.errors import ProcessError
from infra.settings import child_environment

_START_S = 60.0
_STOP_S = 30.0


@contextmanager
def running(command: Sequence[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program with these variables; what it says goes to `log`. It is ended with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=child_environment(**variables), stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        process.kill()
        process.wait()


def until_ready(url: str, path: str = "/readyz", patience_s: float = _START_S) -> None:
    """Waits until `path` says 200.

    Raises:
        ProcessError: it does not within `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{url}{path}", timeout=5):  # noqa: S310 - our own
            return
        time.sleep(0.1)
    raise ProcessError(f"Nothing is ready at {url} within {patience_s:.0f} s: run it by hand to see why.")
