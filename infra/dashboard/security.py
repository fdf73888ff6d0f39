"""Sessions, the one-time login token and cross-site checks. Standard library only; HTTP stays outside.

A session is a signed cookie, so nothing is stored for it and a restart logs nobody out. What a
session may do is not graded: whoever is in may promote and roll back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

# One working day: an operator logs in once in the morning.
SESSION_LIFE = timedelta(hours=12)
# A printed token that nobody used is dead the next day.
TOKEN_LIFE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Session:
    """Who is at the other end. `actor` goes into the audit event."""

    id: str
    actor: str
    expires: datetime


class Signer:
    """Signs and checks sessions, and derives a CSRF token from a session."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def new(self, actor: str, now: datetime) -> Session:
        return Session(secrets.token_hex(16), actor, now + SESSION_LIFE)

    def seal(self, session: Session) -> str:
        """The cookie's value: id, expiry, actor and signature, all without characters to quote."""
        plain = f"{session.id}.{int(session.expires.timestamp())}.{session.actor.encode().hex()}"
        return f"{plain}.{self._sign('session', plain)}"

    def open(self, cookie: str, now: datetime) -> Session | None:
        """The session in a cookie; None when it is not ours, altered, or over."""
        plain, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", plain).encode()):
            return None
        name, expires, actor = plain.split(".")
        session = Session(name, bytes.fromhex(actor).decode(), datetime.fromtimestamp(int(expires), UTC))
        return session if session.expires > now else None

    def csrf(self, session: Session) -> str:
        """The token that a form of this session must carry."""
        return self._sign("csrf", session.id)

    def csrf_fits(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(self.csrf(session).encode(), token.encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def signing_key(file: Path) -> bytes:
    """The key in `file`, made on first use and readable by its owner alone."""
    if not file.exists():
        _write_private(file, secrets.token_bytes(32))
    return file.read_bytes()


class LoginToken:
    """The token that `nightshift up` prints: good for one login, kept as a SHA-256 hash."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "dashboard_token.json"

    def issue(self, now: datetime) -> str:
        """A new token; one that was printed before is void from here on."""
        token = secrets.token_urlsafe(32)
        issued = {"hash": _sha256(token), "created": now.isoformat()}
        _write_private(self._file, json.dumps(issued).encode())
        return token

    def spend(self, token: str, now: datetime) -> bool:
        """Whether `token` is the issued one. It is void afterwards: of two logins at once, one gets in."""
        try:
            issued = json.loads(self._file.read_text())
            right = hmac.compare_digest(str(issued["hash"]), _sha256(token))
            if not right or now - datetime.fromisoformat(issued["created"]) > TOKEN_LIFE:
                return False
            self._file.unlink()
        except (FileNotFoundError, KeyError, ValueError):
            return False
        return True


def host_name(header: str) -> str:
    """The name in a Host header, without the port; empty when it is not one."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def same_site(origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Whether a state-changing request comes from our own page.

    A browser sends Origin with every form post, and `Sec-Fetch-Site` beside it. A request with neither
    is no browser's; the CSRF token still has to fit.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == host


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _write_private(file: Path, content: bytes) -> None:
    """Whole or not at all: a half-written key would be a guessable one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        new.write(content)
    fresh.replace(file)
