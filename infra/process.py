"""One process of ours: what to run, running it in a session of its own, and ending it with all it started.

A session holds everything that a process starts (the engine starts a second process that keeps its port),
so ending the session leaves no orphan. When to start again is the supervisor's decision.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.dashboard.asking import Probe
from infra.errors import ProcessError

# A log from before is moved aside at start when it is larger than this, in bytes.
LOG_LIMIT = 10 * 2**20


@dataclass(frozen=True, slots=True)
class Process:
    """What to run. `command` is what a deployment runs too; `grace_s` the seconds to end in after SIGTERM."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Folders:
    """Where processes leave their traces: `<run>/<name>.pid` and `<logs>/<name>.log`."""

    run: Path
    logs: Path

    def pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


class Running:
    """A started process, the leader of its own session."""

    def __init__(self, process: Process, folders: Folders, environment: Mapping[str, str]) -> None:
        """Starts it, with its output at the end of its log.

        Raises:
            ProcessError: the command cannot be run.
        """
        self.process = process
        self.since = time.monotonic()
        self._pid_file = folders.pid_file(process.name)
        log = folders.log(process.name)
        try:
            _make_room(log)
            with log.open("ab") as out:
                self._popen = subprocess.Popen(
                    process.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as err:
            raise ProcessError(
                f"Cannot start {process.name} as {process.command[0]!r}: {err.strerror}."
            ) from err
        self._note()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ended(self) -> int | None:
        """The exit status once it has ended (negative: the signal that killed it), else None.

        What it had started is killed then: a half of an engine that lives on would hold its port.
        """
        status = self._popen.poll()
        if status is not None:
            self._clear()
        return status

    def stop(self) -> bool:
        """Asks it to end, and kills it after its grace. Whether it ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            self._popen.wait(self.process.grace_s)
        except subprocess.TimeoutExpired:
            kill_session(self.pid)
            self._popen.wait()
            return False
        finally:
            self._clear()
        return True

    def _note(self) -> None:
        """Whole or not at all: who looks for the pid must not read half of it."""
        draft = self._pid_file.with_suffix(".tmp")
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(f"{self.pid}\n")
        draft.replace(self._pid_file)

    def _clear(self) -> None:
        kill_session(self.pid)
        self._pid_file.unlink(missing_ok=True)


def kill_session(leader: int) -> None:
    """Kills what is in the session that `leader` began, and waits until it is gone."""
    for _ in range(100):  # again: a member may have started another one meanwhile; 5 s in all
        members = list(_members(leader))
        if not members:
            return
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(members, timeout=0.05)


def end_leftovers(folders: Folders) -> list[str]:
    """Kills what an earlier supervisor left behind, by its pid files; the names of what it killed.

    A pid may belong to somebody else by now. Ours ran the same interpreter and is older than its file.
    """
    found = []
    for file in sorted(folders.run.glob("*.pid")):
        with suppress(ValueError, FileNotFoundError):
            leader = int(file.read_text())
            if _is_ours(leader, file.stat().st_mtime) and list(_members(leader)):
                kill_session(leader)
                found.append(file.stem)
        file.unlink(missing_ok=True)
    return found


def holder(port: int) -> str:
    """Who listens on a port of this machine, in words; empty when nobody does, or it cannot be seen."""
    with suppress(psutil.AccessDenied):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port:
                return _described(connection.pid)
    return ""


def require_free(processes: Sequence[Process]) -> None:
    """Raises ProcessError when somebody else listens where one of these would."""
    for process in processes:
        if found := holder(process.probe.port):
            raise ProcessError(
                f"{process.name} needs port {process.probe.port}, which is held by {found}: stop that, "
                f"or set {process.name}.port."
            )


def _members(leader: int) -> Iterator[psutil.Process]:
    """Living processes of the session, the leader among them."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _is_ours(leader: int, noted: float) -> bool:
    """Whether a pid, noted at a time in epoch seconds, still means the process that was noted."""
    try:
        process = psutil.Process(leader)
        # The file is written just after the start; the clock of process starts ticks in hundredths.
        # The program and not the command line: the engine gives itself another title. One that is
        # ending has no program any more.
        ours = process.status() == psutil.STATUS_ZOMBIE or process.exe() in ("", psutil.Process().exe())
        return ours and process.create_time() <= noted + 0.02
    except psutil.NoSuchProcess:
        return True  # the leader is gone, and a session's number is not given again while it has members
    except psutil.AccessDenied:
        return False  # another user's


def _described(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"process {pid} ({' '.join(psutil.Process(pid).cmdline())[:80]})"
    except psutil.Error:
        return f"process {pid}"


def _make_room(log: Path) -> None:
    """Keeps one older log beside the present one, so that restarts cannot fill the disk."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".old.log"))
