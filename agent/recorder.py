"""Writes down what happened, without personal data, and says so only once it is durable.

Redaction sits here and nowhere else, so nothing reaches the log around it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Mapping

from agent.metrics import Metrics
from agent.prompt import Prompt
from agent.response_ids import ResponseIds
from infra.errors import EventLogError
from infra.eventlog.base import EventLog
from infra.events import Body, Event, Feedback, Interaction
from infra.privacy import redact

_log = logging.getLogger(__name__)

_REMEMBER_S = 10.0


class Recorder:
    """Appends events to the log."""

    def __init__(self, log: EventLog, ids: ResponseIds, metrics: Metrics) -> None:
        self._log = log
        self._ids = ids
        self._metrics = metrics
        self._refusal = ""
        self._refused_at = -math.inf

    @property
    def trouble(self) -> str:
        """Why an answer could not be recorded a moment ago; empty otherwise.

        It is forgotten after some seconds: who is sent no requests could not find out that all is well again.
        """
        return self._refusal if time.monotonic() - self._refused_at < _REMEMBER_S else ""

    async def interaction(self, body: Interaction, prompt: Prompt) -> None:
        """Records an answer; returns when it is durable. Cancelling the caller does not undo it.

        Raises:
            EventLogError: it was not recorded, so the answer must not be finished.
        """
        clean = redacted_interaction(body, prompt, self._ids)
        await self._append(clean, clean.conversation_id, clean.redactions)

    async def feedback(self, body: Feedback) -> None:
        """Records what a customer said of an answer. Raises EventLogError as above."""
        clean, counts = redacted_feedback(body, self._ids)
        await self._append(clean, clean.response_id, counts)

    async def _append(self, body: Body, key: str, counts: Mapping[str, int]) -> None:
        event = Event.of(body, key)
        begun = time.perf_counter()
        try:
            await asyncio.wrap_future(self._log.append(event.topic, event.key, event.encode()))
        except EventLogError as err:
            self._refusal, self._refused_at = str(err), time.monotonic()
            self._metrics.unrecorded.inc()
            _log.exception("event %s (%s) was not recorded", event.id, event.type)
            raise
        self._refusal = ""
        self._metrics.record_seconds.observe(time.perf_counter() - begun)
        for kind, number in counts.items():
            self._metrics.redactions.labels(kind).inc(number)


def redacted_interaction(body: Interaction, prompt: Prompt, ids: ResponseIds) -> Interaction:
    """The body without personal data. The business's own words, its facts, stay as they are.

    `redactions` counts what this turn brought, the query and the answer; earlier messages were counted
    in their own turn.
    """
    query, answer = redact(body.query), redact(body.answer)
    counts = Counter(query.counts) + Counter(answer.counts)
    changed = {
        "query": query.text,
        "answer": answer.text,
        "prompt": prompt.map(lambda text: query.text if text == body.query else redact(text).text).messages,
        "conversation_id": _safe_name(body.conversation_id, ids),
        "user": _safe_name(body.user, ids),
        "error": redact(body.error).text,  # the engine's words, which may quote the customer's
        "redactions": dict(counts),
    }
    return body.model_copy(update=changed)


def redacted_feedback(body: Feedback, ids: ResponseIds) -> tuple[Feedback, Mapping[str, int]]:
    """The body without personal data, and what was taken out."""
    comment, correction = redact(body.comment), redact(body.correction)
    changed = {"comment": comment.text, "correction": correction.text, "user": _safe_name(body.user, ids)}
    return body.model_copy(update=changed), Counter(comment.counts) + Counter(correction.counts)


def _safe_name(name: str, ids: ResponseIds) -> str:
    """A name that is an e-mail address or a number becomes a pseudonym: still one person, but unknown."""
    return ids.pseudonym(name) if redact(name).counts else name
