"""Adapters are swapped under streams: each ends with the version that it began with, and none fails."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp

from infra.engine import BASE
from infra.events import DeploymentChanged
from infra.settings import Settings
from tests import stub_answers
from tests.agent.agents import Live, add_adapter, add_knowledge, running, until_ready
from tests.agent.test_canary import canary, usable
from tests.faults.customers import Customers
from tests.stub_engine import StubEngine
from tests.waiting import soon

STREAMS = 50
# Answers of six tokens, over long before their adapter could be unloaded, and of seventy, which at a tenth of
# a second each outlast the pause before an unloading: only who counts an adapter's users spares these.
SHORT, LONG = "Is parking free?", "What is the story of the house?"
STORY = (
    "The story of the house: " + " ".join(f"owner {number} built it," for number in range(16)) + " and so on."
)
DRAINED_S = 15.0


class Streamed(NamedTuple):
    """A stream that is over: the adapter that it was said to begin with, all of its text, and how many swaps
    came meanwhile."""

    began: str
    text: str
    swaps: int

    @property
    def pure(self) -> bool:
        """Whether every token was made by the adapter that the stream began with."""
        return stub_answers.makers(self.text) == {self.began}


class Reading(Customers):
    """They keep the streams that they read, and count the swaps meanwhile."""

    def __init__(self, live: Live) -> None:
        super().__init__(live, STREAMS)
        self.streams: list[Streamed] = []
        self.failed: list[str] = []
        self.begun: Counter[str] = Counter()
        self.swaps = 0

    async def _ask(self, number: int, turn: int) -> None:
        before = self.swaps
        body = {
            "messages": [{"role": "user", "content": LONG if number % 2 else SHORT}],
            "metadata": {"collection": "inn", "conversation_id": f"c-{number}"},
            "stream": True,
        }
        url = f"{self._live.url}/v1/chat/completions"
        async with self._live.http.post(url, json=body) as response:
            began = response.headers.get("x-nightshift-adapter", "")
            self.begun[began] += 1
            text, failure = await read(response)
        if failure:
            self.failed.append(failure)
        else:
            self.streams.append(Streamed(began, text, self.swaps - before))


async def read(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """The text of a stream, and what went wrong, if anything did."""
    if response.status != 200:
        return "", f"{response.status} {await response.text()}"
    text, last = "", ""
    async for line in response.content:
        if line.startswith(b"data: {"):
            said = json.loads(line[6:])
            if "error" in said:
                return text, str(said["error"])
            text += "".join(choice["delta"].get("content") or "" for choice in said["choices"])
        last = line.decode().strip() or last
    return text, "" if last == "data: [DONE]" else f"ended with {last!r}"


async def swap(live: Live, customers: Reading, name: str) -> None:
    """Puts an adapter on canary, promotes it, and returns once some streams have begun with it as stable."""
    live.deploy(canary(name, 0.5))
    await usable(live, 2)
    live.deploy(DeploymentChanged(action="promote", adapter=name, actor="test"))
    customers.swaps += 1
    begun = customers.begun[name]
    await soon(lambda: customers.begun[name] > begun + 3, 5.0, 0.01)


async def test_streams_end_with_the_adapter_that_they_began_with(
    settings: Settings, tmp_path: Path, soak: bool, measured: Callable[[str], None]
) -> None:
    folder = add_knowledge(settings)
    (folder / "story.md").write_text(f"# The story\n\n{STORY}\n")
    swaps = 100 if soak else 25
    first, *others = [add_adapter(settings, tmp_path, 1 + number) for number in range(1 + swaps)]
    async with StubEngine(settings.engine.port) as stub, running(settings) as live:
        await until_ready(live)
        stub.fault("*", "signed", None)
        live.deploy(DeploymentChanged(action="promote", adapter=first, actor="test"))
        await usable(live)
        customers = Reading(live)
        for name in others:
            await swap(live, customers, name)
        await customers.leave()
        drained = await soon(lambda: stub.served == {BASE, others[-1]}, DRAINED_S)
        streams, recorded = customers.streams, live.interactions()
    mixed = [one for one in streams if not one.pure]
    across = [one.swaps for one in streams if one.swaps]
    measured(
        f"{swaps} swaps under {STREAMS} streams: {len(streams)} answers, {len(customers.failed)} failed, "
        f"{len(mixed)} mixed; {len(across)} went across a swap (one across {max(across)}); "
        f"all old adapters unloaded {drained:.1f} s after the last answer"
    )
    assert customers.failed == []
    assert mixed == []
    assert BASE not in {one.began for one in streams}
    assert {one.status for one in recorded} == {"ok"}
    assert not any(one.fallback_from for one in recorded)
    assert len(across) >= STREAMS
