"""The engines behind the agent: which one answers a request, and which of them are left out for now.

Each engine holds its own adapters and is reconciled by itself: an adapter is usable where it is loaded and
checked, and only there is anybody sent to it. An engine that fails gets nothing more until it has answered a
look; what it had begun goes to another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from agent import placement
from agent.adapters import Adapters
from agent.metrics import Metrics
from infra.deployment import Deployment
from infra.engine import Engine
from infra.errors import EngineError
from infra.registry import Registry


class Replica:
    """One engine, the adapters that it holds, and how many requests it works on for this agent."""

    def __init__(self, engine: Engine, adapters: Adapters) -> None:
        self.engine = engine
        self.adapters = adapters
        self.running = 0

    @contextmanager
    def answering(self, adapter: str) -> Iterator[None]:
        """Counts a request, and keeps its adapter loaded."""
        self.running += 1
        try:
            with self.adapters.in_use(adapter):
                yield
        finally:
            self.running -= 1


class Replicas:
    """All engines, by the addresses that the settings name; at least one."""

    def __init__(self, engines: Sequence[Engine], registry: Registry, metrics: Metrics) -> None:
        assert engines
        self._metrics = metrics
        self._all = tuple(Replica(engine, Adapters(engine, registry, metrics)) for engine in engines)

    @property
    def usable(self) -> frozenset[str]:
        """Adapters that some engine serves."""
        first, *others = self._all
        return first.adapters.usable.union(*(other.adapters.usable for other in others))

    @property
    def failed(self) -> Mapping[str, str]:
        """Adapters that no engine can use, as far as those that answer know, each with the reason."""
        told = [one for one in self._all if one.adapters.reachable] or self._all
        first, *others = (one.adapters.failed for one in told)
        return {name: why for name, why in first.items() if all(name in other for other in others)}

    @property
    def answering(self) -> int:
        """How many engines answered when they were last asked."""
        return sum(one.adapters.reachable for one in self._all)

    def __len__(self) -> int:
        return len(self._all)

    def pick(self, adapter: str, prompt: str, tried: Collection[Replica] = ()) -> Replica | None:
        """The engine for a request that begins with `prompt`, None when only `tried` ones have the adapter.

        One that is left out is asked only where no other is left: it may have come back just now.
        """
        holding = [
            one for one in self._all if one not in tried and (not adapter or adapter in one.adapters.usable)
        ]
        able = [one for one in holding if one.adapters.trusted] or holding
        if len(able) < 2:
            return able[0] if able else None
        running = {one.engine.url: one.running for one in able}
        url = placement.choose(placement.beginning(prompt, adapter), running)
        return next(one for one in able if one.engine.url == url)

    def failure(self, replica: Replica, adapter: str, err: EngineError) -> None:
        """A request with `adapter` failed there: counted, and looked into at once."""
        self._metrics.engine_failures.inc()
        replica.adapters.noticed(adapter, err)

    def wake(self) -> None:
        """Reconciles every engine now. For the event loop's thread alone."""
        for one in self._all:
            one.adapters.wake()

    async def run(self, state: Callable[[], Deployment]) -> None:
        """Reconciles all of them for ever, each by itself: a slow one holds up none."""

        def told() -> None:
            self._report(state())

        async with asyncio.TaskGroup() as group:
            for one in self._all:
                group.create_task(one.adapters.run(state, told))

    def _report(self, state: Deployment) -> None:
        wanted, usable, failed = set(state.wanted), self.usable, self.failed.keys()
        self._metrics.adapters.labels("usable").set(len(wanted & usable))
        self._metrics.adapters.labels("failed").set(len((wanted & failed) - usable))
        self._metrics.adapters.labels("waiting").set(len(wanted - usable - failed))
        self._metrics.engines.labels("answering").set(self.answering)
        self._metrics.engines.labels("away").set(len(self) - self.answering)
