"""Verifiers: rules with a name and a weight that correct whatever reward chooses.

A package adds one as an entry point in the group `nightshift.verifiers`: a function that takes the settings
and returns a `Verifier`. `trainer.verifiers` gives each that is used its weight.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from infra.privacy import redact
from infra.settings import Settings
from trainer.reward.grounded import brief, supported
from trainer.reward.model import Case, Reward, RewardModel
from trainer.reward.plugins import plugin
from trainer.words import declines as said_so
from trainer.words import negated

GROUP = "nightshift.verifiers"

# Below this a rule counts as broken.
KEPT = 0.5

# Japanese is written in three of what Unicode calls scripts.
_WRITTEN_WITH = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}


class Verifier(Protocol):
    """One rule. `name` and `version` go into the night's manifest."""

    name: str
    version: str

    def check(self, case: Case) -> float:
        """How far the answer keeps the rule, 0 to 1."""


@dataclass(slots=True)
class Rule:
    """A rule of this project. Implements `Verifier`."""

    name: str
    check: Callable[[Case], float]
    version: str = "1"


class Verified:
    """A reward with its verifiers. Implements `RewardModel` under the reward's own name.

    A broken rule takes its weight off the value; one of weight 1 keeps the answer from being called good.
    """

    def __init__(self, reward: RewardModel, verifiers: Sequence[tuple[Verifier, float]]) -> None:
        self._reward = reward
        self._verifiers = verifiers
        self.name = reward.name
        rules = (f"{one.name} {one.version} \u00d7 {weight:g}" for one, weight in verifiers)
        self.version = " + ".join((reward.version, *rules))

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        """One reward for each case, in order."""
        return [self._corrected(*pair) for pair in zip(cases, self._reward.score(cases), strict=True)]

    def _corrected(self, case: Case, reward: Reward) -> Reward:
        kept = {one.name: one.check(case) for one, _ in self._verifiers}
        value, good = reward.value, reward.good
        for one, weight in self._verifiers:
            value *= 1.0 - weight * (1.0 - kept[one.name])
            good = good and (weight < 1.0 or kept[one.name] >= KEPT)
        return Reward(value=value, good=good, parts={**reward.parts, **kept})


def verified(reward: RewardModel, settings: Settings) -> RewardModel:
    """The reward with the verifiers of `trainer.verifiers` that weigh something.

    Raises:
        SettingsError: no installed package has a verifier of that name.
    """
    weights: Mapping[str, float] = settings.trainer.verifiers
    chosen = [(_named(name, settings), weight) for name, weight in weights.items() if weight > 0.0]
    return Verified(reward, chosen) if chosen else reward


def _named(name: str, settings: Settings) -> Verifier:
    unknown = f"There is no verifier {name!r}: name in trainer.verifiers only"
    verifier: Verifier = plugin(GROUP, name, settings, unknown)
    return verifier


def grounded(_: Settings) -> Verifier:
    """Share of the answer's content words that the question or a retrieved fact holds."""
    return Rule("grounded", lambda case: supported(case.answer, case.query, _facts(case)))


def polarity(_: Settings) -> Verifier:
    """The answer denies where the first retrieved fact denies, and only there."""
    return Rule("polarity", lambda case: float(not case.facts or _agrees(case)))


def declines(_: Settings) -> Verifier:
    """Where no fact was found, the answer says that it does not know, or whom to ask."""
    return Rule("declines", lambda case: float(bool(case.facts) or said_so(case.answer)))


def private(_: Settings) -> Verifier:
    """The answer holds no personal data but what the question or a retrieved fact holds."""
    return Rule("private", lambda case: float(not _personal(case.answer) - _words(case.query, _facts(case))))


def length(_: Settings) -> Verifier:
    """The answer does not ramble."""
    return Rule("length", lambda case: float(brief(case.answer, case.facts[0].text if case.facts else "")))


def language(_: Settings) -> Verifier:
    """The answer is written in the question's script. Languages of one script are not told apart."""
    return Rule("language", lambda case: float(_script(case.answer) in ("", _script(case.query))))


def _agrees(case: Case) -> bool:
    return negated(case.answer) == negated(case.facts[0].text)


def _facts(case: Case) -> str:
    return "\n".join(fact.text for fact in case.facts)


def _words(*texts: str) -> set[str]:
    """Words without the marks around them."""
    return {word.strip(".,;:!?()\"'") for text in texts for word in text.split()}


def _personal(answer: str) -> set[str]:
    """The words of an answer that redaction takes away."""
    return _words(answer) - _words(redact(answer).text)


def _script(text: str) -> str:
    """What most letters of a text are written with, such as LATIN; empty without letters."""
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    most = Counter(_WRITTEN_WITH.get(name, name) for name in names).most_common(1)
    return most[0][0] if most else ""
