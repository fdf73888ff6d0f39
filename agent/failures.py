"""Which answer each error gets over HTTP, decided in one place; the errors themselves know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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


def explain(err: NightshiftError) -> Failure:
    """The answer to an error. What is not the caller's fault is told without addresses and paths."""
    again = {"retry-after": str(RETRY_AFTER_S)}
    match err:
        case InvalidRequest():
            return Failure(400, wire.error(str(err), "invalid_request_error", err.param, err.code))
        case TooLarge():
            return _failure(413, err, "invalid_request_error", "request_too_large")
        case NoKey():
            failure = _failure(401, err, "authentication_error", "invalid_api_key")
            return Failure(failure.status, failure.body, {"www-authenticate": "Bearer"})
        case NotAllowed():
            return _failure(403, err, "permission_error", "insufficient_scope")
        case NotFound():
            return _failure(404, err, "invalid_request_error", "not_found")
        case TooBusy():
            return Failure(429, wire.error(str(err), "rate_limit_error", None, "too_busy"), again)
        case EventLogError():
            message = "The answer could not be recorded, so it is not given: see the agent's log, then try again."
            return Failure(503, wire.error(message, "server_error", None, "not_recorded"), again)
        case EngineUnavailable():
            message = "The engine does not answer: it may be starting. Try again; /readyz says when it is back."
            return Failure(503, wire.error(message, "server_error", None, "engine_unavailable"), again)
        case EngineError(status=400 | 413 | 422):
            message = "The engine refuses this conversation: it may be too long. Send fewer or shorter messages."
            return Failure(400, wire.error(message, "invalid_request_error", "messages", "engine_refused"))
        case EngineError():
            message = "The engine failed to answer: see its log, then try again."
            return Failure(503, wire.error(message, "server_error", None, "engine_failed"), again)
        case _:
            return _failure(500, err, "server_error", "internal")


def _failure(status: int, err: NightshiftError, kind: str, code: str) -> Failure:
    return Failure(status, wire.error(str(err), kind, None, code))
