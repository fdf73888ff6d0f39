"""Which answer each error gets over HTTP, decided in one place; the errors themselves know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent import wire
from agent.auth import NoKey
from agent.limits import RETRY_AFTER_S, TooBusy, TooLarge
from agent.wire import InvalidRequest
from infra.errors import EngineError, EngineUnavailable, EventLogError, NightshiftError, NotAllowed, NotFound


@dataclass(frozen=True, slots=True)
class Failure:
    """A status, an error body as the API's clients read it, and headers."""

    status: int
    body: dict[str, Any]  # JSON
    headers: dict[str, str] = field(default_factory=dict)


class _Row(NamedTuple):
    """`message` replaces the error's own where that holds addresses or paths."""

    error: type[NightshiftError]
    status: int
    kind: str
    code: str
    message: str = ""


# The first row that fits is taken, so a class stands above the one that it refines.
_ROWS = (
    _Row(InvalidRequest, 400, "invalid_request_error", "invalid_request"),
    _Row(TooLarge, 413, "invalid_request_error", "request_too_large"),
    _Row(NoKey, 401, "authentication_error", "invalid_api_key"),
    _Row(NotAllowed, 403, "permission_error", "insufficient_scope"),
    _Row(NotFound, 404, "invalid_request_error", "not_found"),
    _Row(TooBusy, 429, "rate_limit_error", "too_busy"),
    _Row(
        EventLogError,
        503,
        "server_error",
        "not_recorded",
        "It could not be recorded, so it does not count: see the agent's log, then try again.",
    ),
    _Row(
        EngineUnavailable,
        503,
        "server_error",
        "engine_unavailable",
        "The engine does not answer: it may be starting. Try again; /readyz says when it is back.",
    ),
    _Row(
        EngineError, 503, "server_error", "engine_failed", "The engine failed: see its log, then try again."
    ),
    _Row(NightshiftError, 500, "server_error", "internal", "The agent failed: see its log."),
)
_REFUSED = _Row(
    EngineError,
    400,
    "invalid_request_error",
    "engine_refused",
    "The engine refuses this conversation: it may be too long. Send fewer or shorter messages.",
)
REFUSALS = frozenset({400, 413, 422})  # engine statuses that blame the request
_RETRY = {"retry-after": str(RETRY_AFTER_S)}
_HEADERS = {401: {"www-authenticate": "Bearer"}, 429: _RETRY, 503: _RETRY}


def explain(err: NightshiftError) -> Failure:
    """The answer to an error. What is not the caller's fault is told without addresses and paths."""
    row = next(row for row in _ROWS if isinstance(err, row.error))
    if isinstance(err, EngineError) and err.status in REFUSALS:
        row = _REFUSED
    param, code = (err.param, err.code or row.code) if isinstance(err, InvalidRequest) else (None, row.code)
    body = wire.error(row.message or str(err), row.kind, param, code)
    return Failure(row.status, body, _HEADERS.get(row.status, {}))
