"""`python -m infra.watchdog`: ends what a supervisor has started when the supervisor is killed.

The supervisor holds the other end of standard input and names each session that it starts, or sees end.
The pipe closes when the supervisor ends, however it ends; whatever still runs then is ended here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from infra.process import kill_session

# For answers under way and what is in memory; the port must be free again soon.
_GRACE_S = 5.0


class Watchdog:
    """The supervisor's handle on a watchdog process."""

    def __init__(self) -> None:
        # In a session of its own: what kills the supervisor's group must not take the watchdog along.
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "infra.watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def note(self, session: int) -> None:
        """Tells of a session to end."""
        self._tell(f"+{session}")

    def forget(self, session: int) -> None:
        """Tells that a session has ended: its number may soon be somebody else's."""
        self._tell(f"-{session}")

    def dismiss(self) -> None:
        """Lets it go. What still runs of the noted sessions is ended by it."""
        assert self._popen.stdin
        with suppress(BrokenPipeError):
            self._popen.stdin.close()
        self._popen.wait()

    def _tell(self, line: str) -> None:
        """A watchdog that was killed is not mourned: the next supervisor goes by the pid files."""
        assert self._popen.stdin
        with suppress(BrokenPipeError):
            self._popen.stdin.write(f"{line}\n".encode())
            self._popen.stdin.flush()


def left(lines: Iterable[bytes]) -> set[int]:
    """The sessions that were noted and not forgotten."""
    sessions: set[int] = set()
    for line in lines:
        session = int(line)
        if session > 0:
            sessions.add(session)
        else:
            sessions.discard(-session)
    return sessions


def end(sessions: set[int]) -> None:
    """Asks the leaders to end, and kills what is left of their sessions after a grace."""
    leaders = {leader for leader in sessions if _ask(leader)}
    deadline = time.monotonic() + _GRACE_S
    while any(map(_alive, leaders)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for leader in sessions:
        kill_session(leader)


def _ask(leader: int) -> bool:
    with suppress(ProcessLookupError, PermissionError):
        if os.getsid(leader) == leader:
            os.kill(leader, signal.SIGTERM)
            return True
    return False


def _alive(leader: int) -> bool:
    try:
        return psutil.Process(leader).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    # Ctrl-C and a service manager's stop are the supervisor's to act on; this ends when its pipe does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(left(sys.stdin.buffer.read().split()))


if __name__ == "__main__":
    main()
