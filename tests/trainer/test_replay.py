"""What earlier nights chose is learned from again, and what must not be is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from infra.events import Fact
from infra.lake import Lake
from infra.settings import Settings
from trainer.order import Method
from trainer.replay import Remembered, recall, replay
from trainer.reward.controls import LongestReward
from trainer.reward.grounded import GroundedReward
from trainer.reward.model import RewardModel

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=14)
FACTS = json.dumps([Fact(title="", text="Parking is free for guests.").model_dump()])


def asked(number: int, collection: str = "inn", query: str = "", day: float = 1.0) -> dict[str, object]:
    return {
        "event_id": f"i{number}",
        "at": SINCE + timedelta(days=day, seconds=number),
        "response_id": f"r{number}",
        "conversation_id": f"c{number}",
        "collection": collection,
        "query": query or f"Is parking number {number} free?",
        "prompt": json.dumps([{"role": "user", "content": f"prompt {number}"}]),
        "facts": FACTS,
        "status": "ok",
    }


def scored(night: str, number: int, text: str, *, chosen: bool = True, sample: int = 0) -> dict[str, object]:
    return {
        "event_id": f"{night}-{number}-{sample}",
        "at": SINCE + timedelta(days=2, hours=int(night[1:])),
        "night": night,
        "response_id": f"r{number}",
        "sample": sample,
        "text": text,
        "chosen": chosen,
    }


def ended(night: str, verdict: str, **gates: tuple[str, float]) -> dict[str, object]:
    """`gates`: verdict and estimate by name, with an underscore for a hyphen."""
    told = [
        {"name": name.replace("_", "-"), "verdict": verdict, "estimate": estimate, "detail": ""}
        for name, (verdict, estimate) in gates.items()
    ]
    return {
        "event_id": night,
        "at": SINCE,
        "night": night,
        "state": "ended",
        "verdict": verdict,
        "manifest": json.dumps({"gates": told}),
    }


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    interactions = [
        asked(1),
        asked(2, "bar"),
        asked(3),
        asked(4, query="Is the suite's parking free?"),
        asked(5, day=-1),
        asked(6),
        asked(7),
    ]
    completions = [
        scored("n1", 1, "old"),
        scored("n2", 1, "Parking is free for guests.", sample=3),
        scored("n2", 1, "Parking is not free for guests.", chosen=False, sample=1),
        scored("n1", 1, "Nobody parks here, of all places.", chosen=False, sample=2),
        scored("n1", 2, "of a business that is held out by now"),
        scored("n1", 3, "sampled, not chosen", chosen=False),
        scored("n1", 4, "asked by a suite"),
        scored("n1", 5, "before the window"),
        scored("n3", 6, "of a night that was rejected"),
        scored("n2", 7, "No."),
    ]
    nights = [ended("n1", "pass"), ended("n2", "not enough data"), ended("n3", "fail")]
    with Lake.open(settings, writable=True) as opened:
        opened.append({"interactions": interactions, "completions": completions, "nights": nights}, {})
        yield opened


def recalled(
    lake: Lake, limit: int = 10, reward: RewardModel | None = None, method: Method = "sft"
) -> list[Remembered]:
    judged = [("inn", "Is parking of the suite's free?")]
    # By default one that calls every answer good.
    return recall(lake, SINCE, UNTIL, ("bar",), judged, limit, reward or LongestReward(), method)


def told(found: Sequence[Remembered]) -> list[tuple[str, str, int]]:
    return [(one.query.response_id, one.night, one.sample) for one in found]


def test_the_latest_choice_of_each_query_newest_first(lake: Lake) -> None:
    assert told(recalled(lake)) == [("r7", "n2", 0), ("r1", "n2", 3)]


def test_what_was_not_proven_yet_adds_up(settings: Settings) -> None:
    """Of nights that were rejected only those that nothing but the missing proof spoke against."""
    nights = [
        ended("n1", "fail", held_out=("fail", 0.05), length=("pass", -0.1)),
        ended("n2", "fail", held_out=("fail", -0.01), length=("pass", -0.1)),
        ended("n3", "fail", held_out=("pass", 0.2), length=("fail", 0.3)),
        ended("n4", "fail", held_out=("fail", 0.05), length=("fail", 0.3)),
        ended("n5", "fail", held_out=("pass", 0.2)),  # its adapter was refused
        ended("n6", "fail"),
    ]
    interactions = [asked(number) for number in range(1, 7)]
    completions = [scored(f"n{number}", number, f"choice {number}") for number in range(1, 7)]
    with Lake.open(settings, writable=True) as lake:
        lake.append({"interactions": interactions, "completions": completions, "nights": nights}, {})
        assert told(recalled(lake)) == [("r1", "n1", 0)]


def test_no_more_than_the_limit(lake: Lake) -> None:
    assert told(recalled(lake, limit=1)) == [("r7", "n2", 0)]
    assert recalled(lake, limit=0) == []


def test_only_what_the_present_reward_calls_good_is_trained_on(lake: Lake) -> None:
    rows = replay(recalled(lake, reward=GroundedReward()))
    assert [(row.response_id, row.completion, row.sample) for row in rows] == [
        ("r1", "Parking is free for guests.", 3)
    ]
    assert rows[0].prompt[0].content == "prompt 1"
    assert rows[0].reward > 0.9


def test_pairs_take_the_worst_of_the_same_group_as_the_present_reward_has_it(lake: Lake) -> None:
    rows = replay(recalled(lake, reward=GroundedReward(), method="dpo"))
    assert [(row.response_id, row.completion, row.rejected) for row in rows] == [
        ("r1", "Parking is free for guests.", "Parking is not free for guests.")
    ]


def test_what_has_nothing_to_reject_is_learned_from_all_the_same(lake: Lake) -> None:
    found = recalled(lake, method="dpo")  # all are good
    assert told(found) == [("r7", "n2", 0), ("r1", "n2", 3)]
    assert [row.rejected for row in replay(found)] == [None, None]
