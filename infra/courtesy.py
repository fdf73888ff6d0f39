"""Who gives way where rooms share a machine: whatever can wait leaves the processors to answers."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Each step weighs a quarter less: 5 is a third of an answer's weight, 10 a tenth.
SHIPPING = COLLECTING = 5
LEARNING = 10

# Where the kernel groups processes by session, their niceness counts within the session alone, and the
# session's own is set here.
_SESSION = Path("/proc/self/autogroup")


def give_way(steps: int) -> None:
    """Takes this process, and what it will start, so many steps of niceness back.

    Its session follows only when this process leads it: a terminal's is not ours to slow down.
    """
    os.nice(steps)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # not Linux, or not allowed: the process's own niceness remains
            _SESSION.write_text(str(steps))
