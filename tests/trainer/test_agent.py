"""What a night asks of the agent, at a real one: prompts, businesses, and all of their facts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from infra.errors import EngineError
from infra.keys import KeyStore
from infra.settings import Settings
from tests.agent.agents import FACTS, Live, add_knowledge, running
from tests.stub_engine import StubEngine
from trainer.agent import Agent


@pytest.fixture
async def live(settings: Settings) -> AsyncIterator[Live]:
    add_knowledge(settings)
    async with StubEngine(settings.engine.port), running(settings) as agent:
        yield agent


async def test_a_prompt_is_the_agents_own(live: Live) -> None:
    built = await Agent(live.url, live.http).prompt("inn", "May I bring my dog?")
    assert built.facts[0].title == "Pets"
    assert [message.role for message in built.messages] == ["system", "user"]
    assert "THE INN" in built.messages[0].content
    assert live.interactions() == []


async def test_all_facts_of_a_business_come_however_many_pages_they_fill(live: Live) -> None:
    agent = Agent(live.url, live.http)
    assert await agent.collections() == ("inn",)
    assert [(fact.title, fact.text) for fact in await agent.facts("inn")] == list(FACTS)
    many = live.settings.knowledge_dir / "inn" / "many.jsonl"
    rows = (json.dumps({"title": "", "text": f"Room {number} has a bath."}) for number in range(1001))
    many.write_text("\n".join(rows))
    async with asyncio.timeout(10):
        while len(facts := await agent.facts("inn")) == len(FACTS):
            await asyncio.sleep(0.2)
    assert [fact.text for fact in facts[len(FACTS) :]] == [f"Room {n} has a bath." for n in range(1001)]


async def test_a_refusal_says_what_and_why(live: Live) -> None:
    with pytest.raises(
        EngineError, match=r"/v1/facts refused with status 404: .*'nowhere' does not exist"
    ) as it:
        await Agent(live.url, live.http).facts("nowhere")
    assert it.value.status == 404


async def test_a_key_that_operates_is_enough(live: Live) -> None:
    key = KeyStore(live.settings.keys_file).create("night", frozenset({"operate"}))
    agent = Agent(live.url, live.http, key)
    assert await agent.collections() == ("inn",)
    assert len(await agent.facts("inn")) == len(FACTS)
    assert (await agent.prompt("inn", "May I park?")).facts
    with pytest.raises(EngineError, match="status 401"):
        await Agent(live.url, live.http).collections()


async def test_what_cannot_be_read_is_no_answer(live: Live) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(EngineError, match="something else listening"):
            await Agent(live.settings.engine.url + "/stub/stats?", session).collections()
