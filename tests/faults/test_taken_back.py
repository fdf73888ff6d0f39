"""From a roll-back to the last answer that the canary began, over three replicas: within a second."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from infra.bench.programs import running, until_ready
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.events import DeploymentChanged, Event, Topic
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests import brokers
from tests.agent.agents import add_knowledge
from tests.circle import make_adapter
from tests.engines import stub_process
from tests.ports import find_ports
from tests.waiting import soon

pytestmark = pytest.mark.clock

REPLICAS = 3
CUSTOMERS = 12
GOAL_S = 1.0
# Seconds of load before the roll-back, and after it: an answer that begins late must be seen.
BEFORE_S, AFTER_S = 1.0, 2.5


class Began(NamedTuple):
    """An answer: when it was asked for (seconds since the epoch), of which replica, and by which arm."""

    at: float
    replica: int
    arm: str


class Customers:
    """They ask every replica in turn, each time in a conversation of its own."""

    def __init__(self, http: aiohttp.ClientSession, urls: list[str]) -> None:
        self.began: list[Began] = []
        self._http = http
        self._urls = urls
        self._numbers = itertools.count()
        self._chance = random.Random(1)
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(CUSTOMERS)]

    def all_on_canary(self, since: int) -> bool:
        """Whether every replica has begun answers of the canary, among those after the first `since`."""
        return {one.replica for one in self.began[since:] if one.arm == "canary"} == set(range(REPLICAS))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        failed = [
            one for one in await asyncio.gather(*self._tasks, return_exceptions=True) if one is not None
        ]
        assert all(isinstance(one, asyncio.CancelledError) for one in failed), failed

    async def _ask(self) -> None:
        while True:
            replica = next(self._numbers) % len(self._urls)
            body = {
                "messages": [{"role": "user", "content": "Is parking free?"}],
                "metadata": {"collection": "inn", "conversation_id": f"c-{self._chance.getrandbits(64):x}"},
            }
            at = time.time()
            url = f"{self._urls[replica]}/v1/chat/completions"
            async with self._http.post(url, json=body) as response:
                assert response.status == 200, await response.text()
                self.began.append(Began(at, replica, response.headers["x-nightshift-arm"]))
            await asyncio.sleep(0.01)


@contextmanager
def replicas(settings: Settings, folder: Path) -> Iterator[list[str]]:
    """Agents of one service: on the local log they share its folder, with Kafka each has its own outbox."""
    with ExitStack() as stack:
        urls = []
        for number, port in enumerate(find_ports(REPLICAS)):
            data = settings.data
            if settings.kafka.bootstrap:
                data = folder / f"replica-{number}"
                data.mkdir()
                for shared in ("adapters", "knowledge"):
                    (data / shared).symlink_to(settings.data / shared, target_is_directory=True)
            stack.enter_context(
                running(
                    (sys.executable, "-m", "agent"),
                    folder / f"agent-{number}.log",
                    NIGHTSHIFT_DATA=str(data),
                    NIGHTSHIFT_AGENT__PORT=str(port),
                    NIGHTSHIFT_ENGINE__PORT=str(settings.engine.port),
                    NIGHTSHIFT_KAFKA__BOOTSTRAP=settings.kafka.bootstrap,
                )
            )
            urls.append(f"http://127.0.0.1:{port}")
        for url in urls:
            until_ready(url)
        yield urls


@pytest.fixture(params=["local", "kafka"])
def wanted(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "local":
        yield settings
        return
    if why := brokers.missing_apache():
        pytest.skip(f"no Apache Kafka: {why}")
    with brokers.apache(tmp_path / "kafka", *find_ports(2)) as broker:
        yield settings.model_copy(update={"kafka": KafkaSettings(bootstrap=broker.bootstrap, partitions=3)})


@pytest.fixture
def engine(wanted: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The settings; the stub engine runs where they expect one, meanwhile."""
    with stub_process(wanted.engine.port, tmp_path / "engine.log"):
        yield wanted


def decide(log: EventLog, action: str, adapter: str) -> None:
    """Appends a decision, and returns when it is durable."""
    body = DeploymentChanged.model_validate(
        {"action": action, "adapter": adapter, "share": 0.5, "actor": "test", "reason": "a trial"}
    )
    event = Event.of(body, key=Topic.DEPLOYMENTS)
    log.append(event.topic, event.key, event.encode()).result(timeout=30)


async def test_no_canary_answer_begins_a_second_after_its_verdict(
    engine: Settings, tmp_path: Path, soak: bool, measured: Callable[[str], None]
) -> None:
    add_knowledge(engine)
    late: list[float] = []
    adapters = [make_adapter(engine, {"quality": 1.0 - number / 1000}) for number in range(20 if soak else 3)]
    with replicas(engine, tmp_path) as urls, closing(open_log(engine)) as log:
        async with aiohttp.ClientSession() as http:
            customers = Customers(http, urls)
            for adapter in adapters:
                began = len(customers.began)
                await asyncio.to_thread(decide, log, "canary", adapter)
                await soon(partial(customers.all_on_canary, began), look_s=0.02)
                await asyncio.sleep(BEFORE_S)
                verdict = time.time()
                await asyncio.to_thread(decide, log, "roll_back", adapter)
                await asyncio.sleep(AFTER_S)
                after = [one.at for one in customers.began if one.arm == "canary" and one.at > verdict]
                late.append(max(after, default=verdict) - verdict)
                assert any(one.at > verdict + GOAL_S for one in customers.began)
            await customers.leave()
    kind = "Kafka" if engine.kafka.bootstrap else "local"
    measured(f"{kind}: {len(late)} roll-backs, last canary answer begun at most {max(late):.2f} s after")
    assert max(late) < GOAL_S
