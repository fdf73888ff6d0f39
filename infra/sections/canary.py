"""What can be set of canaries: their steps, and what ends them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from infra.sections.base import Section, Share


class CanarySettings(Section):
    # Shares of conversations, in turn. The last is 1, the promotion: with one arm there is nothing to judge.
    steps: Annotated[tuple[Share, ...], Field(min_length=2)] = (0.01, 0.05, 0.25, 0.5, 1.0)
    # Fewest answers of the canary on each step, and of either arm before a verdict other than a burst guard.
    min_outcomes: Annotated[int, Field(ge=10)] = 50
    step_s: Annotated[float, Field(ge=0)] = 3600.0  # fewest seconds on each step
    # Hours: a canary begins at the first step that has its fewest answers by then, as traffic is.
    patience_h: Annotated[float, Field(gt=0)] = 24.0
    # Answers on the canary arm, and hours, after which an undecided canary is rolled back.
    max_outcomes: Annotated[int, Field(ge=20)] = 5000
    max_h: Annotated[float, Field(gt=0)] = 24 * 14.0
    # Promotions in 24 hours that canaries get by themselves; one more waits. By hand there may be any number.
    promotions_a_day: Annotated[int, Field(ge=1)] = 1
    # It is promoted once its good rate is proven to be at most this much worse, and rolled back once it is
    # proven to be worse there at all, or worse by more than one of these:
    margin: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05
    reward_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05  # of the mean reward, 0 to 1
    # Times to the first token and in all, as a part of stable's; 1.5 against the base model, as at the gates.
    latency_margin: Annotated[float, Field(ge=0.0)] = 0.25
    length_margin: Annotated[float, Field(ge=0.0)] = 0.2  # words, as a part of stable's
    refusals_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.03  # answers that refuse or send elsewhere
    handovers_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02  # customers who then want a person
    unhappy_margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.05  # or ask again; thumbs down among thumbs
    # Chance of rolling back a canary that is no worse, however often one looks; split over the metrics.
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    interval_s: Annotated[float, Field(gt=0)] = 1.0  # seconds between looks at the record

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if list(steps) != sorted(set(steps)) or steps[-1] != 1.0:
            raise ValueError("each must be larger than the one before, and the last must be 1")
        return steps
