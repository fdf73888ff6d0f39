"""The Nights pages: each night's verdict, and one night from its stages to the answers that it chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard import manifest as manifests
from infra.dashboard.record import Row
from infra.dashboard.site import Site, View
from infra.errors import NotFound

LIMIT = 100
# Pairs of a chosen and a rejected answer: enough to see what the night preferred.
PAIRS = 12


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

    @routes.get("/api/nights/{night}")
    def one_api(night: str) -> View:
        return one(site, night)

    return routes


def nights(site: Site) -> View:
    """The latest nights, newest first, each with its pass rates where they were measured."""
    rows = site.record.query("dashboard_nights", limit=LIMIT)
    return {"nights": [_in_short(row) for row in rows]}


def one(site: Site, night: str) -> View:
    """Everything that the record knows of one night.

    Raises:
        NotFound: no event of such a night is in the record.
    """
    events = site.record.query("dashboard_night", night=night)
    if not events:
        raise NotFound(f"The record has no night {night!r}: see the list under Nights.")
    pairs = site.record.query("dashboard_choices", night=night, limit=PAIRS)
    return {**story(events), "pairs": pairs}


def story(events: Sequence[Row]) -> View:
    """A night told from its events in order: the last one has the verdict, each stage its seconds."""
    first, last = events[0], events[-1]
    ended = last["state"] == "ended"
    manifest = manifests.read(last["manifest"]) if ended else {}
    done = {event["stage"]: event["seconds"] for event in events if event["state"] == "stage"}
    seconds = (last["at"] - first["at"]).total_seconds()
    return {
        "night": first["night"],
        "slot": first["slot"],
        "started": first["at"],
        "ended": last["at"] if ended else None,
        "seconds": seconds,
        "stage": "" if ended else last["stage"],
        "verdict": last["verdict"],
        "adapter": last["adapter"],
        "reason": last["reason"],
        "stages": manifests.stages(manifest if manifest.get("stages") else {"stages": done}),
        "gates": manifests.gates(manifest),
        "rewards": manifests.rewards(manifest),
        "diverges": manifests.diverges(manifest),
        "report": manifests.report(manifest, last["verdict"], last["reason"], seconds),
        "counts": {key: manifest.get(key) for key in ("queries", "completions", "chosen") if key in manifest},
        "lineage": _lineage(manifest),
        "details": {name: manifests.lines(manifest, name) for name in ("by_polarity", "copies", "words", "tokens")},
        "versions": manifests.lines(manifest, "versions"),
    }


def _in_short(row: Row) -> dict[str, Any]:
    manifest = manifests.read(row["manifest"])
    rates = {rate["model"]: rate["rate"] for rate in manifests.rewards(manifest)}
    short = {key: value for key, value in row.items() if key != "manifest"}
    return {**short, "rates": rates, "chosen": manifest.get("chosen")}


def _lineage(manifest: manifests.Manifest) -> dict[str, str]:
    return {key: str(manifest[key]) for key in ("snapshot", "seed", "base_hash") if key in manifest}
