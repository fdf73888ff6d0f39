"""Rewards by name, and the controls among them: the same again, and blind to what is right."""

from __future__ import annotations

import pytest

from infra.errors import SettingsError
from infra.events import Fact
from infra.sections import TrainerSettings
from infra.settings import Settings
from trainer.reward.model import Case
from trainer.reward.named import reward, second

FACTS = (Fact(source="f", title="", text="Parking is free at the inn."),)
RIGHT = Case("Is parking free?", FACTS, "Yes, parking is free at the inn.")
WRONG = Case(
    "Is parking free?", FACTS, "No, there is a pool, and a bar, and a garden, and much more to see here."
)


@pytest.mark.parametrize("name", ["grounded", "random", "longest"])
def test_a_reward_by_its_name_judges_the_same_again(settings: Settings, name: str) -> None:
    model = reward(name, settings)
    assert model.name == name
    first = model.score([RIGHT, WRONG])
    assert first == reward(name, settings).score([RIGHT, WRONG])
    assert all(0.0 <= one.value <= 1.0 for one in first)


def test_an_unknown_name_tells_the_known_ones(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"'best'.*grounded.*learnt"):
        reward("best", settings)


def test_controls_know_nothing_of_the_answer(settings: Settings) -> None:
    right, wrong = reward("longest", settings).score([RIGHT, WRONG])
    assert wrong.value > right.value
    assert wrong.good
    drawn = [
        reward("random", settings).score([Case(f"question {number}?", FACTS, RIGHT.answer)])[0].value
        for number in range(200)
    ]
    assert 0.4 < sum(drawn) / len(drawn) < 0.6
    assert reward("random", settings).score([Case("q?", FACTS, " ")])[0].good is False


def choosing(settings: Settings, name: str, other: str = "") -> Settings:
    return settings.model_copy(update={"trainer": TrainerSettings(reward=name, second=other)})


def test_the_second_scorer_is_another_one(settings: Settings) -> None:
    assert second(choosing(settings, "learnt")).name == "grounded"
    assert second(choosing(settings, "grounded", "longest")).name == "longest"
    with pytest.raises(SettingsError, match=r"'best'.*set trainer\.second"):
        second(choosing(settings, "grounded", "best"))


def test_a_second_scorer_that_chooses_too_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trainer\.second is 'grounded', which chooses"):
        Settings(trainer=TrainerSettings(second="grounded"))
