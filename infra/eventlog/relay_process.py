"""Keeps a relay running as a process of its own, for as long as ours runs and no longer."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from infra.sections import KafkaSettings

logger = logging.getLogger(__name__)

# How soon its end is noticed, and how long it is left alone then.
_LOOK_S = 0.5
_PAUSE_S = 1.0
# For what is on its way to be acknowledged, and deleted.
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """What a relay's process is to do. It comes on standard input, where nobody else sees passwords."""

    folder: Path
    kafka: KafkaSettings

    def encode(self) -> bytes:
        """One line of JSON."""
        whole = {"folder": str(self.folder.absolute()), "kafka": self.kafka.model_dump()}
        return json.dumps(whole, default=SecretStr.get_secret_value).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Self:
        whole = json.loads(line)
        return cls(Path(whole["folder"]), KafkaSettings(**whole["kafka"]))


class RelayProcess:
    """A relay that is started again when it ends. Its standard input closes when we end, however we end."""

    def __init__(self, order: Order) -> None:
        self._line = order.encode()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns once its process has ended. A second call does nothing."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                status = self._keep()
            except OSError as err:
                logger.error("the relay cannot be started, so events wait in the outbox: %s", err)
            else:
                if not self._closed.is_set():
                    logger.error("the relay ended with status %d and is started again", status)
            self._closed.wait(_PAUSE_S)

    def _keep(self) -> int:
        """Runs one until it ends, or until we are closed; its status."""
        with subprocess.Popen(
            [sys.executable, "-m", "infra.eventlog.relay"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as process:
            assert process.stdin
            with suppress(BrokenPipeError):  # it has ended at once, which is seen below
                process.stdin.write(self._line)
                process.stdin.flush()
            while process.poll() is None and not self._closed.wait(_LOOK_S):
                pass
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                return process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()
