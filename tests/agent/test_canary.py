"""A canary in a running agent: assignment, fallback within the request, and how soon changes are followed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infra.events import Arm, DeploymentChanged
from infra.settings import Settings
from tests.agent.agents import Live, add_adapter, running
from tests.stub_engine import StubEngine


def canary(name: str, share: float = 1.0) -> DeploymentChanged:
    return DeploymentChanged(action="canary", adapter=name, share=share, actor="test")


async def usable(live: Live, count: int = 1, seconds: float = 5.0) -> None:
    """Waits until so many wanted adapters are served."""
    deadline = asyncio.get_running_loop().time() + seconds
    while f'nightshift_adapters{{state="usable"}} {count}.0' not in (await live.get("/metrics"))[1]:
        assert asyncio.get_running_loop().time() < deadline, f"not {count} usable adapters within {seconds} s"
        await asyncio.sleep(0.01)


async def test_conversations_are_split_by_share_and_never_change_arm(live: Live, tmp_path: Path) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    live.deploy(canary(name, 0.5))
    await usable(live)
    first = {f"c-{i}": (await live.ask("Is parking free?", f"c-{i}")).arm for i in range(40)}
    again = {conversation: (await live.ask("When is breakfast?", conversation)).arm for conversation in first}
    assert again == first
    assert 8 < sum(arm == "canary" for arm in first.values()) < 32
    for body in live.interactions():
        assert body.canary == name  # both arms run at the same time
        assert body.adapter == (name if body.arm is Arm.CANARY else "")


async def test_a_change_is_followed_within_a_second(live: Live, tmp_path: Path) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    live.deploy(canary(name))
    assert await arm_becomes(live, "canary") < 1.0
    live.deploy(DeploymentChanged(action="roll_back", adapter=name, actor="test"))
    assert await arm_becomes(live, "stable") < 1.0
    for _ in range(5):
        assert (await live.ask("Wifi?")).adapter == "base"


async def adapter_becomes(live: Live, adapter: str) -> float:
    """Asks until this adapter answers; the seconds that it took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while (await live.ask_default("Is parking free?")).adapter != adapter:
        assert loop.time() - begun < 5
    return loop.time() - begun


async def arm_becomes(live: Live, arm: str) -> float:
    """Asks until this arm answers; the seconds that it took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while (await live.ask("Is parking free?")).arm != arm:
        assert loop.time() - begun < 5
    return loop.time() - begun


@pytest.mark.parametrize("kind", ["error", "hang", "break_stream", "malformed"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failing_canary_is_replaced_within_the_request(
    live: Live, stub: StubEngine, tmp_path: Path, kind: str, streamed: bool
) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    live.deploy(canary(name))
    await usable(live)
    stub.fault(name, kind, 1)
    if streamed:
        text, finish = await streamed_text(live)
        assert finish == "stop"
    else:
        answered = await live.ask("Is parking free?")
        text = answered.text
        assert (answered.arm, answered.adapter) == ("canary", "base")
    (body,) = live.interactions()
    assert body.status == "ok"
    assert body.answer == text != ""
    assert (body.arm, body.canary, body.fallback_from, body.adapter) == (Arm.CANARY, name, name, "")
    assert body.error
    # It was one bad answer: the next comes from the canary again.
    assert (await live.ask("Is parking free?")).adapter == name


async def streamed_text(live: Live) -> tuple[str, str | None]:
    async with live.openai as client:
        stream = await client.chat.completions.create(
            model="nightshift",
            messages=[{"role": "user", "content": "Is parking free?"}],
            metadata={"conversation_id": "c-1", "collection": "inn"},
            stream=True,
        )
        chunks = [chunk async for chunk in stream]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks), chunks[-1].choices[
        0
    ].finish_reason


async def test_an_adapter_that_changes_nothing_is_never_served_and_counts_against_itself(
    live: Live, tmp_path: Path
) -> None:
    name = add_adapter(live.settings, tmp_path, 0)
    live.deploy(canary(name))
    await arm_becomes(live, "canary")
    status, text = await live.get("/readyz")
    assert status == 200
    assert "changes nothing" in text
    body = live.interactions()[-1]
    assert (body.arm, body.adapter, body.fallback_from, body.status) == (Arm.CANARY, "", name, "ok")
    assert "changes nothing" in body.error
    assert 'nightshift_adapters{state="failed"} 1.0' in (await live.get("/metrics"))[1]


async def test_an_altered_adapter_is_not_served(live: Live, tmp_path: Path) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    weights = live.settings.adapters_dir / name / "adapter_model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes() + b"\1")
    live.deploy(canary(name))
    await arm_becomes(live, "canary")
    assert (await live.ask("Wifi?")).adapter == "base"


async def test_a_stable_adapter_that_the_engine_lost_falls_back_then_returns(
    live: Live, stub: StubEngine, tmp_path: Path
) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    live.deploy(DeploymentChanged(action="promote", adapter=name, actor="test"))
    await usable(live)
    assert (await live.ask("Wifi?")).adapter == name
    async with live.http.post(f"{stub.url}/v1/unload_lora_adapter", json={"lora_name": name}) as response:
        assert response.status == 200
    assert (await live.ask("Wifi?")).adapter == "base"
    assert live.interactions()[-1].fallback_from == name
    await usable(live)
    assert (await live.ask("Wifi?")).adapter == name


async def test_adapters_return_when_the_engine_starts_anew(settings: Settings, tmp_path: Path) -> None:
    name = add_adapter(settings, tmp_path, 1)
    async with running(settings) as live:
        async with StubEngine(settings.engine.port):
            live.deploy(DeploymentChanged(action="promote", adapter=name, actor="test"))
            await usable(live)
        async with StubEngine(settings.engine.port):
            assert (await live.ask_default("Anyone?")).adapter == "base"
            await usable(live)
            assert await adapter_becomes(live, name) < 3


async def test_a_bad_deployment_event_changes_nothing(live: Live, tmp_path: Path) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    live.log.append("deployments", "deployments", b"not an event").result(10)
    live.deploy(canary(name))
    assert await arm_becomes(live, "canary") < 1.0
