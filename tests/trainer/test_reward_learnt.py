"""The learnt reward with the weights that come with the project: what it must prefer and never call good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra.errors import NightError
from infra.events import Fact
from infra.settings import Settings, load
from trainer.reward.calibration import card
from trainer.reward.learnt import STARTER, LearntReward, Weights
from trainer.reward.model import Case, Reward
from trainer.reward.named import second
from trainer.reward.rated import folds, read
from trainer.reward.text import Reader
from trainer.reward.vectors import WordTable

RATED = Path(__file__).parents[2].parent / "shared/data/dstc9"
FACTS = (
    Fact(title="", text="There is free parking for guests."),
    Fact(title="", text="Check-in time is from 3:00 PM."),
    Fact(title="", text="Pets are not allowed at Hotel Ada."),
    Fact(title="", text="Breakfast costs 12 dollars."),
)
QUERY = "Can I park my car for free?"


@pytest.fixture(scope="module")
def reward() -> LearntReward:
    settings = load()
    if not (settings.encoder_dir / "model.safetensors").is_file() or not settings.vectors_dir.is_dir():
        pytest.skip("the encoder and the static vectors are not assembled: run `make model`")
    return LearntReward.open(settings.vectors_dir, settings.encoder_dir)


def judged(reward: LearntReward, *answers: str, query: str = QUERY) -> list[Reward]:
    return reward.score([Case(query, FACTS, answer) for answer in answers])


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        (QUERY, "Yes, parking is free for guests.", "No, parking is not free for guests."),
        (QUERY, "Yes, parking is free for guests.", "Yes, and we have a zoo, a casino and a helicopter."),
        (QUERY, "Yes, parking is free for guests.", "Pets are not allowed at Hotel Ada."),
        ("Are dogs allowed?", "No, pets are not allowed.", "Yes, pets are allowed."),
        ("When can I check in?", "You can check in from 3 pm.", "You can check in from 5 pm."),
        ("How much is breakfast?", "Breakfast is 12 dollars.", "Breakfast is 20 dollars."),
        ("How much is breakfast?", "Breakfast is 12 dollars.", "How much is breakfast?"),
        ("How much is breakfast?", "Breakfast is 12 dollars.", "Breakfast is 12 dollars. " * 8),
    ],
)
def test_the_right_answer_is_worth_more(reward: LearntReward, query: str, right: str, wrong: str) -> None:
    better, worse = judged(reward, right, wrong, query=query)
    assert better.value > worse.value
    assert not worse.good


def test_without_facts_or_answer_nothing_is_good(reward: LearntReward) -> None:
    nothing = Reward(0.0, False, {"empty": 1.0})
    assert reward.score([Case(QUERY, (), "Yes, it is free."), Case(QUERY, FACTS, " ")]) == [nothing, nothing]
    assert reward.score([]) == []


def test_an_answer_is_judged_alike_in_any_company(reward: LearntReward) -> None:
    answers = ("Yes, parking is free for guests.", "No.", "Check-in is from 3 pm.")
    together = judged(reward, *answers)
    assert [judged(reward, answer)[0].value for answer in answers] == pytest.approx(
        [one.value for one in together], abs=1e-4
    )
    assert judged(reward, *answers) == together


def test_a_title_that_is_the_question_tells_which_fact_is_asked_for(reward: LearntReward) -> None:
    facts = (Fact(title="Do you have a pool?", text="No, there is none."), Fact(title=QUERY, text="Yes."))
    (found,) = reward.score([Case(QUERY, facts, "Yes, you can.")])
    assert found.parts["fact"] == 1.0


def test_the_starter_weights_are_small_and_name_their_source() -> None:
    assert STARTER.stat().st_size < 100_000
    assert "DSTC9" in Weights.load(STARTER).learnt_from


def test_weights_of_other_features_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "learnt.json"
    weights = Weights.load(STARTER)
    file.write_text(weights.model_copy(update={"asked_features": ("rank",)}).model_dump_json())
    with pytest.raises(NightError, match="other features"):
        Weights.load(file)
    with pytest.raises(NightError, match="does not hold"):
        Weights.load(tmp_path / "missing.json")


@pytest.mark.skipif(not RATED.is_dir(), reason="people's ratings are not shipped with the project")
def test_people_agree_about_businesses_that_it_never_saw(
    reward: LearntReward, measured: Callable[[str], None]
) -> None:
    """A fifth of the dev replies; the whole has its card."""
    reader = Reader(WordTable(load().vectors_dir))
    replies = read(RATED / "rated_replies_dev.jsonl", RATED / "businesses_dev.jsonl", reader)
    fold = folds(replies, 5)
    some = [reply for reply, place in zip(replies, fold, strict=True) if place == 0]
    rewards = reward.score([reply.case for reply in some])
    value, good = np.array([r.value for r in rewards]), np.array([r.good for r in rewards])
    found = card(some, value, good, value, good_from=0.9, seed=1)
    measured(f"learnt reward: {found.pair_accuracy} of {found.pairs} pairs, good right {found.good_right}")
    assert found.pair_accuracy.estimate > 0.75
    assert found.good_right.estimate > 0.9
    assert found.good_share > 0.2


def test_it_is_the_second_scorer_of_rules_and_stops_a_night_that_lacks_its_files(settings: Settings) -> None:
    with pytest.raises(NightError, match=r"minilm-static.*run `make model`"):
        second(settings)
