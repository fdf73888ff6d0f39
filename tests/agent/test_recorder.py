"""What cannot be recorded is not answered; what is recorded holds no personal data."""

from __future__ import annotations

import asyncio

import openai
import pytest

from infra.settings import Settings
from tests.agent.agents import Live, add_knowledge, running, until_ready
from tests.stub_engine import StubEngine


async def test_an_answer_that_cannot_be_recorded_is_never_finished(live: Live) -> None:
    answer = await live.ask("Is parking free?")
    await asyncio.to_thread(live.log.close)  # from here on it takes nothing, as a full disk would
    with pytest.raises(openai.InternalServerError, match="could not be recorded") as failure:
        await live.ask("When is breakfast?")
    assert failure.value.status_code == 503
    body = {
        "messages": [{"role": "user", "content": "Wifi?"}],
        "stream": True,
        "metadata": {"collection": "inn"},
    }
    async with live.http.post(f"{live.url}/v1/chat/completions", json=body) as response:
        text = await response.text()
    assert '"code":"not_recorded"' in text
    assert "[DONE]" not in text
    assert '"finish_reason":"' not in text
    assert (await live.post("/v1/feedback", {"response_id": answer.id, "rating": 1}))[0] == 503
    assert (
        'nightshift_requests_total{arm="stable",status="unrecorded"} 2.0' in (await live.get("/metrics"))[1]
    )


async def test_many_at_once_are_all_recorded(settings: Settings, stub: StubEngine) -> None:
    add_knowledge(settings)
    async with running(settings) as live:
        await until_ready(live)
        body = {
            "messages": [{"role": "user", "content": "Is parking free?"}],
            "metadata": {"collection": "inn"},
        }
        answers = await asyncio.gather(*(live.post("/v1/chat/completions", body) for _ in range(100)))
        assert {status for status, _ in answers} == {200}
        assert {answer["id"] for _, answer in answers} == {i.response_id for i in live.interactions()}
