"""Sampling at the stub engine: in rounds, from variants, and the same again after a kill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest

from infra.engine import BASE, Engine, Sampling
from infra.events import Fact, Message
from tests.stub_engine import StubEngine
from trainer.queries import Query
from trainer.resample import Sampled, resample
from trainer.reward.grounded import GroundedReward
from trainer.reward.model import RewardModel
from trainer.served import Served

TEXTS = (
    "Parking is free for guests.",
    "Dogs stay for ten pounds.",
    "Breakfast ends at ten.",
    "The pool is heated.",
)
SYSTEM = "You answer customers of the inn. Use only these facts:\n{}\nAnswer in one or two short sentences."


def query(number: int) -> Query:
    text = f"Question {number}: is parking free for guests?"
    system = SYSTEM.format("\n".join(f"- {fact}" for fact in TEXTS))
    return Query(
        response_id=f"r{number}",
        conversation_id=f"c{number}",
        collection="inn",
        query=text,
        prompt=(Message(role="system", content=system), Message(role="user", content=text)),
        facts=tuple(Fact(title="", text=fact) for fact in TEXTS),
    )


QUERIES = [query(number) for number in range(12)]


@pytest.fixture
async def base() -> AsyncIterator[Served]:
    async with StubEngine() as stub, aiohttp.ClientSession() as session:
        yield Served(Engine(stub.url, session), BASE, None)


async def sample(
    base: Served, file: Path, judge: RewardModel | None = None, variants: Sequence[str] = ("served",)
) -> list[Sampled]:
    sampling = Sampling(80, 0.9, seed=5)
    return await resample(QUERIES, base, 8, sampling, 4, file, lambda *_: None, judge, variants)


def told(groups: Sequence[Sampled]) -> list[tuple[str, tuple[str, ...], int]]:
    return [(group.response_id, group.texts, group.tokens) for group in groups]


async def test_without_a_judge_every_query_has_all_samples(base: Served, tmp_path: Path) -> None:
    groups = await sample(base, tmp_path / "j.jsonl")
    assert [group.response_id for group in groups] == [query.response_id for query in QUERIES]
    assert {len(group.texts) for group in groups} == {8}


async def test_a_settled_query_is_sampled_no_further(base: Served, tmp_path: Path) -> None:
    groups = await sample(base, tmp_path / "j.jsonl", GroundedReward())
    assert {len(group.texts) for group in groups} <= {1, 2, 4, 8}
    assert any(len(group.texts) == 1 for group in groups)
    for group in groups:
        assert (TEXTS[0] in group.texts) or len(group.texts) > 1


async def test_a_killed_night_goes_on_and_chooses_the_same(base: Served, tmp_path: Path) -> None:
    whole = await sample(base, tmp_path / "whole.jsonl", GroundedReward())
    lines = (tmp_path / "whole.jsonl").read_text().splitlines()
    (tmp_path / "killed.jsonl").write_text("\n".join([*lines[:5], lines[5][:20]]))
    assert told(await sample(base, tmp_path / "killed.jsonl", GroundedReward())) == told(whole)
    assert len((tmp_path / "killed.jsonl").read_text().splitlines()) == len(QUERIES)


async def test_samples_come_from_the_variants_in_turn(base: Served, tmp_path: Path) -> None:
    groups = await sample(base, tmp_path / "j.jsonl", variants=("served", "first", "quoted"))
    for group in groups:
        assert len(group.texts) == 8
        assert {group.texts[place] for place in (1, 4, 7)} == {TEXTS[0]}  # the only fact it was given
        assert {group.texts[place] for place in (2, 5)} == {""}  # the stub never writes "Answer:"
        assert all(group.texts[place] in TEXTS for place in (0, 3, 6))
