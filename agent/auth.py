"""Who may ask: API keys with scopes, or anyone on this machine as long as there are no keys.

Making and revoking keys is `infra.keys`' business.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from infra.addresses import is_loopback
from infra.errors import NightshiftError, NotAllowed, SettingsError
from infra.keys import KeyStore, Scope
from infra.sections import AgentSettings


class NoKey(NightshiftError, PermissionError):
    """The request brings no key, or one that is not known."""


def refuse_open_door(settings: AgentSettings, keys: KeyStore) -> None:
    """Raises SettingsError when the service would listen beyond this machine without any key."""
    if not is_loopback(settings.host) and not keys.list():
        raise SettingsError(
            f"agent.host is {settings.host!r}, which others can reach, and there is no API key: make one "
            "with `nightshift keys create NAME`, or set agent.host to 127.0.0.1."
        )


class Guard:
    """Decides whether a request may do what its scopes open."""

    def __init__(self, settings: AgentSettings, keys: KeyStore) -> None:
        self._keys = keys
        self._loopback = is_loopback(settings.host)

    def require(self, request: HTTPConnection, *scopes: Scope) -> None:
        """Lets a request pass whose key opens one of the scopes, or raises.

        Raises:
            NoKey: a key is needed, and a good one is missing.
            NotAllowed: the key opens none of them, or a foreign web page asks.
        """
        if self._loopback and not self._keys.list():
            _require_own_page(request)
            return
        secret = _bearer(request)
        key = self._keys.verify(secret) if secret else None
        if key is None:
            raise NoKey("A valid API key is needed: send it as `Authorization: Bearer KEY`.")
        if key.scopes.isdisjoint(scopes):
            opens, needed = ", ".join(sorted(key.scopes)), " or ".join(scopes)
            raise NotAllowed(f"The key {key.name!r} opens {opens}; this needs {needed}.")


def _bearer(request: HTTPConnection) -> str:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def _require_own_page(request: HTTPConnection) -> None:
    """Without keys, any web page open on this machine could ask, or give thumbs: only ours may.

    The host is checked too, against a foreign name that was made to point at 127.0.0.1.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if not is_loopback(_hostname(host)):
        raise NotAllowed(
            f"The host {host[:80]!r} is not this machine: use http://127.0.0.1, or make an API key."
        )
    if origin is not None and origin.partition("://")[2] != host:
        raise NotAllowed(f"The page {origin[:80]!r} is not this service's: make an API key for it.")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # half an IPv6 address
        return ""
