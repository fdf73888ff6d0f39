"""Patience: a night outlives a restart of the engine or the agent.

Only "cannot be reached" is worth waiting for; a refusal is the answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from infra.errors import EngineError, EngineUnavailable

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# An engine on two cores needs about a minute to start; three leave room for a second try.
PATIENCE_S = 180.0
PAUSE_S = 1.0


async def patiently(call: Callable[[], Awaitable[Result]], patience_s: float = PATIENCE_S) -> Result:
    """The result of `call`, tried again while the other side cannot be reached or is starting (HTTP 5xx).

    Raises:
        EngineError: a refusal, or the last failure when patience ends.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await call()
        except EngineError as err:
            passing = isinstance(err, EngineUnavailable) or err.status >= 500
            if not passing or time.monotonic() > deadline:
                raise
            logger.warning("waiting for the other side: %s", err)
        await asyncio.sleep(PAUSE_S)
