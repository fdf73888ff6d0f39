"""Logging in beyond loopback: the one-time token that `nightshift up` prints, or an operator's key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from starlette.requests import Request

from infra.dashboard.guard import COOKIE, Guard
from infra.dashboard.site import Site


def router(site: Site, guard: Guard) -> APIRouter:
    routes = APIRouter()

    @routes.get("/login")
    def form(request: Request, token: str = "") -> Response:
        return site.render(request, "login.html", {"token": token, "problem": ""})

    @routes.post("/login")
    def log_in(request: Request, token: Annotated[str, Form()] = "") -> Response:
        session = guard.log_in(token.strip())
        if session is None:
            problem = "This token was used before, is too old, or is no key with the scope operate."
            return site.render(request, "login.html", {"token": "", "problem": problem}, 403)
        answer = RedirectResponse("/", 303)
        guard.remember(answer, session, secure=request.url.scheme == "https")
        return answer

    @routes.post("/logout")
    def log_out(request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        site.check_form(request, csrf)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return routes
