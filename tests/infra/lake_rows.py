"""Rows for tests of the record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from infra.eventlog.base import Partition

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FEEDBACK = Partition("feedback")


def thumb(number: int, rating: int = 1, **more: object) -> dict[str, object]:
    """A row of feedback, with an id of its second."""
    at = NOON + timedelta(seconds=number)
    known = {"event_id": f"{number:026d}", "at": at, "response_id": f"r{number}", "rating": rating}
    return known | {"comment": "", "correction": ""} | more


def interaction(number: int, **more: object) -> dict[str, object]:
    at = NOON + timedelta(seconds=number)
    known = {
        "event_id": f"{number:026d}", "at": at, "response_id": f"r{number}", "turn": number % 3,
        "conversation_id": f"c{number // 3}", "collection": "inn", "query": f"question {number}",
        "prompt": "[]", "facts": "[]", "answer": "yes", "arm": "stable", "adapter": "", "canary": "",
        "fallback_from": "", "status": "ok", "completion_tokens": 9, "latency_s": 0.5,
    }  # fmt: skip
    return known | more
