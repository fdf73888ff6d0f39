"""Reconciling the engine's adapters with the deployment, one look at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from agent.adapters import Adapters
from agent.metrics import Metrics
from infra.deployment import Deployment
from infra.engine import Engine
from infra.errors import EngineUnavailable
from infra.registry import Registry
from infra.settings import Settings
from tests.agent.agents import add_adapter
from tests.stub_engine import StubEngine
from tests.waiting import soon


def over(settings: Settings, session: aiohttp.ClientSession) -> tuple[Adapters, Engine]:
    engine = Engine(settings.engine.url, session, 2.0)
    return Adapters(engine, Registry(settings.adapters_dir), Metrics(CollectorRegistry())), engine


async def test_what_was_rolled_back_is_unloaded_once_nobody_uses_it(
    settings: Settings, stub: StubEngine, tmp_path: Path
) -> None:
    old, new, candidate = (add_adapter(settings, tmp_path, seed) for seed in (1, 2, 3))
    async with aiohttp.ClientSession() as session:
        adapters, engine = over(settings, session)
        await engine.load(candidate, Registry(settings.adapters_dir).get(candidate).folder)
        await adapters.reconcile(Deployment(stable=old, canary=new), 0.0)
        assert adapters.usable == {old, new}
        after = Deployment(stable=old, denied=frozenset({new}))
        with adapters.in_use(new):
            for now in (1.0, 2.0, 20.0):
                await adapters.reconcile(after, now)
                assert new in await engine.models()
        await adapters.reconcile(after, 21.0)
        assert await engine.models() == {
            "base",
            old,
            candidate,
        }  # a trainer's candidate is not ours to unload


async def test_a_failed_adapter_is_tried_again_later(
    settings: Settings, stub: StubEngine, tmp_path: Path
) -> None:
    name = add_adapter(settings, tmp_path, 1)
    hidden = settings.adapters_dir / "elsewhere"
    (settings.adapters_dir / name).rename(hidden)
    async with aiohttp.ClientSession() as session:
        adapters, _ = over(settings, session)
        await adapters.reconcile(Deployment(canary=name), 100.0)
        assert name in adapters.failed
        hidden.rename(settings.adapters_dir / name)
        await adapters.reconcile(Deployment(canary=name), 105.0)
        assert name in adapters.failed
        await adapters.reconcile(Deployment(canary=name), 111.0)
        assert adapters.usable == {name}
        assert adapters.failed == {}


async def test_what_was_in_use_waits_for_no_check_when_the_engine_lost_it(
    settings: Settings, stub: StubEngine, tmp_path: Path
) -> None:
    """A check takes seconds where customers keep the engine busy: stable's must not hold up the canary."""
    wanted = [add_adapter(settings, tmp_path, seed) for seed in (1, 2)]
    async with aiohttp.ClientSession() as session:
        adapters, engine = over(settings, session)
        state = Deployment(stable=wanted[0], canary=wanted[1])
        await adapters.reconcile(state, 0.0)
        for name in wanted:
            await engine.unload(name)
        adapters.usable = frozenset()
        stub.fault("base", "hang", None)
        looking = asyncio.create_task(adapters.reconcile(state, 1.0))
        await soon(lambda: adapters.usable == set(wanted), 5.0)
        assert not looking.done()
        looking.cancel()


async def test_an_engine_out_of_reach_is_nobodys_fault(settings: Settings, tmp_path: Path) -> None:
    name = add_adapter(settings, tmp_path, 1)
    async with aiohttp.ClientSession() as session:
        adapters, _ = over(settings, session)
        with pytest.raises(EngineUnavailable):
            await adapters.reconcile(Deployment(canary=name), 0.0)
        assert adapters.failed == {}
