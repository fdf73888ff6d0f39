"""A small demo in which every process is killed once: nothing recorded is lost, and the demo still ends."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Callable

import aiohttp
import psutil
import pytest
from rich.console import Console

from infra.demo.acts import Acts
from infra.demo.business import Cast, cast
from infra.demo.program import Program
from infra.demo.stage import Service, Sizes, prepare
from infra.process import Folders
from infra.settings import Settings
from tests.circle import ROOT

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SMALL = Sizes(learn=16, held_out=12, samples=4, min_rows=1, min_cases=10, conduct=3, rehearsal=1, trainings=1)
SEED = 1
DEADLINE_S = 400.0
# A look at every process of the machine takes a tenth of a second of a core that the engine wants.
_LOOK_S = 0.5


class Killer:
    """Kills processes of one service by what they are, as soon as they are there."""

    def __init__(self, service: Service) -> None:
        self._folders = Folders(service.settings.data / "run", service.settings.data / "logs")
        self._config = str(service.file)
        self.killed: list[str] = []

    async def room(self, name: str) -> None:
        """Kills a room, and waits until the supervisor has started it again."""
        pid = self._pid(name)
        os.kill(pid, signal.SIGKILL)
        self.killed.append(name)
        await self._until(lambda: self._pid(name) not in (0, pid))

    async def command(self, *words: str) -> None:
        """Kills the process of this service whose command line holds all of `words`."""
        found: list[psutil.Process] = []

        def there() -> bool:
            found[:] = [process for process in psutil.process_iter() if self._is(process, words)]
            return bool(found)

        await self._until(there)
        found[0].kill()
        self.killed.append(words[0])

    def _pid(self, name: str) -> int:
        try:
            return int(self._folders.pid_file(name).read_text())
        except FileNotFoundError:
            return 0

    def _is(self, process: psutil.Process, words: tuple[str, ...]) -> bool:
        try:
            line = process.cmdline()
            ours = self._config in (*line, process.environ().get("NIGHTSHIFT_CONFIG", ""))
        except psutil.Error:
            return False
        return ours and all(word in line for word in words)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                await asyncio.sleep(_LOOK_S)


@pytest.fixture
def parts() -> Cast:
    return cast(SEED, SMALL.learn, SMALL.held_out)


@pytest.fixture
def service(settings: Settings, parts: Cast) -> Service:
    return prepare(settings.model_copy(update={"models": ROOT / "models"}), SEED, parts, SMALL)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_whatever_is_killed_the_demo_ends_and_nothing_is_lost(
    service: Service, parts: Cast, session: aiohttp.ClientSession
) -> None:
    program, said = Program(seed=SEED), io.StringIO()
    acts = Acts(service, session, program, Console(file=said), SEED)
    killer = Killer(service)

    async def by_day() -> None:
        for name in ("collector", "agent", "trainer", "dashboard", "engine"):
            await killer.room(name)
        await killer.command("up")  # the supervisor, and with it every room

    async def by_night() -> None:
        await killer.command("night")
        await killer.command("trainer.finetune")

    try:
        await acts.start()
        await asyncio.gather(acts.day(parts.learn), by_day())
        await asyncio.gather(acts.night(), by_night())
        await acts.reckon()
    finally:
        await acts.close()
    assert len(killer.killed) == 8
    assert program.night["verdict"] in ("pass", "fail", "not enough data"), said.getvalue()
    assert program.night["chosen"] >= SMALL.min_rows
    assert program.customers["answers"] >= SMALL.learn
    assert (program.customers["lost"], program.customers["errors"]) == (0, 0), program.customers
    assert program.customers["service_starts"] == 2
