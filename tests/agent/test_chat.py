"""The chat endpoint, asked by the official client and by hand."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from infra.events import Arm
from infra.settings import Settings
from tests.agent.agents import Live, running
from tests.stub_engine import StubEngine
from tests.waiting import soon


async def test_the_official_client_gets_an_answer_that_is_recorded(live: Live) -> None:
    async with live.openai as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="nightshift",
            messages=[{"role": "user", "content": "Is parking free?"}],
            user="customer-7",
            metadata={"conversation_id": "talk-1", "collection": "inn"},
            extra_body={"something_new": {"deep": [1]}},
        )
    answer = raw.parse()
    assert answer.object == "chat.completion"
    assert answer.model == "nightshift"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert raw.headers["x-nightshift-adapter"] == "base"
    assert raw.headers["x-nightshift-arm"] == "stable"
    assert raw.headers["x-nightshift-conversation"] == "talk-1"

    (recorded,) = live.interactions()
    assert recorded.response_id == answer.id
    assert recorded.conversation_id == "talk-1"
    assert recorded.user == "customer-7"
    assert recorded.collection == "inn"
    assert recorded.query == "Is parking free?"
    assert recorded.answer == answer.choices[0].message.content
    assert recorded.facts[0].title == "Parking"
    assert (recorded.arm, recorded.adapter, recorded.status) == (Arm.STABLE, "", "ok")
    assert recorded.prompt[0].content.startswith(
        "You answer customers of THE INN. Use only these facts:\n- Parking:"
    )
    assert recorded.completion_tokens == answer.usage.completion_tokens
    assert not recorded.streamed
    assert 0 < recorded.latency_s < 5


async def test_a_stream_brings_text_then_usage_and_is_recorded(live: Live) -> None:
    async with live.openai as client:
        stream = await client.chat.completions.create(
            model="nightshift",
            messages=[{"role": "user", "content": "When is breakfast?"}],
            metadata={"collection": "inn"},
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(chunks) > 4
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-2].choices[0].finish_reason == "stop"
    (recorded,) = live.interactions()
    assert recorded.answer == text
    assert recorded.response_id == chunks[0].id
    assert recorded.streamed
    assert recorded.first_token_s is not None
    assert 0 < recorded.first_token_s <= recorded.latency_s
    assert recorded.conversation_id  # made up where the client names none


async def test_a_stream_without_usage_has_none(live: Live) -> None:
    async with live.openai as client:
        stream = await client.chat.completions.create(
            model="nightshift", messages=[{"role": "user", "content": "Wifi?"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


BAD: tuple[tuple[object, str | None], ...] = (
    (b"{nonsense", None),
    (b"", None),
    (b"[1, 2]", None),
    (b'"\xff"', None),
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content.str"),
    ({"messages": [{"role": "user", "content": "  "}]}, "messages.0"),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages.0"),
    ({"messages": [{"role": "user", "content": "x" * 9000}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": "hi"}], "temperature": 9}, "temperature"),
    ({"messages": [{"role": "user", "content": "hi"}], "n": 2}, "n"),
    ({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 0}, "max_tokens"),
    (
        {
            "messages": [{"role": "user", "content": "hi"}],
            "metadata": {"conversation_id": "a\r\nset-cookie: b"},
        },
        "metadata.conversation_id",
    ),
)


async def test_a_bad_request_is_told_where_it_is_bad(live: Live) -> None:
    for body, param in BAD:
        status, answer = await live.post("/v1/chat/completions", body)
        assert status == 400, body
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert answer["error"]["param"] == param, body
        assert answer["error"]["type"] == "invalid_request_error"
    assert live.interactions() == []


async def test_a_huge_body_is_refused(live: Live) -> None:
    status, answer = await live.post("/v1/chat/completions", b'{"messages": "' + b"x" * 300_000 + b'"}')
    assert status == 413
    assert answer["error"]["code"] == "request_too_large"


async def test_an_unknown_model_is_refused_and_never_forwarded(live: Live, stub: StubEngine) -> None:
    asked = stub.stats["requests"]
    async with live.openai as client:
        with pytest.raises(openai.NotFoundError, match="use 'nightshift'"):
            await client.chat.completions.create(
                model="../../etc/passwd", messages=[{"role": "user", "content": "hi"}]
            )
    assert stub.stats["requests"] == asked


async def test_an_unknown_collection_is_not_found(live: Live) -> None:
    for slug in ("nowhere", "../inn", "..", "/etc", "inn/../inn", "INN", "inn\0"):
        body = {"messages": [{"role": "user", "content": "hi"}], "metadata": {"collection": slug}}
        status, answer = await live.post("/v1/chat/completions", body)
        assert status == 404, slug
        assert "/v1/collections" in answer["error"]["message"]


async def test_without_knowledge_the_prompt_says_so_and_an_answer_is_given(live: Live) -> None:
    status, answer = await live.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "Pool?"}]}
    )
    assert status == 200
    assert answer["choices"][0]["message"]["content"]
    (recorded,) = live.interactions()
    assert recorded.facts == ()
    assert "No facts are known" in recorded.prompt[0].content


async def test_personal_data_reaches_the_engine_but_not_the_record(live: Live) -> None:
    body = {
        "messages": [
            {"role": "system", "content": "The customer's e-mail is ann@example.com."},
            {"role": "user", "content": "I am bob@example.com"},
            {"role": "assistant", "content": "Hello bob@example.com"},
            {"role": "user", "content": "Is parking free? Write to carl@example.com."},
        ],
        "user": "dora@example.com",
        "metadata": {"collection": "inn", "conversation_id": "eve@example.com"},
    }
    status, _ = await live.post("/v1/chat/completions", body)
    assert status == 200
    (recorded,) = live.interactions()
    assert "@" not in recorded.model_dump_json()
    assert recorded.query == "Is parking free? Write to [EMAIL]."
    assert recorded.redactions == {"EMAIL": 1}
    assert recorded.turn == 1
    assert [message.role for message in recorded.prompt] == ["system", "user", "assistant", "user"]
    assert recorded.user.startswith("person-")


async def test_the_preview_is_the_prompt_that_is_recorded(live: Live) -> None:
    messages = [{"role": "user", "content": "May I bring my dog?"}]
    status, preview = await live.post("/v1/prompt", {"messages": messages, "collection": "inn"})
    assert status == 200
    assert live.interactions() == []
    await live.ask("May I bring my dog?")
    (recorded,) = live.interactions()
    assert preview["messages"] == [message.model_dump() for message in recorded.prompt]
    assert preview["facts"] == [fact.model_dump() for fact in recorded.facts]


async def test_models_and_collections_are_listed(live: Live) -> None:
    async with live.openai as client:
        assert [model.id for model in (await client.models.list()).data] == ["nightshift"]
    status, text = await live.get("/v1/collections")
    assert status == 200
    assert json.loads(text)["data"] == [{"id": "inn", "name": "THE INN", "facts": 5}]


async def test_an_engine_that_is_down_is_told_and_recorded_and_comes_back(settings: Settings) -> None:
    async with running(settings) as live:
        with pytest.raises(openai.InternalServerError, match="engine does not answer") as failure:
            await live.ask_default("Anyone?")
        assert failure.value.status_code == 503
        assert failure.value.response.headers["retry-after"] == "1"
        assert [(i.status, i.answer) for i in live.interactions()] == [("error", "")]
        assert (await live.get("/readyz"))[0] == 503
        assert (await live.get("/livez"))[0] == 200
        async with StubEngine(settings.engine.port):
            assert (await live.ask_default("Anyone now?")).adapter == "base"


async def test_a_stream_that_breaks_without_help_ends_with_an_error_event(
    live: Live, stub: StubEngine
) -> None:
    stub.fault("base", "break_stream")
    async with live.openai as client:
        stream = await client.chat.completions.create(
            model="nightshift",
            messages=[{"role": "user", "content": "Is parking free?"}],
            metadata={"collection": "inn"},
            stream=True,
        )
        text = ""
        with pytest.raises(openai.APIError, match="engine does not answer"):
            async for chunk in stream:
                assert chunk.choices[0].finish_reason is None
                text += chunk.choices[0].delta.content or ""
    (recorded,) = live.interactions()
    assert recorded.status == "error"
    assert recorded.answer == text != ""


async def test_a_customer_who_leaves_is_recorded_and_the_engine_stops(live: Live, stub: StubEngine) -> None:
    stub.fault("base", "slow")
    async with live.openai as client:
        stream = await client.chat.completions.create(
            model="nightshift",
            messages=[{"role": "user", "content": "When is breakfast?"}],
            metadata={"collection": "inn"},
            stream=True,
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
    await soon(lambda: bool(live.interactions()), 5.0)
    (recorded,) = live.interactions()
    assert recorded.status == "cancelled"
    assert recorded.answer
    await soon(lambda: stub.stats["cancelled"] == 1, 5.0)


async def test_more_requests_than_allowed_are_asked_to_come_back(
    settings: Settings, stub: StubEngine
) -> None:
    agent = settings.agent.model_copy(update={"max_concurrent": 1, "timeout_s": 3.0})
    stub.fault("base", "hang", None)
    async with running(settings.model_copy(update={"agent": agent})) as live:
        body = {"messages": [{"role": "user", "content": "hi"}]}
        answers = await asyncio.gather(*(live.post("/v1/chat/completions", body) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [429, 429, 429, 503]
    assert any(answer["error"]["code"] == "too_busy" for _, answer in answers)


async def test_the_page_needs_nothing_from_elsewhere(live: Live) -> None:
    status, page = await live.get("/")
    assert status == 200
    assert "<title>Nightshift</title>" in page
    assert "https://" not in page
    assert 'src="' not in page


async def test_an_unknown_path_gets_the_same_error_shape(live: Live) -> None:
    status, text = await live.get("/v1/nothing")
    assert status == 404
    assert "/v1/nothing" in json.loads(text)["error"]["message"]


async def test_metrics_count_what_happened(live: Live) -> None:
    await live.ask("Is parking free? I am bob@example.com")
    _, text = await live.get("/metrics")
    assert 'nightshift_requests_total{arm="stable",status="ok"} 1.0' in text
    assert 'nightshift_redactions_total{kind="EMAIL"} 1.0' in text
    assert 'nightshift_latency_seconds_count{arm="stable"} 1.0' in text
    assert "bob@" not in text
