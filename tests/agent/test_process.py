"""The agent as its own process: how soon it starts, what it loads, and what it knows after a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from infra.eventlog import open_log
from infra.eventlog.base import from_beginning
from infra.events import Event, Interaction, Topic
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests.agent.agents import add_knowledge
from tests.brokers import tansu
from tests.stub_engine import StubEngine

pytestmark = pytest.mark.clock

ROOT = Path(__file__).parents[2]


@contextmanager
def process(settings: Settings, **agent: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m agent` with these settings; killed at the end if it still runs."""
    file = settings.data.parent / "nightshift.toml"
    lines = [
        f'data = "{settings.data}"',
        f'models = "{settings.models}"',
        "[agent]",
        f"port = {settings.agent.port}",
    ]
    lines += [f"{name} = {value}" for name, value in agent.items()]
    lines += ["[engine]", f"port = {settings.engine.port}"]
    lines += ["[kafka]", f'bootstrap = "{settings.kafka.bootstrap}"']
    file.write_text("\n".join(lines))
    environment = {**os.environ, "NIGHTSHIFT_CONFIG": str(file)}
    started = subprocess.Popen(
        [sys.executable, "-m", "agent"], cwd=ROOT, env=environment, stderr=subprocess.PIPE
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        if started.stderr is not None:
            started.stderr.close()


async def until_ready(http: aiohttp.ClientSession, url: str, seconds: float = 15.0) -> float:
    """The seconds until the agent takes requests."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        try:
            async with http.get(f"{url}/readyz") as response:
                if response.status == 200:
                    return time.monotonic() - begun
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.01)
    raise AssertionError(f"not ready within {seconds} s")


async def test_it_starts_soon_stays_small_and_stops_in_order(
    settings: Settings, stub: StubEngine, measured: Callable[[str], None]
) -> None:
    add_knowledge(settings)
    async with aiohttp.ClientSession() as http:
        with process(settings) as agent:
            seconds = await until_ready(http, settings.agent.url)
            resident = psutil.Process(agent.pid).memory_info().rss / 2**20
            measured(f"started in {seconds:.2f} s, {resident:.0f} MiB")
            assert seconds < 4.0  # under two on a quiet machine
            assert resident < 250
            agent.send_signal(signal.SIGTERM)
            _, errors = await asyncio.to_thread(agent.communicate)
            assert agent.returncode == 0, errors


def test_it_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'duckdb', 'transformers', 'trl', 'peft', 'vllm', 'httpx', 'pandas', 'sklearn'}"
    code = f"import sys, agent.__main__; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "[]"


async def test_a_thumb_is_known_after_a_restart(settings: Settings, stub: StubEngine) -> None:
    ask = {"messages": [{"role": "user", "content": "Hello?"}]}
    async with aiohttp.ClientSession() as http:
        with process(settings):
            await until_ready(http, settings.agent.url)
            async with http.post(f"{settings.agent.url}/v1/chat/completions", json=ask) as response:
                answer = await response.json()
        with process(settings):
            await until_ready(http, settings.agent.url)
            thumb = {"response_id": answer["id"], "rating": 1}
            async with http.post(f"{settings.agent.url}/v1/feedback", json=thumb) as response:
                assert response.status == 200


def test_it_does_not_listen_beyond_this_machine_without_keys(settings: Settings) -> None:
    with process(settings, host='"0.0.0.0"') as agent:
        _, errors = agent.communicate(timeout=20)
    assert agent.returncode == 1
    assert b"there is no API key" in errors


async def test_without_a_broker_it_serves_what_it_last_knew_and_ships_later(
    settings: Settings, stub: StubEngine, tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    add_knowledge(settings)
    with tansu(tmp_path / "tansu", *free_ports(1)) as broker:
        broker.stop()
        far = settings.model_copy(update={"kafka": KafkaSettings(bootstrap=broker.bootstrap)})
        async with aiohttp.ClientSession() as http:
            with process(far) as agent:
                assert await until_ready(http, far.agent.url, 10.0) < 5.0
                ids = {await ask(http, far.agent.url, number) for number in range(20)}
                async with http.get(far.agent.url + "/readyz") as response:
                    needs = await response.json()
                assert needs["deployments"].startswith("degraded: the last known adapter serves")
                broker.start()
                await asyncio.to_thread(arrived, far, ids)
                agent.send_signal(signal.SIGTERM)
                _, errors = await asyncio.to_thread(agent.communicate)
                assert agent.returncode == 0, errors


async def ask(http: aiohttp.ClientSession, url: str, number: int) -> str:
    """The response's id."""
    body = {"model": "nightshift", "messages": [{"role": "user", "content": f"Is parking free? {number}"}]}
    async with http.post(url + "/v1/chat/completions", json=body) as response:
        assert response.status == 200
        return str((await response.json())["id"])


def arrived(settings: Settings, ids: set[str]) -> None:
    """Returns when all of them are on Kafka."""
    with (
        closing(open_log(settings)) as log,
        closing(log.reader([Topic.INTERACTIONS], from_beginning)) as reader,
    ):
        seen: set[str] = set()
        deadline = time.monotonic() + 30
        while seen < ids and time.monotonic() < deadline:
            for record in reader.poll(0.5):
                body = Event.decode(record.value).parse()
                assert isinstance(body, Interaction)
                seen.add(body.response_id)
        assert seen == ids
