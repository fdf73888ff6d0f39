"""The trainer's last look at the canary, from the trainer itself. One that does not answer is no error."""

from __future__ import annotations

import json
from typing import Any

from infra.dashboard.asking import Probe, Remembered, get


class Verdict:
    """Asks at `probe`, once a second at most."""

    def __init__(self, probe: Probe) -> None:
        self._told = Remembered(lambda: _ask(probe))

    def now(self) -> dict[str, Any] | None:
        """What the trainer told; empty where it sees no canary, None where it cannot be reached."""
        return self._told.now()


def _ask(probe: Probe) -> dict[str, Any] | None:
    reply = get(probe)
    try:
        told = json.loads(reply.body) if reply and reply.status == 200 else None
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
