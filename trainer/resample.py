"""Resampling: N completions of every chosen query, through the engine that serves customers.

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
from trainer.served import Served

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
) -> list[Sampled]:
    """One group for each query, in their order. `sampling.seed` is advanced by the query's place.

    Raises:
        EngineError: the engine refused, or stayed away for longer than our patience.
    """
    journal = Journal(file, Sampled, key=lambda group: group.response_id)
    gate = asyncio.Semaphore(concurrency)

    async def sample(place: int, query: Query) -> None:
        async with gate:
            group = await _group(query, model, samples, _advanced(sampling, place))
        journal.append(group)
        told(len(journal), len(queries))

    async with asyncio.TaskGroup() as tasks:
        for place, query in enumerate(queries):
            if query.response_id not in journal:
                tasks.create_task(sample(place, query))
    return [journal[query.response_id] for query in queries]


async def _group(query: Query, model: Served, samples: int, sampling: Sampling) -> Sampled:
    began = time.monotonic()
    answer = await model.chat(query.prompt, sampling, n=samples)
    return Sampled(
        response_id=query.response_id,
        texts=tuple(choice.text.strip() for choice in answer.choices),
        tokens=answer.completion_tokens,
        seconds=time.monotonic() - began,
    )


def _advanced(sampling: Sampling, place: int) -> Sampling:
    """Every query gets its own seed: one seed for all would correlate their samples."""
    if sampling.seed is None:
        return sampling
    return Sampling(
        sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed + 1000 * place, sampling.stop
    )
