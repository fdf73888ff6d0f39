"""The facts of a collection, page by page, for whoever operates the service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.keys import KeyStore
from tests.agent.agents import FACTS, Live


async def get(live: Live, query: str, **headers: str) -> tuple[int, Any]:
    status, text = await live.get(f"/v1/facts{query}", **headers)
    return status, json.loads(text)


async def test_facts_come_in_the_order_of_the_documents(live: Live) -> None:
    status, told = await get(live, "?collection=inn")
    assert status == 200
    assert (told["object"], told["collection"], told["next"]) == ("list", "inn", None)
    assert [(fact["title"], fact["text"]) for fact in told["data"]] == list(FACTS)


async def test_pages_hold_every_fact_once(live: Live) -> None:
    titles, offset = [], 0
    while offset is not None:
        status, told = await get(live, f"?collection=inn&limit=2&offset={offset}")
        assert status == 200
        assert len(told["data"]) <= 2
        titles += [fact["title"] for fact in told["data"]]
        offset = told["next"]
    assert titles == [title for title, _ in FACTS]
    assert (await get(live, "?collection=inn&offset=99"))[1]["data"] == []


async def test_without_a_name_it_is_the_default_collection(live: Live) -> None:
    assert (await get(live, "")) == (
        200,
        {"object": "list", "collection": "default", "data": [], "next": None},
    )


@pytest.mark.parametrize(
    ("query", "status", "param", "words"),
    [
        ("?collection=nowhere", 404, None, "'nowhere' does not exist: GET /v1/collections"),
        ("?collection=../inn", 404, None, "does not exist"),
        ("?collection=inn&limit=0", 400, "limit", "greater than or equal to 1"),
        ("?collection=inn&limit=501", 400, "limit", "less than or equal to 500"),
        ("?collection=inn&limit=many", 400, "limit", "valid integer"),
        ("?collection=inn&offset=-1", 400, "offset", "greater than or equal to 0"),
    ],
)
async def test_what_cannot_be_given_is_told(
    live: Live, query: str, status: int, param: str | None, words: str
) -> None:
    got, told = await get(live, query)
    assert got == status
    assert told["error"]["param"] == param
    assert words in told["error"]["message"]


async def test_only_keys_that_operate_read_documents(live: Live) -> None:
    keys = KeyStore(live.settings.keys_file)
    chat = {"authorization": f"Bearer {keys.create('page', frozenset({'chat'}))}"}
    operate = {"authorization": f"Bearer {keys.create('night', frozenset({'operate'}))}"}
    assert (await get(live, "?collection=inn"))[0] == 401
    status, told = await get(live, "?collection=inn", **chat)
    assert status == 403
    assert "this needs operate" in told["error"]["message"]
    assert (await get(live, "?collection=inn", **operate))[0] == 200
    # Whoever reads facts must know of what; whoever chats, whom to ask.
    for headers in (chat, operate):
        assert (await live.get("/v1/collections", **headers))[0] == 200
    feedback = {"authorization": f"Bearer {keys.create('thumbs', frozenset({'feedback'}))}"}
    status, text = await live.get("/v1/collections", **feedback)
    assert status == 403
    assert "this needs chat or operate" in text


async def test_its_parameters_are_described(live: Live) -> None:
    described = json.loads((await live.get("/openapi.json"))[1])["paths"]["/v1/facts"]["get"]
    assert [parameter["name"] for parameter in described["parameters"]] == ["collection", "offset", "limit"]
    assert described["parameters"][2]["schema"]["maximum"] == 500
