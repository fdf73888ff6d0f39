"""Replay: what earlier nights chose is learned from again, so that a night builds on all of its window.

Every night trains from the base model; without replay it would forget what earlier nights had found. Rows of
nights that were rejected are left out, and so is what the present reward would no longer call good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from infra.lake import Lake
from trainer.curate import Row
from trainer.judged import Asked
from trainer.queries import Query, fresh
from trainer.reward.model import Case, RewardModel


class Remembered(BaseModel):
    """A completion that an earlier night chose, with its query as it was served."""

    model_config = ConfigDict(frozen=True)

    night: str
    query: Query
    sample: int
    completion: str


def recall(
    lake: Lake,
    since: datetime,
    until: datetime,
    held_out: Iterable[str],
    judged: Iterable[Asked],
    limit: int,
) -> list[Remembered]:
    """What nights chose of the window's queries, newest first, at most `limit`; one for each question.

    What is held out or judged by now is left out (`queries.fresh`), whenever it was learned from.

    Raises:
        LakeError: the record cannot be read.
    """
    if not limit:  # not to join the whole window for nothing
        return []
    rows = lake.query("chosen_completions", since=since, until=until)
    known = fresh(rows, held_out, judged)
    kept = {row["response_id"] for some in known.values() for row in some}
    found = [
        Remembered(
            night=row["night"],
            query=Query.from_row(row),
            sample=row["sample"],
            completion=row["completion"],
        )
        for row in rows
        if row["response_id"] in kept
    ]
    return found[:limit]


def replay(remembered: Sequence[Remembered], reward: RewardModel) -> list[Row]:
    """Rows to train on: those that `reward` calls good today, in their order."""
    cases = [Case(one.query.query, one.query.facts, one.completion) for one in remembered]
    return [
        Row(
            response_id=one.query.response_id,
            prompt=one.query.prompt,
            completion=one.completion,
            sample=one.sample,
            reward=judged.value,
        )
        for one, judged in zip(remembered, reward.score(cases), strict=True)
        if judged.good
    ]
