"""Customers who leave, and more of them than can be answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from infra.settings import Settings
from tests.agent.agents import Live, add_knowledge, running, until_ready
from tests.stub_engine import StubEngine
from tests.waiting import soon

pytestmark = pytest.mark.clock

LEAVING = 20


def asking(number: int, *, stream: bool) -> bytes:
    body = {
        "messages": [{"role": "user", "content": "When is breakfast?"}],
        "metadata": {"conversation_id": f"c-{number}", "collection": "inn"},
        "stream": stream,
    }
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("kind", "stream", "spoken"),
    [("stall", True, True), ("hang", True, False), ("hang", False, False)],
    ids=["in the middle of a stream", "before its first word", "before a whole answer"],
)
async def test_who_leaves_costs_the_engine_nothing_more_and_is_recorded(
    settings: Settings,
    stub: StubEngine,
    kind: str,
    stream: bool,
    spoken: bool,
    measured: Callable[[str], None],
) -> None:
    add_knowledge(settings)
    stub.fault("base", kind, None)
    async with running(settings) as live:
        await until_ready(live)
        customers = [asyncio.create_task(customer(live, number, stream)) for number in range(LEAVING)]
        await soon(lambda: stub.stats["requests"] == LEAVING, 5.0)
        await asyncio.sleep(0.2)  # those that speak have said their two words
        assert stub.stats["cancelled"] == 0
        for one in customers:
            one.cancel()
        seconds = await soon(lambda: stub.stats["cancelled"] == LEAVING, 5.0, 0.01)
        recorded = seconds + await soon(lambda: len(live.interactions()) == LEAVING, 5.0, 0.01)
        measured(f"{LEAVING} left: ended after {seconds:.3f} s, recorded after {recorded:.3f} s")
        assert recorded < 1.0
        assert {(one.status, bool(one.answer)) for one in live.interactions()} == {("cancelled", spoken)}
        assert await places_are_free(live, stub)


async def customer(live: Live, number: int, stream: bool) -> None:
    """Reads until it is cancelled, which closes its connection."""
    async with live.http.post(
        live.url + "/v1/chat/completions", data=asking(number, stream=stream)
    ) as answer:
        async for _ in answer.content:
            pass


async def places_are_free(live: Live, stub: StubEngine) -> bool:
    stub.fault("base", "slow", 0)
    answered = await asyncio.gather(*(live.ask("Wifi?", f"d-{number}") for number in range(4)))
    return all(one.text for one in answered)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was sent at its time, whatever became of those before it."""

    status: int
    seconds: float
    retry_after: str


# What the engine can do: four answers at one time, a tenth of a second each.
PLACES, SECONDS = 4, 0.1
CAPACITY = PLACES / SECONDS
LASTS_S = 4.0


async def test_three_times_too_many_get_as_many_answers_and_the_others_a_quick_no(
    settings: Settings, stub: StubEngine, measured: Callable[[str], None]
) -> None:
    stub.limit(PLACES, SECONDS)
    agent = settings.agent.model_copy(update={"max_concurrent": PLACES})
    async with running(settings.model_copy(update={"agent": agent})) as live:
        await until_ready(live)
        rates = {}
        for times in (1, 3):
            asked = await offered(live, CAPACITY * times)
            answered = [one for one in asked if one.status == 200]
            refused = [one for one in asked if one.status == 429]
            assert len(answered) + len(refused) == len(asked)
            rates[times] = len(answered) / LASTS_S
            slowest = max((one.seconds for one in refused), default=0.0)
            measured(
                f"{times} x capacity: {rates[times]:.1f} answers/s of {CAPACITY * times:.0f}, "
                f"{len(refused)} refused, the slowest after {slowest:.3f} s, "
                f"the slowest answer {max(one.seconds for one in answered):.2f} s"
            )
            assert all(one.retry_after == "1" for one in refused)
            assert slowest < 0.5
        assert rates[1] > 0.7 * CAPACITY
        assert rates[3] > 0.8 * rates[1]
        # What waits is bounded too: nobody is answered long after.
        assert max(one.seconds for one in answered) < 2.5


async def offered(live: Live, per_second: float) -> list[Asked]:
    """Sends at a steady rate, whether answers come or not."""
    begun, tasks = time.monotonic(), []
    for number in range(int(per_second * LASTS_S)):
        await asyncio.sleep(max(0.0, begun + number / per_second - time.monotonic()))
        tasks.append(asyncio.create_task(one(live, number)))
    return await asyncio.gather(*tasks)


async def one(live: Live, number: int) -> Asked:
    begun = time.monotonic()
    async with live.http.post(
        live.url + "/v1/chat/completions", data=asking(number, stream=False).replace(b"inn", b"default")
    ) as answer:
        await answer.read()
        return Asked(answer.status, time.monotonic() - begun, answer.headers.get("retry-after", ""))
