"""Makes one engine hold the adapters that the deployment wants, and knows which of them may be used.

An engine that starts anew has lost its adapters; one may also take an adapter and silently not apply
it. So what is wanted is compared with what is there every second, and each adapter must compute what
it was trained to before anybody is served by it. Which conversation gets which is routing's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from agent.metrics import Metrics
from infra.deployment import Deployment
from infra.engine import Engine
from infra.errors import AdapterError, EngineError, EngineUnavailable, NotFound
from infra.probe import QUESTIONS
from infra.registry import Adapter, Registry

_log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_RETRY_S = 10.0  # a failed adapter may have been a failed disk
_DRAIN_S = 5.0  # other replicas see a roll back within a second, and then finish what they began


class Adapters:
    """`usable` are loaded and checked; `failed` says why an adapter cannot be used, as a sentence.

    `reachable` is whether the engine answered when it was last asked; `trusted` is it until a request finds
    out otherwise.
    """

    def __init__(self, engine: Engine, registry: Registry, metrics: Metrics) -> None:
        self._engine = engine
        self._registry = registry
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._checked: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._unwanted_since: dict[str, float] = {}
        self._seen: set[str] = set()
        self._in_use: Counter[str] = Counter()
        self.usable: frozenset[str] = frozenset()
        self.failed: Mapping[str, str] = {}
        self.reachable = False
        self.trusted = False
        self._said = ""

    async def run(self, state: Callable[[], Deployment], told: Callable[[], None]) -> None:
        """Reconciles for ever: each second, and at once after `wake`. Calls `told` after each look."""
        while True:
            self._wake.clear()
            try:
                await self.reconcile(state(), time.monotonic())
                self._say_once("")
            except EngineError as err:
                # Whatever it held is gone or out of reach: what comes back is checked again.
                self.usable = frozenset()
                self.reachable = self.trusted = False
                self._metrics.errors.labels("adapters").inc()
                self._say_once(f"adapters cannot be reconciled: {err}")
            told()
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_S):
                    await self._wake.wait()

    def _say_once(self, trouble: str) -> None:
        """An engine takes half a minute to start: the same line every second would bury the others."""
        if trouble and trouble != self._said:
            _log.warning("%s", trouble)
        self._said = trouble

    def wake(self) -> None:
        """Reconciles now. For the event loop's thread alone."""
        self._wake.set()

    def noticed(self, adapter: str, err: EngineError) -> None:
        """A request with `adapter` failed: what the engine holds is looked at again, now."""
        if err.status == 404:
            self.usable -= {adapter}
        if isinstance(err, EngineUnavailable):
            self.trusted = False
        self._wake.set()

    @contextmanager
    def in_use(self, adapter: str) -> Iterator[None]:
        """Keeps an adapter loaded while a request is answered with it."""
        self._in_use[adapter] += 1
        try:
            yield
        finally:
            self._in_use[adapter] -= 1

    async def reconcile(self, state: Deployment, now: float) -> None:
        """One look: load and check what is wanted, unload what no longer is.

        Raises:
            EngineError: the engine cannot be reached.
        """
        loaded = await self._engine.models()
        self.reachable = self.trusted = True
        self.usable &= loaded
        self.failed = {name: why for name, why in self.failed.items() if name in state.wanted}
        due = [
            name for name in state.wanted if name not in self.usable and now >= self._retry_at.get(name, 0.0)
        ]
        # All are loaded before any is checked: what was in use before the engine started anew waits for none.
        found = [adapter for name in due if (adapter := await self._load(name, now))]
        for adapter in found:
            await self._check(adapter, now)
        self._seen |= {*state.wanted, *state.served, *state.denied}
        await self._unload((self._seen & loaded) - set(state.wanted), now)

    async def _load(self, name: str, now: float) -> Adapter | None:
        """Loads one adapter; None when it cannot be used."""
        with self._refusing(name, now):
            adapter = await asyncio.to_thread(self._registry.get, name)
            await self._engine.load(name, adapter.folder)
            if name in self._checked:
                self.usable |= {name}  # at worst it is no better than the base, which would answer meanwhile
            return adapter
        return None

    async def _check(self, adapter: Adapter, now: float) -> None:
        """Lets a loaded adapter be used, unless it does not compute what it should."""
        name = adapter.name
        with self._refusing(name, now):
            if wrong := await self._engine.wrong(name, adapter.manifest.probe, QUESTIONS[0]):
                raise AdapterError(wrong)
            self._checked.add(name)
            self.usable |= {name}
            self.failed = {other: why for other, why in self.failed.items() if other != name}
            _log.info("adapter %s is loaded and computes what it should", name)

    @contextmanager
    def _refusing(self, name: str, now: float) -> Iterator[None]:
        """Notes why an adapter cannot be used, and when to try it again."""
        try:
            yield
        except EngineUnavailable:
            raise
        except (AdapterError, NotFound, EngineError) as err:
            self._retry_at[name] = now + _RETRY_S
            self.usable -= {name}
            self.failed = {**self.failed, name: str(err)}
            _log.error("adapter %s cannot be used: %s", name, err)

    async def _unload(self, unwanted: frozenset[str] | set[str], now: float) -> None:
        """Unloads after a pause, when nobody is being answered. A candidate was never wanted: it stays."""
        self._unwanted_since = {name: self._unwanted_since.get(name, now) for name in unwanted}
        for name, since in self._unwanted_since.items():
            if now - since >= _DRAIN_S and self._in_use[name] == 0:
                await self._engine.unload(name)
                _log.info("adapter %s is unloaded", name)
