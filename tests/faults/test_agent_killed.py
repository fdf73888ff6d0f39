"""The agent is killed again and again under load: whatever was finished for a customer is in the record."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from statistics import median

import aiohttp
import pytest

from infra.sections import KafkaSettings
from infra.settings import Settings
from tests import brokers
from tests.agent.agents import add_knowledge
from tests.agent.test_process import process, until_ready
from tests.circle import room
from tests.faults.load import until_recorded
from tests.stub_engine import StubEngine

CUSTOMERS = 12
# Answers between two kills at least, so that each kill comes into full work.
BETWEEN = 60
# A kill comes at any moment of a request, which takes some milliseconds.
LATER_S = 0.05


class Customers:
    """They ask without pause, every other one as a stream, and keep the ids of the answers they got whole."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.finished: list[str] = []
        self.broken = 0  # requests that a kill cut off
        self._http = http
        self._url = url
        self._tasks = [asyncio.create_task(self._ask(number % 2 == 0)) for number in range(CUSTOMERS)]

    async def until_finished(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.finished) < count:
                await asyncio.sleep(0.005)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, stream: bool) -> None:
        body = {
            "messages": [{"role": "user", "content": "Is parking free?"}],
            "metadata": {"collection": "inn"},
            "stream": stream,
        }
        while True:
            try:
                async with self._http.post(f"{self._url}/v1/chat/completions", json=body) as response:
                    text = await response.text()
                    status = response.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)  # it is being started again
            except aiohttp.ClientError:
                self.broken += 1
            else:
                if status == 200 and (not stream or text.endswith("data: [DONE]\n\n")):
                    self.finished.append(text.split('"id":"')[1].split('"')[0])


async def kill_often(settings: Settings, kills: int) -> tuple[Customers, list[float]]:
    """The customers after so many kills, and the seconds that each start took."""
    rng, starts = random.Random(1), []
    async with aiohttp.ClientSession() as http:
        customers = Customers(http, settings.agent.url)
        for _ in range(kills):
            with process(settings) as agent:
                starts.append(await until_ready(http, settings.agent.url))
                await customers.until_finished(len(customers.finished) + BETWEEN)
                await asyncio.sleep(rng.uniform(0, LATER_S))
                agent.kill()
        await customers.leave()
        return customers, starts


@pytest.fixture(params=["file", "kafka"])
def logged(
    request: pytest.FixtureRequest,
    settings: Settings,
    bootstrap: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Settings with the log of one machine, or with an outbox before a broker that other tests use too."""
    if request.param == "file":
        return settings
    monkeypatch.setenv("NIGHTSHIFT_KAFKA__PREFIX", "killed.")
    kafka = KafkaSettings(bootstrap=bootstrap("tansu" if brokers.missing_apache() else "apache"))
    return settings.model_copy(update={"kafka": kafka})


async def test_every_finished_answer_is_recorded_once(
    logged: Settings, soak: bool, measured: Callable[[str], None]
) -> None:
    add_knowledge(logged)
    kills = 100 if soak else 2 if logged.kafka.bootstrap else 3
    async with StubEngine(logged.engine.port):
        with room("collector", logged):
            customers, starts = await kill_often(logged, kills)
            # The outbox of the last one that was killed is shipped by the next one.
            with process(logged):
                now = await asyncio.to_thread(until_recorded, logged, customers.finished)
    finished = set(customers.finished)
    measured(
        f"{kills} kills under {CUSTOMERS} customers: {len(finished)} answers finished, {customers.broken} "
        f"cut off, {len(finished - now.ids)} lost, {now.rows - len(now.ids)} recorded twice; "
        f"ready again after {median(starts):.1f} s (at most {max(starts):.1f})"
    )
    assert len(finished) == len(customers.finished) >= kills * BETWEEN
    assert customers.broken >= kills
    assert now.rows == len(now.ids)
