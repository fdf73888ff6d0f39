"""`keys create|list|revoke`: API keys. A secret is shown once, and kept as a hash."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.console import Group

from infra.cli.context import Json, config_of, say, table
from infra.errors import SettingsError
from infra.keys import SCOPES, KeyStore, Scope


def build() -> typer.Typer:
    app = typer.Typer(name="keys", help="API keys.", no_args_is_help=True)
    app.command()(create)
    app.command("list")(list_)
    app.command()(revoke)
    return app


def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose key it is, to recognise it later.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="chat, feedback or operate; several times; default: all.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a key and show its secret, this once."""
    scopes = frozenset(scope) if scope else frozenset(SCOPES)
    if unknown := scopes - SCOPES:
        raise SettingsError(f"{min(unknown)!r} is no scope: use {', '.join(sorted(SCOPES))}.")
    secret = _store(context).create(name, cast("frozenset[Scope]", scopes))
    value = {"name": name, "scopes": sorted(scopes), "secret": secret}
    say(value, Group(secret, "It is not shown again. Send it as `Authorization: Bearer …`."), json=json)


def list_(context: typer.Context, json: Json = False) -> None:
    """List keys, without their secrets."""
    keys = _store(context).list()
    value = [{"name": key.name, "scopes": sorted(key.scopes), "created": key.created} for key in keys]
    rows = ((key.name, ", ".join(sorted(key.scopes)), key.created) for key in keys)
    say(value, table(("name", "scopes", "created"), rows), json=json)


def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The key's name.")],
    json: Json = False,
) -> None:
    """Refuse a key from now on."""
    _store(context).revoke(name)
    say({"revoked": name}, f"The key {name!r} is refused from now on.", json=json)


def _store(context: typer.Context) -> KeyStore:
    return KeyStore(config_of(context).settings().keys_file)
