"""A whole agent for tests: the real application over a real local log, beside the stub engine."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import uvicorn
from openai import AsyncOpenAI

from agent.app import create_app
from agent.index import Vectors
from agent.knowledge import Knowledge
from agent.response_ids import ResponseIds, load_secret
from infra.engine import Engine
from infra.eventlog.base import EventLog, from_beginning
from infra.eventlog.local import LocalEventLog
from infra.events import Body, DeploymentChanged, Event, Feedback, Interaction, Topic
from infra.keys import KeyStore
from infra.registry import Registry
from infra.settings import Settings
from tests.waiting import soon

B = TypeVar("B", bound=Body)

FACTS = (
    ("Parking", "Parking is free for all guests."),
    ("Breakfast", "Breakfast is served from 7 to 10 every morning."),
    ("Pets", "Dogs are not allowed in the rooms."),
    ("Arrival", "Check-in begins at 3 pm."),
    ("Wireless", "The wifi costs 5 pounds a day."),
)
# One about each fact.
QUESTIONS = ("Is parking free?", "When is breakfast?", "Are dogs allowed?", "When is check-in?", "Wifi?")


@dataclass(frozen=True, slots=True)
class Live:
    """A running agent, and what a test needs to ask it and to see what it wrote."""

    url: str
    settings: Settings
    log: EventLog
    http: aiohttp.ClientSession

    @property
    def openai(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=20)

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:  # Any: JSON
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(self.url + path, data=data, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.http.get(self.url + path, headers=headers) as response:
            return response.status, await response.text()

    async def ask_default(self, query: str) -> Answered:
        """Asks where there is no knowledge."""
        return await self.ask(query, collection="default")

    async def ask(self, query: str, conversation: str = "c-1", collection: str = "inn") -> Answered:
        """Asks without streaming; raises openai's errors."""
        async with self.openai as client:
            raw = await client.chat.completions.with_raw_response.create(
                model="nightshift",
                messages=[{"role": "user", "content": query}],
                metadata={"conversation_id": conversation, "collection": collection},
            )
        answer = raw.parse()
        return Answered(
            answer.id,
            answer.choices[0].message.content or "",
            raw.headers["x-nightshift-arm"],
            raw.headers["x-nightshift-adapter"],
        )

    def interactions(self) -> list[Interaction]:
        return written(self.log, Topic.INTERACTIONS, Interaction)

    def feedback(self) -> list[Feedback]:
        return written(self.log, Topic.FEEDBACK, Feedback)

    def deploy(self, change: DeploymentChanged) -> None:
        event = Event.of(change, "deployments")
        self.log.append(event.topic, event.key, event.encode()).result(10)


@dataclass(frozen=True, slots=True)
class Answered:
    id: str
    text: str
    arm: str
    adapter: str


def written(log: EventLog, topic: Topic, kind: type[B]) -> list[B]:
    """Everything on a topic, in order."""
    reader = log.reader([topic], from_beginning)
    try:
        bodies = []
        while records := reader.poll(0):
            bodies += [Event.decode(record.value).parse() for record in records]
    finally:
        reader.close()
    return [body for body in bodies if isinstance(body, kind)]


async def until_ready(live: Live, seconds: float = 10.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while (await live.get("/readyz"))[0] != 200:
        assert asyncio.get_running_loop().time() < deadline, await live.get("/readyz")
        await asyncio.sleep(0.02)


def add_knowledge(settings: Settings, slug: str = "inn", name: str = "THE INN") -> Path:
    folder = settings.knowledge_dir / slug
    folder.mkdir(parents=True)
    (folder / "about.toml").write_text(f'name = "{name}"\n')
    rows = "".join(json.dumps({"title": title, "text": text}) + "\n" for title, text in FACTS)
    (folder / "facts.jsonl").write_text(rows)
    return folder


def add_adapter(settings: Settings, tmp_path: Path, seed: int, quality: float = 1.0) -> str:
    """Registers an adapter that the stub engine takes; seed 0 makes one that changes nothing."""
    source = tmp_path / f"adapter-{seed}"
    source.mkdir()
    header = b'{"w.lora_B.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    weights = bytes([seed] * 8)
    (source / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights)
    (source / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    adapter = Registry(settings.adapters_dir).register(
        source,
        "night-1",
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=seed),
        base_model="base",
        base_hash="0",
        parent_snapshot=0,
        seeds={},
        versions={},
        rows=1,
        metrics={"quality": quality},
        gates=[],
    )
    return adapter.name


def with_another_engine(settings: Settings, port: int, *, timeout_s: float) -> Settings:
    """The settings with a second engine, and patience with an engine that hangs."""
    engine = settings.engine.model_copy(update={"others": (f"http://127.0.0.1:{port}",)})
    agent = settings.agent.model_copy(update={"timeout_s": timeout_s})
    return settings.model_copy(update={"engine": engine, "agent": agent})


def engine_ports(settings: Settings) -> list[int]:
    """In the order of the engines."""
    return [int(url.rpartition(":")[2]) for url in settings.engine.urls]


@asynccontextmanager
async def running(
    settings: Settings, *, log: EventLog | None = None, vectors: Vectors | None = None
) -> AsyncIterator[Live]:
    """An agent on the port that the settings name, with the engine that they name."""
    own = log or LocalEventLog(settings.log_dir)
    ids = ResponseIds(load_secret(settings.data / "response_ids.secret"))
    knowledge = Knowledge(settings.knowledge_dir, settings.agent.collection, vectors)
    async with aiohttp.ClientSession() as session, aiohttp.ClientSession() as http:
        app = create_app(
            settings,
            own,
            [Engine(url, session, settings.agent.timeout_s) for url in settings.engine.urls],
            Registry(settings.adapters_dir),
            KeyStore(settings.keys_file),
            knowledge,
            ids,
        )
        config = uvicorn.Config(
            app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", settings.agent.port))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await soon(lambda: server.started or task.done(), 5.0, 0.01)
            yield Live(settings.agent.url, settings, own, http)
        finally:
            server.should_exit = True
            await task
            listening.close()
            await asyncio.to_thread(own.close)
