"""Host addresses: which mean this machine, how they stand in a URL, and ports that are free."""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import ExitStack
from ipaddress import ip_address

import psutil


def is_loopback(host: str) -> bool:
    """Whether a host can only mean this machine. `127.0.0.1.evil.example` begins right and is not."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_here(host: str) -> bool:
    """Whether an address is one of this machine's."""
    own = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    return is_loopback(host) or host in own | {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def url(host: str, port: int) -> str:
    """The URL of what listens there; an IPv6 address gets its brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def free_ports(count: int, besides: Collection[int] = ()) -> list[int]:
    """So many different ports of loopback that nothing listens on, and none of `besides`."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count + len(besides))]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [int(one.getsockname()[1]) for one in sockets]
    return [port for port in ports if port not in besides][:count]
