"""Ports of loopback for tests: each process of pytest-xdist takes from its own."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

# pytest-xdist names its processes gw0, gw1, …; empty without it.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# Below the ports that Linux gives to connections (from 32768), so that none takes one that a test has found
# and does not listen on yet; for up to six processes.
PORTS, PORTS_EACH = range(20_000, 32_000), 2_000


def own_ports() -> Iterator[int]:
    """This process's part of the ports, round and round: one comes again only after all others. Runs at the
    same time begin at different ones."""
    begin = int(WORKER.removeprefix("gw") or 0) * PORTS_EACH % len(PORTS)
    own = PORTS[begin : begin + PORTS_EACH]
    first = os.getpid() % PORTS_EACH
    return itertools.cycle([*own[first:], *own[:first]])


_own_ports = own_ports()


def find_ports(count: int) -> list[int]:
    """So many different ports of loopback that nothing listens on."""
    return list(itertools.islice(filter(is_free, _own_ports), count))


def is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
