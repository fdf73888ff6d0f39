"""Tries dead letters again, for instance after an upgrade: what can be read now becomes rows."""

from __future__ import annotations

from typing import Any

from collector.rows import DEAD_LETTERS, by_table, rows
from infra.eventlog.base import Partition, Position, Record
from infra.lake import Lake
from infra.settings import Settings

_EVERYTHING = 2**62


def retry(settings: Settings) -> dict[str, int]:
    """How many dead letters became rows, and how many still cannot be read.

    Rows are written before their letter is removed, and a row's event id is taken once: a job that is killed
    in between loses and doubles nothing.

    Raises:
        LakeError: the lake refused.
    """
    with Lake.open(settings, writable=True) as lake:
        letters = lake.query("dead_letters", limit=_EVERYTHING)
        tried = [(letter, rows(_record(letter))) for letter in letters]
        readable = [(letter, found) for letter, found in tried if DEAD_LETTERS not in found]
        lake.append(by_table(found for _, found in readable), {})
        for letter, _ in readable:
            place = {name: letter[name] for name in ("topic", "partition", "offset")}
            with lake.turn():
                lake.query("forget_dead_letter", **place)
    return {"became_rows": len(readable), "still_dead": len(letters) - len(readable)}


def _record(letter: dict[str, Any]) -> Record:
    """The record as it was on the log."""
    position = Position(Partition(letter["topic"], letter["partition"]), letter["offset"])
    return Record(position, letter["key"], letter["value"].encode(), letter["at"].timestamp())
