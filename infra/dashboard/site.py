"""What every page needs, in one value, and how a page's data becomes HTML. Pages add nothing global."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Form
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

from infra.dashboard import wording
from infra.dashboard.record import Record
from infra.dashboard.rooms import Rooms
from infra.dashboard.security import Session, Signer
from infra.dashboard.serving import Serving
from infra.dashboard.verdict import Verdict
from infra.errors import NotAllowed
from infra.registry import Registry
from infra.settings import Settings

FOLDER = Path(__file__).parent
NAV = (
    ("/", "Loop"),
    ("/live", "Live"),
    ("/conversations", "Conversations"),
    ("/nights", "Nights"),
    ("/questions", "Questions"),
    ("/adapters", "Adapters"),
    ("/canary", "Canary"),
    ("/dead-letters", "Dead letters"),
    ("/settings", "Settings"),
)

FILTERS = (
    "number", "percent", "points", "duration", "ago", "absolute", "moment", "short", "adapter", "plural",
)  # fmt: skip

View = dict[str, Any]  # a page's data, as a template and JSON both take it: untyped by nature


def templates() -> Jinja2Templates:
    """Autoescape is on for every template: what customers write is hostile until it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(wording, name) for name in FILTERS})
    environment.globals["spread"] = wording.spread
    environment.globals["NAV"] = NAV
    return Jinja2Templates(env=environment)


@dataclass(frozen=True, slots=True)
class Site:
    """The collaborators of every page. `now` is the clock, in UTC."""

    settings: Settings
    record: Record
    serving: Serving
    rooms: Rooms
    verdict: Verdict
    registry: Registry
    signer: Signer
    now: Callable[[], datetime]
    pages: Jinja2Templates = field(default_factory=templates)

    def render(self, request: Request, template: str, view: View, status: int = 200) -> Response:
        session: Session | None = getattr(request.state, "session", None)
        context = {
            **view,
            "now": self.now(),
            "csrf": self.signer.csrf(session) if session else "",
            "actor": session.actor if session else "",
        }
        return self.pages.TemplateResponse(request, template, context, status)

    def check_form(self, request: Request, csrf: Annotated[str, Form()] = "") -> Session:
        """The session behind a form post. A request with an API key carries no cookie to abuse.

        Raises:
            NotAllowed: the form's token is missing or not this session's.
        """
        session: Session = request.state.session
        if "authorization" not in request.headers and not self.signer.csrf_fits(session, csrf):
            raise NotAllowed(
                "The form's token is missing or old, so nothing was changed: reload the page and try again."
            )
        return session
