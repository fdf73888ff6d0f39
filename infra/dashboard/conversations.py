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
# Answers that are looked at first: they hold a page of conversations of any usual length. They are looked for
# in the last hour first, since to read the times of ten million answers would take half a second.
ROWS = 500
NEAR = timedelta(hours=1)
# Further parts are so many times wider than the one before, and for words none begins after so many seconds:
# in ten million answers it would take ten. The last part takes up to three times as long as all before.
WIDER = 16
SEARCH_S = 0.15
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
    """A page of conversations, newest first by their last answer (with `text`: their last that fits).

    `before` is where the page before ended. However long the record is, a conversation is looked for no
    further than a day from that answer: what was asked, answered and rated further away is not counted; and
    where it paused for longer than a day, a later page may show what came before the pause as a row of its
    own. No page shows a conversation twice.
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
    found: dict[str, Row] = {}  # by conversation: a part may hold what came before another part's pause
    width: timedelta | None = None
    while True:
        since = _part(record, before or now, width) if width else _first_part(record, before, now)
        for row in record.query(
            "conversations", text=pattern, since=since, before=before, limit=PER_PAGE + 1
        ):
            found.setdefault(row["conversation_id"], row)
        if since is None or len(found) > PER_PAGE or (pattern and monotonic() > until):
            return list(found.values()), since
        width = WIDER * ((before or now) - since)
        before = since


def _first_part(record: Record, before: datetime | None, now: datetime) -> datetime | None:
    """Where the last few answers before `before` begin; None when there are no more."""
    width = NEAR
    while True:
        since = _part(record, before or now, width)
        row = record.first("answered_before", since=since, before=before, offset=ROWS)
        if row or since is None:
            return row.get("at")
        width *= WIDER


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
