"""`python -m collector`: settings, collaborators, probes, then the loop of `ingest` until a signal.

Exit codes: 0 stopped, 1 failed, 4 the lake is down. An event log that is down is waited for.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import closing

from collector.ingest import Ingest
from collector.metrics import Metrics
from infra.errors import LakeError, NightshiftError
from infra.eventlog import open_log
from infra.lake import Lake
from infra.settings import Settings, load
from infra.telemetry import OK, Needs, ProbeServer, configure

logger = logging.getLogger(__name__)


def main() -> int:
    """Collects until SIGTERM or SIGINT; the batch under way is finished first."""
    configure("collector")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        collect(load(), stop)
    except LakeError as err:
        logger.error("%s", err)
        return 4
    except NightshiftError as err:
        logger.error("%s", err)
        return 1
    return 0


def collect(settings: Settings, stop: threading.Event) -> None:
    """Runs one collector, with its probes, until `stop` is set."""
    metrics = Metrics()
    with Lake.open(settings, writable=True) as lake, closing(open_log(settings)) as log:
        ingest = Ingest(lake, log, settings.collector, metrics)

        async def ready() -> Needs:
            return {"record": ingest.trouble or OK}

        address = settings.collector.host, settings.collector.port
        with ProbeServer(*address, ready, metrics.registry):
            logger.info("collecting into %s, probes on %s:%d", settings.lake_catalog, *address)
            ingest.run(stop)


if __name__ == "__main__":
    sys.exit(main())
