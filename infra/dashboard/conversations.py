"""The Conversations pages: find one, and follow each answer to its facts, arm, adapter and thumbs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard.record import Record, Row
from infra.dashboard.site import Site, View
from infra.dashboard.wording import moment
from infra.errors import NotFound

PER_PAGE = 30
# Answers that are looked at first: they hold a page of conversations of any usual length. Further parts are
# so many times wider than the one before, and words are searched for so many seconds: in ten million answers
# it would take ten.
ROWS = 500
WIDER = 16
SEARCH_S = 0.2
Text = Annotated[str, Query(max_length=200)]


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/conversations")
    def page(request: Request, text: Text = "", before: str = "") -> Response:
        return site.render(request, "conversations.html", conversations(site, text, before))

    @routes.get("/api/conversations")
    def api(text: Text = "", before: str = "") -> View:
        return conversations(site, text, before)

    @routes.get("/conversations/{conversation:path}")
    def one_page(request: Request, conversation: str) -> Response:
        return site.render(request, "conversation.html", one(site, conversation))

    @routes.get("/api/conversations/{conversation:path}")
    def one_api(conversation: str) -> View:
        return one(site, conversation)

    return routes


def conversations(site: Site, text: str, before: str) -> View:
    """A page of conversations, newest first; `before` is where the page before ended.

    `searched_to` is how far back words were looked for when the time for it ran out before the page was full;
    None when everything was searched, or the page is full.
    """
    rows, searched_to = find(site.record, like(text) if text else None, moment(before), site.now())
    more = len(rows) > PER_PAGE
    rows = rows[:PER_PAGE]
    older = rows[-1]["found_at"] if more else searched_to
    return {
        "text": text,
        "before": before,
        "conversations": rows,
        "next": older,
        "searched_to": None if more else searched_to,
    }


def find(
    record: Record, pattern: str | None, before: datetime | None, now: datetime
) -> tuple[list[Row], datetime | None]:
    """More conversations than a page holds, if there are: from ever larger parts of the record, newest first.

    Also the time back to which was searched, None for the beginning. Without a pattern it never stops early.
    """
    until = monotonic() + SEARCH_S
    found: list[Row] = []
    width: timedelta | None = None
    while True:
        since = _part(record, before or now, width) if width else _first_part(record, before)
        found += record.query(
            "conversations", text=pattern, since=since, before=before, limit=PER_PAGE + 1 - len(found)
        )
        if since is None or len(found) > PER_PAGE or (pattern and monotonic() > until):
            return found, since
        width = WIDER * ((before or now) - since)
        before = since


def _first_part(record: Record, before: datetime | None) -> datetime | None:
    """Where the last few answers before `before` begin; None when there are no more."""
    time: datetime | None = record.first("answered_before", before=before, offset=ROWS).get("at")
    return time


def _part(record: Record, before: datetime, width: timedelta) -> datetime | None:
    """Where so much before `before` begins; None when there is nothing earlier."""
    first = record.first("answers")["first_at"]
    since = before - width
    return since if first is not None and since > first else None


def one(site: Site, conversation: str) -> View:
    """One conversation's turns in order, each with everything that the record knows of it.

    Raises:
        NotFound: no answer of such a conversation is in the record.
    """
    turns = [_read(row) for row in site.record.query("conversation", conversation_id=conversation)]
    if not turns:
        raise NotFound(
            f"The record has no conversation {conversation!r}: it may be a second behind, or erased. "
            "Search for words of it under Conversations."
        )
    return {"conversation": conversation, "turns": turns}


def like(text: str) -> str:
    """A pattern for ILIKE that finds `text` as it is written."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _read(row: Row) -> dict[str, Any]:
    """A turn, with its JSON columns read."""
    columns = {name: json.loads(row[name] or "null") for name in ("prompt", "facts", "redactions")}
    return {**row, **columns}
