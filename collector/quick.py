"""Rows of the events that today's programs write, several times as fast as through their classes.

The structs here are made from those classes, so there is one schema. Whatever is not exactly as they say (a
field more, another type, a newer version, not JSON) is left to `Event.read`, which decides, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import EnumType
from functools import cache
from types import GenericAlias
from typing import Any, Literal, NamedTuple, cast, get_args, get_origin

import msgspec
from pydantic import BaseModel

from infra.events import BODIES, VERSION, Body

# As `datetime.isoformat` of UTC has it, to the microsecond; other times are left to `Event.read` too.
_TIME = len("2026-03-03T12:00:00.000000Z")


class Reading(NamedTuple):
    """An event as it was read.

    `body` has the attributes of its class; `values` are its fields, in their order, as the record keeps them;
    `extra` is what a newer program added, as JSON.
    """

    id: str
    at: datetime
    type: str
    body: Any  # a body's class, or a struct that looks like it
    values: Sequence[object]
    extra: str = "{}"


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    id: str
    type: str
    key: str
    at: str
    body: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)
_encode = msgspec.json.Encoder().encode


def read(value: bytes) -> Reading | None:
    """The event; None where only its classes can tell what it is."""
    try:
        event = _envelope.decode(value)
        kind = BODIES.get(event.type)
        if kind is None or not _plain(kind) or event.v > VERSION or not event.id:
            return None
        if len(event.at) != _TIME or event.at[-1] != "Z":
            return None
        body = _decoder(kind).decode(event.body)
        values = list(msgspec.structs.astuple(body))
        for place in _nested(kind):
            values[place] = _encode(values[place]).decode()
        return Reading(event.id, datetime.fromisoformat(event.at), event.type, body, values)
    except (msgspec.MsgspecError, ValueError):  # ValueError: no date, or half a surrogate pair
        return None


@cache
def _plain(kind: type[Body]) -> bool:
    """Whether a struct can say all that the class says: no bounds, nothing free-form."""
    return not any(field.metadata or _free(field.annotation) for field in kind.model_fields.values())


def _free(annotation: object) -> bool:
    return annotation is Any or any(map(_free, get_args(annotation)))


@cache
def _nested(kind: type[Body]) -> list[int]:
    """The places of the fields that the record keeps as JSON text."""
    fields = kind.model_fields.values()
    return [place for place, field in enumerate(fields) if get_origin(field.annotation) in (dict, tuple)]


@cache
def _decoder(kind: type[Body]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(kind))


@cache
def _struct(kind: type[BaseModel]) -> type[msgspec.Struct]:
    """The same fields with the same types and defaults; one more is refused."""
    fields: list[Any] = []
    for name, field in kind.model_fields.items():
        if field.is_required():
            fields.append((name, _like(field.annotation)))
        elif field.default_factory:
            factory = cast(Callable[[], Any], field.default_factory)  # none of ours asks for the other fields
            default = msgspec.field(default_factory=factory)
            fields.append((name, _like(field.annotation), default))
        else:
            plain = str(field.default) if isinstance(field.default, str) else field.default
            fields.append((name, _like(field.annotation), plain))
    return msgspec.defstruct(kind.__name__, fields, forbid_unknown_fields=True, kw_only=True)


def _like(annotation: Any) -> Any:
    """A field's type with classes replaced by their structs and enums by their texts."""
    if isinstance(annotation, EnumType):
        return Literal[tuple(map(str, annotation))]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _struct(annotation)
    if get_origin(annotation) is tuple:
        return GenericAlias(tuple, tuple(_like(part) for part in get_args(annotation)))
    return annotation
