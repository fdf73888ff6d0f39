"""Waits for what happens beside a test, and says what it waited for when it does not."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], what: str, patience_s: float = 60.0, look_s: float = 0.02) -> None:
    """Waits until `holds`, which is looked at every `look_s` seconds, or fails."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(look_s)
