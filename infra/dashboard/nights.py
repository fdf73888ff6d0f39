"""The Nights pages: each verdict, and the report of one night: what it learned, changed, proved, and cost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from starlette.requests import Request

from infra.dashboard import manifest as manifests
from infra.dashboard.record import Row
from infra.dashboard.site import Site, View
from infra.report import night as reports
from infra.report.markdown import markdown, per_point

LIMIT = 100
# Pairs of a chosen and a rejected answer: enough to see what the night preferred.
PAIRS = 12
COMPLETIONS = 500
# Parts of a manifest that are shown as they are.
DETAILS = ("training",)


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/nights")
    def page(request: Request) -> Response:
        return site.render(request, "nights.html", nights(site))

    @routes.get("/api/nights")
    def api() -> View:
        return nights(site)

    @routes.get("/nights/{night}")
    def one_page(request: Request, night: str) -> Response:
        return site.render(request, "night.html", one(site, night))

    @routes.get("/nights/{night}/report.md")
    def one_markdown(night: str) -> Response:
        named = {"Content-Disposition": 'attachment; filename="report.md"'}
        report = reports.read(site.record.query, night)
        return PlainTextResponse(markdown(report), media_type="text/markdown", headers=named)

    @routes.get("/api/nights/{night}")
    def one_api(night: str) -> View:
        return one(site, night)

    return routes


def nights(site: Site) -> View:
    """The latest nights, newest first, each with its pass rates where they were measured."""
    rows = site.record.query("nights", limit=LIMIT)
    return {"nights": [_in_short(row) for row in rows]}


def one(site: Site, night: str) -> View:
    """Everything that the record knows of one night.

    Raises:
        NotFound: no event of such a night is in the record.
    """
    report = reports.read(site.record.query, night)
    row = site.record.first("night", night=night)
    completions = site.record.query("completions", night=night, limit=COMPLETIONS)
    return {
        **story(row),
        **report,
        "per_point": per_point(report["costs"]),
        "pairs": pairs(completions)[:PAIRS],
    }


def story(row: Row) -> View:
    """What the page shows beside the report, told from the night's row."""
    manifest = manifests.read(row["manifest"])
    short = {key: value for key, value in row.items() if key != "manifest"}
    return {
        **short,
        "rewards": manifests.rewards(manifest),
        "counts": {key: manifest.get(key) for key in ("queries", "completions", "chosen") if key in manifest},
        "origin": _origin(manifest),
        "details": {name: manifests.lines(manifest, name) for name in DETAILS},
        "versions": manifests.lines(manifest, "versions"),
    }


def pairs(completions: Iterable[Row]) -> list[View]:
    """For each group with a chosen completion: that one, and the rejected one of the least reward, if any."""
    found = []
    for response_id, rows in groupby(completions, key=lambda row: row["response_id"]):
        group = list(rows)  # best reward first
        chosen = next((row for row in group if row["chosen"]), None)
        rejected = next((row for row in reversed(group) if not row["chosen"]), None)
        if chosen:
            found.append(
                {"response_id": response_id, "query": chosen["query"], "chosen": chosen, "rejected": rejected}
            )
    return found


def _in_short(row: Row) -> dict[str, Any]:
    manifest = manifests.read(row["manifest"])
    rates = {rate["model"]: rate["rate"] for rate in manifests.rewards(manifest)}
    short = {key: value for key, value in row.items() if key != "manifest"}
    return {**short, "rates": rates, "chosen": manifest.get("chosen")}


def _origin(manifest: manifests.Manifest) -> dict[str, str]:
    return {key: str(manifest[key]) for key in ("snapshot", "seed", "base_hash") if key in manifest}
