"""Numbers and times as people read them: the filters of the templates. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NONE = "\u2013"  # an en dash: nothing was measured
_STEPS = ((60, "second", 1), (3600, "minute", 60), (86_400, "hour", 3600), (86_400 * 60, "day", 86_400))


def number(value: float | None, digits: int = 0) -> str:
    """12,345 or 0.79; a dash where nothing was measured."""
    return NONE if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    return NONE if value is None else f"{value * 100:.{digits}f}%"


def points(value: float | None) -> str:
    """A difference of two rates in percentage points, always with its sign."""
    return NONE if value is None else f"{value * 100:+.1f}"


def duration(seconds: float | None) -> str:
    """320 ms, 4.2 s, 7 min 12 s, 3 h 05 min."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def moment(value: datetime | str | None) -> datetime | None:
    """A time in UTC, from what the record or a manifest holds."""
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)


def ago(value: datetime | str | None, now: datetime) -> str:
    """3 minutes ago; in 2 hours; a date when it is two months away."""
    at = moment(value)
    if at is None:
        return NONE
    seconds = (now - at).total_seconds()
    for limit, unit, size in _STEPS:
        if abs(seconds) < limit:
            count = int(abs(seconds) // size)
            if unit == "second" and count < 5:
                return "just now"
            text = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{text} ago" if seconds >= 0 else f"in {text}"
    return f"{at:%d %b %Y}"


def absolute(value: datetime | str | None) -> str:
    at = moment(value)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""


def short(name: str, length: int = 26) -> str:
    """An adapter's or a conversation's name, its middle left out when it is long."""
    return name if len(name) <= length else f"{name[: length - 9]}…{name[-8:]}"


def adapter(name: str) -> str:
    """An empty adapter name is the base model."""
    return name or "base model"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def spread(low: Any, high: Any, *others: Any) -> tuple[float, float]:
    """The scale of an interval's picture: a little wider than what it shows, with zero inside.

    The values come from free-form manifests, so what is no number is left out.
    """
    known = [float(v) for v in (low, high, *others, 0.0) if isinstance(v, int | float)]
    room = (max(known) - min(known)) * 0.12 or 0.1
    return min(known) - room, max(known) + room
