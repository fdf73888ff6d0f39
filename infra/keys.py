"""API keys: random secrets shown once, stored as hashes with the scopes that they open.

A secret has 256 random bits, so a plain SHA-256 is as good as a slow hash. Several processes read the
file while the command line writes it: every change replaces the file whole, and readers look again
when it has changed. What a scope permits is the endpoints' business.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from infra.errors import NotFound, SettingsError

Scope = Literal["chat", "feedback", "operate"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
_PREFIX = "ns_"  # lets secret scanners, and people, recognise a leaked key


class Key(BaseModel):
    """A stored key: everything but the secret."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    sha256: str
    scopes: frozenset[Scope]
    created: datetime


_KEYS = TypeAdapter(tuple[Key, ...])


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the file held when it was last read; `stamp` tells whether it has changed."""

    stamp: tuple[int, int, int]
    keys: tuple[Key, ...]


class KeyStore:
    """The keys in one JSON file. A missing file is an empty store."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = _Seen((0, 0, 0), ())

    def create(self, name: str, scopes: frozenset[Scope] = SCOPES) -> str:
        """Adds a key and returns its secret, which is not kept.

        Raises:
            SettingsError: no scope, or the name is taken or empty.
        """
        if not name or not scopes:
            raise SettingsError(
                f"A key needs a name and a scope of {_listed(SCOPES)}; got {name!r}, {scopes!r}."
            )
        secret = _PREFIX + secrets.token_urlsafe(32)
        with self._locked():
            keys = self.list()
            if any(key.name == name for key in keys):
                raise SettingsError(f"A key named {name!r} exists: revoke it first, or choose another name.")
            self._write(
                (*keys, Key(name=name, sha256=_hash(secret), scopes=scopes, created=datetime.now(UTC)))
            )
        return secret

    def verify(self, secret: str) -> Key | None:
        """The key with this secret, or None. Every key is compared, in constant time."""
        given, found = _hash(secret), None
        for key in self.list():
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found

    def list(self) -> tuple[Key, ...]:
        """All keys, oldest first.

        Raises:
            SettingsError: the file is damaged. Nobody is let in by a damaged file.
        """
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return ()
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._seen.stamp:
            self._seen = _Seen(stamp, self._read())
        return self._seen.keys

    def revoke(self, name: str) -> None:
        """Removes a key; requests with it are refused from now on.

        Raises:
            NotFound: no key has this name.
        """
        with self._locked():
            keys = self.list()
            kept = tuple(key for key in keys if key.name != name)
            if len(kept) == len(keys):
                raise NotFound(
                    f"No key is named {name!r}; there are {_listed(key.name for key in keys) or 'none'}."
                )
            self._write(kept)

    def _read(self) -> tuple[Key, ...]:
        try:
            return _KEYS.validate_json(self._file.read_bytes())
        except ValidationError as err:
            raise SettingsError(
                f"The key file {self._file} is damaged ({err.error_count()} errors): restore it, or "
                "delete it and create the keys anew."
            ) from err

    def _write(self, keys: tuple[Key, ...]) -> None:
        draft = self._file.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(_KEYS.dump_json(keys, indent=2))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, over processes too: two creations must not lose one another."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
