"""The Live page: answers per minute, good rate, thumbs and latency of each arm, in the last while."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard.record import Row
from infra.dashboard.site import Site, View

# The spans to choose from, in minutes, and the bucket of each in seconds: 60 to 96 points are readable.
SPANS = {15: 15, 60: 60, 360: 300, 1440: 900}
ARMS = ("stable", "canary")
Minutes = Annotated[int, Query(description="Minutes back from now: 15, 60, 360 or 1440.")]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/live")
    def page(request: Request, minutes: Minutes = 60) -> Response:
        return site.render(request, "live.html", live(site, minutes))

    @routes.get("/api/live")
    def api(minutes: Minutes = 60) -> View:
        return live(site, minutes)

    return routes


def live(site: Site, minutes: int) -> View:
    """The series for the charts, and one summary for each arm."""
    minutes = minutes if minutes in SPANS else 60
    bucket_s = SPANS[minutes]
    since = site.now() - timedelta(minutes=minutes)
    state = site.serving.now()
    rows = site.record.query("traffic", since=since, bucket_s=bucket_s)
    return {
        "minutes": minutes,
        "spans": list(SPANS),
        "series": series(rows, int(since.timestamp()), int(site.now().timestamp()), bucket_s),
        "arms": [with_rate(row) for row in site.record.query("arms", since=since)],
        "recent": site.record.query("recent_interactions", limit=8, before=None),
        "stable": state.stable,
        "canary": state.canary,
        "share": state.share,
    }


def with_rate(row: Row) -> Row:
    """A row of counts with the share of good answers (0 to 1)."""
    return {**row, "good_rate": row["good"] / row["answers"] if row["answers"] else None}


def series(rows: Sequence[Row], start: int, end: int, bucket_s: int) -> dict[str, Any]:
    """Aligned columns for the charts, one value for each bucket from `start` to `end` (epoch seconds).

    A bucket without answers has zero answers, and no rate or latency.
    """
    found: dict[tuple[str, int], Row] = {(r["arm"], int(r["bucket"].timestamp())): with_rate(r) for r in rows}
    times = list(range(start - start % bucket_s, end + 1, bucket_s))
    columns: dict[str, Any] = defaultdict(list)
    for arm in ARMS:
        for time in times:
            row = found.get((arm, time), {})
            columns[f"{arm}_answers"].append(row.get("answers", 0) * 60 / bucket_s)
            columns[f"{arm}_good"].append(row.get("good_rate"))
            columns[f"{arm}_latency"].append(row.get("latency_p50_s"))
    return {"times": times, **columns}
