"""Waits for what happens beside a test, and says what it waited for when it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def until(holds: Callable[[], bool], what: str, patience_s: float = 60.0, look_s: float = 0.02) -> None:
    """Waits until `holds`, which is looked at every `look_s` seconds, or fails."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(look_s)


async def soon(holds: Callable[[], bool], patience_s: float = 60.0, look_s: float = 0.1) -> float:
    """The same beside an event loop that goes on; gives the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < patience_s, f"waited in vain for {patience_s} s"
        await asyncio.sleep(look_s)
    return time.monotonic() - began
