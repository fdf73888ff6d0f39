"""The Canary page: who is on trial with what share, the evidence against its thresholds, and the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard import manifest as manifests
from infra.dashboard.live import with_rate
from infra.dashboard.record import Row
from infra.dashboard.site import Site, View
from infra.deployment import Deployment
from infra.errors import LakeError
from infra.follow import Change

HISTORY = 100


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/canary")
    def page(request: Request) -> Response:
        return site.render(request, "canary.html", canary(site))

    @routes.get("/api/canary")
    def api() -> View:
        return canary(site)

    return routes


def canary(site: Site) -> View:
    """The trial that runs now, or the last one, with what was recorded on each arm since it began.

    `told` is the trainer's last look at this canary: None where it cannot be reached, or has not looked yet.
    Then `evidence` is of the last decision that had some.
    """
    history = site.serving.history()
    state = history[-1].after if history else site.serving.now()
    started = next((c for c in reversed(history) if c.body.action == "canary" and c.applied), None)
    subject = state.canary or (started.body.adapter if started else "")
    told = _told(site, state.canary)
    last = next((c for c in reversed(history) if c.body.evidence.get("metrics")), None)
    evidence = {**manifests.evidence(told), "adapter": subject} if told else _evidence(last) if last else None
    return {
        "running": bool(state.canary),
        "adapter": subject,
        "share": state.share,
        "paused": state.paused,
        "steps": _steps(site.settings.canary.steps, state),
        "stable": state.stable,
        "since": started.at if started else None,
        "arms": _arms(site, subject),
        "told": told,
        "evidence": evidence,
        "thresholds": site.settings.canary.model_dump(),
        "history": [_line(change) for change in reversed(history[-HISTORY:])],
    }


def _told(site: Site, adapter: str) -> dict[str, Any] | None:
    told = site.verdict.now() if adapter else None
    return told if told and told.get("canary") == adapter else None


def _steps(steps: Sequence[float], state: Deployment) -> list[dict[str, Any]]:
    """Each step's share and whether it is done, now or ahead; the last one is the promotion."""
    if not state.canary:
        return []
    now = next((step for step in steps if step >= state.share), 1.0)
    return [
        {"share": step, "state": "now" if step == now else "done" if step < now else "ahead"}
        for step in steps
    ]


def _arms(site: Site, subject: str) -> list[Row]:
    """Counts of each arm; none while there is no record: the history does not need it."""
    if not subject:
        return []
    try:
        return [with_rate(row) for row in site.record.query("canary_outcomes", canary=subject)]
    except LakeError:
        return []


def _evidence(change: Change) -> dict[str, Any]:
    return {**manifests.evidence(change.body.evidence), "adapter": change.body.adapter}


def _line(change: Change) -> dict[str, Any]:
    body = change.body
    return {
        "id": change.id, "at": change.at, "action": body.action, "adapter": body.adapter, "share": body.share,
        "actor": body.actor, "reason": body.reason, "applied": change.applied,
        "evidence": _evidence(change),
    }  # fmt: skip
