"""The Dead letters page: what was on the log but could not become a row, and why."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard.record import Row
from infra.dashboard.site import Site, View

LIMIT = 200
# A value is shown as far as it helps to recognise it.
PREVIEW = 400


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/dead-letters")
    def page(request: Request) -> Response:
        return site.render(request, "dead_letters.html", dead_letters(site))

    @routes.get("/api/dead-letters")
    def api() -> View:
        return dead_letters(site)

    return routes


def dead_letters(site: Site) -> View:
    rows = site.record.query("dead_letters", limit=LIMIT)
    return {"letters": [_preview(row) for row in rows], "limit": LIMIT}


def _preview(row: Row) -> Row:
    value = row["value"]
    text = bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
    return {**row, "value": text if len(text) <= PREVIEW else text[:PREVIEW] + "…"}
