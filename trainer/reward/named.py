"""Reward models by name: those of this project, and any that an installed package brings.

A package adds one as an entry point in the group `nightshift.rewards`: a function that takes the settings and
returns a `RewardModel`.
"""

from __future__ import annotations

from infra.engine import BASE
from infra.settings import Settings
from trainer.reward.controls import LongestReward, RandomReward
from trainer.reward.grounded import GroundedReward
from trainer.reward.judge import JudgeReward
from trainer.reward.model import RewardModel
from trainer.reward.plugins import plugin
from trainer.reward.verifiers import verified

GROUP = "nightshift.rewards"


def chooser(settings: Settings) -> RewardModel:
    """The reward that chooses what to learn from, ready to score: `trainer.reward` with its verifiers.

    Raises:
        SettingsError: no installed package has a reward or a verifier of that name.
        NightError: it lacks a file that it needs; the message says how to get it.
    """
    return verified(reward(settings.trainer.reward, settings), settings)


def second(settings: Settings) -> RewardModel:
    """The scorer that only judges, ready to score: `trainer.second`, or the other one of this project's two.

    Raises:
        SettingsError: no installed package has one of that name.
        NightError: it lacks a file that it needs; the message says how to get it.
    """
    other = "grounded" if settings.trainer.reward == "learnt" else "learnt"
    return reward(settings.trainer.second or other, settings, "trainer.second")


def reward(name: str, settings: Settings, setting: str = "trainer.reward") -> RewardModel:
    """The reward model of that name, ready to score.

    Raises:
        SettingsError: no installed package has one of that name.
        NightError: it lacks a file that it needs; the message says how to get it.
    """
    unknown = f"There is no reward {name!r}: set {setting} to one of"
    model: RewardModel = plugin(GROUP, name, settings, unknown)
    return model


def learnt(settings: Settings) -> RewardModel:
    """The one that was learnt from people's ratings, as this business's customers have renewed it."""
    # Only here, since the encoder brings torch, which rules need not wait for.
    from trainer.reward.learnt import LearntReward  # noqa: PLC0415
    from trainer.reward.store import RewardStore  # noqa: PLC0415

    file = RewardStore(settings.reward_dir).file
    return LearntReward.open(settings.vectors_dir, settings.encoder_dir, file)


def grounded(_: Settings) -> RewardModel:
    """Rules about the first retrieved fact."""
    return GroundedReward()


def judge(settings: Settings) -> RewardModel:
    """A language model with a rubric; the engine's base model where none is named."""
    chosen = settings.trainer.judge
    return JudgeReward(chosen, chosen.url or settings.engine.url, chosen.model or BASE)


def classifier(settings: Settings) -> RewardModel:
    """A sequence-classification model from a folder or a hub."""
    from trainer.reward.classifier import ClassifierReward  # noqa: PLC0415  # torch, as above

    return ClassifierReward.open(settings.trainer.classifier)


def random(settings: Settings) -> RewardModel:
    """A control: by lot."""
    return RandomReward(settings.trainer.seed)


def longest(_: Settings) -> RewardModel:
    """A control: the longest answer."""
    return LongestReward()
