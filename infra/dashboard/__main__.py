"""`python -m infra.dashboard`: serves the operations pages until it is told to stop."""

from __future__ import annotations

import uvicorn

from infra import telemetry
from infra.dashboard.app import create_app
from infra.eventlog import open_log
from infra.settings import load


def main() -> None:
    telemetry.configure("dashboard")
    settings = load()
    log = open_log(settings)
    try:
        uvicorn.run(
            create_app(settings, log),
            host=settings.dashboard.host,
            port=settings.dashboard.port,
            log_config=None,
            access_log=False,
            # Open pages poll; they must not hold up a stop.
            timeout_graceful_shutdown=3,
        )
    finally:
        log.close()


if __name__ == "__main__":
    main()
