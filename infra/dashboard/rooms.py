"""The health of each room, as its own probe tells it. A room that does not answer is down, not an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from infra.dashboard.asking import Probe, Remembered, get
from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Health:
    """`state` is up, not ready (it answers and says what is missing), or down (no answer)."""

    state: Literal["up", "not ready", "down"]
    detail: str = ""


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


class Rooms:
    """Asks all probes at one time, once a second at most."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._health = Remembered(lambda: _ask_all(probes))

    def health(self) -> dict[str, Health]:
        """By the rooms' names."""
        return self._health.now()


def _ask_all(probes: Mapping[str, Probe]) -> dict[str, Health]:
    with ThreadPoolExecutor(max(1, len(probes))) as pool:
        return dict(zip(probes, pool.map(ask, probes.values()), strict=True))


def ask(probe: Probe) -> Health:
    """One probe's answer."""
    reply = get(probe)
    if reply is None:
        return Health("down", f"no answer on {probe.host}:{probe.port}")
    return Health("up") if reply.status == 200 else Health("not ready", _missing(*reply))


def _missing(status: int, body: bytes) -> str:
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
