"""`python -m trainer` serves, `python -m trainer night --slot S` runs one night, `python -m trainer renew`
learns a reward from customers' votes, `python -m trainer suites` tells or adds what nights are judged by.

Exit codes: 0 passed, 1 failed, 2 usage, 3 a gate said no or not enough data, 4 a dependency is down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from infra.courtesy import LEARNING, give_way
from infra.errors import EngineError, LakeError, NightError, NightshiftError, SlotTaken
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.settings import Settings, load
from infra.telemetry import configure
from trainer import sheet
from trainer.gates import Verdict
from trainer.night import run
from trainer.notes import NightResult
from trainer.reward.grounded import GroundedReward
from trainer.reward.named import chooser, second
from trainer.runs import LEASE_S, Claim, Runs
from trainer.schedule import slot_name
from trainer.service import Service
from trainer.stages import Stages
from trainer.work import Work

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Serves, or runs one night."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description="The trainer, or one night of it.")
    commands = parser.add_subparsers(dest="command")
    night = commands.add_parser("night", help="run one night now")
    night.add_argument("--slot", default="", help="the slot it belongs to; default: this minute")
    commands.add_parser("renew", help="learn a reward from customers' votes now")
    suites = commands.add_parser("suites", help="tell the suites, or add one from a spreadsheet")
    suites.add_argument("--add", type=Path, help="a CSV of questions and answers")
    suites.add_argument("--collection", default="", help="the business that they are about")
    chosen = parser.parse_args(arguments)
    configure("trainer")
    give_way(LEARNING)
    try:
        settings = load()
        if chosen.command == "renew":
            return _renew(settings)
        if chosen.command == "suites":
            return _suites(settings, chosen.add, chosen.collection)
        return _night(settings, chosen.slot) if chosen.command == "night" else _serve(settings)
    except (EngineError, LakeError) as err:
        logger.error("%s", err)
        return 4
    except NightshiftError as err:
        logger.error("%s", err)
        return 1


def _serve(settings: Settings) -> int:
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    log = open_log(settings)
    try:
        # The canary is watched by rules, whatever chose what its adapter learned from.
        Service(settings, log, GroundedReward()).run(stop)
    finally:
        log.close()
    return 0


def _renew(settings: Settings) -> int:
    # Only here, since the encoder brings torch, which serving need not wait for.
    from trainer.renew import renewed  # noqa: PLC0415

    outcome = renewed(settings, datetime.now(UTC))
    print(outcome.model_dump_json())  # noqa: T201  # the result, for whoever asked for it
    return 0 if outcome.used else 3


def _suites(settings: Settings, file: Path | None, collection: str) -> int:
    try:
        found = sheet.add(settings, file, collection) if file else sheet.told(settings)
    except NightError as err:
        found = {"error": str(err)}
    print(json.dumps(found))  # noqa: T201  # the result, for whoever asked for it
    return 1 if "error" in found else 0


def _night(settings: Settings, slot: str) -> int:
    # Ends as Ctrl-C does: what the night has started, fine-tuning above all, is ended too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    slot = slot or slot_name(datetime.now(UTC))
    runs = Runs(settings.nights_dir / "runs.sqlite")
    claim = runs.claim(slot, f"{socket.gethostname()}:{os.getpid()}", time.time())
    keeper = _keep(runs, claim)
    log = open_log(settings)
    stages = _stages(settings, slot, log)
    try:
        result = asyncio.run(_run(settings, stages, log))
    except (NightshiftError, OSError, ExceptionGroup) as err:
        first = _first(err)
        stages.tell(f"failed {claim.token}", [stages.ended("failed", str(first))])
        runs.finish(claim, "failed", "failed")
        raise first from err
    finally:
        keeper.set()
        log.close()
    runs.finish(claim, "ended", result.verdict)
    print(result.model_dump_json())  # noqa: T201  # the result, for whoever started the night
    return 0 if result.verdict is Verdict.PASS else 3


def _stages(settings: Settings, slot: str, log: EventLog) -> Stages:
    folder = settings.nights_dir / slot
    folder.mkdir(parents=True, exist_ok=True)
    return Stages(folder, slot, log)


async def _run(settings: Settings, stages: Stages, log: EventLog) -> NightResult:
    async with aiohttp.ClientSession() as session:
        chosen = chooser(settings)
        # Opened before the first answer, so that a missing file is known at once and not after hours.
        other = second(settings)
        return await run(Work(settings, log, chosen, other, session), stages)


def _keep(runs: Runs, claim: Claim) -> threading.Event:
    """Renews the lease from a thread until the event is set; ends the process when the slot is lost."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(LEASE_S / 3):
            try:
                runs.renew(claim, time.time())
            except SlotTaken as err:
                logger.error("%s", err)
                os._exit(1)  # at once: another trainer writes to this night's folder now

    threading.Thread(target=renew, name="lease", daemon=True).start()
    return stop


def _first(err: BaseException) -> NightshiftError:
    """The first error in a group of concurrent ones; the system's, as of a full disk, as one of ours."""
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    if isinstance(err, NightshiftError):
        return err
    if isinstance(err, OSError):
        return NightError(f"The system refused the night ({err}): look at the disk and the night's folder.")
    raise err


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
