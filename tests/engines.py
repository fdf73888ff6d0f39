"""Engines as processes, for tests: the stub, and the real one with the repository's base model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.settings import child_environment

REPOSITORY = Path(__file__).parent.parent
BASE_MODEL = REPOSITORY / "models" / "smollm2-135m"


@contextmanager
def stub_process(port: int, log: Path, *options: str, killed: bool = False) -> Iterator[str]:
    """The stub engine's address while it runs. `killed`: it ends by SIGKILL, without a word to anybody."""
    command = [sys.executable, "tests/stub_engine.py", "--port", str(port), *options]
    with _running(command, {}, port, log, 20, killed) as url:
        yield url


@contextmanager
def real_process(port: int, log: Path, *, killed: bool = False) -> Iterator[str]:
    """The real engine's address while it runs; it starts in 30 to 60 seconds."""
    variables = {"NIGHTSHIFT_ENGINE__PORT": str(port), "NIGHTSHIFT_MODELS": str(BASE_MODEL.parent)}
    command = [sys.executable, "-m", "infra.engine_process"]
    with _running(command, variables, port, log, 300, killed) as url:
        yield url


@contextmanager
def _running(
    command: Sequence[str],
    variables: dict[str, str],
    port: int,
    log: Path,
    start_s: float,
    killed: bool,
) -> Iterator[str]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=child_environment(**variables),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url + "/health", process, log, start_s)
        yield url
    finally:
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # The engine has children of its own, which outlive it when it is killed.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, start_s: float) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the engine ended: {log.read_text()[-2000:]}"
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise AssertionError(f"no engine within {start_s} s: {log.read_text()[-2000:]}")
