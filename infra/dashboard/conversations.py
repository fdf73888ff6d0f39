"""The Conversations pages: find one, and follow each answer to its facts, arm, adapter and thumbs."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from infra.dashboard.record import Row
from infra.dashboard.site import Site, View
from infra.dashboard.wording import moment
from infra.errors import NotFound

PER_PAGE = 30
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
    """A page of conversations, newest first; `before` is the last one's time on the page before."""
    pattern = like(text) if text else None
    rows = site.record.query("conversations", text=pattern, before=moment(before), limit=PER_PAGE + 1)
    more = len(rows) > PER_PAGE
    rows = rows[:PER_PAGE]
    older = rows[-1]["last_at"] if more else None
    return {"text": text, "before": before, "conversations": rows, "next": older}


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
