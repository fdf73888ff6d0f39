"""The Settings page: every value in force, read only, and without what may hold a password."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.requests import Request

from infra.dashboard.site import Site, View
from infra.settings import PREFIX, Settings

# Passwords in connection strings: postgresql://name:PASSWORD@host, password=PASSWORD, secret='…'.
_URL = re.compile(r"(://[^/\s:@]*):[^@\s]*@")
_PAIR = re.compile(r"(?i)\b(\w*(?:pass(?:word|wd)?|secret|token|key)\w*\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s;&]+)")


def router(site: Site) -> APIRouter:
    routes = APIRouter()

    @routes.get("/settings")
    def page(request: Request) -> Response:
        return site.render(request, "settings.html", settings_view(site.settings))

    @routes.get("/api/settings")
    def api() -> View:
        return settings_view(site.settings)

    return routes


def settings_view(settings: Settings) -> View:
    """Sections of settings, each with its value, its variable and whether it differs from the default."""
    general = {name: value for name, value in settings if not isinstance(value, BaseModel)}
    lines = [_line("", name, value, _default(settings, name)) for name, value in general.items()]
    sections = {"general": lines}
    for name, section in settings:
        if isinstance(section, BaseModel):
            sections[name] = [_line(name, key, value, _default(section, key)) for key, value in section]
    return {"sections": sections}


def without_secrets(value: object) -> str:
    """A value as text, passwords replaced."""
    return _PAIR.sub(r"\1•••", _URL.sub(r"\1:•••@", str(value)))


def _line(section: str, name: str, value: object, default: object) -> dict[str, Any]:
    variable = PREFIX + (f"{section}__{name}" if section else name).upper()
    return {"name": name, "value": without_secrets(value), "variable": variable, "changed": value != default}


def _default(section: BaseModel, name: str) -> object:
    return type(section).model_fields[name].get_default(call_default_factory=True)
