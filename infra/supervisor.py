"""Starts every room as the commands that a deployment runs one by one, and restarts what dies.

It gives up on nothing: it waits longer after each failure and says so. It does not judge a process that
lives but is not ready; that is shown, and is an orchestrator's business.
"""

from __future__ import annotations

import fcntl
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from infra.addresses import is_here
from infra.dashboard.asking import Probe
from infra.dashboard.rooms import Health, ask, probes
from infra.errors import ProcessError
from infra.process import Folders, Process, Running, end_leftovers, require_free
from infra.settings import Settings, child_environment
from infra.watchdog import Watchdog

_log = logging.getLogger(__name__)

# Seconds before the first restart, doubled after each failure in a row.
FIRST_DELAY_S = 0.5
# Long enough not to burn a core on something broken, short enough that a mended cause is noticed.
LONGEST_DELAY_S = 30.0
# A process that lived this long was healthy: its next end is a new trouble.
HEALTHY_S = 120.0
# Ends in a row before a process was ready once, after which `wait_ready` stops waiting for it.
HOPELESS = 3
_LOOK_S = 0.1

Progress = Callable[[str, Health], None]

MODULES = {
    "engine": "infra.engine_process",
    "agent": "agent",
    "collector": "collector",
    "trainer": "trainer",
    "dashboard": "infra.dashboard",
}


def processes(settings: Settings) -> list[Process]:
    """The five rooms in the order of their start, without an engine that runs on another machine."""
    where = probes(settings)
    host = settings.dashboard.host
    where["dashboard"] = Probe(
        "127.0.0.1" if host == "0.0.0.0" else host,  # noqa: S104 - compared, not bound
        settings.dashboard.port,
    )
    rooms = [
        # The agent ends after the answers under way, at most 20 s; the others in less.
        Process(name, (sys.executable, "-m", module), where[name], 25.0 if name == "agent" else 15.0)
        for name, module in MODULES.items()
    ]
    return [room for room in rooms if room.name != "engine" or is_here(settings.engine.host)]


def delay_s(failures: int) -> float:
    """Seconds to wait before the next start, after so many failures in a row (1 or more)."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))


@dataclass(slots=True)
class _Kept:
    """A process that is kept running: the run of now, or when the next one is due (monotonic seconds)."""

    process: Process
    running: Running | None = None
    due: float = 0.0
    failures: int = 0
    status: int = 0


class Supervisor:
    """Keeps processes running from `start` to `stop`; a context manager that does both."""

    def __init__(
        self, processes: Sequence[Process], data: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`data` is the folder for `run/` and `logs/`; `environment` what processes get on top of ours."""
        self.folders = Folders(data / "run", data / "logs")
        self._kept = [_Kept(process) for process in processes]
        self._environment = child_environment(PYTHONUNBUFFERED="1", **(environment or {}))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor")
        self._lock: TextIO | None = None
        self._watchdog: Watchdog | None = None

    def start(self) -> None:
        """Starts everything at once, after ending what an earlier supervisor left behind.

        Raises:
            ProcessError: another supervisor holds this data folder, or a port is taken.
        """
        self._lock = _take_lock(self.folders.run / "supervisor.lock")
        for name in end_leftovers(self.folders):
            _log.warning("%s was left over from an earlier run and is ended", name)
        require_free(self.processes)
        self._watchdog = Watchdog()
        self._thread.start()

    def wait_ready(self, timeout_s: float, progress: Progress = lambda name, health: None) -> bool:
        """Waits until every probe is up; False when it was asked to stop meanwhile.

        `progress` is told each change of a room's health.

        Raises:
            ProcessError: the time is over, or a process ends again and again.
        """
        deadline = time.monotonic() + timeout_s
        waiting: dict[str, Health | None] = {kept.process.name: None for kept in self._kept}
        while waiting and not self._stopping.wait(_LOOK_S):
            for kept in [kept for kept in self._kept if kept.process.name in waiting]:
                self._look(kept, waiting, progress)
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"Not ready after {timeout_s:g} s: {_reasons(waiting)}; see {self.folders.logs}."
                )
        return not self._stopping.is_set()

    @property
    def processes(self) -> list[Process]:
        return [kept.process for kept in self._kept]

    def health(self) -> dict[str, Health]:
        """What each process's probe says now."""
        return {kept.process.name: ask(kept.process.probe) for kept in self._kept}

    def ask_to_stop(self) -> None:
        """Begins the end; safe in a signal handler. `wait` then returns."""
        self._stopping.set()

    def wait(self) -> None:
        """Returns once it was asked to stop."""
        self._stopping.wait()

    def stop(self) -> None:
        """Ends the processes in reverse order of their start, each within its grace."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()
        for kept in reversed(self._kept):
            if kept.running and not kept.running.stop():
                _log.warning("%s did not end in %g s and was killed", kept.process.name, kept.process.grace_s)
            kept.running = None
        if self._watchdog:
            self._watchdog.dismiss()
        if self._lock:
            self._lock.close()

    def _watch(self) -> None:
        while True:
            for kept in self._kept:
                self._keep(kept, time.monotonic())
            if self._stopping.wait(_LOOK_S):
                return

    def _keep(self, kept: _Kept, now: float) -> None:
        if kept.running is None:
            if now >= kept.due and not self._stopping.is_set():
                self._start(kept)
        elif (status := kept.running.ended()) is not None:
            self._note_end(kept, status, now)

    def _start(self, kept: _Kept) -> None:
        assert self._watchdog
        try:
            kept.running = Running(kept.process, self.folders, self._environment)
        except ProcessError as err:
            kept.failures += 1
            kept.due = time.monotonic() + delay_s(kept.failures)
            _log.error("%s", err)
            return
        self._watchdog.note(kept.running.pid)
        _log.info("%s started as process %d", kept.process.name, kept.running.pid)

    def _note_end(self, kept: _Kept, status: int, now: float) -> None:
        assert kept.running and self._watchdog
        self._watchdog.forget(kept.running.pid)
        lived = now - kept.running.since
        kept.failures = 1 if lived > HEALTHY_S else kept.failures + 1
        kept.running, kept.status, kept.due = None, status, now + delay_s(kept.failures)
        _log.warning(
            "%s ended with status %d after %.0f s, %d times in a row: it is started again in %g s; see %s",
            kept.process.name,
            status,
            lived,
            kept.failures,
            delay_s(kept.failures),
            self.folders.log(kept.process.name),
        )

    def _look(self, kept: _Kept, waiting: dict[str, Health | None], progress: Progress) -> None:
        name = kept.process.name
        if kept.failures >= HOPELESS:
            raise ProcessError(
                f"{name} ended {kept.failures} times in a row, last with status {kept.status}: "
                f"{_last_line(self.folders.log(name))}"
            )
        health = ask(kept.process.probe)
        if health != waiting[name]:
            progress(name, health)
            waiting[name] = health
        if health.state == "up":
            del waiting[name]

    def __enter__(self) -> Self:
        try:
            self.start()
        except ProcessError:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _take_lock(file: Path) -> TextIO:
    """One supervisor for a data folder. The system lets go of the lock however its owner ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        lock.close()
        raise ProcessError(
            f"Another `nightshift up` or demo runs on {file.parent.parent}: stop it, or set another folder."
        ) from err
    return lock


def _reasons(waiting: Mapping[str, Health | None]) -> str:
    return ", ".join(
        f"{name} ({health.detail if health else 'not asked yet'})" for name, health in waiting.items()
    )


def _last_line(log: Path) -> str:
    """The last thing that a process said; its log holds no customer's text."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"{lines[-1][:500]} (more in {log})" if lines else f"{log} is empty"
