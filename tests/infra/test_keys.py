"""API keys: shown once, stored as hashes, safe under several writers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.errors import NotFound, SettingsError
from infra.keys import SCOPES, KeyStore, Scope


def test_a_key_is_known_by_its_secret_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "keys.json"
    store = KeyStore(file)
    assert store.list() == ()
    secret = store.create("page", frozenset({"chat"}))
    other = store.create("all")
    key = KeyStore(file).verify(secret)
    assert key is not None
    assert (key.name, key.scopes) == ("page", frozenset[Scope]({"chat"}))
    found = store.verify(other)
    assert found is not None
    assert found.scopes == SCOPES
    assert store.verify("ns_wrong") is None
    assert store.verify("") is None
    assert store.verify(key.sha256) is None
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_revoked_key_is_unknown_to_everyone(tmp_path: Path) -> None:
    store, reader = KeyStore(tmp_path / "keys.json"), KeyStore(tmp_path / "keys.json")
    secret = store.create("page")
    assert reader.verify(secret)
    store.revoke("page")
    assert reader.verify(secret) is None
    with pytest.raises(NotFound, match="'page'"):
        store.revoke("page")


def test_names_are_unique_and_a_damaged_file_lets_nobody_in(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    store = KeyStore(file)
    store.create("page")
    with pytest.raises(SettingsError, match="exists"):
        store.create("page")
    with pytest.raises(SettingsError, match="scope"):
        store.create("none", frozenset())
    file.write_text("[{]")
    with pytest.raises(SettingsError, match="damaged"):
        store.verify("anything")


def test_no_key_is_lost_between_writers(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: KeyStore(tmp_path / "keys.json").create(f"key-{i}"), range(24)))
    assert len(KeyStore(tmp_path / "keys.json").list()) == 24
