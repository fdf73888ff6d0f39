"""Who may ask: keys with scopes, or this machine's own pages while there are none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agent.auth import refuse_open_door
from infra.errors import SettingsError
from infra.keys import KeyStore
from infra.sections import AgentSettings
from infra.settings import Settings
from tests.agent.agents import Live, running
from tests.stub_engine import StubEngine

ASK = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def bare(settings: Settings, stub: StubEngine) -> AsyncIterator[Live]:
    async with running(settings) as live:
        yield live


async def test_keys_open_their_scopes_alone(bare: Live) -> None:
    keys = KeyStore(bare.settings.keys_file)
    chat = {"authorization": f"Bearer {keys.create('page', frozenset({'chat'}))}"}
    operate = {"authorization": f"Bearer {keys.create('night', frozenset({'operate'}))}"}
    assert (await bare.post("/v1/chat/completions", ASK))[0] == 401
    assert (await bare.post("/v1/chat/completions", ASK, authorization="Bearer ns_wrong"))[0] == 401
    assert (await bare.post("/v1/chat/completions", ASK, authorization="Basic abc"))[0] == 401
    assert (await bare.post("/v1/chat/completions", ASK, **chat))[0] == 200
    assert (await bare.post("/v1/feedback", {"response_id": "x"}, **chat))[0] == 403
    assert (await bare.post("/v1/prompt", ASK, **chat))[0] == 403
    assert (await bare.post("/v1/prompt", ASK, **operate))[0] == 200
    assert (await bare.get("/v1/models"))[0] == 401
    assert (await bare.get("/livez"))[0] == 200
    keys.revoke("page")
    assert (await bare.post("/v1/chat/completions", ASK, **chat))[0] == 401


async def test_without_keys_foreign_pages_are_kept_out(bare: Live) -> None:
    own = bare.url
    assert (await bare.post("/v1/chat/completions", ASK, origin=own))[0] == 200
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"}):
        status, told = await bare.post("/v1/chat/completions", ASK, **headers)
        assert status == 403, headers
        assert told["error"]["type"] == "permission_error"
    assert len(bare.interactions()) == 1


def test_an_open_door_is_refused_until_there_is_a_key(settings: Settings) -> None:
    keys = KeyStore(settings.keys_file)
    refuse_open_door(AgentSettings(), keys)
    with pytest.raises(SettingsError, match="no API key"):
        refuse_open_door(AgentSettings(host="0.0.0.0"), keys)
    keys.create("page")
    refuse_open_door(AgentSettings(host="0.0.0.0"), keys)
