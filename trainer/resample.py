"""Resampling: N completions of every chosen query, or fewer, through the engine that serves customers.

Each finished group is in the journal at once, so a kill costs the groups under way and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infra.engine import Sampling
from trainer.journal import Journal
from trainer.queries import Query
from trainer.reward.model import Case, RewardModel
from trainer.rounds import rounds, settled
from trainer.served import Served
from trainer.variants import SERVED, prompted, usable

Told = Callable[[int, int], None]  # called with groups done and groups in all


class Sampled(BaseModel):
    """The completions of one query. `seconds` is the time that the engine took for the group."""

    model_config = ConfigDict(frozen=True)

    response_id: str
    texts: tuple[str, ...]
    tokens: int
    seconds: float


async def resample(
    queries: Sequence[Query],
    model: Served,
    samples: int,
    sampling: Sampling,
    concurrency: int,
    file: Path,
    told: Told,
    judge: RewardModel | None = None,
    variants: Sequence[str] = (SERVED,),
) -> list[Sampled]:
    """One group for each query, in their order. `sampling.seed` is advanced by the query's place.

    With `judge`, `samples` is the most of a query: it is sampled in rounds until they are settled. Sample i
    comes from variant i modulo their number.

    Raises:
        EngineError: the engine refused, or stayed away for longer than our patience.
    """
    journal = Journal(file, Sampled, key=lambda group: group.response_id)
    gate = asyncio.Semaphore(concurrency)

    async def sample(place: int, query: Query) -> None:
        async with gate:
            group = await _group(query, model, samples, advanced(sampling, 1000 * place), judge, variants)
        journal.append(group)
        told(len(journal), len(queries))

    async with asyncio.TaskGroup() as tasks:
        for place, query in enumerate(queries):
            if query.response_id not in journal:
                tasks.create_task(sample(place, query))
    return [journal[query.response_id] for query in queries]


async def _group(
    query: Query,
    model: Served,
    samples: int,
    sampling: Sampling,
    judge: RewardModel | None,
    variants: Sequence[str],
) -> Sampled:
    began = time.monotonic()
    texts: list[str] = []
    tokens = 0
    for count in rounds(samples) if judge else (samples,):
        drawn = range(len(texts), len(texts) + count)
        found, used = await _round(query, model, drawn, sampling, variants)
        texts += found
        tokens += used
        if judge and settled(judge.score([Case(query.query, query.facts, text) for text in texts])):
            break
    return Sampled(
        response_id=query.response_id, texts=tuple(texts), tokens=tokens, seconds=time.monotonic() - began
    )


async def _round(
    query: Query, model: Served, drawn: range, sampling: Sampling, variants: Sequence[str]
) -> tuple[list[str], int]:
    """The samples of these numbers, in order, and their tokens; one request for each variant among them.

    An engine gives the samples of one request the seeds that follow on its own, so with one variant a sample
    is the same whichever round it is drawn in.
    """
    texts: dict[int, str] = {}
    tokens = 0
    for place, variant in enumerate(variants):
        numbers = [number for number in drawn if number % len(variants) == place]
        if not numbers:
            continue
        prompt = prompted(variant, query.prompt)
        answer = await model.chat(prompt, advanced(sampling, numbers[0]), n=len(numbers))
        tokens += answer.completion_tokens
        texts |= {
            number: usable(variant, choice.text)
            for number, choice in zip(numbers, answer.choices, strict=True)
        }
    return [texts[number] for number in drawn], tokens


def advanced(sampling: Sampling, by: int) -> Sampling:
    """Every query gets its own seed, and every round: one seed for all would correlate their samples."""
    if sampling.seed is None:
        return sampling
    return Sampling(
        sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed + by, sampling.stop
    )
