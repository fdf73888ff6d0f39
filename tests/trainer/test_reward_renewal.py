"""A reward learnt from votes is used only where people's own words show it to be better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.events import Fact
from trainer.gates import Verdict
from trainer.reward.gauge import Gauge, Measured
from trainer.reward.learnt import STARTER, Weights, judge, liked
from trainer.reward.model import Case
from trainer.reward.renewal import Outcome, renew
from trainer.reward.store import RewardStore
from trainer.reward.text import Reader
from trainer.reward.votes import Vote

AT = datetime(2026, 11, 29, 1, tzinfo=UTC)
WEIGHTS = Weights.load(STARTER)
THINGS = ("parking", "breakfast", "the pool", "the sauna", "the gym", "the bar", "laundry", "the garden")
# Both say the same; one is curt, the other is what these customers like to read.
CURT, KIND = (
    "{thing} is free for guests.",
    "Yes, certainly! You will be glad to hear that {thing} is free for guests.",
)
WRONG = "No, {thing} costs 9 dollars."


def letters(word: str) -> NDArray[np.float32]:
    return np.array([word.count(chr(code)) for code in range(97, 123)], dtype=np.float32)


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of letters: the renewal does not care how facts are found."""
    found = np.array([letters(text.lower()) for text in texts])
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def cases() -> list[Case]:
    """Every kind of answer about every thing, over and over in another hotel."""
    facts = {thing: Fact(title="", text=f"{thing.capitalize()} is free for guests.") for thing in THINGS}
    others = tuple(facts.values())
    return [
        Case(f"Is {thing} free at hotel {hotel}?", (facts[thing], *others[:3]), said.format(thing=thing))
        for hotel in range(20)
        for thing in THINGS
        for said in (CURT, KIND, WRONG)
    ]


@pytest.fixture(scope="module")
def measured() -> Measured:
    return Gauge(Reader(letters), encode).measure(cases())


def votes(
    likes: Callable[[Case, np.random.Generator], bool], malicious: int = 0, voters: int = 48
) -> list[Vote]:
    """A vote on each case. The first `malicious` voters say the opposite."""
    rng = np.random.default_rng(5)
    found = []
    for place, case in enumerate(cases()):
        voter = int(rng.integers(voters))
        liked_it = likes(case, rng) != (voter < malicious)
        found.append(Vote(f"r{place}", f"user {voter}", case, liked_it, said=True))
    return found


def renewed(found: list[Vote], measured: Measured, present: Weights = WEIGHTS) -> tuple[Weights, Outcome]:
    weights, outcome, judged = renew(WEIGHTS, present, found, measured, [True] * len(found), AT, 0.05, 1)
    assert [one.vote for one in judged] == found
    return weights, outcome


def kind(case: Case, rng: np.random.Generator) -> bool:
    return ("glad" in case.answer) != (rng.random() < 0.1)


@pytest.mark.parametrize("malicious", [0, 5])
def test_what_customers_like_is_learnt_and_used(measured: Measured, malicious: int) -> None:
    weights, outcome = renewed(votes(kind, malicious), measured)
    assert outcome.used
    assert outcome.areas["new"] > outcome.areas["present"] + 0.05
    assert outcome.voters == 48
    assert outcome.doubted == malicious
    assert weights.version != WEIGHTS.version
    curt, like, wrong = liked(weights, measured)[:3]
    assert like > curt
    assert like > wrong


def test_what_ratings_do_not_call_good_no_crowd_makes_good(measured: Measured) -> None:
    weights, _ = renewed(votes(lambda case, _: "costs" in case.answer), measured)
    before, after = judge(WEIGHTS, cases(), measured), judge(weights, cases(), measured)
    assert liked(weights, measured)[2] > 0.5
    assert not any(now.good and not then.good for then, now in zip(before, after, strict=True))
    assert any(then.good and not now.good for then, now in zip(before, after, strict=True))


def test_votes_by_lot_change_nothing(measured: Measured) -> None:
    _, outcome = renewed(votes(lambda _, rng: bool(rng.random() < 0.5)), measured)
    assert outcome.gate.verdict is Verdict.FAIL


def test_what_is_in_use_stays_where_it_orders_as_well(measured: Measured) -> None:
    present, outcome = renewed(votes(kind), measured)
    assert outcome.used
    again, outcome = renewed(votes(kind), measured, present)
    assert again == present
    assert outcome.gate.verdict is Verdict.FAIL


@pytest.mark.parametrize(("count", "voters"), [(60, 48), (480, 10)])
def test_too_few_words_or_people_show_nothing(measured: Measured, count: int, voters: int) -> None:
    found = votes(kind, voters=voters)
    _, outcome, _ = renew(WEIGHTS, WEIGHTS, found, measured, [i < count for i in range(480)], AT, 0.05, 1)
    assert outcome.gate.verdict is Verdict.NOT_ENOUGH_DATA
    assert not outcome.used
    assert "needed are 100 by 20 people" in outcome.gate.detail


def test_signs_teach_but_do_not_judge(measured: Measured) -> None:
    found = [Vote(v.response_id, "sign thanks", v.case, v.liked, said=False) for v in votes(kind)]
    _, outcome = renewed(found, measured)
    assert outcome.gate.verdict is Verdict.NOT_ENOUGH_DATA
    assert (outcome.said, outcome.voters) == (0, 0)


def test_the_store_takes_into_use_what_won_and_nothing_else(tmp_path: Path, measured: Measured) -> None:
    store = RewardStore(tmp_path / "reward")
    assert (store.file, store.outcome, store.used) == (STARTER, None, None)
    lost = renew(WEIGHTS, WEIGHTS, votes(kind), measured, [False] * 480, AT, 0.05, 1)
    store.put(*lost)
    assert store.file == STARTER
    assert store.outcome == lost[1]
    won = renew(WEIGHTS, WEIGHTS, votes(kind), measured, [True] * 480, AT, 0.05, 1)
    store.put(*won)
    assert Weights.load(store.file) == won[0]
    assert store.used == won[1]
    store.put(*lost)
    assert Weights.load(store.file) == won[0]
    assert (store.outcome, store.used) == (lost[1], won[1])
    assert "glad" not in (tmp_path / "reward" / "judged.jsonl").read_text()
