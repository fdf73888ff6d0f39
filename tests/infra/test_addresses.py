"""Which addresses mean this machine."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from infra.addresses import is_here, is_loopback, url


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("::1", True), ("0.0.0.0", False),
     ("192.168.1.4", False), ("::", False), ("example.org", False), ("127.0.0.1.evil.example", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_this_machines_own_addresses_are_here() -> None:
    assert is_here("127.0.0.1")
    assert not is_here("192.0.2.1")
    with suppress(OSError):
        assert is_here(socket.gethostbyname(socket.gethostname()))


def test_an_ipv6_address_gets_brackets_in_a_url() -> None:
    assert url("::1", 8080) == "http://[::1]:8080"
    assert url("127.0.0.1", 80) == "http://127.0.0.1:80"
