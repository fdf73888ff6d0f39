"""Fixtures for the agent: a stub engine where the settings expect one, and an agent over it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from infra.settings import Settings
from tests.agent.agents import Live, add_knowledge, running, until_ready
from tests.stub_engine import StubEngine


@pytest.fixture
async def stub(settings: Settings) -> AsyncIterator[StubEngine]:
    async with StubEngine(settings.engine.port) as engine:
        yield engine


@pytest.fixture
async def live(settings: Settings, stub: StubEngine) -> AsyncIterator[Live]:
    add_knowledge(settings)
    # An engine that hangs must not hold a test for a minute.
    agent = settings.agent.model_copy(update={"timeout_s": 2.0})
    async with running(settings.model_copy(update={"agent": agent})) as agent_running:
        await until_ready(agent_running)
        yield agent_running
