"""The Questions page: what each night did to one question of a suite, and which night broke or mended it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard.record import Record
from infra.dashboard.site import Site, View
from infra.report import bisect
from infra.report.changes import changes
from infra.report.night import CASES

# Nights among which the last promoted one is looked for: a season of them.
NIGHTS = 100
# A question may be pasted whole, and is longer than the words that one types.
Text = Annotated[str, Query(max_length=500)]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/questions")
    def page(request: Request, text: Text = "", suite: Text = "", case: Text = "") -> Response:
        return site.render(request, "questions.html", questions(site, text, suite, case))

    @routes.get("/api/questions")
    def api(text: Text = "", suite: Text = "", case: Text = "") -> View:
        return questions(site, text, suite, case)

    return routes


def questions(site: Site, text: str, suite: str = "", case: str = "") -> View:
    """What `bisect.read` tells of `text`; of one case where `suite` and `case` name it exactly.

    With nothing asked, `lately` is what the last promoted night changed.

    Raises:
        NotFound: no night has judged the named case.
    """
    query = site.record.query
    nothing: View = {"text": "", "cases": [], "more": False, "found": None, "lately": None}
    if suite or case:
        return {**nothing, "found": bisect.read_case(query, suite, case)}
    if text.strip():
        return {**nothing, **bisect.read(query, text)}
    return {**nothing, "lately": lately(site.record)}


def lately(record: Record) -> View | None:
    """The night whose adapter was promoted last, when that was, and what it changed. None where none was."""
    promoted = bisect.promotions(record.query("deployment_history"))
    nights = [night for night in record.query("nights", limit=NIGHTS) if night["adapter"] in promoted]
    if not nights:
        return None
    last = max(nights, key=lambda night: promoted[night["adapter"]])
    return {
        "night": last["night"],
        "promoted_at": promoted[last["adapter"]],
        "changes": changes(record.query("evaluation_cases", night=last["night"], limit=CASES)),
    }
