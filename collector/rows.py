"""An event as rows: pure. What cannot be read becomes a dead letter with its reason, whole.

What is here must fit the lake's columns whatever somebody appended, since a row that the lake refuses
would stop the batch that it is in, for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache

from pydantic_core import to_json

from collector import quick
from collector.quick import Reading
from collector.signals import signals
from infra.errors import EventError
from infra.eventlog.base import Record
from infra.events import BODIES, Body, Event

Row = dict[str, object]

DEAD_LETTERS = "dead_letters"
TABLE_OF = {
    "interaction": "interactions",
    "feedback": "feedback",
    "night": "nights",
    "completion": "completions",
    "evaluation": "evaluations",
    "deployment": "deployments",
}
# Fields whose names are words of SQL.
_COLUMN_OF = {"user": "user_id", "case": "case_id", "group": "group_id"}
_PLAIN = frozenset({str, int, float, bool, type(None)})
# The lake's INTEGER.
_LARGEST = 2**31 - 1


def rows(record: Record) -> dict[str, list[Row]]:
    """The rows that one record gives, by table: never none."""
    try:
        return _rows(record, quick.read(record.value) or read_slowly(record.value))
    except (ValueError, OverflowError) as err:  # EventError, text that is no Unicode, a date before year 1
        return dead_letter(record, str(err))


def dead_letter(record: Record, reason: str) -> dict[str, list[Row]]:
    """The one row of a record that cannot be kept otherwise."""
    partition, offset = record.position
    row: Row = {
        "at": datetime.fromtimestamp(record.at, UTC),
        "topic": partition.topic,
        "partition": partition.number,
        "offset": offset,
        "key": _readable(record.key),
        "value": _readable(record.value.decode(errors="backslashreplace")),
        "reason": _readable(reason),
    }
    return {DEAD_LETTERS: [row]}


def by_table(found: Iterable[Mapping[str, list[Row]]]) -> dict[str, list[Row]]:
    """The rows of several records, by table."""
    batch: dict[str, list[Row]] = {}
    for one in found:
        for table, some in one.items():
            batch.setdefault(table, []).extend(some)
    return batch


def read_slowly(value: bytes) -> Reading:
    """Any event, through its class.

    Raises:
        EventError: it is none, and the reason.
    """
    event, body = Event.read(value)
    if not event.id:
        raise EventError("The event has an empty id, so a second one could not be told from it.")
    fields = vars(body)
    values = [_plain(fields[name]) for name in type(body).model_fields]
    return Reading(event.id, _utc(event.at), event.type, body, values, _extra(event, body))


def _rows(record: Record, event: Reading) -> dict[str, list[Row]]:
    row = _source(record, event)
    row.update(zip(_columns(event.type), event.values, strict=True))
    row["extra"] = event.extra
    _check(row)
    found = {TABLE_OF[event.type]: [row]}
    if event.type == "interaction" and (signs := _signs(record, event)):
        found["signals"] = signs
    return found


def _source(record: Record, event: Reading) -> Row:
    """What every row says of its event."""
    return {
        "event_id": event.id,
        "at": event.at,
        "log_topic": record.position.partition.topic,
        "log_partition": record.position.partition.number,
        "log_offset": record.position.offset,
    }


@cache
def _columns(kind: str) -> list[str]:
    """The columns of a body's fields, in their order."""
    return [_COLUMN_OF.get(name, name) for name in BODIES[kind].model_fields]


def _plain(value: object) -> object:
    """A field as the record keeps it; nested ones as JSON text."""
    if type(value) in _PLAIN:
        return value
    return _json(value) if isinstance(value, (dict, tuple)) else str(value)  # an enum's text


def _extra(event: Event, body: Body) -> str:
    """Fields that a newer program added, as JSON; `{}` for none."""
    return _json({**(event.model_extra or {}), **(body.model_extra or {})})


def _signs(record: Record, event: Reading) -> list[Row]:
    return [
        _source(record, event)
        | {
            # An interaction can give several: the kind makes the id unique.
            "event_id": f"{event.id}:{signal.kind}",
            "conversation_id": event.body.conversation_id,
            "response_id": event.body.response_id,
            "kind": str(signal.kind),
            "value": signal.value,
        }
        for signal in signals(event.body)
    ]


def _check(row: Mapping[str, object]) -> None:
    """Raises ValueError for what the columns do not take."""
    for column, value in row.items():
        if type(value) is str:
            if not value.isascii():
                value.encode()
            if "\0" in value:
                raise EventError(f"{column} holds a NUL character, which text in the record cannot.")
        # log_offset is a BIGINT and comes from the log itself.
        elif type(value) is int and abs(value) > _LARGEST and column != "log_offset":
            raise EventError(f"{column} is {value}: above {_LARGEST}, the largest that the record takes.")


def _readable(text: str) -> str:
    """Any text as text that the record takes, with what it does not take written out."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def _utc(at: datetime) -> datetime:
    """Producers write UTC; a time without a zone is taken as that."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _json(value: object) -> str:
    """JSON for every reader: not-a-number becomes null."""
    return to_json(value, inf_nan_mode="null").decode()
