"""Replay: what earlier nights chose is learned from again, so that a night builds on all of its window.

Every night trains from the base model; without replay it would forget what earlier nights had found. Rows of
nights that were rejected are left out, unless all that spoke against one was that its gain was not proven:
where little is asked or judged, a proof takes several nights. So is what the present reward no longer calls
good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from infra.lake import Lake
from trainer.curate import Group, Row, worst
from trainer.judged import Asked
from trainer.logged import texts
from trainer.order import Method
from trainer.queries import Query, fresh
from trainer.reward.model import Case, RewardModel


class Remembered(BaseModel):
    """A completion that an earlier night chose, with its query as it was served and its reward today.

    `rejected` is the worst of its group, where that is clearly worse and a method learns from pairs.
    """

    model_config = ConfigDict(frozen=True)

    night: str
    query: Query
    sample: int
    completion: str
    reward: float
    rejected: str | None = None


def recall(
    lake: Lake,
    since: datetime,
    until: datetime,
    held_out: Iterable[str],
    judged: Iterable[Asked],
    limit: int,
    reward: RewardModel,
    method: Method = "sft",
) -> list[Remembered]:
    """What nights chose of the window's queries, newest first, at most `limit`; one for each question.

    What is held out or judged by now is left out (`queries.fresh`), whenever it was learned from. So is what
    `reward` no longer calls good: its question is sampled anew. For DPO the whole groups are judged again.

    Raises:
        LakeError: the record cannot be read.
    """
    if not limit:  # not to join the whole window for nothing
        return []
    rows = lake.query("chosen_completions", since=since, until=until)
    known = fresh(rows, held_out, judged, limit)
    kept = {row["response_id"] for some in known.values() for row in some}
    rows = [row for row in rows if row["response_id"] in kept][:limit]
    whole = texts(lake, rows)
    queries = [whole[row["response_id"]] for row in rows]
    cases = [
        Case(query.query, query.facts, row["completion"]) for query, row in zip(queries, rows, strict=True)
    ]
    found = [
        Remembered(
            night=row["night"],
            query=query,
            sample=row["sample"],
            completion=row["completion"],
            reward=judged.value,
        )
        for row, query, judged in zip(rows, queries, reward.score(cases), strict=True)
        if judged.good
    ]
    return _with_rejected(lake, found, reward) if method == "dpo" else found


def replay(remembered: Sequence[Remembered]) -> list[Row]:
    """Rows to train on, in their order."""
    return [
        Row(
            response_id=one.query.response_id,
            prompt=one.query.prompt,
            completion=one.completion,
            sample=one.sample,
            reward=one.reward,
            rejected=one.rejected,
        )
        for one in remembered
    ]


def _with_rejected(lake: Lake, found: Sequence[Remembered], reward: RewardModel) -> list[Remembered]:
    """The same with the worst of each group, as a night finds it among its own."""
    names = "\n".join(f"{one.night} {one.query.response_id}" for one in found)
    groups = {(row["night"], row["response_id"]): row for row in lake.query("groups", text=names)}
    completed = []
    for one in found:
        row = groups[one.night, one.query.response_id]
        said = tuple(row["texts"])
        rewards = tuple(reward.score([Case(one.query.query, one.query.facts, text) for text in said]))
        place = worst(Group(one.query, said, rewards), row["samples"].index(one.sample))
        completed.append(one.model_copy(update={"rejected": None if place is None else said[place]}))
    return completed
