"""The Settings page: every value in force, read only, and without what may hold a password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.requests import Request

from infra.dashboard.site import Site, View
from infra.secrets import without_secrets
from infra.settings import PREFIX, Settings


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
            sections[name] = list(_lines(name, section))
    return {"sections": sections}


def _lines(name: str, section: BaseModel) -> Iterator[dict[str, Any]]:
    for key, value in section:
        if isinstance(value, BaseModel):
            inner = _lines(f"{name}__{key}", value)
            yield from (line | {"name": f"{key}.{line['name']}"} for line in inner)
        else:
            yield _line(name, key, value, _default(section, key))


def _line(section: str, name: str, value: object, default: object) -> dict[str, Any]:
    variable = PREFIX + (f"{section}__{name}" if section else name).upper()
    return {"name": name, "value": without_secrets(value), "variable": variable, "changed": value != default}


def _default(section: BaseModel, name: str) -> object:
    return type(section).model_fields[name].get_default(call_default_factory=True)
