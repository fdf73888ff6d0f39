"""Ids that vouch for themselves, and the secret behind them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.response_ids import ResponseIds, load_secret
from infra.errors import NotFound, SettingsError


def test_ids_are_known_to_everyone_with_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret"
    one, other = ResponseIds(load_secret(file)), ResponseIds(load_secret(file))
    issued = one.issue()
    other.check(issued)
    assert one.issue() != issued
    assert file.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in file.parent.iterdir()] == ["secret"]
    for wrong in (
        "",
        "chatcmpl-",
        issued[:-1],
        issued + "0",
        issued.replace("chatcmpl-", "chatcmpl-0"),
        "\ud800",
    ):
        with pytest.raises(NotFound):
            one.check(wrong)
    with pytest.raises(NotFound):
        ResponseIds(b"another").check(issued)


def test_replicas_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: load_secret(tmp_path / "secret"), range(16)))
    assert len(secrets) == 1


def test_a_damaged_secret_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(SettingsError, match="5 bytes"):
        load_secret(tmp_path / "secret")


def test_a_pseudonym_is_one_persons_and_tells_nothing(tmp_path: Path) -> None:
    ids = ResponseIds(b"secret")
    assert (
        ids.pseudonym("ann@example.com")
        == ids.pseudonym("ann@example.com")
        != ids.pseudonym("bob@example.com")
    )
    assert "ann" not in ids.pseudonym("ann@example.com")
