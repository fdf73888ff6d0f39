"""Stages of a night: each runs once, leaves its result in the night's folder, and tells the record.

A night that was killed and starts again finds the finished stages there and goes on after them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from ulid import ULID

from infra.eventlog.base import EventLog
from infra.events import Body, DeploymentChanged, Event, NightChanged, Topic
from trainer.journal import read_whole, write_whole
from trainer.schedule import parse_slot

logger = logging.getLogger(__name__)
Result = TypeVar("Result", bound=BaseModel)

# Longest wait for the event log to make a night's events durable, in seconds.
APPEND_S = 60.0


class Timed(BaseModel):
    """How long a stage took, in seconds, over all tries."""

    seconds: float


class Stages:
    """The stages of the night of `slot`, in `folder`. A night is known by its slot.

    Raises:
        NightError: `slot` is no slot's name.
    """

    def __init__(self, folder: Path, slot: str, log: EventLog) -> None:
        self.folder = folder
        self.night = slot
        self.slot = slot
        self.due = parse_slot(slot)
        self.seconds: dict[str, float] = {}
        self._log = log

    async def once(self, stage: str, kind: type[Result], make: Callable[[], Awaitable[Result]]) -> Result:
        """The stage's result: read where the stage has finished, else made, kept and announced."""
        file = self.folder / f"{stage}.json"
        result, timed = read_whole(file, kind), read_whole(self.folder / f"{stage}.time.json", Timed)
        if result is None or timed is None:
            logger.info("night %s: %s", self.night, stage)
            started = time.monotonic()
            result = await make()
            timed = Timed(seconds=time.monotonic() - started)
            write_whole(self.folder / f"{stage}.time.json", timed)
            write_whole(file, result)
        self.seconds[stage] = timed.seconds
        self.tell(
            stage,
            [
                NightChanged(
                    night=self.night, slot=self.slot, state="stage", stage=stage, seconds=timed.seconds
                )
            ],
        )
        return result

    def tell(self, what: str, bodies: Iterable[Body]) -> None:
        """Appends events and waits until they are durable.

        Their ids follow from the night, `what` and their place, so a resumed night that tells them
        again doubles nothing in the record.
        """
        futures = [
            self._log.append(event.topic, event.key, event.encode())
            for event in (
                Event.of(body, key=self._key(body), id=self._id(what, place))
                for place, body in enumerate(bodies)
            )
        ]
        for future in futures:
            future.result(timeout=APPEND_S)

    def ended(
        self, verdict: str, reason: str, adapter: str = "", manifest: dict[str, Any] | None = None
    ) -> NightChanged:
        """The event that closes this night."""
        return NightChanged(
            night=self.night,
            slot=self.slot,
            state="ended",
            verdict=verdict,
            adapter=adapter,
            reason=reason,
            seconds=sum(self.seconds.values()),
            manifest=manifest or {},
        )

    def _key(self, body: Body) -> str:
        """Deployments are ordered among themselves, everything else within the night."""
        return Topic.DEPLOYMENTS if isinstance(body, DeploymentChanged) else self.night

    def _id(self, what: str, place: int) -> str:
        digest = hashlib.sha256(f"{self.night}/{what}/{place}".encode()).digest()
        milliseconds = int(self.due.timestamp() * 1000)
        return str(ULID(milliseconds.to_bytes(6, "big") + digest[:10]))
