"""Copies of dead letters on a topic of their own, where monitors of the event log look for them.

The record is what counts: it holds each of them once, with its reason. The topic gets them after that, so a
collector that is killed in between leaves out copies.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from pydantic_core import to_json

from infra.eventlog.base import EventLog, Position
from infra.events import DEAD_LETTER_TOPIC

logger = logging.getLogger(__name__)


def copy(letters: Iterable[Mapping[str, object]], log: EventLog) -> None:
    """Appends rows of the table as JSON, and waits for none of them."""
    for letter in letters:
        log.append(DEAD_LETTER_TOPIC, str(letter["key"]), to_json(letter)).add_done_callback(_look)


def _look(appended: Future[Position]) -> None:
    if err := appended.exception():
        logger.warning("a dead letter is in the record, but not on its topic: %s", err)
