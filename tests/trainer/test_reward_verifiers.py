"""Verifiers: what each rule tells apart, and what it takes from a reward."""

from __future__ import annotations

import pytest

from infra.errors import SettingsError
from infra.events import Fact
from infra.sections import TrainerSettings
from infra.settings import Settings
from trainer.reward.model import Case
from trainer.reward.named import chooser
from trainer.reward.verifiers import GROUP, Verified, verified

FACTS = (
    Fact(source="f", title="", text="Parking is free at the inn. Call +1 212 555 0187 to book."),
    Fact(source="g", title="", text="There is no pool."),
)
QUERY = "Is parking free?"

KEPT_AND_BROKEN = {
    "grounded": ("Yes, parking is free.", "Our rooftop casino opens nightly."),
    "polarity": ("Yes, parking is free.", "No, it is not free."),
    "private": ("It is free. Call +1 212 555 0187.", "It is free. Write to jane.doe@example.org."),
    "length": ("It is free.", "It is free, and " + "very " * 60 + "near."),
    "language": ("It is free, 24 hours.", "\u041f\u0430\u0440\u043a\u043e\u0432\u043a\u0430 free"),
}


def choosing(settings: Settings, **verifiers: float) -> Settings:
    trainer = TrainerSettings(reward="longest", verifiers=verifiers)
    return settings.model_copy(update={"trainer": trainer})


def case(answer: str, facts: tuple[Fact, ...] = FACTS) -> Case:
    return Case(QUERY, facts, answer)


@pytest.mark.parametrize("name", KEPT_AND_BROKEN)
def test_a_rule_of_full_weight_keeps_what_breaks_it_from_being_learned(settings: Settings, name: str) -> None:
    plain, ruled = chooser(choosing(settings)), chooser(choosing(settings, **{name: 1.0}))
    cases = [case(answer) for answer in KEPT_AND_BROKEN[name]]
    (kept, broken), (free, _) = ruled.score(cases), plain.score(cases)
    assert kept.good and not broken.good
    assert kept.value == pytest.approx(free.value)
    assert broken.value < 0.5 * plain.score(cases)[1].value
    assert (kept.parts[name] >= 0.5, broken.parts[name] >= 0.5) == (True, False)


def test_where_nothing_was_found_an_answer_must_decline(settings: Settings) -> None:
    ruled = chooser(choosing(settings, declines=1.0))
    answers = ["Yes, of course.", "I don't know, please ask our reception.", "I have no information on that."]
    assert [one.good for one in ruled.score([case(answer, ()) for answer in answers])] == [False, True, True]
    assert ruled.score([case("Yes, of course.")])[0].good


def test_a_lighter_rule_only_lowers_the_value(settings: Settings) -> None:
    answer = [case("No, it is not free.")]
    full, half, free = (
        chooser(choosing(settings, polarity=weight)).score(answer)[0] for weight in (1.0, 0.5, 0.0)
    )
    assert full.value == 0.0
    assert half.value == pytest.approx(free.value / 2)
    assert (full.good, half.good, free.good) == (False, True, True)
    assert "polarity" not in free.parts


def test_the_version_names_the_rules_and_the_name_stays(settings: Settings) -> None:
    ruled = chooser(choosing(settings, private=1.0, length=0.5))
    assert (ruled.name, ruled.version) == ("longest", "1 + private 1 \u00d7 1 + length 1 \u00d7 0.5")


def test_personal_data_is_never_learned_unless_that_is_switched_off(settings: Settings) -> None:
    chosen = chooser(settings)
    assert isinstance(chosen, Verified)
    assert chosen.score([case("Parking is free at the inn: jane.doe@example.org.")])[0].good is False
    assert chosen.score([case("Parking is free at the inn.")])[0].parts["private"] == 1.0


def test_an_unknown_verifier_tells_the_known_ones(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"'kind'.*declines.*private"):
        chooser(choosing(settings, kind=1.0))
    with pytest.raises(ValueError, match="less than or equal to 1"):
        TrainerSettings(verifiers={"private": 2.0})


def test_a_package_brings_its_own(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def load(self) -> object:
            return lambda _: Shouting()

    class Shouting:
        name, version = "calm", "3"

        def check(self, case: Case) -> float:
            return float("!" not in case.answer)

    plain = chooser(choosing(settings))
    monkeypatch.setattr(
        "trainer.reward.plugins.entry_points",
        lambda group, name: [Entry()] if (group, name) == (GROUP, "calm") else [],
    )
    ruled = verified(plain, choosing(settings, calm=1.0))
    assert [one.good for one in ruled.score([case("It is free."), case("It is free!")])] == [True, False]
