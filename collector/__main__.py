"""`python -m collector`: settings, collaborators, probes, then the loop of `ingest` until a signal.

`python -m collector compact` does the daily upkeep once, `replay` builds the record anew from the event log,
`retry` tries dead letters again.

Exit codes: 0 stopped, 1 failed, 2 an unknown job, 4 the lake could not be opened. Later, a lake or an
event log that is down is waited for.
"""

from __future__ import annotations

import gc
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from collector.ingest import Ingest
from collector.metrics import Metrics
from collector.replay import replay
from collector.retry import retry
from collector.upkeep import Daily, keep_up
from infra.courtesy import COLLECTING, give_way
from infra.errors import LakeError, NightshiftError
from infra.eventlog import open_log
from infra.lake import Lake
from infra.settings import Settings, load
from infra.telemetry import OK, Needs, ProbeServer, configure

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Collects until SIGTERM or SIGINT, and finishes the batch under way; or does the job that is named."""
    configure("collector")
    try:
        if arguments:
            return do(" ".join(arguments), load())
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        collect(load(), stop)
    except LakeError as err:
        logger.error("%s", err)
        return 4
    except NightshiftError as err:
        logger.error("%s", err)
        return 1
    return 0


def do(job: str, settings: Settings) -> int:
    """One job; collectors at work and it take turns. Prints what it did."""
    if job not in JOBS:
        logger.error("unknown job %r: name one of %s, or nothing to collect", job, ", ".join(JOBS))
        return 2
    print(json.dumps(JOBS[job](settings)))  # noqa: T201 - the job's result
    return 0


def compact(settings: Settings) -> dict[str, int]:
    """The daily upkeep, now."""
    with Lake.open(settings, writable=True) as lake:
        return keep_up(lake, settings, datetime.now(UTC)).to_json()


JOBS: dict[str, Callable[[Settings], dict[str, Any]]] = {"compact": compact, "replay": replay, "retry": retry}


def collect(settings: Settings, stop: threading.Event) -> None:
    """Runs one collector, with its probes, until `stop` is set."""
    metrics = Metrics()
    with Lake.open(settings, writable=True) as lake, closing(open_log(settings)) as log:
        ingest = Ingest(lake, log, settings.collector, metrics, between=Daily(lake, settings))

        async def ready() -> Needs:
            return {"record": ingest.trouble or OK}

        address = settings.collector.host, settings.collector.port
        with ProbeServer(*address, ready, metrics.registry):
            give_way(COLLECTING)  # once it has started: a restart is what others wait for
            _tune()
            logger.info("collecting into %s, probes on %s:%d", settings.lake_catalog, *address)
            ingest.run(stop)


def _tune() -> None:
    """The interpreter, for two threads that make many objects and hand them on."""
    # Rows refer to nothing that refers back: looking for such after every 700 took a fifth of the time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    # So long a commit waits for the interpreter at each of its statements while the next batch is read.
    sys.setswitchinterval(0.0005)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
