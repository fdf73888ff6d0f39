"""A real S3-compatible store for tests: moto's server in a thread, on loopback."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from infra.sections import S3Settings

BUCKET = "nightshift"


@contextmanager
def running(port: int) -> Iterator[S3Settings]:
    """The settings that reach it; the bucket is there. What it holds is gone in the end."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        place = f"http://127.0.0.1:{port}/{BUCKET}"
        with urllib.request.urlopen(urllib.request.Request(place, method="PUT"), timeout=10) as answer:
            assert answer.status == 200
        yield S3Settings(endpoint=f"127.0.0.1:{port}", key_id="tester", secret="secret", use_ssl=False)
    finally:
        server.stop()
