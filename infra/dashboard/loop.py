"""The Loop page: the circle with the live counts and health of each room, and what serves now.

Every part is asked on its own, so the picture stays when the lake or a room is missing.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard.rooms import Health
from infra.dashboard.site import Site, View
from infra.dashboard.wording import adapter, number, plural
from infra.errors import LakeError

# The circle's places, clockwise from the top: key, name, page.
PLACES = (
    ("agent", "Agent", "/live"),
    ("log", "Event log", "/dead-letters"),
    ("collector", "Collector", "/dead-letters"),
    ("lake", "Lake", "/conversations"),
    ("trainer", "Trainer", "/nights"),
    ("registry", "Registry", "/adapters"),
)
RADIUS = 172  # in the picture's own units; the picture is 480 wide


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/")
    def page(request: Request) -> Response:
        return site.render(request, "loop.html", loop(site))

    @routes.get("/api/loop")
    def api() -> View:
        return loop(site)

    return routes


def loop(site: Site) -> View:
    """Where the loop stands: one entry for each place, and the headline figures."""
    record = _record(site)
    health = site.rooms.health()
    state = site.serving.now()
    ends = site.serving.end_offsets()
    lag = sum(max(0, end - record["offsets"].get(part, 0)) for part, end in ends.items())
    night = record["night"]
    told = {
        "agent": (health["agent"], f"{number(record['today'])} answers today"),
        "log": (Health("up"), plural(sum(ends.values()), "event")),
        "collector": (health["collector"], "up to date" if not lag else f"{number(lag)} behind"),
        "lake": (record["health"], plural(record["answers"], "answer")),
        "trainer": (health["trainer"], _night_in_words(night)),
        "registry": (Health("up"), plural(len(site.registry.list()), "adapter")),
    }
    return {
        "places": [_place(i, *place, *told[place[0]]) for i, place in enumerate(PLACES)],
        "engine": {"health": health["engine"], "serves": adapter(state.stable), "canary": state.canary},
        "stable": state.stable,
        "canary": state.canary,
        "share": state.share,
        "previous": state.previous,
        "today": record["today"],
        "answers": record["answers"],
        "lag": lag,
        "night": night,
        "lake_problem": record["problem"],
        "snapshot": record["snapshot"],
    }


def _record(site: Site) -> dict[str, Any]:
    """What the lake says, or why it says nothing."""
    counts = {"today": 0, "answers": 0}
    empty: dict[str, Any] = {**counts, "offsets": {}, "night": {}, "snapshot": None, "problem": ""}
    try:
        nights = site.record.query("nights", limit=1)
        return empty | {
            "today": site.record.first("answers_since", since=_midnight(site.now()))["answers"],
            "answers": site.record.first("answers")["answers"],
            "offsets": site.record.offsets(site.serving.log()),
            "snapshot": site.record.snapshot(),
            "night": {key: value for key, value in nights[0].items() if key != "manifest"} if nights else {},
            "health": Health("up"),
        }  # fmt: skip
    except LakeError as err:
        return empty | {"health": Health("down", str(err)), "problem": str(err)}


def _midnight(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _night_in_words(night: dict[str, Any]) -> str:
    if not night:
        return "no night yet"
    return f"last: {night['verdict']}" if night.get("verdict") else f"now: {night.get('stage') or 'started'}"


def _place(index: int, key: str, name: str, page: str, health: Health, count: str) -> dict[str, Any]:
    """A place on the circle with the middle of its box."""
    angle = math.radians(60 * index - 90)
    x, y = 240 + RADIUS * math.cos(angle), 232 + RADIUS * math.sin(angle)
    return {
        "key": key, "name": name, "page": page, "count": count, "health": health,
        "x": round(x, 1), "y": round(y, 1),
    }  # fmt: skip
