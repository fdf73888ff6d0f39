"""Which of several engines gets a request: the one whose cache knows its beginning, unless that is busier.

Pure. An engine computes only what no earlier prompt of the same adapter began with, so prompts that begin
alike belong together. Which engines answer and which adapters they hold is not known here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

# How much busier than the mean an engine may be and still get the requests that prefer it. At 1.25 a computed
# prompt is kept where it lies, and the busiest engine makes nobody wait much longer than the others do.
_SLACK = 1.25
# Characters of a prompt that decide where it belongs: some 50 tokens, which hold the business and the best
# fact. Questions of one conversation about other facts share less, and so gain nothing from one engine.
_BEGINNING = 200


def beginning(prompt: str, adapter: str) -> str:
    """What requests must have in common to profit from each other. Caches are apart for each adapter."""
    return f"{adapter}\0{prompt[:_BEGINNING]}"


def choose(key: str, running: Mapping[str, int]) -> str:
    """The engine for a request that begins with `key`, by the requests that each engine works on now.

    Rendezvous hashing: each key has its own order of engines, so one that goes or comes moves only its own
    keys. The load is bounded as by Mirrokni, Thorup and Zadimoghaddam ("Consistent Hashing with Bounded
    Loads", 2018), except that what is too much for the first goes to the least busy one.
    """
    if len(running) == 1:
        return next(iter(running))
    order = sorted(running, key=lambda name: _weight(key, name), reverse=True)
    most = math.ceil(_SLACK * (sum(running.values()) + 1) / len(running))
    return order[0] if running[order[0]] < most else min(order, key=lambda name: running[name])


def _weight(key: str, name: str) -> bytes:
    return hashlib.blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()
