"""Questions of a night's own, from the stub engine and a real agent: which facts, what is dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from infra.engine import BASE, Engine, Sampling
from infra.events import Fact
from infra.settings import Settings
from tests.agent.agents import FACTS, Live, add_knowledge, running
from tests.stub_engine import StubEngine
from trainer import synthetic
from trainer.agent import Agent, Built
from trainer.judged import Asked
from trainer.notes import Synthesised
from trainer.queries import Query, check_split
from trainer.served import Served
from trainer.synthetic import Piece, Taken, Writer, Written, facts, found, lacking, spread

SAMPLING = Sampling(48, 0.7, seed=1)
WINDOW = 2048


@pytest.fixture
async def live(settings: Settings) -> AsyncIterator[Live]:
    add_knowledge(settings)
    add_knowledge(settings, "bar", "THE BAR")
    async with StubEngine(settings.engine.port), running(settings) as agent:
        yield agent


def logged(question: str, fact: int = 0, collection: str = "inn") -> Query:
    title, text = FACTS[fact]
    return Query(
        response_id=question,
        conversation_id="c",
        collection=collection,
        query=question,
        prompt=(),
        facts=(Fact(title=title, text=text, score=1.3), Fact(title="Other", text="Another fact.")),
    )


async def write(
    live: Live,
    file: Path,
    wanted: int = 4,
    held_out: Sequence[str] = (),
    judged: Sequence[Asked] = (),
    known: Sequence[Query] = (),
) -> Synthesised:
    agent = Agent(live.url, live.http)
    engine = Engine(live.settings.engine.url, live.http)
    writer = Writer(Served(engine, BASE, None), agent, Taken(judged, known), SAMPLING, 2, file)
    pieces = spread(await facts(agent, held_out, WINDOW), known, seed=1)
    return await writer.write(pieces, wanted, lambda *_: None)


async def add(live: Live, slug: str, rows: Sequence[tuple[str, str]]) -> None:
    """A business more, as (title, text), known to the agent when this returns."""
    folder = live.settings.knowledge_dir / slug
    folder.mkdir()
    lines = (json.dumps({"title": title, "text": text}) for title, text in rows)
    (folder / "facts.jsonl").write_text("\n".join(lines))
    async with asyncio.timeout(10):
        while slug not in await Agent(live.url, live.http).collections():
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("most", "known", "new", "serving", "lacks"),
    [
        (100, 0, 0, False, 100),
        (100, 30, 30, False, 70),
        (100, 30, 5, True, 70),
        (100, 30, 0, True, 0),
        (100, 100, 9, False, 0),
        (100, 500, 9, False, 0),
        (0, 0, 0, False, 0),
    ],
)
def test_a_thin_record_is_filled_up(most: int, known: int, new: int, serving: bool, lacks: int) -> None:
    assert lacking(most, known, new, serving) == lacks


def told(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    return [(piece.collection, piece.fact.text) for piece in pieces]


def test_facts_are_spread_over_collections_and_those_that_nobody_asked_for_come_first() -> None:
    some = [Fact(title=title, text=text) for title, text in FACTS]
    known: Mapping[str, Sequence[Fact]] = {"inn": some, "bar": some[:2], "none": ()}
    pieces = spread(known, [logged("May I park?", 0), logged("Breakfast?", 1)], seed=3)
    assert [piece.collection for piece in pieces] == ["bar", "inn", "bar", "inn", "inn", "inn", "inn"]
    assert len(set(told(pieces))) == 7
    asked_for = {text for _, text in FACTS[:2]}
    assert {text for name, text in told(pieces) if name == "inn"} >= asked_for
    assert {text for name, text in told(pieces)[-2:]} == asked_for
    assert told(spread(known, [], seed=3)) != told(spread(known, [], seed=4))


def test_a_fact_that_stands_twice_is_asked_about_once() -> None:
    twice = [Fact(title="Parking", text="It is free.")] * 2
    assert len(spread({"inn": twice}, [], seed=1)) == 1


def test_the_fact_must_be_found_first() -> None:
    parking, pets = (Fact(title=title, text=text) for title, text in FACTS[0:3:2])
    scored = parking.model_copy(update={"score": 2.0})
    assert found(Built(messages=(), facts=(scored, pets)), parking)
    assert not found(Built(messages=(), facts=(pets, scored)), parking)
    assert not found(Built(messages=(), facts=()), parking)


async def test_a_question_is_one_that_the_agent_finds_the_fact_for(live: Live, tmp_path: Path) -> None:
    written = await write(live, tmp_path / "j.jsonl", wanted=3, held_out=("bar",))
    assert len(written.queries) == 3
    assert written.asked == 3 + sum(written.dropped.values())
    assert written.tokens > 0
    for query in written.queries:
        assert query.synthetic
        assert query.collection == "inn"
        assert query.conversation_id == ""
        assert query.response_id.startswith("synthetic-")
        assert (query.facts[0].title, query.facts[0].text) in FACTS
        assert query.prompt[-1].content == query.query
        assert query.facts[0].text in query.prompt[0].content
    assert len({query.response_id for query in written.queries}) == 3
    assert live.interactions() == []


async def test_a_killed_night_goes_on_and_writes_the_same(live: Live, tmp_path: Path) -> None:
    whole = await write(live, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text().splitlines()
    (tmp_path / "killed.jsonl").write_text("\n".join([*lines[:3], lines[3][:20]]))
    assert await write(live, tmp_path / "killed.jsonl") == whole
    assert sorted((tmp_path / "killed.jsonl").read_text().splitlines()) == sorted(lines)


def asked(written: Synthesised) -> list[Asked]:
    return [(query.collection, query.query) for query in written.queries]


async def test_what_suites_judge_by_is_never_written(live: Live, tmp_path: Path) -> None:
    first = await write(live, tmp_path / "first.jsonl", wanted=10)
    judged = asked(first)
    again = await write(live, tmp_path / "again.jsonl", wanted=10, judged=judged)
    assert set(asked(again)).isdisjoint(judged)
    assert again.dropped["judged"] > 0
    check_split(again.queries, frozenset(), judged)


async def test_what_customers_asked_is_not_written_again(live: Live, tmp_path: Path) -> None:
    first = await write(live, tmp_path / "first.jsonl", wanted=10)
    again = await write(live, tmp_path / "again.jsonl", wanted=10, known=first.queries)
    assert set(asked(again)).isdisjoint(asked(first))
    assert again.dropped["known"] > 0


async def test_of_near_duplicates_that_are_written_together_the_first_is_taken(
    live: Live, tmp_path: Path
) -> None:
    known = await facts(Agent(live.url, live.http), ("bar",), WINDOW)
    lines = [
        Written(fact=piece.key, tokens=1, query=logged(question))
        for piece, question in zip(
            spread(known, [], seed=1),
            ("Can I park my car for free?", "Is parking my car free?", "Are dogs allowed?"),
            strict=False,
        )
    ]
    (tmp_path / "j.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    written = await write(live, tmp_path / "j.jsonl", wanted=2, held_out=("bar",))
    assert [query.query for query in written.queries] == ["Can I park my car for free?", "Are dogs allowed?"]
    assert (written.asked, written.dropped, written.tokens) == (3, {"known": 1}, 3)


async def test_a_title_that_is_a_question_is_better_than_none(live: Live, tmp_path: Path) -> None:
    # The stub has no word to make a question of.
    await add(live, "faq", [("Is there a lift?", "No.")])
    written = await write(live, tmp_path / "j.jsonl", wanted=1, held_out=("inn", "bar"))
    assert [query.query for query in written.queries] == ["Is there a lift?"]


async def test_it_gives_up_where_no_question_finds_its_fact(settings: Settings, tmp_path: Path) -> None:
    add_knowledge(settings)
    blind = settings.model_copy(update={"agent": settings.agent.model_copy(update={"facts": 0})})
    async with StubEngine(settings.engine.port) as stub, running(blind) as live:
        written = await write(live, tmp_path / "j.jsonl", wanted=1)
        assert written.queries == ()
        assert written.asked == synthetic.FACTS
        assert sum(written.dropped.values()) == written.asked
        assert written.dropped.keys() <= {"lost", "form"}
        assert stub.stats["requests"] == written.asked
        lines = (tmp_path / "j.jsonl").read_text().splitlines()
        assert len(lines) == written.asked


async def test_facts_that_do_not_fit_into_the_window_are_left_out(live: Live) -> None:
    agent = Agent(live.url, live.http)
    assert {name: len(some) for name, some in (await facts(agent, (), WINDOW)).items()} == {
        "bar": 5,
        "inn": 5,
    }
    assert await facts(agent, ("bar",), 256) == {"inn": []}
