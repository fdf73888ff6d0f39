"""The trainer as a service: a ticker that starts what is due (nights, renewals) and looks at the canary.

A night runs in a process of its own, so a night that dies takes neither the ticker nor the canary with it. So
does a renewal of the reward.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Gauge

from infra.errors import LakeError, NightshiftError
from infra.eventlog.base import EventLog
from infra.lake import Lake
from infra.settings import Settings
from infra.telemetry import OK, ProbeServer
from trainer.canary import Judgement
from trainer.reward.model import RewardModel
from trainer.runs import Runs
from trainer.schedule import due_slot, may_start, parse_slot
from trainer.watch import Watch

logger = logging.getLogger(__name__)

# How often a due night is looked for, in seconds. Nights are due to the minute.
TICK_S = 10.0


class Service:
    """Ticks until `stop` is set. Its own state is small: everything that counts is in the run records."""

    def __init__(self, settings: Settings, log: EventLog, reward: RewardModel) -> None:
        self._settings = settings
        self._log = log
        self._runs = Runs(settings.nights_dir / "runs.sqlite")
        self._watch = Watch(log, self._recorded, reward, settings.canary)
        self._night: subprocess.Popen[bytes] | None = None
        self._renewal: subprocess.Popen[bytes] | None = None
        self._renewed = ""
        self._began = datetime.now(UTC)
        self._problem = ""
        self._registry = CollectorRegistry()
        self._looks = Counter(
            "nightshift_canary_looks", "Looks at the canary", ["judgement"], registry=self._registry
        )
        for judgement in Judgement:  # so that a monitor sees the first of its kind as a change
            self._looks.labels(str(judgement))
        self._failures = Counter(
            "nightshift_trainer_failures", "Ticks that failed", ["job"], registry=self._registry
        )
        self._running = Gauge(
            "nightshift_night_running", "1 while a night runs here", registry=self._registry
        )

    def run(self, stop: threading.Event) -> None:
        """Serves probes and ticks until `stop` is set, then lets a running night be resumed later."""
        scheduler = BackgroundScheduler(timezone=UTC)
        jobs = {
            "night": (self.tick, TICK_S),
            "renewal": (self.renew, TICK_S),
            "canary": (self.look, self._settings.canary.interval_s),
        }
        for name, (job, seconds) in jobs.items():
            # Late ticks are run and merged: by default APScheduler drops one that is a second late.
            scheduler.add_job(
                self._guarded(name, job), "interval", seconds=seconds, coalesce=True, misfire_grace_time=None
            )
        trainer = self._settings.trainer
        with ProbeServer(trainer.host, trainer.port, self._ready, self._registry, self._routes()):
            scheduler.start()
            try:
                stop.wait()
            finally:
                scheduler.shutdown(wait=True)
                self._watch.close()
                for process in (self._night, self._renewal):
                    if process and _runs(process):
                        process.terminate()
                        process.wait()

    def tick(self) -> None:
        """Starts the night that is due, if one is and nobody runs it."""
        self._running.set(_runs(self._night))
        trainer = self._settings.trainer
        if not trainer.automatic or _runs(self._night):
            return
        slot = due_slot(trainer.schedule, trainer.timezone, datetime.now(UTC), self._since())
        if slot and may_start(self._runs.get(slot), time.time()):
            logger.info("night of slot %s is due", slot)
            self._night = subprocess.Popen([sys.executable, "-m", "trainer", "night", "--slot", slot])

    def renew(self) -> None:
        """Starts the renewal that is due. A missed one is not made up: the next learns from the same."""
        trainer = self._settings.trainer
        if not trainer.automatic or not trainer.renewal or _runs(self._renewal):
            return
        slot = due_slot(trainer.renewal, trainer.timezone, datetime.now(UTC), self._began)
        if slot and slot != self._renewed:
            logger.info("renewal of slot %s is due", slot)
            self._renewed = slot
            self._renewal = subprocess.Popen([sys.executable, "-m", "trainer", "renew"])

    def look(self) -> None:
        """One look at the canary."""
        verdict = self._watch.look()
        if verdict:
            self._looks.labels(str(verdict.judgement)).inc()

    def _routes(self) -> APIRouter:
        """`/canary`: the last look at the canary, for the dashboard; an empty object without one."""
        routes = APIRouter()

        @routes.get("/canary")
        async def canary() -> dict[str, Any]:
            return self._watch.told

        return routes

    def _since(self) -> datetime:
        """Nights before the first start of this trainer are not missed ones."""
        latest = self._runs.latest()
        return parse_slot(latest) if latest else self._began

    def _recorded(self, canary: str, since: datetime) -> list[dict[str, Any]]:
        with Lake.open(self._settings) as lake:
            return lake.query("outcomes", canary=canary, since=since)

    def _guarded(self, name: str, job: Any) -> Any:  # APScheduler takes any callable
        def run() -> None:
            try:
                job()
                self._problem = ""
            except LakeError as err:
                # Before the collector's first commit there is no lake: nothing to look at yet.
                self._problem = str(err)
            except NightshiftError as err:
                self._problem = str(err)
                self._failures.labels(name).inc()
                logger.error("%s: %s", name, err)
            except Exception as err:  # the outermost loop: count, say so, go on
                self._problem = f"{type(err).__name__} in {name}"
                self._failures.labels(name).inc()
                logger.exception("%s failed", name)

        return run

    async def _ready(self) -> Mapping[str, str]:
        return {"trainer": self._problem or OK}


def _runs(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and process.poll() is None
