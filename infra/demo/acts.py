"""The acts of the demo: start, day, night, canary, drill, reckoning. Each fills its part of the programme."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from rich.console import Console

from infra.demo.business import Question
from infra.demo.command import run
from infra.demo.customers import Customers, Ledger, conversations
from infra.demo.program import Program
from infra.demo.stage import Service
from infra.demo.voters import Voters
from infra.drill.caught import Caught
from infra.drill.weights import at_random, made
from infra.errors import LakeError, NightError, ProcessError
from infra.eventlog import open_log
from infra.events import DeploymentChanged, Event, Topic
from infra.follow import Deployments
from infra.lake import Lake
from infra.registry import Registry

# The engine reads its model in half a minute on two cores; a slow disk may double that.
START_S = 240.0
# Enough answers at once to keep an engine on two cores busy.
CUSTOMERS = 16
# How often a night is started again when its process was killed.
TRIES = 5
# The record is at most a second behind; a collector that was killed needs a few to be back.
CATCH_UP_S = 60.0
# How long the agent may take to serve what was promoted.
SERVED_S = 60.0
# A broken adapter should be noticed within a few dozen answers.
DRILL_QUESTIONS = 300


class Acts:
    """Plays on a running service, as its customers and its operator do: over HTTP, the log and the lake."""

    def __init__(
        self,
        service: Service,
        session: aiohttp.ClientSession,
        program: Program,
        console: Console,
        seed: int,
        voters: Voters = Voters(),  # noqa: B008  # it is frozen
    ) -> None:
        self._service = service
        self._settings = service.settings
        self._session = session
        self._program = program
        self._console = console
        self._seed = seed
        self._log = open_log(service.settings)
        self._deployments = Deployments(self._log)
        agent = service.settings.agent
        self._customers = Customers(agent.url, session, agent.model, seed, voters)
        self._keeper: asyncio.Task[None] | None = None

    @property
    def ledger(self) -> Ledger:
        """What the customers saw."""
        return self._customers.ledger

    async def start(self) -> None:
        """Starts the service and waits until the agent is ready.

        Raises:
            ProcessError: it was not ready in time; the message says where its log lies.
        """
        async with self._act("start", "Starting engine, agent, collector, trainer and dashboard"):
            self._keeper = asyncio.create_task(self._keep())
            deadline = time.monotonic() + START_S
            while not await self._ready():
                if time.monotonic() > deadline:
                    logs = self._settings.data / "logs"
                    raise ProcessError(f"The service was not ready within {START_S:.0f} s: see {logs}.")
                await asyncio.sleep(0.5)

    async def day(self, questions: Sequence[Question]) -> None:
        """Customers ask, and every answer reaches the record."""
        async with self._act("day", f"By day: customers ask {len(questions)} questions"):
            await self._ask(conversations(questions, self._seed), len(questions))
            self._program.counts["day"] = len(self._customers.ledger.told)
            await self._recorded()

    async def night(self) -> bool:
        """Runs a night as `nightshift night run` does; goes on with it if it is killed. True if it passed."""
        slot = datetime.now(UTC).strftime("%Y%m%dT%H%MZ")
        async with self._act("night", "The night: resample, score, choose, fine-tune, evaluate, gate"):
            for _ in range(TRIES):
                status = await run(["trainer", "night", "--slot", slot], self._service.file, self._say)
                if status in (0, 3):
                    break
                if status == 1:
                    raise NightError(f"The night {slot} failed: see {self._settings.nights_dir / slot}.")
                self._say(f"the night ended with status {status}; it goes on where it was")
                await asyncio.sleep(16.0 if status < 0 else 2.0)  # a killed night's lease lasts 15 s
            else:
                raise NightError(
                    f"The night {slot} failed {TRIES} times: see {self._settings.nights_dir / slot}."
                )
            self._program.night = await self._manifest(slot)
        self._program.seconds |= {f"night {name}": s for name, s in self._program.night["stages"].items()}
        self._program.tokens |= self._program.night.get("tokens", {})
        for gate in self._program.night["gates"]:
            self._say(f"gate {gate['name']}: {gate['verdict']} ({gate['estimate']:+.3f})")
        return bool(status == 0)

    async def renewal(self) -> bool:
        """Renews the reward as `nightshift reward renew` does. True if what was learnt came into use."""
        async with self._act("renewal", "The reward learns from the customers' votes"):
            status = await run(["trainer", "renew"], self._service.file, self._say)
            if status not in (0, 3):
                raise NightError("The renewal of the reward failed: its last lines above say why.")
        return status == 0

    async def canary(self, questions: Sequence[Question]) -> None:
        """More questions, split over both arms, until the canary is promoted or rolled back by itself."""
        adapter = self._deployments.poll(1.0).canary
        async with self._act("canary", f"The canary {adapter} answers half of the conversations"):
            began = time.monotonic()
            await self._until_decided(adapter, questions)
            decision = self._decision(adapter)
            self._program.canary = decision | {"adapter": adapter, "seconds": time.monotonic() - began}
            self._say(f"{decision['verdict']}: {decision['reason']}")

    async def drill(self, questions: Sequence[Question]) -> None:
        """Puts a broken adapter on canary; the service must notice it and take it back."""
        registry = Registry(self._settings.adapters_dir)
        adapters = registry.list()
        if not adapters:
            self._say("no adapter was trained, so there is none to break: the drill is left out")
            return
        bad = made(adapters[0], at_random, registry, self._settings.data / "demo" / "broken", self._seed)
        async with self._act("drill", f"The drill: a broken adapter {bad.name} goes on canary"):
            caught = await self.trial(bad.name, "It is broken on purpose.", questions[:DRILL_QUESTIONS])
            self._program.drill = caught.to_json()
            self._say(caught.reason)

    async def trial(self, adapter: str, reason: str, questions: Sequence[Question]) -> Caught:
        """Puts a bad adapter on canary for half of the conversations, and tells how it ended."""
        self._append(
            DeploymentChanged(action="canary", adapter=adapter, share=0.5, actor="drill", reason=reason)
        )
        await self._until_decided(adapter, questions)
        return Caught.of(adapter, self._customers.ledger.told, self._deployments.history)

    async def promote(self, adapter: str, actor: str, reason: str) -> None:
        """Makes an adapter the stable one, and waits until the topic says so.

        Raises:
            ProcessError: it does not within a minute.
        """
        self._append(DeploymentChanged(action="promote", adapter=adapter, actor=actor, reason=reason))
        deadline = time.monotonic() + SERVED_S
        while self._deployments.poll().stable != adapter:
            if time.monotonic() > deadline:
                raise ProcessError(f"The adapter {adapter} was promoted, but does not serve.")
            await asyncio.sleep(0.2)

    @property
    def on_canary(self) -> str:
        """The adapter on trial, empty without one."""
        return self._deployments.poll().canary

    async def reckon(self) -> None:
        """Compares what customers were told with what was recorded."""
        await self._recorded()
        ledger = self._customers.ledger
        recorded = self._response_ids()
        self._program.counts["recorded"] = len(recorded)
        self._program.customers = {
            "answers": len(ledger.told),
            "votes": ledger.votes,
            "errors": len(ledger.errors),
            "error_samples": ledger.errors[:3],
            "retries": ledger.retries,
            "lost": len({told.response_id for told in ledger.told} - recorded),
            "service_starts": self._service.starts,
        }

    async def close(self) -> None:
        """Stops the service and lets go of the log."""
        if self._keeper:
            self._keeper.cancel()
        self._deployments.close()
        self._log.close()
        await asyncio.to_thread(self._service.stop)

    async def _keep(self) -> None:
        """Starts the service again whenever its supervisor has died."""
        while True:
            self._service.keep_up()
            await asyncio.sleep(0.5)

    async def _ready(self) -> bool:
        try:
            async with self._session.get(self._settings.agent.url + "/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _ask(
        self, talks: list[list[Question]], total: int, enough: Callable[[], bool] = lambda: False
    ) -> None:
        done, said = 0, time.monotonic()

        def told(count: int) -> None:
            nonlocal done, said
            done += count
            if time.monotonic() - said > 5.0:
                said = time.monotonic()
                self._say(f"{done} of {total} questions answered")

        await self._customers.ask(talks, CUSTOMERS, told, enough)

    async def _until_decided(self, adapter: str, questions: Sequence[Question]) -> None:
        """Asks until the canary is off; waits a little for the record to catch up after the last answer."""
        talks = conversations(questions, self._seed + 1)
        await self._ask(talks, len(questions), enough=lambda: self._deployments.poll().canary != adapter)
        deadline = time.monotonic() + CATCH_UP_S
        while self._deployments.poll().canary == adapter and time.monotonic() < deadline:
            await asyncio.sleep(0.2)

    def _decision(self, adapter: str) -> dict[str, Any]:
        """How the canary ended, from the topic itself."""
        state = self._deployments.poll()
        changes = [change for change in self._deployments.history if change.body.adapter == adapter]
        if state.canary == adapter or not changes:
            return {"verdict": "hold", "reason": "Undecided when the questions ran out.", "metrics": []}
        last = changes[-1].body
        verdict = "promote" if last.action == "promote" else "roll back"
        return {"verdict": verdict, "reason": last.reason, "metrics": last.evidence.get("metrics", [])}

    async def _manifest(self, slot: str) -> dict[str, Any]:
        """The night's manifest once the record holds it."""
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            rows = self._query("night", night=slot)
            if rows and rows[0]["ended_at"]:
                manifest: dict[str, Any] = json.loads(rows[0]["manifest"])
                return manifest
            await asyncio.sleep(0.5)
        raise LakeError(
            f"The night {slot} did not reach the record within {CATCH_UP_S:.0f} s: see the collector."
        )

    async def _recorded(self) -> None:
        """Waits until the record holds every answer that a customer got, or its patience ends."""
        wanted = {told.response_id for told in self._customers.ledger.told}
        deadline = time.monotonic() + CATCH_UP_S
        while wanted - self._response_ids() and time.monotonic() < deadline:
            await asyncio.sleep(0.5)

    def _response_ids(self) -> set[str]:
        return {row["response_id"] for row in self._query("response_ids")}

    def _query(self, name: str, **parameters: object) -> list[dict[str, Any]]:
        """A named query; nothing while the lake is not there yet or busy."""
        try:
            with Lake.open(self._settings) as lake:
                return lake.query(name, **parameters)
        except LakeError:
            return []

    def _append(self, change: DeploymentChanged) -> None:
        event = Event.of(change, key=Topic.DEPLOYMENTS)
        self._log.append(event.topic, event.key, event.encode()).result(timeout=30.0)

    @asynccontextmanager
    async def _act(self, name: str, title: str) -> AsyncIterator[None]:
        self._console.print(f"[bold cyan]▸ {title}[/]")
        began = time.monotonic()
        yield
        self._program.seconds[name] = round(time.monotonic() - began, 1)
        self._say(f"done in {self._program.seconds[name]:.0f} s")

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", style="dim", markup=False)
