"""The health of each room, as its own probe tells it. A room that does not answer is down, not an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Lock
from time import monotonic
from typing import Literal

from infra.settings import Settings

# A probe answers in milliseconds on the same machine; a page must not wait for a dead one.
TIMEOUT_S = 0.8
# Several open pages ask every two seconds: one round of probes serves them all.
FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """`state` is up, not ready (it answers and says what is missing), or down (no answer)."""

    state: Literal["up", "not ready", "down"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    host: str
    port: int
    path: str = "/readyz"


def probes(settings: Settings) -> dict[str, Probe]:
    """Where each room's probe is. The engine is a server of others and has `/health`."""
    return {
        "agent": Probe(_reachable(settings.agent.host), settings.agent.port),
        "collector": Probe(_reachable(settings.collector.host), settings.collector.port),
        "trainer": Probe(_reachable(settings.trainer.host), settings.trainer.port),
        "engine": Probe(_reachable(settings.engine.host), settings.engine.port, "/health"),
    }


def last_look(settings: Settings) -> Probe:
    """Where the trainer tells of its last look at the canary."""
    return Probe(_reachable(settings.trainer.host), settings.trainer.port, "/canary")


@dataclass(slots=True)
class Rooms:
    """Asks all probes at once and remembers the answers for a second."""

    probes: Mapping[str, Probe]
    _lock: Lock = field(default_factory=Lock)
    _known: dict[str, Health] = field(default_factory=dict)
    _asked: float = float("-inf")

    def health(self) -> dict[str, Health]:
        with self._lock:
            if monotonic() - self._asked > FRESH_S:
                with ThreadPoolExecutor(max(1, len(self.probes))) as pool:
                    self._known = dict(zip(self.probes, pool.map(ask, self.probes.values()), strict=True))
                self._asked = monotonic()
            return self._known


def ask(probe: Probe) -> Health:
    """One probe's answer."""
    connection = HTTPConnection(probe.host, probe.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", probe.path)
        response = connection.getresponse()
        body = response.read(10_000)
    except (OSError, HTTPException):
        return Health("down", f"no answer on {probe.host}:{probe.port}")
    finally:
        connection.close()
    return Health("up") if response.status == 200 else Health("not ready", _missing(body, response.status))


def _missing(body: bytes, status: int) -> str:
    """The needs that a probe reports as not met, in words."""
    try:
        answer = json.loads(body)
    except ValueError:
        return f"answers with status {status}"
    checks = answer if isinstance(answer, dict) else {}
    failed = [_need(name, state) for name, state in checks.items() if state not in (True, "ok")]
    return "; ".join(failed) or f"answers with status {status}"


def _need(name: str, state: object) -> str:
    """A need that is not met, with the sentence that says why where there is one."""
    return f"{name}: {state}" if isinstance(state, str) else f"waits for {name}"


def _reachable(host: str) -> str:
    """A room that listens on every address is asked on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
