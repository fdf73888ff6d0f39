"""Stands before every page: who may come in, from which host, and what a browser may do with the answer.

On loopback everyone on the machine is in, but only under a loopback name (against DNS rebinding).
Beyond it, a login with the one-time token or an API key with the scope `operate`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi.responses import JSONResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from infra.addresses import is_loopback
from infra.dashboard.security import (
    SESSION_LIFE,
    LoginToken,
    Session,
    Signer,
    host_name,
    same_site,
)

COOKIE = "nightshift_dashboard"
OPEN = ("/static/", "/login", "/livez", "/readyz", "/metrics")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

# The name of an API key that may operate, empty when the key is unknown or may not.
Operator = Callable[[str], str]
Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Guard:
    """`host` is the address that the dashboard listens on."""

    host: str
    signer: Signer
    token: LoginToken
    operator: Operator
    now: Callable[[], datetime]

    async def __call__(self, request: Request, call_next: Next) -> Response:
        response = await self._answer(request, call_next)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if not request.url.path.startswith("/static/"):
            response.headers["cache-control"] = "no-store"
        return response

    async def _answer(self, request: Request, call_next: Next) -> Response:
        if refusal := self._cross_site(request):
            return refusal
        session = await self._session(request)
        request.state.session = session
        if session is None:
            if request.url.path.startswith(OPEN):
                return await call_next(request)
            return _ask_to_log_in(request)
        response = await call_next(request)
        if not self._from_cookie(request) and "authorization" not in request.headers:
            self.remember(response, session, secure=request.url.scheme == "https")
        return response

    def remember(self, response: Response, session: Session, *, secure: bool) -> None:
        """Sets the session's cookie."""
        response.set_cookie(
            COOKIE,
            self.signer.seal(session),
            max_age=int(SESSION_LIFE.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=secure,
        )

    def log_in(self, secret: str) -> Session | None:
        """A session for the one-time token or an operator's key. Blocks: it reads files."""
        if self.token.spend(secret, self.now()):
            return self.signer.new("operator (one-time token)", self.now())
        if name := self.operator(secret):
            return self.signer.new(f"operator (key {name})", self.now())
        return None

    def _cross_site(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if is_loopback(self.host) and not is_loopback(host_name(host)):
            return _refuse(f"The host {host_name(host)!r} is not this machine: open {self.host} instead.")
        if request.method in ("GET", "HEAD") or same_site(
            request.headers.get("origin"), request.headers.get("sec-fetch-site"), host
        ):
            return None
        return _refuse("This request comes from another site, so nothing was changed: use the page itself.")

    async def _session(self, request: Request) -> Session | None:
        if session := self._from_cookie(request):
            return session
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and (name := await run_in_threadpool(self.operator, key)):
            return self.signer.new(f"operator (key {name})", self.now())
        if is_loopback(self.host):
            return self.signer.new("operator on this machine", self.now())
        return None

    def _from_cookie(self, request: Request) -> Session | None:
        return self.signer.open(request.cookies.get(COOKIE, ""), self.now())


def _ask_to_log_in(request: Request) -> Response:
    if request.url.path.startswith("/api/") or request.method != "GET":
        return JSONResponse({"error": "Log in at /login, or send a key with the scope operate."}, 401)
    return RedirectResponse("/login", 303)


def _refuse(message: str) -> Response:
    return JSONResponse({"error": message}, 403)
