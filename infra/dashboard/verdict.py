"""The trainer's last look at the canary, from the trainer itself. One that does not answer is no error."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Lock
from time import monotonic
from typing import Any

from infra.dashboard.rooms import FRESH_S, TIMEOUT_S, Probe

# Ten metrics are some four thousand bytes.
_LARGEST = 100_000


@dataclass(slots=True)
class Verdict:
    """Asks at `probe`, and remembers the answer for a second, as for probes."""

    probe: Probe
    _lock: Lock = field(default_factory=Lock)
    _known: dict[str, Any] | None = None
    _asked: float = float("-inf")

    def now(self) -> dict[str, Any] | None:
        """What the trainer told; empty where it sees no canary, None where it cannot be reached."""
        with self._lock:
            if monotonic() - self._asked > FRESH_S:
                self._known, self._asked = _ask(self.probe), monotonic()
            return self._known


def _ask(probe: Probe) -> dict[str, Any] | None:
    connection = HTTPConnection(probe.host, probe.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", probe.path)
        response = connection.getresponse()
        told = json.loads(response.read(_LARGEST)) if response.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return told if isinstance(told, dict) else None
